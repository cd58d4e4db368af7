//! Broker keys of the share coordinator and share groups' fetches.
//!
//! A table of facts; it resolves and checks nothing. The catalogue puts it beside the other tables.

use super::super::key::{
    Default::Text,
    Importance::{High, Low, Medium},
    Key,
    Kind::{Int, Short},
    Valid::{Any, AtLeast, Between},
    key,
};

#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    key("share.coordinator.append.linger.ms", Int, Text("-1"), AtLeast(-1), Medium,
        ""),
    key("share.coordinator.cached.buffer.max.bytes", Int, Text("1048588"), AtLeast(524288), Medium,
        "").dynamic(),
    key("share.coordinator.cold.partition.snapshot.interval.ms", Int, Text("300000"), AtLeast(1), Low,
        "").internal(),
    key("share.coordinator.load.buffer.size", Int, Text("5242880"), AtLeast(1), High,
        ""),
    key("share.coordinator.snapshot.update.records.per.snapshot", Int, Text("500"), Between(0, 500), Medium,
        ""),
    key("share.coordinator.state.topic.compression.codec", Int, Text("0"), Any, High,
        ""),
    key("share.coordinator.state.topic.min.isr", Short, Text("2"), AtLeast(1), High,
        ""),
    key("share.coordinator.state.topic.num.partitions", Int, Text("50"), AtLeast(1), High,
        ""),
    key("share.coordinator.state.topic.prune.interval.ms", Int, Text("300000"), AtLeast(1), Low,
        "").internal(),
    key("share.coordinator.state.topic.replication.factor", Short, Text("3"), AtLeast(1), High,
        ""),
    key("share.coordinator.state.topic.segment.bytes", Int, Text("104857600"), AtLeast(1), High,
        ""),
    key("share.coordinator.threads", Int, Text("1"), AtLeast(1), Medium,
        ""),
    key("share.coordinator.write.timeout.ms", Int, Text("5000"), AtLeast(1), High,
        ""),
    key("share.fetch.purgatory.purge.interval.requests", Int, Text("1000"), Any, Medium,
        ""),
];

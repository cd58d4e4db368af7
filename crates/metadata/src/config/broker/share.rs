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
        "How long the share coordinator gathers records before it writes them; -1 waits as long as others are being written."),
    key("share.coordinator.cached.buffer.max.bytes", Int, Text("1048588"), AtLeast(524288), Medium,
        "A write buffer of the share coordinator larger than this is not kept for the next write.").dynamic(),
    key("share.coordinator.cold.partition.snapshot.interval.ms", Int, Text("300000"), AtLeast(1), Low,
        "How often the state of share partitions that do not change is written anew.").internal(),
    key("share.coordinator.load.buffer.size", Int, Text("5242880"), AtLeast(1), High,
        "How many bytes are read at once when the state of share groups is loaded."),
    key("share.coordinator.snapshot.update.records.per.snapshot", Int, Text("500"), Between(0, 500), Medium,
        "How many updates follow a snapshot of a share partition before the next snapshot."),
    key("share.coordinator.state.topic.compression.codec", Int, Text("0"), Any, High,
        "The codec of the share state topic: 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd."),
    key("share.coordinator.state.topic.min.isr", Short, Text("2"), AtLeast(1), High,
        "The min.insync.replicas of the share state topic."),
    key("share.coordinator.state.topic.num.partitions", Int, Text("50"), AtLeast(1), High,
        "How many partitions the share state topic gets; not to be changed later."),
    key("share.coordinator.state.topic.prune.interval.ms", Int, Text("300000"), AtLeast(1), Low,
        "How often what is no longer needed of the share state topic is deleted.").internal(),
    key("share.coordinator.state.topic.replication.factor", Short, Text("3"), AtLeast(1), High,
        "How many replicas the share state topic gets; it is not created before there are so many brokers."),
    key("share.coordinator.state.topic.segment.bytes", Int, Text("104857600"), AtLeast(1), High,
        "The segment size of the share state topic; small segments load faster."),
    key("share.coordinator.threads", Int, Text("1"), AtLeast(1), Medium,
        "How many threads run the share coordinator."),
    key("share.coordinator.write.timeout.ms", Int, Text("5000"), AtLeast(1), High,
        "How long a write of the share coordinator waits for its replicas."),
    key("share.fetch.purgatory.purge.interval.requests", Int, Text("1000"), Any, Medium,
        "After how many finished requests the list of waiting ShareFetch requests is tidied."),
];

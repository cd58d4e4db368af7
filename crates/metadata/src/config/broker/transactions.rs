//! Broker keys of transactions and idempotent producers.
//!
//! A table of facts; it resolves and checks nothing. The catalogue puts it beside the other tables.

use super::super::key::{
    Default::Text,
    Importance::{High, Low},
    Key,
    Kind::{Boolean, Int, Short},
    Valid::{Any, AtLeast},
    key,
};

#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    key("add.partitions.to.txn.retry.backoff.max.ms", Int, Text("100"), AtLeast(0), High,
        ""),
    key("add.partitions.to.txn.retry.backoff.ms", Int, Text("20"), AtLeast(1), High,
        ""),
    key("producer.id.expiration.check.interval.ms", Int, Text("600000"), AtLeast(1), Low,
        "").internal(),
    key("producer.id.expiration.ms", Int, Text("86400000"), AtLeast(1), Low,
        "").dynamic(),
    key("transaction.abort.timed.out.transaction.cleanup.interval.ms", Int, Text("10000"), AtLeast(1), Low,
        ""),
    key("transaction.max.timeout.ms", Int, Text("900000"), AtLeast(1), High,
        ""),
    key("transaction.partition.verification.enable", Boolean, Text("true"), Any, Low,
        "").dynamic(),
    key("transaction.remove.expired.transaction.cleanup.interval.ms", Int, Text("3600000"), AtLeast(1), Low,
        ""),
    key("transaction.state.log.load.buffer.size", Int, Text("5242880"), AtLeast(1), High,
        ""),
    key("transaction.state.log.min.isr", Int, Text("2"), AtLeast(1), High,
        ""),
    key("transaction.state.log.num.partitions", Int, Text("50"), AtLeast(1), High,
        ""),
    key("transaction.state.log.replication.factor", Short, Text("3"), AtLeast(1), High,
        ""),
    key("transaction.state.log.segment.bytes", Int, Text("104857600"), AtLeast(1), High,
        ""),
    key("transaction.two.phase.commit.enable", Boolean, Text("false"), Any, Low,
        ""),
    key("transactional.id.expiration.ms", Int, Text("604800000"), AtLeast(1), High,
        ""),
];

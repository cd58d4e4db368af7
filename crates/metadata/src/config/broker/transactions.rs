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
        "The longest time for which the broker itself retries adding partitions to a transaction while the one before is still completing."),
    key("add.partitions.to.txn.retry.backoff.ms", Int, Text("20"), AtLeast(1), High,
        "How long the broker waits before it retries adding partitions to a transaction while the one before is still completing."),
    key("producer.id.expiration.check.interval.ms", Int, Text("600000"), AtLeast(1), Low,
        "How often forgotten producers are looked for. For tests.").internal(),
    key("producer.id.expiration.ms", Int, Text("86400000"), AtLeast(1), Low,
        "How long a partition remembers an idempotent producer that has stopped writing.").dynamic(),
    key("transaction.abort.timed.out.transaction.cleanup.interval.ms", Int, Text("10000"), AtLeast(1), Low,
        "How often transactions that have run out of time are looked for."),
    key("transaction.max.timeout.ms", Int, Text("900000"), AtLeast(1), High,
        "The longest time that a transaction may ask for."),
    key("transaction.partition.verification.enable", Boolean, Text("true"), Any, Low,
        "Whether a partition checks with the coordinator that a transaction is open before it takes its records.").dynamic(),
    key("transaction.remove.expired.transaction.cleanup.interval.ms", Int, Text("3600000"), AtLeast(1), Low,
        "How often transactional ids that nobody has used for long are looked for."),
    key("transaction.state.log.load.buffer.size", Int, Text("5242880"), AtLeast(1), High,
        "How many bytes are read at once when transactions are loaded."),
    key("transaction.state.log.min.isr", Int, Text("2"), AtLeast(1), High,
        "The min.insync.replicas of the transaction topic."),
    key("transaction.state.log.num.partitions", Int, Text("50"), AtLeast(1), High,
        "How many partitions the transaction topic gets; not to be changed later."),
    key("transaction.state.log.replication.factor", Short, Text("3"), AtLeast(1), High,
        "How many replicas the transaction topic gets; it is not created before there are so many brokers."),
    key("transaction.state.log.segment.bytes", Int, Text("104857600"), AtLeast(1), High,
        "The segment size of the transaction topic; small segments load faster."),
    key("transaction.two.phase.commit.enable", Boolean, Text("false"), Any, Low,
        "Whether transactions may take part in a two-phase commit and thus stay open without a time limit."),
    key("transactional.id.expiration.ms", Int, Text("604800000"), AtLeast(1), High,
        "How long the coordinator remembers a transactional id that nobody uses."),
];

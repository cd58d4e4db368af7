//! Broker keys of replication between brokers and its throttles.
//!
//! A table of facts; it resolves and checks nothing. The catalogue puts it beside the other tables.

use super::super::key::{
    Default::{Null, Text},
    Importance::{High, Low, Medium},
    Key,
    Kind::{Boolean, Int, Long, String},
    Valid::{Any, AtLeast, OneOf},
    key,
};

/// The one selector of replicas that Kafka brings along (KIP-392). Others are classes of the JVM.
const RACK_AWARE_SELECTOR: &str = "org.apache.kafka.common.replica.RackAwareReplicaSelector";

#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    key("alter.log.dirs.replication.quota.window.num", Int, Text("11"), AtLeast(1), Low,
        "How many windows are kept to measure the rate of moving replicas between directories."),
    key("alter.log.dirs.replication.quota.window.size.seconds", Int, Text("1"), AtLeast(1), Low,
        "The length of each window in which the rate of moving replicas between directories is measured."),
    key("auto.leader.rebalance.enable", Boolean, Text("true"), Any, High,
        "Whether leadership moves back to the preferred replicas by itself once too many partitions are led elsewhere."),
    key("controlled.shutdown.enable", Boolean, Text("true"), Any, Medium,
        "Whether a broker hands over its leaderships before it stops."),
    key("fetch.max.bytes", Int, Text("57671680"), AtLeast(1024), Medium,
        "The most bytes that any fetch gets, whatever it asks for; one batch larger than this is still given alone."),
    key("fetch.purgatory.purge.interval.requests", Int, Text("1000"), Any, Medium,
        "After how many finished requests the list of waiting Fetch requests is tidied."),
    key("follower.replication.throttled.rate", Long, Text("9223372036854775807"), AtLeast(0), Medium,
        "The most bytes per second that this broker's throttled followers copy. It can only be set while the broker runs.").internal().dynamic(),
    key("leader.imbalance.check.interval.seconds", Long, Text("300"), AtLeast(1), High,
        "How often the controller looks for partitions that are not led by their preferred replica."),
    key("leader.replication.throttled.rate", Long, Text("9223372036854775807"), AtLeast(0), Medium,
        "The most bytes per second that this broker's throttled leaders send. It can only be set while the broker runs.").internal().dynamic(),
    key("num.replica.alter.log.dirs.threads", Int, Null, Any, High,
        "How many threads move replicas between directories; by default one per directory."),
    key("num.replica.fetchers", Int, Text("1"), AtLeast(1), High,
        "How many fetchers copy from each leading broker.").dynamic(),
    key("replica.alter.log.dirs.io.max.bytes.per.second", Long, Text("9223372036854775807"), AtLeast(0), Medium,
        "The most bytes per second for moving replicas between directories. It can only be set while the broker runs.").internal().dynamic(),
    key("replica.fetch.backoff.ms", Int, Text("1000"), AtLeast(0), Medium,
        "How long a follower pauses after a fetch has failed."),
    key("replica.fetch.max.bytes", Int, Text("1048576"), AtLeast(0), Medium,
        "How many bytes a follower asks for per partition; one larger batch is still given alone."),
    key("replica.fetch.min.bytes", Int, Text("1"), Any, High,
        "How many bytes a follower waits for, up to replica.fetch.wait.max.ms."),
    key("replica.fetch.response.max.bytes", Int, Text("10485760"), AtLeast(0), Medium,
        "How many bytes a follower asks for in all; one larger batch is still given alone."),
    key("replica.fetch.wait.max.ms", Int, Text("500"), Any, High,
        "How long a follower's fetch waits for data; less than replica.lag.time.max.ms."),
    key("replica.high.watermark.checkpoint.interval.ms", Long, Text("5000"), Any, High,
        "How often high watermarks are written down."),
    key("replica.lag.time.max.ms", Long, Text("30000"), Any, High,
        "A follower that has not caught up for so long leaves the in-sync replicas."),
    key("replica.selector.class", String, Null, OneOf(&[RACK_AWARE_SELECTOR]), Medium,
        "How the replica is chosen that a consumer reads from; unset, it is the leader, and with Kafka's rack-aware selector one in the consumer's rack."),
    key("replica.socket.receive.buffer.bytes", Int, Text("65536"), Any, High,
        "The receive buffer of the sockets on which followers fetch."),
    key("replica.socket.timeout.ms", Int, Text("30000"), Any, High,
        "How long a follower waits on an open connection; at least replica.fetch.wait.max.ms."),
    key("replication.quota.window.num", Int, Text("11"), AtLeast(1), Low,
        "How many windows are kept to measure the rate of throttled replication."),
    key("replication.quota.window.size.seconds", Int, Text("1"), AtLeast(1), Low,
        "The length of each window in which the rate of throttled replication is measured."),
];

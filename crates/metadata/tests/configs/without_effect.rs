//! Why a key of the catalogue has no effect. It is no promise: a reason goes as soon as the code reads the key.

/// A name that ends with a dot or `*` is the beginning of several. The longest that fits counts.
#[rustfmt::skip]
pub(crate) const REASONS: &[(&str, &str)] = &[
    ("alter.config.policy.class.name", JAVA),
    ("alter.log.dirs.", "the rate of moves holds from one slice to the next"),
    ("authorizer.class.name", JAVA),
    ("background.threads", TUNING),
    ("client.quota.callback.class", JAVA),
    ("config.providers", JAVA),
    ("connection.failed.authentication.delay.ms", SECURITY),
    ("connections.max.reauth.ms", SECURITY),
    ("consumer.assignment.interval.ms", "the broker's group.consumer.assignment.interval.ms counts for all groups"),
    ("consumer.assignor.offload.enable", OFFLOAD),
    ("controlled.shutdown.enable", "a node that is stopped always hands over what it leads first"),
    ("controller.performance.", TUNING),
    ("controller.quorum.append.linger.ms", TUNING),
    ("controller.quorum.election.", CONSENSUS),
    ("controller.quorum.fetch.", CONSENSUS),
    ("controller.quorum.request.timeout.ms", CONSENSUS),
    ("controller.quorum.retry.backoff.ms", CONSENSUS),
    ("controller.socket.timeout.ms", "requests to controllers have a limit of their own"),
    ("create.topic.policy.class.name", JAVA),
    ("delegation.token.", SECURITY),
    ("delete.records.purgatory.purge.interval.requests", PURGATORY),
    ("early.start.listeners", "listeners of controllers are open before those of brokers"),
    ("fetch.purgatory.purge.interval.requests", PURGATORY),
    ("follower.fetch.last.tiered.offset.enable", TIERED),
    ("group.consumer.assignor.offload.enable", OFFLOAD),
    ("group.consumer.assignors", "`uniform` and `range` are there, and nothing else"),
    ("group.consumer.max.*", UNBOUNDED),
    ("group.consumer.min.*", UNBOUNDED),
    ("group.consumer.regex.refresh.interval.ms", "patterns are resolved with the heartbeat that brings them"),
    ("group.coordinator.", "classic and consumer groups are always there, and nothing is there to be tuned"),
    ("group.share.assignor.offload.enable", OFFLOAD),
    ("group.share.assignors", "`simple` is there, and nothing else"),
    ("group.share.dlq.manager.class.name", JAVA),
    ("group.share.max.*", UNBOUNDED),
    ("group.share.min.*", UNBOUNDED),
    ("group.share.persister.class.name", JAVA),
    ("group.streams.assignor.offload.enable", OFFLOAD),
    ("group.streams.assignors", "`sticky` is there, and nothing else"),
    ("group.streams.max.*", UNBOUNDED),
    ("group.streams.min.*", UNBOUNDED),
    ("group.streams.num.warmup.replicas", WARMUP),
    ("group.streams.topology.description.plugin.class", JAVA),
    ("initial.broker.registration.timeout.ms", "a broker tries to register for as long as it runs, and a minute while its node.id is taken"),
    ("internal.", TUNING),
    ("kafka.metrics.", METRICS),
    ("local.retention.", TIERED),
    ("log.dir.failure.timeout.ms", "a broker tells of a directory that has failed until it is heard"),
    ("log.flush.start.offset.checkpoint.interval.ms", "start offsets are written with the recovery points"),
    ("log.initial.task.delay.ms", TUNING),
    ("log.local.retention.", TIERED),
    ("log.preallocate", PREALLOCATE),
    ("log.remote.copy.", TIERED),
    ("max.connection.creation.rate", "the quota connection_creation_rate of each address counts"),
    ("max.connections.per.ip.overrides", "max.connections.per.ip counts for all addresses"),
    ("max.decompressed.message.bytes", "a batch may stand for 1024 times max.message.bytes, and for 1 GiB at most"),
    ("max.incremental.fetch.session.cache.slots", "sessions and their partitions have limits of their own"),
    ("max.request.partition.size.limit", "a request names as many partitions as it has room for"),
    ("metadata.log.segment.", "segments of the metadata log have 8 MiB"),
    ("metadata.max.idle.interval.ms", "the leader of the quorum is known to live without records"),
    ("metadata.max.retention.", "what a snapshot covers goes"),
    ("metric.reporters", METRICS),
    ("metrics.", METRICS),
    ("num.io.threads", TUNING),
    ("num.network.threads", TUNING),
    ("num.recovery.threads.per.data.dir", TUNING),
    ("num.replica.fetchers", "one fetcher for each leader, which asks for all partitions at once"),
    ("offsets.commit.timeout.ms", "a commit is answered when it is safe, or its partition has another leader"),
    ("offsets.load.buffer.size", "1 MiB is read at once"),
    ("offsets.topic.compression.codec", "records of coordinators are not compressed"),
    ("preallocate", PREALLOCATE),
    ("principal.builder.class", JAVA),
    ("producer.purgatory.purge.interval.requests", PURGATORY),
    ("queued.max.requests", "a connection waits while its requests are under way; queued.max.request.bytes counts"),
    ("remote.", TIERED),
    ("replica.socket.receive.buffer.bytes", SOCKETS),
    ("request.timeout.ms", "requests between nodes have limits of their own"),
    ("sasl.", SECURITY),
    ("security.providers", JAVA),
    ("server.max.startup.time.ms", "a start takes as long as it takes"),
    ("share.assignor.offload.enable", OFFLOAD),
    ("share.coordinator.append.linger.ms", "an append waits for nothing but the disk"),
    ("share.coordinator.cached.buffer.max.bytes", TUNING),
    ("share.coordinator.load.buffer.size", "1 MiB is read at once"),
    ("share.coordinator.state.topic.compression.codec", "states are not compressed"),
    ("share.coordinator.threads", "coordinators have no threads of their own"),
    ("share.coordinator.write.timeout.ms", "a write is known to be done or not"),
    ("share.fetch.purgatory.purge.interval.requests", PURGATORY),
    ("socket.", SOCKETS),
    ("ssl.", SECURITY),
    ("streams.assignor.name", "`sticky` is there, and nothing else"),
    ("streams.assignor.offload.enable", OFFLOAD),
    ("streams.num.warmup.replicas", WARMUP),
    ("transaction.state.log.load.buffer.size", "1 MiB is read at once"),
    ("unstable.", "nothing unstable is there"),
];

const JAVA: &str = "a class of the JVM";
const SECURITY: &str = "there is no TLS, SASL or authorization yet";
const WARMUP: &str = "warmup tasks are not assigned, as in Kafka 4.4";
const TIERED: &str = "there is no tiered storage";
const CONSENSUS: &str = "elections have times of their own (docs/decisions/0009)";
const UNBOUNDED: &str = "what is set for a group is not bounded by it";
const OFFLOAD: &str = "assignments are computed where they are asked for";
const METRICS: &str = "metrics are those of /metrics";
const PURGATORY: &str = "nothing is left behind that had to be purged";
const TUNING: &str = "nothing like it is there to be tuned";
const SOCKETS: &str = "sockets are as the system makes them";
const PREALLOCATE: &str = "files grow with what is written to them";

/// The reason of a key, and the name or beginning for which it is given.
pub(crate) fn reason(name: &str) -> Option<(&'static str, &'static str)> {
    let fits = |(known, _): &&(&'static str, &'static str)| match known.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => name == *known || (known.ends_with('.') && name.starts_with(known)),
    };
    REASONS.iter().filter(fits).max_by_key(|(known, _)| known.len()).copied()
}

//! What a broker needs to know to start, as plain values.
//!
//! It reads nothing: `node` fills it from Kafka's configuration keys, the simulator by hand. What can change while
//! the broker runs is asked of the image instead.

use crate::{
    controller::SessionPolicy,
    fetchers,
    follower::SnapshotPolicy,
    link::Address,
    log_levels::{LogLevels, NoLogLevels},
};
use metadata::{
    Endpoint, Image, NewTopic,
    config::{Configs, Statics},
};
use model::{NodeId, TopicId, limits};
use std::{path::PathBuf, sync::Arc};

/// The configuration of one broker.
#[derive(Debug, Clone)]
pub struct Config {
    /// `node.id`.
    pub node_id: NodeId,
    /// The cluster's id if it is prescribed; else the one in the log directory counts, or a new one is drawn.
    pub cluster_id: Option<String>,
    /// `log.dirs`: where partitions live.
    pub log_dirs: Vec<PathBuf>,
    /// `metadata.log.dir`: where the metadata log lives; it may be one of `log.dirs`.
    pub metadata_log_dir: PathBuf,
    /// What clients are told to connect to, by listener name.
    pub endpoints: Vec<Endpoint>,
    /// `broker.rack`.
    pub rack: Option<String>,
    /// `replica.selector.class` is Kafka's `RackAwareReplicaSelector`: clients read in their own rack (KIP-392).
    pub is_rack_aware: bool,
    /// Everything that was configured, for DescribeConfigs and for what each topic inherits.
    pub statics: Arc<Statics>,
    /// `socket.request.max.bytes`: the largest frame.
    pub request_bytes_max: usize,
    /// `queued.max.request.bytes`, if there is a limit: the memory for large frames that are being read.
    pub large_frames_bytes_max: usize,
    /// `fetch.max.bytes`: the largest answer to a fetch, but for one batch that is larger.
    pub fetch_bytes_max: usize,
    /// `max.connections`.
    pub connections_max: usize,
    /// `max.connections.per.ip`.
    pub connections_per_address_max: usize,
    /// `connections.max.idle.ms`.
    pub connections_idle_max_ms: i64,
    /// Memory for the recent ends of all logs.
    pub tail_bytes_max: usize,
    /// Bytes received and not yet written at which connections wait.
    pub backlog_bytes_max: usize,
    /// `log.retention.check.interval.ms`.
    pub retention_check_ms: i64,
    /// `log.flush.offset.checkpoint.interval.ms`.
    pub checkpoint_ms: i64,
    /// `replica.high.watermark.checkpoint.interval.ms`.
    pub watermarks_checkpoint_ms: i64,
    /// `replica.lag.time.max.ms`.
    pub lag_ms_max: i64,
    /// Whether the node keeps partitions: `process.roles` names `broker`.
    pub is_broker: bool,
    /// Whether the node votes in the quorum: `process.roles` names `controller`.
    pub is_controller: bool,
    /// `controller.quorum.bootstrap.servers` and `controller.quorum.voters`; empty for a node that is alone.
    pub controllers: Vec<Address>,
    /// `controller.listener.names`.
    pub controller_listeners: Vec<String>,
    /// Where other nodes reach this one's controller; empty for a node that is alone.
    pub controller_endpoints: Vec<quorum::Endpoint>,
    /// `controller.quorum.auto.join.enable`.
    pub joins_by_itself: bool,
    /// `broker.heartbeat.interval.ms`.
    pub broker_heartbeat_ms: i64,
    /// `broker.session.timeout.ms`.
    pub broker_session_ms: u32,
    /// How often the leader of the quorum shows that it is there.
    pub quorum_heartbeat_ms: u64,
    /// A controller that has not heard of a leader for so long asks for votes.
    pub quorum_election_ms: u64,
    /// `metadata.log.max.record.bytes.between.snapshots`.
    pub snapshot_bytes: u64,
    /// Batches that stay in the metadata log although a snapshot has them, for controllers that are a little behind.
    pub snapshot_batches_kept: u64,
    /// `metadata.log.max.snapshot.interval.ms`; 0 means never.
    pub snapshot_interval_ms: i64,
    /// `producer.id.expiration.check.interval.ms`.
    pub producer_expiry_ms: i64,
    /// `transaction.abort.timed.out.transaction.cleanup.interval.ms`.
    pub transaction_abort_ms: i64,
    /// `transaction.remove.expired.transaction.cleanup.interval.ms`.
    pub transaction_expiry_ms: i64,
    /// `share.coordinator.state.topic.prune.interval.ms`: how often old share states are let go of.
    pub share_prune_ms: i64,
    /// Who logs for this process.
    pub log_levels: Arc<dyn LogLevels>,
}

/// Memory for the recent ends of logs that serves a consumer that keeps up, and leaves the broker small.
pub const TAIL_BYTES_MAX_DEFAULT: usize = 24 * 1024 * 1024;
/// Enough to keep disks busy while a sync is under way.
pub const BACKLOG_BYTES_MAX_DEFAULT: usize = 32 * 1024 * 1024;

/// See [`Config::quorum_heartbeat_ms`].
const QUORUM_HEARTBEAT_MS: u64 = 60;
/// See [`Config::snapshot_batches_kept`].
const SNAPSHOT_BATCHES_KEPT: u64 = 1000;
/// See [`Config::quorum_election_ms`]; with the pre-vote, a lost leader is replaced within a second.
const QUORUM_ELECTION_MS: u64 = 200;

impl Config {
    /// A configuration with the values that `statics` and the defaults give, and everything in one directory.
    pub fn new(node_id: NodeId, log_dir: PathBuf, endpoints: Vec<Endpoint>, statics: Arc<Statics>) -> Self {
        let image = Image::new("");
        let configs = Configs { image: &image, statics: &statics, node: node_id };
        let broker = configs.broker();
        let size = |name: &str| usize::try_from(broker.integer(name)).unwrap_or(usize::MAX);
        Self {
            node_id,
            cluster_id: None,
            log_dirs: vec![log_dir.clone()],
            metadata_log_dir: log_dir,
            endpoints,
            rack: broker.text("broker.rack").map(|rack| rack.into_owned()),
            is_rack_aware: broker.text("replica.selector.class").is_some(),
            request_bytes_max: size("socket.request.max.bytes"),
            large_frames_bytes_max: match broker.integer("queued.max.request.bytes") {
                bytes if bytes > 0 => size("queued.max.request.bytes"),
                _ => limits::LARGE_FRAMES_BYTES_MAX,
            },
            fetch_bytes_max: size("fetch.max.bytes"),
            connections_max: size("max.connections"),
            connections_per_address_max: size("max.connections.per.ip"),
            connections_idle_max_ms: broker.integer("connections.max.idle.ms"),
            tail_bytes_max: TAIL_BYTES_MAX_DEFAULT,
            backlog_bytes_max: BACKLOG_BYTES_MAX_DEFAULT,
            retention_check_ms: broker.integer("log.retention.check.interval.ms"),
            checkpoint_ms: broker.integer("log.flush.offset.checkpoint.interval.ms"),
            watermarks_checkpoint_ms: broker.integer("replica.high.watermark.checkpoint.interval.ms"),
            lag_ms_max: broker.integer("replica.lag.time.max.ms"),
            is_broker: true,
            is_controller: true,
            controllers: Vec::new(),
            controller_listeners: Vec::new(),
            controller_endpoints: Vec::new(),
            joins_by_itself: broker.flag("controller.quorum.auto.join.enable"),
            broker_heartbeat_ms: broker.integer("broker.heartbeat.interval.ms"),
            broker_session_ms: u32::try_from(broker.integer("broker.session.timeout.ms")).unwrap_or(u32::MAX),
            quorum_heartbeat_ms: QUORUM_HEARTBEAT_MS,
            quorum_election_ms: QUORUM_ELECTION_MS,
            snapshot_bytes: broker.integer("metadata.log.max.record.bytes.between.snapshots").max(1) as u64,
            snapshot_batches_kept: SNAPSHOT_BATCHES_KEPT,
            snapshot_interval_ms: broker.integer("metadata.log.max.snapshot.interval.ms"),
            producer_expiry_ms: broker.integer("producer.id.expiration.check.interval.ms"),
            transaction_abort_ms: broker
                .integer("transaction.abort.timed.out.transaction.cleanup.interval.ms"),
            share_prune_ms: broker.integer("share.coordinator.state.topic.prune.interval.ms"),
            transaction_expiry_ms: broker
                .integer("transaction.remove.expired.transaction.cleanup.interval.ms"),
            log_levels: Arc::new(NoLogLevels),
            statics,
        }
    }

    /// The effective configurations as `image` has them.
    pub(crate) fn configs<'a>(&'a self, image: &'a Image) -> Configs<'a> {
        Configs { image, statics: &self.statics, node: self.node_id }
    }

    /// Whether there are other nodes, as far as this one is told.
    pub(crate) fn is_clustered(&self) -> bool {
        !self.controllers.is_empty()
    }

    pub(crate) fn session_policy(&self) -> SessionPolicy {
        SessionPolicy { timeout_ms: self.broker_session_ms, own_is_alive: !self.is_clustered() }
    }

    pub(crate) fn fetchers(&self) -> fetchers::Settings {
        fetchers::Settings::new(self.node_id, &self.configs(&Image::new("")).broker())
    }

    pub(crate) fn snapshot_policy(&self) -> SnapshotPolicy {
        SnapshotPolicy { bytes_max: self.snapshot_bytes, interval_ms: self.snapshot_interval_ms }
    }

    /// `auto.create.topics.enable`, which cannot change while the broker runs.
    pub(crate) fn topics_created_automatically(&self) -> bool {
        self.configs(&Image::new("")).broker().flag("auto.create.topics.enable")
    }

    /// A topic as it is created without being described: those of coordinators by their own configuration, others by the
    /// cluster's defaults.
    pub(crate) fn topic_to_create(&self, image: &Image, name: &str, id: TopicId) -> NewTopic {
        let defaults = NewTopic {
            name: name.to_owned(),
            id,
            partitions: -1,
            replication_factor: -1,
            ..NewTopic::default()
        };
        let config = |name: &str, value: &str| (name.to_owned(), Some(value.to_owned()));
        let configs = self.configs(image);
        let broker = configs.broker();
        let text = |key: &str| broker.integer(key).to_string();
        let partitions = |key: &str| i32::try_from(broker.integer(key)).unwrap_or(50);
        match name {
            crate::group_hosts::TOPIC => NewTopic {
                partitions: partitions("offsets.topic.num.partitions"),
                replication_factor: self.replicas(image, "offsets.topic.replication.factor", None),
                configs: vec![
                    config("cleanup.policy", "compact"),
                    config("compression.type", "producer"),
                    config("segment.bytes", &text("offsets.topic.segment.bytes")),
                ],
                ..defaults
            },
            crate::transaction_hosts::TOPIC => {
                let replicas = self.replicas(image, "transaction.state.log.replication.factor", None);
                let in_sync = self.replicas(image, "transaction.state.log.min.isr", Some(replicas));
                NewTopic {
                    partitions: partitions("transaction.state.log.num.partitions"),
                    replication_factor: replicas,
                    configs: vec![
                        config("unclean.leader.election.enable", "false"),
                        config("compression.type", "uncompressed"),
                        config("cleanup.policy", "compact"),
                        config("min.insync.replicas", &in_sync.to_string()),
                        config("segment.bytes", &text("transaction.state.log.segment.bytes")),
                    ],
                    ..defaults
                }
            }
            crate::share_coordinators::TOPIC => {
                let replicas = self.replicas(image, "share.coordinator.state.topic.replication.factor", None);
                let in_sync = self.replicas(image, "share.coordinator.state.topic.min.isr", Some(replicas));
                NewTopic {
                    partitions: partitions("share.coordinator.state.topic.num.partitions"),
                    replication_factor: replicas,
                    configs: vec![
                        config("cleanup.policy", "delete"),
                        config("compression.type", "producer"),
                        config("min.insync.replicas", &in_sync.to_string()),
                        config("segment.bytes", &text("share.coordinator.state.topic.segment.bytes")),
                        config("retention.ms", "-1"),
                    ],
                    ..defaults
                }
            }
            _ => defaults,
        }
    }

    /// A number of replicas. Nobody has asked for three where there are fewer brokers; who asks is taken at the word.
    fn replicas(&self, image: &Image, key: &str, max: Option<i16>) -> i16 {
        let wanted = i16::try_from(self.configs(image).broker().integer(key)).unwrap_or(1);
        let there = || i16::try_from(image.brokers_active().count()).unwrap_or(i16::MAX).max(1);
        match self.statics.get(key) {
            Some(_) => wanted,
            None => wanted.min(max.unwrap_or_else(there)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(values: &[(&str, &str)]) -> Config {
        let statics = Statics::new(values.iter().map(|(key, value)| (key.to_string(), value.to_string())));
        assert_eq!(statics.problems(), Vec::<String>::new());
        Config::new(7, "/data".into(), Vec::new(), Arc::new(statics))
    }

    #[test]
    fn every_value_comes_from_its_key() {
        let config = config(&[
            ("broker.rack", "r1"),
            ("replica.selector.class", "org.apache.kafka.common.replica.RackAwareReplicaSelector"),
            ("socket.request.max.bytes", "1001"),
            ("queued.max.request.bytes", "1008"),
            ("fetch.max.bytes", "2002"),
            ("max.connections", "1003"),
            ("max.connections.per.ip", "1004"),
            ("connections.max.idle.ms", "1005"),
            ("log.retention.check.interval.ms", "1006"),
            ("log.flush.offset.checkpoint.interval.ms", "1007"),
            ("producer.id.expiration.check.interval.ms", "1009"),
            ("transaction.abort.timed.out.transaction.cleanup.interval.ms", "1010"),
            ("transaction.remove.expired.transaction.cleanup.interval.ms", "1011"),
            ("auto.create.topics.enable", "false"),
        ]);
        assert_eq!((config.node_id, config.rack.as_deref(), config.is_rack_aware), (7, Some("r1"), true));
        assert_eq!((config.request_bytes_max, config.fetch_bytes_max), (1001, 2002));
        assert_eq!((config.connections_max, config.connections_per_address_max), (1003, 1004));
        assert_eq!((config.connections_idle_max_ms, config.retention_check_ms), (1005, 1006));
        assert_eq!((config.checkpoint_ms, config.large_frames_bytes_max), (1007, 1008));
        assert_eq!((config.producer_expiry_ms, config.transaction_abort_ms), (1009, 1010));
        assert_eq!(config.transaction_expiry_ms, 1011);
        assert!(!config.topics_created_automatically());
    }

    #[test]
    fn without_any_the_values_are_kafkas() {
        let config = config(&[]);
        assert_eq!((config.rack.as_deref(), config.cluster_id.as_deref()), (None, None));
        assert!(!config.is_rack_aware);
        assert_eq!((config.request_bytes_max, config.fetch_bytes_max), (104_857_600, 57_671_680));
        assert_eq!(
            (config.connections_max, config.connections_per_address_max),
            (i32::MAX as usize, i32::MAX as usize)
        );
        assert_eq!((config.connections_idle_max_ms, config.retention_check_ms), (600_000, 300_000));
        assert_eq!((config.checkpoint_ms, config.large_frames_bytes_max), (60_000, 128 << 20));
        assert!(config.topics_created_automatically());
    }

    #[test]
    fn topics_of_coordinators_are_created_by_their_own_keys_and_others_by_the_defaults() {
        let values = [("offsets.topic.num.partitions", "9"), ("offsets.topic.segment.bytes", "2097152")];
        let (image, id) = (Image::new(""), TopicId::ZERO);
        let plain = config(&values).topic_to_create(&image, "t", id);
        assert_eq!((plain.name.as_str(), plain.partitions, plain.replication_factor), ("t", -1, -1));
        assert_eq!(plain.configs, []);
        let offsets = config(&values).topic_to_create(&image, "__consumer_offsets", id);
        assert_eq!(
            (offsets.partitions, offsets.replication_factor),
            (9, 1),
            "as many replicas as there can be"
        );
        let expected =
            [("cleanup.policy", "compact"), ("compression.type", "producer"), ("segment.bytes", "2097152")];
        let expected = expected.map(|(key, value)| (key.to_owned(), Some(value.to_owned())));
        assert_eq!(offsets.configs, expected);
        let transactions = config(&[("transaction.state.log.num.partitions", "7")]);
        let transactions = transactions.topic_to_create(&image, "__transaction_state", id);
        assert_eq!((transactions.partitions, transactions.replication_factor), (7, 1));
        let expected = [
            ("unclean.leader.election.enable", "false"),
            ("compression.type", "uncompressed"),
            ("cleanup.policy", "compact"),
            ("min.insync.replicas", "1"),
            ("segment.bytes", "104857600"),
        ];
        let expected = expected.map(|(key, value)| (key.to_owned(), Some(value.to_owned())));
        assert_eq!(transactions.configs, expected);
        let asked = config(&[("offsets.topic.replication.factor", "3")]);
        let offsets = asked.topic_to_create(&image, "__consumer_offsets", id);
        assert_eq!(offsets.replication_factor, 3, "who asks for three gets three or an error");
    }
}

//! The broker: frames in, frames out, partitions between.
//!
//! It waits, so that cores below need not: connections, long polls, disk lanes and timers meet here, and reach time,
//! disk, network and randomness only through `env`. It knows no operating system (`node` does) and decides little:
//! offsets belong to `log`, groups to `groups`, topics and configurations to `metadata`.
//!
//! Read [`connection`] first: a frame comes in there, goes through [`dispatch`] to a file of `handlers`, and from
//! there to a [`partition`] or a host of a coordinator.

mod acks;
mod backlog;
mod catching_up;
mod cleaner;
mod client_info;
mod client_metrics;
mod client_quotas;
mod config;
pub mod connection;
mod connections;
mod consumer_records;
mod context;
mod controller;
mod coordinators;
mod dead_letters;
mod dir_assignments;
mod discovery;
pub mod dispatch;
mod door;
mod doorbell;
mod elections;
mod failure_code;
mod fetch_sessions;
mod fetch_wait;
mod fetchers;
mod follower;
mod frame_budget;
mod frames;
mod gathering;
mod group_hosts;
mod group_records;
mod handlers;
mod image_topics;
mod images;
mod isr_changes;
mod key_index;
mod lifecycle;
mod link;
mod log_config;
mod log_dir;
mod log_dirs;
pub mod log_levels;
mod mailboxes;
mod metadata_records;
pub mod metrics;
mod moves;
mod observers;
mod pace;
mod partition;
mod partitions;
mod peer_frames;
mod producer_ids;
mod quorum_member;
mod record_bytes;
mod remote_log;
mod repair;
mod replica_place;
mod replicas;
mod scrub;
mod share_coordinators;
mod share_fetch;
mod share_group_records;
mod share_partition;
mod share_partitions;
mod share_rpc;
mod share_state_records;
mod share_states;
mod start;
mod streams_group_records;
mod streams_topics;
mod tail_budget;
mod throttles;
mod transaction_hosts;
mod transaction_records;
mod txn_ends;
mod txn_markers;
mod txn_verification;
mod unsupported;
mod upkeep;
pub mod view;
mod voting;

pub use client_metrics::ClientMetric;
pub use config::{BACKLOG_BYTES_MAX_DEFAULT, Config, TAIL_BYTES_MAX_DEFAULT};
pub use door::Door;
pub use link::Address;
pub use log_dir::LogDirError;
pub use mailboxes::{GATEWAY_LISTENER, partition_of};
pub use metrics::Metrics;
pub use start::StartError;
pub use unsupported::Unsupported;

use backlog::Backlog;
use catching_up::CatchingUp;
use client_metrics::ClientMetrics;
use client_quotas::ClientQuotas;
use connections::Connections;
use controller::ControllerHost;
use doorbell::Doorbell;
use env::{Incoming, World};
use fetch_sessions::FetchSessions;
use fetchers::Fetchers;
use frame_budget::FrameBudget;
use gathering::Gathering;
use group_hosts::GroupHosts;
use images::Images;
use link::Links;
use log_dir::{LogDir, Shared};
use log_dirs::LogDirs;
use mailboxes::Desks;
use metadata::{
    Image,
    config::{Entry, Resource},
};
use model::{PartitionIndex, TopicId};
use moves::Moves;
use observers::Observers;
use parking_lot::Mutex;
use partitions::Partitions;
use producer_ids::ProducerIds;
use quorum::RaftQuorum;
use remote_log::RemoteLog;
use share_coordinators::ShareCoordinators;
use share_partitions::SharePartitions;
use std::sync::{Arc, atomic::AtomicBool};
use stdx::Uuid;
use streams_topics::StreamsTopics;
use throttles::Throttles;
use transaction_hosts::TransactionHosts;
use wire::ErrorCode;

/// The directory of the metadata log inside the log directory.
pub(crate) const METADATA_DIR: &str = "__cluster_metadata-0";

/// One broker with its controller.
pub struct Broker {
    pub(crate) config: Config,
    pub(crate) world: World,
    pub(crate) shared: Arc<Shared>,
    /// The directory of the metadata log: whose the node is.
    pub(crate) home: Arc<LogDir>,
    /// Where the partitions lie.
    pub(crate) dirs: Arc<LogDirs>,
    /// Replicas that go from one of them to another.
    pub(crate) moves: Moves,
    pub(crate) backlog: Arc<Backlog>,
    pub(crate) connections: Arc<Connections>,
    pub(crate) frame_budget: FrameBudget,
    pub(crate) controller: ControllerHost,
    pub(crate) quorum: Arc<RaftQuorum>,
    pub(crate) links: Arc<Links>,
    pub(crate) remote: Arc<RemoteLog>,
    pub(crate) observers: Observers,
    pub(crate) doorbell: Arc<Doorbell>,
    pub(crate) is_stopping: AtomicBool,
    /// Drawn at this start.
    pub(crate) incarnation: Uuid,
    pub(crate) images: Arc<Images>,
    /// The image that the partitions are in line with, once they are open; held while they are brought in line.
    pub(crate) following: tokio::sync::Mutex<Option<Arc<Image>>>,
    pub(crate) partitions: Partitions,
    pub(crate) fetchers: Fetchers,
    pub(crate) groups: GroupHosts,
    pub(crate) transactions: TransactionHosts,
    /// Markers for the brokers that lead partitions.
    pub(crate) txn_markers: Arc<Gathering<txn_markers::MarkerFor, Option<txn_markers::Written>>>,
    /// Questions to transaction coordinators.
    pub(crate) txn_questions: Arc<Gathering<txn_verification::Question, txn_verification::Told>>,
    pub(crate) share_coordinators: ShareCoordinators,
    /// Questions to share coordinators of other brokers.
    pub(crate) share_asking: share_states::Asking,
    pub(crate) shares: SharePartitions,
    pub(crate) streams_topics: StreamsTopics,
    /// Who writes into streams of keys, and what is known of them.
    pub(crate) desks: Desks,
    pub(crate) producer_ids: ProducerIds,
    pub(crate) sessions: Mutex<FetchSessions>,
    pub(crate) metrics: Metrics,
    pub(crate) throttles: Throttles,
    pub(crate) catching_up: Arc<CatchingUp>,
    pub(crate) client_quotas: ClientQuotas,
    pub(crate) client_metrics: ClientMetrics,
}

impl Broker {
    /// Serves one connection to its end.
    pub async fn serve(self: Arc<Self>, incoming: Incoming) {
        connection::serve(self, incoming).await;
    }

    /// The newest committed image of the cluster.
    pub fn image(&self) -> Arc<Image> {
        self.images.newest()
    }

    /// Ends when the cluster's metadata say what this program cannot work with. It knows nothing that is newer than that and
    /// must not go on: stop it.
    pub async fn until_unsupported(&self) -> Unsupported {
        self.images.until_given_up().await
    }

    /// What is counted.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The most that is sent to replicas that are not in sync, in bytes per second; `None`: it is not bounded.
    pub fn catch_up_rate(&self) -> Option<u64> {
        self.catching_up.rate()
    }

    pub(crate) fn now_ms(&self) -> i64 {
        self.world.clock.wall()
    }

    pub(crate) fn groups_config(&self) -> groups::Config {
        log_config::of_groups(&self.config.configs(&self.image()).broker())
    }

    pub(crate) fn share_coordinators_config(&self) -> share::CoordinatorConfig {
        log_config::of_share_coordinators(&self.config.configs(&self.image()).broker())
    }

    pub(crate) fn transactions_config(&self) -> transactions::Config {
        let image = self.image();
        log_config::of_transactions(&self.config.configs(&image).broker(), &image)
    }

    /// Where other brokers reach a broker.
    pub(crate) fn address_of(&self, node: model::NodeId) -> Option<Address> {
        let image = self.image();
        let endpoint = image.broker(node)?.endpoint(&self.config.fetchers().listener)?;
        Some(Address { host: endpoint.host.clone(), port: endpoint.port })
    }

    pub(crate) fn describe_config(
        &self,
        resource: &Resource,
        keys: Option<&[String]>,
    ) -> Result<Vec<Entry>, metadata::Error> {
        self.config.configs(&self.image()).describe(resource, keys)
    }

    /// Why a partition is not here: its replicas are elsewhere, or there is none.
    pub(crate) fn absent(&self, topic: &str, index: PartitionIndex) -> ErrorCode {
        absent(self.image().topic(topic).map(Arc::as_ref), index)
            .unwrap_or(ErrorCode::UnknownTopicOrPartition)
    }

    /// The same for a topic that is named by its id.
    pub(crate) fn absent_by_id(&self, topic: TopicId, index: PartitionIndex) -> ErrorCode {
        absent(self.image().topic_by_id(topic).map(Arc::as_ref), index).unwrap_or(ErrorCode::UnknownTopicId)
    }

    /// How many log directories are offline: they could not be opened, or a write or sync has failed.
    pub fn offline_log_dirs(&self) -> usize {
        self.dirs.all().iter().filter(|dir| dir.is_offline()).count()
    }

    /// Runs blocking work on a disk lane; `None` if the node stopped before it ran.
    pub(crate) async fn on_lane<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        partition::on_lane(&self.world, work).await
    }

    /// Runs a long computation on a worker; `None` if the node stopped before it ran.
    pub(crate) async fn on_worker<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        partition::on_worker(&self.world, work).await
    }
}

/// `None` if there is no such topic.
fn absent(topic: Option<&metadata::Topic>, index: PartitionIndex) -> Option<ErrorCode> {
    topic.map(|topic| match topic.partition(index) {
        Some(_) => ErrorCode::NotLeaderOrFollower,
        None => ErrorCode::UnknownTopicOrPartition,
    })
}

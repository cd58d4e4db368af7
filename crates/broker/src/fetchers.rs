//! Copying what other brokers lead: one fetcher for each broker that leads partitions of which this one has a replica.
//!
//! It decides neither whom to follow (`replicas` says, after the metadata) nor what an answer means for a log
//! ([`replica::after_fetch`] does); `fetcher` works, `session` knows what the leader was told.

mod fetcher;
mod followed;
mod session;

#[cfg(test)]
pub(crate) mod tests;

use crate::{Broker, partition::Partition};
use client::Connect;
use env::Nanos;
use fetcher::Fetcher;
use metadata::config::Resolved;
use model::{LeaderEpoch, NodeId, PartitionIndex, TopicId};
use parking_lot::Mutex;
use std::{collections::BTreeMap, sync::Arc};

/// A partition of the cluster.
pub(crate) type Key = (TopicId, PartitionIndex);

/// All fetchers of this broker.
pub(crate) struct Fetchers {
    connect: Arc<dyn Connect>,
    settings: Settings,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By the broker that leads; each works until this broker ends, for there are no more than brokers.
    fetchers: BTreeMap<NodeId, Arc<Fetcher>>,
    /// Who is followed where.
    leaders: BTreeMap<Key, NodeId>,
}

/// Whom a partition follows from now on.
pub(crate) struct Order {
    pub(crate) partition: Arc<Partition>,
    /// Nobody if this broker leads it itself, or nobody does.
    pub(crate) leader: Option<(NodeId, LeaderEpoch)>,
}

/// Kafka's `replica.fetch.*` and what belongs to them.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) node: NodeId,
    /// `replica.fetch.wait.max.ms`.
    pub(crate) wait_ms_max: i32,
    /// The same after an answer that told nothing, where many partitions are followed.
    pub(crate) wait_ms_quiet: i32,
    /// `replica.fetch.min.bytes`.
    pub(crate) bytes_min: i32,
    /// `replica.fetch.max.bytes`, of one partition.
    pub(crate) partition_bytes_max: i32,
    /// `replica.fetch.response.max.bytes`, of all.
    pub(crate) response_bytes_max: i32,
    /// `replica.fetch.backoff.ms`: the longest pause after a failure; the first are shorter.
    pub(crate) backoff_ms: i64,
    /// `replica.socket.timeout.ms`.
    pub(crate) socket_timeout_ms: i64,
    /// `inter.broker.listener.name`, or the one of `security.inter.broker.protocol`.
    pub(crate) listener: String,
}

/// How long an answer is waited for at most after one that told nothing. An idle cluster mostly looks at its partitions
/// for each other's sake; the longer it waits, the less it looks. Records end any wait at once.
const WAIT_MS_QUIET: i64 = 2000;
/// How long a broker is doubted whose connection has broken: some times what its succession takes.
const DOUBT_MS: u64 = 500;

impl Settings {
    /// As the broker is configured.
    pub(crate) fn new(node: NodeId, broker: &Resolved<'_>) -> Self {
        let int = |name: &str| i32::try_from(broker.integer(name)).unwrap_or(i32::MAX);
        let text = |name: &str| broker.text(name).map(|text| text.into_owned());
        // A leader must hear of its followers long before it takes them for lost.
        let quiet_ms = WAIT_MS_QUIET.min(broker.integer("replica.lag.time.max.ms") / 5);
        let wait_ms_max = int("replica.fetch.wait.max.ms");
        Self {
            node,
            wait_ms_max,
            wait_ms_quiet: wait_ms_max.max(i32::try_from(quiet_ms).unwrap_or(i32::MAX)),
            bytes_min: int("replica.fetch.min.bytes"),
            partition_bytes_max: int("replica.fetch.max.bytes"),
            response_bytes_max: int("replica.fetch.response.max.bytes"),
            backoff_ms: broker.integer("replica.fetch.backoff.ms"),
            socket_timeout_ms: broker.integer("replica.socket.timeout.ms"),
            listener: text("inter.broker.listener.name")
                .or_else(|| text("security.inter.broker.protocol"))
                .unwrap_or_default(),
        }
    }
}

impl Fetchers {
    pub(crate) fn new(connect: Arc<dyn Connect>, settings: Settings) -> Self {
        Self { connect, settings, state: Mutex::default() }
    }

    /// Carries orders out; of one partition they come one after the other.
    pub(crate) fn assign(&self, broker: &Arc<Broker>, orders: Vec<Order>) {
        let mut state = self.state.lock();
        for Order { partition, leader } in orders {
            let key = (partition.topic_id(), partition.index());
            let before = match leader {
                Some((node, _)) => state.leaders.insert(key, node),
                None => state.leaders.remove(&key),
            };
            let leaves = before.filter(|before| leader.is_none_or(|(node, _)| node != *before));
            if let Some(left) = leaves.and_then(|node| state.fetchers.get(&node)) {
                left.drop_partition(key);
            }
            if let Some((node, epoch)) = leader {
                let fetcher = state.fetchers.entry(node).or_insert_with(|| self.start(broker, node));
                fetcher.add_partition(key, partition, epoch);
            }
        }
    }

    /// The brokers to which the connection has broken just now. If one has died, others lead what it led in a moment; if
    /// that takes longer than `DOUBT_MS`, nobody knows how long.
    pub(crate) fn doubted(&self, now: Nanos) -> Vec<NodeId> {
        let is_doubted = |fetcher: &Fetcher| {
            fetcher.broken_since().is_some_and(|since| now < since.saturating_add(DOUBT_MS * 1_000_000))
        };
        let state = self.state.lock();
        state.fetchers.iter().filter(|(_, fetcher)| is_doubted(fetcher)).map(|(node, _)| *node).collect()
    }

    fn start(&self, broker: &Arc<Broker>, leader: NodeId) -> Arc<Fetcher> {
        let fetcher = Arc::new(Fetcher::new(leader, self.settings.clone(), self.connect.clone()));
        broker.world.tasks.spawn(Box::pin(fetcher.clone().run(Arc::downgrade(broker))));
        fetcher
    }
}

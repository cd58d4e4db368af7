//! What DescribeQuorum tells: how far each replica is, as the leader knows it.
//!
//! Kafka's replicas fetch and ours are sent to, so the time of the last fetch is that of the last answer. Who has no vote
//! and does not answer is told of no more: it may never come back.

use crate::{
    member::Replica,
    quorum::{Description, ReplicaState},
    raft_quorum::Inner,
};
use env::Millis;
use openraft::async_runtime::WatchReceiver;
use std::collections::BTreeMap;

/// An observer that has not answered for so long is not told of, as in Kafka.
const SILENT_MS_MAX: Millis = 300_000;

/// When each replica had everything last.
#[derive(Default)]
pub(super) struct CaughtUp(BTreeMap<Replica, Millis>);

pub(super) fn describe(inner: &Inner) -> Description {
    let leadership = *inner.leadership.borrow();
    let metrics = inner.raft.metrics().borrow_watched().clone();
    let (wall, now) = (inner.world.clock.wall(), inner.world.clock.now());
    let voters: Vec<_> = metrics.membership_config.voter_ids().collect();
    let leads = leadership.leader == Some(inner.config.replica);
    let mut caught_up = inner.caught_up.lock();
    let state = inner.store.0.state.lock();
    let last = state.log.last();
    let (mut in_quorum, mut observers) = (Vec::new(), Vec::new());
    for (replica, member) in metrics.membership_config.nodes() {
        let own = *replica == inner.config.replica;
        let told = metrics.replication.as_ref().and_then(|all| all.get(replica).copied().flatten());
        let matching = if own { last } else { told };
        let answered = metrics.heartbeat.as_ref().and_then(|all| all.get(replica).copied().flatten());
        let last_fetch_ms = match answered {
            _ if !leads => -1,
            _ if own => wall,
            Some(at) => wall - (now.saturating_sub(at.into_inner().0) / 1_000_000) as i64,
            None => -1,
        };
        if last_fetch_ms >= 0 && matching == last {
            caught_up.0.insert(*replica, last_fetch_ms);
        }
        let offset = matching.and_then(|id| state.log.offset_after(id.index));
        let described = ReplicaState {
            replica: *replica,
            member: member.clone(),
            log_end_offset: offset.filter(|_| leads).unwrap_or(-1),
            last_fetch_ms,
            last_caught_up_ms: caught_up.0.get(replica).copied().filter(|_| leads).unwrap_or(-1),
        };
        if voters.contains(replica) {
            in_quorum.push(described);
        } else if !leads || last_fetch_ms >= 0 && wall - last_fetch_ms < SILENT_MS_MAX {
            observers.push(described);
        }
    }
    Description { leadership, voters: in_quorum, observers }
}

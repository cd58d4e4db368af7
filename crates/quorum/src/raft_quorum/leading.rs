//! Who leads and how far the log is committed, put together from what the Raft library and the state machine tell.
//!
//! It also keeps the addresses of the others up to date, and hands over what this replica leads without a vote. It runs as
//! a task until the library stops.

use crate::{
    member::Replica,
    peers::Way,
    quorum::Leadership,
    state_machine::{self, StateMachine},
    type_config::{TypeConfig, epoch_of},
    watch::{Watching, watch},
};
use env::World;
use openraft::{Raft, ServerState, async_runtime::WatchReceiver, metrics::RaftServerMetrics};
use std::sync::Arc;

/// A leader without a vote asks the next voter to lead so long after the one before.
const HAND_OVER_MS: i64 = 300;

pub(super) fn follow(
    world: &World,
    raft: &Raft<TypeConfig, StateMachine>,
    way: &Arc<Way>,
    mut committed: Watching<state_machine::Committed>,
) -> Watching<Leadership> {
    let mut metrics = raft.server_metrics();
    let first = leadership(&metrics.borrow_watched(), *committed.borrow(), None);
    let (sender, receiver) = watch(first);
    let (way, raft, clock) = (way.clone(), raft.clone(), world.clock.clone());
    let task = async move {
        let mut asked = 0;
        loop {
            let successor = successor(&metrics.borrow_watched(), asked);
            let next = {
                let metrics = metrics.borrow_and_update();
                // Who is alone has nobody to show itself to and nobody to miss: it need not wake.
                raft.runtime_config().tick(metrics.membership_config.nodes().count() > 1);
                let nodes = metrics.membership_config.nodes();
                *way.members.lock() = nodes.map(|(replica, member)| (*replica, member.clone())).collect();
                leadership(&metrics, *committed.borrow_and_update(), Some(*sender.borrow()))
            };
            sender.send_if_modified(|current| std::mem::replace(current, next) != next);
            if let Some(voter) = successor {
                asked += 1;
                if raft.trigger().transfer_leader(voter).await.is_err() {
                    break;
                }
                clock.sleep_until(clock.after_millis(HAND_OVER_MS)).await;
                continue;
            }
            let changed = tokio::select! {
                biased;
                changed = metrics.changed() => changed,
                changed = committed.changed() => changed,
            };
            if changed.is_err() {
                break;
            }
        }
        // The library has stopped, in order or because a disk failed: whoever decides here must not any more.
        sender.send_if_modified(|current| {
            (current.leader, current.is_active) = (None, false);
            true
        });
    };
    world.tasks.spawn(Box::pin(crate::runtime::in_world(world.clone(), task)));
    receiver
}

/// Whom a leader asks to lead whose vote was taken, which is committed, for the so-manieth time. Nobody would find it: a
/// controller is looked for among the voters. The library lets an observer lead on.
fn successor(metrics: &RaftServerMetrics<TypeConfig>, asked: usize) -> Option<Replica> {
    let is_settled = metrics.committed_membership_config == metrics.membership_config;
    let voters: Vec<_> = metrics.membership_config.voter_ids().collect();
    if metrics.state != ServerState::Leader || !is_settled || voters.contains(&metrics.id) {
        return None;
    }
    voters.get(asked.checked_rem(voters.len())?).copied()
}

fn leadership(
    metrics: &RaftServerMetrics<TypeConfig>,
    committed: state_machine::Committed,
    before: Option<Leadership>,
) -> Leadership {
    let epoch = epoch_of(metrics.vote.leader_id.term).unwrap_or(i32::MAX);
    let leads = metrics.state == ServerState::Leader && metrics.current_leader == Some(metrics.id);
    let high_watermark = before.map_or(0, |before| before.high_watermark).max(committed.offset);
    Leadership {
        leader: metrics.current_leader,
        epoch: epoch.max(before.map_or(0, |before| before.epoch)),
        high_watermark,
        is_active: leads && committed.epoch == epoch,
    }
}

//! Changes of the voters that were left half done. The library makes a change in two steps, and the leader may be gone after
//! the first: from then on the old voters and the new ones must both agree to everything, for ever.
//!
//! It begins no change. Whoever leads when a first step is committed and no second one follows takes that step.

use crate::{runtime::in_world, state_machine::StateMachine, type_config::TypeConfig};
use env::World;
use openraft::{ChangeMembers, Raft, ServerState, async_runtime::WatchReceiver, metrics::RaftServerMetrics};
use std::collections::BTreeSet;

/// Whoever makes a change takes the second step at once, if it is there.
const WAIT_MS: i64 = 500;

pub(super) fn follow(world: &World, raft: &Raft<TypeConfig, StateMachine>) {
    let (raft, clock) = (raft.clone(), world.clock.clone());
    let mut metrics = raft.server_metrics();
    let task = async move {
        loop {
            let found = half_done(&metrics.borrow_and_update());
            if found.is_some() {
                clock.sleep_until(clock.after_millis(WAIT_MS)).await;
                if half_done(&metrics.borrow_watched()) != found {
                    continue;
                }
                tracing::warn!(
                    "a change of the voters was left half done by an earlier leader; it is finished"
                );
                // To add nobody to the new voters is to have them only.
                let change = ChangeMembers::AddVoterIds(BTreeSet::new());
                if raft.change_membership(change, true).await.is_ok() {
                    continue;
                }
            }
            if metrics.changed().await.is_err() {
                return;
            }
        }
    };
    world.tasks.spawn(Box::pin(in_world(world.clone(), task)));
}

/// The term in which this replica leads, and the index of a committed first step without a second.
fn half_done(metrics: &RaftServerMetrics<TypeConfig>) -> Option<(u64, u64)> {
    let membership = &metrics.membership_config;
    let is_settled = metrics.committed_membership_config == *membership;
    let is_half = membership.membership().get_joint_config().len() > 1;
    let index = membership.log_id().as_ref().map(|id| id.index)?;
    let leads = metrics.state == ServerState::Leader && metrics.current_leader == Some(metrics.id);
    (leads && is_settled && is_half).then_some((metrics.vote.leader_id.term, index))
}

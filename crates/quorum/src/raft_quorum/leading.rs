//! Who leads and how far the log is committed, put together from what the Raft library and the state machine tell.
//!
//! It also keeps the addresses of the others up to date, and hands over what this replica leads without a vote. It runs as
//! a task until the library stops.
//!
//! The library lets a leader lead on that is cut off from the others. Here it leads no more once no quorum has heard it for
//! the longest election timeout (Kafka does the like): another may have been elected, and whoever only reaches this one
//! would stay with it.

use crate::{
    member::Replica,
    peers::Way,
    quorum::Leadership,
    state_machine::{self, StateMachine},
    type_config::{TypeConfig, epoch_of},
    watch::{Watching, watch},
};
use env::{Nanos, World};
use openraft::{Raft, ServerState, async_runtime::WatchReceiver, metrics::RaftServerMetrics};
use std::sync::Arc;

/// A leader without a vote asks the next voter to lead so long after the one before.
const HAND_OVER_MS: i64 = 300;
/// A leader that no quorum hears looks so many times in an election timeout whether one does again.
const LOOKS_PER_TIMEOUT: Nanos = 8;
/// This part of a timeout is waited besides: a process that was held up itself finds answers that it has not read.
const GRACE_DIVISOR: Nanos = 4;

/// Since when a leader leads, and until when that holds without another sign of a quorum.
struct Hearing {
    /// The longest time until somebody else may be elected.
    timeout: Nanos,
    /// The epoch, and when it began here: nobody can have answered before.
    led: Option<(u64, Nanos)>,
    /// When the time was found to be over.
    missed_at: Option<Nanos>,
}

pub(super) fn follow(
    world: &World,
    raft: &Raft<TypeConfig, StateMachine>,
    way: &Arc<Way>,
    election_timeout_ms: u64,
    mut committed: Watching<state_machine::Committed>,
) -> Watching<Leadership> {
    let mut metrics = raft.server_metrics();
    let first = leadership(&metrics.borrow_watched(), *committed.borrow(), None);
    let mut hearing = Hearing::new(election_timeout_ms.saturating_mul(2_000_000));
    let (sender, receiver) = watch(first);
    let (way, raft, clock) = (way.clone(), raft.clone(), world.clock.clone());
    let task = async move {
        let mut asked = 0;
        loop {
            let successor = successor(&metrics.borrow_watched(), asked);
            let acked = raft.metrics().borrow_watched().last_quorum_acked.map(|at| at.into_inner().0);
            let now = clock.now();
            let (next, ends_at) = {
                let metrics = metrics.borrow_and_update();
                let ends_at = hearing.ends_at(&metrics, acked, now);
                // Who is alone has nobody to show itself to and nobody to miss: it need not wake.
                raft.runtime_config().tick(metrics.membership_config.nodes().count() > 1);
                let nodes = metrics.membership_config.nodes();
                *way.members.lock() = nodes.map(|(replica, member)| (*replica, member.clone())).collect();
                let next = leadership(&metrics, *committed.borrow_and_update(), Some(*sender.borrow()));
                (if hearing.is_over(ends_at, now) { unheard(next) } else { next }, ends_at)
            };
            if next.leader.is_none() && sender.borrow().is_active {
                tracing::warn!(
                    epoch = next.epoch,
                    "no quorum answers this leader any more: it does not decide"
                );
            }
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
                () = clock.sleep_until(hearing.look_at(ends_at, now)) => Ok(()),
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

impl Hearing {
    fn new(timeout: Nanos) -> Self {
        Self { timeout, led: None, missed_at: None }
    }

    /// When it is over if no quorum answers; never for who does not lead, or needs nobody's answer.
    fn ends_at(
        &mut self,
        metrics: &RaftServerMetrics<TypeConfig>,
        acked: Option<Nanos>,
        now: Nanos,
    ) -> Nanos {
        let leads = metrics.state == ServerState::Leader && metrics.current_leader == Some(metrics.id);
        let term = metrics.vote.leader_id.term;
        if !leads || metrics.membership_config.voter_ids().eq([metrics.id]) {
            self.led = None;
            return Nanos::MAX;
        }
        let (_, since) = self.led.filter(|(led, _)| *led == term).unwrap_or((term, now));
        self.led = Some((term, since));
        acked.map_or(since, |acked| acked.max(since)).saturating_add(self.timeout)
    }

    /// Whether no quorum has answered by `ends_at`, nor a little later.
    fn is_over(&mut self, ends_at: Nanos, now: Nanos) -> bool {
        if ends_at > now {
            self.missed_at = None;
            return false;
        }
        let missed_at = *self.missed_at.get_or_insert(now);
        now.saturating_sub(missed_at) >= self.timeout / GRACE_DIVISOR
    }

    /// When to look again.
    fn look_at(&self, ends_at: Nanos, now: Nanos) -> Nanos {
        if ends_at > now { ends_at } else { now.saturating_add((self.timeout / LOOKS_PER_TIMEOUT).max(1)) }
    }
}

/// Of a leader that may have a successor already.
fn unheard(known: Leadership) -> Leadership {
    Leadership { leader: None, is_active: false, ..known }
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

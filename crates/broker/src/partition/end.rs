//! How a partition ends: closed for a stop, or removed with its topic; and how to wait until its lane rests.
//!
//! It deletes no files; `replicas` does. How a failed disk ends a partition stands in `flush`.

use super::{Partition, State};
use crate::acks::Undone;
use std::sync::Arc;
use tokio::sync::oneshot;

impl Partition {
    /// Ends when everything that is pending now was written, whatever is appended meanwhile; where room is missing, when
    /// that has been tried.
    pub(crate) async fn written(&self) {
        let receiver = {
            let mut state = self.state.lock();
            let State::Online(online) = &mut *state else { return };
            let is_next_needed = !online.pending.is_empty() || online.sync_wanted;
            if online.files.is_some() && (online.stuck.is_some() || !is_next_needed) {
                return;
            }
            let (sender, receiver) = oneshot::channel();
            online.waiting.push((online.jobs + u64::from(is_next_needed), sender));
            receiver
        };
        // It is told by being dropped, too.
        let _ = receiver.await;
    }

    /// Writes everything down for a clean stop. From now on nothing more is taken, so that what is marked clean stays so.
    pub(crate) async fn close(self: &Arc<Self>) {
        self.uncut().await;
        let job = {
            let mut state = self.state.lock();
            let online = match &mut *state {
                State::Online(online) => online,
                State::Offline(offline) => {
                    (offline.again, offline.is_closed) = (None, true);
                    return;
                }
                State::Deleted => return,
            };
            if !std::mem::replace(&mut online.is_closed, true) {
                online.log.close(&mut online.pending);
                online.sync_wanted = true;
            }
            self.flush_soon(online, self.shared.world.clock.wall())
        };
        self.hand_over(job);
        self.written().await;
    }

    /// The topic was deleted: whoever waits is told; the files stay for whoever deletes them. What it gives ends when no
    /// lane creates or opens anything in the directory any more: a new topic of the same name may have that path.
    pub(crate) fn remove(&self) -> Vec<oneshot::Receiver<()>> {
        let before = std::mem::replace(&mut *self.state.lock(), State::Deleted);
        self.end(before, Undone::Deleted)
    }

    /// Tells whoever waits; gives what ends with the jobs at work. Must not be called under the lock.
    pub(super) fn end(&self, before: State, why: Undone) -> Vec<oneshot::Receiver<()>> {
        let mut online = match before {
            State::Online(online) => online,
            State::Offline(offline) => return offline.jobs,
            State::Deleted => return Vec::new(),
        };
        self.shared.backlog.remove(online.pending_bytes);
        self.shared.tail.on_end(online.log.tail_bytes());
        online.break_off_reads();
        for ack in online.own_acks.iter().chain(&online.acks) {
            ack.settled.settle(ack.slot, Err(why));
        }
        let steps = online.upkeep.steps();
        online.job.into_iter().chain(steps).collect()
    }

    /// Whether something was taken that could not be written, or the log was not even opened: the next start must not
    /// take it for a log that was closed.
    pub(crate) fn is_stuck(&self) -> bool {
        match &*self.state.lock() {
            State::Online(online) => online.stuck.is_some(),
            State::Offline(_) => true,
            State::Deleted => false,
        }
    }

    /// Whether it refuses records only until there is room on the disk, or descriptors.
    pub(crate) fn waits_for_room(&self) -> bool {
        match &*self.state.lock() {
            State::Online(online) => online.stuck.is_some(),
            // Taken while a try is under way.
            State::Offline(offline) => offline.again.is_some(),
            State::Deleted => false,
        }
    }
}

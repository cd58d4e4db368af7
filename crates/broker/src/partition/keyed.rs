//! What the host of mailboxes needs of a partition beside reading it: where it ends, to append only if that is still so, and to
//! wait until something is safe.
//!
//! It knows nothing of keys; `mailboxes` does, which calls it.

use super::{
    Partition, Refused, State,
    append::{Appending, Copies},
    read::{Isolation, Reader, Watch},
    role::Role,
};
use crate::{acks::Settled, fetch_wait::FetchWait};
use log::{Appended, Origin};
use model::{LeaderEpoch, Offset, Timestamp};
use records::Checked;
use std::sync::Arc;

/// Where a partition begins and ends for its leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ends {
    /// The first offset that is kept.
    pub(crate) start: Offset,
    /// The first offset of the segment that is written to.
    pub(crate) active: Offset,
    /// Everything before belongs to no open transaction and is durable.
    pub(crate) stable: Offset,
    /// Everything before is durable.
    pub(crate) safe: Offset,
    /// Everything before was appended.
    pub(crate) end: Offset,
}

impl Partition {
    /// The epoch in which this broker leads, if it does.
    pub(crate) fn leads_in(&self) -> Option<LeaderEpoch> {
        match &*self.state.lock() {
            State::Online(online) => match &online.role {
                Role::Leader(leader) => Some(leader.leader_epoch()),
                Role::Follower(_) => None,
            },
            State::Offline(_) | State::Deleted => None,
        }
    }

    /// Where it ends, if this broker leads it in this epoch.
    pub(crate) fn ends(&self, epoch: LeaderEpoch) -> Result<Ends, Refused> {
        let mut state = self.state.lock();
        let online = state.online()?;
        match &online.role {
            Role::Leader(leader) if leader.leader_epoch() == epoch => {}
            _ => return Err(Refused::NotLeader),
        }
        Ok(Ends {
            start: online.log.start_offset(),
            active: online.log.active_segment(),
            stable: online.visible(Isolation::LastStable),
            safe: online.high_watermark,
            end: online.log.end_offset(),
        })
    }

    /// Appends a batch as the leader of `epoch`, if the log still ends `at` that offset; `settled` is told when all replicas in
    /// sync have it, unless this fails.
    pub(crate) fn append_if(
        self: &Arc<Self>,
        now: Timestamp,
        (epoch, at): (LeaderEpoch, Option<Offset>),
        batch: Checked,
        settled: Arc<dyn Settled>,
    ) -> Result<Appended, Refused> {
        let (origin, guard, copies) = (Origin::Client, None, Copies::InSync);
        let appending = Appending { origin, guard, copies, is_patient: false, epoch: Some(epoch), at };
        self.append(now, batch, appending, Some((settled, 0)))
    }

    /// Waits until everything before `upto` is on all replicas in sync. It may take forever.
    pub(crate) async fn until_safe(
        self: &Arc<Self>,
        epoch: LeaderEpoch,
        upto: Offset,
    ) -> Result<(), Refused> {
        loop {
            let safe = self.ends(epoch)?.safe;
            if safe >= upto {
                return Ok(());
            }
            self.moved(Isolation::HighWatermark, safe).await;
        }
    }

    /// Waits until readers see more than what is before `seen`, or must look again for another reason.
    pub(crate) async fn moved(self: &Arc<Self>, isolation: Isolation, seen: Offset) {
        let wait = FetchWait::new(1);
        let reader = Reader::Consumer { isolation, leader_only: true };
        // Whoever waits no longer leaves no trace: while nothing becomes safe, many may come and go.
        let _watching = Watching { place: self.watch(wait.clone(), &reader, seen), partition: self };
        wait.enough().await;
    }
}

/// A place on the wake list, given back in the end.
struct Watching<'a> {
    partition: &'a Partition,
    place: Watch,
}

impl Drop for Watching<'_> {
    fn drop(&mut self) {
        self.partition.unwatch(self.place);
    }
}

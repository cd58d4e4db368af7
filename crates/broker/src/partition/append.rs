//! Taking batches: offsets are assigned under the lock, bytes go to a lane, whoever waits is noted.
//!
//! It decides neither offsets nor order; [`log::Log`] does. When an ack is settled, `flush` and `role` say.

use super::{Online, Partition, Refused, Role};
use crate::acks::{Settled, Undone};
use log::{Appended, Guard, Origin};
use model::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};
use records::{Checked, EndTxnMarker};
use std::sync::Arc;

/// Somebody who waits until everything before an offset is safe.
pub(super) struct Ack {
    pub(super) upto: Offset,
    /// Whether to wait while the disk is full. A coordinator must: it cannot take back what will be written later.
    pub(super) is_patient: bool,
    pub(super) settled: Arc<dyn Settled>,
    pub(super) slot: usize,
}

/// An ack that is due, and how it ends.
pub(super) type Due = (Ack, Result<(), Undone>);

/// On which copies a batch must be before it is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Copies {
    /// This broker's (acks=1).
    Own,
    /// Those of all replicas in sync, if there are enough (acks=all).
    InSync,
}

/// Who appends, and what of.
pub(super) struct Appending {
    pub(super) origin: Origin,
    /// What was given when the batch's transaction began to be verified.
    pub(super) guard: Option<Guard>,
    pub(super) copies: Copies,
    pub(super) is_patient: bool,
    /// Only as the leader of this epoch.
    pub(super) epoch: Option<LeaderEpoch>,
    /// Only if the log ends there.
    pub(super) at: Option<Offset>,
}

pub(super) fn settle(due: Vec<Due>) {
    for (ack, result) in due {
        ack.settled.settle(ack.slot, result);
    }
}

impl Partition {
    /// Appends a client's batch. `settled` is told when it is safe, unless this fails.
    pub(crate) fn produce(
        self: &Arc<Self>,
        now: Timestamp,
        batch: Checked,
        (copies, guard): (Copies, Option<Guard>),
        settled: Option<(Arc<dyn Settled>, usize)>,
    ) -> Result<Appended, Refused> {
        let appending =
            Appending { origin: Origin::Client, guard, copies, is_patient: false, epoch: None, at: None };
        self.append(now, batch, appending, settled)
    }

    /// Begins to verify the transaction of a producer: what its batch is to show, or nothing if it is open already.
    pub(crate) fn verify(
        &self,
        now: Timestamp,
        producer: (ProducerId, ProducerEpoch),
        sequence: Sequence,
        is_bumped: bool,
    ) -> Result<Option<Guard>, Refused> {
        let mut state = self.state.lock();
        let online = state.online()?;
        online.check_not_closed()?;
        online.check_leads(Copies::Own)?;
        let verified = online.log.verify(now, producer, sequence, is_bumped);
        verified.map_err(|error| Refused::Append(error.into()))
    }

    /// Ends a producer's transaction here. `settled` is told when that is safe, unless this fails.
    pub(crate) fn write_marker(
        self: &Arc<Self>,
        now: Timestamp,
        (producer_id, epoch): (ProducerId, ProducerEpoch),
        (marker, transaction_version): (EndTxnMarker, i16),
        settled: (Arc<dyn Settled>, usize),
    ) -> Result<Appended, Refused> {
        let batch = marker.to_batch(producer_id, epoch, now);
        let batch = batch.map_err(|_| Refused::Append(log::AppendError::NoMarker))?;
        let origin = Origin::Coordinator { transaction_version };
        let appending = Appending {
            origin,
            guard: None,
            copies: Copies::InSync,
            is_patient: true,
            epoch: None,
            at: None,
        };
        self.append(now, Checked::trusted(batch), appending, Some(settled))
    }

    /// The producers that the log knows.
    pub(crate) fn producers(&self) -> Result<Vec<(ProducerId, log::Producer)>, Refused> {
        let mut state = self.state.lock();
        let online = state.online()?;
        online.check_leads(Copies::Own)?;
        Ok(online.log.producers().iter().map(|(id, producer)| (id, producer.clone())).collect())
    }

    pub(super) fn append(
        self: &Arc<Self>,
        now: Timestamp,
        batch: Checked,
        appending: Appending,
        settled: Option<(Arc<dyn Settled>, usize)>,
    ) -> Result<Appended, Refused> {
        let Appending { origin, guard, copies, is_patient, epoch, at } = appending;
        let bytes = batch.bytes();
        let mut state = self.state.lock();
        let online = state.online()?;
        online.check_not_closed()?;
        let leader_epoch = online.check_leads(copies)?;
        if epoch.is_some_and(|epoch| epoch != leader_epoch) {
            return Err(Refused::NotLeader);
        }
        if at.is_some_and(|at| at != online.log.end_offset()) {
            return Err(Refused::Overtaken);
        }
        if let Some(why) = &online.stuck {
            return Err(Refused::Stuck(why.clone()));
        }
        let before = online.log.tail_bytes();
        let appended = online.log.append(now, leader_epoch, (origin, guard), batch, &mut online.pending)?;
        let upto = appended.last_offset + 1;
        let is_safe = upto <= online.safe_offset(copies);
        if let (Some((settled, slot)), false) = (&settled, is_safe) {
            let ack = Ack { upto, is_patient, settled: settled.clone(), slot: *slot };
            online.acks(copies).push_back(ack);
        }
        let tail = online.log.tail_bytes().saturating_sub(before);
        if !appended.duplicate {
            self.taken(online, upto, bytes);
        }
        let job = self.flush_soon(online, now);
        drop(state);
        self.hand_over(job);
        if let (Some((settled, slot)), true) = (settled, is_safe) {
            settled.settle(slot, Ok(()));
        }
        if tail > 0 {
            self.shared.tail.on_append(self, tail);
        }
        Ok(appended)
    }

    /// Counts what was appended, and tells the followers that there is more.
    pub(super) fn taken(&self, online: &mut Online, upto: Offset, bytes: usize) {
        online.pending_bytes += bytes;
        online.invisible.push_back((upto, bytes));
        self.shared.backlog.add(bytes);
        for (_, wait) in &online.following {
            wait.add(bytes);
        }
    }
}

impl Online {
    /// The epoch in which this broker leads, if enough replicas are in sync.
    fn check_leads(&self, copies: Copies) -> Result<LeaderEpoch, Refused> {
        let Role::Leader(leader) = &self.role else { return Err(Refused::NotLeader) };
        if copies == Copies::InSync && !leader.has_enough_in_sync() {
            return Err(Refused::TooFewInSync);
        }
        Ok(leader.leader_epoch())
    }

    /// Everything before is on these copies.
    fn safe_offset(&self, copies: Copies) -> Offset {
        match copies {
            Copies::Own => self.log.flushed_offset(),
            Copies::InSync => self.high_watermark,
        }
    }

    fn acks(&mut self, copies: Copies) -> &mut std::collections::VecDeque<Ack> {
        match copies {
            Copies::Own => &mut self.own_acks,
            Copies::InSync => &mut self.acks,
        }
    }
}

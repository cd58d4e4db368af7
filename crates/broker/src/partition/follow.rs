//! What a follower takes over from its leader: records, the high watermark, the start of the log.
//!
//! It fetches nothing; `fetchers` does. What follows from an answer [`replica::after_fetch`] decides.

use super::{Cut, Partition, Refused, State, append::Ack, role::Outcome};
use crate::acks::{Settled, Undone};
use bytes::Bytes;
use log::FollowError;
use model::{LeaderEpoch, Offset, Timestamp};
use records::Batch;
use replica::{Answer, FollowerStep, LocalLog, after_fetch};
use std::sync::Arc;

/// Where a follower goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// The end of the log. Everything before is as safe here as the topic asks: to fetch from here on acknowledges it.
    pub(crate) offset: Offset,
    /// Of the last record; -1 if there is none.
    pub(crate) last_epoch: LeaderEpoch,
    pub(crate) start_offset: Offset,
}

/// What a leader has sent.
#[derive(Debug, Clone)]
pub(crate) struct Fetched {
    /// Whole batches, one behind the other, and maybe a part of one more.
    pub(crate) records: Bytes,
    pub(crate) high_watermark: Offset,
    pub(crate) start_offset: Offset,
}

impl Partition {
    /// Where to go on fetching from the leader of `epoch`.
    pub(crate) fn place(&self, epoch: LeaderEpoch) -> Result<Place, Refused> {
        let mut state = self.state.lock();
        let online = state.online()?;
        online.check_not_closed()?;
        if !online.role.follows(epoch) || online.is_cutting {
            return Err(Refused::NotLeader);
        }
        let offset = online.log.end_offset();
        // A fetch from before the end would bring what is there already, or what differs from it.
        if online.log.flushed_offset() < offset {
            return Err(Refused::Stuck("its end is being written".into()));
        }
        Ok(Place {
            offset,
            last_epoch: online.log.epochs().epoch_for_offset(offset - 1).unwrap_or(-1),
            start_offset: online.log.start_offset(),
        })
    }

    /// Takes over what the leader of `epoch` has sent. `settled` is told when the records are as safe as the topic
    /// asks; at once if there are none, and always.
    pub(crate) fn follow(
        self: &Arc<Self>,
        now: Timestamp,
        epoch: LeaderEpoch,
        fetched: Fetched,
        (settled, slot): (Arc<dyn Settled>, usize),
    ) -> Result<(), Refused> {
        let mut outcome = Outcome::default();
        let mut state = self.state.lock();
        let result = (|| {
            let online = state.online()?;
            online.check_not_closed()?;
            if !online.role.follows(epoch) || online.is_cutting {
                return Err(Refused::NotLeader);
            }
            if let Some(why) = &online.stuck {
                return Err(Refused::Stuck(why.clone()));
            }
            let before = online.log.tail_bytes();
            let taken = self.take_over(now, epoch, online, fetched.records);
            let answer = Answer::Records {
                high_watermark: fetched.high_watermark,
                start_offset: fetched.start_offset,
            };
            if let FollowerStep::Continue { high_watermark, start_offset } =
                after_fetch(online.marks(), answer)
            {
                online.raise(high_watermark, &mut outcome);
                let high_watermark = online.high_watermark;
                online.log.follow_start_offset(start_offset, high_watermark, &mut online.pending);
            }
            let upto = online.log.end_offset();
            let is_safe = upto <= online.log.flushed_offset();
            if !is_safe {
                let ack = Ack { upto, is_patient: false, settled: settled.clone(), slot };
                online.own_acks.push_back(ack);
            }
            let job = self.flush_soon(online, now);
            Ok((taken, is_safe, online.log.tail_bytes().saturating_sub(before), job))
        })();
        drop(state);
        self.carry_out(outcome);
        let (taken, is_safe, tail, job) = result.inspect_err(|_| {
            settled.settle(slot, Err(Undone::Failed));
        })?;
        self.hand_over(job);
        if is_safe {
            settled.settle(slot, Ok(()));
        }
        if tail > 0 {
            self.shared.tail.on_append(self, tail);
        }
        taken.map_err(Refused::Follow)
    }

    /// Appends what is there until the first batch that is not right.
    fn take_over(
        &self,
        now: Timestamp,
        epoch: LeaderEpoch,
        online: &mut super::Online,
        mut records: Bytes,
    ) -> Result<(), FollowError> {
        while let Some(batch) = Batch::split_off(&mut records) {
            // It is of a leader that this broker has not heard of: it is fetched again from that one.
            if batch.header.leader_epoch > epoch {
                break;
            }
            let bytes = batch.bytes.len();
            online.log.append_as_follower(now, batch, &mut online.pending)?;
            self.taken(online, online.log.end_offset(), bytes);
        }
        Ok(())
    }

    /// How to cut the log after an answer that is no records; `None` if it can go on.
    pub(crate) fn cut_after(&self, answer: impl FnOnce(&log::Log) -> Answer) -> Option<Cut> {
        let mut state = self.state.lock();
        let State::Online(online) = &mut *state else { return None };
        let answer = answer(&online.log);
        match after_fetch(online.marks(), answer) {
            FollowerStep::Truncate(offset) => Some(Cut::At(offset)),
            FollowerStep::StartOver(offset) => Some(Cut::StartOver(offset)),
            FollowerStep::Continue { .. } => None,
        }
    }
}

impl super::Online {
    fn marks(&self) -> LocalLog {
        LocalLog {
            start_offset: self.log.start_offset(),
            end_offset: self.log.end_offset(),
            high_watermark: self.high_watermark,
        }
    }
}

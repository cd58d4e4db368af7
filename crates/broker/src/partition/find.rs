//! Offsets that belong to times, places or leader epochs (ListOffsets, OffsetForLeaderEpoch).
//!
//! [`log::Log`] answers from memory, or gives a plan that runs on a lane here.

use super::{Isolation, Partition, Refused, on_lane};
use log::{OffsetAnswer, OffsetPlan, OffsetQuery};
use model::{LeaderEpoch, Offset, Timestamp};
use std::io::ErrorKind;

/// What ListOffsets looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sought {
    Latest,
    Earliest,
    MaxTimestamp,
    Timestamp(Timestamp),
    /// Something that only tiered storage has.
    Nothing,
}

/// What was found; all -1 for nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) offset: Offset,
    pub(crate) timestamp: Timestamp,
    pub(crate) leader_epoch: LeaderEpoch,
}

/// What was found, or how to find it on a lane and where the log began when that was planned.
enum Planned {
    Known(Found),
    OnLane(OffsetPlan, Offset),
}

const NOTHING: Found = Found { offset: -1, timestamp: -1, leader_epoch: -1 };

impl Partition {
    /// The offset that ListOffsets looks for.
    pub(crate) async fn find(
        &self,
        sought: Sought,
        isolation: Isolation,
        current_leader_epoch: LeaderEpoch,
    ) -> Result<Found, Refused> {
        loop {
            let (plan, first_segment) = match self.plan(sought, isolation, current_leader_epoch)? {
                Planned::Known(found) => return Ok(found),
                Planned::OnLane(plan, first_segment) => (plan, first_segment),
            };
            let world = self.dir.world.clone();
            let found = on_lane(&self.dir.world, move || plan.find(&*world.disk)).await;
            match found.ok_or_else(|| Refused::Offline("the broker stops".into()))? {
                Ok(found) => return Ok(found.map_or(NOTHING, to_found)),
                // The segment was deleted meanwhile: what is asked for now lies in a later one.
                Err(error) if error.kind() == ErrorKind::NotFound && self.begins_behind(first_segment) => {}
                Err(error) => {
                    return Err(Refused::Offline(format!("{self} could not be read: {error}").into()));
                }
            }
        }
    }

    fn plan(
        &self,
        sought: Sought,
        isolation: Isolation,
        current_leader_epoch: LeaderEpoch,
    ) -> Result<Planned, Refused> {
        let mut state = self.state.lock();
        self.check_epoch(current_leader_epoch)?;
        let online = state.online()?;
        let upto = online.visible(isolation);
        let query = match sought {
            Sought::Latest => {
                let found = Found { offset: upto, timestamp: -1, leader_epoch: self.leader_epoch()? };
                return Ok(Planned::Known(found));
            }
            Sought::Nothing => return Ok(Planned::Known(NOTHING)),
            Sought::Earliest => OffsetQuery::Earliest,
            Sought::MaxTimestamp => OffsetQuery::MaxTimestamp,
            Sought::Timestamp(timestamp) => OffsetQuery::At(timestamp),
        };
        Ok(match online.log.offset_for(query, upto) {
            OffsetAnswer::Known(found) => Planned::Known(found.map_or(NOTHING, to_found)),
            OffsetAnswer::Plan(plan) => Planned::OnLane(plan, online.log.first_segment()),
        })
    }

    fn begins_behind(&self, segment: Offset) -> bool {
        self.offsets().is_some_and(|offsets| offsets.first_segment > segment)
    }

    /// Where a leader epoch ends: the largest epoch not above it, and the offset behind its last record.
    pub(crate) fn epoch_end(
        &self,
        current_leader_epoch: LeaderEpoch,
        epoch: LeaderEpoch,
    ) -> Result<Option<(LeaderEpoch, Offset)>, Refused> {
        let mut state = self.state.lock();
        self.check_epoch(current_leader_epoch)?;
        let online = state.online()?;
        let end_offset = online.log.end_offset();
        if epoch == self.leader_epoch()? {
            return Ok(Some((epoch, end_offset)));
        }
        let found = online.log.epochs().end_offset_for(epoch, end_offset);
        Ok((found.1 >= 0).then_some(found))
    }
}

fn to_found(found: log::FoundOffset) -> Found {
    Found { offset: found.offset, timestamp: found.timestamp, leader_epoch: found.leader_epoch }
}

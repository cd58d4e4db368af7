//! Offsets that belong to times, places or leader epochs (ListOffsets, OffsetForLeaderEpoch).
//!
//! [`log::Log`] answers from memory, or gives a plan that runs on a lane here.

use super::{Isolation, Partition, Refused, on_lane};
use log::{OffsetAnswer, OffsetQuery};
use model::{LeaderEpoch, Offset, Timestamp};

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

const NOTHING: Found = Found { offset: -1, timestamp: -1, leader_epoch: -1 };

impl Partition {
    /// The offset that ListOffsets looks for.
    pub(crate) async fn find(
        &self,
        sought: Sought,
        isolation: Isolation,
        current_leader_epoch: LeaderEpoch,
    ) -> Result<Found, Refused> {
        let plan = {
            let mut state = self.state.lock();
            self.check_epoch(current_leader_epoch)?;
            let online = state.online()?;
            let upto = online.visible(isolation);
            let query = match sought {
                Sought::Latest => {
                    return Ok(Found { offset: upto, timestamp: -1, leader_epoch: self.leader_epoch });
                }
                Sought::Nothing => return Ok(NOTHING),
                Sought::Earliest => OffsetQuery::Earliest,
                Sought::MaxTimestamp => OffsetQuery::MaxTimestamp,
                Sought::Timestamp(timestamp) => OffsetQuery::At(timestamp),
            };
            match online.log.offset_for(query, upto) {
                OffsetAnswer::Known(found) => return Ok(found.map_or(NOTHING, to_found)),
                OffsetAnswer::Plan(plan) => plan,
            }
        };
        let world = self.dir.world.clone();
        let found = on_lane(&self.dir.world, move || plan.find(&*world.disk)).await;
        match found {
            Some(Ok(found)) => Ok(found.map_or(NOTHING, to_found)),
            Some(Err(error)) => Err(Refused::Offline(format!("{self} could not be read: {error}").into())),
            None => Err(Refused::Offline("the broker stops".into())),
        }
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
        if epoch == self.leader_epoch {
            return Ok(Some((epoch, end_offset)));
        }
        let found = online.log.epochs().end_offset_for(epoch, end_offset);
        Ok((found.1 >= 0).then_some(found))
    }
}

fn to_found(found: log::FoundOffset) -> Found {
    Found { offset: found.offset, timestamp: found.timestamp, leader_epoch: found.leader_epoch }
}

//! Offsets that belong to times, places or leader epochs (ListOffsets, OffsetForLeaderEpoch).
//!
//! [`log::Log`] answers from memory, or gives a plan that runs on a lane here.

use super::{Isolation, Partition, Reader, Refused, on_lane, role::Role};
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
        reader: &Reader,
        current_leader_epoch: LeaderEpoch,
    ) -> Result<Found, Refused> {
        let is_behind;
        let plan = {
            let mut state = self.state.lock();
            let online = state.online()?;
            online.check_epoch(current_leader_epoch)?;
            let Role::Leader(leader) = &online.role else { return Err(Refused::NotLeader) };
            let isolation = reader.isolation();
            let upto = online.visible(isolation);
            // Its predecessor may have told consumers more than it knows of yet (KIP-207).
            is_behind = isolation != Isolation::LogEnd && online.high_watermark < leader.epoch_start();
            let query = match sought {
                Sought::Latest if is_behind => return Err(Refused::OffsetNotAvailable),
                Sought::Latest => {
                    let leader_epoch = leader.leader_epoch();
                    return Ok(Found { offset: upto, timestamp: -1, leader_epoch });
                }
                Sought::Nothing => return Ok(NOTHING),
                Sought::Earliest => OffsetQuery::Earliest,
                Sought::MaxTimestamp => OffsetQuery::MaxTimestamp,
                Sought::Timestamp(timestamp) => OffsetQuery::At(timestamp),
            };
            match online.log.offset_for(query, upto) {
                OffsetAnswer::Known(found) => return known(sought, is_behind, found.map(to_found)),
                OffsetAnswer::Plan(plan) => plan,
            }
        };
        let world = self.dir.world.clone();
        let found = on_lane(&self.dir.world, move || plan.find(&*world.disk)).await;
        match found {
            Some(Ok(found)) => known(sought, is_behind, found.map(to_found)),
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
        let online = state.online()?;
        online.check_epoch(current_leader_epoch)?;
        if !online.role.leads() {
            return Err(Refused::NotLeader);
        }
        let end_offset = online.log.end_offset();
        if epoch == online.role.epoch() {
            return Ok(Some((epoch, end_offset)));
        }
        let found = online.log.epochs().end_offset_for(epoch, end_offset);
        Ok((found.1 >= 0).then_some(found))
    }
}

/// What is not there may only be what this leader does not know of yet.
fn known(sought: Sought, is_behind: bool, found: Option<Found>) -> Result<Found, Refused> {
    match found {
        Some(found) => Ok(found),
        None if is_behind && sought != Sought::Earliest => Err(Refused::OffsetNotAvailable),
        None => Ok(NOTHING),
    }
}

fn to_found(found: log::FoundOffset) -> Found {
    Found { offset: found.offset, timestamp: found.timestamp, leader_epoch: found.leader_epoch }
}

//! Offsets that belong to times, places or leader epochs (ListOffsets, OffsetForLeaderEpoch).
//!
//! [`log::Log`] answers from memory, or gives a plan that runs on a lane here.

use super::{Isolation, Partition, READ_TRIES, ReadOf, Reader, Refused, on_lane, role::Role};
use log::{OffsetAnswer, OffsetPlan, OffsetQuery};
use model::{LeaderEpoch, Offset, Timestamp};
use std::{io::ErrorKind, sync::Arc};

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

/// What was found, or how to find it on a lane, where the log began when that was planned, and whether a new leader knows
/// less of what is safe than its predecessor may have told (KIP-207).
enum Planned {
    Known(Found),
    OnLane(OffsetPlan, Offset, bool, ReadOf),
}

const NOTHING: Found = Found { offset: -1, timestamp: -1, leader_epoch: -1 };

impl Partition {
    /// The offset that ListOffsets looks for.
    pub(crate) async fn find(
        self: &Arc<Self>,
        sought: Sought,
        reader: &Reader,
        current_leader_epoch: LeaderEpoch,
    ) -> Result<Found, Refused> {
        let mut tries = READ_TRIES;
        loop {
            let (plan, first_segment, is_behind, of) =
                match self.plan(sought, reader, current_leader_epoch)? {
                    Planned::Known(found) => return Ok(found),
                    Planned::OnLane(plan, first_segment, is_behind, of) => {
                        (plan, first_segment, is_behind, of)
                    }
                };
            let world = self.shared.world.clone();
            let found = on_lane(&self.shared.world, move || plan.find(&*world.disk)).await;
            match found.ok_or_else(|| Refused::Offline("the broker stops".into()))? {
                Ok(found) => return known(sought, is_behind, found.map(to_found)),
                // The segment was deleted meanwhile: what is asked for now lies in a later one.
                Err(error) if error.kind() == ErrorKind::NotFound && self.begins_behind(first_segment) => {}
                Err(error) if tries > 1 && log::is_moved(&error) => {
                    tries -= 1;
                    self.written().await;
                }
                Err(error) => {
                    // What cannot be unpacked may be as its producer has sent it.
                    if error.kind() != ErrorKind::InvalidData {
                        self.on_read_error(&error, of);
                    }
                    return Err(Refused::Offline(format!("{self} could not be read: {error}").into()));
                }
            }
        }
    }

    fn plan(
        &self,
        sought: Sought,
        reader: &Reader,
        current_leader_epoch: LeaderEpoch,
    ) -> Result<Planned, Refused> {
        let mut state = self.state.lock();
        let online = state.online()?;
        online.check_epoch(current_leader_epoch)?;
        let Role::Leader(leader) = &online.role else { return Err(Refused::NotLeader) };
        let isolation = reader.isolation();
        let upto = online.visible(isolation);
        let is_behind = isolation != Isolation::LogEnd && online.high_watermark < leader.epoch_start();
        let query = match sought {
            Sought::Latest if is_behind => return Err(Refused::OffsetNotAvailable),
            Sought::Latest => {
                let found = Found { offset: upto, timestamp: -1, leader_epoch: leader.leader_epoch() };
                return Ok(Planned::Known(found));
            }
            Sought::Nothing => return Ok(Planned::Known(NOTHING)),
            Sought::Earliest => OffsetQuery::Earliest,
            Sought::MaxTimestamp => OffsetQuery::MaxTimestamp,
            Sought::Timestamp(timestamp) => OffsetQuery::At(timestamp),
        };
        Ok(match online.log.offset_for(query, upto) {
            OffsetAnswer::Known(found) => Planned::Known(known(sought, is_behind, found.map(to_found))?),
            OffsetAnswer::Plan(plan) => {
                let of = online.read_of(Some(plan.segment()));
                Planned::OnLane(plan, online.log.first_segment(), is_behind, of)
            }
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

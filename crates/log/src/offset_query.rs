//! Which offset belongs to a time (ListOffsets): answered from memory where that is possible, else by a plan for a
//! disk lane.
//!
//! The offsets of "latest" depend on the reader's isolation, so the caller says up to where may be read.

use crate::{Log, OffsetPlan, segment::Segment, tail::TailBatch};
use model::{LeaderEpoch, Offset, Timestamp};

/// What a client may ask for; the number is what it writes in the place of a timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetQuery {
    /// -1: the end of what may be read.
    Latest,
    /// -2: the first offset.
    Earliest,
    /// -3: the record with the largest timestamp (KIP-734).
    MaxTimestamp,
    /// -4: the first offset on local disks (KIP-405); here the same as the first.
    EarliestLocal,
    /// -5: the last tiered offset (KIP-1005); nothing is tiered.
    LatestTiered,
    /// -6: the first offset that waits to be tiered (KIP-1023); nothing is tiered.
    EarliestPendingUpload,
    /// The first record with this timestamp or a later one.
    At(Timestamp),
}

/// An offset, its record's timestamp (-1 where that is not meant) and its leader epoch (-1 if unknown).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoundOffset {
    /// Of the record, or -1.
    pub timestamp: Timestamp,
    /// The offset, or -1.
    pub offset: Offset,
    /// Under which it was written.
    pub leader_epoch: LeaderEpoch,
}

/// The answer, or how to find it.
#[derive(Debug)]
pub enum OffsetAnswer {
    /// Known; `None` if there is no such record.
    Known(Option<FoundOffset>),
    /// To be found on a disk lane.
    Plan(OffsetPlan),
}

impl OffsetQuery {
    /// What the timestamp in a request means.
    pub fn from_timestamp(timestamp: Timestamp) -> Self {
        match timestamp {
            -1 => Self::Latest,
            -2 => Self::Earliest,
            -3 => Self::MaxTimestamp,
            -4 => Self::EarliestLocal,
            -5 => Self::LatestTiered,
            -6 => Self::EarliestPendingUpload,
            at => Self::At(at),
        }
    }
}

impl Log {
    /// The offset that `query` asks for, of records before `upto`.
    pub fn offset_for(&self, query: OffsetQuery, upto: Offset) -> OffsetAnswer {
        let nothing = FoundOffset { timestamp: -1, offset: -1, leader_epoch: -1 };
        let known = |offset, epoch: Option<LeaderEpoch>| {
            let found = FoundOffset { timestamp: -1, offset, leader_epoch: epoch.unwrap_or(-1) };
            OffsetAnswer::Known(Some(found))
        };
        match query {
            OffsetQuery::Earliest | OffsetQuery::EarliestLocal => {
                let earliest = self.epochs.earliest().filter(|entry| entry.start_offset <= self.start_offset);
                known(self.start_offset, earliest.map(|entry| entry.epoch))
            }
            OffsetQuery::Latest => known(upto, self.epochs.latest()),
            OffsetQuery::LatestTiered | OffsetQuery::EarliestPendingUpload => {
                OffsetAnswer::Known(Some(nothing))
            }
            OffsetQuery::MaxTimestamp => self.max_timestamp_plan(upto),
            OffsetQuery::At(timestamp) => self.timestamp_plan(timestamp, upto),
        }
    }

    fn timestamp_plan(&self, timestamp: Timestamp, upto: Offset) -> OffsetAnswer {
        let right = |segment: &&Segment| segment.largest_timestamp() >= timestamp;
        let segments: Vec<_> = self.segments.iter().filter(right).map(|one| one.base_offset).collect();
        match segments.is_empty() {
            true => OffsetAnswer::Known(None),
            false => self.offset_plan(segments, self.start_offset, timestamp, false, upto),
        }
    }

    fn max_timestamp_plan(&self, upto: Offset) -> OffsetAnswer {
        let mut largest: Option<&Segment> = None;
        for segment in &self.segments {
            if segment.max_timestamp > largest.map_or(-1, |segment| segment.max_timestamp) {
                largest = Some(segment);
            }
        }
        match largest {
            None => OffsetAnswer::Known(None),
            Some(segment) => {
                let from = segment.max_timestamp_offset;
                self.offset_plan(vec![segment.base_offset], from, segment.max_timestamp, true, upto)
            }
        }
    }

    fn offset_plan(
        &self,
        segments: Vec<Offset>,
        from: Offset,
        timestamp: Timestamp,
        exact: bool,
        upto: Offset,
    ) -> OffsetAnswer {
        let late = |batch: &&TailBatch| batch.header.max_timestamp >= timestamp;
        // The first may hold only records before the start offset.
        let first = segments.first().map_or(from, |first| from.max(*first));
        let in_tail = self.tail.from(first).filter(late).take(2).cloned().collect();
        OffsetAnswer::Plan(OffsetPlan {
            handles: self.handles.clone(),
            segments,
            layout: self.handles.layout(),
            from,
            // What the tail holds is looked for there.
            file_upto: self.tail.start_offset().unwrap_or(self.written_offset).min(self.written_offset),
            upto,
            timestamp,
            exact,
            in_tail,
            start_offset: self.start_offset,
            plain_bytes_max: self.config.plain_bytes_max,
        })
    }
}

#[cfg(test)]
mod tests;

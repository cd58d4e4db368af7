//! Reading a log: a plan made without touching a disk, from memory if the tail reaches back far enough, else from a
//! file on a disk lane.
//!
//! Readers get whole batches as they are stored; the first may begin before the offset they asked for.

use crate::{FilePlan, Log};
use model::Offset;
use stdx::Parts;

/// Whole batches.
#[derive(Debug, Clone, Default)]
pub struct Slice {
    /// The batches, in order; empty if nothing may be read.
    pub parts: Parts,
    /// The offset after the last of them, or the one that was asked for.
    pub next_offset: Offset,
}

/// How to read.
#[derive(Debug)]
pub enum ReadPlan {
    /// Nothing is left to do.
    Memory(Slice),
    /// To be located on a disk lane.
    File(FilePlan),
    /// Kafka: OFFSET_OUT_OF_RANGE.
    OutOfRange {
        /// The first offset.
        start_offset: Offset,
        /// The offset after the last.
        end_offset: Offset,
    },
}

impl Log {
    /// A plan to read batches from the one that contains `from`, all before `upto`, at most `bytes_max` bytes; but one
    /// batch whatever its size if `at_least_one`.
    pub fn read(&self, from: Offset, upto: Offset, bytes_max: usize, at_least_one: bool) -> ReadPlan {
        let (start_offset, end_offset) = (self.start_offset, self.end_offset);
        if from < start_offset || from > end_offset {
            return ReadPlan::OutOfRange { start_offset, end_offset };
        }
        if from >= upto || (bytes_max == 0 && !at_least_one) {
            return ReadPlan::Memory(Slice { parts: Parts::new(), next_offset: from });
        }
        if self.tail.start_offset().is_some_and(|first| first <= from) {
            let (parts, next_offset) = self.tail.read(from, upto, bytes_max, at_least_one);
            return ReadPlan::Memory(Slice { parts, next_offset });
        }
        ReadPlan::File(self.file_plan(from, upto.min(self.written_offset), bytes_max, at_least_one))
    }

    fn file_plan(&self, from: Offset, upto: Offset, bytes_max: usize, at_least_one: bool) -> FilePlan {
        let first = self.floor_segment(from);
        let is_filled =
            |(place, segment): &(usize, &crate::segment::Segment)| *place == 0 || segment.size > 0;
        let filled = self.segments.iter().skip(first).enumerate().filter(is_filled);
        let mut bases = filled.map(|(_, segment)| segment.base_offset);
        let segments = bases.by_ref().take(FilePlan::SEGMENTS_MAX).collect();
        FilePlan {
            handles: self.handles.clone(),
            segments,
            from,
            // Of what begins behind the last of them it says nothing.
            upto: bases.next().map_or(upto, |next| upto.min(next)),
            bytes_max,
            at_least_one,
            has_holes: self.config.has_holes(),
            layout: self.handles.layout(),
        }
    }
}

#[cfg(test)]
mod tests;

//! Appending what a leader has appended: offsets and epochs stay as they are, and nothing is stamped.
//!
//! Whether the batches are the right ones for this log is the leader's word and the follower's question (`replica`
//! decides); here only what would break the log is refused.

use crate::{Effect, Log, segment::Segment, tail::TailBatch};
use model::{LeaderEpoch, Offset, Timestamp};
use records::{Batch, EndTxnMarker, HEADER_BYTES, Stamped};

/// Why a batch of a leader's was not taken. The log is as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FollowError {
    /// Its checksum is wrong: it was damaged on its way or at the leader.
    #[error("the batch at offset {0} has a wrong checksum")]
    Corrupt(Offset),
    /// It begins before the end of the log.
    #[error("the batch begins at offset {base_offset}, but the log ends at {end_offset}")]
    Overlapping {
        /// Of the batch.
        base_offset: Offset,
        /// Of the log.
        end_offset: Offset,
    },
    /// Its last offset lies before its first, or beyond the last there is.
    #[error("the batch at offset {0} contradicts itself")]
    Contradictory(Offset),
    /// A control batch of a producer holds no end marker.
    #[error("the control batch at offset {0} holds no transaction marker")]
    NoMarker(Offset),
}

impl Log {
    /// Appends a batch as its leader has it. A gap before it is taken: compaction leaves such.
    pub fn append_as_follower(
        &mut self,
        now: Timestamp,
        batch: Batch,
        effects: &mut Vec<Effect>,
    ) -> Result<(), FollowError> {
        let header = batch.header;
        let (base_offset, end_offset) = (header.base_offset, self.end_offset);
        let next =
            base_offset.checked_add(i64::from(header.last_offset_delta)).and_then(|n| n.checked_add(1));
        let begins_within = base_offset >= 0
            && base_offset < end_offset
            && next.is_some_and(|next| next > end_offset)
            && self.is_empty();
        if base_offset < end_offset && !begins_within {
            return Err(FollowError::Overlapping { base_offset, end_offset });
        }
        if header.last_offset_delta < 0 || next.is_none() {
            return Err(FollowError::Contradictory(base_offset));
        }
        if !batch.is_intact() {
            return Err(FollowError::Corrupt(base_offset));
        }
        let is_marker = header.has_producer() && header.attributes.is_control() && header.record_count > 0;
        let marker = match is_marker {
            true => Some(EndTxnMarker::from_batch(&batch).ok_or(FollowError::NoMarker(base_offset))?),
            false => None,
        };
        if begins_within {
            self.begin_at(now, base_offset, effects);
        }
        if base_offset > self.end_offset && !self.config.was_compacted {
            effects.push(Effect::Holes);
            self.remember_holes();
        }
        if header.last_offset() - self.end_offset > i64::from(i32::MAX) {
            // The indexes count from the beginning of the segment, which a new one has at the end of the log.
            self.end_offset = base_offset;
        }
        let body = batch.bytes.slice(HEADER_BYTES.min(batch.bytes.len())..);
        self.place(now, TailBatch::new(Stamped { header, body }), marker, effects);
        Ok(())
    }

    /// Whether there is nothing in it, and its one segment is the one that it begins with.
    fn is_empty(&self) -> bool {
        self.start_offset == self.end_offset && matches!(self.segments.as_slice(), [only] if only.size == 0)
    }

    /// DeleteRecords leaves a leader's log beginning within a batch. A log that begins there with nothing takes all of that
    /// batch: its segment is named by it, and the start of the log stays.
    fn begin_at(&mut self, now: Timestamp, base_offset: Offset, effects: &mut Vec<Effect>) {
        for empty in std::mem::take(&mut self.segments) {
            self.handles.forget(empty.base_offset);
            self.doomed.push_back((now.saturating_add(self.config.file_delete_delay_ms), empty.base_offset));
            effects.push(Effect::Delete { segment: empty.base_offset });
        }
        effects.push(Effect::Create { segment: base_offset });
        self.segments.push(Segment::new(base_offset, now));
        (self.end_offset, self.written_offset, self.synced_offset) = (base_offset, base_offset, base_offset);
    }

    /// Says that the leader of `epoch` takes office at the end of the log: where its predecessors' epochs end is known
    /// from now on, though nothing was appended yet. It is written down with the next batch.
    pub fn begin_epoch(&mut self, epoch: LeaderEpoch) {
        self.epochs_unwritten |= self.epochs.assign(epoch, self.end_offset);
    }

    /// The largest recovery point that a checkpoint may have while the log is cut at `offset`: no batch reaches over it.
    pub fn recovery_point_for_cut(&self, offset: Offset) -> Offset {
        let base = self.segments.get(self.floor_segment(offset)).map_or(0, |segment| segment.base_offset);
        if base <= offset { self.synced_offset.min(base) } else { 0 }
    }

    /// Makes `offset`, which the leader's log begins with, the first that may be read. Segments before it go with the
    /// next [`Log::retain`]. `high_watermark` bounds it.
    pub fn follow_start_offset(&mut self, offset: Offset, high_watermark: Offset, effects: &mut Vec<Effect>) {
        // Nothing to say is no error: what is beyond the high watermark follows it later.
        let _ = self.delete_records_before(offset.min(high_watermark), high_watermark, effects);
    }
}

#[cfg(test)]
mod tests;

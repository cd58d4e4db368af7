//! What a log may forget: by age, by size, and because somebody said so (DeleteRecords, KIP-107).
//!
//! It never deletes a segment that reaches beyond the high watermark. Compaction is `clean`.

use crate::{Effect, Log, segment::Segment};
use model::{Offset, Timestamp};

/// The offset is beyond what may be deleted. Kafka: OFFSET_OUT_OF_RANGE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("records before {offset} cannot be deleted: the high watermark is {high_watermark}")]
pub struct BeyondHighWatermark {
    /// What was asked.
    pub offset: Offset,
    /// The limit.
    pub high_watermark: Offset,
}

impl Log {
    /// Makes `offset` the first that may be read (if it is beyond the present one) and says which one is. Whole
    /// segments before it go with the next [`Log::drop_deleted`].
    pub fn delete_records_before(
        &mut self,
        offset: Offset,
        high_watermark: Offset,
        effects: &mut Vec<Effect>,
    ) -> Result<Offset, BeyondHighWatermark> {
        if offset > high_watermark {
            return Err(BeyondHighWatermark { offset, high_watermark });
        }
        self.raise_start_offset(offset, effects);
        Ok(self.start_offset)
    }

    /// Deletes the segments that the configuration does not want any more; says how many.
    pub fn retain(&mut self, now: Timestamp, high_watermark: Offset, effects: &mut Vec<Effect>) -> usize {
        let mut deleted = self.drop_deleted(now, high_watermark, effects);
        if self.config.cleanup_delete {
            deleted += self.retain_by_size(now, high_watermark, effects);
            deleted += self.retain_by_time(now, high_watermark, effects);
        }
        deleted
    }

    /// Deletes the segments before the start of the log, and nothing else; says how many.
    pub fn drop_deleted(
        &mut self,
        now: Timestamp,
        high_watermark: Offset,
        effects: &mut Vec<Effect>,
    ) -> usize {
        let start_offset = self.start_offset;
        self.delete_while(now, high_watermark, effects, |_, next| {
            next.is_some_and(|next| next.base_offset <= start_offset)
        })
    }

    fn retain_by_size(&mut self, now: Timestamp, high_watermark: Offset, effects: &mut Vec<Effect>) -> usize {
        let Ok(keep) = u64::try_from(self.config.retention_bytes) else { return 0 };
        let Some(mut excess) = self.size_bytes().checked_sub(keep) else { return 0 };
        self.delete_while(now, high_watermark, effects, |segment, _| {
            let left = excess.checked_sub(segment.size);
            excess = left.unwrap_or(excess);
            left.is_some()
        })
    }

    fn retain_by_time(&mut self, now: Timestamp, high_watermark: Offset, effects: &mut Vec<Effect>) -> usize {
        let keep_ms = self.config.retention_ms;
        if keep_ms < 0 {
            return 0;
        }
        self.delete_while(now, high_watermark, effects, |segment, _| {
            now.saturating_sub(segment.largest_timestamp()) > keep_ms
        })
    }

    /// Deletes the first segments for as long as `wanted` says so; begins a new one if none would be left.
    fn delete_while(
        &mut self,
        now: Timestamp,
        high_watermark: Offset,
        effects: &mut Vec<Effect>,
        mut wanted: impl FnMut(&Segment, Option<&Segment>) -> bool,
    ) -> usize {
        if self.swapping.is_some() {
            // What is being put in place may hold records of segments that would stay.
            return 0;
        }
        let mut count = 0;
        for (index, segment) in self.segments.iter().enumerate() {
            let next = self.segments.get(index + 1);
            let upper_bound = next.map_or(self.end_offset, |next| next.base_offset);
            let last_and_empty = next.is_none() && segment.size == 0;
            if last_and_empty || high_watermark < upper_bound || !wanted(segment, next) {
                break;
            }
            count = index + 1;
        }
        if count == 0 {
            return 0;
        }
        if count == self.segments.len() {
            self.roll(now, effects);
        }
        if let Some(first_left) = self.segments.get(count) {
            self.raise_start_offset(first_left.base_offset, effects);
        }
        let due = now.saturating_add(self.config.file_delete_delay_ms);
        for segment in self.segments.drain(..count) {
            self.handles.forget(segment.base_offset);
            self.keys.on_segment_gone(segment.base_offset);
            self.snapshots.remove(&segment.base_offset);
            self.doomed.push_back((due, segment.base_offset));
            effects.push(Effect::Delete { segment: segment.base_offset });
        }
        count
    }

    fn raise_start_offset(&mut self, offset: Offset, effects: &mut Vec<Effect>) {
        if offset > self.start_offset {
            self.start_offset = offset;
            self.producers.forget_replicated(offset);
            if self.epochs.truncate_from_start(offset) {
                effects.push(Effect::Epochs(self.epochs.entries().to_vec()));
            }
        }
    }

    /// Removes the files of deleted segments whose delay is over.
    pub fn purge(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        while let Some((_, segment)) = self.doomed.pop_front_if(|(due, _)| *due <= now) {
            effects.push(Effect::Purge { segment });
        }
    }
}

#[cfg(test)]
mod tests;

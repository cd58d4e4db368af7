//! What the core knows of a segment: sizes, timestamps, what is in its indexes; not its contents.
//!
//! The last segment of a log is the active one; the others are sealed and never change.

use crate::{AbortedTxn, Effect, LogConfig, scan::Found};
use model::{Offset, Timestamp};
use records::BatchHeader;

/// A segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) base_offset: Offset,
    /// Bytes of batches.
    pub(crate) size: u64,
    /// The largest timestamp, or -1.
    pub(crate) max_timestamp: Timestamp,
    /// The last offset of the batch that has it.
    pub(crate) max_timestamp_offset: Offset,
    /// When it was last written to, for segments without timestamps.
    pub(crate) modified: Timestamp,
    /// When it was created or opened.
    pub(crate) created: Timestamp,
    /// The max timestamp of its first batch.
    pub(crate) first_timestamp: Option<Timestamp>,
    /// Entries of the offset index.
    pub(crate) index_entries: u32,
    /// Where the last batch of the offset index begins.
    pub(crate) indexed_position: u64,
    /// Entries of the time index.
    pub(crate) time_entries: u32,
    /// The timestamp of the last of them, or -1.
    pub(crate) time_indexed: Timestamp,
    /// The transactions that its markers aborted.
    pub(crate) aborted: Vec<AbortedTxn>,
}

impl Segment {
    pub(crate) fn new(base_offset: Offset, now: Timestamp) -> Self {
        Self {
            base_offset,
            size: 0,
            max_timestamp: -1,
            max_timestamp_offset: base_offset,
            modified: now,
            created: now,
            first_timestamp: None,
            index_entries: 0,
            indexed_position: 0,
            time_entries: 0,
            time_indexed: -1,
            aborted: Vec::new(),
        }
    }

    /// Whether a batch of so many bytes, up to `last_offset`, must go into a new segment.
    pub(crate) fn must_roll(&self, now: Timestamp, header: &BatchHeader, config: &LogConfig) -> bool {
        let waited = match self.first_timestamp {
            Some(first) if first >= 0 => header.max_timestamp.saturating_sub(first),
            _ => now.saturating_sub(self.created),
        };
        self.size + header.bytes() as u64 > u64::from(config.segment_bytes)
            || (self.size > 0 && waited > config.roll_ms())
            || self.index_entries >= config.index_bytes_max / 8
            || self.time_entries >= (config.index_bytes_max / 12).saturating_sub(1)
            || header.last_offset() - self.base_offset > i64::from(i32::MAX)
    }

    /// Takes note of a batch at the end of the segment; emits the index entries that are due before it is written.
    pub(crate) fn push(
        &mut self,
        header: &BatchHeader,
        config: &LogConfig,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        let found = Found {
            position: self.size,
            bytes: header.bytes() as u64,
            base_offset: header.base_offset,
            last_offset: header.last_offset(),
            max_timestamp: header.max_timestamp,
            leader_epoch: header.leader_epoch,
            header: None,
        };
        self.push_found(&found, config, now, effects);
    }

    /// The same with a batch that is in the file, so that recovery builds the very same indexes.
    pub(crate) fn push_found(
        &mut self,
        found: &Found,
        config: &LogConfig,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        if found.max_timestamp > self.max_timestamp {
            self.max_timestamp = found.max_timestamp;
            self.max_timestamp_offset = found.last_offset;
        }
        self.first_timestamp.get_or_insert(found.max_timestamp);
        self.modified = now;
        if self.size - self.indexed_position > u64::from(config.index_interval_bytes) {
            effects.push(Effect::Index {
                segment: self.base_offset,
                ordinal: self.index_entries,
                offset_delta: (found.last_offset - self.base_offset) as u32,
                position: self.size as u32,
            });
            self.index_entries += 1;
            self.indexed_position = self.size;
            self.index_time(effects);
        }
        self.size += found.bytes;
    }

    /// Emits a time index entry if there is something newer to say.
    pub(crate) fn index_time(&mut self, effects: &mut Vec<Effect>) {
        if self.max_timestamp > self.time_indexed {
            effects.push(Effect::TimeIndex {
                segment: self.base_offset,
                ordinal: self.time_entries,
                timestamp: self.max_timestamp,
                offset_delta: (self.max_timestamp_offset - self.base_offset) as u32,
            });
            self.time_entries += 1;
            self.time_indexed = self.max_timestamp;
        }
    }

    /// The timestamp of its first batch, or the largest where that is not known; `None` if it is empty.
    pub(crate) fn oldest_timestamp(&self) -> Option<Timestamp> {
        (self.size > 0).then(|| self.first_timestamp.unwrap_or(self.max_timestamp))
    }

    /// The largest timestamp, or when it was last written to if its batches have none.
    pub(crate) fn largest_timestamp(&self) -> Timestamp {
        if self.max_timestamp >= 0 { self.max_timestamp } else { self.modified }
    }
}

//! Compaction: of the records of a key only the last one stays, and a tombstone only until readers had time to see it.
//!
//! Here it is decided how much of a log is dirty, what a pass reads, and whether what it has written may still take the
//! place of what was there. The pass itself is `clean::cleaning`, on disk lanes; when a log is cleaned, and how fast, the
//! broker decides. The active segment is never touched, nor what a transaction may still decide about.

mod cleaning;
mod copying;
mod filter;
mod key_map;
mod mapping;
mod output;
#[cfg(test)]
mod tests;
mod transactions;
mod walk;

pub use cleaning::{Cleaning, CleaningReport, CleaningStep};

use crate::{Damage, Effect, Files, Log, LogConfig, files::swap::SwapState, keys::Part, segment::Segment};
use filter::{LastBatch, Rules};
use model::{Offset, Timestamp};
use std::{io, sync::Arc};

/// How much of a log is dirty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cleanable {
    /// Where the dirty part begins: everything before was compacted.
    pub first_dirty: Offset,
    /// Where it ends, for now: the beginning of a segment.
    pub upto: Offset,
    /// Bytes of the segments before the dirty part.
    pub clean_bytes: u64,
    /// Bytes of the segments of the dirty part.
    pub dirty_bytes: u64,
    /// For how long records of it should have been compacted already, as `max.compaction.lag.ms` has it.
    pub overdue_ms: i64,
    /// Whether enough is dirty, or something is overdue.
    pub is_due: bool,
}

/// What a pass may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CleaningLimits {
    /// Memory for the map of keys, in bytes; at least one batch is compacted even if its keys take more.
    pub key_bytes_max: usize,
    /// How many bytes are read from a segment at once.
    pub window_bytes: usize,
}

/// A sealed segment as the log had it when a pass was planned.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) base: Offset,
    /// Where the next segment begins.
    pub(crate) next: Offset,
    pub(crate) size: u64,
    pub(crate) index_entries: u32,
    pub(crate) time_entries: u32,
    pub(crate) modified: Timestamp,
}

/// A segment that is written anew and not in place yet.
#[derive(Debug)]
pub struct Cleaned {
    pub(crate) segment: Segment,
    /// Its key index, if it has one.
    pub(crate) keys: Option<Part>,
    /// What it is made of: base offsets and sizes.
    pub(crate) sources: Vec<(Offset, u64)>,
}

/// A swap that is under way.
#[derive(Debug)]
pub(crate) struct Swapping {
    segment: Segment,
    keys: Option<Part>,
    /// How many segments it replaces.
    count: usize,
}

/// Why a pass broke off. The log is as it was, but for the groups that were put in place.
#[derive(Debug, thiserror::Error)]
pub enum CleanError {
    /// What is on the disk is not what was written there.
    #[error(transparent)]
    Damaged(#[from] Damage),
    /// A batch is as it was written, and cannot be read all the same.
    #[error(
        "the batch at offset {offset} cannot be read: {why}; the partition is not compacted because of it"
    )]
    Unreadable {
        /// Where it begins.
        offset: Offset,
        /// What is wrong with it.
        why: String,
    },
    /// The disk refused.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Cleanable {
    /// Which part is dirty, in millionths.
    pub fn dirty_ppm(&self) -> u64 {
        let total = u128::from(self.clean_bytes) + u128::from(self.dirty_bytes);
        (u128::from(self.dirty_bytes) * 1_000_000).checked_div(total).unwrap_or(0) as u64
    }
}

impl Log {
    /// How much there is to compact; `None` if the log is not to be compacted, or nothing of it may be now. `clean_upto`
    /// is where the pass before ended, if there was one.
    pub fn cleanable(
        &self,
        now: Timestamp,
        high_watermark: Offset,
        clean_upto: Option<Offset>,
    ) -> Option<Cleanable> {
        if !self.config.cleanup_compact || self.swapping.is_some() {
            return None;
        }
        // A checkpoint may be older than a cut, or than DeleteRecords.
        let first_dirty = clean_upto
            .filter(|offset| (self.start_offset..=self.end_offset).contains(offset))
            .unwrap_or(self.start_offset);
        let dirty = self.sealed_from(first_dirty);
        let lag = self.config.min_compaction_lag_ms.max(0);
        let is_young = |segment: &&Segment| segment.largest_timestamp() > now.saturating_sub(lag);
        let young = dirty.iter().find(is_young).filter(|_| lag > 0).map(|segment| segment.base_offset);
        // What is replaced was on stable storage, as what replaces it is.
        let stable = self.last_stable_offset(high_watermark).min(self.synced_offset);
        let limit = young.map_or(stable, |young| young.min(stable));
        let upto = self.segments.get(self.floor_segment(limit)).map_or(limit, |segment| segment.base_offset);
        let bytes = |from: Offset, upto: Offset| -> u64 {
            let bounds = self.segments.iter().zip(self.segments.iter().skip(1));
            let inside = bounds.filter(|(one, next)| one.base_offset < upto && next.base_offset > from);
            inside.map(|(one, _)| one.size).sum()
        };
        let (clean_bytes, dirty_bytes) = (bytes(Offset::MIN, first_dirty), bytes(first_dirty, upto));
        let oldest = dirty.iter().filter_map(Segment::oldest_timestamp).filter(|time| *time > 0).min();
        let due_before = now.saturating_sub(self.config.max_compaction_lag_ms.max(0));
        let overdue_ms = oldest.map_or(0, |oldest| due_before.saturating_sub(oldest).max(0));
        let mut cleanable =
            Cleanable { first_dirty, upto, clean_bytes, dirty_bytes, overdue_ms, is_due: false };
        if dirty_bytes == 0 {
            return None;
        }
        cleanable.is_due =
            overdue_ms > 0 || cleanable.dirty_ppm() > u64::from(self.config.min_cleanable_dirty_ppm);
        Some(cleanable)
    }

    /// A pass over what `cleanable` says.
    pub fn cleaning(&self, now: Timestamp, cleanable: &Cleanable, limits: CleaningLimits) -> Cleaning {
        let last_batches = self.producers.iter().map(|(id, producer)| {
            let last = producer.batches.last().map(|batch| LastBatch::Data(batch.last_offset));
            (id, last.unwrap_or(LastBatch::Marker(producer.epoch)))
        });
        let rules = Rules {
            now,
            delete_retention_ms: self.config.delete_retention_ms,
            upper_bound: cleanable.upto,
            plain_bytes_max: self.config.plain_bytes_max,
            last_batches: last_batches.collect(),
        };
        let bounds = self.segments.iter().zip(self.segments.iter().skip(1));
        let sources = bounds.filter(|(segment, _)| segment.base_offset < cleanable.upto);
        let sources = sources.map(|(segment, next)| Source {
            base: segment.base_offset,
            next: next.base_offset,
            size: segment.size,
            index_entries: segment.index_entries,
            time_entries: segment.time_entries,
            modified: segment.modified,
        });
        let aborted = self.segments.iter().flat_map(|segment| &segment.aborted).copied().collect();
        let place = (self.handles.clone(), self.config.clone());
        let seed = self.keys.seed().filter(|_| self.config.key_index);
        Cleaning::new(place, (rules, aborted), limits, (cleanable.first_dirty, seed), sources.collect())
    }

    /// Orders that a segment takes the place of those that it was made of. `false`, and nothing happens, if they are not
    /// what they were, or the log is not to be compacted any more; then its files are to be discarded. Until that is
    /// performed the log keeps what it has.
    pub fn swap(&mut self, cleaned: &Cleaned, effects: &mut Vec<Effect>) -> bool {
        let Cleaned { segment, keys, sources } = cleaned;
        let place = self.segments.partition_point(|known| known.base_offset < segment.base_offset);
        let replaced = self.segments.get(place..place + sources.len());
        let is_same = replaced.is_some_and(|replaced| {
            replaced.iter().map(|known| (known.base_offset, known.size)).eq(sources.iter().copied())
        });
        let is_sealed = place + sources.len() < self.segments.len();
        if !is_same || !is_sealed || self.swapping.is_some() || !self.config.cleanup_compact {
            return false;
        }
        let gone = sources.iter().skip(1).map(|(base, _)| *base).collect();
        let has_keys = keys.is_some();
        effects.push(Effect::Swap { segment: segment.base_offset, gone, has_keys });
        self.remember_holes();
        self.swapping = Some(Swapping { count: sources.len(), segment: segment.clone(), keys: keys.clone() });
        true
    }

    /// Whether a swap was ordered that is not performed yet.
    pub fn is_swapping(&self) -> bool {
        self.swapping.is_some()
    }

    /// A swap was performed.
    pub(crate) fn swapped(&mut self, now: Timestamp) {
        let Some(Swapping { segment, keys, count }) = self.swapping.take() else { return };
        let base = segment.base_offset;
        self.swap_count += 1;
        let place = self.segments.partition_point(|known| known.base_offset < segment.base_offset);
        let due = now.saturating_add(self.config.file_delete_delay_ms);
        let end = (place + count).min(self.segments.len());
        let gone: Vec<_> = self.segments.splice(place..end, [segment]).map(|gone| gone.base_offset).collect();
        self.keys.on_swapped(base, &gone, keys);
        self.reckon_indexed();
        for gone in gone.into_iter().skip(1) {
            self.snapshots.remove(&gone);
            self.doomed.push_back((due, gone));
        }
        // What readers of committed records are told fits what is in the files, no more what the tail still has of it.
        let behind = self.segments.get(place + 1).map_or(self.end_offset, |next| next.base_offset);
        self.tail.trim(usize::MAX, behind.min(self.written_offset));
        self.handles.end_swap();
    }

    /// `files` could not perform `effects` for now. A swap among them that has not begun is taken off them, so that
    /// retention, which makes room, need not wait for it; and one that has come to its end, so that readers need not.
    pub fn on_scarcity(&mut self, now: Timestamp, files: &mut Files, effects: &mut Vec<Effect>) {
        match files.take_swap_state() {
            SwapState::Begun => return,
            SwapState::Untouched => self.swapping = None,
            SwapState::Done => self.swapped(now),
        }
        effects.retain(|effect| !matches!(effect, Effect::Swap { .. }));
    }

    /// How many swaps were performed.
    pub fn swap_count(&self) -> u64 {
        self.swap_count
    }

    /// From now on, and over restarts, a hole between batches is no sign of damage.
    pub(crate) fn remember_holes(&mut self) {
        if !self.config.was_compacted {
            self.config = Arc::new(LogConfig { was_compacted: true, ..(*self.config).clone() });
        }
    }

    /// How often segments were replaced, doubled; odd while some are being replaced. What was read of the files of
    /// another layout than the present one says nothing of the present ones.
    pub fn layout(&self) -> u64 {
        self.handles.layout()
    }

    /// The sealed segments that reach to `offset` or beyond it.
    fn sealed_from(&self, offset: Offset) -> &[Segment] {
        let sealed = self.segments.len().saturating_sub(1);
        self.segments.get(self.floor_segment(offset)..sealed).unwrap_or_default()
    }
}

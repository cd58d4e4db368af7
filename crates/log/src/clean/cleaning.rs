//! One pass over a log that compacts it: first the keys of its dirty part are read, then its segments are written anew,
//! group by group, from the beginning on.
//!
//! It is planned under the broker's lock and carried out on disk lanes, a slice at a time, and changes none of the log's
//! files: what it has written of a group it gives away ([`CleaningStep::Cleaned`]) for [`crate::Log::swap`] to put in place.

use super::{
    CleanError, Cleaned, CleaningLimits, Source,
    copying::{Copied, Copying, groups},
    filter::Rules,
    key_map::KeyMap,
    mapping::Mapping,
    output,
    transactions::Transactions,
};
use crate::{
    AbortedTxn, LogConfig,
    handles::Handles,
    keys::{KeyWork, Target},
};
use env::Disk;
use model::Offset;
use records::Decompressor;
use std::{
    io::{self, ErrorKind},
    sync::Arc,
};

/// A pass.
pub struct Cleaning {
    handles: Arc<Handles>,
    config: Arc<LogConfig>,
    rules: Rules,
    aborted: Vec<AbortedTxn>,
    window_bytes: usize,
    sources: Vec<Source>,
    phase: Phase,
    report: CleaningReport,
    /// Under which the terms of a key index are hashed, if there is to be one.
    key_seed: Option<u64>,
    /// A group that is written anew, but for its key index.
    indexing: Option<Box<Indexing>>,
}

struct Indexing {
    cleaned: Cleaned,
    work: KeyWork,
}

enum Phase {
    Mapping(Box<Mapping>),
    Copying(Box<Copying>),
    Over,
}

/// What a slice of the work has brought.
#[derive(Debug)]
pub enum CleaningStep {
    /// So many bytes were read and written; there is more to do.
    More(u64),
    /// A group is written anew: [`crate::Log::swap`] puts it in place, and then there is more to do.
    Cleaned(Cleaned),
    /// The pass is over.
    Done(CleaningReport),
}

/// What a pass has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CleaningReport {
    /// Before this offset no record is left that a later one of its key before it hides.
    pub clean_upto: Offset,
    /// Bytes of batches that were read; of those in the dirty part twice.
    pub bytes_read: u64,
    /// Bytes of batches that the segments had.
    pub bytes_before: u64,
    /// Bytes of batches that they have.
    pub bytes_after: u64,
    /// Different keys in the dirty part.
    pub keys: usize,
}

impl Cleaning {
    pub(crate) fn new(
        (handles, config): (Arc<Handles>, Arc<LogConfig>),
        (rules, aborted): (Rules, Vec<AbortedTxn>),
        limits: CleaningLimits,
        (first_dirty, key_seed): (Offset, Option<u64>),
        sources: Vec<Source>,
    ) -> Self {
        let mapping = Mapping {
            handles: handles.clone(),
            map: KeyMap::new(limits.key_bytes_max, first_dirty),
            transactions: Transactions::new(&aborted, first_dirty),
            first_dirty,
            left: sources.iter().filter(|source| source.next > first_dirty).cloned().collect(),
            walk: None,
            window_bytes: limits.window_bytes,
            plain_bytes_max: rules.plain_bytes_max,
            decompressor: Decompressor::new(),
        };
        Self {
            handles,
            config,
            rules,
            aborted,
            window_bytes: limits.window_bytes,
            sources,
            phase: Phase::Mapping(Box::new(mapping)),
            report: CleaningReport::default(),
            key_seed,
            indexing: None,
        }
    }

    /// The base offset of the first segment that it reads.
    pub fn first_segment(&self) -> Option<Offset> {
        self.sources.first().map(|source| source.base)
    }

    /// Goes on for about `bytes_max` bytes, but one batch whatever its size. After an error the pass is over, and
    /// [`Cleaning::discard`] removes what it has written. `NotFound` means that a segment is gone.
    pub fn step(&mut self, disk: &dyn Disk, bytes_max: u64) -> Result<CleaningStep, CleanError> {
        if self.indexing.is_some() {
            return self.index(disk, bytes_max);
        }
        match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Over => Ok(CleaningStep::Done(self.report)),
            Phase::Mapping(mut mapping) => {
                let (read, is_over) = mapping.step(disk, bytes_max)?;
                self.report.bytes_read += read;
                self.phase = match is_over {
                    true => Phase::Copying(Box::new(self.begin_copying(mapping.map))),
                    false => Phase::Mapping(mapping),
                };
                Ok(CleaningStep::More(read))
            }
            Phase::Copying(mut copying) => {
                let copied = copying.step(disk, &self.rules, bytes_max);
                self.phase = Phase::Copying(copying);
                match copied? {
                    Copied::Some { read, written } => {
                        self.report.bytes_read += read;
                        Ok(CleaningStep::More(read + written))
                    }
                    Copied::Group { before, after, cleaned } => {
                        self.report.bytes_before += before;
                        self.report.bytes_after += after;
                        Ok(cleaned.map_or(CleaningStep::More(0), |cleaned| self.begin_indexing(*cleaned)))
                    }
                    Copied::All => Ok(CleaningStep::Done(self.report)),
                }
            }
        }
    }

    /// Whether a group is written that waits for its key index.
    #[cfg(test)]
    pub(crate) fn is_indexing(&self) -> bool {
        self.indexing.is_some()
    }

    /// Where there is a key index, a group gets its own before it takes its place: readers find all of it at any time.
    fn begin_indexing(&mut self, cleaned: Cleaned) -> CleaningStep {
        let last = cleaned.sources.last().map(|(base, _)| *base);
        let next = self.sources.iter().find(|source| Some(source.base) == last).map(|source| source.next);
        let (Some(seed), Some(upto)) = (self.key_seed, next) else { return CleaningStep::Cleaned(cleaned) };
        let (base, size) = (cleaned.segment.base_offset, cleaned.segment.size);
        let target = Target { base, sealed: Some((upto, size)), upto, is_cleaned: true };
        let hashed = (seed, self.rules.plain_bytes_max);
        let work = KeyWork::new(self.handles.clone(), target, hashed, Vec::new());
        self.indexing = Some(Box::new(Indexing { cleaned, work }));
        CleaningStep::More(0)
    }

    fn index(&mut self, disk: &dyn Disk, bytes_max: u64) -> Result<CleaningStep, CleanError> {
        let Some(indexing) = &mut self.indexing else { return Ok(CleaningStep::More(0)) };
        let stepped = indexing.work.step(disk, bytes_max, true);
        let read = match stepped {
            Ok(read) => read,
            Err(error) => return self.go_on_without_index(disk, error),
        };
        match self.indexing.take_if(|indexing| indexing.work.is_done() || read.is_none()) {
            None => Ok(CleaningStep::More(read.unwrap_or(0))),
            Some(indexing) => {
                let Indexing { cleaned, work } = *indexing;
                Ok(CleaningStep::Cleaned(Cleaned { keys: work.whole(), ..cleaned }))
            }
        }
    }

    /// The index of a group can be made later, out of the segment in its place; room that its compaction makes may be what
    /// the index has not found. Only a segment that is not what was written must not get there.
    fn go_on_without_index(
        &mut self,
        disk: &dyn Disk,
        error: CleanError,
    ) -> Result<CleaningStep, CleanError> {
        let is_there = self.indexing.as_ref().is_some_and(|indexing| disk.exists(&indexing.work.path()));
        if matches!(error, CleanError::Damaged(_)) || !is_there {
            // The log itself may be sound all the same: nothing of it is damaged yet.
            let why = format!("what compaction has written is not what it reads: {error}");
            return Err(io::Error::new(ErrorKind::InvalidData, why).into());
        }
        let Some(indexing) = self.indexing.take() else { return Ok(CleaningStep::More(0)) };
        let Indexing { cleaned, work } = *indexing;
        let (dir, segment) = (self.handles.dir(), cleaned.segment.base_offset);
        tracing::warn!(dir = %dir.display(), segment, %error, "a compacted segment gets its key index later");
        work.discard(disk);
        Ok(CleaningStep::Cleaned(cleaned))
    }

    /// Removes what was written of a group that is not finished.
    pub fn discard(mut self, disk: &dyn Disk) {
        if let Some(Indexing { cleaned, work }) = self.indexing.take().map(|indexing| *indexing) {
            work.discard(disk);
            self.discard_cleaned(disk, &cleaned);
        }
        if let Phase::Copying(copying) = &mut self.phase
            && let Some(group) = copying.group.take()
            && let Err(error) = group.output.discard(disk)
        {
            // The next start does it.
            tracing::warn!(dir = %self.handles.dir().display(), %error, "a leftover of a compaction could not be removed");
        }
    }

    /// Removes what was written of a group that nobody wants.
    pub fn discard_cleaned(&self, disk: &dyn Disk, cleaned: &Cleaned) {
        if let Err(error) = output::remove(disk, &self.handles, cleaned.segment.base_offset) {
            tracing::warn!(dir = %self.handles.dir().display(), %error, "a leftover of a compaction could not be removed");
        }
    }

    fn begin_copying(&mut self, map: KeyMap) -> Copying {
        let upto = map.upto();
        (self.report.clean_upto, self.report.keys) = (upto, map.len());
        let copied = self.sources.iter().filter(|source| source.base < upto).cloned().collect();
        Copying {
            handles: self.handles.clone(),
            config: self.config.clone(),
            map,
            transactions: Transactions::new(&self.aborted, Offset::MIN),
            left: groups(copied, &self.config),
            group: None,
            window_bytes: self.window_bytes,
            decompressor: Decompressor::new(),
        }
    }
}

impl std::fmt::Debug for Cleaning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cleaning")
            .field("segments", &self.sources.len())
            .field("report", &self.report)
            .finish_non_exhaustive()
    }
}

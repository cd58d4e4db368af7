//! The key index of a log: for each key, and what else is found by one, the offsets of the records that bear it.
//!
//! It lies beside the segments, one file for each sealed one, is built behind the log by reading it, and may be thrown away at
//! any time. Here it is kept in step with the log: what is known of which segment, what is to be done next, which files a
//! look-up reads. The work itself ([`KeyTask`]) and look-ups ([`KeyPlan`]) run on disk lanes. Nothing that appends, or
//! opens a log, waits for any of it. docs/formats/key-index.md lists the bytes.

mod file;
mod filter;
mod head;
mod loading;
mod lookup;
mod merging;
mod node;
mod pair;
mod part;
mod terms;
#[cfg(test)]
mod tests;
mod work;
mod writer;

pub use file::worthless_keys;
pub use lookup::{KeyPlan, KeyPostings};
pub use pair::Term;

pub(crate) use part::Part;
pub(crate) use work::{KeyWork, Target};

use crate::{CleanError, Log};
use env::Disk;
use head::WHOLE;
use loading::KeyLoading;
use model::Offset;
use pair::Pair;
use std::{collections::BTreeMap, sync::Arc};
use work::{MEMORY_PAIRS_MAX, pairs_in_memory};
use writer::Name;

/// What a posting takes in memory.
pub const KEY_POSTING_BYTES: usize = size_of::<Pair>();

/// What is known of the index of a log.
#[derive(Default)]
pub(crate) struct Keys {
    /// What an earlier run has left is believed up to here.
    trusted_upto: Offset,
    /// It was looked for what an earlier run has left.
    is_loaded: bool,
    /// An earlier run has left files, and it was not looked for them.
    has_leftovers: bool,
    /// Under which terms are hashed that begin to be indexed by now.
    seed: u64,
    /// By segment: neighbours from its beginning on.
    parts: BTreeMap<Offset, Arc<[Part]>>,
    /// What the last task has left in the middle of a file. All else a task knows from the parts.
    work: Option<KeyWork>,
    /// Files that belong to nothing any more.
    strays: Vec<Name>,
    /// Every segment that begins before this offset is indexed, in one file.
    whole_upto: Offset,
    /// Everything from the beginning of the log to before this offset is indexed.
    upto: Offset,
    /// How often something was discarded.
    discards: u64,
}

/// What a task may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyTurn {
    /// Records before this offset are indexed.
    pub upto: Offset,
    /// What nobody who writes records knows.
    pub seed: u64,
    /// Until the task is ended nobody else exchanges files of sealed segments.
    pub may_replace: bool,
    /// So many postings of a segment may stay in memory, if they are not too many anyway.
    pub pairs_max: usize,
}

/// Something to be done for the index, for a slice of time on a disk lane.
pub struct KeyTask {
    doing: Doing,
    /// Of the log's files when it was planned.
    layout: u64,
    /// Of the index when it was planned.
    discards: u64,
    may_replace: bool,
}

enum Doing {
    Loading(KeyLoading),
    Working(Box<KeyWork>),
}

impl Keys {
    /// Of a log that was just opened, and is what it was up to this offset at least.
    pub(crate) fn new(trusted_upto: Offset, has_leftovers: bool) -> Self {
        Self { trusted_upto, has_leftovers, ..Self::default() }
    }

    /// The seed, if new segments are to be indexed.
    pub(crate) fn seed(&self) -> Option<u64> {
        self.is_loaded.then_some(self.seed)
    }

    /// The segment is gone, with the file of all its postings; the files of some of them are not.
    pub(crate) fn on_segment_gone(&mut self, base: Offset) {
        let parts = self.parts.remove(&base).unwrap_or_default();
        let files = parts.iter().filter_map(|part| Some(part.file()?.name.clone()));
        self.strays.extend(files.filter(|name| name.level != WHOLE));
        if let Some(work) = self.work.take_if(|work| work.segment.base == base) {
            self.take_in_strays(work);
        }
    }

    /// A segment has taken the place of others, with its index, if that was made.
    pub(crate) fn on_swapped(&mut self, base: Offset, gone: &[Offset], part: Option<Part>) {
        gone.iter().for_each(|base| self.on_segment_gone(*base));
        // The swap has removed that file, or put another one in its place.
        self.strays.retain(|name| name.level != WHOLE || name.from != base);
        if let Some(part) = part.filter(|_| self.is_loaded) {
            self.parts.insert(base, [part.in_place()].into());
        }
        self.whole_upto = self.whole_upto.min(base);
    }

    /// Files of work that came to nothing.
    fn take_in_strays(&mut self, work: KeyWork) {
        let files = work.files();
        let known = |name: &Name| {
            self.parts
                .values()
                .flat_map(|parts| parts.iter())
                .filter_map(Part::file)
                .any(|file| file.name == *name)
        };
        let strays: Vec<_> = files.into_iter().filter(|name| !known(name)).collect();
        self.strays.extend(strays);
    }
}

impl KeyTask {
    /// Goes on for about `bytes_max` bytes of batches, but one batch whatever its size; says how many it has read, or nothing
    /// where nothing could be done. To be given to [`Log::end_key_task`] whatever comes of it. `NotFound` means that the segment
    /// is gone, or that a file of the index is, of which [`worthless_keys`] says so.
    pub fn step(&mut self, disk: &dyn Disk, bytes_max: u64) -> Result<Option<u64>, CleanError> {
        match &mut self.doing {
            Doing::Loading(loading) => Ok(loading.run(disk).map(|()| Some(0))?),
            Doing::Working(work) => work.step(disk, bytes_max, self.may_replace),
        }
    }

    /// The segment that it is about, if it is about one.
    pub fn segment(&self) -> Option<Offset> {
        match &self.doing {
            Doing::Loading(_) => None,
            Doing::Working(work) => Some(work.segment.base),
        }
    }
}

impl Log {
    /// Whether there is an index, complete or not, or files of one.
    pub fn has_keys(&self) -> bool {
        self.keys.is_loaded || self.keys.has_leftovers
    }

    /// Closes the files of postings, which look-ups open again.
    pub fn close_key_files(&self) {
        self.handles.forget_key_files();
    }

    /// How much memory its postings take.
    pub fn key_index_bytes(&self) -> usize {
        let left = self.keys.parts.range(self.keys.whole_upto..);
        left.map(|(_, parts)| pairs_in_memory(parts)).sum::<usize>() * KEY_POSTING_BYTES
    }

    /// Everything before this offset is indexed, from the beginning of the log on. What is behind it has to be read.
    pub fn key_index_upto(&self) -> Offset {
        self.keys.upto.max(self.start_offset)
    }

    /// What is to be done next for the index, if anything is.
    pub fn begin_key_task(&mut self, turn: KeyTurn) -> Option<KeyTask> {
        let KeyTurn { upto, seed, may_replace, .. } = turn;
        let discards = self.keys.discards;
        let layout = self.handles.layout();
        let is_wanted = self.config.key_index;
        self.keys.seed = seed;
        if is_wanted != self.keys.is_loaded || self.keys.has_leftovers {
            if !may_replace {
                return None;
            }
            let nexts = self.segments.iter().skip(1).map(|next| Some(next.base_offset)).chain([None]);
            let segments = self.segments.iter().zip(nexts);
            let loading = KeyLoading {
                handles: self.handles.clone(),
                segments: segments.map(|(segment, next)| (segment.base_offset, next, segment.size)).collect(),
                trusted_upto: self.keys.trusted_upto,
                is_wanted,
                found: BTreeMap::new(),
                is_complete: false,
            };
            return Some(KeyTask { doing: Doing::Loading(loading), layout, discards, may_replace });
        }
        if !is_wanted {
            return None;
        }
        let mut work = self.next_key_work(KeyTurn { upto: upto.min(self.flushed_offset()), ..turn })?;
        work.superfluous.extend(self.keys.strays.extract_if(.., |name| may_replace || name.level != WHOLE));
        Some(KeyTask { doing: Doing::Working(Box::new(work)), layout, discards, may_replace })
    }

    /// The first segment with which something is to be done.
    fn next_key_work(&mut self, turn: KeyTurn) -> Option<KeyWork> {
        let KeyTurn { upto, may_replace, .. } = turn;
        let pairs_max = turn.pairs_max.clamp(1, MEMORY_PAIRS_MAX);
        let work = self.keys.work.take();
        let known = work.as_ref().map(|work| work.segment.base);
        let first = self.segments.partition_point(|segment| segment.base_offset < self.keys.whole_upto);
        let is_stray = self.keys.strays.iter().any(|name| may_replace || name.level != WHOLE);
        for (place, segment) in self.segments.iter().enumerate().skip(first) {
            let base = segment.base_offset;
            let sealed = self.segments.get(place + 1).map(|next| (next.base_offset, segment.size));
            // What is sealed is all there, and not half written.
            if sealed.is_some_and(|(next, _)| next > self.written_offset) {
                break;
            }
            let target = Target { base, sealed, upto, is_cleaned: false };
            let parts = self.keys.parts.get(&base).cloned().unwrap_or_default();
            let is_left = known == Some(base)
                || is_stray
                || !target.is_read(&parts)
                || target.is_to_be_spilled(&parts, pairs_max)
                || may_replace && !target.is_done(&parts);
            if !is_left {
                continue;
            }
            let work = work.filter(|work| work.segment.base == base);
            let mut work = work.unwrap_or_else(|| {
                let plain_bytes_max = self.config.plain_bytes_max;
                KeyWork::new(self.handles.clone(), target, (self.keys.seed, plain_bytes_max), parts.to_vec())
            });
            (work.segment, work.pairs_max) = (target, pairs_max);
            return Some(work);
        }
        None
    }

    /// A task has come so far. Of one that was begun for another log than this one nothing may be told.
    pub fn end_key_task(&mut self, task: KeyTask) {
        let is_same = self.handles.layout() == task.layout;
        // What was discarded meanwhile may be in it.
        let is_wanted = self.keys.discards == task.discards;
        match task.doing {
            Doing::Loading(loading) if is_same && loading.is_complete => {
                self.keys.on_loaded(loading, |base| self.segments.iter().any(|s| s.base_offset == base))
            }
            Doing::Loading(_) => {}
            Doing::Working(mut work) => {
                let base = work.segment.base;
                let is_there = self.segments.iter().any(|segment| segment.base_offset == base);
                if is_same && is_wanted && is_there && self.keys.is_loaded {
                    self.keys.parts.insert(base, work.parts.as_slice().into());
                    self.keys.strays.append(&mut work.superfluous);
                    self.keys.work = Some(*work).filter(KeyWork::is_merging);
                } else {
                    self.keys.take_in_strays(*work);
                }
            }
        }
        self.reckon_indexed();
    }

    /// The index of a segment is worthless: it is built anew.
    pub fn discard_keys(&mut self, segment: Offset) {
        let parts = self.keys.parts.remove(&segment).unwrap_or_default();
        self.keys.strays.extend(parts.iter().filter_map(|part| Some(part.file()?.name.clone())));
        if let Some(work) = self.keys.work.take_if(|work| work.segment.base == segment) {
            self.keys.take_in_strays(work);
        }
        self.keys.whole_upto = self.keys.whole_upto.min(segment);
        self.keys.discards += 1;
        self.handles.forget_key_files();
        self.reckon_indexed();
    }

    /// Finds out up to where everything is indexed.
    pub(crate) fn reckon_indexed(&mut self) {
        let keys = &mut self.keys;
        let first = self.segments.partition_point(|segment| segment.base_offset < keys.whole_upto);
        let left = self.segments.get(first.min(self.segments.len().saturating_sub(1))..).unwrap_or_default();
        let mut upto = left.first().map_or(self.start_offset, |first| first.base_offset);
        let mut are_whole = true;
        for segment in left {
            if segment.base_offset > upto {
                break;
            }
            are_whole &= keys.is_whole(segment.base_offset);
            if are_whole {
                keys.whole_upto = segment.base_offset.saturating_add(1);
            }
            let parts = keys.parts.get(&segment.base_offset);
            upto = parts.and_then(|parts| parts.last()).map_or(upto, |part| part.covers.upto);
        }
        keys.upto = upto;
    }

    /// A look-up from `from` on; its stretch ends where the index does, or before.
    pub fn key_postings(&self, term: Term, from: Offset) -> KeyPlan {
        let from = from.max(self.start_offset);
        let (mut parts, mut upto) = (Vec::new(), from);
        for segment in self.segments.iter().skip(self.floor_segment(from)) {
            let Some(known) = self.keys.parts.get(&segment.base_offset) else { break };
            if segment.base_offset > upto || parts.len() >= KeyPlan::PARTS_MAX {
                break;
            }
            parts.extend(known.iter().filter(|part| part.covers.upto > from).cloned());
            upto = known.last().map_or(upto, |last| upto.max(last.covers.upto));
        }
        self.key_plan(term, parts, (from, upto))
    }

    /// A look-up of the last record before `below`, which is not to lie behind [`Log::key_index_upto`]; its stretch begins
    /// with the log, or behind that.
    pub fn key_newest(&self, term: Term, below: Offset) -> KeyPlan {
        let below = below.min(self.key_index_upto());
        let (mut parts, mut from) = (Vec::new(), below);
        let segments = self.segments.iter().rev().skip_while(|segment| segment.base_offset >= below);
        for segment in segments {
            if from <= self.start_offset || parts.len() >= KeyPlan::PARTS_MAX {
                break;
            }
            let known = self.keys.parts.get(&segment.base_offset).cloned().unwrap_or_default();
            parts.extend(known.iter().rev().filter(|part| part.covers.from < below).cloned());
            from = segment.base_offset;
        }
        parts.reverse();
        self.key_plan(term, parts, (from.max(self.start_offset).min(below), below))
    }

    fn key_plan(&self, term: Term, parts: Vec<Part>, (from, upto): (Offset, Offset)) -> KeyPlan {
        KeyPlan { handles: self.handles.clone(), layout: self.handles.layout(), term, parts, from, upto }
    }
}

impl Keys {
    /// Whether a segment has one file for all of it.
    fn is_whole(&self, base: Offset) -> bool {
        let parts = self.parts.get(&base).map(|parts| &**parts);
        matches!(parts, Some([only]) if only.file().is_some_and(|file| file.name.level == WHOLE))
    }

    fn on_loaded(&mut self, loading: KeyLoading, is_there: impl Fn(Offset) -> bool) {
        (self.is_loaded, self.has_leftovers) = (loading.is_wanted, false);
        self.work = None;
        self.whole_upto = Offset::MIN;
        self.strays.clear();
        let found = loading.found.into_iter().filter(|(base, _)| is_there(*base));
        self.parts = found.map(|(base, parts)| (base, parts.into())).collect();
    }
}

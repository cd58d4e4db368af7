//! Indexing one segment: reading on in it, and making few files of the postings, a slice at a time on a disk lane.
//!
//! It knows nothing of the log but this segment. What a slice has brought is worth something once the log was told
//! ([`crate::Log::end_key_task`]); only then is removed what it made superfluous.

use super::{
    file::worthless_keys,
    head::{Covers, LastBatch, WHOLE},
    merging::Merging,
    pair::Pair,
    part::{Pairs, Part, covers_of},
    terms,
    writer::Name,
};
use crate::{
    CleanError, Damage,
    files::accept_missing,
    handles::Handles,
    names,
    scan::{Found, Scan, Step, WINDOW_BYTES_SMALL},
};
use bytes::Bytes;
use env::{Disk, File, Open};
use model::Offset;
use records::{Decompressor, HEADER_BYTES};
use std::{io, sync::Arc};

/// How much is read from a segment at once.
const WINDOW_BYTES: usize = 256 * 1024;
/// So many postings of a segment stay in memory, and those of one slice. Tests have few records and want files of them.
pub(super) const MEMORY_PAIRS_MAX: usize = if cfg!(test) { 24 } else { 32 * 1024 };
/// So many files of one size become one.
const FILES_MAX: usize = if cfg!(test) { 3 } else { 8 };
/// How many postings are merged in one slice.
const MERGE_PAIRS: usize = if cfg!(test) { 40 } else { 64 * 1024 };

/// A segment that is being indexed.
pub(crate) struct KeyWork {
    pub(super) handles: Arc<Handles>,
    pub(super) segment: Target,
    seed: u64,
    plain_bytes_max: usize,
    /// Neighbours from the beginning of the segment on: files, then what is in memory.
    pub(super) parts: Vec<Part>,
    /// What is made of the parts from this one on.
    merging: Option<(usize, Merging)>,
    /// Files that nobody needs any more, once the log knows of the parts that this has.
    pub(super) superfluous: Vec<Name>,
    /// With so many postings in memory, or more, they go to a file.
    pub(super) pairs_max: usize,
}

/// What is indexed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) base: Offset,
    /// Where the next segment begins, and how many bytes this one has; `None`: it may grow.
    pub(crate) sealed: Option<(Offset, u64)>,
    /// What lies behind it is not indexed yet.
    pub(crate) upto: Offset,
    /// It is not in its place yet: compaction writes it.
    pub(crate) is_cleaned: bool,
}

impl Target {
    /// Whether these parts are all that can be had of it.
    pub(super) fn is_done(&self, parts: &[Part]) -> bool {
        match (self.sealed, parts) {
            (None, parts) => self.is_read(parts),
            (Some((next, _)), [only]) => {
                only.covers.upto == next && only.file().is_some_and(|f| f.name.level == WHOLE)
            }
            (Some(_), _) => false,
        }
    }

    /// Whether nothing of it is left to be read for now.
    pub(super) fn is_read(&self, parts: &[Part]) -> bool {
        let upto = parts.last().map_or(self.base, |part| part.covers.upto);
        upto >= self.sealed.map_or(self.upto, |(next, _)| next.min(self.upto))
    }

    /// Whether too much of it is in memory, where so many postings may be.
    pub(super) fn is_to_be_spilled(&self, parts: &[Part], pairs_max: usize) -> bool {
        let in_memory = pairs_in_memory(parts);
        in_memory >= pairs_max || self.is_over(parts) && in_memory > 0
    }

    /// Whether nothing of it ever will be.
    fn is_over(&self, parts: &[Part]) -> bool {
        self.sealed.is_some_and(|(next, _)| parts.last().is_some_and(|last| last.covers.upto >= next))
    }
}

impl KeyWork {
    pub(crate) fn new(
        handles: Arc<Handles>,
        segment: Target,
        (seed, plain_bytes_max): (u64, usize),
        parts: Vec<Part>,
    ) -> Self {
        let seed = parts.first().map_or(seed, |part| part.seed);
        let (superfluous, pairs_max) = (Vec::new(), MEMORY_PAIRS_MAX);
        Self { handles, segment, seed, plain_bytes_max, parts, merging: None, superfluous, pairs_max }
    }

    /// Whether it is in the middle of a file.
    pub(super) fn is_merging(&self) -> bool {
        self.merging.is_some()
    }

    /// Whether there is nothing to do for now.
    pub(crate) fn is_done(&self) -> bool {
        self.segment.is_done(&self.parts) && self.superfluous.is_empty() && self.merging.is_none()
    }

    /// Goes on; gives how many bytes of batches it has read, or nothing where nothing could be done. Only where `may_replace`
    /// says so, nobody else exchanges files of sealed segments meanwhile, and the file of a whole segment may be written or
    /// removed.
    pub(crate) fn step(
        &mut self,
        disk: &dyn Disk,
        bytes_max: u64,
        may_replace: bool,
    ) -> Result<Option<u64>, CleanError> {
        let is_tidied = self.remove_superfluous(disk)?;
        if let Some((_, merging)) = self.merging.take_if(|(_, merging)| merging.is_whole() && !may_replace) {
            self.abandon(disk, &merging);
        }
        if self.merging.is_none() {
            self.merging = self.next_merging(disk, may_replace).map_err(not_the_log)?;
        }
        // After an error it begins anew.
        if let Some((first, mut merging)) = self.merging.take() {
            let merged = merging.step(disk, &self.handles, MERGE_PAIRS);
            // What is half written must not keep the room that others may be waiting for.
            match merged.map_err(not_the_log).inspect_err(|_| self.abandon(disk, &merging))? {
                Some(file) => {
                    let replaced = first..first + merging.parts();
                    let gone = self.parts.splice(replaced, [Part::of_file(file)]);
                    self.superfluous.extend(gone.filter_map(|part| Some(part.file()?.name.clone())));
                }
                None => self.merging = Some((first, merging)),
            }
            return Ok(Some(0));
        }
        let read = if self.segment.is_read(&self.parts) { None } else { self.read(disk, bytes_max)? };
        Ok(read.or_else(|| is_tidied.then_some(0)))
    }

    /// The file of the whole segment, if it is there.
    pub(crate) fn whole(self) -> Option<Part> {
        let is_whole = self.segment.is_done(&self.parts) && self.segment.is_over(&self.parts);
        self.parts.into_iter().next().filter(|_| is_whole)
    }

    /// Removes what was written; what cannot be removed the next start removes.
    pub(crate) fn discard(self, disk: &dyn Disk) {
        for name in self.files() {
            let _ = disk.remove_file(&name.path(&self.handles));
        }
    }

    /// All that it has written, or was to remove.
    pub(super) fn files(&self) -> Vec<Name> {
        let parts = self.parts.iter().filter_map(|part| Some(part.file()?.name.clone()));
        let unfinished = self.merging.iter().filter_map(|(_, merging)| merging.unfinished());
        parts.chain(self.superfluous.iter().cloned()).chain(unfinished).collect()
    }

    /// Removes the file that would have come of it.
    fn abandon(&mut self, disk: &dyn Disk, merging: &Merging) {
        let Some(name) = merging.unfinished() else { return };
        if accept_missing(disk.remove_file(&name.path(&self.handles))).is_err() {
            self.superfluous.push(name);
        }
    }

    /// Whether there was anything.
    fn remove_superfluous(&mut self, disk: &dyn Disk) -> io::Result<bool> {
        let is_any = !self.superfluous.is_empty();
        while let Some(name) = self.superfluous.last() {
            accept_missing(disk.remove_file(&name.path(&self.handles)))?;
            self.handles.forget_key_files();
            self.superfluous.pop();
        }
        Ok(is_any)
    }

    fn next_merging(&self, disk: &dyn Disk, may_replace: bool) -> io::Result<Option<(usize, Merging)>> {
        let files = self.parts.iter().take_while(|part| part.file().is_some()).count();
        let in_memory = pairs_in_memory(&self.parts);
        let level = |part: &Part| part.file().map_or(0, |file| file.name.level);
        let tail = self.parts.get(files.saturating_sub(FILES_MAX)..files).unwrap_or_default();
        let same = tail
            .last()
            .map(level)
            .filter(|last| tail.len() == FILES_MAX && tail.iter().all(|p| level(p) == *last));
        let is_over = self.segment.is_over(&self.parts);
        let (from, upto, level) = if is_over && may_replace && !self.segment.is_done(&self.parts) {
            (0, self.parts.len(), WHOLE)
        } else if in_memory >= self.pairs_max || is_over && in_memory > 0 {
            // Of what is sealed nothing waits in memory for its turn, which may be long in coming.
            (files, self.parts.len(), 0)
        } else if let Some(level) = same {
            (files - FILES_MAX, files, level.saturating_add(1).min(WHOLE - 1))
        } else {
            return Ok(None);
        };
        let parts = self.parts.get(from..upto).unwrap_or_default().to_vec();
        let Some(covers) = covers_of(&parts) else { return Ok(None) };
        let is_cleaned = self.segment.is_cleaned;
        let name = Name { from: covers.from, level, is_cleaned, is_temporary: false };
        Ok(Some((from, Merging::begin(disk, &self.handles, parts, (name, self.seed, covers))?)))
    }

    fn read(&mut self, disk: &dyn Disk, bytes_max: u64) -> Result<Option<u64>, CleanError> {
        let Target { base, sealed, upto, .. } = self.segment;
        // Past the cache nothing is read of what is just being written through it.
        let file = match sealed {
            Some(_) => disk.open_passing(&self.path()),
            None => disk.open(&self.path(), Open::Read),
        }?;
        let before = self.parts.last().map(|part| part.covers);
        let start =
            before.unwrap_or(Covers { base, from: base, upto: base, end: 0, last: LastBatch::default() });
        let mut covers = Covers { from: start.upto, ..start };
        let mut pairs = Vec::new();
        let mut decompressor = Decompressor::new();
        let end = sealed.map_or_else(|| file.len(), |(_, size)| Ok(size))?;
        let mut scan = Scan::new(&*file, start.end, end, WINDOW_BYTES);
        while covers.end - start.end < bytes_max && covers.upto < upto && pairs.len() < MEMORY_PAIRS_MAX {
            let Some((found, bytes)) = self.next_batch(&mut scan, &covers)? else { break };
            covers.last = LastBatch { position: found.position, sum: sum_of_header(&bytes) };
            (covers.end, covers.upto) = (found.end(), found.next_offset());
            let ground = (self.seed, base);
            let limits = (self.plain_bytes_max, &mut decompressor);
            if let Err(why) = terms::gather((&found, bytes), ground, limits, &mut pairs) {
                // Nobody can read it, so nobody misses its records.
                tracing::warn!(segment = base, offset = found.base_offset, why, "a batch is not indexed");
            }
        }
        if let Some((next, size)) = sealed.filter(|(_, size)| covers.end == *size) {
            // A hole at its end has no postings.
            debug_assert!(covers.upto <= next && covers.end == size);
            covers.upto = covers.upto.max(next);
        }
        if covers.upto == covers.from {
            return Ok(None);
        }
        self.parts.push(Part::in_memory(covers, self.seed, pairs));
        self.join_in_memory();
        Ok(Some(covers.end - start.end))
    }

    /// The next batch that may be indexed.
    fn next_batch(&self, scan: &mut Scan<'_>, covers: &Covers) -> Result<Option<(Found, Bytes)>, CleanError> {
        let Target { sealed, upto, .. } = self.segment;
        let damaged = |position, why: &str| {
            Damage { file: self.path(), position, offset: covers.upto, why: why.to_owned() }.into()
        };
        let found = match scan.step()? {
            Step::Found(found) => found,
            Step::End => return Ok(None),
            Step::Broken(why) if sealed.is_some() => return Err(damaged(scan.position, why)),
            // It is being written.
            Step::Broken(_) => return Ok(None),
        };
        if found.next_offset() > upto {
            return Ok(None);
        }
        let is_inside = sealed.is_none_or(|(next, _)| found.next_offset() <= next);
        let mut bytes = Bytes::new();
        let wrong = if !is_inside || found.base_offset < covers.upto && found.header.is_some() {
            Some("its offsets do not follow those before it")
        } else if !scan.is_intact(&found)? {
            Some("its checksum is wrong")
        } else {
            bytes = scan.read(&found)?;
            (bytes.len() as u64 != found.bytes).then_some("the file ends inside a batch")
        };
        match (wrong, sealed) {
            (None, _) => Ok(Some((found, bytes))),
            (Some(wrong), Some(_)) => Err(damaged(found.position, wrong)),
            // What is being written is judged when it is sealed.
            (Some(_), None) => Ok(None),
        }
    }

    /// The file that is read.
    pub(crate) fn path(&self) -> std::path::PathBuf {
        let kind = match self.segment.is_cleaned {
            true => format!("{}.{}", names::LOG, names::CLEANED),
            false => names::LOG.to_owned(),
        };
        self.handles.path(self.segment.base, &kind)
    }

    /// What is in memory stays few parts: each is more than twice as large as the next.
    fn join_in_memory(&mut self) {
        while let [.., before, last] = self.parts.as_slice()
            && let (Pairs::Memory(first), Pairs::Memory(second)) = (&before.pairs, &last.pairs)
            && first.len() <= 2 * second.len()
            && first.len() + second.len() <= MEMORY_PAIRS_MAX
        {
            let pairs: Vec<Pair> = first.iter().chain(second.iter()).copied().collect();
            let covers = Covers { from: before.covers.from, ..last.covers };
            let joined = Part::in_memory(covers, self.seed, pairs);
            self.parts.truncate(self.parts.len() - 2);
            self.parts.push(joined);
        }
    }
}

/// Only of the segment itself it is told as such that it is not found.
fn not_the_log(error: io::Error) -> io::Error {
    match error.kind() == io::ErrorKind::NotFound && worthless_keys(&error).is_none() {
        true => io::Error::other(error),
        false => error,
    }
}

/// How many postings of them are in memory.
pub(super) fn pairs_in_memory(parts: &[Part]) -> usize {
    parts.iter().map(Part::pairs_in_memory).sum()
}

/// By what a batch is known again.
pub(super) fn sum_of_header(batch: &[u8]) -> u32 {
    stdx::crc32c(batch.get(..HEADER_BYTES.min(batch.len())).unwrap_or_default())
}

/// Whether the last batch is in this file that `covers` names, and ends where that does; or at `hole`, where a hole behind
/// it ends the segment.
pub(super) fn is_last_batch(file: &dyn File, covers: &Covers, hole: Option<Offset>) -> io::Result<bool> {
    let Covers { base, upto, end, last, .. } = *covers;
    if end == 0 {
        return Ok(last == LastBatch::default() && (upto == base || hole == Some(upto)));
    }
    let mut scan = Scan::new(file, last.position, end, WINDOW_BYTES_SMALL);
    let Step::Found(found) = scan.step()? else { return Ok(false) };
    let mut header = vec![0; found.bytes.min(HEADER_BYTES as u64) as usize];
    let read = file.read_at(&mut header, last.position)?;
    header.truncate(read);
    let is_behind = found.next_offset() == upto || hole == Some(upto) && found.next_offset() <= upto;
    Ok(found.end() == end && is_behind && sum_of_header(&header) == last.sum)
}

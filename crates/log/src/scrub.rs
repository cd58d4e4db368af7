//! Reading a segment again long after it was written, to find out whether the disk still has what it was given.
//!
//! It is planned under the broker's lock and read on a disk lane, a slice at a time; it changes nothing. Headers,
//! checksums and offsets are verified, and the offset index against them. What follows from damage `broker` decides;
//! an index that disagrees with sound batches is no damage, for it can be made of them ([`Scrub::rebuild_indexes`]).

use crate::{
    Damage, Epochs, Log, LogConfig, OpenError, Producers, Recovery,
    directory::SegmentFiles,
    handles::Handles,
    index::{INDEX_ENTRY_BYTES, IndexEntry},
    loaded::Loader,
    names,
    recover::Recoverer,
    scan::{Found, Scan, Step},
    segment::Segment,
};
use env::{Disk, File};
use model::{Offset, Timestamp};
use std::{
    collections::BTreeMap,
    io::{self, ErrorKind},
    sync::Arc,
};

/// How much is read from the disk at once.
const WINDOW_BYTES: usize = 256 * 1024;
/// How many entries of an index are read at once.
const INDEX_ENTRIES: u64 = 1024;

/// One segment that is being verified.
pub struct Scrub {
    handles: Arc<Handles>,
    config: Arc<LogConfig>,
    segment: Offset,
    /// Where the next segment begins; `None` for the active one.
    next: Option<Offset>,
    /// How many bytes of batches a sealed segment has.
    size: u64,
    /// Nothing behind it is looked at: it may not be on stable storage yet.
    upto: Offset,
    file: Option<Arc<dyn File>>,
    index: Index,
    position: u64,
    next_offset: Offset,
}

/// The offset index, followed along the batches.
#[derive(Default)]
struct Index {
    /// `None` where there is no file.
    file: Option<Arc<dyn File>>,
    entries: u64,
    /// Entries from `first` on.
    window: Vec<IndexEntry>,
    first: u64,
    /// The next one that a batch must bear out.
    at: u64,
    is_wrong: bool,
}

/// What a slice has shown.
#[derive(Debug)]
pub enum Scrubbed {
    /// So many bytes are sound; there are more.
    More(u64),
    /// The rest of the segment is sound, so many bytes.
    Sound {
        /// Of this slice.
        bytes: u64,
        /// Whether the offset index says where batches begin; always `true` for the active segment.
        is_index_right: bool,
    },
    /// What was on stable storage is not there any more.
    Damaged(Damage),
}

impl Log {
    /// Where to begin to verify the first segment that begins at `from` or behind it; `None` if there is none, or
    /// nothing of it is on stable storage.
    pub fn scrub(&self, from: Offset) -> Option<Scrub> {
        let place = self.segments.partition_point(|segment| segment.base_offset < from);
        let segment = self.segments.get(place)?;
        let next = self.segments.get(place + 1).map(|next| next.base_offset);
        let upto = next.unwrap_or(Offset::MAX).min(self.synced_offset);
        if upto <= segment.base_offset {
            return None;
        }
        // A segment that is closed but not synced yet is looked at as far as it is.
        let next = next.filter(|next| *next <= self.synced_offset);
        let place = (segment.base_offset, next, segment.size);
        Some(Scrub::new(self.handles.clone(), self.config.clone(), place, upto))
    }

    /// Whether the log still has a segment that begins there, of which something was written.
    pub fn has_segment(&self, base_offset: Offset) -> bool {
        self.written_offset > base_offset
            && self.segments.binary_search_by_key(&base_offset, |segment| segment.base_offset).is_ok()
    }
}

impl Scrub {
    pub(crate) fn new(
        handles: Arc<Handles>,
        config: Arc<LogConfig>,
        (segment, next, size): (Offset, Option<Offset>, u64),
        upto: Offset,
    ) -> Self {
        Self {
            handles,
            config,
            segment,
            next,
            size,
            upto,
            file: None,
            index: Index::default(),
            position: 0,
            next_offset: segment,
        }
    }

    /// The base offset of the segment.
    pub fn segment(&self) -> Offset {
        self.segment
    }

    /// Reads on, at most about `bytes_max` bytes, but one batch whatever its size. `NotFound` means that the file is
    /// not there: the segment was deleted meanwhile, or it is lost. An unreadable sector (EIO) is damage.
    pub fn step(&mut self, disk: &dyn Disk, bytes_max: u64) -> io::Result<Scrubbed> {
        match self.walk(disk, bytes_max) {
            Err(error) if error.raw_os_error() == Some(EIO) => {
                Ok(self.damaged(self.position, format!("it cannot be read: {error}")))
            }
            other => other,
        }
    }

    fn walk(&mut self, disk: &dyn Disk, bytes_max: u64) -> io::Result<Scrubbed> {
        let file = self.open(disk)?;
        let begun = self.position;
        let end = if self.next.is_some() { self.size } else { file.len()? };
        let mut scan = Scan::new(&*file, begun, end, WINDOW_BYTES);
        while self.next_offset < self.upto {
            if self.position > begun && self.position - begun >= bytes_max {
                return Ok(Scrubbed::More(self.position - begun));
            }
            let found = match scan.step()? {
                Step::Found(found) => found,
                Step::End if self.config.has_holes() => break,
                Step::End => {
                    let why = format!("the segment ends here, but it should reach to offset {}", self.upto);
                    return Ok(self.damaged(self.position, why));
                }
                Step::Broken(why) => return Ok(self.damaged(self.position, why.to_owned())),
            };
            // What is synced may end in a hole.
            if self.next.is_none() && self.config.has_holes() && found.base_offset >= self.upto {
                break;
            }
            if !self.follows(&found) {
                let why = "its offsets do not follow those before it".to_owned();
                return Ok(self.damaged(found.position, why));
            }
            if !scan.is_intact(&found)? {
                return Ok(self.damaged(found.position, "its checksum is wrong".to_owned()));
            }
            self.index.on_batch(self.segment, &found)?;
            self.position = found.end();
            self.next_offset = found.next_offset();
        }
        if self.next.is_some() && self.position < self.size {
            let why = "there are bytes behind the last batch".to_owned();
            return Ok(self.damaged(self.position, why));
        }
        let is_index_right = self.next.is_none() || self.index.is_right_at_the_end();
        Ok(Scrubbed::Sound { bytes: self.position - begun, is_index_right })
    }

    /// Writes the offset and time index of a sealed segment anew, whose batches were found sound.
    pub fn rebuild_indexes(&self, disk: &dyn Disk, now: Timestamp) -> Result<(), OpenError> {
        let Some(next) = self.next else { return Ok(()) };
        let index_interval_bytes = self.config.index_interval_bytes;
        let loader = Loader { disk, handles: &self.handles, now, index_interval_bytes };
        let mut recoverer = Recoverer {
            loader: &loader,
            config: &self.config,
            recovery_point: next,
            keep_txn_index: true,
            producers: Producers::default(),
            epochs: Epochs::default(),
            next_offset: self.segment,
            report: Recovery::default(),
        };
        let files = SegmentFiles { log: self.size, ..SegmentFiles::default() };
        let later = BTreeMap::from([(next, SegmentFiles::default())]);
        recoverer.recover(self.segment, &files, &later).map(|_: (Segment, bool)| ())
    }

    fn open(&mut self, disk: &dyn Disk) -> io::Result<Arc<dyn File>> {
        if let Some(file) = &self.file {
            return Ok(file.clone());
        }
        let file = disk.open_uncached(&self.handles.path(self.segment, names::LOG))?;
        if self.next.is_some() {
            self.index = Index::open(disk, &self.handles, self.segment)?;
        }
        self.file = Some(file.clone());
        Ok(file)
    }

    fn follows(&self, found: &Found) -> bool {
        // In old formats the first offset of a batch is not written.
        let may_leap = self.config.has_holes() || found.header.is_none();
        let is_next =
            found.base_offset == self.next_offset || (may_leap && found.base_offset > self.next_offset);
        // What was synced ends with a batch.
        is_next && found.next_offset() <= self.upto.max(self.next.unwrap_or(0))
    }

    fn damaged(&self, position: u64, why: String) -> Scrubbed {
        let file = self.handles.path(self.segment, names::LOG);
        Scrubbed::Damaged(Damage { file, position, offset: self.next_offset, why })
    }

    /// The damage of a segment whose file is not there, though the log has it.
    pub fn missing(&self) -> Damage {
        let file = self.handles.path(self.segment, names::LOG);
        Damage { file, position: 0, offset: self.segment, why: "the file is missing".to_owned() }
    }
}

impl Index {
    fn open(disk: &dyn Disk, handles: &Handles, segment: Offset) -> io::Result<Self> {
        match disk.open_uncached(&handles.path(segment, names::INDEX)) {
            Ok(file) => {
                let len = file.len()?;
                let is_wrong = len % INDEX_ENTRY_BYTES != 0;
                Ok(Self { file: Some(file), entries: len / INDEX_ENTRY_BYTES, is_wrong, ..Self::default() })
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Ok(Self { is_wrong: true, ..Self::default() })
            }
            Err(error) => Err(error),
        }
    }

    /// An entry that names the place of the batch must name its offset; one that names a place before it names none.
    fn on_batch(&mut self, segment: Offset, found: &Found) -> io::Result<()> {
        while !self.is_wrong && self.at < self.entries {
            let Some(entry) = self.entry()? else {
                self.is_wrong = true;
                break;
            };
            if u64::from(entry.position) > found.position {
                break;
            }
            let is_here = u64::from(entry.position) == found.position
                && segment + i64::from(entry.offset_delta) == found.last_offset;
            self.is_wrong |= !is_here;
            self.at += 1;
        }
        Ok(())
    }

    fn is_right_at_the_end(&self) -> bool {
        !self.is_wrong && self.at == self.entries
    }

    fn entry(&mut self) -> io::Result<Option<IndexEntry>> {
        let known = |index: &Self| index.window.get(index.at.checked_sub(index.first)? as usize).copied();
        if let Some(entry) = known(self) {
            return Ok(Some(entry));
        }
        let Some(file) = &self.file else { return Ok(None) };
        let mut bytes = vec![0; ((self.entries - self.at).min(INDEX_ENTRIES) * INDEX_ENTRY_BYTES) as usize];
        let read = file.read_at(&mut bytes, self.at * INDEX_ENTRY_BYTES)?;
        bytes.truncate(read);
        let entries = bytes.chunks_exact(INDEX_ENTRY_BYTES as usize).filter_map(IndexEntry::decode);
        (self.window, self.first) = (entries.collect(), self.at);
        Ok(known(self))
    }
}

/// The disk could not read a sector.
const EIO: i32 = 5;

impl std::fmt::Debug for Scrub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scrub")
            .field("segment", &self.segment)
            .field("upto", &self.upto)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

//! The directory of a log, the few files of it that readers have open, and where sequential readers will go on.
//!
//! It is shared between the core, which only hands it out with read plans, and those plans, which use it on a disk
//! lane. Its locks are held for a few instructions, never over I/O.

use env::{Disk, File, Open};
use model::Offset;
use std::{
    collections::VecDeque,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Open segments per log that are kept for readers.
const READERS_MAX: usize = 4;
/// Open files of postings per log that are kept for look-ups.
const KEY_FILES_MAX: usize = 4;
/// Places per log at which a reader stopped.
const PLACES_MAX: usize = 8;

/// Where the batch with an offset begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) offset: Offset,
    pub(crate) segment: Offset,
    pub(crate) position: u64,
}

/// A file of postings: the first offset that it covers, its level, and the checksum of its head.
type KeyFileName = (Offset, u8, u32);

/// The directory and what is open in it.
pub(crate) struct Handles {
    /// It changes when a log that was copied takes the place of the one that it is a copy of.
    dir: Mutex<Arc<Path>>,
    known: Mutex<Known>,
}

/// What is known of the files as they are in the present layout.
#[derive(Default)]
struct Known {
    /// Odd while files are being replaced by others of their names; see [`crate::Log::layout`].
    layout: u64,
    readers: VecDeque<(Offset, Arc<dyn File>)>,
    key_files: VecDeque<(KeyFileName, Arc<dyn File>)>,
    /// Each with whether somebody went on from there.
    places: VecDeque<(Place, bool)>,
}

impl Handles {
    pub(crate) fn new(dir: PathBuf) -> Self {
        Self { dir: Mutex::new(dir.into()), known: Mutex::default() }
    }

    pub(crate) fn dir(&self) -> Arc<Path> {
        lock(&self.dir).clone()
    }

    /// The directory has another name now.
    pub(crate) fn set_dir(&self, dir: &Path) {
        *lock(&self.dir) = dir.into();
    }

    pub(crate) fn path(&self, offset: Offset, kind: &str) -> PathBuf {
        self.dir().join(crate::names::file_name(offset, kind))
    }

    /// The `.log` file of a segment, for a reader that was planned in `layout`.
    pub(crate) fn reader(&self, disk: &dyn Disk, segment: Offset, layout: u64) -> io::Result<Arc<dyn File>> {
        {
            let known = lock(&self.known);
            if let Some((_, file)) =
                known.readers.iter().find(|(base, _)| *base == segment && known.layout == layout)
            {
                return Ok(file.clone());
            }
        }
        let file = disk.open(&self.path(segment, crate::names::LOG), Open::Read)?;
        let mut known = lock(&self.known);
        // What was opened while files were replaced may be the old one.
        if known.layout == layout && layout.is_multiple_of(2) {
            if known.readers.len() >= READERS_MAX {
                known.readers.pop_front();
            }
            known.readers.push_back((segment, file.clone()));
        }
        Ok(file)
    }

    /// A file of postings, for a look-up that was planned in `layout`; `open` opens it.
    pub(crate) fn key_file(
        &self,
        name: KeyFileName,
        layout: u64,
        open: impl FnOnce() -> io::Result<Arc<dyn File>>,
    ) -> io::Result<Arc<dyn File>> {
        {
            let known = lock(&self.known);
            let mut files = known.key_files.iter().filter(|_| known.layout == layout);
            if let Some((_, file)) = files.find(|(known, _)| *known == name) {
                return Ok(file.clone());
            }
        }
        let file = open()?;
        let mut known = lock(&self.known);
        if known.layout == layout && layout.is_multiple_of(2) {
            if known.key_files.len() >= KEY_FILES_MAX {
                known.key_files.pop_front();
            }
            known.key_files.push_back((name, file.clone()));
        }
        Ok(file)
    }

    /// Closes the files of postings: some of them are gone, or about to be written anew.
    pub(crate) fn forget_key_files(&self) {
        lock(&self.known).key_files.clear();
    }

    /// Forgets a segment that is deleted.
    pub(crate) fn forget(&self, segment: Offset) {
        let mut known = lock(&self.known);
        known.key_files.clear();
        known.readers.retain(|(base, _)| *base != segment);
        known.places.retain(|(place, _)| place.segment != segment);
    }

    /// Closes all files that nobody is reading.
    pub(crate) fn clear(&self) {
        let mut known = lock(&self.known);
        known.readers.clear();
        known.key_files.clear();
    }

    /// Where `offset` begins, if a reader stopped there lately; and whether this one is the first that goes on there. Who
    /// asks again for what was given already may not have been able to read it.
    pub(crate) fn go_on(&self, offset: Offset, segment: Offset, layout: u64) -> Option<(Place, bool)> {
        let mut known = lock(&self.known);
        if known.layout != layout {
            return None;
        }
        let places = &mut known.places;
        let is_here = |place: &Place| place.offset == offset && place.segment == segment;
        let fresh = places.iter_mut().find(|(place, is_used)| is_here(place) && !is_used);
        if let Some((place, is_used)) = fresh {
            *is_used = true;
            return Some((*place, true));
        }
        places.iter().find(|(place, _)| is_here(place)).map(|(place, _)| (*place, false))
    }

    pub(crate) fn remember(&self, place: Place, layout: u64) {
        let mut known = lock(&self.known);
        if known.layout != layout {
            return;
        }
        if known.places.len() >= PLACES_MAX {
            known.places.pop_front();
        }
        known.places.push_back((place, false));
    }

    pub(crate) fn layout(&self) -> u64 {
        lock(&self.known).layout
    }

    /// Files are about to be replaced by others of their names.
    pub(crate) fn begin_swap(&self) {
        let mut known = lock(&self.known);
        if known.layout.is_multiple_of(2) {
            known.layout += 1;
        }
        known.readers.clear();
        known.key_files.clear();
        known.places.clear();
    }

    /// They were, and the log knows it.
    pub(crate) fn end_swap(&self) {
        let mut known = lock(&self.known);
        if !known.layout.is_multiple_of(2) {
            known.layout += 1;
        }
    }

    /// What a reader has found that was planned in `layout`, unless files were replaced since, or are: then it may have
    /// read of old ones and new ones.
    pub(crate) fn unless_moved<T>(&self, layout: u64, found: io::Result<T>) -> io::Result<T> {
        match layout.is_multiple_of(2) && self.layout() == layout {
            true => found,
            false => Err(io::Error::new(io::ErrorKind::Interrupted, Moved)),
        }
    }
}

/// Compaction has replaced segments since the read was planned: plan it again.
#[derive(Debug, thiserror::Error)]
#[error("compaction has replaced segments meanwhile")]
struct Moved;

/// Whether a read is to be planned again, once the job that is at work on the log's files has ended: compaction has
/// replaced segments meanwhile.
pub fn is_moved(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<Moved>())
}

/// A panic elsewhere leaves these lists as good as they were.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

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
/// Places per log at which a reader stopped.
const PLACES_MAX: usize = 8;

/// Where the batch with an offset begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) offset: Offset,
    pub(crate) segment: Offset,
    pub(crate) position: u64,
}

/// The directory and what is open in it.
pub(crate) struct Handles {
    dir: PathBuf,
    readers: Mutex<VecDeque<(Offset, Arc<dyn File>)>>,
    /// Each with whether somebody went on from there.
    places: Mutex<VecDeque<(Place, bool)>>,
}

impl Handles {
    pub(crate) fn new(dir: PathBuf) -> Self {
        Self { dir, readers: Mutex::default(), places: Mutex::default() }
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn path(&self, offset: Offset, kind: &str) -> PathBuf {
        self.dir.join(crate::names::file_name(offset, kind))
    }

    /// The `.log` file of a segment.
    pub(crate) fn reader(&self, disk: &dyn Disk, segment: Offset) -> io::Result<Arc<dyn File>> {
        if let Some((_, file)) = lock(&self.readers).iter().find(|(base, _)| *base == segment) {
            return Ok(file.clone());
        }
        let file = disk.open(&self.path(segment, crate::names::LOG), Open::Read)?;
        let mut readers = lock(&self.readers);
        if readers.len() >= READERS_MAX {
            readers.pop_front();
        }
        readers.push_back((segment, file.clone()));
        Ok(file)
    }

    /// Forgets a segment that is deleted.
    pub(crate) fn forget(&self, segment: Offset) {
        lock(&self.readers).retain(|(base, _)| *base != segment);
        lock(&self.places).retain(|(place, _)| place.segment != segment);
    }

    /// Closes all files that nobody is reading.
    pub(crate) fn clear(&self) {
        lock(&self.readers).clear();
    }

    /// Where `offset` begins, if a reader stopped there lately; and whether this one is the first that goes on there. Who
    /// asks again for what was given already may not have been able to read it.
    pub(crate) fn go_on(&self, offset: Offset, segment: Offset) -> Option<(Place, bool)> {
        let mut places = lock(&self.places);
        let is_here = |place: &Place| place.offset == offset && place.segment == segment;
        let fresh = places.iter_mut().find(|(place, is_used)| is_here(place) && !is_used);
        if let Some((place, is_used)) = fresh {
            *is_used = true;
            return Some((*place, true));
        }
        places.iter().find(|(place, _)| is_here(place)).map(|(place, _)| (*place, false))
    }

    pub(crate) fn remember(&self, place: Place) {
        let mut places = lock(&self.places);
        if places.len() >= PLACES_MAX {
            places.pop_front();
        }
        places.push_back((place, false));
    }
}

/// A panic elsewhere leaves these lists as good as they were.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

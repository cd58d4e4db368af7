//! The writing side of a log's files: executes effects on a disk lane, in order, in as few system calls as possible.
//!
//! It decides nothing. One job at a time uses it (the broker sees to that); readers have their own handles. After an
//! error it refuses everything: nobody knows what has reached the disk, and a failed sync must not be repeated. Only
//! where room or descriptors were missing may the same effects be performed again.

use crate::{Effect, EpochEntry, checkpoint, handles::Handles, names, partition_metadata, pending::Pending};
use env::{Disk, File, Open};
use model::Offset;
use std::{
    io::{self, ErrorKind, IoSlice},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use stdx::Uuid;

pub(crate) mod swap;
mod truncate;

/// Written bytes are handed to the device in portions of this size, so that no sync finds much left to do.
const WRITE_BACK_BYTES: u64 = 2 << 20;

/// The files of one log, for writing.
pub struct Files {
    handles: Arc<Handles>,
    /// Nothing was ever written: the topic and the first segment to begin with.
    blank: Option<(Uuid, Offset)>,
    active: Option<Active>,
    /// Sealed segments that nobody has synced yet.
    unsynced: Vec<Sealing>,
    /// The compacted segment that is being put in place by the effects that are performed, or performed again.
    swapping: Option<swap::Swapping>,
    /// It is on stable storage that holes between batches are no damage.
    has_noted_holes: bool,
    /// Names were created, renamed or removed since the directory was synced.
    dir_dirty: bool,
    poisoned: Arc<AtomicBool>,
}

/// What was done.
#[derive(Debug, Default)]
pub struct Performed {
    /// All batches before this offset are in the files; `None` if no batch was written.
    pub written_upto: Option<Offset>,
    /// All batches before this offset are on stable storage; `None` if nothing was synced.
    pub synced_upto: Option<Offset>,
    /// How many bytes of batches were written.
    pub bytes: u64,
    /// A compacted segment is in its place.
    pub swapped: bool,
    /// There was no room to put a compacted segment in its place: all is as it was.
    pub swap_refused: bool,
    /// Sealed segments that remain to be synced, if `sync` was not asked for: a job of its own, so that acknowledgements
    /// need not wait for it.
    pub sealed: Option<Sealed>,
}

/// Sealed segments to be synced on another lane.
pub struct Sealed {
    sealings: Vec<Sealing>,
    dir: PathBuf,
    poisoned: Arc<AtomicBool>,
}

#[derive(Clone)]
struct Sealing {
    next_offset: Offset,
    files: Vec<Arc<dyn File>>,
    done: Arc<AtomicBool>,
}

/// The segment that is written to.
struct Active {
    segment: Offset,
    log: Arc<dyn File>,
    index: Option<Arc<dyn File>>,
    time_index: Option<Arc<dyn File>>,
    txn_index: Option<Arc<dyn File>>,
    /// Everything before was handed to the device.
    written_back: u64,
    /// The offset after the last batch that was written but not synced.
    next_offset: Option<Offset>,
}

impl Files {
    pub(crate) fn new(handles: Arc<Handles>) -> Self {
        Self {
            handles,
            blank: None,
            active: None,
            unsynced: Vec::new(),
            swapping: None,
            has_noted_holes: false,
            dir_dirty: false,
            poisoned: Arc::default(),
        }
    }

    /// The directory and the segment are created before the first effect: a partition that nobody writes to costs
    /// nothing on the disk.
    pub(crate) fn begin_later(&mut self, topic_id: Uuid, segment: Offset) {
        self.blank = Some((topic_id, segment));
    }

    /// What a crash left unsynced is synced with the next sync.
    pub(crate) fn resume(&mut self, disk: &dyn Disk, segment: Offset, next_offset: Offset) -> io::Result<()> {
        self.active(disk, segment)?.next_offset = Some(next_offset);
        self.dir_dirty = true;
        Ok(())
    }

    /// An opening that was broken off, or a crash, may have left names that no sync has covered: the next one does.
    pub(crate) fn doubt_names(&mut self) {
        self.dir_dirty = true;
    }

    /// Gives the log's directory another name, durably; whatever is written or read from now on is found there. To be
    /// called between [`crate::Log::succeed`] and the next effects, with everything synced. After an error the name is one
    /// of the two; after one that [`is_scarcity`] it may be called again.
    pub fn move_to(&mut self, disk: &dyn Disk, to: &Path) -> io::Result<()> {
        let from = self.handles.dir();
        if *from != *to {
            disk.rename(&from, to)?;
            self.handles.set_dir(to);
        }
        if let Some(parent) = to.parent() {
            disk.sync_dir(parent)?;
        }
        self.handles.end_swap();
        Ok(())
    }

    /// Whether an error made it useless.
    pub fn is_poisoned(&self) -> bool {
        self.poisoned.load(Ordering::Acquire)
    }

    /// Executes `effects` in order; with `sync` everything that was ever written is on stable storage after. After an
    /// error that [`is_scarcity`] the very same effects are to be performed again, before any others.
    pub fn perform(&mut self, disk: &dyn Disk, effects: &[Effect], sync: bool) -> io::Result<Performed> {
        if self.is_poisoned() {
            return Err(poisoned());
        }
        let performed = self.execute(disk, effects, sync);
        match &performed {
            // Until all is done the same effects may come again.
            Ok(_) => self.swapping = None,
            Err(error) if is_scarcity(error) => {}
            Err(_) => self.poisoned.store(true, Ordering::Release),
        }
        performed
    }

    /// Closes all files that nobody uses at this moment; they are opened again when needed.
    pub fn release(&mut self) {
        self.handles.clear();
        if self.active.as_ref().is_some_and(|active| active.next_offset.is_none()) {
            self.active = None;
        }
    }

    fn execute(&mut self, disk: &dyn Disk, effects: &[Effect], sync: bool) -> io::Result<Performed> {
        let mut performed = Performed::default();
        let mut pending = Pending::default();
        let mut is_sealed = false;
        if !effects.is_empty() {
            self.begin(disk)?;
        }
        for effect in effects {
            if pending.add(effect) {
                continue;
            }
            self.write(disk, &mut pending, sync, &mut performed)?;
            if !pending.add(effect) {
                match effect {
                    Effect::Swap { segment, gone, has_keys }
                        if self.swap(disk, (*segment, *has_keys), gone)? =>
                    {
                        performed.swapped = true;
                    }
                    Effect::Swap { .. } => performed.swap_refused = true,
                    _ => self.act(disk, effect, sync)?,
                }
                is_sealed |= matches!(effect, Effect::Seal { .. });
            }
        }
        self.write(disk, &mut pending, sync, &mut performed)?;
        if sync {
            self.sync(disk, &mut performed)?;
        } else if is_sealed {
            // Only now: while an earlier one is being synced, another job for it would only wait beside.
            self.unsynced.retain(|sealing| !sealing.done.load(Ordering::Acquire));
            let (sealings, poisoned) = (self.unsynced.clone(), self.poisoned.clone());
            performed.sealed = Some(Sealed { sealings, dir: self.handles.dir().to_path_buf(), poisoned });
        }
        Ok(performed)
    }

    /// Creates what the first effect needs. The parent is synced at once: whatever is said to be durable later lies
    /// below it.
    fn begin(&mut self, disk: &dyn Disk) -> io::Result<()> {
        let Some((topic_id, segment)) = self.blank else { return Ok(()) };
        let dir = self.handles.dir();
        disk.create_dir_all(&dir)?;
        if let Some(parent) = dir.parent() {
            disk.sync_dir(parent)?;
        }
        partition_metadata::write_topic_id(disk, &dir, topic_id)?;
        self.active = Some(Active::create(disk, &self.handles, segment)?);
        self.dir_dirty = true;
        self.blank = None;
        Ok(())
    }

    /// Writes what was gathered.
    fn write(
        &mut self,
        disk: &dyn Disk,
        pending: &mut Pending<'_>,
        sync: bool,
        performed: &mut Performed,
    ) -> io::Result<()> {
        let Some(segment) = pending.segment() else { return Ok(()) };
        let handles = self.handles.clone();
        let active = self.active(disk, segment)?;
        if let Some((position, slices, next_offset)) = pending.take_data() {
            let bytes: u64 = slices.iter().map(|slice| slice.len() as u64).sum();
            if let Err(error) = active.log.write_at(&slices, position) {
                // What still fitted is no batch. If this fails too, the next start cuts it off.
                let _ = active.log.set_len(position);
                return Err(error);
            }
            active.next_offset = Some(next_offset);
            active.written_back = active.written_back.min(position);
            performed.bytes += bytes;
            performed.written_upto = Some(next_offset);
            let end = position + bytes;
            if !sync && end - active.written_back >= WRITE_BACK_BYTES {
                active.log.start_write_back(active.written_back, end - active.written_back);
                active.written_back = end;
            }
        }
        for (kind, slot) in [
            (names::INDEX, &mut active.index),
            (names::TIME_INDEX, &mut active.time_index),
            (names::TXN_INDEX, &mut active.txn_index),
        ] {
            if let Some((position, bytes)) = pending.take_index(kind) {
                let file = match slot {
                    Some(file) => file,
                    None => slot.insert(disk.open(&handles.path(segment, kind), Open::Create)?),
                };
                file.write_at(&[IoSlice::new(&bytes)], position)?;
            }
        }
        pending.clear();
        Ok(())
    }

    fn active(&mut self, disk: &dyn Disk, segment: Offset) -> io::Result<&mut Active> {
        let current = self.active.take_if(|active| active.segment == segment);
        let active = match current {
            Some(active) => active,
            None => Active::open(disk, &self.handles, segment, Open::ReadWrite)?,
        };
        Ok(self.active.insert(active))
    }

    fn act(&mut self, disk: &dyn Disk, effect: &Effect, sync: bool) -> io::Result<()> {
        match effect {
            Effect::Create { segment } => {
                self.active = Some(Active::create(disk, &self.handles, *segment)?);
                self.dir_dirty = true;
            }
            Effect::Seal { segment, next_offset } => {
                let mut active = match self.active.take_if(|active| active.segment == *segment) {
                    Some(active) => active,
                    None => Active::open(disk, &self.handles, *segment, Open::ReadWrite)?,
                };
                let files = active.all_files(disk, &self.handles)?;
                let sealing = Sealing { next_offset: *next_offset, files, done: Arc::default() };
                // Recovery relies on it: with durable acknowledgements no segment follows one that is not synced.
                if sync {
                    sealing.sync()?;
                }
                // Where room was missing behind it, it is sealed again: that is still one segment.
                self.unsynced.retain(|known| known.next_offset != *next_offset);
                self.unsynced.push(sealing);
            }
            Effect::Epochs(entries) => {
                self.write_epochs(disk, entries)?;
                self.dir_dirty = true;
            }
            Effect::Snapshot { offset, bytes } => {
                let file = disk.open(&self.handles.path(*offset, names::SNAPSHOT), Open::Create)?;
                file.set_len(0)?;
                file.write_at(&[IoSlice::new(bytes)], 0)?;
                if sync {
                    file.sync_data().map_err(io::Error::other)?;
                }
                self.dir_dirty = true;
            }
            Effect::Holes => self.note_holes(disk)?,
            Effect::Delete { segment } => self.delete(disk, *segment)?,
            Effect::Purge { segment } => {
                for kind in names::SEGMENT_KINDS.into_iter().chain([names::SNAPSHOT]) {
                    self.remove(disk, *segment, &format!("{kind}.{}", names::DELETED))?;
                }
            }
            Effect::Swap { .. }
            | Effect::Write { .. }
            | Effect::Index { .. }
            | Effect::TimeIndex { .. }
            | Effect::TxnIndex { .. } => {}
        }
        Ok(())
    }

    fn write_epochs(&self, disk: &dyn Disk, entries: &[EpochEntry]) -> io::Result<()> {
        let path = self.handles.dir().join(names::LEADER_EPOCHS);
        env::replace_whole(disk, &path, checkpoint::encode_epochs(entries).as_bytes())
    }

    fn remove(&mut self, disk: &dyn Disk, offset: Offset, kind: &str) -> io::Result<()> {
        self.dir_dirty = true;
        accept_missing(disk.remove_file(&self.handles.path(offset, kind)))
    }

    fn delete(&mut self, disk: &dyn Disk, segment: Offset) -> io::Result<()> {
        if self.active.as_ref().is_some_and(|active| active.segment == segment) {
            self.active = None;
        }
        for kind in names::SEGMENT_KINDS.into_iter().chain([names::SNAPSHOT]) {
            let from = self.handles.path(segment, kind);
            let to = self.handles.path(segment, &format!("{kind}.{}", names::DELETED));
            accept_missing(disk.rename(&from, &to))?;
        }
        self.handles.forget(segment);
        self.dir_dirty = true;
        Ok(())
    }

    fn sync(&mut self, disk: &dyn Disk, performed: &mut Performed) -> io::Result<()> {
        self.unsynced.iter().try_for_each(Sealing::sync)?;
        if let Some(active) = self.active.as_ref().filter(|active| active.next_offset.is_some()) {
            active.log.sync_data().map_err(io::Error::other)?;
        }
        if self.dir_dirty {
            disk.sync_dir(&self.handles.dir())?;
        }
        // Only now: where no descriptor was left for the directory, all of this is to be told by the next try.
        self.dir_dirty = false;
        let sealed = self.unsynced.drain(..).next_back().map(|sealing| sealing.next_offset);
        let active = self.active.as_mut().and_then(|active| active.next_offset.take());
        performed.synced_upto = active.or(sealed);
        Ok(())
    }
}

impl Active {
    fn open(disk: &dyn Disk, handles: &Handles, segment: Offset, how: Open) -> io::Result<Self> {
        let log = disk.open(&handles.path(segment, names::LOG), how)?;
        let written_back = log.len()?;
        let (index, time_index, txn_index) = (None, None, None);
        Ok(Self { segment, log, index, time_index, txn_index, written_back, next_offset: None })
    }

    /// Empty files, even if a crash left others of these names behind.
    fn create(disk: &dyn Disk, handles: &Handles, segment: Offset) -> io::Result<Self> {
        let mut active = Self::open(disk, handles, segment, Open::Create)?;
        active.log.set_len(0)?;
        active.written_back = 0;
        for (kind, slot) in [(names::INDEX, &mut active.index), (names::TIME_INDEX, &mut active.time_index)] {
            let file = disk.open(&handles.path(segment, kind), Open::Create)?;
            file.set_len(0)?;
            *slot = Some(file);
        }
        accept_missing(disk.remove_file(&handles.path(segment, names::TXN_INDEX)))?;
        Ok(active)
    }

    fn all_files(&mut self, disk: &dyn Disk, handles: &Handles) -> io::Result<Vec<Arc<dyn File>>> {
        let mut files = vec![self.log.clone()];
        for (kind, open) in [
            (names::INDEX, self.index.take()),
            (names::TIME_INDEX, self.time_index.take()),
            (names::TXN_INDEX, self.txn_index.take()),
        ] {
            match open.map_or_else(|| disk.open(&handles.path(self.segment, kind), Open::ReadWrite), Ok) {
                Ok(file) => files.push(file),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(files)
    }
}

impl Sealing {
    fn sync(&self) -> io::Result<()> {
        if !self.done.load(Ordering::Acquire) {
            self.files.iter().try_for_each(|file| file.sync_data()).map_err(io::Error::other)?;
            self.done.store(true, Ordering::Release);
        }
        Ok(())
    }
}

impl Sealed {
    /// Syncs them; everything before the offset that it says is on stable storage then. An error poisons the log, unless
    /// it [`is_scarcity`]: then the next [`Files::perform`] with `sync` does what is left.
    pub fn sync(self, disk: &dyn Disk) -> io::Result<Offset> {
        if self.poisoned.load(Ordering::Acquire) {
            return Err(poisoned());
        }
        let synced = self.sealings.iter().try_for_each(Sealing::sync).and_then(|()| disk.sync_dir(&self.dir));
        if synced.as_ref().is_err_and(|error| !is_scarcity(error)) {
            self.poisoned.store(true, Ordering::Release);
        }
        synced.map(|()| self.sealings.last().map_or(-1, |sealing| sealing.next_offset))
    }
}

/// Whether room on the disk or descriptors were missing: nothing is broken, and it may pass. A failed sync is never
/// such, whatever its reason: that is why syncs give their errors another kind, those of files here and those of
/// directories below ([`Disk::sync_dir`]).
pub fn is_scarcity(error: &io::Error) -> bool {
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
        || matches!(error.raw_os_error(), Some(ENFILE | EMFILE))
}

pub(crate) fn accept_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn poisoned() -> io::Error {
    io::Error::other("an earlier write or sync failed; the log must be opened anew")
}

impl std::fmt::Debug for Sealed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sealed").field("segments", &self.sealings.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

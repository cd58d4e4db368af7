//! A disk in memory, for tests: it knows what was synced, can lose the rest, and can fail on demand.
//!
//! It is not the simulator's disk: it has no clock, no randomness, and it forgets nothing of directories.

use env::{Disk, Entry, File, Lock, Open};
use std::{
    any::Any,
    collections::{BTreeMap, BTreeSet},
    io::{self, ErrorKind, IoSlice},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

/// The disk.
#[derive(Default)]
pub struct MemoryDisk {
    files: Mutex<BTreeMap<PathBuf, Arc<MemoryFile>>>,
    dirs: Mutex<BTreeSet<PathBuf>>,
    switches: Arc<Switches>,
}

/// What goes wrong, and what was counted.
#[derive(Default)]
pub struct Switches {
    /// Every write and sync fails.
    pub fail_writes: AtomicBool,
    /// The how many-th write or creation from now on finds no room, nor does any after it; of such a write half still
    /// fits. 0: there is always room.
    pub full_after: AtomicUsize,
    /// The how many-th renaming from now on finds no room; those after it do. 0: there is always room.
    pub rename_full_at: AtomicUsize,
    /// The how many-th change of anything from now on, a sync among them, fails, and so do all after it: the process
    /// is dead. 0: it lives.
    pub dead_after: AtomicUsize,
    /// No file or directory at or below this path can be opened: descriptors are missing (EMFILE).
    pub closed_below: Mutex<Option<PathBuf>>,
    /// The how many-th opening at or below this path from now on, a directory's for a sync among them, finds no descriptor;
    /// those after it do.
    pub closed_at: Mutex<Option<(PathBuf, usize)>>,
    /// Nothing at or below this path can be read, written or named any more (EIO).
    pub broken_below: Mutex<Option<PathBuf>>,
    /// Writes and creations at or below this path find no room.
    pub full_below: Mutex<Option<PathBuf>>,
    /// Calls of `write_at`.
    pub writes: AtomicUsize,
    /// Calls of `sync_data`.
    pub syncs: AtomicUsize,
    /// Bytes that were read.
    pub bytes_read: AtomicUsize,
    /// What was written and synced, in order: `write NAME`, `sync NAME`, `sync dir NAME`.
    pub journal: Mutex<Vec<String>>,
}

/// A file of the disk.
pub struct MemoryFile {
    name: String,
    path: Mutex<PathBuf>,
    bytes: Mutex<Vec<u8>>,
    synced: Mutex<Vec<u8>>,
    switches: Arc<Switches>,
}

struct Unlocked;

impl Lock for Unlocked {}

impl MemoryDisk {
    /// An empty disk.
    pub fn new() -> Self {
        Self::default()
    }

    /// Its switches and counters.
    pub fn switches(&self) -> &Switches {
        &self.switches
    }

    /// The contents of a file, if it is there.
    pub fn contents(&self, path: &Path) -> Option<Vec<u8>> {
        lock(&self.files).get(path).map(|file| lock(&file.bytes).clone())
    }

    /// Replaces or creates a file.
    pub fn put(&self, path: &Path, bytes: Vec<u8>) {
        let file = MemoryFile {
            name: name_of(path),
            path: Mutex::new(path.to_owned()),
            synced: Mutex::new(bytes.clone()),
            bytes: Mutex::new(bytes),
            switches: self.switches.clone(),
        };
        if let Some(dir) = path.parent() {
            lock(&self.dirs).insert(dir.to_owned());
        }
        lock(&self.files).insert(path.to_owned(), Arc::new(file));
    }

    /// All paths, sorted.
    pub fn paths(&self) -> Vec<PathBuf> {
        lock(&self.files).keys().cloned().collect()
    }

    /// The disk as it is after the process was killed: all that was written is there.
    pub fn after_kill(&self) -> Self {
        let copy = self.copy(|file| lock(&file.bytes).clone());
        for (path, file) in lock(&self.files).iter() {
            if let Some(file_after) = lock(&copy.files).get(path) {
                *lock(&file_after.synced) = lock(&file.synced).clone();
            }
        }
        copy
    }

    /// The disk as it is after the power was cut: only what was synced is there.
    pub fn after_power_cut(&self) -> Self {
        self.copy(|file| lock(&file.synced).clone())
    }

    /// The disk after a power cut that tears: of what was not synced each sector is there, or not, or its beginning is,
    /// so that at least 16 bytes are missing.
    /// `below(n)` draws a number below n.
    pub fn after_torn_power_cut(&self, mut below: impl FnMut(usize) -> usize) -> Self {
        const SECTOR_BYTES: usize = 512;
        let copy = Self::new();
        *lock(&copy.dirs) = lock(&self.dirs).clone();
        for (path, file) in lock(&self.files).iter() {
            let (shown, synced) = (lock(&file.bytes).clone(), lock(&file.synced).clone());
            let between = shown.len().min(synced.len()) + below(shown.len().abs_diff(synced.len()) + 1);
            let len = [shown.len(), synced.len(), between].get(below(3)).copied().unwrap_or(between);
            let mut after = synced;
            after.resize(shown.len().max(after.len()), 0);
            for (new, old) in shown.chunks(SECTOR_BYTES).zip(after.chunks_mut(SECTOR_BYTES)) {
                let kept = [0, new.len(), below(SECTOR_BYTES - 15)]
                    .get(below(3))
                    .copied()
                    .unwrap_or(0)
                    .min(new.len());
                if let (Some(new), Some(old)) = (new.get(..kept), old.get_mut(..kept)) {
                    old.copy_from_slice(new);
                }
            }
            after.resize(len, 0);
            copy.put(path, after);
        }
        copy
    }

    fn copy(&self, contents: impl Fn(&MemoryFile) -> Vec<u8>) -> Self {
        let copy = Self::new();
        *lock(&copy.dirs) = lock(&self.dirs).clone();
        for (path, file) in lock(&self.files).iter() {
            copy.put(path, contents(file));
        }
        copy
    }
}

impl Disk for MemoryDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        self.switches.check_descriptor(path)?;
        self.switches.check_path(path)?;
        let mut files = lock(&self.files);
        let there = files.get(path).cloned();
        let file = match (there, how) {
            (Some(_), Open::CreateNew) => return Err(ErrorKind::AlreadyExists.into()),
            (Some(file), _) => file,
            (None, Open::Read | Open::ReadWrite) => return Err(ErrorKind::NotFound.into()),
            (None, _) if self.switches.is_full_at(path) || self.switches.is_full() => {
                return Err(ErrorKind::StorageFull.into());
            }
            (None, _) if self.switches.is_dead() => return Err(dead()),
            (None, _) => {
                let switches = self.switches.clone();
                let (name, bytes, synced) = (name_of(path), Mutex::default(), Mutex::default());
                let path_of = Mutex::new(path.to_owned());
                let file = MemoryFile { name, path: path_of, bytes, synced, switches };
                // Tests of single files do not create directories.
                lock(&self.dirs).extend(path.parent().map(Path::to_owned));
                files.entry(path.to_owned()).insert_entry(Arc::new(file)).get().clone()
            }
        };
        Ok(file)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        self.switches.check_path(dir)?;
        let (files, dirs) = (lock(&self.files), lock(&self.dirs));
        if !dirs.contains(dir) {
            return Err(ErrorKind::NotFound.into());
        }
        let name = |path: &PathBuf| Some(path.file_name()?.to_str()?.to_owned());
        let subdirs = dirs.iter().filter(|path| path.parent() == Some(dir)).filter_map(name);
        let subdirs = subdirs.map(|name| Entry { name, is_dir: true, len: 0 });
        let inside = files.iter().filter(|(path, _)| path.parent() == Some(dir));
        let entry = |(path, file): (&PathBuf, &Arc<MemoryFile>)| {
            Some(Entry { name: name(path)?, is_dir: false, len: lock(&file.bytes).len() as u64 })
        };
        let mut entries: Vec<_> = subdirs.chain(inside.filter_map(entry)).collect();
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.switches.check_path(dir)?;
        if self.switches.is_full_at(dir) {
            return Err(ErrorKind::StorageFull.into());
        }
        lock(&self.dirs).extend(dir.ancestors().map(Path::to_owned));
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.switches.check_path(from)?;
        if self.switches.is_dead() {
            return Err(dead());
        }
        let mut files = lock(&self.files);
        if files.contains_key(from) && left(&self.switches.rename_full_at) == 1 {
            self.switches.rename_full_at.store(0, Ordering::Relaxed);
            return Err(ErrorKind::StorageFull.into());
        }
        if let Some(file) = files.remove(from) {
            *lock(&file.path) = to.to_owned();
            files.insert(to.to_owned(), file);
            return Ok(());
        }
        let mut dirs = lock(&self.dirs);
        if !dirs.contains(from) {
            return Err(ErrorKind::NotFound.into());
        }
        let is_inside = |path: &PathBuf| path != to && path.starts_with(to);
        if files.keys().any(is_inside) || dirs.iter().any(is_inside) {
            return Err(ErrorKind::DirectoryNotEmpty.into());
        }
        dirs.remove(from);
        dirs.insert(to.to_owned());
        let inside: Vec<_> = files.keys().filter(|path| path.starts_with(from)).cloned().collect();
        for path in inside {
            if let (Some(file), Ok(name)) = (files.remove(&path), path.strip_prefix(from)) {
                *lock(&file.path) = to.join(name);
                files.insert(to.join(name), file);
            }
        }
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.switches.check_path(path)?;
        if self.switches.is_dead() {
            return Err(dead());
        }
        lock(&self.files).remove(path).map(|_| ()).ok_or(ErrorKind::NotFound.into())
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.switches.check_path(dir)?;
        if self.switches.is_dead() {
            return Err(dead());
        }
        lock(&self.files).retain(|path, _| !path.starts_with(dir));
        lock(&self.dirs).retain(|known| !known.starts_with(dir));
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.switches.check_path(dir).map_err(io::Error::other)?;
        self.switches.check_descriptor(dir)?;
        if !lock(&self.dirs).contains(dir) {
            return Err(ErrorKind::NotFound.into());
        }
        lock(&self.switches.journal).push(format!("sync dir {}", name_of(dir)));
        self.switches.check()
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        self.switches.check_path(path)?;
        Ok(Box::new(Unlocked))
    }

    fn space(&self, _: &Path) -> io::Result<(u64, u64)> {
        Ok((u64::MAX, u64::MAX))
    }
}

impl Switches {
    fn is_full(&self) -> bool {
        left(&self.full_after) == 1
    }

    fn is_dead(&self) -> bool {
        left(&self.dead_after) == 1
    }

    fn check_descriptor(&self, path: &Path) -> io::Result<()> {
        const EMFILE: i32 = 24;
        let is_closed = matches!(&*lock(&self.closed_below), Some(below) if path.starts_with(below));
        if is_closed || self.is_closed_now(path) {
            return Err(io::Error::from_raw_os_error(EMFILE));
        }
        Ok(())
    }

    fn is_closed_now(&self, path: &Path) -> bool {
        let mut closed_at = lock(&self.closed_at);
        let Some((_, left)) = closed_at.as_mut().filter(|(below, _)| path.starts_with(below)) else {
            return false;
        };
        *left -= 1;
        let is_now = *left == 0;
        if is_now {
            *closed_at = None;
        }
        is_now
    }

    fn check_path(&self, path: &Path) -> io::Result<()> {
        const EIO: i32 = 5;
        match &*lock(&self.broken_below) {
            Some(below) if path.starts_with(below) => Err(io::Error::from_raw_os_error(EIO)),
            _ => Ok(()),
        }
    }

    fn is_full_at(&self, path: &Path) -> bool {
        lock(&self.full_below).as_ref().is_some_and(|below| path.starts_with(below))
    }

    fn check(&self) -> io::Result<()> {
        if self.is_dead() {
            Err(dead())
        } else if self.fail_writes.load(Ordering::Relaxed) {
            Err(io::Error::other("the disk fails"))
        } else {
            Ok(())
        }
    }
}

impl MemoryFile {
    fn check(&self) -> io::Result<()> {
        self.switches.check_path(&lock(&self.path))?;
        self.switches.check()
    }
}

impl File for MemoryFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.switches.check_path(&lock(&self.path))?;
        let bytes = lock(&self.bytes);
        let rest = bytes.get(position as usize..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        let (to, _) = buffer.split_at_mut(count);
        to.copy_from_slice(rest.get(..count).unwrap_or_default());
        self.switches.bytes_read.fetch_add(count, Ordering::Relaxed);
        Ok(count)
    }

    fn write_at(&self, parts: &[IoSlice<'_>], position: u64) -> io::Result<()> {
        self.check()?;
        self.switches.writes.fetch_add(1, Ordering::Relaxed);
        lock(&self.switches.journal).push(format!("write {}", self.name));
        let mut bytes = lock(&self.bytes);
        let mut all: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
        let is_full = self.switches.is_full_at(&lock(&self.path)) || self.switches.is_full();
        if is_full {
            all.truncate(all.len() / 2);
        }
        let end = position as usize + all.len();
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes.splice(position as usize..end, all);
        if is_full { Err(ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn sync_data(&self) -> io::Result<()> {
        self.check().map_err(io::Error::other)?;
        self.switches.syncs.fetch_add(1, Ordering::Relaxed);
        lock(&self.switches.journal).push(format!("sync {}", self.name));
        *lock(&self.synced) = lock(&self.bytes).clone();
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check()?;
        lock(&self.bytes).resize(len as usize, 0);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(lock(&self.bytes).len() as u64)
    }

    fn start_write_back(&self, _: u64, _: u64) {}

    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

/// The bytes of parts whose files are on a [`MemoryDisk`].
pub fn bytes_of(parts: &stdx::Parts) -> Vec<u8> {
    let mut all = Vec::new();
    for part in parts.iter() {
        match part {
            stdx::Part::Memory(bytes) => all.extend_from_slice(bytes),
            stdx::Part::File(region) => {
                if let Some(file) = region.file.downcast_ref::<MemoryFile>() {
                    let bytes = lock(&file.bytes);
                    let from = region.position as usize;
                    all.extend_from_slice(bytes.get(from..from + region.len).unwrap_or_default());
                }
            }
        }
    }
    all
}

/// What a countdown stands at; it stops at 1.
fn left(countdown: &AtomicUsize) -> usize {
    let left = countdown.load(Ordering::Relaxed);
    if left > 1 {
        countdown.store(left - 1, Ordering::Relaxed);
    }
    left
}

fn dead() -> io::Error {
    io::Error::other("the process is dead")
}

fn name_of(path: &Path) -> String {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! `env::Disk` over the simulated file system, with faults: errors of syncs, a full disk, a power cut between any two
//! operations. It keeps no contents; `file_system` does. Each start of a node gets a disk of its own, whose handles are
//! dead once the node has crashed, so that nothing that a dead node does reaches the medium.

use crate::{
    dice::Dice,
    note,
    trace::Trace,
    world::{Damage, DiskFaults, FileSystem, Plant, damage, file_system::Inode},
};
use env::{Disk, Entry, File, Lock, Open};
use parking_lot::Mutex;
use std::{
    any::Any,
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::sync::Notify;

/// The disk of one machine, over all starts of its node.
pub struct DiskHost {
    /// What lines of the trace begin with.
    label: String,
    state: Mutex<State>,
    trace: Arc<Trace>,
    power_cut: Notify,
}

struct State {
    files: FileSystem,
    faults: DiskFaults,
    dice: Dice,
    /// Which start of the node may work.
    life: u64,
    locks: BTreeMap<PathBuf, u64>,
    /// Files whose sync has failed in this life: they must not be touched again.
    poisoned: BTreeSet<Inode>,
    /// Whether [`DiskFaults::power_cut_after`] has struck and nobody has asked yet.
    power_was_cut: bool,
    /// What the node must not have done.
    misdeeds: Vec<String>,
}

struct SimDisk {
    host: Arc<DiskHost>,
    life: u64,
}

/// An open file of the simulated disk.
pub struct SimFile {
    host: Arc<DiskHost>,
    life: u64,
    inode: Inode,
    path: PathBuf,
}

struct SimLock {
    host: Arc<DiskHost>,
    life: u64,
    path: PathBuf,
}

const TOTAL_BYTES: u64 = 1 << 40;

impl DiskHost {
    /// An empty disk, called by this name in the trace.
    pub fn new(label: String, trace: Arc<Trace>, mut dice: Dice) -> Arc<Self> {
        let state = State {
            files: FileSystem::new(dice.pick(&[512, 4096], 512)),
            faults: DiskFaults::default(),
            dice,
            life: 0,
            locks: BTreeMap::new(),
            poisoned: BTreeSet::new(),
            power_was_cut: false,
            misdeeds: Vec::new(),
        };
        Arc::new(Self { label, state: Mutex::new(state), trace, power_cut: Notify::new() })
    }

    /// The disk for the next start of the node; every earlier one is dead.
    pub fn begin_life(self: &Arc<Self>) -> Arc<dyn Disk> {
        let mut state = self.state.lock();
        state.end_life();
        Arc::new(SimDisk { host: self.clone(), life: state.life })
    }

    /// The node is killed; the machine, and with it the page cache, lives on.
    pub fn kill(&self) {
        self.state.lock().end_life();
    }

    /// The machine, whose node does not run, gets an empty disk.
    pub fn replace(&self) {
        let mut state = self.state.lock();
        state.end_life();
        let sector = state.dice.pick(&[512, 4096], 512);
        state.files = FileSystem::new(sector);
        state.poisoned.clear();
    }

    /// The machine loses its power now.
    pub fn cut_power(&self) {
        self.state.lock().cut_power();
    }

    /// Changes what goes wrong.
    pub fn set_faults(&self, change: impl FnOnce(&mut DiskFaults)) {
        change(&mut self.state.lock().faults);
    }

    /// The bug that is planted.
    pub fn plant(&self) -> Option<Plant> {
        self.state.lock().faults.plant
    }

    /// Ends when the power was cut by [`DiskFaults::power_cut_after`].
    pub async fn until_power_cut(&self) {
        while !self.take_power_cut() {
            self.power_cut.notified().await;
        }
    }

    /// Whether the power was cut by [`DiskFaults::power_cut_after`] since this was last asked.
    pub fn take_power_cut(&self) -> bool {
        std::mem::take(&mut self.state.lock().power_was_cut)
    }

    /// What the node has done to files after a failed sync.
    pub fn take_misdeeds(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().misdeeds)
    }

    /// Shows the bytes of the file of a segment that `offset` belongs to: those on the medium. `None` if there is none.
    pub fn see_durable<T>(&self, dir: &Path, offset: i64, see: impl FnOnce(&[u8]) -> T) -> Option<T> {
        let state = self.state.lock();
        let base = |entry: &Entry| entry.name.strip_suffix(".log")?.parse::<i64>().ok();
        let entries = state.files.list(dir).ok()?;
        let file = entries.iter().rev().find(|entry| base(entry).is_some_and(|base| base <= offset))?;
        let inode = state.files.find(&dir.join(&file.name)).ok()?;
        state.files.durable(inode).ok().map(see)
    }

    /// All segments of a directory, as the page cache shows them.
    pub fn segments(&self, dir: &Path) -> Vec<Vec<u8>> {
        let state = self.state.lock();
        let entries = state.files.list(dir).unwrap_or_default();
        let segments = entries.iter().filter(|entry| entry.name.ends_with(".log")).filter_map(|entry| {
            let inode = state.files.find(&dir.join(&entry.name)).ok()?;
            let mut bytes = vec![0; entry.len as usize];
            state.files.read(inode, &mut bytes, 0).ok()?;
            Some(bytes)
        });
        segments.collect()
    }

    /// The medium damages what it should keep: something of the log in `dir` changes, or is gone, of which all before
    /// `point` is known to be on stable storage; says what. `None` if there is nothing of that.
    pub fn damage(&self, dir: &Path, point: i64, may_lose: bool, dice: &mut Dice) -> Option<Damage> {
        let done = damage::damage(&mut self.state.lock().files, dir, (point, may_lose), dice);
        if let Some(damage) = &done {
            note!(self.trace, "{} damaged: {}", self.label, damage.what);
        }
        done
    }

    /// Whether nothing of a damage is left.
    pub fn is_gone(&self, damage: &Damage) -> bool {
        damage::is_gone(&self.state.lock().files, damage)
    }

    /// The smaller of a partition's recovery points in the checkpoint, as it is shown and as it is on the medium.
    pub fn recovery_point(&self, log_dir: &Path, partition: &str) -> i64 {
        damage::recovery_point(&self.state.lock().files, &log_dir.join(RECOVERY_POINTS), partition)
    }

    /// Runs one operation, unless the node is dead or dies now.
    fn operate<T>(
        &self,
        life: u64,
        what: std::fmt::Arguments<'_>,
        work: impl FnOnce(&mut State) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut state = self.state.lock();
        if state.life != life {
            return Err(io::Error::other("the machine has no power"));
        }
        if let Some(left) = &mut state.faults.power_cut_after {
            if *left == 0 {
                state.faults.power_cut_after = None;
                state.cut_power();
                state.power_was_cut = true;
                note!(self.trace, "{} power cut before: {what}", self.label);
                self.power_cut.notify_one();
                return Err(io::Error::other("the machine has no power"));
            }
            *left -= 1;
        }
        let result = work(&mut state);
        match &result {
            Ok(_) => note!(self.trace, "{} {what}", self.label),
            Err(error) => note!(self.trace, "{} {what}: {error}", self.label),
        };
        result
    }
}

impl State {
    fn end_life(&mut self) {
        self.life += 1;
        self.locks.clear();
        self.poisoned.clear();
    }

    fn cut_power(&mut self) {
        self.end_life();
        self.files.power_cut(&mut self.dice);
    }

    fn is_planted(&self, plant: Plant) -> bool {
        self.faults.plant == Some(plant)
    }

    /// Whether this file of the consensus tells of a vote.
    fn tells_of_vote(&self, path: &Path) -> bool {
        let mut bytes = [0; VOTE_FLAG + 1];
        let read = self.files.find(path).and_then(|inode| self.files.read(inode, &mut bytes, 0));
        read.is_ok_and(|read| read == bytes.len()) && bytes.get(VOTE_FLAG) == Some(&1)
    }

    fn check_room(&self) -> io::Result<()> {
        if self.faults.full { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    /// After a failed sync nobody knows what is on the medium: the file is not to be used.
    fn check_poison(&mut self, inode: Inode, path: &Path, what: &str) {
        if self.poisoned.contains(&inode) {
            self.misdeeds.push(format!("{} was {what} after a sync of it had failed", path.display()));
        }
    }

    fn sync(&mut self, inode: Inode, path: &Path) -> io::Result<()> {
        self.check_poison(inode, path, "synced");
        let ignored = match segment_of(path) {
            Some("__cluster_metadata") => self.is_planted(Plant::MetadataUnsynced),
            Some("__share_group_state") => self.is_planted(Plant::SharesUnsynced),
            Some("__consumer_offsets") => self.is_planted(Plant::OffsetsUnsynced),
            Some(_) => self.is_planted(Plant::SyncIgnored),
            None => false,
        };
        if ignored {
            return Ok(());
        }
        if self.faults.sync_errors > 0 {
            self.faults.sync_errors -= 1;
            self.poisoned.insert(inode);
            if self.is_planted(Plant::SyncRetried) {
                return self.sync(inode, path);
            }
            return Err(io::Error::from_raw_os_error(EIO));
        }
        self.files.sync(inode)
    }
}

/// The file of the consensus, and where in it stands whether there is a vote:
/// docs/formats/metadata-log.md.
const RAFT_STATE: &str = "raft-state";
const VOTE_FLAG: usize = 9 + 20;
const RECOVERY_POINTS: &str = "recovery-point-offset-checkpoint";

/// The topic whose segment this file is.
fn segment_of(path: &Path) -> Option<&str> {
    let is_segment = path.extension().is_some_and(|extension| extension == "log");
    let dir = path.parent()?.file_name()?.to_str()?;
    if is_segment { dir.rsplit_once('-').map(|(topic, _)| topic) } else { None }
}

const EIO: i32 = 5;

impl SimDisk {
    fn operate<T>(
        &self,
        what: std::fmt::Arguments<'_>,
        work: impl FnOnce(&mut State) -> io::Result<T>,
    ) -> io::Result<T> {
        self.host.operate(self.life, what, work)
    }
}

impl Disk for SimDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        let inode = self.operate(format_args!("open {} {how:?}", path.display()), |state| {
            match (state.files.find(path), how) {
                (Ok(_), Open::CreateNew) => Err(io::ErrorKind::AlreadyExists.into()),
                (Err(error), Open::Create | Open::CreateNew) if error.kind() == io::ErrorKind::NotFound => {
                    state.check_room()?;
                    state.files.create(path)
                }
                (found, _) => found.and_then(|inode| state.files.len(inode).map(|_| inode)),
            }
        })?;
        Ok(Arc::new(SimFile { host: self.host.clone(), life: self.life, inode, path: path.to_owned() }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        self.operate(format_args!("list {}", dir.display()), |state| state.files.list(dir))
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.operate(format_args!("create dir {}", dir.display()), |state| {
            state.check_room()?;
            state.files.create_dir_all(dir)
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let what = format_args!("rename {} to {}", from.display(), to.display());
        self.operate(what, |state| {
            // A broker that acknowledges before it syncs knows of no point up to which it has synced.
            if state.is_planted(Plant::SyncIgnored) && to.ends_with(RECOVERY_POINTS) {
                return Ok(());
            }
            if state.is_planted(Plant::VoteForgotten) && to.ends_with(RAFT_STATE) && state.tells_of_vote(from)
            {
                return Ok(());
            }
            state.files.rename(from, to)
        })
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.operate(format_args!("remove {}", path.display()), |state| state.files.remove_file(path))
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.operate(format_args!("remove all of {}", dir.display()), |state| state.files.remove_dir_all(dir))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.operate(format_args!("sync dir {}", dir.display()), |state| {
            if state.is_planted(Plant::DirSyncIgnored) { Ok(()) } else { state.files.sync_dir(dir) }
        })
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        self.operate(format_args!("lock {}", path.display()), |state| {
            if state.locks.contains_key(path) {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            if state.files.find(path).is_err() {
                state.files.create(path)?;
            }
            state.locks.insert(path.to_owned(), self.life);
            Ok(())
        })?;
        Ok(Box::new(SimLock { host: self.host.clone(), life: self.life, path: path.to_owned() }))
    }

    fn space(&self, _path: &Path) -> io::Result<(u64, u64)> {
        let usable = if self.host.state.lock().faults.full { 0 } else { TOTAL_BYTES / 2 };
        Ok((TOTAL_BYTES, usable))
    }
}

impl Lock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut state = self.host.state.lock();
        if state.locks.get(&self.path) == Some(&self.life) {
            state.locks.remove(&self.path);
        }
    }
}

impl SimFile {
    fn operate<T>(
        &self,
        what: std::fmt::Arguments<'_>,
        work: impl FnOnce(&mut State) -> io::Result<T>,
    ) -> io::Result<T> {
        self.host.operate(self.life, format_args!("{what} {}", self.path.display()), work)
    }

    fn is_segment(&self) -> bool {
        segment_of(&self.path).is_some_and(|topic| !topic.starts_with("__"))
    }
}

impl File for SimFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let mut state = self.host.state.lock();
        if state.life != self.life {
            return Err(io::Error::other("the machine has no power"));
        }
        let read = state.files.read(self.inode, buffer, position)?;
        if state.is_planted(Plant::ReadCorrupted)
            && self.is_segment()
            && state.dice.chance(2)
            && let Some(last) = buffer.get_mut(..read).and_then(|read| read.last_mut())
        {
            *last ^= 1;
        }
        Ok(read)
    }

    fn write_at(&self, parts: &[io::IoSlice<'_>], position: u64) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(parts.iter().map(|part| part.len()).sum());
        parts.iter().for_each(|part| bytes.extend_from_slice(part));
        let (len, checksum) = (bytes.len(), stdx::crc32c(&bytes));
        self.operate(format_args!("write {len} bytes {checksum:08x} at {position}:"), |state| {
            state.check_poison(self.inode, &self.path, "written");
            if state.faults.full {
                // A full disk takes what still fits.
                let fits = state.dice.below(len as u64) as usize;
                state.files.write(self.inode, bytes.get(..fits).unwrap_or_default(), position)?;
            }
            state.check_room()?;
            if state.is_planted(Plant::WriteDropped) && self.is_segment() && state.dice.chance(3) {
                bytes.iter_mut().for_each(|byte| *byte = 0);
            }
            state.files.write(self.inode, &bytes, position)
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.operate(format_args!("sync"), |state| state.sync(self.inode, &self.path))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.operate(format_args!("set length {len} of"), |state| {
            // Nothing is left whose state nobody knows.
            if len == 0 {
                state.poisoned.remove(&self.inode);
            }
            state.check_poison(self.inode, &self.path, "cut");
            state.files.set_len(self.inode, len)
        })
    }

    fn len(&self) -> io::Result<u64> {
        self.host.state.lock().files.len(self.inode)
    }

    fn start_write_back(&self, _position: u64, _len: u64) {}

    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{trace::Keep, world::SimClock};

    fn host() -> Arc<DiskHost> {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let clock = runtime.block_on(async { SimClock::new() });
        let _inside = runtime.enter();
        let trace = Trace::new(clock, Keep::All);
        DiskHost::new("disk".into(), trace, Dice::new(1))
    }

    fn write(disk: &dyn Disk, path: &str) -> io::Result<Arc<dyn File>> {
        let file = disk.open(Path::new(path), Open::Create)?;
        file.write_at(&[io::IoSlice::new(b"abc")], 0)?;
        Ok(file)
    }

    #[test]
    fn a_killed_node_reaches_nothing_and_its_page_cache_stays() {
        let host = host();
        let disk = host.begin_life();
        let file = write(&*disk, "/f").unwrap();
        let _lock = disk.lock(Path::new("/lock")).unwrap();
        assert!(disk.lock(Path::new("/lock")).is_err());
        host.kill();
        assert!(file.write_at(&[io::IoSlice::new(b"x")], 0).is_err());
        let next = host.begin_life();
        assert_eq!(next.read_small(Path::new("/f"), 9).unwrap(), b"abc");
        assert!(next.lock(Path::new("/lock")).is_ok());
    }

    #[test]
    fn the_power_can_be_cut_between_any_two_operations() {
        let host = host();
        let disk = host.begin_life();
        host.set_faults(|faults| faults.power_cut_after = Some(1));
        assert!(write(&*disk, "/f").is_err());
        assert!(host.begin_life().list(Path::new("/")).unwrap().len() <= 1);
    }

    #[test]
    fn use_after_a_failed_sync_is_told() {
        let host = host();
        let disk = host.begin_life();
        let file = write(&*disk, "/f").unwrap();
        host.set_faults(|faults| faults.sync_errors = 1);
        assert!(file.sync_data().is_err());
        assert!(host.take_misdeeds().is_empty());
        file.write_at(&[io::IoSlice::new(b"x")], 0).unwrap();
        assert_eq!(host.take_misdeeds().len(), 1);
    }

    #[test]
    fn a_full_disk_refuses_writes_and_new_files() {
        let host = host();
        let disk = host.begin_life();
        let file = write(&*disk, "/f").unwrap();
        host.set_faults(|faults| faults.full = true);
        let error = file.write_at(&[io::IoSlice::new(b"abcdef")], 0).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert!(disk.open(Path::new("/g"), Open::Create).is_err());
    }
}

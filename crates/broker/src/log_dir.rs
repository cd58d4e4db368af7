//! The log directory: whose it is, its lock, its checkpoints and the mark of a clean stop.
//!
//! It holds no partition's files; [`log`] does. Everything here blocks and belongs on a disk lane or into start-up.

use crate::{
    METADATA_DIR, backlog::Backlog, dir_assignments::DirAssignments, isr_changes::IsrChanges,
    tail_budget::TailBudget,
};
use env::{Disk, Lock, World};
use log::{
    META_PROPERTIES, MetaProperties,
    checkpoint::{self, Offsets},
    names,
};
use model::NodeId;
use parking_lot::Mutex;
use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};
use stdx::Uuid;
use tokio::sync::Notify;

/// What all partitions of a node share, whatever directory they lie in.
pub(crate) struct Shared {
    pub(crate) world: World,
    pub(crate) node_id: NodeId,
    pub(crate) tail: TailBudget,
    pub(crate) backlog: Arc<Backlog>,
    /// What its leaders want of the ISR.
    pub(crate) isr_changes: IsrChanges,
    /// What is to be told of where its replicas are.
    pub(crate) dir_assignments: DirAssignments,
    /// A replica was found damaged.
    pub(crate) damage_found: Notify,
    /// A log directory has failed: what lies in it is to go offline.
    pub(crate) dir_failed: Notify,
    /// ... and the controller is to hear of it.
    pub(crate) failure_untold: Notify,
}

/// One log directory.
pub(crate) struct LogDir {
    pub(crate) shared: Arc<Shared>,
    pub(crate) world: World,
    pub(crate) path: PathBuf,
    meta: Mutex<MetaProperties>,
    /// A write or sync has failed, or it could not be opened: nothing more is written until it is opened anew.
    is_offline: AtomicBool,
    checkpoints: Checkpoints,
    /// There is a file that says up to where logs are compacted.
    has_cleaner_offsets: AtomicBool,
    /// `None`: it could not be opened.
    _lock: Option<Box<dyn Lock>>,
}

/// Who writes checkpoints, one after the other.
#[derive(Default)]
struct Checkpoints {
    /// How many times they were asked for.
    asked: AtomicU64,
    /// Which of these was the last that is answered by what is written. Held over the writing, on lanes only: all of them
    /// go through files of the same temporary names.
    answered: Mutex<u64>,
}

/// What was found in a log directory when it was opened.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) clean: bool,
    /// The epoch of the broker that has stopped cleanly; -1 if it has not.
    pub(crate) broker_epoch: i64,
    pub(crate) recovery_points: Offsets,
    pub(crate) start_offsets: Offsets,
    pub(crate) high_watermarks: Offsets,
    /// Up to where logs are compacted.
    pub(crate) cleaner_offsets: Offsets,
}

/// Why a log directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LogDirError {
    /// Another process has it.
    #[error("{0} is in use by another process; stop that process or choose another directory with log.dirs")]
    InUse(PathBuf),
    /// It belongs to another node or cluster.
    #[allow(missing_docs, reason = "the fields are the words of the message")]
    #[error(
        "{path} belongs to {found}, not to {expected}; choose another directory with log.dirs, or correct {key}"
    )]
    Foreign { path: PathBuf, key: &'static str, found: String, expected: String },
    /// It has files but no `meta.properties`: it may be anything.
    #[error(
        "{0} is not empty and has no meta.properties: it is no log directory of odradek or Kafka; choose another \
         directory with log.dirs, or empty it"
    )]
    NotOurs(PathBuf),
    /// It holds a metadata log that is not the node's.
    #[allow(missing_docs, reason = "the fields are the words of the message")]
    #[error(
        "{path} holds a metadata log, but the node's is to be in {home}; if it is the node's, name {path} in \
         metadata.log.dir, or first in log.dirs where metadata.log.dir is not set; if it is another's, take {path} off \
         log.dirs"
    )]
    OtherMetadata { path: PathBuf, home: PathBuf },
    /// Two directories are one, or one is a copy of another.
    #[allow(missing_docs, reason = "the fields are the words of the message")]
    #[error("{path} and {other} have the same directory.id; take the one that is a copy off log.dirs")]
    Twin { path: PathBuf, other: PathBuf },
    /// `meta.properties` cannot be understood.
    #[allow(missing_docs, reason = "the fields are the words of the message")]
    #[error("{path} cannot be understood: {why}")]
    Malformed { path: PathBuf, why: String },
    /// The disk refused.
    #[allow(missing_docs, reason = "the fields are the words of the message")]
    #[error(
        "{path} cannot be used: {error}; check that it exists on a writable disk and belongs to this user"
    )]
    Io { path: PathBuf, error: io::Error },
}

const LOCK: &str = ".lock";
/// With less room than this leftovers of deletions do not wait for their time at a start.
const ROOM_BYTES_TO_START: u64 = 16 << 20;

impl Shared {
    /// What the directories of a node are opened with.
    pub(crate) fn new(world: World, node_id: NodeId, tail: TailBudget, backlog: Arc<Backlog>) -> Arc<Self> {
        Arc::new(Self {
            world,
            node_id,
            tail,
            backlog,
            isr_changes: IsrChanges::default(),
            dir_assignments: DirAssignments::default(),
            damage_found: Notify::new(),
            dir_failed: Notify::new(),
            failure_untold: Notify::new(),
        })
    }
}

impl LogDir {
    /// Takes the directory, initialises it if it is empty, and reads what the last run has left.
    pub(crate) fn open(
        shared: Arc<Shared>,
        path: &Path,
        cluster_id: Option<&str>,
    ) -> Result<(Self, Found), LogDirError> {
        let (world, node_id) = (shared.world.clone(), shared.node_id);
        let fail = |error: io::Error| LogDirError::Io { path: path.to_owned(), error };
        let disk = &*world.disk;
        create_durably(disk, path).map_err(fail)?;
        let lock = disk.lock(&path.join(LOCK)).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => LogDirError::InUse(path.to_owned()),
            _ => fail(error),
        })?;
        let meta = match read_meta(disk, path)? {
            Some(meta) if meta.directory_id.is_some() => meta,
            // Written by a version that gave directories no ids.
            Some(meta) => {
                let named = MetaProperties { directory_id: Some(world.random.uuid()), ..meta };
                named.write(disk, path).map_err(fail)?;
                named
            }
            None => create_meta(&world, path, node_id, cluster_id)?,
        };
        check_owner(path, &meta, node_id, cluster_id)?;
        if disk.space(path).is_ok_and(|(_, usable)| usable < ROOM_BYTES_TO_START) {
            remove_leftovers(disk, path).map_err(fail)?;
        }
        let clean = log::take_clean_shutdown(disk, path).map_err(fail)?;
        let points = read_marks(disk, &path.join(checkpoint::RECOVERY_POINTS)).map_err(fail)?;
        let starts = read_marks(disk, &path.join(checkpoint::LOG_START_OFFSETS)).map_err(fail)?;
        let watermarks = read_marks(disk, &path.join(checkpoint::HIGH_WATERMARKS)).map_err(fail)?;
        let cleaned = read_marks(disk, &path.join(checkpoint::CLEANER_OFFSETS)).map_err(fail)?;
        let has_cleaner_offsets = AtomicBool::new(!cleaned.is_empty());
        let dir = Self {
            shared,
            path: path.to_owned(),
            meta: Mutex::new(meta),
            is_offline: AtomicBool::new(false),
            checkpoints: Checkpoints::default(),
            has_cleaner_offsets,
            _lock: Some(lock),
            world,
        };
        let found = Found {
            clean: clean.is_some(),
            broker_epoch: clean.unwrap_or(-1),
            recovery_points: points,
            start_offsets: starts,
            high_watermarks: watermarks,
            cleaner_offsets: cleaned,
        };
        Ok((dir, found))
    }

    /// One that cannot be opened: nothing is known of what lies in it, nor under which id.
    pub(crate) fn lost(shared: Arc<Shared>, path: &Path) -> Self {
        let meta = MetaProperties { cluster_id: String::new(), node_id: shared.node_id, directory_id: None };
        Self {
            world: shared.world.clone(),
            shared,
            path: path.to_owned(),
            meta: Mutex::new(meta),
            is_offline: AtomicBool::new(true),
            checkpoints: Checkpoints::default(),
            has_cleaner_offsets: AtomicBool::new(false),
            _lock: None,
        }
    }

    /// Its id, if that is known.
    pub(crate) fn id(&self) -> Option<Uuid> {
        self.meta.lock().directory_id
    }

    /// Whose it is.
    pub(crate) fn meta(&self) -> MetaProperties {
        self.meta.lock().clone()
    }

    /// Makes it a directory of that cluster; only one without metadata may become that.
    pub(crate) fn adopt(&self, cluster_id: &str) -> io::Result<()> {
        let next = MetaProperties { cluster_id: cluster_id.to_owned(), ..self.meta() };
        next.write(&*self.world.disk, &self.path)?;
        *self.meta.lock() = next;
        Ok(())
    }

    /// Writes how far each log is synced, where it starts, and its high watermark, as `offsets` says once it is its turn:
    /// an older set never replaces a newer one. Who waited while others wrote may find it done. Blocks.
    pub(crate) fn write_checkpoints(&self, offsets: impl FnOnce() -> [Offsets; 4]) -> io::Result<()> {
        let asked = self.checkpoints.asked.fetch_add(1, Ordering::AcqRel) + 1;
        let mut answered = self.checkpoints.answered.lock();
        if *answered >= asked {
            return Ok(());
        }
        // Whoever has asked by now has changed before what `offsets` will see.
        let upto = self.checkpoints.asked.load(Ordering::Acquire);
        let names = [checkpoint::RECOVERY_POINTS, checkpoint::LOG_START_OFFSETS, checkpoint::HIGH_WATERMARKS];
        let [points, starts, watermarks, cleaned] = offsets();
        for (name, offsets) in names.iter().zip([points, starts, watermarks]) {
            checkpoint::write_offsets(&*self.world.disk, &self.path.join(name), &offsets)?;
        }
        self.write_cleaned(&cleaned)?;
        *answered = upto;
        Ok(())
    }

    /// Writes up to where each log is compacted, in the same order. Blocks.
    pub(crate) fn write_cleaner_offsets(&self, offsets: impl FnOnce() -> Offsets) -> io::Result<()> {
        let _turn = self.checkpoints.answered.lock();
        self.write_cleaned(&offsets())
    }

    /// Where nothing was ever compacted there is no such file. To be called in turn.
    fn write_cleaned(&self, offsets: &Offsets) -> io::Result<()> {
        if offsets.is_empty() && !self.has_cleaner_offsets.load(Ordering::Acquire) {
            return Ok(());
        }
        self.has_cleaner_offsets.store(true, Ordering::Release);
        checkpoint::write_offsets(&*self.world.disk, &self.path.join(checkpoint::CLEANER_OFFSETS), offsets)
    }

    /// Writes how far each log is known to be safe, in the same order. Blocks.
    pub(crate) fn write_high_watermarks(&self, offsets: impl FnOnce() -> Offsets) -> io::Result<()> {
        let _turn = self.checkpoints.answered.lock();
        let offsets = &offsets();
        checkpoint::write_offsets(&*self.world.disk, &self.path.join(checkpoint::HIGH_WATERMARKS), offsets)
    }

    /// Marks that everything is synced and nothing needs recovery.
    pub(crate) fn mark_clean(&self, broker_epoch: i64) -> io::Result<()> {
        log::write_clean_shutdown(&*self.world.disk, &self.path, broker_epoch)
    }

    pub(crate) fn is_offline(&self) -> bool {
        self.is_offline.load(Ordering::Acquire)
    }

    /// A write or sync has failed: whatever lies in it is not written any more, and others are to lead it.
    pub(crate) fn fail(&self) {
        if !self.is_offline.swap(true, Ordering::AcqRel) {
            tracing::error!(dir = %self.path.display(), "the log directory is offline");
            self.shared.dir_failed.notify_one();
            self.shared.failure_untold.notify_one();
        }
    }
}

/// Whether a directory holds any of a quorum's metadata. Blocks.
pub(crate) fn holds_metadata(disk: &dyn Disk, path: &Path) -> io::Result<bool> {
    let entries = match disk.list(&path.join(METADATA_DIR)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        other => other?,
    };
    let is_data = |name: &str| name.ends_with(".log") || name.ends_with(".checkpoint");
    Ok(entries.iter().any(|entry| is_data(&entry.name) && entry.len > 0))
}

/// A checkpoint that is damaged costs what it was for, not the node: more is verified, or deleted records are back.
fn read_marks(disk: &dyn Disk, path: &Path) -> io::Result<Offsets> {
    match checkpoint::read_offsets(disk, path) {
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            tracing::error!(%error, "a damaged checkpoint is not used");
            Ok(Offsets::new())
        }
        other => other,
    }
}

/// Creates the directory and its parents so that a power cut leaves none of them behind.
fn create_durably(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    let missing: Vec<_> =
        path.ancestors().take_while(|dir| !dir.as_os_str().is_empty() && !disk.exists(dir)).collect();
    disk.create_dir_all(path)?;
    for parent in missing.iter().filter_map(|dir| dir.parent()) {
        // The parent of a relative path of one name is the working directory.
        disk.sync_dir(if parent.as_os_str().is_empty() { Path::new(".") } else { parent })?;
    }
    Ok(())
}

/// Removes what is deleted already and only waits for its time: where no room is left for the first records of the
/// metadata log, that makes some.
fn remove_leftovers(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    for dir in disk.list(path)?.into_iter().filter(|entry| entry.is_dir) {
        let at = path.join(&dir.name);
        if names::is_deleted_dir(&dir.name) {
            disk.remove_dir_all(&at)?;
        } else if names::parse_dir_name(&dir.name).is_some() {
            let is_deleted = |file: &env::Entry| !file.is_dir && names::is_deleted_file(&file.name);
            for file in disk.list(&at)?.into_iter().filter(is_deleted) {
                disk.remove_file(&at.join(file.name))?;
            }
        }
    }
    Ok(())
}

fn read_meta(disk: &dyn Disk, path: &Path) -> Result<Option<MetaProperties>, LogDirError> {
    MetaProperties::read(disk, path).map_err(|error| {
        let path = path.join(META_PROPERTIES);
        match error.kind() {
            io::ErrorKind::InvalidData => LogDirError::Malformed { path, why: error.to_string() },
            _ => LogDirError::Io { path, error },
        }
    })
}

fn create_meta(
    world: &World,
    path: &Path,
    node_id: NodeId,
    cluster_id: Option<&str>,
) -> Result<MetaProperties, LogDirError> {
    let fail = |error: io::Error| LogDirError::Io { path: path.to_owned(), error };
    let entries = world.disk.list(path).map_err(fail)?;
    let ours = [LOCK, "meta.properties.tmp", "lost+found"];
    if entries.iter().any(|entry| !ours.contains(&entry.name.as_str())) {
        return Err(LogDirError::NotOurs(path.to_owned()));
    }
    let cluster_id = cluster_id.map_or_else(|| world.random.uuid().to_string(), str::to_owned);
    let meta = MetaProperties { cluster_id, node_id, directory_id: Some(world.random.uuid()) };
    meta.write(&*world.disk, path).map_err(fail)?;
    Ok(meta)
}

fn check_owner(
    path: &Path,
    meta: &MetaProperties,
    node_id: NodeId,
    cluster_id: Option<&str>,
) -> Result<(), LogDirError> {
    let foreign = |key, found: String, expected: String| {
        Err(LogDirError::Foreign { path: path.to_owned(), key, found, expected })
    };
    if meta.node_id != node_id {
        return foreign("node.id", format!("node {}", meta.node_id), format!("node {node_id}"));
    }
    match cluster_id {
        Some(id) if id != meta.cluster_id => {
            foreign("cluster.id", format!("cluster {}", meta.cluster_id), format!("cluster {id}"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "lanes are threads, and these tests are about two of them")]
mod tests {
    use super::*;
    use crate::partition::kit::Kit;
    use model::{TopicName, TopicPartition};
    use std::{sync::mpsc, thread, time::Duration};

    const LONG: Duration = Duration::from_secs(20);

    fn set(offset: i64) -> [Offsets; 4] {
        let name = TopicPartition::new(TopicName::new("t").unwrap(), 0);
        [(); 4].map(|()| Offsets::from([(name.clone(), offset)]))
    }

    /// Begins to write the set 1, and ends with whatever is sent.
    fn slow(dir: &Arc<LogDir>) -> (mpsc::Sender<()>, thread::JoinHandle<()>) {
        let (dir, (begun, has_begun), (end, may_end)) = (dir.clone(), mpsc::channel(), mpsc::channel());
        let writing = thread::spawn(move || {
            let computed = dir.write_checkpoints(|| {
                begun.send(()).unwrap();
                may_end.recv_timeout(LONG).unwrap();
                set(1)
            });
            computed.unwrap();
        });
        has_begun.recv_timeout(LONG).unwrap();
        (end, writing)
    }

    fn until_asked(dir: &LogDir, times: u64) {
        while dir.checkpoints.asked.load(Ordering::Acquire) < times {
            thread::yield_now();
        }
    }

    #[test]
    fn an_older_set_of_checkpoints_never_replaces_a_newer_one() {
        let kit = Kit::new(0);
        let (end, first) = slow(&kit.dir);
        let (dir, (done, is_done)) = (kit.dir.clone(), mpsc::channel());
        let second = thread::spawn(move || {
            dir.write_checkpoints(|| set(2)).unwrap();
            done.send(()).unwrap();
        });
        until_asked(&kit.dir, 2);
        assert!(is_done.recv_timeout(Duration::from_millis(50)).is_err(), "the first is still at it");
        end.send(()).unwrap();
        first.join().unwrap();
        second.join().unwrap();
        for name in [
            checkpoint::RECOVERY_POINTS,
            checkpoint::LOG_START_OFFSETS,
            checkpoint::HIGH_WATERMARKS,
            checkpoint::CLEANER_OFFSETS,
        ] {
            let written = checkpoint::read_offsets(&*kit.disk, &kit.dir.path.join(name)).unwrap();
            assert_eq!(written, set(2)[0]);
        }
    }

    #[test]
    fn leftovers_make_room_and_nothing_else_does() {
        let disk = log::testing::MemoryDisk::new();
        let path = Path::new("/data");
        let kept = ["t-0/00000000000000000000.log", "t-0/partition.metadata", "notes/a.deleted", "a.deleted"];
        let gone = ["t-0/00000000000000000007.log.deleted", "t-1.0123-delete/00000000000000000000.log"];
        for name in kept.iter().chain(&gone) {
            disk.create_dir_all(path.join(name).parent().unwrap()).unwrap();
            disk.put(&path.join(name), vec![1]);
        }
        remove_leftovers(&disk, path).unwrap();
        for (names, stay) in [(&kept[..], true), (&gone[..], false)] {
            for name in names {
                assert_eq!(disk.contents(&path.join(name)).is_some(), stay, "{name}");
            }
        }
    }

    #[test]
    fn many_who_wait_for_their_checkpoints_are_served_at_once() {
        let kit = Kit::new(0);
        let (end, first) = slow(&kit.dir);
        let count = Arc::new(AtomicU64::new(0));
        let waiting: Vec<_> = (0..10)
            .map(|_| {
                let (dir, count) = (kit.dir.clone(), count.clone());
                thread::spawn(move || {
                    let computed = dir.write_checkpoints(|| {
                        count.fetch_add(1, Ordering::Relaxed);
                        set(2)
                    });
                    computed.unwrap();
                })
            })
            .collect();
        until_asked(&kit.dir, 11);
        end.send(()).unwrap();
        for thread in waiting.into_iter().chain([first]) {
            thread.join().unwrap();
        }
        assert_eq!(count.load(Ordering::Relaxed), 1);
    }
}

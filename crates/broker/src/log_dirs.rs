//! All log directories of a node (`log.dirs`): which are there, which are offline, and what AlterReplicaLogDirs wishes of
//! replicas that are not made yet.
//!
//! One directory is `log_dir`; where a replica goes `replica_place` decides.

use crate::{
    METADATA_DIR,
    log_dir::{Found, LogDir, LogDirError},
    replica_place,
};
use model::{TopicPartition, limits};
use parking_lot::Mutex;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};
use stdx::Uuid;

/// The log directories of a node, in the order of `log.dirs`.
pub(crate) struct LogDirs {
    all: Vec<Arc<LogDir>>,
    /// Replicas that are not made yet, and the directory that was named for each.
    wished: Mutex<BTreeMap<TopicPartition, usize>>,
}

/// What was found in each of them; `None` of those that are offline.
pub(crate) type AllFound = Vec<Option<Found>>;

impl LogDirs {
    /// Opens all directories but `home`, the one of the metadata log, which is open. One that cannot be read is offline,
    /// which costs no more than what lies in it; one that belongs to somebody else is a mistake to be corrected. Blocks.
    pub(crate) fn open(
        (home, found): (&Arc<LogDir>, Found),
        paths: &[PathBuf],
    ) -> Result<(Self, AllFound), LogDirError> {
        let cluster_id = home.meta().cluster_id;
        let mut found = Some(found);
        let (mut all, mut all_found) = (Vec::<Arc<LogDir>>::new(), AllFound::new());
        let mut why_none = None;
        for path in paths {
            let opened = match path == &home.path {
                true => Ok((home.clone(), found.take())),
                false => open_one(home, path, &cluster_id).map(|(dir, found)| (dir, Some(found))),
            };
            let (dir, found) = match opened {
                Ok(opened) => opened,
                Err(error @ (LogDirError::Io { .. } | LogDirError::Malformed { .. })) => {
                    tracing::error!(%error, dir = %path.display(), "the log directory is offline");
                    why_none.get_or_insert(error);
                    (Arc::new(LogDir::lost(home.shared.clone(), path)), None)
                }
                Err(error) => return Err(error),
            };
            let known = all.iter().chain([home]).filter(|other| !Arc::ptr_eq(other, &dir));
            if let Some(twin) = known.into_iter().find(|other| other.id().is_some() && other.id() == dir.id())
            {
                return Err(LogDirError::Twin { path: path.clone(), other: twin.path.clone() });
            }
            all.push(dir);
            all_found.push(found);
        }
        match why_none.filter(|_| all.iter().all(|dir| dir.is_offline())) {
            Some(error) => Err(error),
            None => Ok((Self { all, wished: Mutex::default() }, all_found)),
        }
    }

    /// All of them.
    pub(crate) fn all(&self) -> &[Arc<LogDir>] {
        &self.all
    }

    /// Those that can be used.
    pub(crate) fn online(&self) -> impl Iterator<Item = &Arc<LogDir>> {
        self.all.iter().filter(|dir| !dir.is_offline())
    }

    pub(crate) fn has_offline(&self) -> bool {
        self.all.iter().any(|dir| dir.is_offline())
    }

    /// Whether none is left.
    pub(crate) fn are_offline(&self) -> bool {
        self.all.iter().all(|dir| dir.is_offline())
    }

    pub(crate) fn get(&self, place: usize) -> Option<&Arc<LogDir>> {
        self.all.get(place)
    }

    /// The directory of this path, as `log.dirs` has it.
    pub(crate) fn by_path(&self, path: &str) -> Option<(usize, &Arc<LogDir>)> {
        self.all.iter().enumerate().find(|(_, dir)| dir.path == Path::new(path))
    }

    /// What a registration names: the directories that can be used, or all if none can.
    pub(crate) fn ids(&self) -> Vec<Uuid> {
        let online: Vec<_> = self.online().filter_map(|dir| dir.id()).collect();
        match online.is_empty() {
            true => self.all.iter().filter_map(|dir| dir.id()).collect(),
            false => online,
        }
    }

    /// Those that have failed while they were in use.
    pub(crate) fn failed_ids(&self) -> Vec<Uuid> {
        self.all.iter().filter(|dir| dir.is_offline()).filter_map(|dir| dir.id()).collect()
    }

    /// What is to be known of them to place replicas.
    pub(crate) fn as_places(
        &self,
        is_cordoned: impl Fn(&LogDir) -> bool,
        logs: impl Fn(&Arc<LogDir>) -> usize,
    ) -> Vec<replica_place::Dir> {
        let dir = |dir: &Arc<LogDir>| replica_place::Dir {
            id: dir.id(),
            is_online: !dir.is_offline(),
            is_cordoned: is_cordoned(dir),
            logs: logs(dir),
        };
        self.all.iter().map(dir).collect()
    }

    /// A replica that is not made yet shall be made there. So much is remembered and no more: a wish that is forgotten costs
    /// a move.
    pub(crate) fn wish(&self, replica: TopicPartition, place: usize) {
        let mut wished = self.wished.lock();
        if wished.len() >= limits::WISHED_LOG_DIRS_MAX && !wished.contains_key(&replica) {
            wished.pop_first();
        }
        wished.insert(replica, place);
    }

    /// Where a replica shall be made that is made now.
    pub(crate) fn take_wish(&self, replica: &TopicPartition) -> Option<usize> {
        self.wished.lock().remove(replica)
    }
}

fn open_one(home: &LogDir, path: &Path, cluster_id: &str) -> Result<(Arc<LogDir>, Found), LogDirError> {
    let (dir, found) = LogDir::open(home.shared.clone(), path, Some(cluster_id))?;
    if dir.world.disk.exists(&path.join(METADATA_DIR)) {
        return Err(LogDirError::OtherMetadata { path: path.to_owned(), home: home.path.clone() });
    }
    Ok((Arc::new(dir), found))
}

/// Whether `cordoned.log.dirs` names the directory (KIP-1066).
pub(crate) fn is_cordoned(dir: &LogDir, cordoned: &[String]) -> bool {
    cordoned.iter().any(|path| path == "*" || Path::new(path) == dir.path)
}

/// The epoch of the broker that has stopped cleanly (KIP-966): the same is written in all directories. -1 if any was not
/// closed, as after a crash; where they contradict each other one is a copy of what it was, and so the oldest counts.
pub(crate) fn broker_epoch(found: &AllFound) -> i64 {
    let epochs = || found.iter().map(|found| found.as_ref().map_or(-1, |found| found.broker_epoch));
    let closed = || epochs().filter(|epoch| *epoch >= 0);
    match (closed().min(), closed().max()) {
        (Some(oldest), Some(newest)) if oldest < newest || epochs().all(|epoch| epoch >= 0) => oldest,
        _ => -1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::partition::kit::Kit;

    fn found(epoch: i64) -> Option<Found> {
        Some(Found { clean: epoch >= 0, broker_epoch: epoch, ..Found::default() })
    }

    #[test]
    fn a_broker_was_stopped_cleanly_if_all_its_directories_say_so() {
        assert_eq!(broker_epoch(&vec![found(5), found(5)]), 5);
        assert_eq!(broker_epoch(&vec![found(5), found(-1)]), -1);
        assert_eq!(broker_epoch(&vec![found(5), None]), -1);
        assert_eq!(broker_epoch(&vec![found(5), found(3), found(-1)]), 3, "one is a copy of what it was");
        assert_eq!(broker_epoch(&vec![None]), -1);
    }

    fn open(kit: &Kit, paths: &[&str]) -> Result<(LogDirs, AllFound), LogDirError> {
        let paths: Vec<_> = paths.iter().map(PathBuf::from).collect();
        LogDirs::open((&kit.dir, Found::default()), &paths)
    }

    #[test]
    fn a_directory_that_cannot_be_read_is_offline_and_the_others_serve() {
        let kit = Kit::new(0);
        *kit.disk.switches().broken_below.lock().unwrap() = Some("/broken".into());
        let (dirs, all_found) = open(&kit, &["/data", "/broken", "/more"]).unwrap();
        let online: Vec<_> = dirs.online().map(|dir| dir.path.clone()).collect();
        assert_eq!(online, [PathBuf::from("/data"), PathBuf::from("/more")]);
        assert!(
            all_found[1].is_none() && all_found[2].is_some() && dirs.has_offline() && !dirs.are_offline()
        );
        assert_eq!((dirs.ids().len(), dirs.failed_ids().len()), (2, 0), "its id is not known");
        let refused = open(&kit, &["/broken"]);
        assert!(matches!(refused, Err(LogDirError::Io { .. })), "one must be well besides the metadata's");
    }

    #[test]
    fn what_belongs_to_others_is_refused_and_not_taken_for_offline() {
        let kit = Kit::new(0);
        let meta = kit.disk.contents(Path::new("/data/meta.properties")).unwrap();
        kit.disk.put(Path::new("/copy/meta.properties"), meta.clone());
        assert!(matches!(open(&kit, &["/data", "/copy"]), Err(LogDirError::Twin { .. })));
        let other = String::from_utf8(meta).unwrap().replace("cluster.id=", "cluster.id=x");
        kit.disk.put(Path::new("/foreign/meta.properties"), other.into_bytes());
        assert!(matches!(open(&kit, &["/data", "/foreign"]), Err(LogDirError::Foreign { .. })));
        open(&kit, &["/data", "/more"]).map(drop).unwrap();
        kit.disk.put(Path::new("/more/__cluster_metadata-0/00000000000000000000.log"), vec![1]);
        assert!(matches!(open(&kit, &["/data", "/more"]), Err(LogDirError::OtherMetadata { .. })));
    }

    #[test]
    fn wishes_are_remembered_up_to_a_limit() {
        let kit = Kit::new(0);
        let (dirs, _) = open(&kit, &["/data", "/more"]).unwrap();
        let replica = |index| TopicPartition::new(model::TopicName::new("t").unwrap(), index);
        for index in 0..=limits::WISHED_LOG_DIRS_MAX as i32 {
            dirs.wish(replica(index), 1);
        }
        let last = replica(limits::WISHED_LOG_DIRS_MAX as i32);
        assert_eq!(
            (dirs.take_wish(&replica(0)), dirs.take_wish(&last), dirs.take_wish(&last)),
            (None, Some(1), None)
        );
    }
}

//! What files a log's directory has, after the leftovers of interrupted work are removed.
//!
//! It looks at names and lengths only.

use crate::{files::swap, names};
use env::Disk;
use model::Offset;
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
};

/// The kind of a log that was deleted and is still there.
const DELETED_LOG: &str = "log.deleted";

/// The files of one segment that has a `.log` file: their lengths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct SegmentFiles {
    pub(crate) log: u64,
    pub(crate) index: Option<u64>,
    pub(crate) time_index: Option<u64>,
    pub(crate) txn_index: Option<u64>,
}

/// A log's directory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Directory {
    pub(crate) segments: BTreeMap<Offset, SegmentFiles>,
    pub(crate) snapshots: BTreeSet<Offset>,
    /// The log was found damaged when it was open last.
    pub(crate) is_marked: bool,
    /// Indexes between segments without a log of their own. Deletions by retention and cuts leave such files at the ends
    /// only, and compaction beside a log of their own that is named as deleted: here a log was lost.
    pub(crate) headless: Vec<PathBuf>,
    /// Offsets may be missing between its batches.
    pub(crate) was_compacted: bool,
    /// There are files of a key index.
    pub(crate) has_keys: bool,
}

impl Directory {
    /// Lists `dir`, brings a compaction that was interrupted to its end or takes it back, and removes deleted files and
    /// indexes without a log at the ends. A missing directory is an empty one.
    pub(crate) fn read(disk: &dyn Disk, dir: &Path) -> io::Result<Self> {
        let mut entries = match disk.list(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            other => other?,
        };
        if swap::settle(disk, dir, &entries)? {
            entries = disk.list(dir)?;
        }
        let mut found = Self::default();
        let (mut beside, mut keys, mut deleted) = (Vec::new(), Vec::new(), BTreeSet::new());
        for entry in entries.iter().filter(|entry| !entry.is_dir) {
            found.has_keys |= names::parse_file_name(&entry.name).is_some_and(|(_, kind)| is_of_keys(kind));
            match names::parse_file_name(&entry.name) {
                Some((offset, names::LOG)) => found.segments.entry(offset).or_default().log = entry.len,
                Some((offset, names::SNAPSHOT)) => {
                    found.snapshots.insert(offset);
                }
                Some((offset, names::KEYS)) => keys.push((offset, entry)),
                Some((offset, kind)) if names::SEGMENT_KINDS.contains(&kind) => {
                    beside.push((offset, kind, entry))
                }
                Some((_, kind)) if kind.ends_with(".deleted") => {
                    deleted.insert(entry.name.clone());
                }
                None => {
                    found.is_marked |= entry.name == names::DAMAGE;
                    found.was_compacted |= entry.name == names::COMPACTED;
                }
                Some(_) => {}
            }
        }
        let (first, last) =
            (found.segments.keys().next().copied(), found.segments.keys().next_back().copied());
        let is_deleted = |offset| deleted.contains(&names::file_name(offset, DELETED_LOG));
        let mut is_changed = false;
        for (offset, kind, entry) in beside {
            match found.segments.get_mut(&offset) {
                None if Some(offset) > first && Some(offset) < last && !is_deleted(offset) => {
                    found.headless.push(dir.join(&entry.name))
                }
                None => {
                    disk.remove_file(&dir.join(&entry.name))?;
                    is_changed = true;
                }
                Some(files) if kind == names::INDEX => files.index = Some(entry.len),
                Some(files) if kind == names::TIME_INDEX => files.time_index = Some(entry.len),
                Some(files) => files.txn_index = Some(entry.len),
            }
        }
        // Whatever becomes of a log, its key index can be made anew: it is no witness.
        for (_, entry) in keys.iter().filter(|(offset, _)| !found.segments.contains_key(offset)) {
            if let Err(error) = disk.remove_file(&dir.join(&entry.name)) {
                tracing::warn!(dir = %dir.display(), %error, "a key index without a log could not be removed");
            }
        }
        // They say why an index has no log: after a crash too, until that index is gone.
        if is_changed && !deleted.is_empty() {
            disk.sync_dir(dir)?;
        }
        for name in &deleted {
            disk.remove_file(&dir.join(name))?;
        }
        Ok(found)
    }
}

/// Whether a kind of file is of a key index, complete or not.
fn is_of_keys(kind: &str) -> bool {
    kind.strip_prefix(names::KEYS).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

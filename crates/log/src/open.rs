//! Opening a log directory: quickly after a clean end, with a scan of what may not have been synced after a crash.
//!
//! docs/formats/segment.md has the rule of what is truncated and what takes the log offline. The broker opens all
//! logs of a directory at start-up, several at once, on disk lanes.

use crate::{
    Durability, Effect, Epochs, Files, Log, LogConfig, Producers, checkpoint, damage_mark,
    directory::{Directory, SegmentFiles},
    handles::Handles,
    keys::Keys,
    loaded::{Loaded, Loader},
    names, partition_metadata, producer_snapshot,
    recover::Recoverer,
    segment::Segment,
    tail::Tail,
};
use env::Disk;
use model::{Offset, Timestamp};
use std::{
    collections::{BTreeMap, VecDeque},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};
use stdx::Uuid;

/// What is known of a log before it is opened.
#[derive(Debug, Clone)]
pub struct OpenOptions {
    /// The topic whose records these must be (KIP-516).
    pub topic_id: Uuid,
    /// There is no directory, so none is looked for.
    pub is_new: bool,
    /// Its configuration.
    pub config: Arc<LogConfig>,
    /// Whether the log directory was left by a clean end (`.kafka_cleanshutdown` was there).
    pub clean: bool,
    /// From `recovery-point-offset-checkpoint`, or 0. A log that ends before it is refused as damaged, so entries of
    /// deleted partitions must be removed from that file.
    pub recovery_point: Offset,
    /// From `log-start-offset-checkpoint`, or 0.
    pub start_offset: Offset,
    /// The broker's clock.
    pub now: Timestamp,
}

/// An open log.
pub struct Opened {
    /// The core.
    pub log: Log,
    /// Its files.
    pub files: Files,
    /// What had to be done.
    pub recovery: Recovery,
}

/// What opening had to do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Bytes of batches that were read and verified.
    pub bytes_verified: u64,
    /// Bytes that were cut off the end: what a crash left half written.
    pub bytes_truncated: u64,
    /// Whole segments that were dropped with them.
    pub segments_dropped: usize,
    /// Segments whose indexes were written anew.
    pub indexes_rebuilt: usize,
}

/// Data that was known to be on stable storage, or that was acknowledged, is not there any more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} is damaged at byte {position}, offset {offset} or later: {why}", file.display())]
pub struct Damage {
    /// The segment file.
    pub file: PathBuf,
    /// Where the first bad batch begins.
    pub position: u64,
    /// The first offset that cannot be read.
    pub offset: Offset,
    /// What is wrong.
    pub why: String,
}

/// Why a log cannot be opened; the other logs are not concerned.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Nothing was changed; the partition must stay offline until somebody repairs it.
    #[error(transparent)]
    Damaged(#[from] Damage),
    /// The records are another topic's; nothing was changed.
    #[error("{} holds records of topic {found}, the metadata says {wanted}", dir.display())]
    Foreign {
        /// The directory.
        dir: PathBuf,
        /// Whose records they are.
        found: Uuid,
        /// Whose they should be.
        wanted: Uuid,
    },
    /// The disk failed.
    #[error("the log cannot be opened: {0}")]
    Io(#[from] io::Error),
}

/// Opens the log in `dir`. If nothing was ever written there, nothing is created before something is.
pub fn open(disk: &dyn Disk, dir: &Path, options: OpenOptions) -> Result<Opened, OpenError> {
    open_as(disk, dir, options, false)
}

/// Opens a log whose files this process has just cut. Where it has no snapshot of the producers, there has been no need
/// for one yet: the batches are asked.
pub(crate) fn open_again(disk: &dyn Disk, dir: &Path, options: OpenOptions) -> Result<Opened, OpenError> {
    open_as(disk, dir, options, true)
}

fn open_as(
    disk: &dyn Disk,
    dir: &Path,
    mut options: OpenOptions,
    is_ours: bool,
) -> Result<Opened, OpenError> {
    let handles = Arc::new(Handles::new(dir.to_owned()));
    let directory = read_directory(disk, dir, &mut options)?;
    let loader = Loader {
        disk,
        handles: &handles,
        now: options.now,
        index_interval_bytes: options.config.index_interval_bytes,
    };
    let mut is_named = false;
    let mut epochs = Some(Epochs::default());
    if !options.is_new {
        if directory.is_marked {
            damage_mark::check(&loader, &options, &directory)?;
        }
        refuse_headless(disk, &options, &directory)?;
        is_named = is_named_right(disk, dir, &options, &directory)?;
        let entries = checkpoint::read_epochs(disk, &dir.join(names::LEADER_EPOCHS))?;
        epochs = entries.map(Epochs::from_entries);
    }
    let recoverer = Recoverer {
        loader: &loader,
        config: &options.config,
        recovery_point: options.recovery_point,
        keep_txn_index: false,
        producers: Producers::default(),
        epochs: epochs.clone().unwrap_or_default(),
        next_offset: options.start_offset,
        report: Recovery::default(),
    };
    let are_epochs_lost = epochs.is_none();
    let opening = Opening {
        disk,
        dir,
        options: &options,
        loader: &loader,
        directory,
        recoverer,
        are_epochs_lost,
        is_ours,
    };
    let (mut log, recovery) = opening.run(handles.clone())?;
    let mut files = Files::new(handles.clone());
    let is_blank = log.segments.is_empty();
    if is_blank {
        log.segments.push(Segment::new(log.end_offset, options.now));
        files.begin_later(options.topic_id, log.end_offset);
    } else if !is_named {
        partition_metadata::write_topic_id(disk, dir, options.topic_id)?;
    }
    // A start offset that stands in a checkpoint only must not get lost.
    if log.end_offset > 0 && (is_blank || Some(&log.epochs) != epochs.as_ref()) {
        files.perform(disk, &[Effect::Epochs(log.epochs.entries().to_vec())], true)?;
    }
    if !options.clean && !is_blank {
        files.doubt_names();
    }
    if log.synced_offset < log.end_offset
        && let Some(active) = log.segments.last()
    {
        files.resume(disk, active.base_offset, log.end_offset)?;
        log.touched = true;
    }
    Ok(Opened { log, files, recovery })
}

/// An index without its log, between others: the log was lost, unless the power failed before its name was on stable
/// storage.
fn refuse_headless(disk: &dyn Disk, options: &OpenOptions, directory: &Directory) -> Result<(), OpenError> {
    for path in &directory.headless {
        let offset = path.file_name().and_then(|name| names::parse_file_name(name.to_str()?));
        let offset = offset.map_or(0, |(offset, _)| offset);
        if options.clean || offset < options.recovery_point {
            let file = path.with_file_name(names::file_name(offset, names::LOG));
            let why = "it is missing, and its index is there".to_owned();
            return Err(Damage { file, position: 0, offset, why }.into());
        }
        disk.remove_file(path)?;
    }
    Ok(())
}

/// What is there; the configuration learns from it whether there may be holes.
fn read_directory(disk: &dyn Disk, dir: &Path, options: &mut OpenOptions) -> io::Result<Directory> {
    if options.is_new {
        return Ok(Directory::default());
    }
    let directory = Directory::read(disk, dir)?;
    if directory.was_compacted {
        options.config = Arc::new(LogConfig { was_compacted: true, ..(*options.config).clone() });
    }
    Ok(directory)
}

/// Whether `partition.metadata` says that the directory is this topic's. If it does not, but there are no records, or
/// the topic is one whose id never changes, it is to be written anew.
fn is_named_right(
    disk: &dyn Disk,
    dir: &Path,
    options: &OpenOptions,
    directory: &Directory,
) -> Result<bool, OpenError> {
    let wanted = options.topic_id;
    let matters = wanted != Uuid::METADATA_TOPIC && directory.segments.values().any(|files| files.log > 0);
    match partition_metadata::read_topic_id(disk, dir) {
        Ok(None) => Ok(false),
        Ok(Some(found)) if found == wanted => Ok(true),
        Ok(Some(found)) if matters => Err(OpenError::Foreign { dir: dir.to_owned(), found, wanted }),
        Err(error) if matters || error.kind() != io::ErrorKind::InvalidData => Err(error.into()),
        _ => Ok(false),
    }
}

/// A log that is being opened.
struct Opening<'a> {
    disk: &'a dyn Disk,
    dir: &'a Path,
    options: &'a OpenOptions,
    loader: &'a Loader<'a>,
    directory: Directory,
    recoverer: Recoverer<'a>,
    /// Their file cannot be read: they stand in the batches too.
    are_epochs_lost: bool,
    /// Where there is no snapshot, producers may have written all the same.
    is_ours: bool,
}

impl Opening<'_> {
    fn run(mut self, handles: Arc<Handles>) -> Result<(Log, Recovery), OpenError> {
        let (mut segments, first_scanned) = self.load()?;
        let loaded_end = self.recoverer.next_offset;
        if self.are_epochs_lost {
            segments.iter().try_for_each(|segment| self.recoverer.gather_epochs(segment))?;
        }
        self.restore_producers(first_scanned, loaded_end)?;
        // Before the first segment may be anything: a start offset lies behind its beginning.
        self.recoverer.next_offset = first_scanned.filter(|_| segments.is_empty()).unwrap_or(loaded_end);
        if let Some(first) = first_scanned {
            self.scan(first, &mut segments)?;
        }
        if self.options.config.is_sparse() {
            self.recall_beginnings()?;
        }
        self.finish(segments, handles)
    }

    /// Compaction may have taken the batches that say how producers began; snapshots of later offsets still know it.
    fn recall_beginnings(&mut self) -> io::Result<()> {
        for offset in self.directory.snapshots.range(..=self.recoverer.next_offset).rev() {
            if let Ok(known) = producer_snapshot::decode(&self.loader.read(*offset, names::SNAPSHOT)?) {
                self.recoverer.producers.recall_beginnings(&known);
                break;
            }
        }
        Ok(())
    }

    /// Loads the segments that need no scan; the base offset of the first that does.
    fn load(&mut self) -> Result<(Vec<Segment>, Option<Offset>), OpenError> {
        let mut segments = Vec::new();
        let bases: Vec<_> = self.directory.segments.iter().map(|(base, files)| (*base, *files)).collect();
        for (index, (base, files)) in bases.iter().enumerate() {
            let next = bases.get(index + 1).map(|(next, _)| *next);
            match self.load_segment(*base, files, next)? {
                Some(loaded) => {
                    self.recoverer.next_offset = loaded.next_offset.or(next).unwrap_or(*base);
                    segments.push(loaded.segment);
                }
                None => return Ok((segments, Some(*base))),
            }
        }
        Ok((segments, None))
    }

    /// The segment, if its files can be believed without a scan.
    fn load_segment(
        &mut self,
        base: Offset,
        files: &SegmentFiles,
        next: Option<Offset>,
    ) -> Result<Option<Loaded>, OpenError> {
        let point = self.options.recovery_point;
        // A segment that ends at the recovery point may have been closed, but its indexes not synced, at the crash.
        let loaded = match next {
            None if !self.options.clean => None,
            Some(next) if !self.options.clean && next > point => None,
            Some(next) if !self.options.clean && next == point => match self.loader.walked(base, files)? {
                Some(loaded)
                    if loaded.segment.time_indexed == loaded.segment.max_timestamp
                        && self.loader.indexes_rise(base)? =>
                {
                    Some(loaded)
                }
                _ => None,
            },
            Some(_) => {
                let loaded = self.loader.sealed(base, files)?;
                // Whether it must be compacted.
                match (loaded, self.options.config.cleanup_compact) {
                    (Some(loaded), true) => Some(self.loader.with_first_timestamp(loaded)?),
                    (loaded, _) => loaded,
                }
            }
            None => self.loader.walked(base, files)?,
        };
        let Some(aborted) = self.loader.aborted(base, files)? else { return Ok(None) };
        let loaded = match (loaded, next) {
            (Some(loaded), _) => Some(loaded),
            (None, Some(next)) if self.options.clean || next <= point => {
                Some(self.rebuild_indexes(base, files, next)?)
            }
            (None, _) => None,
        };
        Ok(loaded.map(|mut loaded| {
            loaded.segment.aborted = aborted;
            loaded
        }))
    }

    /// Builds the offset and time index of a sealed segment anew; all of it was on stable storage.
    fn rebuild_indexes(
        &mut self,
        base: Offset,
        files: &SegmentFiles,
        next: Offset,
    ) -> Result<Loaded, OpenError> {
        let mut alone = Recoverer {
            loader: self.loader,
            config: &self.options.config,
            recovery_point: next,
            keep_txn_index: true,
            producers: Producers::default(),
            epochs: Epochs::default(),
            next_offset: base,
            report: Recovery::default(),
        };
        let later = self.directory.segments.range(next..).map(|(base, files)| (*base, *files)).collect();
        let (segment, _) = alone.recover(base, files, &later)?;
        self.recoverer.report.indexes_rebuilt += 1;
        Ok(Loaded { segment, next_offset: Some(alone.next_offset) })
    }

    /// The producers as they were where the scan begins: the latest snapshot, and the batches after it.
    fn restore_producers(&mut self, first_scanned: Option<Offset>, end: Offset) -> Result<(), OpenError> {
        let upto = first_scanned.unwrap_or(end);
        let start = self.options.start_offset;
        // The one at the beginning of the first segment counts, though it lies before the start of the log: it alone
        // knows how producers began whose first records were deleted.
        let first = self.directory.segments.keys().next().map_or(start, |base| *base).min(start);
        let mut from = None;
        for offset in self.directory.snapshots.iter().rev().filter(|offset| (first..=upto).contains(offset)) {
            let bytes = self.loader.read(*offset, names::SNAPSHOT)?;
            match producer_snapshot::decode(&bytes) {
                Ok(producers) => {
                    self.recoverer.producers = producers;
                    from = Some(*offset);
                    break;
                }
                Err(error) => {
                    tracing::warn!(dir = %self.dir.display(), offset, %error, "a snapshot is not used")
                }
            }
        }
        // A log of a version without snapshots, ended cleanly: nobody writes as an idempotent producer yet.
        if from.is_none() && self.options.clean && self.directory.snapshots.is_empty() && !self.is_ours {
            return Ok(());
        }
        let from = from.unwrap_or(start);
        let bases: Vec<_> = self.directory.segments.iter().map(|(base, files)| (*base, files.log)).collect();
        for (index, (base, len)) in bases.iter().enumerate() {
            let next = bases.get(index + 1).map_or(Offset::MAX, |(next, _)| *next);
            if next > from && *base < upto && from < upto {
                self.recoverer.catch_up(*base, *len, from.max(*base), upto)?;
            }
        }
        Ok(())
    }

    fn scan(&mut self, first: Offset, segments: &mut Vec<Segment>) -> Result<(), OpenError> {
        let mut later = self.directory.segments.split_off(&first);
        while let Some((base, files)) = later.pop_first() {
            if !segments.is_empty() && self.recoverer.is_hole_before(base, &files, &later)? {
                later.insert(base, files);
                self.drop_segments(&later)?;
                break;
            }
            let (segment, cut) = self.recoverer.recover(base, &files, &later)?;
            segments.push(segment);
            if cut {
                self.drop_segments(&later)?;
                break;
            }
        }
        Ok(())
    }

    fn drop_segments(&mut self, segments: &BTreeMap<Offset, SegmentFiles>) -> io::Result<()> {
        let report = &mut self.recoverer.report;
        report.segments_dropped += segments.len();
        report.bytes_truncated += segments.values().map(|files| files.log).sum::<u64>();
        // The last one first: a crash between two must leave no hole.
        segments.keys().rev().try_for_each(|base| self.remove_segment(*base))
    }

    fn remove_segment(&self, base: Offset) -> io::Result<()> {
        for kind in names::SEGMENT_KINDS {
            match self.disk.remove_file(&self.loader.handles.path(base, kind)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => other?,
            }
        }
        Ok(())
    }

    fn finish(mut self, segments: Vec<Segment>, handles: Arc<Handles>) -> Result<(Log, Recovery), OpenError> {
        let options = self.options;
        let end = self.recoverer.next_offset;
        if end < options.recovery_point {
            let last = segments.last().map_or((0, 0), |segment| (segment.base_offset, segment.size));
            let why =
                format!("the log ends here, but was on stable storage up to {}", options.recovery_point);
            return Err(self.recoverer.damage(last.0, last.1, why));
        }
        let first = segments.first().map_or(end, |segment| segment.base_offset);
        let start_offset = options.start_offset.max(first);
        let end_offset = end.max(start_offset);
        let mut segments = segments;
        if end < start_offset {
            // Everything was deleted; a crash came before the segment that begins at the start offset.
            segments.iter().try_for_each(|segment| self.remove_segment(segment.base_offset))?;
            segments.clear();
        }
        self.drop_stray_snapshots(&segments, end_offset)?;
        let Recoverer { producers, mut epochs, report, .. } = self.recoverer;
        epochs.truncate_from_end(end_offset);
        epochs.truncate_from_start(start_offset);
        let durable = options.clean || options.config.durability == Durability::Fsync;
        if report != Recovery::default() {
            self.disk.sync_dir(self.dir)?;
        }
        let log = Log {
            config: options.config.clone(),
            segments,
            epochs,
            epochs_unwritten: false,
            producers,
            tail: Tail::default(),
            keys: Keys::new(
                if options.clean { end_offset } else { options.recovery_point },
                self.directory.has_keys,
            ),
            start_offset,
            end_offset,
            written_offset: end_offset,
            synced_offset: if durable { end_offset } else { options.recovery_point },
            synced_at: options.now,
            snapshots: self.directory.snapshots,
            doomed: VecDeque::new(),
            swapping: None,
            swap_count: 0,
            touched: false,
            handles,
        };
        Ok((log, report))
    }

    /// Keeps the snapshots at the beginning of segments, and the last one.
    fn drop_stray_snapshots(&mut self, segments: &[Segment], end: Offset) -> io::Result<()> {
        let latest = self.directory.snapshots.range(..=end).next_back().copied();
        let wanted = |offset: &Offset| {
            Some(*offset) == latest
                || (*offset <= end && segments.iter().any(|segment| segment.base_offset == *offset))
        };
        for stray in self.directory.snapshots.iter().filter(|offset| !wanted(offset)) {
            self.disk.remove_file(&self.loader.handles.path(*stray, names::SNAPSHOT))?;
        }
        self.directory.snapshots.retain(|offset| wanted(offset));
        Ok(())
    }
}

#[cfg(test)]
mod crashes;
#[cfg(test)]
mod tests;

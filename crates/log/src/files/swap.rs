//! A compacted segment takes the place of those that it was made of; and what a start makes of a swap that a crash has
//! interrupted. The names and the rule are Kafka's.
//!
//! Each step is durable before the next. As long as a `.cleaned` file of it is there, nothing has happened yet; once only
//! `.swap` files are, the old segments have nothing to say any more. Whether a segment may be replaced the log decides.

use super::{Files, accept_missing, is_scarcity};
use crate::{
    names,
    scan::{Scan, Step, WINDOW_BYTES_SMALL},
};
use env::{Disk, Entry, Open};
use model::Offset;
use std::{
    collections::BTreeMap,
    io::{self, ErrorKind},
    path::Path,
};

/// The batches go last where their name makes the segment count, and first where it ends the swap.
const INDEXES: [&str; 4] = [names::INDEX, names::TIME_INDEX, names::TXN_INDEX, names::KEYS];

/// A swap that the effects have come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Swapping {
    segment: Offset,
    stage: Stage,
}

/// How far a swap has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Some of its files may have their new names. It can be taken back.
    Begun,
    /// Its files count, and after a crash too. There is no way back.
    Counts,
    /// The segment is in its place.
    Done,
}

/// What has become of a swap among effects that could not be performed to their end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SwapState {
    /// Nothing has happened.
    Untouched,
    /// It must be brought to its end.
    Begun,
    /// The segment is in its place.
    Done,
}

impl Files {
    /// Puts the compacted segment in the place of `segment` and of `gone`. May be repeated after it was broken off.
    /// `false`, and all is as it was, if there is no room to begin.
    pub(super) fn swap(
        &mut self,
        disk: &dyn Disk,
        (segment, has_keys): (Offset, bool),
        gone: &[Offset],
    ) -> io::Result<bool> {
        let known = self.swapping.filter(|swapping| swapping.segment == segment).map(|known| known.stage);
        if !matches!(known, Some(Stage::Counts | Stage::Done)) {
            match self.begin_swap(disk, (segment, has_keys), known.is_some()) {
                Ok(()) => self.swapping = Some(Swapping { segment, stage: Stage::Counts }),
                Err(error) if is_scarcity(&error) && self.take_back(disk, segment) => {
                    self.swapping = None;
                    return Ok(false);
                }
                Err(error) => return Err(error),
            }
        }
        let handles = self.handles.clone();
        let path = |kind: &str, suffix: &str| handles.path(segment, &format!("{kind}.{suffix}"));
        if disk.exists(&path(names::LOG, names::SWAP)) {
            for kind in INDEXES {
                accept_missing(disk.remove_file(&handles.path(segment, kind)))?;
            }
            for old in gone {
                self.delete(disk, *old)?;
            }
            disk.sync_dir(&handles.dir())?;
        }
        for kind in [names::LOG].into_iter().chain(INDEXES) {
            accept_missing(disk.rename(&path(kind, names::SWAP), &handles.path(segment, kind)))?;
        }
        disk.sync_dir(&handles.dir())?;
        handles.forget(segment);
        self.swapping = Some(Swapping { segment, stage: Stage::Done });
        Ok(true)
    }

    /// What has become of the swap among effects that are to be performed again. From now on it is another's to know.
    pub(crate) fn take_swap_state(&mut self) -> SwapState {
        match self.swapping.map(|swapping| swapping.stage) {
            None => SwapState::Untouched,
            Some(Stage::Begun | Stage::Counts) => SwapState::Begun,
            Some(Stage::Done) => {
                self.swapping = None;
                SwapState::Done
            }
        }
    }

    /// Makes the files of the compacted segment count, also after a crash.
    fn begin_swap(
        &mut self,
        disk: &dyn Disk,
        (segment, has_keys): (Offset, bool),
        is_begun: bool,
    ) -> io::Result<()> {
        self.note_holes(disk)?;
        // From now on nobody believes what it reads of these files, until the log knows of the new segment.
        self.handles.begin_swap();
        let handles = self.handles.clone();
        let path = |kind: &str, suffix: &str| handles.path(segment, &format!("{kind}.{suffix}"));
        let is_there = disk.exists(&path(names::LOG, names::CLEANED));
        if !is_begun && !is_there {
            let why = format!("the compacted segment {segment} is not there any more");
            return Err(io::Error::new(ErrorKind::InvalidData, why));
        }
        self.swapping = Some(Swapping { segment, stage: Stage::Begun });
        if is_there {
            self.remove_stale(disk, (segment, has_keys))?;
            for kind in INDEXES.into_iter().chain([names::LOG]) {
                accept_missing(disk.rename(&path(kind, names::CLEANED), &path(kind, names::SWAP)))?;
            }
        }
        disk.sync_dir(&handles.dir())
    }

    /// Gives the files of a swap that counts for nothing yet their old names; whether all have them. The batches first:
    /// with them under the old name a start takes the rest back too.
    fn take_back(&self, disk: &dyn Disk, segment: Offset) -> bool {
        let path = |kind: &str, suffix: &str| self.handles.path(segment, &format!("{kind}.{suffix}"));
        let is_back = [names::LOG].into_iter().chain(INDEXES).all(|kind| {
            accept_missing(disk.rename(&path(kind, names::SWAP), &path(kind, names::CLEANED))).is_ok()
        });
        if is_back {
            self.handles.end_swap();
        }
        is_back
    }

    /// What a pass has left that was broken off would make a start take this swap back, though it had happened.
    fn remove_stale(&self, disk: &dyn Disk, (segment, has_keys): (Offset, bool)) -> io::Result<()> {
        let dir = self.handles.dir();
        for entry in disk.list(&dir)? {
            let Some((offset, kind)) = names::parse_file_name(&entry.name) else { continue };
            let Some(of) = kind.strip_suffix(names::CLEANED).and_then(|kind| kind.strip_suffix('.')) else {
                continue;
            };
            // Of this one what is none of its files has been left by the making of its key index.
            let is_its_own = names::SEGMENT_KINDS.contains(&of) && (has_keys || of != names::KEYS);
            if offset != segment || !is_its_own {
                disk.remove_file(&dir.join(&entry.name))?;
            }
        }
        Ok(())
    }

    /// Writes down that holes between batches are no damage. Durable at once: what relies on it may be soon.
    pub(super) fn note_holes(&mut self, disk: &dyn Disk) -> io::Result<()> {
        if self.has_noted_holes {
            return Ok(());
        }
        let path = self.handles.dir().join(names::COMPACTED);
        match disk.open(&path, Open::CreateNew) {
            // Whoever made it may not have come to the next line.
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => disk.sync_dir(&self.handles.dir())?,
        }
        self.has_noted_holes = true;
        Ok(())
    }
}

/// Brings what a crash has left of swaps to its end, or takes it back; whether there was anything.
pub(crate) fn settle(disk: &dyn Disk, dir: &Path, entries: &[Entry]) -> io::Result<bool> {
    let of = |suffix: &str| -> Vec<(Offset, String, String)> {
        let named = entries.iter().filter(|entry| !entry.is_dir).filter_map(|entry| {
            let (offset, kind) = names::parse_file_name(&entry.name)?;
            let kind = kind.strip_suffix(suffix)?.strip_suffix('.')?;
            Some((offset, kind.to_owned(), entry.name.clone()))
        });
        named.collect()
    };
    let (cleaned, mut swaps) = (of(names::CLEANED), of(names::SWAP));
    if cleaned.is_empty() && swaps.is_empty() {
        return Ok(false);
    }
    // The last segment of a swap is renamed first: what is not before the first that is not renamed does not count.
    let first_cleaned = cleaned.iter().map(|(offset, ..)| *offset).min().unwrap_or(Offset::MAX);
    let invalid: Vec<_> = swaps.extract_if(.., |(offset, ..)| *offset >= first_cleaned).collect();
    // Before the `.cleaned` ones: without those they would count.
    for (_, _, name) in &invalid {
        disk.remove_file(&dir.join(name))?;
    }
    if !invalid.is_empty() {
        disk.sync_dir(dir)?;
    }
    for (_, _, name) in &cleaned {
        // Where the log is cut, a pass that has come to its end removes the same.
        accept_missing(disk.remove_file(&dir.join(name)))?;
    }
    if !swaps.is_empty() {
        finish(disk, dir, entries, &swaps)?;
    }
    disk.sync_dir(dir)?;
    Ok(true)
}

fn finish(
    disk: &dyn Disk,
    dir: &Path,
    entries: &[Entry],
    swaps: &[(Offset, String, String)],
) -> io::Result<()> {
    let mut covered: BTreeMap<Offset, Offset> = BTreeMap::new();
    for (base, _, name) in swaps.iter().filter(|(_, kind, _)| kind == names::LOG) {
        covered.insert(*base, end_of(disk, dir, name, *base)?);
    }
    let first = covered.keys().next().copied();
    let end = covered.values().max().copied();
    if let (Some(first), Some(end)) = (first, end) {
        for entry in entries.iter().filter(|entry| !entry.is_dir) {
            let Some((offset, kind)) = names::parse_file_name(&entry.name) else { continue };
            // An empty segment takes the place of one that has its name.
            let is_old = offset == first || (first..end).contains(&offset);
            if is_old && names::SEGMENT_KINDS.contains(&kind) {
                disk.remove_file(&dir.join(&entry.name))?;
            }
        }
        disk.sync_dir(dir)?;
    }
    let (logs, indexes): (Vec<_>, Vec<_>) = swaps.iter().partition(|(_, kind, _)| kind == names::LOG);
    for (base, kind, name) in logs.into_iter().chain(indexes) {
        tracing::info!(dir = %dir.display(), name, "an interrupted compaction is brought to its end");
        disk.rename(&dir.join(name), &dir.join(names::file_name(*base, kind)))?;
    }
    Ok(())
}

/// The offset behind the last batch of a segment that was complete before it got its name.
fn end_of(disk: &dyn Disk, dir: &Path, name: &str, base: Offset) -> io::Result<Offset> {
    let file = disk.open(&dir.join(name), Open::Read)?;
    let mut scan = Scan::new(&*file, 0, file.len()?, WINDOW_BYTES_SMALL);
    let mut end = base;
    loop {
        match scan.step()? {
            Step::Found(found) => end = found.next_offset(),
            Step::End => return Ok(end),
            Step::Broken(why) => {
                let why = format!("{name} is damaged at byte {}: {why}", scan.position);
                return Err(io::Error::new(ErrorKind::InvalidData, why));
            }
        }
    }
}

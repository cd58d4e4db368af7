//! Cutting a log off at an offset, and dropping all of it: what a follower does whose history is not its leader's.
//!
//! The files are cut here, on a disk lane, and what is left is opened by the code that opens logs at a start: there is
//! no second way to know a log. The latest goes first and each step is durable before the next, so that a crash at any
//! moment leaves a first part of the log. It does not decide where to cut (`replica` does).

use super::{Files, accept_missing};
use crate::{
    OpenError, OpenOptions, Opened,
    aborted_txn::{AbortedTxn, TXN_ENTRY_BYTES},
    directory::Directory,
    index::{self, INDEX_ENTRY_BYTES, IndexEntry, TIME_ENTRY_BYTES, TimeEntry},
    names, open,
    scan::{Scan, Step, WINDOW_BYTES_SMALL},
};
use env::{Disk, Open};
use model::Offset;
use std::io::{self, ErrorKind};

impl Files {
    /// Cuts the log off before the batch that holds `offset`, and opens what is left.
    ///
    /// Every effect must be performed, with `sync`, and no checkpoint on the disk may have a recovery point above
    /// [`crate::Log::recovery_point_for_cut`]: a crash would be taken for damage. `options` are those of the log as it is,
    /// with its start offset and its end offset as the recovery point; of the rest only topic, configuration and clock
    /// count. After an error the log must be opened anew; [`OpenError::Damaged`] if less is left than must be.
    pub fn truncate(
        self,
        disk: &dyn Disk,
        offset: Offset,
        options: OpenOptions,
    ) -> Result<Opened, OpenError> {
        let (end, was_compacted) = self.cut_off(disk, offset)?;
        let recovery_point = match end {
            // What comes before a hole may end anywhere.
            _ if was_compacted || options.config.has_holes() => 0,
            Some(end) => end,
            None => options.recovery_point.min(offset),
        };
        self.opened_anew(disk, OpenOptions { recovery_point, ..options })
    }

    /// Drops everything and opens an empty log that begins at `options.start_offset`. The same rules hold; what the
    /// checkpoints on the disk say of this log must be 0.
    pub fn start_over(self, disk: &dyn Disk, options: OpenOptions) -> Result<Opened, OpenError> {
        self.drop_all(disk)?;
        self.opened_anew(disk, OpenOptions { recovery_point: 0, ..options })
    }

    fn opened_anew(self, disk: &dyn Disk, options: OpenOptions) -> Result<Opened, OpenError> {
        let dir = self.handles.dir();
        drop(self);
        let options = OpenOptions { is_new: false, clean: true, ..options };
        open::open_again(disk, &dir, options)
    }

    /// Gives the offset at which the log must end now, if a batch was cut off there; and whether it was ever compacted.
    fn cut_off(&self, disk: &dyn Disk, offset: Offset) -> io::Result<(Option<Offset>, bool)> {
        let dir = self.handles.dir();
        let found = Directory::read(disk, &dir)?;
        self.drop_snapshots(disk, &found, offset.saturating_add(1))?;
        let cut = found.segments.range(..offset).next_back().map_or(0, |(base, _)| *base);
        self.drop_keys(disk, cut)?;
        for segment in found.segments.range(offset..).rev().map(|(base, _)| *base) {
            self.drop_segment(disk, segment)?;
        }
        let end = match found.segments.range(..offset).next_back() {
            Some((segment, files)) => self.cut_segment(disk, *segment, files.log, offset)?,
            None => Some(0),
        };
        Ok((end, found.was_compacted))
    }

    fn drop_all(&self, disk: &dyn Disk) -> io::Result<()> {
        let dir = self.handles.dir();
        let found = Directory::read(disk, &dir)?;
        self.drop_snapshots(disk, &found, 0)?;
        self.drop_keys(disk, 0)?;
        for segment in found.segments.keys().rev() {
            self.drop_segment(disk, *segment)?;
        }
        if found.segments.is_empty() && !disk.exists(&dir.join(names::LEADER_EPOCHS)) {
            return Ok(());
        }
        self.write_epochs(disk, &[])?;
        disk.sync_dir(&dir)
    }

    /// A snapshot of producers that have written nothing any more would be believed once the log is as long again.
    fn drop_snapshots(&self, disk: &dyn Disk, found: &Directory, from: Offset) -> io::Result<()> {
        let mut any = false;
        for offset in found.snapshots.range(from..).rev() {
            accept_missing(disk.remove_file(&self.handles.path(*offset, names::SNAPSHOT)))?;
            any = true;
        }
        if any { disk.sync_dir(&self.handles.dir()) } else { Ok(()) }
    }

    /// The key index of the segment that is cut, of parts of it, and of those behind it: what comes later into their
    /// place is not what they speak of.
    fn drop_keys(&self, disk: &dyn Disk, from: Offset) -> io::Result<()> {
        let dir = self.handles.dir();
        let mut any = false;
        let entries = match disk.list(&dir) {
            // Nothing was ever written.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        for entry in entries {
            let Some((offset, kind)) = names::parse_file_name(&entry.name) else { continue };
            if offset >= from && kind.starts_with(names::KEYS) {
                accept_missing(disk.remove_file(&dir.join(&entry.name)))?;
                any = true;
            }
        }
        if any { disk.sync_dir(&dir) } else { Ok(()) }
    }

    fn drop_segment(&self, disk: &dyn Disk, segment: Offset) -> io::Result<()> {
        // The log first: an index without one is a leftover.
        for kind in names::SEGMENT_KINDS {
            accept_missing(disk.remove_file(&self.handles.path(segment, kind)))?;
        }
        disk.sync_dir(&self.handles.dir())
    }

    fn cut_segment(
        &self,
        disk: &dyn Disk,
        segment: Offset,
        len: u64,
        offset: Offset,
    ) -> io::Result<Option<Offset>> {
        let file = disk.open(&self.handles.path(segment, names::LOG), Open::ReadWrite)?;
        let Some((position, end_offset)) = self.place_of(disk, segment, len, offset)? else {
            return Ok(None);
        };
        let delta = end_offset - segment;
        self.cut_index(disk, segment, names::INDEX, INDEX_ENTRY_BYTES, |entry| {
            IndexEntry::decode(entry).is_some_and(|entry| u64::from(entry.position) < position)
        })?;
        self.cut_index(disk, segment, names::TIME_INDEX, TIME_ENTRY_BYTES, |entry| {
            TimeEntry::decode(entry).is_some_and(|entry| i64::from(entry.offset_delta) < delta)
        })?;
        self.cut_index(disk, segment, names::TXN_INDEX, TXN_ENTRY_BYTES as u64, |entry| {
            AbortedTxn::decode(entry).is_some_and(|entry| entry.last_offset < end_offset)
        })?;
        file.set_len(position)?;
        // Later batches go to the same place: what stood there must not come back beside them.
        file.sync_data()?;
        Ok(Some(end_offset))
    }

    /// Where the batch begins that holds `offset` or comes after it, and the offset that the log then ends with;
    /// `None` if there is no such batch.
    fn place_of(
        &self,
        disk: &dyn Disk,
        segment: Offset,
        len: u64,
        offset: Offset,
    ) -> io::Result<Option<(u64, Offset)>> {
        let file = disk.open(&self.handles.path(segment, names::LOG), Open::Read)?;
        let hint = index::position_of(disk, &self.handles, segment, offset)?;
        for from in [hint, 0] {
            let mut scan = Scan::new(&*file, from, len, WINDOW_BYTES_SMALL);
            loop {
                match scan.step()? {
                    Step::Found(found) if found.last_offset < offset => {}
                    // The index lies: it leads behind the place.
                    Step::Found(found)
                        if found.position == from && from > 0 && found.base_offset > offset =>
                    {
                        break;
                    }
                    Step::Found(found) => return Ok(Some((found.position, found.base_offset.min(offset)))),
                    Step::End if scan.position > from || from == 0 => return Ok(None),
                    Step::End | Step::Broken(_) if from > 0 => break,
                    Step::End => return Ok(None),
                    Step::Broken(why) => return Err(io::Error::new(ErrorKind::InvalidData, why)),
                }
            }
        }
        Ok(None)
    }

    /// Keeps the first entries for which `stays` holds.
    fn cut_index(
        &self,
        disk: &dyn Disk,
        segment: Offset,
        kind: &str,
        entry_bytes: u64,
        stays: impl Fn(&[u8]) -> bool,
    ) -> io::Result<()> {
        let path = self.handles.path(segment, kind);
        let file = match disk.open(&path, Open::ReadWrite) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        let entries = file.len()? / entry_bytes;
        let mut entry = vec![0; usize::try_from(entry_bytes).unwrap_or(0)];
        let (mut low, mut high) = (0, entries);
        while low < high {
            let middle = low + (high - low) / 2;
            let read = file.read_at(&mut entry, middle * entry_bytes)?;
            if entry.get(..read).is_some_and(&stays) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        file.set_len(low * entry_bytes)?;
        file.sync_data()
    }
}

#[cfg(test)]
mod tests;

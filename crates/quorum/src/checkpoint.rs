//! A snapshot of the metadata: Kafka's file `OFFSET-EPOCH.checkpoint` (KIP-630).
//!
//! It knows batches and their checksums, not what their records mean. It is written beside its name, synced and
//! renamed, so that a file of this name is whole; a reader verifies that anyway.

use crate::{
    compact::Malformed,
    control_records::{self, SnapshotHead},
};
use bytes::Bytes;
use env::{Disk, File, Open};
use model::{LeaderEpoch, Offset};
use records::{Batch, Checked, Entry, LOG_OVERHEAD};
use std::{
    io::{self, IoSlice},
    path::Path,
    sync::Arc,
};

const SUFFIX: &str = ".checkpoint";
const PART: &str = ".checkpoint.part";

/// Which snapshot: Kafka's OffsetAndEpoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SnapshotId {
    /// The offset after the last record that the snapshot stands for.
    pub end_offset: Offset,
    /// The leader epoch of that record.
    pub epoch: LeaderEpoch,
}

/// A snapshot that was verified.
pub struct Checkpoint {
    id: SnapshotId,
    file: Arc<dyn File>,
    len: u64,
    head: SnapshotHead,
}

impl SnapshotId {
    /// The file's name.
    pub fn file_name(self) -> String {
        format!("{:020}-{:010}{SUFFIX}", self.end_offset, self.epoch)
    }

    /// The id in a file's name; `None` for other names.
    pub fn from_file_name(name: &str) -> Option<Self> {
        let (offset, epoch) = name.strip_suffix(SUFFIX)?.split_once('-')?;
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let right = offset.len() == 20 && epoch.len() == 10 && digits(offset) && digits(epoch);
        if right { Some(Self { end_offset: offset.parse().ok()?, epoch: epoch.parse().ok()? }) } else { None }
    }

    /// The name of the file while it is written.
    pub(crate) fn part_name(self) -> String {
        format!("{:020}-{:010}{PART}", self.end_offset, self.epoch)
    }
}

impl Checkpoint {
    /// The ids of all snapshots in `dir`, the newest first. What was not finished is removed.
    pub(crate) fn list(disk: &dyn Disk, dir: &Path) -> io::Result<Vec<SnapshotId>> {
        let entries = match disk.list(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other?,
        };
        for entry in entries.iter().filter(|entry| entry.name.ends_with(PART)) {
            disk.remove_file(&dir.join(&entry.name))?;
        }
        let mut ids: Vec<_> =
            entries.iter().filter_map(|entry| SnapshotId::from_file_name(&entry.name)).collect();
        ids.sort_unstable_by(|a, b| b.cmp(a));
        Ok(ids)
    }

    /// Opens a snapshot and verifies all of it.
    pub(crate) fn open(disk: &dyn Disk, dir: &Path, id: SnapshotId) -> io::Result<Self> {
        let path = dir.join(id.file_name());
        let file = disk.open(&path, Open::Read)?;
        let head = verify(&*file, id).map_err(|error| {
            io::Error::new(io::ErrorKind::InvalidData, format!("{} is damaged: {error}", path.display()))
        })?;
        Ok(Self { id, len: file.len()?, file, head })
    }

    /// Writes a snapshot; when this returns, it is on stable storage. Offsets and epochs of `batches` do not count.
    pub(crate) fn write(
        disk: &dyn Disk,
        dir: &Path,
        id: SnapshotId,
        head: &SnapshotHead,
        batches: &[Bytes],
    ) -> io::Result<Self> {
        let part = dir.join(id.part_name());
        let file = disk.open(&part, Open::Create)?;
        file.set_len(0)?;
        let (mut position, mut offset) = (0, 0);
        let mut put = |batch: Batch| -> io::Result<()> {
            let stamped = Checked::trusted(batch).stamp(offset, id.epoch);
            let encoded = stamped.header.encode();
            file.write_at(&[IoSlice::new(&encoded), IoSlice::new(&stamped.body)], position)?;
            position += (encoded.len() + stamped.body.len()) as u64;
            offset = stamped.header.next_offset();
            Ok(())
        };
        put(control_records::snapshot_header(head)?)?;
        for bytes in batches {
            let mut rest = bytes.clone();
            while !rest.is_empty() {
                let batch = Batch::split_off(&mut rest).filter(Batch::is_intact);
                put(batch.ok_or_else(|| Malformed("a batch of the snapshot is damaged".into()))?)?;
            }
        }
        put(control_records::snapshot_footer(head.timestamp)?)?;
        file.sync_data()?;
        let written = Self::received(disk, dir, id)?;
        written.publish(disk, dir)?;
        Ok(written)
    }

    /// Verifies a snapshot that was written and synced, but does not have its name yet.
    pub(crate) fn received(disk: &dyn Disk, dir: &Path, id: SnapshotId) -> io::Result<Self> {
        let file = disk.open(&dir.join(id.part_name()), Open::Read)?;
        let head = verify(&*file, id)?;
        Ok(Self { id, len: file.len()?, file, head })
    }

    /// Gives a received snapshot its name: from now on a start believes it.
    pub(crate) fn publish(&self, disk: &dyn Disk, dir: &Path) -> io::Result<()> {
        disk.rename(&dir.join(self.id.part_name()), &dir.join(self.id.file_name()))?;
        disk.sync_dir(dir)
    }

    /// Removes all snapshots before `id`. Who reads one keeps its file open.
    pub(crate) fn remove_before(disk: &dyn Disk, dir: &Path, id: SnapshotId) -> io::Result<()> {
        let entries = disk.list(dir)?;
        let found = entries.iter().filter_map(|entry| SnapshotId::from_file_name(&entry.name));
        found.filter(|found| *found < id).try_for_each(|found| disk.remove_file(&dir.join(found.file_name())))
    }

    /// Which one.
    pub fn id(&self) -> SnapshotId {
        self.id
    }

    /// Bytes of the file.
    pub fn size_bytes(&self) -> u64 {
        self.len
    }

    pub(crate) fn head(&self) -> &SnapshotHead {
        &self.head
    }

    /// Bytes of the file from `position` on, at most `bytes_max`. Blocks: for disk lanes.
    pub fn read(&self, position: u64, bytes_max: usize) -> io::Result<Bytes> {
        let len = self.len.saturating_sub(position).min(bytes_max as u64) as usize;
        let mut bytes = vec![0; len];
        let read = self.file.read_at(&mut bytes, position)?;
        bytes.truncate(read);
        Ok(bytes.into())
    }

    /// The batches of records, without the control batches around them. Blocks: for disk lanes.
    pub fn batches(&self) -> io::Result<Vec<Batch>> {
        let mut batches = Vec::new();
        let mut position = 0;
        while let Some(batch) = batch_at(&*self.file, position, self.len)? {
            position += batch.bytes.len() as u64;
            if !batch.header.attributes.is_control() {
                batches.push(batch);
            }
        }
        Ok(batches)
    }
}

impl std::fmt::Debug for Checkpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Checkpoint").field("id", &self.id).field("len", &self.len).finish_non_exhaustive()
    }
}

/// The intact batch at `position`; `None` at the end of the file.
fn batch_at(file: &dyn File, position: u64, end: u64) -> io::Result<Option<Batch>> {
    if position == end {
        return Ok(None);
    }
    let damaged = || Malformed(format!("there is no intact batch at byte {position}"));
    let mut head = vec![0; (LOG_OVERHEAD + 5).min((end - position) as usize)];
    file.read_at(&mut head, position)?;
    let bytes = Entry::peek(&head).map(|entry| entry.bytes).filter(|bytes| *bytes as u64 <= end - position);
    let mut whole = vec![0; bytes.ok_or_else(damaged)?];
    file.read_at(&mut whole, position)?;
    let batch = Batch::split_off(&mut whole.into()).filter(Batch::is_intact);
    Ok(Some(batch.ok_or_else(damaged)?))
}

fn verify(file: &dyn File, id: SnapshotId) -> io::Result<SnapshotHead> {
    let end = file.len()?;
    let (mut position, mut offset) = (0, 0);
    let (mut head, mut finished) = (None, false);
    while let Some(batch) = batch_at(file, position, end)? {
        if batch.header.base_offset != offset || batch.header.leader_epoch != id.epoch || finished {
            return Err(Malformed(format!("the batch at byte {position} does not belong there")).into());
        }
        if head.is_none() {
            head = Some(control_records::read_snapshot_header(&batch)?);
        }
        finished = control_records::is_snapshot_footer(&batch);
        position += batch.bytes.len() as u64;
        offset = batch.header.next_offset();
    }
    let head = head.filter(|_| finished).ok_or_else(|| Malformed("it has no end".into()))?;
    match *head.last.leader_id == id.epoch as u64 {
        true => Ok(head),
        false => Err(Malformed("its name has another epoch than its header".into()).into()),
    }
}

#[cfg(test)]
mod tests;

//! Looking things up in the offset index and the time index of a segment, in their files.
//!
//! Nothing of an index is kept in memory: what is read often comes from the tail, and readers of files mostly go on
//! where they stopped. A lookup is a binary search over the file, so it reads a few entries, not all; an index that
//! is missing or lies gives an earlier place or none, never a wrong batch.
//!
//! ```text
//! .index      last offset of a batch - base offset u32 | where the batch begins u32
//! .timeindex  largest timestamp so far i64 | last offset of its batch - base offset u32
//! ```

use crate::{handles::Handles, names};
use env::{Disk, File, Open};
use model::{Offset, Timestamp};
use std::{io, sync::Arc};
use stdx::Cursor;

/// Bytes of an entry of the offset index.
pub(crate) const INDEX_ENTRY_BYTES: u64 = 8;
/// Bytes of an entry of the time index.
pub(crate) const TIME_ENTRY_BYTES: u64 = 12;

/// An entry of the offset index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IndexEntry {
    pub(crate) offset_delta: u32,
    pub(crate) position: u32,
}

/// An entry of the time index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TimeEntry {
    pub(crate) timestamp: Timestamp,
    pub(crate) offset_delta: u32,
}

impl IndexEntry {
    pub(crate) fn encode(self) -> [u8; 8] {
        (u64::from(self.offset_delta) << 32 | u64::from(self.position)).to_be_bytes()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut cursor = Cursor::new(bytes);
        Some(Self { offset_delta: cursor.u32().ok()?, position: cursor.u32().ok()? })
    }
}

impl TimeEntry {
    pub(crate) fn encode(self) -> [u8; 12] {
        let mut out = [0; 12];
        let (timestamp, offset) = out.split_at_mut(8);
        timestamp.copy_from_slice(&self.timestamp.to_be_bytes());
        offset.copy_from_slice(&self.offset_delta.to_be_bytes());
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut cursor = Cursor::new(bytes);
        Some(Self { timestamp: cursor.i64().ok()?, offset_delta: cursor.u32().ok()? })
    }
}

/// An open index file of one segment.
pub(crate) struct IndexFile {
    file: Arc<dyn File>,
    entry_bytes: u64,
    entries: u64,
}

impl IndexFile {
    /// `None` if there is no such file.
    pub(crate) fn open(
        disk: &dyn Disk,
        handles: &Handles,
        segment: Offset,
        kind: &str,
    ) -> io::Result<Option<Self>> {
        let entry_bytes = if kind == names::INDEX { INDEX_ENTRY_BYTES } else { TIME_ENTRY_BYTES };
        match disk.open(&handles.path(segment, kind), Open::Read) {
            Ok(file) => {
                let entries = file.len()? / entry_bytes;
                Ok(Some(Self { file, entry_bytes, entries }))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The last entry for which `before` holds, if it holds for a first part of them.
    fn last_where<E>(
        &self,
        decode: impl Fn(&[u8]) -> Option<E>,
        before: impl Fn(&E) -> bool,
    ) -> io::Result<Option<E>> {
        let (mut low, mut high) = (0, self.entries);
        let mut found = None;
        while low < high {
            let middle = low + (high - low) / 2;
            let mut bytes = [0; TIME_ENTRY_BYTES as usize];
            let (entry, _) = bytes.split_at_mut(self.entry_bytes as usize);
            let read = self.file.read_at(entry, middle * self.entry_bytes)?;
            match entry.get(..read).and_then(&decode).filter(&before) {
                Some(entry) => {
                    found = Some(entry);
                    low = middle + 1;
                }
                None => high = middle,
            }
        }
        Ok(found)
    }
}

/// Where to begin to look for `offset` in a segment: the start of a batch at or before it.
pub(crate) fn position_of(
    disk: &dyn Disk,
    handles: &Handles,
    segment: Offset,
    offset: Offset,
) -> io::Result<u64> {
    let Some(index) = IndexFile::open(disk, handles, segment, names::INDEX)? else { return Ok(0) };
    let delta = offset - segment;
    let entry = index.last_where(IndexEntry::decode, |entry| i64::from(entry.offset_delta) <= delta)?;
    Ok(entry.map_or(0, |entry| u64::from(entry.position)))
}

/// The last batch in the index that ends before `upto` and begins at or before `position`: where it begins.
pub(crate) fn last_position_before(
    disk: &dyn Disk,
    handles: &Handles,
    segment: Offset,
    upto: Offset,
    position: u64,
) -> io::Result<u64> {
    let Some(index) = IndexFile::open(disk, handles, segment, names::INDEX)? else { return Ok(0) };
    let delta = upto - segment;
    let before =
        |entry: &IndexEntry| i64::from(entry.offset_delta) < delta && u64::from(entry.position) <= position;
    Ok(index.last_where(IndexEntry::decode, before)?.map_or(0, |entry| u64::from(entry.position)))
}

/// An offset before which no record of a segment has `timestamp` or a later one.
pub(crate) fn offset_before(
    disk: &dyn Disk,
    handles: &Handles,
    segment: Offset,
    timestamp: Timestamp,
) -> io::Result<Offset> {
    let Some(index) = IndexFile::open(disk, handles, segment, names::TIME_INDEX)? else { return Ok(segment) };
    // An entry with this very timestamp may name the batch that has it first.
    let entry = index.last_where(TimeEntry::decode, |entry| entry.timestamp < timestamp)?;
    Ok(entry.map_or(segment, |entry| segment + i64::from(entry.offset_delta)))
}

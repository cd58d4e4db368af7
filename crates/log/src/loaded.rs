//! Loading what is known of a segment from its indexes, without reading its batches; and judging whether the indexes
//! can be believed.
//!
//! It changes nothing. What it does not believe, `recover` builds anew.

use crate::{
    AbortedTxn,
    aborted_txn::TXN_ENTRY_BYTES,
    directory::SegmentFiles,
    handles::Handles,
    index::{INDEX_ENTRY_BYTES, IndexEntry, TIME_ENTRY_BYTES, TimeEntry},
    names,
    scan::{Scan, Step, WINDOW_BYTES_SMALL},
    segment::Segment,
};
use env::{Disk, Open};
use model::{Offset, Timestamp};
use std::io;

/// No index that Kafka or we write is larger.
const INDEX_BYTES_MAX: u64 = i32::MAX as u64;

/// Where and how segments are loaded.
pub(crate) struct Loader<'a> {
    pub(crate) disk: &'a dyn Disk,
    pub(crate) handles: &'a Handles,
    pub(crate) now: Timestamp,
    pub(crate) index_interval_bytes: u32,
}

/// A segment whose indexes are believed.
pub(crate) struct Loaded {
    pub(crate) segment: Segment,
    /// The end, if the way from the last index entry was walked.
    pub(crate) next_offset: Option<Offset>,
}

impl Loader<'_> {
    /// The segment as its indexes describe it; `None` if one of them is missing or contradicts itself.
    pub(crate) fn sealed(&self, base_offset: Offset, files: &SegmentFiles) -> io::Result<Option<Loaded>> {
        let Some(last_index) = self.last(base_offset, names::INDEX, files.index, INDEX_ENTRY_BYTES)? else {
            return Ok(None);
        };
        let Some(last_time) =
            self.last(base_offset, names::TIME_INDEX, files.time_index, TIME_ENTRY_BYTES)?
        else {
            return Ok(None);
        };
        let mut segment = Segment::new(base_offset, self.now);
        segment.size = files.log;
        if let Some(entry) = IndexEntry::decode(&last_index) {
            if u64::from(entry.position) >= files.log || entry.position == 0 {
                return Ok(None);
            }
            segment.indexed_position = u64::from(entry.position);
            segment.index_entries = (files.index.unwrap_or(0) / INDEX_ENTRY_BYTES) as u32;
        }
        if let Some(entry) = TimeEntry::decode(&last_time) {
            segment.max_timestamp = entry.timestamp;
            segment.max_timestamp_offset = base_offset + i64::from(entry.offset_delta);
            segment.time_indexed = entry.timestamp;
            segment.time_entries = (files.time_index.unwrap_or(0) / TIME_ENTRY_BYTES) as u32;
        }
        Ok(Some(Loaded { segment, next_offset: None }))
    }

    /// The same, with the timestamp of the first batch.
    pub(crate) fn with_first_timestamp(&self, mut loaded: Loaded) -> io::Result<Loaded> {
        let segment = &mut loaded.segment;
        let file = self.disk.open(&self.handles.path(segment.base_offset, names::LOG), Open::Read)?;
        let mut scan = Scan::new(&*file, 0, segment.size, records::HEADER_BYTES);
        if let Step::Found(first) = scan.step()? {
            segment.first_timestamp = Some(first.max_timestamp);
        }
        Ok(loaded)
    }

    /// The same, with the way from the last index entry to the end walked. `None` also if that leads nowhere, or
    /// needs an entry that is not there.
    pub(crate) fn walked(&self, base_offset: Offset, files: &SegmentFiles) -> io::Result<Option<Loaded>> {
        let Some(mut loaded) = self.sealed(base_offset, files)? else { return Ok(None) };
        let segment = &mut loaded.segment;
        let file = self.disk.open(&self.handles.path(base_offset, names::LOG), Open::Read)?;
        let mut scan = Scan::new(&*file, 0, files.log, WINDOW_BYTES_SMALL);
        let mut next_offset = base_offset;
        if let Step::Found(first) = scan.step()? {
            segment.first_timestamp = Some(first.max_timestamp);
        }
        scan.position = segment.indexed_position;
        loop {
            match scan.step()? {
                Step::End => break,
                Step::Broken(_) => return Ok(None),
                Step::Found(found) => {
                    let unindexed = found.position - segment.indexed_position;
                    if found.base_offset < next_offset || unindexed > u64::from(self.index_interval_bytes) {
                        return Ok(None);
                    }
                    if found.max_timestamp > segment.max_timestamp {
                        segment.max_timestamp = found.max_timestamp;
                        segment.max_timestamp_offset = found.last_offset;
                    }
                    next_offset = found.next_offset();
                }
            }
        }
        loaded.next_offset = Some(next_offset);
        Ok(Some(loaded))
    }

    /// Whether every entry of both indexes is larger than the one before: a power failure leaves holes of zeros.
    pub(crate) fn indexes_rise(&self, base_offset: Offset) -> io::Result<bool> {
        let index = self.read(base_offset, names::INDEX)?;
        let offsets = index.chunks_exact(INDEX_ENTRY_BYTES as usize).filter_map(IndexEntry::decode);
        let times = self.read(base_offset, names::TIME_INDEX)?;
        let times = times.chunks_exact(TIME_ENTRY_BYTES as usize).filter_map(TimeEntry::decode);
        Ok(offsets
            .clone()
            .zip(offsets.skip(1))
            .all(|(a, b)| a.offset_delta < b.offset_delta && a.position < b.position)
            && times.clone().zip(times.skip(1)).all(|(a, b)| a.timestamp < b.timestamp))
    }

    /// The aborted transactions of a segment; `None` if its index contradicts itself.
    pub(crate) fn aborted(&self, base: Offset, files: &SegmentFiles) -> io::Result<Option<Vec<AbortedTxn>>> {
        if files.txn_index.unwrap_or(0) == 0 {
            return Ok(Some(Vec::new()));
        }
        let bytes = self.read(base, names::TXN_INDEX)?;
        let (entries, rest) = bytes.as_chunks::<TXN_ENTRY_BYTES>();
        let decode = |entry: &[u8; TXN_ENTRY_BYTES]| {
            AbortedTxn::decode(entry).filter(|aborted| {
                aborted.last_offset >= base
                    && (0..=aborted.last_offset).contains(&aborted.first_offset)
                    && aborted.last_stable_offset >= 0
            })
        };
        let decoded: Option<Vec<_>> = entries.iter().map(decode).collect();
        Ok(decoded.filter(|all| rest.is_empty() && all.is_sorted_by_key(|aborted| aborted.last_offset)))
    }

    /// The last entry of an index, empty if there are no entries; `None` if the file is missing or cut.
    fn last(&self, base: Offset, kind: &str, len: Option<u64>, entry: u64) -> io::Result<Option<Vec<u8>>> {
        let Some(len) = len.filter(|len| len % entry == 0) else { return Ok(None) };
        if len == 0 {
            return Ok(Some(Vec::new()));
        }
        let mut bytes = vec![0; entry as usize];
        let file = self.disk.open(&self.handles.path(base, kind), Open::Read)?;
        let read = file.read_at(&mut bytes, len - entry)?;
        // An entry of zeros is one that was never written; only the first may have a delta of 0.
        let written = read == bytes.len() && bytes.iter().any(|byte| *byte != 0);
        Ok(written.then_some(bytes))
    }

    /// All of an index; empty if it is missing.
    pub(crate) fn read(&self, base: Offset, kind: &str) -> io::Result<Vec<u8>> {
        match self.disk.read_small(&self.handles.path(base, kind), INDEX_BYTES_MAX) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            other => other,
        }
    }
}

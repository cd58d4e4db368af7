//! Looking for the record of a time in a segment file, or in a batch of the tail, on a disk lane.
//!
//! It reads the batches from the place that the indexes show until one has a late enough timestamp, and walks over
//! that one's records.

use crate::{
    FoundOffset,
    handles::Handles,
    index, names,
    scan::{Found, Scan, Step, WINDOW_BYTES_SMALL},
    tail::TailBatch,
};
use bytes::Bytes;
use env::{Disk, File, Open};
use model::{Offset, Timestamp};
use records::{Batch, Decompressor, Message, TimestampType, walk};
use std::{
    io::{self, ErrorKind},
    sync::Arc,
};

/// A search to be made in a file.
pub struct OffsetPlan {
    pub(crate) handles: Arc<Handles>,
    /// The first whose timestamps promise it, and those behind it: compaction may have taken what they promise.
    pub(crate) segments: Vec<Offset>,
    /// Of the log's files when this was planned.
    pub(crate) layout: u64,
    /// Batches that end before it are not looked at.
    pub(crate) from: Offset,
    /// Batches at or behind it are not in the file, or they are in the tail too.
    pub(crate) file_upto: Offset,
    /// Records at or behind it may not be told of.
    pub(crate) upto: Offset,
    pub(crate) timestamp: Timestamp,
    /// Whether the timestamp must be this one, or may be later.
    pub(crate) exact: bool,
    /// The batches of the tail to look at if the file has nothing.
    pub(crate) in_tail: Vec<TailBatch>,
    pub(crate) start_offset: Offset,
    pub(crate) plain_bytes_max: usize,
}

impl OffsetPlan {
    /// Finds the record; `None` if there is none. `NotFound` means that the segment was deleted, and an error that
    /// [`crate::is_moved`] that it was compacted: ask again.
    pub fn find(self, disk: &dyn Disk) -> io::Result<Option<FoundOffset>> {
        let mut found = match self.from < self.file_upto {
            true => self.handles.unless_moved(self.layout, self.in_files(disk))?,
            false => None,
        };
        for batch in &self.in_tail {
            if found.is_none() {
                let whole = Bytes::from([&batch.head[..], &batch.body[..]].concat());
                found = self.in_batch(Batch { header: batch.header, bytes: whole })?;
            }
        }
        Ok(found.filter(|found| found.offset < self.upto))
    }

    /// The first segment that it looks at.
    pub fn segment(&self) -> Offset {
        self.segments.first().copied().unwrap_or(self.from)
    }

    fn in_files(&self, disk: &dyn Disk) -> io::Result<Option<FoundOffset>> {
        for segment in &self.segments {
            if let Some(found) = self.in_file(disk, *segment)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    fn in_file(&self, disk: &dyn Disk, segment: Offset) -> io::Result<Option<FoundOffset>> {
        let file = disk.open(&self.handles.path(segment, names::LOG), Open::Read)?;
        let from = index::offset_before(disk, &self.handles, segment, self.timestamp)?.max(self.from);
        let position = index::position_of(disk, &self.handles, segment, from)?;
        match self.search(&*file, position, from) {
            // The index may lie; without it everything is found, only later.
            Err(error) if error.kind() == ErrorKind::InvalidData && position > 0 => {
                self.search(&*file, 0, from)
            }
            other => other,
        }
    }

    fn search(&self, file: &dyn File, position: u64, from: Offset) -> io::Result<Option<FoundOffset>> {
        let mut scan = Scan::new(file, position, file.len()?, WINDOW_BYTES_SMALL);
        let mut first = position > 0;
        loop {
            let found = match scan.step()? {
                Step::Found(found) if first && found.base_offset > from => {
                    return Err(unreadable("the index is wrong"));
                }
                Step::End if first => return Err(unreadable("the index is wrong")),
                Step::Found(found) if found.base_offset < self.file_upto => found,
                Step::Found(_) | Step::End => return Ok(None),
                Step::Broken(why) => return Err(unreadable(why)),
            };
            first = false;
            if found.max_timestamp >= self.timestamp && found.last_offset >= self.from {
                let bytes = scan.read(&found)?;
                if let Some(offset) = self.in_entry(&found, bytes)? {
                    return Ok(Some(offset));
                }
            }
            if found.next_offset() >= self.file_upto {
                return Ok(None);
            }
        }
    }

    fn in_entry(&self, found: &Found, bytes: Bytes) -> io::Result<Option<FoundOffset>> {
        if let Some(header) = found.header {
            return self.in_batch(Batch { header, bytes });
        }
        let mut bytes = bytes;
        let records = Message::split_off(&mut bytes)
            .and_then(|message| message.records(self.plain_bytes_max, &mut Decompressor::new()))
            .map_err(unreadable)?;
        let right = records.iter().find(|record| self.is_right(record.timestamp, record.offset));
        Ok(right.map(|record| FoundOffset {
            timestamp: record.timestamp,
            offset: record.offset,
            leader_epoch: -1,
        }))
    }

    fn in_batch(&self, batch: Batch) -> io::Result<Option<FoundOffset>> {
        let header = batch.header;
        let mut right = None;
        walk(&batch, self.plain_bytes_max as u64, &mut Decompressor::new(), |head| {
            let offset = header.base_offset.wrapping_add(i64::from(head.offset_delta));
            let timestamp = match header.attributes.timestamp_type() {
                TimestampType::CreateTime => header.base_timestamp.wrapping_add(head.timestamp_delta),
                TimestampType::LogAppendTime => header.max_timestamp,
            };
            if right.is_none() && self.is_right(timestamp, offset) {
                right = Some(FoundOffset { timestamp, offset, leader_epoch: header.leader_epoch });
            }
        })
        .map_err(unreadable)?;
        Ok(right)
    }

    fn is_right(&self, timestamp: Timestamp, offset: Offset) -> bool {
        let timely = if self.exact { timestamp == self.timestamp } else { timestamp >= self.timestamp };
        timely && offset >= self.start_offset
    }
}

fn unreadable(error: impl std::fmt::Display) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, error.to_string())
}

impl std::fmt::Debug for OffsetPlan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OffsetPlan")
            .field("segments", &self.segments.len())
            .field("timestamp", &self.timestamp)
            .finish_non_exhaustive()
    }
}

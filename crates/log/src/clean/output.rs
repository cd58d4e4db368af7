//! The segment that a group of segments becomes when it is compacted, as it is written beside them.
//!
//! Its files end with `.cleaned`, which any start removes. It is complete, with its indexes, and on stable storage before
//! anybody is told of it; the old segments make way for it in `files::swap`.

use super::Cleaned;
use crate::{
    AbortedTxn, Effect, LogConfig, handles::Handles, names, recover::Indexes, scan::Found, segment::Segment,
};
use env::{Disk, File, Open};
use model::{Offset, Timestamp};
use std::{
    io::{self, ErrorKind, IoSlice},
    path::PathBuf,
    sync::Arc,
};

/// Writes are gathered up to about so many bytes.
const BUFFER_BYTES: usize = 1 << 20;
/// Kafka holds no larger segment, and an index could not say where its batches begin.
const BYTES_MAX: u64 = i32::MAX as u64;

/// A segment in the making.
pub(crate) struct Output {
    base: Offset,
    handles: Arc<Handles>,
    log: Arc<dyn File>,
    buffer: Vec<u8>,
    written: u64,
    segment: Segment,
    indexes: Indexes,
    /// Nothing was left out and nothing was changed.
    pub(crate) is_unchanged: bool,
}

impl Output {
    /// An empty one; whatever an earlier pass has left of these names is gone.
    pub(crate) fn create(
        disk: &dyn Disk,
        handles: &Arc<Handles>,
        base: Offset,
        now: Timestamp,
    ) -> io::Result<Self> {
        remove(disk, handles, base)?;
        let log = disk.open(&path(handles, base, names::LOG), Open::Create)?;
        log.set_len(0)?;
        Ok(Self {
            base,
            handles: handles.clone(),
            log,
            buffer: Vec::new(),
            written: 0,
            segment: Segment::new(base, now),
            indexes: Indexes::default(),
            is_unchanged: true,
        })
    }

    /// Adds a batch of the source behind the others: `found` as it stood there, `bytes` as they are to stand here, with
    /// this largest timestamp.
    pub(crate) fn push(
        &mut self,
        config: &LogConfig,
        now: Timestamp,
        (found, max_timestamp): (&Found, Timestamp),
        bytes: &[u8],
    ) -> io::Result<()> {
        let found = Found { position: self.segment.size, bytes: bytes.len() as u64, max_timestamp, ..*found };
        if found.end() > BYTES_MAX {
            return Err(io::Error::other("the compacted segment would be larger than 2 GiB"));
        }
        let mut effects = Vec::new();
        self.segment.push_found(&found, config, now, &mut effects);
        self.indexes.add(&effects);
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= BUFFER_BYTES { self.flush() } else { Ok(()) }
    }

    /// A marker was added that aborts this transaction.
    pub(crate) fn push_aborted(&mut self, aborted: AbortedTxn) {
        let ordinal = self.segment.aborted.len() as u32;
        self.indexes.add(&[Effect::TxnIndex { segment: self.base, ordinal, aborted }]);
        self.segment.aborted.push(aborted);
    }

    /// How many bytes of batches there are.
    pub(crate) fn bytes(&self) -> u64 {
        self.segment.size
    }

    /// Brings everything to stable storage; `None` if it would only replace one segment by its equal. `sources` are what
    /// it is made of, with their sizes, and `modified` is when the last of them was written to.
    pub(crate) fn finish(
        mut self,
        disk: &dyn Disk,
        sources: Vec<(Offset, u64)>,
        modified: Timestamp,
    ) -> io::Result<Option<Cleaned>> {
        if self.is_unchanged && sources.len() == 1 {
            self.discard(disk)?;
            return Ok(None);
        }
        let mut effects = Vec::new();
        self.segment.index_time(&mut effects);
        self.indexes.add(&effects);
        self.flush()?;
        let mut files = vec![self.log.clone()];
        let indexes = [
            (names::INDEX, &self.indexes.index, true),
            (names::TIME_INDEX, &self.indexes.time_index, true),
            (names::TXN_INDEX, &self.indexes.txn_index, false),
        ];
        for (kind, bytes, is_always) in indexes {
            if is_always || !bytes.is_empty() {
                let file = disk.open(&path(&self.handles, self.base, kind), Open::Create)?;
                file.set_len(0)?;
                file.write_at(&[IoSlice::new(bytes)], 0)?;
                file.start_write_back(0, bytes.len() as u64);
                files.push(file);
            }
        }
        // All are on their way before the first is waited for: with it the file system's journal is written for the others, too,
        // which else have it written once for each.
        for file in files {
            file.sync_data().map_err(io::Error::other)?;
        }
        disk.sync_dir(&self.handles.dir())?;
        self.segment.modified = modified;
        Ok(Some(Cleaned { segment: self.segment, keys: None, sources }))
    }

    /// Removes what was written.
    pub(crate) fn discard(self, disk: &dyn Disk) -> io::Result<()> {
        remove(disk, &self.handles, self.base)
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.buffer.is_empty() {
            self.log.write_at(&[IoSlice::new(&self.buffer)], self.written)?;
            self.log.start_write_back(self.written, self.buffer.len() as u64);
            self.written += self.buffer.len() as u64;
            self.buffer.clear();
        }
        Ok(())
    }
}

/// Removes the files of a segment in the making, if there are any.
pub(crate) fn remove(disk: &dyn Disk, handles: &Handles, base: Offset) -> io::Result<()> {
    for kind in names::SEGMENT_KINDS {
        match disk.remove_file(&path(handles, base, kind)) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            other => other?,
        }
    }
    Ok(())
}

fn path(handles: &Handles, base: Offset, kind: &str) -> PathBuf {
    handles.path(base, &format!("{kind}.{}", names::CLEANED))
}

//! Going from batch to batch through a segment file, by their headers, in bounded memory.
//!
//! It believes nothing but lengths that fit into the file; checksums are verified only where asked. Read plans and
//! recovery stand on it.

use bytes::Bytes;
use env::File;
use model::{LeaderEpoch, Offset, Timestamp};
use records::{BatchHeader, ENTRY_BYTES, Entry, HEADER_BYTES, LOG_OVERHEAD};
use std::io;

/// Memory for those who want headers only.
pub(crate) const WINDOW_BYTES_SMALL: usize = 8 * 1024;
/// Memory for those who read everything.
pub(crate) const WINDOW_BYTES_LARGE: usize = 1024 * 1024;

/// A batch, or a message of an old format, in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    /// Where it begins.
    pub(crate) position: u64,
    /// How long it is.
    pub(crate) bytes: u64,
    /// The first offset; in old formats the last, for the first is not written there.
    pub(crate) base_offset: Offset,
    pub(crate) last_offset: Offset,
    pub(crate) max_timestamp: Timestamp,
    pub(crate) leader_epoch: LeaderEpoch,
    /// Of format v2.
    pub(crate) header: Option<BatchHeader>,
}

/// What stands at a position of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// A batch that fits into the file.
    Found(Found),
    /// The end, exactly.
    End,
    /// Something else.
    Broken(&'static str),
}

/// A position in a file, and the bytes around it.
pub(crate) struct Scan<'a> {
    file: &'a dyn File,
    end: u64,
    window: Vec<u8>,
    window_bytes_max: usize,
    window_at: u64,
    pub(crate) position: u64,
}

impl Found {
    pub(crate) fn end(&self) -> u64 {
        self.position + self.bytes
    }

    pub(crate) fn next_offset(&self) -> Offset {
        self.last_offset.saturating_add(1)
    }
}

impl<'a> Scan<'a> {
    /// From `position` to `end`, which the file may not reach.
    pub(crate) fn new(file: &'a dyn File, position: u64, end: u64, window_bytes_max: usize) -> Self {
        Self { file, end, window: Vec::new(), window_bytes_max, window_at: 0, position }
    }

    /// Looks at the batch at the position, and goes behind it.
    pub(crate) fn step(&mut self) -> io::Result<Step> {
        let position = self.position;
        let left = self.end.saturating_sub(position);
        if left == 0 {
            return Ok(Step::End);
        }
        let bytes = self.view(position, HEADER_BYTES)?;
        let short = bytes.len() < HEADER_BYTES.min(left as usize);
        if bytes.len() < ENTRY_BYTES || short {
            return Ok(Step::Broken("the file ends inside a header"));
        }
        let Some(entry) = Entry::peek(bytes) else {
            return Ok(Step::Broken("there is no header of a batch"));
        };
        if entry.bytes as u64 > left {
            return Ok(Step::Broken("the batch is longer than the file"));
        }
        let Some(found) = found(position, entry, bytes) else {
            return Ok(Step::Broken("the header of the batch contradicts itself"));
        };
        self.position = found.end();
        Ok(Step::Found(found))
    }

    /// Whether the checksum of a batch is right. Reads it in windows.
    pub(crate) fn is_intact(&mut self, found: &Found) -> io::Result<bool> {
        let covers_from = if found.header.is_some() { records::CRC_COVERS_FROM } else { LOG_OVERHEAD + 4 };
        let mut position = found.position + covers_from as u64;
        if found.header.is_none() {
            let whole = self.read(found)?;
            let stored =
                whole.get(LOG_OVERHEAD..covers_from).and_then(|b| b.try_into().ok()).map(u32::from_be_bytes);
            return Ok(stored == whole.get(covers_from..).map(stdx::crc32));
        }
        let mut digest = stdx::Crc32c::new();
        while position < found.end() {
            let wanted = (found.end() - position).min(self.window_bytes_max as u64) as usize;
            let bytes = self.view(position, wanted)?;
            if bytes.is_empty() {
                return Ok(false);
            }
            digest.update(bytes);
            position += bytes.len() as u64;
        }
        Ok(found.header.is_some_and(|header| header.crc == digest.finish()))
    }

    /// All bytes of a batch, which fits into the file.
    pub(crate) fn read(&mut self, found: &Found) -> io::Result<Bytes> {
        if found.bytes <= self.window_bytes_max as u64 {
            return Ok(Bytes::copy_from_slice(self.view(found.position, found.bytes as usize)?));
        }
        let mut bytes = vec![0; found.bytes as usize];
        let read = self.file.read_at(&mut bytes, found.position)?;
        bytes.truncate(read);
        Ok(bytes.into())
    }

    /// At most `len` bytes from `position` on; fewer at the end.
    pub(crate) fn view(&mut self, position: u64, len: usize) -> io::Result<&[u8]> {
        let len = len.min(self.window_bytes_max).min(self.end.saturating_sub(position) as usize);
        let inside =
            position.checked_sub(self.window_at).filter(|at| at + len as u64 <= self.window.len() as u64);
        let at = match inside {
            Some(at) => at as usize,
            None => {
                let size = (self.window_bytes_max as u64).min(self.end.saturating_sub(position)) as usize;
                self.window.resize(size, 0);
                let read = self.file.read_at(&mut self.window, position)?;
                self.window.truncate(read);
                self.window_at = position;
                0
            }
        };
        let to = (at + len).min(self.window.len());
        Ok(self.window.get(at..to).unwrap_or_default())
    }
}

fn found(position: u64, entry: Entry, bytes: &[u8]) -> Option<Found> {
    let (base_offset, last_offset, max_timestamp, leader_epoch, header) = match entry.magic {
        2 => {
            let header = BatchHeader::parse(bytes)?;
            let last = header.base_offset.checked_add(i64::from(header.last_offset_delta))?;
            (header.base_offset, last, header.max_timestamp, header.leader_epoch, Some(header))
        }
        1 => {
            let timestamp = bytes.get(18..26)?.try_into().ok().map(i64::from_be_bytes)?;
            (entry.offset, entry.offset, timestamp, -1, None)
        }
        _ => (entry.offset, entry.offset, -1, -1, None),
    };
    let right = base_offset >= 0 && last_offset >= base_offset;
    let bytes = entry.bytes as u64;
    right.then_some(Found { position, bytes, base_offset, last_offset, max_timestamp, leader_epoch, header })
}

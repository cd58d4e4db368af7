//! Writes to one segment that are gathered until something else must be done first.
//!
//! Batches that lie behind each other become one vectored write, index entries one small buffer per index.

use crate::{
    Effect,
    aborted_txn::TXN_ENTRY_BYTES,
    index::{INDEX_ENTRY_BYTES, IndexEntry, TIME_ENTRY_BYTES, TimeEntry},
    names,
};
use model::Offset;
use std::io::IoSlice;

/// Pieces of one vectored write: the kernel takes no more.
const SLICES_MAX: usize = 1024;

/// What was gathered.
#[derive(Default)]
pub(crate) struct Pending<'a> {
    segment: Option<Offset>,
    position: u64,
    end: u64,
    next_offset: Offset,
    slices: Vec<IoSlice<'a>>,
    index: Entries,
    time_index: Entries,
    txn_index: Entries,
}

/// Entries of an index that lie behind each other.
#[derive(Default)]
struct Entries {
    position: u64,
    bytes: Vec<u8>,
}

impl Entries {
    fn add(&mut self, ordinal: u32, entry: &[u8], entry_bytes: u64) -> bool {
        let position = u64::from(ordinal) * entry_bytes;
        if self.bytes.is_empty() {
            self.position = position;
        } else if self.position + self.bytes.len() as u64 != position {
            return false;
        }
        self.bytes.extend_from_slice(entry);
        true
    }
}

impl<'a> Pending<'a> {
    /// Gathers the effect, if it is a write that fits behind the others; whether it did.
    pub(crate) fn add(&mut self, effect: &'a Effect) -> bool {
        let segment = match effect {
            Effect::Write { segment, .. }
            | Effect::Index { segment, .. }
            | Effect::TimeIndex { segment, .. }
            | Effect::TxnIndex { segment, .. } => *segment,
            _ => return false,
        };
        if self.segment.is_some_and(|gathered| gathered != segment) {
            return false;
        }
        let added = match effect {
            Effect::Write { position, next_offset, head, body, .. } => {
                self.add_data(*position, *next_offset, head, body)
            }
            Effect::Index { ordinal, offset_delta, position, .. } => {
                let entry = IndexEntry { offset_delta: *offset_delta, position: *position };
                self.index.add(*ordinal, &entry.encode(), INDEX_ENTRY_BYTES)
            }
            Effect::TimeIndex { ordinal, timestamp, offset_delta, .. } => {
                let entry = TimeEntry { timestamp: *timestamp, offset_delta: *offset_delta };
                self.time_index.add(*ordinal, &entry.encode(), TIME_ENTRY_BYTES)
            }
            Effect::TxnIndex { ordinal, aborted, .. } => {
                self.txn_index.add(*ordinal, &aborted.encode(), TXN_ENTRY_BYTES as u64)
            }
            _ => false,
        };
        if added {
            self.segment = Some(segment);
        }
        added
    }

    fn add_data(&mut self, position: u64, next_offset: Offset, head: &'a [u8], body: &'a [u8]) -> bool {
        if self.slices.is_empty() {
            (self.position, self.end) = (position, position);
        } else if self.end != position || self.slices.len() + 2 > SLICES_MAX {
            return false;
        }
        for piece in [head, body] {
            if !piece.is_empty() {
                self.slices.push(IoSlice::new(piece));
            }
        }
        self.end += (head.len() + body.len()) as u64;
        self.next_offset = next_offset;
        true
    }

    /// The segment that there is something to write to.
    pub(crate) fn segment(&self) -> Option<Offset> {
        self.segment
    }

    /// Position, pieces and the offset after the last batch.
    pub(crate) fn take_data(&mut self) -> Option<(u64, Vec<IoSlice<'a>>, Offset)> {
        let slices = std::mem::take(&mut self.slices);
        (!slices.is_empty()).then_some((self.position, slices, self.next_offset))
    }

    /// Position and bytes of the entries of an index.
    pub(crate) fn take_index(&mut self, kind: &str) -> Option<(u64, Vec<u8>)> {
        let entries = match kind {
            names::INDEX => &mut self.index,
            names::TIME_INDEX => &mut self.time_index,
            _ => &mut self.txn_index,
        };
        let bytes = std::mem::take(&mut entries.bytes);
        (!bytes.is_empty()).then_some((entries.position, bytes))
    }

    /// Everything was written.
    pub(crate) fn clear(&mut self) {
        self.segment = None;
    }
}

//! The batches that were appended last, in memory, so that who follows closely never waits for a disk.
//!
//! It does not decide how much may be kept: the broker has one budget for all tails and calls
//! [`crate::Log::trim_tail`]. A batch that is not in the file yet is never dropped.

use bytes::Bytes;
use model::Offset;
use records::{BatchHeader, HEADER_BYTES, Stamped};
use std::collections::VecDeque;
use stdx::{Part, Parts};

/// A stamped batch: `head` is the header, or all of a small batch.
#[derive(Debug, Clone)]
pub(crate) struct TailBatch {
    pub(crate) header: BatchHeader,
    pub(crate) head: Bytes,
    pub(crate) body: Bytes,
}

/// The last batches of a log, without gaps.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    batches: VecDeque<TailBatch>,
    bytes: usize,
}

impl TailBatch {
    /// Small batches are copied so that they pin nothing else; large ones share the memory that they came in.
    pub(crate) fn new(stamped: Stamped) -> Self {
        let Stamped { header, body } = stamped;
        let encoded = header.encode();
        if HEADER_BYTES + body.len() >= model::limits::TAIL_COPY_BYTES_MAX {
            return Self { header, head: Bytes::copy_from_slice(&encoded), body };
        }
        let mut whole = Vec::with_capacity(HEADER_BYTES + body.len());
        whole.extend_from_slice(&encoded);
        whole.extend_from_slice(&body);
        Self { header, head: whole.into(), body: Bytes::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.head.len() + self.body.len()
    }
}

impl Tail {
    pub(crate) fn push(&mut self, batch: TailBatch) {
        self.bytes += batch.len();
        self.batches.push_back(batch);
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The first offset that is here.
    pub(crate) fn start_offset(&self) -> Option<Offset> {
        self.batches.front().map(|batch| batch.header.base_offset)
    }

    /// The batches from the one that contains `from`.
    pub(crate) fn from(&self, from: Offset) -> impl Iterator<Item = &TailBatch> {
        let first = self.batches.partition_point(|batch| batch.header.last_offset() < from);
        self.batches.range(first..)
    }

    /// Whole batches from the one that contains `from`, all before `upto`, and the offset after them.
    pub(crate) fn read(
        &self,
        from: Offset,
        upto: Offset,
        bytes_max: usize,
        at_least_one: bool,
    ) -> (Parts, Offset) {
        let mut parts = Parts::new();
        let mut next_offset = from;
        for batch in self.from(from) {
            let first = at_least_one && parts.is_empty();
            let fits = parts.len().saturating_add(batch.len()) <= bytes_max;
            if batch.header.next_offset() > upto || !(first || fits) {
                break;
            }
            parts.push(Part::Memory(batch.head.clone()));
            parts.push(Part::Memory(batch.body.clone()));
            next_offset = batch.header.next_offset();
        }
        (parts, next_offset)
    }

    /// Drops the oldest batches before `safe` until `bytes` are freed; says how many were.
    pub(crate) fn trim(&mut self, bytes: usize, safe: Offset) -> usize {
        let mut freed = 0;
        while freed < bytes
            && let Some(batch) = self.batches.pop_front_if(|batch| batch.header.next_offset() <= safe)
        {
            freed += batch.len();
        }
        self.bytes -= freed;
        if self.batches.capacity() > 64 && self.batches.len() < self.batches.capacity() / 4 {
            self.batches.shrink_to(self.batches.len() * 2);
        }
        freed
    }
}

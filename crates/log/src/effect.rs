//! What is to be done to the files of a log, as plain data, in the order in which it must be done.
//!
//! The core emits effects while the broker holds its lock; [`crate::Files::perform`] executes them on a disk lane.
//! No effect depends on anything but the effects before it.

use crate::{AbortedTxn, EpochEntry};
use bytes::Bytes;
use model::{Offset, Timestamp};
use std::collections::BTreeSet;

/// An order to the files of a log. A segment is named by its base offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Create the empty files of a segment.
    Create {
        /// The segment.
        segment: Offset,
    },
    /// Write a batch.
    Write {
        /// The segment.
        segment: Offset,
        /// Where in the `.log` file.
        position: u64,
        /// The offset after the batch.
        next_offset: Offset,
        /// The header, or the whole batch if it is small.
        head: Bytes,
        /// The records of a large batch.
        body: Bytes,
    },
    /// Write an entry of the offset index.
    Index {
        /// The segment.
        segment: Offset,
        /// The how many-th entry, from 0.
        ordinal: u32,
        /// The last offset of a batch, minus the base offset of the segment.
        offset_delta: u32,
        /// Where that batch begins in the `.log` file.
        position: u32,
    },
    /// Write an entry of the time index.
    TimeIndex {
        /// The segment.
        segment: Offset,
        /// The how many-th entry, from 0.
        ordinal: u32,
        /// The largest timestamp so far.
        timestamp: Timestamp,
        /// The last offset of the batch that has it, minus the base offset of the segment.
        offset_delta: u32,
    },
    /// Write an entry of the index of aborted transactions.
    TxnIndex {
        /// The segment.
        segment: Offset,
        /// The how many-th entry, from 0.
        ordinal: u32,
        /// The entry.
        aborted: AbortedTxn,
    },
    /// Sync all files of a segment that nothing will be written to any more.
    Seal {
        /// The segment.
        segment: Offset,
        /// The offset after its last batch.
        next_offset: Offset,
    },
    /// Replace `leader-epoch-checkpoint`.
    Epochs(Vec<EpochEntry>),
    /// Write a snapshot of the producers.
    Snapshot {
        /// It covers everything before this offset.
        offset: Offset,
        /// The contents of the file.
        bytes: Vec<u8>,
    },
    /// Put a segment that compaction has written beside the others in the place of one, and of those behind it.
    Swap {
        /// The segment whose place it takes.
        segment: Offset,
        /// Segments of which it holds what was left.
        gone: Vec<Offset>,
        /// Its key index was made with it; a file of that name is else another pass's.
        has_keys: bool,
    },
    /// Write down that offsets may be missing between batches.
    Holes,
    /// Rename the files of a segment, and its snapshot, so that they are gone after a restart.
    Delete {
        /// The segment.
        segment: Offset,
    },
    /// Remove the renamed files.
    Purge {
        /// The segment.
        segment: Offset,
    },
}

/// Puts the removal of segments that nothing else concerns before everything else: where no room is left, that makes
/// some.
pub fn removals_first(effects: &mut [Effect]) {
    let concerned: BTreeSet<_> = effects.iter().filter_map(Effect::written_segment).collect();
    effects.sort_by_key(|effect| match effect {
        Effect::Delete { segment } | Effect::Purge { segment } => concerned.contains(segment),
        _ => true,
    });
}

impl Effect {
    /// The segment whose files it writes.
    fn written_segment(&self) -> Option<Offset> {
        match self {
            Self::Create { segment }
            | Self::Write { segment, .. }
            | Self::Index { segment, .. }
            | Self::TimeIndex { segment, .. }
            | Self::TxnIndex { segment, .. }
            | Self::Seal { segment, .. }
            | Self::Swap { segment, .. }
            | Self::Snapshot { offset: segment, .. } => Some(*segment),
            Self::Holes | Self::Epochs(_) | Self::Delete { .. } | Self::Purge { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_removals_that_nothing_concerns_come_first() {
        let (create, seal) = (Effect::Create { segment: 9 }, Effect::Seal { segment: 5, next_offset: 9 });
        let (free, bound) = (Effect::Delete { segment: 0 }, Effect::Delete { segment: 5 });
        let mut effects =
            vec![seal.clone(), create.clone(), bound.clone(), free.clone(), Effect::Purge { segment: 0 }];
        removals_first(&mut effects);
        assert_eq!(effects, [free, Effect::Purge { segment: 0 }, seal, create, bound]);
    }
}

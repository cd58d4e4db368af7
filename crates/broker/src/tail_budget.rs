//! The memory that the recent ends of all logs may take together: what was appended first is dropped first.
//!
//! It holds no records; it tells partitions to let go of theirs.

use crate::partition::Partition;
use parking_lot::Mutex;
use std::{
    collections::VecDeque,
    sync::{Arc, Weak},
};

/// One budget for all partitions.
pub(crate) struct TailBudget {
    max: usize,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    bytes: usize,
    appends: VecDeque<(Weak<Partition>, usize)>,
}

/// Appends of the same partition up to this size share an entry, so that small records do not make the list long.
const ENTRY_BYTES: usize = 64 * 1024;

impl TailBudget {
    /// At most `max` bytes.
    pub(crate) fn new(max: usize) -> Self {
        Self { max, held: Mutex::default() }
    }

    /// `partition` holds `bytes` more; whoever appended first makes room. Must not be called under a partition's lock.
    pub(crate) fn on_append(&self, partition: &Arc<Partition>, bytes: usize) {
        let mut too_old = Vec::new();
        {
            let mut held = self.held.lock();
            held.bytes += bytes;
            match held.appends.back_mut() {
                Some((last, held))
                    if *held < ENTRY_BYTES && std::ptr::eq(last.as_ptr(), Arc::as_ptr(partition)) =>
                {
                    *held += bytes;
                }
                _ => held.appends.push_back((Arc::downgrade(partition), bytes)),
            }
            while held.bytes > self.max {
                let Some((oldest, bytes)) = held.appends.pop_front() else { break };
                held.bytes = held.bytes.saturating_sub(bytes);
                too_old.push((oldest, bytes));
            }
        }
        for (oldest, bytes) in too_old {
            if let Some(oldest) = oldest.upgrade() {
                oldest.trim_tail(bytes);
            }
        }
    }
}

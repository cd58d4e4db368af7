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
    max: isize,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    /// What all tails have, as far as they have told: for a moment less than nothing, where a partition has let go of
    /// what its append has not told yet.
    bytes: isize,
    appends: VecDeque<(Weak<Partition>, usize)>,
}

/// What a partition has let go of, and what its tail still has.
pub(crate) struct Trimmed {
    pub(crate) freed: usize,
    pub(crate) left: usize,
}

/// Appends of the same partition up to this size share an entry, so that small records do not make the list long.
const ENTRY_BYTES: usize = 64 * 1024;
/// How many times its own bytes an append tries to free: more than it adds, so that an excess ends; and not all of it, since
/// a slow disk may keep what is tried, and every append would try all of that anew.
const FREED_PER_BYTE_MAX: isize = 2;

impl TailBudget {
    /// At most `max` bytes, and what is not written yet: that is nowhere else, and has a bound of its own (`backlog`).
    pub(crate) fn new(max: usize) -> Self {
        Self { max: isize::try_from(max).unwrap_or(isize::MAX), held: Mutex::default() }
    }

    /// `partition` holds `bytes` more; whoever appended first makes room. Must not be called under a partition's lock.
    pub(crate) fn on_append(&self, partition: &Arc<Partition>, bytes: usize) {
        let too_old = {
            let mut held = self.held.lock();
            held.add(Arc::downgrade(partition), bytes);
            let excess = held.bytes - self.max;
            held.take(excess.min(bytes.cast_signed().saturating_mul(FREED_PER_BYTE_MAX)))
        };
        if too_old.is_empty() {
            return;
        }
        let mut freed = 0;
        let mut kept = Vec::new();
        for (oldest, bytes) in too_old {
            // What has ended was told by [`TailBudget::on_end`].
            let Some(trimmed) = oldest.upgrade().map(|oldest| oldest.trim_tail(bytes)) else { continue };
            freed += trimmed.freed;
            let rest = bytes.saturating_sub(trimmed.freed).min(trimmed.left);
            if rest > 0 {
                kept.push((oldest, rest));
            }
        }
        let mut held = self.held.lock();
        held.bytes -= freed.cast_signed();
        held.appends.extend(kept);
    }

    /// A partition has ended, and with it a tail of `bytes`.
    pub(crate) fn on_end(&self, bytes: usize) {
        self.held.lock().bytes -= bytes.cast_signed();
    }
}

impl Held {
    fn add(&mut self, partition: Weak<Partition>, bytes: usize) {
        self.bytes += bytes.cast_signed();
        match self.appends.back_mut() {
            Some((last, held)) if *held < ENTRY_BYTES && last.ptr_eq(&partition) => *held += bytes,
            _ => self.appends.push_back((partition, bytes)),
        }
    }

    /// The oldest appends, so many that they have `bytes` together. They count until they are really freed.
    fn take(&mut self, mut bytes: isize) -> Vec<(Weak<Partition>, usize)> {
        let mut taken = Vec::new();
        while bytes > 0
            && let Some((oldest, some)) = self.appends.pop_front()
        {
            bytes -= some.cast_signed();
            taken.push((oldest, some));
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::partition::kit::{Kit, append};

    fn sum(partitions: &[Arc<Partition>]) -> isize {
        partitions.iter().map(|partition| partition.tail_bytes().cast_signed()).sum()
    }

    fn counted(kit: &Kit) -> isize {
        kit.dir.shared.tail.held.lock().bytes
    }

    #[test]
    fn what_a_slow_disk_keeps_in_memory_counts_until_it_is_freed() {
        let kit = Kit::new(2000);
        let all: Vec<_> = (0..3).map(|index| kit.partition(index)).collect();
        for round in 0..20 {
            for partition in &all {
                append(partition, 500, None).unwrap();
            }
            assert_eq!(counted(&kit), sum(&all), "nothing is written in round {round}");
        }
        assert!(counted(&kit) > 20_000);
        kit.lane.work();
        for partition in all.iter().cycle().take(30) {
            append(partition, 500, None).unwrap();
            kit.lane.work();
            assert_eq!(counted(&kit), sum(&all));
        }
        assert!(counted(&kit) <= 2000, "{}", counted(&kit));
    }

    #[test]
    fn the_tail_of_a_partition_that_has_ended_counts_no_more() {
        let kit = Kit::new(1 << 20);
        let (gone, failed, left) = (kit.partition(0), kit.partition(1), kit.partition(2));
        for partition in [&gone, &failed, &left] {
            append(partition, 500, None).unwrap();
            kit.lane.work();
        }
        gone.remove();
        append(&failed, 500, None).unwrap();
        kit.disk.switches().fail_writes.store(true, std::sync::atomic::Ordering::Relaxed);
        kit.lane.work();
        assert_eq!(counted(&kit), left.tail_bytes().cast_signed());
    }
}

//! Building the key indexes of partitions, behind what is appended: a slice of one partition at a time on a disk lane, no
//! faster than a fixed rate.
//!
//! What is to be done next, and whether it still counts, each [`log::Log`] knows. Nothing waits for it: what is not indexed yet
//! its readers read. Damage of records that is met here is told as the scrub tells it; that of an index costs a new one.

use crate::{
    Broker,
    log_dir::LogDir,
    partition::{Partition, ReadOf},
};
use env::{Clock, Deadline};
use log::CleanError;
use model::limits::KEY_INDEX_BYTES_MAX;
use std::{
    io::ErrorKind,
    sync::{Arc, Weak, atomic::Ordering},
};

/// How much is read at once.
const SLICE_BYTES: u64 = 256 * 1024;
/// So many slices of a partition are done before it is the next one's turn.
const SLICES: usize = 64;
/// No more is read in a second.
const BYTES_PER_SECOND: u64 = 64 << 20;
/// How often it is looked for what was appended: so much of a log its readers have to read.
const TICK_MS: i64 = 100;
/// How often it is looked which partitions have an index; and how long one is left alone after an error.
const LOOK_MS: i64 = 1000;
/// How long it waits while records wait for the disk.
const BUSY_MS: i64 = 50;

/// How long nothing is built in a log directory after room or descriptors were missing there.
const SCARCE_MS: i64 = 60_000;

/// How a turn has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// Nothing is left to be done for now.
    Done,
    /// There is more.
    More,
    /// It was said why; it is tried again later.
    Failed,
    /// Room or descriptors are missing.
    Scarce,
    /// The broker is gone, or stops.
    Gone,
}

/// What is known from one round to the next.
struct Rounds {
    this: Weak<Broker>,
    clock: Arc<dyn Clock>,
    seed: u64,
    /// The partitions that have an index, or are to have one, as was last looked.
    indexed: Vec<Arc<Partition>>,
    /// When it is looked again.
    look_at: Deadline,
    /// Those that have failed, and until when they are left alone.
    later: Vec<(Weak<Partition>, Deadline)>,
    /// The same of directories in which room or descriptors are missing.
    scarce: Vec<(Arc<LogDir>, Deadline)>,
}

/// Has the indexes built until the broker is gone.
pub(crate) async fn run(this: Weak<Broker>) {
    let Some((clock, seed)) =
        this.upgrade().map(|broker| (broker.world.clock.clone(), broker.world.random.next_u64()))
    else {
        return;
    };
    let (look_at, later, scarce) = (clock.now(), Vec::new(), Vec::new());
    let mut rounds = Rounds { this, clock, seed, indexed: Vec::new(), look_at, later, scarce };
    while let Some(wait_ms) = rounds.next().await {
        if wait_ms > 0 {
            rounds.clock.sleep_until(rounds.clock.after_millis(wait_ms)).await;
        }
    }
}

impl Rounds {
    /// Goes through the partitions once; gives how long to wait before the next time, nothing if there is none.
    async fn next(&mut self) -> Option<i64> {
        let now = self.clock.now();
        let broker = self.this.upgrade()?;
        if now >= self.look_at {
            self.look(&broker, now);
        }
        let loads: Vec<_> = self.indexed.iter().map(|partition| partition.key_index_load()).collect();
        let behind = loads.iter().map(|(behind, _)| behind).sum();
        broker.metrics.key_index.records_behind.store(behind, Ordering::Relaxed);
        drop(broker);
        let mut in_memory: usize = loads.iter().map(|(_, bytes)| bytes).sum();
        let mut is_more = false;
        for (partition, (_, before)) in self.indexed.clone().into_iter().zip(loads) {
            if self.is_left_alone(&partition) {
                continue;
            }
            let pairs_max = pairs_max(in_memory, self.indexed.len());
            match catch_up(&self.this, &partition, (self.seed, pairs_max)).await {
                Ended::Done => {}
                Ended::More => is_more = true,
                Ended::Failed => {
                    self.later.push((Arc::downgrade(&partition), self.clock.after_millis(LOOK_MS)));
                }
                Ended::Scarce => self.scarce.push((partition.dir(), self.clock.after_millis(SCARCE_MS))),
                Ended::Gone => return None,
            }
            in_memory = in_memory.saturating_sub(before) + partition.key_index_load().1;
        }
        Some(match (is_more, self.indexed.is_empty()) {
            (true, _) => 0,
            (false, true) => LOOK_MS,
            (false, false) => TICK_MS,
        })
    }

    /// Which partitions are concerned, and what is over of what keeps others from being built.
    fn look(&mut self, broker: &Broker, now: Deadline) {
        self.look_at = self.clock.after_millis(LOOK_MS);
        self.later.retain(|(_, until)| *until > now);
        let mut partitions = broker.partitions.all();
        // Whatever is written while appends wait for room would take it from them.
        let is_stuck = |dir: &Arc<LogDir>| {
            partitions.iter().any(|partition| partition.is_in(dir) && partition.is_stuck())
        };
        self.scarce.retain(|(dir, until)| *until > now || is_stuck(dir));
        partitions.retain(|partition| partition.has_key_index());
        self.indexed = partitions;
    }

    fn is_left_alone(&self, partition: &Arc<Partition>) -> bool {
        let now = self.clock.now();
        let is_it = |known: &Weak<Partition>| std::ptr::eq(known.as_ptr(), Arc::as_ptr(partition));
        self.scarce.iter().any(|(dir, _)| partition.is_in(dir))
            || self.later.iter().any(|(known, until)| *until > now && is_it(known))
    }
}

/// How many postings of a segment may stay in memory, where so many bytes of so many partitions are there.
fn pairs_max(in_memory: usize, partitions: usize) -> usize {
    if in_memory < KEY_INDEX_BYTES_MAX {
        return usize::MAX;
    }
    // Those that have much go to the disk, until half of it is left.
    KEY_INDEX_BYTES_MAX / 2 / log::KEY_POSTING_BYTES / partitions.max(1)
}

/// Does what is to be done for one partition, or a good part of it.
async fn catch_up(this: &Weak<Broker>, partition: &Arc<Partition>, (seed, pairs_max): (u64, usize)) -> Ended {
    for _ in 0..SLICES {
        let Some(broker) = this.upgrade() else { return Ended::Gone };
        if broker.is_stopping() {
            return Ended::Gone;
        }
        let clock = broker.world.clock.clone();
        if broker.backlog.is_full() {
            drop(broker);
            clock.sleep_until(clock.after_millis(BUSY_MS)).await;
            continue;
        }
        let begun = clock.now();
        // While segments are compacted, or the partition moves, what is read is kept beside the file of a segment.
        let turn = partition.maintenance.try_lock().ok();
        let Some((mut task, of, ended)) = partition.begin_key_task(seed, (turn.is_some(), pairs_max)) else {
            return Ended::Done;
        };
        let disk = broker.world.disk.clone();
        let work = move || {
            let _ended = ended;
            let result = task.step(&*disk, SLICE_BYTES);
            (task, result)
        };
        let Some((task, result)) = broker.on_lane(work).await else {
            if broker.is_stopping() {
                return Ended::Gone;
            }
            tracing::error!(partition = %partition, "a job that indexes the partition did not come to its end");
            return Ended::Failed;
        };
        partition.end_key_task(task, of);
        drop(turn);
        let bytes = match result {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Ended::Done,
            Err(error) => return on_error(&broker, partition, &error, of),
        };
        broker.metrics.key_index.bytes_read.add(bytes);
        drop(broker);
        let pause_ns = pause_ns(bytes, clock.now().saturating_sub(begun));
        if pause_ns > 0 {
            clock.sleep_until(clock.now().saturating_add(pause_ns)).await;
        }
    }
    Ended::More
}

/// How long to pause after a slice of so many bytes that took so long: at least as long as it took, so that others have the
/// disk and the processor for half of the time.
fn pause_ns(bytes: u64, took_ns: u64) -> u64 {
    let due_ns = bytes.saturating_mul(1_000_000_000) / BYTES_PER_SECOND;
    due_ns.saturating_sub(took_ns).max(took_ns)
}

/// What follows from a slice that failed.
fn on_error(broker: &Broker, partition: &Arc<Partition>, error: &CleanError, of: ReadOf) -> Ended {
    let worthless = match error {
        CleanError::Io(io) => log::worthless_keys(io),
        CleanError::Damaged(_) | CleanError::Unreadable { .. } => None,
    };
    match (error, worthless) {
        (CleanError::Damaged(damage), _) => drop(partition.on_damage(damage, of)),
        (_, Some(worthless)) => {
            tracing::warn!(partition = %partition, %error, "the key index of a segment is built anew");
            partition.discard_keys(worthless, of);
            broker.metrics.key_index.discarded.inc();
            return Ended::Done;
        }
        (CleanError::Io(io), None) if log::is_scarcity(io) => {
            let dir = partition.dir();
            tracing::warn!(partition = %partition, dir = %dir.path.display(), %error, "there is no room for key indexes; no more of that directory are built for a minute");
            return Ended::Scarce;
        }
        // The segment was deleted meanwhile, or its file is missing.
        (CleanError::Io(io), None) if io.kind() == ErrorKind::NotFound => partition.on_read_error(io, of),
        (CleanError::Io(_) | CleanError::Unreadable { .. }, None) => {
            tracing::warn!(partition = %partition, %error, "the partition could not be indexed; it is tried again");
        }
    }
    Ended::Failed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn above_the_limit_only_little_of_each_partition_stays_in_memory() {
        assert_eq!(pairs_max(KEY_INDEX_BYTES_MAX - 1, 5), usize::MAX);
        assert_eq!(pairs_max(KEY_INDEX_BYTES_MAX, 1024), 2048);
        assert_eq!(pairs_max(KEY_INDEX_BYTES_MAX, usize::MAX), 0, "one is kept of each at most");
    }

    #[test]
    fn the_rate_is_kept_and_half_of_the_time_is_left_to_others() {
        assert_eq!(pause_ns(BYTES_PER_SECOND / 4, 0), 250_000_000);
        assert_eq!(pause_ns(BYTES_PER_SECOND / 4, 100_000_000), 150_000_000, "what it took counts");
        assert_eq!(pause_ns(0, 5), 5);
    }
}

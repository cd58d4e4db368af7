//! Building the key indexes of partitions, behind what is appended: a slice of one partition at a time on a disk lane, no
//! faster than a fixed rate.
//!
//! What is to be done next, and whether it still counts, each [`log::Log`] knows. Nothing waits for it: what is not indexed yet
//! its readers read. Damage of records that is met here is told as the scrub tells it; that of an index costs a new one.

use crate::{
    Broker,
    partition::{Partition, ReadOf},
};
use log::CleanError;
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
/// The same where no partition has an index, and after an error.
const LOOK_MS: i64 = 1000;
/// How long it waits while records wait for the disk.
const BUSY_MS: i64 = 50;

/// How a turn has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// Nothing is left to be done for now.
    Done,
    /// There is more.
    More,
    /// It was said why.
    Failed,
    /// The broker is gone, or stops.
    Gone,
}

/// Has the indexes built until the broker is gone.
pub(crate) async fn run(this: Weak<Broker>) {
    let Some((clock, seed)) =
        this.upgrade().map(|broker| (broker.world.clock.clone(), broker.world.random.next_u64()))
    else {
        return;
    };
    loop {
        let Some(broker) = this.upgrade() else { return };
        let mut partitions = broker.partitions.all();
        partitions.retain(|partition| partition.has_key_index());
        let behind = partitions.iter().map(|partition| partition.key_index_behind()).sum();
        broker.metrics.key_index.records_behind.store(behind, Ordering::Relaxed);
        drop(broker);
        let (mut is_more, mut wait_ms) = (false, if partitions.is_empty() { LOOK_MS } else { TICK_MS });
        for partition in partitions {
            match catch_up(&this, &partition, seed).await {
                Ended::Done => {}
                Ended::More => is_more = true,
                Ended::Failed => wait_ms = LOOK_MS,
                Ended::Gone => return,
            }
        }
        if !is_more {
            clock.sleep_until(clock.after_millis(wait_ms)).await;
        }
    }
}

/// Does what is to be done for one partition, or a good part of it.
async fn catch_up(this: &Weak<Broker>, partition: &Arc<Partition>, seed: u64) -> Ended {
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
        let Some((mut task, of, ended)) = partition.begin_key_task(seed, (turn.is_some(), usize::MAX)) else {
            return Ended::Done;
        };
        let disk = broker.world.disk.clone();
        let work = move || {
            let _ended = ended;
            let result = task.step(&*disk, SLICE_BYTES);
            (task, result)
        };
        let Some((task, result)) = broker.on_lane(work).await else { return Ended::Gone };
        let segment = task.segment();
        partition.end_key_task(task, of);
        drop(turn);
        let bytes = match result {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Ended::Done,
            Err(error) => return on_error(&broker, partition, (&error, segment), of),
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
fn on_error(
    broker: &Broker,
    partition: &Arc<Partition>,
    (error, segment): (&CleanError, Option<model::Offset>),
    of: ReadOf,
) -> Ended {
    match error {
        CleanError::Damaged(damage) => drop(partition.on_damage(damage, of)),
        CleanError::Io(io) if log::worthless_keys(io).is_some() || io.kind() == ErrorKind::NotFound => {
            let worthless = log::worthless_keys(io).or(segment);
            tracing::warn!(partition = %partition, %error, "the key index of a segment is built anew");
            worthless.into_iter().for_each(|segment| partition.discard_keys(segment, of));
            broker.metrics.key_index.discarded.inc();
            return Ended::Done;
        }
        CleanError::Io(_) | CleanError::Unreadable { .. } => {
            tracing::warn!(partition = %partition, %error, "the partition could not be indexed; it is tried again");
        }
    }
    Ended::Failed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_kept_and_half_of_the_time_is_left_to_others() {
        assert_eq!(pause_ns(BYTES_PER_SECOND / 4, 0), 250_000_000);
        assert_eq!(pause_ns(BYTES_PER_SECOND / 4, 100_000_000), 150_000_000, "what it took counts");
        assert_eq!(pause_ns(0, 5), 5);
    }
}

//! Reading all replicas again and again, slowly: a disk may change what nobody reads, and what is damaged must be found
//! while others still have it.
//!
//! It verifies nothing itself ([`log::Scrub`] does) and repairs nothing (`repair` does). One slice is read at a time, on a
//! lane, past the page cache; the pause after it keeps the rate, and grows with what the slice took, so that a busy disk is
//! left to those who wait for it.

use crate::{
    Broker,
    partition::{Partition, ReadOf},
};
use log::{Scrub, Scrubbed};
use model::Offset;
use std::{
    io,
    sync::{Arc, Weak, atomic::Ordering},
};

/// How much is read at once.
const SLICE_BYTES: u64 = 256 * 1024;
/// The pause is at least so many times as long as what was before it took: the scrub has at most a fifth of one lane.
const PAUSE_FACTOR: u64 = 4;
/// How long it waits while records wait for the disk.
const BUSY_MS: i64 = 100;
/// The first pass begins so long after the start, unless passes are more frequent: a start has enough to do.
const FIRST_MS_MAX: i64 = 60_000;
/// How often it is looked whether a scrub is wanted meanwhile.
const LOOK_MS_MAX: i64 = 60_000;

/// What is configured; it may change at any time.
struct Pace {
    bytes_per_second: u64,
    interval_ms: i64,
}

impl Pace {
    fn of(broker: &Broker) -> Self {
        let image = broker.image();
        let configured = broker.config.configs(&image).broker();
        Self {
            bytes_per_second: configured.integer("odradek.scrub.bytes.per.second").max(0) as u64,
            interval_ms: configured.integer("odradek.scrub.interval.ms").max(1),
        }
    }

    /// How long to pause after a slice of `bytes` that took `took_ns`, in nanoseconds.
    fn pause_ns(&self, bytes: u64, took_ns: u64) -> u64 {
        let due_ns = u128::from(bytes) * 1_000_000_000 / u128::from(self.bytes_per_second.max(1));
        let due_ns = u64::try_from(due_ns).unwrap_or(u64::MAX);
        due_ns.saturating_sub(took_ns).max(took_ns.saturating_mul(PAUSE_FACTOR))
    }
}

/// Makes one pass after the other until the broker is gone.
pub(crate) async fn run(this: Weak<Broker>) {
    let Some(mut next) = this
        .upgrade()
        .map(|broker| broker.world.clock.after_millis(Pace::of(&broker).interval_ms.min(FIRST_MS_MAX)))
    else {
        return;
    };
    loop {
        let Some(broker) = this.upgrade() else { return };
        let clock = broker.world.clock.clone();
        if clock.now() < next || Pace::of(&broker).bytes_per_second == 0 {
            drop(broker);
            clock.sleep_until(next.min(clock.after_millis(LOOK_MS_MAX)).max(clock.after_millis(1))).await;
            continue;
        }
        let begun = clock.now();
        pass(&this, broker).await;
        let Some(broker) = this.upgrade() else { return };
        let interval_ns = (Pace::of(&broker).interval_ms as u64).saturating_mul(1_000_000);
        next = begun.saturating_add(interval_ns).max(clock.after_millis(1));
    }
}

/// Verifies all replicas once. It begins anywhere: a node that is restarted often comes to all of them too.
async fn pass(this: &Weak<Broker>, broker: Arc<Broker>) {
    let mut partitions = broker.partitions.all();
    let metrics = &broker.metrics.scrub;
    metrics.replicas_done.store(0, Ordering::Relaxed);
    metrics.replicas.store(partitions.len() as u64, Ordering::Relaxed);
    if let Some(first) = broker.world.random.next_u64().checked_rem(partitions.len() as u64) {
        partitions.rotate_left(first as usize);
    }
    drop(broker);
    for partition in partitions {
        if !verify(this, &partition).await {
            return;
        }
        let Some(broker) = this.upgrade() else { return };
        broker.metrics.scrub.replicas_done.fetch_add(1, Ordering::Relaxed);
    }
    if let Some(broker) = this.upgrade() {
        broker.metrics.scrub.replicas.store(0, Ordering::Relaxed);
        broker.metrics.scrub.passes.inc();
    }
}

/// Verifies one replica; `false` if the broker is gone or wants no scrub any more.
async fn verify(this: &Weak<Broker>, partition: &Arc<Partition>) -> bool {
    let mut from = Offset::MIN;
    while let Some((scrub, of)) = partition.scrub(from) {
        from = scrub.segment().saturating_add(1);
        let mut scrub = Some(scrub);
        while let Some(slice) = scrub.take() {
            let Some(broker) = this.upgrade() else { return false };
            let pace = Pace::of(&broker);
            if pace.bytes_per_second == 0 || broker.is_stopping() {
                return false;
            }
            let clock = broker.world.clock.clone();
            if broker.backlog.is_full() {
                drop(broker);
                scrub = Some(slice);
                clock.sleep_until(clock.after_millis(BUSY_MS)).await;
                continue;
            }
            let begun = clock.now();
            let Some((slice, result)) = read(&broker, slice).await else { return false };
            let took_ns = clock.now().saturating_sub(begun);
            let (bytes, is_more) = judge(&broker, partition, of, &slice, result).await;
            drop(broker);
            if is_more {
                scrub = Some(slice);
            }
            clock.sleep_until(clock.now().saturating_add(pace.pause_ns(bytes, took_ns))).await;
        }
    }
    true
}

async fn read(broker: &Broker, mut slice: Scrub) -> Option<(Scrub, io::Result<Scrubbed>)> {
    let disk = broker.world.disk.clone();
    let reading = move || {
        let result = slice.step(&*disk, SLICE_BYTES);
        (slice, result)
    };
    broker.on_lane(reading).await
}

/// What follows from a slice: how many bytes were sound, and whether the segment goes on.
async fn judge(
    broker: &Broker,
    partition: &Arc<Partition>,
    of: ReadOf,
    slice: &Scrub,
    result: io::Result<Scrubbed>,
) -> (u64, bool) {
    let metrics = &broker.metrics.scrub;
    let damage = match result {
        Ok(Scrubbed::More(bytes)) => {
            metrics.bytes.add(bytes);
            return (bytes, true);
        }
        Ok(Scrubbed::Sound { bytes, is_index_right }) => {
            metrics.bytes.add(bytes);
            if !is_index_right {
                rebuild(broker, partition, of, slice).await;
            }
            return (bytes, false);
        }
        Ok(Scrubbed::Damaged(damage)) => damage,
        Err(error) if error.kind() == io::ErrorKind::NotFound => slice.missing(),
        Err(error) => {
            tracing::warn!(partition = %partition, %error, "a segment could not be verified");
            return (0, false);
        }
    };
    if partition.on_damage(&damage, of) {
        metrics.damaged.inc();
    }
    (0, false)
}

/// An index that does not agree with its batches is built anew of them.
async fn rebuild(broker: &Broker, partition: &Arc<Partition>, of: ReadOf, slice: &Scrub) {
    // A pass of compaction replaces the file; the next pass of the scrub looks again.
    let Ok(_turn) = partition.maintenance.try_lock() else { return };
    let Some((again, ended)) = partition.begin_rebuild(slice.segment(), of) else { return };
    let (disk, now) = (broker.world.disk.clone(), broker.now_ms());
    let work = move || {
        // A cut waits for this: it works by the same names.
        let _ended = ended;
        again.rebuild_indexes(&*disk, now)
    };
    match broker.on_lane(work).await {
        Some(Ok(())) => {
            broker.metrics.scrub.indexes_rebuilt.inc();
            tracing::warn!(partition = %partition, segment = slice.segment(), "an index did not agree with its records; it was built anew");
        }
        Some(Err(error)) => {
            tracing::warn!(partition = %partition, %error, "an index could not be built anew");
        }
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn the_rate_is_kept_and_a_busy_disk_is_left_alone() {
        let pace = Pace { bytes_per_second: 1 << 20, interval_ms: 1 };
        assert_eq!(pace.pause_ns(1 << 18, 0), 250 * MS);
        assert_eq!(pace.pause_ns(1 << 18, 10 * MS), 240 * MS, "what it took counts");
        assert_eq!(pace.pause_ns(1 << 18, 100 * MS), 400 * MS, "the disk is slow: others wait for it");
        assert_eq!(pace.pause_ns(0, 0), 0);
    }
}

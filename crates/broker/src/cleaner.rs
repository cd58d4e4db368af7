//! Compacting partitions, the dirtiest first: so many at a time as `log.cleaner.threads` says, each a slice at a time on a
//! disk lane, no faster than `log.cleaner.io.max.bytes.per.second`.
//!
//! What is dirty, what stays and what goes is decided in `log::clean`. What goes wrong concerns one partition: damage takes
//! it offline and is repaired as any other, and one that cannot be compacted is left out.

use crate::{
    Broker,
    partition::{Partition, ReadOf},
    upkeep,
};
use log::{CleanError, Cleaned, Cleaning, CleaningLimits, CleaningReport, CleaningStep};
use model::{Offset, PartitionIndex, TopicId};
use parking_lot::Mutex;
use quorum::Watching;
use std::{
    collections::BTreeSet,
    io::ErrorKind,
    sync::{Arc, Weak, atomic::Ordering},
};

/// How much is read at once.
const SLICE_BYTES: u64 = 1 << 20;
/// How long it waits, once for each slice, while records wait for the disk.
const BUSY_MS: i64 = 50;
/// More workers than that would only wait for the disk.
const WORKERS_MAX: usize = 16;
/// How often it is looked whether there are to be more of them, or any.
const LOOK_MS_MAX: i64 = 15_000;
/// The least and the most that is read from a segment in one call.
const WINDOW_BYTES: std::ops::RangeInclusive<i64> = 16 * 1024..=8 << 20;
/// The least memory for keys: less makes no sense.
const KEY_BYTES_MIN: u64 = 64 * 1024;

/// Which partition a worker is at.
type Taken = Arc<Mutex<BTreeSet<(TopicId, PartitionIndex)>>>;

/// What is configured; it may change at any time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pace {
    /// How many partitions are compacted at a time; 0: none.
    workers: usize,
    /// Of each worker.
    bytes_per_second: u64,
    backoff_ms: i64,
    limits: CleaningLimits,
}

impl Pace {
    fn of(broker: &Broker) -> Self {
        let image = broker.image();
        let configured = broker.config.configs(&image).broker();
        let workers = match configured.flag("log.cleaner.enable") {
            true => configured.integer("log.cleaner.threads").clamp(0, WORKERS_MAX as i64) as usize,
            false => 0,
        };
        let among = workers.max(1) as u64;
        let rate = configured.double("log.cleaner.io.max.bytes.per.second").max(1.0);
        let key_bytes = configured.integer("log.cleaner.dedupe.buffer.size").max(0) as u64 / among;
        let load = configured.double("log.cleaner.io.buffer.load.factor").clamp(0.0, 1.0);
        let window_bytes = configured.integer("log.cleaner.io.buffer.size") / among as i64 / 2;
        Self {
            workers,
            // What is too large for the type is as good as no limit.
            bytes_per_second: (rate as u64 / among).max(1),
            backoff_ms: configured.integer("log.cleaner.backoff.ms").max(1),
            limits: CleaningLimits {
                key_bytes_max: ((key_bytes as f64 * load) as u64).max(KEY_BYTES_MIN) as usize,
                window_bytes: window_bytes.clamp(*WINDOW_BYTES.start(), *WINDOW_BYTES.end()) as usize,
            },
        }
    }

    /// How long to pause after a slice of `bytes` that took `took_ns`, in nanoseconds. Where others were at work meanwhile it
    /// is as long as it took, at least: they have the disk and the processor for half of the time. Where nobody was, nobody
    /// waits.
    fn pause_ns(&self, bytes: u64, took_ns: u64, is_alone: bool) -> u64 {
        let due_ns = u128::from(bytes) * 1_000_000_000 / u128::from(self.bytes_per_second);
        let due_ns = u64::try_from(due_ns).unwrap_or(u64::MAX);
        let others_ns = if is_alone { 0 } else { took_ns };
        due_ns.saturating_sub(took_ns).max(others_ns)
    }
}

/// What has been done for clients: where it is the same after a slice as before, nobody was held up by it. What brokers ask of
/// each other does not count, for it does not rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Foreground {
    requests: u64,
    has_backlog: bool,
}

impl Foreground {
    fn of(broker: &Broker) -> Self {
        let requests = broker.metrics.requests_of_clients.get();
        Self { requests, has_backlog: broker.backlog.bytes() > 0 }
    }

    /// Whether nobody was at work between the two.
    fn is_idle_until(self, after: Self) -> bool {
        self.requests == after.requests && !self.has_backlog && !after.has_backlog
    }
}

/// How a pass has ended.
enum Ended {
    /// All of it is done.
    Done(CleaningReport),
    /// The log has changed meanwhile, or something has failed; it was said what.
    BrokenOff,
    /// The broker is gone, or stops.
    Gone,
}

/// Starts as many workers as are wanted, until the broker is gone.
pub(crate) async fn run(this: Weak<Broker>) {
    let (taken, mut running): (Taken, _) = (Taken::default(), 0);
    let workers = Arc::new(());
    loop {
        let Some(broker) = this.upgrade() else { return };
        let pace = Pace::of(&broker);
        while running < pace.workers {
            let (this, taken, alive) = (this.clone(), taken.clone(), workers.clone());
            let place = running;
            broker.world.tasks.spawn(Box::pin(async move {
                work(this, taken, place).await;
                drop(alive);
            }));
            running += 1;
        }
        // Those that are too many end by themselves, after their pass.
        running = Arc::strong_count(&workers) - 1;
        let images = broker.images.replayed();
        drop(broker);
        rest(&this, images, |pace| pace.backoff_ms.min(LOOK_MS_MAX)).await;
    }
}

/// Ends so many milliseconds after it began as is configured; what is configured meanwhile counts at once.
async fn rest(this: &Weak<Broker>, mut images: Watching<Offset>, ms: impl Fn(&Pace) -> i64) {
    let Some(clock) = this.upgrade().map(|broker| broker.world.clock.clone()) else { return };
    let begun = clock.now();
    loop {
        let _ = *images.borrow_and_update();
        let Some(pace) = this.upgrade().map(|broker| Pace::of(&broker)) else { return };
        let due = begun.saturating_add((ms(&pace).max(0) as u64).saturating_mul(1_000_000));
        tokio::select! {
            biased;
            () = clock.sleep_until(due) => return,
            changed = images.changed() => if changed.is_err() { return },
        }
    }
}

/// Makes one pass after the other until there are fewer workers than this one's place.
async fn work(this: Weak<Broker>, taken: Taken, place: usize) {
    loop {
        let Some(broker) = this.upgrade() else { return };
        let pace = Pace::of(&broker);
        if place >= pace.workers || broker.is_stopping() {
            return;
        }
        let images = broker.images.replayed();
        let dirtiest = take_dirtiest(&broker, &taken);
        drop(broker);
        let Some(partition) = dirtiest else {
            rest(&this, images, |pace| pace.backoff_ms).await;
            continue;
        };
        let ended = clean(&this, &partition, pace.limits).await;
        taken.lock().remove(&partition.key());
        match ended {
            Ended::Done(report) => note(&this, &partition, &report).await,
            // Not again at once: what broke it off may do so again.
            Ended::BrokenOff => rest(&this, images, |pace| pace.backoff_ms).await,
            Ended::Gone => return,
        }
    }
}

/// The partition of which the largest part is dirty, and that no other worker has.
fn take_dirtiest(broker: &Broker, taken: &Taken) -> Option<Arc<Partition>> {
    let now = broker.now_ms();
    let mut taken = taken.lock();
    let (mut dirtiest, mut most, mut overdue_ms) = (None, 0, 0);
    let mut uncleanable = 0;
    for partition in broker.partitions.all() {
        uncleanable += u64::from(partition.uncleanable().is_some());
        let Some(cleanable) = partition.cleanable(now) else { continue };
        most = most.max(cleanable.dirty_ppm());
        overdue_ms = overdue_ms.max(cleanable.overdue_ms);
        let is_dirtier = |(_, known): &(_, u64)| cleanable.dirty_ppm() > *known;
        if cleanable.is_due && !taken.contains(&partition.key()) && dirtiest.as_ref().is_none_or(is_dirtier) {
            dirtiest = Some((partition, cleanable.dirty_ppm()));
        }
    }
    let metrics = &broker.metrics.cleaner;
    metrics.dirty_ppm_max.store(most, Ordering::Relaxed);
    metrics.overdue_ms_max.store(overdue_ms.max(0) as u64, Ordering::Relaxed);
    metrics.uncleanable.store(uncleanable, Ordering::Relaxed);
    let (partition, _) = dirtiest?;
    taken.insert(partition.key());
    Some(partition)
}

/// Makes one pass over a partition.
async fn clean(this: &Weak<Broker>, partition: &Arc<Partition>, limits: CleaningLimits) -> Ended {
    let _turn = partition.maintenance.lock().await;
    let Some(broker) = this.upgrade() else { return Ended::Gone };
    let clock = broker.world.clock.clone();
    let Some((cleaning, mut of)) = partition.begin_cleaning(broker.now_ms(), limits) else {
        return Ended::BrokenOff;
    };
    drop(broker);
    let mut cleaning = Some(cleaning);
    while let Some(slice) = cleaning.take() {
        let Some(broker) = this.upgrade() else { return Ended::Gone };
        if broker.is_stopping() {
            return Ended::Gone;
        }
        if !partition.is_compacted() {
            discard(&broker, partition, of, move |disk| slice.discard(disk)).await;
            return Ended::BrokenOff;
        }
        if broker.backlog.is_full() {
            clock.sleep_until(clock.after_millis(BUSY_MS)).await;
        }
        let pace = Pace::of(&broker);
        let (begun, foreground) = (clock.now(), Foreground::of(&broker));
        let Some(stepped) = step(&broker, partition, slice, of).await else { return Ended::BrokenOff };
        let (slice, result) = stepped;
        let bytes = match result {
            Ok(CleaningStep::More(bytes)) => bytes,
            Ok(CleaningStep::Cleaned(cleaned)) => {
                if !put_in_place(&broker, partition, &cleaned, of).await {
                    discard(&broker, partition, of, move |disk| slice.discard_cleaned(disk, &cleaned)).await;
                    return Ended::BrokenOff;
                }
                of = partition.read_of_cleaning(of);
                0
            }
            Ok(CleaningStep::Done(report)) => {
                partition.set_clean_upto(report.clean_upto, of);
                return Ended::Done(report);
            }
            Err(error) => {
                discard(&broker, partition, of, move |disk| slice.discard(disk)).await;
                give_up(&broker, partition, &error, of);
                return Ended::BrokenOff;
            }
        };
        let is_alone = foreground.is_idle_until(Foreground::of(&broker));
        drop(broker);
        cleaning = Some(slice);
        let took_ns = clock.now().saturating_sub(begun);
        let pause_ns = pace.pause_ns(bytes, took_ns, is_alone);
        if pause_ns > 0 {
            clock.sleep_until(clock.now().saturating_add(pause_ns)).await;
        }
    }
    Ended::BrokenOff
}

/// Whether a compacted segment is in its place, or will be at the latest when the partition is closed; `false` if it was
/// not wanted, or found no room.
async fn put_in_place(broker: &Broker, partition: &Arc<Partition>, cleaned: &Cleaned, of: ReadOf) -> bool {
    let before = partition.swap_count();
    if !partition.swap(cleaned, of).await {
        return false;
    }
    let clock = &broker.world.clock;
    while partition.is_swapping() && !broker.is_stopping() {
        clock.sleep_until(clock.after_millis(BUSY_MS)).await;
    }
    partition.is_swapping() || partition.swap_count() > before
}

type Stepped = (Cleaning, Result<CleaningStep, CleanError>);

/// One slice on a lane; `None` if the log is another one by now.
async fn step(
    broker: &Broker,
    partition: &Arc<Partition>,
    mut slice: Cleaning,
    of: ReadOf,
) -> Option<Stepped> {
    let Some(ended) = partition.begin_step(of) else {
        // Its directory may be another's: the next start removes what is left.
        return None;
    };
    let disk = broker.world.disk.clone();
    let work = move || {
        let _ended = ended;
        let result = slice.step(&*disk, SLICE_BYTES);
        (slice, result)
    };
    broker.on_lane(work).await
}

/// Removes what a pass has left, as long as its directory is its own.
async fn discard(
    broker: &Broker,
    partition: &Arc<Partition>,
    of: ReadOf,
    work: impl FnOnce(&dyn env::Disk) + Send + 'static,
) {
    let Some(ended) = partition.begin_step(of) else { return };
    let disk = broker.world.disk.clone();
    broker
        .on_lane(move || {
            let _ended = ended;
            work(&*disk);
        })
        .await;
}

/// What follows from a pass that broke off.
fn give_up(broker: &Broker, partition: &Arc<Partition>, error: &CleanError, of: ReadOf) {
    match error {
        CleanError::Damaged(damage) => {
            if partition.on_damage(damage, of) {
                broker.metrics.cleaner.damaged.inc();
            }
        }
        // Segments that retention took, or a log that was cut: the next pass knows better.
        CleanError::Io(error) if error.kind() == ErrorKind::NotFound => {
            partition.on_read_error(error, of);
        }
        CleanError::Io(error) if log::is_scarcity(error) => {
            tracing::warn!(partition = %partition, %error, "there is no room to compact the partition; it is tried again");
        }
        CleanError::Unreadable { .. } | CleanError::Io(_) => {
            partition.give_up_cleaning(&error.to_string(), of);
        }
    }
}

async fn note(this: &Weak<Broker>, partition: &Arc<Partition>, report: &CleaningReport) {
    let Some(broker) = this.upgrade() else { return };
    let metrics = &broker.metrics.cleaner;
    metrics.passes.inc();
    metrics.bytes_read.add(report.bytes_read);
    metrics.bytes_written.add(report.bytes_after);
    tracing::info!(
        partition = %partition,
        upto = report.clean_upto,
        before = report.bytes_before,
        after = report.bytes_after,
        keys = report.keys,
        "the partition was compacted"
    );
    let (on, dir) = (broker.clone(), partition.dir());
    let written = broker.on_lane(move || dir.write_cleaner_offsets(|| upkeep::cleaner_offsets(&on, &dir)));
    if let Some(Err(error)) = written.await {
        tracing::warn!(%error, "it could not be written down what was compacted; after a restart more is read again");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn the_rate_is_kept_and_half_of_the_time_is_left_to_others_if_there_are_any() {
        let limits = CleaningLimits { key_bytes_max: 1, window_bytes: 1 };
        let pace = Pace { workers: 1, bytes_per_second: 1 << 20, backoff_ms: 1, limits };
        for is_alone in [false, true] {
            assert_eq!(pace.pause_ns(1 << 18, 0, is_alone), 250 * MS);
            assert_eq!(pace.pause_ns(1 << 18, 10 * MS, is_alone), 240 * MS, "what it took counts");
        }
        assert_eq!(pace.pause_ns(1 << 18, 200 * MS, false), 200 * MS, "the disk is slow: others wait for it");
        assert_eq!(pace.pause_ns(1 << 18, 200 * MS, true), 50 * MS, "nobody else wants it");
        let unlimited = Pace { bytes_per_second: u64::MAX, ..pace };
        assert_eq!((unlimited.pause_ns(1 << 30, MS, true), unlimited.pause_ns(1 << 30, MS, false)), (0, MS));
        let (before, after) = (Foreground { requests: 5, has_backlog: false }, |requests, has_backlog| {
            Foreground { requests, has_backlog }
        });
        assert!(before.is_idle_until(after(5, false)));
        assert!(!before.is_idle_until(after(6, false)) && !before.is_idle_until(after(5, true)));
    }
}

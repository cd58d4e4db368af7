//! What the broker counts. Plain numbers; `node` gives them names and a format.

use std::sync::atomic::{AtomicU64, Ordering};
use wire::ApiKey;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn inc(&self) {
        self.add(1);
    }

    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// The present value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// All counters of a broker.
#[derive(Debug)]
pub struct Metrics {
    /// Requests by API key.
    requests: Vec<Counter>,
    /// Those among them that came from clients, and not from other brokers.
    pub(crate) requests_of_clients: Counter,
    /// Frames that were no request which this broker answers, or whose answer could not be written; their connections
    /// were closed.
    pub requests_refused: Counter,
    /// Connections closed at once, because there were too many.
    pub connections_refused: Counter,
    /// Connections closed after a while, because too many came from their address (KIP-612).
    pub connections_throttled: Counter,
    /// Requests whose clients were held back by their quotas (KIP-219).
    pub requests_throttled: Counter,
    /// Bytes of records received.
    pub bytes_in: Counter,
    /// Bytes of records sent.
    pub bytes_out: Counter,
    /// Batches of records received.
    pub batches_in: Counter,
    /// Bytes of records sent to replicas that were not in sync.
    pub catch_up_bytes: Counter,
    /// What the scrub has read and found.
    pub scrub: ScrubMetrics,
    /// What compaction has done and left.
    pub cleaner: CleanerMetrics,
    /// What was done for key indexes, and what is left.
    pub key_index: KeyIndexMetrics,
}

/// What the scrub has read and found since the start.
#[derive(Debug, Default)]
pub struct ScrubMetrics {
    /// Bytes of batches that were read and found sound.
    pub bytes: Counter,
    /// Passes over all replicas that have come to their end.
    pub passes: Counter,
    /// Replicas that were found damaged.
    pub damaged: Counter,
    /// Segments whose indexes were built anew because they did not agree with the batches.
    pub indexes_rebuilt: Counter,
    /// Replicas of the pass under way, and how many of them are done; both 0 between passes.
    pub(crate) replicas: AtomicU64,
    pub(crate) replicas_done: AtomicU64,
}

/// What compaction has done since the start, and what waited for it when it looked last.
#[derive(Debug, Default)]
pub struct CleanerMetrics {
    /// Passes over a partition that have come to their end.
    pub passes: Counter,
    /// Bytes of batches that they have read.
    pub bytes_read: Counter,
    /// Bytes of batches that they have written.
    pub bytes_written: Counter,
    /// Replicas that they have found damaged.
    pub damaged: Counter,
    pub(crate) dirty_ppm_max: AtomicU64,
    pub(crate) overdue_ms_max: AtomicU64,
    pub(crate) uncleanable: AtomicU64,
}

/// What was done for key indexes since the start, and how far they were behind when it was looked last.
#[derive(Debug, Default)]
pub struct KeyIndexMetrics {
    /// Bytes of batches that were read for them.
    pub bytes_read: Counter,
    /// Indexes of segments that were not what was written there, and are built anew.
    pub discarded: Counter,
    pub(crate) records_behind: AtomicU64,
}

impl KeyIndexMetrics {
    /// How many records of all partitions are not indexed yet that are to be.
    pub fn records_behind(&self) -> u64 {
        self.records_behind.load(Ordering::Relaxed)
    }
}

impl CleanerMetrics {
    /// Which part of the dirtiest partition was not compacted yet, in percent.
    pub fn dirty_percent_max(&self) -> u64 {
        self.dirty_ppm_max.load(Ordering::Relaxed) / 10_000
    }

    /// By how many seconds records have outlived `max.compaction.lag.ms` at most.
    pub fn overdue_seconds_max(&self) -> u64 {
        self.overdue_ms_max.load(Ordering::Relaxed) / 1000
    }

    /// Partitions that are not compacted any more because that failed.
    pub fn uncleanable(&self) -> u64 {
        self.uncleanable.load(Ordering::Relaxed)
    }
}

impl ScrubMetrics {
    /// Which part of the replicas the pass under way has verified, in thousandths; `None` between passes.
    pub fn progress_permille(&self) -> Option<u64> {
        let done = self.replicas_done.load(Ordering::Relaxed).saturating_mul(1000);
        done.checked_div(self.replicas.load(Ordering::Relaxed))
    }
}

/// One above the highest API key.
const API_KEYS: usize = 128;

impl Metrics {
    pub(crate) fn new() -> Self {
        Self {
            requests: (0..API_KEYS).map(|_| Counter::default()).collect(),
            requests_of_clients: Counter::default(),
            requests_refused: Counter::default(),
            connections_refused: Counter::default(),
            connections_throttled: Counter::default(),
            requests_throttled: Counter::default(),
            bytes_in: Counter::default(),
            bytes_out: Counter::default(),
            batches_in: Counter::default(),
            catch_up_bytes: Counter::default(),
            scrub: ScrubMetrics::default(),
            cleaner: CleanerMetrics::default(),
            key_index: KeyIndexMetrics::default(),
        }
    }

    pub(crate) fn request(&self, api: ApiKey) {
        if let Some(counter) = self.requests.get(api.to_i16() as usize) {
            counter.inc();
        }
    }

    /// Requests by the name of their API, those that were asked for at all.
    pub fn requests(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let named = self.requests.iter().enumerate().filter_map(|(key, counter)| {
            Some((ApiKey::from_i16(i16::try_from(key).ok()?)?.name(), counter.get()))
        });
        named.filter(|(_, count)| *count > 0)
    }
}

//! How long producers wait for their acknowledgements, and what may be sent to replicas that are not in sync meanwhile.
//!
//! [`replica::CatchUp`] decides; the handler of Produce tells it what was acknowledged, that of Fetch asks it.
//! Throttles that somebody has set (KIP-73) hold back besides.

use env::Nanos;
use metadata::config::Resolved;
use parking_lot::Mutex;
use replica::CatchUp;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

/// See the head of the file.
#[derive(Default)]
pub(crate) struct CatchingUp {
    core: Mutex<CatchUp>,
    /// Producers that wait for an acknowledgement.
    waiting: AtomicUsize,
    is_unbounded: AtomicBool,
}

/// A producer that waits, until it is dropped.
pub(crate) struct Waiting {
    of: Arc<CatchingUp>,
    since: Nanos,
    bytes: usize,
}

impl CatchingUp {
    /// Takes what the broker's configuration says now.
    pub(crate) fn configure(&self, broker: &Resolved<'_>) {
        self.is_unbounded.store(!broker.flag("odradek.catch.up.paced"), Ordering::Relaxed);
    }

    /// Somebody has sent records and waits.
    pub(crate) fn begin(self: &Arc<Self>, now: Nanos, bytes: usize) -> Waiting {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Waiting { of: self.clone(), since: now, bytes }
    }

    /// How many bytes replicas that are not in sync may be sent now.
    pub(crate) fn credit(&self, now: Nanos) -> usize {
        match self.is_unbounded.load(Ordering::Relaxed) {
            true => usize::MAX,
            false => self.core.lock().credit(time(now), self.waiting.load(Ordering::Relaxed)),
        }
    }

    /// When there will be some again.
    pub(crate) fn ready_at(&self, now: Nanos) -> Nanos {
        let ready = self.core.lock().ready_at(time(now));
        u64::try_from(ready.as_nanos()).unwrap_or(u64::MAX)
    }

    /// The most that is sent to them, in bytes per second; `None`: it is not bounded.
    pub(crate) fn rate(&self) -> Option<u64> {
        (!self.is_unbounded.load(Ordering::Relaxed)).then(|| self.core.lock().rate())
    }

    /// So much was sent.
    pub(crate) fn sent(&self, now: Nanos, bytes: usize) {
        self.core.lock().sent(time(now), bytes);
    }
}

impl Waiting {
    /// Its records are as safe as was asked for.
    pub(crate) fn acknowledged(&self, now: Nanos) {
        let took = Duration::from_nanos(now.saturating_sub(self.since));
        let waiting = self.of.waiting.load(Ordering::Relaxed);
        self.of.core.lock().acknowledged(time(now), took, self.bytes as u64, waiting);
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.of.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

fn time(now: Nanos) -> Duration {
    Duration::from_nanos(now)
}

//! Time that moves only when everybody waits: tokio's paused clock, and a wall clock beside it that may jump. It is the
//! only file of the simulator that touches tokio's timers. The broker has it as `env::Clock`, clients and faults sleep
//! by it.

use env::{BoxFuture, Clock, Deadline, Millis, Nanos};
use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;

/// The clock of a run.
pub struct SimClock {
    start: Instant,
    wall_offset_ms: AtomicI64,
}

/// A wait took too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimedOut;

/// 2026-01-01 00:00 UTC, when every run begins.
const WALL_START_MS: Millis = 1_767_225_600_000;

impl SimClock {
    /// A clock that starts now; inside a runtime whose clock is paused.
    pub fn new() -> Arc<Self> {
        Arc::new(Self { start: Instant::now(), wall_offset_ms: AtomicI64::new(0) })
    }

    /// The clock of another machine: the same time passes, and its wall clock jumps by itself.
    pub fn beside(&self) -> Arc<Self> {
        Arc::new(Self { start: self.start, wall_offset_ms: AtomicI64::new(0) })
    }

    /// Moves the wall clock, forwards or backwards.
    pub fn jump(&self, millis: i64) {
        self.wall_offset_ms.fetch_add(millis, Ordering::Relaxed);
    }

    /// Milliseconds since the start.
    pub fn elapsed_ms(&self) -> u64 {
        self.now() / 1_000_000
    }

    /// Waits; at least until every other task has had its turn.
    pub async fn sleep_ms(&self, millis: u64) {
        if millis == 0 {
            tokio::task::yield_now().await;
        } else {
            self.sleep_until(self.now() + millis * 1_000_000).await;
        }
    }
}

impl Clock for SimClock {
    fn wall(&self) -> Millis {
        WALL_START_MS + self.elapsed_ms() as i64 + self.wall_offset_ms.load(Ordering::Relaxed)
    }

    fn now(&self) -> Nanos {
        self.start.elapsed().as_nanos() as u64
    }

    fn sleep_until(&self, deadline: Deadline) -> BoxFuture<'static, ()> {
        // Beyond what can be counted is as good as never.
        let deadline = self.start.checked_add(Duration::from_nanos(deadline));
        Box::pin(async move {
            match deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        })
    }
}

/// Waiting with an end.
pub trait Clocked: Future + Sized {
    /// The outcome, or [`TimedOut`] after so many milliseconds.
    fn within(self, clock: &SimClock, millis: u64) -> impl Future<Output = Result<Self::Output, TimedOut>> {
        let end = clock.sleep_until(clock.now() + millis * 1_000_000);
        async move {
            tokio::select! {
                biased;
                output = self => Ok(output),
                () = end => Err(TimedOut),
            }
        }
    }
}

impl<F: Future> Clocked for F {}

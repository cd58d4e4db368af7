//! The real clock: the system's wall clock, and a monotonic one that starts with the process.

#![allow(clippy::disallowed_methods, reason = "this is where env::Clock meets the operating system")]

use env::{BoxFuture, Deadline, Millis, Nanos};
use std::time::{Duration, Instant, SystemTime};

pub(super) struct RealClock {
    start: Instant,
}

impl RealClock {
    pub(super) fn start() -> Self {
        Self { start: Instant::now() }
    }
}

impl env::Clock for RealClock {
    fn wall(&self) -> Millis {
        SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since| since.as_millis() as Millis)
    }

    fn now(&self) -> Nanos {
        self.start.elapsed().as_nanos() as Nanos
    }

    fn sleep_until(&self, deadline: Deadline) -> BoxFuture<'static, ()> {
        // tokio refuses instants too far away; a century is as good as never.
        let nanos = deadline.min(100 * 365 * 86_400 * 1_000_000_000);
        let at = self.start + Duration::from_nanos(nanos);
        Box::pin(tokio::time::sleep_until(at.into()))
    }
}

//! A point of `env`'s monotonic time for the Raft library. It is compared and shifted, never shown to a user.

use crate::runtime::world;
use env::Nanos;
use std::{
    ops::{Add, AddAssign, Sub, SubAssign},
    time::Duration,
};

/// Nanoseconds of the node's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct EnvInstant(pub(crate) Nanos);

fn nanos(duration: Duration) -> Nanos {
    Nanos::try_from(duration.as_nanos()).unwrap_or(Nanos::MAX)
}

impl openraft::Instant for EnvInstant {
    fn now() -> Self {
        Self(world().map_or(0, |world| world.clock.now()))
    }
}

impl Add<Duration> for EnvInstant {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(nanos(duration)))
    }
}

impl Sub<Duration> for EnvInstant {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(duration)))
    }
}

impl Sub for EnvInstant {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl AddAssign<Duration> for EnvInstant {
    fn add_assign(&mut self, duration: Duration) {
        *self = *self + duration;
    }
}

impl SubAssign<Duration> for EnvInstant {
    fn sub_assign(&mut self, duration: Duration) {
        *self = *self - duration;
    }
}

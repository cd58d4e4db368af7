//! Time: wall-clock milliseconds for what is written down, monotonic nanoseconds for waiting and measuring.

use crate::BoxFuture;

/// Milliseconds since 1970-01-01 UTC, Kafka's timestamps.
pub type Millis = i64;
/// Monotonic nanoseconds since an arbitrary start.
pub type Nanos = u64;
/// A point in monotonic time to wait for.
pub type Deadline = Nanos;

/// A source of time.
pub trait Clock: Send + Sync {
    /// Wall-clock time. It may jump in either direction.
    fn wall(&self) -> Millis;
    /// Monotonic time. It never goes back.
    fn now(&self) -> Nanos;
    /// Ends once [`Clock::now`] is at or past `deadline`.
    fn sleep_until(&self, deadline: Deadline) -> BoxFuture<'static, ()>;
}

impl dyn Clock {
    /// The monotonic time `millis` from now; negative counts as zero.
    pub fn after_millis(&self, millis: i64) -> Deadline {
        self.now().saturating_add((millis.max(0) as u64).saturating_mul(1_000_000))
    }
}

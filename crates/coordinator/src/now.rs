//! The moment at which a shard or core is asked something.
//!
//! It reads no clock: the host reads `env::Clock` once per event and passes the values down.

use model::Timestamp;

/// Whether `ms` milliseconds of the wall clock have passed from `since` to `now`, at most: the clock may have been set back after
/// `since` was written down, and what waits for a moment that is far ahead again would wait too long. So a moment that is still
/// to come has passed long ago.
pub fn has_passed(since: Timestamp, ms: i64, now: Timestamp) -> bool {
    now < since || now.saturating_sub(since) >= ms
}

/// One moment, on both clocks: only `wall` means something to people and other nodes, only `monotonic` never jumps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Now {
    /// Milliseconds since 1970-01-01 UTC; may jump either way. For what is written down or shown.
    pub wall: Timestamp,
    /// Nanoseconds since some fixed moment of this process; never decreases. For timers and deadlines.
    pub monotonic: u64,
}

impl Now {
    /// The monotonic nanosecond `ms` milliseconds from this moment: a deadline. Negative `ms` counts as none.
    pub fn deadline_ms(&self, ms: i64) -> u64 {
        self.monotonic.saturating_add(u64::try_from(ms).unwrap_or(0).saturating_mul(1_000_000))
    }

    /// This moment, `ms` milliseconds later on both clocks.
    pub fn plus_ms(&self, ms: u32) -> Self {
        Self { wall: self.wall.saturating_add(ms.into()), monotonic: self.deadline_ms(ms.into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_set_back_holds_nobody_back() {
        let cases = [(999, false), (1000, true), (1001, true), (0, true)];
        for (now, has) in cases {
            assert_eq!(has_passed(500, 500, now), has, "{now}");
        }
        assert!(has_passed(i64::MIN, i64::MAX, 0), "no overflow");
    }
}

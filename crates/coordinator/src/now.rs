//! The moment at which a shard or core is asked something.
//!
//! It reads no clock: the host reads `env::Clock` once per event and passes the values down.

use model::Timestamp;

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

//! How long to wait before the next attempt: twice as long each time, with some chance in it.
//!
//! It does not wait; whoever repeats something does.

/// The first wait.
const FIRST_MS: i64 = 50;
/// No wait is longer, chance included.
const LONGEST_MS: i64 = 1_000;

/// The waits between attempts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Backoff {
    attempts: u32,
}

impl Backoff {
    /// Milliseconds until the next attempt, between half and the whole of a bound that doubles.
    pub(crate) fn next_ms(&mut self, random: u64) -> i64 {
        let bound = FIRST_MS.saturating_mul(1 << self.attempts.min(16)).min(LONGEST_MS);
        self.attempts = self.attempts.saturating_add(1);
        bound / 2 + (random % (bound as u64 / 2 + 1)) as i64
    }

    /// How many waits were asked for.
    pub(crate) fn attempts(&self) -> u32 {
        self.attempts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_bound_and_chance_takes_at_most_half() {
        let mut longest = Backoff::default();
        let waits: Vec<_> = (0..7).map(|_| longest.next_ms(u64::MAX / 52 * 52)).collect();
        assert!(waits.iter().all(|wait| (25..=1_000).contains(wait)));
        let mut shortest = Backoff::default();
        let waits: Vec<_> = (0..7).map(|_| shortest.next_ms(0)).collect();
        assert_eq!(waits, [25, 50, 100, 200, 400, 500, 500]);
        assert_eq!(shortest.attempts(), 7);
    }
}

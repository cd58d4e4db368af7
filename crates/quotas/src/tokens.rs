//! A bucket of tokens: it fills at a steady rate up to a burst, and may be drained below zero (KIP-599).
//!
//! It refuses nothing: whoever takes tokens asks first how many are left.

use crate::Windows;

/// Tokens that are left; a new bucket is full.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tokens(Option<Known>);

#[derive(Debug, Clone, Copy)]
struct Known {
    left: f64,
    at_ms: u64,
}

impl Tokens {
    /// How many are left, where `limit` come in a second. The burst is what comes within all windows.
    pub fn left(&self, windows: Windows, now_ms: u64, limit: f64) -> f64 {
        let burst = windows.all_seconds() * limit;
        match self.0 {
            None => burst,
            Some(known) => {
                let come = limit * now_ms.saturating_sub(known.at_ms) as f64 / 1000.0;
                (known.left + come).min(burst)
            }
        }
    }

    /// Takes so many.
    pub fn take(&mut self, windows: Windows, now_ms: u64, limit: f64, count: f64) {
        let left = self.left(windows, now_ms, limit) - count;
        self.0 = Some(Known { left, at_ms: now_ms });
    }

    /// How long it takes until none is missing; 0 if none is.
    pub fn throttle_ms(&self, windows: Windows, now_ms: u64, limit: f64) -> u64 {
        // Casts of too large numbers end at the largest one, those of negative ones at 0.
        (-self.left(windows, now_ms, limit) / limit * 1000.0).round() as u64
    }

    /// Whether it is full: it is as a new one.
    pub fn is_idle(&self, windows: Windows, now_ms: u64, limit: f64) -> bool {
        self.left(windows, now_ms, limit) >= windows.all_seconds() * limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_at_the_rate_up_to_the_burst() {
        let (windows, mut tokens) = (Windows::new(11, 1), Tokens::default());
        assert_eq!(tokens.left(windows, 1000, 2.0), 22.0);
        tokens.take(windows, 1000, 2.0, 25.0);
        for (now, left, wait) in [(1000, -3.0, 1500), (1500, -2.0, 1000), (2500, 0.0, 0), (60_000, 22.0, 0)] {
            assert_eq!(
                (tokens.left(windows, now, 2.0), tokens.throttle_ms(windows, now, 2.0)),
                (left, wait),
                "{now}"
            );
        }
        assert!(!tokens.is_idle(windows, 12_000, 2.0) && tokens.is_idle(windows, 13_500, 2.0));
        assert_eq!(tokens.left(windows, 1000, 1.0), -3.0, "a smaller quota forgives nothing");
        tokens.take(windows, 2000, f64::MIN_POSITIVE, f64::MAX);
        assert_eq!(tokens.throttle_ms(windows, 2000, f64::MIN_POSITIVE), u64::MAX, "no overflow");
    }
}

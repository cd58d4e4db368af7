//! How fast throttled replicas are copied, measured as Apache Kafka measures it (KIP-73): over a number of windows, the
//! oldest of which gives way to the newest.
//!
//! It is a core and holds nobody back: whoever copies asks [`Throttle::is_exceeded`], and tells what was copied even if it
//! was too much, so that the rate is kept over time.

use std::time::Duration;

/// More windows are not kept, whatever is configured.
const WINDOWS_MAX: usize = 3600;

/// The rate of one direction, and its limit.
#[derive(Debug, Clone)]
pub struct Throttle {
    /// `replication.quota.window.num`.
    windows: usize,
    /// `replication.quota.window.size.seconds`.
    window: Duration,
    /// `leader.replication.throttled.rate` or `follower.replication.throttled.rate`, in bytes per second.
    limit: u64,
    samples: Vec<Sample>,
    current: usize,
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    begun: Duration,
    last: Duration,
    bytes: u64,
}

impl Throttle {
    /// Nothing was copied yet; there is no limit.
    pub fn new(windows: usize, window: Duration) -> Self {
        let window = window.max(Duration::from_millis(1));
        Self {
            windows: windows.clamp(1, WINDOWS_MAX),
            window,
            limit: u64::MAX,
            samples: Vec::new(),
            current: 0,
        }
    }

    /// Changes the limit, in bytes per second.
    pub fn set_limit(&mut self, limit: u64) {
        self.limit = limit;
    }

    /// Whether more was copied than the limit allows. `now` is monotonic.
    pub fn is_exceeded(&mut self, now: Duration) -> bool {
        self.purge(now);
        let begun = self.samples.iter().map(|sample| sample.begun).min().unwrap_or(now);
        let over_ns = now.saturating_sub(begun).max(self.window).as_nanos();
        let bytes: u128 = self.samples.iter().map(|sample| u128::from(sample.bytes)).sum();
        bytes.saturating_mul(1_000_000_000) > u128::from(self.limit).saturating_mul(over_ns)
    }

    /// So much was copied.
    pub fn record(&mut self, now: Duration, bytes: u64) {
        let fresh = Sample { begun: now, last: now, bytes: 0 };
        match self.samples.get(self.current) {
            None => self.samples.push(fresh),
            Some(sample) if now.saturating_sub(sample.begun) >= self.window => {
                // One more than the windows: the oldest overlaps with what is measured.
                self.current = (self.current + 1) % (self.windows + 1);
                match self.samples.get_mut(self.current) {
                    Some(sample) => *sample = fresh,
                    None => self.samples.push(fresh),
                }
            }
            Some(_) => {}
        }
        if let Some(sample) = self.samples.get_mut(self.current) {
            sample.bytes = sample.bytes.saturating_add(bytes);
            sample.last = now;
        }
    }

    /// Forgets samples in which nothing has happened for as long as all windows last.
    fn purge(&mut self, now: Duration) {
        let age = self.window.saturating_mul(self.windows as u32);
        for sample in self.samples.iter_mut().filter(|sample| now.saturating_sub(sample.last) >= age) {
            *sample = Sample { begun: now, last: now, bytes: 0 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn throttle(limit: u64) -> Throttle {
        let mut throttle = Throttle::new(11, s(1));
        throttle.set_limit(limit);
        throttle
    }

    #[test]
    fn what_was_too_much_at_once_is_waited_for() {
        let mut throttle = throttle(100);
        assert!(!throttle.is_exceeded(s(5)));
        throttle.record(s(5), 500);
        // At least one window counts, and exactly the limit is allowed.
        for (now, is_exceeded) in [(5, true), (6, true), (9, true), (10, false), (16, false)] {
            assert_eq!(throttle.clone().is_exceeded(s(now)), is_exceeded, "{now}");
        }
        assert!(!throttle.clone().is_exceeded(s(5 + 11)), "it is forgotten");
    }

    #[test]
    fn the_rate_is_kept_over_time() {
        let mut throttle = throttle(1000);
        let (mut copied, mut now) = (0, Duration::ZERO);
        while now < s(100) {
            if !throttle.is_exceeded(now) {
                throttle.record(now, 300);
                copied += 300;
            }
            now += Duration::from_millis(50);
        }
        assert!((95_000..=105_000).contains(&copied), "{copied}");
    }

    #[test]
    fn without_a_limit_nothing_is_too_much_and_with_none_at_all_nothing_is_allowed_twice() {
        let mut throttle = Throttle::new(usize::MAX, Duration::ZERO);
        throttle.record(s(1), u64::MAX);
        throttle.record(s(2), u64::MAX);
        assert!(!Throttle::new(1, s(1)).is_exceeded(s(0)));
        let mut none = self::throttle(0);
        assert!(!none.is_exceeded(s(0)));
        none.record(s(0), 1);
        assert!(none.is_exceeded(s(10)));
        assert!(!none.is_exceeded(s(11)), "as in Apache Kafka, a limit of 0 is no ban");
    }
}

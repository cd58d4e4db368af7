//! A rate, measured as Apache Kafka measures it: over a number of windows, the oldest of which gives way to the newest.
//!
//! It decides nothing: [`Rate::throttle_ms`] says how long it takes until the rate is within a limit again.

/// More windows are not kept, whatever is configured.
const COUNT_MAX: u64 = 3600;

/// `quota.window.num` and `quota.window.size.seconds`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Windows {
    count: u64,
    length_ms: u64,
}

impl Windows {
    /// At least one window of at least a second.
    pub fn new(count: u64, seconds: u64) -> Self {
        Self { count: count.clamp(1, COUNT_MAX), length_ms: seconds.max(1).saturating_mul(1000) }
    }

    /// How long one is.
    pub fn length_ms(self) -> u64 {
        self.length_ms
    }

    /// How long all of them are.
    pub fn all_ms(self) -> u64 {
        self.length_ms.saturating_mul(self.count)
    }

    /// The seconds of all whole windows: what is recorded within them at once is measured over so long a time.
    pub fn whole_seconds(self) -> f64 {
        (self.count.saturating_sub(1).saturating_mul(self.length_ms)) as f64 / 1000.0
    }

    /// The seconds of all windows.
    pub fn all_seconds(self) -> f64 {
        self.all_ms() as f64 / 1000.0
    }
}

/// What happens in a second, over the last windows.
#[derive(Debug, Clone, Default)]
pub struct Rate {
    samples: Vec<Sample>,
    current: usize,
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    begun_ms: u64,
    last_ms: u64,
    value: f64,
}

impl Sample {
    fn new(now_ms: u64) -> Self {
        Self { begun_ms: now_ms, last_ms: now_ms, value: 0.0 }
    }
}

impl Rate {
    /// So much has happened; a negative value takes back what was recorded at the same moment.
    pub fn record(&mut self, windows: Windows, now_ms: u64, value: f64) {
        match self.samples.get(self.current) {
            None => self.samples.push(Sample::new(now_ms)),
            Some(sample) if now_ms.saturating_sub(sample.begun_ms) >= windows.length_ms => {
                // One more than the windows: the oldest overlaps with what is measured.
                let places = usize::try_from(windows.count).unwrap_or(usize::MAX).saturating_add(1);
                self.current = (self.current + 1) % places;
                match self.samples.get_mut(self.current) {
                    Some(sample) => *sample = Sample::new(now_ms),
                    None => {
                        self.current = self.samples.len();
                        self.samples.push(Sample::new(now_ms));
                    }
                }
            }
            Some(_) => {}
        }
        if let Some(sample) = self.samples.get_mut(self.current) {
            sample.value += value;
            sample.last_ms = now_ms;
        }
    }

    /// What happens in a second.
    pub fn measure(&mut self, windows: Windows, now_ms: u64) -> f64 {
        let over_ms = self.measured_ms(windows, now_ms);
        let sum: f64 = self.samples.iter().map(|sample| sample.value).sum();
        sum * 1000.0 / over_ms as f64
    }

    /// How long nothing may happen until the rate is within `limit` a second; 0 if it is.
    pub fn throttle_ms(&mut self, windows: Windows, now_ms: u64, limit: f64) -> u64 {
        let (rate, over_ms) = (self.measure(windows, now_ms), self.measured_ms(windows, now_ms));
        if rate <= limit {
            return 0;
        }
        // Casts of too large numbers end at the largest one.
        ((rate - limit) / limit * over_ms as f64).round() as u64
    }

    /// Whether nothing is known any more: it is as a new one.
    pub fn is_idle(&self, windows: Windows, now_ms: u64) -> bool {
        self.samples.iter().all(|sample| now_ms.saturating_sub(sample.last_ms) >= windows.all_ms())
    }

    /// Over what time is measured: what has passed since the oldest sample, and at least all windows but the newest.
    fn measured_ms(&mut self, windows: Windows, now_ms: u64) -> u64 {
        for sample in &mut self.samples {
            if now_ms.saturating_sub(sample.last_ms) >= windows.all_ms() {
                *sample = Sample::new(now_ms);
            }
        }
        let begun_ms = self.samples.iter().map(|sample| sample.begun_ms).min().unwrap_or(now_ms);
        let elapsed_ms = now_ms.saturating_sub(begun_ms);
        let missing = (windows.count - 1).saturating_sub(elapsed_ms / windows.length_ms);
        elapsed_ms.saturating_add(missing.saturating_mul(windows.length_ms)).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WINDOWS: fn() -> Windows = || Windows::new(11, 1);

    #[test]
    fn what_happens_at_once_is_spread_over_the_whole_windows() {
        let mut rate = Rate::default();
        rate.record(WINDOWS(), 5000, 500.0);
        // As in Apache Kafka: ten whole windows and what has passed of the newest one.
        for (now, expected) in [(5000, 50.0), (5500, 500.0 / 10.5), (6000, 50.0), (15_500, 500.0 / 10.5)] {
            assert_eq!(rate.clone().measure(WINDOWS(), now), expected, "{now}");
        }
        assert_eq!(rate.measure(WINDOWS(), 16_000), 0.0, "it is forgotten");
    }

    #[test]
    fn the_wait_is_what_it_takes_to_come_down_to_the_limit() {
        for (value, limit, expected) in
            [(500.0, 50.0, 0), (500.0, 100.0, 0), (1000.0, 50.0, 10_000), (501.0, 50.0, 20)]
        {
            let mut rate = Rate::default();
            rate.record(WINDOWS(), 0, value);
            assert_eq!(rate.throttle_ms(WINDOWS(), 0, limit), expected, "{value} {limit}");
        }
        let mut rate = Rate::default();
        rate.record(WINDOWS(), 0, f64::MAX);
        assert_eq!(rate.throttle_ms(WINDOWS(), 0, f64::MIN_POSITIVE), u64::MAX, "no overflow");
    }

    #[test]
    fn what_is_taken_back_was_never_there() {
        let mut rate = Rate::default();
        rate.record(WINDOWS(), 0, 30.0);
        let before = rate.measure(WINDOWS(), 400);
        rate.record(WINDOWS(), 400, 500.0);
        rate.record(WINDOWS(), 400, -500.0);
        assert_eq!(rate.measure(WINDOWS(), 400), before);
    }

    proptest! {
        /// Whoever waits as long as it is told keeps to the limit over time, whatever the sizes and pauses between. What
        /// takes longer than all windows by itself is forgotten while it is waited for, as in Apache Kafka.
        #[test]
        fn the_limit_is_kept_over_time(
            sizes in prop::collection::vec((1.0..100.0f64, 0..200u64), 1..20),
            count in 2..12u64,
        ) {
            let (windows, limit) = (Windows::new(count, 1), 100.0);
            let (mut rate, mut now, mut sum) = (Rate::default(), 7u64, 0.0);
            for (size, pause) in sizes.iter().cycle() {
                if now > 120_000 {
                    break;
                }
                rate.record(windows, now, *size);
                sum += size;
                let wait = rate.throttle_ms(windows, now, limit);
                now += wait + pause;
            }
            let allowed = limit * (now as f64 / 1000.0 + windows.all_seconds()) + 100.0;
            prop_assert!(sum <= allowed * 1.1, "{} > {}", sum, allowed);
        }

        /// However it is used, it never keeps more samples than there are windows and one.
        #[test]
        fn memory_is_bounded(steps in prop::collection::vec(0..3000u64, 0..200), count in 1..5u64) {
            let windows = Windows::new(count, 1);
            let (mut rate, mut now) = (Rate::default(), 0);
            for step in steps {
                now += step;
                rate.record(windows, now, 1.0);
                prop_assert!(rate.samples.len() as u64 <= count + 1);
                prop_assert!(rate.measure(windows, now) > 0.0);
            }
            prop_assert!(rate.is_idle(windows, now + windows.all_ms()));
        }
    }
}

//! In place of the library of this name, by `[patch.crates-io]`: the part of it that openraft calls, in half a kilobyte
//! for each histogram.
//!
//! openraft counts the sizes of its batches in histograms. The library builds tables for sixteen resolutions when the
//! first of them is made, 24 MiB of memory and tens of milliseconds, and this process is to start in less and idle in
//! about as much. Nobody here reads these statistics, so a resolution of powers of two will do.
//! docs/decisions/0011-a-stand-in-for-a-histogram.md says when it goes.

use std::{fmt, marker::PhantomData};

/// A value has as many bits as its bucket's index says.
const BUCKETS: usize = 65;

/// How often values of each magnitude were recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Histogram<T = ()> {
    counts: [u64; BUCKETS],
    data: PhantomData<T>,
}

/// Below which values so many of a hundred samples lie, rounded down to a power of two; all 0 without samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PercentileStats {
    /// How many values were recorded.
    pub samples: u64,
    /// The 0.1th percentile.
    pub p0_1: u64,
    /// The 1st percentile.
    pub p1: u64,
    /// The 5th percentile.
    pub p5: u64,
    /// The 10th percentile.
    pub p10: u64,
    /// The median.
    pub p50: u64,
    /// The 90th percentile.
    pub p90: u64,
    /// The 99th percentile.
    pub p99: u64,
    /// The 99.9th percentile.
    pub p99_9: u64,
}

/// Histograms that would be drawn together; openraft draws them only with a feature that is off.
#[derive(Debug, Clone, Default)]
pub struct AsciiChart<T = ()> {
    /// Each with its name.
    pub series: Vec<(String, Histogram<T>)>,
}

impl<T> Default for Histogram<T> {
    fn default() -> Self {
        Self { counts: [0; BUCKETS], data: PhantomData }
    }
}

impl<T> Histogram<T> {
    /// Nothing is recorded yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Records a value.
    pub fn record(&mut self, value: u64) {
        self.record_n(value, 1);
    }

    /// Records a value `times` times.
    pub fn record_n(&mut self, value: u64, times: u64) {
        let bits = u64::BITS - value.leading_zeros();
        if let Some(count) = self.counts.get_mut(bits as usize) {
            *count = count.saturating_add(times);
        }
    }

    /// A summary of what was recorded.
    pub fn percentile_stats(&self) -> PercentileStats {
        let samples = self.counts.iter().fold(0u64, |sum, count| sum.saturating_add(*count));
        let at = |permille: u64| self.at(samples, permille);
        PercentileStats {
            samples,
            p0_1: at(1),
            p1: at(10),
            p5: at(50),
            p10: at(100),
            p50: at(500),
            p90: at(900),
            p99: at(990),
            p99_9: at(999),
        }
    }

    fn at(&self, samples: u64, permille: u64) -> u64 {
        let wanted = u128::from(samples) * u128::from(permille);
        let mut seen = 0u128;
        for (bits, count) in self.counts.iter().enumerate() {
            seen += u128::from(*count);
            if *count > 0 && seen * 1000 >= wanted {
                return if bits == 0 { 0 } else { 1 << (bits - 1) };
            }
        }
        0
    }
}

impl fmt::Display for PercentileStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { samples, p50, p90, p99, p99_9, .. } = self;
        write!(f, "{samples} samples, p50 {p50}, p90 {p90}, p99 {p99}, p99.9 {p99_9}")
    }
}

impl<T> AsciiChart<T> {
    /// No histogram yet.
    pub fn new() -> Self {
        Self { series: Vec::new() }
    }

    /// With one histogram more.
    #[must_use]
    pub fn add(mut self, name: impl ToString, histogram: Histogram<T>) -> Self {
        self.series.push((name.to_string(), histogram));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_the_powers_of_two_below_the_values() {
        let mut histogram = Histogram::<()>::new();
        assert_eq!(histogram.percentile_stats().samples, 0);
        assert_eq!(histogram.percentile_stats().p50, 0);
        histogram.record(0);
        histogram.record_n(5, 97);
        histogram.record(u64::MAX);
        let stats = histogram.percentile_stats();
        assert_eq!((stats.samples, stats.p0_1, stats.p50, stats.p99), (99, 0, 4, 4));
        assert_eq!(stats.p99_9, 1 << 63);
    }
}

//! Randomness that a seed decides: SplitMix64, forked by label so that one part of the world that draws more often does
//! not change what another part draws. It is not for cryptography, and not `rand`, whose streams may change between
//! releases: a seed must mean the same run tomorrow. Everything in the simulator draws here.

use std::ops::RangeInclusive;

/// A stream of numbers.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// The stream of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed ^ 0x6a09_e667_f3bc_c909)
    }

    /// A stream of its own for `label`; this one is not advanced.
    pub fn fork(&self, label: &str) -> Self {
        let mixed = label.bytes().fold(self.0, |state, byte| mix(state ^ u64::from(byte)));
        Self(mix(mixed))
    }

    /// 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number below `end`; 0 if `end` is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        if end == 0 { 0 } else { self.bits() % end }
    }

    /// A number of the range.
    pub fn range(&mut self, range: RangeInclusive<u64>) -> u64 {
        range.start() + self.below(range.end().saturating_sub(*range.start()).saturating_add(1))
    }

    /// True in `percent` of 100 cases.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of the items.
    pub fn pick<T: Clone>(&mut self, items: &[T], otherwise: T) -> T {
        let index = self.below(items.len() as u64) as usize;
        items.get(index).cloned().unwrap_or(otherwise)
    }
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
pub fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_means_the_same_numbers_for_ever() {
        // The numbers that other implementations of SplitMix64 give for this state.
        let mut dice = Dice(1_234_567);
        assert_eq!([dice.bits(), dice.bits()], [6_457_827_717_110_365_317, 3_203_168_211_198_807_973]);
        assert_eq!(Dice::new(7).bits(), 16_003_746_464_899_984_390);
    }

    #[test]
    fn forks_do_not_depend_on_how_often_their_origin_was_drawn_after() {
        let mut dice = Dice::new(7);
        let mut fork = dice.fork("disk");
        dice.bits();
        assert_eq!(fork.bits(), Dice::new(7).fork("disk").bits());
        assert_ne!(Dice::new(7).fork("disk").bits(), Dice::new(7).fork("net").bits());
    }

    #[test]
    fn ranges_include_both_ends() {
        let mut dice = Dice::new(1);
        let drawn: std::collections::BTreeSet<_> = (0..100).map(|_| dice.range(3..=5)).collect();
        assert_eq!(drawn.into_iter().collect::<Vec<_>>(), [3, 4, 5]);
        assert_eq!((dice.below(0), dice.range(9..=9)), (0, 9));
    }
}

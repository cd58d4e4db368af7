//! Random messages for tests: every field that a version has, null only where it is allowed.
//!
//! The generated code says what a message consists of. Not for ids or keys: the numbers are those of SplitMix64.

use bytes::Bytes;
use stdx::{Parts, Uuid};

/// A type of which random values can be made that survive being encoded at a version.
pub trait Sample {
    /// A random value.
    fn sample(random: &mut Random, version: i16) -> Self;
}

/// A source of random values; the same seed gives the same values.
#[derive(Debug, Clone)]
pub struct Random(u64);

macro_rules! numbers {
    ($($name:ident: $type:ty),*) => {$(
        #[doc = concat!("A random `", stringify!($type), "`, small ones and bounds more often than chance.")]
        pub fn $name(&mut self) -> $type {
            match self.below(8) {
                0 => <$type>::MIN,
                1 => <$type>::MAX,
                2 => self.below(3) as $type,
                _ => self.bits() as $type,
            }
        }
    )*};
}

impl Random {
    /// A source that begins at a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    numbers!(i8: i8, i16: i16, u16: u16, i32: i32, u32: u32, i64: i64);

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A struct.
    pub fn sample<T: Sample>(&mut self, version: i16) -> T {
        T::sample(self, version)
    }

    /// True half of the time.
    pub fn bool(&mut self) -> bool {
        self.bits() & 1 == 1
    }

    /// A finite number.
    pub fn f64(&mut self) -> f64 {
        f64::from(self.i32()) / 8.0
    }

    /// An id.
    pub fn uuid(&mut self) -> Uuid {
        let bits = u128::from(self.bits()) << 64 | u128::from(self.bits());
        Uuid::from_random(bits.to_be_bytes())
    }

    /// A string, now and then one whose compact length takes two bytes.
    pub fn string(&mut self) -> String {
        const LETTERS: [char; 6] = ['a', 'Z', '0', '-', '\u{e4}', '\u{20ac}'];
        let len = self.len();
        (0..len).filter_map(|_| LETTERS.get(self.below(LETTERS.len()))).collect()
    }

    /// Bytes, now and then so many that their compact length takes two bytes.
    pub fn bytes(&mut self) -> Bytes {
        (0..self.len()).map(|_| self.bits() as u8).collect()
    }

    /// Bytes in the place of record batches, now and then too many to be copied.
    pub fn records(&mut self) -> Parts {
        let len = if self.below(4) == 0 { crate::RECORDS_COPY_BYTES_MAX + 1 } else { self.len() };
        Bytes::from(vec![self.bits() as u8; len]).into()
    }

    /// Up to two elements.
    pub fn vec<T>(&mut self, mut make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.below(3)).map(|_| make(self)).collect()
    }

    /// A value, or null in a quarter of the cases if it is allowed.
    pub fn option<T>(&mut self, nullable: bool, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        if nullable && self.below(4) == 0 { None } else { Some(make(self)) }
    }

    fn len(&mut self) -> usize {
        if self.below(16) == 0 { 200 } else { self.below(9) }
    }

    fn below(&mut self, bound: usize) -> usize {
        self.bits() as usize % bound
    }
}

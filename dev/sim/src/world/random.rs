//! The broker's randomness: ids and jitter from the seed. It is not what faults and clients draw from.

use crate::dice::Dice;
use env::Random;
use parking_lot::Mutex;

/// A stream of the seed as `env::Random`.
pub struct SimRandom(Mutex<Dice>);

impl SimRandom {
    /// Draws from `dice`.
    pub fn new(dice: Dice) -> Self {
        Self(Mutex::new(dice))
    }
}

impl Random for SimRandom {
    fn next_u64(&self) -> u64 {
        self.0.lock().bits()
    }
}

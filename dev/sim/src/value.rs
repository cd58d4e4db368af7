//! The values that producers send: each exists once, says who sent it where, and can be recognised byte for byte.
//!
//! It is not a format of anything; only the simulator's own clients write and read it.

use crate::dice::mix;
use std::fmt;

/// Names one value: who sent it, and its number there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ValueId {
    /// The producer.
    pub producer: u32,
    /// Counted by the producer for each partition, from 0.
    pub number: u32,
    /// The partition that it was sent to.
    pub partition: i32,
}

const HEAD_BYTES: usize = 12;
/// A value is at most so much longer than its head.
const FILL_BYTES_MAX: u64 = 700;

impl ValueId {
    /// How many keys there are: so few that producers have them in common.
    pub const KEYS: u8 = 7;

    /// The key of its record, if that has one.
    pub fn key(self) -> u8 {
        (self.number % u32::from(Self::KEYS)) as u8
    }

    /// The bytes of the value.
    pub fn to_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD_BYTES);
        bytes.extend_from_slice(&self.producer.to_be_bytes());
        bytes.extend_from_slice(&self.number.to_be_bytes());
        bytes.extend_from_slice(&self.partition.to_be_bytes());
        let mut state =
            mix(u64::from(self.producer) << 40 ^ u64::from(self.number) << 8 ^ self.partition as u64);
        // Most are small, some fill several sectors.
        let fill =
            if state.is_multiple_of(16) { state % (6 * FILL_BYTES_MAX) } else { state % FILL_BYTES_MAX };
        while (bytes.len() - HEAD_BYTES) < fill as usize {
            state = mix(state.wrapping_add(1));
            bytes.extend_from_slice(&state.to_be_bytes());
        }
        bytes
    }

    /// What the bytes say, if they are exactly those of a value.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (producer, rest) = bytes.split_first_chunk::<4>()?;
        let (number, rest) = rest.split_first_chunk::<4>()?;
        let (partition, _) = rest.split_first_chunk::<4>()?;
        let id = Self {
            producer: u32::from_be_bytes(*producer),
            number: u32::from_be_bytes(*number),
            partition: i32::from_be_bytes(*partition),
        };
        (id.to_bytes() == bytes).then_some(id)
    }
}

impl fmt::Debug for ValueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p{}/{}#{}", self.producer, self.partition, self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_recognised_byte_for_byte() {
        for number in 0..200 {
            let id = ValueId { producer: 3, number, partition: 1 };
            let bytes = id.to_bytes();
            assert_eq!(ValueId::from_bytes(&bytes), Some(id));
            let mut other = bytes.clone();
            *other.last_mut().unwrap() ^= 1;
            assert_ne!(ValueId::from_bytes(&other), Some(id));
            assert_ne!(ValueId::from_bytes(&bytes[..bytes.len() - 1]), Some(id));
        }
    }
}

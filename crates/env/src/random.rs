//! Randomness: ids and jitter. Not for keys of cryptography.

/// A source of random numbers.
pub trait Random: Send + Sync {
    /// 64 random bits.
    fn next_u64(&self) -> u64;
}

impl dyn Random {
    /// A random version 4 id.
    pub fn uuid(&self) -> stdx::Uuid {
        let bits = u128::from(self.next_u64()) << 64 | u128::from(self.next_u64());
        stdx::Uuid::from_random(bits.to_be_bytes())
    }
}

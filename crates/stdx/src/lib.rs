//! What std could have had: a bounded byte cursor, variable-length integers, CRC-32C, Kafka's UUID text form,
//! and hash maps whose iteration order is the same on every run.
//!
//! It knows nothing of Kafka's messages and does no I/O. Every other crate stands on it.

pub mod cursor;
pub mod parts;
pub mod uuid;
pub mod varint;

pub use cursor::{Cursor, Short};
pub use parts::{Part, Parts, Region, Runs};
pub use uuid::Uuid;

/// A hash map with a fixed hasher: iteration order depends on the contents and their history only, never on the run.
///
/// Keys that an attacker chooses may collide on purpose; maps of such keys are bounded by `model::limits`.
pub type Map<K, V> = hashbrown::HashMap<K, V, FixedState>;

/// A hash set with the same fixed hasher as [`Map`].
pub type Set<K> = hashbrown::HashSet<K, FixedState>;

/// The fixed state behind [`Map`] and [`Set`].
pub type FixedState = std::hash::BuildHasherDefault<std::collections::hash_map::DefaultHasher>;

/// CRC-32C (Castagnoli), the checksum of record batches v2 (RFC 3720, appendix B.4).
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

/// CRC-32C over several pieces as if they were one.
pub fn crc32c_of(pieces: &[&[u8]]) -> u32 {
    let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi);
    for piece in pieces {
        digest.update(piece);
    }
    digest.finalize() as u32
}

/// CRC-32C of bytes that come piece by piece.
pub struct Crc32c(crc_fast::Digest);

impl Crc32c {
    /// Of no bytes yet.
    #[allow(clippy::new_without_default, reason = "a checksum has no natural default")]
    pub fn new() -> Self {
        Self(crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi))
    }

    /// Adds bytes at the end.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The checksum.
    pub fn finish(&self) -> u32 {
        self.0.finalize() as u32
    }
}

/// CRC-32 (IEEE), the checksum of message sets v0 and v1.
pub fn crc32(bytes: &[u8]) -> u32 {
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32IsoHdlc, bytes) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc32c_matches_the_check_value_of_the_standard() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c_of(&[b"1234", b"", b"56789"]), 0xe306_9283);
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        let mut pieces = Crc32c::new();
        pieces.update(b"12345");
        pieces.update(b"6789");
        assert_eq!(pieces.finish(), 0xe306_9283);
    }

    #[test]
    fn maps_filled_alike_iterate_alike() {
        let fill = || (0..1000u32).map(|n| (n.wrapping_mul(2_654_435_761), n)).collect::<Map<_, _>>();
        assert!(fill().iter().eq(fill().iter()));
    }
}

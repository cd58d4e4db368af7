//! An aborted transaction of one partition: an entry of the `.txnindex` file of the segment that holds its end marker.
//!
//! Readers that asked for committed records only are told of these, and skip the producer's batches in the range.

use model::{Offset, ProducerId};
use stdx::Cursor;

/// Bytes of an entry.
pub(crate) const TXN_ENTRY_BYTES: usize = 34;

/// An aborted transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbortedTxn {
    /// Whose it was.
    pub producer_id: ProducerId,
    /// Its first record.
    pub first_offset: Offset,
    /// Its end marker.
    pub last_offset: Offset,
    /// The last stable offset when the marker was written: nothing below it is still undecided.
    pub last_stable_offset: Offset,
}

impl AbortedTxn {
    pub(crate) fn encode(&self) -> [u8; TXN_ENTRY_BYTES] {
        let mut out = [0; TXN_ENTRY_BYTES];
        let fields = [self.producer_id, self.first_offset, self.last_offset, self.last_stable_offset];
        // Two bytes of version, 0, come first.
        if let Some((_, rest)) = out.split_at_mut_checked(2) {
            for (slot, field) in rest.chunks_exact_mut(8).zip(fields) {
                slot.copy_from_slice(&field.to_be_bytes());
            }
        }
        out
    }

    /// `None` if there are too few bytes or the version is newer.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut cursor = Cursor::new(bytes);
        let _version = cursor.i16().ok().filter(|version| *version == 0)?;
        Some(Self {
            producer_id: cursor.i64().ok()?,
            first_offset: cursor.i64().ok()?,
            last_offset: cursor.i64().ok()?,
            last_stable_offset: cursor.i64().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_kafkas() {
        let aborted = AbortedTxn { producer_id: 1, first_offset: 2, last_offset: 3, last_stable_offset: 4 };
        let bytes = aborted.encode();
        let expected: Vec<u8> =
            [0, 0].into_iter().chain([1u64, 2, 3, 4].iter().flat_map(|n| n.to_be_bytes())).collect();
        assert_eq!(bytes[..], expected);
        assert_eq!(AbortedTxn::decode(&bytes), Some(aborted));
        assert_eq!(AbortedTxn::decode(&bytes[..33]), None);
    }
}

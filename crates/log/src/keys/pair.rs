//! A posting: a term and the offset of a record that bears it.
//!
//! A term is the hash of what is looked for (the key of a record, a mailbox's state, a producer of a mailbox). Two things may
//! have one term: whoever finds a record looks whether it is the one that was meant.

use model::Offset;
use siphasher::sip::SipHasher13;
use std::hash::Hasher;

/// How many bits of its hash a term keeps: with so many a collision costs a look once in a million segments, and no more bits
/// have to lie on the disk.
pub(super) const TERM_BITS: u32 = 48;

/// What a record is found by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    kind: Kind,
    key: Vec<u8>,
    /// What there is besides the key.
    more: Vec<u8>,
}

/// What kind of thing it is. The numbers are hashed, and never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Key = 0,
    Life = 1,
    Producer = 2,
}

/// A posting of one segment. They are sorted by term, those of a term by offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Pair {
    pub(super) term: u64,
    /// The offset of the record - base offset of the segment.
    pub(super) delta: u32,
}

impl Term {
    /// The records with this key.
    pub fn key(key: &[u8]) -> Self {
        Self { kind: Kind::Key, key: key.to_vec(), more: Vec::new() }
    }

    /// The records, and control records, that say what the mailbox of this key is.
    pub fn life(key: &[u8]) -> Self {
        Self { kind: Kind::Life, key: key.to_vec(), more: Vec::new() }
    }

    /// The records of this key that say how far this producer of its mailbox has come.
    pub fn producer(key: &[u8], id: &str) -> Self {
        Self { kind: Kind::Producer, key: key.to_vec(), more: id.as_bytes().to_vec() }
    }

    /// The term in a file with this seed.
    pub(super) fn under(&self, seed: u64) -> u64 {
        term(seed, self.kind, &self.key, &self.more)
    }
}

/// The seed is drawn by whoever writes the file, so that nobody can choose keys that meet.
pub(super) fn term(seed: u64, kind: Kind, key: &[u8], more: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(seed, 0);
    hasher.write(&[kind as u8]);
    hasher.write(&(key.len() as u64).to_be_bytes());
    hasher.write(key);
    hasher.write(more);
    hasher.finish() >> (u64::BITS - TERM_BITS)
}

impl Pair {
    /// The posting of a record in the segment that begins at `base`.
    pub(super) fn new(term: u64, base: Offset, offset: Offset) -> Self {
        Self { term, delta: delta(base, offset) }
    }
}

/// How far behind the beginning of a segment an offset is; what lies before it counts as its beginning, and no segment
/// reaches further than 32 bits.
pub(super) fn delta(base: Offset, offset: Offset) -> u32 {
    u32::try_from(offset.saturating_sub(base).max(0)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_of_different_things_and_seeds_differ_and_their_bytes_are_kept() {
        let terms = [Term::key(b"a"), Term::life(b"a"), Term::producer(b"a", "p"), Term::producer(b"ap", "")];
        let mut under: Vec<_> = [0, 1].iter().flat_map(|seed| terms.iter().map(|t| t.under(*seed))).collect();
        assert_eq!(under[0], term(0, Kind::Key, b"a", b""));
        assert!(under.iter().all(|term| *term < 1 << TERM_BITS));
        under.sort_unstable();
        under.dedup();
        assert_eq!(under.len(), 8);
        // What lies on disks: never changed.
        assert_eq!(Term::key(b"key").under(7), 0x8148_64d7_6a33);
    }

    #[test]
    fn a_delta_stays_within_its_bits() {
        assert_eq!((delta(10, 12), delta(10, 9), delta(0, i64::MAX)), (2, 0, u32::MAX));
    }
}

//! The beginning of a file of postings: which records it covers, and how the rest of it is laid out.
//!
//! It says by what the last batch that was indexed is known again: with it a file is believed only beside the records that
//! it was made of. docs/formats/key-index.md lists the bytes.

use super::filter::PAGE_BYTES;
use model::Offset;
use stdx::{Cursor, Short};

/// How long it is.
pub(super) const HEAD_BYTES: usize = 104;
const MAGIC: &[u8; 8] = b"ODKEYS\r\n";
const VERSION: u16 = 0;
/// What is in the place of the level if the file is not one of several of its segment.
pub(crate) const WHOLE: u8 = u8::MAX;

/// What stands there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    /// How many times it was made of several, or [`WHOLE`].
    pub(crate) level: u8,
    pub(super) pages: u32,
    /// Of its terms.
    pub(crate) seed: u64,
    pub(crate) covers: Covers,
    /// Where the uppermost node begins; 0: there are no postings.
    pub(super) root: u64,
    pub(super) pairs: u64,
    pub(super) terms: u64,
    /// The length of the file.
    pub(super) bytes: u64,
}

/// The records of a segment that were indexed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Covers {
    /// The base offset of the segment.
    pub(crate) base: Offset,
    /// From this offset on.
    pub(crate) from: Offset,
    /// To before this one.
    pub(crate) upto: Offset,
    /// Where the next batch begins in the `.log` file.
    pub(crate) end: u64,
    pub(crate) last: LastBatch,
}

/// The last batch before the end, if there is any before it in the segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct LastBatch {
    /// Where it begins.
    pub(crate) position: u64,
    /// The checksum of its header.
    pub(crate) sum: u32,
}

impl Head {
    /// Where the nodes begin: behind the pages of the filter.
    pub(super) fn nodes_at(pages: u32) -> u64 {
        HEAD_BYTES as u64 + u64::from(pages) * PAGE_BYTES as u64
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEAD_BYTES);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&VERSION.to_be_bytes());
        out.extend_from_slice(&[self.level, 0]);
        out.extend_from_slice(&self.pages.to_be_bytes());
        out.extend_from_slice(&self.seed.to_be_bytes());
        let Covers { base, from, upto, end, last } = self.covers;
        for number in [base, from, upto] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        for number in [end, last.position] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        out.extend_from_slice(&last.sum.to_be_bytes());
        for number in [self.root, self.pairs, self.terms, self.bytes] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        let sum = stdx::crc32c(&out);
        out.extend_from_slice(&sum.to_be_bytes());
        out
    }

    /// The checksum of it.
    pub(super) fn sum(&self) -> u32 {
        let bytes = self.encode();
        let sum = bytes.last_chunk::<4>().copied();
        sum.map_or(0, u32::from_be_bytes)
    }

    /// Reads it; `None` if it is none of this version, or contradicts itself. `file_bytes` is how long the file is.
    pub(super) fn parse(bytes: &[u8], file_bytes: u64) -> Option<Self> {
        let (covered, sum) = bytes.get(..HEAD_BYTES)?.split_at_checked(HEAD_BYTES - 4)?;
        if sum != stdx::crc32c(covered).to_be_bytes() {
            return None;
        }
        let head = Self::read(&mut Cursor::new(covered)).ok()??;
        let Covers { base, from, upto, end, last } = head.covers;
        let is_ordered = 0 <= base && base <= from && from <= upto && upto - base <= i64::from(u32::MAX);
        let is_inside = match head.root {
            0 => head.pairs == 0,
            root => Self::nodes_at(head.pages) <= root && root < head.bytes,
        };
        (is_ordered && is_inside && last.position <= end && head.bytes == file_bytes).then_some(head)
    }

    fn read(from: &mut Cursor<'_>) -> Result<Option<Self>, Short> {
        if from.array::<8>()? != *MAGIC || from.array()? != VERSION.to_be_bytes() {
            return Ok(None);
        }
        let [level, _] = from.array()?;
        let pages = u32::from_be_bytes(from.array()?);
        let seed = u64::from_be_bytes(from.array()?);
        let mut number = || Ok(u64::from_be_bytes(from.array()?));
        let (base, first, upto) = (number()?.cast_signed(), number()?.cast_signed(), number()?.cast_signed());
        let (end, position) = (number()?, number()?);
        let last = LastBatch { position, sum: u32::from_be_bytes(from.array()?) };
        let mut number = || Ok(u64::from_be_bytes(from.array()?));
        let (root, pairs, terms, bytes) = (number()?, number()?, number()?, number()?);
        let covers = Covers { base, from: first, upto, end, last };
        Ok(Some(Self { level, pages, seed, covers, root, pairs, terms, bytes }))
    }
}

#[cfg(test)]
pub(super) const EXAMPLE: Head = Head {
    level: WHOLE,
    pages: 1,
    seed: 7,
    covers: Covers {
        base: 100,
        from: 100,
        upto: 130,
        end: 4000,
        last: LastBatch { position: 3900, sum: 0xdead_beef },
    },
    root: 4200,
    pairs: 30,
    terms: 20,
    bytes: 4300,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_of_a_head_are_kept_and_read_back() {
        let bytes = EXAMPLE.encode();
        assert_eq!(bytes.len(), HEAD_BYTES);
        assert_eq!(bytes[..12], *b"ODKEYS\r\n\0\0\xff\0");
        assert_eq!(stdx::crc32c(&bytes), 0x5ef9db20, "never changed");
        assert_eq!(Head::parse(&bytes, 4300), Some(EXAMPLE));
        assert_eq!(Head::parse(&bytes, 4299), None, "its end is missing");
        for at in 0..HEAD_BYTES {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1;
            assert_eq!(Head::parse(&bytes, 4300), None, "{at}");
            assert_eq!(Head::parse(&bytes[..at], 4300), None);
        }
    }

    #[test]
    fn a_head_that_contradicts_itself_is_none() {
        let with = |change: fn(&mut Head)| {
            let mut head = EXAMPLE;
            change(&mut head);
            Head::parse(&head.encode(), 4300)
        };
        assert!(with(|_| {}).is_some());
        assert_eq!(with(|head| head.covers.from = 99), None);
        assert_eq!(with(|head| head.covers.upto = 99), None);
        assert_eq!(with(|head| head.covers.upto = i64::MAX), None);
        assert_eq!(with(|head| head.root = 104), None, "that is a page of the filter");
        assert_eq!(with(|head| head.root = 4300), None);
        assert_eq!(with(|head| head.root = 0), None, "there are postings");
        assert_eq!(with(|head| head.covers.last.position = 4001), None);
    }
}

//! A node of a file of postings: a few kilobytes of them, or of the nodes below it, each with its first posting.
//!
//! It can be read by itself: its checksum covers where it stands and whose it is, so that a node of another file, or of
//! another place, is none. docs/formats/key-index.md lists the bytes.

use super::pair::Pair;
use stdx::varint;

/// No node is longer.
pub(super) const NODE_BYTES: usize = 4096;
/// Checksum u32, length u16, level u8.
const HEAD_BYTES: usize = 7;
/// The longest entry: a term, an offset, a position.
const ENTRY_BYTES_MAX: usize = 10 + 5 + 10;

/// A node that is being filled.
pub(super) struct NodeBuilder {
    level: u8,
    bytes: Vec<u8>,
    first: Option<Pair>,
    last: Pair,
}

/// A node that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    /// 0: it holds postings; else its entries name nodes that are one level lower.
    pub(super) level: u8,
    /// Rising; each with the place of the node that begins with it, if the level is not 0.
    pub(super) entries: Vec<(Pair, u64)>,
    /// How long it is.
    pub(super) bytes: usize,
}

const NOTHING: Pair = Pair { term: 0, delta: 0 };

impl NodeBuilder {
    pub(super) fn new(level: u8) -> Self {
        Self { level, bytes: vec![0; HEAD_BYTES], first: None, last: NOTHING }
    }

    /// Whether another entry may have no room.
    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() + ENTRY_BYTES_MAX > NODE_BYTES
    }

    /// The first posting of it, or below it.
    pub(super) fn first(&self) -> Option<Pair> {
        self.first
    }

    /// Adds a posting, larger than those before; with the place of the node that it stands for, above level 0.
    pub(super) fn push(&mut self, pair: Pair, place: u64) {
        debug_assert!(!self.is_full() && (self.first.is_none() || pair > self.last));
        let is_same_term = self.first.is_some() && pair.term == self.last.term;
        varint::write_unsigned(&mut self.bytes, pair.term - self.last.term);
        let before = if is_same_term { self.last.delta } else { 0 };
        varint::write_unsigned(&mut self.bytes, u64::from(pair.delta - before));
        if self.level > 0 {
            varint::write_unsigned(&mut self.bytes, place);
        }
        self.first.get_or_insert(pair);
        self.last = pair;
    }

    /// Its bytes, for a file with this seed and this place in it; it is empty after.
    pub(super) fn finish(&mut self, seed: u64, place: u64) -> Vec<u8> {
        let next = Self::new(self.level);
        let mut bytes = std::mem::replace(self, next).bytes;
        let len = bytes.len() as u16;
        put(&mut bytes, 4, &len.to_be_bytes());
        put(&mut bytes, 6, &[self.level]);
        let sum = checksum(&bytes, seed, place);
        put(&mut bytes, 0, &sum.to_be_bytes());
        bytes
    }
}

impl Node {
    /// Reads the node at the beginning of `bytes`, which stand at `place`; `None` if there is none that is whole.
    pub(super) fn parse(bytes: &[u8], seed: u64, place: u64) -> Option<Self> {
        let len = usize::from(u16::from_be_bytes(bytes.get(4..6)?.try_into().ok()?));
        let bytes = bytes.get(..len).filter(|_| len <= NODE_BYTES)?;
        let level = *bytes.get(6)?;
        let stored = u32::from_be_bytes(bytes.get(..4)?.try_into().ok()?);
        if stored != checksum(bytes, seed, place) {
            return None;
        }
        let mut rest = bytes.get(HEAD_BYTES..)?;
        let mut next = || {
            let (value, read) = varint::read_unsigned_64(rest)?;
            rest = rest.get(read..)?;
            Some((value, rest.is_empty()))
        };
        let (mut entries, mut last) = (Vec::with_capacity(len / 4), NOTHING);
        let mut is_over = len == HEAD_BYTES;
        while !is_over {
            let (step, _) = next()?;
            let (mut delta, mut ends) = next()?;
            if step == 0 && !entries.is_empty() {
                delta = delta.checked_add(u64::from(last.delta))?;
            }
            let pair = Pair { term: last.term.checked_add(step)?, delta: u32::try_from(delta).ok()? };
            let mut place = 0;
            if level > 0 {
                (place, ends) = next()?;
            }
            if !entries.is_empty() && pair <= last {
                return None;
            }
            entries.push((pair, place));
            (last, is_over) = (pair, ends);
        }
        Some(Self { level, entries, bytes: len })
    }

    /// The last entry that is not larger.
    pub(super) fn floor(&self, pair: Pair) -> Option<(Pair, u64)> {
        let behind = self.entries.partition_point(|(known, _)| *known <= pair);
        self.entries.get(behind.checked_sub(1)?).copied()
    }
}

fn checksum(bytes: &[u8], seed: u64, place: u64) -> u32 {
    let rest = bytes.get(4..).unwrap_or_default();
    stdx::crc32c_of(&[&seed.to_be_bytes(), &place.to_be_bytes(), rest])
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(to) = bytes.get_mut(at..at + value.len()) {
        to.copy_from_slice(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_bytes_of_a_node_are_kept() {
        let mut builder = NodeBuilder::new(0);
        for (term, delta) in [(5, 1), (5, 300), (0x8000_0000_0001, 7)] {
            builder.push(Pair { term, delta }, 0);
        }
        let mut above = NodeBuilder::new(1);
        above.push(Pair { term: 5, delta: 1 }, 104);
        let hex = |bytes: Vec<u8>| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(hex(builder.finish(0x5eed, 104)), "73d8d428001400050100ab02fcffffffffff1f07");
        assert_eq!(hex(above.finish(0x5eed, 300)), "5cb04b79000a01050168");
    }

    fn pairs() -> impl Strategy<Value = Vec<Pair>> {
        let pair = (0u64..1 << 48, any::<u32>())
            .prop_map(|(term, delta)| Pair { term: term % 3 + (term & !0xff), delta });
        proptest::collection::btree_set(pair, 0..150).prop_map(|set| set.into_iter().collect())
    }

    proptest! {
        #[test]
        fn a_node_reads_back_at_its_place_and_nowhere_else(pairs in pairs(), level in 0u8..2, seed: u64, place in 0u64..1 << 40) {
            let mut builder = NodeBuilder::new(level);
            for pair in &pairs {
                builder.push(*pair, u64::from(level) * (place + 7));
            }
            let bytes = builder.finish(seed, place);
            prop_assert!(bytes.len() <= NODE_BYTES);
            let node = Node::parse(&bytes, seed, place).unwrap();
            prop_assert_eq!(node.entries.iter().map(|(pair, _)| *pair).collect::<Vec<_>>(), pairs);
            prop_assert!(node.entries.iter().all(|(_, child)| *child == u64::from(level) * (place + 7)));
            prop_assert_eq!((node.level, node.bytes), (level, bytes.len()));
            prop_assert_eq!(Node::parse(&bytes, seed ^ 1, place), None);
            prop_assert_eq!(Node::parse(&bytes, seed, place + 1), None);
        }

        #[test]
        fn no_flipped_bit_goes_unnoticed(pairs in pairs(), at: usize, bit in 0u8..8) {
            let mut builder = NodeBuilder::new(0);
            pairs.iter().for_each(|pair| builder.push(*pair, 0));
            let mut bytes = builder.finish(1, 2);
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            prop_assert_eq!(Node::parse(&bytes, 1, 2), None);
        }

        #[test]
        fn whatever_the_bytes_are_nothing_panics(bytes: Vec<u8>) {
            // With a checksum that is right, so that what stands behind it is looked at.
            let mut bytes = bytes;
            bytes.splice(0..0, [0; HEAD_BYTES]);
            bytes.truncate(NODE_BYTES);
            let len = bytes.len() as u16;
            put(&mut bytes, 4, &len.to_be_bytes());
            let sum = checksum(&bytes, 0, 0);
            put(&mut bytes, 0, &sum.to_be_bytes());
            let _ = Node::parse(&bytes, 0, 0);
        }
    }
}

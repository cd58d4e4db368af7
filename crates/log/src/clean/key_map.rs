//! The offset of the last record of each key, in the part of a log that is to be compacted.
//!
//! It holds the keys themselves, so that no two of them are ever taken for one; Kafka's map holds their MD5. It says when
//! it is full, and does not enforce it: whoever fills it ends with a whole batch, so that every pass gets on.

use model::Offset;
use stdx::Map;

/// What an entry takes beside its key, about: a pointer, a length, an offset, the table's slack, the allocator's.
const ENTRY_BYTES: usize = 64;

/// The map.
#[derive(Debug)]
pub(crate) struct KeyMap {
    latest: Map<Box<[u8]>, Offset>,
    /// Of control records.
    controls: Map<Box<[u8]>, Offset>,
    bytes: usize,
    bytes_max: usize,
    from: Offset,
    /// Every record from `from` to before this offset is in it that was to be.
    upto: Offset,
}

impl KeyMap {
    /// An empty map that is full with about `bytes_max` bytes, for records from `from` on.
    pub(crate) fn new(bytes_max: usize, from: Offset) -> Self {
        Self { latest: Map::default(), controls: Map::default(), bytes: 0, bytes_max, from, upto: from }
    }

    /// Takes note of a record; offsets rise from call to call.
    pub(crate) fn put(&mut self, key: &[u8], offset: Offset) {
        if let Some(known) = self.latest.get_mut(key) {
            *known = offset;
        } else {
            self.bytes += key.len() + ENTRY_BYTES;
            self.latest.insert(key.into(), offset);
        }
    }

    /// Takes note of a control record about the mailbox of a key.
    pub(crate) fn put_control(&mut self, key: &[u8], offset: Offset) {
        if self.controls.insert(key.into(), offset).is_none() {
            self.bytes += key.len() + ENTRY_BYTES;
        }
    }

    /// The last control record about the mailbox of this key.
    pub(crate) fn latest_control(&self, key: &[u8]) -> Option<Offset> {
        self.controls.get(key).copied()
    }

    /// The last record of this key.
    pub(crate) fn latest(&self, key: &[u8]) -> Option<Offset> {
        self.latest.get(key).copied()
    }

    /// Whether no more batches should be taken note of.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes >= self.bytes_max
    }

    /// Everything before `offset` was taken note of.
    pub(crate) fn reached(&mut self, offset: Offset) {
        self.upto = self.upto.max(offset);
    }

    /// Of what lies before it says only what hides it.
    pub(crate) fn from(&self) -> Offset {
        self.from
    }

    /// Records from here on are none of its business.
    pub(crate) fn upto(&self) -> Offset {
        self.upto
    }

    /// How many keys there are.
    pub(crate) fn len(&self) -> usize {
        self.latest.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_offset_of_a_key_counts_and_the_bytes_of_each_key_once() {
        let mut map = KeyMap::new(2 * ENTRY_BYTES + 4, 7);
        for (key, offset) in [("aa", 7), ("bb", 8), ("aa", 9)] {
            map.put(key.as_bytes(), offset);
            assert_eq!(map.is_full(), offset > 7);
        }
        assert_eq!((map.latest(b"aa"), map.latest(b"bb"), map.latest(b"cc")), (Some(9), Some(8), None));
        assert_eq!((map.len(), map.upto()), (2, 7));
        map.reached(10);
        map.reached(5);
        assert_eq!(map.upto(), 10);
    }
}

//! A sorted map whose clones share what they have in common: sorted chunks behind reference counts.
//!
//! It is no general tree: two levels only, good for up to some hundred thousand entries. A change after a clone copies
//! one chunk and the list of chunks, so an image of 5,000 topics is published for the price of some 200 entries.

use std::{borrow::Borrow, fmt, iter, sync::Arc};

/// A chunk that grows beyond this is cut in two.
const CHUNK_MAX: usize = 128;

type Chunk<K, V> = Arc<Vec<(K, V)>>;

/// A sorted map that is cheap to clone and to change after that.
pub(crate) struct Chunked<K, V> {
    /// Sorted; none is empty.
    chunks: Arc<Vec<Chunk<K, V>>>,
    len: usize,
}

impl<K: Ord + Clone, V: Clone> Chunked<K, V> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let chunk = self.chunks.get(self.chunk_of(key))?;
        let (_, value) = chunk.get(place_in(chunk, key).ok()?)?;
        Some(value)
    }

    /// The value of a key to change it; copies what is shared with clones, if the key is there.
    pub(crate) fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        let at = self.chunk_of(key);
        let place = place_in(self.chunks.get(at)?, key).ok()?;
        let (_, value) = Arc::make_mut(Arc::make_mut(&mut self.chunks).get_mut(at)?).get_mut(place)?;
        Some(value)
    }

    /// Sets the value of a key.
    pub(crate) fn insert(&mut self, key: K, value: V) {
        // Behind the last key there is no chunk: the last one takes it.
        let at = self.chunk_of(&key).min(self.chunks.len().saturating_sub(1));
        let chunks = Arc::make_mut(&mut self.chunks);
        let Some(shared) = chunks.get_mut(at) else {
            chunks.push(Arc::new(vec![(key, value)]));
            self.len += 1;
            return;
        };
        let chunk = Arc::make_mut(shared);
        match place_in(chunk, &key) {
            Ok(place) => {
                if let Some((_, old)) = chunk.get_mut(place) {
                    *old = value;
                }
            }
            Err(place) => {
                chunk.insert(place, (key, value));
                self.len += 1;
            }
        }
        if chunk.len() > CHUNK_MAX {
            let upper = chunk.split_off(CHUNK_MAX / 2);
            chunks.insert(at + 1, Arc::new(upper));
        }
    }

    pub(crate) fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let at = self.chunk_of(key);
        let place = place_in(self.chunks.get(at)?, key).ok()?;
        let chunks = Arc::make_mut(&mut self.chunks);
        let chunk = Arc::make_mut(chunks.get_mut(at)?);
        let (_, value) = chunk.remove(place);
        if chunk.is_empty() {
            chunks.remove(at);
        }
        self.len -= 1;
        Some(value)
    }

    /// All entries in the order of their keys.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        self.chunks.iter().flat_map(|chunk| chunk.iter()).map(|(key, value)| (key, value))
    }

    /// The entries from `first` on, in the order of their keys.
    pub(crate) fn iter_from<Q: Ord + ?Sized>(&self, first: &Q) -> impl Iterator<Item = (&K, &V)>
    where
        K: Borrow<Q>,
    {
        let at = self.chunk_of(first);
        let start = self.chunks.get(at);
        let skipped = start.map_or(0, |chunk| place_in(chunk, first).unwrap_or_else(|place| place));
        let head = start.into_iter().flat_map(move |chunk| chunk.iter().skip(skipped));
        let tail = self.chunks.iter().skip(at + 1).flat_map(|chunk| chunk.iter());
        iter::chain(head, tail).map(|(key, value)| (key, value))
    }

    /// The chunk in which `key` would be: the first whose last key is not below it.
    fn chunk_of<Q: Ord + ?Sized>(&self, key: &Q) -> usize
    where
        K: Borrow<Q>,
    {
        self.chunks.partition_point(|chunk| chunk.last().is_some_and(|(last, _)| last.borrow() < key))
    }
}

fn place_in<K: Borrow<Q>, V, Q: Ord + ?Sized>(chunk: &[(K, V)], key: &Q) -> Result<usize, usize> {
    chunk.binary_search_by(|(other, _)| other.borrow().cmp(key))
}

impl<K, V> Default for Chunked<K, V> {
    fn default() -> Self {
        Self { chunks: Arc::default(), len: 0 }
    }
}

impl<K, V> Clone for Chunked<K, V> {
    fn clone(&self) -> Self {
        Self { chunks: Arc::clone(&self.chunks), len: self.len }
    }
}

/// Equal entries; where the chunks are cut does not count.
impl<K: Ord + Clone, V: Clone + PartialEq> PartialEq for Chunked<K, V> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.chunks, &other.chunks) || self.len == other.len && self.iter().eq(other.iter())
    }
}

impl<K: Ord + Clone, V: Clone + Eq> Eq for Chunked<K, V> {}

impl<K: Ord + Clone + fmt::Debug, V: Clone + fmt::Debug> fmt::Debug for Chunked<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn check(map: &Chunked<u16, u32>, model: &BTreeMap<u16, u32>) {
        assert!(map.iter().eq(model.iter()));
        assert_eq!(map.len(), model.len());
        assert!(map.chunks.iter().all(|chunk| !chunk.is_empty() && chunk.len() <= CHUNK_MAX));
    }

    proptest! {
        /// What a sorted map does, this one does, and a clone stays as it was.
        #[test]
        fn it_is_a_sorted_map(changes in prop::collection::vec((0..600u16, prop::option::weighted(0.7, any::<u32>())), 0..1500)) {
            let (mut map, mut model) = (Chunked::default(), BTreeMap::new());
            let mut kept = Vec::new();
            for (step, (key, value)) in changes.into_iter().enumerate() {
                match value {
                    Some(value) => {
                        map.insert(key, value);
                        model.insert(key, value);
                    }
                    None => prop_assert_eq!(map.remove(&key), model.remove(&key)),
                }
                if let Some(value) = map.get_mut(&(key ^ 1)) {
                    *value = value.wrapping_add(1);
                }
                model.entry(key ^ 1).and_modify(|value| *value = value.wrapping_add(1));
                prop_assert_eq!(map.get(&key), model.get(&key));
                prop_assert!(map.iter_from(&key).take(5).eq(model.range(key..).take(5)));
                if step % 300 == 0 {
                    kept.push((map.clone(), model.clone()));
                }
            }
            check(&map, &model);
            kept.iter().for_each(|(map, model)| check(map, model));
        }
    }

    #[test]
    fn a_change_after_a_clone_copies_one_chunk() {
        let mut map = Chunked::default();
        (0..5_000u16).for_each(|key| map.insert(key, 0u32));
        let published = map.clone();
        map.insert(2_500, 1);
        let copied =
            map.chunks.iter().zip(published.chunks.iter()).filter(|(new, old)| !Arc::ptr_eq(new, old));
        assert_eq!(copied.count(), 1);
        assert_eq!(published.get(&2_500), Some(&0));
        assert!(map != published);
    }
}

//! Lists of what lies in a slab, without memory of their own but two numbers for each item: it is in one list at most, and is taken
//! out wherever it is in it.
//!
//! They know nothing of the items but their places in the slab. Lists are known by their [`Head`]s.

/// No item.
const NONE: u32 = u32::MAX;

/// One list.
#[derive(Debug)]
pub(crate) struct Head(u32);

/// The links of all items.
#[derive(Debug, Default)]
pub(crate) struct Chains(Vec<Link>);

#[derive(Debug, Clone, Copy)]
struct Link {
    before: u32,
    after: u32,
}

impl Default for Head {
    fn default() -> Self {
        Self(NONE)
    }
}

impl Head {
    pub(crate) fn first(&self) -> Option<u32> {
        (self.0 != NONE).then_some(self.0)
    }
}

impl Chains {
    /// Puts an item in front, which is in no list.
    pub(crate) fn push(&mut self, head: &mut Head, item: u32) {
        let place = item as usize;
        if self.0.len() <= place {
            self.0.resize(place + 1, Link { before: NONE, after: NONE });
        }
        self.set(item, Link { before: NONE, after: head.0 });
        self.set_before(head.0, item);
        head.0 = item;
    }

    /// Takes an item out of the list that it is in.
    pub(crate) fn take(&mut self, head: &mut Head, item: u32) {
        let Some(Link { before, after }) = self.0.get(item as usize).copied() else { return };
        if head.0 == item {
            head.0 = after;
        } else if let Some(link) = self.0.get_mut(before as usize) {
            link.after = after;
        }
        self.set_before(after, before);
        self.set(item, Link { before: NONE, after: NONE });
    }

    /// Takes the first one out.
    pub(crate) fn pop(&mut self, head: &mut Head) -> Option<u32> {
        let first = head.first()?;
        self.take(head, first);
        Some(first)
    }

    fn set(&mut self, item: u32, link: Link) {
        if let Some(slot) = self.0.get_mut(item as usize) {
            *slot = link;
        }
    }

    fn set_before(&mut self, item: u32, before: u32) {
        if let Some(link) = self.0.get_mut(item as usize) {
            link.before = before;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    fn items(chains: &Chains, head: &Head) -> Vec<u32> {
        let mut next = head.0;
        std::iter::from_fn(|| {
            let item = (next != NONE).then_some(next)?;
            next = chains.0[item as usize].after;
            Some(item)
        })
        .collect()
    }

    #[test]
    fn what_is_taken_out_anywhere_leaves_the_others_in_their_order() {
        let (mut chains, mut lists) = (Chains::default(), [Head::default(), Head::default()]);
        let mut expected = [VecDeque::new(), VecDeque::new()];
        let mut random = 88172645463325252u64;
        for _ in 0..10_000 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let (item, list) = ((random >> 20) as u32 % 40, (random >> 10) as usize % 2);
            match expected.iter().position(|all| all.contains(&item)) {
                None => {
                    chains.push(&mut lists[list], item);
                    expected[list].push_front(item);
                }
                Some(list) if random.is_multiple_of(3) => {
                    assert_eq!(chains.pop(&mut lists[list]), expected[list].pop_front());
                }
                Some(list) => {
                    chains.take(&mut lists[list], item);
                    expected[list].retain(|one| *one != item);
                }
            }
            for (head, all) in lists.iter().zip(&expected) {
                assert_eq!(items(&chains, head), Vec::from(all.clone()));
                assert_eq!(head.first(), all.front().copied());
            }
        }
    }
}

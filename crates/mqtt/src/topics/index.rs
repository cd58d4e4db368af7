//! Who is subscribed to a topic name, among many subscriptions: a tree of the levels of their filters.
//!
//! It keeps no options and bounds only depth; how many subscriptions there are is bounded by who adds them. A search
//! visits just the nodes whose path matches the beginning of the name, so filters that have nothing to do with it cost
//! nothing.

use std::collections::{BTreeMap, BTreeSet};

use super::{Filter, LEVELS_MAX};

/// A filter has more than [`LEVELS_MAX`] levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the topic filter has {levels} levels, at most {LEVELS_MAX} are served")]
pub struct TooDeep {
    /// How many it has.
    pub levels: usize,
}

/// Subscriptions by their filters. `S` says who is subscribed, and is small.
#[derive(Debug, Clone)]
pub struct Index<S> {
    root: Node<S>,
    len: usize,
}

/// Who is subscribed, each within the group of a shared subscription or on its own.
type Subscribers<S> = BTreeSet<(Option<Box<str>>, S)>;

#[derive(Debug, Clone)]
struct Node<S> {
    children: BTreeMap<Box<[u8]>, Node<S>>,
    /// What follows a `+`.
    plus: Option<Box<Node<S>>>,
    /// Whose filter ends here.
    here: Subscribers<S>,
    /// Whose filter ends with a `#` below here.
    below: Subscribers<S>,
}

impl<S> Default for Node<S> {
    fn default() -> Self {
        Self { children: BTreeMap::new(), plus: None, here: BTreeSet::new(), below: BTreeSet::new() }
    }
}

impl<S> Default for Index<S> {
    fn default() -> Self {
        Self { root: Node::default(), len: 0 }
    }
}

impl<S: Ord + Clone> Index<S> {
    /// How many subscriptions there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a subscription. Whether it is new; twice the same counts once.
    pub fn insert(&mut self, filter: &Filter, subscriber: S) -> Result<bool, TooDeep> {
        let levels = filter.levels().count();
        if levels > LEVELS_MAX {
            return Err(TooDeep { levels });
        }
        let mut node = &mut self.root;
        let mut ends_below = false;
        for level in filter.levels() {
            match level {
                b"#" => ends_below = true,
                b"+" => node = node.plus.get_or_insert_default(),
                _ => node = node.children.entry(level.into()).or_default(),
            }
        }
        let subscribers = if ends_below { &mut node.below } else { &mut node.here };
        let is_new = subscribers.insert((filter.group().map(Box::from), subscriber));
        self.len += usize::from(is_new);
        Ok(is_new)
    }

    /// Takes a subscription out. Whether it was there.
    pub fn remove(&mut self, filter: &Filter, subscriber: &S) -> bool {
        let key = (filter.group().map(Box::from), subscriber.clone());
        let removed = self.root.remove(&mut filter.levels(), &key);
        self.len -= usize::from(removed);
        removed
    }

    /// Calls `visit` with each subscription whose filter matches the name, and the group that shares it. Of a group, one
    /// is to be chosen; who is subscribed by several filters is visited for each.
    pub fn visit<'a>(&'a self, name: &[u8], visit: &mut impl FnMut(Option<&'a str>, &'a S)) {
        self.root.visit(Some(name), !name.starts_with(b"$"), visit);
    }
}

impl<S: Ord> Node<S> {
    fn is_empty(&self) -> bool {
        self.children.is_empty() && self.plus.is_none() && self.here.is_empty() && self.below.is_empty()
    }

    /// Recursion ends with the levels of the filter, which were bounded when it was inserted: deeper ones have no node.
    fn remove<'f>(
        &mut self,
        levels: &mut impl Iterator<Item = &'f [u8]>,
        key: &(Option<Box<str>>, S),
    ) -> bool {
        match levels.next() {
            None => self.here.remove(key),
            Some(b"#") => self.below.remove(key),
            Some(b"+") => {
                let removed = self.plus.as_mut().is_some_and(|node| node.remove(levels, key));
                self.plus = self.plus.take().filter(|node| !node.is_empty());
                removed
            }
            Some(level) => {
                let Some(child) = self.children.get_mut(level) else { return false };
                let removed = child.remove(levels, key);
                if child.is_empty() {
                    self.children.remove(level);
                }
                removed
            }
        }
    }

    /// `rest` is what of the name lies below this node; `wild`: wildcards count at this level (\[MQTT-4.7.2-1\]).
    fn visit<'a>(&'a self, rest: Option<&[u8]>, wild: bool, visit: &mut impl FnMut(Option<&'a str>, &'a S)) {
        if wild {
            self.below.iter().for_each(|(group, subscriber)| visit(group.as_deref(), subscriber));
        }
        let Some(rest) = rest else {
            self.here.iter().for_each(|(group, subscriber)| visit(group.as_deref(), subscriber));
            return;
        };
        let mut halves = rest.splitn(2, |byte| *byte == b'/');
        let (level, deeper) = (halves.next().unwrap_or_default(), halves.next());
        if let Some(child) = self.children.get(level) {
            child.visit(deeper, true, visit);
        }
        if let Some(node) = self.plus.as_ref().filter(|_| wild) {
            node.visit(deeper, true, visit);
        }
    }
}

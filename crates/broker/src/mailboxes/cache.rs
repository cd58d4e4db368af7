//! What is known of mailboxes and of their producers without a look into the log, within a bound for the whole broker.
//!
//! It is never the truth, and is let go of at any time. It has two generations: what is used lies in the young one, and what was not
//! used while that filled up goes with the old one. It knows no partitions: a desk's number is part of each name, and a desk that
//! must forget takes a new number.

use super::marks::{Mark, Seen};
use bytes::Bytes;
use mailbox::Producer;
use model::Offset;
use stdx::Map;

/// Of what something is known.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Name {
    pub(crate) desk: u64,
    pub(crate) key: Bytes,
    /// Which of its producers; none for the mailbox itself.
    pub(crate) producer: Option<String>,
}

/// What the log says of a mailbox.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Known {
    /// The newest record that says what it is.
    pub(crate) mark: Option<Mark>,
    /// Its newest record.
    pub(crate) last: Option<Offset>,
}

/// What is kept under a name: the newest of it that was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Entry {
    Key(Known),
    Producer(Option<(Offset, Producer)>),
}

struct Kept {
    entry: Entry,
    /// The log was searched, too; else only what came since is there.
    is_whole: bool,
}

/// See the head of the file.
pub(crate) struct Cache {
    young: Map<Name, Kept>,
    old: Map<Name, Kept>,
    young_bytes: usize,
    bytes_max: usize,
}

/// What an entry takes beside its texts.
const ENTRY_BYTES: usize = 256;

impl Known {
    /// Takes over what is newer.
    pub(crate) fn merge(&mut self, other: Known) {
        self.last = self.last.max(other.last);
        if other.mark.as_ref().map(|mark| mark.at) > self.mark.as_ref().map(|mark| mark.at) {
            self.mark = other.mark;
        }
    }

    /// Takes note of a record of its key.
    pub(crate) fn on_record(&mut self, seen: &Seen) {
        let last = seen.is_record.then_some(seen.offset);
        self.merge(Known { mark: seen.mark.clone(), last });
    }

    /// Behind all that it is known from.
    pub(crate) fn upto(&self) -> Offset {
        let mark = self.mark.as_ref().map(|mark| mark.at);
        self.last.max(mark).map_or(0, |newest| newest + 1)
    }
}

impl Entry {
    fn merge(&mut self, other: Entry) {
        match (self, other) {
            (Self::Key(known), Self::Key(other)) => known.merge(other),
            (Self::Producer(known), Self::Producer(other)) => {
                let at = |one: &Option<(Offset, Producer)>| one.as_ref().map(|(at, _)| *at);
                if at(&other) > at(known) {
                    *known = other;
                }
            }
            _ => {}
        }
    }

    /// Takes note of a record of its key.
    pub(crate) fn on_record(&mut self, name: &Name, seen: &Seen) {
        match self {
            Self::Key(known) => known.on_record(seen),
            Self::Producer(_) => {
                let producer =
                    seen.producer.as_ref().filter(|one| Some(&one.sent.id) == name.producer.as_ref());
                self.merge(Self::Producer(producer.map(|producer| (seen.offset, producer.clone()))));
            }
        }
    }

    fn bytes(&self) -> usize {
        let of_life = |mark: &Mark| mark.life.as_ref().map_or(0, |life| life.encode().len() * 2);
        ENTRY_BYTES
            + match self {
                Self::Key(known) => known.mark.as_ref().map_or(0, of_life),
                Self::Producer(known) => known.as_ref().map_or(0, |(_, producer)| producer.sent.id.len()),
            }
    }
}

impl Name {
    fn bytes(&self) -> usize {
        self.key.len() + self.producer.as_ref().map_or(0, String::len)
    }
}

impl Cache {
    /// Two generations of half of this each.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { young: Map::default(), old: Map::default(), young_bytes: 0, bytes_max }
    }

    /// All that is known under a name, if that is all that there is.
    pub(crate) fn get(&mut self, name: &Name) -> Option<Entry> {
        if let Some(kept) = self.old.remove(name) {
            self.put(name.clone(), kept);
        }
        self.young.get(name).filter(|kept| kept.is_whole).map(|kept| kept.entry.clone())
    }

    /// From now on what comes is noted under this name, until it is let go of.
    pub(crate) fn expect(&mut self, name: &Name) {
        if self.get_mut(name).is_none() {
            let entry = match name.producer {
                None => Entry::Key(Known::default()),
                Some(_) => Entry::Producer(None),
            };
            self.put(name.clone(), Kept { entry, is_whole: false });
        }
    }

    /// The log was searched since [`Cache::expect`]: all that is known now; `None` if the name was let go of meanwhile.
    pub(crate) fn complete(&mut self, name: &Name, found: Entry) -> Option<Entry> {
        let kept = self.get_mut(name)?;
        kept.entry.merge(found);
        kept.is_whole = true;
        Some(kept.entry.clone())
    }

    /// Takes note of a record.
    pub(crate) fn on_record(&mut self, desk: u64, seen: &Seen) {
        let mut name = Name { desk, key: seen.key.clone(), producer: None };
        if let Some(kept) = self.get_mut(&name) {
            kept.entry.on_record(&name, seen);
        }
        if let Some(producer) = &seen.producer {
            name.producer = Some(producer.sent.id.clone());
            if let Some(kept) = self.get_mut(&name) {
                kept.entry.on_record(&name, seen);
            }
        }
    }

    fn get_mut(&mut self, name: &Name) -> Option<&mut Kept> {
        self.young.get_mut(name).or_else(|| self.old.get_mut(name))
    }

    fn put(&mut self, name: Name, kept: Kept) {
        self.young_bytes += name.bytes() + kept.entry.bytes();
        if self.young_bytes > self.bytes_max / 2 {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = name.bytes() + kept.entry.bytes();
        }
        self.young.insert(name, kept);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(key: &str) -> Name {
        Name { desk: 1, key: Bytes::copy_from_slice(key.as_bytes()), producer: None }
    }

    fn seen(key: &str, offset: Offset) -> Seen {
        let key = Bytes::copy_from_slice(key.as_bytes());
        Seen { offset, key, is_record: true, value: None, mark: None, producer: None }
    }

    fn last(offset: Offset) -> Entry {
        Entry::Key(Known { mark: None, last: Some(offset) })
    }

    #[test]
    fn what_comes_while_the_log_is_searched_counts() {
        let mut cache = Cache::new(1 << 20);
        cache.on_record(1, &seen("a", 3));
        assert_eq!(cache.get(&name("a")), None, "nobody has asked");
        cache.expect(&name("a"));
        cache.on_record(1, &seen("a", 9));
        cache.on_record(2, &seen("a", 11));
        assert_eq!(cache.get(&name("a")), None, "it is not whole");
        assert_eq!(cache.complete(&name("a"), last(7)), Some(last(9)));
        assert_eq!(cache.get(&name("a")), Some(last(9)));
        assert_eq!(cache.complete(&name("b"), last(7)), None, "it was let go of");
    }

    #[test]
    fn what_is_used_stays_and_the_rest_goes() {
        let mut cache = Cache::new(20 * (ENTRY_BYTES + 4));
        cache.expect(&name("used"));
        cache.complete(&name("used"), last(1));
        for number in 0..1000 {
            let other = name(&format!("{number:04}"));
            cache.expect(&other);
            cache.complete(&other, last(number));
            assert!(cache.get(&name("used")).is_some(), "{number}");
            assert!(cache.young.len() + cache.old.len() <= 21);
        }
        assert_eq!(cache.get(&name("0001")), None);
        assert_eq!(cache.get(&name("0999")), Some(last(999)));
    }
}

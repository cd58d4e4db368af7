//! What is known of mailboxes and of their producers without a look into the log, within a bound for the whole broker.
//!
//! It is never the truth, and is let go of at any time. It has two generations: what is used lies in the young one, and what was not
//! used while that filled up goes with the old one. It knows no partitions: a desk's number is part of each name, and a desk that
//! must forget takes a new number.

use super::marks::{Mark, Seen};
use bytes::Bytes;
use mailbox::{ForkId, Life, Producer};
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
    /// What lies before this offset was not noted here, but only what came since.
    since: Offset,
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
const ENTRY_BYTES: usize = 512;

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
        let of_life = |mark: &Mark| mark.life.as_ref().map_or(0, life_bytes);
        ENTRY_BYTES
            + match self {
                Self::Key(known) => known.mark.as_ref().map_or(0, of_life),
                Self::Producer(known) => known.as_ref().map_or(0, |(_, producer)| producer.sent.id.len()),
            }
    }
}

/// What the texts and the forks of a mailbox take.
fn life_bytes(life: &Life) -> usize {
    let Life { content_type, closed_by, seq, origin, forks, .. } = life;
    let seq = seq.as_ref().map_or(0, String::len);
    let closed_by = closed_by.as_ref().map_or(0, |sent| sent.id.len());
    let origin = origin.as_ref().map_or(0, |origin| origin.path.len());
    content_type.len() + seq + closed_by + origin + 2 * size_of::<ForkId>() * forks.len()
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

    /// From now on what comes, at `since` or behind it, is noted under this name, until it is let go of.
    pub(crate) fn expect(&mut self, name: &Name, since: Offset) {
        if !self.young.contains_key(name) && !self.old.contains_key(name) {
            let entry = match name.producer {
                None => Entry::Key(Known::default()),
                Some(_) => Entry::Producer(None),
            };
            self.put(name.clone(), Kept { entry, since, is_whole: false });
        }
    }

    /// The log was searched up to `upto`: all that is known now; `None` if the name was let go of since [`Cache::expect`], although
    /// somebody else may expect it again: what came between is known to neither.
    pub(crate) fn complete(&mut self, name: &Name, found: Entry, upto: Offset) -> Option<Entry> {
        self.change(name, |kept| {
            let is_seamless = kept.since <= upto;
            kept.entry.merge(found);
            kept.is_whole |= is_seamless;
            is_seamless.then(|| kept.entry.clone())
        })?
    }

    /// Takes note of a record.
    pub(crate) fn on_record(&mut self, desk: u64, seen: &Seen) {
        let mut name = Name { desk, key: seen.key.clone(), producer: None };
        self.change(&name, |kept| kept.entry.on_record(&name, seen));
        if let Some(producer) = &seen.producer {
            name.producer = Some(producer.sent.id.clone());
            self.change(&name, |kept| kept.entry.on_record(&name, seen));
        }
    }

    /// Changes what is kept under a name.
    fn change<T>(&mut self, name: &Name, change: impl FnOnce(&mut Kept) -> T) -> Option<T> {
        // An old one is weighed when it is used.
        let Some(kept) = self.young.get_mut(name) else { return self.old.get_mut(name).map(change) };
        let before = kept.entry.bytes();
        let changed = change(kept);
        let more = kept.entry.bytes().saturating_sub(before);
        self.grow(more);
        Some(changed)
    }

    fn put(&mut self, name: Name, kept: Kept) {
        self.grow(name.bytes() + kept.entry.bytes());
        self.young.insert(name, kept);
    }

    /// The young one takes so much more, and is the old one then if that is too much.
    fn grow(&mut self, bytes: usize) {
        self.young_bytes += bytes;
        if self.young_bytes > self.bytes_max / 2 {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = bytes;
        }
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
        cache.expect(&name("a"), 8);
        cache.on_record(1, &seen("a", 9));
        cache.on_record(2, &seen("a", 11));
        assert_eq!(cache.get(&name("a")), None, "it is not whole");
        assert_eq!(cache.complete(&name("a"), last(7), 8), Some(last(9)));
        assert_eq!(cache.get(&name("a")), Some(last(9)));
        assert_eq!(cache.complete(&name("b"), last(7), 8), None, "it was let go of");
    }

    #[test]
    fn a_search_is_not_enough_for_who_expects_a_name_later() {
        let mut cache = Cache::new(1 << 20);
        cache.expect(&name("a"), 8);
        // It is let go of, and a record that is not noted comes before it is expected again.
        cache.old.clear();
        cache.young.clear();
        cache.on_record(1, &seen("a", 9));
        cache.expect(&name("a"), 10);
        assert_eq!(cache.complete(&name("a"), last(7), 8), None);
        assert_eq!(cache.get(&name("a")), None, "nobody knows of the record at 9");
        assert_eq!(cache.complete(&name("a"), last(9), 10), Some(last(9)));
    }

    #[test]
    fn what_is_learnt_of_a_name_takes_its_room() {
        let bytes_max = 100 * ENTRY_BYTES;
        let mut cache = Cache::new(bytes_max);
        let mut life = Life::implied(&"x".repeat(255));
        life.forks = (0..100u128).map(u128::to_be_bytes).collect();
        for number in 0..1000 {
            let name = name(&format!("{number:04}"));
            cache.expect(&name, 0);
            let mark = Some(Mark { at: number, begin: 0, life: Some(life.clone()) });
            cache.complete(&name, Entry::Key(Known { mark, last: None }), 0);
            let all = cache.young.iter().chain(cache.old.iter());
            let bytes: usize = all.map(|(name, kept)| name.bytes() + kept.entry.bytes()).sum();
            assert!(bytes <= bytes_max + 8192, "{bytes} of {bytes_max}");
        }
    }

    #[test]
    fn what_is_used_stays_and_the_rest_goes() {
        let mut cache = Cache::new(20 * (ENTRY_BYTES + 4));
        cache.expect(&name("used"), 0);
        cache.complete(&name("used"), last(1), 0);
        for number in 0..1000 {
            let other = name(&format!("{number:04}"));
            cache.expect(&other, 0);
            cache.complete(&other, last(number), 0);
            assert!(cache.get(&name("used")).is_some(), "{number}");
            assert!(cache.young.len() + cache.old.len() <= 21);
        }
        assert_eq!(cache.get(&name("0001")), None);
        assert_eq!(cache.get(&name("0999")), Some(last(999)));
    }
}

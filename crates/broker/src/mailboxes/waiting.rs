//! Who waits for news of which key of a partition, and who listens for them with a bell. There is one watch on the partition, however
//! many wait.
//!
//! It does not know what is visible when; the desk's watch does, which `watch` runs.

use super::marks::Seen;
use bytes::Bytes;
use gateway::Bell;
use model::{Offset, limits};
use parking_lot::Mutex;
use std::{collections::BTreeSet, sync::Arc};
use stdx::Map;
use tokio::sync::Notify;

/// See the head of the file.
#[derive(Default)]
pub(crate) struct Waiting(Mutex<Waiters>);

#[derive(Default)]
struct Waiters {
    keys: Map<Bytes, Waited>,
    /// Records that are not visible yet, of keys for which somebody waits.
    touched: BTreeSet<(Offset, Bytes)>,
    /// Somebody watches the partition.
    is_watched: bool,
}

/// Either wait or listen; a key with neither is not there. There may be a million of these.
#[derive(Default)]
struct Waited {
    waiting: Option<Box<Crowd>>,
    bells: Bells,
}

struct Crowd {
    count: usize,
    news: Arc<Notify>,
}

/// As a rule there is one: whoever holds many readers of a key has one bell for them.
#[derive(Default)]
enum Bells {
    #[default]
    None,
    One(Bell),
    More(Vec<Bell>),
}

/// One that waits; it leaves when it is dropped.
pub(crate) struct Waiter<'a> {
    of: &'a Waiting,
    key: Bytes,
    pub(crate) news: Arc<Notify>,
}

impl Waiting {
    /// Waits from now on; whether the partition must be watched from now on, too, by whoever is told so.
    pub(crate) fn enter(&self, key: &Bytes) -> (Waiter<'_>, bool) {
        let mut waiters = self.0.lock();
        let waited = waiters.keys.entry(key.clone()).or_default();
        let crowd = waited.waiting.get_or_insert_with(|| Box::new(Crowd { count: 0, news: Arc::default() }));
        crowd.count += 1;
        let news = crowd.news.clone();
        let is_first = !std::mem::replace(&mut waiters.is_watched, true);
        (Waiter { of: self, key: key.clone(), news }, is_first)
    }

    /// The same with a bell, which hangs there until it is taken away or the watch ends.
    pub(crate) fn hang(&self, key: &Bytes, bell: Bell) -> bool {
        let mut waiters = self.0.lock();
        waiters.keys.entry(key.clone()).or_default().bells.add(bell);
        !std::mem::replace(&mut waiters.is_watched, true)
    }

    /// Takes a bell away, if it hangs there still.
    pub(crate) fn take_away(&self, key: &Bytes, bell: &Bell) {
        let mut waiters = self.0.lock();
        if let Some(waited) = waiters.keys.get_mut(key) {
            waited.bells.remove(bell);
            waiters.forget(key);
        }
    }

    /// Takes note of records, visible or not.
    pub(crate) fn on_seen(&self, seen: &[Seen]) {
        let mut waiters = self.0.lock();
        for seen in seen {
            waiters.touch(seen.offset, &seen.key);
        }
    }

    /// The newest record of a key was seen before anybody waited, and is not visible yet.
    pub(crate) fn expect(&self, last: Offset, key: &Bytes) {
        self.0.lock().touch(last, key);
    }

    /// What lies before this offset is visible.
    pub(crate) fn on_visible(&self, upto: Offset) {
        let mut waiters = self.0.lock();
        let later = waiters.touched.split_off(&(upto, Bytes::new()));
        for (_, key) in std::mem::replace(&mut waiters.touched, later) {
            if let Some(waited) = waiters.keys.get(&key) {
                waited.wake(false);
            }
        }
    }

    /// Whoever waits must look again.
    pub(crate) fn wake_all(&self) {
        self.0.lock().wake_all();
    }

    /// The watch ends, if nobody waits or if it must; who still waits then is woken, and begins another one.
    pub(crate) fn end_watch(&self, must: bool) -> bool {
        let mut waiters = self.0.lock();
        if must || waiters.keys.is_empty() {
            waiters.is_watched = false;
            waiters.wake_all();
        }
        !waiters.is_watched
    }
}

impl Waiters {
    fn touch(&mut self, offset: Offset, key: &Bytes) {
        if let Some((key, _)) = self.keys.get_key_value(key) {
            self.touched.insert((offset, key.clone()));
        }
        if self.touched.len() > limits::MAILBOX_TOUCHED_MAX {
            self.wake_all();
        }
    }

    fn wake_all(&mut self) {
        self.touched.clear();
        self.keys.values().for_each(|waited| waited.wake(true));
        self.keys.retain(|_, waited| {
            waited.bells = Bells::None;
            waited.waiting.is_some()
        });
    }

    /// A key of which nobody wants to know is not kept.
    fn forget(&mut self, key: &Bytes) {
        if self.keys.get(key).is_some_and(|waited| waited.waiting.is_none() && waited.bells.is_none()) {
            self.keys.remove(key);
        }
    }
}

impl Waited {
    fn wake(&self, is_last: bool) {
        if let Some(crowd) = &self.waiting {
            crowd.news.notify_waiters();
        }
        self.bells.all().iter().for_each(|bell| bell.ring(is_last));
    }
}

impl Bells {
    fn all(&self) -> &[Bell] {
        match self {
            Self::None => &[],
            Self::One(bell) => std::slice::from_ref(bell),
            Self::More(bells) => bells,
        }
    }

    fn is_none(&self) -> bool {
        self.all().is_empty()
    }

    fn add(&mut self, bell: Bell) {
        *self = match std::mem::take(self) {
            Self::None => Self::One(bell),
            Self::One(other) => Self::More(vec![other, bell]),
            Self::More(mut bells) => {
                bells.push(bell);
                Self::More(bells)
            }
        };
    }

    fn remove(&mut self, bell: &Bell) {
        match self {
            Self::One(one) if one.is(bell) => *self = Self::None,
            Self::More(bells) => bells.retain(|one| !one.is(bell)),
            Self::None | Self::One(_) => {}
        }
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let mut waiters = self.of.0.lock();
        if let Some(waited) = waiters.keys.get_mut(&self.key) {
            let is_last = waited.waiting.as_mut().is_none_or(|crowd| {
                crowd.count -= 1;
                crowd.count == 0
            });
            if is_last {
                waited.waiting = None;
                waiters.forget(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    fn seen(key: &'static str, offset: Offset) -> Seen {
        let key = Bytes::from_static(key.as_bytes());
        Seen { offset, key, is_record: true, value: None, mark: None, producer: None }
    }

    #[test]
    fn who_waits_is_woken_by_what_is_visible_of_its_key() {
        let waiting = Waiting::default();
        let (waiter, is_first) = waiting.enter(&Bytes::from_static(b"a"));
        let (other, is_second) = waiting.enter(&Bytes::from_static(b"b"));
        assert!(is_first && !is_second);
        let (mut news, mut others) = (Box::pin(waiter.news.notified()), Box::pin(other.news.notified()));
        news.as_mut().enable();
        others.as_mut().enable();
        waiting.on_seen(&[seen("a", 5), seen("c", 6)]);
        waiting.on_visible(5);
        assert!((&mut news).now_or_never().is_none());
        waiting.on_visible(6);
        assert!(news.now_or_never().is_some() && (&mut others).now_or_never().is_none());
        assert!(!waiting.end_watch(false), "somebody waits");
        assert!(waiting.end_watch(true) && others.now_or_never().is_some());
        drop((waiter, other));
        assert!(waiting.0.lock().keys.is_empty() && waiting.end_watch(false));
    }

    #[derive(Default)]
    struct Rung(Mutex<Vec<(u64, bool)>>);

    impl gateway::Bells for Rung {
        fn ring(&self, place: u64, is_last: bool) {
            self.0.lock().push((place, is_last));
        }
    }

    #[test]
    fn bells_ring_each_time_until_they_are_taken_away_or_the_watch_ends() {
        let (waiting, rung, key) = (Waiting::default(), Arc::new(Rung::default()), Bytes::from_static(b"a"));
        let bell = |place| Bell { bells: rung.clone(), place };
        assert!(waiting.hang(&key, bell(1)) && !waiting.hang(&key, bell(2)));
        let told = || std::mem::take(&mut *rung.0.lock());
        waiting.on_seen(&[seen("a", 5)]);
        waiting.on_visible(6);
        assert_eq!(told(), [(1, false), (2, false)]);
        waiting.take_away(&key, &bell(1));
        waiting.on_seen(&[seen("a", 6), seen("a", 7)]);
        waiting.on_visible(8);
        assert_eq!(told(), [(2, false), (2, false)], "once for each record, and it may ask once for all");
        assert!(!waiting.end_watch(false) && waiting.end_watch(true));
        assert_eq!(told(), [(2, true)]);
        assert!(waiting.0.lock().keys.is_empty(), "it hangs there no more");
        waiting.take_away(&key, &bell(2));
        let (waiter, _) = waiting.enter(&key);
        waiting.hang(&key, bell(3));
        drop(waiter);
        waiting.take_away(&key, &bell(3));
        assert!(waiting.0.lock().keys.is_empty() && told().is_empty());
    }
}

//! Who waits for news of which key of a partition. There is one watch on the partition, however many wait.
//!
//! It does not know what is visible when; the desk's watch does, which `watch` runs.

use super::marks::Seen;
use bytes::Bytes;
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

struct Waited {
    count: usize,
    news: Arc<Notify>,
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
        let waited = waiters.keys.entry(key.clone());
        let waited = waited.or_insert_with(|| Waited { count: 0, news: Arc::default() });
        waited.count += 1;
        let news = waited.news.clone();
        let is_first = !std::mem::replace(&mut waiters.is_watched, true);
        (Waiter { of: self, key: key.clone(), news }, is_first)
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
                waited.news.notify_waiters();
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
        self.keys.values().for_each(|waited| waited.news.notify_waiters());
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let mut waiters = self.of.0.lock();
        if let Some(waited) = waiters.keys.get_mut(&self.key) {
            waited.count -= 1;
            if waited.count == 0 {
                waiters.keys.remove(&self.key);
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
}

//! The partitions that one fetcher follows, and which of them the leader is to be told something new of.
//!
//! It waits for nothing and fetches nothing. Time is monotonic nanoseconds.

use super::Key;
use crate::partition::Partition;
use env::{Deadline, Nanos};
use model::LeaderEpoch;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// The pause after a first failure; each further one doubles it.
const PAUSE_MS_FIRST: i64 = 20;

/// A partition that is followed.
#[derive(Clone)]
pub(super) struct Following {
    pub(super) partition: Arc<Partition>,
    pub(super) epoch: LeaderEpoch,
    failures: u32,
}

/// All of them.
#[derive(Default)]
pub(super) struct Followed {
    partitions: BTreeMap<Key, Following>,
    /// Whose place the leader is to be told.
    due: BTreeSet<Key>,
    /// Who pauses after a failure.
    paused: BTreeSet<(Deadline, Key)>,
    /// Who is not followed for now, or not at all any more.
    left: BTreeSet<Key>,
}

impl Followed {
    pub(super) fn add(&mut self, key: Key, partition: Arc<Partition>, epoch: LeaderEpoch) {
        self.paused.retain(|(_, paused)| *paused != key);
        self.partitions.insert(key, Following { partition, epoch, failures: 0 });
        self.due.insert(key);
    }

    pub(super) fn leave(&mut self, key: Key) {
        self.partitions.remove(&key);
        self.paused.retain(|(_, paused)| *paused != key);
        self.due.remove(&key);
        self.left.insert(key);
    }

    pub(super) fn get(&self, key: Key) -> Option<&Following> {
        self.partitions.get(&key)
    }

    pub(super) fn is_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// The leader has forgotten everything: all are due but those that pause.
    pub(super) fn begin_anew(&mut self) {
        let paused: BTreeSet<_> = self.paused.iter().map(|(_, key)| *key).collect();
        self.due.extend(self.partitions.keys().filter(|key| !paused.contains(key)));
        self.left.clear();
    }

    /// Something of it has changed, in this epoch.
    pub(super) fn goes_on(&mut self, key: Key, epoch: LeaderEpoch) {
        if let Some(following) = self.partitions.get_mut(&key).filter(|following| following.epoch == epoch) {
            following.failures = 0;
            self.due.insert(key);
        }
    }

    /// It pauses; whether it is the first time in a row.
    pub(super) fn failed(&mut self, now: Nanos, key: Key, epoch: LeaderEpoch, backoff_ms: i64) -> bool {
        let Some(following) = self.partitions.get_mut(&key).filter(|following| following.epoch == epoch)
        else {
            return false;
        };
        let pause_ms = PAUSE_MS_FIRST.checked_shl(following.failures).unwrap_or(backoff_ms).min(backoff_ms);
        following.failures = following.failures.saturating_add(1).min(30);
        let is_first = following.failures == 1;
        self.due.remove(&key);
        self.left.insert(key);
        self.paused.insert((now.saturating_add(pause_ms.max(1) as u64 * 1_000_000), key));
        is_first
    }

    /// Takes those who are due at `now`, and those who have left.
    pub(super) fn take(&mut self, now: Nanos) -> (Vec<(Key, Following)>, BTreeSet<Key>) {
        while self.paused.first().is_some_and(|(until, _)| *until <= now) {
            self.due.extend(self.paused.pop_first().map(|(_, key)| key));
        }
        let due = std::mem::take(&mut self.due);
        let due = due.into_iter().filter_map(|key| Some((key, self.partitions.get(&key)?.clone())));
        (due.collect(), std::mem::take(&mut self.left))
    }

    /// When the next pause ends.
    pub(super) fn next_pause_ends(&self) -> Deadline {
        self.paused.first().map_or(Deadline::MAX, |(until, _)| *until)
    }
}

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

/// After so many failures in a row a partition holds up the others no more: until then its leader has most likely not heard
/// yet that it leads.
const HASTY_FAILURES_MAX: u32 = 4;

/// A partition that is followed.
#[derive(Clone)]
pub(super) struct Following {
    pub(super) partition: Arc<Partition>,
    pub(super) epoch: LeaderEpoch,
    failures: u32,
    /// It had all that its leader had told of, as of the last answer.
    is_in_sync: bool,
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
        // Added again in the same epoch it is what it was: a throttle must not hold back what is in sync.
        let is_in_sync =
            self.partitions.get(&key).is_some_and(|known| known.epoch == epoch && known.is_in_sync);
        self.partitions.insert(key, Following { partition, epoch, failures: 0, is_in_sync });
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

    /// How it stood after its leader's last answer.
    pub(super) fn set_in_sync(&mut self, key: Key, is_in_sync: bool) {
        if let Some(following) = self.partitions.get_mut(&key) {
            following.is_in_sync = is_in_sync;
        }
    }

    /// Those that are throttled pause, unless they are in sync or pause already: the leader is to leave them out.
    pub(super) fn hold_back(&mut self, now: Nanos, pause_ms: i64, is_throttled: impl Fn(&Partition) -> bool) {
        let until = now.saturating_add(pause_ms.max(1) as u64 * 1_000_000);
        let paused: BTreeSet<_> =
            self.paused.iter().filter(|(ends, _)| *ends > now).map(|(_, key)| *key).collect();
        let held = self.partitions.iter().filter(|(key, following)| {
            !following.is_in_sync && !paused.contains(key) && is_throttled(&following.partition)
        });
        let held: Vec<_> = held.map(|(key, _)| *key).collect();
        self.paused.retain(|(_, key)| !held.contains(key));
        for key in held {
            self.due.remove(&key);
            self.left.insert(key);
            self.paused.insert((until, key));
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

    /// When the next pause ends that is worth another connection: an answer that is awaited at the leader may take long.
    pub(super) fn next_hasty_pause_ends(&self) -> Deadline {
        // Who was held back without a failure is in no hurry.
        let is_hasty = |key: &Key| {
            self.partitions.get(key).is_some_and(|one| (1..=HASTY_FAILURES_MAX).contains(&one.failures))
        };
        self.paused.iter().find(|(_, key)| is_hasty(key)).map_or(Deadline::MAX, |(until, _)| *until)
    }

    /// When the next pause ends.
    pub(super) fn next_pause_ends(&self) -> Deadline {
        self.paused.first().map_or(Deadline::MAX, |(until, _)| *until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::partition::kit::Kit;
    use stdx::Uuid;

    const MS: u64 = 1_000_000;

    #[test]
    fn pauses_double_up_to_their_limit_and_only_the_first_ones_are_worth_a_connection() {
        let (kit, key) = (Kit::new(1 << 20), (Uuid([9; 16]), 0));
        let mut followed = Followed::default();
        followed.add(key, kit.partition(0), 3);
        let mut pauses = Vec::new();
        for round in 0..9 {
            assert_eq!(followed.take(u64::MAX).0.len(), 1);
            assert_eq!(followed.failed(0, key, 3, 1000), round == 0, "only the first is told");
            pauses.push((followed.next_pause_ends() / MS, followed.next_hasty_pause_ends() != Deadline::MAX));
        }
        let expected = [20, 40, 80, 160, 320, 640, 1000, 1000, 1000];
        assert_eq!(pauses.iter().map(|(pause_ms, _)| *pause_ms).collect::<Vec<_>>(), expected);
        assert_eq!(pauses.iter().filter(|(_, is_hasty)| *is_hasty).count(), 4);
        followed.goes_on(key, 2);
        assert!(!followed.is_due(), "of another epoch");
        followed.goes_on(key, 3);
        assert!(followed.is_due());
    }

    #[test]
    fn who_pauses_is_not_asked_for_and_who_leaves_is_forgotten() {
        let (kit, key) = (Kit::new(1 << 20), (Uuid([9; 16]), 0));
        let mut followed = Followed::default();
        followed.add(key, kit.partition(0), 3);
        followed.take(0);
        followed.failed(0, key, 3, 1000);
        followed.begin_anew();
        let (due, left) = followed.take(19 * MS);
        assert!(due.is_empty() && left.is_empty(), "a leader that knows nothing has nothing to forget");
        assert_eq!(followed.take(20 * MS).0.len(), 1);
        followed.leave(key);
        followed.goes_on(key, 3);
        let (due, left) = followed.take(20 * MS);
        assert!(due.is_empty() && left.contains(&key));
    }
}

//! Who follows the metadata log without a vote, as the leader of the quorum sees it by their fetches (KIP-595, KIP-836).
//!
//! It knows nothing of voters and of controllers that are about to become some: `quorum` does. Fetch on a controller's
//! listener notes here, DescribeQuorum tells.

use env::Millis;
use model::Offset;
use parking_lot::Mutex;
use quorum::{Member, Replica, ReplicaState};
use std::collections::BTreeMap;

/// Who has not fetched for so long is forgotten, as in Kafka.
const SILENT_MS_MAX: i64 = 300_000;
/// Whoever reaches the listener can claim to be any of them.
const OBSERVERS_MAX: usize = 1000;

/// See the head of the file.
#[derive(Debug, Default)]
pub(crate) struct Observers(Mutex<BTreeMap<Replica, Observer>>);

#[derive(Debug)]
struct Observer {
    end_offset: Offset,
    fetched_at: Millis,
    caught_up_at: Millis,
}

impl Observers {
    /// Somebody has everything before `from`, of a log that is committed up to `end`.
    pub(crate) fn on_fetch(&self, now: Millis, who: Replica, from: Offset, end: Offset) {
        let mut observers = self.0.lock();
        observers.retain(|_, observer| now.saturating_sub(observer.fetched_at) < SILENT_MS_MAX);
        if observers.len() >= OBSERVERS_MAX && !observers.contains_key(&who) {
            return;
        }
        let observer =
            observers.entry(who).or_insert(Observer { end_offset: -1, fetched_at: now, caught_up_at: -1 });
        (observer.end_offset, observer.fetched_at) = (from, now);
        if from >= end {
            observer.caught_up_at = now;
        }
    }

    /// All that have fetched lately.
    pub(crate) fn known(&self, now: Millis) -> Vec<ReplicaState> {
        let observers = self.0.lock();
        let recent = observers.iter().filter(|(_, one)| now.saturating_sub(one.fetched_at) < SILENT_MS_MAX);
        let state = |(who, one): (&Replica, &Observer)| ReplicaState {
            replica: *who,
            member: Member::default(),
            log_end_offset: one.end_offset,
            last_fetch_ms: one.fetched_at,
            last_caught_up_ms: one.caught_up_at,
        };
        recent.map(state).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stdx::Uuid;

    fn replica(node: i32) -> Replica {
        Replica { node, directory: Uuid([7; 16]) }
    }

    #[test]
    fn an_observer_is_known_by_its_fetches_and_forgotten_when_it_is_silent() {
        let observers = Observers::default();
        observers.on_fetch(1000, replica(4), 5, 9);
        observers.on_fetch(1000, replica(5), 9, 9);
        let told = |now| {
            let known = observers.known(now).into_iter();
            known.map(|one| (one.replica.node, one.log_end_offset, one.last_caught_up_ms)).collect::<Vec<_>>()
        };
        assert_eq!(told(1000), [(4, 5, -1), (5, 9, 1000)]);
        observers.on_fetch(200_000, replica(4), 9, 9);
        assert_eq!(told(301_000), [(4, 9, 200_000)]);
    }

    #[test]
    fn strangers_cannot_fill_the_memory() {
        let observers = Observers::default();
        (0..5000).for_each(|node| observers.on_fetch(0, replica(node), 0, 0));
        assert_eq!(observers.known(0).len(), OBSERVERS_MAX);
        observers.on_fetch(1, replica(3), 1, 1);
        assert_eq!(observers.known(1)[3].log_end_offset, 1);
    }
}

//! One incremental fetch session from the follower's side (KIP-227): what the leader was told of each partition, and
//! the request that tells it what is new.
//!
//! A pure core: it sends nothing and reads no log.

use super::{Key, Settings};
use crate::partition::Place;
use model::LeaderEpoch;
use std::collections::{BTreeMap, BTreeSet};
use wire::{
    FetchRequest,
    fetch_request::{FetchPartition, FetchTopic, ForgottenTopic, ReplicaState},
};

/// A full request that wants a session.
const EPOCH_INITIAL: i32 = 0;
/// No session.
const NO_ID: i32 = 0;
/// From so many partitions on it costs something to look at all of them.
const MANY: usize = 500;

/// A session.
#[derive(Default)]
pub(super) struct Session {
    id: i32,
    epoch: i32,
    told: BTreeMap<Key, (LeaderEpoch, Place)>,
    /// The last answer told nothing: high watermarks are known, too.
    is_quiet: bool,
}

impl Session {
    /// Whether the leader follows any partition for this broker.
    pub(super) fn is_empty(&self) -> bool {
        self.told.is_empty()
    }

    /// How long the leader may keep the next request.
    pub(super) fn wait_ms(&self, settings: &Settings) -> i32 {
        let is_idle = self.is_quiet && self.told.len() >= MANY;
        if is_idle { settings.wait_ms_quiet } else { settings.wait_ms_max }
    }

    /// The epoch in which a partition is fetched.
    pub(super) fn epoch_of(&self, key: Key) -> Option<LeaderEpoch> {
        self.told.get(&key).map(|(epoch, _)| *epoch)
    }

    /// The next request: it names the places of `due` that the leader does not know, and those that have left.
    pub(super) fn request(
        &mut self,
        settings: &Settings,
        broker_epoch: i64,
        due: &[(Key, LeaderEpoch, Place)],
        left: &BTreeSet<Key>,
    ) -> FetchRequest {
        let is_full = self.epoch == EPOCH_INITIAL;
        let mut forgotten = Vec::new();
        for key in left.iter().filter(|left| !due.iter().any(|(key, _, _)| key == *left)) {
            if self.told.remove(key).is_some() {
                forgotten.push(*key);
            }
        }
        let mut named = Vec::new();
        for (key, epoch, place) in due {
            if self.told.insert(*key, (*epoch, *place)) != Some((*epoch, *place)) || left.contains(key) {
                named.push((*key, *epoch, *place));
            }
        }
        if is_full {
            forgotten.clear();
            named = self.told.iter().map(|(key, (epoch, place))| (*key, *epoch, *place)).collect();
        }
        FetchRequest {
            replica_state: ReplicaState { replica_id: settings.node, replica_epoch: broker_epoch },
            max_wait_ms: self.wait_ms(settings),
            min_bytes: settings.bytes_min,
            max_bytes: settings.response_bytes_max,
            session_id: self.id,
            session_epoch: self.epoch,
            topics: topics(settings, named),
            forgotten_topics_data: forgotten_topics(forgotten),
            ..FetchRequest::default()
        }
    }

    /// The leader has answered under this session id; whether it told nothing.
    pub(super) fn on_answer(&mut self, id: i32, is_quiet: bool) {
        self.is_quiet = is_quiet;
        (self.id, self.epoch) = match (id, self.epoch) {
            // It has no room for a session: every request is a full one.
            (NO_ID, _) => (NO_ID, EPOCH_INITIAL),
            (id, i32::MAX) => (id, 1),
            (id, epoch) => (id, epoch + 1),
        };
    }
}

fn topics(settings: &Settings, named: Vec<(Key, LeaderEpoch, Place)>) -> Vec<FetchTopic> {
    let mut topics: Vec<FetchTopic> = Vec::new();
    for ((topic_id, partition), epoch, place) in named {
        let partition = FetchPartition {
            partition,
            current_leader_epoch: epoch,
            fetch_offset: place.offset,
            last_fetched_epoch: place.last_epoch,
            log_start_offset: place.start_offset,
            partition_max_bytes: settings.partition_bytes_max,
            ..FetchPartition::default()
        };
        match topics.last_mut().filter(|last| last.topic_id == topic_id) {
            Some(last) => last.partitions.push(partition),
            None => {
                topics.push(FetchTopic { topic_id, partitions: vec![partition], ..FetchTopic::default() })
            }
        }
    }
    topics
}

fn forgotten_topics(forgotten: Vec<Key>) -> Vec<ForgottenTopic> {
    let mut topics: Vec<ForgottenTopic> = Vec::new();
    for (topic_id, partition) in forgotten {
        match topics.last_mut().filter(|last| last.topic_id == topic_id) {
            Some(last) => last.partitions.push(partition),
            None => {
                let partitions = vec![partition];
                topics.push(ForgottenTopic { topic_id, partitions, ..ForgottenTopic::default() })
            }
        }
    }
    topics
}

#[cfg(test)]
mod tests;

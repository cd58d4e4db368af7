//! The share coordinator of one `__share_group_state` partition: requests in, records and a reply out.
//!
//! It keeps what leaders of partitions tell and fences those that are not the newest any more; which record was delivered to
//! whom it does not know. The broker's host is the only caller.

use crate::{
    Error, Key, Record, Reply, Request, Snapshot, StateBatch, Summary, Update, combine,
    request::{Initialize, Read, ReadReply, WriteState},
};
use ::coordinator::{Now, Outcome, Shard};
use model::{Offset, TopicId};
use std::collections::{BTreeMap, BTreeSet};

/// What an operator may set; Kafka's defaults in parentheses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// `share.coordinator.snapshot.update.records.per.snapshot` (500): updates between two snapshots.
    pub updates_per_snapshot: u32,
    /// `share.coordinator.cold.partition.snapshot.interval.ms` (300000): how old a snapshot becomes without updates.
    pub cold_snapshot_ms: i64,
}

/// Records that one decision may lead to where nobody asked for them all: they must fit into a batch.
const RECORDS_MAX: usize = 500;
/// Batches of states in the snapshots that are written at once, unless a single one has more: some 25 bytes each, and all of it
/// is one batch of records.
const SNAPSHOT_BATCHES_MAX: usize = 10_000;

/// All share partitions of one partition of the topic. See [`Shard`] for its life.
#[derive(Debug, PartialEq)]
pub struct Coordinator {
    config: Config,
    known: BTreeMap<Key, Known>,
}

/// What is known of a share partition.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    state: Snapshot,
    /// How many updates came since the last snapshot.
    updates: u32,
    /// The highest that was ever seen.
    state_epoch_max: i32,
    leader_epoch_max: i32,
}

type Decided = Result<Outcome<Record, Reply>, Error>;

const UNINITIALIZED: Error = Error::InvalidRequest("the state of the share partition was never initialised");

impl Coordinator {
    /// A coordinator that knows nothing.
    pub fn new(config: Config) -> Self {
        Self { config, known: BTreeMap::new() }
    }

    /// Changes the configuration from the next request on.
    pub fn configure(&mut self, config: Config) {
        self.config = config;
    }

    /// How many share partitions are known.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    fn initialize(&self, now: Now, request: Initialize) -> Decided {
        let known = self.known.get(&request.key);
        if request.state_epoch != -1 && known.is_some_and(|known| known.state_epoch_max > request.state_epoch)
        {
            return Err(Error::FencedStateEpoch);
        }
        let snapshot = Snapshot {
            snapshot_epoch: known.map_or(0, |known| known.state.snapshot_epoch.saturating_add(1)),
            state_epoch: request.state_epoch,
            leader_epoch: 0,
            start: request.start,
            complete_count: if request.start == -1 { -1 } else { 0 },
            created: now.wall,
            written: now.wall,
            batches: Vec::new(),
        };
        Ok(Outcome::new(vec![Record::Snapshot(request.key, snapshot)], Reply::Initialize))
    }

    fn read(&self, now: Now, request: Read) -> Decided {
        let known = self.known.get(&request.key).ok_or(UNINITIALIZED)?;
        if request.leader_epoch != -1 && known.leader_epoch_max > request.leader_epoch {
            return Err(Error::FencedLeaderEpoch);
        }
        let state = &known.state;
        let reply = Reply::Read(ReadReply {
            state_epoch: state.state_epoch,
            start: state.start,
            batches: state.batches.clone(),
        });
        if request.leader_epoch == -1 || known.leader_epoch_max == request.leader_epoch {
            return Ok(Outcome::reply(reply));
        }
        let change = WriteState {
            key: request.key,
            state_epoch: state.state_epoch,
            leader_epoch: request.leader_epoch,
            start: state.start,
            complete_count: state.complete_count,
            batches: Vec::new(),
        };
        let leader_epoch = request.leader_epoch;
        Ok(Outcome::new(vec![self.change(now, known, change, leader_epoch)], reply))
    }

    fn write(&self, now: Now, request: WriteState) -> Decided {
        let known = self.known.get(&request.key).ok_or(UNINITIALIZED)?;
        if request.leader_epoch != -1 && known.leader_epoch_max > request.leader_epoch {
            return Err(Error::FencedLeaderEpoch);
        }
        if request.state_epoch != -1 && known.state_epoch_max > request.state_epoch {
            return Err(Error::FencedStateEpoch);
        }
        let leader_epoch = known.state.leader_epoch;
        Ok(Outcome::new(vec![self.change(now, known, request, leader_epoch)], Reply::Write))
    }

    /// An update, or a snapshot where there were enough updates.
    fn change(&self, now: Now, known: &Known, request: WriteState, leader_epoch: i32) -> Record {
        let (state, batches) = (&known.state, &request.batches);
        if known.updates < self.config.updates_per_snapshot {
            let update = Update {
                snapshot_epoch: state.snapshot_epoch,
                leader_epoch,
                start: request.start,
                complete_count: request.complete_count,
                batches: combine(&[], batches, request.start),
            };
            return Record::Update(request.key, update);
        }
        let start = or_before(request.start, state.start);
        let snapshot = Snapshot {
            snapshot_epoch: state.snapshot_epoch.saturating_add(1),
            state_epoch: state.state_epoch,
            leader_epoch,
            start,
            complete_count: request.complete_count,
            created: now.wall,
            written: now.wall,
            batches: combine(&state.batches, batches, start),
        };
        Record::Snapshot(request.key, snapshot)
    }

    fn summary(&self, key: &Key) -> Summary {
        self.known.get(key).map_or(Summary::UNKNOWN, |Known { state, .. }| Summary {
            state_epoch: state.state_epoch,
            leader_epoch: state.leader_epoch,
            start: state.start,
            complete_count: state.complete_count,
        })
    }

    fn forget(&self, topics: &BTreeSet<TopicId>) -> Vec<Record> {
        let gone = self.known.keys().filter(|key| topics.contains(&key.topic));
        gone.take(RECORDS_MAX).map(|key| Record::Removed(key.clone())).collect()
    }

    /// Of which topics anything is known.
    pub fn topics(&self) -> BTreeSet<TopicId> {
        self.known.keys().map(|key| key.topic).collect()
    }

    /// Whether something has not been written for so long that it is to be written anew.
    pub fn has_cold(&self, now: Now) -> bool {
        self.known.values().any(|known| self.is_cold(now, known))
    }

    fn is_cold(&self, now: Now, known: &Known) -> bool {
        now.wall.saturating_sub(known.state.written) >= self.config.cold_snapshot_ms
    }

    /// The oldest first, as many as fit into one batch of records.
    fn snapshot_cold(&self, now: Now) -> Vec<Record> {
        let mut cold: Vec<_> = self.known.iter().filter(|(_, known)| self.is_cold(now, known)).collect();
        cold.sort_by_key(|(_, known)| known.state.written);
        let mut batches = 0;
        let cold = cold.into_iter().take(RECORDS_MAX).enumerate().take_while(|(place, (_, known))| {
            batches += known.state.batches.len();
            *place == 0 || batches <= SNAPSHOT_BATCHES_MAX
        });
        let cold = cold.map(|(_, one)| one);
        let snapshot = |(key, known): (&Key, &Known)| {
            let snapshot_epoch = known.state.snapshot_epoch.saturating_add(1);
            let snapshot = Snapshot { snapshot_epoch, written: now.wall, ..known.state.clone() };
            Record::Snapshot(key.clone(), snapshot)
        };
        cold.map(snapshot).collect()
    }
}

/// -1 leaves what was before. Nothing goes back within one epoch of the state: a write that was under way for long may come
/// behind a later one.
fn or_before(value: Offset, before: Offset) -> Offset {
    value.max(before)
}

impl Known {
    fn apply(&mut self, update: Update) {
        let state = &mut self.state;
        state.start = or_before(update.start, state.start);
        if update.leader_epoch != -1 {
            state.leader_epoch = update.leader_epoch;
        }
        state.complete_count = update.complete_count;
        state.batches = combine(&state.batches, &update.batches, state.start);
        self.leader_epoch_max = self.leader_epoch_max.max(update.leader_epoch);
        self.updates = self.updates.saturating_add(1);
    }
}

impl Shard for Coordinator {
    type Request = Request;
    type Reply = Reply;
    type Record = Record;
    type Failure = Error;

    fn handle(&self, now: Now, request: Request) -> Decided {
        match request {
            Request::Initialize(request) => self.initialize(now, request),
            Request::Read(request) => self.read(now, request),
            Request::ReadSummary(key) => Ok(Outcome::reply(Reply::ReadSummary(self.summary(&key)))),
            Request::Write(request) => self.write(now, request),
            Request::Delete(key) => {
                let is_known = self.known.contains_key(&key);
                let records = is_known.then_some(Record::Removed(key)).into_iter().collect();
                Ok(Outcome::new(records, Reply::Delete))
            }
            Request::TopicsDeleted(topics) => Ok(Outcome::new(self.forget(&topics), Reply::TopicsDeleted)),
            Request::SnapshotCold => Ok(Outcome::new(self.snapshot_cold(now), Reply::SnapshotCold)),
        }
    }

    fn replay(&mut self, record: Record) {
        match record {
            Record::Removed(key) => {
                self.known.remove(&key);
            }
            Record::Snapshot(key, state) => {
                let before = self.known.get(&key);
                let (state_epoch_max, leader_epoch_max) =
                    before.map_or((state.state_epoch, state.leader_epoch), |before| {
                        let of_state = before.state_epoch_max.max(state.state_epoch);
                        (of_state, before.leader_epoch_max.max(state.leader_epoch))
                    });
                self.known.insert(key, Known { state, updates: 0, state_epoch_max, leader_epoch_max });
            }
            Record::Update(key, update) => match self.known.get_mut(&key) {
                Some(known) => known.apply(update),
                // Its snapshot was deleted from the log as nobody needed it: there is a later one.
                None => {
                    self.known.insert(key, Known::of_update(update));
                }
            },
        }
    }
}

impl Known {
    fn of_update(update: Update) -> Self {
        let Update { snapshot_epoch, leader_epoch, start, complete_count, batches } = update;
        let batches: Vec<StateBatch> = combine(&[], &batches, start);
        let (created, written) = (0, 0);
        let state = Snapshot {
            snapshot_epoch,
            state_epoch: 0,
            leader_epoch,
            start,
            complete_count,
            created,
            written,
            batches,
        };
        Self { state, updates: 1, state_epoch_max: 0, leader_epoch_max: leader_epoch }
    }
}

//! The share coordinator keeps what the newest leader tells.

use super::desk::batch;
use crate::*;
use ::coordinator::{Now, Shard, kit};
use model::{GroupId, TopicId};
use proptest::prelude::*;
use std::collections::BTreeSet;

fn uuid(n: u8) -> TopicId {
    TopicId::from_random([n; 16])
}

const CONFIG: CoordinatorConfig = CoordinatorConfig { updates_per_snapshot: 2, cold_snapshot_ms: 1000 };
const NOW: Now = Now { wall: 5, monotonic: 0 };

fn key(n: u8) -> Key {
    Key { group: GroupId::new("g"), topic: uuid(n), partition: 0 }
}

struct Desk(Coordinator);

impl Desk {
    fn new() -> Self {
        Self(Coordinator::new(CONFIG))
    }

    fn ask(&mut self, now: Now, request: Request) -> Result<(Vec<Record>, Reply), Error> {
        let outcome = self.0.handle(now, request)?;
        outcome.records.iter().cloned().for_each(|record| self.0.replay(record));
        Ok((outcome.records, outcome.reply))
    }

    fn initialize(&mut self, state_epoch: i32, start: i64) -> Result<(), Error> {
        self.ask(NOW, Request::Initialize(Initialize { key: key(1), state_epoch, start })).map(drop)
    }

    fn read(&mut self, leader_epoch: i32) -> Result<ReadReply, Error> {
        match self.ask(NOW, Request::Read(Read { key: key(1), leader_epoch }))?.1 {
            Reply::Read(reply) => Ok(reply),
            reply => panic!("{reply:?}"),
        }
    }

    fn write(&mut self, epochs: (i32, i32), start: i64, batches: Vec<StateBatch>) -> Result<Record, Error> {
        let (state_epoch, leader_epoch) = epochs;
        let request =
            WriteState { key: key(1), state_epoch, leader_epoch, start, complete_count: 0, batches };
        self.ask(NOW, Request::Write(request)).map(|(records, _)| records[0].clone())
    }
}

#[test]
fn a_state_is_initialised_read_and_written() {
    let mut desk = Desk::new();
    assert!(matches!(desk.read(3), Err(Error::InvalidRequest(_))));
    assert!(matches!(desk.write((1, 3), 0, vec![]), Err(Error::InvalidRequest(_))));
    desk.initialize(1, -1).unwrap();
    assert_eq!(desk.read(3), Ok(ReadReply { state_epoch: 1, start: -1, batches: vec![] }));
    desk.write((1, 3), 4, vec![batch(4, 9, 2, 1), batch(2, 5, 0, 1)]).unwrap();
    assert_eq!(
        desk.read(3),
        Ok(ReadReply { state_epoch: 1, start: 4, batches: vec![batch(4, 9, 2, 1)] }),
        "what lies before the start is gone, and within one delivery the states rise"
    );
}

#[test]
fn what_is_done_stays_done_whatever_an_older_write_counted() {
    let mut desk = Desk::new();
    desk.initialize(1, 0).unwrap();
    desk.read(3).unwrap();
    // A leader read its state anew, while a third delivery of before was still on its way here: what it hands out then counts
    // as the second.
    desk.write((1, 3), 0, vec![batch(2, 3, 2, 2), batch(4, 4, 3, 2), batch(5, 5, 0, 2)]).unwrap();
    desk.write((1, 3), 0, vec![batch(2, 5, 0, 3)]).unwrap();
    let told = vec![batch(2, 3, 2, 2), batch(4, 4, 3, 2), batch(5, 5, 0, 3)];
    assert_eq!(desk.read(3).unwrap().batches, told);

    // And the other way round.
    let mut desk = Desk::new();
    desk.initialize(1, 0).unwrap();
    desk.read(3).unwrap();
    desk.write((1, 3), 0, vec![batch(2, 5, 0, 3)]).unwrap();
    desk.write((1, 3), 0, vec![batch(2, 3, 2, 2), batch(4, 4, 3, 2)]).unwrap();
    assert_eq!(desk.read(3).unwrap().batches, told);
}

#[test]
fn who_is_not_the_newest_is_fenced() {
    let mut desk = Desk::new();
    desk.initialize(2, 0).unwrap();
    desk.read(3).unwrap();
    assert_eq!(desk.read(2), Err(Error::FencedLeaderEpoch));
    assert_eq!(desk.write((2, 2), 0, vec![]).err(), Some(Error::FencedLeaderEpoch));
    assert_eq!(desk.write((1, 3), 0, vec![]).err(), Some(Error::FencedStateEpoch));
    assert_eq!(desk.initialize(1, 7), Err(Error::FencedStateEpoch));
    desk.initialize(3, 7).unwrap();
    assert_eq!(desk.write((2, 3), 0, vec![]).err(), Some(Error::FencedStateEpoch));
    assert_eq!(desk.read(2), Err(Error::FencedLeaderEpoch), "a new state is no new leader");
    assert_eq!(desk.read(-1).unwrap().start, 7);
}

#[test]
fn after_some_updates_comes_a_snapshot_of_all() {
    let mut desk = Desk::new();
    desk.initialize(1, 0).unwrap();
    assert!(matches!(desk.write((1, -1), 0, vec![batch(0, 1, 0, 1)]), Ok(Record::Update(..))));
    assert!(matches!(desk.write((1, -1), -1, vec![batch(3, 3, 2, 1)]), Ok(Record::Update(..))));
    let Ok(Record::Snapshot(_, snapshot)) = desk.write((1, -1), 1, vec![batch(1, 1, 2, 2)]) else { panic!() };
    assert_eq!((snapshot.snapshot_epoch, snapshot.start), (1, 1));
    assert_eq!(snapshot.batches, [batch(1, 1, 2, 2), batch(3, 3, 2, 1)]);
    assert!(matches!(desk.write((1, -1), 2, vec![]), Ok(Record::Update(..))));
}

#[test]
fn what_is_deleted_is_unknown() {
    let mut desk = Desk::new();
    desk.initialize(1, 9).unwrap();
    let summary = |desk: &mut Desk| match desk.ask(NOW, Request::ReadSummary(key(1))).unwrap().1 {
        Reply::ReadSummary(summary) => summary,
        reply => panic!("{reply:?}"),
    };
    let known = Summary { state_epoch: 1, leader_epoch: 0, start: 9, complete_count: 0 };
    assert_eq!(summary(&mut desk), known);
    assert_eq!(desk.ask(NOW, Request::Delete(key(1))).unwrap().0.len(), 1);
    assert_eq!(desk.ask(NOW, Request::Delete(key(1))).unwrap().0.len(), 0);
    assert_eq!(summary(&mut desk), Summary::UNKNOWN);
    desk.initialize(0, 9).unwrap();
    desk.ask(NOW, Request::TopicsDeleted(BTreeSet::from([uuid(2)]))).unwrap();
    assert_eq!(desk.0.len(), 1);
    desk.ask(NOW, Request::TopicsDeleted(BTreeSet::from([uuid(1)]))).unwrap();
    assert!(desk.0.is_empty());
}

#[test]
fn what_does_not_change_is_written_anew_after_a_while() {
    let mut desk = Desk::new();
    desk.initialize(1, 9).unwrap();
    assert_eq!(desk.ask(NOW, Request::SnapshotCold).unwrap().0, []);
    let later = NOW.plus_ms(1000);
    let records = desk.ask(later, Request::SnapshotCold).unwrap().0;
    assert!(
        matches!(&records[..], [Record::Snapshot(_, state)] if (state.snapshot_epoch, state.written) == (1, 1005))
    );
    assert_eq!(desk.ask(later, Request::SnapshotCold).unwrap().0, []);
}

fn requests() -> impl Strategy<Value = Vec<Request>> {
    let key = (1..3u8).prop_map(key);
    let one = (key, 0..7u8, -1..4i32, -1..4i32, -1..20i64).prop_map(
        |(key, kind, state_epoch, leader_epoch, start)| match kind {
            0 => Request::Initialize(Initialize { key, state_epoch, start }),
            1 => Request::Read(Read { key, leader_epoch }),
            2 => Request::Delete(key),
            3 => Request::SnapshotCold,
            _ => {
                let batches = vec![batch(start.max(0), start.max(0) + 3, 2, 1)];
                let complete_count = 1;
                Request::Write(WriteState { key, state_epoch, leader_epoch, start, complete_count, batches })
            }
        },
    );
    prop::collection::vec(one, 0..40)
}

proptest! {
    #[test]
    fn a_coordinator_that_was_rebuilt_is_the_same(requests in requests(), seed: u64) {
        let mut state = seed;
        let chance = |n| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % n
        };
        let requests = requests.into_iter().map(|request| (NOW, request));
        kit::check(|| Coordinator::new(CONFIG), requests, chance, |live, built| assert_eq!(live, built));
    }
}

//! Random histories: producers of several transactional ids that retry, are fenced, and forget; a coordinator that loses
//! what is not committed. What must hold is looked at after each step.

use super::desk::*;
use crate::*;
use ::coordinator::{Now, kit};
use model::{ProducerEpoch, ProducerId, Timestamp};
use proptest::prelude::*;

const IDS: usize = 3;

fn request(kind: u8, id: u8, producer_id: i64, epoch: i16, flag: bool, passed: &[Timestamp]) -> Request {
    let id: TransactionalId = format!("t-{}", usize::from(id) % IDS).into();
    // Small numbers, so that they meet; the last epochs now and then.
    let producer_id: ProducerId = producer_id.rem_euclid(8);
    let producer_epoch: ProducerEpoch = if epoch < 0 { i16::MAX - (epoch.rem_euclid(3)) } else { epoch % 6 };
    let producer = Producer { id: id.clone(), producer_id, producer_epoch };
    let fresh_id = Some(producer_id + 1);
    let version = if flag { 2 } else { 0 };
    match kind % 8 {
        0 => Request::InitProducerId(InitProducerId { id, fresh_id, ..init(None) }),
        1 => {
            let expected = Some((producer_id, producer_epoch));
            Request::InitProducerId(InitProducerId { id, expected, fresh_id, ..init(None) })
        }
        2 | 3 => Request::AddPartitions(AddPartitions {
            producer,
            partitions: vec![partition("a", epoch.rem_euclid(3).into())],
            version,
        }),
        4 | 5 => Request::EndTxn(EndTxn { producer, committed: epoch % 2 == 0, version, fresh_id }),
        6 => Request::Complete { producer },
        _ => {
            // Some moment of late at which a transaction may have begun.
            let started = passed[passed.len() - 1 - usize::from(epoch.unsigned_abs()) % passed.len()];
            Request::AbortLate { late: Late { producer, started }, fresh_id }
        }
    }
}

/// What must hold of whatever is known of an id.
fn check(known: &Transaction) {
    assert!(known.producer_epoch >= 0);
    let has_partitions = !known.partitions.is_empty();
    match known.state {
        State::Empty | State::CompleteCommit | State::CompleteAbort => assert!(!has_partitions, "{known:?}"),
        State::Ongoing => assert!(has_partitions && known.started >= 0, "{known:?}"),
        State::PrepareCommit => assert!(has_partitions, "{known:?}"),
        State::PrepareAbort => assert!(known.started >= 0, "{known:?}"),
    }
    assert!(known.next_producer_id == -1 || known.state.is_prepared(), "{known:?}");
}

proptest! {
    #[test]
    fn what_is_known_is_made_of_records_alone(
        steps in prop::collection::vec((any::<u8>(), any::<u8>(), 0..8i64, -3..6i16, any::<bool>(), 0..40_000u32), 1..80),
        seed in any::<u64>(),
    ) {
        let mut now = Now { wall: 10_000, monotonic: 0 };
        let (mut passed, mut state) = (Vec::new(), seed);
        let chance = |n| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % n
        };
        let requests = steps.into_iter().map(|(kind, id, producer_id, epoch, flag, ms)| {
            now = now.plus_ms(ms);
            passed.push(now.wall);
            (now, request(kind, id, producer_id, epoch, flag, &passed))
        });
        kit::check(|| Coordinator::new(config()), requests.collect::<Vec<_>>(), chance, |live, built| {
            assert_eq!(live, built);
            live.transactions.values().for_each(check);
        });
    }

    /// Of one id: an epoch that was given to a producer is never given again, so no two producers write under one.
    #[test]
    fn no_epoch_is_given_twice(
        steps in prop::collection::vec((0..6u8, any::<bool>(), any::<bool>()), 1..60),
        bumped in any::<bool>(),
    ) {
        let version = if bumped { 2 } else { 0 };
        let mut desk = Desk::new();
        desk.coordinator.configure(Config { version, ..config() });
        let mut given = std::collections::BTreeSet::new();
        let mut current = (0, 0);
        for (kind, committed, is_new) in steps {
            match kind {
                0 | 1 => {
                    if let Ok(next) = desk.init((!is_new).then_some(current)) {
                        assert!(given.insert(next) || !is_new && next == current, "{next:?} was given before");
                        current = next;
                    }
                }
                2 | 3 => drop(desk.add(current, &[partition("a", 0)], version)),
                4 => {
                    if let Ok(next) = desk.end(current, committed, version) && bumped {
                        assert!(given.insert(next), "{next:?} was given before");
                        current = next;
                    }
                }
                _ => drop(desk.complete()),
            }
        }
    }
}

use super::*;
use crate::{AppendError, Durability, fixture::*};

fn fixture() -> Fixture {
    let mut config = config(Durability::PageCache);
    config.segment_bytes = 1 << 20;
    Fixture::new(config)
}

fn data(producer: i64, epoch: i16, sequence: i32, count: usize) -> records::BatchBuilder {
    batch(NOW, count, 10).producer(producer, epoch, sequence)
}

fn error(result: Result<crate::Appended, AppendError>) -> ProducerError {
    match result {
        Err(AppendError::Producer(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_repetition_of_one_of_the_last_five_batches_gets_the_original_offsets() {
    let mut fixture = fixture();
    let originals: Vec<_> = (0..6).map(|n| fixture.append(data(1, 0, n * 3, 3))).collect();
    for (n, original) in originals.iter().enumerate().skip(1) {
        let repeated = fixture.append(data(1, 0, n as i32 * 3, 3));
        assert!(repeated.duplicate);
        assert_eq!(
            (repeated.base_offset, repeated.last_offset),
            (original.base_offset, original.last_offset)
        );
    }
    assert_eq!(fixture.log.end_offset(), 18);
    let forgotten = error(fixture.try_append(data(1, 0, 0, 3)));
    assert_eq!(forgotten, ProducerError::RepeatedSequence { producer_id: 1, sequence: 0, last: 17 });
}

#[test]
fn a_batch_from_before_all_that_a_snapshot_remembers_is_a_repetition() {
    let mut fixture = fixture();
    for n in 0..3 {
        fixture.append(data(1, 0, n * 3, 3));
    }
    let bytes = crate::producer_snapshot::encode(&fixture.log.producers);
    fixture.log.producers = crate::producer_snapshot::decode(&bytes).unwrap();
    for sequence in [0, 3] {
        let repeated = error(fixture.try_append(data(1, 0, sequence, 3)));
        assert_eq!(repeated, ProducerError::RepeatedSequence { producer_id: 1, sequence, last: 8 });
    }
    assert!(fixture.append(data(1, 0, 6, 3)).duplicate);
    let ahead = error(fixture.try_append(data(1, 0, 12, 3)));
    assert_eq!(ahead, ProducerError::OutOfOrderSequence { producer_id: 1, sequence: 12, last: 8 });
    let newer_epoch_begins = fixture.append(data(1, 1, 0, 3));
    assert!(!newer_epoch_begins.duplicate);
}

#[test]
fn a_batch_that_was_never_written_is_not_taken_for_a_repetition() {
    let mut fixture = fixture();
    // The batch with the numbers 0 to 9 was refused; the one behind it was under way and is an unknown producer's.
    fixture.append(data(1, 0, 10, 3));
    let is_refused = |fixture: &mut Fixture, last| {
        for (sequence, count) in [(0, 5), (5, 5), (0, 10)] {
            let refused = error(fixture.try_append(data(1, 0, sequence, count)));
            assert_eq!(refused, ProducerError::OutOfOrderSequence { producer_id: 1, sequence, last });
        }
    };
    is_refused(&mut fixture, 12);
    for n in 0..6 {
        fixture.append(data(1, 0, 13 + n, 1));
    }
    is_refused(&mut fixture, 18);
    let bytes = crate::producer_snapshot::encode(&fixture.log.producers);
    fixture.log.producers = crate::producer_snapshot::decode(&bytes).unwrap();
    is_refused(&mut fixture, 18);
}

#[test]
fn a_producer_that_was_forgotten_and_goes_on_has_no_known_beginning() {
    let mut fixture = fixture();
    fixture.append(data(1, 0, 0, 3));
    fixture.log.expire_producers(NOW + 86_400_003);
    fixture.append(data(1, 0, 5, 1));
    let never_written = error(fixture.try_append(data(1, 0, 3, 2)));
    assert_eq!(never_written, ProducerError::OutOfOrderSequence { producer_id: 1, sequence: 3, last: 5 });
    fixture.append(data(1, 1, 0, 3));
    assert!(fixture.log.producers().get(1).unwrap().began_at_zero);
}

#[test]
fn a_gap_is_refused_and_an_unknown_producer_may_begin_anywhere() {
    let mut fixture = fixture();
    fixture.append(data(1, 0, 77, 2));
    let gap = error(fixture.try_append(data(1, 0, 80, 1)));
    assert_eq!(gap, ProducerError::OutOfOrderSequence { producer_id: 1, sequence: 80, last: 78 });
    fixture.append(data(1, 0, 79, 1));
    // The same numbers in another cut are no repetition.
    error(fixture.try_append(data(1, 0, 77, 3)));
}

#[test]
fn sequence_numbers_wrap() {
    let mut fixture = fixture();
    fixture.append(data(1, 0, i32::MAX - 1, 2));
    fixture.append(data(1, 0, 0, 1));
    let mut across = self::fixture();
    across.append(data(1, 0, i32::MAX - 1, 4));
    assert_eq!(across.log.producers().get(1).unwrap().last_sequence(), 1);
    assert!(across.append(data(1, 0, i32::MAX - 1, 4)).duplicate);
    across.append(data(1, 0, 2, 1));
}

#[test]
fn an_older_epoch_is_fenced_and_a_newer_one_begins_at_zero() {
    let mut fixture = fixture();
    fixture.append(data(1, 3, 0, 2));
    let fenced = error(fixture.try_append(data(1, 2, 2, 1)));
    assert_eq!(fenced, ProducerError::InvalidEpoch { producer_id: 1, epoch: 2, current: 3 });
    error(fixture.try_append(data(1, 4, 2, 1)));
    fixture.append(data(1, 4, 0, 1));
    assert_eq!(fixture.log.producers().get(1).unwrap().batches.len(), 1);
}

#[test]
fn open_transactions_hold_the_last_stable_offset_until_their_end_is_replicated() {
    let mut fixture = fixture();
    fixture.append(batch(NOW, 5, 10));
    fixture.append(data(1, 0, 0, 2).transactional());
    fixture.append(data(2, 0, 0, 1).transactional());
    assert_eq!(fixture.log.last_stable_offset(8), 5);
    assert_eq!(fixture.log.last_stable_offset(3), 3);
    fixture.end_txn(1, 0, true).unwrap();
    assert_eq!(fixture.log.last_stable_offset(8), 5, "the marker at 8 is not replicated");
    assert_eq!(fixture.log.last_stable_offset(9), 7, "the second transaction is open");
    assert_eq!(fixture.log.producers.unreplicated.len(), 1);
    fixture.log.high_watermark_moved(9);
    assert!(fixture.log.producers.unreplicated.is_empty());
    assert_eq!(fixture.log.last_stable_offset(9), 7);
    fixture.end_txn(2, 0, false).unwrap();
    assert_eq!(fixture.log.last_stable_offset(10), 10);
    let aborted = AbortedTxn { producer_id: 2, first_offset: 7, last_offset: 9, last_stable_offset: 10 };
    assert_eq!(fixture.log.aborted_transactions(0, 10), [aborted]);
    assert_eq!(fixture.log.aborted_transactions(0, 7), []);
    assert_eq!(fixture.contents(0, crate::names::TXN_INDEX), aborted.encode());
}

#[test]
fn a_record_outside_of_the_open_transaction_is_refused() {
    let mut fixture = fixture();
    fixture.append(data(1, 0, 0, 1).transactional());
    let outside = error(fixture.try_append(data(1, 0, 1, 1)));
    assert_eq!(outside, ProducerError::OutsideTransaction { producer_id: 1 });
    fixture.append(data(1, 0, 1, 1).transactional());
}

#[test]
fn markers_of_fenced_coordinators_and_old_epochs_are_refused() {
    let marker = |coordinator_epoch| EndTxnMarker { committed: true, coordinator_epoch };
    let mut producers = Producers::default();
    let header = |epoch| records::BatchBuilder::new().producer(1, epoch, -1).build().unwrap().header;
    producers.on_marker(&header(5), &marker(9));
    let version = |transaction_version| Origin::Coordinator { transaction_version };
    let check =
        |epoch, coordinator, v| producers.check_marker(&header(epoch), &marker(coordinator), version(v));
    assert_eq!(check(5, 8, 1), Err(ProducerError::CoordinatorFenced { epoch: 8, current: 9 }));
    assert!(matches!(check(4, 9, 1), Err(ProducerError::InvalidEpoch { .. })));
    assert_eq!((check(5, 9, 1), check(6, 9, 2)), (Ok(()), Ok(())));
    assert_eq!(check(5, 9, 2), Ok(()), "a repetition after the end");
    let mut open = producers.clone();
    let data = records::BatchBuilder::new().producer(1, 5, 0).transactional();
    open.on_data(&data.build().unwrap().header);
    let early = open.check_marker(&header(5), &marker(9), version(2));
    assert!(matches!(early, Err(ProducerError::InvalidEpoch { .. })));
}

#[test]
fn silent_producers_are_forgotten_unless_they_have_an_open_transaction() {
    let mut fixture = fixture();
    fixture.append(data(1, 0, 0, 1));
    fixture.append(data(2, 0, 0, 1).transactional());
    fixture.log.expire_producers(NOW + 86_399_999);
    assert_eq!(fixture.log.producers().len(), 2);
    fixture.log.expire_producers(NOW + 86_400_000);
    assert_eq!(fixture.log.producers().iter().map(|(id, _)| id).collect::<Vec<_>>(), [2]);
}

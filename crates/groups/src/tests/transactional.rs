//! Offsets of transactions: they wait for the end of theirs, and of two commits the later one counts.

use super::desk::*;
use crate::*;

fn in_txn(producer_id: i64, offset: i64) -> Request {
    let commit = commit(-1, "", "t", offset);
    Request::TxnOffsetCommit(TxnOffsetCommit { producer_id, producer_epoch: 0, guard: Some(7), commit })
}

fn end(producer_id: i64, committed: bool) -> Request {
    Request::TransactionMarker(TransactionMarker {
        producer_id,
        producer_epoch: 0,
        coordinator_epoch: 3,
        committed,
        transaction_version: 2,
    })
}

fn stable(desk: &mut Desk) -> Result<i64, Error> {
    match desk.ask(fetch("t", true)) {
        Ok(Reply::OffsetFetch(topics)) => match &topics[0].partitions[0] {
            FetchedOffset { error: Some(error), .. } => Err(error.clone()),
            found => Ok(found.offset),
        },
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_offset_of_a_transaction_counts_once_that_is_committed() {
    let mut desk = Desk::new();
    for (producer, offset, committed, expected) in [(1, 5, true, 5), (2, 6, false, 5), (1, 7, true, 7)] {
        let before = fetched(desk.ask(fetch("t", false)));
        assert!(matches!(desk.ask(in_txn(producer, offset)), Ok(Reply::TxnOffsetCommit(_))));
        assert_eq!(stable(&mut desk), Err(Error::UnstableOffsetCommit));
        assert_eq!(fetched(desk.ask(fetch("t", false))), before);
        desk.crash();
        assert_eq!(stable(&mut desk), Err(Error::UnstableOffsetCommit));
        assert_eq!(desk.ask(end(producer, committed)), Ok(Reply::TransactionMarker));
        assert_eq!(stable(&mut desk), Ok(expected));
    }
    desk.crash();
    assert_eq!(stable(&mut desk), Ok(7));
}

#[test]
fn the_later_of_two_commits_counts_however_their_transactions_end() {
    // Two transactions and a plain commit, in every order of their ends.
    for ends in [[1, 2], [2, 1]] {
        let mut desk = Desk::new();
        desk.ask(in_txn(1, 10)).unwrap();
        desk.ask(in_txn(2, 20)).unwrap();
        for producer in ends {
            desk.ask(end(producer, true)).unwrap();
        }
        assert_eq!(stable(&mut desk), Ok(20), "{ends:?}");
        desk.crash();
        assert_eq!(stable(&mut desk), Ok(20), "{ends:?}");
    }
    let mut desk = Desk::new();
    desk.ask(in_txn(1, 10)).unwrap();
    desk.ask(Request::OffsetCommit(commit(-1, "", "t", 15))).unwrap();
    desk.ask(in_txn(2, 20)).unwrap();
    desk.ask(end(1, true)).unwrap();
    assert_eq!(stable(&mut desk), Err(Error::UnstableOffsetCommit));
    assert_eq!(fetched(desk.ask(fetch("t", false))), 15);
    desk.ask(end(2, false)).unwrap();
    assert_eq!(stable(&mut desk), Ok(15));
}

#[test]
fn a_marker_that_could_not_be_written_leaves_the_transaction_open() {
    let mut desk = Desk::new();
    desk.ask(in_txn(1, 5)).unwrap();
    desk.commits_at_once = false;
    for (failure, error) in [
        (AppendFailure::ProducerFenced, Error::InvalidProducerEpoch),
        (AppendFailure::CoordinatorFenced, Error::TransactionCoordinatorFenced),
        (AppendFailure::Unavailable, Error::CoordinatorNotAvailable),
    ] {
        let token = desk.send(end(1, true));
        assert_eq!(desk.take(token), None, "it is not safe yet");
        desk.fail(failure);
        assert_eq!(desk.take(token), Some(Err(error)));
    }
    desk.commits_at_once = true;
    assert_eq!(stable(&mut desk), Err(Error::UnstableOffsetCommit));
    assert_eq!(desk.ask(end(1, true)), Ok(Reply::TransactionMarker));
    assert_eq!(stable(&mut desk), Ok(5));
    assert_eq!(desk.ask(end(1, true)), Ok(Reply::TransactionMarker), "repeated");
}

#[test]
fn only_a_member_of_the_generation_commits_but_the_state_of_the_group_does_not_matter() {
    let mut desk = Desk::new();
    let ids = desk.stable(vec![join("a")]);
    let of = |generation, member: &str| {
        let commit = commit(generation, member, "t", 5);
        Request::TxnOffsetCommit(TxnOffsetCommit { producer_id: 1, producer_epoch: 0, guard: None, commit })
    };
    assert_eq!(desk.ask(of(0, &ids[0])), Err(Error::IllegalGeneration));
    assert_eq!(desk.ask(of(1, "other")), Err(Error::UnknownMemberId));
    assert!(desk.ask(of(1, &ids[0])).is_ok());
    assert!(desk.ask(of(-1, "")).is_ok(), "old clients do not say who they are");
    desk.send_join(join("b"));
    assert!(desk.ask(of(1, &ids[0])).is_ok(), "during a rebalance");
    let mut nobody = commit(1, "a", "t", 5);
    nobody.group = model::GroupId::new("h");
    let request = TxnOffsetCommit { producer_id: 1, producer_epoch: 0, guard: None, commit: nobody };
    assert_eq!(desk.ask(Request::TxnOffsetCommit(request)), Err(Error::IllegalGeneration));
}

#[test]
fn what_is_deleted_does_not_come_back_with_the_commit() {
    let mut desk = Desk::new();
    desk.ask(in_txn(1, 5)).unwrap();
    let deleted = desk.ask(Request::DeleteGroups { groups: vec![group()] });
    let Ok(Reply::DeleteGroups(results)) = deleted else { panic!("{deleted:?}") };
    assert_eq!(results[0].error, None);
    desk.ask(end(1, true)).unwrap();
    assert_eq!(stable(&mut desk), Ok(-1));
    desk.crash();
    assert_eq!(stable(&mut desk), Ok(-1));
}

#[test]
fn an_open_transaction_keeps_its_group_and_its_offsets() {
    let mut desk = Desk::new();
    desk.ask(Request::OffsetCommit(commit(-1, "", "t", 1))).unwrap();
    desk.ask(in_txn(1, 5)).unwrap();
    desk.pass(8 * DAY);
    assert_eq!(fetched(desk.ask(fetch("t", false))), 1);
    desk.ask(end(1, false)).unwrap();
    desk.pass(DAY);
    assert_eq!(fetched(desk.ask(fetch("t", false))), -1);
}

//! EndTxn, timeouts, and what follows when all markers are written.

use super::desk::*;
use crate::*;

/// A coordinator whose producer 100 stands in a state, under an epoch.
fn desk_in(state: State, version: TransactionVersion) -> (Desk, i16) {
    let mut desk = Desk::new();
    let producer = desk.init(None).unwrap();
    if state != State::Empty {
        desk.add(producer, &[partition("a", 0)], version).unwrap();
    }
    match state {
        State::Empty | State::Ongoing => {}
        State::PrepareCommit | State::CompleteCommit => drop(desk.end(producer, true, version).unwrap()),
        State::PrepareAbort | State::CompleteAbort => drop(desk.end(producer, false, version).unwrap()),
    }
    if matches!(state, State::CompleteCommit | State::CompleteAbort) {
        desk.complete();
    }
    assert_eq!(desk.known().state, state);
    let epoch = desk.known().producer_epoch;
    (desk, epoch)
}

#[test]
fn before_version_2_the_epoch_stays() {
    use State::*;
    let (busy, wrong) = (Err(Error::ConcurrentTransactions), Err(Error::InvalidTxnState));
    let done = Ok((-1, -1));
    for (state, commit, abort) in [
        (Empty, wrong, wrong),
        (Ongoing, done, done),
        (PrepareCommit, busy, wrong),
        (PrepareAbort, wrong, busy),
        (CompleteCommit, done, wrong),
        (CompleteAbort, wrong, done),
    ] {
        for (committed, expected) in [(true, commit), (false, abort)] {
            let (mut desk, epoch) = desk_in(state, 0);
            assert_eq!(epoch, 0);
            assert_eq!(desk.end((100, 0), committed, 0), expected, "{state:?}, committed: {committed}");
        }
    }
}

#[test]
fn from_version_2_on_each_end_raises_the_epoch() {
    use State::*;
    let (busy, wrong) = (Err(Error::ConcurrentTransactions), Err(Error::InvalidTxnState));
    let fenced = Err(Error::ProducerFenced);
    let next = |epoch: i16| Ok((100, epoch + 1));
    // The epoch of the request less the present one; what a commit gets, what an abort gets.
    for (state, ahead, commit, abort) in [
        (Empty, 0, wrong, next(0)),
        (Empty, -1, fenced, fenced),
        (Ongoing, 0, next(0), next(0)),
        (Ongoing, -1, fenced, fenced),
        (Ongoing, 1, fenced, fenced),
        (PrepareCommit, 0, busy, busy),
        (PrepareCommit, 1, fenced, fenced),
        (PrepareCommit, -1, busy, wrong),
        (PrepareAbort, -1, wrong, busy),
        (CompleteCommit, 0, wrong, next(1)),
        (CompleteCommit, -1, Ok((100, 1)), wrong),
        (CompleteAbort, 0, wrong, next(1)),
        (CompleteAbort, -1, wrong, Ok((100, 1))),
        (CompleteAbort, -2, fenced, fenced),
    ] {
        for (committed, expected) in [(true, commit), (false, abort)] {
            let (mut desk, epoch) = desk_in(state, 2);
            let got = desk.end((100, epoch + ahead), committed, 2);
            assert_eq!(got, expected, "{state:?}, {ahead}, committed: {committed}");
        }
    }
}

#[test]
fn markers_bear_the_raised_epoch_and_the_version_of_the_client() {
    for (version, epoch) in [(0, 0), (2, 1)] {
        let (mut desk, _) = desk_in(State::PrepareCommit, version);
        let [markers] = &desk.complete()[..] else { panic!("one is prepared") };
        assert_eq!((markers.producer_id, markers.producer_epoch), (100, epoch));
        assert_eq!((markers.committed, markers.version), (true, version));
        let known = desk.known();
        assert_eq!((known.state, known.producer_epoch), (State::CompleteCommit, epoch));
        assert_eq!(known.partitions, [].into());
    }
}

#[test]
fn the_last_epoch_leads_to_the_next_producer_id() {
    let (mut desk, _) = desk_in(State::Empty, 2);
    let last = i16::MAX - 1;
    desk.set_epoch(last);
    desk.add((100, last), &[partition("a", 0)], 2).unwrap();
    assert_eq!(desk.end((100, last), true, 2), Ok((101, 0)));
    assert_eq!(desk.end((100, last), true, 2), Err(Error::ConcurrentTransactions), "repeated");
    // It has its next id and waits until that counts.
    assert_eq!(desk.add((101, 0), &[partition("a", 0)], 2), Err(Error::ConcurrentTransactions));
    assert_eq!(desk.end((101, 0), false, 2), Err(Error::ConcurrentTransactions));
    assert_eq!(desk.init(Some((101, 0))), Err(Error::ConcurrentTransactions));
    assert_eq!(desk.add((101, 1), &[partition("a", 0)], 2), Err(Error::InvalidProducerIdMapping));
    assert_eq!((desk.complete()[0].producer_id, desk.known().producer_id), (100, 101));
    assert_eq!(desk.end((100, last), true, 2), Ok((101, 0)), "repeated after the change");
    assert_eq!(desk.end((100, last), false, 2), Err(Error::InvalidTxnState));
    desk.add((101, 0), &[partition("a", 0)], 2).unwrap();
}

#[test]
fn an_abort_without_partitions_raises_the_epoch_too() {
    let (mut desk, _) = desk_in(State::Empty, 2);
    assert_eq!(desk.end((100, 0), false, 2), Ok((100, 1)));
    let known = desk.known();
    assert_eq!((known.state, known.started), (State::PrepareAbort, 10_000));
    assert_eq!(desk.complete()[0].partitions, [].into());
    assert_eq!(desk.known().state, State::CompleteAbort);
}

#[test]
fn the_next_end_waits_for_the_one_before() {
    for committed in [true, false] {
        let (mut desk, _) = desk_in(State::Ongoing, 2);
        assert_eq!(desk.end((100, 0), committed, 2), Ok((100, 1)));
        // Its first batch was refused before it came to the coordinator: there is nothing but the abort.
        assert_eq!(desk.end((100, 1), false, 2), Err(Error::ConcurrentTransactions));
        assert_eq!(desk.end((100, 2), false, 2), Err(Error::ProducerFenced));
        desk.complete();
        assert_eq!(desk.end((100, 1), false, 2), Ok((100, 2)));
    }
}

#[test]
fn what_is_open_for_too_long_is_aborted() {
    let (mut desk, _) = desk_in(State::Ongoing, 2);
    desk.advance(60_000);
    assert_eq!(desk.late(), []);
    desk.advance(1);
    let late = Late { producer: producer(100, 0), started: desk.known().started };
    assert_eq!(desk.late(), std::slice::from_ref(&late));
    let abort = |late: &Late| Request::AbortLate { late: late.clone(), fresh_id: None };
    let other = Late { started: late.started - 1, ..late.clone() };
    assert_eq!(desk.ask(abort(&other)), Err(Error::InvalidTxnState), "that one has ended");
    assert_eq!(desk.ask(abort(&late)), Ok(Reply::Aborting));
    assert_eq!(desk.ask(abort(&late)), Err(Error::ProducerFenced), "it has moved on");
    assert_eq!(desk.late(), []);
    desk.complete();
    assert_eq!(
        desk.end((100, 0), true, 2),
        Err(Error::InvalidTxnState),
        "its producer learns that it is late"
    );
    assert_eq!(desk.add((100, 0), &[partition("a", 0)], 2), Err(Error::ProducerFenced));
}

#[test]
fn a_clock_that_is_set_back_gives_no_transaction_more_than_its_time() {
    let (mut desk, _) = desk_in(State::Ongoing, 2);
    desk.now.wall -= 1_000_000_000;
    assert_eq!(desk.late(), [], "it is seen first");
    desk.advance(60_000);
    assert_eq!(desk.late(), []);
    desk.advance(1);
    assert_eq!(desk.late().len(), 1);
}

#[test]
fn a_clock_that_is_set_forward_takes_no_time_from_a_transaction_that_is_known() {
    let (mut desk, _) = desk_in(State::Ongoing, 2);
    assert_eq!(desk.late(), []);
    desk.now.wall += 1_000_000_000;
    desk.advance(60_000);
    assert_eq!(desk.late(), []);
    desk.advance(1);
    assert_eq!(desk.late().len(), 1);
}

#[test]
fn a_completion_that_comes_late_or_twice_changes_nothing() {
    let (mut desk, _) = desk_in(State::PrepareAbort, 2);
    desk.complete();
    let producer = producer(100, 1);
    desk.add((100, 1), &[partition("b", 0)], 2).unwrap();
    let before = desk.known();
    assert_eq!(desk.ask(Request::Complete { producer }), Ok(Reply::Complete));
    assert_eq!(desk.known(), before);
}

#[test]
fn nobody_ends_what_does_not_exist() {
    let mut desk = Desk::new();
    for version in [0, 2] {
        assert_eq!(desk.end((100, 0), true, version), Err(Error::InvalidProducerIdMapping));
    }
    let nameless = Producer { id: "".into(), ..producer(100, 0) };
    let end = EndTxn { producer: nameless, committed: true, version: 2, fresh_id: None };
    assert_eq!(desk.ask(Request::EndTxn(end)), Err(Error::InvalidRequest));
}

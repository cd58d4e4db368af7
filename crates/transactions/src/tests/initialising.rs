//! InitProducerId.

use super::desk::*;
use crate::*;

#[test]
fn a_new_id_begins_with_epoch_0_of_a_fresh_producer_id() {
    let mut desk = Desk::new();
    assert_eq!(desk.init(None), Ok((100, 0)));
    let known = desk.known();
    assert_eq!((known.state, known.timeout_ms, known.started), (State::Empty, 60_000, -1));
    assert_eq!((known.previous_producer_id, known.last_producer_epoch), (100, -1));
}

#[test]
fn the_next_producer_fences_the_one_before() {
    let mut desk = Desk::new();
    desk.init(None).unwrap();
    assert_eq!(desk.init(None), Ok((100, 1)));
    assert_eq!(desk.add((100, 0), &[partition("a", 0)], 2), Err(Error::ProducerFenced));
    assert_eq!(desk.end((100, 0), true, 0), Err(Error::ProducerFenced));
    assert_eq!(desk.init(Some((100, 0))), Err(Error::ProducerFenced));
    assert_eq!(desk.init(Some((99, 1))), Err(Error::ProducerFenced));
}

#[test]
fn a_producer_goes_on_from_its_own_epoch_and_may_ask_twice() {
    let mut desk = Desk::new();
    desk.init(None).unwrap();
    assert_eq!(desk.init(Some((100, 0))), Ok((100, 1)));
    assert_eq!(desk.init(Some((100, 0))), Ok((100, 1)), "it has not heard of the first answer");
    assert_eq!(desk.init(None), Ok((100, 2)));
    assert_eq!(desk.init(Some((100, 0))), Err(Error::ProducerFenced), "another came between");
    assert_eq!(desk.init(Some((100, 1))), Err(Error::ProducerFenced));
}

#[test]
fn used_up_epochs_lead_to_a_fresh_producer_id() {
    let mut desk = Desk::new();
    desk.init(None).unwrap();
    desk.set_epoch(i16::MAX - 1);
    assert_eq!(desk.init(None), Ok((101, 0)));
    desk.set_epoch(i16::MAX - 1);
    assert_eq!(desk.init(Some((101, i16::MAX - 1))), Ok((102, 0)));
    assert_eq!(desk.init(Some((101, i16::MAX - 1))), Ok((102, 0)), "asked twice");
    assert_eq!(desk.init(Some((101, 3))), Err(Error::ProducerFenced));
}

#[test]
fn what_is_open_is_aborted_first_under_an_epoch_that_nobody_has() {
    for (version, epochs) in [(2, [1, 1, 2]), (1, [1, 1, 2])] {
        let mut desk = Desk::new();
        desk.coordinator.configure(Config { version, ..config() });
        desk.init(None).unwrap();
        desk.add((100, 0), &[partition("a", 0)], version).unwrap();
        assert_eq!(desk.init(None), Err(Error::ConcurrentTransactions));
        assert_eq!((desk.known().state, desk.known().producer_epoch), (State::PrepareAbort, epochs[0]));
        assert_eq!(desk.init(None), Err(Error::ConcurrentTransactions));
        let [markers] = &desk.complete()[..] else { panic!("one is prepared") };
        assert_eq!((markers.producer_epoch, markers.committed), (epochs[1], false));
        assert_eq!(markers.partitions, [partition("a", 0)].into());
        assert_eq!(desk.init(None), Ok((100, epochs[2])));
    }
}

#[test]
fn fencing_at_the_last_epoch_rotates_the_producer_id() {
    let mut desk = Desk::new();
    desk.init(None).unwrap();
    desk.set_epoch(i16::MAX - 1);
    desk.add((100, i16::MAX - 1), &[partition("a", 0)], 2).unwrap();
    assert_eq!(desk.init(None), Err(Error::ConcurrentTransactions));
    assert_eq!(desk.complete()[0].producer_epoch, i16::MAX);
    assert_eq!((desk.known().producer_id, desk.known().producer_epoch), (101, 0));
    assert_eq!(desk.init(None), Ok((101, 1)));
}

#[test]
fn requests_out_of_bounds_are_refused() {
    let mut desk = Desk::new();
    let mut ask = |change: &dyn Fn(&mut InitProducerId)| {
        let mut request = InitProducerId { fresh_id: Some(7), ..init(None) };
        change(&mut request);
        desk.ask(Request::InitProducerId(request))
    };
    assert_eq!(ask(&|request| request.id = "".into()), Err(Error::InvalidRequest));
    for timeout_ms in [0, -1, 900_001, i32::MAX] {
        assert_eq!(ask(&|request| request.timeout_ms = timeout_ms), Err(Error::InvalidTransactionTimeout));
    }
    let forbidden = Err(Error::TransactionalIdAuthorizationFailed);
    assert_eq!(ask(&|request| request.two_phase_commit = true), forbidden);
    assert_eq!(ask(&|request| request.keep_prepared = true), Err(Error::UnsupportedVersion));
    assert!(desk.coordinator.is_empty());
}

#[test]
fn a_transaction_of_a_two_phase_commit_has_no_time_limit() {
    let mut desk = Desk::new();
    desk.coordinator.configure(Config { two_phase_commit: true, ..config() });
    let request = InitProducerId { fresh_id: Some(7), two_phase_commit: true, timeout_ms: 0, ..init(None) };
    desk.ask(Request::InitProducerId(request)).unwrap();
    desk.add((7, 0), &[partition("a", 0)], 2).unwrap();
    desk.advance(u32::MAX);
    assert_eq!(desk.late(), []);
}

//! What becomes of records that were delivered.

use super::desk::*;
use crate::*;

#[test]
fn what_is_accepted_moves_the_start_once_it_is_written() {
    let mut desk = Desk::new();
    desk.acquire("a", 6);
    let write = desk.begin("a", 0, 1, Kind::Accept).unwrap().unwrap();
    assert_eq!((write.start, write.complete_count), (0, 2));
    assert_eq!(write.batches, [batch(0, 1, 2, 1)]);
    assert_eq!(desk.partition.start(), 0);
    desk.end(&write, true);
    assert_eq!(desk.partition.start(), 2);
    let write = desk.acknowledge("a", 4, 5, Kind::Accept).unwrap();
    assert_eq!((write.start, write.complete_count), (2, 2));
    assert_eq!(desk.partition.start(), 2);
    desk.acknowledge("a", 2, 3, Kind::Accept);
    assert_eq!((desk.partition.start(), desk.partition.end()), (6, 6));
}

#[test]
fn what_is_released_is_delivered_again_and_what_is_rejected_is_not() {
    let mut desk = Desk::new();
    desk.acquire("a", 3);
    desk.acknowledge("a", 1, 1, Kind::Reject);
    desk.acknowledge("a", 0, 0, Kind::Release);
    desk.acknowledge("a", 2, 2, Kind::Release);
    assert_eq!(desk.acquire("b", 2), [(0, 0, 2), (2, 2, 2)]);
    assert_eq!(desk.partition.state_of(1), Some((DeliveryState::Archived, 1)));
}

#[test]
fn each_record_of_a_request_may_have_a_fate_of_its_own() {
    let mut desk = Desk::new();
    desk.acquire("a", 5);
    let kinds = vec![Kind::Accept, Kind::Gap, Kind::Release, Kind::Release, Kind::Renew];
    let all = [Acknowledged { first: 0, last: 4, kinds }];
    let write = desk.partition.acknowledge(desk.now, &member("a"), &all).unwrap().unwrap();
    assert_eq!(write.batches, [batch(0, 0, 2, 1), batch(1, 1, 4, 1), batch(2, 3, 0, 1)]);
    desk.end(&write, true);
    assert_eq!((desk.partition.start(), desk.partition.next_offset()), (2, 2));
}

#[test]
fn a_record_delivered_too_often_is_archived() {
    let config = Config { delivery_count_max: 2, ..CONFIG };
    let mut desk = Desk::with(config, 0, &[]);
    assert_eq!(desk.acquire("a", 1), [(0, 0, 1)]);
    desk.acknowledge("a", 0, 0, Kind::Release);
    assert_eq!(desk.acquire("a", 1), [(0, 0, 2)]);
    let write = desk.acknowledge("a", 0, 0, Kind::Release).unwrap();
    assert_eq!(write.batches, [batch(0, 0, 4, 2)]);
    assert_eq!(desk.acquire("a", 1), [(1, 1, 1)]);
    assert_eq!(desk.sleep(1000).unwrap().batches, [batch(1, 1, 0, 1)]);
    assert_eq!(desk.acquire("a", 1), [(1, 1, 2)]);
    let write = desk.sleep(1000).unwrap();
    assert_eq!(write.batches, [batch(1, 1, 4, 2)]);
    desk.end(&write, true);
    assert_eq!(desk.partition.start(), 2);
}

#[test]
fn what_is_given_up_is_so_once_that_is_written() {
    let mut desk = Desk::with(CONFIG, 0, &[batch(0, 0, 0, 4)]);
    assert_eq!(desk.acquire("a", 1), [(0, 0, 5)]);
    let write = desk.sleep(1000).unwrap();
    assert!(desk.begin("a", 0, 0, Kind::Accept).is_err(), "or its word would be nowhere after a crash");
    desk.end(&write, false);
    assert_eq!((desk.partition.start(), desk.acquire("b", 1)), (0, vec![(1, 1, 1)]));
    assert_eq!(desk.sleep(999), None, "not at once: whoever writes may be ill");
    let write = desk.sleep(1).unwrap();
    assert_eq!(write.batches, [batch(0, 0, 4, 5), batch(1, 1, 0, 1)]);
    desk.end(&write, true);
    assert_eq!((desk.partition.start(), desk.begin("a", 0, 0, Kind::Accept)), (1, Ok(None)));
    // The same of a member that gives it back and is not heard in time.
    let mut desk = Desk::with(CONFIG, 0, &[batch(0, 0, 0, 4)]);
    desk.acquire("a", 1);
    let write = desk.begin("a", 0, 0, Kind::Release).unwrap().unwrap();
    assert_eq!(desk.sleep(2000), None);
    desk.end(&write, false);
    assert_eq!(desk.partition.start(), 0);
    let write = desk.sleep(1000).unwrap();
    assert_eq!(write.batches, [batch(0, 0, 4, 5)]);
}

#[test]
fn only_the_owner_may_acknowledge_and_only_once() {
    let mut desk = Desk::new();
    desk.acquire("a", 4);
    let invalid = |result| matches!(result, Err(Error::InvalidRecordState(_)));
    assert!(invalid(desk.begin("b", 0, 0, Kind::Accept)));
    assert!(matches!(desk.begin("a", 2, 7, Kind::Accept), Err(Error::InvalidRequest(_))));
    let write = desk.begin("a", 2, 2, Kind::Accept).unwrap().unwrap();
    assert!(invalid(desk.begin("a", 2, 2, Kind::Release)), "it is being written");
    assert!(invalid(desk.begin("a", 0, 3, Kind::Accept)), "a part of it is");
    assert_eq!(desk.partition.state_of(0), Some((DeliveryState::Acquired, 1)), "nothing has changed");
    desk.end(&write, true);
    assert!(invalid(desk.begin("a", 2, 2, Kind::Accept)));
    let twice = [(0, 1), (1, 1)].map(|(first, last)| Acknowledged { first, last, kinds: vec![Kind::Accept] });
    assert!(invalid(desk.partition.acknowledge(desk.now, &member("a"), &twice)));
    desk.acknowledge("a", 0, 1, Kind::Accept);
    desk.acknowledge("a", 3, 3, Kind::Accept);
    assert_eq!(desk.begin("a", 0, 3, Kind::Accept), Ok(None), "all is done");
    assert!(invalid(desk.begin("a", 4, 4, Kind::Accept)));
}

#[test]
fn a_lock_runs_out_and_can_be_renewed() {
    let mut desk = Desk::new();
    desk.acquire("a", 2);
    assert_eq!(desk.sleep(900), None);
    assert_eq!(desk.acknowledge("a", 0, 0, Kind::Renew), None, "a lock is in memory only");
    assert_eq!(desk.sleep(100).unwrap().batches, [batch(1, 1, 0, 1)]);
    assert_eq!(desk.acquire("b", 1), [(1, 1, 2)]);
    assert!(desk.begin("a", 1, 1, Kind::Accept).is_err());
    assert_eq!(desk.partition.deadline(), Some(1_900_000_000));
    desk.acknowledge("a", 0, 0, Kind::Accept);
    let mut strict = Desk::with(Config { may_renew: false, ..CONFIG }, 0, &[]);
    strict.acquire("a", 1);
    assert!(matches!(strict.begin("a", 0, 0, Kind::Renew), Err(Error::InvalidRecordState(_))));
}

#[test]
fn what_could_not_be_written_is_the_members_again_unless_its_time_is_over() {
    let mut desk = Desk::new();
    desk.acquire("a", 2);
    let write = desk.begin("a", 0, 1, Kind::Accept).unwrap().unwrap();
    desk.end(&write, false);
    assert_eq!(desk.partition.state_of(0), Some((DeliveryState::Acquired, 1)));
    let write = desk.begin("a", 0, 1, Kind::Accept).unwrap().unwrap();
    assert_eq!(desk.sleep(2000), None, "a write decides it");
    desk.end(&write, false);
    assert_eq!(desk.acquire("b", 2), [(0, 1, 2)]);
}

#[test]
fn a_member_that_goes_gives_all_back() {
    let mut desk = Desk::new();
    desk.acquire("a", 2);
    desk.acquire("b", 2);
    let write = desk.partition.release(&member("a")).unwrap();
    assert_eq!(write.batches, [batch(0, 1, 0, 1)]);
    assert_eq!(desk.acquire("b", 2), [(4, 5, 1)], "it is being written");
    desk.end(&write, true);
    assert_eq!(desk.acquire("b", 4), [(0, 1, 2), (6, 7, 1)]);
    assert_eq!(desk.partition.release(&member("a")), None);
}

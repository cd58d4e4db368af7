//! Who gets which records.

use super::desk::*;
use crate::*;
use model::Offset;

fn plain(taken: Vec<Acquired>) -> Vec<(Offset, Offset, i16)> {
    taken.into_iter().map(|one| (one.first, one.last, one.count)).collect()
}

#[test]
fn records_go_to_one_member_each() {
    let mut desk = Desk::new();
    assert_eq!(desk.acquire("a", 3), [(0, 2, 1)]);
    assert_eq!(desk.acquire("b", 3), [(3, 5, 1)]);
    assert_eq!(desk.partition.state_of(4), Some((DeliveryState::Acquired, 1)));
    assert_eq!((desk.partition.start(), desk.partition.end()), (0, 6));
}

#[test]
fn whole_batches_are_given_unless_the_limit_is_strict() {
    let mut desk = Desk::new();
    let log = log(0, 30, 10);
    assert_eq!(plain(desk.acquire_of("a", 4, Mode::BatchOptimized, &log)), [(0, 9, 1)]);
    assert_eq!(plain(desk.acquire_of("a", 4, Mode::RecordLimit, &log)), [(10, 13, 1)]);
    assert_eq!(plain(desk.acquire_of("a", 100, Mode::BatchOptimized, &log)), [(14, 29, 1)]);
}

#[test]
fn new_records_are_acquired_in_stretches_of_the_batch_size() {
    let mut desk = Desk::new();
    let name = member("a");
    let wish = Wish { member: &name, records_max: 50, batch_size: 5, mode: Mode::BatchOptimized, from: 0 };
    let taken = desk.partition.acquire(desk.now, wish, &log(0, 12, 4));
    assert_eq!(plain(taken), [(0, 7, 1), (8, 11, 1)]);
}

#[test]
fn no_more_than_the_locks_are_given_but_what_came_back_is() {
    let mut desk = Desk::with(Config { locks_max: 4, ..CONFIG }, 0, &[]);
    assert_eq!(desk.acquire("a", 10), [(0, 3, 1)]);
    assert!(!desk.partition.can_acquire());
    assert_eq!(desk.acquire("b", 10), []);
    desk.acknowledge("a", 1, 1, Kind::Release);
    assert!(desk.partition.can_acquire());
    assert_eq!(desk.acquire("b", 10), [(1, 1, 2)]);
    desk.acknowledge("a", 0, 0, Kind::Accept);
    assert_eq!(desk.acquire("b", 10), [(4, 4, 1)]);
}

#[test]
fn what_the_log_no_longer_has_is_passed_over() {
    let mut desk = Desk::new();
    desk.acquire("a", 6);
    desk.acknowledge("a", 0, 5, Kind::Release);
    // A compacted log: nothing at 0 to 2.
    let taken = desk.acquire_of("b", 10, Mode::RecordLimit, &log(3, 8, 1));
    assert_eq!(plain(taken), [(3, 5, 2), (6, 7, 1)]);
    assert_eq!(desk.partition.start(), 3);
}

#[test]
fn a_hole_between_what_is_in_flight_and_new_records_is_nobodys() {
    let mut desk = Desk::new();
    desk.acquire("a", 3);
    assert_eq!(plain(desk.acquire_of("a", 10, Mode::RecordLimit, &log(5, 8, 1))), [(5, 7, 1)]);
    assert_eq!(desk.partition.state_of(4), Some((DeliveryState::Archived, 0)));
    desk.acknowledge("a", 0, 2, Kind::Accept);
    assert_eq!(desk.partition.start(), 5);
}

#[test]
fn a_log_that_begins_later_takes_the_start_along() {
    let mut desk = Desk::new();
    desk.acquire("a", 6);
    desk.partition.on_log_start(4);
    desk.partition.check();
    assert_eq!((desk.partition.start(), desk.partition.end()), (4, 6));
    assert_eq!(desk.acknowledge("a", 0, 3, Kind::Accept), None, "what is gone is done");
    desk.acknowledge("a", 0, 5, Kind::Accept);
    assert_eq!(desk.partition.start(), 6);
    desk.partition.on_log_start(50);
    desk.partition.check();
    assert_eq!(desk.partition.next_offset(), 50);
}

#[test]
fn records_of_aborted_transactions_are_nobodys() {
    let mut desk = Desk::new();
    let mut log = log(0, 9, 3);
    log[1].is_aborted = true;
    assert_eq!(plain(desk.acquire_of("a", 50, Mode::BatchOptimized, &log)), [(0, 2, 1), (6, 8, 1)]);
    desk.acknowledge("a", 0, 2, Kind::Accept);
    assert_eq!(desk.partition.start(), 6);
}

#[test]
fn a_record_that_failed_often_comes_alone() {
    let mut desk = Desk::new();
    for count in 1..=3 {
        assert_eq!(desk.acquire("a", 8).first().map(|one| one.2), Some(count));
        desk.sleep(1000);
    }
    let mut sizes = Vec::new();
    while desk.partition.start() < 8 {
        let taken = desk.acquire("a", 8);
        sizes.push((taken[0].1 - taken[0].0 + 1, taken[0].2));
        desk.acknowledge("a", taken[0].0, taken[0].1, Kind::Reject);
    }
    assert!(sizes.iter().all(|(size, count)| *size <= 4 && *count >= 3), "{sizes:?}");
}

#[test]
fn what_the_last_leader_left_is_taken_up_and_what_it_had_in_flight_comes_back() {
    let batches = [batch(12, 13, 2, 1), batch(16, 16, 0, 3), batch(17, 18, 4, 5)];
    let mut desk = Desk::with(CONFIG, 10, &batches);
    assert_eq!((desk.partition.start(), desk.partition.end()), (10, 19));
    assert_eq!(desk.acquire("a", 50), [(10, 11, 1), (14, 15, 1)], "one that failed often is kept for itself");
    assert_eq!(desk.acquire("a", 50), [(16, 16, 4)]);
    assert_eq!(desk.acquire("a", 50), [(19, 19, 1)]);
}

#[test]
fn a_stored_state_that_makes_no_sense_is_refused() {
    for batches in [
        vec![batch(3, 2, 0, 1)],
        vec![batch(1, 2, 0, 1)],
        vec![batch(5, 9, 0, 1), batch(9, 10, 0, 1)],
        vec![batch(5, 9, 5, 1)],
        vec![batch(5, i64::MAX, 0, 1)],
    ] {
        assert!(SharePartition::new(CONFIG, 0, 2, &batches).is_err(), "{batches:?}");
    }
}

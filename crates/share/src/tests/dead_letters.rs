//! Records that go to the dead-letter topic of their group (KIP-1191).

use super::desk::{CONFIG, Desk, batch, member};
use crate::*;

const WITH_LETTERS: Config = Config { has_dead_letters: true, delivery_count_max: 2, ..CONFIG };

fn letters(first: i64, last: i64, count: i16, reason: Reason) -> DeadLetters {
    DeadLetters { first, last, count, reason }
}

#[test]
fn a_rejected_record_holds_the_start_until_the_dead_letter_topic_is_told() {
    let mut desk = Desk::with(WITH_LETTERS, 0, &[]);
    desk.acquire("a", 4);
    let write = desk.begin("a", 0, 1, Kind::Reject).unwrap().unwrap();
    assert_eq!(write.batches, [batch(0, 1, 3, 1)]);
    assert_eq!(write.complete_count, 0, "nothing is done yet");
    assert_eq!(desk.partition.take_dead_letters(), [], "nor written down");
    desk.end(&write, true);
    assert_eq!(
        (desk.partition.start(), desk.partition.state_of(0)),
        (0, Some((DeliveryState::Archiving, 1)))
    );
    assert_eq!(desk.acquire("b", 4), [(4, 7, 1)], "nobody gets it");
    assert_eq!(desk.partition.take_dead_letters(), [letters(0, 1, 1, Reason::Rejected)]);
    assert_eq!(desk.partition.take_dead_letters(), [], "each is given once");
    let write = desk.partition.on_told(0, 0).unwrap();
    assert_eq!((write.start, &write.batches[..]), (0, &[batch(0, 0, 4, 1)][..]));
    desk.end(&write, true);
    assert_eq!(desk.partition.start(), 1);
    let write = desk.partition.on_told(0, 1).unwrap();
    assert_eq!(write.batches, [batch(1, 1, 4, 1)]);
    desk.end(&write, true);
    assert_eq!((desk.partition.start(), desk.partition.on_told(0, 1)), (2, None));
}

#[test]
fn a_rejection_that_could_not_be_written_is_none() {
    let mut desk = Desk::with(WITH_LETTERS, 0, &[]);
    desk.acquire("a", 1);
    let write = desk.begin("a", 0, 0, Kind::Reject).unwrap().unwrap();
    desk.end(&write, false);
    assert_eq!(desk.partition.take_dead_letters(), []);
    assert_eq!(desk.partition.state_of(0), Some((DeliveryState::Acquired, 1)));
    desk.acknowledge("a", 0, 0, Kind::Accept);
    assert_eq!(desk.partition.start(), 1);
}

#[test]
fn what_was_delivered_too_often_becomes_a_dead_letter_however_it_comes_back() {
    for way in ["release", "lock", "leave"] {
        let mut desk = Desk::with(WITH_LETTERS, 0, &[batch(0, 0, 0, 1)]);
        assert_eq!(desk.acquire("a", 1), [(0, 0, 2)]);
        let write = match way {
            "release" => desk.begin("a", 0, 0, Kind::Release).unwrap(),
            "lock" => desk.sleep(1000),
            _ => desk.partition.release(&member("a")),
        };
        let write = write.unwrap();
        assert_eq!(write.batches, [batch(0, 0, 3, 2)]);
        desk.end(&write, true);
        assert_eq!(desk.partition.take_dead_letters(), [letters(0, 0, 2, Reason::DeliveredTooOften)]);
        assert_eq!((desk.partition.start(), desk.partition.end()), (0, 1), "{way}");
    }
}

#[test]
fn what_was_delivered_too_often_is_a_dead_letter_once_that_is_written() {
    for way in ["release", "lock"] {
        let mut desk = Desk::with(WITH_LETTERS, 0, &[batch(0, 0, 0, 1)]);
        desk.acquire("a", 1);
        let write = match way {
            "release" => desk.begin("a", 0, 0, Kind::Release).unwrap(),
            _ => desk.sleep(1000),
        };
        assert_eq!(desk.sleep(1000), None);
        assert_eq!(desk.partition.take_dead_letters(), [], "{way}: a crash would deliver it again");
        assert!(desk.begin("a", 0, 0, Kind::Accept).is_err(), "{way}: its word would be nowhere after one");
        desk.end(&write.unwrap(), false);
        assert_eq!(desk.partition.take_dead_letters(), [], "{way}");
        let write = desk.sleep(1000).unwrap();
        assert_eq!(write.batches, [batch(0, 0, 3, 2)]);
        desk.end(&write, true);
        assert_eq!(desk.partition.take_dead_letters(), [letters(0, 0, 2, Reason::DeliveredTooOften)]);
    }
}

#[test]
fn whoever_leads_next_tells_the_dead_letter_topic_even_if_the_group_has_none_any_more() {
    let mut desk = Desk::with(
        Config { delivery_count_max: 5, ..CONFIG },
        3,
        &[batch(3, 4, 3, 1), batch(5, 5, 2, 1), batch(6, 6, 3, 5)],
    );
    let expected = [letters(3, 4, 1, Reason::Rejected), letters(6, 6, 5, Reason::DeliveredTooOften)];
    assert_eq!(desk.partition.take_dead_letters(), expected);
    let write = desk.partition.on_told(3, 4).unwrap();
    desk.end(&write, true);
    assert_eq!(desk.partition.start(), 6);
}

#[test]
fn the_log_may_lose_what_the_dead_letter_topic_is_being_told() {
    let mut desk = Desk::with(WITH_LETTERS, 0, &[]);
    desk.acquire("a", 4);
    desk.acknowledge("a", 0, 3, Kind::Reject);
    assert_eq!(desk.partition.take_dead_letters().len(), 1);
    desk.partition.on_log_start(2);
    let write = desk.partition.on_told(0, 3).unwrap();
    assert_eq!((write.start, &write.batches[..]), (2, &[batch(2, 3, 4, 1)][..]));
    desk.end(&write, true);
    assert_eq!((desk.partition.start(), desk.partition.end()), (4, 4));
}

#[test]
fn without_a_dead_letter_topic_records_are_archived_at_once() {
    let mut desk = Desk::new();
    desk.acquire("a", 2);
    let write = desk.acknowledge("a", 0, 1, Kind::Reject).unwrap();
    assert_eq!((write.batches, write.complete_count), (vec![batch(0, 1, 4, 1)], 2));
    assert_eq!((desk.partition.take_dead_letters(), desk.partition.start()), (vec![], 2));
}

//! Share sessions.

use crate::*;
use model::{GroupId, TopicId};

fn key(member: &str) -> SessionKey {
    SessionKey { group: GroupId::new("g"), member: member.into() }
}

fn partition(partition: i32) -> PartitionKey {
    PartitionKey { topic: TopicId::default(), partition }
}

fn all(partitions: &[i32]) -> Vec<PartitionKey> {
    partitions.iter().map(|one| partition(*one)).collect()
}

#[test]
fn a_session_is_begun_gone_on_with_and_ended() {
    let mut sessions = Sessions::new(10, 100, 100);
    let not_found = SessionFailure::ShareSessionNotFound;
    assert_eq!(sessions.open(&key("a"), (1, 7), &[], &[], false), Err(not_found));
    assert_eq!(sessions.open(&key("a"), (-1, 7), &[], &[], false), Err(not_found));
    assert_eq!(sessions.open(&key("a"), (0, 7), &[], &[], true), Err(SessionFailure::InvalidRequest));
    let opened = sessions.open(&key("a"), (0, 7), &all(&[0, 1]), &[], false).unwrap();
    assert_eq!(opened, Opened { partitions: all(&[0, 1]), is_new: true, is_last: false });
    let invalid = SessionFailure::InvalidShareSessionEpoch;
    assert_eq!(sessions.open(&key("a"), (2, 7), &[], &[], false), Err(invalid));
    let opened = sessions.open(&key("a"), (1, 7), &all(&[2]), &all(&[0]), true).unwrap();
    assert_eq!(opened.partitions, all(&[1, 2]));
    assert_eq!(sessions.acknowledge(&key("a"), 0), Err(invalid));
    assert_eq!(sessions.acknowledge(&key("a"), 1), Err(invalid));
    assert_eq!(sessions.acknowledge(&key("a"), 2), Ok(false));
    assert_eq!(sessions.acknowledge(&key("a"), -1), Ok(true));
    assert_eq!(sessions.acknowledge(&key("b"), -1), Err(not_found));
    assert!(sessions.open(&key("a"), (-1, 7), &[], &[], true).unwrap().is_last);
    assert_eq!(sessions.end(&key("a")), Some(all(&[1, 2])));
    assert_eq!((sessions.end(&key("a")), sessions.is_empty()), (None, true));
}

#[test]
fn an_answer_names_what_is_new_and_what_gave_records_is_served_last() {
    let mut sessions = Sessions::new(10, 100, 100);
    sessions.open(&key("a"), (0, 7), &all(&[0, 1, 2]), &[], false).unwrap();
    let told = |sessions: &mut Sessions, one, has_records, failed| {
        sessions.tell(&key("a"), partition(one), has_records, failed)
    };
    assert!(told(&mut sessions, 0, true, false));
    assert!(!told(&mut sessions, 1, false, false));
    assert!(told(&mut sessions, 2, false, true));
    let opened = sessions.open(&key("a"), (1, 7), &[], &[], false).unwrap();
    assert_eq!(opened.partitions, all(&[1, 2, 0]));
    assert!(told(&mut sessions, 2, false, false), "the error has gone");
    assert!(!told(&mut sessions, 2, false, false));
}

#[test]
fn sessions_are_bounded_in_number_and_in_size_and_what_finds_no_room_changes_nothing() {
    let mut sessions = Sessions::new(2, 5, 4);
    let full = Err(SessionFailure::ShareSessionLimitReached);
    assert_eq!(sessions.open(&key("a"), (0, 1), &all(&[0, 1, 2, 3, 4]), &[], false), full, "too many in one");
    assert!(sessions.is_empty());
    sessions.open(&key("a"), (0, 1), &all(&[0, 1, 2, 2]), &[], false).unwrap();
    assert_eq!(sessions.open(&key("b"), (0, 2), &all(&[0, 1, 2]), &[], false), full, "too many in all");
    sessions.open(&key("b"), (0, 2), &all(&[0]), &[], false).unwrap();
    assert_eq!(sessions.open(&key("c"), (0, 3), &[], &[], false), full);
    // One is forgotten, one comes in its place, one is named though it goes.
    let opened = sessions.open(&key("a"), (1, 1), &all(&[3, 4]), &all(&[0, 4]), false).unwrap();
    assert_eq!(opened.partitions, all(&[1, 2, 3]));
    assert_eq!(sessions.open(&key("a"), (2, 1), &all(&[4, 5]), &[], false), full);
    assert_eq!(sessions.open(&key("a"), (0, 1), &all(&[0, 1, 2, 3, 4]), &[], false), full);
    // What it has is known as before: its records are to be released.
    let opened = sessions.open(&key("a"), (2, 1), &all(&[4]), &[], false).unwrap();
    assert_eq!(opened.partitions, all(&[1, 2, 3, 4]));
    assert_eq!(sessions.end(&key("a")), Some(all(&[1, 2, 3, 4])));
    sessions.open(&key("a"), (0, 1), &all(&[0, 1, 2]), &[], false).unwrap();
    sessions.open(&key("a"), (0, 1), &all(&[0, 1, 2, 3]), &[], false).unwrap();
    assert_eq!(sessions.of_connection(1), [key("a")]);
    assert!(sessions.has_group(&GroupId::new("g")) && !sessions.has_group(&GroupId::new("f")));
}

use super::*;
use crate::fetchers::Key;
use stdx::Uuid;

fn settings() -> Settings {
    Settings {
        node: 7,
        wait_ms_max: 500,
        wait_ms_quiet: 2000,
        bytes_min: 1,
        partition_bytes_max: 1000,
        response_bytes_max: 9000,
        backoff_ms: 1000,
        socket_timeout_ms: 30_000,
        listener: "PLAINTEXT".into(),
    }
}

fn key(topic: u8, partition: i32) -> Key {
    (Uuid([topic; 16]), partition)
}

fn at(key: Key, offset: i64) -> (Key, LeaderEpoch, Place) {
    (key, 3, Place { offset, last_epoch: 2, start_offset: 0 })
}

/// Named and forgotten partitions of the next request.
fn named(session: &mut Session, due: &[(Key, LeaderEpoch, Place)], left: &[Key]) -> (Vec<Key>, Vec<Key>) {
    let request = session.request(&settings(), 5, due, &left.iter().copied().collect());
    assert_eq!((request.replica_state.replica_id, request.replica_state.replica_epoch), (7, 5));
    let keys = |id, partitions: Vec<i32>| partitions.into_iter().map(move |partition| (id, partition));
    let topics = request.topics.into_iter().map(|topic| {
        (topic.topic_id, topic.partitions.iter().map(|partition| partition.partition).collect())
    });
    let forgotten = request.forgotten_topics_data.into_iter().map(|topic| (topic.topic_id, topic.partitions));
    (
        topics.flat_map(|(id, partitions)| keys(id, partitions)).collect(),
        forgotten.flat_map(|(id, partitions)| keys(id, partitions)).collect(),
    )
}

#[test]
fn a_session_names_only_what_the_leader_does_not_know() {
    let mut session = Session::default();
    let (a, b, c) = (key(1, 0), key(1, 1), key(2, 0));
    assert_eq!(named(&mut session, &[at(a, 0), at(b, 0), at(c, 0)], &[]), (vec![a, b, c], vec![]));
    session.on_answer(77, false);
    assert_eq!(named(&mut session, &[at(a, 0)], &[]), (vec![], vec![]), "it is where it was");
    session.on_answer(77, false);
    assert_eq!(named(&mut session, &[at(b, 9)], &[]), (vec![b], vec![]));
    session.on_answer(77, false);
    assert_eq!(named(&mut session, &[], &[a]), (vec![], vec![a]));
    session.on_answer(77, false);
    assert_eq!(named(&mut session, &[at(a, 0)], &[a]), (vec![a], vec![]), "it left and is back");
    assert_eq!(session.epoch_of(a), Some(3));
}

#[test]
fn without_a_session_every_request_names_all() {
    let mut session = Session::default();
    let (a, b) = (key(1, 0), key(1, 1));
    assert_eq!(named(&mut session, &[at(a, 0), at(b, 0)], &[]).0, [a, b]);
    session.on_answer(0, false);
    assert_eq!(named(&mut session, &[at(a, 4)], &[]), (vec![a, b], vec![]));
    session.on_answer(0, false);
    assert_eq!(named(&mut session, &[], &[a]), (vec![b], vec![]));
    session.on_answer(0, false);
    assert_eq!(named(&mut session, &[], &[b]), (vec![], vec![]));
    assert!(session.is_empty());
}

#[test]
fn only_many_partitions_without_news_are_waited_for_longer() {
    let mut session = Session::default();
    let all: Vec<_> = (0..MANY as i32).map(|partition| at(key(1, partition), 0)).collect();
    let request = |session: &mut Session, due: &[_]| session.request(&settings(), 5, due, &BTreeSet::new());
    assert_eq!(request(&mut session, &all).max_wait_ms, 500);
    session.on_answer(77, false);
    assert_eq!(request(&mut session, &[]).max_wait_ms, 500, "the answer told something");
    session.on_answer(77, true);
    assert_eq!(request(&mut session, &[]).max_wait_ms, 2000);
    session.on_answer(77, false);
    assert_eq!(request(&mut session, &[]).max_wait_ms, 500);
    let mut small = Session::default();
    request(&mut small, &all[1..]);
    small.on_answer(77, true);
    assert_eq!(request(&mut small, &[]).max_wait_ms, 500, "it is quick to look at them");
}

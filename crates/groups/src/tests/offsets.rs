use super::desk::*;
use crate::*;
use stdx::Uuid;

fn commit_ok(desk: &mut Desk, request: OffsetCommit) {
    let reply = desk.ask(Request::OffsetCommit(request));
    let Ok(Reply::OffsetCommit(results)) = reply else { panic!("{reply:?}") };
    assert!(results.iter().all(|topic| topic.partitions.iter().all(|(_, error)| error.is_none())));
}

#[test]
fn an_offset_is_seen_when_it_is_committed_and_not_before() {
    let mut desk = Desk::new();
    desk.commits_at_once = false;
    let token = desk.send(Request::OffsetCommit(commit(-1, "", "t", 42)));
    assert_eq!(desk.take(token), None);
    assert_eq!(fetched(desk.ask(fetch("t", false))), -1);
    desk.commit();
    assert!(desk.take(token).unwrap().is_ok());
    assert_eq!(fetched(desk.ask(fetch("t", false))), 42);
    assert_eq!(fetched(desk.ask(fetch("u", false))), -1);
    desk.crash();
    assert_eq!(fetched(desk.ask(fetch("t", false))), 42);
    let view = desk.coordinator.offsets().next().unwrap();
    assert_eq!((view.group, view.topic, view.partition), (&group(), &topic("t"), 0));
    let expected = CommittedOffset {
        offset: 42,
        leader_epoch: 3,
        metadata: "note".into(),
        commit_timestamp: 1_000_000,
        expire_timestamp: -1,
        topic_id: Uuid::ZERO,
    };
    assert_eq!(*view.offset, expected);
}

#[test]
fn an_offset_whose_append_failed_never_was() {
    let mut desk = Desk::new();
    commit_ok(&mut desk, commit(-1, "", "t", 1));
    desk.commits_at_once = false;
    let token = desk.send(Request::OffsetCommit(commit(-1, "", "t", 2)));
    desk.fail(AppendFailure::Unavailable);
    assert_eq!(desk.take(token), Some(Err(Error::CoordinatorNotAvailable)));
    assert_eq!(fetched(desk.ask(fetch("t", true))), 1);
}

#[test]
fn a_reader_that_wants_stable_offsets_waits_for_those_under_way() {
    let mut desk = Desk::new();
    desk.commits_at_once = false;
    desk.send(Request::OffsetCommit(commit(-1, "", "t", 1)));
    desk.send(Request::OffsetCommit(commit(-1, "", "t", 2)));
    let reader = desk.send(fetch("t", true));
    desk.commit_one();
    assert_eq!(desk.take(reader), None);
    desk.commit_one();
    assert_eq!(fetched(desk.take(reader).unwrap()), 2);
    desk.send(Request::OffsetCommit(commit(-1, "", "t", 3)));
    let reader = desk.send(fetch("t", true));
    desk.fail(AppendFailure::Unavailable);
    assert_eq!(fetched(desk.take(reader).unwrap()), 2);
}

#[test]
fn a_commit_must_come_from_a_member_of_the_generation() {
    let mut desk = Desk::new();
    let check = |desk: &mut Desk, request: OffsetCommit, error: Error| {
        assert_eq!(desk.ask(Request::OffsetCommit(request)), Err(error));
    };
    check(&mut desk, commit(1, "a", "t", 1), Error::GroupIdNotFound);
    let old = OffsetCommit { supports_group_id_not_found: false, ..commit(1, "a", "t", 1) };
    check(&mut desk, old, Error::IllegalGeneration);
    let ids = desk.stable(vec![join("a"), join_static("i")]);
    check(&mut desk, commit(-1, "", "t", 1), Error::UnknownMemberId);
    check(&mut desk, commit(1, "who", "t", 1), Error::UnknownMemberId);
    check(&mut desk, commit(0, &ids[0], "t", 1), Error::IllegalGeneration);
    check(&mut desk, commit(-1, &ids[0], "t", 1), Error::IllegalGeneration);
    let fenced = OffsetCommit { instance_id: Some("i".into()), ..commit(1, &ids[0], "t", 1) };
    check(&mut desk, fenced, Error::FencedInstanceId);
    commit_ok(&mut desk, commit(1, &ids[0], "t", 1));
    assert_eq!(fetched(desk.ask(fetch("t", true))), 1);
}

#[test]
fn members_commit_while_the_group_prepares_but_not_before_the_assignment() {
    let mut desk = Desk::new();
    let ids = desk.stable(vec![join("a"), join("b")]);
    let a = desk.send_join(JoinGroup { member_id: ids[0].clone(), ..join("a") });
    commit_ok(&mut desk, commit(1, &ids[1], "t", 7));
    desk.send_join(JoinGroup { member_id: ids[1].clone(), ..join("b") });
    assert!(desk.joined(a).unwrap().is_ok());
    let early = Request::OffsetCommit(commit(2, &ids[1], "t", 8));
    assert_eq!(desk.ask(early), Err(Error::RebalanceInProgress));
}

#[test]
fn a_commit_is_a_sign_of_life() {
    let mut desk = Desk::new();
    let ids = desk.stable(vec![join("a")]);
    for n in 0..5 {
        desk.pass(9 * SECOND);
        commit_ok(&mut desk, commit(1, &ids[0], "t", n));
    }
    assert_eq!(desk.state(), Some(State::Stable));
}

#[test]
fn metadata_has_a_limit_per_partition() {
    let mut desk = Desk::new();
    let mut request = commit(-1, "", "t", 1);
    let partition = |partition, metadata: &str| CommitPartition {
        partition,
        offset: 5,
        leader_epoch: -1,
        metadata: metadata.into(),
    };
    // Ten UTF-16 units fit: five of these signs are two units each.
    request.topics[0].partitions =
        vec![partition(0, "12345678901"), partition(1, "1234567890"), partition(2, "😀😀😀😀😀")];
    let Ok(Reply::OffsetCommit(results)) = desk.ask(Request::OffsetCommit(request.clone())) else { panic!() };
    let expected = vec![(0, Some(Error::OffsetMetadataTooLarge)), (1, None), (2, None)];
    assert_eq!(results[0].partitions, expected);
    assert_eq!(desk.log.len(), 2);
    request.topics[0].partitions.truncate(1);
    desk.commits_at_once = false;
    assert!(desk.ask(Request::OffsetCommit(request)).is_ok(), "nothing is appended, nothing waited for");
}

#[test]
fn all_offsets_of_a_group_can_be_read_at_once() {
    let mut desk = Desk::new();
    for (name, offset) in [("t", 1), ("u", 2)] {
        commit_ok(&mut desk, commit(-1, "", name, offset));
    }
    let all = Request::OffsetFetch(OffsetFetch {
        group: group(),
        topics: None,
        member: None,
        require_stable: true,
    });
    let Ok(Reply::OffsetFetch(topics)) = desk.ask(all) else { panic!() };
    let found = topics.iter().map(|t| (&*t.topic, t.partitions[0].offset)).collect::<Vec<_>>();
    assert_eq!(found, [("t", 1), ("u", 2)]);
    let other = model::GroupId::new("other");
    let none =
        Request::OffsetFetch(OffsetFetch { group: other, topics: None, member: None, require_stable: true });
    assert_eq!(desk.ask(none), Ok(Reply::OffsetFetch(vec![])));
}

#[test]
fn an_offset_of_a_former_topic_of_the_name_is_not_shown() {
    let mut desk = Desk::new();
    let mut request = commit(-1, "", "t", 1);
    request.topics[0].topic_id = Uuid([1; 16]);
    commit_ok(&mut desk, request);
    for (id, offset) in [([1; 16], 1), ([0; 16], 1), ([2; 16], -1)] {
        let topics = vec![FetchTopic { topic: topic("t"), topic_id: Uuid(id), partitions: vec![0] }];
        let request =
            OffsetFetch { group: group(), topics: Some(topics), member: None, require_stable: false };
        assert_eq!(fetched(desk.ask(Request::OffsetFetch(request))), offset);
    }
}

#[test]
fn the_empty_group_id_may_hold_offsets() {
    let mut desk = Desk::new();
    let none = model::GroupId::new("");
    commit_ok(&mut desk, OffsetCommit { group: none.clone(), ..commit(-1, "", "t", 9) });
    let all =
        Request::OffsetFetch(OffsetFetch { group: none, topics: None, member: None, require_stable: false });
    assert_eq!(fetched(desk.ask(all)), 9);
}

use super::desk::*;
use crate::*;

fn offset_of(desk: &mut Desk, name: &str) -> i64 {
    fetched(desk.ask(fetch(name, false)))
}

#[test]
fn offsets_without_a_group_expire_after_their_commit_and_the_holder_with_them() {
    let mut desk = Desk::new();
    desk.ask(Request::OffsetCommit(commit(-1, "", "t", 1))).unwrap();
    desk.pass(6 * DAY);
    desk.ask(Request::OffsetCommit(commit(-1, "", "u", 2))).unwrap();
    desk.pass(DAY + 10 * MINUTE);
    assert_eq!((offset_of(&mut desk, "t"), offset_of(&mut desk, "u")), (-1, 2));
    desk.pass(6 * DAY);
    assert_eq!(desk.state(), None);
    assert_eq!(desk.log.last(), Some(&Record::GroupRemoved { group: group() }));
}

#[test]
fn offsets_of_a_group_age_from_the_moment_when_it_became_empty() {
    let mut desk = Desk::new();
    let ids = desk.stable(vec![join("a")]);
    desk.ask(Request::OffsetCommit(commit(1, &ids[0], "t", 1))).unwrap();
    for _ in 0..(8 * 24 * 60) {
        desk.heartbeat(&ids[0], 1).unwrap();
        desk.pass(9 * SECOND);
    }
    desk.pass(6 * DAY);
    assert_eq!((offset_of(&mut desk, "t"), desk.state()), (1, Some(State::Empty)));
    desk.pass(DAY + 10 * MINUTE);
    assert_eq!((offset_of(&mut desk, "t"), desk.state()), (-1, None));
}

#[test]
fn consumers_lose_offsets_of_topics_that_they_left_behind_only() {
    let mut desk = Desk::with(Config { offsets_retention_ms: MINUTE as i64, ..config() });
    let ids = desk.stable(vec![join("a")]);
    for name in ["t", "left-behind"] {
        desk.ask(Request::OffsetCommit(commit(1, &ids[0], name, 1))).unwrap();
    }
    for _ in 0..120 {
        desk.pass(9 * SECOND);
        desk.heartbeat(&ids[0], 1).unwrap();
    }
    assert_eq!((offset_of(&mut desk, "t"), offset_of(&mut desk, "left-behind")), (1, -1));
    assert_eq!(desk.state(), Some(State::Stable));
}

#[test]
fn other_groups_with_members_lose_nothing() {
    let mut desk = Desk::with(Config { offsets_retention_ms: 1, ..config() });
    let token = desk.send_join(JoinGroup {
        protocol_type: "connect".into(),
        session_timeout_ms: 1_800_000,
        rebalance_timeout_ms: 1_800_000,
        ..join("a")
    });
    desk.pass(3 * SECOND);
    let id = desk.joined(token).unwrap().unwrap().member_id;
    let mut request = sync(&id, 1, vec![]);
    if let Request::SyncGroup(sync) = &mut request {
        sync.protocol_type = None;
    }
    desk.ask(request).unwrap();
    desk.ask(Request::OffsetCommit(commit(1, &id, "t", 1))).unwrap();
    desk.pass(25 * MINUTE);
    assert_eq!((offset_of(&mut desk, "t"), desk.state()), (1, Some(State::Stable)));
}

#[test]
fn a_retention_in_the_request_outranks_the_configured_one() {
    let mut desk = Desk::new();
    let hour = OffsetCommit { retention_ms: 60 * MINUTE as i64, ..commit(-1, "", "t", 1) };
    desk.ask(Request::OffsetCommit(hour)).unwrap();
    let month = OffsetCommit { retention_ms: 30 * DAY as i64, ..commit(-1, "", "u", 1) };
    desk.ask(Request::OffsetCommit(month)).unwrap();
    desk.pass(2 * 60 * MINUTE);
    assert_eq!(offset_of(&mut desk, "t"), -1);
    desk.pass(20 * DAY);
    assert_eq!(offset_of(&mut desk, "u"), 1);
}

#[test]
fn no_tombstone_falls_behind_a_commit_under_way() {
    let mut desk = Desk::new();
    desk.ask(Request::OffsetCommit(commit(-1, "", "t", 1))).unwrap();
    desk.pass(7 * DAY - 5 * MINUTE);
    desk.commits_at_once = false;
    desk.send(Request::OffsetCommit(commit(-1, "", "t", 2)));
    desk.pass(30 * MINUTE);
    desk.commit();
    assert_eq!(offset_of(&mut desk, "t"), 2);
    desk.pass(30 * MINUTE);
    desk.commit();
    assert_eq!(offset_of(&mut desk, "t"), 2);
}

#[test]
fn a_group_with_members_and_no_offsets_stays() {
    let mut desk = Desk::new();
    desk.stable(vec![join_static("i")]);
    for _ in 0..20 {
        desk.pass(MINUTE);
        desk.send_join(join_static("i"));
    }
    assert_eq!(desk.state(), Some(State::Stable));
}

#[test]
fn a_holder_of_offsets_that_nobody_joined_does_not_age() {
    let mut desk = Desk::new();
    let token = desk.send_join(JoinGroup { require_known_member_id: true, ..join("a") });
    assert!(desk.joined(token).is_some());
    for n in 0..8 {
        desk.ask(Request::OffsetCommit(commit(-1, "", "t", n))).unwrap();
        desk.pass(DAY);
        assert_eq!(offset_of(&mut desk, "t"), n);
    }
}

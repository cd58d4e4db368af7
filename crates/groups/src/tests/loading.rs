use super::desk::*;
use crate::*;
use model::GroupId;

fn classic(state: ListedState) -> State {
    match state {
        ListedState::Classic(state) => state,
        other => panic!("{other:?}"),
    }
}

fn list(states: &[&str], types: &[&str]) -> Request {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Request::ListGroups { states: owned(states), types: owned(types) }
}

fn listed(reply: Result<Reply, Error>) -> Vec<(String, State)> {
    let Ok(Reply::ListGroups(groups)) = reply else { panic!("{reply:?}") };
    groups.into_iter().map(|group| (group.group.to_string(), classic(group.state))).collect()
}

#[test]
fn who_has_joined_finds_the_group_before_its_first_record_is_committed() {
    let mut desk = Desk::new();
    desk.commits_at_once = false;
    let token = desk.send_join(join("a"));
    desk.pass(3 * SECOND);
    assert_eq!(desk.joined(token).unwrap().unwrap().generation, 1);
    assert_eq!(listed(desk.ask(list(&[], &[]))), [(group().to_string(), State::CompletingRebalance)]);
    let ids = vec![group()];
    let Ok(Reply::DescribeGroups(found)) =
        desk.ask(Request::DescribeGroups { groups: ids, missing_is_error: true })
    else {
        panic!()
    };
    assert_eq!((found[0].state, found[0].members.len()), (State::CompletingRebalance, 1));
}

#[test]
fn a_stable_group_goes_on_after_a_crash() {
    let mut desk = Desk::new();
    let ids = desk.stable(vec![join("a"), join("b")]);
    desk.crash();
    assert_eq!(desk.state(), Some(State::Stable));
    assert!(ids.iter().all(|id| desk.heartbeat(id, 1).is_ok()));
    let token = desk.send(sync(&ids[1], 1, vec![]));
    assert_eq!(desk.synced(token), Some(Ok(ids[1].as_bytes().to_vec().into())));
    desk.ask(Request::OffsetCommit(commit(1, &ids[0], "t", 1))).unwrap();
    assert_eq!(desk.rebalance(&ids), 2);
}

#[test]
fn members_that_do_not_return_after_a_crash_are_out_after_their_sessions() {
    let mut desk = Desk::new();
    desk.stable(vec![join("a"), join("b")]);
    desk.crash();
    desk.pass(MINUTE + 20 * SECOND);
    assert_eq!(desk.state(), Some(State::Empty));
}

#[test]
fn a_rebalance_under_way_is_forgotten_by_a_crash() {
    let mut desk = Desk::new();
    let ids = desk.stable(vec![join("a"), join("b")]);
    desk.send_join(JoinGroup { member_id: ids[0].clone(), ..join("a") });
    desk.crash();
    assert_eq!(desk.state(), Some(State::Stable));
    assert_eq!(desk.rebalance(&ids), 2);
}

#[test]
fn a_loaded_group_over_capacity_rebalances() {
    let mut desk = Desk::new();
    desk.stable(vec![join("a"), join("b"), join("c")]);
    desk.config.group_members_max = 2;
    desk.crash();
    assert_eq!(desk.state(), Some(State::PreparingRebalance));
}

#[test]
fn records_of_old_versions_are_understood() {
    let metadata = |timeout, state_timestamp| {
        Record::GroupMetadata(GroupMetadata {
            group: group(),
            protocol_type: "consumer".into(),
            generation: 3,
            protocol: Some("range".into()),
            leader: Some("a".into()),
            state_timestamp,
            members: vec![MemberMetadata {
                member_id: "a".into(),
                instance_id: None,
                client_id: "c".into(),
                client_host: "/h".into(),
                rebalance_timeout_ms: timeout,
                session_timeout_ms: 10_000,
                subscription: subscribed(&["t"]),
                assignment: bytes::Bytes::from_static(b"all"),
            }],
        })
    };
    let mut desk = Desk::new();
    desk.log = vec![metadata(5, 7), metadata(-1, -1)];
    desk.crash();
    let group = desk.coordinator.groups.values().next().unwrap();
    assert_eq!(group.rebalance_timeout_ms(), 10_000, "without one it is the session timeout");
    assert_eq!(group.to_record(|member| member.assignment.clone()), metadata(10_000, -1));
    assert!(group.is_subscribed("t") && !group.is_subscribed("u"));
}

#[test]
fn whoever_waits_when_the_partition_moves_is_sent_away() {
    let mut desk = Desk::new();
    let ids = desk.stable(vec![join("a"), join("b")]);
    desk.commits_at_once = false;
    let commit = desk.send(Request::OffsetCommit(commit(1, &ids[0], "t", 1)));
    let reader = desk.send(fetch("t", true));
    let a = desk.send_join(JoinGroup { member_id: ids[0].clone(), ..join("a") });
    desk.tell(Event::Unloaded);
    for token in [commit, reader, a] {
        assert_eq!(desk.take(token), Some(Err(Error::NotCoordinator)));
    }
    assert!(desk.unanswered.is_empty());
    desk.commit();
    assert_eq!(desk.state(), None);
}

#[test]
fn groups_are_listed_by_state_and_type() {
    let mut desk = Desk::new();
    desk.stable(vec![join("a")]);
    let simple = OffsetCommit { group: GroupId::new("simple"), ..commit(-1, "", "t", 1) };
    desk.ask(Request::OffsetCommit(simple)).unwrap();
    let (g, simple) = (("g".to_owned(), State::Stable), ("simple".to_owned(), State::Empty));
    assert_eq!(listed(desk.ask(list(&[], &[]))), [g.clone(), simple.clone()]);
    assert_eq!(listed(desk.ask(list(&[" sTable "], &["Classic"]))), [g]);
    assert_eq!(listed(desk.ask(list(&["Empty", "Dead"], &[]))), [simple]);
    assert_eq!(listed(desk.ask(list(&["Empty"], &["consumer"]))), []);
}

#[test]
fn a_description_shows_metadata_only_of_a_stable_group() {
    let mut desk = Desk::new();
    let ids = desk.stable(vec![join("a"), join_static("i")]);
    let describe = |desk: &mut Desk, missing_is_error| {
        let groups = vec![group(), GroupId::new("none")];
        let reply = desk.ask(Request::DescribeGroups { groups, missing_is_error });
        let Ok(Reply::DescribeGroups(described)) = reply else { panic!("{reply:?}") };
        described
    };
    let described = describe(&mut desk, true);
    assert_eq!((described[1].state, &described[1].error), (State::Dead, &Some(Error::GroupIdNotFound)));
    let (stable, member) = (&described[0], &described[0].members[1]);
    assert_eq!(
        (stable.state, &*stable.protocol, &*stable.protocol_type),
        (State::Stable, "range", "consumer")
    );
    assert_eq!((&*member.client_host, member.instance_id.as_deref()), ("/127.0.0.1", Some("i")));
    assert_eq!((&member.metadata, &member.assignment[..]), (&subscribed(&["t"]), ids[1].as_bytes()));
    desk.send_join(JoinGroup { member_id: ids[0].clone(), ..join("a") });
    let described = describe(&mut desk, false);
    assert_eq!((described[1].state, &described[1].error), (State::Dead, &None));
    assert_eq!((described[0].state, &*described[0].protocol), (State::PreparingRebalance, ""));
    assert!(described[0].members.iter().all(|member| member.metadata.is_empty()));
}

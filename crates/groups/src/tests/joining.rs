use super::desk::*;
use crate::*;

fn rejoin(id: &MemberId) -> JoinGroup {
    JoinGroup { member_id: id.clone(), ..join("any") }
}

#[test]
fn nonsense_is_refused_and_makes_no_group() {
    let mut desk = Desk::new();
    let mut check = |join: JoinGroup, expected: Error| {
        let token = desk.send_join(join);
        assert_eq!(desk.joined(token), Some(Err(expected)));
        assert_eq!((desk.state(), desk.log.len()), (None, 0));
    };
    check(JoinGroup { group: model::GroupId::new(""), ..join("a") }, Error::InvalidGroupId);
    check(JoinGroup { session_timeout_ms: 5999, ..join("a") }, Error::InvalidSessionTimeout);
    check(JoinGroup { session_timeout_ms: 1_800_001, ..join("a") }, Error::InvalidSessionTimeout);
    check(JoinGroup { member_id: "a-1".into(), ..join("a") }, Error::UnknownMemberId);
    check(JoinGroup { protocols: Vec::new(), ..join("a") }, Error::InconsistentGroupProtocol);
    check(JoinGroup { protocol_type: "".into(), ..join("a") }, Error::InconsistentGroupProtocol);
}

#[test]
fn a_newcomer_gets_an_id_first_and_joins_with_it() {
    let mut desk = Desk::new();
    let token = desk.send_join(JoinGroup { require_known_member_id: true, ..join("app") });
    let Some(Err(Error::MemberIdRequired(id))) = desk.joined(token) else { panic!() };
    assert_eq!(&*id, "app-00000000-0000-0000-0000-000000000001");
    let token = desk.send_join(JoinGroup { require_known_member_id: true, ..rejoin(&id) });
    desk.pass(3 * SECOND);
    let joined = desk.joined(token).unwrap().unwrap();
    assert_eq!((&joined.member_id, &joined.leader, joined.generation), (&id, &id, 1));
    assert_eq!(joined.members.len(), 1);
    assert_eq!(joined.protocol.as_deref(), Some("range"));
}

#[test]
fn an_id_that_nobody_uses_is_forgotten_after_the_session_timeout() {
    let mut desk = Desk::new();
    let token = desk.send_join(JoinGroup { require_known_member_id: true, ..join("app") });
    let Some(Err(Error::MemberIdRequired(id))) = desk.joined(token) else { panic!() };
    desk.pass(10 * SECOND);
    let token = desk.send_join(rejoin(&id));
    assert_eq!(desk.joined(token), Some(Err(Error::UnknownMemberId)));
}

#[test]
fn an_id_given_out_holds_a_rebalance_up_until_it_is_used_or_forgotten() {
    let mut desk = Desk::new();
    let ids = desk.stable(vec![join("a")]);
    let pending = desk.send_join(JoinGroup { require_known_member_id: true, ..join("b") });
    assert!(desk.joined(pending).is_some());
    let token = desk.send_join(rejoin(&ids[0]));
    assert_eq!(desk.joined(token), None);
    desk.pass(10 * SECOND);
    assert_eq!(desk.joined(token).unwrap().unwrap().generation, 2);
}

#[test]
fn a_given_id_cannot_become_static() {
    let mut desk = Desk::new();
    let token = desk.send_join(JoinGroup { require_known_member_id: true, ..join("app") });
    let Some(Err(Error::MemberIdRequired(id))) = desk.joined(token) else { panic!() };
    let token = desk.send_join(JoinGroup { instance_id: Some("i".into()), ..rejoin(&id) });
    assert_eq!(desk.joined(token), Some(Err(Error::UnknownServerError)));
}

#[test]
fn the_initial_delay_waits_for_company() {
    let mut desk = Desk::new();
    let a = desk.send_join(join("a"));
    desk.pass(2 * SECOND);
    let b = desk.send_join(join("b"));
    desk.pass(SECOND);
    assert_eq!(desk.joined(a), None, "b came, so the delay is extended");
    desk.pass(2900);
    assert_eq!(desk.joined(a), None);
    desk.pass(100);
    let (a, b) = (desk.joined(a).unwrap().unwrap(), desk.joined(b).unwrap().unwrap());
    assert_eq!((a.members.len(), b.members.len()), (2, 0));
    assert_eq!((a.generation, &a.leader), (b.generation, &b.leader));
}

#[test]
fn the_initial_delay_ends_with_the_rebalance_timeout() {
    let mut desk = Desk::new();
    let first = desk.send_join(JoinGroup { rebalance_timeout_ms: 7000, ..join("a") });
    for n in 0..7 {
        assert_eq!(desk.joined(first), None, "second {n}");
        desk.send_join(JoinGroup { rebalance_timeout_ms: 7000, ..join("b") });
        desk.pass(SECOND);
    }
    assert_eq!(desk.joined(first).unwrap().unwrap().members.len(), 8);
}

#[test]
fn without_a_delay_the_first_member_is_answered_by_the_next_tick() {
    let mut desk = Desk::with(Config { rebalance_delay_ms_initial: 0, ..config() });
    let a = desk.send_join(join("a"));
    desk.pass(1);
    assert_eq!(desk.joined(a).unwrap().unwrap().generation, 1);
}

#[test]
fn members_must_share_the_protocol_type_and_a_protocol() {
    let mut desk = Desk::new();
    let metadata = subscribed(&["t"]);
    desk.stable(vec![JoinGroup { protocols: protocols(&["range", "sticky"], &metadata), ..join("a") }]);
    let token = desk.send_join(JoinGroup { protocol_type: "connect".into(), ..join("b") });
    assert_eq!(desk.joined(token), Some(Err(Error::InconsistentGroupProtocol)));
    let token = desk.send_join(JoinGroup { protocols: protocols(&["other"], &metadata), ..join("b") });
    assert_eq!(desk.joined(token), Some(Err(Error::InconsistentGroupProtocol)));
    let token = desk.send_join(JoinGroup { protocols: protocols(&["sticky"], &metadata), ..join("b") });
    assert_eq!(desk.joined(token), None);
}

#[test]
fn the_protocol_with_most_votes_among_the_common_ones_wins() {
    let mut desk = Desk::new();
    let metadata = subscribed(&["t"]);
    let mut tokens = Vec::new();
    for names in [&["x", "range", "sticky"][..], &["sticky", "range"], &["sticky", "sticky", "range"]] {
        tokens.push(desk.send_join(JoinGroup { protocols: protocols(names, &metadata), ..join("m") }));
    }
    desk.pass(MINUTE);
    for token in tokens {
        assert_eq!(desk.joined(token).unwrap().unwrap().protocol.as_deref(), Some("sticky"));
    }
}

#[test]
fn an_unchanged_follower_hears_the_present_generation_and_a_leader_starts_the_next() {
    let mut desk = Desk::new();
    let ids = desk.stable(vec![join("a"), join("b")]);
    let token = desk.send_join(rejoin(&ids[1]));
    let joined = desk.joined(token).unwrap().unwrap();
    assert_eq!((joined.generation, joined.leader, joined.members.len()), (1, ids[0].clone(), 0));
    assert_eq!(desk.state(), Some(State::Stable));
    let token = desk.send_join(rejoin(&ids[0]));
    assert_eq!((desk.joined(token), desk.state()), (None, Some(State::PreparingRebalance)));
}

#[test]
fn a_follower_with_another_subscription_starts_a_rebalance() {
    let mut desk = Desk::new();
    let ids = desk.stable(vec![join("a"), join("b")]);
    let changed = protocols(&["range"], &subscribed(&["u"]));
    let token = desk.send_join(JoinGroup { protocols: changed, ..rejoin(&ids[1]) });
    assert_eq!((desk.joined(token), desk.state()), (None, Some(State::PreparingRebalance)));
    assert_eq!(desk.heartbeat(&ids[0], 1), Err(Error::RebalanceInProgress));
    let a = desk.send_join(rejoin(&ids[0]));
    let (a, b) = (desk.joined(a).unwrap().unwrap(), desk.joined(token).unwrap().unwrap());
    assert_eq!((a.generation, b.generation), (2, 2));
    assert_eq!(a.members[1].metadata, subscribed(&["u"]));
}

#[test]
fn before_the_sync_an_unchanged_member_hears_the_generation_again() {
    let mut desk = Desk::new();
    let token = desk.send_join(join("a"));
    desk.pass(3 * SECOND);
    let first = desk.joined(token).unwrap().unwrap();
    let token = desk.send_join(rejoin(&first.member_id));
    assert_eq!(desk.joined(token), Some(Ok(first.clone())));
    let changed = protocols(&["range"], &subscribed(&["u"]));
    let token = desk.send_join(JoinGroup { protocols: changed, ..rejoin(&first.member_id) });
    assert_eq!(desk.joined(token).unwrap().unwrap().generation, 2);
}

#[test]
fn a_join_repeated_while_it_waits_takes_the_place_of_the_first() {
    let mut desk = Desk::new();
    let ids = desk.stable(vec![join("a"), join("b")]);
    let first = desk.send_join(rejoin(&ids[0]));
    let second = desk.send_join(rejoin(&ids[0]));
    assert_eq!(desk.joined(first), Some(Err(Error::RebalanceInProgress)));
    desk.send_join(rejoin(&ids[1]));
    assert_eq!(desk.joined(second).unwrap().unwrap().generation, 2);
}

#[test]
fn members_that_do_not_come_back_are_out_and_another_leads() {
    let mut desk = Desk::new();
    let long = || JoinGroup { session_timeout_ms: 120_000, ..join("m") };
    let ids = desk.stable(vec![long(), long(), long()]);
    let b = desk.send_join(JoinGroup { session_timeout_ms: 120_000, ..rejoin(&ids[1]) });
    assert_eq!(desk.joined(b).unwrap().unwrap().generation, 1);
    let new = desk.send_join(long());
    let b = desk.send_join(JoinGroup { session_timeout_ms: 120_000, ..rejoin(&ids[1]) });
    desk.pass(59 * SECOND);
    assert_eq!(desk.joined(new), None);
    desk.pass(SECOND);
    let (b, new) = (desk.joined(b).unwrap().unwrap(), desk.joined(new).unwrap().unwrap());
    assert_eq!((b.generation, new.generation, &b.leader), (2, 2, &new.leader));
    assert_eq!(b.members.len() + new.members.len(), 2);
    assert_eq!(desk.heartbeat(&ids[0], 2), Err(Error::UnknownMemberId));
}

#[test]
fn a_full_group_takes_no_newcomer_but_its_own_members() {
    let mut desk = Desk::with(Config { group_members_max: 2, ..config() });
    let tokens = [join("a"), join("b"), join("c")].map(|join| desk.send_join(join));
    assert_eq!(desk.joined(tokens[2]), Some(Err(Error::GroupMaxSizeReached)), "even while it gathers");
    desk.pass(6 * SECOND);
    let [a, b] = [tokens[0], tokens[1]].map(|token| desk.joined(token).unwrap().unwrap().member_id);
    desk.sync_all(&[a.clone(), b], 1);
    let c = desk.send_join(join("c"));
    assert_eq!(desk.joined(c), Some(Err(Error::GroupMaxSizeReached)));
    let a = desk.send_join(rejoin(&a));
    assert_eq!((desk.joined(a), desk.state()), (None, Some(State::PreparingRebalance)));
}

#[test]
fn a_lowered_maximum_turns_the_last_to_rejoin_away() {
    let mut desk = Desk::new();
    let ids = desk.stable(vec![join("a"), join("b"), join("c")]);
    desk.tell(Event::Configured(Config { group_members_max: 2, ..config() }));
    let a = desk.send_join(rejoin(&ids[0]));
    let b = desk.send_join(rejoin(&ids[1]));
    let c = desk.send_join(rejoin(&ids[2]));
    assert_eq!(desk.joined(c), Some(Err(Error::GroupMaxSizeReached)));
    desk.pass(MINUTE);
    assert_eq!(desk.joined(a).unwrap().unwrap().members.len(), 2);
    assert!(desk.joined(b).unwrap().is_ok());
}

#[test]
fn a_new_member_that_waits_for_too_long_is_taken_for_gone() {
    let mut desk = Desk::with(Config { join_timeout_ms_new_member: 20_000, ..config() });
    let ids = desk.stable(vec![join("a")]);
    let b = desk.send_join(join("b"));
    for _ in 0..4 {
        assert_eq!(desk.joined(b), None);
        assert_eq!(desk.heartbeat(&ids[0], 1), Err(Error::RebalanceInProgress));
        desk.pass(5 * SECOND);
    }
    assert_eq!(desk.joined(b), Some(Err(Error::UnknownMemberId)));
}

#[test]
fn a_group_whose_first_record_fails_is_no_group() {
    let mut desk = Desk::new();
    desk.commits_at_once = false;
    let a = desk.send_join(join("a"));
    let listed = Request::ListGroups { states: vec![], types: vec![] };
    assert_eq!(desk.ask(listed), Ok(Reply::ListGroups(vec![])), "what is not committed is not shown");
    desk.fail(AppendFailure::NotLeader);
    assert_eq!(desk.joined(a), Some(Err(Error::NotCoordinator)));
    desk.pass(MINUTE);
    desk.commit();
    assert_eq!(desk.state(), Some(State::Empty));
    let b = desk.send_join(JoinGroup {
        group: model::GroupId::new("h"),
        require_known_member_id: true,
        ..join("b")
    });
    assert!(matches!(desk.joined(b), Some(Err(Error::MemberIdRequired(_)))));
}

#[test]
fn the_reason_for_a_rebalance_is_kept_for_people() {
    let mut desk = Desk::new();
    let ids = desk.stable(vec![join("a")]);
    desk.send_join(JoinGroup { reason: Some("topics changed".into()), ..rejoin(&ids[0]) });
    let view = desk.coordinator.groups().next().unwrap();
    assert!(view.rebalance_reason.ends_with("joins again; client reason: topics changed"), "{view:?}");
    assert_eq!((view.members, view.generation, view.protocol_type), (1, 2, "consumer"));
}

use super::desk::*;
use crate::*;

/// Two members have joined generation 1 and nobody has synced; the leader is first.
fn two_joined(desk: &mut Desk) -> [MemberId; 2] {
    let tokens = [join("a"), join("b")].map(|join| desk.send_join(join));
    desk.pass(6 * SECOND);
    tokens.map(|token| desk.joined(token).unwrap().unwrap().member_id)
}

#[test]
fn nobody_hears_his_assignment_before_it_is_committed() {
    let mut desk = Desk::new();
    let ids = two_joined(&mut desk);
    desk.commits_at_once = false;
    let b = desk.send(sync(&ids[1], 1, vec![]));
    assert_eq!(desk.synced(b), None);
    let a = desk.send(sync(&ids[0], 1, assign(&ids)));
    assert_eq!((desk.synced(a), desk.synced(b)), (None, None));
    assert_eq!(desk.state(), Some(State::CompletingRebalance));
    desk.commit();
    assert_eq!(desk.synced(a), Some(Ok(ids[0].as_bytes().to_vec().into())));
    assert_eq!(desk.synced(b), Some(Ok(ids[1].as_bytes().to_vec().into())));
    assert_eq!(desk.state(), Some(State::Stable));
    let again = desk.send(sync(&ids[1], 1, vec![]));
    assert_eq!(desk.synced(again), Some(Ok(ids[1].as_bytes().to_vec().into())));
}

#[test]
fn a_member_that_the_leader_forgot_gets_nothing() {
    let mut desk = Desk::new();
    let ids = desk.stable(vec![join("a"), join("b")]);
    for id in &ids {
        desk.send_join(JoinGroup { member_id: id.clone(), ..join("any") });
    }
    desk.send(sync(&ids[0], 2, assign(&ids[..1])));
    let b = desk.send(sync(&ids[1], 2, vec![]));
    assert_eq!(desk.synced(b), Some(Ok(Default::default())), "not even what it had before");
}

#[test]
fn a_sync_must_name_the_member_the_generation_and_the_protocol() {
    let mut desk = Desk::new();
    let ids = two_joined(&mut desk);
    let good = || SyncGroup {
        group: group(),
        generation: 1,
        member_id: ids[1].clone(),
        instance_id: None,
        protocol_type: None,
        protocol: None,
        assignments: vec![],
    };
    let mut check = |request: SyncGroup, error: Error| {
        assert_eq!(desk.ask(Request::SyncGroup(request)), Err(error));
    };
    check(SyncGroup { group: model::GroupId::new(""), ..good() }, Error::InvalidGroupId);
    check(SyncGroup { group: model::GroupId::new("none"), ..good() }, Error::UnknownMemberId);
    check(SyncGroup { member_id: "who".into(), ..good() }, Error::UnknownMemberId);
    check(SyncGroup { generation: 0, ..good() }, Error::IllegalGeneration);
    check(SyncGroup { generation: 2, ..good() }, Error::IllegalGeneration);
    check(SyncGroup { protocol_type: Some("connect".into()), ..good() }, Error::InconsistentGroupProtocol);
    check(SyncGroup { protocol: Some("sticky".into()), ..good() }, Error::InconsistentGroupProtocol);
    check(SyncGroup { instance_id: Some("i".into()), ..good() }, Error::UnknownMemberId);
    let token = desk.send(Request::SyncGroup(good()));
    assert_eq!(desk.synced(token), None);
}

#[test]
fn a_newcomer_before_the_assignment_sends_everybody_back_to_join() {
    let mut desk = Desk::new();
    let ids = two_joined(&mut desk);
    desk.commits_at_once = false;
    let a = desk.send(sync(&ids[0], 1, assign(&ids)));
    let c = desk.send_join(join("c"));
    assert_eq!(desk.synced(a), Some(Err(Error::RebalanceInProgress)));
    desk.commit();
    assert_eq!(desk.state(), Some(State::PreparingRebalance), "the late assignment changes nothing");
    let sync_now = sync(&ids[1], 1, vec![]);
    assert_eq!(desk.ask(sync_now), Err(Error::RebalanceInProgress));
    for id in &ids {
        desk.send_join(JoinGroup { member_id: id.clone(), ..join("any") });
    }
    assert_eq!(desk.joined(c).unwrap().unwrap().generation, 2);
}

#[test]
fn an_assignment_that_cannot_be_stored_starts_the_rebalance_anew() {
    for (failure, error) in [
        (AppendFailure::Unavailable, Error::CoordinatorNotAvailable),
        (AppendFailure::NotLeader, Error::NotCoordinator),
        (AppendFailure::TooLarge, Error::UnknownServerError),
    ] {
        let mut desk = Desk::new();
        let ids = two_joined(&mut desk);
        desk.commits_at_once = false;
        let [b, a] = [1, 0].map(|n| desk.send(sync(&ids[n], 1, assign(&ids))));
        desk.fail(failure);
        assert_eq!((desk.synced(a), desk.synced(b)), (Some(Err(error.clone())), Some(Err(error))));
        assert_eq!(desk.state(), Some(State::PreparingRebalance));
    }
}

#[test]
fn a_leader_that_asks_twice_is_stored_once() {
    let mut desk = Desk::new();
    let ids = two_joined(&mut desk);
    desk.commits_at_once = false;
    let first = desk.send(sync(&ids[0], 1, assign(&ids)));
    let second = desk.send(sync(&ids[0], 1, assign(&ids)));
    assert_eq!(desk.synced(first), Some(Err(Error::RebalanceInProgress)));
    assert_eq!(desk.appends.len(), 1);
    desk.commit();
    assert_eq!(desk.synced(second), Some(Ok(ids[0].as_bytes().to_vec().into())));
}

#[test]
fn members_that_do_not_sync_in_time_are_out() {
    let mut desk = Desk::new();
    let ids = two_joined(&mut desk);
    desk.send(sync(&ids[0], 1, assign(&ids)));
    for _ in 0..11 {
        desk.pass(5 * SECOND);
        assert!(desk.heartbeat(&ids[0], 1).is_ok());
        assert!(desk.heartbeat(&ids[1], 1).is_ok());
    }
    desk.pass(5 * SECOND);
    assert_eq!(desk.heartbeat(&ids[0], 1), Err(Error::RebalanceInProgress));
    assert_eq!(desk.heartbeat(&ids[1], 1), Err(Error::UnknownMemberId));
}

#[test]
fn once_all_have_synced_that_timeout_is_off() {
    let mut desk = Desk::new();
    let ids = desk.stable(vec![join("a"), join("b")]);
    for _ in 0..30 {
        desk.pass(5 * SECOND);
        assert!(ids.iter().all(|id| desk.heartbeat(id, 1).is_ok()));
    }
    assert_eq!(desk.state(), Some(State::Stable));
}

#[test]
fn a_leader_that_dies_before_its_sync_frees_those_who_wait() {
    let mut desk = Desk::new();
    let ids = two_joined(&mut desk);
    let b = desk.send(sync(&ids[1], 1, vec![]));
    desk.pass(10 * SECOND);
    assert_eq!(desk.synced(b), Some(Err(Error::RebalanceInProgress)));
    let b = desk.send_join(JoinGroup { member_id: ids[1].clone(), ..join("b") });
    let joined = desk.joined(b).unwrap().unwrap();
    assert_eq!((joined.generation, &joined.leader, joined.members.len()), (2, &ids[1], 1));
}

#[test]
fn heartbeats_name_what_is_wrong() {
    let mut desk = Desk::new();
    let nobody = MemberId::from("who");
    assert_eq!(desk.heartbeat(&nobody, 1), Err(Error::UnknownMemberId));
    let ids = desk.stable(vec![join("a")]);
    assert_eq!(desk.heartbeat(&nobody, 1), Err(Error::UnknownMemberId));
    assert_eq!(desk.heartbeat(&ids[0], 0), Err(Error::IllegalGeneration));
    assert_eq!(desk.heartbeat(&ids[0], 1), Ok(Reply::Heartbeat));
    let empty =
        Heartbeat { group: model::GroupId::new(""), generation: 1, member_id: nobody, instance_id: None };
    assert_eq!(desk.ask(Request::Heartbeat(empty)), Err(Error::InvalidGroupId));
}

#[test]
fn a_silent_member_is_out_after_its_session_and_a_talking_one_stays() {
    let mut desk = Desk::new();
    let ids = desk.stable(vec![join("a"), join("b")]);
    desk.pass(9 * SECOND);
    assert!(desk.heartbeat(&ids[0], 1).is_ok());
    desk.pass(SECOND);
    assert_eq!(desk.heartbeat(&ids[0], 1), Err(Error::RebalanceInProgress));
    let token = desk.send_join(JoinGroup { member_id: ids[0].clone(), ..join("a") });
    assert_eq!(desk.joined(token).unwrap().unwrap().members.len(), 1);
}

#[test]
fn a_member_that_waits_for_our_answer_needs_no_heartbeat() {
    let mut desk = Desk::new();
    let ids = desk.stable(vec![join("a"), join("b")]);
    let a = desk.send_join(JoinGroup { member_id: ids[0].clone(), ..join("a") });
    for _ in 0..10 {
        desk.pass(5 * SECOND);
        assert_eq!(desk.heartbeat(&ids[1], 1), Err(Error::RebalanceInProgress));
    }
    assert_eq!(desk.joined(a), None);
    desk.send_join(JoinGroup { member_id: ids[1].clone(), ..join("b") });
    assert_eq!(desk.joined(a).unwrap().unwrap().generation, 2);
}

#[test]
fn the_death_of_the_last_one_waited_for_completes_the_rebalance() {
    let mut desk = Desk::new();
    let ids = desk.stable(vec![join("a"), join("b")]);
    let a = desk.send_join(JoinGroup { member_id: ids[0].clone(), ..join("a") });
    desk.pass(9 * SECOND);
    assert_eq!(desk.joined(a), None);
    desk.pass(SECOND);
    assert_eq!(desk.joined(a).unwrap().unwrap().members.len(), 1);
}

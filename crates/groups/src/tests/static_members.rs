use super::desk::*;
use crate::*;

fn heartbeat(desk: &mut Desk, id: &MemberId, instance: &str) -> Result<Reply, Error> {
    let (group, instance_id) = (group(), Some(instance.into()));
    desk.ask(Request::Heartbeat(Heartbeat { group, generation: 1, member_id: id.clone(), instance_id }))
}

#[test]
fn a_static_member_comes_back_to_its_assignment_without_a_rebalance() {
    let mut desk = Desk::new();
    let ids = desk.stable(vec![join_static("i"), join_static("j")]);
    let token = desk.send_join(join_static("j"));
    let joined = desk.joined(token).unwrap().unwrap();
    assert_eq!((joined.generation, joined.skip_assignment, &joined.leader), (1, false, &ids[0]));
    assert_ne!(joined.member_id, ids[1]);
    assert_eq!(desk.state(), Some(State::Stable));
    let token = desk.send(sync(&joined.member_id, 1, vec![]));
    assert_eq!(desk.synced(token), Some(Ok(ids[1].as_bytes().to_vec().into())));
    assert_eq!(heartbeat(&mut desk, &ids[1], "j"), Err(Error::FencedInstanceId));
    assert_eq!(heartbeat(&mut desk, &joined.member_id, "j"), Ok(Reply::Heartbeat));
    assert_eq!(heartbeat(&mut desk, &joined.member_id, "k"), Err(Error::UnknownMemberId));
}

#[test]
fn a_static_leader_that_comes_back_is_told_to_skip_the_assignment() {
    let mut desk = Desk::new();
    desk.stable(vec![join_static("i"), join_static("j")]);
    let token = desk.send_join(join_static("i"));
    let joined = desk.joined(token).unwrap().unwrap();
    assert_eq!((joined.skip_assignment, &joined.leader), (true, &joined.member_id));
    assert_eq!(joined.members.len(), 2);
}

#[test]
fn an_older_static_leader_that_comes_back_is_not_told_that_it_leads() {
    let mut desk = Desk::new();
    let ids = desk.stable(vec![join_static("i"), join_static("j")]);
    let token = desk.send_join(JoinGroup { supports_skipping_assignment: false, ..join_static("i") });
    let joined = desk.joined(token).unwrap().unwrap();
    assert_eq!((joined.skip_assignment, &joined.leader, joined.members.len()), (false, &ids[0], 0));
}

#[test]
fn a_replacement_is_answered_when_it_is_committed_and_outlives_a_crash() {
    let mut desk = Desk::new();
    let ids = desk.stable(vec![join_static("i"), join_static("j")]);
    desk.commits_at_once = false;
    let token = desk.send_join(join_static("j"));
    assert_eq!(desk.joined(token), None);
    desk.commit();
    let new = desk.joined(token).unwrap().unwrap().member_id;
    desk.crash();
    assert_eq!(heartbeat(&mut desk, &ids[1], "j"), Err(Error::FencedInstanceId));
    assert_eq!(heartbeat(&mut desk, &new, "j"), Ok(Reply::Heartbeat));
}

#[test]
fn a_replacement_that_cannot_be_stored_is_undone() {
    let mut desk = Desk::new();
    let ids = desk.stable(vec![join_static("i"), join_static("j")]);
    desk.commits_at_once = false;
    let token = desk.send_join(JoinGroup { session_timeout_ms: 7000, ..join_static("i") });
    desk.fail(AppendFailure::Unavailable);
    assert_eq!(desk.joined(token), Some(Err(Error::CoordinatorNotAvailable)));
    assert_eq!(heartbeat(&mut desk, &ids[0], "i"), Ok(Reply::Heartbeat));
    desk.pass(60 * SECOND);
    assert_eq!(heartbeat(&mut desk, &ids[0], "i"), Ok(Reply::Heartbeat), "its session is as long as before");
    let again = desk.send_join(JoinGroup { member_id: ids[0].clone(), ..join_static("i") });
    assert_eq!((desk.joined(again), desk.state()), (None, Some(State::PreparingRebalance)), "it leads again");
}

#[test]
fn two_processes_with_one_instance_id_fence_each_other() {
    let mut desk = Desk::new();
    desk.stable(vec![join_static("i")]);
    desk.commits_at_once = false;
    let first = desk.send_join(join_static("i"));
    let second = desk.send_join(join_static("i"));
    assert_eq!(desk.joined(first), Some(Err(Error::FencedInstanceId)));
    desk.commit_one();
    assert_eq!(desk.joined(second), None);
    desk.commit();
    assert_eq!(desk.joined(second).unwrap().unwrap().generation, 1);
}

#[test]
fn a_replacement_before_the_assignment_starts_the_rebalance_anew() {
    let mut desk = Desk::new();
    let tokens = [join_static("i"), join_static("j")].map(|join| desk.send_join(join));
    desk.pass(6 * SECOND);
    let ids = tokens.map(|token| desk.joined(token).unwrap().unwrap().member_id);
    let waiting = desk.send(sync(&ids[1], 1, vec![]));
    let new = desk.send_join(join_static("j"));
    assert_eq!(desk.synced(waiting), Some(Err(Error::FencedInstanceId)));
    let i = desk.send_join(JoinGroup { member_id: ids[0].clone(), ..join_static("i") });
    let [i, j] = [i, new].map(|token| desk.joined(token).unwrap().unwrap());
    assert_eq!((i.generation, j.generation, i.members.len()), (2, 2, 2));
}

#[test]
fn a_replacement_in_a_rebalance_takes_part_in_it() {
    let mut desk = Desk::new();
    let ids = desk.stable(vec![join_static("i"), join_static("j")]);
    let i = desk.send_join(JoinGroup { member_id: ids[0].clone(), ..join_static("i") });
    let j = desk.send_join(join_static("j"));
    let [i, j] = [i, j].map(|token| desk.joined(token).unwrap().unwrap());
    assert_eq!((i.generation, j.generation), (2, 2));
}

#[test]
fn a_replacement_that_changes_the_common_protocol_starts_a_rebalance() {
    let mut desk = Desk::new();
    let metadata = subscribed(&["t"]);
    let both = |instance| JoinGroup {
        protocols: protocols(&["range", "sticky"], &metadata),
        ..join_static(instance)
    };
    desk.stable(vec![both("i"), both("j")]);
    let token =
        desk.send_join(JoinGroup { protocols: protocols(&["sticky"], &metadata), ..join_static("j") });
    assert_eq!((desk.joined(token), desk.state()), (None, Some(State::PreparingRebalance)));
}

#[test]
fn a_rebalance_during_the_replacement_answers_it() {
    let mut desk = Desk::new();
    let ids = desk.stable(vec![join_static("i"), join_static("j")]);
    desk.commits_at_once = false;
    let j = desk.send_join(join_static("j"));
    let i = desk.send_join(JoinGroup { member_id: ids[0].clone(), ..join_static("i") });
    let [i, j] = [i, j].map(|token| desk.joined(token).unwrap().unwrap());
    assert_eq!((i.generation, j.generation), (2, 2));
    desk.fail(AppendFailure::Unavailable);
    assert_eq!(i.members[1].member_id, j.member_id);
    assert_eq!(desk.heartbeat(&j.member_id, 2), Ok(Reply::Heartbeat), "the failure undoes nothing any more");
}

#[test]
fn absent_static_members_keep_their_place_until_their_session_ends() {
    let mut desk = Desk::new();
    let ids = desk.stable(vec![join_static("i"), join_static("j"), join("c")]);
    let i = desk.send_join(JoinGroup { member_id: ids[0].clone(), ..join_static("i") });
    desk.pass(MINUTE);
    let joined = desk.joined(i).unwrap().unwrap();
    assert_eq!((joined.generation, joined.members.len()), (2, 2), "j is kept, c is not");
    desk.sync_all(&[ids[0].clone()], 2);
    for _ in 0..6 {
        desk.pass(10 * SECOND);
        assert!(desk.heartbeat(&ids[0], 2).is_ok() || desk.state() != Some(State::Stable));
    }
    assert_ne!(desk.state(), Some(State::Stable), "j did not sync in time");
}

#[test]
fn a_rebalance_with_nobody_but_absent_static_members_waits_for_their_sessions() {
    let mut desk = Desk::new();
    let ids = desk.stable(vec![join_static("i"), join("c")]);
    desk.ask(Request::LeaveGroup(LeaveGroup {
        group: group(),
        members: vec![LeavingMember { member_id: ids[1].clone(), instance_id: None, reason: None }],
    }))
    .unwrap();
    desk.pass(MINUTE + SECOND);
    assert_eq!(desk.state(), Some(State::PreparingRebalance), "postponed");
    desk.pass(MINUTE);
    assert_eq!(desk.state(), Some(State::Empty));
    assert_eq!(desk.coordinator.groups().next().unwrap().members, 0);
}

#[test]
fn a_known_static_member_must_be_who_it_says() {
    let mut desk = Desk::new();
    let ids = desk.stable(vec![join_static("i"), join_static("j")]);
    let wrong = desk.send_join(JoinGroup { member_id: ids[0].clone(), ..join_static("j") });
    assert_eq!(desk.joined(wrong), Some(Err(Error::FencedInstanceId)));
    let wrong = desk.send_join(JoinGroup { member_id: ids[0].clone(), ..join_static("k") });
    assert_eq!(desk.joined(wrong), Some(Err(Error::UnknownMemberId)));
}

#[test]
fn a_replacement_committed_during_a_rebalance_is_answered_by_the_rebalance() {
    let mut desk = Desk::new();
    let ids = desk.stable(vec![join_static("i"), join_static("j"), join("c")]);
    desk.commits_at_once = false;
    let j = desk.send_join(join_static("j"));
    let i = desk.send_join(JoinGroup { member_id: ids[0].clone(), ..join_static("i") });
    desk.commit();
    assert_eq!(desk.joined(j), None);
    desk.send_join(JoinGroup { member_id: ids[2].clone(), ..join("c") });
    assert_eq!(desk.joined(j).unwrap().unwrap().generation, 2);
    assert_eq!(desk.joined(i).unwrap().unwrap().members.len(), 3);
}

#[test]
fn a_replacement_lives_by_its_own_session_timeout() {
    let mut desk = Desk::new();
    desk.stable(vec![join_static("i")]);
    let token = desk.send_join(JoinGroup { session_timeout_ms: 7000, ..join_static("i") });
    assert!(desk.joined(token).unwrap().is_ok());
    desk.pass(7 * SECOND);
    assert_eq!(desk.state(), Some(State::Empty));
}

#[test]
fn a_postponed_rebalance_goes_on_when_somebody_comes() {
    let mut desk = Desk::new();
    let long = JoinGroup { session_timeout_ms: 1_800_000, ..join_static("i") };
    let ids = desk.stable(vec![long, join("c")]);
    desk.pass(10 * SECOND);
    assert_eq!(desk.state(), Some(State::PreparingRebalance), "c was silent");
    desk.pass(2 * MINUTE);
    let new = desk.send_join(join("d"));
    assert_eq!(desk.joined(new), None, "i may still come");
    desk.pass(MINUTE);
    let joined = desk.joined(new).unwrap().unwrap();
    assert_eq!((joined.generation, &joined.leader), (2, &joined.member_id));
    assert!(joined.members.iter().any(|member| member.member_id == ids[0]));
}

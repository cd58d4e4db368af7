use super::desk::*;
use crate::*;

fn leaving(id: &str, instance: Option<&str>) -> LeavingMember {
    LeavingMember { member_id: id.into(), instance_id: instance.map(Into::into), reason: None }
}

fn leave(desk: &mut Desk, members: Vec<LeavingMember>) -> Result<Vec<Option<Error>>, Error> {
    let reply = desk.ask(Request::LeaveGroup(LeaveGroup { group: group(), members }))?;
    let Reply::LeaveGroup(left) = reply else { panic!() };
    Ok(left.into_iter().map(|left| left.error).collect())
}

#[test]
fn a_member_that_leaves_starts_a_rebalance_of_the_others() {
    let mut desk = Desk::new();
    let ids = desk.stable(vec![join("a"), join("b")]);
    assert_eq!(leave(&mut desk, vec![leaving(&ids[0], None)]), Ok(vec![None]));
    assert_eq!(desk.heartbeat(&ids[1], 1), Err(Error::RebalanceInProgress));
    let b = desk.send_join(JoinGroup { member_id: ids[1].clone(), ..join("b") });
    assert_eq!(desk.joined(b).unwrap().unwrap().leader, ids[1]);
}

#[test]
fn several_leave_at_once_each_with_its_own_answer() {
    let mut desk = Desk::new();
    let ids = desk.stable(vec![join_static("i"), join_static("j"), join("c")]);
    let members = vec![
        leaving("", Some("i")),
        leaving(&ids[2], None),
        leaving("who", None),
        leaving("", Some("unknown")),
        leaving("", None),
        leaving("other", Some("j")),
    ];
    let unknown = Some(Error::UnknownMemberId);
    let expected = vec![None, None, unknown.clone(), unknown.clone(), unknown, Some(Error::FencedInstanceId)];
    assert_eq!(leave(&mut desk, members), Ok(expected));
    assert_eq!(desk.coordinator.groups().next().unwrap().members, 1);
}

#[test]
fn nobody_can_leave_a_group_that_does_not_exist() {
    let mut desk = Desk::new();
    assert_eq!(leave(&mut desk, vec![leaving("a", None)]), Ok(vec![Some(Error::UnknownMemberId)]));
    let request = LeaveGroup { group: model::GroupId::new(""), members: vec![leaving("a", None)] };
    assert_eq!(desk.ask(Request::LeaveGroup(request)), Err(Error::InvalidGroupId));
}

#[test]
fn the_last_to_leave_hears_when_the_empty_group_is_committed() {
    let mut desk = Desk::new();
    let ids = desk.stable(vec![join("a")]);
    desk.commits_at_once = false;
    let request = LeaveGroup { group: group(), members: vec![leaving(&ids[0], None)] };
    let token = desk.send(Request::LeaveGroup(request.clone()));
    assert_eq!(desk.take(token), None);
    desk.commit();
    assert!(matches!(desk.take(token), Some(Ok(Reply::LeaveGroup(_)))));
    assert_eq!(desk.state(), Some(State::Empty));
    let Some(Record::GroupMetadata(last)) = desk.log.last() else { panic!() };
    assert_eq!((last.generation, last.members.len(), &last.protocol, &last.leader), (2, 0, &None, &None));
    assert_eq!(&*last.protocol_type, "consumer");
}

#[test]
fn if_that_record_fails_the_leaver_hears_so() {
    let mut desk = Desk::new();
    let ids = desk.stable(vec![join("a")]);
    desk.commits_at_once = false;
    let request = LeaveGroup { group: group(), members: vec![leaving(&ids[0], None)] };
    let token = desk.send(Request::LeaveGroup(request));
    desk.fail(AppendFailure::Unavailable);
    assert_eq!(desk.take(token), Some(Err(Error::CoordinatorNotAvailable)));
}

#[test]
fn the_last_one_waited_for_completes_the_rebalance_by_leaving() {
    let mut desk = Desk::new();
    let ids = desk.stable(vec![join("a"), join("b")]);
    let a = desk.send_join(JoinGroup { member_id: ids[0].clone(), ..join("a") });
    assert_eq!(leave(&mut desk, vec![leaving(&ids[1], None)]), Ok(vec![None]));
    assert_eq!(desk.joined(a).unwrap().unwrap().members.len(), 1);
}

#[test]
fn who_leaves_while_his_requests_wait_hears_that_he_is_out() {
    let mut desk = Desk::new();
    let ids = desk.stable(vec![join("a"), join("b")]);
    let a = desk.send_join(JoinGroup { member_id: ids[0].clone(), ..join("a") });
    leave(&mut desk, vec![leaving(&ids[0], None)]).unwrap();
    assert_eq!(desk.joined(a), Some(Err(Error::UnknownMemberId)));
    let b = desk.send_join(JoinGroup { member_id: ids[1].clone(), ..join("b") });
    assert!(desk.joined(b).unwrap().is_ok());
    let c = desk.send_join(join("c"));
    let b = desk.send_join(JoinGroup { member_id: ids[1].clone(), ..join("b") });
    let [b, c] = [b, c].map(|token| desk.joined(token).unwrap().unwrap().member_id);
    let sync = desk.send(sync(&c, 3, vec![]));
    leave(&mut desk, vec![leaving(&c, None), leaving(&b, None)]).unwrap();
    assert_eq!(desk.synced(sync), Some(Err(Error::UnknownMemberId)));
}

#[test]
fn an_id_given_ahead_can_be_given_back() {
    let mut desk = Desk::new();
    let token = desk.send_join(JoinGroup { require_known_member_id: true, ..join("a") });
    let Some(Err(Error::MemberIdRequired(id))) = desk.joined(token) else { panic!() };
    assert_eq!(leave(&mut desk, vec![leaving(&id, None)]), Ok(vec![None]));
    assert_eq!(leave(&mut desk, vec![leaving(&id, None)]), Ok(vec![Some(Error::UnknownMemberId)]));
}

//! The APIs of classic groups.

use crate::harness::{Client, Member, NODE_ID, Node, code, join, sync};
use wire::{
    DeleteGroupsRequest, DescribeGroupsRequest, ErrorCode, FindCoordinatorRequest, HeartbeatRequest,
    LeaveGroupRequest, ListGroupsRequest, leave_group_request::MemberIdentity,
};

async fn node_with_groups() -> (Node, Client) {
    let node = Node::start().await;
    let mut client = node.client();
    client.find_coordinator().await;
    (node, client)
}

pub(super) async fn find_coordinator(version: i16) {
    let node = Node::start().await;
    let mut client = node.client();
    if version < 4 {
        let request = FindCoordinatorRequest { key: "g".into(), ..FindCoordinatorRequest::default() };
        let found = client.call(version, &request).await;
        assert_eq!(found.error_code, 0);
        assert!(found.error_message.is_none_or(|message| message.is_empty() || message == "NONE"));
        assert_eq!((found.node_id, found.host.as_str(), found.port), (NODE_ID, "here", 9092));
        if version >= 1 {
            let found = client.call(version, &FindCoordinatorRequest { key_type: 9, ..request }).await;
            assert_eq!((found.error_code, found.node_id), (code(ErrorCode::InvalidRequest), -1));
        }
        return;
    }
    let coordinator_keys = vec!["g".into(), "h".into()];
    let request = FindCoordinatorRequest { coordinator_keys, ..FindCoordinatorRequest::default() };
    let found = client.call(version, &request).await.coordinators;
    let keys: Vec<_> = found.iter().map(|found| found.key.as_str()).collect();
    assert_eq!(keys, ["g", "h"]);
    for found in found {
        assert_eq!((found.error_code, found.node_id, found.port), (0, NODE_ID, 9092));
    }
    let found = client.call(version, &FindCoordinatorRequest { key_type: 9, ..request }).await.coordinators;
    assert_eq!((found[1].error_code, found[1].node_id), (code(ErrorCode::InvalidRequest), -1));
    let key = |partition: &str| format!("g:with:colons:AAAAAAAAAAAAAAAAAAAAAQ:{partition}");
    let share = FindCoordinatorRequest {
        key_type: 2,
        coordinator_keys: vec![key("0"), key("-1"), "g:0".into()],
        ..FindCoordinatorRequest::default()
    };
    let found = client.call(version, &share).await.coordinators;
    let codes: Vec<_> = found.iter().map(|found| found.error_code).collect();
    let invalid = code(ErrorCode::InvalidRequest);
    assert_eq!(codes, [if version >= 6 { 0 } else { invalid }, invalid, invalid]);
}

pub(super) async fn join_group(version: i16) {
    let (node, mut first) = node_with_groups().await;
    let joined = first.join(version, "g").await;
    assert_eq!((joined.error_code, joined.generation_id), (0, 1));
    assert_eq!(joined.leader, joined.member_id);
    assert_eq!(joined.protocol_name.as_deref(), Some("range"));
    assert_eq!(joined.protocol_type.as_deref(), (version >= 7).then_some("consumer"));
    assert!(!joined.skip_assignment);
    let members: Vec<_> = joined.members.iter().map(|m| (m.member_id.as_str(), &m.metadata[..])).collect();
    assert_eq!(members, [(joined.member_id.as_str(), &b"meta"[..])]);
    // A second member makes the first one join again; the leader alone hears of both.
    let mut second = node.client();
    let id = match version {
        ..4 => String::new(),
        _ => second.call(version, &join("g", "")).await.member_id,
    };
    second.send(version, &join("g", &id)).await;
    assert!(!second.has_answer().await);
    let again = first.call(version, &join("g", &joined.member_id)).await;
    let other = second.receive::<wire::JoinGroupRequest>(version).await;
    assert_eq!((again.error_code, again.generation_id, again.members.len()), (0, 2, 2));
    assert_eq!((other.error_code, other.generation_id, other.members.len()), (0, 2, 0));
    assert_eq!(other.leader, joined.member_id);
    refusals(&mut first, version).await;
    if version >= 5 {
        let mut fixed = node.client();
        let mut request = join("static", "");
        request.group_instance_id = Some("i1".into());
        let joined = fixed.call(version, &request).await;
        assert_eq!((joined.error_code, joined.generation_id), (0, 1), "a static member needs no id first");
        assert_eq!(joined.members[0].group_instance_id.as_deref(), Some("i1"));
    }
}

async fn refusals(client: &mut Client, version: i16) {
    let mut inconsistent = join("g", "");
    inconsistent.protocols[0].name = "other".into();
    let mut nothing = join("h", "");
    nothing.protocols.clear();
    let mut impatient = join("g", "");
    impatient.session_timeout_ms = 1;
    let cases = [
        (join("", ""), ErrorCode::InvalidGroupId),
        (join("h", "unknown"), ErrorCode::UnknownMemberId),
        (inconsistent, ErrorCode::InconsistentGroupProtocol),
        (nothing, ErrorCode::InconsistentGroupProtocol),
        (impatient, ErrorCode::InvalidSessionTimeout),
    ];
    for (request, error) in cases {
        let refused = client.call(version, &request).await;
        assert_eq!((refused.error_code, refused.generation_id), (code(error), -1), "{request:?}");
        assert_eq!((refused.member_id, refused.members.len()), (request.member_id, 0));
    }
}

pub(super) async fn sync_group(version: i16) {
    let (node, mut leader) = node_with_groups().await;
    let mut follower = node.client();
    leader.send(3, &join("g", "")).await;
    let other = follower.call(3, &join("g", "")).await;
    let first = leader.receive::<wire::JoinGroupRequest>(3).await;
    assert_eq!((first.generation_id, first.members.len() + other.members.len()), (1, 2));
    let (mut leader, mut follower, first, other) = if first.leader == first.member_id {
        (leader, follower, first, other)
    } else {
        (follower, leader, other, first)
    };
    let member = |id: &str| Member { id: id.to_owned(), generation: 1 };
    let (first, other) = (member(&first.member_id), member(&other.member_id));
    let request = |member: &Member, assignments: &[(&str, &'static str)]| {
        let mut request = sync("g", member, assignments);
        if version < 5 {
            (request.protocol_type, request.protocol_name) = (None, None);
        }
        request
    };
    follower.send(version, &request(&other, &[])).await;
    assert!(!follower.has_answer().await);
    let answer = leader.call(version, &request(&first, &[(&first.id, "one"), (&other.id, "two")])).await;
    assert_eq!((answer.error_code, &answer.assignment[..]), (0, &b"one"[..]));
    let answer = follower.receive::<wire::SyncGroupRequest>(version).await;
    assert_eq!((answer.error_code, &answer.assignment[..]), (0, &b"two"[..]));
    let told = (answer.protocol_type.as_deref(), answer.protocol_name.as_deref());
    assert_eq!(told, if version >= 5 { (Some("consumer"), Some("range")) } else { (None, None) });
    let cases = [
        (Member { generation: 7, ..first.clone() }, ErrorCode::IllegalGeneration),
        (member("unknown"), ErrorCode::UnknownMemberId),
    ];
    for (member, error) in cases {
        let answer = leader.call(version, &request(&member, &[])).await;
        assert_eq!((answer.error_code, answer.assignment.len()), (code(error), 0));
    }
    if version >= 5 {
        let mut other_protocol = request(&first, &[]);
        other_protocol.protocol_name = Some("other".into());
        let answer = leader.call(version, &other_protocol).await;
        assert_eq!(answer.error_code, code(ErrorCode::InconsistentGroupProtocol));
    }
}

pub(super) async fn heartbeat(version: i16) {
    let (node, mut client) = node_with_groups().await;
    let member = client.enter("g").await;
    let beat = |group: &str, member_id: &str, generation_id| HeartbeatRequest {
        group_id: group.into(),
        generation_id,
        member_id: member_id.into(),
        group_instance_id: None,
    };
    let cases = [
        (beat("g", &member.id, 1), ErrorCode::None),
        (beat("g", &member.id, 2), ErrorCode::IllegalGeneration),
        (beat("g", "unknown", 1), ErrorCode::UnknownMemberId),
        (beat("h", &member.id, 1), ErrorCode::UnknownMemberId),
    ];
    for (request, error) in cases {
        assert_eq!(client.call(version, &request).await.error_code, code(error), "{request:?}");
    }
    let mut other = node.client();
    other.send(3, &join("g", "")).await;
    assert!(!other.has_answer().await);
    let answer = client.call(version, &beat("g", &member.id, 1)).await;
    assert_eq!(answer.error_code, code(ErrorCode::RebalanceInProgress));
    // Who never joins again is thrown out when the rebalance times out.
    assert_eq!(other.receive::<wire::JoinGroupRequest>(3).await.generation_id, 2);
    let answer = client.call(version, &beat("g", &member.id, 1)).await;
    assert_eq!(answer.error_code, code(ErrorCode::UnknownMemberId));
}

pub(super) async fn leave_group(version: i16) {
    let (_node, mut client) = node_with_groups().await;
    let member = client.enter("g").await;
    let unknown = code(ErrorCode::UnknownMemberId);
    if version < 3 {
        let leave =
            |id: &str| LeaveGroupRequest { group_id: "g".into(), member_id: id.into(), members: vec![] };
        for (id, error) in [("unknown", unknown), (&member.id, 0), (&member.id, unknown)] {
            assert_eq!(client.call(version, &leave(id)).await.error_code, error);
        }
    } else {
        let mut request = join("g", "");
        request.group_instance_id = Some("i1".into());
        let mut fixed = _node.client();
        fixed.send(9, &request).await;
        client.call(9, &join("g", &member.id)).await;
        fixed.receive::<wire::JoinGroupRequest>(9).await;
        let leaving = |id: &str, instance: Option<&str>| MemberIdentity {
            member_id: id.into(),
            group_instance_id: instance.map(str::to_owned),
            reason: (version >= 5).then(|| "tired".to_owned()),
        };
        let members = vec![
            leaving("unknown", None),
            leaving(&member.id, None),
            leaving("", Some("i2")),
            leaving("other", Some("i1")),
            leaving("", Some("i1")),
        ];
        let request = LeaveGroupRequest { group_id: "g".into(), members, ..Default::default() };
        let response = client.call(version, &request).await;
        assert_eq!(response.error_code, 0);
        let codes: Vec<_> = response.members.iter().map(|member| member.error_code).collect();
        assert_eq!(codes, [unknown, 0, unknown, code(ErrorCode::FencedInstanceId), 0]);
        assert_eq!(response.members[1].member_id, member.id);
        assert_eq!(response.members[4].group_instance_id.as_deref(), Some("i1"));
    }
    let request = DescribeGroupsRequest { groups: vec!["g".into()], ..Default::default() };
    assert_eq!(client.call(5, &request).await.groups[0].group_state, "Empty");
}

pub(super) async fn describe_groups(version: i16) {
    let (_node, mut client) = node_with_groups().await;
    let member = client.enter("g").await;
    let groups = ["g", "unknown", "g", "unknown", "g"].map(str::to_owned).to_vec();
    let request = DescribeGroupsRequest { groups, include_authorized_operations: version >= 3 };
    let response = client.call(version, &request).await;
    let [group, unknown] = &response.groups[..] else { panic!("{response:?}") };
    assert_eq!((group.error_code, group.group_id.as_str(), group.group_state.as_str()), (0, "g", "Stable"));
    assert_eq!((group.protocol_type.as_str(), group.protocol_data.as_str()), ("consumer", "range"));
    assert_eq!(group.authorized_operations, if version >= 3 { 0b1101_0100_1000 } else { i32::MIN });
    let told = &group.members[0];
    assert_eq!((told.member_id.as_str(), group.members.len()), (member.id.as_str(), 1));
    assert_eq!((told.client_id.as_str(), told.client_host.as_str()), ("test-client", "/127.0.0.1"));
    assert_eq!((&told.member_metadata[..], &told.member_assignment[..]), (&b"meta"[..], &b"mine"[..]));
    assert_eq!((unknown.group_id.as_str(), unknown.group_state.as_str()), ("unknown", "Dead"));
    let missing = if version >= 6 { code(ErrorCode::GroupIdNotFound) } else { 0 };
    assert_eq!((unknown.error_code, unknown.error_message.is_some()), (missing, version >= 6));
}

pub(super) async fn list_groups(version: i16) {
    let (node, mut client) = node_with_groups().await;
    client.enter("g").await;
    let mut other = node.client();
    other.send(3, &join("joining", "")).await;
    assert!(!other.has_answer().await);
    let mut response = client.call(version, &ListGroupsRequest::default()).await;
    response.groups.sort_by(|a, b| a.group_id.cmp(&b.group_id));
    assert_eq!(response.error_code, 0);
    let groups: Vec<_> =
        response.groups.iter().map(|group| (group.group_id.as_str(), group.group_state.as_str())).collect();
    let states = if version >= 4 { ["Stable", "PreparingRebalance"] } else { ["", ""] };
    assert_eq!(groups, [("g", states[0]), ("joining", states[1])]);
    assert!(response.groups.iter().all(|group| group.protocol_type == "consumer"));
    let types: Vec<_> = response.groups.iter().map(|group| group.group_type.as_str()).collect();
    assert_eq!(types, if version >= 5 { ["classic", "classic"] } else { ["", ""] });
    if version >= 4 {
        let states_filter = vec!["stable".into()];
        let response = client.call(version, &ListGroupsRequest { states_filter, ..Default::default() }).await;
        assert_eq!(response.groups.len(), 1, "states are compared without regard to case");
    }
    if version >= 5 {
        let types_filter = vec!["consumer".into()];
        let response = client.call(version, &ListGroupsRequest { types_filter, ..Default::default() }).await;
        assert_eq!(response.groups.len(), 0);
    }
}

pub(super) async fn delete_groups(version: i16) {
    let (_node, mut client) = node_with_groups().await;
    let member = client.enter("g").await;
    let request = DeleteGroupsRequest { groups_names: vec!["g".into(), "unknown".into(), "".into()] };
    let results = client.call(version, &request).await.results;
    let codes: Vec<_> = results.iter().map(|result| (result.group_id.as_str(), result.error_code)).collect();
    let (full, missing) = (code(ErrorCode::NonEmptyGroup), code(ErrorCode::GroupIdNotFound));
    assert_eq!(codes, [("g", full), ("unknown", missing), ("", missing)]);
    let leave = LeaveGroupRequest { group_id: "g".into(), member_id: member.id, members: vec![] };
    assert_eq!(client.call(2, &leave).await.error_code, 0);
    let results = client.call(version, &request).await.results;
    assert_eq!((results[0].error_code, results[1].error_code), (0, missing));
    assert_eq!(client.call(5, &ListGroupsRequest::default()).await.groups.len(), 0);
}

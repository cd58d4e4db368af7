//! A group whose members change their protocol (KIP-848) over connections: what each hears, what other APIs show of it,
//! and what outlives the node in the middle. The decisions are tested in `groups`.

use crate::harness::{Client, Node, code};
use bytes::Bytes;
use wire::{
    ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
    DescribeGroupsRequest, ErrorCode, HeartbeatRequest, JoinGroupRequest, JoinGroupResponse,
    LeaveGroupRequest, ListGroupsRequest, SyncGroupRequest, SyncGroupResponse,
    join_group_request::JoinGroupRequestProtocol, leave_group_request::MemberIdentity,
    sync_group_request::SyncGroupRequestAssignment,
};

/// A subscription of version 0 to "t".
const SUBSCRIPTION: &[u8] = b"\0\0\0\0\0\x01\0\x01t\xff\xff\xff\xff";
/// An assignment of partitions 0 and 1 of "t".
const BOTH: &[u8] = b"\0\0\0\0\0\x01\0\x01t\0\0\0\x02\0\0\0\0\0\0\0\x01\xff\xff\xff\xff";
/// One of partition 0.
const FIRST: &[u8] = b"\0\0\0\0\0\x01\0\x01t\0\0\0\x01\0\0\0\0\xff\xff\xff\xff";

async fn started(settings: &[(&str, &str)]) -> (Node, Client) {
    let node = Node::with(settings).await;
    let mut client = node.client();
    client.find_coordinator().await;
    client.create("t", 2, &[]).await;
    (node, client)
}

async fn join(client: &mut Client, member_id: &str) -> JoinGroupResponse {
    let metadata = Bytes::from_static(SUBSCRIPTION);
    let request = JoinGroupRequest {
        group_id: "g".into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 20_000,
        member_id: member_id.into(),
        protocol_type: "consumer".into(),
        protocols: vec![JoinGroupRequestProtocol { name: "range".into(), metadata }],
        ..JoinGroupRequest::default()
    };
    client.call(9, &request).await
}

async fn sync(client: &mut Client, member_id: &str, generation_id: i32) -> SyncGroupResponse {
    let own =
        SyncGroupRequestAssignment { member_id: member_id.into(), assignment: Bytes::from_static(BOTH) };
    let request = SyncGroupRequest {
        group_id: "g".into(),
        generation_id,
        member_id: member_id.into(),
        protocol_type: Some("consumer".into()),
        protocol_name: Some("range".into()),
        assignments: vec![own],
        ..SyncGroupRequest::default()
    };
    client.call(5, &request).await
}

async fn heartbeat(client: &mut Client, member_id: &str, generation_id: i32) -> i16 {
    let request = HeartbeatRequest {
        group_id: "g".into(),
        generation_id,
        member_id: member_id.into(),
        ..HeartbeatRequest::default()
    };
    client.call(4, &request).await.error_code
}

/// The heartbeat of a member of the consumer protocol: epoch 0 joins, -1 leaves.
async fn beat(client: &mut Client, epoch: i32) -> ConsumerGroupHeartbeatResponse {
    let request = ConsumerGroupHeartbeatRequest {
        group_id: "g".into(),
        member_id: "c".into(),
        member_epoch: epoch,
        rebalance_timeout_ms: if epoch == 0 { 60_000 } else { -1 },
        subscribed_topic_names: (epoch == 0).then(|| vec!["t".into()]),
        topic_partitions: (epoch == 0).then(Vec::new),
        ..ConsumerGroupHeartbeatRequest::default()
    };
    client.call(1, &request).await
}

/// One classic member that has both partitions; gives its id.
async fn classic(client: &mut Client) -> String {
    let id = join(client, "").await.member_id;
    let joined = join(client, &id).await;
    assert_eq!((joined.error_code, joined.generation_id, &joined.leader), (0, 1, &id));
    assert_eq!(sync(client, &id, 1).await.assignment, BOTH);
    id
}

async fn listed(client: &mut Client) -> (String, String) {
    let groups = client.call(5, &ListGroupsRequest::default()).await.groups;
    let [group] = &groups[..] else { panic!("{groups:?}") };
    assert_eq!((group.group_id.as_str(), group.protocol_type.as_str()), ("g", "consumer"));
    (group.group_type.clone(), group.group_state.clone())
}

fn kind(group_type: &str, state: &str) -> (String, String) {
    (group_type.into(), state.into())
}

#[tokio::test(start_paused = true)]
async fn a_group_becomes_a_consumer_group_and_a_classic_one_again_while_its_member_stays() {
    let (node, mut client) = started(&[]).await;
    let id = classic(&mut client).await;
    let c = beat(&mut client, 0).await;
    assert_eq!((c.error_code, c.member_epoch), (0, 2));
    assert_eq!(listed(&mut client).await, kind("consumer", "Reconciling"));
    let request = DescribeGroupsRequest { groups: vec!["g".into()], ..Default::default() };
    assert_eq!(client.call(6, &request).await.groups[0].error_code, code(ErrorCode::GroupIdNotFound));
    let describe = ConsumerGroupDescribeRequest { group_ids: vec!["g".into()], ..Default::default() };
    let members = client.call(1, &describe).await.groups[0].members.clone();
    let types = members.iter().map(|member| (member.member_id.as_str(), member.member_type));
    assert_eq!(types.collect::<Vec<_>>(), [("c", 1), (id.as_str(), 0)]);
    assert_eq!(heartbeat(&mut client, &id, 1).await, code(ErrorCode::RebalanceInProgress));
    let joined = join(&mut client, &id).await;
    assert_eq!((joined.error_code, joined.generation_id, joined.leader.as_str()), (0, 2, ""));
    // In the middle of it all.
    let node = node.cut_power().await;
    let mut client = node.client();
    client.find_coordinator().await;
    let synced = sync(&mut client, &id, 2).await;
    assert_eq!((synced.error_code, &synced.assignment[..]), (0, FIRST));
    assert_eq!(synced.protocol_name.as_deref(), Some("range"));
    assert_eq!(heartbeat(&mut client, &id, 2).await, 0);
    let c = beat(&mut client, 2).await;
    let given = c.assignment.map(|assignment| assignment.topic_partitions[0].partitions.clone());
    assert_eq!(given, Some(vec![1]));
    assert_eq!(listed(&mut client).await, kind("consumer", "Stable"));
    assert_eq!(beat(&mut client, -1).await.error_code, 0);
    assert_eq!(listed(&mut client).await, kind("classic", "PreparingRebalance"));
    let node = node.cut_power().await;
    let mut client = node.client();
    client.find_coordinator().await;
    assert_eq!(heartbeat(&mut client, &id, 2).await, code(ErrorCode::RebalanceInProgress));
    let joined = join(&mut client, &id).await;
    assert_eq!((joined.error_code, joined.generation_id, &joined.leader), (0, 3, &id));
    assert_eq!(sync(&mut client, &id, 3).await.assignment, BOTH);
    assert_eq!(listed(&mut client).await, kind("classic", "Stable"));
    let members = vec![MemberIdentity { member_id: id, ..Default::default() }];
    let request = LeaveGroupRequest { group_id: "g".into(), members, ..Default::default() };
    assert_eq!(client.call(5, &request).await.error_code, 0);
    drop(node);
}

#[tokio::test(start_paused = true)]
async fn the_migration_policy_counts() {
    let (node, mut client) = started(&[("group.consumer.migration.policy", "disabled")]).await;
    let id = classic(&mut client).await;
    assert_eq!(beat(&mut client, 0).await.error_code, code(ErrorCode::GroupIdNotFound));
    assert_eq!(heartbeat(&mut client, &id, 1).await, 0);
    // Without members it becomes a consumer group whatever the policy is, and no classic member may join that.
    node.pass(11_000).await;
    assert_eq!(beat(&mut client, 0).await.error_code, 0);
    assert_eq!(join(&mut client, "").await.error_code, code(ErrorCode::InconsistentGroupProtocol));
}

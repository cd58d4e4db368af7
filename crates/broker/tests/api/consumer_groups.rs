//! Consumer groups (KIP-848) over connections: what outlives the node, and what other APIs show of them.

use crate::harness::{Client, Node, Topic, code};
use wire::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, CreatePartitionsRequest,
    DescribeGroupsRequest, ErrorCode, ListGroupsRequest, OffsetCommitRequest, OffsetFetchRequest,
    consumer_group_heartbeat_request::TopicPartitions,
    create_partitions_request::CreatePartitionsTopic,
    offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
    offset_fetch_request::OffsetFetchRequestGroup,
};

async fn join(client: &mut Client, member: &str) -> ConsumerGroupHeartbeatResponse {
    let request = ConsumerGroupHeartbeatRequest {
        group_id: "g".into(),
        member_id: member.into(),
        rebalance_timeout_ms: 60_000,
        subscribed_topic_names: Some(vec!["t".into()]),
        topic_partitions: Some(Vec::new()),
        ..ConsumerGroupHeartbeatRequest::default()
    };
    client.call(1, &request).await
}

async fn beat(
    client: &mut Client,
    member: &str,
    epoch: i32,
    owned: Option<(&Topic, &[i32])>,
) -> ConsumerGroupHeartbeatResponse {
    let owned = owned.map(|(topic, partitions)| {
        vec![TopicPartitions { topic_id: topic.id, partitions: partitions.to_vec() }]
    });
    let request = ConsumerGroupHeartbeatRequest {
        group_id: "g".into(),
        member_id: member.into(),
        member_epoch: epoch,
        rebalance_timeout_ms: -1,
        topic_partitions: owned,
        ..ConsumerGroupHeartbeatRequest::default()
    };
    client.call(1, &request).await
}

fn assigned(response: &ConsumerGroupHeartbeatResponse) -> Option<Vec<i32>> {
    let topics = &response.assignment.as_ref()?.topic_partitions;
    Some(topics.iter().flat_map(|topic| topic.partitions.clone()).collect())
}

async fn started(settings: &[(&str, &str)]) -> (Node, Client, Topic) {
    let node = Node::with(settings).await;
    let mut client = node.client();
    client.find_coordinator().await;
    let topic = client.create("t", 2, &[]).await;
    (node, client, topic)
}

#[tokio::test(start_paused = true)]
async fn a_group_goes_on_after_the_node_lost_its_power() {
    let (node, mut client, topic) = started(&[]).await;
    assert_eq!(assigned(&join(&mut client, "a").await), Some(vec![0, 1]));
    let node = node.cut_power().await;
    let mut client = node.client();
    client.find_coordinator().await;
    let answer = beat(&mut client, "a", 2, Some((&topic, &[0, 1]))).await;
    assert_eq!((answer.error_code, answer.member_epoch, answer.assignment), (0, 2, None));
    node.pass(46_000).await;
    let answer = beat(&mut client, "a", 2, None).await;
    assert_eq!(answer.error_code, code(ErrorCode::UnknownMemberId), "group.consumer.session.timeout.ms");
}

#[tokio::test(start_paused = true)]
async fn new_partitions_are_assigned_with_the_next_heartbeat() {
    let (node, mut client, topic) = started(&[]).await;
    join(&mut client, "a").await;
    let topics = vec![CreatePartitionsTopic { name: "t".into(), count: 3, assignments: None }];
    let request = CreatePartitionsRequest { topics, timeout_ms: 1000, ..Default::default() };
    assert_eq!(client.call(3, &request).await.results[0].error_code, 0);
    // group.consumer.assignment.interval.ms
    node.pass(1000).await;
    let answer = beat(&mut client, "a", 2, Some((&topic, &[0, 1]))).await;
    assert_eq!((answer.member_epoch, assigned(&answer)), (3, Some(vec![0, 1, 2])));
}

#[tokio::test(start_paused = true)]
async fn two_members_share_and_commit_in_their_epochs() {
    let (_node, mut client, topic) = started(&[("group.consumer.assignment.interval.ms", "0")]).await;
    join(&mut client, "a").await;
    assert_eq!(assigned(&join(&mut client, "b").await), Some(vec![]));
    assert_eq!(assigned(&beat(&mut client, "a", 2, Some((&topic, &[0, 1]))).await), Some(vec![0]));
    assert_eq!(beat(&mut client, "a", 2, Some((&topic, &[0]))).await.member_epoch, 3);
    assert_eq!(assigned(&beat(&mut client, "b", 3, None).await), Some(vec![1]));
    let commit = |member: &str, epoch: i32, partition_index: i32| OffsetCommitRequest {
        group_id: "g".into(),
        generation_id_or_member_epoch: epoch,
        member_id: member.into(),
        topics: vec![OffsetCommitRequestTopic {
            name: "t".into(),
            partitions: vec![OffsetCommitRequestPartition {
                partition_index,
                committed_offset: 5,
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    let mut result = async |member, epoch, index, version| {
        client.call(version, &commit(member, epoch, index)).await.topics[0].partitions[0].error_code
    };
    assert_eq!(result("a", 3, 0, 9).await, 0);
    assert_eq!(result("a", 4, 0, 9).await, code(ErrorCode::StaleMemberEpoch));
    assert_eq!(result("a", 2, 0, 9).await, 0, "it has had the partition since epoch 2");
    assert_eq!(result("b", 2, 1, 9).await, code(ErrorCode::StaleMemberEpoch));
    assert_eq!(result("a", 3, 0, 8).await, code(ErrorCode::UnsupportedVersion));
    let mut fetch = async |member: Option<&str>, epoch| {
        let group = OffsetFetchRequestGroup {
            group_id: "g".into(),
            member_id: member.map(str::to_owned),
            member_epoch: epoch,
            ..Default::default()
        };
        let request = OffsetFetchRequest { groups: vec![group], ..Default::default() };
        client.call(9, &request).await.groups[0].error_code
    };
    assert_eq!(fetch(None, -1).await, 0);
    assert_eq!(fetch(Some("a"), 3).await, 0);
    assert_eq!(fetch(Some("a"), 2).await, code(ErrorCode::StaleMemberEpoch));
    assert_eq!(fetch(Some("x"), 3).await, code(ErrorCode::UnknownMemberId));
}

#[tokio::test(start_paused = true)]
async fn classic_apis_do_not_take_it_for_a_classic_group() {
    let (_node, mut client, _) = started(&[]).await;
    join(&mut client, "a").await;
    let listed = client.call(5, &ListGroupsRequest::default()).await.groups;
    let shown: Vec<_> = listed
        .iter()
        .map(|group| (group.group_id.as_str(), group.group_type.as_str(), group.group_state.as_str()))
        .collect();
    assert_eq!(shown, [("g", "consumer", "Stable")]);
    let request = DescribeGroupsRequest { groups: vec!["g".into()], ..Default::default() };
    assert_eq!(client.call(6, &request).await.groups[0].error_code, code(ErrorCode::GroupIdNotFound));
}

//! The APIs of share groups (KIP-932), those of members, of administrators, and those between brokers.

use crate::harness::{Client, Node, Sharing, Topic, batch, code, got};
use stdx::Uuid;
use wire::{
    AlterShareGroupOffsetsRequest, DeleteGroupsRequest, DeleteShareGroupOffsetsRequest,
    DeleteShareGroupStateRequest, DescribeShareGroupOffsetsRequest, ErrorCode,
    InitializeShareGroupStateRequest, ListGroupsRequest, ReadShareGroupStateRequest,
    ReadShareGroupStateSummaryRequest, ShareGroupDescribeRequest, ShareGroupHeartbeatRequest,
    WriteShareGroupStateRequest, alter_share_group_offsets_request as alter,
    delete_share_group_offsets_request as forget, delete_share_group_state_request as delete,
    describe_share_group_offsets_request as describe, initialize_share_group_state_request as initialize,
    read_share_group_state_request as read, read_share_group_state_response::StateBatch,
    read_share_group_state_summary_request as summary, write_share_group_state_request as write,
};

const SMALL: &[(&str, &str)] = &[("share.coordinator.state.topic.num.partitions", "3")];

async fn node_with_topic() -> (Node, Client, Topic) {
    let node = Node::with(SMALL).await;
    let mut client = node.client();
    client.find_coordinator().await;
    let topic = client.create("t", 2, &[]).await;
    (node, client, topic)
}

/// A member that has joined and whose first fetch has set the group to the end of the log.
async fn joined(client: &mut Client, topic: &Topic, version: i16) -> Sharing {
    let mut member = Sharing { version, ..Sharing::new("g", "m") };
    let reply = member.beat(client, 0, Some(&["t"])).await;
    assert_eq!((reply.error_code, reply.member_epoch), (0, 3), "{:?}", reply.error_message);
    assert_eq!(member.fetch(client, topic, 100).await, []);
    member
}

pub(super) async fn share_group_heartbeat(version: i16) {
    let (_node, mut client, topic) = node_with_topic().await;
    let joining = ShareGroupHeartbeatRequest {
        group_id: "g".into(),
        member_id: "m".into(),
        member_epoch: 0,
        rack_id: None,
        subscribed_topic_names: Some(vec!["t".into()]),
    };
    let joined = client.call(version, &joining).await;
    assert_eq!((joined.error_code, joined.member_epoch, joined.heartbeat_interval_ms), (0, 3, 5000));
    assert_eq!(joined.member_id.as_deref(), Some("m"));
    let assigned = joined.assignment.unwrap().topic_partitions;
    assert_eq!(
        (assigned[0].topic_id, &assigned[0].partitions[..]),
        (topic.id, &[0, 1][..]),
        "with the first answer"
    );
    let beat =
        ShareGroupHeartbeatRequest { member_epoch: 3, subscribed_topic_names: None, ..joining.clone() };
    let answer = client.call(version, &beat).await;
    assert_eq!((answer.error_code, answer.member_epoch, answer.assignment), (0, 3, None));
    for (request, error) in [
        (ShareGroupHeartbeatRequest { member_epoch: 7, ..beat.clone() }, ErrorCode::FencedMemberEpoch),
        (ShareGroupHeartbeatRequest { member_id: "x".into(), ..beat.clone() }, ErrorCode::UnknownMemberId),
        (
            ShareGroupHeartbeatRequest { member_id: "x".repeat(37), ..joining.clone() },
            ErrorCode::InvalidRequest,
        ),
        (ShareGroupHeartbeatRequest { group_id: "h".into(), ..beat.clone() }, ErrorCode::GroupIdNotFound),
        (ShareGroupHeartbeatRequest { subscribed_topic_names: None, ..joining }, ErrorCode::InvalidRequest),
    ] {
        let answer = client.call(version, &request).await;
        assert_eq!(answer.error_code, code(error), "{request:?}");
        assert!(answer.error_message.is_some());
    }
    let left = client.call(version, &ShareGroupHeartbeatRequest { member_epoch: -1, ..beat.clone() }).await;
    assert_eq!((left.error_code, left.member_epoch), (0, -1));
    assert_eq!(client.call(version, &beat).await.error_code, code(ErrorCode::UnknownMemberId));
}

pub(super) async fn share_group_describe(version: i16) {
    let (_node, mut client, topic) = node_with_topic().await;
    joined(&mut client, &topic, 2).await;
    let group_ids = vec!["g".into(), "unknown".into()];
    let request = ShareGroupDescribeRequest { group_ids, include_authorized_operations: true };
    let response = client.call(version, &request).await;
    let [group, unknown] = &response.groups[..] else { panic!("{response:?}") };
    assert_eq!((group.error_code, group.group_id.as_str(), group.group_state.as_str()), (0, "g", "Stable"));
    assert_eq!((group.group_epoch, group.assignment_epoch, group.assignor_name.as_str()), (3, 3, "simple"));
    assert_eq!(group.authorized_operations, 0b1101_0100_1000);
    let member = &group.members[0];
    assert_eq!((member.member_id.as_str(), member.member_epoch, group.members.len()), ("m", 3, 1));
    assert_eq!((member.client_id.as_str(), member.client_host.as_str()), ("test-client", "/127.0.0.1"));
    assert_eq!(member.subscribed_topic_names, ["t"]);
    let [only] = &member.assignment.topic_partitions[..] else { panic!("{member:?}") };
    assert_eq!((only.topic_id, only.topic_name.as_str(), &only.partitions[..]), (topic.id, "t", &[0, 1][..]));
    assert_eq!(unknown.error_code, code(ErrorCode::GroupIdNotFound));
    let types = ListGroupsRequest { types_filter: vec!["Share".into()], ..ListGroupsRequest::default() };
    let listed = client.call(5, &types).await.groups;
    assert_eq!((listed[0].group_id.as_str(), listed[0].group_type.as_str(), listed.len()), ("g", "share", 1));
    assert_eq!((listed[0].protocol_type.as_str(), listed[0].group_state.as_str()), ("share", "Stable"));
}

pub(super) async fn share_fetch(version: i16) {
    let (_node, mut client, topic) = node_with_topic().await;
    let mut member = joined(&mut client, &topic, version).await;
    client.produce(&topic, batch(&["a", "b", "c"])).await;
    let request = member.fetch_request(&topic, 1000);
    let response = member.call(&mut client, &request).await;
    assert_eq!((response.error_code, response.acquisition_lock_timeout_ms), (0, 30_000));
    let expected = [(0, "a".into(), 1), (1, "b".into(), 1), (2, "c".into(), 1)];
    assert_eq!(got(&response), expected);
    // With the next fetch it says what became of them.
    let mut request = member.fetch_request(&topic, 0);
    let batch = wire::share_fetch_request::AcknowledgementBatch {
        first_offset: 0,
        last_offset: 2,
        acknowledge_types: vec![1, 2, 3],
    };
    request.topics[0].partitions[0].acknowledgement_batches = vec![batch];
    let response = member.call(&mut client, &request).await;
    let data = &response.responses[0].partitions[0];
    assert_eq!((data.error_code, data.acknowledge_error_code), (0, 0));
    let again = member.fetch(&mut client, &topic, 0).await;
    assert_eq!(again, [(1, "b".into(), 2)]);
    if version >= 2 {
        let mut request = member.fetch_request(&topic, 0);
        (request.max_records, request.share_acquire_mode) = (1, 1);
        client.produce(&topic, crate::harness::batch(&["d", "e"])).await;
        let response = member.call(&mut client, &request).await;
        assert_eq!(
            response.responses[0].partitions[0].acquired_records[0].last_offset, 3,
            "one record exactly"
        );
        let renewing = wire::ShareFetchRequest { is_renew_ack: true, ..member.fetch_request(&topic, 0) };
        assert_eq!(member.call(&mut client, &renewing).await.error_code, code(ErrorCode::InvalidRequest));
    }
    refused_fetches(&mut client, &topic, &mut member).await;
}

async fn refused_fetches(client: &mut Client, topic: &Topic, member: &mut Sharing) {
    let request = member.fetch_request(topic, 0);
    for (wrong, error) in [
        (wire::ShareFetchRequest { group_id: None, ..request.clone() }, ErrorCode::InvalidRequest),
        (wire::ShareFetchRequest { member_id: None, ..request.clone() }, ErrorCode::InvalidRequest),
        (
            wire::ShareFetchRequest { member_id: Some("other".into()), ..request.clone() },
            ErrorCode::ShareSessionNotFound,
        ),
        (
            wire::ShareFetchRequest { share_session_epoch: 77, ..request.clone() },
            ErrorCode::InvalidShareSessionEpoch,
        ),
    ] {
        let response = client.call(member.version, &wrong).await;
        assert_eq!(response.error_code, code(error), "{wrong:?}");
    }
    let nowhere = Topic { name: "x".into(), id: Uuid([9; 16]) };
    let response = member.call(client, &member.fetch_request(&nowhere, 0)).await;
    let unknown = response.responses.iter().find(|topic| topic.topic_id == nowhere.id).unwrap();
    assert_eq!(unknown.partitions[0].error_code, code(ErrorCode::UnknownTopicId));
    let last = wire::ShareFetchRequest { share_session_epoch: -1, topics: vec![], ..request.clone() };
    assert_eq!(client.call(member.version, &last).await.error_code, 0);
    let again = client.call(member.version, &last).await;
    assert_eq!(again.error_code, code(ErrorCode::ShareSessionNotFound));
}

pub(super) async fn share_acknowledge(version: i16) {
    let (node, mut client, topic) = node_with_topic().await;
    let mut member = joined(&mut client, &topic, version).await;
    client.produce(&topic, batch(&["a", "b", "c"])).await;
    assert_eq!(member.fetch(&mut client, &topic, 0).await.len(), 3);
    assert_eq!(member.acknowledge(&mut client, &topic, (0, 0), 1).await, (0, 0));
    let invalid_state = code(ErrorCode::InvalidRecordState);
    assert_eq!(
        member.acknowledge(&mut client, &topic, (1, 5), 1).await,
        (0, code(ErrorCode::InvalidRequest))
    );
    assert_eq!(
        member.acknowledge(&mut client, &topic, (2, 1), 1).await,
        (0, code(ErrorCode::InvalidRequest))
    );
    assert_eq!(
        member.acknowledge(&mut client, &topic, (1, 1), 9).await,
        (0, code(ErrorCode::InvalidRequest))
    );
    // A lock that is prolonged outlives its time; clients of version 1 do not know how.
    node.pass(20_000).await;
    let renewed = member.acknowledge(&mut client, &topic, (1, 1), 4).await;
    assert_eq!(renewed, (0, if version >= 2 { 0 } else { code(ErrorCode::InvalidRequest) }));
    node.pass(20_000).await;
    assert_eq!(member.acknowledge(&mut client, &topic, (2, 2), 1).await, (0, invalid_state), "too late");
    let still = member.acknowledge(&mut client, &topic, (1, 1), 1).await;
    assert_eq!(still, (0, if version >= 2 { 0 } else { invalid_state }));
    let mut other = Sharing::new("g", "other");
    assert_eq!(
        other.acknowledge(&mut client, &topic, (2, 2), 1).await.0,
        code(ErrorCode::InvalidShareSessionEpoch)
    );
    other.session_epoch = 3;
    assert_eq!(
        other.acknowledge(&mut client, &topic, (2, 2), 1).await.0,
        code(ErrorCode::ShareSessionNotFound)
    );
}

fn read_request(topic: &Topic, leader_epoch: i32) -> ReadShareGroupStateRequest {
    let partitions = vec![read::PartitionData { partition: 0, leader_epoch }];
    let topics = vec![read::ReadStateData { topic_id: topic.id, partitions }];
    ReadShareGroupStateRequest { group_id: "s".into(), topics }
}

fn initialize_request(
    topic: &Topic,
    state_epoch: i32,
    start_offset: i64,
) -> InitializeShareGroupStateRequest {
    let partitions = vec![initialize::PartitionData { partition: 0, state_epoch, start_offset }];
    let topics = vec![initialize::InitializeStateData { topic_id: topic.id, partitions }];
    InitializeShareGroupStateRequest { group_id: "s".into(), topics }
}

fn write_request(topic: &Topic, (state_epoch, leader_epoch): (i32, i32)) -> WriteShareGroupStateRequest {
    let batch = write::StateBatch { first_offset: 5, last_offset: 6, delivery_state: 2, delivery_count: 1 };
    let partition = write::PartitionData {
        partition: 0,
        state_epoch,
        leader_epoch,
        start_offset: 4,
        delivery_complete_count: -1,
        state_batches: vec![batch],
    };
    let topics = vec![write::WriteStateData { topic_id: topic.id, partitions: vec![partition] }];
    WriteShareGroupStateRequest { group_id: "s".into(), topics }
}

/// A node whose share coordinator has begun with partition 0 in state epoch 2.
async fn node_with_state() -> (Node, Client, Topic) {
    let (node, mut client, topic) = node_with_topic().await;
    // The topic of the states is made for the first group.
    joined(&mut client, &topic, 2).await;
    let response = client.call(0, &initialize_request(&topic, 2, 4)).await;
    assert_eq!(response.results[0].partitions[0].error_code, 0);
    (node, client, topic)
}

pub(super) async fn initialize_share_group_state(version: i16) {
    let (_node, mut client, topic) = node_with_state().await;
    let mut initialized = async |request: InitializeShareGroupStateRequest| {
        let response = client.call(version, &request).await;
        let result = &response.results[0];
        (result.topic_id, result.partitions[0].partition, result.partitions[0].error_code)
    };
    assert_eq!(initialized(initialize_request(&topic, 3, 9)).await, (topic.id, 0, 0));
    let fenced = initialized(initialize_request(&topic, 1, 9)).await;
    assert_eq!(fenced.2, code(ErrorCode::FencedStateEpoch));
    let nowhere = Topic { name: "x".into(), id: Uuid([9; 16]) };
    let unknown = initialized(initialize_request(&nowhere, 1, 9)).await;
    assert_eq!(unknown.2, code(ErrorCode::UnknownTopicOrPartition));
}

pub(super) async fn read_share_group_state(version: i16) {
    let (_node, mut client, topic) = node_with_state().await;
    client.call(0, &write_request(&topic, (2, -1))).await;
    let response = client.call(version, &read_request(&topic, 7)).await;
    let data = &response.results[0].partitions[0];
    assert_eq!((data.error_code, data.state_epoch, data.start_offset), (0, 2, 4));
    let batch = StateBatch { first_offset: 5, last_offset: 6, delivery_state: 2, delivery_count: 1 };
    assert_eq!(data.state_batches, [batch]);
    let response = client.call(version, &read_request(&topic, 6)).await;
    assert_eq!(response.results[0].partitions[0].error_code, code(ErrorCode::FencedLeaderEpoch));
    let mut unknown = read_request(&topic, 7);
    unknown.group_id = "nobody".into();
    let response = client.call(version, &unknown).await;
    let found = response.results[0].partitions[0].error_code;
    // The node leads all partitions of the topic, so the key alone decides.
    assert_eq!(found, code(ErrorCode::InvalidRequest));
}

pub(super) async fn write_share_group_state(version: i16) {
    let (_node, mut client, topic) = node_with_state().await;
    client.call(0, &read_request(&topic, 7)).await;
    let mut written = async |epochs| {
        let response = client.call(version, &write_request(&topic, epochs)).await;
        response.results[0].partitions[0].error_code
    };
    assert_eq!(written((2, 7)).await, 0);
    assert_eq!(written((2, 6)).await, code(ErrorCode::FencedLeaderEpoch));
    assert_eq!(written((1, 7)).await, code(ErrorCode::FencedStateEpoch));
}

fn summary_request(topic: &Topic) -> ReadShareGroupStateSummaryRequest {
    let partitions = vec![summary::PartitionData { partition: 0, leader_epoch: -1 }];
    let topics = vec![summary::ReadStateSummaryData { topic_id: topic.id, partitions }];
    ReadShareGroupStateSummaryRequest { group_id: "s".into(), topics }
}

pub(super) async fn read_share_group_state_summary(version: i16) {
    let (_node, mut client, topic) = node_with_state().await;
    let response = client.call(version, &summary_request(&topic)).await;
    let data = &response.results[0].partitions[0];
    assert_eq!((data.error_code, data.state_epoch, data.start_offset), (0, 2, 4));
    assert_eq!(data.delivery_complete_count, if version >= 1 { 0 } else { -1 });
    let mut unknown = summary_request(&topic);
    unknown.group_id = "nobody".into();
    let response = client.call(version, &unknown).await;
    assert_eq!(
        (response.results[0].partitions[0].error_code, response.results[0].partitions[0].start_offset),
        (0, -1)
    );
}

pub(super) async fn delete_share_group_state(version: i16) {
    let (_node, mut client, topic) = node_with_state().await;
    let topics = vec![delete::DeleteStateData {
        topic_id: topic.id,
        partitions: vec![delete::PartitionData { partition: 0 }],
    }];
    let request = DeleteShareGroupStateRequest { group_id: "s".into(), topics };
    for _ in 0..2 {
        let response = client.call(version, &request).await;
        assert_eq!(response.results[0].partitions[0].error_code, 0);
    }
    let response = client.call(0, &summary_request(&topic)).await;
    assert_eq!(response.results[0].partitions[0].start_offset, -1);
}

fn describe_request(topics: Option<Vec<&str>>) -> DescribeShareGroupOffsetsRequest {
    let topic = |name: &&str| describe::DescribeShareGroupOffsetsRequestTopic {
        topic_name: name.to_string(),
        partitions: vec![0],
    };
    let topics = topics.map(|names| names.iter().map(topic).collect());
    let group = describe::DescribeShareGroupOffsetsRequestGroup { group_id: "g".into(), topics };
    DescribeShareGroupOffsetsRequest { groups: vec![group] }
}

pub(super) async fn describe_share_group_offsets(version: i16) {
    let (_node, mut client, topic) = node_with_topic().await;
    let mut member = joined(&mut client, &topic, 2).await;
    client.produce(&topic, batch(&["a", "b", "c", "d"])).await;
    member.fetch(&mut client, &topic, 0).await;
    member.acknowledge(&mut client, &topic, (0, 0), 1).await;
    member.acknowledge(&mut client, &topic, (2, 2), 1).await;
    let response = client.call(version, &describe_request(None)).await;
    let group = &response.groups[0];
    assert_eq!((group.error_code, group.group_id.as_str()), (0, "g"));
    let described = &group.topics[0];
    assert_eq!((described.topic_name.as_str(), described.topic_id), ("t", topic.id));
    let [first, second] = &described.partitions[..] else { panic!("{described:?}") };
    assert_eq!((first.partition_index, first.start_offset, first.error_code), (0, 1, 0));
    assert_eq!(first.lag, if version >= 1 { 2 } else { -1 }, "of b to d, c is done");
    assert_eq!((second.partition_index, second.start_offset), (1, -1), "nobody has read it");
    let response = client.call(version, &describe_request(Some(vec!["x", "t"]))).await;
    let topics = &response.groups[0].topics;
    assert_eq!((topics[0].topic_name.as_str(), topics[0].partitions[0].start_offset), ("t", 1));
    assert_eq!((topics[1].topic_name.as_str(), topics[1].partitions[0].start_offset), ("x", -1));
}

fn alter_request(topic: &str, partition_index: i32, start_offset: i64) -> AlterShareGroupOffsetsRequest {
    let partition = alter::AlterShareGroupOffsetsRequestPartition { partition_index, start_offset };
    let topic_name = topic.into();
    let topics = vec![alter::AlterShareGroupOffsetsRequestTopic { topic_name, partitions: vec![partition] }];
    AlterShareGroupOffsetsRequest { group_id: "g".into(), topics }
}

pub(super) async fn alter_share_group_offsets(version: i16) {
    let (node, mut client, topic) = node_with_topic().await;
    let member = joined(&mut client, &topic, 2).await;
    client.produce(&topic, batch(&["a", "b"])).await;
    let refused = client.call(version, &alter_request("t", 0, 0)).await;
    assert_eq!(refused.error_code, code(ErrorCode::NonEmptyGroup));
    assert_eq!(member.beat(&mut client, -1, None).await.error_code, 0);
    client.finish();
    let mut client = node.client();
    let altered = client.call(version, &alter_request("t", 0, 1)).await;
    let data = &altered.responses[0];
    assert_eq!((altered.error_code, data.topic_id, data.partitions[0].error_code), (0, topic.id, 0));
    for (name, index) in [("t", 9), ("x", 0)] {
        let answer = client.call(version, &alter_request(name, index, 1)).await;
        let error = answer.responses[0].partitions[0].error_code;
        assert_eq!(error, code(ErrorCode::UnknownTopicOrPartition), "{name}-{index}");
    }
    let mut again = Sharing::new("g", "n");
    again.beat(&mut client, 0, Some(&["t"])).await;
    assert_eq!(again.fetch(&mut client, &topic, 100).await, [(1, "b".into(), 1)]);
}

pub(super) async fn delete_share_group_offsets(version: i16) {
    let (_node, mut client, topic) = node_with_topic().await;
    let member = joined(&mut client, &topic, 2).await;
    let request = DeleteShareGroupOffsetsRequest {
        group_id: "g".into(),
        topics: ["t", "x"]
            .map(|name| forget::DeleteShareGroupOffsetsRequestTopic { topic_name: name.into() })
            .to_vec(),
    };
    assert_eq!(client.call(version, &request).await.error_code, code(ErrorCode::NonEmptyGroup));
    member.beat(&mut client, -1, None).await;
    let response = client.call(version, &request).await;
    let [known, unknown] = &response.responses[..] else { panic!("{response:?}") };
    assert_eq!((known.topic_id, known.error_code), (topic.id, 0), "{:?}", known.error_message);
    assert_eq!(unknown.error_code, code(ErrorCode::UnknownTopicOrPartition));
    let described = client.call(1, &describe_request(None)).await;
    assert_eq!(described.groups[0].topics, []);
    let deleted = DeleteGroupsRequest { groups_names: vec!["g".into()] };
    assert_eq!(client.call(2, &deleted).await.results[0].error_code, 0);
    assert_eq!(client.call(version, &request).await.error_code, code(ErrorCode::GroupIdNotFound));
}

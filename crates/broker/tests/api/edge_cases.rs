//! Where Kafka's answer is not the obvious one: which error of several, what is told once, what waits, what is null.

use crate::harness::{Client, Node, Topic, batch, code, fetch, fetch_topic, produce};
use wire::{
    AlterPartitionReassignmentsRequest, ConsumerGroupDescribeRequest, DeleteGroupsRequest,
    DeleteTopicsRequest, DescribeClusterRequest, DescribeGroupsRequest, DescribeProducersRequest,
    DescribeTopicPartitionsRequest, ErrorCode, FetchRequest, FindCoordinatorRequest, InitProducerIdRequest,
    ListOffsetsRequest, ListPartitionReassignmentsRequest, MetadataRequest, OffsetCommitRequest,
    OffsetFetchRequest, ShareGroupDescribeRequest, StreamsGroupDescribeRequest, describe_producers_request,
    describe_topic_partitions_request::{Cursor, TopicRequest},
    list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
    metadata_request::MetadataRequestTopic,
    offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
    offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics},
};

const OPERATIONS_UNKNOWN: i32 = i32::MIN;

#[tokio::test(start_paused = true)]
async fn a_fetch_of_no_topic_id_at_all_asks_for_an_unknown_id() {
    let node = Node::start().await;
    let mut client = node.client();
    let nameless = Topic { name: String::new(), id: stdx::Uuid::ZERO };
    let answer = client.fetch_at(13, &nameless, 0, 0).await;
    assert_eq!(answer.error_code, code(ErrorCode::UnknownTopicId));
}

#[tokio::test(start_paused = true)]
async fn a_fetch_waits_for_what_exists_though_another_partition_does_not() {
    let node = Node::start().await;
    let mut client = node.client();
    let topic = client.create("t", 1, &[]).await;
    let unknown = Topic { name: "unknown".into(), id: stdx::Uuid([9; 16]) };
    let mut request = FetchRequest { max_wait_ms: 3000, ..fetch(&topic, 0, 0) };
    request.topics[0].partitions.extend(fetch_topic(&topic, &[(7, 0)]).partitions);
    request.topics.push(fetch_topic(&unknown, &[(0, 0)]));
    let start = node.now_ms();
    let response = client.call(13, &request).await;
    assert_eq!(node.now_ms() - start, 3000);
    let codes = response.responses.iter().flat_map(|topic| &topic.partitions).map(|one| one.error_code);
    let gone = [ErrorCode::None, ErrorCode::UnknownTopicOrPartition, ErrorCode::UnknownTopicId].map(code);
    assert_eq!(codes.collect::<Vec<_>>(), gone);
    request.topics.remove(0);
    client.call(13, &request).await;
    assert_eq!(node.now_ms() - start, 3000, "there is nothing to wait for");
}

#[tokio::test(start_paused = true)]
async fn a_fetch_with_an_old_epoch_hears_who_leads_now() {
    let node = Node::start().await;
    let topic = node.client().create("t", 1, &[]).await;
    // A new start is a new incarnation of the broker, and its epoch a new one.
    let node = node.restart().await;
    let mut client = node.client();
    let mut request = fetch(&topic, 0, 0);
    request.topics[0].partitions[0].current_leader_epoch = 0;
    for version in [15, 16, 18] {
        let response = client.call(version, &request).await;
        let data = &response.responses[0].partitions[0];
        assert_eq!(data.error_code, code(ErrorCode::FencedLeaderEpoch));
        let leader = (data.current_leader.leader_id, data.current_leader.leader_epoch > 0);
        assert_eq!(leader, if version >= 16 { (7, true) } else { (-1, false) });
        let told: Vec<_> = response
            .node_endpoints
            .iter()
            .map(|node| (node.node_id, node.host.as_str(), node.port))
            .collect();
        assert_eq!(told, if version >= 16 { vec![(7, "here", 9092)] } else { vec![] });
    }
}

#[tokio::test(start_paused = true)]
async fn the_debugging_consumer_sees_the_end_of_the_log_and_others_what_is_durable() {
    let node = Node::start().await;
    let mut client = node.client();
    let topic = client.create("t", 1, &[]).await;
    node.tasks.hold_next_job();
    node.client().send(9, &produce(&topic, 0, -1, batch(&["a"]))).await;
    node.pass(1).await;
    for (replica_id, end) in [(-1, 0), (-2, 1)] {
        let latest = ListOffsetsPartition { partition_index: 0, timestamp: -1, ..Default::default() };
        let topics = vec![ListOffsetsTopic { name: "t".into(), partitions: vec![latest] }];
        let response = client.call(7, &ListOffsetsRequest { replica_id, topics, ..Default::default() }).await;
        assert_eq!(response.topics[0].partitions[0].offset, end, "replica {replica_id}");
    }
    node.tasks.release();
}

#[tokio::test(start_paused = true)]
async fn a_commit_answers_each_unknown_id_for_itself() {
    let node = Node::start().await;
    let mut client = node.client();
    let [first, second] = [[8; 16], [9; 16]].map(stdx::Uuid);
    let topics = [(first, 0), (second, 1), (first, 2)].map(|(topic_id, partition_index)| {
        let partition = OffsetCommitRequestPartition { partition_index, ..Default::default() };
        OffsetCommitRequestTopic { topic_id, partitions: vec![partition], ..Default::default() }
    });
    let request = OffsetCommitRequest { group_id: "g".into(), topics: topics.to_vec(), ..Default::default() };
    let response = client.call(10, &request).await;
    let indexes = |one: &wire::offset_commit_response::OffsetCommitResponseTopic| {
        one.partitions.iter().map(|one| one.partition_index).collect::<Vec<_>>()
    };
    let told: Vec<_> = response.topics.iter().map(|one| (one.topic_id, indexes(one))).collect();
    assert_eq!(told, [(first, vec![0, 2]), (second, vec![1])]);
}

#[tokio::test(start_paused = true)]
async fn metadata_tells_each_id_once_and_the_operations_also_of_what_is_unknown() {
    let node = Node::start().await;
    let mut client = node.client();
    let topic = client.create("t", 1, &[]).await;
    let by_id = |id| MetadataRequestTopic { topic_id: id, name: None };
    let unknown = stdx::Uuid([9; 16]);
    let topics = [topic.id, unknown, topic.id, unknown].map(by_id).to_vec();
    let request = MetadataRequest {
        topics: Some(topics),
        include_topic_authorized_operations: true,
        ..Default::default()
    };
    let response = client.call(12, &request).await;
    let told: Vec<_> = response.topics.iter().map(|one| (one.topic_id, one.error_code)).collect();
    assert_eq!(told, [(topic.id, 0), (unknown, code(ErrorCode::UnknownTopicId))]);
    let topics = vec![MetadataRequestTopic { name: Some("unknown".into()), ..Default::default() }];
    let request = MetadataRequest { topics: Some(topics), allow_auto_topic_creation: false, ..request };
    for version in [7, 8, 13] {
        let include = version >= 8;
        let request = MetadataRequest { include_topic_authorized_operations: include, ..request.clone() };
        let answer = client.call(version, &request).await.topics.remove(0);
        assert_eq!(answer.error_code, code(ErrorCode::UnknownTopicOrPartition));
        assert_eq!(answer.topic_authorized_operations != OPERATIONS_UNKNOWN, include);
    }
}

#[tokio::test(start_paused = true)]
async fn a_producer_id_without_its_epoch_is_refused() {
    let node = Node::start().await;
    let mut client = node.client();
    for (producer_id, producer_epoch, error) in [
        (-1, 0, ErrorCode::InvalidRequest),
        (5, -1, ErrorCode::InvalidRequest),
        (5, 0, ErrorCode::None),
        (-1, -1, ErrorCode::None),
    ] {
        let request = InitProducerIdRequest {
            transactional_id: None,
            producer_id,
            producer_epoch,
            ..Default::default()
        };
        let answer = client.call(3, &request).await;
        assert_eq!(answer.error_code, code(error), "{producer_id}, {producer_epoch}");
        assert_eq!(answer.producer_id >= 0, error == ErrorCode::None);
    }
}

#[tokio::test(start_paused = true)]
async fn operations_are_told_of_groups_that_exist() {
    let node = Node::start().await;
    let mut client = node.client();
    client.find_coordinator().await;
    let request = DescribeGroupsRequest { groups: vec!["gone".into()], include_authorized_operations: true };
    for (version, error, is_told) in [(5, ErrorCode::None, true), (6, ErrorCode::GroupIdNotFound, false)] {
        let answer = client.call(version, &request).await.groups.remove(0);
        assert_eq!((answer.error_code, answer.group_state.as_str()), (code(error), "Dead"));
        assert_eq!(answer.authorized_operations != OPERATIONS_UNKNOWN, is_told, "version {version}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_group_that_is_to_be_deleted_twice_is_answered_once() {
    let node = Node::start().await;
    let mut client = node.client();
    client.find_coordinator().await;
    let groups_names = ["a", "b", "a"].map(str::to_owned).to_vec();
    let response = client.call(2, &DeleteGroupsRequest { groups_names }).await;
    let told: Vec<_> = response.results.iter().map(|one| one.group_id.as_str()).collect();
    assert_eq!(told, ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn endpoints_of_an_unknown_type_are_another_error_than_those_of_controllers() {
    let node = Node::start().await;
    let mut client = node.client();
    let mismatched = ErrorCode::MismatchedEndpointType;
    for (endpoint_type, error) in
        [(2, mismatched), (0, ErrorCode::UnsupportedEndpointType), (9, ErrorCode::UnsupportedEndpointType)]
    {
        let request = DescribeClusterRequest { endpoint_type, ..Default::default() };
        let answer = client.call(1, &request).await;
        assert_eq!((answer.error_code, answer.cluster_id.as_str()), (code(error), ""));
        assert_eq!((answer.brokers.len(), answer.error_message.is_some()), (0, true));
    }
}

fn pages(names: &[&str], cursor: Option<(&str, i32)>) -> DescribeTopicPartitionsRequest {
    DescribeTopicPartitionsRequest {
        topics: names.iter().map(|name| TopicRequest { name: name.to_string() }).collect(),
        cursor: cursor.map(|(name, index)| Cursor { topic_name: name.into(), partition_index: index }),
        ..Default::default()
    }
}

#[tokio::test(start_paused = true)]
async fn a_cursor_must_be_of_the_topics_that_are_asked_for() {
    let node = Node::start().await;
    let mut client = node.client();
    for name in ["a", "b"] {
        client.create(name, 1, &[]).await;
    }
    let invalid = code(ErrorCode::InvalidRequest);
    for (request, told) in [
        (pages(&["a", "b"], Some(("b", 0))), vec![("b", 0)]),
        (pages(&["a"], Some(("b", 0))), vec![("a", invalid)]),
        (pages(&["a", "b"], Some(("b", -1))), vec![("a", invalid), ("b", invalid)]),
        (pages(&[], Some(("b", 0))), vec![("b", 0)]),
        (pages(&[], Some(("b", -1))), vec![]),
        (pages(&[], Some(("aa", 0))), vec![("b", 0)]),
    ] {
        let response = client.call(0, &request).await;
        let topics: Vec<_> =
            response.topics.iter().map(|one| (one.name.as_deref().unwrap(), one.error_code)).collect();
        assert_eq!(topics, told, "{request:?}");
    }
    let response = client.call(0, &pages(&["__consumer_offsets"], None)).await;
    let unknown = &response.topics[0];
    assert_eq!(unknown.error_code, code(ErrorCode::UnknownTopicOrPartition));
    assert!(unknown.is_internal && unknown.topic_authorized_operations != OPERATIONS_UNKNOWN);
}

#[tokio::test(start_paused = true)]
async fn deletion_that_is_disabled_has_a_code_that_old_clients_know() {
    let node = Node::with(&[("delete.topic.enable", "false")]).await;
    let mut client = node.client();
    client.create("t", 1, &[]).await;
    let request =
        DeleteTopicsRequest { topic_names: vec!["t".into()], timeout_ms: 1000, ..Default::default() };
    for (version, error) in [(2, ErrorCode::InvalidRequest), (3, ErrorCode::TopicDeletionDisabled)] {
        let answer = client.call(version, &request).await.responses.remove(0);
        assert_eq!(answer.error_code, code(error), "version {version}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_coordinator_that_was_found_comes_with_kafkas_name_of_success() {
    let node = Node::start().await;
    let mut client = node.client();
    for version in 1..=3 {
        let request = FindCoordinatorRequest { key: "g".into(), ..Default::default() };
        let answer = client.call(version, &request).await;
        assert_eq!((answer.error_code, answer.error_message.as_deref()), (0, Some("NONE")));
    }
    let request = FindCoordinatorRequest { coordinator_keys: vec!["g".into()], ..Default::default() };
    let answer = client.call(4, &request).await.coordinators.remove(0);
    assert_eq!((answer.error_code, answer.error_message.as_deref()), (0, Some("")));
}

async fn offsets_by_id(client: &mut Client, ids: &[stdx::Uuid]) -> (i16, Vec<(stdx::Uuid, i16)>) {
    let topic = |id: &stdx::Uuid| OffsetFetchRequestTopics {
        topic_id: *id,
        partition_indexes: vec![0],
        ..Default::default()
    };
    let topics = Some(ids.iter().map(topic).collect());
    let group = OffsetFetchRequestGroup { group_id: "g".into(), topics, ..Default::default() };
    let request = OffsetFetchRequest { groups: vec![group], ..Default::default() };
    let group = client.call(10, &request).await.groups.remove(0);
    let topics = group.topics.iter().map(|topic| (topic.topic_id, topic.partitions[0].error_code));
    (group.error_code, topics.collect())
}

#[tokio::test(start_paused = true)]
async fn offsets_of_unknown_ids_stand_behind_the_others_and_a_groups_error_stands_alone() {
    let node = Node::start().await;
    let mut client = node.client();
    let topic = client.create("t", 1, &[]).await;
    let unknown = stdx::Uuid([9; 16]);
    let not_coordinator = (code(ErrorCode::NotCoordinator), vec![]);
    assert_eq!(offsets_by_id(&mut client, &[unknown, topic.id]).await, not_coordinator);
    assert_eq!(offsets_by_id(&mut client, &[unknown]).await, not_coordinator);
    client.find_coordinator().await;
    let error = code(ErrorCode::UnknownTopicId);
    let told = offsets_by_id(&mut client, &[unknown, topic.id]).await;
    assert_eq!(told, (0, vec![(topic.id, 0), (unknown, error)]));
    assert_eq!(offsets_by_id(&mut client, &[unknown]).await, (0, vec![(unknown, error)]));
}

#[tokio::test(start_paused = true)]
async fn a_page_that_begins_somewhere_calls_a_missing_name_invalid() {
    let node = Node::start().await;
    let mut client = node.client();
    let answer = client.call(0, &pages(&[""], Some(("", 0)))).await;
    assert_eq!(answer.topics[0].error_code, code(ErrorCode::InvalidTopicException));
}

#[tokio::test(start_paused = true)]
async fn a_group_without_a_name_is_none_that_could_be_described() {
    let node = Node::start().await;
    let mut client = node.client();
    client.find_coordinator().await;
    let groups = || vec![String::new(), "none".to_owned()];
    let wanted = [ErrorCode::InvalidGroupId, ErrorCode::GroupIdNotFound].map(code);
    let consumer = ConsumerGroupDescribeRequest { group_ids: groups(), ..Default::default() };
    let told = client.call(1, &consumer).await.groups;
    assert_eq!(told.iter().map(|group| group.error_code).collect::<Vec<_>>(), wanted);
    let share = ShareGroupDescribeRequest { group_ids: groups(), ..Default::default() };
    let told = client.call(1, &share).await.groups;
    assert_eq!(told.iter().map(|group| group.error_code).collect::<Vec<_>>(), wanted);
    assert!(told.iter().all(|group| group.group_state.is_empty()), "a state of no group: {told:?}");
    let streams = StreamsGroupDescribeRequest { group_ids: groups(), ..Default::default() };
    let told = client.call(1, &streams).await.groups;
    assert_eq!(told.iter().map(|group| group.error_code).collect::<Vec<_>>(), wanted);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_succeeds_explains_nothing() {
    let node = Node::start().await;
    let mut client = node.client();
    let answer = client.call(0, &AlterPartitionReassignmentsRequest::default()).await;
    assert_eq!((answer.error_code, answer.error_message), (0, None));
    let answer = client.call(0, &ListPartitionReassignmentsRequest::default()).await;
    assert_eq!((answer.error_code, answer.error_message), (0, None));
}

#[tokio::test(start_paused = true)]
async fn producers_of_a_partition_that_is_not_here_are_refused_with_a_reason() {
    let node = Node::start().await;
    let mut client = node.client();
    let topics =
        vec![describe_producers_request::TopicRequest { name: "none".into(), partition_indexes: vec![0] }];
    let answer = client.call(0, &DescribeProducersRequest { topics }).await;
    let partition = &answer.topics[0].partitions[0];
    assert_eq!(partition.error_code, code(ErrorCode::UnknownTopicOrPartition));
    assert_eq!(partition.error_message.as_deref(), Some("UNKNOWN_TOPIC_OR_PARTITION"));
}

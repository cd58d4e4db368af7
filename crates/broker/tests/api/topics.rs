//! The life of topics: created on demand, deleted under readers and groups, grown.

use crate::harness::{LOG_DIR, Node, Topic, batch, bytes_of, code, values};
use std::path::Path;
use wire::{
    CreatePartitionsRequest, DeleteTopicsRequest, ErrorCode, MetadataRequest, OffsetFetchRequest,
    create_partitions_request::CreatePartitionsTopic,
    metadata_request::MetadataRequestTopic,
    offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
    offset_fetch_request::OffsetFetchRequestTopic,
};

fn named(name: &str) -> MetadataRequest {
    let topic = MetadataRequestTopic { name: Some(name.into()), ..Default::default() };
    MetadataRequest { topics: Some(vec![topic]), ..Default::default() }
}

fn delete(name: &str) -> DeleteTopicsRequest {
    DeleteTopicsRequest { topic_names: vec![name.into()], timeout_ms: 1000, ..Default::default() }
}

#[tokio::test(start_paused = true)]
async fn topics_are_created_by_metadata_with_the_clusters_defaults() {
    let node = Node::with(&[("num.partitions", "4")]).await;
    let mut client = node.client();
    let response = client.call(12, &named("new")).await;
    assert_eq!((response.topics[0].error_code, response.topics[0].partitions.len()), (0, 4));
    let topic = Topic { name: "new".into(), id: response.topics[0].topic_id };
    assert_eq!(client.produce_at(13, &topic, 3, batch(&["a"])).await.error_code, 0);
    let response = client.call(12, &named("__consumer_offsets")).await;
    let topic = &response.topics[0];
    assert_eq!((topic.error_code, topic.is_internal, topic.partitions.len()), (0, true, 3));
}

#[tokio::test(start_paused = true)]
async fn topics_are_not_created_where_the_configuration_forbids_it() {
    let node = Node::with(&[("auto.create.topics.enable", "false")]).await;
    let mut client = node.client();
    let response = client.call(12, &named("new")).await;
    assert_eq!(response.topics[0].error_code, code(ErrorCode::UnknownTopicOrPartition));
    client.find_coordinator().await;
    let all = client.call(12, &MetadataRequest { topics: None, ..Default::default() }).await;
    assert_eq!(all.topics.len(), 1, "the offsets topic is created in any case");
}

#[tokio::test(start_paused = true)]
async fn names_that_cannot_be_directories_are_refused() {
    let node = Node::start().await;
    let mut client = node.client();
    let (fits, long) = ("x".repeat(249), "x".repeat(250));
    for (name, error) in [
        ("", ErrorCode::InvalidTopicException),
        (".", ErrorCode::InvalidTopicException),
        ("..", ErrorCode::InvalidTopicException),
        ("../etc", ErrorCode::InvalidTopicException),
        ("a/b", ErrorCode::InvalidTopicException),
        ("\u{e4}", ErrorCode::InvalidTopicException),
        (&long, ErrorCode::InvalidTopicException),
        (&fits, ErrorCode::None),
        ("Az0._-", ErrorCode::None),
    ] {
        let topic = wire::create_topics_request::CreatableTopic {
            name: name.into(),
            num_partitions: 1,
            replication_factor: 1,
            ..Default::default()
        };
        let request = wire::CreateTopicsRequest { topics: vec![topic], ..Default::default() };
        assert_eq!(client.call(7, &request).await.topics[0].error_code, code(error), "{name:?}");
        let response = client.call(12, &named(name)).await;
        assert_eq!(response.topics[0].error_code, code(error), "{name:?} by Metadata");
    }
}

#[tokio::test(start_paused = true)]
async fn a_name_that_collides_in_metrics_with_a_topic_is_refused() {
    let node = Node::start().await;
    let mut client = node.client();
    client.create("a.b", 1, &[]).await;
    let topic = wire::create_topics_request::CreatableTopic {
        name: "a_b".into(),
        num_partitions: 1,
        replication_factor: 1,
        ..Default::default()
    };
    let request = wire::CreateTopicsRequest { topics: vec![topic.clone()], ..Default::default() };
    let response = client.call(7, &request).await;
    assert_eq!(response.topics[0].error_code, code(ErrorCode::InvalidTopicException));
    let twice = wire::CreateTopicsRequest {
        topics: vec![
            wire::create_topics_request::CreatableTopic { name: "twice".into(), ..topic.clone() },
            wire::create_topics_request::CreatableTopic { name: "twice".into(), ..topic },
        ],
        ..Default::default()
    };
    let response = client.call(7, &twice).await;
    let codes: Vec<_> = response.topics.iter().map(|topic| topic.error_code).collect();
    assert_eq!(codes, [code(ErrorCode::InvalidRequest)], "named twice");
}

#[tokio::test(start_paused = true)]
async fn a_deleted_topic_takes_its_records_and_committed_offsets_along() {
    let node = Node::start().await;
    let mut client = node.client();
    client.find_coordinator().await;
    let topic = client.create("t", 1, &[]).await;
    client.produce(&topic, batch(&["old"])).await;
    let partition = OffsetCommitRequestPartition {
        partition_index: 0,
        committed_offset: 1,
        committed_leader_epoch: -1,
        committed_metadata: None,
    };
    let commit = wire::OffsetCommitRequest {
        group_id: "g".into(),
        generation_id_or_member_epoch: -1,
        topics: vec![OffsetCommitRequestTopic {
            name: "t".into(),
            topic_id: topic.id,
            partitions: vec![partition],
        }],
        ..Default::default()
    };
    assert_eq!(client.call(8, &commit).await.topics[0].partitions[0].error_code, 0);
    assert_eq!(client.call(5, &delete("t")).await.responses[0].error_code, 0);
    let answer = client.produce_at(9, &topic, 0, batch(&["late"])).await;
    assert_eq!(answer.error_code, code(ErrorCode::UnknownTopicOrPartition));
    let again = client.create("t", 1, &[]).await;
    let answer = client.produce_at(13, &topic, 0, batch(&["late"])).await;
    assert_eq!(answer.error_code, code(ErrorCode::UnknownTopicId), "the id is the deleted topic's");
    assert_eq!(client.produce(&again, batch(&["new"])).await.base_offset, 0);
    assert_eq!(client.read_all(&again).await, ["new"]);
    let named = OffsetFetchRequestTopic { name: "t".into(), partition_indexes: vec![0] };
    let request =
        OffsetFetchRequest { group_id: "g".into(), topics: Some(vec![named]), ..Default::default() };
    assert_eq!(client.call(5, &request).await.topics[0].partitions[0].committed_offset, -1);
    let node = node.restart().await;
    assert_eq!(node.client().read_all(&again).await, ["new"]);
}

#[tokio::test(start_paused = true)]
async fn new_partitions_serve_at_once() {
    let node = Node::start().await;
    let mut client = node.client();
    let topic = client.create("t", 1, &[]).await;
    client.produce(&topic, batch(&["a"])).await;
    let grow = CreatePartitionsTopic { name: "t".into(), count: 3, assignments: None };
    let request = CreatePartitionsRequest { topics: vec![grow], timeout_ms: 1000, validate_only: false };
    assert_eq!(client.call(3, &request).await.results[0].error_code, 0);
    assert_eq!(client.produce_at(13, &topic, 2, batch(&["b"])).await.error_code, 0);
    let data = client.fetch_at(18, &topic, 2, 0).await;
    assert_eq!(values(bytes_of(&data)), [(0, "b".to_owned())]);
    let node = node.restart().await;
    let data = node.client().fetch_at(18, &topic, 2, 0).await;
    assert_eq!(values(bytes_of(&data)), [(0, "b".to_owned())]);
    assert_eq!(node.client().read_all(&topic).await, ["a"]);
}

#[tokio::test(start_paused = true)]
async fn groups_work_again_after_the_offsets_topic_was_deleted() {
    let node = Node::start().await;
    let mut client = node.client();
    client.find_coordinator().await;
    client.enter("g").await;
    assert_eq!(client.call(5, &delete("__consumer_offsets")).await.responses[0].error_code, 0);
    client.find_coordinator().await;
    client.enter("h").await;
    node.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn replicas_are_placed_by_number_or_by_hand_but_not_both() {
    let node = Node::start().await;
    let mut client = node.client();
    let assignment = |partition_index| wire::create_topics_request::CreatableReplicaAssignment {
        partition_index,
        broker_ids: vec![crate::harness::NODE_ID],
    };
    for (partitions, replicas, indexes, error) in [
        (1, -1, vec![0], ErrorCode::InvalidRequest),
        (-1, 1, vec![0], ErrorCode::InvalidRequest),
        (-1, -1, vec![1], ErrorCode::InvalidReplicaAssignment),
        (-1, -1, vec![0, 2], ErrorCode::InvalidReplicaAssignment),
        (-1, -1, vec![1, 0], ErrorCode::None),
    ] {
        let topic = wire::create_topics_request::CreatableTopic {
            name: "t".into(),
            num_partitions: partitions,
            replication_factor: replicas,
            assignments: indexes.iter().copied().map(assignment).collect(),
            ..Default::default()
        };
        let request = wire::CreateTopicsRequest { topics: vec![topic], ..Default::default() };
        let answer = client.call(7, &request).await.topics.remove(0);
        assert_eq!(answer.error_code, code(error), "{partitions} {replicas} {indexes:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_partition_has_a_directory_once_it_was_written_to() {
    let mut node = Node::start().await;
    let topic = node.client().create("t", 3, &[]).await;
    let dirs = |node: &Node| -> Vec<_> {
        let list = env::Disk::list(&*node.disk, Path::new(LOG_DIR)).unwrap();
        list.into_iter().map(|entry| entry.name).filter(|name| name.starts_with("t-")).collect()
    };
    assert_eq!(dirs(&node), Vec::<String>::new());
    for round in 0..3 {
        let produced = node.client().produce_at(13, &topic, 1, batch(&["a"])).await;
        assert_eq!((produced.error_code, produced.base_offset), (0, round));
        node = if round == 0 { node.cut_power().await } else { node.restart().await };
        assert_eq!(dirs(&node), ["t-1"]);
        for partition in [0, 2] {
            let data = node.client().fetch_at(18, &topic, partition, 0).await;
            assert_eq!((data.error_code, data.high_watermark), (0, 0));
        }
    }
    assert_eq!(node.client().call(5, &delete("t")).await.responses[0].error_code, 0);
    node.pass(1).await;
    assert_eq!(dirs(&node), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_is_deleted_while_its_first_record_is_written_leaves_nothing_to_the_next_of_its_name() {
    let node = Node::start().await;
    let topic = node.client().create("t", 1, &[]).await;
    let mut producer = node.client();
    producer.send(13, &crate::harness::produce(&topic, 0, -1, batch(&["a"]))).await;
    assert_eq!(node.client().call(5, &delete("t")).await.responses[0].error_code, 0);
    let topic = node.client().create("t", 1, &[]).await;
    node.pass(1).await;
    let node = node.cut_power().await;
    let produced = node.client().produce(&topic, batch(&["b"])).await;
    assert_eq!((produced.error_code, produced.base_offset), (0, 0));
    assert_eq!(node.client().read_all(&topic).await, ["b"]);
}

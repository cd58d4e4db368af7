//! Requests that name something twice, name what cannot be, or leave no time: Apache Kafka's answers, which nobody would
//! guess. What single APIs do with sensible requests is in the other files.

use crate::harness::{Client, Node, Topic, batch, code, fetch, fetch_topic};
use stdx::Uuid;
use wire::{
    CreatePartitionsRequest, CreateTopicsRequest, DeleteRecordsRequest, DeleteTopicsRequest,
    DescribeConfigsRequest, DescribeTopicPartitionsRequest, ErrorCode, FetchRequest,
    IncrementalAlterConfigsRequest, ListOffsetsRequest, MetadataRequest, OffsetForLeaderEpochRequest,
    create_partitions_request::CreatePartitionsTopic,
    create_topics_request::CreatableTopic,
    delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic},
    delete_topics_request::DeleteTopicState,
    describe_configs_request::DescribeConfigsResource,
    describe_topic_partitions_request::{Cursor, TopicRequest},
    incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig},
    list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
    metadata_request::MetadataRequestTopic,
    offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic},
};

async fn node_and_topic() -> (Node, Client, Topic) {
    let node = Node::start().await;
    let mut client = node.client();
    let topic = client.create("t", 2, &[]).await;
    for value in ["a", "b", "c"] {
        assert_eq!(client.produce(&topic, batch(&[value])).await.error_code, 0);
    }
    (node, client, topic)
}

fn creatable(name: &str) -> CreatableTopic {
    CreatableTopic { name: name.into(), num_partitions: 1, replication_factor: 1, ..Default::default() }
}

fn create(names: &[&str], timeout_ms: i32) -> CreateTopicsRequest {
    let topics = names.iter().map(|name| creatable(name)).collect();
    CreateTopicsRequest { topics, timeout_ms, validate_only: false }
}

async fn created(client: &mut Client, request: &CreateTopicsRequest) -> Vec<(String, i16)> {
    let response = client.call(7, request).await;
    response.topics.into_iter().map(|topic| (topic.name, topic.error_code)).collect()
}

async fn topic_names(client: &mut Client) -> Vec<String> {
    let response = client.call(12, &MetadataRequest { topics: None, ..Default::default() }).await;
    response.topics.into_iter().filter_map(|topic| topic.name).collect()
}

#[tokio::test(start_paused = true)]
async fn names_collide_with_topics_that_exist_and_not_within_a_request() {
    let node = Node::start().await;
    let mut client = node.client();
    let both = created(&mut client, &create(&["a.b", "a_b"], 1000)).await;
    assert_eq!(both, [("a.b".into(), 0), ("a_b".into(), 0)]);
    let exists = code(ErrorCode::TopicAlreadyExists);
    assert_eq!(created(&mut client, &create(&["a_b"], 1000)).await, [("a_b".into(), exists)]);
    client.create("c.d", 1, &[]).await;
    let collides = code(ErrorCode::InvalidTopicException);
    assert_eq!(created(&mut client, &create(&["c_d"], 1000)).await, [("c_d".into(), collides)]);
}

#[tokio::test(start_paused = true)]
async fn a_controller_without_time_answers_that_and_does_nothing() {
    let (_node, mut client, _) = node_and_topic().await;
    let late = code(ErrorCode::RequestTimedOut);
    for timeout_ms in [0, -1] {
        let told = created(&mut client, &create(&["new", "t", "no name"], timeout_ms)).await;
        assert_eq!(told.iter().map(|(_, code)| *code).collect::<Vec<_>>(), [late; 3]);
        let only_twice = created(&mut client, &create(&["new", "new"], timeout_ms)).await;
        assert_eq!(only_twice, [("new".into(), code(ErrorCode::InvalidRequest))], "nobody is asked");
        let grow = CreatePartitionsTopic { name: "t".into(), count: 3, assignments: None };
        let request = CreatePartitionsRequest { topics: vec![grow], timeout_ms, validate_only: true };
        assert_eq!(client.call(3, &request).await.results[0].error_code, late);
        for version in [1, 5] {
            let topic_names = vec!["t".into(), "nowhere".into()];
            let request = DeleteTopicsRequest { topic_names, timeout_ms, ..Default::default() };
            let told = client.call(version, &request).await.responses;
            let told: Vec<_> = told.into_iter().map(|one| (one.name.unwrap(), one.error_code)).collect();
            assert_eq!(told, [("t".into(), late), ("nowhere".into(), late)]);
        }
    }
    assert_eq!(topic_names(&mut client).await, ["t"]);
}

/// Name, whether there is an id, and error of each answer.
async fn deleted(client: &mut Client, topics: &[(Option<&str>, Uuid)]) -> Vec<(Option<String>, bool, i16)> {
    let topics = topics
        .iter()
        .map(|(name, topic_id)| DeleteTopicState { name: name.map(Into::into), topic_id: *topic_id });
    let request = DeleteTopicsRequest { topics: topics.collect(), timeout_ms: 1000, ..Default::default() };
    let mut responses = client.call(6, &request).await.responses;
    responses.sort_by_key(|one| (one.name.clone(), one.error_code));
    responses.into_iter().map(|one| (one.name, !one.topic_id.is_zero(), one.error_code)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_is_to_be_deleted_twice_is_answered_once_and_stays() {
    let (_node, mut client, topic) = node_and_topic().await;
    let (invalid, zero, other) = (code(ErrorCode::InvalidRequest), Uuid::ZERO, Uuid([9; 16]));
    let named = |name: &'static str| (Some(name), zero);
    let by_id = |id| (None, id);
    let told = deleted(&mut client, &[named("t"), named("t"), named("nowhere"), named("nowhere")]).await;
    assert_eq!(told, [(Some("nowhere".into()), false, invalid), (Some("t".into()), false, invalid)]);
    let told = deleted(&mut client, &[by_id(topic.id), by_id(topic.id), by_id(other), by_id(other)]).await;
    assert_eq!(told, [(None, true, invalid), (None, true, invalid)]);
    for ids in [vec![by_id(topic.id)], vec![by_id(topic.id); 2]] {
        let told = deleted(&mut client, &[&[named("t")], &ids[..]].concat()).await;
        let by_name = (Some("t".into()), true, invalid);
        let expected = if ids.len() == 1 { vec![by_name] } else { vec![(None, true, invalid), by_name] };
        assert_eq!(told, expected);
    }
    let told = deleted(&mut client, &[by_id(zero), by_id(zero), (Some("t"), topic.id)]).await;
    assert_eq!(told.iter().map(|one| one.2).collect::<Vec<_>>(), [invalid; 3]);
    assert_eq!(topic_names(&mut client).await, ["t"]);
    let told = deleted(&mut client, &[named("t"), named("x"), named("x")]).await;
    assert_eq!(told, [(Some("t".into()), true, 0), (Some("x".into()), false, invalid)]);
    assert!(topic_names(&mut client).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn too_many_new_partitions_in_all_are_refused_for_all_topics() {
    let (_node, mut client, _) = node_and_topic().await;
    client.create("u", 1, &[]).await;
    let grow = |name: &str, count| CreatePartitionsTopic { name: name.into(), count, assignments: None };
    let topics = vec![grow("t", 5002), grow("u", 5002)];
    let request = CreatePartitionsRequest { topics, timeout_ms: 1000, validate_only: true };
    let told = client.call(3, &request).await.results;
    let policy = code(ErrorCode::PolicyViolation);
    assert_eq!(told.iter().map(|one| one.error_code).collect::<Vec<_>>(), [policy; 2]);
    let topics = vec![grow("t", 5002), grow("u", 5001)];
    let told = client.call(3, &CreatePartitionsRequest { topics, ..request }).await.results;
    assert_eq!(told.iter().map(|one| one.error_code).collect::<Vec<_>>(), [0; 2]);
}

#[tokio::test(start_paused = true)]
async fn of_a_partition_that_is_fetched_twice_the_last_wish_counts() {
    let (_node, mut client, topic) = node_and_topic().await;
    for (version, session_epoch) in [(4, -1), (12, 0), (18, -1), (18, 0)] {
        let mut request = FetchRequest { session_epoch, ..fetch(&topic, 0, 0) };
        request.topics[0].partitions.extend(fetch_topic(&topic, &[(1, 0)]).partitions);
        request.topics.push(fetch_topic(&topic, &[(0, 2)]));
        let response = client.call(version, &request).await;
        let data: Vec<_> = response.responses.iter().flat_map(|topic| &topic.partitions).collect();
        assert_eq!(data.iter().map(|data| data.partition_index).collect::<Vec<_>>(), [0, 1], "v{version}");
        let values = crate::harness::values(crate::harness::bytes_of(data[0]));
        assert_eq!(values, [(2, "c".to_owned())], "v{version}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_isolation_level_that_does_not_exist_is_an_unknown_server_error() {
    let (_node, mut client, topic) = node_and_topic().await;
    let nowhere = Topic { name: "nowhere".into(), id: Uuid([9; 16]) };
    for isolation_level in [-1, 2] {
        for (version, rows) in [(4, 2), (12, 2), (13, 0), (18, 0)] {
            let mut request = FetchRequest { isolation_level, ..fetch(&topic, 0, 0) };
            request.topics.push(fetch_topic(&nowhere, &[(0, 0)]));
            let response = client.call(version, &request).await;
            assert_eq!(response.error_code, if version >= 7 { -1 } else { 0 });
            let data: Vec<_> = response.responses.iter().flat_map(|topic| &topic.partitions).collect();
            assert_eq!(data.len(), rows, "v{version}");
            assert!(data.iter().all(|data| (data.error_code, data.high_watermark) == (-1, -1)));
            assert!(data.iter().all(|data| data.aborted_transactions.as_ref().is_some_and(Vec::is_empty)));
            let request = FetchRequest { isolation_level, ..fetch(&nowhere, 0, 0) };
            let response = client.call(version, &request).await;
            assert_eq!(response.responses[0].partitions.len(), 1, "nothing is read, so nothing is amiss");
        }
        for replica_id in [-1, -2] {
            let latest = ListOffsetsPartition { timestamp: -1, ..Default::default() };
            let topics = vec![ListOffsetsTopic { name: "t".into(), partitions: vec![latest] }];
            let request = ListOffsetsRequest { replica_id, isolation_level, topics, ..Default::default() };
            let answer = &client.call(7, &request).await.topics[0].partitions[0];
            assert_eq!((answer.error_code, answer.offset), (-1, -1));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn of_what_does_not_exist_a_fetch_says_that_nothing_was_aborted() {
    let (_node, mut client, topic) = node_and_topic().await;
    let nowhere = Topic { name: "nowhere".into(), id: Uuid([9; 16]) };
    for version in [4, 12, 13, 18] {
        for (topic, partition, offset, is_told) in
            [(&nowhere, 0, 0, true), (&topic, 7, 0, true), (&topic, 0, 99, false)]
        {
            let answer = client.fetch_at(version, topic, partition, offset).await;
            assert_ne!(answer.error_code, 0);
            assert_eq!(answer.aborted_transactions, is_told.then(Vec::new), "v{version}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn only_minus_one_is_no_leader_epoch_but_in_a_fetch_anything_negative_is() {
    let (_node, mut client, topic) = node_and_topic().await;
    let fenced = code(ErrorCode::FencedLeaderEpoch);
    for (epoch, error) in [(-1, 0), (-2, fenced), (i32::MIN, fenced)] {
        let latest =
            ListOffsetsPartition { timestamp: -1, current_leader_epoch: epoch, ..Default::default() };
        let topics = vec![ListOffsetsTopic { name: "t".into(), partitions: vec![latest] }];
        let request = ListOffsetsRequest { topics, ..Default::default() };
        assert_eq!(client.call(7, &request).await.topics[0].partitions[0].error_code, error);
        let partition = OffsetForLeaderPartition { current_leader_epoch: epoch, ..Default::default() };
        let topics = vec![OffsetForLeaderTopic { topic: "t".into(), partitions: vec![partition] }];
        let request = OffsetForLeaderEpochRequest { topics, ..Default::default() };
        assert_eq!(client.call(4, &request).await.topics[0].partitions[0].error_code, error);
        let mut request = fetch(&topic, 0, 0);
        request.topics[0].partitions[0].current_leader_epoch = epoch;
        assert_eq!(client.call(18, &request).await.responses[0].partitions[0].error_code, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn delete_records_answers_a_topic_once_and_the_last_offset_of_a_partition_counts() {
    let (_node, mut client, _) = node_and_topic().await;
    let partitions = |offsets: &[(i32, i64)]| {
        let all = offsets.iter();
        all.map(|(partition_index, offset)| DeleteRecordsPartition {
            partition_index: *partition_index,
            offset: *offset,
        })
        .collect()
    };
    let topic = |offsets| DeleteRecordsTopic { name: "t".into(), partitions: partitions(offsets) };
    let topics = vec![topic(&[(0, 3), (0, 1)]), topic(&[]), topic(&[(1, 0)])];
    let response = client.call(2, &DeleteRecordsRequest { topics, timeout_ms: 1000 }).await;
    assert_eq!(response.topics.len(), 1);
    let told = response.topics[0].partitions.iter().map(|one| (one.partition_index, one.low_watermark));
    assert_eq!(told.collect::<Vec<_>>(), [(0, 1), (1, 0)]);
    let none = DeleteRecordsRequest { topics: vec![topic(&[])], timeout_ms: 1000 };
    assert!(client.call(2, &none).await.topics.is_empty());
    let none = vec![ListOffsetsTopic { name: "t".into(), partitions: Vec::new() }];
    let request = ListOffsetsRequest { topics: none, ..Default::default() };
    assert!(client.call(7, &request).await.topics.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_operation_that_does_not_exist_fails_all_resources() {
    let (_node, mut client, _) = node_and_topic().await;
    let resource = |name: &str, config_operation| AlterConfigsResource {
        resource_type: 2,
        resource_name: name.into(),
        configs: vec![AlterableConfig {
            name: "retention.ms".into(),
            config_operation,
            value: Some("5".into()),
        }],
    };
    client.create("u", 1, &[]).await;
    for operation in [-1, 4, 9] {
        let resources = vec![resource("t", operation), resource("u", 0)];
        let request = IncrementalAlterConfigsRequest { resources, validate_only: false };
        let told = client.call(1, &request).await.responses;
        assert_eq!(told.iter().map(|one| one.error_code).collect::<Vec<_>>(), [-1, -1]);
    }
    let asked = DescribeConfigsResource {
        resource_type: 2,
        resource_name: "u".into(),
        configuration_keys: Some(vec!["retention.ms".into()]),
    };
    let request = DescribeConfigsRequest { resources: vec![asked], ..Default::default() };
    let told = &client.call(4, &request).await.results[0];
    assert_eq!(told.configs[0].value.as_deref(), Some("604800000"));
    assert_eq!(told.error_message.as_deref(), Some(""), "as Kafka has it");
}

#[tokio::test(start_paused = true)]
async fn a_topic_without_a_name_fails_the_whole_request() {
    let (_node, mut client, topic) = node_and_topic().await;
    let by_name =
        |name: Option<&str>| MetadataRequestTopic { name: name.map(Into::into), topic_id: Uuid::ZERO };
    let by_id = MetadataRequestTopic { name: None, topic_id: topic.id };
    for version in [12, 13] {
        let topics = Some(vec![by_name(Some("t")), by_name(None)]);
        let told = client.call(version, &MetadataRequest { topics, ..Default::default() }).await;
        let rows = told.topics.iter().map(|one| (one.error_code, one.name.as_deref().unwrap()));
        assert_eq!(rows.collect::<Vec<_>>(), [(-1, "t"), (-1, "")]);
        assert_eq!((told.brokers.len(), told.error_code), (0, if version >= 13 { -1 } else { 0 }));
        let topics = Some(vec![by_name(None), by_id.clone()]);
        let told = client.call(version, &MetadataRequest { topics, ..Default::default() }).await;
        assert_eq!((told.topics.len(), told.topics[0].error_code), (1, 0));
    }
    let asked = |name: &str| TopicRequest { name: name.into() };
    let cursor = |topic_name: &str| Cursor { topic_name: topic_name.into(), partition_index: 0 };
    for (cursor, errors) in [(None, vec![-1, -1]), (Some(cursor("t")), vec![0])] {
        let topics = vec![asked("t"), asked("")];
        let request = DescribeTopicPartitionsRequest { topics, cursor, ..Default::default() };
        let told = client.call(0, &request).await.topics;
        assert_eq!(told.iter().map(|one| one.error_code).collect::<Vec<_>>(), errors);
    }
}

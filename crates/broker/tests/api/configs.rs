//! Configurations take effect while the broker runs, with the answer to the change.

use crate::harness::{Client, Node, Topic, batch, bytes_of, code};
use wire::{
    DescribeConfigsRequest, ErrorCode, IncrementalAlterConfigsRequest, ListOffsetsRequest,
    describe_configs_request::DescribeConfigsResource,
    incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig},
    list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
};

pub(crate) const TOPIC: i8 = 2;
const BROKER: i8 = 4;

pub(crate) async fn alter(client: &mut Client, kind: i8, resource: &str, key: &str, value: Option<&str>) {
    let config = AlterableConfig {
        name: key.into(),
        config_operation: i8::from(value.is_none()),
        value: value.map(str::to_owned),
    };
    let resource =
        AlterConfigsResource { resource_type: kind, resource_name: resource.into(), configs: vec![config] };
    let request = IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false };
    let answer = client.call(1, &request).await.responses.remove(0);
    assert_eq!(answer.error_code, 0, "{:?}", answer.error_message);
}

async fn node_and_topic() -> (Node, Client, Topic) {
    let node = Node::start().await;
    let mut client = node.client();
    let topic = client.create("t", 1, &[]).await;
    (node, client, topic)
}

async fn offset_of(client: &mut Client, timestamp: i64) -> i64 {
    let partition = ListOffsetsPartition { partition_index: 0, current_leader_epoch: -1, timestamp };
    let topics = vec![ListOffsetsTopic { name: "t".into(), partitions: vec![partition] }];
    let request = ListOffsetsRequest { replica_id: -1, topics, ..Default::default() };
    client.call(11, &request).await.topics[0].partitions[0].offset
}

#[tokio::test(start_paused = true)]
async fn the_size_of_batches_is_limited_at_once_and_by_the_broker_where_the_topic_says_nothing() {
    let (_node, mut client, topic) = node_and_topic().await;
    let large = batch(&["x".repeat(500).as_str()]);
    let too_large = code(ErrorCode::MessageTooLarge);
    alter(&mut client, TOPIC, "t", "max.message.bytes", Some("400")).await;
    assert_eq!(client.produce(&topic, large.clone()).await.error_code, too_large);
    alter(&mut client, TOPIC, "t", "max.message.bytes", None).await;
    assert_eq!(client.produce(&topic, large.clone()).await.error_code, 0);
    alter(&mut client, BROKER, "", "message.max.bytes", Some("400")).await;
    assert_eq!(client.produce(&topic, large.clone()).await.error_code, too_large, "for all brokers");
    alter(&mut client, BROKER, "7", "message.max.bytes", Some("600")).await;
    assert_eq!(client.produce(&topic, large.clone()).await.error_code, 0, "for this broker");
    alter(&mut client, TOPIC, "t", "max.message.bytes", Some("300")).await;
    assert_eq!(client.produce(&topic, large).await.error_code, too_large, "the topic's own word counts");
}

#[tokio::test(start_paused = true)]
async fn records_go_when_their_retention_ends() {
    let (node, mut client, topic) = node_and_topic().await;
    client.produce(&topic, batch(&["a", "b"])).await;
    node.pass(10_000).await;
    assert_eq!(client.read_all(&topic).await, ["a", "b"]);
    alter(&mut client, TOPIC, "t", "retention.ms", Some("5000")).await;
    node.pass(2_000).await;
    assert_eq!((offset_of(&mut client, -2).await, offset_of(&mut client, -1).await), (2, 2));
    assert_eq!(client.fetch(&topic, 0).await.error_code, code(ErrorCode::OffsetOutOfRange));
    assert_eq!(client.produce(&topic, batch(&["c"])).await.base_offset, 2);
}

#[tokio::test(start_paused = true)]
async fn segments_beyond_the_retained_bytes_go() {
    let (node, mut client, topic) = node_and_topic().await;
    alter(&mut client, TOPIC, "t", "segment.bytes", Some("1048576")).await;
    let value = "x".repeat(100_000);
    for _ in 0..30 {
        client.produce(&topic, batch(&[&value])).await;
    }
    assert_eq!(offset_of(&mut client, -2).await, 0);
    alter(&mut client, TOPIC, "t", "retention.bytes", Some("1500000")).await;
    node.pass(2_000).await;
    assert_eq!(offset_of(&mut client, -2).await, 10, "one segment of ten may go, two would be too much");
}

#[tokio::test(start_paused = true)]
async fn the_kind_of_timestamps_changes_for_what_comes_then() {
    let (node, mut client, topic) = node_and_topic().await;
    node.pass(1000).await;
    assert_eq!(client.produce(&topic, batch(&["a"])).await.log_append_time_ms, -1);
    alter(&mut client, TOPIC, "t", "message.timestamp.type", Some("LogAppendTime")).await;
    assert_eq!(client.produce(&topic, batch(&["b"])).await.log_append_time_ms, node.now_ms());
}

#[tokio::test(start_paused = true)]
async fn changed_configurations_survive_a_restart_and_end_with_their_topic() {
    let (node, mut client, _) = node_and_topic().await;
    alter(&mut client, TOPIC, "t", "max.message.bytes", Some("400")).await;
    let node = node.restart().await;
    let mut client = node.client();
    let resource = DescribeConfigsResource {
        resource_type: TOPIC,
        resource_name: "t".into(),
        configuration_keys: Some(vec!["max.message.bytes".into()]),
    };
    let request = DescribeConfigsRequest { resources: vec![resource], ..Default::default() };
    let described = client.call(4, &request).await;
    assert_eq!(described.results[0].configs[0].value.as_deref(), Some("400"));
    let delete =
        wire::DeleteTopicsRequest { topic_names: vec!["t".into()], timeout_ms: 1000, ..Default::default() };
    assert_eq!(client.call(5, &delete).await.responses[0].error_code, 0);
    let topic = client.create("t", 1, &[]).await;
    let described = client.call(4, &request).await;
    assert_eq!(described.results[0].configs[0].value.as_deref(), Some("1048588"));
    assert!(bytes_of(&client.fetch(&topic, 0).await).is_empty());
}

#[tokio::test(start_paused = true)]
async fn groups_and_client_metrics_have_configurations_too() {
    let (_node, mut client, _) = node_and_topic().await;
    for (kind, name) in [(32, "g"), (16, "m")] {
        let resource = DescribeConfigsResource {
            resource_type: kind,
            resource_name: name.into(),
            configuration_keys: None,
        };
        let request = DescribeConfigsRequest { resources: vec![resource], ..Default::default() };
        let described = client.call(4, &request).await.results.remove(0);
        assert_eq!((described.error_code, described.resource_type), (0, kind));
        assert!(kind != 32 || !described.configs.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_kind_of_resource_that_does_not_exist_fails_the_whole_request() {
    let (_node, mut client, _) = node_and_topic().await;
    let resource = |resource_type, name: &str| DescribeConfigsResource {
        resource_type,
        resource_name: name.into(),
        ..DescribeConfigsResource::default()
    };
    let invalid = code(ErrorCode::InvalidRequest);
    for (resources, codes) in [
        (vec![resource(TOPIC, "t"), resource(BROKER, "7")], vec![0, 0]),
        (vec![resource(BROKER, "07")], vec![0]),
        (vec![resource(TOPIC, "t"), resource(BROKER, "8")], vec![0, invalid]),
        (vec![resource(TOPIC, "t"), resource(BROKER, "seven")], vec![0, invalid]),
        (vec![resource(TOPIC, "t"), resource(3, "x")], vec![invalid, invalid]),
    ] {
        let request = DescribeConfigsRequest { resources, ..DescribeConfigsRequest::default() };
        let results = client.call(4, &request).await.results;
        let told: Vec<_> = results.iter().map(|result| result.error_code).collect();
        assert_eq!(told, codes, "{request:?}");
        assert!(results.iter().all(|result| result.configs.is_empty() == (result.error_code != 0)));
    }
}

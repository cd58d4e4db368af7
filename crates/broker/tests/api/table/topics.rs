//! The APIs that create, delete and grow topics.

use crate::harness::{Client, NODE_ID, Node, code};
use wire::{
    CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest, ErrorCode, MetadataRequest,
    create_partitions_request::{CreatePartitionsAssignment, CreatePartitionsTopic},
    create_topics_request::{CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig},
    delete_topics_request::DeleteTopicState,
};

pub(super) fn topic(name: &str, num_partitions: i32, replication_factor: i16) -> CreatableTopic {
    CreatableTopic { name: name.into(), num_partitions, replication_factor, ..CreatableTopic::default() }
}

pub(super) async fn create_topics(version: i16) {
    let node = Node::with(&[("num.partitions", "2")]).await;
    let mut client = node.client();
    let config = CreatableTopicConfig { name: "retention.ms".into(), value: Some("5000".into()) };
    let assignment =
        |partition_index, id| CreatableReplicaAssignment { partition_index, broker_ids: vec![id] };
    let request = CreateTopicsRequest {
        topics: vec![
            CreatableTopic { configs: vec![config.clone()], ..topic("configured", 3, 1) },
            CreatableTopic {
                assignments: vec![assignment(0, NODE_ID), assignment(1, NODE_ID)],
                ..topic("assigned", -1, -1)
            },
            topic("a b", 1, 1),
            topic("none", 0, 1),
            topic("many", 1, 2),
            CreatableTopic { assignments: vec![assignment(0, 99)], ..topic("elsewhere", -1, -1) },
            CreatableTopic {
                configs: vec![CreatableTopicConfig { value: Some("x".into()), ..config }],
                ..topic("bad", 1, 1)
            },
        ],
        validate_only: true,
        ..CreateTopicsRequest::default()
    };
    let expected = [
        ("configured", ErrorCode::None),
        ("assigned", ErrorCode::None),
        ("a b", ErrorCode::InvalidTopicException),
        ("none", ErrorCode::InvalidPartitions),
        ("many", ErrorCode::InvalidReplicationFactor),
        ("elsewhere", ErrorCode::InvalidReplicaAssignment),
        ("bad", ErrorCode::InvalidConfig),
    ];
    let response = client.call(version, &request).await;
    let codes: Vec<_> = response.topics.iter().map(|t| (t.name.as_str(), t.error_code)).collect();
    assert_eq!(codes, expected.map(|(name, error)| (name, code(error))));
    let metadata = client.call(12, &MetadataRequest { topics: None, ..Default::default() }).await;
    assert_eq!(metadata.topics.len(), 0, "only validated");
    let response =
        client.call(version, &CreateTopicsRequest { validate_only: false, ..request.clone() }).await;
    let codes: Vec<_> = response.topics.iter().map(|t| (t.name.as_str(), t.error_code)).collect();
    assert_eq!(codes, expected.map(|(name, error)| (name, code(error))));
    for (topic, (_, error)) in response.topics.iter().zip(expected) {
        let failed = error != ErrorCode::None;
        assert_eq!(topic.error_message.is_some(), failed, "{}", topic.name);
        assert_eq!(topic.topic_id.is_zero(), failed || version < 7, "{}", topic.name);
    }
    let created = &response.topics[0];
    let told = (created.num_partitions, created.replication_factor);
    assert_eq!(told, if version >= 5 { (3, 1) } else { (-1, -1) });
    if version >= 5 {
        let configs = created.configs.as_ref().unwrap();
        let found = configs.iter().find(|config| config.name == "retention.ms").unwrap();
        assert_eq!((found.value.as_deref(), found.config_source), (Some("5000"), 1));
        assert_eq!(created.topic_config_error_code, 0);
    }
    let again = CreateTopicsRequest { topics: vec![topic("configured", 3, 1)], ..Default::default() };
    let response = client.call(version, &again).await;
    assert_eq!(response.topics[0].error_code, code(ErrorCode::TopicAlreadyExists));
    defaults(&mut client, version).await;
}

/// From version 4 on the cluster's defaults are used for what is -1.
async fn defaults(client: &mut Client, version: i16) {
    if version >= 4 {
        let defaults = CreateTopicsRequest { topics: vec![topic("defaults", -1, -1)], ..Default::default() };
        client.call(version, &defaults).await;
    }
    let metadata = client.call(12, &MetadataRequest { topics: None, ..Default::default() }).await;
    let sizes: Vec<_> =
        metadata.topics.iter().map(|t| (t.name.as_deref().unwrap(), t.partitions.len())).collect();
    let expected = [("assigned", 2), ("configured", 3), ("defaults", 2)];
    assert_eq!(sizes, expected[..if version >= 4 { 3 } else { 2 }]);
}

pub(super) async fn delete_topics(version: i16) {
    let node = Node::start().await;
    let mut client = node.client();
    let by_name = client.create("by-name", 1, &[]).await;
    let by_id = client.create("by-id", 1, &[]).await;
    let mut request = DeleteTopicsRequest { timeout_ms: 1000, ..DeleteTopicsRequest::default() };
    if version < 6 {
        request.topic_names = vec!["by-name".into(), "unknown".into()];
    } else {
        let named = |name: &str| DeleteTopicState { name: Some(name.into()), ..Default::default() };
        let of_id = |topic_id| DeleteTopicState { name: None, topic_id };
        request.topics =
            vec![named("by-name"), named("unknown"), of_id(by_id.id), of_id(stdx::Uuid([9; 16]))];
    }
    let mut response = client.call(version, &request).await;
    response.responses.sort_by_key(|answer| (answer.error_code, answer.name.clone()));
    let answers: Vec<_> = response.responses.iter().map(|a| (a.name.as_deref(), a.error_code)).collect();
    let (unknown, unknown_id) = (code(ErrorCode::UnknownTopicOrPartition), code(ErrorCode::UnknownTopicId));
    if version < 6 {
        assert_eq!(answers, [(Some("by-name"), 0), (Some("unknown"), unknown)]);
    } else {
        let expected =
            [(Some("by-id"), 0), (Some("by-name"), 0), (Some("unknown"), unknown), (None, unknown_id)];
        assert_eq!(answers, expected);
        assert_eq!((response.responses[0].topic_id, response.responses[1].topic_id), (by_id.id, by_name.id));
    }
    let has_message = response.responses.iter().any(|answer| answer.error_message.is_some());
    assert_eq!(has_message, version >= 5);
    let metadata = client.call(12, &MetadataRequest { topics: None, ..Default::default() }).await;
    assert_eq!(metadata.topics.len(), if version < 6 { 1 } else { 0 });
    let again = client.create("by-name", 2, &[]).await;
    assert_ne!(again.id, by_name.id);
    assert_eq!(client.read_all(&again).await.len(), 0);
}

pub(super) async fn create_partitions(version: i16) {
    let node = Node::start().await;
    let mut client = node.client();
    for name in ["t", "u"] {
        client.create(name, 2, &[]).await;
    }
    let grow = |name: &str, count, nodes: Option<&[i32]>| CreatePartitionsTopic {
        name: name.into(),
        count,
        assignments: nodes.map(|nodes| {
            nodes.iter().map(|id| CreatePartitionsAssignment { broker_ids: vec![*id] }).collect()
        }),
    };
    let cases = [
        (grow("t", 4, None), ErrorCode::None),
        (grow("u", 3, Some(&[NODE_ID])), ErrorCode::None),
        (grow("t", 2, None), ErrorCode::InvalidPartitions),
        (grow("t", 4, None), ErrorCode::InvalidPartitions),
        (grow("u", 5, Some(&[NODE_ID])), ErrorCode::InvalidReplicaAssignment),
        (grow("u", 4, Some(&[99])), ErrorCode::InvalidReplicaAssignment),
        (grow("unknown", 4, None), ErrorCode::UnknownTopicOrPartition),
    ];
    let validate =
        CreatePartitionsRequest { topics: vec![grow("t", 9, None)], timeout_ms: 1000, validate_only: true };
    assert_eq!(client.call(version, &validate).await.results[0].error_code, 0);
    for (topic, error) in cases {
        let what = format!("{topic:?}");
        let request = CreatePartitionsRequest { topics: vec![topic], timeout_ms: 1000, validate_only: false };
        let response = client.call(version, &request).await;
        assert_eq!(response.results[0].error_code, code(error), "{what}");
        assert_eq!(response.results[0].error_message.is_some(), error != ErrorCode::None);
    }
    let metadata = client.call(12, &MetadataRequest { topics: None, ..Default::default() }).await;
    let sizes: Vec<_> = metadata.topics.iter().map(|topic| topic.partitions.len()).collect();
    assert_eq!(sizes, [4, 3]);
}

//! The APIs that move partitions, elect their leaders and forget brokers, asked of a node that is alone; `replication`
//! asks several.

use crate::harness::{NODE_ID, Node, code};
use wire::{
    AlterPartitionReassignmentsRequest, ElectLeadersRequest, ErrorCode, ListPartitionReassignmentsRequest,
    UnregisterBrokerRequest, UnregisterControllerRequest,
    alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic},
    elect_leaders_request::TopicPartitions,
    list_partition_reassignments_request::ListPartitionReassignmentsTopics,
};

pub(super) async fn elect_leaders(version: i16) {
    let node = Node::start().await;
    let mut client = node.client();
    client.create("t", 1, &[]).await;
    let named = |topic: &str, partitions: &[i32]| TopicPartitions {
        topic: topic.into(),
        partitions: partitions.to_vec(),
    };
    let request = ElectLeadersRequest {
        election_type: 0,
        topic_partitions: Some(vec![named("t", &[0, 9]), named("none", &[0])]),
        timeout_ms: 1000,
    };
    let response = client.call(version, &request).await;
    let results = response.replica_election_results.iter().flat_map(|topic| {
        topic.partition_result.iter().map(|one| (&*topic.topic, one.partition_id, one.error_code))
    });
    let unknown = code(ErrorCode::UnknownTopicOrPartition);
    let expected = [("t", 0, code(ErrorCode::ElectionNotNeeded)), ("t", 9, unknown), ("none", 0, unknown)];
    assert_eq!((results.collect::<Vec<_>>(), response.error_code), (expected.to_vec(), 0));
    assert!(response.replica_election_results[0].partition_result[0].error_message.is_some());
    let all = ElectLeadersRequest { topic_partitions: None, ..request.clone() };
    let response = client.call(version, &all).await;
    let named: Vec<_> = response
        .replica_election_results
        .iter()
        .map(|one| (&*one.topic, one.partition_result.len()))
        .collect();
    assert_eq!((response.error_code, named), (0, vec![("t", 0)]));
    if version >= 1 {
        let wrong = ElectLeadersRequest { election_type: 7, ..request };
        let response = client.call(version, &wrong).await;
        assert_eq!(response.error_code, code(ErrorCode::InvalidRequest));
        let first = &response.replica_election_results[0].partition_result[0];
        assert_eq!(first.error_code, code(ErrorCode::InvalidRequest));
    }
}

pub(super) async fn alter_partition_reassignments(version: i16) {
    let node = Node::start().await;
    let mut client = node.client();
    client.create("t", 2, &[]).await;
    let partition = |partition_index, replicas: Option<&[i32]>| ReassignablePartition {
        partition_index,
        replicas: replicas.map(<[_]>::to_vec),
    };
    let request = AlterPartitionReassignmentsRequest {
        topics: vec![
            ReassignableTopic {
                name: "t".into(),
                partitions: vec![
                    partition(0, Some(&[NODE_ID])),
                    partition(1, Some(&[99])),
                    partition(9, None),
                ],
            },
            ReassignableTopic { name: "none".into(), partitions: vec![partition(0, None)] },
        ],
        timeout_ms: 1000,
        ..Default::default()
    };
    let response = client.call(version, &request).await;
    let results = response.responses.iter().flat_map(|topic| {
        topic.partitions.iter().map(|one| (&*topic.name, one.partition_index, one.error_code))
    });
    let unknown = code(ErrorCode::UnknownTopicOrPartition);
    let expected = [
        ("t", 0, 0),
        ("t", 1, code(ErrorCode::InvalidReplicaAssignment)),
        ("t", 9, unknown),
        ("none", 0, unknown),
    ];
    assert_eq!((results.collect::<Vec<_>>(), response.error_code), (expected.to_vec(), 0));
    let cancelled = AlterPartitionReassignmentsRequest {
        topics: vec![ReassignableTopic { name: "t".into(), partitions: vec![partition(0, None)] }],
        ..Default::default()
    };
    let response = client.call(version, &cancelled).await;
    let one = &response.responses[0].partitions[0];
    assert_eq!(one.error_code, code(ErrorCode::NoReassignmentInProgress));
    assert!(one.error_message.is_some());
}

pub(super) async fn list_partition_reassignments(version: i16) {
    let node = Node::start().await;
    let mut client = node.client();
    client.create("t", 1, &[]).await;
    let named = vec![ListPartitionReassignmentsTopics { name: "t".into(), partition_indexes: vec![0, 9] }];
    for topics in [None, Some(named)] {
        let request = ListPartitionReassignmentsRequest { topics, timeout_ms: 1000 };
        let response = client.call(version, &request).await;
        assert_eq!((response.error_code, response.topics), (0, Vec::new()), "nothing moves");
    }
}

pub(super) async fn unregister_controller(version: i16) {
    let node = Node::start().await;
    let mut client = node.client();
    let response = client.call(version, &UnregisterControllerRequest { controller_id: 99 }).await;
    assert_eq!(response.error_code, code(ErrorCode::ControllerIdNotRegistered));
    assert!(response.error_message.unwrap().contains("99"));
}

pub(super) async fn unregister_broker(version: i16) {
    let node = Node::start().await;
    let mut client = node.client();
    let response = client.call(version, &UnregisterBrokerRequest { broker_id: 99 }).await;
    assert_eq!(response.error_code, code(ErrorCode::BrokerIdNotRegistered));
    assert!(response.error_message.unwrap().contains("99"));
}

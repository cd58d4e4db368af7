//! The APIs that describe and change who votes, asked of a node that is a quorum of one; `clusters` asks several.

use crate::harness::{NODE_ID, Node, code};
use stdx::Uuid;
use wire::{
    AddRaftVoterRequest, DescribeQuorumRequest, ErrorCode, RemoveRaftVoterRequest, add_raft_voter_request,
    describe_quorum_request::{PartitionData, TopicData},
};

pub(super) fn describe(topic: &str, partitions: &[i32]) -> DescribeQuorumRequest {
    let partitions = partitions.iter().map(|index| PartitionData { partition_index: *index });
    let topic = TopicData { topic_name: topic.into(), partitions: partitions.collect() };
    DescribeQuorumRequest { topics: vec![topic] }
}

pub(super) async fn describe_quorum(version: i16) {
    let node = Node::start().await;
    let response = node.client().call(version, &describe("__cluster_metadata", &[0, 1])).await;
    assert_eq!(response.error_code, 0);
    let [first, second] = response.topics[0].partitions.as_slice() else { panic!("two partitions") };
    assert_eq!((first.error_code, first.leader_id, first.leader_epoch), (0, NODE_ID, 1));
    assert!(first.high_watermark > 3);
    let [voter] = first.current_voters.as_slice() else { panic!("one voter") };
    assert_eq!((voter.replica_id, voter.log_end_offset), (NODE_ID, first.high_watermark));
    assert_eq!(voter.last_caught_up_timestamp > 0, version >= 1);
    assert_eq!(voter.replica_directory_id.is_zero(), version < 2);
    assert_eq!(response.nodes.len(), usize::from(version >= 2));
    let unknown = code(ErrorCode::UnknownTopicOrPartition);
    assert_eq!((second.error_code, second.partition_index), (unknown, 1));
    let response = node.client().call(version, &describe("t", &[0])).await;
    assert_eq!(response.topics[0].partitions[0].error_code, unknown);
}

pub(super) async fn add_raft_voter(version: i16) {
    let node = Node::start().await;
    let listener =
        add_raft_voter_request::Listener { name: "CONTROLLER".into(), host: "nowhere".into(), port: 9093 };
    let request = AddRaftVoterRequest {
        cluster_id: None,
        timeout_ms: 1000,
        voter_id: NODE_ID,
        voter_directory_id: Uuid([9; 16]),
        listeners: vec![listener],
        ..AddRaftVoterRequest::default()
    };
    let response = node.client().call(version, &request).await;
    assert_eq!(response.error_code, code(ErrorCode::DuplicateVoter));
    assert!(response.error_message.unwrap().contains("voter already"));
    let elsewhere = AddRaftVoterRequest { cluster_id: Some("other".into()), ..request.clone() };
    let response = node.client().call(version, &elsewhere).await;
    assert_eq!(response.error_code, code(ErrorCode::InconsistentClusterId));
    for (voter_id, voter_directory_id) in [(NODE_ID + 1, Uuid::ZERO), (-1, Uuid([9; 16]))] {
        let nobody = AddRaftVoterRequest { voter_id, voter_directory_id, ..request.clone() };
        let response = node.client().call(version, &nobody).await;
        assert_eq!(response.error_code, code(ErrorCode::InvalidRequest));
        assert!(response.error_message.unwrap().contains("directory.id"));
    }
    let unreachable = AddRaftVoterRequest { voter_id: NODE_ID + 1, ..request };
    let response = node.client().call(version, &unreachable).await;
    assert_eq!(response.error_code, code(ErrorCode::RequestTimedOut), "it cannot catch up");
    node.client().create("t", 1, &[]).await;
}

pub(super) async fn remove_raft_voter(version: i16) {
    let node = Node::start().await;
    let described = node.client().call(2, &describe("__cluster_metadata", &[0])).await;
    let directory = described.topics[0].partitions[0].current_voters[0].replica_directory_id;
    for (voter_directory_id, expected) in [
        (Uuid([9; 16]), ErrorCode::VoterNotFound),
        (Uuid::ZERO, ErrorCode::InvalidRequest),
        (directory, ErrorCode::InvalidRequest),
    ] {
        let request = RemoveRaftVoterRequest { cluster_id: None, voter_id: NODE_ID, voter_directory_id };
        let response = node.client().call(version, &request).await;
        assert_eq!(response.error_code, code(expected), "{:?}", response.error_message);
    }
    node.client().create("t", 1, &[]).await;
}

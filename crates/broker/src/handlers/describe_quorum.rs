//! DescribeQuorum (key 55): who votes on the metadata, who leads, and how far each is (KIP-595, KIP-853).

use crate::{Broker, context::Context, failure_code};
use quorum::{Description, Quorum, ReplicaState as Known};
use std::sync::Arc;
use stdx::Uuid;
use wire::{
    DescribeQuorumRequest, DescribeQuorumResponse, ErrorCode,
    describe_quorum_response::{Listener, Node, PartitionData, ReplicaState, TopicData},
};

const TOPIC: &str = "__cluster_metadata";
/// From this version on the listeners of the voters are told.
const VERSION_WITH_NODES: i16 = 2;
/// From this version on it is told when each was there last.
const VERSION_WITH_TIMES: i16 = 1;

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    context: &Context,
    request: DescribeQuorumRequest,
) -> DescribeQuorumResponse {
    let mut described = broker.quorum.describe();
    if described.leadership.leader != Some(broker.quorum.replica()) {
        return DescribeQuorumResponse {
            error_code: ErrorCode::NotLeaderOrFollower.to_i16(),
            error_message: (context.version >= VERSION_WITH_NODES)
                .then(|| "this node does not lead the quorum".into()),
            ..DescribeQuorumResponse::default()
        };
    }
    // Controllers that are about to vote the quorum knows itself.
    let by_fetch = broker.observers.known(broker.now_ms()).into_iter();
    let is_known = |one: &Known| {
        described.voters.iter().chain(&described.observers).any(|known| known.replica == one.replica)
    };
    let more: Vec<_> = by_fetch.filter(|one| !is_known(one)).collect();
    described.observers.extend(more);
    let topics = request.topics.into_iter().map(|topic| {
        let is_ours = topic.topic_name == TOPIC;
        let partitions = topic.partitions.into_iter().map(|partition| match partition.partition_index {
            0 if is_ours => describe(&described, context.version),
            partition_index => PartitionData {
                partition_index,
                error_code: ErrorCode::UnknownTopicOrPartition.to_i16(),
                ..PartitionData::default()
            },
        });
        TopicData { partitions: partitions.collect(), topic_name: topic.topic_name }
    });
    let topics = topics.collect();
    let nodes = if context.version >= VERSION_WITH_NODES { nodes(&described) } else { Vec::new() };
    DescribeQuorumResponse { topics, nodes, ..DescribeQuorumResponse::default() }
}

fn describe(described: &Description, version: i16) -> PartitionData {
    let state = |known: &Known| state(known, version);
    PartitionData {
        partition_index: 0,
        error_code: failure_code::NONE,
        leader_id: described.leadership.leader.map_or(-1, |leader| leader.node),
        leader_epoch: described.leadership.epoch,
        high_watermark: described.leadership.high_watermark,
        current_voters: described.voters.iter().map(&state).collect(),
        observers: described.observers.iter().map(&state).collect(),
        ..PartitionData::default()
    }
}

fn state(known: &Known, version: i16) -> ReplicaState {
    let (fetched, caught_up) =
        if version >= VERSION_WITH_TIMES { (known.last_fetch_ms, known.last_caught_up_ms) } else { (-1, -1) };
    ReplicaState {
        replica_id: known.replica.node,
        replica_directory_id: if version >= VERSION_WITH_NODES {
            known.replica.directory
        } else {
            Uuid::ZERO
        },
        log_end_offset: known.log_end_offset,
        last_fetch_timestamp: fetched,
        last_caught_up_timestamp: caught_up,
    }
}

fn nodes(described: &Description) -> Vec<Node> {
    let node = |known: &Known| {
        let listeners = known.member.endpoints.iter().map(|endpoint| Listener {
            name: endpoint.name.clone(),
            host: endpoint.host.clone(),
            port: endpoint.port,
        });
        Node { node_id: known.replica.node, listeners: listeners.collect() }
    };
    described.voters.iter().map(node).collect()
}

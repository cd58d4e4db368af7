//! StreamsGroupDescribe (key 89): state, topology, members and tasks of streams groups (KIP-1071), and what their topologies are
//! made of (KIP-1331).

use crate::{Broker, context::Context, failure_code};
use groups::{
    DescriptionStatus, Error, InternalTopic, NodeKind, Reply, Request, StreamsDescribed,
    StreamsDescribedMember, Subtopology, TaskOffsets, TaskSet, Tasks, TopologyNode,
};
use model::GroupId;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use wire::{
    ErrorCode, StreamsGroupDescribeRequest, StreamsGroupDescribeResponse,
    streams_group_describe_response::{self as told, DescribedGroup},
};

/// Kafka's numbers of what came of the wish for a description.
const NOT_REQUESTED: i8 = 0;
const NOT_STORED: i8 = 1;
const AVAILABLE: i8 = 3;

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    _context: &Context,
    request: StreamsGroupDescribeRequest,
) -> StreamsGroupDescribeResponse {
    let operations = match request.include_authorized_operations {
        true => super::GROUP_OPERATIONS,
        false => super::metadata::OPERATIONS_UNKNOWN,
    };
    let (is_enabled, with_description) =
        (super::has_streams_groups(broker), request.include_topology_description);
    let mut groups = Vec::new();
    for name in super::distinct(request.group_ids) {
        if !is_enabled {
            groups.push(refusal(name, ErrorCode::UnsupportedVersion, None));
            continue;
        }
        let group = GroupId::new(&name);
        let order = Request::StreamsDescribe { groups: vec![group.clone()], with_description };
        let error = match broker.groups.ask(&group, order).await {
            Ok(Reply::StreamsDescribe(described)) => {
                groups.extend(described.into_iter().map(|group| answer(group, operations)));
                continue;
            }
            Ok(_) => Error::UnknownServerError,
            Err(error) => error,
        };
        groups.push(refusal(name, failure_code::of_groups(&error), failure_code::message(&error)));
    }
    StreamsGroupDescribeResponse { groups, ..StreamsGroupDescribeResponse::default() }
}

fn refusal(group_id: String, error: ErrorCode, error_message: Option<String>) -> DescribedGroup {
    DescribedGroup {
        error_code: error.to_i16(),
        error_message,
        group_id,
        authorized_operations: super::metadata::OPERATIONS_UNKNOWN,
        ..DescribedGroup::default()
    }
}

fn answer(group: StreamsDescribed, operations: i32) -> DescribedGroup {
    if let Some(error) = group.error {
        let code = failure_code::of_groups(&error);
        return refusal(group.group.to_string(), code, failure_code::message(&error));
    }
    let topology = group.topology.map(|topology| told::Topology {
        epoch: topology.epoch,
        subtopologies: Some(topology.subtopologies.into_iter().map(subtopology).collect()),
    });
    let (topology_description_status, topology_description) = match group.description {
        DescriptionStatus::NotRequested => (NOT_REQUESTED, None),
        DescriptionStatus::NotStored => (NOT_STORED, None),
        DescriptionStatus::Available(found) => (AVAILABLE, Some(description(found))),
    };
    DescribedGroup {
        group_id: group.group.to_string(),
        group_state: group.state.name().to_owned(),
        group_epoch: group.epoch,
        assignment_epoch: group.assignment_epoch,
        topology,
        members: group.members.into_iter().map(member).collect(),
        authorized_operations: operations,
        topology_description,
        topology_description_status,
        assignor_name: Some(group.assignor.to_owned()),
        ..DescribedGroup::default()
    }
}

fn texts(all: Vec<Arc<str>>) -> Vec<String> {
    all.iter().map(|text| text.to_string()).collect()
}

fn subtopology(part: Subtopology) -> told::Subtopology {
    let topics = |topics: Vec<InternalTopic>| topics.into_iter().map(topic).collect();
    told::Subtopology {
        subtopology_id: part.id.to_string(),
        source_topics: texts(part.source_topics),
        repartition_sink_topics: texts(part.repartition_sink_topics),
        state_changelog_topics: topics(part.state_changelog_topics),
        repartition_source_topics: topics(part.repartition_source_topics),
    }
}

fn topic(topic: InternalTopic) -> told::TopicInfo {
    let configs = topic.configs.into_iter();
    told::TopicInfo {
        name: topic.name.to_string(),
        partitions: topic.partitions,
        replication_factor: topic.replication_factor,
        topic_configs: configs.map(|(key, value)| key_value(&key, &value)).collect(),
    }
}

fn key_value(key: &str, value: &str) -> told::KeyValue {
    told::KeyValue { key: key.to_owned(), value: value.to_owned() }
}

fn member(member: StreamsDescribedMember) -> told::Member {
    let said = member.metadata;
    let tags = said.client_tags.iter();
    told::Member {
        member_id: member.member_id.to_string(),
        member_epoch: member.epoch,
        instance_id: said.instance_id.map(|id| id.to_string()),
        rack_id: said.rack_id.map(|id| id.to_string()),
        client_id: said.client_id.to_string(),
        client_host: said.client_host.to_string(),
        topology_epoch: said.topology_epoch,
        process_id: said.process_id.to_string(),
        user_endpoint: said
            .user_endpoint
            .map(|endpoint| told::Endpoint { host: endpoint.host.to_string(), port: endpoint.port }),
        client_tags: tags.map(|(key, value)| key_value(key, value)).collect(),
        task_offsets: offsets(&member.offsets.offsets),
        task_end_offsets: offsets(&member.offsets.end_offsets),
        assignment: assignment(member.assignment),
        target_assignment: assignment(member.target),
        is_classic: false,
    }
}

fn offsets(offsets: &TaskOffsets) -> Vec<told::TaskOffset> {
    let of = |(id, tasks): (&Arc<str>, &BTreeMap<i32, i64>)| {
        let id = id.to_string();
        let tasks = tasks.iter();
        tasks
            .map(|(&partition, &offset)| told::TaskOffset { subtopology_id: id.clone(), partition, offset })
            .collect::<Vec<_>>()
    };
    offsets.iter().flat_map(of).collect()
}

fn assignment(tasks: Tasks) -> told::Assignment {
    let ids = |tasks: TaskSet| {
        let task = |(id, indices): (Arc<str>, BTreeSet<i32>)| told::TaskIds {
            subtopology_id: id.to_string(),
            partitions: indices.into_iter().collect(),
        };
        tasks.into_iter().map(task).collect()
    };
    told::Assignment {
        active_tasks: ids(tasks.active),
        standby_tasks: ids(tasks.standby),
        warmup_tasks: ids(tasks.warmup),
    }
}

fn description(found: groups::TopologyDescription) -> told::TopologyDescription {
    let part = |(id, nodes): (Arc<str>, Vec<TopologyNode>)| told::TopologyDescriptionSubtopology {
        subtopology_id: id.to_string(),
        nodes: nodes.into_iter().map(node).collect(),
    };
    let store = |(source, processor): (TopologyNode, TopologyNode)| told::TopologyDescriptionGlobalStore {
        source: node(source),
        processor: node(processor),
    };
    told::TopologyDescription {
        subtopologies: found.subtopologies.into_iter().map(part).collect(),
        global_stores: found.global_stores.into_iter().map(store).collect(),
    }
}

fn node(node: TopologyNode) -> told::TopologyDescriptionNode {
    let bare = told::TopologyDescriptionNode {
        name: node.name.to_string(),
        successors: texts(node.successors),
        ..told::TopologyDescriptionNode::default()
    };
    match node.kind {
        NodeKind::Source(topics) => {
            told::TopologyDescriptionNode { node_type: 1, source_topics: texts(topics), ..bare }
        }
        NodeKind::Processor(stores) => {
            told::TopologyDescriptionNode { node_type: 2, stores: texts(stores), ..bare }
        }
        NodeKind::Sink(topic) => told::TopologyDescriptionNode {
            node_type: 3,
            sink_topic: topic.map(|topic| topic.to_string()),
            ..bare
        },
    }
}

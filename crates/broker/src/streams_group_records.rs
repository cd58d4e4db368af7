//! Streams groups (KIP-1071) as the bytes of `__consumer_offsets`: Kafka's StreamsGroup... records, each a key type of its own
//! (17 and 19 to 23), all in version 0.
//!
//! Type 18 (StreamsGroupPartitionMetadata) is of Kafka before 4.1 and skipped: the hash in type 17 took its place.

use crate::record_bytes::{read, split, write};
use bytes::Bytes;
use groups::{
    CopartitionGroup, Endpoint, InternalTopic, MemberState, OwnedTasks, Record, StreamsChange,
    StreamsCurrent, StreamsEpoch, StreamsMetadata, Subtopology, TargetEpoch, TaskEpochs, TaskSet, Tasks,
    Topology,
};
use model::GroupId;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use wire::record::{
    StreamsGroupCurrentMemberAssignmentKey, StreamsGroupCurrentMemberAssignmentValue,
    StreamsGroupMemberMetadataKey, StreamsGroupMemberMetadataValue, StreamsGroupMetadataKey,
    StreamsGroupMetadataValue, StreamsGroupTargetAssignmentMemberKey,
    StreamsGroupTargetAssignmentMemberValue, StreamsGroupTargetAssignmentMetadataKey,
    StreamsGroupTargetAssignmentMetadataValue, StreamsGroupTopologyKey, StreamsGroupTopologyValue,
    streams_group_current_member_assignment_value as current, streams_group_member_metadata_value as member,
    streams_group_metadata_value::LastAssignmentConfig,
    streams_group_target_assignment_member_value as target, streams_group_topology_value as topology,
};

const KEY_GROUP: i16 = 17;
const KEY_MEMBER: i16 = 19;
const KEY_TARGET_EPOCH: i16 = 20;
const KEY_TARGET: i16 = 21;
const KEY_CURRENT: i16 = 22;
const KEY_TOPOLOGY: i16 = 23;

const VERSION: i16 = 0;

/// Key and value; no value is a tombstone.
pub(crate) fn encode(group: &GroupId, change: &StreamsChange) -> (Bytes, Option<Bytes>) {
    let group_id = group.to_string();
    match change {
        StreamsChange::Epoch(epoch) => {
            let value = epoch.as_ref().map(|epoch| write(VERSION, VERSION, &epoch_value(epoch)));
            (write(KEY_GROUP, VERSION, &StreamsGroupMetadataKey { group_id }), value)
        }
        StreamsChange::Member(id, said) => {
            let key = StreamsGroupMemberMetadataKey { group_id, member_id: id.to_string() };
            let value = said.as_ref().map(|said| write(VERSION, VERSION, &member_value(said)));
            (write(KEY_MEMBER, VERSION, &key), value)
        }
        StreamsChange::Topology(topology) => {
            let value = topology.as_ref().map(|topology| write(VERSION, VERSION, &topology_value(topology)));
            (write(KEY_TOPOLOGY, VERSION, &StreamsGroupTopologyKey { group_id }), value)
        }
        StreamsChange::TargetEpoch(epoch) => {
            let value = epoch.map(|TargetEpoch { epoch, timestamp }| {
                let (assignment_epoch, assignment_timestamp) = (epoch, timestamp);
                let value =
                    StreamsGroupTargetAssignmentMetadataValue { assignment_epoch, assignment_timestamp };
                write(VERSION, VERSION, &value)
            });
            (write(KEY_TARGET_EPOCH, VERSION, &StreamsGroupTargetAssignmentMetadataKey { group_id }), value)
        }
        StreamsChange::Target(id, target) => {
            let key = StreamsGroupTargetAssignmentMemberKey { group_id, member_id: id.to_string() };
            let value = target.as_ref().map(|target| write(VERSION, VERSION, &target_value(target)));
            (write(KEY_TARGET, VERSION, &key), value)
        }
        StreamsChange::Current(id, current) => {
            let key = StreamsGroupCurrentMemberAssignmentKey { group_id, member_id: id.to_string() };
            let value = current.as_ref().map(|current| write(VERSION, VERSION, &current_value(current)));
            (write(KEY_CURRENT, VERSION, &key), value)
        }
    }
}

/// The record that a key of type `kind` and a value stand for; `None` for other types, and where one cannot be read.
pub(crate) fn decode(kind: i16, key: Bytes, value: Option<&Bytes>) -> Option<Record> {
    let value = match value.map(split) {
        Some(split) => Some(split?),
        None => None,
    };
    macro_rules! value {
        ($to:expr) => {
            match value {
                Some((version, body)) => Some($to(read(body, version)?)),
                None => None,
            }
        };
    }
    let (group, change) = match kind {
        KEY_GROUP => {
            let key: StreamsGroupMetadataKey = read(key, VERSION)?;
            (key.group_id, StreamsChange::Epoch(value!(to_epoch)))
        }
        KEY_MEMBER => {
            let key: StreamsGroupMemberMetadataKey = read(key, VERSION)?;
            (key.group_id, StreamsChange::Member(key.member_id.as_str().into(), value!(to_metadata)))
        }
        KEY_TOPOLOGY => {
            let key: StreamsGroupTopologyKey = read(key, VERSION)?;
            (key.group_id, StreamsChange::Topology(value!(to_topology)))
        }
        KEY_TARGET_EPOCH => {
            let key: StreamsGroupTargetAssignmentMetadataKey = read(key, VERSION)?;
            let epoch = |value: StreamsGroupTargetAssignmentMetadataValue| TargetEpoch {
                epoch: value.assignment_epoch,
                timestamp: value.assignment_timestamp,
            };
            (key.group_id, StreamsChange::TargetEpoch(value!(epoch)))
        }
        KEY_TARGET => {
            let key: StreamsGroupTargetAssignmentMemberKey = read(key, VERSION)?;
            (key.group_id, StreamsChange::Target(key.member_id.as_str().into(), value!(to_target)))
        }
        KEY_CURRENT => {
            let key: StreamsGroupCurrentMemberAssignmentKey = read(key, VERSION)?;
            (key.group_id, StreamsChange::Current(key.member_id.as_str().into(), value!(to_current)))
        }
        _ => return None,
    };
    Some(Record::Streams { group: GroupId::new(&group), change })
}

fn text(text: &Arc<str>) -> String {
    text.to_string()
}

fn texts(all: &[Arc<str>]) -> Vec<String> {
    all.iter().map(text).collect()
}

fn to_texts(all: Vec<String>) -> Vec<Arc<str>> {
    all.into_iter().map(Into::into).collect()
}

fn epoch_value(epoch: &StreamsEpoch) -> StreamsGroupMetadataValue {
    let configs = epoch.assignment_configs.iter();
    StreamsGroupMetadataValue {
        epoch: epoch.epoch,
        metadata_hash: epoch.metadata_hash,
        validated_topology_epoch: epoch.validated_topology_epoch,
        last_assignment_configs: Some(
            configs.map(|(key, value)| LastAssignmentConfig { key: text(key), value: text(value) }).collect(),
        ),
        stored_description_topology_epoch: epoch.stored_description_epoch,
        failed_description_topology_epoch: epoch.failed_description_epoch,
    }
}

fn to_epoch(value: StreamsGroupMetadataValue) -> StreamsEpoch {
    let configs = value.last_assignment_configs.unwrap_or_default().into_iter();
    StreamsEpoch {
        epoch: value.epoch,
        metadata_hash: value.metadata_hash,
        validated_topology_epoch: value.validated_topology_epoch,
        assignment_configs: configs.map(|config| (config.key.into(), config.value.into())).collect(),
        stored_description_epoch: value.stored_description_topology_epoch,
        failed_description_epoch: value.failed_description_topology_epoch,
    }
}

fn member_value(said: &StreamsMetadata) -> StreamsGroupMemberMetadataValue {
    let tags = said.client_tags.iter();
    StreamsGroupMemberMetadataValue {
        instance_id: said.instance_id.as_ref().map(text),
        rack_id: said.rack_id.as_ref().map(text),
        client_id: text(&said.client_id),
        client_host: text(&said.client_host),
        rebalance_timeout_ms: said.rebalance_timeout_ms,
        topology_epoch: said.topology_epoch,
        process_id: text(&said.process_id),
        user_endpoint: said
            .user_endpoint
            .as_ref()
            .map(|endpoint| member::Endpoint { host: text(&endpoint.host), port: endpoint.port }),
        client_tags: tags
            .map(|(key, value)| member::KeyValue { key: text(key), value: text(value) })
            .collect(),
    }
}

fn to_metadata(value: StreamsGroupMemberMetadataValue) -> StreamsMetadata {
    let endpoint = |endpoint: member::Endpoint| Endpoint { host: endpoint.host.into(), port: endpoint.port };
    StreamsMetadata {
        instance_id: value.instance_id.map(Into::into),
        rack_id: value.rack_id.map(Into::into),
        client_id: value.client_id.into(),
        client_host: value.client_host.into(),
        rebalance_timeout_ms: value.rebalance_timeout_ms,
        topology_epoch: value.topology_epoch,
        process_id: value.process_id.into(),
        user_endpoint: value.user_endpoint.map(endpoint),
        client_tags: value.client_tags.into_iter().map(|tag| (tag.key.into(), tag.value.into())).collect(),
    }
}

fn topology_value(topology: &Topology) -> StreamsGroupTopologyValue {
    let part = |part: &Subtopology| topology::Subtopology {
        subtopology_id: text(&part.id),
        source_topics: texts(&part.source_topics),
        source_topic_regex: texts(&part.source_topic_regex),
        state_changelog_topics: part.state_changelog_topics.iter().map(topic_value).collect(),
        repartition_sink_topics: texts(&part.repartition_sink_topics),
        repartition_source_topics: part.repartition_source_topics.iter().map(topic_value).collect(),
        copartition_groups: part
            .copartition_groups
            .iter()
            .map(|group| topology::CopartitionGroup {
                source_topics: group.source_topics.clone(),
                source_topic_regex: group.source_topic_regex.clone(),
                repartition_source_topics: group.repartition_source_topics.clone(),
            })
            .collect(),
    };
    StreamsGroupTopologyValue {
        epoch: topology.epoch,
        subtopologies: topology.subtopologies.iter().map(part).collect(),
    }
}

fn topic_value(topic: &InternalTopic) -> topology::TopicInfo {
    let configs = topic.configs.iter();
    topology::TopicInfo {
        name: text(&topic.name),
        partitions: topic.partitions,
        replication_factor: topic.replication_factor,
        topic_configs: configs
            .map(|(key, value)| topology::TopicConfig { key: text(key), value: text(value) })
            .collect(),
    }
}

fn to_topology(value: StreamsGroupTopologyValue) -> Topology {
    let part = |part: topology::Subtopology| Subtopology {
        id: part.subtopology_id.into(),
        source_topics: to_texts(part.source_topics),
        source_topic_regex: to_texts(part.source_topic_regex),
        state_changelog_topics: part.state_changelog_topics.into_iter().map(to_topic).collect(),
        repartition_sink_topics: to_texts(part.repartition_sink_topics),
        repartition_source_topics: part.repartition_source_topics.into_iter().map(to_topic).collect(),
        copartition_groups: part
            .copartition_groups
            .into_iter()
            .map(|group| CopartitionGroup {
                source_topics: group.source_topics,
                source_topic_regex: group.source_topic_regex,
                repartition_source_topics: group.repartition_source_topics,
            })
            .collect(),
    };
    Topology { epoch: value.epoch, subtopologies: value.subtopologies.into_iter().map(part).collect() }
}

fn to_topic(topic: topology::TopicInfo) -> InternalTopic {
    let configs = topic.topic_configs.into_iter();
    InternalTopic {
        name: topic.name.into(),
        partitions: topic.partitions,
        replication_factor: topic.replication_factor,
        configs: configs.map(|config| (config.key.into(), config.value.into())).collect(),
    }
}

fn target_value(target: &Tasks) -> StreamsGroupTargetAssignmentMemberValue {
    let tasks = |tasks: &TaskSet| {
        let task = |(id, indices): (&Arc<str>, &BTreeSet<i32>)| target::TaskIds {
            subtopology_id: text(id),
            partitions: indices.iter().copied().collect(),
        };
        tasks.iter().map(task).collect()
    };
    StreamsGroupTargetAssignmentMemberValue {
        active_tasks: tasks(&target.active),
        standby_tasks: tasks(&target.standby),
        warmup_tasks: tasks(&target.warmup),
    }
}

fn to_target(value: StreamsGroupTargetAssignmentMemberValue) -> Tasks {
    let tasks = |tasks: Vec<target::TaskIds>| -> TaskSet {
        let tasks = tasks.into_iter();
        tasks.map(|task| (task.subtopology_id.into(), task.partitions.into_iter().collect())).collect()
    };
    Tasks {
        active: tasks(value.active_tasks),
        standby: tasks(value.standby_tasks),
        warmup: tasks(value.warmup_tasks),
    }
}

fn current_value(current: &StreamsCurrent) -> StreamsGroupCurrentMemberAssignmentValue {
    let (assigned, revoking) = (&current.assigned, &current.revoking);
    StreamsGroupCurrentMemberAssignmentValue {
        member_epoch: current.epoch,
        previous_member_epoch: current.previous_epoch,
        state: match current.state {
            MemberState::Stable => 1,
            MemberState::UnrevokedPartitions => 2,
            MemberState::UnreleasedPartitions => 3,
        },
        active_tasks: active_value(&assigned.active),
        standby_tasks: copies_value(&assigned.standby),
        warmup_tasks: copies_value(&assigned.warmup),
        active_tasks_pending_revocation: active_value(&revoking.active),
        standby_tasks_pending_revocation: copies_value(&revoking.standby),
        warmup_tasks_pending_revocation: copies_value(&revoking.warmup),
    }
}

fn active_value(tasks: &TaskEpochs) -> Vec<current::TaskIds> {
    let task = |(id, indices): (&Arc<str>, &BTreeMap<i32, i32>)| current::TaskIds {
        subtopology_id: text(id),
        partitions: indices.keys().copied().collect(),
        assignment_epochs: Some(indices.values().copied().collect()),
    };
    tasks.iter().map(task).collect()
}

fn copies_value(tasks: &TaskSet) -> Vec<current::TaskIds> {
    let task = |(id, indices): (&Arc<str>, &BTreeSet<i32>)| current::TaskIds {
        subtopology_id: text(id),
        partitions: indices.iter().copied().collect(),
        assignment_epochs: None,
    };
    tasks.iter().map(task).collect()
}

fn to_current(value: StreamsGroupCurrentMemberAssignmentValue) -> StreamsCurrent {
    let epoch = value.member_epoch;
    StreamsCurrent {
        epoch,
        previous_epoch: value.previous_member_epoch,
        state: match value.state {
            2 => MemberState::UnrevokedPartitions,
            3 => MemberState::UnreleasedPartitions,
            _ => MemberState::Stable,
        },
        assigned: OwnedTasks {
            active: to_active(value.active_tasks, epoch),
            standby: to_copies(value.standby_tasks),
            warmup: to_copies(value.warmup_tasks),
        },
        revoking: OwnedTasks {
            active: to_active(value.active_tasks_pending_revocation, epoch),
            standby: to_copies(value.standby_tasks_pending_revocation),
            warmup: to_copies(value.warmup_tasks_pending_revocation),
        },
    }
}

/// Records of Kafka before 4.3 know no epochs of tasks: the member's own stands for them.
fn to_active(tasks: Vec<current::TaskIds>, member_epoch: i32) -> TaskEpochs {
    let task = |task: current::TaskIds| {
        let known = task.assignment_epochs.unwrap_or_default();
        let assigned = known.into_iter().chain(std::iter::repeat(member_epoch));
        (task.subtopology_id.into(), task.partitions.into_iter().zip(assigned).collect())
    };
    tasks.into_iter().map(task).collect()
}

fn to_copies(tasks: Vec<current::TaskIds>) -> TaskSet {
    let tasks = tasks.into_iter();
    tasks.map(|task| (task.subtopology_id.into(), task.partitions.into_iter().collect())).collect()
}

#[cfg(test)]
mod tests;

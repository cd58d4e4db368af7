//! Consumer groups (KIP-848) as the bytes of `__consumer_offsets`: Kafka's ConsumerGroup... records, each a key type of its
//! own (3, 5 to 8 and 16), all in version 0.
//!
//! Type 4 (ConsumerGroupPartitionMetadata) is of Kafka before 4.1 and skipped: the hash in type 3 took its place.

use crate::record_bytes::{read, split, write};
use bytes::Bytes;
use groups::{
    ClassicMember, ConsumerChange, Current, Epochs, GroupEpoch, MemberState, Partitions, Pattern, Protocol,
    Record, Subscription, TargetEpoch,
};
use model::GroupId;
use stdx::Uuid;
use wire::record::{
    ConsumerGroupCurrentMemberAssignmentKey, ConsumerGroupCurrentMemberAssignmentValue,
    ConsumerGroupMemberMetadataKey, ConsumerGroupMemberMetadataValue, ConsumerGroupMetadataKey,
    ConsumerGroupMetadataValue, ConsumerGroupRegularExpressionKey, ConsumerGroupRegularExpressionValue,
    ConsumerGroupTargetAssignmentMemberKey, ConsumerGroupTargetAssignmentMemberValue,
    ConsumerGroupTargetAssignmentMetadataKey, ConsumerGroupTargetAssignmentMetadataValue,
    consumer_group_current_member_assignment_value::TopicPartitions,
    consumer_group_member_metadata_value::{ClassicMemberMetadata, ClassicProtocol},
    consumer_group_target_assignment_member_value::TopicPartition,
};

const KEY_GROUP: i16 = 3;
const KEY_MEMBER: i16 = 5;
const KEY_TARGET_EPOCH: i16 = 6;
const KEY_TARGET: i16 = 7;
const KEY_CURRENT: i16 = 8;
const KEY_PATTERN: i16 = 16;

const VERSION: i16 = 0;

/// Key and value; no value is a tombstone.
pub(crate) fn encode(group: &GroupId, change: &ConsumerChange) -> (Bytes, Option<Bytes>) {
    let group_id = group.to_string();
    match change {
        ConsumerChange::Epoch(epoch) => {
            let key = write(KEY_GROUP, VERSION, &ConsumerGroupMetadataKey { group_id });
            let value = epoch.map(|GroupEpoch { epoch, metadata_hash }| {
                write(VERSION, VERSION, &ConsumerGroupMetadataValue { epoch, metadata_hash })
            });
            (key, value)
        }
        ConsumerChange::Member(id, subscription) => {
            let key = ConsumerGroupMemberMetadataKey { group_id, member_id: id.to_string() };
            let value = subscription.as_ref().map(|said| write(VERSION, VERSION, &member_value(said)));
            (write(KEY_MEMBER, VERSION, &key), value)
        }
        ConsumerChange::Pattern(pattern, found) => {
            let regular_expression = pattern.to_string();
            let key = ConsumerGroupRegularExpressionKey { group_id, regular_expression };
            let value = found.as_ref().map(|found| {
                let topics = found.topics.iter().map(|name| name.to_string()).collect();
                let (version, timestamp) = (found.version, found.timestamp);
                write(VERSION, VERSION, &ConsumerGroupRegularExpressionValue { topics, version, timestamp })
            });
            (write(KEY_PATTERN, VERSION, &key), value)
        }
        ConsumerChange::TargetEpoch(epoch) => {
            let key =
                write(KEY_TARGET_EPOCH, VERSION, &ConsumerGroupTargetAssignmentMetadataKey { group_id });
            let value = epoch.map(|TargetEpoch { epoch, timestamp }| {
                let value = ConsumerGroupTargetAssignmentMetadataValue {
                    assignment_epoch: epoch,
                    assignment_timestamp: timestamp,
                };
                write(VERSION, VERSION, &value)
            });
            (key, value)
        }
        ConsumerChange::Target(id, target) => {
            let key = ConsumerGroupTargetAssignmentMemberKey { group_id, member_id: id.to_string() };
            let value = target.as_ref().map(|target| write(VERSION, VERSION, &target_value(target)));
            (write(KEY_TARGET, VERSION, &key), value)
        }
        ConsumerChange::Current(id, current) => {
            let key = ConsumerGroupCurrentMemberAssignmentKey { group_id, member_id: id.to_string() };
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
        () => {
            match value {
                Some((version, body)) => Some(read(body, version)?),
                None => None,
            }
        };
    }
    let (group, change) = match kind {
        KEY_GROUP => {
            let key: ConsumerGroupMetadataKey = read(key, VERSION)?;
            let value: Option<ConsumerGroupMetadataValue> = value!();
            let epoch =
                value.map(|value| GroupEpoch { epoch: value.epoch, metadata_hash: value.metadata_hash });
            (key.group_id, ConsumerChange::Epoch(epoch))
        }
        KEY_MEMBER => {
            let key: ConsumerGroupMemberMetadataKey = read(key, VERSION)?;
            let value: Option<ConsumerGroupMemberMetadataValue> = value!();
            (key.group_id, ConsumerChange::Member(key.member_id.as_str().into(), value.map(subscription)))
        }
        KEY_PATTERN => {
            let key: ConsumerGroupRegularExpressionKey = read(key, VERSION)?;
            let value: Option<ConsumerGroupRegularExpressionValue> = value!();
            let found = value.map(|value| Pattern {
                topics: value.topics.iter().map(|name| name.as_str().into()).collect(),
                version: value.version,
                timestamp: value.timestamp,
            });
            (key.group_id, ConsumerChange::Pattern(key.regular_expression.as_str().into(), found))
        }
        KEY_TARGET_EPOCH => {
            let key: ConsumerGroupTargetAssignmentMetadataKey = read(key, VERSION)?;
            let value: Option<ConsumerGroupTargetAssignmentMetadataValue> = value!();
            let epoch = value.map(|value| TargetEpoch {
                epoch: value.assignment_epoch,
                timestamp: value.assignment_timestamp,
            });
            (key.group_id, ConsumerChange::TargetEpoch(epoch))
        }
        KEY_TARGET => {
            let key: ConsumerGroupTargetAssignmentMemberKey = read(key, VERSION)?;
            let value: Option<ConsumerGroupTargetAssignmentMemberValue> = value!();
            (key.group_id, ConsumerChange::Target(key.member_id.as_str().into(), value.map(target)))
        }
        KEY_CURRENT => {
            let key: ConsumerGroupCurrentMemberAssignmentKey = read(key, VERSION)?;
            let value: Option<ConsumerGroupCurrentMemberAssignmentValue> = value!();
            (key.group_id, ConsumerChange::Current(key.member_id.as_str().into(), value.map(current)))
        }
        _ => return None,
    };
    Some(Record::Consumer { group: GroupId::new(&group), change })
}

fn member_value(said: &Subscription) -> ConsumerGroupMemberMetadataValue {
    let classic = said.classic.as_ref().map(|classic| ClassicMemberMetadata {
        session_timeout_ms: classic.session_timeout_ms,
        supported_protocols: classic
            .protocols
            .iter()
            .map(|protocol| ClassicProtocol {
                name: protocol.name.to_string(),
                metadata: protocol.metadata.clone(),
            })
            .collect(),
    });
    let text = |text: &Option<std::sync::Arc<str>>| text.as_ref().map(|text| text.to_string());
    ConsumerGroupMemberMetadataValue {
        instance_id: text(&said.instance_id),
        rack_id: text(&said.rack_id),
        client_id: said.client_id.to_string(),
        client_host: said.client_host.to_string(),
        subscribed_topic_names: said.topics.iter().map(|name| name.to_string()).collect(),
        subscribed_topic_regex: Some(text(&said.pattern).unwrap_or_default()),
        rebalance_timeout_ms: said.rebalance_timeout_ms,
        server_assignor: text(&said.assignor),
        classic_member_metadata: classic,
    }
}

fn subscription(value: ConsumerGroupMemberMetadataValue) -> Subscription {
    let classic = value.classic_member_metadata.map(|classic| ClassicMember {
        session_timeout_ms: classic.session_timeout_ms,
        protocols: classic
            .supported_protocols
            .into_iter()
            .map(|protocol| Protocol {
                name: protocol.name.as_str().into(),
                // A copy, because the group outlives the batch that was read.
                metadata: Bytes::copy_from_slice(&protocol.metadata),
            })
            .collect(),
    });
    Subscription {
        instance_id: value.instance_id.as_deref().map(Into::into),
        rack_id: value.rack_id.as_deref().map(Into::into),
        client_id: value.client_id.as_str().into(),
        client_host: value.client_host.as_str().into(),
        topics: value.subscribed_topic_names.iter().map(|name| name.as_str().into()).collect(),
        pattern: value
            .subscribed_topic_regex
            .filter(|pattern| !pattern.is_empty())
            .as_deref()
            .map(Into::into),
        rebalance_timeout_ms: value.rebalance_timeout_ms,
        assignor: value.server_assignor.as_deref().map(Into::into),
        classic,
    }
}

fn target_value(target: &Partitions) -> ConsumerGroupTargetAssignmentMemberValue {
    let topic = |(id, partitions): (&Uuid, &std::collections::BTreeSet<i32>)| TopicPartition {
        topic_id: *id,
        partitions: partitions.iter().copied().collect(),
    };
    ConsumerGroupTargetAssignmentMemberValue { topic_partitions: target.iter().map(topic).collect() }
}

fn target(value: ConsumerGroupTargetAssignmentMemberValue) -> Partitions {
    let topics = value.topic_partitions.into_iter();
    topics.map(|topic| (topic.topic_id, topic.partitions.into_iter().collect())).collect()
}

fn current_value(current: &Current) -> ConsumerGroupCurrentMemberAssignmentValue {
    ConsumerGroupCurrentMemberAssignmentValue {
        member_epoch: current.epoch,
        previous_member_epoch: current.previous_epoch,
        state: match current.state {
            MemberState::Stable => 0,
            MemberState::UnrevokedPartitions => 1,
            MemberState::UnreleasedPartitions => 2,
        },
        assigned_partitions: epochs_value(&current.assigned),
        partitions_pending_revocation: epochs_value(&current.revoking),
    }
}

fn epochs_value(epochs: &Epochs) -> Vec<TopicPartitions> {
    let topic = |(id, partitions): (&Uuid, &std::collections::BTreeMap<i32, i32>)| TopicPartitions {
        topic_id: *id,
        partitions: partitions.keys().copied().collect(),
        assignment_epochs: Some(partitions.values().copied().collect()),
    };
    epochs.iter().map(topic).collect()
}

fn current(value: ConsumerGroupCurrentMemberAssignmentValue) -> Current {
    let epoch = value.member_epoch;
    Current {
        epoch,
        previous_epoch: value.previous_member_epoch,
        state: match value.state {
            1 => MemberState::UnrevokedPartitions,
            2 => MemberState::UnreleasedPartitions,
            _ => MemberState::Stable,
        },
        assigned: epochs(value.assigned_partitions, epoch),
        revoking: epochs(value.partitions_pending_revocation, epoch),
    }
}

/// Records of Kafka before 4.3 know no epochs of partitions: the member's own stands for them.
fn epochs(topics: Vec<TopicPartitions>, member_epoch: i32) -> Epochs {
    let topic = |topic: TopicPartitions| {
        let known = topic.assignment_epochs.unwrap_or_default();
        let assigned = known.into_iter().chain(std::iter::repeat(member_epoch));
        (topic.topic_id, topic.partitions.into_iter().zip(assigned).collect())
    };
    topics.into_iter().map(topic).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group_records;
    use std::collections::{BTreeMap, BTreeSet};

    fn check(change: ConsumerChange) {
        let record = Record::Consumer { group: GroupId::new("g"), change };
        let (key, value) = group_records::encode(&record).unwrap();
        let stored = records::Record { offset: 0, timestamp: 0, key: Some(key), value, headers: Vec::new() };
        assert_eq!(group_records::decode(&stored, None), Some(record));
    }

    #[test]
    fn values_and_tombstones_read_back_as_they_were_written() {
        let epochs = Epochs::from([(Uuid([4; 16]), BTreeMap::from([(0, 3), (2, 5)]))]);
        let said = Subscription {
            instance_id: Some("i".into()),
            rack_id: Some("r".into()),
            client_id: "c".into(),
            client_host: "/127.0.0.1".into(),
            topics: BTreeSet::from(["t".into()]),
            pattern: Some("a.*".into()),
            rebalance_timeout_ms: 7,
            assignor: Some("range".into()),
            classic: Some(ClassicMember {
                session_timeout_ms: 9,
                protocols: vec![Protocol { name: "range".into(), metadata: Bytes::from_static(b"m") }],
            }),
        };
        let found = Pattern { topics: BTreeSet::from(["ab".into()]), version: 5, timestamp: 6 };
        check(ConsumerChange::Epoch(Some(GroupEpoch { epoch: 4, metadata_hash: -9 })));
        check(ConsumerChange::Epoch(None));
        check(ConsumerChange::Member("m".into(), Some(said)));
        check(ConsumerChange::Member("m".into(), Some(Subscription::default())));
        check(ConsumerChange::Member("m".into(), None));
        check(ConsumerChange::Pattern("a.*".into(), Some(found)));
        check(ConsumerChange::Pattern("a.*".into(), None));
        check(ConsumerChange::TargetEpoch(Some(TargetEpoch { epoch: 4, timestamp: 11 })));
        check(ConsumerChange::TargetEpoch(None));
        check(ConsumerChange::Target("m".into(), Some(target(target_value(&Partitions::new())))));
        check(ConsumerChange::Target(
            "m".into(),
            Some(Partitions::from([(Uuid([4; 16]), BTreeSet::from([1, 2]))])),
        ));
        check(ConsumerChange::Target("m".into(), None));
        for state in
            [MemberState::Stable, MemberState::UnrevokedPartitions, MemberState::UnreleasedPartitions]
        {
            let (assigned, revoking) = (epochs.clone(), epochs.clone());
            let current = Current { epoch: 5, previous_epoch: 4, state, assigned, revoking };
            check(ConsumerChange::Current("m".into(), Some(current)));
        }
        check(ConsumerChange::Current("m".into(), None));
    }

    #[test]
    fn an_older_record_lends_its_partitions_the_members_epoch() {
        let value = ConsumerGroupCurrentMemberAssignmentValue {
            member_epoch: 8,
            assigned_partitions: vec![TopicPartitions {
                topic_id: Uuid([1; 16]),
                partitions: vec![3],
                assignment_epochs: None,
            }],
            ..Default::default()
        };
        assert_eq!(current(value).assigned, Epochs::from([(Uuid([1; 16]), BTreeMap::from([(3, 8)]))]));
    }
}

//! Share groups (KIP-932) as the bytes of `__consumer_offsets`: Kafka's ShareGroup... records, each a key type of its own
//! (10 to 15), all in version 0.
//!
//! What share coordinators keep is in `share_state_records`.

use crate::record_bytes::{read, split, write};
use bytes::Bytes;
use groups::{
    GroupEpoch, NamedStates, Partitions, Record, ShareChange, ShareCurrent, ShareSubscription,
    StatePartitions, TargetEpoch,
};
use model::GroupId;
use std::{collections::BTreeSet, sync::Arc};
use stdx::Uuid;
use wire::record::{
    ShareGroupCurrentMemberAssignmentKey, ShareGroupCurrentMemberAssignmentValue,
    ShareGroupMemberMetadataKey, ShareGroupMemberMetadataValue, ShareGroupMetadataKey,
    ShareGroupMetadataValue, ShareGroupStatePartitionMetadataKey, ShareGroupStatePartitionMetadataValue,
    ShareGroupTargetAssignmentMemberKey, ShareGroupTargetAssignmentMemberValue,
    ShareGroupTargetAssignmentMetadataKey, ShareGroupTargetAssignmentMetadataValue,
    share_group_current_member_assignment_value::TopicPartitions,
    share_group_state_partition_metadata_value::{TopicInfo, TopicPartitionsInfo},
    share_group_target_assignment_member_value::TopicPartition,
};

const KEY_MEMBER: i16 = 10;
const KEY_GROUP: i16 = 11;
const KEY_TARGET_EPOCH: i16 = 12;
const KEY_TARGET: i16 = 13;
const KEY_CURRENT: i16 = 14;
const KEY_STATES: i16 = 15;

const VERSION: i16 = 0;

/// Key and value; no value is a tombstone.
pub(crate) fn encode(group: &GroupId, change: &ShareChange) -> (Bytes, Option<Bytes>) {
    let group_id = group.to_string();
    match change {
        ShareChange::Epoch(epoch) => {
            let value = epoch.map(|GroupEpoch { epoch, metadata_hash }| {
                write(VERSION, VERSION, &ShareGroupMetadataValue { epoch, metadata_hash })
            });
            (write(KEY_GROUP, VERSION, &ShareGroupMetadataKey { group_id }), value)
        }
        ShareChange::Member(id, subscription) => {
            let key = ShareGroupMemberMetadataKey { group_id, member_id: id.to_string() };
            let value = subscription.as_ref().map(|said| write(VERSION, VERSION, &member_value(said)));
            (write(KEY_MEMBER, VERSION, &key), value)
        }
        ShareChange::TargetEpoch(epoch) => {
            let value = epoch.map(|TargetEpoch { epoch, timestamp }| {
                let (assignment_epoch, assignment_timestamp) = (epoch, timestamp);
                let value =
                    ShareGroupTargetAssignmentMetadataValue { assignment_epoch, assignment_timestamp };
                write(VERSION, VERSION, &value)
            });
            (write(KEY_TARGET_EPOCH, VERSION, &ShareGroupTargetAssignmentMetadataKey { group_id }), value)
        }
        ShareChange::Target(id, target) => {
            let key = ShareGroupTargetAssignmentMemberKey { group_id, member_id: id.to_string() };
            let value = target.as_ref().map(|target| write(VERSION, VERSION, &target_value(target)));
            (write(KEY_TARGET, VERSION, &key), value)
        }
        ShareChange::Current(id, current) => {
            let key = ShareGroupCurrentMemberAssignmentKey { group_id, member_id: id.to_string() };
            let value = current.as_ref().map(|current| write(VERSION, VERSION, &current_value(current)));
            (write(KEY_CURRENT, VERSION, &key), value)
        }
        ShareChange::States(states) => {
            let value = states.as_ref().map(|states| write(VERSION, VERSION, &states_value(states)));
            (write(KEY_STATES, VERSION, &ShareGroupStatePartitionMetadataKey { group_id }), value)
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
            let key: ShareGroupMetadataKey = read(key, VERSION)?;
            let epoch = |value: ShareGroupMetadataValue| GroupEpoch {
                epoch: value.epoch,
                metadata_hash: value.metadata_hash,
            };
            (key.group_id, ShareChange::Epoch(value!(epoch)))
        }
        KEY_MEMBER => {
            let key: ShareGroupMemberMetadataKey = read(key, VERSION)?;
            (key.group_id, ShareChange::Member(key.member_id.as_str().into(), value!(subscription)))
        }
        KEY_TARGET_EPOCH => {
            let key: ShareGroupTargetAssignmentMetadataKey = read(key, VERSION)?;
            let epoch = |value: ShareGroupTargetAssignmentMetadataValue| TargetEpoch {
                epoch: value.assignment_epoch,
                timestamp: value.assignment_timestamp,
            };
            (key.group_id, ShareChange::TargetEpoch(value!(epoch)))
        }
        KEY_TARGET => {
            let key: ShareGroupTargetAssignmentMemberKey = read(key, VERSION)?;
            (key.group_id, ShareChange::Target(key.member_id.as_str().into(), value!(target)))
        }
        KEY_CURRENT => {
            let key: ShareGroupCurrentMemberAssignmentKey = read(key, VERSION)?;
            (key.group_id, ShareChange::Current(key.member_id.as_str().into(), value!(current)))
        }
        KEY_STATES => {
            let key: ShareGroupStatePartitionMetadataKey = read(key, VERSION)?;
            (key.group_id, ShareChange::States(value!(states)))
        }
        _ => return None,
    };
    Some(Record::Share { group: GroupId::new(&group), change })
}

fn member_value(said: &ShareSubscription) -> ShareGroupMemberMetadataValue {
    ShareGroupMemberMetadataValue {
        rack_id: said.rack_id.as_ref().map(|rack| rack.to_string()),
        client_id: said.client_id.to_string(),
        client_host: said.client_host.to_string(),
        subscribed_topic_names: said.topics.iter().map(|name| name.to_string()).collect(),
    }
}

fn subscription(value: ShareGroupMemberMetadataValue) -> ShareSubscription {
    ShareSubscription {
        rack_id: value.rack_id.as_deref().map(Into::into),
        client_id: value.client_id.as_str().into(),
        client_host: value.client_host.as_str().into(),
        topics: value.subscribed_topic_names.iter().map(|name| name.as_str().into()).collect(),
    }
}

fn target_value(target: &Partitions) -> ShareGroupTargetAssignmentMemberValue {
    let topic = |(id, partitions): (&Uuid, &BTreeSet<i32>)| TopicPartition {
        topic_id: *id,
        partitions: partitions.iter().copied().collect(),
    };
    ShareGroupTargetAssignmentMemberValue { topic_partitions: target.iter().map(topic).collect() }
}

fn target(value: ShareGroupTargetAssignmentMemberValue) -> Partitions {
    let topics = value.topic_partitions.into_iter();
    topics.map(|topic| (topic.topic_id, topic.partitions.into_iter().collect())).collect()
}

fn current_value(current: &ShareCurrent) -> ShareGroupCurrentMemberAssignmentValue {
    let topic = |(id, partitions): (&Uuid, &BTreeSet<i32>)| TopicPartitions {
        topic_id: *id,
        partitions: partitions.iter().copied().collect(),
    };
    ShareGroupCurrentMemberAssignmentValue {
        member_epoch: current.epoch,
        previous_member_epoch: current.previous_epoch,
        // Stable: partitions are shared, so nothing is waited for.
        state: 0,
        assigned_partitions: current.assigned.iter().map(topic).collect(),
    }
}

fn current(value: ShareGroupCurrentMemberAssignmentValue) -> ShareCurrent {
    let topics = value.assigned_partitions.into_iter();
    ShareCurrent {
        epoch: value.member_epoch,
        previous_epoch: value.previous_member_epoch,
        assigned: topics.map(|topic| (topic.topic_id, topic.partitions.into_iter().collect())).collect(),
    }
}

fn states_value(states: &StatePartitions) -> ShareGroupStatePartitionMetadataValue {
    let named = |states: &NamedStates| {
        let topic = |(id, (name, partitions)): (&Uuid, &(Arc<str>, BTreeSet<i32>))| TopicPartitionsInfo {
            topic_id: *id,
            topic_name: name.to_string(),
            partitions: partitions.iter().copied().collect(),
        };
        states.iter().map(topic).collect()
    };
    let deleting = states.deleting.iter();
    ShareGroupStatePartitionMetadataValue {
        initializing_topics: named(&states.initializing),
        initialized_topics: named(&states.initialized),
        deleting_topics: deleting
            .map(|(id, name)| TopicInfo { topic_id: *id, topic_name: name.to_string() })
            .collect(),
    }
}

fn states(value: ShareGroupStatePartitionMetadataValue) -> StatePartitions {
    let named = |topics: Vec<TopicPartitionsInfo>| -> NamedStates {
        let topics = topics.into_iter();
        topics
            .map(|topic| {
                (topic.topic_id, (topic.topic_name.as_str().into(), topic.partitions.into_iter().collect()))
            })
            .collect()
    };
    let deleting = value.deleting_topics.into_iter();
    StatePartitions {
        initializing: named(value.initializing_topics),
        initialized: named(value.initialized_topics),
        deleting: deleting.map(|topic| (topic.topic_id, topic.topic_name.as_str().into())).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group_records;
    use std::collections::BTreeMap;

    fn check(change: ShareChange) {
        let record = Record::Share { group: GroupId::new("g"), change };
        let (key, value) = group_records::encode(&record).unwrap();
        let stored = records::Record { offset: 0, timestamp: 0, key: Some(key), value, headers: Vec::new() };
        assert_eq!(group_records::decode(&stored, None), Some(record));
    }

    #[test]
    fn values_and_tombstones_read_back_as_they_were_written() {
        let partitions = Partitions::from([(Uuid([4; 16]), BTreeSet::from([1, 2]))]);
        let said = ShareSubscription {
            rack_id: Some("r".into()),
            client_id: "c".into(),
            client_host: "/127.0.0.1".into(),
            topics: BTreeSet::from(["t".into()]),
        };
        let states = NamedStates::from([(Uuid([4; 16]), ("t".into(), BTreeSet::from([0, 3])))]);
        let states = StatePartitions {
            initializing: states.clone(),
            initialized: states,
            deleting: BTreeMap::from([(Uuid([5; 16]), "u".into())]),
        };
        check(ShareChange::Epoch(Some(GroupEpoch { epoch: 4, metadata_hash: -9 })));
        check(ShareChange::Epoch(None));
        check(ShareChange::Member("m".into(), Some(said)));
        check(ShareChange::Member("m".into(), Some(ShareSubscription::default())));
        check(ShareChange::Member("m".into(), None));
        check(ShareChange::TargetEpoch(Some(TargetEpoch { epoch: 4, timestamp: 11 })));
        check(ShareChange::TargetEpoch(None));
        check(ShareChange::Target("m".into(), Some(partitions.clone())));
        check(ShareChange::Target("m".into(), None));
        let current = ShareCurrent { epoch: 5, previous_epoch: 4, assigned: partitions };
        check(ShareChange::Current("m".into(), Some(current)));
        check(ShareChange::Current("m".into(), None));
        check(ShareChange::States(Some(states)));
        check(ShareChange::States(None));
    }

    #[test]
    fn the_bytes_of_a_key_are_kafkas() {
        let (key, _) = encode(&GroupId::new("g"), &ShareChange::States(None));
        assert_eq!(key.as_ref(), b"\0\x0f\0\x01g");
        let (key, value) =
            encode(&GroupId::new("g"), &ShareChange::Epoch(Some(GroupEpoch { epoch: 7, metadata_hash: 1 })));
        assert_eq!(key.as_ref(), b"\0\x0b\0\x01g");
        assert_eq!(value.unwrap().as_ref(), b"\0\0\0\0\0\x07\0\0\0\0\0\0\0\x01\0");
    }
}

//! Groups and offsets as the bytes of `__consumer_offsets`: Kafka's OffsetCommitKey/Value and GroupMetadataKey/Value;
//! consumer groups are in `consumer_records`, share groups in `share_group_records`, streams groups in `streams_group_records`.
//!
//! Keys begin with their type as a two-byte version (0 and 1: an offset, 2: a group), values with their own version.
//! Records of other types (groups of kinds that this broker does not know) are skipped. That an offset is part of a
//! transaction, its batch says.

use crate::{
    consumer_records,
    record_bytes::{read, split, write},
    share_group_records, streams_group_records,
};
use bytes::Bytes;
use groups::{CommittedOffset, GroupMetadata, MemberMetadata, Record};
use model::{GroupId, ProducerId, TopicName};
use wire::record::{
    GroupMetadataKey, GroupMetadataValue, OffsetCommitKey, OffsetCommitValue, group_metadata_value,
};

const KEY_OFFSET: i16 = 1;
const KEY_OFFSET_OLD: i16 = 0;
const KEY_GROUP: i16 = 2;
/// What Kafka 4.x writes when a topic's id is known, and without one.
const OFFSET_VERSION_WITH_ID: i16 = 4;
const OFFSET_VERSION: i16 = 3;
/// An offset with an expiry of its own (`retention_time_ms` of old clients) exists in this version only.
const OFFSET_VERSION_WITH_EXPIRY: i16 = 1;
const GROUP_VERSION: i16 = 3;

/// Key and value; no value is a tombstone. `None` for the end of a transaction, which is a batch of its own.
pub(crate) fn encode(record: &Record) -> Option<(Bytes, Option<Bytes>)> {
    Some(match record {
        Record::OffsetCommitted { group, topic, partition, offset }
        | Record::OffsetPending { group, topic, partition, offset, .. } => {
            (offset_key(group, topic, *partition), Some(offset_value(offset)))
        }
        Record::OffsetRemoved { group, topic, partition } => (offset_key(group, topic, *partition), None),
        Record::GroupMetadata(metadata) => (group_key(&metadata.group), Some(group_value(metadata))),
        Record::GroupRemoved { group } => (group_key(group), None),
        Record::Consumer { group, change } => consumer_records::encode(group, change),
        Record::Share { group, change } => share_group_records::encode(group, change),
        Record::Streams { group, change } => streams_group_records::encode(group, change),
        Record::TransactionEnded { .. } => return None,
    })
}

/// The record that a key and a value stand for; `None` for types that this broker does not know.
/// `producer_id` is whose transaction it belongs to.
pub(crate) fn decode(record: &records::Record, producer_id: Option<ProducerId>) -> Option<Record> {
    let (kind, body) = split(record.key.as_ref()?)?;
    match kind {
        KEY_OFFSET | KEY_OFFSET_OLD => {
            let key: OffsetCommitKey = read(body, 0)?;
            let (group, topic) = (GroupId::new(&key.group), TopicName::new(&key.topic).ok()?);
            let partition = key.partition;
            let Some(value) = &record.value else {
                return Some(Record::OffsetRemoved { group, topic, partition });
            };
            let (version, body) = split(value)?;
            let value: OffsetCommitValue = read(body, version)?;
            let offset = CommittedOffset {
                offset: value.offset,
                leader_epoch: value.leader_epoch,
                metadata: value.metadata.as_str().into(),
                commit_timestamp: value.commit_timestamp,
                expire_timestamp: value.expire_timestamp,
                topic_id: value.topic_id,
            };
            Some(match producer_id {
                None => Record::OffsetCommitted { group, topic, partition, offset },
                Some(producer_id) => Record::OffsetPending { producer_id, group, topic, partition, offset },
            })
        }
        KEY_GROUP => {
            let key: GroupMetadataKey = read(body, 0)?;
            let group = GroupId::new(&key.group);
            let Some(value) = &record.value else { return Some(Record::GroupRemoved { group }) };
            let (version, body) = split(value)?;
            Some(Record::GroupMetadata(group_metadata(group, read(body, version)?)))
        }
        kind => {
            let value = record.value.as_ref();
            let of_consumers = consumer_records::decode(kind, body.clone(), value);
            let of_shares = || share_group_records::decode(kind, body.clone(), value);
            of_consumers
                .or_else(of_shares)
                .or_else(|| streams_group_records::decode(kind, body.clone(), value))
        }
    }
}

fn offset_key(group: &GroupId, topic: &TopicName, partition: i32) -> Bytes {
    let key = OffsetCommitKey { group: group.to_string(), topic: topic.to_string(), partition };
    write(KEY_OFFSET, 0, &key)
}

fn group_key(group: &GroupId) -> Bytes {
    write(KEY_GROUP, 0, &GroupMetadataKey { group: group.to_string() })
}

fn offset_value(offset: &CommittedOffset) -> Bytes {
    let version = match (offset.expire_timestamp >= 0, offset.topic_id.is_zero()) {
        (true, _) => OFFSET_VERSION_WITH_EXPIRY,
        (false, true) => OFFSET_VERSION,
        (false, false) => OFFSET_VERSION_WITH_ID,
    };
    let value = OffsetCommitValue {
        offset: offset.offset,
        leader_epoch: offset.leader_epoch,
        metadata: offset.metadata.to_string(),
        commit_timestamp: offset.commit_timestamp,
        expire_timestamp: offset.expire_timestamp,
        topic_id: offset.topic_id,
    };
    write(version, version, &value)
}

fn group_value(metadata: &GroupMetadata) -> Bytes {
    let members = metadata.members.iter().map(|member| group_metadata_value::MemberMetadata {
        member_id: member.member_id.to_string(),
        group_instance_id: member.instance_id.as_ref().map(|id| id.to_string()),
        client_id: member.client_id.to_string(),
        client_host: member.client_host.to_string(),
        rebalance_timeout: member.rebalance_timeout_ms,
        session_timeout: member.session_timeout_ms,
        subscription: member.subscription.clone(),
        assignment: member.assignment.clone(),
    });
    let value = GroupMetadataValue {
        protocol_type: metadata.protocol_type.to_string(),
        generation: metadata.generation,
        protocol: metadata.protocol.as_ref().map(|protocol| protocol.to_string()),
        leader: metadata.leader.as_ref().map(|leader| leader.to_string()),
        current_state_timestamp: metadata.state_timestamp,
        members: members.collect(),
    };
    write(GROUP_VERSION, GROUP_VERSION, &value)
}

fn group_metadata(group: GroupId, value: GroupMetadataValue) -> GroupMetadata {
    let members = value.members.into_iter().map(|member| MemberMetadata {
        member_id: member.member_id.as_str().into(),
        instance_id: member.group_instance_id.as_deref().map(Into::into),
        client_id: member.client_id.as_str().into(),
        client_host: member.client_host.as_str().into(),
        rebalance_timeout_ms: member.rebalance_timeout,
        session_timeout_ms: member.session_timeout,
        // Copies, because the group outlives the batch that was read.
        subscription: Bytes::copy_from_slice(&member.subscription),
        assignment: Bytes::copy_from_slice(&member.assignment),
    });
    GroupMetadata {
        group,
        protocol_type: value.protocol_type.as_str().into(),
        generation: value.generation,
        protocol: value.protocol.as_deref().map(Into::into),
        leader: value.leader.as_deref().map(Into::into),
        state_timestamp: value.current_state_timestamp,
        members: members.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stdx::Uuid;

    fn check(record: Record) {
        let (key, value) = encode(&record).unwrap();
        let stored = records::Record { offset: 0, timestamp: 0, key: Some(key), value, headers: Vec::new() };
        let producer_id = match &record {
            Record::OffsetPending { producer_id, .. } => Some(*producer_id),
            _ => None,
        };
        assert_eq!(decode(&stored, producer_id), Some(record));
    }

    #[test]
    fn records_read_back_as_they_were_written() {
        let (group, topic) = (GroupId::new("g"), TopicName::new("t").unwrap());
        for (expire_timestamp, topic_id) in [(-1, Uuid::ZERO), (-1, Uuid([5; 16])), (99, Uuid::ZERO)] {
            let offset = CommittedOffset {
                offset: 7,
                leader_epoch: if expire_timestamp >= 0 { -1 } else { 3 },
                metadata: "m".into(),
                commit_timestamp: 11,
                expire_timestamp,
                topic_id,
            };
            check(Record::OffsetCommitted {
                group: group.clone(),
                topic: topic.clone(),
                partition: 2,
                offset: offset.clone(),
            });
            check(Record::OffsetPending {
                producer_id: 4000,
                group: group.clone(),
                topic: topic.clone(),
                partition: 2,
                offset,
            });
        }
        check(Record::OffsetRemoved { group: group.clone(), topic, partition: 2 });
        check(Record::GroupRemoved { group: group.clone() });
        let member = MemberMetadata {
            member_id: "m-1".into(),
            instance_id: Some("i".into()),
            client_id: "c".into(),
            client_host: "/127.0.0.1".into(),
            rebalance_timeout_ms: 1,
            session_timeout_ms: 2,
            subscription: Bytes::from_static(b"s"),
            assignment: Bytes::from_static(b"a"),
        };
        check(Record::GroupMetadata(GroupMetadata {
            group,
            protocol_type: "consumer".into(),
            generation: 4,
            protocol: Some("range".into()),
            leader: Some("m-1".into()),
            state_timestamp: 5,
            members: vec![member],
        }));
    }

    #[test]
    fn the_bytes_of_a_key_are_kafkas() {
        let topic = TopicName::new("t").unwrap();
        assert_eq!(offset_key(&GroupId::new("g"), &topic, 1).as_ref(), b"\0\x01\0\x01g\0\x01t\0\0\0\x01");
        assert_eq!(group_key(&GroupId::new("g")).as_ref(), b"\0\x02\0\x01g");
    }

    #[test]
    fn unknown_and_broken_records_are_skipped() {
        let of = |key: &'static [u8], value: Option<&'static [u8]>| records::Record {
            offset: 0,
            timestamp: 0,
            key: Some(Bytes::from_static(key)),
            value: value.map(Bytes::from_static),
            headers: Vec::new(),
        };
        assert_eq!(decode(&of(b"\0\x04\0\x01g", None), None), None);
        assert_eq!(decode(&of(b"\0", None), None), None);
        assert_eq!(decode(&of(b"\0\x02\0\x01g", Some(b"\0\x7f")), None), None);
    }
}

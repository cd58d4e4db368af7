//! The state of share partitions as the bytes of `__share_group_state`: Kafka's ShareSnapshot (key type 0) and ShareUpdate
//! (1), all in version 0.
//!
//! A snapshot without a value is the end of a share partition.

use crate::record_bytes::{read, split, write};
use bytes::Bytes;
use model::GroupId;
use share::{Key, Record, Snapshot, StateBatch, Update};
use wire::record::{
    ShareSnapshotKey, ShareSnapshotValue, ShareUpdateKey, ShareUpdateValue, share_snapshot_value,
    share_update_value,
};

const KEY_SNAPSHOT: i16 = 0;
const KEY_UPDATE: i16 = 1;

const VERSION: i16 = 0;

/// Key and value; no value is a tombstone.
pub(crate) fn encode(record: &Record) -> (Bytes, Option<Bytes>) {
    match record {
        Record::Snapshot(key, state) => {
            (snapshot_key(key), Some(write(VERSION, VERSION, &snapshot_value(state))))
        }
        Record::Removed(key) => (snapshot_key(key), None),
        Record::Update(key, update) => {
            let (group_id, topic_id, partition) = (key.group.to_string(), key.topic, key.partition);
            let key = write(KEY_UPDATE, VERSION, &ShareUpdateKey { group_id, topic_id, partition });
            (key, Some(write(VERSION, VERSION, &update_value(update))))
        }
    }
}

/// The record that a key and a value stand for; `None` for what this broker does not know.
pub(crate) fn decode(record: &records::Record) -> Option<Record> {
    let (kind, body) = split(record.key.as_ref()?)?;
    let key = |group: &str, topic, partition| Key { group: GroupId::new(group), topic, partition };
    match kind {
        KEY_SNAPSHOT => {
            let named: ShareSnapshotKey = read(body, VERSION)?;
            let key = key(&named.group_id, named.topic_id, named.partition);
            let Some(value) = &record.value else { return Some(Record::Removed(key)) };
            let (version, body) = split(value)?;
            Some(Record::Snapshot(key, snapshot(read(body, version)?)))
        }
        KEY_UPDATE => {
            let named: ShareUpdateKey = read(body, VERSION)?;
            let (version, body) = split(record.value.as_ref()?)?;
            let key = key(&named.group_id, named.topic_id, named.partition);
            Some(Record::Update(key, update(read(body, version)?)))
        }
        _ => None,
    }
}

fn snapshot_key(key: &Key) -> Bytes {
    let (group_id, topic_id, partition) = (key.group.to_string(), key.topic, key.partition);
    write(KEY_SNAPSHOT, VERSION, &ShareSnapshotKey { group_id, topic_id, partition })
}

fn snapshot_value(state: &Snapshot) -> ShareSnapshotValue {
    let batch = |batch: &StateBatch| share_snapshot_value::StateBatch {
        first_offset: batch.first,
        last_offset: batch.last,
        delivery_state: batch.state,
        delivery_count: batch.count,
    };
    ShareSnapshotValue {
        snapshot_epoch: state.snapshot_epoch,
        state_epoch: state.state_epoch,
        leader_epoch: state.leader_epoch,
        start_offset: state.start,
        delivery_complete_count: state.complete_count,
        create_timestamp: state.created,
        write_timestamp: state.written,
        state_batches: state.batches.iter().map(batch).collect(),
    }
}

fn snapshot(value: ShareSnapshotValue) -> Snapshot {
    let batch = |batch: share_snapshot_value::StateBatch| StateBatch {
        first: batch.first_offset,
        last: batch.last_offset,
        state: batch.delivery_state,
        count: batch.delivery_count,
    };
    Snapshot {
        snapshot_epoch: value.snapshot_epoch,
        state_epoch: value.state_epoch,
        leader_epoch: value.leader_epoch,
        start: value.start_offset,
        complete_count: value.delivery_complete_count,
        created: value.create_timestamp,
        written: value.write_timestamp,
        batches: value.state_batches.into_iter().map(batch).collect(),
    }
}

fn update_value(update: &Update) -> ShareUpdateValue {
    let batch = |batch: &StateBatch| share_update_value::StateBatch {
        first_offset: batch.first,
        last_offset: batch.last,
        delivery_state: batch.state,
        delivery_count: batch.count,
    };
    ShareUpdateValue {
        snapshot_epoch: update.snapshot_epoch,
        leader_epoch: update.leader_epoch,
        start_offset: update.start,
        delivery_complete_count: update.complete_count,
        state_batches: update.batches.iter().map(batch).collect(),
    }
}

fn update(value: ShareUpdateValue) -> Update {
    let batch = |batch: share_update_value::StateBatch| StateBatch {
        first: batch.first_offset,
        last: batch.last_offset,
        state: batch.delivery_state,
        count: batch.delivery_count,
    };
    Update {
        snapshot_epoch: value.snapshot_epoch,
        leader_epoch: value.leader_epoch,
        start: value.start_offset,
        complete_count: value.delivery_complete_count,
        batches: value.state_batches.into_iter().map(batch).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stdx::Uuid;

    fn stored(record: &Record) -> records::Record {
        let (key, value) = encode(record);
        records::Record { offset: 0, timestamp: 0, key: Some(key), value, headers: Vec::new() }
    }

    #[test]
    fn records_read_back_as_they_were_written() {
        let key = Key { group: GroupId::new("g"), topic: Uuid([7; 16]), partition: 3 };
        let batches = vec![StateBatch { first: 4, last: 9, state: 2, count: 1 }];
        let snapshot = Snapshot {
            snapshot_epoch: 1,
            state_epoch: 2,
            leader_epoch: 3,
            start: 4,
            complete_count: 5,
            created: 6,
            written: 7,
            batches: batches.clone(),
        };
        let update = Update { snapshot_epoch: 1, leader_epoch: -1, start: -1, complete_count: 5, batches };
        for record in [
            Record::Snapshot(key.clone(), snapshot),
            Record::Update(key.clone(), update),
            Record::Removed(key),
        ] {
            assert_eq!(decode(&stored(&record)), Some(record));
        }
    }

    #[test]
    fn the_bytes_of_a_snapshot_are_kafkas() {
        let key = Key { group: GroupId::new("g"), topic: Uuid([7; 16]), partition: 3 };
        let (bytes, _) = encode(&Record::Removed(key.clone()));
        assert_eq!(bytes.as_ref(), [&b"\0\0\0\x01g"[..], &[7; 16], b"\0\0\0\x03"].concat());
        let update =
            Update { snapshot_epoch: 1, leader_epoch: 2, start: 4, complete_count: 5, batches: vec![] };
        let (bytes, value) = encode(&Record::Update(key, update));
        assert_eq!(bytes.first_chunk(), Some(&[0u8, 1]));
        assert!(value.is_some_and(|value| value.starts_with(b"\0\0\0\0\0\x01\0\0\0\x02")));
    }

    #[test]
    fn unknown_and_broken_records_are_skipped() {
        for (key, value) in [(&b"\0\x02\0\x01g"[..], None), (b"\0", None), (b"\0\x01\0\x01g", Some(b"\0\0"))]
        {
            let record = records::Record {
                offset: 0,
                timestamp: 0,
                key: Some(Bytes::from_static(key)),
                value: value.map(|value: &'static [u8; 2]| Bytes::from_static(value)),
                headers: Vec::new(),
            };
            assert_eq!(decode(&record), None);
        }
    }
}

//! Transactions as the bytes of `__transaction_state`: Kafka's TransactionLogKey/Value.
//!
//! A key begins with 0 as two bytes, a value with its version: 1 where the cluster has agreed on `transaction.version` 1 or
//! more, else 0. Records of other kinds and versions are skipped, as Kafka skips them.

use crate::record_bytes::{read, split, write};
use bytes::Bytes;
use model::{TopicName, TopicPartition};
use std::collections::BTreeMap;
use transactions::{Record, State, Transaction, TransactionVersion};
use wire::record::{TransactionLogKey, TransactionLogValue, transaction_log_value::PartitionsSchema};

const KEY_TRANSACTION: i16 = 0;
/// The newest version of values.
const VALUE_VERSION_MAX: i16 = 1;

/// Key and value; no value is a tombstone. `level` is the cluster's `transaction.version`.
pub(crate) fn encode(record: &Record, level: TransactionVersion) -> (Bytes, Option<Bytes>) {
    let (id, value) = match record {
        Record::Changed { id, transaction } => {
            (id, Some(value(transaction, level.clamp(0, VALUE_VERSION_MAX))))
        }
        Record::Removed { id } => (id, None),
    };
    (write(KEY_TRANSACTION, 0, &TransactionLogKey { transactional_id: id.to_string() }), value)
}

/// The record that a key and a value stand for; `None` for what this broker does not know.
pub(crate) fn decode(record: &records::Record) -> Option<Record> {
    let (kind, body) = split(record.key.as_ref()?)?;
    if kind != KEY_TRANSACTION {
        return None;
    }
    let key: TransactionLogKey = read(body, 0)?;
    let id = key.transactional_id.as_str().into();
    let Some(value) = &record.value else { return Some(Record::Removed { id }) };
    let (version, body) = split(value)?;
    let value: TransactionLogValue = read(body, version)?;
    Some(Record::Changed { id, transaction: transaction(value)? })
}

fn value(transaction: &Transaction, version: i16) -> Bytes {
    let mut topics: BTreeMap<&TopicName, Vec<i32>> = BTreeMap::new();
    for TopicPartition { topic, partition } in &transaction.partitions {
        topics.entry(topic).or_default().push(*partition);
    }
    let topics = topics
        .into_iter()
        .map(|(topic, partition_ids)| PartitionsSchema { topic: topic.to_string(), partition_ids });
    let is_old = version == 0;
    let value = TransactionLogValue {
        producer_id: transaction.producer_id,
        previous_producer_id: if is_old { -1 } else { transaction.previous_producer_id },
        next_producer_id: if is_old { -1 } else { transaction.next_producer_id },
        producer_epoch: transaction.producer_epoch,
        transaction_timeout_ms: transaction.timeout_ms,
        transaction_status: transaction.state.number(),
        transaction_partitions: (transaction.state != State::Empty).then(|| topics.collect()),
        transaction_last_update_timestamp_ms: transaction.updated,
        transaction_start_timestamp_ms: transaction.started,
        client_transaction_version: if is_old { 0 } else { transaction.version },
        ..TransactionLogValue::default()
    };
    write(version, version, &value)
}

fn transaction(value: TransactionLogValue) -> Option<Transaction> {
    let partitions = value.transaction_partitions.unwrap_or_default().into_iter().flat_map(|topic| {
        let name = TopicName::new(&topic.topic).ok();
        let partitions = topic.partition_ids.into_iter();
        partitions.filter_map(move |partition| Some(TopicPartition::new(name.clone()?, partition)))
    });
    Some(Transaction {
        producer_id: value.producer_id,
        previous_producer_id: value.previous_producer_id,
        next_producer_id: value.next_producer_id,
        producer_epoch: value.producer_epoch,
        last_producer_epoch: -1,
        timeout_ms: value.transaction_timeout_ms,
        state: State::from_number(value.transaction_status)?,
        partitions: partitions.collect(),
        started: value.transaction_start_timestamp_ms,
        updated: value.transaction_last_update_timestamp_ms,
        version: value.client_transaction_version,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(state: State) -> Record {
        let topic = |name: &str| TopicName::new(name).unwrap();
        let partitions =
            [("a", 0), ("a", 2), ("b", 1)].map(|(name, index)| TopicPartition::new(topic(name), index));
        let transaction = Transaction {
            producer_id: 4001,
            previous_producer_id: 4000,
            next_producer_id: 4002,
            producer_epoch: 7,
            last_producer_epoch: -1,
            timeout_ms: 60_000,
            state,
            partitions: if state == State::Empty { Default::default() } else { partitions.into() },
            started: 11,
            updated: 12,
            version: 2,
        };
        Record::Changed { id: "t-1".into(), transaction }
    }

    fn stored((key, value): (Bytes, Option<Bytes>)) -> records::Record {
        records::Record { offset: 0, timestamp: 0, key: Some(key), value, headers: Vec::new() }
    }

    #[test]
    fn records_read_back_as_they_were_written() {
        for state in State::ALL {
            let record = changed(state);
            assert_eq!(decode(&stored(encode(&record, 2))), Some(record));
        }
        let removed = Record::Removed { id: "t-1".into() };
        assert_eq!(decode(&stored(encode(&removed, 2))), Some(removed));
    }

    #[test]
    fn an_old_cluster_writes_values_without_what_is_newer() {
        let Some(Record::Changed { transaction, .. }) = decode(&stored(encode(&changed(State::Ongoing), 0)))
        else {
            panic!("nothing was read");
        };
        assert_eq!((transaction.previous_producer_id, transaction.next_producer_id), (-1, -1));
        assert_eq!((transaction.version, transaction.partitions.len()), (0, 3));
    }

    #[test]
    fn the_bytes_are_kafkas() {
        let (key, value) = encode(&changed(State::PrepareCommit), 2);
        assert_eq!(&key[..], b"\0\0\0\x03t-1");
        let expected = [
            &[0, 1, 0, 0, 0, 0, 0, 0, 15, 161, 0, 7, 0, 0, 234, 96, 2][..],
            &[3, 2, b'a', 3, 0, 0, 0, 0, 0, 0, 0, 2, 0, 2, b'b', 2, 0, 0, 0, 1, 0],
            &[0, 0, 0, 0, 0, 0, 0, 12, 0, 0, 0, 0, 0, 0, 0, 11],
            &[3, 0, 8, 0, 0, 0, 0, 0, 0, 15, 160, 1, 8, 0, 0, 0, 0, 0, 0, 15, 162, 2, 2, 0, 2],
        ];
        assert_eq!(value.unwrap()[..], expected.concat());
    }

    #[test]
    fn unknown_and_broken_records_are_skipped() {
        let (key, value) = encode(&changed(State::Ongoing), 2);
        for broken in [&b"\0\x7f"[..], b"\0\x01\0", b"\0"] {
            assert_eq!(decode(&stored((key.clone(), Some(Bytes::copy_from_slice(broken))))), None);
        }
        assert_eq!(decode(&stored((Bytes::from_static(b"\0\x01\0\x03t-1"), value))), None);
    }
}

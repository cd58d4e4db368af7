//! The contents of a `.snapshot` file: what is known of each producer up to the offset in the file's name.
//!
//! ```text
//! version i16 = 1 | CRC-32C of the rest u32 | count i32 | entries
//! entry: id i64 | epoch i16 | last sequence i32 | last offset i64 | offset delta i32 | timestamp i64
//!        | coordinator epoch i32 | first offset of the open transaction i64
//! ```
//!
//! Without an open transaction the last field is -1, or -2 for a producer that began its epoch with sequence number 0.
//! Kafka writes -1 only and takes every negative number for it.

use crate::producers::{Producer, ProducerBatch, Producers};
use stdx::{Cursor, Short};

const VERSION: i16 = 1;
const CRC_COVERS_FROM: usize = 6;
const ENTRY_BYTES: usize = 46;
const NO_TXN: i64 = -1;
const NO_TXN_AND_BEGAN_AT_ZERO: i64 = -2;

/// Why a snapshot cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SnapshotError {
    #[error("its version is {0}")]
    Version(i16),
    #[error("its checksum is wrong")]
    Checksum,
    #[error("it is cut off")]
    Short,
}

impl From<Short> for SnapshotError {
    fn from(_: Short) -> Self {
        SnapshotError::Short
    }
}

/// The file's contents. Only the last batch of each producer is kept, as in Kafka.
pub(crate) fn encode(producers: &Producers) -> Vec<u8> {
    let mut sorted: Vec<_> = producers.iter().collect();
    sorted.sort_by_key(|(id, _)| *id);
    let mut content = Vec::with_capacity(4 + sorted.len() * ENTRY_BYTES);
    content.extend_from_slice(&(sorted.len() as i32).to_be_bytes());
    for (id, producer) in sorted {
        let last = producer.batches.last();
        content.extend_from_slice(&id.to_be_bytes());
        content.extend_from_slice(&producer.epoch.to_be_bytes());
        content.extend_from_slice(&last.map_or(-1, |batch| batch.last_sequence).to_be_bytes());
        content.extend_from_slice(&last.map_or(-1, |batch| batch.last_offset).to_be_bytes());
        content.extend_from_slice(&last.map_or(0, |batch| batch.offset_delta).to_be_bytes());
        content.extend_from_slice(&producer.last_timestamp.to_be_bytes());
        content.extend_from_slice(&producer.coordinator_epoch.to_be_bytes());
        content.extend_from_slice(&txn_field(producer).to_be_bytes());
    }
    let mut bytes = Vec::with_capacity(CRC_COVERS_FROM + content.len());
    bytes.extend_from_slice(&VERSION.to_be_bytes());
    bytes.extend_from_slice(&stdx::crc32c(&content).to_be_bytes());
    bytes.extend_from_slice(&content);
    bytes
}

/// The producers of a file's contents.
pub(crate) fn decode(bytes: &[u8]) -> Result<Producers, SnapshotError> {
    let mut cursor = Cursor::new(bytes);
    let version = cursor.i16()?;
    if version != VERSION {
        return Err(SnapshotError::Version(version));
    }
    if cursor.u32()? != stdx::crc32c(cursor.rest()) {
        return Err(SnapshotError::Checksum);
    }
    let mut producers = Producers::default();
    for _ in 0..cursor.i32()? {
        let id = cursor.i64()?;
        let epoch = cursor.i16()?;
        let last_sequence = cursor.i32()?;
        let last_offset = cursor.i64()?;
        let offset_delta = cursor.i32()?;
        let timestamp = cursor.i64()?;
        let coordinator_epoch = cursor.i32()?;
        let txn_field = cursor.i64()?;
        let txn_first_offset = Some(txn_field).filter(|offset| *offset >= 0);
        let began_at_zero = txn_field == NO_TXN_AND_BEGAN_AT_ZERO;
        let batch = ProducerBatch { last_sequence, last_offset, offset_delta, timestamp };
        let batches = if last_offset >= 0 { vec![batch] } else { Vec::new() };
        let last_timestamp = timestamp;
        let producer =
            Producer { epoch, coordinator_epoch, last_timestamp, txn_first_offset, began_at_zero, batches };
        producers.restore(id, producer);
    }
    Ok(producers)
}

/// How an open transaction's producer began is not written: it is then taken as unknown, which is Kafka's behaviour.
fn txn_field(producer: &Producer) -> i64 {
    let none = if producer.began_at_zero { NO_TXN_AND_BEGAN_AT_ZERO } else { NO_TXN };
    producer.txn_first_offset.unwrap_or(none)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn producers() -> Producers {
        let mut producers = Producers::default();
        let batch = ProducerBatch { last_sequence: 9, last_offset: 20, offset_delta: 4, timestamp: 77 };
        let writer = Producer {
            epoch: 3,
            coordinator_epoch: 5,
            last_timestamp: 77,
            txn_first_offset: Some(16),
            began_at_zero: false,
            batches: vec![batch],
        };
        let idle = Producer { txn_first_offset: None, batches: Vec::new(), ..writer.clone() };
        let idempotent = Producer { txn_first_offset: None, began_at_zero: true, ..writer.clone() };
        producers.restore(1001, idempotent);
        producers.restore(1000, writer);
        producers.restore(7, idle);
        producers
    }

    #[test]
    fn a_snapshot_reads_back_and_its_bytes_are_kafkas() {
        let bytes = encode(&producers());
        let fields = |id: i64, sequence: i32, offset: i64, delta: i32, txn: i64| {
            let head = [&id.to_be_bytes()[..], &3i16.to_be_bytes(), &sequence.to_be_bytes()].concat();
            let middle = [&offset.to_be_bytes()[..], &delta.to_be_bytes(), &77i64.to_be_bytes()].concat();
            [head, middle, 5i32.to_be_bytes().to_vec(), txn.to_be_bytes().to_vec()].concat()
        };
        let (idle, writer) = (fields(7, -1, -1, 0, -1), fields(1000, 9, 20, 4, 16));
        let content = [3i32.to_be_bytes().to_vec(), idle, writer, fields(1001, 9, 20, 4, -2)].concat();
        assert_eq!(bytes, [&[0, 1][..], &stdx::crc32c(&content).to_be_bytes(), &content].concat());
        assert_eq!(decode(&bytes), Ok(producers()));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_found() {
        let bytes = encode(&producers());
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&bytes).is_err(), "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert!(decode(&bytes[..len]).is_err(), "cut at {len}");
        }
    }
}

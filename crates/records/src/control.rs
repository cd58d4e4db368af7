//! Control records: what brokers write into a log beside the producers' records (KIP-98, KIP-595, KIP-630, KIP-853).
//!
//! Only the key and the transaction marker are decoded here; the other values belong to the metadata log.

use crate::{Batch, BatchBuilder, Record};
use model::{ProducerEpoch, ProducerId, Timestamp};
use stdx::Cursor;

/// What a control record says; the number is written in its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i16)]
pub enum ControlType {
    /// A transaction was aborted.
    Abort = 0,
    /// A transaction was committed.
    Commit = 1,
    /// A quorum has a new leader.
    LeaderChange = 2,
    /// A snapshot begins.
    SnapshotHeader = 3,
    /// A snapshot ends.
    SnapshotFooter = 4,
    /// The version of the quorum's protocol.
    KRaftVersion = 5,
    /// The voters of the quorum.
    KRaftVoters = 6,
}

/// The end of a transaction in one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndTxnMarker {
    /// Whether it was committed; aborted otherwise.
    pub committed: bool,
    /// The epoch of the coordinator that decided it.
    pub coordinator_epoch: i32,
}

impl ControlType {
    /// The type that the key of a control record names; `None` if it is unknown.
    pub fn from_key(key: &[u8]) -> Option<Self> {
        let mut cursor = Cursor::new(key);
        let _version = cursor.i16().ok().filter(|version| *version >= 0)?;
        Some(match cursor.i16().ok()? {
            0 => Self::Abort,
            1 => Self::Commit,
            2 => Self::LeaderChange,
            3 => Self::SnapshotHeader,
            4 => Self::SnapshotFooter,
            5 => Self::KRaftVersion,
            6 => Self::KRaftVoters,
            _ => return None,
        })
    }

    /// The key of a control record of this type.
    pub fn to_key(self) -> [u8; 4] {
        let [high, low] = (self as i16).to_be_bytes();
        [0, 0, high, low]
    }
}

impl EndTxnMarker {
    /// The marker in a control record; `None` if it is another one or malformed.
    pub fn from_record(record: &Record) -> Option<Self> {
        let committed = match ControlType::from_key(record.key.as_deref()?)? {
            ControlType::Abort => false,
            ControlType::Commit => true,
            _ => return None,
        };
        let mut cursor = Cursor::new(record.value.as_deref()?);
        let _version = cursor.i16().ok().filter(|version| *version >= 0)?;
        Some(Self { committed, coordinator_epoch: cursor.i32().ok()? })
    }

    /// The marker in the first record of a control batch.
    pub fn from_batch(batch: &Batch) -> Option<Self> {
        // Control batches are never compressed, and a marker is small.
        let records = batch.records(1024, &mut crate::Decompressor::new()).ok()?;
        Self::from_record(records.first()?)
    }

    /// The control batch with this marker.
    pub fn to_batch(self, id: ProducerId, epoch: ProducerEpoch, now: Timestamp) -> std::io::Result<Batch> {
        let control_type = if self.committed { ControlType::Commit } else { ControlType::Abort };
        let [a, b, c, d] = self.coordinator_epoch.to_be_bytes();
        let mut builder = BatchBuilder::new().producer(id, epoch, -1).transactional().control();
        builder.push(now, Some(&control_type.to_key()), Some(&[0, 0, a, b, c, d]), &[]);
        builder.build()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_reads_back_and_its_bytes_are_kafkas() {
        let marker = EndTxnMarker { committed: false, coordinator_epoch: 7 };
        let batch = marker.to_batch(1000, 3, 42).unwrap();
        assert!(batch.header.attributes.is_control() && batch.header.attributes.is_transactional());
        assert_eq!(EndTxnMarker::from_batch(&batch), Some(marker));
        // length, attributes, timestamp and offset deltas, key, value, headers
        assert_eq!(batch.body(), [32, 0, 0, 0, 8, 0, 0, 0, 0, 12, 0, 0, 0, 0, 0, 7, 0]);
    }

    #[test]
    fn every_type_reads_back_from_its_key() {
        for number in 0..7u8 {
            let control_type = ControlType::from_key(&[0, 0, 0, number]).unwrap();
            assert_eq!(control_type.to_key(), [0, 0, 0, number]);
        }
        assert_eq!(ControlType::from_key(&[0, 0, 0, 7]), None);
        assert_eq!(ControlType::from_key(&[0, 0]), None);
    }
}

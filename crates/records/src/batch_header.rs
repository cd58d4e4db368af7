//! The fixed first 61 bytes of a record batch, format v2 (KIP-98), and the 17 bytes that all formats share.
//!
//! It says what is written there, not whether it is right: `check` judges batches of producers, the log's recovery
//! those of a disk. docs/formats/record-batch.md has the table of bytes.

use crate::Codec;
use model::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};
use stdx::Cursor;

/// Bytes of a v2 header.
pub const HEADER_BYTES: usize = 61;
/// Bytes of the offset and the length that precede what the length counts, in all formats.
pub const LOG_OVERHEAD: usize = 12;
/// Bytes up to and with the magic number, in all formats.
pub const ENTRY_BYTES: usize = 17;
/// The first byte that the checksum covers.
pub const CRC_COVERS_FROM: usize = 21;
/// The magic number of format v2.
pub const MAGIC_V2: i8 = 2;

/// Whose clock a batch's timestamps come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TimestampType {
    /// The producer's, one per record.
    #[default]
    CreateTime,
    /// The broker's, one for the whole batch: its max timestamp.
    LogAppendTime,
}

/// The attributes of a batch: codec, timestamp type and flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attributes(pub i16);

/// What every entry of a log begins with, whatever its format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// v2: the first offset; v0 and v1: the last.
    pub offset: Offset,
    /// Bytes of the whole entry; at least [`ENTRY_BYTES`].
    pub bytes: usize,
    /// 0, 1 or 2.
    pub magic: i8,
}

/// A v2 header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    /// The offset of the first record (kept by compaction even if that record is gone).
    pub base_offset: Offset,
    /// Bytes after this field.
    pub batch_len: i32,
    /// The epoch of the leader that appended it; not under the checksum.
    pub leader_epoch: LeaderEpoch,
    /// 2.
    pub magic: i8,
    /// CRC-32C of everything from the attributes on.
    pub crc: u32,
    /// Codec and flags.
    pub attributes: Attributes,
    /// The last offset minus the first.
    pub last_offset_delta: i32,
    /// What the records' timestamps are relative to, or the delete horizon if that flag is set (KIP-534).
    pub base_timestamp: Timestamp,
    /// The largest timestamp, or the broker's time of appending.
    pub max_timestamp: Timestamp,
    /// The idempotent producer, or -1.
    pub producer_id: ProducerId,
    /// Its epoch, or -1.
    pub producer_epoch: ProducerEpoch,
    /// The sequence number of the first record, or -1.
    pub base_sequence: Sequence,
    /// How many records there are.
    pub record_count: i32,
}

impl Attributes {
    const LOG_APPEND_TIME: i16 = 0x08;
    const TRANSACTIONAL: i16 = 0x10;
    const CONTROL: i16 = 0x20;
    const DELETE_HORIZON: i16 = 0x40;

    /// The codec; `None` if the number is unknown.
    pub fn codec(self) -> Option<Codec> {
        Codec::from_id(self.codec_id())
    }

    /// The codec's number.
    pub fn codec_id(self) -> u8 {
        (self.0 & 0x07) as u8
    }

    /// Whose clock the timestamps come from.
    pub fn timestamp_type(self) -> TimestampType {
        match self.0 & Self::LOG_APPEND_TIME {
            0 => TimestampType::CreateTime,
            _ => TimestampType::LogAppendTime,
        }
    }

    /// Whether the batch is part of a transaction.
    pub fn is_transactional(self) -> bool {
        self.0 & Self::TRANSACTIONAL != 0
    }

    /// Whether the batch holds control records.
    pub fn is_control(self) -> bool {
        self.0 & Self::CONTROL != 0
    }

    /// Whether the base timestamp is the delete horizon.
    pub fn has_delete_horizon(self) -> bool {
        self.0 & Self::DELETE_HORIZON != 0
    }

    /// With another codec.
    pub fn with_codec(self, codec: Codec) -> Self {
        Self(self.0 & !0x07 | i16::from(codec.id()))
    }

    /// With another timestamp type.
    pub fn with_timestamp_type(self, timestamp_type: TimestampType) -> Self {
        match timestamp_type {
            TimestampType::CreateTime => Self(self.0 & !Self::LOG_APPEND_TIME),
            TimestampType::LogAppendTime => Self(self.0 | Self::LOG_APPEND_TIME),
        }
    }

    /// With the transactional flag as given.
    pub fn with_transactional(self, on: bool) -> Self {
        self.with(Self::TRANSACTIONAL, on)
    }

    /// With the control flag as given.
    pub fn with_control(self, on: bool) -> Self {
        self.with(Self::CONTROL, on)
    }

    /// With the flag of the delete horizon as given.
    pub fn with_delete_horizon(self, on: bool) -> Self {
        self.with(Self::DELETE_HORIZON, on)
    }

    fn with(self, flag: i16, on: bool) -> Self {
        if on { Self(self.0 | flag) } else { Self(self.0 & !flag) }
    }
}

impl Entry {
    /// Reads the start of an entry; `None` if there are too few bytes, the length cannot hold a header of that
    /// format, or the format is unknown.
    pub fn peek(bytes: &[u8]) -> Option<Self> {
        let mut cursor = Cursor::new(bytes);
        let offset = cursor.i64().ok()?;
        let len = cursor.i32().ok()?;
        cursor.take(4).ok()?;
        let magic = cursor.i8().ok()?;
        let bytes_min = match magic {
            0 => LOG_OVERHEAD + 14,
            1 => LOG_OVERHEAD + 22,
            2 => HEADER_BYTES,
            _ => return None,
        };
        let bytes = usize::try_from(len).ok()?.checked_add(LOG_OVERHEAD)?;
        (bytes >= bytes_min).then_some(Self { offset, bytes, magic })
    }
}

impl BatchHeader {
    /// Reads a header; `None` if there are too few bytes or another format.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let mut cursor = Cursor::new(bytes.get(..HEADER_BYTES)?);
        let header = Self {
            base_offset: cursor.i64().ok()?,
            batch_len: cursor.i32().ok()?,
            leader_epoch: cursor.i32().ok()?,
            magic: cursor.i8().ok()?,
            crc: cursor.u32().ok()?,
            attributes: Attributes(cursor.i16().ok()?),
            last_offset_delta: cursor.i32().ok()?,
            base_timestamp: cursor.i64().ok()?,
            max_timestamp: cursor.i64().ok()?,
            producer_id: cursor.i64().ok()?,
            producer_epoch: cursor.i16().ok()?,
            base_sequence: cursor.i32().ok()?,
            record_count: cursor.i32().ok()?,
        };
        (header.magic == MAGIC_V2).then_some(header)
    }

    /// The bytes.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        let mut rest = out.as_mut_slice();
        let mut put = |field: &[u8]| {
            let (head, tail) = std::mem::take(&mut rest).split_at_mut(field.len());
            head.copy_from_slice(field);
            rest = tail;
        };
        put(&self.base_offset.to_be_bytes());
        put(&self.batch_len.to_be_bytes());
        put(&self.leader_epoch.to_be_bytes());
        put(&self.magic.to_be_bytes());
        put(&self.crc.to_be_bytes());
        put(&self.attributes.0.to_be_bytes());
        put(&self.last_offset_delta.to_be_bytes());
        put(&self.base_timestamp.to_be_bytes());
        put(&self.max_timestamp.to_be_bytes());
        put(&self.producer_id.to_be_bytes());
        put(&self.producer_epoch.to_be_bytes());
        put(&self.base_sequence.to_be_bytes());
        put(&self.record_count.to_be_bytes());
        out
    }

    /// The checksum that a batch of this header and `body` must have.
    pub fn checksum(&self, body: &[u8]) -> u32 {
        let head = self.encode();
        stdx::crc32c_of(&[head.get(CRC_COVERS_FROM..).unwrap_or_default(), body])
    }

    /// Bytes of the whole batch, header and all.
    pub fn bytes(&self) -> usize {
        LOG_OVERHEAD.saturating_add_signed(self.batch_len as isize)
    }

    /// The offset of the last record.
    pub fn last_offset(&self) -> Offset {
        self.base_offset.wrapping_add(i64::from(self.last_offset_delta))
    }

    /// The offset after the last record.
    pub fn next_offset(&self) -> Offset {
        self.last_offset().wrapping_add(1)
    }

    /// Until when its tombstones, or the marker in it, must be kept, if compaction has said so (KIP-534).
    pub fn delete_horizon(&self) -> Option<Timestamp> {
        self.attributes.has_delete_horizon().then_some(self.base_timestamp)
    }

    /// Whether an idempotent producer wrote it.
    pub fn has_producer(&self) -> bool {
        self.producer_id >= 0
    }

    /// The sequence number of the last record, or -1.
    pub fn last_sequence(&self) -> Sequence {
        match self.base_sequence {
            -1 => -1,
            base => sequence_after(base, self.last_offset_delta),
        }
    }
}

/// The sequence number `delta` after `base`; numbers wrap from `i32::MAX` to 0.
pub fn sequence_after(base: Sequence, delta: i32) -> Sequence {
    match base.checked_add(delta) {
        Some(sequence) => sequence,
        None => delta.wrapping_sub(i32::MAX.wrapping_sub(base)).wrapping_sub(1),
    }
}

/// The sequence number `delta` before `last`; the inverse of [`sequence_after`].
pub fn sequence_before(last: Sequence, delta: i32) -> Sequence {
    if last < delta { i32::MAX.wrapping_sub(delta.wrapping_sub(last)).wrapping_add(1) } else { last - delta }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_bytes_of_a_header_read_back(mut bytes: [u8; HEADER_BYTES]) {
            prop_assert_eq!(BatchHeader::parse(&bytes).is_some(), bytes[16] == 2);
            bytes[16] = 2;
            prop_assert_eq!(BatchHeader::parse(&bytes).unwrap().encode(), bytes);
        }

        #[test]
        fn sequences_wrap_and_come_back(base in 0..=i32::MAX, delta in 0..=i32::MAX) {
            let after = sequence_after(base, delta);
            prop_assert!(after >= 0);
            prop_assert_eq!(sequence_before(after, delta), base);
        }
    }

    #[test]
    fn sequences_wrap_from_the_largest_number_to_zero() {
        assert_eq!(sequence_after(i32::MAX, 1), 0);
        assert_eq!(sequence_after(i32::MAX - 1, 3), 1);
        assert_eq!(sequence_before(0, 1), i32::MAX);
    }

    #[test]
    fn a_length_that_cannot_hold_a_header_is_no_entry() {
        let entry = |len: i32, magic: i8| {
            let mut bytes = [0; ENTRY_BYTES];
            bytes[8..12].copy_from_slice(&len.to_be_bytes());
            bytes[16] = magic as u8;
            Entry::peek(&bytes).map(|entry| entry.bytes)
        };
        assert_eq!((entry(49, 2), entry(48, 2), entry(-1, 2)), (Some(61), None, None));
        assert_eq!(
            (entry(22, 1), entry(21, 1), entry(14, 0), entry(13, 0)),
            (Some(34), None, Some(26), None)
        );
        assert_eq!((entry(100, 3), entry(i32::MAX, 2)), (None, Some(i32::MAX as usize + 12)));
    }
}

//! Reading message formats v0 and v1, which old logs still hold; nothing writes them.
//!
//! A compressed message wraps a set of messages. In v1 the wrapper's offset is that of its last message and the inner
//! offsets count from 0; in v0 inner offsets are absolute (KIP-31, KIP-32).
//!
//! ```text
//! offset i64 | length i32 | crc u32 | magic i8 | attributes i8 | (v1: timestamp i64) | key | value
//! ```

use crate::{Codec, Decompressor, Entry, LOG_OVERHEAD, Record, RecordError, lz4};
use bytes::Bytes;
use std::io::Read;
use stdx::{Cursor, Short};

/// The first byte that the checksum covers.
const CRC_COVERS_FROM: usize = 16;

/// A message of format v0 or v1, maybe one that wraps others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// 0 or 1.
    pub magic: i8,
    /// The codec of the messages that it wraps.
    pub codec: Codec,
    /// Whether its timestamp is the broker's and goes for all that it wraps.
    pub log_append_time: bool,
    /// Offset, timestamp (-1 in v0), key and value.
    pub record: Record,
}

/// Why messages cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum MessageSetError {
    /// The bytes are no messages.
    #[error("the message is malformed: {0}")]
    Malformed(&'static str),
    /// The checksum is wrong.
    #[error("the checksum of the message is {computed:#010x}, it says {stored:#010x}")]
    Checksum {
        /// In the message.
        stored: u32,
        /// Of the contents.
        computed: u32,
    },
    /// The wrapped messages do not decompress, or to too many bytes.
    #[error("the message does not decompress: {0}")]
    Decompression(#[from] std::io::Error),
}

impl From<Short> for MessageSetError {
    fn from(_: Short) -> Self {
        MessageSetError::Malformed("the bytes end inside a message")
    }
}

impl From<MessageSetError> for RecordError {
    fn from(error: MessageSetError) -> Self {
        match error {
            MessageSetError::Malformed(why) => RecordError::Malformed(why),
            MessageSetError::Checksum { .. } => RecordError::Malformed("a message has a wrong checksum"),
            MessageSetError::Decompression(error) => RecordError::Decompression(error),
        }
    }
}

impl Message {
    /// Splits the first message off `bytes` and checks its checksum.
    pub fn split_off(bytes: &mut Bytes) -> Result<Self, MessageSetError> {
        let entry = Entry::peek(bytes)
            .filter(|entry| entry.magic < 2)
            .ok_or(MessageSetError::Malformed("there is no message of format v0 or v1"))?;
        if bytes.len() < entry.bytes {
            return Err(MessageSetError::Malformed("the bytes end inside a message"));
        }
        let message = bytes.split_to(entry.bytes);
        let mut cursor = Cursor::new(&message);
        cursor.take(LOG_OVERHEAD)?;
        let stored = cursor.u32()?;
        let computed = stdx::crc32(message.get(CRC_COVERS_FROM..).unwrap_or_default());
        if stored != computed {
            return Err(MessageSetError::Checksum { stored, computed });
        }
        let magic = cursor.i8()?;
        let attributes = cursor.u8()?;
        let timestamp = if magic == 1 { cursor.i64()? } else { -1 };
        let codec =
            Codec::from_id(attributes & 0x07).ok_or(MessageSetError::Malformed("the codec is unknown"))?;
        let key = field(&message, &mut cursor)?;
        let value = field(&message, &mut cursor)?;
        let record = Record { offset: entry.offset, timestamp, key, value, headers: Vec::new() };
        Ok(Self { magic, codec, log_append_time: magic == 1 && attributes & 0x08 != 0, record })
    }

    /// The records: the message's own, or those that it wraps, decompressed into at most `bytes_max` bytes.
    pub fn records(
        self,
        bytes_max: usize,
        decompressor: &mut Decompressor,
    ) -> Result<Vec<Record>, MessageSetError> {
        if self.codec == Codec::None {
            return Ok(vec![self.record]);
        }
        let wrapped =
            self.record.value.as_deref().ok_or(MessageSetError::Malformed("a wrapper has no value"))?;
        let mut inner = Bytes::from(match (self.magic, self.codec) {
            (0, Codec::Lz4) => read_at_most(lz4::reader_v0(wrapped), bytes_max)?,
            (_, codec) => decompressor.decompress(codec, wrapped, bytes_max)?,
        });
        let mut records = Vec::new();
        while !inner.is_empty() {
            let message = Self::split_off(&mut inner)?;
            if message.codec != Codec::None || message.magic != self.magic {
                return Err(MessageSetError::Malformed(
                    "a wrapped message is compressed or of another format",
                ));
            }
            records.push(message.record);
        }
        let last = records.last().ok_or(MessageSetError::Malformed("a wrapper is empty"))?.offset;
        let shift = if self.magic == 1 { self.record.offset.wrapping_sub(last) } else { 0 };
        for record in &mut records {
            record.offset = record.offset.wrapping_add(shift);
            if self.log_append_time {
                record.timestamp = self.record.timestamp;
            }
        }
        Ok(records)
    }
}

fn read_at_most(reader: impl Read, bytes_max: usize) -> std::io::Result<Vec<u8>> {
    let mut out = Vec::new();
    if reader.take(bytes_max as u64 + 1).read_to_end(&mut out)? > bytes_max {
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, "it stands for too many bytes"));
    }
    Ok(out)
}

fn field(message: &Bytes, cursor: &mut Cursor<'_>) -> Result<Option<Bytes>, Short> {
    match usize::try_from(cursor.i32()?) {
        Err(_) => Ok(None),
        Ok(0) => Ok(Some(Bytes::new())),
        Ok(len) => Ok(Some(message.slice_ref(cursor.take(len)?))),
    }
}

#[cfg(test)]
mod tests;

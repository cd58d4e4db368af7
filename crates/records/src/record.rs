//! A single record with its key, value and headers, and reading those of a v2 batch.
//!
//! Keys and values are slices of one shared buffer. Consumers of our own, compaction and the dump commands read
//! records; the broker's way of a produce does not.

use crate::{BatchHeader, TimestampType};
use bytes::Bytes;
use model::{Offset, Timestamp};
use stdx::{Cursor, Short};

/// A header of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// UTF-8 by convention; not checked.
    pub key: Bytes,
    /// Any bytes, or none.
    pub value: Option<Bytes>,
}

/// A record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its place in the partition.
    pub offset: Offset,
    /// Its time, or -1.
    pub timestamp: Timestamp,
    /// The key, if there is one.
    pub key: Option<Bytes>,
    /// The value; none is a tombstone in a compacted topic.
    pub value: Option<Bytes>,
    /// The headers, in order.
    pub headers: Vec<Header>,
}

/// Why records cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The bytes are no records.
    #[error("the records are malformed: {0}")]
    Malformed(&'static str),
    /// The codec's number is unknown.
    #[error("the codec {0} is unknown")]
    Codec(u8),
    /// The bytes do not decompress, or to too many.
    #[error("the records do not decompress: {0}")]
    Decompression(#[from] std::io::Error),
}

impl From<Short> for RecordError {
    fn from(_: Short) -> Self {
        RecordError::Malformed("the bytes end inside a record")
    }
}

impl Record {
    /// Calls `visit` with each record of a batch with this header, whose plain contents are `plain`.
    pub(crate) fn each_of(
        header: &BatchHeader,
        plain: Bytes,
        mut visit: impl FnMut(Self),
    ) -> Result<(), RecordError> {
        let mut cursor = Cursor::new(&plain);
        for _ in 0..header.record_count {
            let (timestamp_delta, offset_delta, mut record) = read(&plain, &mut cursor)?;
            record.offset = header.base_offset.wrapping_add(i64::from(offset_delta));
            record.timestamp = match header.attributes.timestamp_type() {
                TimestampType::CreateTime => header.base_timestamp.wrapping_add(timestamp_delta),
                TimestampType::LogAppendTime => header.max_timestamp,
            };
            visit(record);
        }
        match cursor.remaining() {
            0 => Ok(()),
            _ => Err(RecordError::Malformed("bytes follow the last record")),
        }
    }
}

/// Reads one record: its timestamp delta, its offset delta and the rest.
fn read(plain: &Bytes, cursor: &mut Cursor<'_>) -> Result<(i64, i32, Record), RecordError> {
    let len =
        usize::try_from(cursor.varint()?).map_err(|_| RecordError::Malformed("a length is negative"))?;
    let mut inner = Cursor::new(cursor.take(len)?);
    let _attributes = inner.u8()?;
    let timestamp_delta = inner.varlong()?;
    let offset_delta = inner.varint()?;
    let key = field(plain, &mut inner)?;
    let value = field(plain, &mut inner)?;
    let count = usize::try_from(inner.varint()?)
        .ok()
        .filter(|count| *count <= inner.remaining())
        .ok_or(RecordError::Malformed("a record claims an impossible number of headers"))?;
    let mut headers = Vec::with_capacity(count.min(16));
    for _ in 0..count {
        let key = field(plain, &mut inner)?.ok_or(RecordError::Malformed("a header has no key"))?;
        headers.push(Header { key, value: field(plain, &mut inner)? });
    }
    if inner.remaining() > 0 {
        return Err(RecordError::Malformed("a record is not as long as it says"));
    }
    Ok((timestamp_delta, offset_delta, Record { offset: -1, timestamp: -1, key, value, headers }))
}

fn field(plain: &Bytes, cursor: &mut Cursor<'_>) -> Result<Option<Bytes>, Short> {
    match usize::try_from(cursor.varint()?) {
        Err(_) => Ok(None),
        Ok(0) => Ok(Some(Bytes::new())),
        Ok(len) => Ok(Some(plain.slice_ref(cursor.take(len)?))),
    }
}

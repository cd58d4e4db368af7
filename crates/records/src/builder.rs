//! Building record batches: for our own clients, for internal topics, for tests, and to write a batch anew when a
//! topic asks for another codec.
//!
//! It does not assign offsets in a log; the log stamps them. A batch of no records is built too (compaction keeps
//! such for the last sequence of a producer).

use crate::{
    Attributes, Batch, BatchHeader, Codec, Compression, HEADER_BYTES, Header, LOG_OVERHEAD, MAGIC_V2, Record,
    TimestampType, compress,
};
use model::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};
use std::io;
use stdx::varint;

/// A batch in the making.
#[derive(Debug, Clone)]
pub struct BatchBuilder {
    header: BatchHeader,
    compression: Compression,
    plain: Vec<u8>,
}

impl Default for BatchBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl BatchBuilder {
    /// An empty batch at offset 0, uncompressed, with the producers' timestamps and no producer id.
    pub fn new() -> Self {
        let header = BatchHeader {
            base_offset: 0,
            batch_len: (HEADER_BYTES - LOG_OVERHEAD) as i32,
            leader_epoch: -1,
            magic: MAGIC_V2,
            crc: 0,
            attributes: Attributes::default(),
            last_offset_delta: -1,
            base_timestamp: -1,
            max_timestamp: -1,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            record_count: 0,
        };
        Self { header, compression: Codec::None.into(), plain: Vec::new() }
    }

    /// At another offset.
    pub fn base_offset(mut self, offset: Offset) -> Self {
        self.header.base_offset = offset;
        self
    }

    /// Appended by the leader of this epoch.
    pub fn leader_epoch(mut self, epoch: LeaderEpoch) -> Self {
        self.header.leader_epoch = epoch;
        self
    }

    /// Compressed.
    pub fn compression(mut self, compression: impl Into<Compression>) -> Self {
        self.compression = compression.into();
        self
    }

    /// Written by an idempotent producer.
    pub fn producer(mut self, id: ProducerId, epoch: ProducerEpoch, base_sequence: Sequence) -> Self {
        (self.header.producer_id, self.header.producer_epoch) = (id, epoch);
        self.header.base_sequence = base_sequence;
        self
    }

    /// Part of a transaction.
    pub fn transactional(mut self) -> Self {
        self.header.attributes = self.header.attributes.with_transactional(true);
        self
    }

    /// A batch of control records.
    pub fn control(mut self) -> Self {
        self.header.attributes = self.header.attributes.with_control(true);
        self
    }

    /// With the broker's time for all records.
    pub fn log_append_time(mut self, now: Timestamp) -> Self {
        self.header.attributes = self.header.attributes.with_timestamp_type(TimestampType::LogAppendTime);
        self.header.max_timestamp = now;
        self
    }

    /// Adds a record after the last one.
    pub fn push(
        &mut self,
        timestamp: Timestamp,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header],
    ) {
        let header = &mut self.header;
        if header.record_count == 0 {
            header.base_timestamp = timestamp;
        }
        header.last_offset_delta += 1;
        header.record_count += 1;
        if header.attributes.timestamp_type() == TimestampType::CreateTime {
            header.max_timestamp = header.max_timestamp.max(timestamp);
        }
        let timestamp_delta = timestamp.wrapping_sub(header.base_timestamp);
        let offset_delta = header.last_offset_delta;
        let len = 1
            + varint::zigzag_64_len(timestamp_delta)
            + varint::zigzag_32_len(offset_delta)
            + field_len(key)
            + field_len(value)
            + varint::zigzag_32_len(headers.len() as i32)
            + headers.iter().map(|h| field_len(Some(&h.key)) + field_len(h.value.as_deref())).sum::<usize>();
        let out = &mut self.plain;
        varint::write_zigzag_32(out, len as i32);
        out.push(0);
        varint::write_zigzag_64(out, timestamp_delta);
        varint::write_zigzag_32(out, offset_delta);
        write_field(out, key);
        write_field(out, value);
        varint::write_zigzag_32(out, headers.len() as i32);
        for header in headers {
            write_field(out, Some(&header.key));
            write_field(out, header.value.as_deref());
        }
    }

    /// Adds a record after the last one; its offset is not looked at.
    pub fn push_record(&mut self, record: &Record) {
        self.push(record.timestamp, record.key.as_deref(), record.value.as_deref(), &record.headers);
    }

    /// Bytes of the records so far, before compression.
    pub fn plain_bytes(&self) -> usize {
        self.plain.len()
    }

    /// How many records there are so far.
    pub fn record_count(&self) -> usize {
        self.header.record_count as usize
    }

    /// The batch.
    pub fn build(mut self) -> io::Result<Batch> {
        self.header.attributes = self.header.attributes.with_codec(self.compression.codec);
        assemble(self.header, self.compression, &self.plain)
    }
}

/// A batch of `header` and the compressed form of `plain`: length, codec and checksum are set.
pub(crate) fn assemble(mut header: BatchHeader, compression: Compression, plain: &[u8]) -> io::Result<Batch> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + plain.len());
    bytes.resize(HEADER_BYTES, 0);
    compress(compression, plain, &mut bytes)?;
    header.attributes = header.attributes.with_codec(compression.codec);
    header.batch_len = i32::try_from(bytes.len() - LOG_OVERHEAD)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "a batch has at most 2 GiB"))?;
    let (head, body) = bytes.split_at_mut(HEADER_BYTES);
    header.crc = header.checksum(body);
    head.copy_from_slice(&header.encode());
    Ok(Batch { header, bytes: bytes.into() })
}

fn field_len(field: Option<&[u8]>) -> usize {
    match field {
        None => 1,
        Some(bytes) => varint::zigzag_32_len(bytes.len() as i32) + bytes.len(),
    }
}

fn write_field(out: &mut Vec<u8>, field: Option<&[u8]>) {
    match field {
        None => varint::write_zigzag_32(out, -1),
        Some(bytes) => {
            varint::write_zigzag_32(out, bytes.len() as i32);
            out.extend_from_slice(bytes);
        }
    }
}

#[cfg(test)]
mod tests;

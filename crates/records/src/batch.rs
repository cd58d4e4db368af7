//! A whole record batch in memory, format v2: its parsed header and all its bytes, shared and not copied.
//!
//! A batch is well-formed in length only; nothing else is checked here. Producers' batches go through `check`,
//! batches of a disk through the log's recovery.

use crate::{
    BatchHeader, Codec, Decompressor, Entry, HEADER_BYTES, MAGIC_V2, Record, RecordError, batch_header,
};
use bytes::Bytes;

/// A batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The first 61 of `bytes`.
    pub header: BatchHeader,
    /// The whole batch, header and all.
    pub bytes: Bytes,
}

impl Batch {
    /// Splits the first batch off `bytes`; `None` (and nothing is taken) if they do not begin with a whole batch of
    /// format v2.
    pub fn split_off(bytes: &mut Bytes) -> Option<Self> {
        let entry = Entry::peek(bytes)?;
        if entry.magic != MAGIC_V2 || bytes.len() < entry.bytes {
            return None;
        }
        let header = BatchHeader::parse(bytes)?;
        Some(Self { header, bytes: bytes.split_to(entry.bytes) })
    }

    /// The records as they are written, compressed or not.
    pub fn body(&self) -> &[u8] {
        self.bytes.get(HEADER_BYTES..).unwrap_or_default()
    }

    /// The checksum of the contents.
    pub fn checksum(&self) -> u32 {
        stdx::crc32c(self.bytes.get(batch_header::CRC_COVERS_FROM..).unwrap_or_default())
    }

    /// Whether the contents have the checksum that the header says.
    pub fn is_intact(&self) -> bool {
        self.header.crc == self.checksum()
    }

    /// The records, in order, decompressed into at most `bytes_max` bytes.
    pub fn records(
        &self,
        bytes_max: usize,
        decompressor: &mut Decompressor,
    ) -> Result<Vec<Record>, RecordError> {
        let mut records = Vec::new();
        self.each_record(bytes_max, decompressor, |record| records.push(record))?;
        Ok(records)
    }

    /// Calls `visit` with each record, in order: their decompressed bytes, `bytes_max` at most, are all that is held. What is
    /// kept of a record keeps all of these bytes.
    pub fn each_record(
        &self,
        bytes_max: usize,
        decompressor: &mut Decompressor,
        visit: impl FnMut(Record),
    ) -> Result<(), RecordError> {
        let plain = match self.header.attributes.codec() {
            None => return Err(RecordError::Codec(self.header.attributes.codec_id())),
            Some(Codec::None) => self.bytes.slice_ref(self.body()),
            Some(codec) => decompressor.decompress(codec, self.body(), bytes_max)?.into(),
        };
        Record::each_of(&self.header, plain, visit)
    }
}

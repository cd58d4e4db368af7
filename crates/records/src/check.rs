//! Judging what a producer sends for one partition, before it may enter a log: everything Kafka's broker checks of a
//! format v2 batch, in the same order.
//!
//! It knows no log: sequence numbers, offsets and leader epochs are judged and assigned there. The broker calls
//! [`check`] for each partition of a produce request; only a [`Checked`] batch can be appended.

use crate::{
    Attributes, Batch, BatchBuilder, BatchHeader, CRC_COVERS_FROM, Codec, Compression, Decompressor,
    HEADER_BYTES, LOG_OVERHEAD, MAGIC_V2, Record, RecordHead, TimestampType, WalkError, builder,
    walk::walk_counted,
};
use bytes::Bytes;
use model::{LeaderEpoch, Offset, Timestamp};
use stdx::Cursor;

/// What a topic asks of the batches in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// The broker's clock.
    pub now: Timestamp,
    /// The largest batch, header included (`max.message.bytes`).
    pub batch_bytes_max: usize,
    /// The most bytes that compressed records may stand for.
    pub plain_bytes_max: usize,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// How far before `now` a timestamp may be (`message.timestamp.before.max.ms`).
    pub timestamp_before_max_ms: i64,
    /// How far after `now` a timestamp may be (`message.timestamp.after.max.ms`).
    pub timestamp_after_max_ms: i64,
    /// Whether records need keys: the topic is compacted.
    pub keys_required: bool,
    /// What to store (`compression.type`); `None` keeps what the producer chose.
    pub compression: Option<Compression>,
    /// Whether the request is of a version that may carry zstd (Produce 7 on).
    pub zstd_allowed: bool,
    /// Whether the batch comes from outside. What the broker itself writes may hold control records and need not
    /// number its records.
    pub from_client: bool,
}

/// A batch that passed. Offset and leader epoch are still to be stamped; the header is otherwise final.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    batch: Batch,
}

/// Header and records of a stamped batch: two pieces of one string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamped {
    /// The header as it is written to the log.
    pub header: BatchHeader,
    /// The records, as the producer wrote them.
    pub body: Bytes,
}

/// What was sent for one partition: one whole batch of format v2, and no other behind it. Nothing else of it is known to
/// be right.
#[derive(Debug, Clone)]
pub struct Unchecked {
    batch: Batch,
}

/// How many bytes may be read in checking batches where others wait for the same thread: compressed ones, those they
/// stand for, and those that are written anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    left: u64,
}

/// Why a batch is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// The bytes cannot be a batch. Kafka: CORRUPT_MESSAGE.
    #[error("the batch is corrupt: {0}")]
    Corrupt(&'static str),
    /// The checksum is wrong. Kafka: CORRUPT_MESSAGE.
    #[error("the batch is corrupt: its checksum is {computed:#010x}, the header says {stored:#010x}")]
    Checksum {
        /// In the header.
        stored: u32,
        /// Of the contents.
        computed: u32,
    },
    /// The batch as a whole breaks a rule. Kafka: INVALID_RECORD.
    #[error("the batch is invalid: {0}")]
    Batch(&'static str),
    /// Its records cannot be read. Kafka: INVALID_RECORD.
    #[error("the batch is invalid: {0}")]
    Records(WalkError),
    /// Some records break a rule. Kafka: INVALID_TIMESTAMP if one of them does by its timestamp, else INVALID_RECORD;
    /// with one record error each. Where there are very many, the first are here and at least one for each error code.
    #[error("records of the batch are invalid, {} at least; the first: {}", .0.len(), .0.first().map_or(String::new(), |f| f.why.to_string()))]
    EachRecord(Vec<Fault>),
    /// The batch is too large. Kafka: MESSAGE_TOO_LARGE.
    #[error("the batch has {bytes} bytes, more than the {bytes_max} that the topic allows")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// The codec is newer than the request. Kafka: UNSUPPORTED_COMPRESSION_TYPE.
    #[error("a produce request of this version cannot carry the compression codec {0}")]
    UnsupportedCodec(u8),
    /// Nobody knows the codec. Kafka: UNKNOWN_SERVER_ERROR.
    #[error("there is no compression codec {0}")]
    UnknownCodec(u8),
    /// What Kafka's broker stumbles over where it only looks for something else. Kafka: UNKNOWN_SERVER_ERROR.
    #[error("the batch cannot be read: {0}")]
    Unreadable(&'static str),
}

/// What [`Unchecked::glance`] has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Glance {
    /// Nothing that concerns the whole request.
    Usual,
    /// The first batch says that it belongs to a transaction.
    Transactional,
    /// Kafka fails the whole request over it, if the partition exists.
    Breaking,
}

/// The length of the shortest record that any format had.
const RECORD_BYTES_MIN: i32 = 14;
/// Where a batch's producer id ends: Kafka reads it without looking whether the batch is as long.
const PRODUCER_ENDS_AT: usize = 51;
/// The most faults that are told of one batch.
const FAULTS_MAX: usize = 1000;
/// So many bytes of a batch buy one fault: a few compressed bytes stand for a million records.
const BYTES_PER_FAULT: usize = 16;
/// How much larger than the largest batch the plain records may be where a batch is written anew; those are in memory.
const REWRITTEN_RATIO_MAX: usize = 8;
/// Topics of tiny batches have this much for it.
const REWRITTEN_BYTES_MIN: usize = 1 << 20;
/// Compressing takes at least so many times longer than reading.
const READ_BYTES_PER_WRITTEN_BYTE: u64 = 8;
/// What compressed bytes are expected to stand for: where that exceeds a budget, reading is not begun in vain.
const PLAIN_BYTES_PER_COMPRESSED_BYTE: u64 = 8;

/// A record that breaks a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// Which record of the batch; the first is 0.
    pub batch_index: i32,
    /// The rule.
    pub why: FaultKind,
}

/// The rule that a record breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FaultKind {
    /// No key.
    #[error("Compacted topic cannot accept message without key")]
    KeyMissing,
    /// Too far from the broker's clock.
    #[error("Timestamp {timestamp} of the record is out of range: it must be within [{min}, {max}]")]
    TimestampOutOfRange {
        /// Of the record.
        timestamp: Timestamp,
        /// The earliest that is allowed.
        min: Timestamp,
        /// The latest that is allowed.
        max: Timestamp,
    },
    /// Only brokers may set this timestamp type.
    #[error("A producer must not set the timestamp type LogAppendTime")]
    LogAppendTimeSet,
}

impl Rules {
    /// The most plain bytes of a batch that is written anew.
    fn rewritten_bytes_max(&self) -> usize {
        let wanted = self.batch_bytes_max.saturating_mul(REWRITTEN_RATIO_MAX).max(REWRITTEN_BYTES_MIN);
        wanted.min(self.plain_bytes_max)
    }
}

impl Invalid {
    /// Whether a timestamp is the reason.
    pub fn is_timestamp(&self) -> bool {
        matches!(self, Invalid::EachRecord(faults)
            if faults.iter().any(|fault| fault.why != FaultKind::KeyMissing))
    }
}

/// Judges what was sent for one partition: exactly one batch.
pub fn check(payload: Bytes, rules: &Rules, decompressor: &mut Decompressor) -> Result<Checked, Invalid> {
    Unchecked::new(payload, rules.zstd_allowed)?.check(rules, decompressor)
}

impl Budget {
    /// Of so many bytes.
    pub fn new(bytes: u64) -> Self {
        Self { left: bytes }
    }

    /// What is left of it.
    pub fn left(self) -> u64 {
        self.left
    }

    fn take(&mut self, bytes: u64) -> Result<(), Stop> {
        match self.left.checked_sub(bytes) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => {
                self.left = 0;
                Err(Stop::TooMuch)
            }
        }
    }
}

/// Why a check came to no batch.
enum Stop {
    Invalid(Invalid),
    /// The budget is used up, and nothing is decided.
    TooMuch,
}

impl From<Invalid> for Stop {
    fn from(invalid: Invalid) -> Self {
        Stop::Invalid(invalid)
    }
}

impl Unchecked {
    /// The batch, if it is the only whole batch, of format v2, and of a codec that the request may carry. Bytes behind
    /// it that are no whole batch are dropped.
    pub fn new(mut payload: Bytes, zstd_allowed: bool) -> Result<Self, Invalid> {
        let first = next_batch(&payload)?.ok_or(Invalid::Batch("there is no whole batch"))?;
        if first.magic != MAGIC_V2 {
            return Err(Invalid::Batch("its format is not v2"));
        }
        if !zstd_allowed {
            let id = first.attributes.codec_id();
            match first.attributes.codec() {
                Some(Codec::Zstd) => return Err(Invalid::UnsupportedCodec(id)),
                None => return Err(Invalid::UnknownCodec(id)),
                Some(_) => {}
            }
        }
        if next_batch(payload.get(first.bytes..).unwrap_or_default())?.is_some() {
            return Err(Invalid::Batch("there is more than one batch for the partition"));
        }
        if first.bytes < PRODUCER_ENDS_AT {
            return Err(Invalid::Unreadable("it ends inside its header"));
        }
        let batch = Batch::split_off(&mut payload);
        batch.map(|batch| Self { batch }).ok_or(Invalid::Corrupt("its length is less than that of a header"))
    }

    /// What of this payload decides on the whole request, as Kafka sees it before it looks at any partition. An error
    /// fails the request whether the partition exists or not.
    pub fn glance(payload: &[u8], zstd_allowed: bool) -> Result<Glance, Invalid> {
        let Some(first) = next_batch(payload)? else { return Ok(Glance::Usual) };
        let is_v2 = first.magic == MAGIC_V2;
        if is_v2 && first.attributes.is_transactional() {
            return Ok(Glance::Transactional);
        }
        let is_codec_unknown = first.attributes.codec().is_none();
        let is_breaking = is_v2
            && (!zstd_allowed && is_codec_unknown
                || match next_batch(payload.get(first.bytes..).unwrap_or_default()) {
                    Ok(None) => first.bytes < PRODUCER_ENDS_AT,
                    Err(Invalid::Unreadable(_)) => true,
                    _ => false,
                });
        Ok(if is_breaking { Glance::Breaking } else { Glance::Usual })
    }

    /// The attributes as they were sent.
    pub fn attributes(&self) -> Attributes {
        self.batch.header.attributes
    }

    /// Bytes of the batch.
    pub fn bytes(&self) -> usize {
        self.batch.bytes.len()
    }

    /// The same in memory of its own.
    pub fn copied(mut self) -> Self {
        self.batch.bytes = Bytes::copy_from_slice(&self.batch.bytes);
        self
    }

    /// Judges the batch, however long that takes.
    pub fn check(self, rules: &Rules, decompressor: &mut Decompressor) -> Result<Checked, Invalid> {
        let unlimited = &mut Budget::new(u64::MAX);
        self.check_within(rules, unlimited, decompressor).unwrap_or(Err(Invalid::Batch("it is endless")))
    }

    /// Judges the batch as far as the budget goes; gives it back if that is not far enough, and nothing is left then.
    pub fn check_within(
        self,
        rules: &Rules,
        budget: &mut Budget,
        decompressor: &mut Decompressor,
    ) -> Result<Result<Checked, Invalid>, Self> {
        match judge(&self.batch, rules, budget, decompressor) {
            Err(Stop::TooMuch) => Err(self),
            Err(Stop::Invalid(invalid)) => Ok(Err(invalid)),
            Ok(passed) => {
                let batch = passed.rewritten.unwrap_or(self.batch);
                Ok(Ok(Checked { batch }.with_timestamps(passed.timestamps, passed.max_timestamp)))
            }
        }
    }
}

/// What a batch that passed must become.
struct Passed {
    rewritten: Option<Batch>,
    timestamps: Attributes,
    max_timestamp: Timestamp,
}

fn judge(
    batch: &Batch,
    rules: &Rules,
    budget: &mut Budget,
    decompressor: &mut Decompressor,
) -> Result<Passed, Stop> {
    let header = batch.header;
    if rules.from_client && header.base_offset != 0 {
        return Err(Invalid::Batch("its base offset is not 0").into());
    }
    if batch.bytes.len() > rules.batch_bytes_max {
        return Err(Invalid::TooLarge { bytes: batch.bytes.len(), bytes_max: rules.batch_bytes_max }.into());
    }
    budget.take(batch.bytes.len() as u64)?;
    let is_compressed = header.attributes.codec() != Some(Codec::None);
    if is_compressed && batch.body().len() as u64 * PLAIN_BYTES_PER_COMPRESSED_BYTE > budget.left {
        budget.left = 0;
        return Err(Stop::TooMuch);
    }
    let computed = batch.checksum();
    if header.crc != computed {
        return Err(Invalid::Checksum { stored: header.crc, computed }.into());
    }
    let Some(codec) = header.attributes.codec() else {
        return Err(Invalid::UnknownCodec(header.attributes.codec_id()).into());
    };
    if rules.from_client {
        check_header(&header)?;
    }
    let seen = check_records(batch, rules, budget, decompressor)?;
    let (timestamp_type, max_timestamp) = match rules.timestamp_type {
        TimestampType::CreateTime => (TimestampType::CreateTime, seen.max_timestamp),
        TimestampType::LogAppendTime => (TimestampType::LogAppendTime, rules.now),
    };
    let rewritten =
        match rules.compression.filter(|target| target.codec != codec && !header.attributes.is_control()) {
            None if seen.deltas_right => None,
            // Kafka would have to write it anew, for which it has not read enough of it.
            None if is_compressed => {
                return Err(Invalid::Unreadable("its compressed records are not numbered from 0 on").into());
            }
            target => {
                budget.take(seen.plain_bytes.saturating_mul(READ_BYTES_PER_WRITTEN_BYTE))?;
                let compression = target.unwrap_or(codec.into());
                Some(rewrite(batch, seen.deltas_right, compression, rules, decompressor)?)
            }
        };
    Ok(Passed { rewritten, timestamps: header.attributes.with_timestamp_type(timestamp_type), max_timestamp })
}

/// The next whole batch of a payload, of any format, as little as Kafka's iterator knows of it.
struct Next {
    bytes: usize,
    magic: i8,
    attributes: Attributes,
}

/// Looks for a whole batch at the front; stray bytes are none, and none is no error.
fn next_batch(bytes: &[u8]) -> Result<Option<Next>, Invalid> {
    let mut cursor = Cursor::new(bytes);
    let (Ok(_), Ok(len)) = (cursor.i64(), cursor.i32()) else { return Ok(None) };
    if len < RECORD_BYTES_MIN {
        return Err(Invalid::Corrupt("its length is less than that of any record"));
    }
    let (Ok(_), Ok(magic)) = (cursor.take(4), cursor.i8()) else { return Ok(None) };
    if !(0..=MAGIC_V2).contains(&magic) {
        return Err(Invalid::Corrupt("there is no such format"));
    }
    let Ok(size) = usize::try_from(len.wrapping_add(LOG_OVERHEAD as i32)) else {
        return Err(Invalid::Unreadable("its length is out of range"));
    };
    let Some(batch) = bytes.get(..size) else { return Ok(None) };
    // The shortest record is long enough to have some.
    let attributes = batch.get(CRC_COVERS_FROM..).and_then(<[u8]>::first_chunk).copied();
    let attributes = Attributes(i16::from_be_bytes(attributes.unwrap_or_default()));
    Ok(Some(Next { bytes: size, magic, attributes }))
}

fn check_header(header: &BatchHeader) -> Result<(), Invalid> {
    if header.last_offset_delta < 0 || header.record_count <= 0 {
        return Err(Invalid::Batch("it has no records"));
    }
    if i64::from(header.last_offset_delta) + 1 != i64::from(header.record_count) {
        return Err(Invalid::Batch("its offsets and its number of records disagree"));
    }
    if header.attributes.is_control() {
        return Err(Invalid::Batch("a client must not write control records"));
    }
    if header.has_producer() && header.base_sequence < 0 {
        return Err(Invalid::Batch("a producer id needs a sequence number"));
    }
    if header.attributes.is_transactional() && !header.has_producer() {
        return Err(Invalid::Batch("a transaction needs a producer id"));
    }
    Ok(())
}

/// What the walk over the records finds.
struct Seen {
    max_timestamp: Timestamp,
    deltas_right: bool,
    plain_bytes: u64,
    faults: Vec<Fault>,
}

fn check_records(
    batch: &Batch,
    rules: &Rules,
    budget: &mut Budget,
    decompressor: &mut Decompressor,
) -> Result<Seen, Stop> {
    let header = &batch.header;
    let appended = header.attributes.timestamp_type() == TimestampType::LogAppendTime;
    // With the broker's time all records have the max timestamp, whatever their deltas.
    let (base, deltas) = if appended { (header.max_timestamp, 0) } else { (header.base_timestamp, -1) };
    let by_producer = rules.timestamp_type == TimestampType::CreateTime;
    let (min, max) = match by_producer {
        true => (
            rules.now.saturating_sub(rules.timestamp_before_max_ms),
            rules.now.saturating_add(rules.timestamp_after_max_ms),
        ),
        false => (Timestamp::MIN, Timestamp::MAX),
    };
    let keys_required = rules.keys_required && !header.attributes.is_control();
    let mut seen = Seen { max_timestamp: -1, deltas_right: true, plain_bytes: 0, faults: Vec::new() };
    let faults_max = (batch.bytes.len() / BYTES_PER_FAULT).min(FAULTS_MAX);
    let mut is_timestamp_told = false;
    let mut index = 0;
    let visit = |head: RecordHead| {
        let timestamp = base.wrapping_add(head.timestamp_delta & deltas);
        seen.max_timestamp = seen.max_timestamp.max(timestamp);
        seen.deltas_right &= head.offset_delta == index;
        let in_range = (min..=max).contains(&timestamp) || timestamp == -1;
        // Without a timestamp the type is looked at even where producers set it, as in Kafka.
        let type_wrong = appended && (!by_producer || timestamp == -1);
        if (keys_required && head.key_len < 0) || !in_range || type_wrong {
            let why = if keys_required && head.key_len < 0 {
                FaultKind::KeyMissing
            } else if !in_range {
                FaultKind::TimestampOutOfRange { timestamp, min, max }
            } else {
                FaultKind::LogAppendTimeSet
            };
            // A fault of a timestamp decides the error code, wherever it is.
            let is_timestamp = why != FaultKind::KeyMissing;
            if seen.faults.len() < faults_max || (is_timestamp && !is_timestamp_told) {
                seen.faults.push(Fault { batch_index: index, why });
                is_timestamp_told |= is_timestamp;
            }
        }
        index += 1;
    };
    let plain_bytes_max = rules.plain_bytes_max as u64;
    let limit = plain_bytes_max.min(budget.left);
    let mut read = 0;
    let walked = walk_counted(batch, limit, decompressor, &mut read, visit);
    budget.left = budget.left.saturating_sub(read);
    match walked {
        Err(WalkError::Limit(_)) if limit < plain_bytes_max => Err(Stop::TooMuch),
        Err(error) => Err(Invalid::Records(error).into()),
        Ok(()) if seen.faults.is_empty() => {
            Ok(Seen { plain_bytes: read.max(batch.body().len() as u64), ..seen })
        }
        Ok(()) => Err(Invalid::EachRecord(seen.faults).into()),
    }
}

/// The same records in another codec, or with the offset deltas that they should have had. Both hold the plain records
/// in memory, so there is a limit to them.
fn rewrite(
    batch: &Batch,
    deltas_right: bool,
    compression: Compression,
    rules: &Rules,
    decompressor: &mut Decompressor,
) -> Result<Batch, Invalid> {
    let unreadable = |why: String| Invalid::Records(WalkError::Decompression(why));
    let header = batch.header;
    let codec = header.attributes.codec().unwrap_or(Codec::None);
    let plain_bytes_max = rules.rewritten_bytes_max();
    // The walk has read it all already: it can only be too much.
    let too_large = |_| Invalid::TooLarge { bytes: plain_bytes_max + 1, bytes_max: plain_bytes_max };
    let plain = decompressor.decompress(codec, batch.body(), plain_bytes_max).map_err(too_large)?;
    let rewritten = if deltas_right {
        builder::assemble(header, compression, &plain)
    } else {
        let mut builder = BatchBuilder::new().compression(compression).producer(
            header.producer_id,
            header.producer_epoch,
            header.base_sequence,
        );
        if header.attributes.is_transactional() {
            builder = builder.transactional();
        }
        Record::each_of(&header, plain.into(), |record| builder.push_record(&record))
            .map_err(|error| unreadable(error.to_string()))?;
        builder.build()
    }
    .map_err(|error| unreadable(error.to_string()))?;
    match rewritten.bytes.len() {
        bytes if bytes > rules.batch_bytes_max => {
            Err(Invalid::TooLarge { bytes, bytes_max: rules.batch_bytes_max })
        }
        _ => Ok(rewritten),
    }
}

impl Checked {
    /// A batch that the broker has built itself and that needs no check.
    pub fn trusted(batch: Batch) -> Self {
        Self { batch }
    }

    /// The header: offset and leader epoch are those the producer sent.
    pub fn header(&self) -> &BatchHeader {
        &self.batch.header
    }

    /// Bytes of the whole batch.
    pub fn bytes(&self) -> usize {
        self.batch.bytes.len()
    }

    /// The batch, unstamped. Its parsed header is final; the header among its bytes may be what the producer sent.
    pub fn batch(&self) -> &Batch {
        &self.batch
    }

    /// The batch with its place in the log. The checksum does not cover what is stamped.
    pub fn stamp(self, base_offset: Offset, leader_epoch: LeaderEpoch) -> Stamped {
        let mut header = self.batch.header;
        header.base_offset = base_offset;
        header.leader_epoch = leader_epoch;
        Stamped { header, body: self.batch.bytes.slice(HEADER_BYTES.min(self.batch.bytes.len())..) }
    }

    /// Corrects timestamp type and max timestamp, and then the checksum; mostly they are right.
    fn with_timestamps(mut self, timestamps: Attributes, max_timestamp: Timestamp) -> Self {
        let header = &mut self.batch.header;
        let timestamp_type = timestamps.timestamp_type();
        if header.attributes.timestamp_type() != timestamp_type || header.max_timestamp != max_timestamp {
            header.attributes = header.attributes.with_timestamp_type(timestamp_type);
            header.max_timestamp = max_timestamp;
            let body = self.batch.bytes.get(HEADER_BYTES..).unwrap_or_default();
            header.crc = header.checksum(body);
        }
        self
    }
}

#[cfg(test)]
mod tests;

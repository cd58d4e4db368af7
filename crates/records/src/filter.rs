//! Taking records out of a batch, as compaction does: what stays keeps its offset, its time and its bytes, and the batch
//! keeps its first and last offset and its sequence numbers.
//!
//! It does not decide which records go; the log's cleaning does. The delete horizon (KIP-534) says in the batch itself
//! until when its tombstones, or its marker, must stay.

use crate::{
    Attributes, Batch, BatchHeader, Codec, Compression, Decompressor, HEADER_BYTES, LOG_OVERHEAD,
    RecordError, TimestampType, builder,
};
use bytes::Bytes;
use model::{Offset, Timestamp};
use std::{io, ops::Range};
use stdx::{Cursor, Short, varint};

/// What is asked about a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordView<'a> {
    /// Its place in the partition.
    pub offset: Offset,
    /// The key, if there is one.
    pub key: Option<&'a [u8]>,
    /// Whether it has a value; a tombstone has none.
    pub has_value: bool,
}

/// The records of a batch of which some are to stay.
#[derive(Debug)]
pub struct Filter {
    plain: Bytes,
    kept: Vec<Kept>,
    seen: usize,
    has_tombstones: bool,
}

/// A record that stays.
#[derive(Debug)]
struct Kept {
    /// All of it, its length too, in the plain bytes.
    whole: Range<usize>,
    /// What follows its timestamp.
    rest: Range<usize>,
    attributes: u8,
    timestamp_delta: i64,
}

impl Filter {
    /// Asks `stays` of each record of `batch`, in order, which is decompressed into at most `bytes_max` bytes.
    pub fn new(
        batch: &Batch,
        bytes_max: usize,
        decompressor: &mut Decompressor,
        mut stays: impl FnMut(RecordView<'_>) -> bool,
    ) -> Result<Self, RecordError> {
        let header = &batch.header;
        let plain = match header.attributes.codec() {
            None => return Err(RecordError::Codec(header.attributes.codec_id())),
            Some(Codec::None) => batch.bytes.slice_ref(batch.body()),
            Some(codec) => decompressor.decompress(codec, batch.body(), bytes_max)?.into(),
        };
        let (mut kept, mut has_tombstones) = (Vec::new(), false);
        let mut cursor = Cursor::new(&plain);
        for _ in 0..header.record_count {
            let (record, view) = read(&mut cursor, header)?;
            if stays(view) {
                has_tombstones |= !view.has_value;
                kept.push(record);
            }
        }
        if cursor.remaining() > 0 {
            return Err(RecordError::Malformed("bytes follow the last record"));
        }
        let seen = usize::try_from(header.record_count).unwrap_or(0);
        Ok(Self { plain, kept, seen, has_tombstones })
    }

    /// How many records stay.
    pub fn kept(&self) -> usize {
        self.kept.len()
    }

    /// Whether no record goes.
    pub fn is_whole(&self) -> bool {
        self.kept.len() == self.seen
    }

    /// Whether a record without a value stays.
    pub fn has_tombstones(&self) -> bool {
        self.has_tombstones
    }

    /// `batch`, which this was made of, with the records that stay. A `horizon` is written into its header; one that is
    /// there already stays as it is.
    pub fn build(&self, batch: &Batch, horizon: Option<Timestamp>) -> io::Result<Batch> {
        let mut header = batch.header;
        let shift = match horizon {
            Some(horizon) => {
                header.attributes = header.attributes.with_delete_horizon(true);
                header.base_timestamp.wrapping_sub(horizon)
            }
            None => 0,
        };
        header.record_count = i32::try_from(self.kept.len()).unwrap_or(i32::MAX);
        if header.attributes.timestamp_type() == TimestampType::CreateTime {
            let of = |kept: &Kept| batch.header.base_timestamp.wrapping_add(kept.timestamp_delta);
            header.max_timestamp = self.kept.iter().map(of).max().unwrap_or(header.max_timestamp);
        }
        header.base_timestamp = horizon.unwrap_or(header.base_timestamp);
        let mut plain = Vec::with_capacity(self.plain.len());
        for kept in &self.kept {
            self.write(kept, shift, &mut plain);
        }
        let codec = header.attributes.codec().unwrap_or(Codec::None);
        builder::assemble(header, Compression::from(codec), &plain)
    }

    fn write(&self, kept: &Kept, shift: i64, out: &mut Vec<u8>) {
        if shift == 0 {
            return out.extend_from_slice(self.plain.get(kept.whole.clone()).unwrap_or_default());
        }
        let rest = self.plain.get(kept.rest.clone()).unwrap_or_default();
        let delta = kept.timestamp_delta.wrapping_add(shift);
        let len = 1 + varint::zigzag_64_len(delta) + rest.len();
        varint::write_zigzag_32(out, i32::try_from(len).unwrap_or(i32::MAX));
        out.push(kept.attributes);
        varint::write_zigzag_64(out, delta);
        out.extend_from_slice(rest);
    }
}

impl Batch {
    /// The batch of this header without any record: it says no more than up to which offset and sequence number its
    /// producer has come.
    pub fn emptied(header: &BatchHeader) -> Self {
        let kept = Attributes::default()
            .with_timestamp_type(header.attributes.timestamp_type())
            .with_transactional(header.attributes.is_transactional())
            .with_control(header.attributes.is_control());
        let mut header = BatchHeader {
            batch_len: (HEADER_BYTES - LOG_OVERHEAD) as i32,
            attributes: kept,
            base_timestamp: -1,
            record_count: 0,
            ..*header
        };
        header.crc = header.checksum(&[]);
        Self { header, bytes: header.encode().to_vec().into() }
    }
}

fn read<'a>(cursor: &mut Cursor<'a>, header: &BatchHeader) -> Result<(Kept, RecordView<'a>), RecordError> {
    let begin = cursor.position();
    let len =
        usize::try_from(cursor.varint()?).map_err(|_| RecordError::Malformed("a length is negative"))?;
    let inside = cursor.position();
    let mut inner = Cursor::new(cursor.take(len)?);
    let attributes = inner.u8()?;
    let timestamp_delta = inner.varlong()?;
    let rest = inside + inner.position()..cursor.position();
    let offset = header.base_offset.wrapping_add(i64::from(inner.varint()?));
    let key = field(&mut inner)?;
    let has_value = field(&mut inner)?.is_some();
    let kept = Kept { whole: begin..cursor.position(), rest, attributes, timestamp_delta };
    Ok((kept, RecordView { offset, key, has_value }))
}

fn field<'a>(cursor: &mut Cursor<'a>) -> Result<Option<&'a [u8]>, Short> {
    match usize::try_from(cursor.varint()?) {
        Err(_) => Ok(None),
        Ok(len) => cursor.take(len).map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BatchBuilder, Header};
    use proptest::prelude::*;

    const NOW: Timestamp = 1_700_000_000_000;

    fn batch(values: &[Option<u8>], codec: Codec, log_append_time: bool) -> Batch {
        let mut builder = BatchBuilder::new().base_offset(100).leader_epoch(3).producer(7, 2, 40);
        builder = builder.compression(codec).transactional();
        if log_append_time {
            builder = builder.log_append_time(NOW + 5);
        }
        let headers = [Header { key: "h".into(), value: None }];
        for (index, value) in values.iter().enumerate() {
            let value = value.map(|value| vec![value; 30]);
            // Not in the order of time.
            let timestamp = NOW - (index as i64 % 3) * 1000;
            builder.push(timestamp, Some(&[index as u8]), value.as_deref(), &headers);
        }
        builder.build().unwrap()
    }

    proptest! {
        #[test]
        fn what_stays_is_as_it_was(
            values in proptest::collection::vec(proptest::option::of(any::<u8>()), 1..20), mask: u32,
            codec in 0u8..5, horizon in proptest::option::of(NOW..NOW + 100_000), log_append_time: bool,
        ) {
            let codec = Codec::from_id(codec).unwrap();
            let batch = batch(&values, codec, log_append_time);
            let stays = |offset: i64| mask >> (offset - 100) & 1 == 1;
            let mut decompressor = Decompressor::new();
            let all = batch.records(1 << 20, &mut decompressor).unwrap();
            let filter = Filter::new(&batch, 1 << 20, &mut decompressor, |view| {
                let record = &all[(view.offset - 100) as usize];
                assert_eq!((view.key, view.has_value), (record.key.as_deref(), record.value.is_some()));
                stays(view.offset)
            }).unwrap();
            let expected: Vec<_> = all.into_iter().filter(|record| stays(record.offset)).collect();
            prop_assert_eq!(filter.kept(), expected.len());
            prop_assert_eq!(filter.is_whole(), expected.len() == values.len());
            prop_assert_eq!(filter.has_tombstones(), expected.iter().any(|record| record.value.is_none()));
            let built = filter.build(&batch, horizon).unwrap();
            prop_assert!(built.is_intact());
            prop_assert_eq!(built.header.delete_horizon(), horizon);
            prop_assert_eq!(&built.records(1 << 20, &mut decompressor).unwrap(), &expected);
            let (old, new) = (batch.header, built.header);
            prop_assert_eq!(new.bytes(), built.bytes.len());
            prop_assert_eq!((new.base_offset, new.last_offset()), (old.base_offset, old.last_offset()));
            prop_assert_eq!((new.base_sequence, new.last_sequence()), (old.base_sequence, old.last_sequence()));
            prop_assert_eq!((new.leader_epoch, new.producer_epoch), (3, 2));
            prop_assert_eq!(new.attributes.codec(), Some(codec));
            if let Some(latest) = expected.iter().map(|record| record.timestamp).max() {
                prop_assert_eq!(new.max_timestamp, latest);
            }
            // A second pass may take more out, and the horizon stays.
            let again = Filter::new(&built, 1 << 20, &mut decompressor, |_| true).unwrap();
            let again = again.build(&built, None).unwrap();
            prop_assert_eq!(again.records(1 << 20, &mut decompressor).unwrap(), expected);
            prop_assert_eq!(again.header.delete_horizon(), horizon);
        }

        #[test]
        fn garbage_is_an_error_and_never_a_panic(
            body in proptest::collection::vec(any::<u8>(), 0..200), count in -1i32..9, codec in 0u8..8,
        ) {
            let mut header = batch(&[Some(1)], Codec::None, false).header;
            header.record_count = count;
            header.attributes = Attributes(i16::from(codec));
            let bytes = [&header.encode()[..], &body].concat().into();
            let _ = Filter::new(&Batch { header, bytes }, 1 << 16, &mut Decompressor::new(), |_| true);
        }
    }

    #[test]
    fn an_emptied_batch_keeps_offsets_and_sequence_numbers_and_its_bytes_are_kafkas() {
        let batch = batch(&[Some(1), None, Some(3)], Codec::Gzip, false);
        let emptied = Batch::emptied(&batch.header);
        assert!(emptied.is_intact());
        assert_eq!(emptied.bytes.len(), HEADER_BYTES);
        assert_eq!(emptied.header.record_count, 0);
        assert_eq!((emptied.header.base_offset, emptied.header.last_offset()), (100, 102));
        assert_eq!((emptied.header.base_sequence, emptied.header.last_sequence()), (40, 42));
        assert_eq!((emptied.header.attributes.0, emptied.header.base_timestamp), (0x10, -1));
        assert_eq!(emptied.header.max_timestamp, batch.header.max_timestamp);
        assert!(emptied.records(0, &mut Decompressor::new()).unwrap().is_empty());
    }
}

//! Batches to produce, and what was fetched taken apart.

use super::world::WALL_START_MS;
use bytes::Bytes;
use records::{Batch, BatchBuilder, Codec, Decompressor, Record};

/// What a batch consists of.
pub(crate) struct BatchSpec<'a> {
    pub(crate) values: &'a [&'a str],
    pub(crate) timestamp: i64,
    pub(crate) key: Option<&'a str>,
    pub(crate) codec: Codec,
    /// Id, epoch and first sequence of an idempotent producer.
    pub(crate) producer: Option<(i64, i16, i32)>,
    pub(crate) is_transactional: bool,
}

impl Default for BatchSpec<'_> {
    fn default() -> Self {
        Self {
            values: &["value"],
            timestamp: WALL_START_MS,
            key: Some("key"),
            codec: Codec::None,
            producer: None,
            is_transactional: false,
        }
    }
}

/// A batch of these values, stamped with the time of the node's start.
pub(crate) fn batch(values: &[&str]) -> Bytes {
    batch_of(&BatchSpec { values, ..BatchSpec::default() })
}

/// A batch as specified; its records' timestamps count up by one.
pub(crate) fn batch_of(spec: &BatchSpec<'_>) -> Bytes {
    let mut builder = BatchBuilder::new().compression(spec.codec);
    if let Some((id, epoch, sequence)) = spec.producer {
        builder = builder.producer(id, epoch, sequence);
    }
    if spec.is_transactional {
        builder = builder.transactional();
    }
    for (index, value) in spec.values.iter().enumerate() {
        builder.push(spec.timestamp + index as i64, spec.key.map(str::as_bytes), Some(value.as_bytes()), &[]);
    }
    builder.build().unwrap().bytes
}

/// The offsets and values of fetched batches; each must be whole and intact.
pub(crate) fn values(mut bytes: Bytes) -> Vec<(i64, String)> {
    let mut all = Vec::new();
    let text = |record: Record| {
        (record.offset, String::from_utf8(record.value.unwrap_or_default().to_vec()).unwrap())
    };
    while let Some(batch) = Batch::split_off(&mut bytes) {
        assert!(batch.is_intact(), "a batch with a wrong checksum at offset {}", batch.header.base_offset);
        let records = batch.records(1 << 24, &mut Decompressor::default()).unwrap();
        all.extend(records.into_iter().map(text));
    }
    assert!(bytes.is_empty(), "{} bytes that are no batch", bytes.len());
    all
}

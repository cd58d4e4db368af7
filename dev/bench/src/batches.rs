//! Record batches and Produce requests as bytes, with as little work as possible: the load must not measure itself.
//! Called by `transactions`, `shares` and `compaction`.

use std::ops::Range;

use anyhow::Result;
use conformance::raw::{self, Bytes};
use stdx::varint;

use crate::peer::Api;

/// The version of [`produce_frame`].
pub const PRODUCE: Api = ("Produce", 12);

/// So many records with one value, as they stand in a batch.
pub fn payload(records: i32, value: &[u8], key: impl Fn(i32) -> Option<[u8; 8]>) -> Vec<u8> {
    let mut all = Vec::new();
    for number in 0..records {
        let mut record = vec![0];
        varint::write_zigzag_64(&mut record, 0);
        varint::write_zigzag_32(&mut record, number);
        match key(number) {
            Some(key) => {
                varint::write_zigzag_32(&mut record, 8);
                record.extend(key);
            }
            None => varint::write_zigzag_32(&mut record, -1),
        }
        varint::write_zigzag_32(&mut record, i32::try_from(value.len()).unwrap_or(i32::MAX));
        record.extend(value);
        varint::write_zigzag_32(&mut record, 0);
        varint::write_zigzag_32(&mut all, i32::try_from(record.len()).unwrap_or(i32::MAX));
        all.extend(record);
    }
    all
}

/// A batch of these records; of a transaction if a producer and its epoch are given, and then the first of that epoch.
pub fn batch(payload: &[u8], records: i32, producer: Option<(i64, i16)>) -> Result<Vec<u8>> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_millis();
    let now = i64::try_from(now)?;
    let (attributes, sequence) = if producer.is_some() { (0x10, 0) } else { (0, -1) };
    let (producer, epoch) = producer.unwrap_or((-1, -1));
    let checked =
        Bytes::default().i16(attributes).i32(records - 1).i64(now).i64(now).i64(producer).i16(epoch);
    let checked = checked.i32(sequence).i32(records).raw(payload).0;
    let head = Bytes::default().i64(0).i32(i32::try_from(checked.len() + 9)?).i32(-1).i8(2);
    Ok(head.raw(&stdx::crc32c(&checked).to_be_bytes()).raw(&checked).0)
}

/// A Produce request with the same batch for each partition.
pub fn produce_frame(
    transactional_id: Option<&str>,
    topic: &str,
    partitions: Range<i32>,
    batch: &[u8],
) -> Result<Vec<u8>> {
    let compact = |bytes: Option<&[u8]>| {
        let mut out = Vec::new();
        varint::write_unsigned(&mut out, bytes.map_or(0, |bytes| bytes.len() as u64 + 1));
        out.extend(bytes.unwrap_or_default());
        out
    };
    let count = u8::try_from(partitions.len() + 1)?;
    let mut body = Bytes::default().raw(&compact(transactional_id.map(str::as_bytes))).i16(-1).i32(30_000);
    body = body.raw(&[2]).raw(&compact(Some(topic.as_bytes()))).raw(&[count]);
    for partition in partitions {
        body = body.i32(partition).raw(&compact(Some(batch))).raw(&[0]);
    }
    Ok(raw::frame(0, PRODUCE.1, true, &body.raw(&[0, 0]).0))
}

#[cfg(test)]
mod tests {
    use conformance::compare::batches;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_batch_of_a_transaction_is_a_whole_one() {
        let bytes = batch(&payload(3, b"v", |_| None), 3, Some((9, 4))).unwrap();
        let fields = batches::read(&bytes)[0]["Data"].clone();
        let told = ["Count", "ProducerId", "ProducerEpoch", "BaseSequence"].map(|name| fields[name].clone());
        assert_eq!(told, [json!(3), json!(9), json!(4), json!(0)]);
    }
}

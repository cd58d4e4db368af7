use super::*;
use crate::{BatchBuilder, Header};
use bytes::Bytes;
use proptest::prelude::*;

fn heads(batch: &Batch) -> Result<Vec<RecordHead>, WalkError> {
    let mut heads = Vec::new();
    walk(batch, 1 << 20, &mut Decompressor::new(), |head| heads.push(head))?;
    Ok(heads)
}

proptest! {
    #[test]
    fn the_walk_sees_what_was_built(
        records in proptest::collection::vec(
            (any::<i64>(), proptest::option::of(0usize..40), proptest::option::of(0usize..30_000), 0usize..4), 0..20),
        codec in 0u8..5,
    ) {
        let mut builder = BatchBuilder::new().compression(Codec::from_id(codec).unwrap());
        let header = Header { key: Bytes::from_static(b"h"), value: None };
        for (timestamp, key, value, headers) in &records {
            let (key, value) = (key.map(|len| vec![1; len]), value.map(|len| vec![2; len]));
            builder.push(*timestamp, key.as_deref(), value.as_deref(), &vec![header.clone(); *headers]);
        }
        let batch = builder.build().unwrap();
        let base = batch.header.base_timestamp;
        let len = |len: &Option<usize>| len.map_or(-1, |len| len as i32);
        let expected: Vec<_> = records.iter().enumerate().map(|(index, (timestamp, key, value, _))| RecordHead {
            timestamp_delta: timestamp.wrapping_sub(base),
            offset_delta: index as i32,
            key_len: len(key),
            value_len: len(value),
        }).collect();
        prop_assert_eq!(heads(&batch).unwrap(), expected);
    }

    #[test]
    fn damaged_records_never_panic_and_agree_with_the_reader(
        body in proptest::collection::vec(any::<u8>(), 0..200), count in -1i32..20, codec in 0u8..8,
    ) {
        let mut batch = BatchBuilder::new().build().unwrap();
        batch.header.record_count = count;
        batch.header.attributes.0 = i16::from(codec);
        batch.bytes = [&batch.header.encode()[..], &body].concat().into();
        let walked = heads(&batch).map(|heads| heads.len());
        let read = batch.records(1 << 20, &mut Decompressor::new()).map(|records| records.len());
        prop_assert_eq!(walked.is_ok(), read.is_ok(), "{:?} {:?}", walked, read);
        if let (Ok(walked), Ok(read)) = (walked, read) {
            prop_assert_eq!(walked, read);
        }
    }
}

#[test]
fn bytes_behind_the_last_record_are_an_error_in_every_codec() {
    for codec in 0..5 {
        let mut builder = BatchBuilder::new().compression(Codec::from_id(codec).unwrap());
        builder.push(1, None, Some(b"v"), &[]);
        builder.push(1, None, Some(b"v"), &[]);
        let mut batch = builder.build().unwrap();
        assert_eq!(heads(&batch).unwrap().len(), 2);
        batch.header.record_count = 1;
        assert!(matches!(heads(&batch), Err(WalkError::Malformed(_))), "{codec}");
        batch.header.record_count = 3;
        assert!(heads(&batch).is_err(), "{codec}");
    }
}

#[test]
fn a_bomb_stops_at_the_limit() {
    let mut builder = BatchBuilder::new().compression(Codec::Zstd);
    builder.push(1, None, Some(&vec![0; 4 << 20]), &[]);
    let bomb = builder.build().unwrap();
    assert_eq!(heads(&bomb), Err(WalkError::Limit(1 << 20)));
}

use super::*;
use crate::Decompressor;
use bytes::Bytes;
use proptest::prelude::*;

fn bytes() -> impl Strategy<Value = Option<Bytes>> {
    proptest::option::of(proptest::collection::vec(any::<u8>(), 0..50).prop_map(Bytes::from))
}

fn records() -> impl Strategy<Value = Vec<Record>> {
    let header = (bytes(), bytes()).prop_map(|(key, value)| Header { key: key.unwrap_or_default(), value });
    let record = (0..i64::MAX, bytes(), bytes(), proptest::collection::vec(header, 0..3))
        .prop_map(|(timestamp, key, value, headers)| Record { offset: 0, timestamp, key, value, headers });
    proptest::collection::vec(record, 1..20)
}

proptest! {
    #[test]
    fn what_is_built_reads_back(mut records in records(), codec in 0u8..5, base in 0..1i64 << 60) {
        let mut builder = BatchBuilder::new()
            .base_offset(base)
            .leader_epoch(3)
            .compression(Codec::from_id(codec).unwrap())
            .producer(5, 6, 7)
            .transactional();
        for (record, offset) in records.iter_mut().zip(base..) {
            record.offset = offset;
            builder.push_record(record);
        }
        let batch = builder.build().unwrap();
        prop_assert!(batch.is_intact());
        prop_assert_eq!(&batch.records(1 << 20, &mut Decompressor::new()).unwrap(), &records);
        prop_assert_eq!(batch.header.max_timestamp, records.iter().map(|r| r.timestamp).max().unwrap());
        let mut bytes = Bytes::from([&batch.bytes[..], b"next"].concat());
        prop_assert_eq!(Batch::split_off(&mut bytes).unwrap(), batch);
        prop_assert_eq!(&bytes[..], b"next");
    }
}

#[test]
fn the_bytes_of_a_batch_are_kafkas() {
    let mut builder = BatchBuilder::new().base_offset(10).leader_epoch(2).producer(1000, 5, 40);
    builder.push(1_700_000_000_000, Some(b"k"), Some(b"v1"), &[]);
    let header = Header { key: Bytes::from_static(b"h"), value: Some(Bytes::from_static(b"x")) };
    builder.push(1_700_000_000_007, None, None, &[header]);
    let batch = builder.build().unwrap();
    let expected = [
        &10i64.to_be_bytes()[..],
        &70i32.to_be_bytes(),
        &2i32.to_be_bytes(),
        &[2],
        &batch.header.crc.to_be_bytes(),
        &0i16.to_be_bytes(),
        &1i32.to_be_bytes(),
        &1_700_000_000_000i64.to_be_bytes(),
        &1_700_000_000_007i64.to_be_bytes(),
        &1000i64.to_be_bytes(),
        &5i16.to_be_bytes(),
        &40i32.to_be_bytes(),
        &2i32.to_be_bytes(),
        &[18, 0, 0, 0, 2, b'k', 4, b'v', b'1', 0],
        &[20, 0, 14, 2, 1, 1, 2, 2, b'h', 2, b'x'],
    ]
    .concat();
    assert_eq!(batch.bytes, expected);
    assert_eq!(batch.header.bytes(), batch.bytes.len());
    assert_eq!((batch.header.last_offset(), batch.header.last_sequence()), (11, 41));
}

#[test]
fn the_brokers_time_goes_for_all_records() {
    let mut builder = BatchBuilder::new().log_append_time(99);
    builder.push(1, None, Some(b"v"), &[]);
    let batch = builder.build().unwrap();
    let records = batch.records(100, &mut Decompressor::new()).unwrap();
    assert_eq!((batch.header.max_timestamp, records[0].timestamp), (99, 99));
}

use super::*;
use crate::Header;

const NOW: Timestamp = 1_700_000_000_000;

fn rules() -> Rules {
    Rules {
        now: NOW,
        batch_bytes_max: 1 << 20,
        plain_bytes_max: 16 << 20,
        timestamp_type: TimestampType::CreateTime,
        timestamp_before_max_ms: i64::MAX,
        timestamp_after_max_ms: 3_600_000,
        keys_required: false,
        compression: None,
        zstd_allowed: true,
        from_client: true,
    }
}

fn builder(codec: Codec) -> BatchBuilder {
    let mut builder = BatchBuilder::new().compression(codec);
    builder.push(NOW, Some(b"k"), Some(b"v"), &[]);
    builder.push(NOW + 5, None, Some(b"w"), &[Header { key: Bytes::from_static(b"h"), value: None }]);
    builder
}

fn judge(bytes: impl Into<Bytes>, rules: &Rules) -> Result<Checked, Invalid> {
    check(bytes.into(), rules, &mut Decompressor::new())
}

/// A batch whose header was changed, with a right checksum.
fn with_header(change: impl FnOnce(&mut BatchHeader)) -> Bytes {
    let batch = builder(Codec::None).build().unwrap();
    let mut header = batch.header;
    change(&mut header);
    header.crc = header.checksum(batch.body());
    [&header.encode()[..], batch.body()].concat().into()
}

#[test]
fn a_right_batch_passes_and_is_not_copied() {
    for codec in 0..5 {
        let batch = builder(Codec::from_id(codec).unwrap()).build().unwrap();
        let checked = judge(batch.bytes.clone(), &rules()).unwrap();
        let stamped = checked.stamp(77, 4);
        assert_eq!((stamped.header.base_offset, stamped.header.leader_epoch), (77, 4));
        assert_eq!(stamped.body.as_ptr(), batch.body().as_ptr());
        let bytes = Bytes::from([&stamped.header.encode()[..], &stamped.body].concat());
        assert!(Batch::split_off(&mut bytes.clone()).unwrap().is_intact());
    }
}

#[test]
fn headers_that_lie_are_refused() {
    type Change = fn(&mut BatchHeader);
    let lies: [(&str, Change); 9] = [
        ("count", |h| h.record_count = 3),
        ("negative count", |h| h.record_count = -1),
        ("no records", |h| (h.record_count, h.last_offset_delta) = (0, -1)),
        ("delta", |h| h.last_offset_delta = 7),
        ("both", |h| (h.record_count, h.last_offset_delta) = (3, 2)),
        ("control", |h| h.attributes.0 |= 0x20),
        ("sequence", |h| (h.producer_id, h.base_sequence) = (1, -1)),
        ("transaction", |h| h.attributes.0 |= 0x10),
        ("offset", |h| h.base_offset = 1),
    ];
    for (lie, change) in lies {
        let error = judge(with_header(change), &rules()).unwrap_err();
        assert!(matches!(error, Invalid::Batch(_) | Invalid::Records(_)), "{lie}: {error:?}");
    }
    let codec = judge(with_header(|h| h.attributes.0 |= 0x07), &rules());
    assert_eq!(codec, Err(Invalid::UnknownCodec(7)));
}

#[test]
fn payloads_that_are_not_one_batch_are_refused() {
    let batch = builder(Codec::None).build().unwrap().bytes;
    let not_one = |bytes: Vec<u8>| matches!(judge(bytes, &rules()), Err(Invalid::Batch(_)));
    assert!(not_one(Vec::new()));
    assert!(not_one(batch[..batch.len() - 1].to_vec()));
    assert!(not_one(batch.repeat(2)));
    assert!(judge([&batch[..], b"x"].concat(), &rules()).is_ok());
    let mut magic = batch.to_vec();
    magic[16] = 1;
    assert!(not_one(magic));
    let mut short = batch.to_vec();
    short[8..12].copy_from_slice(&48i32.to_be_bytes());
    assert!(matches!(judge(short, &rules()), Err(Invalid::Corrupt(_))));
}

#[test]
fn every_flipped_bit_of_the_contents_is_found() {
    let batch = builder(Codec::None).build().unwrap().bytes;
    for bit in 17 * 8..batch.len() * 8 {
        let mut bytes = batch.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(matches!(judge(bytes, &rules()), Err(Invalid::Checksum { .. })), "bit {bit}");
    }
}

#[test]
fn records_that_break_a_rule_are_named() {
    let keys = Rules { keys_required: true, ..rules() };
    for codec in 0..5 {
        let batch = builder(Codec::from_id(codec).unwrap()).build().unwrap().bytes;
        let missing = Fault { batch_index: 1, why: FaultKind::KeyMissing };
        assert_eq!(judge(batch, &keys), Err(Invalid::EachRecord(vec![missing])));
    }
    let late = Rules { now: NOW + 10, timestamp_before_max_ms: 7, ..rules() };
    let early = Rules { now: NOW - 10, timestamp_after_max_ms: 12, ..rules() };
    for (rules, index, min, max) in [(late, 0, NOW + 3, NOW + 10 + 3_600_000), (early, 1, i64::MIN, NOW + 2)]
    {
        let Err(Invalid::EachRecord(faults)) = judge(builder(Codec::None).build().unwrap().bytes, &rules)
        else {
            panic!("accepted");
        };
        let timestamp = NOW + 5 * i64::from(index);
        let min = if min == i64::MIN { rules.now.saturating_sub(i64::MAX) } else { min };
        let why = FaultKind::TimestampOutOfRange { timestamp, min, max };
        assert_eq!(faults, [Fault { batch_index: index, why }]);
        assert!(Invalid::EachRecord(faults).is_timestamp());
    }
}

#[test]
fn of_very_many_faults_few_are_told_and_the_timestamps_are_not_forgotten() {
    let mut many = BatchBuilder::new().compression(Codec::Zstd);
    (0..100_000).for_each(|_| many.push(NOW, None, Some(b""), &[]));
    many.push(NOW + 7_200_000, Some(b"k"), None, &[]);
    let batch = many.build().unwrap().bytes;
    let keys = Rules { keys_required: true, ..rules() };
    let Err(Invalid::EachRecord(faults)) = judge(batch.clone(), &keys) else { panic!("accepted") };
    assert!(faults.len() <= batch.len() / 16 + 1, "{} of {} bytes", faults.len(), batch.len());
    assert_eq!(faults.last().map(|fault| fault.batch_index), Some(100_000));
    assert!(Invalid::EachRecord(faults).is_timestamp());
    let mut plain = BatchBuilder::new();
    (0..5000).for_each(|_| plain.push(NOW, None, Some(b"0123456789"), &[]));
    let Err(Invalid::EachRecord(faults)) = judge(plain.build().unwrap().bytes, &keys) else {
        panic!("accepted")
    };
    assert_eq!(faults.len(), 1000);
}

#[test]
fn a_batch_that_must_be_written_anew_may_not_stand_for_much_more_than_a_large_batch() {
    let limit = 8 << 20;
    let batch = |values: usize, deltas_right| {
        let mut builder = BatchBuilder::new().compression(Codec::Gzip);
        (0..values).for_each(|_| builder.push(NOW, Some(b"k"), Some(&[7; 10_000]), &[]));
        let batch = builder.build().unwrap();
        if deltas_right {
            return batch.bytes;
        }
        let mut plain = Decompressor::new().decompress(Codec::Gzip, batch.body(), limit * 2).unwrap();
        // Behind the length of three bytes, the attributes and the timestamp delta.
        assert_eq!(std::mem::replace(&mut plain[5], 8), 0);
        crate::builder::assemble(batch.header, Codec::Gzip.into(), &plain).unwrap().bytes
    };
    let too_large = Err(Invalid::TooLarge { bytes: limit + 1, bytes_max: limit });
    let recoded = Rules { compression: Some(Codec::Zstd.into()), ..rules() };
    assert_eq!(judge(batch(900, true), &recoded), too_large);
    assert_eq!(judge(batch(900, false), &recoded), too_large);
    judge(batch(800, true), &recoded).unwrap();
    judge(batch(800, false), &recoded).unwrap();
    assert!(matches!(judge(batch(800, false), &rules()), Err(Invalid::Unreadable(_))));
    judge(batch(900, true), &rules()).unwrap();
    let tiny = Rules { batch_bytes_max: 2000, ..recoded };
    judge(batch(100, true), &tiny).unwrap();
}

#[test]
fn limits_of_size_and_codec_hold() {
    let batch = builder(Codec::Zstd).build().unwrap().bytes;
    let bytes = batch.len();
    let small = Rules { batch_bytes_max: bytes - 1, ..rules() };
    assert_eq!(judge(batch.clone(), &small), Err(Invalid::TooLarge { bytes, bytes_max: bytes - 1 }));
    let old = Rules { zstd_allowed: false, ..rules() };
    assert_eq!(judge(batch.clone(), &old), Err(Invalid::UnsupportedCodec(4)));
    let bomb = Rules { plain_bytes_max: 10, ..rules() };
    assert_eq!(judge(batch, &bomb), Err(Invalid::Records(WalkError::Limit(10))));
}

#[test]
fn the_brokers_time_is_set_with_a_new_checksum() {
    let topic = Rules { timestamp_type: TimestampType::LogAppendTime, now: NOW + 99, ..rules() };
    let stamped = judge(builder(Codec::Gzip).build().unwrap().bytes, &topic).unwrap().stamp(0, 0);
    assert_eq!(stamped.header.max_timestamp, NOW + 99);
    assert_eq!(stamped.header.attributes.timestamp_type(), TimestampType::LogAppendTime);
    assert_eq!(stamped.header.crc, stamped.header.checksum(&stamped.body));
    let by_producer = with_header(|h| h.attributes.0 |= 0x08);
    let Err(Invalid::EachRecord(faults)) = judge(by_producer, &topic) else { panic!("accepted") };
    assert_eq!(faults[0].why, FaultKind::LogAppendTimeSet);
}

#[test]
fn a_wrong_max_timestamp_is_corrected() {
    let checked = judge(with_header(|h| h.max_timestamp = 1), &rules()).unwrap();
    assert_eq!(checked.header().max_timestamp, NOW + 5);
    assert_eq!(checked.header().crc, checked.header().checksum(checked.batch().body()));
}

#[test]
fn a_topic_with_a_codec_of_its_own_has_batches_compressed_anew() {
    for (from, to) in [(Codec::None, Codec::Zstd), (Codec::Gzip, Codec::Lz4), (Codec::Snappy, Codec::None)] {
        let topic = Rules { compression: Some(to.into()), ..rules() };
        let batch = builder(from).producer(9, 1, 3).build().unwrap();
        let checked = judge(batch.bytes.clone(), &topic).unwrap();
        assert_eq!(checked.header().attributes.codec(), Some(to));
        assert_eq!((checked.header().producer_id, checked.header().base_sequence), (9, 3));
        let records = |batch: &Batch| batch.records(1 << 20, &mut Decompressor::new()).unwrap();
        let stamped = checked.batch().clone();
        assert!(stamped.is_intact());
        assert_eq!(records(&stamped), records(&batch));
    }
}

#[test]
fn wrong_offset_deltas_are_corrected() {
    let batch = builder(Codec::None).build().unwrap();
    let mut body = batch.body().to_vec();
    assert_eq!(body[3], 0, "the offset delta of the first record");
    body[3] = 8;
    let mut header = batch.header;
    header.crc = header.checksum(&body);
    let checked = judge([&header.encode()[..], &body].concat(), &rules()).unwrap();
    let records = checked.batch().records(100, &mut Decompressor::new()).unwrap();
    assert_eq!(records.iter().map(|r| r.offset).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(records.iter().map(|r| r.timestamp).collect::<Vec<_>>(), [NOW, NOW + 5]);
}

/// What is left of a budget after a check, if it was enough.
fn left(bytes: &Bytes, rules: &Rules, budget: u64) -> Option<u64> {
    let mut budget = Budget::new(budget);
    let unchecked = Unchecked::new(bytes.clone(), true).unwrap();
    match unchecked.check_within(rules, &mut budget, &mut Decompressor::new()) {
        Ok(checked) => {
            checked.unwrap();
            Some(budget.left())
        }
        Err(unchecked) => {
            assert_eq!(budget.left(), 0, "whoever asks again must not begin again");
            assert_eq!(unchecked.batch.bytes, bytes);
            None
        }
    }
}

#[test]
fn a_check_takes_what_it_reads_from_its_budget_and_stops_where_that_ends() {
    let value = vec![0; 100_000];
    for codec in 0..5 {
        let codec = Codec::from_id(codec).unwrap();
        let mut builder = BatchBuilder::new().compression(codec);
        builder.push(NOW, None, Some(&value), &[]);
        let bytes = builder.build().unwrap().bytes;
        let plain = if codec == Codec::None { 0 } else { 100_011 };
        let cost = bytes.len() as u64 + plain;
        assert_eq!(left(&bytes, &rules(), 1 << 20), Some((1 << 20) - cost), "{codec}");
        assert_eq!(left(&bytes, &rules(), cost), Some(0), "{codec}");
        assert_eq!(left(&bytes, &rules(), cost - 1), None, "{codec}");
        assert_eq!(left(&bytes, &rules(), 10), None, "{codec}");
    }
}

#[test]
fn writing_a_batch_anew_costs_more_than_reading_it() {
    let bytes = builder(Codec::None).build().unwrap().bytes;
    let gzip = Rules { compression: Some(Codec::Gzip.into()), ..rules() };
    let (len, body) = (bytes.len() as u64, (bytes.len() - HEADER_BYTES) as u64);
    assert_eq!(left(&bytes, &rules(), 1000), Some(1000 - len));
    assert_eq!(left(&bytes, &gzip, 1000), Some(1000 - len - 8 * body));
    assert_eq!(left(&bytes, &gzip, len + 8 * body - 1), None);
}

#[test]
fn a_batch_that_is_refused_has_cost_what_was_read_of_it() {
    let mut builder = BatchBuilder::new().compression(Codec::Zstd);
    builder.push(NOW, None, Some(&[0; 100_000]), &[]);
    let bytes = builder.build().unwrap().bytes;
    let keyed = Rules { keys_required: true, ..rules() };
    let mut budget = Budget::new(1 << 20);
    let unchecked = Unchecked::new(bytes, true).unwrap();
    let refused = unchecked.check_within(&keyed, &mut budget, &mut Decompressor::new());
    assert!(matches!(refused, Ok(Err(Invalid::EachRecord(_)))));
    assert!(budget.left() < (1 << 20) - 100_000);
}

#[test]
fn what_will_hardly_fit_into_the_budget_is_not_begun() {
    let mut random = 7u64;
    let mut noise = || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (random >> 56) as u8
    };
    let value: Vec<u8> = (0..10_000).map(|_| noise()).collect();
    let batch = |codec| {
        let mut builder = BatchBuilder::new().compression(codec);
        builder.push(NOW, None, Some(&value), &[]);
        builder.build().unwrap().bytes
    };
    // Both are about as long, and so are the records that they stand for.
    assert!(left(&batch(Codec::None), &rules(), 40_000).is_some());
    assert_eq!(left(&batch(Codec::Zstd), &rules(), 40_000), None);
    assert!(left(&batch(Codec::Zstd), &rules(), 100_000).is_some());
}

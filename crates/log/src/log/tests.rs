use crate::{fixture::*, *};
use records::TimestampType;

fn bases(fixture: &Fixture) -> Vec<i64> {
    fixture.log.segments.iter().map(|segment| segment.base_offset).collect()
}

fn roomy(change: impl FnOnce(&mut LogConfig)) -> Fixture {
    let mut config = config(Durability::Fsync);
    config.segment_bytes = 1 << 20;
    change(&mut config);
    Fixture::new(config)
}

#[test]
fn a_segment_is_closed_when_the_next_batch_does_not_fit() {
    let size = batch(NOW, 1, 100).build().unwrap().bytes.len() as u32;
    let mut fixture = roomy(|config| config.segment_bytes = 2 * size);
    for _ in 0..5 {
        fixture.append(batch(NOW, 1, 100));
    }
    assert_eq!(bases(&fixture), [0, 2, 4]);
    let large = fixture.try_append(batch(NOW, 9, 100));
    assert!(matches!(large, Err(AppendError::LargerThanSegment { .. })));
    assert_eq!(fixture.log.end_offset(), 5);
}

#[test]
fn a_segment_is_closed_when_the_next_batch_is_too_much_younger_than_the_first() {
    let mut fixture = roomy(|config| (config.segment_ms, config.segment_jitter_ms) = (1000, 100));
    for time in [0, 900, 901, 1801, 1802] {
        fixture.append(batch(NOW + time, 1, 10));
    }
    assert_eq!(bases(&fixture), [0, 2, 4]);
}

#[test]
fn a_segment_is_closed_when_an_index_is_full() {
    let mut fixture = roomy(|config| (config.index_interval_bytes, config.index_bytes_max) = (0, 48));
    for time in 0..12 {
        fixture.append(batch(NOW + time, 1, 10));
    }
    // Four entries of 12 bytes fit, and the last place is kept for the end of the segment.
    assert_eq!(bases(&fixture), [0, 4, 8]);
    assert_eq!(fixture.contents(0, names::TIME_INDEX).len(), 36);
}

#[test]
fn the_bytes_of_the_indexes_are_kafkas() {
    let mut fixture = roomy(|config| config.index_interval_bytes = 100);
    let sizes: Vec<_> =
        [3, 1, 2].map(|count| batch(NOW, count, 100).build().unwrap().bytes.len() as u32).into();
    fixture.append(batch(NOW + 5, 3, 100));
    fixture.append(batch(NOW, 1, 100));
    fixture.append(batch(NOW + 20, 2, 100));
    let entry = |a: u32, b: u32| [a.to_be_bytes(), b.to_be_bytes()].concat();
    let index = [entry(3, sizes[0]), entry(5, sizes[0] + sizes[1])].concat();
    assert_eq!(fixture.contents(0, names::INDEX), index);
    let time = |time: i64, delta: u32| [&time.to_be_bytes()[..], &delta.to_be_bytes()].concat();
    assert_eq!(fixture.contents(0, names::TIME_INDEX), [time(NOW + 7, 2), time(NOW + 21, 5)].concat());
}

#[test]
fn the_brokers_time_is_told_where_the_topic_uses_it() {
    let mut fixture = roomy(|config| config.timestamp_type = TimestampType::LogAppendTime);
    fixture.now = NOW + 77;
    assert_eq!(fixture.append(batch(NOW, 1, 10)).log_append_time, NOW + 77);
    let mut create = roomy(|_| {});
    assert_eq!(create.append(batch(NOW, 1, 10)).log_append_time, -1);
}

#[test]
fn a_new_leader_epoch_is_noted_with_its_first_batch() {
    let mut fixture = roomy(|_| {});
    for epoch in [3, 3, 5] {
        let checked = records::Checked::trusted(batch(NOW, 2, 10).build().unwrap());
        let mut effects = Vec::new();
        fixture.log.append(NOW, epoch, (Origin::Client, None), checked, &mut effects).unwrap();
        fixture.perform(effects);
    }
    let file = fixture.disk.contents(&dir().join(names::LEADER_EPOCHS)).unwrap();
    assert_eq!(file, b"0\n2\n3 0\n5 4\n");
    assert_eq!(fixture.log.epochs().end_offset_for(3, fixture.log.end_offset()), (3, 4));
    let epochs: Vec<_> = fixture.batches(1).iter().map(|batch| batch.header.leader_epoch).collect();
    assert_eq!(epochs, [3, 3, 5]);
}

#[test]
fn page_cache_logs_are_synced_by_count_or_by_time() {
    let mut fixture =
        Fixture::new(LogConfig { flush_messages: 3, flush_ms: 500, ..config(Durability::PageCache) });
    let mut effects = Vec::new();
    fixture.decide(Origin::Client, batch(NOW, 2, 1).build().unwrap(), &mut effects).unwrap();
    assert!(!fixture.log.must_sync(NOW + 499) && fixture.log.must_sync(NOW + 500));
    fixture.decide(Origin::Client, batch(NOW, 1, 1).build().unwrap(), &mut effects).unwrap();
    assert!(fixture.log.must_sync(NOW));
    fixture.perform(effects);
    assert_eq!(fixture.log.recovery_point(), 3);
    assert!(!fixture.log.must_sync(i64::MAX));
}

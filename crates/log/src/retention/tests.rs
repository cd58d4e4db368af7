use crate::{fixture::*, *};

/// Four segments of ten records each, a second apart, the last one active.
fn fixture(change: impl FnOnce(&mut LogConfig)) -> Fixture {
    let mut config = config(Durability::Fsync);
    config.segment_bytes = 1 << 20;
    change(&mut config);
    let mut fixture = Fixture::new(config);
    for segment in 0..4 {
        for index in 0..10 {
            fixture.append(batch(NOW + (segment * 10 + index) * 1000, 1, 100));
        }
        if segment < 3 {
            let mut effects = Vec::new();
            fixture.log.roll(NOW, &mut effects);
            fixture.perform(effects);
        }
    }
    fixture
}

fn retain(fixture: &mut Fixture, now: i64, high_watermark: i64) -> (usize, i64, usize) {
    let mut effects = Vec::new();
    let deleted = fixture.log.retain(now, high_watermark, &mut effects);
    fixture.perform(effects);
    (deleted, fixture.log.start_offset(), fixture.log.segment_count())
}

#[test]
fn segments_whose_youngest_record_is_too_old_go() {
    let mut fixture = fixture(|config| config.retention_ms = 5000);
    assert_eq!(retain(&mut fixture, NOW + 14_000, 40), (0, 0, 4));
    assert_eq!(retain(&mut fixture, NOW + 14_001, 40), (1, 10, 3));
    assert_eq!(retain(&mut fixture, NOW + 34_001, 40), (2, 30, 1));
    assert_eq!(retain(&mut fixture, NOW + 99_999, 40), (1, 40, 1), "also the active one; a new one begins");
    assert_eq!(retain(&mut fixture, NOW + 99_999, 40), (0, 40, 1), "an empty one stays");
    assert_eq!(fixture.append(batch(NOW, 1, 1)).base_offset, 40);
}

#[test]
fn nothing_beyond_the_high_watermark_goes() {
    let mut fixture = fixture(|config| config.retention_ms = 5000);
    assert_eq!(retain(&mut fixture, NOW + 99_999, 19), (1, 10, 3));
}

#[test]
fn the_oldest_segments_go_while_the_rest_is_large_enough() {
    let mut fixture = fixture(|_| {});
    let size = fixture.log.size_bytes();
    let mut config = fixture.log.config().clone();
    config.retention_bytes = size as i64 / 2 + 1;
    fixture.log.configure(config.clone().into());
    assert_eq!(retain(&mut fixture, NOW, 40), (1, 10, 3));
    config.cleanup_delete = false;
    config.retention_bytes = 0;
    fixture.log.configure(config.into());
    assert_eq!(retain(&mut fixture, NOW, 40), (0, 10, 3), "a topic that is only compacted keeps them");
}

#[test]
fn deleted_records_cannot_be_read_and_their_segments_go() {
    let mut fixture = fixture(|_| {});
    let mut effects = Vec::new();
    let refused = fixture.log.delete_records_before(30, 25, &mut effects);
    assert_eq!(refused, Err(BeyondHighWatermark { offset: 30, high_watermark: 25 }));
    assert_eq!(fixture.log.delete_records_before(25, 40, &mut effects), Ok(25));
    assert_eq!(fixture.log.delete_records_before(3, 40, &mut effects), Ok(25));
    assert!(matches!(
        fixture.log.read(24, 40, 1, true),
        ReadPlan::OutOfRange { start_offset: 25, end_offset: 40 }
    ));
    fixture.perform(effects);
    assert_eq!(retain(&mut fixture, NOW, 40), (2, 25, 2));
    assert_eq!(fixture.read(25, 1).1, 26);
    assert_eq!(fixture.log.epochs().entries(), [EpochEntry { epoch: 0, start_offset: 25 }]);
}

#[test]
fn files_of_deleted_segments_are_renamed_first_and_removed_after_the_delay() {
    let mut fixture = fixture(|config| config.retention_ms = 5000);
    fixture.forget_tail();
    let plan = fixture.log.read(3, 40, 100, true);
    let ReadPlan::File(plan) = plan else { panic!("in memory") };
    let before = plan.locate(&fixture.disk).unwrap();
    retain(&mut fixture, NOW + 14_001, 40);
    let renamed = |fixture: &Fixture| {
        fixture.disk.paths().iter().filter(|path| path.to_str().unwrap().ends_with(".deleted")).count()
    };
    assert_eq!((fixture.contents(0, names::LOG).len(), renamed(&fixture)), (0, 3));
    for (now, left) in [(NOW + 14_001 + 59_999, 3), (NOW + 14_001 + 60_000, 0)] {
        let mut effects = Vec::new();
        fixture.log.purge(now, &mut effects);
        fixture.perform(effects);
        assert_eq!(renamed(&fixture), left);
    }
    assert!(testing::bytes_of(&before.parts).len() > 61, "who has it open still reads it");
    let reopened = reopen(fixture.close(), config(Durability::Fsync), true, 40).unwrap();
    assert_eq!(reopened.log.start_offset(), 10);
}

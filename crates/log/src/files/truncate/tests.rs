use crate::{fixture::*, testing::MemoryDisk, *};
use proptest::prelude::*;
use std::sync::atomic::Ordering;

use Durability::{Fsync, PageCache};

/// A log of idempotent and plain batches in several segments, of several epochs.
fn written(durability: Durability, count: i32) -> Fixture {
    let mut fixture = Fixture::new(config(durability));
    for index in 0..count {
        fixture.epoch = index / 7;
        let builder = batch(NOW + i64::from(index), 2, 150).compression(codec(index as usize));
        fixture.append(if index % 2 == 0 { builder } else { builder.producer(9, 0, index / 2 * 2) });
    }
    fixture
}

fn options_of(fixture: &Fixture) -> OpenOptions {
    OpenOptions {
        start_offset: fixture.log.start_offset(),
        ..options(fixture.log.config().clone(), false, fixture.log.end_offset())
    }
}

/// As a host does: everything is on the disk first.
fn synced(fixture: &mut Fixture) {
    let performed = fixture.files.perform(&fixture.disk, &[], true).unwrap();
    fixture.log.flushed(NOW, &performed);
}

fn truncate(mut fixture: Fixture, offset: i64) -> Fixture {
    synced(&mut fixture);
    let options = options_of(&fixture);
    let Fixture { disk, files, now, epoch, .. } = fixture;
    let Opened { log, files, recovery } = files.truncate(&disk, offset, options).unwrap();
    Fixture { disk, log, files, recovery, now, epoch }
}

fn names(disk: &MemoryDisk) -> Vec<String> {
    let name = |path: &std::path::PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    disk.paths().iter().map(name).collect()
}

#[test]
fn a_log_that_is_cut_is_the_log_that_was_never_longer() {
    for count in [3, 17, 40] {
        for keep in 0..count {
            for durability in [Fsync, PageCache] {
                let cut = truncate(written(durability, count), i64::from(keep) * 2);
                let short = written(durability, keep);
                assert_eq!(cut.log.end_offset(), i64::from(keep) * 2);
                assert_eq!(cut.log.flushed_offset(), cut.log.end_offset());
                assert_eq!(cut.batches(700), short.batches(700), "{keep} of {count}");
                assert_eq!(cut.log.epochs(), short.log.epochs());
                let sequences = |log: &Log| -> Vec<_> {
                    log.producers().iter().map(|(id, producer)| (id, producer.last_sequence())).collect()
                };
                assert_eq!(sequences(&cut.log), sequences(&short.log), "{keep} of {count}");
            }
        }
    }
}

#[test]
fn a_log_that_was_cut_goes_on_and_opens_again_in_every_way() {
    for keep in [0, 1, 9, 20, 33] {
        let grown = || {
            let mut cut = truncate(written(Fsync, 34), keep * 2);
            cut.epoch = 9;
            for index in 0..12 {
                cut.append(batch(NOW + 1000 + index, 2, 200));
            }
            cut
        };
        let expected = grown().batches(700);
        let point = grown().log.recovery_point();
        let config = || config(Fsync);
        for (disk, clean, point) in [
            (grown().close(), true, point),
            (grown().disk.after_kill(), false, point),
            (grown().disk.after_kill(), false, 0),
            (grown().disk.after_power_cut(), false, keep * 2),
        ] {
            let again = reopen(disk, config(), clean, point).unwrap();
            assert_eq!(again.batches(700), expected, "{keep}, {clean}, {point}");
            assert_eq!(again.log.epochs(), grown().log.epochs());
        }
    }
}

#[test]
fn an_offset_inside_of_a_batch_takes_the_batch_along() {
    let cut = truncate(written(Fsync, 10), 13);
    assert_eq!(cut.log.end_offset(), 12);
    let all = truncate(written(Fsync, 10), 999);
    assert_eq!(all.log.end_offset(), 20);
}

#[test]
fn nothing_but_the_segments_that_are_left_stays_in_the_directory() {
    let long = written(Fsync, 30);
    let first = long.log.first_segment();
    let cut = truncate(long, 2);
    let left = names(&cut.disk);
    let segment = |kind: &str| names::file_name(first, kind);
    assert_eq!(
        left,
        [
            &segment("index"),
            &segment("log"),
            &segment("timeindex"),
            "leader-epoch-checkpoint",
            "partition.metadata"
        ]
    );
}

#[test]
fn a_snapshot_of_what_is_cut_off_is_gone_for_good_before_the_cut() {
    let mut closed = reopen(written(Fsync, 4).close(), config(Fsync), true, 8).unwrap();
    assert!(names(&closed.disk).contains(&names::file_name(8, "snapshot")));
    synced(&mut closed);
    closed.disk.switches().journal.lock().unwrap().clear();
    let cut = truncate(closed, 4);
    assert!(!names(&cut.disk).contains(&names::file_name(8, "snapshot")));
    let journal = cut.disk.switches().journal.lock().unwrap().clone();
    let place = |what: &str| journal.iter().position(|line| line == what);
    assert!(place("sync dir topic-0").is_some());
    assert!(place("sync dir topic-0") < place("sync 00000000000000000000.log"), "{journal:?}");
}

#[test]
fn a_log_that_lies_behind_starts_over_where_its_leader_begins() {
    let mut old = written(Fsync, 30);
    synced(&mut old);
    let options = OpenOptions { start_offset: 500, ..options_of(&old) };
    let Fixture { disk, files, .. } = old;
    let Opened { log, files, .. } = files.start_over(&disk, options).unwrap();
    let mut anew = Fixture { disk, log, files, recovery: Recovery::default(), now: NOW, epoch: 11 };
    assert_eq!((anew.log.start_offset(), anew.log.end_offset()), (500, 500));
    assert_eq!((anew.log.epochs().entries(), anew.log.producers().iter().count()), (&[][..], 0));
    anew.append(batch(NOW, 3, 10));
    let again = reopen(anew.close(), config(Fsync), true, 503).unwrap();
    assert_eq!((again.log.start_offset(), again.log.end_offset()), (500, 503));
    assert_eq!(again.log.epochs().entries(), [EpochEntry { epoch: 11, start_offset: 500 }]);
}

#[test]
fn a_log_that_nobody_has_written_to_can_be_cut_and_start_over() {
    let cut = truncate(Fixture::new(config(Fsync)), 0);
    assert_eq!((cut.log.end_offset(), cut.disk.paths().len()), (0, 0));
    let options = OpenOptions { start_offset: 7, ..options_of(&cut) };
    let Opened { log, .. } = cut.files.start_over(&cut.disk, options).unwrap();
    assert_eq!((log.start_offset(), log.end_offset()), (7, 7));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// The checkpoint has the recovery point that a host writes before; the process dies at any change.
    #[test]
    fn a_crash_at_any_moment_of_a_cut_leaves_a_first_part_of_the_log(
        count in 1i32..40,
        percent in 0i64..=100,
        dead_after in 1usize..40,
        start_over in any::<bool>(),
        power in any::<bool>(),
        mut chance in any::<u64>(),
    ) {
        let mut long = written(Fsync, count);
        synced(&mut long);
        let all = long.batches(900);
        let offset = i64::from(count) * 2 * percent / 100;
        long.disk.switches().dead_after.store(dead_after, Ordering::Relaxed);
        let options = options_of(&long);
        let kept = if start_over { 0 } else { offset };
        let point = if start_over { 0 } else { long.log.recovery_point_for_cut(offset) };
        let Fixture { disk, files, .. } = long;
        let ended = match start_over {
            true => files.start_over(&disk, OpenOptions { start_offset: 1000, ..options }),
            false => files.truncate(&disk, offset, options),
        };
        let is_whole = ended.is_ok();
        let disk = match power {
            true => disk.after_torn_power_cut(|below| {
                chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (chance >> 33) as usize % below
            }),
            false => disk.after_kill(),
        };
        let again = reopen(disk, config(Fsync), false, point).unwrap();
        let end = again.log.end_offset();
        if start_over && end == 1000 {
            prop_assert_eq!(again.log.start_offset(), 1000);
            return Ok(());
        }
        prop_assert!(!(is_whole && start_over), "it has started over");
        prop_assert!(end + 1 >= kept, "{} is left of {}", end, kept);
        prop_assert!(!is_whole || end <= kept);
        let left = again.batches(900);
        prop_assert_eq!(&left[..], &all[..left.len()]);
    }
}

#[test]
fn a_cut_that_finds_less_than_was_written_tells_of_damage() {
    let log = path(0, names::LOG);
    // The end is lost at a batch or within one; what is written behind it makes a hole, or nothing is.
    for (lost, written_behind) in [(4, true), (4, false), (5, true), (5, false)] {
        for offset in [19, 12] {
            let mut config = config(Fsync);
            config.segment_bytes = 1 << 20;
            let mut fixture = Fixture::new(config);
            let mut begins = Vec::new();
            for _ in 0..10 {
                begins.push(fixture.disk.contents(&log).map_or(0, |bytes| bytes.len()));
                fixture.append(batch(NOW, 2, 150));
            }
            synced(&mut fixture);
            let mut bytes = fixture.disk.contents(&log).unwrap();
            bytes.truncate(begins[lost] + if lost == 5 { 70 } else { 0 });
            fixture.disk.put(&log, bytes);
            if written_behind {
                fixture.append(batch(NOW, 2, 150));
                synced(&mut fixture);
            }
            let options = options_of(&fixture);
            let Fixture { disk, files, .. } = fixture;
            let Err(error) = files.truncate(&disk, offset, options) else {
                panic!("{lost}, {written_behind}, {offset}: the loss is not noticed")
            };
            let is_damage = match &error {
                OpenError::Damaged(_) => true,
                OpenError::Io(error) => error.kind() == std::io::ErrorKind::InvalidData,
                OpenError::Foreign { .. } => false,
            };
            assert!(is_damage, "{lost}, {written_behind}, {offset}: {error}");
        }
    }
}

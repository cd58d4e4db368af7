//! Lives of a compacted log against a list of all that was appended: what a reader of it ends up with is what the list says.

mod crashes;
mod life;
mod lives;

use crate::{fixture::*, names, *};
use life::{Life, RETENTION_MS};

fn offsets(life: &Life) -> Vec<i64> {
    life.records().iter().map(|record| record.offset).collect()
}

#[test]
fn of_each_key_the_last_record_stays_at_its_offset() {
    let mut life = Life::new();
    for key in [1, 2, 1, 3, 2, 1] {
        life.append(&[(key, Some(100))]);
    }
    life.roll();
    life.append(&[(1, Some(1))]);
    let report = life.clean_all().unwrap();
    assert_eq!(offsets(&life), [3, 4, 5, 6], "the active segment is left alone");
    assert_eq!((report.clean_upto, report.keys), (6, 3));
    assert!(report.bytes_after < report.bytes_before);
    life.check();
}

#[test]
fn a_tombstone_stays_until_its_horizon_and_then_goes_with_what_it_hid() {
    let mut life = Life::new();
    life.append(&[(1, Some(10)), (2, Some(10))]);
    life.append(&[(1, None)]);
    life.roll();
    life.append(&[(3, Some(1))]);
    life.roll();
    life.clean_all().unwrap();
    assert_eq!(offsets(&life), [1, 2, 3]);
    life.fixture.now += RETENTION_MS - 1;
    life.append(&[(4, Some(1))]);
    life.roll();
    life.clean_all().unwrap();
    assert_eq!(offsets(&life), [1, 2, 3, 4], "readers have had too little time");
    life.fixture.now += 1;
    life.append(&[(5, Some(1))]);
    life.roll();
    life.clean_all().unwrap();
    assert_eq!(offsets(&life), [1, 3, 4, 5]);
    life.check();
}

#[test]
fn what_is_said_of_a_mailbox_stays_until_its_key_has_something_behind_it() {
    let mut life = Life::new();
    life.say_of(1);
    life.append(&[(1, Some(10))]);
    for key in [1, 1, 2] {
        life.say_of(key);
    }
    life.roll();
    life.append(&[(9, Some(1))]);
    life.clean_all().unwrap();
    assert_eq!((life.control_offsets(), offsets(&life)), (vec![3, 4], vec![1, 5]));
    life.append(&[(1, None)]);
    life.roll();
    life.append(&[(9, Some(1))]);
    life.clean_all().unwrap();
    assert_eq!(
        life.control_offsets(),
        [4],
        "a mailbox that is deleted must not be back without the tombstone"
    );
    life.check();
}

#[test]
fn what_was_aborted_goes_and_its_marker_only_when_nothing_is_left_and_its_horizon_is_over() {
    let mut life = Life::new();
    life.begin(7);
    life.append_as(7, &[(1, Some(10)), (2, Some(10))]);
    life.end(7, false);
    life.append(&[(1, Some(3))]);
    life.begin(7);
    life.append_as(7, &[(3, Some(10))]);
    life.end(7, true);
    life.roll();
    life.clean_all().unwrap();
    // 0 and 1 were aborted, 2 is their marker, 5 the marker of what stays.
    assert_eq!(offsets(&life), [3, 4]);
    let mut pass = |after_ms: i64| {
        life.fixture.now += after_ms;
        life.append(&[(9, Some(1))]);
        life.roll();
        life.clean_all().unwrap();
        life.check();
        (life.control_offsets(), life.fixture.log.aborted_transactions(0, 100).len())
    };
    // Only a pass that sees nothing more of a transaction says until when its marker stays.
    assert_eq!(pass(RETENTION_MS), (vec![2, 5], 0));
    assert_eq!(pass(RETENTION_MS - 1), (vec![2, 5], 0));
    assert_eq!(pass(1), (vec![5], 0));
    life.check();
}

#[test]
fn the_last_batch_of_a_producer_stays_empty_and_says_where_it_is() {
    let mut life = Life::new();
    life.append_as(1, &[(1, Some(10)), (2, Some(10))]);
    life.append(&[(1, Some(3)), (2, Some(3))]);
    life.roll();
    life.clean_all().unwrap();
    assert_eq!(offsets(&life), [2, 3]);
    let first = life.fixture.batches(10_000).remove(0);
    assert_eq!((first.header.record_count, first.header.last_sequence()), (0, 1));
    life.forget_snapshots();
    life.reopen_after_kill();
    assert_eq!(life.fixture.log.producers().get(1).unwrap().last_sequence(), 1);
    life.append_as(1, &[(5, Some(10))]);
    life.check();
}

#[test]
fn how_a_producer_began_is_known_after_its_first_batches_are_gone() {
    let mut life = Life::new();
    life.append_as(1, &[(1, Some(10))]);
    life.append_as(1, &[(1, Some(10))]);
    life.append_as(1, &[(2, Some(10)), (1, Some(10))]);
    life.roll();
    life.clean_all().unwrap();
    assert_eq!(offsets(&life), [2, 3]);
    assert_eq!(life.beginners(), [1]);
    // A crash, after which all is read: what is there of it does not begin with 0.
    life.reopen_forgetting_recovery_point();
    assert_eq!(life.beginners(), [1]);
    life.forget_snapshots();
    life.reopen_forgetting_recovery_point();
    assert_eq!(life.beginners(), [] as [i64; 0], "nobody knows it any more");
}

#[test]
fn small_segments_become_one_and_the_files_of_the_others_go_after_their_delay() {
    let mut life = Life::new();
    for key in 0..6 {
        life.append(&[(key, Some(40))]);
        life.roll();
    }
    assert_eq!(life.fixture.log.segment_count(), 7);
    life.clean_all().unwrap();
    assert_eq!(life.fixture.log.segment_count(), 2);
    assert_eq!(offsets(&life), [0, 1, 2, 3, 4, 5]);
    let deleted = |life: &Life| {
        let paths = life.fixture.disk.paths();
        paths.iter().filter(|path| path.to_string_lossy().ends_with(".deleted")).count()
    };
    assert!(deleted(&life) > 0);
    let mut effects = Vec::new();
    life.fixture.log.purge(life.fixture.now + 60_000, &mut effects);
    life.fixture.perform(effects);
    assert_eq!(deleted(&life), 0);
    assert!(life.fixture.disk.contents(&dir().join(names::COMPACTED)).is_some());
    life.reopen_after_kill();
    life.check();
}

#[test]
fn the_map_may_be_too_small_for_all_keys_and_passes_still_come_to_an_end() {
    let mut life = Life::new();
    for round in 0..4 {
        for key in 0..20 {
            life.append(&[(key, Some(10 + round))]);
        }
    }
    life.roll();
    let mut passes = 0;
    while life.clean(CleaningLimits { key_bytes_max: 500, window_bytes: 4096 }).is_some() {
        life.check();
        passes += 1;
        assert!(passes < 40, "it does not get on");
    }
    assert!(passes > 4);
    assert_eq!(offsets(&life), (60..80).collect::<Vec<_>>());
}

#[test]
fn what_is_young_waits_and_what_is_old_does_not() {
    let mut life = Life::new();
    life.configure(|config| config.min_compaction_lag_ms = 1000);
    life.append(&[(1, Some(10))]);
    life.append(&[(1, Some(10))]);
    life.roll();
    let cleanable = |life: &Life| life.fixture.log.cleanable(life.fixture.now, 100, None);
    assert_eq!(cleanable(&life), None);
    life.fixture.now += 2000;
    assert!(cleanable(&life).unwrap().is_due);
    life.clean_all().unwrap();
    // Little is dirty now.
    life.configure(|config| config.min_cleanable_dirty_ppm = 900_000);
    life.append(&[(1, Some(1))]);
    life.roll();
    life.fixture.now += 5000;
    let dirty = |life: &Life| life.fixture.log.cleanable(life.fixture.now, 100, life.clean_upto).unwrap();
    assert!(!dirty(&life).is_due);
    life.configure(|config| config.max_compaction_lag_ms = 4000);
    assert!(dirty(&life).is_due && dirty(&life).overdue_ms > 0);
}

#[test]
fn an_open_transaction_and_what_is_not_replicated_hold_compaction_back() {
    let mut life = Life::new();
    life.append(&[(1, Some(10))]);
    life.roll();
    life.begin(7);
    life.append_as(7, &[(2, Some(10))]);
    life.roll();
    let upto = |life: &Life, high_watermark: i64| {
        life.fixture.log.cleanable(life.fixture.now, high_watermark, None).map(|cleanable| cleanable.upto)
    };
    assert_eq!((upto(&life, 0), upto(&life, 1), upto(&life, 2)), (None, Some(1), Some(1)));
    life.end(7, true);
    life.roll();
    assert_eq!((upto(&life, 2), upto(&life, 3)), (Some(1), Some(3)));
}

#[test]
fn a_damaged_batch_ends_the_pass_and_changes_nothing() {
    let mut life = Life::new();
    for _ in 0..5 {
        life.append(&[(1, Some(50))]);
    }
    life.roll();
    let path = path(0, names::LOG);
    let before = life.fixture.disk.contents(&path).unwrap();
    damage(&life.fixture.disk, &path, |bytes| bytes[70] ^= 4);
    let cleanable = life.fixture.log.cleanable(life.fixture.now, 5, None).unwrap();
    let mut cleaning = life.fixture.log.cleaning(life.fixture.now, &cleanable, life::LIMITS);
    let error = loop {
        match cleaning.step(&life.fixture.disk, 100) {
            Ok(CleaningStep::More(_)) => {}
            Ok(step) => panic!("{step:?}"),
            Err(error) => break error,
        }
    };
    assert!(matches!(&error, CleanError::Damaged(damage) if damage.offset <= 2), "{error}");
    cleaning.discard(&life.fixture.disk);
    assert!(life.fixture.disk.paths().iter().all(|path| !path.to_string_lossy().ends_with(".cleaned")));
    damage(&life.fixture.disk, &path, |bytes| bytes[70] ^= 4);
    assert_eq!(life.fixture.disk.contents(&path).unwrap(), before);
    life.check();
}

#[test]
fn retention_waits_for_a_swap_and_a_swap_does_not_bring_back_what_retention_took() {
    let mut life = Life::new();
    for key in 0..4 {
        life.append(&[(key, Some(600)), (key, Some(600))]);
        life.roll();
    }
    let cleaned = life.first_cleaned();
    // Retention comes first: the segments are not what they were.
    let mut effects = Vec::new();
    life.fixture.log.delete_records_before(3, 8, &mut effects).unwrap();
    assert_eq!(life.fixture.log.drop_deleted(life.fixture.now, 8, &mut effects), 1);
    assert!(!life.fixture.log.swap(&cleaned, &mut effects));
    life.fixture.perform(effects);
    // Now the swap does.
    let cleaned = life.first_cleaned();
    let mut effects = Vec::new();
    assert!(life.fixture.log.swap(&cleaned, &mut effects));
    life.fixture.log.delete_records_before(8, 8, &mut effects).unwrap();
    assert_eq!(life.fixture.log.drop_deleted(life.fixture.now, 8, &mut effects), 0);
    life.fixture.perform(effects);
    let mut effects = Vec::new();
    assert!(life.fixture.log.drop_deleted(life.fixture.now, 8, &mut effects) > 0);
    life.fixture.perform(effects);
    assert_eq!(offsets(&life), [] as [i64; 0]);
}

#[test]
fn a_plan_from_before_a_swap_is_to_be_made_again() {
    let mut life = Life::new();
    for key in 0..4 {
        life.append(&[(key, Some(40)), (key, Some(40))]);
        life.roll();
    }
    life.fixture.forget_tail();
    let plan = |life: &Life| match life.fixture.log.read(5, 8, 1000, true) {
        ReadPlan::File(plan) => plan,
        other => panic!("{other:?}"),
    };
    let before = plan(&life);
    let cleaned = life.first_cleaned();
    let mut effects = Vec::new();
    assert!(life.fixture.log.swap(&cleaned, &mut effects));
    let performed = life.fixture.files.perform(&life.fixture.disk, &effects, true).unwrap();
    let between = plan(&life);
    life.fixture.log.flushed(life.fixture.now, &performed);
    for stale in [before, between] {
        let error = stale.locate(&life.fixture.disk).unwrap_err();
        assert!(is_moved(&error), "{error}");
    }
    assert_eq!(plan(&life).locate(&life.fixture.disk).unwrap().next_offset, 8);
}

#[test]
fn a_log_remembers_its_holes_when_it_is_not_compacted_any_more() {
    let mut life = Life::new();
    for key in [1, 2, 1, 2, 1] {
        life.append(&[(key, Some(100))]);
    }
    life.roll();
    life.append(&[(3, Some(1))]);
    life.clean_all().unwrap();
    life.configure(|config| config.cleanup_compact = false);
    life.fixture.forget_tail();
    assert_eq!(offsets(&life), [3, 4, 5]);
    assert_eq!(life.fixture.log.cleanable(life.fixture.now, 6, None), None);
    let mut scrub = life.fixture.log.scrub(i64::MIN).unwrap();
    assert!(matches!(scrub.step(&life.fixture.disk, u64::MAX).unwrap(), Scrubbed::Sound { .. }));
    life.reopen_after_kill();
    assert_eq!(offsets(&life), [3, 4, 5]);
}

#[test]
fn a_follower_copies_a_compacted_log_and_cleans_it_on_its_own() {
    let mut life = Life::new();
    for key in [1, 2, 1, 2, 1] {
        life.append(&[(key, Some(100))]);
    }
    life.roll();
    life.append(&[(3, Some(1)), (1, Some(7))]);
    life.clean_all().unwrap();
    life.fixture.forget_tail();
    // Its topic is not compacted, as far as it knows yet.
    let mut follower = Fixture::new(config(Durability::Fsync));
    for batch in life.fixture.batches(10_000) {
        let mut effects = Vec::new();
        follower.log.append_as_follower(NOW, batch, &mut effects).unwrap();
        follower.perform(effects);
    }
    assert_eq!(follower.log.end_offset(), life.fixture.log.end_offset());
    follower.forget_tail();
    assert_eq!(follower.batches(100), life.fixture.batches(100));
    let disk = follower.disk.after_power_cut();
    let follower = reopen(disk, config(Durability::Fsync), false, follower.log.recovery_point()).unwrap();
    assert_eq!(follower.batches(100), life.fixture.batches(100));
}

#[test]
fn a_time_is_found_behind_records_that_compaction_took() {
    let mut life = Life::new();
    life.append_as(1, &[(1, Some(10))]);
    let first = life.fixture.now;
    life.roll();
    life.fixture.now += 1000;
    life.append(&[(1, Some(10))]);
    life.roll();
    life.append(&[(2, Some(10))]);
    // The batch at 0 stays empty and keeps its timestamp, and each segment stays on its own.
    life.configure(|config| config.segment_bytes = 100);
    life.clean_all().unwrap();
    life.fixture.forget_tail();
    let found = match life.fixture.log.offset_for(OffsetQuery::At(first), 3) {
        OffsetAnswer::Plan(plan) => plan.find(&life.fixture.disk).unwrap(),
        OffsetAnswer::Known(found) => found,
    };
    assert_eq!(found.map(|found| found.offset), Some(1));
}

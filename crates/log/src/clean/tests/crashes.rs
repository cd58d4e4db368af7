//! A crash at every change of the disk while a log is compacted, and another one at every change of the start after it.

use super::life::{LIMITS, Life};
use crate::{fixture::*, testing::MemoryDisk, *};
use std::sync::atomic::Ordering;

/// Several groups, an aborted transaction, producers, a tombstone that goes.
fn dirty() -> Life {
    let mut life = Life::new();
    for round in 0..6usize {
        for key in 0..5 {
            life.append_as(i64::from(key % 2), &[(key, Some(60 + round)), (key + 5, None)]);
        }
        life.begin(9);
        life.append_as(9, &[(1, Some(99)), (11, Some(9))]);
        life.end(9, round % 2 == 0);
    }
    life.roll();
    life.append(&[(3, Some(1))]);
    life
}

/// Makes a pass that the process does not survive from the how many-th change on; whether it came to its end.
fn clean_dying(life: &mut Life, at: usize) -> bool {
    life.fixture.disk.switches().dead_after.store(at, Ordering::Relaxed);
    let now = life.fixture.now;
    let mut cleaning = life.begin_cleaning(LIMITS).unwrap();
    let done = loop {
        match cleaning.step(&life.fixture.disk, 700) {
            Ok(CleaningStep::More(_)) => {}
            Ok(CleaningStep::Cleaned(cleaned)) => {
                let mut effects = Vec::new();
                assert!(life.fixture.log.swap(&cleaned, &mut effects));
                let Ok(performed) = life.fixture.files.perform(&life.fixture.disk, &effects, true) else {
                    break false;
                };
                life.fixture.log.flushed(now, &performed);
            }
            Ok(CleaningStep::Done(report)) => {
                life.note_pass(now, report.clean_upto);
                break true;
            }
            Err(_) => break false,
        }
    };
    life.fixture.disk.switches().dead_after.store(0, Ordering::Relaxed);
    done
}

fn crashed(life: &Life, how: usize, mut chance: u64) -> MemoryDisk {
    match how {
        0 => life.fixture.disk.after_kill(),
        1 => life.fixture.disk.after_power_cut(),
        _ => life.fixture.disk.after_torn_power_cut(|below| {
            chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (chance >> 33) as usize % below
        }),
    }
}

#[test]
fn a_crash_at_any_change_of_a_pass_loses_nothing_and_the_next_pass_goes_on() {
    for how in 0..3 {
        for at in 1.. {
            let mut life = dirty();
            let is_done = clean_dying(&mut life, at);
            let disk = crashed(&life, how, at as u64);
            life.reopen(disk);
            life.check();
            assert_eq!(life.clean_all().is_none(), is_done);
            life.check();
            if is_done {
                assert!(at > 20, "{at}");
                break;
            }
        }
    }
}

#[test]
fn a_crash_at_any_change_of_the_start_after_a_crash_loses_nothing() {
    // At each change of the pass, so that all leftovers are seen.
    for at in (1..).step_by(3) {
        let mut life = dirty();
        let is_done = clean_dying(&mut life, at);
        let first = crashed(&life, 1, 0);
        for again in 1.. {
            let disk = first.after_kill();
            disk.switches().dead_after.store(again, Ordering::Relaxed);
            let config = life.fixture.log.config().clone();
            let opened = open(&disk, &dir(), options(config, false, life.fixture.log.recovery_point()));
            disk.switches().dead_after.store(0, Ordering::Relaxed);
            if opened.is_ok() {
                break;
            }
            life.reopen(disk.after_power_cut());
            life.check();
        }
        if is_done {
            break;
        }
    }
}

#[test]
fn a_compacted_segment_that_has_vanished_takes_no_place() {
    let mut life = dirty();
    let cleaned = life.first_cleaned();
    let mut effects = Vec::new();
    assert!(life.fixture.log.swap(&cleaned, &mut effects));
    for path in life.fixture.disk.paths() {
        if path.to_string_lossy().ends_with(names::CLEANED) {
            env::Disk::remove_file(&life.fixture.disk, &path).unwrap();
        }
    }
    let error = life.fixture.files.perform(&life.fixture.disk, &effects, true).unwrap_err();
    assert!(!is_scarcity(&error) && life.fixture.files.is_poisoned(), "{error}");
    life.reopen_after_kill();
    life.check();
}

#[test]
fn where_no_room_is_left_a_swap_is_tried_again_and_comes_to_its_end() {
    for at in 1..20 {
        let mut life = dirty();
        let cleaned = life.first_cleaned();
        let mut effects = Vec::new();
        assert!(life.fixture.log.swap(&cleaned, &mut effects));
        // What comes behind it may be what lacks room.
        life.fixture.log.roll(life.fixture.now, &mut effects);
        life.fixture.disk.switches().full_after.store(at, Ordering::Relaxed);
        let first = life.fixture.files.perform(&life.fixture.disk, &effects, true);
        life.fixture.disk.switches().full_after.store(0, Ordering::Relaxed);
        let performed = first.unwrap_or_else(|error| {
            assert!(is_scarcity(&error), "{error}");
            life.fixture.files.perform(&life.fixture.disk, &effects, true).unwrap()
        });
        life.fixture.log.flushed(life.fixture.now, &performed);
        life.check();
        life.reopen_after_kill();
        life.check();
    }
}

#[test]
fn a_swap_that_finds_no_room_to_begin_is_taken_back_and_nobody_waits_for_it() {
    let mut refused = 0;
    for at in 1.. {
        let mut life = dirty();
        let cleaned = life.first_cleaned();
        let mut effects = Vec::new();
        assert!(life.fixture.log.swap(&cleaned, &mut effects));
        life.fixture.disk.switches().rename_full_at.store(at, Ordering::Relaxed);
        let performed = life.fixture.files.perform(&life.fixture.disk, &effects, true);
        let is_past = life.fixture.disk.switches().rename_full_at.swap(0, Ordering::Relaxed) > 1;
        let performed = performed.unwrap_or_else(|error| {
            assert!(is_scarcity(&error), "{error}");
            // The old segments are gone already: there is no way back.
            life.fixture.log.on_scarcity(life.fixture.now, &mut life.fixture.files, &mut effects);
            assert!(life.fixture.log.is_swapping());
            life.fixture.files.perform(&life.fixture.disk, &effects, true).unwrap()
        });
        refused += usize::from(performed.swap_refused);
        assert_ne!(performed.swapped, performed.swap_refused);
        life.fixture.log.flushed(life.fixture.now, &performed);
        assert!(!life.fixture.log.is_swapping());
        life.fixture.forget_tail();
        life.check();
        life.reopen_after_kill();
        life.check();
        if is_past {
            break;
        }
    }
    assert!(refused >= 3, "{refused}");
}

#[test]
fn what_lacks_room_beside_a_swap_holds_up_neither_readers_nor_retention() {
    for is_swap_first in [true, false] {
        for at in 1..4 {
            let mut life = dirty();
            let cleaned = life.first_cleaned();
            let mut effects = Vec::new();
            for is_swap in [is_swap_first, !is_swap_first] {
                match is_swap {
                    true => assert!(life.fixture.log.swap(&cleaned, &mut effects)),
                    false => life.fixture.log.roll(life.fixture.now, &mut effects),
                }
            }
            life.fixture.disk.switches().full_after.store(at, Ordering::Relaxed);
            match life.fixture.files.perform(&life.fixture.disk, &effects, true) {
                Ok(performed) => life.fixture.log.flushed(life.fixture.now, &performed),
                Err(error) => {
                    assert!(is_scarcity(&error), "{error}");
                    let files = &mut life.fixture.files;
                    life.fixture.log.on_scarcity(life.fixture.now, files, &mut effects);
                }
            }
            assert!(!life.fixture.log.is_swapping(), "{is_swap_first}, {at}");
            life.fixture.forget_tail();
            life.check();
            let end = life.fixture.log.end_offset();
            life.fixture.log.delete_records_before(end, end, &mut effects).unwrap();
            assert!(life.fixture.log.drop_deleted(life.fixture.now, end, &mut effects) > 0);
            life.fixture.disk.switches().full_after.store(0, Ordering::Relaxed);
            life.fixture.perform(effects);
            assert_eq!(life.fixture.log.start_offset(), end);
        }
    }
}

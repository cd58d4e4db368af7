use crate::{fixture::*, *};
use std::sync::atomic::Ordering;

/// Forty batches of two records in one segment, only in the file.
fn fixture() -> Fixture {
    let mut config = config(Durability::Fsync);
    config.segment_bytes = 1 << 20;
    let mut fixture = Fixture::new(config);
    for index in 0..40 {
        fixture.append(batch(NOW + index, 2, 60));
    }
    fixture.forget_tail();
    fixture
}

fn locate(fixture: &Fixture, from: i64, upto: i64, bytes_max: usize, at_least_one: bool) -> (usize, i64) {
    match fixture.log.read(from, upto, bytes_max, at_least_one) {
        ReadPlan::Memory(slice) => (slice.parts.len(), slice.next_offset),
        ReadPlan::File(plan) => {
            let slice = plan.locate(&fixture.disk).unwrap();
            (slice.parts.len(), slice.next_offset)
        }
        ReadPlan::OutOfRange { .. } => panic!("out of range"),
    }
}

#[test]
fn tail_and_file_give_the_same_for_every_range() {
    let file = fixture();
    let mut memory = Fixture::new(file.log.config().clone());
    for index in 0..40 {
        memory.append(batch(NOW + index, 2, 60));
    }
    for from in 0..80 {
        for upto in [from, from + 1, from + 2, from + 7, 80] {
            for (bytes_max, at_least_one) in
                [(0, false), (0, true), (1, false), (500, false), (1000, true), (9000, true)]
            {
                let upto = upto.min(80);
                let asked = (from, upto, bytes_max, at_least_one);
                assert_eq!(
                    locate(&file, from, upto, bytes_max, at_least_one),
                    locate(&memory, from, upto, bytes_max, at_least_one),
                    "{asked:?}"
                );
            }
        }
    }
    assert!(memory.log.tail_bytes() > 0);
}

#[test]
fn offsets_outside_of_the_log_are_out_of_range() {
    let fixture = fixture();
    for from in [-1, 81] {
        let plan = fixture.log.read(from, 80, 100, true);
        assert!(matches!(plan, ReadPlan::OutOfRange { start_offset: 0, end_offset: 80 }), "{from}: {plan:?}");
    }
    assert_eq!(locate(&fixture, 80, 80, 100, true), (0, 80));
}

#[test]
fn an_index_that_lies_costs_time_and_nothing_else() {
    let fixture = fixture();
    let right: Vec<_> = (0..80).map(|from| locate(&fixture, from, 80, 9000, true)).collect();
    let bits = fixture.contents(0, names::INDEX).len() * 8;
    assert!(bits > 500);
    for bit in (0..bits).step_by(7) {
        let disk = fixture.disk.after_kill();
        damage(&disk, &path(0, names::INDEX), |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
        for from in (0..80).step_by(3) {
            let ReadPlan::File(plan) = fixture.log.read(from, 80, 9000, true) else { panic!("in memory") };
            let plan = FilePlan { handles: std::sync::Arc::new(handles::Handles::new(dir())), ..plan };
            let slice = plan.locate(&disk).unwrap();
            let found = (slice.parts.len(), slice.next_offset);
            assert_eq!(found, right[from as usize], "bit {bit}, from {from}");
        }
    }
}

#[test]
fn a_sequential_reader_goes_on_where_it_stopped() {
    let fixture = fixture();
    let read = || fixture.disk.switches().bytes_read.swap(0, Ordering::Relaxed);
    locate(&fixture, 0, 80, 1000, true);
    let (_, next) = locate(&fixture, 0, 80, 1000, true);
    read();
    locate(&fixture, next, 80, 100, true);
    let known = read();
    locate(&fixture, next + 1, 80, 100, true);
    assert!(read() > known);
}

#[test]
fn who_asks_again_for_what_was_given_hears_of_damage_and_who_goes_on_costs_nothing() {
    let fixture = fixture();
    let (_, next) = locate(&fixture, 0, 80, 1000, true);
    let segment = fixture.log.segments[fixture.log.floor_segment(next)].base_offset;
    damage(&fixture.disk, &path(segment, names::LOG), |bytes| {
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
    });
    fixture.log.handles.clear();
    let read = |from| match fixture.log.read(from, 80, 1 << 20, true) {
        ReadPlan::File(plan) => plan.locate(&fixture.disk).map(|slice| slice.next_offset),
        _ => panic!("in memory"),
    };
    assert!(read(next).is_ok(), "it is sent as it is");
    assert_eq!(read(next).unwrap_err().kind(), std::io::ErrorKind::InvalidData);
}

#[test]
fn what_a_damaged_segment_has_lost_is_not_skipped_but_what_compaction_took_is() {
    for (cleanup_compact, is_skipped) in [(false, false), (true, true)] {
        let mut fixture = Fixture::new(LogConfig { cleanup_compact, ..config(Durability::Fsync) });
        for index in 0..40 {
            fixture.append(batch(NOW + index, 2, 60));
        }
        fixture.forget_tail();
        let second = fixture.log.segments[1].base_offset;
        damage(&fixture.disk, &path(0, names::LOG), |bytes| bytes.truncate(0));
        let ReadPlan::File(plan) = fixture.log.read(2, 80, 1000, true) else { panic!("in memory") };
        match plan.locate(&fixture.disk) {
            Ok(slice) => assert!(is_skipped && slice.next_offset > second),
            Err(error) => {
                assert!(!is_skipped);
                assert_eq!(error.kind(), std::io::ErrorKind::InvalidData, "{error}");
            }
        }
    }
}

#[test]
fn small_batches_pin_no_frame_and_large_ones_are_not_copied() {
    let mut config = config(Durability::Fsync);
    config.segment_bytes = 1 << 20;
    let mut fixture = Fixture::new(config);
    let mut effects = Vec::new();
    let (small, large) = (batch(NOW, 1, 100).build().unwrap(), batch(NOW, 1, 9000).build().unwrap());
    fixture.decide(Origin::Client, small.clone(), &mut effects).unwrap();
    fixture.decide(Origin::Client, large.clone(), &mut effects).unwrap();
    let bodies: Vec<_> =
        fixture.log.tail.from(0).map(|batch| (batch.head.len(), batch.body.as_ptr())).collect();
    assert_eq!(bodies[0].0, small.bytes.len());
    assert_eq!(bodies[1], (61, large.body().as_ptr()));
}

#[test]
fn the_tail_keeps_what_is_not_written_yet() {
    let mut fixture = Fixture::new(config(Durability::Fsync));
    fixture.append(batch(NOW, 1, 100));
    let mut effects = Vec::new();
    fixture.decide(Origin::Client, batch(NOW, 1, 100).build().unwrap(), &mut effects).unwrap();
    let bytes = fixture.log.tail_bytes();
    assert_eq!(fixture.log.trim_tail(usize::MAX), bytes / 2);
    assert!(matches!(fixture.log.read(1, 2, 1, true), ReadPlan::Memory(slice) if slice.next_offset == 2));
    fixture.perform(effects);
    assert_eq!(fixture.log.trim_tail(1), bytes / 2);
}

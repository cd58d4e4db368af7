use crate::{fixture::*, *};
use proptest::prelude::*;

fn ask(fixture: &Fixture, query: OffsetQuery, upto: i64) -> Option<(i64, i64)> {
    let found = match fixture.log.offset_for(query, upto) {
        OffsetAnswer::Known(found) => found,
        OffsetAnswer::Plan(plan) => plan.find(&fixture.disk).unwrap(),
    };
    found.map(|found| (found.timestamp, found.offset))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn the_first_record_late_enough_is_found_wherever_it_is(
        times in proptest::collection::vec(0i64..1000, 1..60), asked in 0i64..1100, trim in 0usize..6000, reopened: bool,
    ) {
        let mut fixture = Fixture::new(config(Durability::Fsync));
        for (index, time) in times.iter().enumerate() {
            fixture.append(batch(NOW + time, 1, 60).compression(codec(index)));
        }
        if reopened {
            fixture = reopen(fixture.close(), config(Durability::Fsync), true, 0).unwrap();
        }
        fixture.log.trim_tail(trim);
        let records: Vec<_> = times.iter().zip(0..).map(|(time, offset)| (NOW + time, offset)).collect();
        let first = records.iter().find(|(time, _)| *time >= NOW + asked).copied();
        let end = records.len() as i64;
        prop_assert_eq!(ask(&fixture, OffsetQuery::At(NOW + asked), end), first);
        let largest = records.iter().rev().max_by_key(|(time, _)| *time).copied();
        prop_assert_eq!(ask(&fixture, OffsetQuery::MaxTimestamp, end), largest);
        if let Some((_, offset)) = first {
            prop_assert_eq!(ask(&fixture, OffsetQuery::At(NOW + asked), offset), None);
        }
    }
}

#[test]
fn the_right_record_inside_a_batch_is_found() {
    for (codec, trimmed) in (0..5).map(codec).zip([true, false, true, false, true]) {
        let mut fixture = Fixture::new(config(Durability::Fsync));
        fixture.append(batch(NOW, 10, 5).compression(codec));
        if trimmed {
            fixture.forget_tail();
        }
        assert_eq!(ask(&fixture, OffsetQuery::At(NOW + 7), 10), Some((NOW + 7, 7)));
        assert_eq!(ask(&fixture, OffsetQuery::MaxTimestamp, 10), Some((NOW + 9, 9)));
        assert_eq!(ask(&fixture, OffsetQuery::At(NOW + 10), 10), None);
    }
}

#[test]
fn the_special_queries_are_answered_as_without_tiering() {
    let mut fixture = Fixture::new(config(Durability::Fsync));
    assert_eq!(ask(&fixture, OffsetQuery::MaxTimestamp, 0), None);
    fixture.append(batch(NOW, 4, 5));
    let mut effects = Vec::new();
    fixture.log.delete_records_before(2, 4, &mut effects).unwrap();
    let answers = [-1, -2, -4, -5, -6].map(|n| ask(&fixture, OffsetQuery::from_timestamp(n), 3).unwrap());
    assert_eq!(answers, [(-1, 3), (-1, 2), (-1, 2), (-1, -1), (-1, -1)]);
    assert_eq!(ask(&fixture, OffsetQuery::At(NOW), 4), Some((NOW + 2, 2)));
}

#[test]
fn indexes_that_lie_cost_time_and_nothing_else() {
    let mut config = config(Durability::Fsync);
    config.segment_bytes = 1 << 20;
    let mut fixture = Fixture::new(config);
    for index in 0..40 {
        fixture.append(batch(NOW + index * 10, 2, 60));
    }
    fixture.forget_tail();
    let bits = fixture.contents(0, names::INDEX).len() * 8;
    for bit in (0..bits).step_by(5) {
        let disk = fixture.disk.after_kill();
        damage(&disk, &path(0, names::INDEX), |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
        for (asked, found) in [(0, 0), (55, 12), (201, 41), (390, 78)] {
            let OffsetAnswer::Plan(plan) = fixture.log.offset_for(OffsetQuery::At(NOW + asked), 80) else {
                panic!("known");
            };
            assert_eq!(plan.find(&disk).unwrap().unwrap().offset, found, "bit {bit}, {asked}");
        }
    }
}

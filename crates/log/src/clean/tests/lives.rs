//! Random lives: appends of all kinds, transactions, passes beside appends, kills.

use super::life::{LIMITS, Life, RETENTION_MS};
use crate::CleaningLimits;
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Step {
    Append { producer: Option<i64>, records: Vec<(u8, Option<usize>)> },
    Begin { producer: i64 },
    End { producer: i64, committed: bool },
    Roll,
    Wait { percent: i64 },
    Clean { key_bytes_max: usize, beside: usize },
    Kill { snapshots: bool },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let record = (0u8..8, proptest::option::weighted(0.8, 0usize..200));
    let append = (proptest::option::of(0i64..4), proptest::collection::vec(record, 1..5));
    let step = prop_oneof![
        12 => append.prop_map(|(producer, records)| Step::Append { producer, records }),
        3 => (0i64..4).prop_map(|producer| Step::Begin { producer }),
        3 => (0i64..4, any::<bool>()).prop_map(|(producer, committed)| Step::End { producer, committed }),
        2 => Just(Step::Roll),
        1 => (0i64..150).prop_map(|percent| Step::Wait { percent }),
        4 => (prop_oneof![Just(1usize << 20), 100usize..800], 0usize..4)
            .prop_map(|(key_bytes_max, beside)| Step::Clean { key_bytes_max, beside }),
        1 => any::<bool>().prop_map(|snapshots| Step::Kill { snapshots }),
    ];
    proptest::collection::vec(step, 1..60)
}

fn take(life: &mut Life, step: &Step) {
    match step {
        Step::Append { producer: None, records } => life.append(records),
        Step::Append { producer: Some(producer), records } => life.append_as(*producer, records),
        Step::Begin { producer } => life.begin(*producer),
        Step::End { producer, committed } => life.end(*producer, *committed),
        Step::Roll => life.roll(),
        Step::Wait { percent } => life.fixture.now += RETENTION_MS * percent / 100,
        Step::Clean { key_bytes_max, beside } => {
            let limits = CleaningLimits { key_bytes_max: *key_bytes_max, ..LIMITS };
            let mut left = *beside;
            let report = life.clean_beside(limits, |life| {
                if left > 0 {
                    left -= 1;
                    life.append(&[(left as u8, Some(300)), (7, None)]);
                }
            });
            if let Some(report) = report.filter(|_| *key_bytes_max >= 1 << 20) {
                life.check_clean(report.clean_upto);
            }
            life.check();
        }
        Step::Kill { snapshots } => {
            if !snapshots {
                life.forget_snapshots();
            }
            life.reopen_after_kill();
            life.check();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn a_compacted_log_says_in_the_end_what_was_said_to_it(steps in steps()) {
        let mut life = Life::new();
        steps.iter().for_each(|step| take(&mut life, step));
        life.check();
        life.fixture.forget_tail();
        life.check();
        life.forget_snapshots();
        life.reopen_after_kill();
        life.check();
    }
}

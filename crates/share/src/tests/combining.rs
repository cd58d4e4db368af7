//! Batches are laid over each other as if each offset were looked at by itself.

use crate::{StateBatch, combine};
use proptest::prelude::*;
use std::collections::BTreeMap;

fn batches() -> impl Strategy<Value = Vec<StateBatch>> {
    let batch = (0..40i64, 0..10i64, prop_oneof![Just(0i8), Just(2), Just(3), Just(4)], 1..4i16);
    let batch =
        batch.prop_map(|(first, len, state, count)| StateBatch { first, last: first + len, state, count });
    prop::collection::vec(batch, 0..12)
}

fn each(batches: &[StateBatch], start: i64) -> BTreeMap<i64, (usize, i16, i8)> {
    let mut all = BTreeMap::new();
    for batch in batches {
        for offset in batch.first.max(start)..=batch.last {
            let state = ([0, 0, 2, 1, 2][usize::try_from(batch.state).unwrap()], batch.count, batch.state);
            let known = all.entry(offset).or_insert(state);
            *known = (*known).max(state);
        }
    }
    all
}

proptest! {
    #[test]
    fn every_offset_has_the_state_that_counts(known in batches(), new in batches(), start in -1..30i64) {
        let known = combine(&[], &known, -1);
        let combined = combine(&known, &new, start);
        prop_assert_eq!(each(&combined, start), each(&[known, new].concat(), start));
        for pair in combined.windows(2) {
            prop_assert!(pair[0].last < pair[1].first);
            let is_alike = (pair[0].state, pair[0].count) == (pair[1].state, pair[1].count);
            prop_assert!(pair[0].last + 1 < pair[1].first || !is_alike);
        }
    }
}

#[test]
fn batches_that_cannot_be_are_left_out() {
    for (first, last) in [(5, 4), (-1, 4), (0, i64::MAX)] {
        assert_eq!(combine(&[], &[StateBatch { first, last, state: 0, count: 1 }], -1), []);
    }
}

//! When nothing else happens the logs of replicas in sync are equal below the high watermark, batch for batch and byte for
//! byte, and so are those of the metadata. It does not ask what stands behind the high watermark.

use super::Check;
use crate::history::{BatchSeen, Event, Place};
use std::collections::BTreeMap;

/// The first log that was told of each partition.
#[derive(Default)]
pub(super) struct Replicas {
    first: BTreeMap<Place, (i32, i64, Vec<BatchSeen>)>,
}

impl Check for Replicas {
    fn name(&self) -> &'static str {
        "replicas"
    }

    fn on(&mut self, event: &Event) -> Result<(), String> {
        let Event::ReplicaRead { place, node, high_watermark, batches } = event else { return Ok(()) };
        let below = |batches: &[BatchSeen], high_watermark: i64| -> Vec<BatchSeen> {
            batches.iter().filter(|(_, next, _)| *next <= high_watermark).copied().collect()
        };
        let mine = below(batches, *high_watermark);
        let end = mine.last().map_or(0, |(_, next, _)| *next);
        if end != *high_watermark && *high_watermark != 0 {
            return Err(format!(
                "{place:?} ends at {end} on node {node}, the high watermark is {high_watermark}"
            ));
        }
        match self.first.get(place) {
            // A snapshot may have taken the place of the beginning of one of them.
            Some((other, until, first)) if until == high_watermark => {
                let from =
                    mine.first().map_or(0, |batch| batch.0).max(first.first().map_or(0, |batch| batch.0));
                let behind = |batch: &&BatchSeen| batch.0 >= from;
                let parted =
                    first.iter().filter(behind).zip(mine.iter().filter(behind)).find(|(a, b)| a != b);
                if let Some((theirs, ours)) = parted {
                    return Err(format!(
                        "{place:?}: nodes {other} and {node} have different batches, {theirs:?} and {ours:?}"
                    ));
                }
            }
            _ => drop(self.first.insert(place.clone(), (*node, *high_watermark, mine))),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{super::kit::*, *};

    fn read(node: i32, batches: &[BatchSeen]) -> Event {
        Event::ReplicaRead { place: place(), node, high_watermark: 4, batches: batches.to_vec() }
    }

    #[test]
    fn replicas_are_equal_below_the_high_watermark() {
        let first = read(1, &[(0, 2, 7), (2, 4, 8), (4, 5, 9)]);
        check(Replicas::default(), &[first.clone(), read(2, &[(0, 2, 7), (2, 4, 8)])], true);
        check(Replicas::default(), &[first.clone(), read(2, &[(2, 4, 8)])], true);
        check(Replicas::default(), &[first.clone(), read(2, &[(0, 2, 7), (2, 4, 9)])], false);
        check(Replicas::default(), &[first, read(2, &[(0, 2, 7)])], false);
    }
}

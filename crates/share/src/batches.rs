//! Stretches of offsets with one delivery state, as they are written down, and how later ones are laid over earlier ones.
//!
//! All that it knows of the states is which of them are final.

use crate::partition::span::DeliveryState;
use model::Offset;
use std::collections::BTreeMap;

/// Offsets with the same delivery state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateBatch {
    /// The first offset.
    pub first: Offset,
    /// The last offset.
    pub last: Offset,
    /// Kafka's number of the state, see [`crate::DeliveryState`].
    pub state: i8,
    /// How often the records were delivered.
    pub count: i16,
}

impl StateBatch {
    /// Of two states of one offset the greater one counts. What is done stays done, and what was given up is not available again.
    /// Else deliveries grow, and within one delivery the states rise.
    ///
    /// Kafka goes by deliveries and states alone. But a leader whose group leaves it and comes back reads its state anew within
    /// one leader epoch, while something that it wrote before may still be on its way, with more deliveries than it has read:
    /// behind an acceptance that was answered, that would bring the record back.
    fn rank(&self) -> (u8, i16, i8) {
        let finality = match DeliveryState::from_number(self.state) {
            Some(DeliveryState::Acknowledged | DeliveryState::Archived) => 2,
            Some(DeliveryState::Archiving) => 1,
            Some(DeliveryState::Available | DeliveryState::Acquired) | None => 0,
        };
        (finality, self.count, self.state)
    }

    /// Whether it stands for offsets that can be.
    fn is_sound(&self) -> bool {
        0 <= self.first && self.first <= self.last && self.last < Offset::MAX
    }
}

/// Lays `new` over `known`: each offset has the state that counts. What lies before `start` is left out (-1: nothing), and
/// neighbours of one state become one.
pub fn combine(known: &[StateBatch], new: &[StateBatch], start: Offset) -> Vec<StateBatch> {
    let mut map = BTreeMap::new();
    let pruned = known.iter().chain(new).filter(|batch| batch.is_sound() && batch.last >= start);
    for batch in pruned {
        lay(&mut map, StateBatch { first: batch.first.max(start), ..*batch });
    }
    let mut all: Vec<StateBatch> = Vec::with_capacity(map.len());
    for batch in map.into_values() {
        match all.last_mut() {
            Some(last) if last.last + 1 == batch.first && last.rank() == batch.rank() => {
                last.last = batch.last;
            }
            _ => all.push(batch),
        }
    }
    all
}

/// Lays one batch over those that are there, which do not overlap.
fn lay(map: &mut BTreeMap<Offset, StateBatch>, batch: StateBatch) {
    let begins_before = map.range(..batch.first).next_back().filter(|(_, known)| known.last >= batch.first);
    let from = begins_before.map_or(batch.first, |(first, _)| *first);
    let overlapped: Vec<StateBatch> = map.range(from..=batch.last).map(|(_, known)| *known).collect();
    let mut next = batch.first;
    for known in overlapped {
        map.remove(&known.first);
        let (low, high) = (known.first.max(batch.first), known.last.min(batch.last));
        let winner = if batch.rank() < known.rank() { known } else { batch };
        let pieces = [
            (known.first, low - 1, known),
            (next, low - 1, batch),
            (low, high, winner),
            (high + 1, known.last, known),
        ];
        for (first, last, of) in pieces.into_iter().filter(|(first, last, _)| first <= last) {
            map.insert(first, StateBatch { first, last, ..of });
        }
        next = high + 1;
    }
    if next <= batch.last {
        map.insert(next, StateBatch { first: next, ..batch });
    }
}

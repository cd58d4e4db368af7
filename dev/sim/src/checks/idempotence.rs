//! Idempotent producers (KIP-98): what each has sent to a partition is there once, in the order of its sequence, and
//! without holes but those of compaction. It does not ask how much of it is there; `acknowledged` does. A page-cache topic is not judged after a
//! power cut, which takes the broker's memory of producers along.

use super::Check;
use crate::history::{Event, Fault, Place};
use std::collections::{BTreeMap, BTreeSet};

/// Which producers are idempotent.
#[derive(Default)]
pub(super) struct Idempotence {
    producers: BTreeSet<u32>,
    power_was_cut: bool,
}

impl Idempotence {
    fn judge(
        &self,
        place: &Place,
        values: impl Iterator<Item = crate::value::ValueId>,
    ) -> Result<(), String> {
        let mut last: BTreeMap<u32, u32> = BTreeMap::new();
        for value in values.filter(|value| self.producers.contains(&value.producer)) {
            if let Some(before) = last.insert(value.producer, value.number)
                && (before >= value.number || (before + 1 != value.number && !place.is_compacted))
            {
                return Err(format!("{place:?}: {value:?} follows number {before} of the same producer"));
            }
        }
        Ok(())
    }
}

impl Check for Idempotence {
    fn name(&self) -> &'static str {
        "idempotence"
    }

    fn on(&mut self, event: &Event) -> Result<(), String> {
        match event {
            Event::ProduceSent { idempotent: true, values, .. } => {
                self.producers.extend(values.iter().map(|value| value.producer));
            }
            Event::Faulted(Fault::PowerCut) => self.power_was_cut = true,
            Event::ReadAll { place, records, .. } if !(self.power_was_cut && place.is_lossy()) => {
                return self.judge(place, records.iter().filter_map(|(_, value)| *value));
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{super::kit::*, *};

    #[test]
    fn repetitions_disorder_and_holes_are_found() {
        let events = |records| [sent(place(), &[0, 1, 2]), read_all(place(), 0, records)];
        check(Idempotence::default(), &events(&[(0, 0), (1, 1), (2, 2)]), true);
        check(Idempotence::default(), &events(&[(0, 1), (1, 2)]), true);
        check(Idempotence::default(), &events(&[(0, 0), (1, 0)]), false);
        check(Idempotence::default(), &events(&[(0, 1), (1, 0)]), false);
        check(Idempotence::default(), &events(&[(0, 0), (1, 2)]), false);
        let events = |records| [sent(compacted(), &[0, 1, 2]), read_all(compacted(), 0, records)];
        check(Idempotence::default(), &events(&[(0, 0), (2, 2)]), true);
        check(Idempotence::default(), &events(&[(0, 0), (2, 0)]), false);
    }
}

//! What a producer is told to be there already is there (DUPLICATE_SEQUENCE_NUMBER; docs/decisions/0007): its records
//! are read back at the end, unless they may have been deleted. Where they are is `one_value`'s business. In a
//! page-cache topic a power cut may take them.

use super::{Check, Requests};
use crate::{
    history::{Event, Fault, Place},
    value::ValueId,
};
use std::collections::{BTreeMap, BTreeSet};

/// The records of which that was said.
#[derive(Default)]
pub(super) struct KnownAlready {
    requests: Requests,
    known: BTreeMap<Place, BTreeSet<ValueId>>,
}

impl KnownAlready {
    /// A producer's records are there in the order of their numbers: a log that still has an earlier one, or that was
    /// never cut at its start, has this one too.
    fn judge(&self, place: &Place, log_start: i64, found: &BTreeSet<ValueId>) -> Result<(), String> {
        let known = self.known.get(place).into_iter().flatten();
        for value in known.filter(|value| !found.contains(value)) {
            let earlier = ValueId { number: 0, ..*value }..*value;
            let must_be_there =
                log_start == 0 || found.range(earlier).any(|other| other.partition == value.partition);
            if must_be_there {
                return Err(format!(
                    "{place:?}: {value:?} is not there, and its producer was told that it is"
                ));
            }
        }
        Ok(())
    }
}

impl Check for KnownAlready {
    fn name(&self) -> &'static str {
        "known_already"
    }

    fn on(&mut self, event: &Event) -> Result<(), String> {
        self.requests.on(event);
        match event {
            Event::Faulted(Fault::PowerCut) => self.known.retain(|place, _| !place.is_lossy()),
            // Of a compacted topic nobody knows what had to make way.
            Event::ProduceKnown { place, request, values }
                if !self.requests.is_stale(place, *request) && !place.is_compacted =>
            {
                self.known.entry(place.clone()).or_default().extend(values);
            }
            Event::ReadAll { place, log_start, records, .. } => {
                let found = records.iter().filter_map(|(_, value)| *value).collect();
                return self.judge(place, *log_start, &found);
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
    fn what_is_said_to_be_there_must_be_read_back() {
        let events = |records| [known(place(), 1, &[1, 2]), read_all(place(), 0, records)];
        check(KnownAlready::default(), &events(&[(0, 0), (1, 1), (2, 2)]), true);
        check(KnownAlready::default(), &events(&[(0, 0), (1, 1)]), false);
        check(KnownAlready::default(), &events(&[]), false);
    }

    #[test]
    fn deletion_takes_only_what_lies_before_everything_that_is_left() {
        let events = |start, records| [known(place(), 1, &[1, 2]), read_all(place(), start, records)];
        check(KnownAlready::default(), &events(5, &[(5, 3)]), true);
        check(KnownAlready::default(), &events(5, &[(5, 2), (6, 3)]), true);
        check(KnownAlready::default(), &events(5, &[(5, 1), (6, 3)]), false);
    }

    #[test]
    fn a_power_cut_excuses_page_cache_topics_only() {
        let cut = Event::Faulted(Fault::PowerCut);
        for (place, fine) in [(lossy(), true), (place(), false)] {
            let events = [known(place.clone(), 1, &[0]), cut.clone(), read_all(place, 0, &[])];
            check(KnownAlready::default(), &events, fine);
        }
    }
}

//! No acknowledged record is lost: what an acknowledgement gave an offset is read back there with its value, unless
//! somebody asked for its deletion, or it has made way for a later record of its key in a topic that is compacted. It does not judge records that were never acknowledged. In a page-cache topic a
//! power cut may take everything from before it.

use super::{Check, Requests};
use crate::{
    history::{Event, Fault, Place},
    value::ValueId,
};
use std::collections::BTreeMap;

/// Acknowledged records, and how far they may have been deleted.
#[derive(Default)]
pub(super) struct Acknowledged {
    requests: Requests,
    records: BTreeMap<Place, BTreeMap<i64, ValueId>>,
    deletable: BTreeMap<Place, i64>,
}

impl Check for Acknowledged {
    fn name(&self) -> &'static str {
        "acknowledged"
    }

    fn on(&mut self, event: &Event) -> Result<(), String> {
        self.requests.on(event);
        match event {
            Event::Faulted(Fault::PowerCut) => self.records.retain(|place, _| !place.is_lossy()),
            Event::ProduceAcked { place, request, base_offset, values, .. }
                if !self.requests.is_stale(place, *request) =>
            {
                let of_place = self.records.entry(place.clone()).or_default();
                of_place.extend((*base_offset..).zip(values.iter().copied()));
            }
            Event::DeleteRecordsSent { place, before } => {
                let deletable = self.deletable.entry(place.clone()).or_default();
                *deletable = (*deletable).max(*before);
            }
            Event::ReadAll { place, log_start, records, .. } => {
                let deletable = self.deletable.get(place).copied().unwrap_or(0);
                if *log_start > deletable {
                    return Err(format!(
                        "{place:?} starts at {log_start}; nobody has asked for more than {deletable}"
                    ));
                }
                let read: BTreeMap<i64, Option<ValueId>> = records.iter().copied().collect();
                let acknowledged = self.records.get(place);
                let mut last: BTreeMap<u8, i64> = BTreeMap::new();
                let keyed =
                    records.iter().filter_map(|(offset, value)| Some((value.as_ref()?.key(), *offset)));
                last.extend(keyed.filter(|_| place.is_compacted));
                for (offset, value) in acknowledged.iter().flat_map(|all| all.range(log_start..)) {
                    match read.get(offset) {
                        Some(Some(found)) if found == value => {}
                        None if last.get(&value.key()).is_some_and(|last| last > offset) => {}
                        found => {
                            return Err(format!(
                                "{place:?} offset {offset}: {value:?} was acknowledged, {found:?} is there"
                            ));
                        }
                    }
                }
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
    fn an_acknowledged_record_must_be_there() {
        let events = |read| [acked(place(), 0, &[0, 1]), read_all(place(), 0, read)];
        check(Acknowledged::default(), &events(&[(0, 0), (1, 1), (2, 7)]), true);
        check(Acknowledged::default(), &events(&[(0, 0)]), false);
        check(Acknowledged::default(), &events(&[(0, 1), (1, 0)]), false);
    }

    #[test]
    fn a_compacted_topic_lacks_only_what_a_later_record_of_its_key_hides() {
        // 0 and 7 have one key, 1 another.
        let events = |read| [acked(compacted(), 0, &[0, 1, 7]), read_all(compacted(), 0, read)];
        check(Acknowledged::default(), &events(&[(1, 1), (2, 7)]), true);
        check(Acknowledged::default(), &events(&[(1, 1), (3, 14)]), true);
        check(Acknowledged::default(), &events(&[(0, 0), (1, 1)]), false);
        check(Acknowledged::default(), &events(&[(2, 7)]), false);
        check(Acknowledged::default(), &events(&[(0, 7), (1, 1), (2, 7)]), false);
    }

    #[test]
    fn a_power_cut_excuses_page_cache_topics_only() {
        let cut = Event::Faulted(Fault::PowerCut);
        for (place, fine) in [(lossy(), true), (place(), false)] {
            let events = [acked(place.clone(), 0, &[0]), cut.clone(), read_all(place, 0, &[])];
            check(Acknowledged::default(), &events, fine);
        }
        let events = [acked(lossy(), 0, &[0]), Event::Faulted(Fault::Kill), read_all(lossy(), 0, &[])];
        check(Acknowledged::default(), &events, false);
    }

    #[test]
    fn deletion_must_have_been_asked_for() {
        let asked = Event::DeleteRecordsSent { place: place(), before: 1 };
        let first = acked(place(), 0, &[0, 1]);
        check(
            Acknowledged::default(),
            &[first.clone(), asked.clone(), read_all(place(), 1, &[(1, 1)])],
            true,
        );
        check(Acknowledged::default(), &[first, asked, read_all(place(), 2, &[])], false);
    }
}

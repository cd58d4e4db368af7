//! An offset has one value for ever: whatever a reader or an acknowledgement once said of an offset, every later read
//! of it says the same. It does not ask whether the value should be there. In a page-cache topic a power cut may take
//! back what was said.

use super::{Check, Requests};
use crate::{
    history::{Event, Fault, Place},
    value::ValueId,
};
use std::collections::BTreeMap;

/// What was said of each offset.
#[derive(Default)]
pub(super) struct OneValue {
    requests: Requests,
    said: BTreeMap<Place, BTreeMap<i64, ValueId>>,
}

impl OneValue {
    fn say(&mut self, place: &Place, said: impl Iterator<Item = (i64, ValueId)>) -> Result<(), String> {
        let known = self.said.entry(place.clone()).or_default();
        for (offset, value) in said {
            let first = known.entry(offset).or_insert(value);
            if *first != value {
                return Err(format!("{place:?} offset {offset} was {first:?} and is {value:?}"));
            }
        }
        Ok(())
    }
}

impl Check for OneValue {
    fn name(&self) -> &'static str {
        "one_value"
    }

    fn on(&mut self, event: &Event) -> Result<(), String> {
        self.requests.on(event);
        let known = |records: &[(i64, Option<ValueId>)]| {
            records
                .iter()
                .filter_map(|(offset, value)| value.map(|value| (*offset, value)))
                .collect::<Vec<_>>()
        };
        match event {
            Event::Faulted(Fault::PowerCut) => {
                self.said.retain(|place, _| !place.is_lossy());
                Ok(())
            }
            Event::ProduceAcked { place, request, base_offset, values, .. }
                if !self.requests.is_stale(place, *request) =>
            {
                self.say(place, (*base_offset..).zip(values.iter().copied()))
            }
            Event::Read { place, request, records, .. } if !self.requests.is_stale(place, *request) => {
                self.say(place, known(records).into_iter())
            }
            Event::ReadAll { place, records, .. } => self.say(place, known(records).into_iter()),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::kit::*, *};

    #[test]
    fn an_offset_never_shows_a_second_value() {
        check(OneValue::default(), &[read(place(), 1, 9, &[(3, 0)]), read(place(), 2, 9, &[(3, 0)])], true);
        check(OneValue::default(), &[read(place(), 1, 9, &[(3, 0)]), read(place(), 2, 9, &[(3, 1)])], false);
        check(OneValue::default(), &[acked(place(), 3, &[0]), read_all(place(), 3, &[(3, 1)])], false);
    }

    #[test]
    fn a_late_answer_from_before_a_power_cut_does_not_count_in_a_page_cache_topic() {
        let events = [
            Event::Asked { request: 1 },
            Event::Faulted(Fault::PowerCut),
            read(lossy(), 1, 9, &[(3, 0)]),
            Event::Asked { request: 2 },
            read(lossy(), 2, 9, &[(3, 1)]),
        ];
        check(OneValue::default(), &events, true);
    }
}

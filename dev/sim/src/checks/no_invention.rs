//! Readers see only what was sent: every value is, byte for byte, one that a producer has sent to this partition. It
//! does not ask where or how often.

use super::Check;
use crate::history::{Event, Place, Seen};
use std::collections::BTreeMap;

/// How far each producer has come in each partition.
#[derive(Default)]
pub(super) struct NoInvention {
    sent: BTreeMap<(Place, u32), u32>,
}

impl NoInvention {
    fn judge(&self, place: &Place, records: &[Seen]) -> Result<(), String> {
        for (offset, value) in records {
            let Some(value) = value else {
                return Err(format!("{place:?} offset {offset} has a record that no producer makes"));
            };
            let sent = self.sent.get(&(place.clone(), value.producer));
            if value.partition != place.partition || sent.is_none_or(|sent| *sent < value.number) {
                return Err(format!("{place:?} offset {offset}: {value:?} was not sent there"));
            }
        }
        Ok(())
    }
}

impl Check for NoInvention {
    fn name(&self) -> &'static str {
        "no_invention"
    }

    fn on(&mut self, event: &Event) -> Result<(), String> {
        match event {
            Event::ProduceSent { place, values, .. } => {
                for value in values {
                    let sent = self.sent.entry((place.clone(), value.producer)).or_default();
                    *sent = (*sent).max(value.number);
                }
                Ok(())
            }
            Event::Read { place, records, .. } | Event::ReadAll { place, records, .. } => {
                self.judge(place, records)
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::kit::*, *};

    #[test]
    fn values_that_nobody_sent_there_are_found() {
        let events = |read| [sent(place(), &[0, 1]), read];
        check(NoInvention::default(), &events(read(place(), 1, 9, &[(0, 1)])), true);
        check(NoInvention::default(), &events(read(place(), 1, 9, &[(0, 2)])), false);
        check(NoInvention::default(), &events(read(lossy(), 1, 9, &[(0, 1)])), false);
        let damaged =
            Event::ReadAll { place: place(), log_start: 0, high_watermark: 1, records: vec![(0, None)] };
        check(NoInvention::default(), &events(damaged), false);
    }
}

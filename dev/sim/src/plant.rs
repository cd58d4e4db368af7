//! Bugs planted between the clients and the checks: an event is changed before any check hears of it, as if the broker
//! had said so. Bugs of the disk are planted in `world::DiskFaults`. Only runs that must fail use it.

use crate::{
    history::{Delivered, Event, Place, Seen, Unit},
    value::ValueId,
    world::Plant,
};
use std::{collections::BTreeSet, sync::Arc};

/// A planted bug and how often it could have struck.
pub struct Corruption {
    plant: Plant,
    chances: u32,
    stolen: Vec<Place>,
    /// What a member of a group was given last.
    given: BTreeSet<Unit>,
    /// What a member of a share group has got last: who, where, and which stretches.
    shared: Option<(Arc<str>, Place, Vec<Delivered>)>,
}

/// The bug strikes at this chance and at every later one that it gets.
const STRIKES_AT: u32 = 8;

impl Corruption {
    /// Nothing has struck yet.
    pub fn new(plant: Plant) -> Self {
        Self { plant, chances: 0, stolen: Vec::new(), given: BTreeSet::new(), shared: None }
    }

    fn strikes(&mut self) -> bool {
        self.chances += 1;
        self.chances >= STRIKES_AT
    }

    /// The event as the planted bug makes it.
    pub fn corrupt(&mut self, mut event: Event) -> Event {
        match (self.plant, &mut event) {
            (Plant::AckShifted, Event::ProduceAcked { base_offset, .. }) if self.strikes() => {
                *base_offset += 1
            }
            (Plant::BatchRepeated, Event::ReadAll { records, high_watermark, .. }) => {
                if let Some((offset, value)) = records.last().copied() {
                    records.push((offset + 1, value));
                    *high_watermark += 1;
                }
            }
            (Plant::RefusalHidden, Event::ProduceRefused { place, request, values }) => {
                return Event::ProduceKnown {
                    place: place.clone(),
                    request: *request,
                    values: values.clone(),
                };
            }
            (Plant::OffsetSkipped, Event::Read { records, .. }) if records.len() > 2 && self.strikes() => {
                records.remove(1);
            }
            (Plant::HighWatermarkOld, Event::Read { high_watermark, records, .. })
                if records.is_empty() && *high_watermark > 0 && self.strikes() =>
            {
                *high_watermark -= 1;
            }
            (Plant::AssignmentDoubled, Event::Assigned { places, .. }) => {
                for place in std::mem::take(&mut self.stolen) {
                    if !places.contains(&place) {
                        places.push(place);
                    }
                }
                self.stolen.clone_from(places);
            }
            (Plant::ValueInvented, Event::Read { records, .. }) if !records.is_empty() && self.strikes() => {
                if let Some((_, value)) = records.first_mut() {
                    *value = None;
                }
            }
            (Plant::ValueChanged, Event::ReadAll { records, .. }) => {
                if let Some((_, Some(ValueId { number, .. }))) =
                    records.last_mut().filter(|_| self.chances == 0)
                {
                    *number = number.saturating_sub(1);
                }
            }
            (Plant::AbortHidden, Event::TxnRead { kept, dropped, .. }) => {
                kept.append(dropped);
                kept.sort_by_key(|(offset, _)| *offset);
            }
            (Plant::CompactionForgetsLast, Event::ReadAll { place, records, .. }) if place.is_compacted => {
                forget_last(records);
            }
            (Plant::MarkerLost, Event::TxnReadAll { kept, .. }) => drop(kept.pop()),
            (Plant::CommitsSwapped, Event::TxnRead { kept, .. }) => {
                if let [(_, first), (_, second), ..] = &mut kept[..] {
                    std::mem::swap(first, second);
                }
            }
            (Plant::ZombieObeyed, Event::TxnAcked { epoch, .. }) if self.strikes() => *epoch = -1,
            (Plant::CommitForgotten, Event::CommitFetched { offset, .. })
                if *offset > 0 && self.strikes() =>
            {
                *offset = -1;
            }
            (_, event) => self.corrupt_others(event),
        }
        event
    }

    fn corrupt_others(&mut self, event: &mut Event) {
        match (self.plant, event) {
            (Plant::OwnerDoubled, Event::MemberHeard { given: Some(given), .. }) => {
                let own = given.clone();
                given.append(&mut self.given);
                self.given = own;
            }
            (Plant::ShareDoubled, Event::ShareAcquired { member, place, acquired, .. }) => {
                let own = (member.clone(), place.clone(), acquired.clone());
                if let Some((other, of, stolen)) = self.shared.replace(own)
                    && other != *member
                    && of == *place
                {
                    acquired.extend(stolen);
                }
            }
            (Plant::ShareCountForgotten, Event::ShareAcquired { acquired, .. }) if self.strikes() => {
                acquired.iter_mut().for_each(|(.., count)| *count = 1);
            }
            (Plant::SharePassedOver, Event::ShareDrained { records, .. }) => {
                records.push(records.last().map_or(0, |last| last + 1));
            }
            (Plant::PostingForgotten, Event::KeyRead { place, found, .. })
                if !place.is_compacted && !found.is_empty() =>
            {
                found.remove(0);
            }
            (Plant::LetterLost, Event::LettersRead { letters, .. }) => {
                let first = letters.first().cloned();
                letters.retain(|letter| Some(letter) != first.as_ref());
            }
            _ => {}
        }
    }
}

/// Takes the last record of some key away, but not the very last of all, whose lack another check would find too.
fn forget_last(records: &mut Vec<Seen>) {
    let key = |place: usize| records.get(place).and_then(|(_, value)| Some((*value)?.key()));
    let is_last = |at: usize| (at + 1..records.len()).all(|later| key(later) != key(at));
    if let Some(at) = (0..records.len().saturating_sub(1)).find(|at| is_last(*at)) {
        records.remove(at);
    }
}

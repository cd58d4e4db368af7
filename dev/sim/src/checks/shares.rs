//! What a share group (KIP-932) promises. A record that was accepted or rejected is not delivered again to whoever asks after
//! that was answered. Who gives a record back is followed by a delivery with a higher count. A member is obeyed only as long as
//! nobody else got the record after it. And in the end no record was passed over: each was delivered, and then accepted,
//! rejected, or delivered as often as the group allows; and where the group has a dead-letter topic (KIP-1191), that was told of
//! every one that was rejected.
//!
//! A leader that was deposed and does not know it yet may deliver what is done: nothing is written where records are acquired.
//! An answer that was lost may have delivered records that nobody saw.

use super::{Check, Floor, Requests};
use crate::history::{Event, Place, Verdict};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Everything that was delivered and said.
#[derive(Default)]
pub(super) struct Shares {
    requests: Requests,
    known: BTreeMap<(Arc<str>, Place), Known>,
    /// Records before it may be deleted.
    deleted: BTreeMap<Place, i64>,
}

#[derive(Default)]
struct Known {
    records: BTreeMap<i64, Record>,
    /// Fetches without an answer.
    unanswered: i64,
}

/// What is known of one record.
#[derive(Default)]
struct Record {
    deliveries: i64,
    count_max: i16,
    /// Who may have finished it.
    finishers: BTreeSet<Arc<str>>,
    /// The newest request when it was finished.
    done: Option<u64>,
    /// That was by being rejected.
    is_rejected: bool,
    /// What the next delivery's count must reach.
    counts: Floor,
    holders: BTreeMap<Arc<str>, Held>,
}

/// How a member got a record last.
#[derive(Clone, Copy)]
struct Held {
    request: u64,
    /// The newest request when that was answered.
    answered: u64,
    count: i16,
    is_current: bool,
}

impl Check for Shares {
    fn name(&self) -> &'static str {
        "shares"
    }

    fn on(&mut self, event: &Event) -> Result<(), String> {
        self.requests.on(event);
        match event {
            Event::DeleteRecordsSent { place, before } => {
                let deleted = self.deleted.entry(place.clone()).or_default();
                *deleted = (*deleted).max(*before);
            }
            Event::ShareUnanswered { group, place } => {
                self.known.entry((group.clone(), place.clone())).or_default().unanswered += 1;
            }
            Event::ShareAcquired { group, member, place, request, acquired, is_current } => {
                let answered = self.requests.newest;
                let known = self.known.entry((group.clone(), place.clone())).or_default();
                for (first, last, count) in acquired.iter().copied() {
                    for offset in first..=last {
                        let one = known.records.entry(offset).or_default();
                        let held = Held { request: *request, answered, count, is_current: *is_current };
                        let judged = one.deliver(member, held);
                        judged.map_err(|what| format!("group {group}, {place:?}: {offset} {what}"))?;
                    }
                }
            }
            Event::ShareSaid { of, member, about: (first, last), verdict } if verdict.is_final() => {
                let known = self.known.entry(of.clone()).or_default();
                for offset in *first..=*last {
                    known.records.entry(offset).or_default().finishers.insert(member.clone());
                }
            }
            Event::ShareTaken { of, member, request, about: (first, last), verdict } => {
                let newest = self.requests.newest;
                let deleted = self.deleted.get(&of.1).copied().unwrap_or(0);
                let known = self.known.entry(of.clone()).or_default();
                for offset in (*first).max(deleted)..=*last {
                    let one = known.records.entry(offset).or_default();
                    // What was compacted away is passed as a gap, and whoever speaks of it after that is obeyed.
                    let judged = one.take(member, (*request, newest), (*verdict, of.1.is_compacted));
                    judged.map_err(|what| format!("group {}, {:?}: {offset} {what}", of.0, of.1))?;
                }
            }
            // Each replica compacts on its own: what one leader had no more the next one may still have.
            Event::ShareDrained { place, .. } if place.is_compacted => {}
            Event::ShareDrained { group, place, records, count_max } => {
                let known = self.known.entry((group.clone(), place.clone())).or_default();
                let limit = i64::from(*count_max);
                let is_over = |offset: &&i64| match known.records.get(offset) {
                    Some(one) if !one.finishers.is_empty() || one.count_max >= *count_max => true,
                    one => one.map_or(0, |one| one.deliveries) + known.unanswered >= limit,
                };
                if let Some(offset) = records.iter().find(|offset| !is_over(offset)) {
                    return Err(format!("group {group}, {place:?}: {offset} was passed over"));
                }
            }
            Event::LettersRead { group, letters } => self.check_letters(group, letters)?,
            _ => {}
        }
        Ok(())
    }
}

impl Shares {
    fn check_letters(&self, group: &Arc<str>, letters: &[(String, i32, i64)]) -> Result<(), String> {
        let told: BTreeSet<(&str, i32, i64)> =
            letters.iter().map(|(topic, partition, offset)| (&**topic, *partition, *offset)).collect();
        // What was compacted away is passed as a gap, and whoever rejects it after that is obeyed.
        let is_of = |(of, place): &(Arc<str>, Place)| of == group && !place.is_compacted;
        for ((_, place), known) in self.known.iter().filter(|(key, _)| is_of(key)) {
            let deleted = self.deleted.get(place).copied().unwrap_or(0);
            let missing = known.records.range(deleted..).find(|(offset, one)| {
                one.is_rejected && !told.contains(&(&*place.topic, place.partition, **offset))
            });
            if let Some((offset, _)) = missing {
                return Err(format!(
                    "group {group}, {place:?}: {offset} was rejected, and the dead-letter topic was not told"
                ));
            }
        }
        Ok(())
    }
}

impl Record {
    fn deliver(&mut self, member: &Arc<str>, held: Held) -> Result<(), String> {
        self.deliveries += 1;
        self.count_max = self.count_max.max(held.count);
        self.holders.insert(member.clone(), held);
        if !held.is_current {
            return Ok(());
        }
        if self.done.is_some_and(|done| done < held.request) {
            return Err(format!("is delivered to {member}, it was finished before"));
        }
        match self.counts.of(held.request).filter(|floor| *floor > i64::from(held.count)) {
            Some(floor) => {
                Err(format!("is delivered for the {}. time, not the {floor}. or later", held.count))
            }
            None => Ok(()),
        }
    }

    fn take(
        &mut self,
        member: &Arc<str>,
        (request, newest): (u64, u64),
        (verdict, may_be_gone): (Verdict, bool),
    ) -> Result<(), String> {
        let Some(own) = self.holders.get(member).copied() else {
            return Err(format!("was never delivered to {member}, who is obeyed"));
        };
        // What is done may be said to be done by anybody.
        let may_be_done = may_be_gone || self.finishers.iter().any(|other| other != member);
        let later = self.holders.iter().find(|(other, held)| {
            *other != member && held.is_current && held.request > own.answered && held.answered < request
        });
        if let Some((other, held)) = later.filter(|(_, held)| !may_be_done && held.count < COUNT_SURE) {
            return Err(format!("is {other}'s for the {}. time, and {member} is obeyed", held.count));
        }
        match verdict {
            Verdict::Accept | Verdict::Reject => {
                self.is_rejected |= verdict == Verdict::Reject && self.done.is_none() && !may_be_done;
                self.done = self.done.or(Some(newest));
            }
            Verdict::Release => self.counts.raise(newest, i64::from(own.count) + 1),
            Verdict::Renew => {}
        }
        Ok(())
    }
}

/// Below this count no group has given a record up. Of one that was given up anything may be said: it is before the start.
const COUNT_SURE: i16 = 2;

#[cfg(test)]
mod tests {
    use super::{super::kit::*, *};

    fn acquired(member: &str, request: u64, count: i16) -> Event {
        Event::ShareAcquired {
            group: "g".into(),
            member: member.into(),
            place: place(),
            request,
            acquired: vec![(3, 4, count)],
            is_current: true,
        }
    }

    fn asked(request: u64) -> Event {
        Event::Asked { request }
    }

    fn said(member: &str, verdict: Verdict) -> Event {
        Event::ShareSaid { of: ("g".into(), place()), member: member.into(), about: (3, 4), verdict }
    }

    fn taken(member: &str, request: u64, verdict: Verdict) -> Event {
        Event::ShareTaken {
            of: ("g".into(), place()),
            member: member.into(),
            request,
            about: (3, 4),
            verdict,
        }
    }

    fn drained(records: &[i64]) -> Event {
        Event::ShareDrained { group: "g".into(), place: place(), records: records.to_vec(), count_max: 5 }
    }

    #[test]
    fn what_is_finished_is_not_delivered_to_who_asks_later() {
        for verdict in [Verdict::Accept, Verdict::Reject] {
            let begun = [
                asked(1),
                acquired("a", 1, 1),
                asked(2),
                asked(3),
                said("a", verdict),
                taken("a", 3, verdict),
            ];
            let then = |next: &[Event]| begun.iter().chain(next).cloned().collect::<Vec<_>>();
            check(Shares::default(), &then(&[acquired("b", 2, 2)]), true);
            check(Shares::default(), &then(&[asked(4), acquired("b", 4, 2)]), false);
        }
    }

    #[test]
    fn a_delivery_after_one_that_was_given_back_counts_higher() {
        let cases = [(1, 2, true), (1, 3, true), (1, 1, false), (2, 3, true), (2, 2, false)];
        for (former, count, is_fine) in cases {
            let verdict = Verdict::Release;
            let events = [
                asked(1),
                acquired("a", 1, former),
                asked(2),
                said("a", verdict),
                taken("a", 2, verdict),
                asked(3),
                acquired("b", 3, count),
            ];
            check(Shares::default(), &events, is_fine);
        }
    }

    #[test]
    fn who_lost_a_record_to_another_is_not_obeyed() {
        let events = |said_at: u64| {
            let mut events = vec![asked(1), acquired("a", 1, 1), asked(2)];
            if said_at == 2 {
                events.push(said("a", Verdict::Release));
            }
            events.extend([acquired("b", 2, 1), asked(3), taken("a", said_at, Verdict::Release)]);
            events
        };
        check(Shares::default(), &events(3), false);
        check(Shares::default(), &events(2), true);
        check(Shares::default(), &[asked(1), taken("a", 1, Verdict::Renew)], false);
        // Where the record may have been compacted away.
        let gone = events(3).into_iter().map(|event| match event {
            Event::ShareAcquired { group, member, request, acquired, is_current, .. } => {
                Event::ShareAcquired { group, member, place: compacted(), request, acquired, is_current }
            }
            Event::ShareTaken { member, request, about, verdict, .. } => {
                Event::ShareTaken { of: ("g".into(), compacted()), member, request, about, verdict }
            }
            other => other,
        });
        check(Shares::default(), &gone.collect::<Vec<_>>(), true);
    }

    #[test]
    fn the_dead_letter_topic_is_told_of_what_was_rejected() {
        let letters = |offsets: &[i64]| Event::LettersRead {
            group: "g".into(),
            letters: offsets.iter().map(|offset| ("t".to_owned(), 0, *offset)).collect(),
        };
        for (verdict, offsets, is_fine) in [
            (Verdict::Reject, &[3, 4][..], true),
            (Verdict::Reject, &[4], false),
            (Verdict::Accept, &[], true),
        ] {
            let events = [
                asked(1),
                acquired("a", 1, 1),
                asked(2),
                said("a", verdict),
                taken("a", 2, verdict),
                letters(offsets),
            ];
            check(Shares::default(), &events, is_fine);
        }
    }

    #[test]
    fn in_the_end_every_record_was_finished_or_delivered_often_enough() {
        let begun = [asked(1), acquired("a", 1, 1)];
        let then = |next: &[Event]| begun.iter().chain(next).cloned().collect::<Vec<_>>();
        check(Shares::default(), &then(&[drained(&[3, 4])]), false);
        check(Shares::default(), &then(&[said("a", Verdict::Accept), drained(&[3, 4])]), true);
        check(Shares::default(), &then(&[said("a", Verdict::Accept), drained(&[3, 4, 5])]), false);
        check(Shares::default(), &then(&[asked(2), acquired("b", 2, 5), drained(&[3, 4])]), true);
        let unanswered = Event::ShareUnanswered { group: "g".into(), place: place() };
        let mut often = vec![unanswered; 4];
        often.push(drained(&[3, 4]));
        check(Shares::default(), &then(&often), true);
    }
}

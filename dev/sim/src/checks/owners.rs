//! Of a group whose partitions the coordinator shares out (KIP-848), and of the tasks of one of Kafka Streams (KIP-1071): what a
//! member was given is nobody else's before the member has said that it no longer has it, or has left, or was told that it is
//! out, or may have been silent for too long. That holds over failovers, since all of it is in the log, but not of what a
//! coordinator says that was deposed and does not know it yet.
//!
//! It does not judge how things are shared out; that in the end each has an owner is for the run to see.

use super::Check;
use crate::history::{Event, Unit};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Who has what.
#[derive(Default)]
pub(super) struct Owners {
    members: BTreeMap<(Arc<str>, Arc<str>), Member>,
}

#[derive(Default)]
struct Member {
    has: BTreeSet<Unit>,
    /// When it sent the last heartbeat that was well received.
    heard_ms: u64,
}

impl Check for Owners {
    fn name(&self) -> &'static str {
        "owners"
    }

    fn on(&mut self, event: &Event) -> Result<(), String> {
        match event {
            Event::MemberKeeps { group, member, units } => {
                if let Some(known) = self.members.get_mut(&(group.clone(), member.clone())) {
                    known.has.retain(|unit| units.contains(unit));
                }
            }
            Event::MemberGone { group, member } => {
                self.members.remove(&(group.clone(), member.clone()));
            }
            Event::MemberHeard { group, member, sent_ms, now_ms, session_ms, given, is_current } => {
                let is_over = |heard_ms: u64| heard_ms + session_ms <= *now_ms;
                if let Some(given) = given.as_ref().filter(|_| *is_current && !is_over(*sent_ms)) {
                    let others = self.members.iter().filter(|((of, other), known)| {
                        of == group && other != member && !is_over(known.heard_ms)
                    });
                    for ((_, other), known) in others {
                        if let Some(unit) = given.iter().find(|unit| known.has.contains(unit)) {
                            return Err(format!(
                                "group {group}: {member} is given {unit:?}, which {other} has"
                            ));
                        }
                    }
                }
                let known = self.members.entry((group.clone(), member.clone())).or_default();
                known.heard_ms = *sent_ms;
                if let Some(given) = given.as_ref().filter(|_| *is_current) {
                    known.has.extend(given.iter().cloned());
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

    fn heard(member: &str, now_ms: u64, given: Option<&[i32]>) -> Event {
        let units = |all: &[i32]| all.iter().map(|number| ("t".into(), *number)).collect();
        Event::MemberHeard {
            group: "g".into(),
            member: member.into(),
            sent_ms: now_ms - 5,
            now_ms,
            session_ms: 1000,
            given: given.map(units),
            is_current: true,
        }
    }

    #[test]
    fn what_a_member_has_is_nobody_elses_until_it_says_so() {
        let begun = [heard("a", 10, Some(&[1, 2]))];
        let then = |next: &[Event]| begun.iter().chain(next).cloned().collect::<Vec<_>>();
        let keeps = Event::MemberKeeps {
            group: "g".into(),
            member: "a".into(),
            units: [("t".into(), 1)].into_iter().collect(),
        };
        check(Owners::default(), &then(&[heard("b", 20, Some(&[3]))]), true);
        check(Owners::default(), &then(&[heard("b", 20, Some(&[2]))]), false);
        check(Owners::default(), &then(&[keeps.clone(), heard("b", 20, Some(&[2]))]), true);
        check(Owners::default(), &then(&[keeps, heard("b", 20, Some(&[1]))]), false);
    }

    #[test]
    fn who_has_left_or_may_have_been_silent_for_too_long_has_nothing() {
        let begun = [heard("a", 10, Some(&[1]))];
        let then = |next: &[Event]| begun.iter().chain(next).cloned().collect::<Vec<_>>();
        let gone = Event::MemberGone { group: "g".into(), member: "a".into() };
        check(Owners::default(), &then(&[gone, heard("b", 20, Some(&[1]))]), true);
        check(Owners::default(), &then(&[heard("b", 1100, Some(&[1]))]), true);
        check(Owners::default(), &then(&[heard("a", 900, None), heard("b", 1100, Some(&[1]))]), false);
    }
}

//! The judgement: what Jepsen's kafka workload calls anomalies, looked for in the histories of all clients and the log
//! that was read at the end. It knows nothing of nodes and faults. Transactions are not part of these workloads.
//!
//! Lost write, inconsistent offset, duplicate, poll skip, non-monotonic poll and send: jepsen.tests.kafka; in addition
//! records that nobody wrote, holes in the log, committed offsets that go back, and idempotent producers that cannot go on.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::history::{Event, History, Role, Value, What};

/// Of one kind no more are told: the first ones say it all.
const TOLD_MAX: usize = 5;

/// What must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anomaly {
    /// Its name.
    pub kind: &'static str,
    /// What was seen.
    pub text: String,
}

/// How much was judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// Records in the log at the end.
    pub records: usize,
    /// Acknowledgements.
    pub acks: usize,
    /// Records whose fate the producer does not know.
    pub unknown: usize,
    /// Records polled on the way.
    pub polled: usize,
    /// Commits of the group.
    pub commits: usize,
}

/// The log as it was read at the end: by partition, the value at each offset from 0.
type Log = BTreeMap<u32, Vec<Option<Value>>>;

/// Everything that is wrong, and how much was looked at.
pub fn judge(histories: &[History]) -> (Vec<Anomaly>, Extent) {
    let mut judge = Judge::default();
    judge.read_log(histories);
    judge.values_once();
    judge.written_by_somebody(histories);
    judge.sent_in_order();
    for history in histories {
        judge.fatal(history);
        judge.acks(history);
        judge.polls(history);
    }
    judge.commits(histories);
    judge.extent.records = judge.log.values().map(Vec::len).sum();
    (judge.told, judge.extent)
}

#[derive(Default)]
struct Judge {
    log: Log,
    places: HashMap<Value, (u32, i64)>,
    told: Vec<Anomaly>,
    counts: HashMap<&'static str, usize>,
    extent: Extent,
}

impl Judge {
    fn tell(&mut self, kind: &'static str, text: impl FnOnce() -> String) {
        let count = self.counts.entry(kind).or_default();
        *count += 1;
        if *count <= TOLD_MAX {
            self.told.push(Anomaly { kind, text: text() });
        }
    }

    fn at(&self, partition: u32, offset: i64) -> Option<&Option<Value>> {
        self.log.get(&partition)?.get(usize::try_from(offset).ok()?)
    }

    fn read_log(&mut self, histories: &[History]) {
        for event in histories.iter().filter(|h| h.role == Role::Last).flat_map(|h| &h.events) {
            let What::Read { partition, offset, value } = event.what else { continue };
            let end = self.log.entry(partition).or_default().len() as i64;
            if offset != end {
                self.tell("hole", || format!("{partition}: offset {offset} follows {}", end - 1));
            }
            self.log.entry(partition).or_default().push(value);
        }
    }

    fn fatal(&mut self, history: &History) {
        for event in &history.events {
            if let What::Fatal(why) = &event.what {
                self.tell("fatal error", || format!("{}: {why}", history.name));
            }
        }
    }

    fn values_once(&mut self) {
        let mut twice = Vec::new();
        for (partition, values) in &self.log {
            for (offset, value) in values.iter().enumerate() {
                let Some(value) = value else { continue };
                let place = (*partition, offset as i64);
                if let Some(before) = self.places.insert(*value, place) {
                    twice.push((*value, before, place));
                }
            }
        }
        for (value, before, place) in twice {
            self.tell("duplicate", || format!("{value} is at {before:?} and at {place:?}"));
        }
    }

    fn written_by_somebody(&mut self, histories: &[History]) {
        let sent: HashSet<Value> = histories
            .iter()
            .flat_map(|history| &history.events)
            .filter_map(|event| if let What::Send(value) = event.what { Some(value) } else { None })
            .collect();
        let mut foreign = Vec::new();
        for (partition, values) in &self.log {
            for (offset, value) in values.iter().enumerate() {
                let is_known = value.is_some_and(|v| sent.contains(&v) && v.partition == *partition);
                if !is_known {
                    foreign.push((*partition, offset, *value));
                }
            }
        }
        for (partition, offset, value) in foreign {
            self.tell("invented", || {
                format!("{partition}@{offset} holds {value:?}, which nobody sent there")
            });
        }
    }

    fn sent_in_order(&mut self) {
        let mut wrong = Vec::new();
        for (partition, values) in &self.log {
            let mut last: HashMap<u32, u64> = HashMap::new();
            for value in values.iter().flatten() {
                let before = last.insert(value.writer, value.number);
                if before.is_some_and(|before| before > value.number) {
                    wrong.push((*partition, *value, before.unwrap_or_default()));
                }
            }
        }
        for (partition, value, before) in wrong {
            self.tell("non-monotonic send", || format!("{partition}: {value} stands behind number {before}"));
        }
    }

    fn acks(&mut self, history: &History) {
        for event in &history.events {
            match event.what {
                What::Ack(value, offset) => {
                    self.extent.acks += 1;
                    match self.places.get(&value).copied() {
                        None => self
                            .tell("lost write", || format!("{value}, acknowledged at {offset:?}, is gone")),
                        Some(place) if place != (value.partition, offset.unwrap_or(place.1)) => {
                            self.tell("inconsistent offset", || {
                                format!("{value} was acknowledged at {offset:?} and is at {place:?}")
                            });
                        }
                        Some(_) => {}
                    }
                }
                What::Fail(_) => self.extent.unknown += 1,
                _ => {}
            }
        }
    }

    fn polls(&mut self, history: &History) {
        let mut last: HashMap<u32, i64> = HashMap::new();
        for event in &history.events {
            match &event.what {
                // A new owner begins where the group is.
                What::Assign(..) => last.clear(),
                What::Read { partition, offset, value } if history.role != Role::Last => {
                    self.extent.polled += 1;
                    let name = &history.name;
                    match self.at(*partition, *offset) {
                        None => self
                            .tell("lost read", || format!("{name} read {partition}@{offset}, which is gone")),
                        Some(found) if found != value => {
                            let found = *found;
                            self.tell("inconsistent offset", || {
                                format!("{name} read {value:?} at {partition}@{offset}, where {found:?} is")
                            });
                        }
                        Some(_) => {}
                    }
                    let expected = match (last.insert(*partition, *offset), history.role) {
                        (Some(before), Role::Reader) => before + 1,
                        (None, Role::Reader) => 0,
                        _ => continue,
                    };
                    if *offset > expected {
                        self.tell("poll skip", || {
                            format!("{name} came to {partition}@{offset}, not {expected}")
                        });
                    } else if *offset < expected {
                        self.tell("non-monotonic poll", || {
                            format!("{name} came to {partition}@{offset} again, not to {expected}")
                        });
                    }
                }
                _ => {}
            }
        }
    }

    /// What was asked after a commit was acknowledged must not answer with less.
    fn commits(&mut self, histories: &[History]) {
        let members = histories.iter().filter(|history| history.role == Role::Member);
        let mut told: Vec<(u64, u64, &Event, &str)> = Vec::new();
        for history in members {
            for event in &history.events {
                match event.what {
                    What::Commit(asked, _) | What::Assign(asked, _) => {
                        told.push((asked, event.at_us, event, &history.name));
                    }
                    _ => {}
                }
            }
        }
        let mut acked: Vec<(u64, u32, i64)> = Vec::new();
        for (_, at, event, _) in &told {
            if let What::Commit(_, offsets) = &event.what {
                self.extent.commits += 1;
                acked.extend(offsets.iter().map(|(partition, offset)| (*at, *partition, *offset)));
            }
        }
        acked.sort_unstable();
        told.sort_unstable_by_key(|(asked, ..)| *asked);
        let (mut highest, mut next) = (HashMap::<u32, i64>::new(), acked.into_iter().peekable());
        for (asked, _, event, name) in told {
            while let Some((_, partition, offset)) = next.next_if(|(at, ..)| *at < asked) {
                let known = highest.entry(partition).or_insert(offset);
                *known = (*known).max(offset);
            }
            let (What::Commit(_, offsets) | What::Assign(_, offsets)) = &event.what else { continue };
            for (partition, offset) in offsets {
                if let Some(before) = highest.get(partition).copied().filter(|before| offset < before) {
                    self.tell("committed offset back", || {
                        format!(
                            "{name} was told {offset} of {partition} after {before} had been acknowledged"
                        )
                    });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(number: u64) -> Value {
        Value { writer: 0, partition: 0, number }
    }

    fn read(offset: i64, number: u64) -> What {
        What::Read { partition: 0, offset, value: Some(value(number)) }
    }

    fn history(role: Role, whats: &[What]) -> History {
        let events =
            whats.iter().enumerate().map(|(at, what)| Event { at_us: at as u64 * 10, what: what.clone() });
        History { name: format!("{role:?}"), role, events: events.collect() }
    }

    /// Three records that were sent and acknowledged, and what others saw of them.
    fn kinds(changed: impl FnOnce(&mut Vec<History>)) -> Vec<&'static str> {
        let sent = (0..3)
            .flat_map(|n| [What::Send(value(n)), What::Ack(value(n), Some(n as i64))])
            .collect::<Vec<_>>();
        let seen = (0..3).map(|n| read(n as i64, n)).collect::<Vec<_>>();
        let commits =
            [What::Assign(0, vec![(0, -1)]), What::Commit(5, vec![(0, 2)]), What::Commit(25, vec![(0, 3)])];
        let mut all = vec![
            history(Role::Producer, &sent),
            history(Role::Reader, &seen),
            history(Role::Member, &commits),
            history(Role::Last, &seen),
        ];
        changed(&mut all);
        let mut kinds: Vec<_> = judge(&all).0.into_iter().map(|anomaly| anomaly.kind).collect();
        kinds.dedup();
        kinds
    }

    #[test]
    fn a_producer_that_can_go_on_no_more_is_an_anomaly() {
        let fatal = |all: &mut Vec<History>| {
            all[0].events.push(Event { at_us: 99, what: What::Fatal("out of order".to_owned()) });
        };
        assert_eq!(kinds(fatal), ["fatal error"]);
    }

    #[test]
    fn a_faithful_history_has_no_anomaly() {
        assert_eq!(kinds(|_| {}), [""; 0]);
    }

    #[test]
    fn each_anomaly_is_found() {
        let last = |all: &mut Vec<History>, whats: &[What]| all[3] = history(Role::Last, whats);
        assert_eq!(kinds(|all| last(all, &[read(0, 0), read(1, 1)])), ["lost write", "lost read"]);
        let repeated = [read(0, 0), read(1, 1), read(2, 2), read(3, 1)];
        assert!(kinds(|all| last(all, &repeated)).contains(&"duplicate"));
        assert!(kinds(|all| last(all, &repeated)).contains(&"non-monotonic send"));
        let foreign = [read(0, 0), read(1, 1), read(2, 2), read(3, 77)];
        assert_eq!(kinds(|all| last(all, &foreign)), ["invented"]);
        assert!(kinds(|all| last(all, &[read(0, 0), read(2, 1), read(3, 2)])).contains(&"hole"));
        let swapped = [read(0, 1), read(1, 0), read(2, 2)];
        assert!(kinds(|all| last(all, &swapped)).contains(&"inconsistent offset"));
        assert!(kinds(|all| last(all, &swapped)).contains(&"non-monotonic send"));
        let reader = |all: &mut Vec<History>, whats: &[What]| all[1] = history(Role::Reader, whats);
        assert_eq!(kinds(|all| reader(all, &[read(0, 0), read(2, 2)])), ["poll skip"]);
        assert_eq!(kinds(|all| reader(all, &[read(0, 0), read(1, 1), read(1, 1)])), ["non-monotonic poll"]);
        assert_eq!(kinds(|all| reader(all, &[read(0, 2)])), ["inconsistent offset"]);
        let member = |all: &mut Vec<History>, whats: &[What]| all[2] = history(Role::Member, whats);
        let back = [What::Commit(0, vec![(0, 3)]), What::Assign(5, vec![(0, 2)])];
        assert_eq!(kinds(|all| member(all, &back)), ["committed offset back"]);
        let lost = [What::Commit(0, vec![(0, 3)]), What::Assign(5, vec![(0, -1)])];
        assert_eq!(kinds(|all| member(all, &lost)), ["committed offset back"]);
    }

    #[test]
    fn what_was_given_up_may_be_there_or_not() {
        let unsure = |all: &mut Vec<History>| {
            all[0].events.push(Event { at_us: 90, what: What::Send(value(3)) });
            all[0].events.push(Event { at_us: 91, what: What::Fail(value(3)) });
        };
        assert_eq!(kinds(unsure), [""; 0]);
        let there = |all: &mut Vec<History>| {
            unsure(all);
            all[3].events.push(Event { at_us: 99, what: read(3, 3) });
        };
        assert_eq!(kinds(there), [""; 0]);
    }
}

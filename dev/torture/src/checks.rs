//! The judgement: what Jepsen's kafka workload calls anomalies, looked for in the histories of all clients and the log
//! that was read at the end. It knows nothing of nodes and faults. Transactions are not part of these workloads.
//!
//! Lost write, inconsistent offset, duplicate, poll skip, non-monotonic poll and send: jepsen.tests.kafka; in addition
//! records that nobody wrote, holes in the log, committed offsets that go back, readers that are told that their offset is none,
//! idempotent producers that cannot go on, clients that do not end, and sequences of a producer that do not follow each other.
//! That a reader's library fell silent and another one went on at once is told and counted, but no anomaly.
//!
//! A record that an idempotent producer sent again in another epoch is its own doing, which no broker can see: librdkafka takes a new
//! epoch for all partitions where one refuses a sequence, and sends in it what another one may have (its issue 4953). Such a copy is
//! counted and told, but no anomaly; the sequences within each epoch are all looked at instead.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::history::{Event, History, Role, Value, What};
use crate::origins::{Origin, Written};

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
    /// Records that their producer sent again in another epoch, or behind later ones.
    pub again: usize,
    /// Readers that began anew because their library read no more.
    pub silent: usize,
}

/// The log as it was read at the end: by partition, the value at each offset from 0.
type Log = BTreeMap<u32, Vec<Option<Value>>>;

/// Everything that is wrong, and how much was looked at. `written` has each partition's batches.
pub fn judge(histories: &[History], written: &BTreeMap<u32, Written>) -> (Vec<Anomaly>, Extent) {
    let mut judge = Judge::new(written);
    judge.read_log(histories);
    judge.sequences();
    judge.values_once();
    judge.written_by_somebody(histories);
    judge.sent_in_order();
    for history in histories {
        judge.health(history);
        judge.acks(history);
        judge.polls(history);
    }
    judge.commits(histories);
    judge.extent.records = judge.log.values().map(Vec::len).sum();
    (judge.told, judge.extent)
}

struct Judge<'a> {
    written: &'a BTreeMap<u32, Written>,
    log: Log,
    places: HashMap<Value, (u32, i64)>,
    /// Where else those are that were sent again in another epoch.
    earlier: HashMap<Value, Vec<(u32, i64)>>,
    told: Vec<Anomaly>,
    counts: HashMap<&'static str, usize>,
    extent: Extent,
}

impl<'a> Judge<'a> {
    fn new(written: &'a BTreeMap<u32, Written>) -> Self {
        Self {
            written,
            log: Log::default(),
            places: HashMap::default(),
            earlier: HashMap::default(),
            told: Vec::default(),
            counts: HashMap::default(),
            extent: Extent::default(),
        }
    }

    fn origin(&self, (partition, offset): (u32, i64)) -> Option<Origin> {
        self.written.get(&partition)?.origin(offset)
    }

    /// Whether the producer of what stands at `later` could not be recognised as that of what stands at `before`; and what is said.
    fn is_foreign(&self, before: (u32, i64), later: (u32, i64)) -> (bool, String) {
        match (self.origin(before), self.origin(later)) {
            (Some(before), Some(later)) => (later.is_foreign_to(&before), format!("{before}, then {later}")),
            _ => (false, "the disks do not say by whom".to_owned()),
        }
    }

    fn sequences(&mut self) {
        for (partition, written) in self.written {
            for broken in written.broken_sequences() {
                self.tell("sequence", || format!("{partition}: {broken}"));
            }
        }
    }

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

    fn health(&mut self, history: &History) {
        let name = &history.name;
        for event in &history.events {
            match &event.what {
                What::Fatal(why) => self.tell("fatal error", || format!("{name}: {why}")),
                What::Reset(partition, why) => {
                    self.tell("offset reset", || format!("{name}, partition {partition}: {why}"));
                }
                What::Killed => self.tell("no end", || format!("{name} was asked to end and did not")),
                What::Silent(partition, seconds, words) => {
                    self.extent.silent += 1;
                    println!(
                        "{name} read nothing of partition {partition} for {seconds} s and began anew; its library's last \
                         words are in {words}"
                    );
                }
                _ => {}
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
            let (is_foreign, origins) = self.is_foreign(before, place);
            if is_foreign {
                self.sent_again(format!("{value} is at {before:?} and at {place:?} ({origins})"));
                self.earlier.entry(value).or_default().push(before);
            } else {
                self.tell("duplicate", || format!("{value} is at {before:?} and at {place:?} ({origins})"));
            }
        }
    }

    fn sent_again(&mut self, what: String) {
        self.extent.again += 1;
        if self.extent.again <= TOLD_MAX {
            println!("sent again by its producer in another epoch: {what}");
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
            let mut last: HashMap<u32, (u64, i64)> = HashMap::new();
            for (offset, value) in (0..).zip(values) {
                let Some(value) = value else { continue };
                match last.insert(value.writer, (value.number, offset)) {
                    Some((number, at)) if number > value.number => {
                        wrong.push((*value, number, (*partition, at), (*partition, offset)));
                    }
                    _ => {}
                }
            }
        }
        for (value, number, before, place) in wrong {
            let (is_foreign, origins) = self.is_foreign(before, place);
            let what =
                format!("{value} at {place:?} stands behind number {number} at {before:?} ({origins})");
            if is_foreign {
                self.sent_again(what);
            } else {
                self.tell("non-monotonic send", || what);
            }
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
                        Some(place) if !self.is_at(value, offset, place) => {
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

    fn is_at(&self, value: Value, offset: Option<i64>, place: (u32, i64)) -> bool {
        let told = (value.partition, offset.unwrap_or(place.1));
        place == told || self.earlier.get(&value).is_some_and(|places| places.contains(&told))
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
    use crate::origins::tests::written;

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
        judged(changed, &[(7, 0, 0), (7, 0, 1), (7, 0, 2), (7, 0, 3)]).0
    }

    fn judged(
        changed: impl FnOnce(&mut Vec<History>),
        origins: &[(i64, i16, i32)],
    ) -> (Vec<&'static str>, Extent) {
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
        let (told, extent) = judge(&all, &BTreeMap::from([(0, written(origins))]));
        let mut kinds: Vec<_> = told.into_iter().map(|anomaly| anomaly.kind).collect();
        kinds.dedup();
        (kinds, extent)
    }

    #[test]
    fn what_a_producer_sends_again_in_a_new_epoch_is_no_anomaly_and_counted() {
        let again = |all: &mut Vec<History>| {
            all[3] = history(Role::Last, &[read(0, 0), read(1, 1), read(2, 2), read(3, 1)]);
        };
        let (kinds, extent) = judged(again, &[(7, 0, 0), (7, 0, 1), (7, 0, 2), (7, 1, 0)]);
        assert_eq!((kinds, extent.again), (vec![], 2), "a copy, and behind its successor");
        let same_epoch = [(7, 0, 0), (7, 0, 1), (7, 0, 2), (7, 0, 3)];
        let (kinds, extent) = judged(again, &same_epoch);
        assert_eq!(
            (kinds, extent.again),
            (vec!["duplicate", "non-monotonic send", "inconsistent offset"], 0)
        );
        let (kinds, _) = judged(again, &same_epoch[..3]);
        assert!(kinds.contains(&"duplicate"), "who cannot be asked is not excused: {kinds:?}");
    }

    #[test]
    fn sequences_that_do_not_follow_each_other_are_an_anomaly() {
        let (kinds, _) = judged(|_| {}, &[(7, 0, 0), (7, 0, 2), (7, 0, 3)]);
        assert_eq!(kinds, ["sequence"]);
    }

    #[test]
    fn a_producer_that_can_go_on_no_more_is_an_anomaly() {
        let fatal = |all: &mut Vec<History>| {
            all[0].events.push(Event { at_us: 99, what: What::Fatal("out of order".to_owned()) });
        };
        assert_eq!(kinds(fatal), ["fatal error"]);
    }

    #[test]
    fn a_reader_that_is_reset_and_a_client_that_does_not_end_are_anomalies_and_one_that_began_anew_is_counted()
     {
        let with = |what: What| move |all: &mut Vec<History>| all[1].events.push(Event { at_us: 99, what });
        assert_eq!(kinds(with(What::Reset(0, "no offset".to_owned()))), ["offset reset"]);
        assert_eq!(kinds(with(What::Killed)), ["no end"]);
        let (kinds, extent) =
            judged(with(What::Silent(0, 60, "words".to_owned())), &[(7, 0, 0), (7, 0, 1), (7, 0, 2)]);
        assert_eq!((kinds, extent.silent), (vec![], 1));
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

//! A host for tests: asks a shard, commits or loses its appends at random points, and rebuilds it by replay.
//!
//! It is no simulator: no time passes by itself and nothing runs at once. Tests of shards call it with requests and
//! a source of chance; a failure is a panic with the place in the history.

use crate::{Now, Shard};

/// A shard with its log, as the host keeps them. `New` makes an empty shard.
pub struct Host<S: Shard, New> {
    new: New,
    shard: S,
    log: Vec<S::Record>,
    committed: usize,
    waiting: Vec<(usize, u64, S::Reply)>,
    asked: u64,
}

/// What became of a request, by its number (the first is 0).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer<Reply, Failure> {
    /// Its records are committed and this is the reply.
    Replied(u64, Reply),
    /// The shard refused it.
    Refused(u64, Failure),
    /// Its append was lost in a crash: the client does not know whether it happened; it did not.
    Lost(u64),
}

type AnswerOf<S> = Answer<<S as Shard>::Reply, <S as Shard>::Failure>;

impl<S, New> Host<S, New>
where
    S: Shard,
    S::Record: Clone,
    New: Fn() -> S,
{
    /// A host of a new shard with an empty log.
    pub fn new(new: New) -> Self {
        let shard = new();
        Self { new, shard, log: Vec::new(), committed: 0, waiting: Vec::new(), asked: 0 }
    }

    /// The shard, with everything replayed that was appended.
    pub fn shard(&self) -> &S {
        &self.shard
    }

    /// The records that no crash can take back.
    pub fn committed(&self) -> &[S::Record] {
        self.log.get(..self.committed).unwrap_or_default()
    }

    /// Asks the shard, appends and replays its records. The answer comes at once only if it is a refusal.
    pub fn ask(&mut self, now: Now, request: S::Request) -> Option<AnswerOf<S>> {
        let number = self.asked;
        self.asked += 1;
        match self.shard.handle(now, request) {
            Ok(outcome) => {
                for record in outcome.records {
                    self.log.push(record.clone());
                    self.shard.replay(record);
                }
                self.waiting.push((self.log.len(), number, outcome.reply));
                None
            }
            Err(failure) => Some(Answer::Refused(number, failure)),
        }
    }

    /// Commits everything appended and gives the replies that waited for it.
    pub fn commit(&mut self) -> Vec<AnswerOf<S>> {
        self.committed = self.log.len();
        self.waiting.drain(..).map(|(_, number, reply)| Answer::Replied(number, reply)).collect()
    }

    /// A crash, or a failed append: what was not committed is gone, and a new shard is built from the log.
    pub fn lose(&mut self) -> Vec<AnswerOf<S>> {
        self.log.truncate(self.committed);
        self.shard = self.rebuilt();
        self.waiting.drain(..).map(|(_, number, _)| Answer::Lost(number)).collect()
    }

    /// A second shard made from all that was appended.
    pub fn rebuilt(&self) -> S {
        let mut shard = (self.new)();
        self.log.iter().cloned().for_each(|record| shard.replay(record));
        shard
    }
}

/// Runs `requests` against a shard, with commits and losses where `chance` says so, and hands the live shard and one
/// rebuilt from its log to `same` after each of them; `same` panics if they differ. `chance(n)` is a number below `n`.
///
/// Returns what became of each request, in the order in which that was known.
pub fn check<S, New>(
    new: New,
    requests: impl IntoIterator<Item = (Now, S::Request)>,
    mut chance: impl FnMut(u64) -> u64,
    same: impl Fn(&S, &S),
) -> Vec<AnswerOf<S>>
where
    S: Shard,
    S::Record: Clone,
    New: Fn() -> S,
{
    let mut host = Host::new(new);
    let mut answers = Vec::new();
    for (now, request) in requests {
        answers.extend(host.ask(now, request));
        same(host.shard(), &host.rebuilt());
        match chance(8) {
            0 => answers.extend(host.lose()),
            1..4 => answers.extend(host.commit()),
            _ => {}
        }
    }
    answers.extend(host.commit());
    same(host.shard(), &host.rebuilt());
    assert_eq!(answers.len() as u64, host.asked, "every request has exactly one answer");
    answers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Outcome;

    /// A counter that refuses to pass ten, and forgets nothing (or, if it `leaks`, changes outside `replay`).
    #[derive(Debug, Default, PartialEq)]
    struct Counter {
        value: u32,
        leaks: bool,
        leaked: std::cell::Cell<u32>,
    }

    impl Shard for Counter {
        type Request = u32;
        type Reply = u32;
        type Record = u32;
        type Failure = &'static str;

        fn handle(&self, _now: Now, add: u32) -> Result<Outcome<u32, u32>, &'static str> {
            if self.leaks {
                self.leaked.set(self.leaked.get() + 1);
            }
            let value = self.value + add;
            if value > 10 { Err("too much") } else { Ok(Outcome::new(vec![add], value)) }
        }

        fn replay(&mut self, add: u32) {
            self.value += add;
        }
    }

    const NOW: Now = Now { wall: 0, monotonic: 0 };

    #[test]
    fn what_is_lost_never_happened_and_what_is_committed_stays() {
        let mut host = Host::new(Counter::default);
        assert_eq!(host.ask(NOW, 4), None);
        assert_eq!(host.commit(), [Answer::Replied(0, 4)]);
        assert_eq!(host.ask(NOW, 5), None);
        assert_eq!(host.ask(NOW, 5), Some(Answer::Refused(2, "too much")));
        assert_eq!(host.lose(), [Answer::Lost(1)]);
        assert_eq!(host.ask(NOW, 5), None);
        assert_eq!(host.commit(), [Answer::Replied(3, 9)]);
        assert_eq!(host.committed(), [4, 5]);
        assert_eq!(host.shard().value, 9);
    }

    #[test]
    fn a_good_shard_passes_under_any_chance() {
        for seed in 0..50u64 {
            let mut state = seed;
            let chance = |n| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 33) % n
            };
            let requests = (0..40u32).map(|n| (NOW, n % 3));
            check(Counter::default, requests, chance, |live, built| assert_eq!(live, built));
        }
    }

    #[test]
    #[should_panic(expected = "assertion")]
    fn a_shard_that_changes_outside_replay_is_caught() {
        let new = || Counter { leaks: true, ..Counter::default() };
        check(new, [(NOW, 1)], |_| 7, |live, built| assert_eq!(live, built));
    }

    #[test]
    fn deadlines_do_not_overflow() {
        let now = Now { wall: i64::MAX, monotonic: u64::MAX - 1 };
        assert_eq!(now.deadline_ms(i64::MAX), u64::MAX);
        assert_eq!(now.deadline_ms(-5), u64::MAX - 1);
        assert_eq!(now.plus_ms(1).wall, i64::MAX);
    }
}

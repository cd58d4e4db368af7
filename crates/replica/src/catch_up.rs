//! How fast the leaders of a broker send to replicas that are not in sync, so that producers hardly notice: a replica that comes
//! back after hours, or moves to a new node, has all the time that nobody else wants.
//!
//! It is a core. Whoever sends asks [`CatchUp::credit`] and tells [`CatchUp::sent`]; whoever acknowledges records tells how long that
//! took. While nobody catches up the time that 99 of 100 acknowledgements stay under is learnt; while somebody does, the rate
//! falls when more than one in a hundred takes twice as long, and rises when they do not: additive steps would take too long
//! over rates that differ by a thousand, so both are factors. Near the rate that was too much last it rises slowly, as CUBIC does
//! (RFC 9438), for every time that it is too much producers suffer. It never falls below twice what is produced, or a replica would
//! never be in sync; how long acknowledgements take at that rate is usual, too.

use std::time::Duration;

/// How long acknowledgements are counted before the rate changes.
const WINDOW: Duration = Duration::from_millis(250);
/// Fewer acknowledgements in a window say nothing.
const ACKS_MIN: u64 = 20;
/// Of a hundred acknowledgements so many may be slow.
const SLOW_PERCENT: u64 = 1;
/// So many show that it is far too much, and that after this time.
const MANY_PERCENT: u64 = 20;
const MANY_AFTER: Duration = Duration::from_millis(40);
/// Producers that were quiet for so long are not expected back in the next moment.
const QUIET: Duration = Duration::from_secs(10);
/// For so long after the last bytes acknowledgements are not taken for usual ones.
const CALM: Duration = Duration::from_secs(1);
/// What is usual is never taken to be less, or more.
const USUAL: (Duration, Duration) = (Duration::from_millis(3), Duration::from_secs(1));
/// The first rate, and the least beside what is produced, in bytes per second.
const RATE_FIRST: u64 = 32 << 20;
const RATE_MIN: u64 = 8 << 20;
/// As good as no limit.
const RATE_MAX: u64 = 8 << 30;
/// What may be sent at once after a pause.
const BURST_MIN: i64 = 1 << 20;
/// Less than this, and than what comes in [`WORTH`], is not worth an answer.
const CREDIT_MIN: i64 = 256 << 10;
const WORTH: Duration = Duration::from_millis(5);
/// Debt of one large batch is not held against the replica for longer.
const DEBT_SECONDS_MAX: i64 = 2;

/// See the head of the file. Times are of a monotonic clock.
#[derive(Debug, Clone)]
pub struct CatchUp {
    /// Bytes per second.
    rate: u64,
    /// How much may be sent; below zero, by how much too much was.
    credit: i64,
    credited: Duration,
    /// When something was sent last.
    sent: Option<Duration>,
    /// When something was acknowledged last.
    acknowledged: Option<Duration>,
    /// The rate that was too much last, when that was, and the windows since; at first none was.
    too_much: u64,
    fell: Duration,
    risen: u64,
    /// What 99 of 100 acknowledgements stay under while nobody catches up, or as slowly as can be.
    usual: Duration,
    window: Window,
    /// Bytes per second.
    produced: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Window {
    begun: Duration,
    acks: u64,
    slow: u64,
    /// Of the acknowledged records.
    bytes: u64,
    /// To replicas that are not in sync.
    sent: u64,
}

impl Default for CatchUp {
    fn default() -> Self {
        Self {
            rate: RATE_FIRST,
            credit: BURST_MIN,
            credited: Duration::ZERO,
            sent: None,
            acknowledged: None,
            too_much: RATE_MAX,
            fell: Duration::ZERO,
            risen: 0,
            usual: Duration::from_millis(10),
            window: Window::default(),
            produced: 0,
        }
    }
}

impl CatchUp {
    /// Records of `bytes` bytes were acknowledged `took` after they came; `waiting` others are not yet.
    pub fn acknowledged(&mut self, now: Duration, took: Duration, bytes: u64, waiting: usize) {
        // What is usual at the least rate cannot be bettered.
        if self.is_calm(now) || self.rate <= self.least_rate() {
            // A quantile that is followed by small steps: up by 99 parts when it was passed, down by one when not.
            let step = self.usual / 2000;
            self.usual = if took > self.usual { self.usual + step * 99 } else { self.usual - step };
            self.usual = self.usual.clamp(USUAL.0, USUAL.1);
        }
        self.acknowledged = Some(now);
        self.window.acks += 1;
        self.window.bytes = self.window.bytes.saturating_add(bytes);
        // What came before the rate fell says nothing of what it is now.
        let is_slow = took > self.usual * 2 && now.saturating_sub(took) >= self.fell;
        self.window.slow += u64::from(is_slow);
        self.end_window(now, waiting);
    }

    /// How many bytes may be sent now, 0 for none; `waiting` producers wait for an acknowledgement.
    pub fn credit(&mut self, now: Duration, waiting: usize) -> usize {
        self.end_window(now, waiting);
        let gained = self.bytes_in(now.saturating_sub(self.credited));
        self.credited = self.credited.max(now);
        self.credit = self.credit.saturating_add(gained).min(self.burst());
        if self.credit < self.least() { 0 } else { usize::try_from(self.credit).unwrap_or(0) }
    }

    /// When there will be something to send again.
    pub fn ready_at(&self, now: Duration) -> Duration {
        let lacking = self.least().saturating_sub(self.credit).max(0) as u64;
        now + Duration::from_nanos(lacking.saturating_mul(1_000_000_000).div_ceil(self.rate))
    }

    /// So much was sent.
    pub fn sent(&mut self, now: Duration, bytes: usize) {
        let debt_max = DEBT_SECONDS_MAX.saturating_mul(i64::try_from(self.rate).unwrap_or(i64::MAX));
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        self.credit = self.credit.saturating_sub(bytes).max(debt_max.saturating_neg());
        self.sent = Some(now);
        self.window.sent = self.window.sent.saturating_add(u64::try_from(bytes).unwrap_or(0));
    }

    /// The rate that is allowed, in bytes per second.
    pub fn rate(&self) -> u64 {
        self.rate
    }

    fn least(&self) -> i64 {
        CREDIT_MIN.max(self.bytes_in(WORTH))
    }

    fn burst(&self) -> i64 {
        BURST_MIN.max(self.bytes_in(Duration::from_millis(50)))
    }

    fn bytes_in(&self, time: Duration) -> i64 {
        let bytes = u128::from(self.rate) * time.as_nanos() / 1_000_000_000;
        i64::try_from(bytes).unwrap_or(i64::MAX)
    }

    fn end_window(&mut self, now: Duration, waiting: usize) {
        let lasted = now.saturating_sub(self.window.begun);
        let Window { acks, slow, bytes, sent, .. } = self.window;
        let is_far_too_much = acks >= ACKS_MIN && slow * 100 > acks * MANY_PERCENT;
        if lasted < if is_far_too_much { MANY_AFTER } else { WINDOW } {
            return;
        }
        self.window = Window { begun: now, ..Window::default() };
        let produced = u128::from(bytes) * 1_000_000_000 / lasted.as_nanos();
        self.produced = u64::try_from(produced).unwrap_or(u64::MAX);
        // A rate that nobody uses would be no limit by the time it must fall.
        let used = u64::try_from(u128::from(sent) * 1_000_000_000 / lasted.as_nanos()).unwrap_or(u64::MAX);
        let bound = used.saturating_mul(2).max(RATE_FIRST);
        let rate = self.rate.min(bound);
        self.risen = self.risen.saturating_add(1);
        self.rate = match () {
            () if self.is_calm(now) => {
                self.too_much = RATE_MAX;
                RATE_FIRST
            }
            () if is_far_too_much => self.fall(now, rate, rate / 3),
            () if acks >= ACKS_MIN && slow * 100 > acks * SLOW_PERCENT => self.fall(now, rate, rate / 4 * 3),
            () if acks >= ACKS_MIN => rate.saturating_add(self.rise(rate)).min(bound),
            // Nobody is disturbed.
            () if waiting == 0 && self.is_quiet(now) => rate.saturating_mul(2).min(bound),
            () if waiting == 0 => rate.saturating_add(self.rise(rate)).min(bound),
            () if acks == 0 => rate / 3,
            () if slow > 0 => rate / 4 * 3,
            () => rate,
        };
        self.rate = self.rate.clamp(self.least_rate(), RATE_MAX);
    }

    fn fall(&mut self, now: Duration, from: u64, to: u64) -> u64 {
        (self.too_much, self.fell, self.risen) = (from, now, 0);
        to
    }

    /// By a fifth, where it was never too much; near where it was, by a two-hundredth for each window since.
    fn rise(&self, rate: u64) -> u64 {
        let slowly = (rate / 200).saturating_mul(self.risen);
        if rate < self.too_much / 4 * 3 { rate / 5 } else { slowly.min(rate / 5) }
    }

    fn least_rate(&self) -> u64 {
        RATE_MIN.saturating_add(self.produced.saturating_mul(2)).min(RATE_MAX)
    }

    fn is_quiet(&self, now: Duration) -> bool {
        self.acknowledged.is_none_or(|acknowledged| now.saturating_sub(acknowledged) > QUIET)
    }

    fn is_calm(&self, now: Duration) -> bool {
        self.sent.is_none_or(|sent| now.saturating_sub(sent) > CALM)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// A leader on a machine of which acknowledgements take 2 ms, and longer the more is sent beside them.
    struct Ground {
        core: CatchUp,
        now: Duration,
        produced_bytes: u64,
        disturbed: u64,
    }

    impl Ground {
        fn new() -> Self {
            Self { core: CatchUp::default(), now: ms(1000), produced_bytes: 1024, disturbed: 0 }
        }

        /// A thousand acknowledgements a second; every so manieth is slow while more than `bearable` bytes a second are sent.
        /// Gives the bytes sent in each second.
        fn run(&mut self, seconds: u64, catches_up: bool, bearable: u64) -> Vec<u64> {
            let mut sent_in = Vec::new();
            for _ in 0..seconds {
                let mut sent = 0;
                for number in 0..1000 {
                    self.now += ms(1);
                    let is_disturbed = catches_up && self.core.rate() > bearable && number % 20 == 0;
                    self.disturbed += u64::from(is_disturbed);
                    let took = if is_disturbed { ms(90) } else { ms(2) };
                    self.core.acknowledged(self.now, took, self.produced_bytes, 1);
                    let credit = if catches_up { self.core.credit(self.now, 1) } else { 0 };
                    if credit > 0 {
                        self.core.sent(self.now, credit);
                        sent += credit as u64;
                    }
                }
                sent_in.push(sent);
            }
            sent_in
        }
    }

    #[test]
    fn as_much_is_sent_as_producers_bear() {
        let mut ground = Ground::new();
        ground.run(10, false, 0);
        ground.run(10, true, 100 * MIB);
        ground.disturbed = 0;
        let late: u64 = ground.run(20, true, 100 * MIB).iter().sum::<u64>() / 20;
        assert!((60 * MIB..130 * MIB).contains(&late), "{} MiB/s", late / MIB);
        assert!(ground.disturbed <= 200, "{} of 20,000 took long", ground.disturbed);
        let sent = ground.run(20, true, RATE_MAX);
        assert!(sent.last().unwrap() > &(1024 * MIB), "what disturbs nobody is not held back: {sent:?}");
    }

    #[test]
    fn a_replica_gains_on_what_is_produced_however_slow_that_is() {
        let mut ground = Ground::new();
        ground.produced_bytes = 30 << 10;
        ground.run(10, false, 0);
        let sent = ground.run(30, true, 0);
        let produced = ground.produced_bytes * 1000;
        assert!(sent.iter().all(|sent| *sent > produced * 3 / 2), "{sent:?} of {produced}");
    }

    #[test]
    fn a_disk_that_is_always_slow_holds_nothing_back() {
        let mut core = CatchUp::default();
        let mut sent = 0;
        for number in 1..20_000u64 {
            let now = ms(number);
            core.acknowledged(now, ms(200), 100, 1);
            let credit = core.credit(now, 1);
            core.sent(now, credit);
            sent += if number > 10_000 { credit as u64 } else { 0 };
        }
        assert!(sent > 4096 * MIB, "{} MiB in ten seconds", sent / MIB);
    }

    #[test]
    fn where_nobody_produces_nothing_is_held_back_for_long() {
        let (mut core, mut now, mut sent) = (CatchUp::default(), ms(5), 0);
        while now < ms(3000) {
            let credit = core.credit(now, 0);
            core.sent(now, credit);
            sent += credit as u64;
            now = core.ready_at(now).max(now + ms(1));
        }
        assert!(sent > 2048 * MIB, "{} MiB in three seconds", sent / MIB);
    }

    #[test]
    fn producers_that_come_back_soon_find_it_as_they_left_it() {
        let mut ground = Ground::new();
        ground.run(20, true, 100 * MIB);
        let pause = |ground: &mut Ground, seconds: u64| {
            for _ in 0..seconds * 1000 {
                ground.now += ms(1);
                let credit = ground.core.credit(ground.now, 0);
                ground.core.sent(ground.now, credit);
            }
            ground.core.rate()
        };
        let rate = pause(&mut ground, 2);
        assert!(rate < 200 * MIB, "{} MiB/s", rate / MIB);
        let rate = pause(&mut ground, 12);
        assert!(rate > 1000 * MIB, "{} MiB/s", rate / MIB);
    }

    #[test]
    fn producers_that_wait_in_vain_slow_it_down_and_those_that_are_gone_do_not() {
        let rate_after = |waiting| {
            let mut core = CatchUp::default();
            for number in 0..400 {
                let credit = core.credit(ms(number * 10), waiting);
                core.sent(ms(number * 10), credit);
            }
            core.rate()
        };
        assert_eq!(rate_after(3), RATE_MIN);
        assert!(rate_after(0) > 50 * RATE_FIRST, "{}", rate_after(0));
    }

    #[test]
    fn what_was_too_much_at_once_is_waited_for_and_not_for_ever() {
        let mut core = CatchUp::default();
        assert_eq!(core.credit(ms(0), 1), BURST_MIN as usize);
        core.sent(ms(0), 1 << 40);
        assert_eq!(core.credit(ms(0), 1), 0);
        let ready = core.ready_at(ms(0));
        assert!(ready <= Duration::from_secs(DEBT_SECONDS_MAX as u64 + 1), "{ready:?}");
        assert!(core.credit(ready, 0) >= CREDIT_MIN as usize);
    }

    #[test]
    fn what_is_usual_is_learnt_while_nobody_catches_up() {
        let mut core = CatchUp::default();
        for number in 0..100_000u64 {
            let took = if number % 200 == 0 { ms(80) } else { ms(20) };
            core.acknowledged(ms(number), took, 0, 0);
        }
        assert!((ms(18)..ms(24)).contains(&core.usual), "{:?}", core.usual);
        let before = core.usual;
        core.sent(ms(100_000), 1);
        (0..200).for_each(|number| core.acknowledged(ms(100_000 + number), ms(500), 0, 0));
        assert_eq!(core.usual, before);
    }
}

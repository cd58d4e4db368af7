//! One follower as its leader sees it: how far it has fetched and when it last had everything.
//!
//! It decides nothing; `Leader` reads it. The rule of "caught up" is Kafka's: by time, not by a number of records, so
//! that a follower whose every fetch arrives between two appends still counts.

use model::Offset;
use std::time::Duration;

/// What the leader knows of one follower.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    /// It has every record before this; -1 until its first fetch of this leader's.
    pub end_offset: Offset,
    /// Where its log starts; -1 until its first fetch.
    pub start_offset: Offset,
    /// When it last fetched; `None` until its first fetch.
    pub fetched_at: Option<Duration>,
    /// When it last had everything that the leader had; `None` if it never had.
    pub caught_up_at: Option<Duration>,
    /// The broker epoch of its last fetch; -1 if unknown (KIP-903).
    pub broker_epoch: i64,
    /// Whether it may join the ISR: unfenced, not shutting down, of the broker epoch that the metadata name (KIP-841).
    pub is_eligible: bool,
    /// Where the leader's log ended when it last fetched.
    leader_end_at_fetch: Offset,
}

impl Remote {
    /// Nothing is known but whether it was in the ISR when the leader took office: then it has the benefit of the doubt.
    pub(crate) fn new(now: Duration, is_in_sync: bool) -> Self {
        Self {
            end_offset: -1,
            start_offset: -1,
            fetched_at: None,
            caught_up_at: is_in_sync.then_some(now),
            broker_epoch: -1,
            is_eligible: false,
            leader_end_at_fetch: -1,
        }
    }

    /// The same leader in a new epoch: what it has is still known, its times begin anew.
    pub(crate) fn renew(&mut self, now: Duration, leader_end: Offset, is_in_sync: bool) {
        self.leader_end_at_fetch = leader_end;
        self.fetched_at = is_in_sync.then_some(now);
        self.caught_up_at = is_in_sync.then_some(now);
    }

    /// It asks for what comes from `end_offset` on.
    pub(crate) fn on_fetch(&mut self, now: Duration, end_offset: Offset, leader_end: Offset) {
        if end_offset >= leader_end {
            self.caught_up_at = self.caught_up_at.max(Some(now));
        } else if end_offset >= self.leader_end_at_fetch {
            self.caught_up_at = self.caught_up_at.max(self.fetched_at);
        }
        self.end_offset = end_offset;
        self.leader_end_at_fetch = self.leader_end_at_fetch.max(leader_end);
        self.fetched_at = Some(now);
    }

    /// Whether it has everything, or had it not longer than `lag_max` ago.
    pub(crate) fn is_caught_up(&self, now: Duration, leader_end: Offset, lag_max: Duration) -> bool {
        self.end_offset == leader_end || self.caught_up_at.is_some_and(|at| now.saturating_sub(at) <= lag_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAG: Duration = Duration::from_secs(30);

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_follower_that_is_always_one_append_behind_stays_caught_up() {
        let mut remote = Remote::new(at(0), false);
        for second in 1..100 {
            // It has what the leader had a second ago.
            remote.on_fetch(at(second), second as i64 - 1, second as i64);
            assert_eq!(second > 1, remote.is_caught_up(at(second), second as i64, LAG), "second {second}");
        }
    }

    #[test]
    fn a_follower_that_falls_back_is_caught_up_only_for_the_allowed_lag() {
        let mut remote = Remote::new(at(0), true);
        remote.on_fetch(at(1), 10, 10);
        remote.on_fetch(at(20), 11, 500);
        assert!(remote.is_caught_up(at(31), 500, LAG));
        assert!(!remote.is_caught_up(at(50), 500, LAG));
        remote.on_fetch(at(60), 500, 500);
        assert!(remote.is_caught_up(at(60), 500, LAG));
    }

    #[test]
    fn one_that_was_in_sync_has_the_allowed_lag_to_make_its_first_fetch() {
        assert!(Remote::new(at(5), true).is_caught_up(at(35), 7, LAG));
        assert!(!Remote::new(at(5), true).is_caught_up(at(36), 7, LAG));
        assert!(!Remote::new(at(5), false).is_caught_up(at(5), 7, LAG));
    }
}

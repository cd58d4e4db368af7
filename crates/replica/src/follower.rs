//! The follower's part: what to do with its log after each answer of its leader.
//!
//! It is a function of the two logs and holds no state: a follower that was restarted goes on from its log alone. It
//! writes nothing; `broker`'s fetchers carry out what it says.

use model::{LeaderEpoch, Offset};

/// The marks of the follower's own log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalLog {
    /// Its first offset.
    pub start_offset: Offset,
    /// The offset that comes next.
    pub end_offset: Offset,
    /// What is known to be on every in-sync replica.
    pub high_watermark: Offset,
}

/// What the leader answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Records, or none; what there were are appended already.
    Records {
        /// The leader's high watermark.
        high_watermark: Offset,
        /// Where the leader's log starts.
        start_offset: Offset,
    },
    /// The histories part (KIP-320).
    Diverging {
        /// The largest epoch of the leader's that is not above the follower's last; -1 if the leader knows none.
        epoch: LeaderEpoch,
        /// Where it ends in the leader's log; -1 if unknown.
        end_offset: Offset,
        /// The follower's largest epoch that is not above `epoch`, and where it ends in the follower's log.
        local: Option<(LeaderEpoch, Offset)>,
    },
    /// OFFSET_OUT_OF_RANGE, and what ListOffsets then said.
    OutOfRange {
        /// Where the leader's log starts.
        start_offset: Offset,
        /// Where it ends.
        end_offset: Offset,
    },
}

/// What the follower does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FollowerStep {
    /// Goes on from the end of its log, with these marks.
    Continue {
        /// Its new high watermark.
        high_watermark: Offset,
        /// Where its log starts from now on.
        start_offset: Offset,
    },
    /// Cuts its log off at this offset and fetches from there. The high watermark falls with it if it must.
    Truncate(Offset),
    /// Drops its whole log and starts anew at this offset: the leader no longer has what comes before.
    StartOver(Offset),
}

/// What the follower does after an answer.
pub fn after_fetch(local: LocalLog, answer: Answer) -> FollowerStep {
    match answer {
        Answer::Records { high_watermark, start_offset } => {
            let known = high_watermark.min(local.end_offset);
            FollowerStep::Continue {
                // A leader that has just taken office may not know yet what its predecessor knew.
                high_watermark: known.max(local.high_watermark),
                start_offset: start_offset.min(known.max(local.high_watermark)).max(local.start_offset),
            }
        }
        Answer::Diverging { epoch, end_offset, local: own } => {
            FollowerStep::Truncate(cut(local, epoch, end_offset, own))
        }
        Answer::OutOfRange { end_offset, .. } if end_offset < local.end_offset => {
            FollowerStep::Truncate(end_offset.max(local.start_offset))
        }
        Answer::OutOfRange { start_offset, .. } if start_offset > local.end_offset => {
            FollowerStep::StartOver(start_offset)
        }
        Answer::OutOfRange { .. } => {
            FollowerStep::Continue { high_watermark: local.high_watermark, start_offset: local.start_offset }
        }
    }
}

/// Where two histories part, as far as one answer tells: the next fetch may show another divergence further down.
fn cut(log: LocalLog, epoch: LeaderEpoch, end_offset: Offset, own: Option<(LeaderEpoch, Offset)>) -> Offset {
    let cut = match own {
        _ if end_offset < 0 => log.high_watermark,
        _ if epoch < 0 => end_offset,
        None => end_offset,
        // The follower does not know the leader's epoch: what it has after the one before is nobody's.
        Some((own_epoch, own_end)) if own_epoch != epoch => own_end,
        Some((_, own_end)) => own_end.min(end_offset),
    };
    cut.min(log.end_offset).max(log.start_offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: LocalLog = LocalLog { start_offset: 10, end_offset: 100, high_watermark: 60 };

    fn diverging(
        epoch: LeaderEpoch,
        end_offset: Offset,
        local: Option<(LeaderEpoch, Offset)>,
    ) -> FollowerStep {
        after_fetch(LOG, Answer::Diverging { epoch, end_offset, local })
    }

    #[test]
    fn a_follower_knows_no_more_than_it_has_and_forgets_nothing() {
        let step =
            |high_watermark, start_offset| after_fetch(LOG, Answer::Records { high_watermark, start_offset });
        assert_eq!(step(80, 20), FollowerStep::Continue { high_watermark: 80, start_offset: 20 });
        assert_eq!(step(500, 20), FollowerStep::Continue { high_watermark: 100, start_offset: 20 });
        assert_eq!(step(5, 3), FollowerStep::Continue { high_watermark: 60, start_offset: 10 });
        assert_eq!(step(80, 90), FollowerStep::Continue { high_watermark: 80, start_offset: 80 });
    }

    #[test]
    fn a_common_epoch_is_cut_where_the_shorter_history_ends() {
        assert_eq!(diverging(3, 70, Some((3, 90))), FollowerStep::Truncate(70));
        assert_eq!(diverging(3, 95, Some((3, 90))), FollowerStep::Truncate(90));
    }

    #[test]
    fn an_epoch_that_only_the_leader_knows_cuts_at_the_end_of_the_one_before() {
        assert_eq!(diverging(4, 95, Some((2, 50))), FollowerStep::Truncate(50));
        assert_eq!(diverging(4, 95, None), FollowerStep::Truncate(95));
    }

    #[test]
    fn a_leader_that_knows_nothing_leaves_the_high_watermark() {
        assert_eq!(diverging(-1, -1, None), FollowerStep::Truncate(60));
        assert_eq!(diverging(-1, 75, None), FollowerStep::Truncate(75));
    }

    #[test]
    fn a_cut_never_leaves_the_log() {
        assert_eq!(diverging(3, 5, Some((3, 90))), FollowerStep::Truncate(10));
        assert_eq!(diverging(3, 700, Some((3, 600))), FollowerStep::Truncate(100));
    }

    #[test]
    fn out_of_range_cuts_starts_over_or_tries_again() {
        let out =
            |start_offset, end_offset| after_fetch(LOG, Answer::OutOfRange { start_offset, end_offset });
        assert_eq!(out(0, 40), FollowerStep::Truncate(40));
        assert_eq!(out(0, 4), FollowerStep::Truncate(10));
        assert_eq!(out(120, 200), FollowerStep::StartOver(120));
        assert_eq!(out(20, 200), FollowerStep::Continue { high_watermark: 60, start_offset: 10 });
    }
}

//! What is to happen when, on the monotonic clock.
//!
//! It runs nothing: the coordinator takes what is due at each tick and tells the host when to come again.

use crate::MemberId;
use model::GroupId;
use std::collections::{BTreeMap, BTreeSet};

/// What is to happen; each at most once in the queue.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// A member, or an id given to a client that has not come back with it, was silent for too long.
    Heartbeat(GroupId, MemberId),
    /// The time to give partitions up is over.
    Revoke(GroupId, MemberId),
    /// A member of a consumer group that speaks the classic protocol was told to join again and has not.
    MemberJoin(GroupId, MemberId),
    /// Such a member has joined and has not asked for its assignment.
    MemberSync(GroupId, MemberId),
    /// The time in which the first members of a streams group wait for more is over.
    Rebalance(GroupId),
    /// The time to join is over.
    Join(GroupId),
    /// The time to ask for the assignment is over.
    Sync(GroupId),
    /// Look for expired offsets.
    Expiry,
}

/// Deadlines in nanoseconds of the monotonic clock.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    deadlines: BTreeMap<Timer, u64>,
    queue: BTreeSet<(u64, Timer)>,
    announced: Option<u64>,
}

impl Timers {
    /// Sets the deadline of `timer`, whatever it was.
    pub(crate) fn schedule(&mut self, timer: Timer, deadline: u64) {
        if let Some(former) = self.deadlines.insert(timer.clone(), deadline) {
            if former == deadline {
                return;
            }
            self.queue.remove(&(former, timer.clone()));
        }
        self.queue.insert((deadline, timer));
    }

    /// Takes `timer` out.
    pub(crate) fn cancel(&mut self, timer: Timer) {
        if let Some(deadline) = self.deadlines.remove(&timer) {
            self.queue.remove(&(deadline, timer));
        }
    }

    /// Takes out the first timer whose deadline is reached.
    pub(crate) fn pop_due(&mut self, now: u64) -> Option<Timer> {
        let (deadline, _) = self.queue.first()?;
        if *deadline > now {
            return None;
        }
        let (_, timer) = self.queue.pop_first()?;
        self.deadlines.remove(&timer);
        Some(timer)
    }

    /// The moment to wake up at, if the host does not know it yet. It may wake too early (a deadline has moved), never
    /// too late.
    pub(crate) fn announce(&mut self) -> Option<u64> {
        let (next, _) = self.queue.first()?;
        if self.announced.is_some_and(|announced| announced <= *next) {
            return None;
        }
        self.announced = Some(*next);
        Some(*next)
    }

    /// The host has woken up: it needs a new moment.
    pub(crate) fn on_woken(&mut self) {
        self.announced = None;
    }

    /// Whether `timer` is set.
    pub(crate) fn is_set(&self, timer: &Timer) -> bool {
        self.deadlines.contains_key(timer)
    }

    /// All timers that are set.
    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Timer> {
        self.deadlines.keys()
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_come_in_order_and_only_when_due() {
        let mut timers = Timers::default();
        let join = || Timer::Join(GroupId::new("g"));
        timers.schedule(Timer::Expiry, 30);
        timers.schedule(join(), 20);
        timers.schedule(Timer::Sync(GroupId::new("g")), 10);
        assert_eq!(timers.announce(), Some(10));
        assert_eq!(timers.announce(), None);
        timers.cancel(Timer::Sync(GroupId::new("g")));
        timers.schedule(join(), 40);
        assert_eq!(timers.announce(), None, "an early wake-up is harmless and needs no new order");
        assert_eq!(timers.pop_due(29), None);
        timers.on_woken();
        assert_eq!(timers.announce(), Some(30));
        assert_eq!(timers.pop_due(50), Some(Timer::Expiry));
        assert_eq!(timers.pop_due(50), Some(join()));
        assert_eq!(timers.pop_due(50), None);
    }

    #[test]
    fn an_earlier_deadline_is_announced_at_once() {
        let mut timers = Timers::default();
        timers.schedule(Timer::Expiry, 30);
        assert_eq!(timers.announce(), Some(30));
        timers.schedule(Timer::Join(GroupId::new("g")), 20);
        assert_eq!(timers.announce(), Some(20));
    }
}

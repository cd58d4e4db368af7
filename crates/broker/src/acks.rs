//! Waiting for the durability of one produce request over all its partitions.
//!
//! It does not know why a partition is slow or has failed; [`crate::partition::Partition`] settles each slot, the
//! connection awaits the whole, and may stop waiting before the last one is settled.

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

/// Shared by the waiting request and the partitions it wrote to.
pub(crate) struct Acks {
    open: AtomicUsize,
    /// In the order of their slots; nothing once they are durable.
    slots: Mutex<Vec<(usize, Option<Undone>)>>,
    waker: AtomicWaker,
}

/// Why a slot is not durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Undone {
    /// Nothing is known yet.
    Waiting,
    /// The disk has failed: it never will be.
    Failed,
    /// The topic was deleted.
    Deleted,
    /// This broker leads the partition no more; its successor may have them or not.
    NotLeader,
    /// They are on every replica in sync, and too few are.
    TooFewInSync,
}

/// Somebody who waits for appended records to become durable.
pub(crate) trait Settled: Send + Sync {
    /// The records of `slot` are as safe as was asked for, or nobody here will ever say so.
    fn settle(&self, slot: usize, result: Result<(), Undone>);
}

/// Ends when every slot is settled; gives those that are not durable.
pub(crate) struct AllSettled(Arc<Acks>);

impl Acks {
    /// Nothing to wait for yet. The one slot that is open belongs to the caller until [`Acks::wait`], so that
    /// partitions that settle early cannot end the wait while others are still being added.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { open: AtomicUsize::new(1), slots: Mutex::default(), waker: AtomicWaker::new() })
    }

    /// Opens one more slot; they must be opened in their order.
    pub(crate) fn open(&self, slot: usize) {
        self.slots.lock().push((slot, Some(Undone::Waiting)));
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    /// All slots are open that will ever be; waits for them.
    pub(crate) fn wait(self: Arc<Self>) -> AllSettled {
        self.close_one();
        AllSettled(self)
    }

    fn end(&self, slot: usize, fate: Option<Undone>) {
        let mut slots = self.slots.lock();
        let place = slots.binary_search_by_key(&slot, |(slot, _)| *slot);
        if let Some(entry) = place.ok().and_then(|place| slots.get_mut(place)) {
            entry.1 = fate;
        }
        drop(slots);
        self.close_one();
    }

    fn close_one(&self) {
        if self.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.waker.wake();
        }
    }
}

impl Settled for Acks {
    fn settle(&self, slot: usize, result: Result<(), Undone>) {
        self.end(slot, result.err());
    }
}

impl AllSettled {
    /// The slots that are not durable now, in their order, for whoever waits no longer. What is settled later is nobody's business.
    pub(crate) fn undone(&self) -> Vec<(usize, Undone)> {
        self.0.slots.lock().iter().filter_map(|(slot, undone)| Some((*slot, (*undone)?))).collect()
    }
}

impl Future for AllSettled {
    type Output = Vec<(usize, Undone)>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.0.open.load(Ordering::Acquire) != 0 {
            self.0.waker.register(context.waker());
            if self.0.open.load(Ordering::Acquire) != 0 {
                return Poll::Pending;
            }
        }
        Poll::Ready(self.undone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn the_wait_ends_with_the_last_slot_and_names_those_that_are_not_durable() {
        let acks = Acks::new();
        acks.open(0);
        acks.settle(0, Ok(()));
        acks.open(3);
        acks.open(4);
        let mut wait = acks.clone().wait();
        assert_eq!((&mut wait).now_or_never(), None);
        acks.settle(4, Err(Undone::Failed));
        assert_eq!((&mut wait).now_or_never(), None);
        acks.settle(3, Err(Undone::Deleted));
        assert_eq!((&mut wait).now_or_never(), Some(vec![(3, Undone::Deleted), (4, Undone::Failed)]));
    }

    #[test]
    fn who_waits_no_longer_learns_what_is_still_open_and_may_be_settled_later() {
        let acks = Acks::new();
        for slot in 0..3 {
            acks.open(slot);
        }
        let wait = acks.clone().wait();
        acks.settle(1, Ok(()));
        assert_eq!(wait.undone(), [(0, Undone::Waiting), (2, Undone::Waiting)]);
        drop(wait);
        acks.settle(0, Ok(()));
        acks.settle(2, Err(Undone::Failed));
    }

    #[test]
    fn nothing_to_wait_for_is_settled_at_once() {
        assert_eq!(Acks::new().wait().now_or_never(), Some(vec![]));
    }
}

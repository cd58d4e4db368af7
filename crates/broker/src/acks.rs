//! Waiting for the durability of one produce request over all its partitions.
//!
//! It does not know why a partition is slow or has failed; [`crate::partition::Partition`] settles each slot, the
//! connection awaits the whole.

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
    failed: Mutex<Vec<usize>>,
    waker: AtomicWaker,
}

/// Somebody who waits for appended records to become durable.
pub(crate) trait Settled: Send + Sync {
    /// The records of `slot` are durable, or never will be.
    fn settle(&self, slot: usize, durable: bool);
}

/// Ends when every slot is settled; gives the slots that have failed.
pub(crate) struct AllSettled(Arc<Acks>);

impl Acks {
    /// Nothing to wait for yet. The one slot that is open belongs to the caller until [`Acks::wait`], so that
    /// partitions that settle early cannot end the wait while others are still being added.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            open: AtomicUsize::new(1),
            failed: Mutex::new(Vec::new()),
            waker: AtomicWaker::new(),
        })
    }

    /// Opens one more slot.
    pub(crate) fn open(&self) {
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    /// All slots are open that will ever be; waits for them.
    pub(crate) fn wait(self: Arc<Self>) -> AllSettled {
        self.settle(usize::MAX, true);
        AllSettled(self)
    }
}

impl Settled for Acks {
    fn settle(&self, slot: usize, durable: bool) {
        if !durable {
            self.failed.lock().push(slot);
        }
        if self.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.waker.wake();
        }
    }
}

impl Future for AllSettled {
    type Output = Vec<usize>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.0.open.load(Ordering::Acquire) != 0 {
            self.0.waker.register(context.waker());
            if self.0.open.load(Ordering::Acquire) != 0 {
                return Poll::Pending;
            }
        }
        Poll::Ready(std::mem::take(&mut self.0.failed.lock()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn the_wait_ends_with_the_last_slot_and_names_the_failed_ones() {
        let acks = Acks::new();
        acks.open();
        acks.settle(0, true);
        acks.open();
        let mut wait = acks.clone().wait();
        assert_eq!((&mut wait).now_or_never(), None);
        acks.settle(1, false);
        assert_eq!((&mut wait).now_or_never(), Some(vec![1]));
    }

    #[test]
    fn nothing_to_wait_for_is_settled_at_once() {
        assert_eq!(Acks::new().wait().now_or_never(), Some(vec![]));
    }
}

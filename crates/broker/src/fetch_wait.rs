//! A fetch that waits for more bytes, or for anything else that changes its answer.
//!
//! Partitions count new bytes into it and wake it; it knows neither partitions nor sessions.

use futures_util::task::AtomicWaker;
use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    task::{Context, Poll},
};

/// Shared by a waiting fetch and the partitions it waits for.
pub(crate) struct FetchWait {
    missing: AtomicI64,
    is_stale: AtomicBool,
    waker: AtomicWaker,
}

/// Ends when the missing bytes have arrived or the wait was broken off.
pub(crate) struct Enough<'a>(&'a FetchWait);

impl FetchWait {
    /// Waits until `missing` more bytes are readable.
    pub(crate) fn new(missing: usize) -> Arc<Self> {
        let missing = AtomicI64::new(i64::try_from(missing).unwrap_or(i64::MAX));
        Arc::new(Self { missing, is_stale: AtomicBool::new(false), waker: AtomicWaker::new() })
    }

    /// What was read before the wait is no longer the whole answer, but nothing worth ending the wait for.
    pub(crate) fn touch(&self) {
        self.is_stale.store(true, Ordering::Release);
    }

    /// Whether anything was touched, added or broken off.
    pub(crate) fn is_stale(&self) -> bool {
        self.is_stale.load(Ordering::Acquire)
    }

    /// `bytes` more are readable.
    pub(crate) fn add(&self, bytes: usize) {
        self.touch();
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        if self.missing.fetch_sub(bytes, Ordering::AcqRel) <= bytes {
            self.waker.wake();
        }
    }

    /// The answer has changed whatever the bytes: the partition is gone or has failed.
    pub(crate) fn break_off(&self) {
        self.touch();
        self.missing.store(0, Ordering::Release);
        self.waker.wake();
    }

    /// The future of the wait.
    pub(crate) fn enough(&self) -> Enough<'_> {
        Enough(self)
    }
}

impl Future for Enough<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.0.missing.load(Ordering::Acquire) > 0 {
            self.0.waker.register(context.waker());
            if self.0.missing.load(Ordering::Acquire) > 0 {
                return Poll::Pending;
            }
        }
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn the_wait_ends_when_enough_bytes_came_together() {
        let wait = FetchWait::new(10);
        wait.add(4);
        assert_eq!(wait.enough().now_or_never(), None);
        wait.add(6);
        assert_eq!(wait.enough().now_or_never(), Some(()));
    }

    #[test]
    fn what_was_read_is_the_answer_until_something_is_touched() {
        let wait = FetchWait::new(10);
        assert!(!wait.is_stale());
        wait.touch();
        assert!(wait.is_stale());
        assert_eq!(wait.enough().now_or_never(), None, "a touch ends no wait");
        let (counted, broken) = (FetchWait::new(10), FetchWait::new(10));
        counted.add(1);
        broken.break_off();
        assert!(counted.is_stale() && broken.is_stale());
    }

    #[test]
    fn breaking_off_ends_any_wait() {
        let wait = FetchWait::new(usize::MAX);
        wait.break_off();
        assert_eq!(wait.enough().now_or_never(), Some(()));
    }
}

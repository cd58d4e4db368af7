//! How many bytes were received and are not yet written: the bound that makes connections stop reading.
//!
//! It blocks nobody by itself; connections look at it after each produce request and wait here for room.

use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::Notify;

/// Bytes on their way to the disk.
pub(crate) struct Backlog {
    bytes: AtomicUsize,
    max: usize,
    room: Notify,
}

impl Backlog {
    /// Full at `max` bytes.
    pub(crate) fn new(max: usize) -> Self {
        Self { bytes: AtomicUsize::new(0), max, room: Notify::new() }
    }

    pub(crate) fn add(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn remove(&self, bytes: usize) {
        let before = self.bytes.fetch_sub(bytes, Ordering::AcqRel);
        if before >= self.max && before - bytes < self.max {
            self.room.notify_waiters();
        }
    }

    /// How many there are.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Acquire)
    }

    /// Whether producers should wait before they are read on.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes.load(Ordering::Acquire) >= self.max
    }

    /// Ends when there is room.
    pub(crate) async fn room(&self) {
        while self.is_full() {
            let mut room = std::pin::pin!(self.room.notified());
            // On the list before the second look: room that is made in between is not missed.
            room.as_mut().enable();
            if self.is_full() {
                room.await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn whoever_waits_for_room_is_woken_by_the_removal_that_makes_it() {
        let backlog = Backlog::new(10);
        assert_eq!(backlog.room().now_or_never(), Some(()));
        backlog.add(12);
        let mut waiting = Box::pin(backlog.room());
        assert_eq!((&mut waiting).now_or_never(), None);
        backlog.remove(2);
        assert_eq!((&mut waiting).now_or_never(), None, "still full");
        backlog.remove(1);
        assert_eq!((&mut waiting).now_or_never(), Some(()));
    }

    #[test]
    fn it_is_full_from_its_limit_on_and_not_before() {
        let backlog = Backlog::new(10);
        assert!(!backlog.is_full());
        backlog.add(9);
        assert!(!backlog.is_full());
        backlog.add(1);
        assert!(backlog.is_full());
        backlog.add(90);
        backlog.remove(90);
        assert!(backlog.is_full());
        backlog.remove(1);
        assert!(!backlog.is_full());
    }
}

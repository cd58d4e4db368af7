//! How many bytes were received and are not yet written: the bound that makes connections stop reading.
//!
//! It blocks nobody; connections look at it between requests.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes on their way to the disk.
pub(crate) struct Backlog {
    bytes: AtomicUsize,
    max: usize,
}

impl Backlog {
    /// Full at `max` bytes.
    pub(crate) fn new(max: usize) -> Self {
        Self { bytes: AtomicUsize::new(0), max }
    }

    pub(crate) fn add(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn remove(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Whether connections should wait for their answers before they read on.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) >= self.max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

//! One budget of memory for all large frames that are being read: who wants to read one waits for its share.
//!
//! It neither reads nor knows connections; [`crate::connection`] takes a share before it reads on, and gives it back
//! when the request is decoded.

use std::{future::Future, sync::Arc};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes of large frames.
pub(crate) struct FrameBudget {
    free: Arc<Semaphore>,
    max: u32,
}

/// A part of the budget; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Share(#[expect(dead_code, reason = "it is kept only to be dropped")] OwnedSemaphorePermit);

impl FrameBudget {
    /// A budget of `max` bytes.
    pub(crate) fn new(max: usize) -> Self {
        let max = u32::try_from(max).unwrap_or(u32::MAX);
        Self { free: Arc::new(Semaphore::new(max as usize)), max }
    }

    /// Waits for a share of `bytes`, or for all there is if that is less. Whoever asked first is served first, so that
    /// small frames cannot keep a large one waiting for ever.
    pub(crate) fn share(&self, bytes: usize) -> impl Future<Output = Option<Share>> + Send + 'static {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX).min(self.max);
        let free = self.free.clone();
        async move { free.acquire_many_owned(bytes).await.ok().map(Share) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use std::pin::pin;

    #[test]
    fn shares_are_given_in_order_and_come_back() {
        let budget = FrameBudget::new(100);
        let first = budget.share(60).now_or_never().unwrap();
        let mut second = pin!(budget.share(50));
        assert!(second.as_mut().now_or_never().is_none(), "only 40 are left");
        assert!(budget.share(10).now_or_never().is_none(), "the second one asked before");
        drop(first);
        let _second = second.as_mut().now_or_never().unwrap();
        assert!(budget.share(51).now_or_never().is_none());
        assert!(budget.share(50).now_or_never().is_some());
    }

    #[test]
    fn more_than_the_budget_is_all_of_it() {
        let budget = FrameBudget::new(100);
        let all = budget.share(usize::MAX).now_or_never().unwrap();
        assert!(budget.share(1).now_or_never().is_none());
        drop(all);
        assert!(budget.share(1).now_or_never().is_some());
    }
}

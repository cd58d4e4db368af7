//! The newest value of something, and waiting for the next.
//!
//! tokio's `watch` draws lots among those who wait, so that a seed would not replay; here they are woken in the order in
//! which they began to wait. It keeps no history: who is slow sees only the newest value.

use parking_lot::{Mutex, RwLock, RwLockReadGuard};
use std::{
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll, Waker},
};

/// Where values are published; its clones publish to the same receivers.
pub struct Watched<T>(Arc<Shared<T>>);

/// Where values are seen. A clone has seen what the original has.
pub struct Watching<T> {
    shared: Arc<Shared<T>>,
    seen: u64,
    number: u64,
}

/// Nobody publishes any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("nobody publishes any more")]
pub struct Closed;

struct Shared<T> {
    value: RwLock<T>,
    state: Mutex<State>,
}

struct State {
    version: u64,
    senders: usize,
    numbers: u64,
    /// Who waits, by their numbers, in the order in which they began.
    waiting: Vec<(u64, Waker)>,
}

/// Both ends, with a first value that counts as seen.
pub fn watch<T>(first: T) -> (Watched<T>, Watching<T>) {
    let state = State { version: 0, senders: 1, numbers: 1, waiting: Vec::new() };
    let shared = Arc::new(Shared { value: RwLock::new(first), state: Mutex::new(state) });
    (Watched(shared.clone()), Watching { shared, seen: 0, number: 0 })
}

impl<T> Watched<T> {
    /// Publishes a value.
    pub fn send(&self, value: T) {
        self.send_if_modified(|current| {
            *current = value;
            true
        });
    }

    /// Changes the value, and publishes it if `modify` says that it did; says the same.
    pub fn send_if_modified(&self, modify: impl FnOnce(&mut T) -> bool) -> bool {
        let modified = modify(&mut self.0.value.write());
        if modified {
            self.0.state.lock().version += 1;
            self.0.wake();
        }
        modified
    }

    /// The newest value; nothing can be published while it is held.
    pub fn borrow(&self) -> RwLockReadGuard<'_, T> {
        self.0.value.read()
    }

    /// Another receiver, which has seen the newest value.
    pub fn subscribe(&self) -> Watching<T> {
        Watching::new(self.0.clone(), None)
    }
}

impl<T> Watching<T> {
    fn new(shared: Arc<Shared<T>>, seen: Option<u64>) -> Self {
        let (seen, number) = {
            let mut state = shared.state.lock();
            state.numbers += 1;
            (seen.unwrap_or(state.version), state.numbers)
        };
        Self { shared, seen, number }
    }

    /// The newest value; nothing can be published while it is held.
    pub fn borrow(&self) -> RwLockReadGuard<'_, T> {
        self.shared.value.read()
    }

    /// The same, and it counts as seen.
    pub fn borrow_and_update(&mut self) -> RwLockReadGuard<'_, T> {
        let value = self.shared.value.read();
        self.seen = self.shared.state.lock().version;
        value
    }

    /// Ends when there is a value that was not seen, which counts as seen then.
    pub async fn changed(&mut self) -> Result<(), Closed> {
        poll_fn(|context| self.poll_changed(context)).await
    }

    /// Ends when `condition` is true of the newest value, and gives it.
    pub async fn wait_for(&mut self, condition: impl Fn(&T) -> bool) -> Result<T, Closed>
    where
        T: Clone,
    {
        loop {
            {
                let value = self.borrow_and_update();
                if condition(&value) {
                    return Ok(value.clone());
                }
            }
            self.changed().await?;
        }
    }

    fn poll_changed(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        let mut state = self.shared.state.lock();
        if state.version != self.seen {
            self.seen = state.version;
            return Poll::Ready(Ok(()));
        }
        if state.senders == 0 {
            return Poll::Ready(Err(Closed));
        }
        match state.waiting.iter_mut().find(|(number, _)| *number == self.number) {
            Some((_, waker)) => waker.clone_from(context.waker()),
            None => state.waiting.push((self.number, context.waker().clone())),
        }
        Poll::Pending
    }
}

impl<T> Shared<T> {
    fn wake(&self) {
        let waiting = std::mem::take(&mut self.state.lock().waiting);
        waiting.into_iter().for_each(|(_, waker)| waker.wake());
    }
}

impl<T> Clone for Watched<T> {
    fn clone(&self) -> Self {
        self.0.state.lock().senders += 1;
        Self(self.0.clone())
    }
}

impl<T> Drop for Watched<T> {
    fn drop(&mut self) {
        let last = {
            let mut state = self.0.state.lock();
            state.senders -= 1;
            state.senders == 0
        };
        if last {
            self.0.wake();
        }
    }
}

impl<T> Clone for Watching<T> {
    fn clone(&self) -> Self {
        Self::new(self.shared.clone(), Some(self.seen))
    }
}

impl<T> Drop for Watching<T> {
    fn drop(&mut self) {
        self.shared.state.lock().waiting.retain(|(number, _)| *number != self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn a_new_value_is_seen_once_by_everybody() {
        let (sender, mut first) = watch(1);
        let mut second = sender.subscribe();
        assert_eq!(first.changed().now_or_never(), None);
        sender.send(2);
        assert!(!sender.send_if_modified(|_| false));
        let mut third = second.clone();
        for receiver in [&mut first, &mut second, &mut third] {
            assert_eq!(receiver.changed().now_or_never(), Some(Ok(())));
            assert_eq!(receiver.changed().now_or_never(), None);
            assert_eq!(*receiver.borrow(), 2);
        }
        assert_eq!(first.wait_for(|value| *value == 2).now_or_never(), Some(Ok(2)));
    }

    #[test]
    fn those_who_wait_are_woken_in_their_order_and_told_of_the_end() {
        crate::tests::run(async {
            let (sender, receiver) = watch(0);
            let order = Arc::new(Mutex::new(Vec::new()));
            let mut set = tokio::task::JoinSet::new();
            for number in 0..20 {
                let (mut receiver, order) = (receiver.clone(), order.clone());
                set.spawn(async move {
                    assert_eq!(receiver.changed().await, Ok(()));
                    order.lock().push(number);
                    assert_eq!(receiver.changed().await, Err(Closed));
                });
            }
            tokio::task::yield_now().await;
            sender.clone().send(1);
            for _ in 0..3 {
                tokio::task::yield_now().await;
            }
            assert_eq!(*order.lock(), (0..20).collect::<Vec<_>>());
            drop(sender);
            while let Some(done) = set.join_next().await {
                done.unwrap();
            }
        });
    }
}

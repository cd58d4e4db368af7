//! How fast one connection may go on: until when nothing more is begun that it has sent (KIP-219), and how much time its
//! request has taken (KIP-124).
//!
//! It measures no rates; [`crate::client_quotas`] does. Handlers reach it through their context, and the connection looks
//! at it before each frame.

use env::{BoxFuture, Clock, Nanos};
use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

/// See the head of the file. All but the end of the mute concerns the one request that is being answered.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    muted_until: AtomicU64,
    /// What the answer shall tell.
    told_ms: AtomicU64,
    spent_ns: AtomicU64,
    /// When its work was begun or taken up again; 0 while nobody works on it.
    since: AtomicU64,
}

impl Pace {
    /// Nothing more is begun for so long.
    pub(crate) fn mute(&self, clock: &dyn Clock, ms: u64) {
        self.mute_until(clock.now().saturating_add(ms.saturating_mul(1_000_000)));
    }

    fn mute_until(&self, until: Nanos) {
        self.muted_until.fetch_max(until, Ordering::Relaxed);
    }

    /// Until when nothing is begun.
    pub(crate) fn muted_until(&self) -> Nanos {
        self.muted_until.load(Ordering::Relaxed)
    }

    /// The answer tells the client that it is held back for so long, unless for longer already.
    pub(crate) fn tell(&self, ms: u64) {
        self.told_ms.fetch_max(ms, Ordering::Relaxed);
    }

    /// What the answer tells.
    pub(crate) fn take_told(&self) -> u64 {
        match self.told_ms.load(Ordering::Relaxed) {
            0 => 0,
            _ => self.told_ms.swap(0, Ordering::Relaxed),
        }
    }

    /// The next request is begun.
    pub(crate) fn begin(&self, now: Nanos) {
        self.spent_ns.store(0, Ordering::Relaxed);
        self.since.store(now.max(1), Ordering::Relaxed);
    }

    /// Somebody else has worked on it for so long.
    pub(crate) fn add(&self, ns: Nanos) {
        self.spent_ns.fetch_add(ns, Ordering::Relaxed);
    }

    fn pause(&self, now: Nanos) {
        let since = self.since.swap(0, Ordering::Relaxed);
        if since > 0 {
            self.add(now.saturating_sub(since));
        }
    }

    /// How much time the request has taken, waiting left out, since its time was counted last; 0 if nobody counts.
    pub(crate) fn take_spent(&self, now: Nanos) -> Nanos {
        let since = self.since.swap(0, Ordering::Relaxed);
        let spent = self.spent_ns.swap(0, Ordering::Relaxed);
        if since == 0 { spent } else { spent.saturating_add(now.saturating_sub(since)) }
    }
}

/// Counts the time that an answer takes.
pub(crate) struct Counted<T> {
    pub(crate) answer: BoxFuture<'static, T>,
    pub(crate) pace: Arc<Pace>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl<T> Future for Counted<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        self.pace.since.store(self.clock.now().max(1), Ordering::Relaxed);
        let polled = self.answer.as_mut().poll(cx);
        self.pace.pause(self.clock.now());
        polled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_counts_while_somebody_works() {
        let pace = Pace::default();
        assert_eq!(pace.take_spent(5), 0, "nobody counts");
        pace.begin(10);
        pace.pause(13);
        pace.pause(20);
        pace.add(100);
        assert_eq!(pace.take_spent(30), 103);
        pace.begin(40);
        assert_eq!((pace.take_spent(42), pace.take_spent(50)), (2, 0), "once");
    }

    #[test]
    fn the_longest_hold_counts() {
        let pace = Pace::default();
        pace.mute_until(7);
        pace.mute_until(5);
        assert_eq!(pace.muted_until(), 7);
        pace.tell(3);
        pace.tell(2);
        assert_eq!((pace.take_told(), pace.take_told()), (3, 0));
    }

    /// Each look at it takes a nanosecond.
    #[derive(Default)]
    struct Ticking(AtomicU64);

    impl Clock for Ticking {
        fn wall(&self) -> env::Millis {
            0
        }

        fn now(&self) -> Nanos {
            self.0.fetch_add(1, Ordering::Relaxed) + 1
        }

        fn sleep_until(&self, _: env::Deadline) -> BoxFuture<'static, ()> {
            Box::pin(std::future::pending())
        }
    }

    #[tokio::test]
    async fn an_answer_counts_while_it_is_worked_on_and_not_while_it_waits() {
        let (pace, clock) = (Arc::new(Pace::default()), Arc::new(Ticking::default()));
        pace.begin(clock.now());
        let (inner_pace, inner_clock) = (pace.clone(), clock.clone());
        let answer: BoxFuture<'static, Nanos> = Box::pin(async move {
            inner_clock.0.fetch_add(100, Ordering::Relaxed);
            tokio::task::yield_now().await;
            inner_clock.0.fetch_add(10, Ordering::Relaxed);
            inner_pace.take_spent(inner_clock.now())
        });
        let mut counted = Counted { answer, pace: pace.clone(), clock: clock.clone() };
        let mut polls = 0;
        let spent = std::future::poll_fn(|cx| {
            polls += 1;
            let polled = Pin::new(&mut counted).poll(cx);
            // Somebody else has his turn.
            clock.0.fetch_add(1_000_000, Ordering::Relaxed);
            polled
        });
        let spent = spent.await;
        assert!((110..120).contains(&spent) && polls == 2, "{spent} in {polls}");
    }
}

//! Waiting for a spawned future, and waiting with an end.
//!
//! It spawns nothing: `env::Tasks` does. A future that ended without an output was dropped because the node stops.

use env::BoxFuture;
use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::sync::oneshot;

/// The output of a spawned future; dropping it does not end the future.
pub(crate) struct Handle<T>(pub(crate) oneshot::Receiver<T>);

/// The future was dropped before it had an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ended;

/// The time was over first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TimedOut;

/// A future that ends at the latest when its sleep does.
pub(crate) struct Timed<F> {
    future: Pin<Box<F>>,
    sleep: BoxFuture<'static, ()>,
}

impl<T> Future for Handle<T> {
    type Output = Result<T, Ended>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let output = ready!(Pin::new(&mut self.0).poll(context));
        Poll::Ready(output.map_err(|_| Ended))
    }
}

impl<F> Timed<F> {
    pub(crate) fn new(future: F, sleep: BoxFuture<'static, ()>) -> Self {
        Self { future: Box::pin(future), sleep }
    }
}

impl<F: Future> Future for Timed<F> {
    type Output = Result<F::Output, TimedOut>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Poll::Ready(output) = self.future.as_mut().poll(context) {
            return Poll::Ready(Ok(output));
        }
        self.sleep.as_mut().poll(context).map(|()| Err(TimedOut))
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the task ended without an output")
    }
}

impl fmt::Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the time is over")
    }
}

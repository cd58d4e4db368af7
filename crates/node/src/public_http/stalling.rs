//! A connection that is given up when its peer takes nothing for long: what was read for it must not stay in memory.
//!
//! It knows no HTTP. How long a peer may take to send something is measured where that is read.

use super::{exit::Exit, wire::Wire};
use env::{BoxFuture, Clock};
use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How long a peer may take nothing.
pub(super) const STALL_MS_MAX: i64 = 30_000;

/// See the head of the file.
pub(super) struct Stalling {
    wire: Wire,
    clock: Arc<dyn Clock>,
    /// Ends when the peer has taken nothing for too long; there while it takes nothing.
    stalled: Option<BoxFuture<'static, ()>>,
    exit: Arc<Exit>,
}

impl Stalling {
    pub(super) fn new(wire: Wire, clock: Arc<dyn Clock>, exit: Arc<Exit>) -> Self {
        Self { wire, clock, stalled: None, exit }
    }

    pub(super) fn into_wire(self) -> Wire {
        self.wire
    }

    /// What a write has come to, or that the peer is given up.
    fn judge<T>(&mut self, wrote: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if wrote.is_ready() {
            self.stalled = None;
            return wrote;
        }
        let clock = &self.clock;
        let stalled = self.stalled.get_or_insert_with(|| clock.sleep_until(clock.after_millis(STALL_MS_MAX)));
        ready!(stalled.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Stalling {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_read(context, buffer)
    }
}

impl AsyncWrite for Stalling {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.exit.on_write();
        let wrote = Pin::new(&mut self.wire).poll_write(context, bytes);
        self.judge(wrote, context)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.exit.on_flush();
        Pin::new(&mut self.wire).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.wire.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.exit.on_write();
        let wrote = Pin::new(&mut self.wire).poll_write_vectored(context, slices);
        self.judge(wrote, context)
    }
}

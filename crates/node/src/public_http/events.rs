//! The body of an answer that follows a stream: events as they come, until the reader goes or its time is over.
//!
//! What is sent `gateway` says. Nothing is kept for a reader that is slow: what it was not sent yet is read when it can be.

use super::answers::Answers;
use bytes::Bytes;
use env::{BoxFuture, Deadline};
use gateway::{Follow, From, Service};
use hyper::body::{Body, Frame};
use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::sync::watch;

/// A connection ends after this, so that what lies between can give many readers one answer (PROTOCOL.md, section 5.8); they come
/// again by themselves.
pub(super) const FOLLOW_MS_MAX: i64 = 60_000;
/// Readers that are sent nothing for so long are shown that the connection is alive.
pub(super) const QUIET_MS_MAX: i64 = 25_000;
/// When it is looked again whether there is room for what it is sent.
const BUSY_MS: i64 = 1_000;
/// What an `EventSource` passes over.
const COMMENT: &str = ":\n\n";

/// See the head of the file.
pub(crate) struct Events(Option<BoxFuture<'static, Option<(Bytes, Reader)>>>);

/// Where a reader is.
struct Reader {
    service: Service,
    answers: Answers,
    follow: Follow,
    closing: watch::Receiver<bool>,
    until: Deadline,
    /// Whether it was sent anything.
    has_begun: bool,
    /// Whether nothing follows.
    is_over: bool,
}

impl Events {
    pub(super) fn new(
        (service, answers): (Service, Answers),
        follow: Follow,
        closing: watch::Receiver<bool>,
    ) -> Self {
        let left = follow.left_ms(service.clock.wall(), FOLLOW_MS_MAX);
        let until = service.clock.after_millis(left);
        let reader = Reader { service, answers, follow, closing, until, has_begun: false, is_over: false };
        Self(Some(Box::pin(reader.next())))
    }
}

impl Reader {
    /// What it is sent next; `None` ends the connection.
    async fn next(mut self) -> Option<(Bytes, Self)> {
        let is_late = self.has_begun && self.service.clock.now() >= self.until;
        if self.is_over || is_late || *self.closing.borrow() {
            return None;
        }
        let quiet = self.service.clock.after_millis(QUIET_MS_MAX);
        loop {
            let (mailboxes, clock) = (&self.service.mailboxes, &self.service.clock);
            let from = self.follow.next();
            // A reader that cannot be served comes again, and is told why.
            let read = mailboxes.read(&self.follow.at, From::At(from), self.service.bytes_max).await;
            let chunk = read.ok()?;
            let is_news = !chunk.records.is_empty() || chunk.standing.life.is_closed;
            let is_quiet = clock.now() >= quiet;
            if is_news || is_quiet || !self.has_begun {
                let mut follow = self.follow.clone();
                let sent = follow.send(&chunk, clock.wall(), self.service.random.next_u64());
                let text = if sent.text.is_empty() { COMMENT.to_owned() } else { sent.text };
                if let Some(bytes) = self.answers.hold(text.into()) {
                    (self.follow, self.has_begun, self.is_over) = (follow, true, sent.is_over);
                    return Some((bytes, self));
                }
                drop(chunk);
                tokio::select! {
                    biased;
                    () = super::until_closing(&mut self.closing) => return None,
                    () = clock.sleep_until(self.until) => return None,
                    () = clock.sleep_until(clock.after_millis(BUSY_MS)) => continue,
                }
            }
            self.follow.pass(&chunk);
            let from = self.follow.next();
            tokio::select! {
                biased;
                () = super::until_closing(&mut self.closing) => return None,
                () = mailboxes.changed(&self.follow.at, from) => {}
                () = clock.sleep_until(self.until) => return None,
                () = clock.sleep_until(quiet) => {}
            }
        }
    }
}

impl Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(next) = &mut self.0 else { return Poll::Ready(None) };
        let sent = ready!(next.as_mut().poll(context));
        let frame = sent.map(|(bytes, reader)| {
            self.0 = Some(Box::pin(reader.next()));
            Ok(Frame::data(bytes))
        });
        if frame.is_none() {
            self.0 = None;
        }
        Poll::Ready(frame)
    }
}

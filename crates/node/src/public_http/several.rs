//! The body of an answer that follows several streams: events as they come, until the reader goes or its time is over.
//!
//! What is sent `gateway` says. A reader for whose pieces there is no room is ended: it comes again, and is behind then.

use super::{FOLLOW_SECONDS_MAX, QUIET_SECONDS_MAX, answers::Answers};
use bytes::Bytes;
use env::{BoxFuture, Deadline};
use gateway::{Many, Service};
use hyper::body::{Body, Frame};
use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::sync::{OwnedSemaphorePermit, watch};

/// See the head of the file.
pub(crate) struct Several(Option<BoxFuture<'static, Option<(Bytes, Reader)>>>);

/// Where a reader is.
struct Reader {
    service: Service,
    answers: Answers,
    many: Box<Many>,
    _seats: OwnedSemaphorePermit,
    closing: watch::Receiver<bool>,
    until: Deadline,
    /// Whether nothing follows.
    is_over: bool,
}

impl Several {
    pub(super) fn new(
        (service, answers): (Service, Answers),
        many: Box<Many>,
        seats: OwnedSemaphorePermit,
        closing: watch::Receiver<bool>,
    ) -> Self {
        let left = many.left_ms(service.clock.wall(), i64::from(FOLLOW_SECONDS_MAX) * 1000);
        let until = service.clock.after_millis(left);
        Self(Some(Box::pin(
            Reader { service, answers, many, _seats: seats, closing, until, is_over: false }.next(),
        )))
    }
}

impl Reader {
    /// What it is sent next; `None` ends the connection.
    async fn next(mut self) -> Option<(Bytes, Self)> {
        if self.is_over || *self.closing.borrow() {
            return None;
        }
        let clock = &self.service.clock;
        let text = tokio::select! {
            biased;
            () = super::until_closing(&mut self.closing) => return None,
            () = clock.sleep_until(self.until) => return None,
            sent = self.many.send(&self.service) => {
                let sent = sent.ok()?;
                self.is_over = sent.is_over;
                sent.text
            }
            () = clock.sleep_until(clock.after_millis(i64::from(QUIET_SECONDS_MAX) * 1000)) => self.many.alive(&self.service),
        };
        Some((self.answers.hold(text.into())?, self))
    }
}

impl Body for Several {
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

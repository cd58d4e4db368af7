//! The body of an answer that follows several streams, or one on a connection that others share: events as they come, until the reader
//! goes or its time is over.
//!
//! What is sent `gateway` says. A reader for whose pieces there is no room is ended: it comes again, and is behind then.

use super::{QUIET_SECONDS_MAX, answers::Answers, followed::Followed, reader::COMMENT};
use bytes::Bytes;
use env::{BoxFuture, Deadline};
use gateway::{Many, Sent, Service};
use hyper::body::{Body, Frame};
use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::sync::{OwnedSemaphorePermit, watch};

/// See the head of the file.
pub(crate) struct Several(Option<BoxFuture<'static, Option<(Bytes, Reader)>>>);

/// What is followed.
pub(super) enum Source {
    Many(Box<Many>),
    One(Box<Followed>),
}

/// Where a reader is.
struct Reader {
    service: Service,
    answers: Answers,
    source: Source,
    _seats: OwnedSemaphorePermit,
    closing: watch::Receiver<bool>,
    until: Deadline,
    /// Whether nothing follows.
    is_over: bool,
}

impl Several {
    /// For so many milliseconds.
    pub(super) fn new(
        (service, answers): (Service, Answers),
        (source, left_ms): (Source, i64),
        seats: OwnedSemaphorePermit,
        closing: watch::Receiver<bool>,
    ) -> Self {
        let until = service.clock.after_millis(left_ms);
        let reader = Reader { service, answers, source, _seats: seats, closing, until, is_over: false };
        Self(Some(Box::pin(reader.next())))
    }
}

impl Source {
    /// What is sent next, which it waits for. `None`: nothing can be.
    async fn send(&mut self, service: &Service) -> Option<Sent> {
        match self {
            Self::Many(many) => many.send(service).await.ok(),
            Self::One(one) => one.send(service).await,
        }
    }

    /// What shows that the connection is alive.
    fn alive(&self, service: &Service) -> String {
        match self {
            Self::Many(many) => many.alive(service),
            Self::One(_) => COMMENT.to_owned(),
        }
    }

    fn last(&self, is_closing: bool, service: &Service) -> String {
        match self {
            Self::Many(_) => String::new(),
            Self::One(one) => one.last(is_closing, service),
        }
    }
}

impl Reader {
    /// What it is sent next; `None` ends the connection.
    async fn next(mut self) -> Option<(Bytes, Self)> {
        if self.is_over {
            return None;
        }
        let clock = &self.service.clock;
        let text = tokio::select! {
            biased;
            () = super::until_closing(&mut self.closing) => return self.end(true),
            () = clock.sleep_until(self.until) => return self.end(false),
            sent = self.source.send(&self.service) => {
                let sent = sent?;
                self.is_over = sent.is_over;
                sent.text
            }
            () = clock.sleep_until(clock.after_millis(i64::from(QUIET_SECONDS_MAX) * 1000)) => self.source.alive(&self.service),
        };
        Some((self.answers.hold(text.into())?, self))
    }

    fn end(mut self, is_closing: bool) -> Option<(Bytes, Self)> {
        self.is_over = true;
        let text = self.source.last(is_closing, &self.service);
        (!text.is_empty()).then(|| (text.into(), self))
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

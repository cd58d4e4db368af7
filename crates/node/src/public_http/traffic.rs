//! What goes on on a connection of HTTP/2, where many answers share one: so that one whose client takes nothing, or asks for nothing, is
//! given up, as `stalling` and the stack of HTTP/1.1 see to it there.
//!
//! A client may take one answer and leave another for ever: each piece of an answer is looked at by itself.

use bytes::Bytes;
use env::{Clock, Nanos};
use hyper::{
    Response,
    body::{Body, Frame, SizeHint},
};
use parking_lot::Mutex;
use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

/// How a connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    Well,
    /// Nothing has been asked for a long time, and nothing is being answered.
    Idle,
    /// Something that was given to it long ago has not been sent.
    Stalled,
}

/// See the head of the file.
pub(super) struct Traffic {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

struct State {
    /// Requests whose answers are not over.
    open: u32,
    /// When the last of them was, or the connection began.
    idle_since: Nanos,
    /// Pieces that are not sent, and since when.
    pieces: BTreeMap<u64, Nanos>,
    next: u64,
}

/// A request until its answer is over.
pub(super) struct Open(Arc<Traffic>);

/// An answer that is counted until it is over, and its pieces until they are sent.
pub(super) struct Counted<B> {
    body: B,
    open: Open,
}

/// A piece until it is sent.
struct Piece {
    bytes: Bytes,
    number: u64,
    traffic: Arc<Traffic>,
}

impl Traffic {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        let idle_since = clock.now();
        let state = State { open: 0, idle_since, pieces: BTreeMap::new(), next: 0 };
        Arc::new(Self { clock, state: Mutex::new(state) })
    }

    /// One more request.
    pub(super) fn open(self: &Arc<Self>) -> Open {
        self.state.lock().open += 1;
        Open(self.clone())
    }

    /// How it stands; both spans in milliseconds.
    pub(super) fn standing(&self, idle_ms: u64, stall_ms: u64) -> Standing {
        let (state, now) = (self.state.lock(), self.clock.now());
        let is_past = |since: Nanos, ms: u64| now >= since.saturating_add(ms.saturating_mul(1_000_000));
        // They are numbered as they were given.
        if state.pieces.first_key_value().is_some_and(|(_, since)| is_past(*since, stall_ms)) {
            return Standing::Stalled;
        }
        if state.open == 0 && is_past(state.idle_since, idle_ms) { Standing::Idle } else { Standing::Well }
    }

    fn piece(self: &Arc<Self>, bytes: Bytes) -> Bytes {
        let (mut state, now) = (self.state.lock(), self.clock.now());
        let number = state.next;
        state.next += 1;
        state.pieces.insert(number, now);
        Bytes::from_owner(Piece { bytes, number, traffic: self.clone() })
    }
}

impl Open {
    /// The answer to this request.
    pub(super) fn count<B>(self, answer: Response<B>) -> Response<Counted<B>> {
        answer.map(|body| Counted { body, open: self })
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.open = state.open.saturating_sub(1);
        state.idle_since = self.0.clock.now();
    }
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.traffic.state.lock().pieces.remove(&self.number);
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Counted<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let traffic = self.open.0.clone();
        let polled = Pin::new(&mut self.body).poll_frame(context);
        polled.map(|frame| frame.map(|frame| frame.map(|frame| frame.map_data(|bytes| traffic.piece(bytes)))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

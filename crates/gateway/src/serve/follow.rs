//! A reader that follows a stream as events: where it is, and what it is sent for each chunk.
//!
//! It is small and waits for nothing: whoever holds the connection reads from [`Follow::next`] on, hands the chunk over, and sends
//! what comes. A reader that is slow is a place in a stream, and no buffer.

use super::put;
use crate::{
    cursor::Cursor,
    form::Form,
    mailboxes::{Address, Chunk},
    sse,
    token::Token,
};
use bytes::Bytes;
use http::Response;

/// See the head of the file.
#[derive(Debug, Clone)]
pub struct Follow {
    /// Of which stream.
    pub at: Address,
    /// From there on it is to be read.
    pub next: Token,
    /// How it wants its events.
    pub shape: EventShape,
    pub(super) until_ms: Option<i64>,
}

/// How readers want their events: those of one stream that want the same are sent the same bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventShape {
    form: Form,
    is_plain: bool,
    /// What it sent as `cursor`, or none.
    cursor: Option<Cursor>,
}

/// What is sent next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// Events.
    pub text: String,
    /// Whether nothing will ever follow, so that the connection ends.
    pub is_over: bool,
}

/// Readers that know nothing of this protocol come again after so long, and by chance up to twice as long.
const RETRY_MS: u64 = 500;
/// ... and where the node stops.
const RETRY_LATE_MS: u64 = 2_000;

impl Follow {
    /// How long it may be followed yet, at most so long, in milliseconds: no longer than the token of its reader is worth something.
    pub fn left_ms(&self, now_ms: i64, most: i64) -> i64 {
        self.until_ms.map_or(most, |until| until.saturating_sub(now_ms).clamp(0, most))
    }

    pub(super) fn head(&self) -> Response<()> {
        let mut response = Response::new(());
        let headers = response.headers_mut();
        put(headers, "content-type", "text/event-stream");
        put(headers, "cache-control", "no-cache");
        if self.shape.form == Form::Base64 {
            put(headers, "stream-sse-data-encoding", "base64");
        }
        response
    }
}

impl EventShape {
    pub(crate) fn new(content_type: &str, is_plain: bool, cursor: Option<Cursor>) -> Self {
        Self { form: Form::of(content_type), is_plain, cursor: cursor.filter(|_| !is_plain) }
    }

    /// What of it counts at this time: a cursor that time has passed is as good as none.
    pub fn at(self, now_ms: i64) -> Self {
        Self { cursor: self.cursor.filter(|cursor| *cursor >= Cursor::of(now_ms)), ..self }
    }

    /// What is sent of what was read; `random` is anything.
    pub fn send(&self, chunk: &Chunk, now_ms: i64, random: u64) -> Sent {
        let is_over = chunk.is_up_to_date && chunk.standing.life.is_closed;
        if self.is_plain {
            return Sent { text: self.one_by_one(chunk), is_over };
        }
        let values: Vec<&[u8]> = chunk.records.iter().filter_map(|(_, value)| value.as_deref()).collect();
        let mut text = String::new();
        if !values.is_empty() {
            text = sse::event(chunk.next, Some("data"), &self.form.all(&values));
        }
        let cursor = Cursor::next(self.cursor, now_ms, random);
        text.push_str(&sse::control(chunk.next, (!is_over).then_some(cursor), chunk.is_up_to_date));
        Sent { text, is_over }
    }

    /// When the reader is to come again, if it takes that from the stream; `is_late`: the node stops. `random` is anything.
    pub fn retry(&self, is_late: bool, random: u64) -> String {
        let ms = if is_late { RETRY_LATE_MS } else { RETRY_MS };
        if self.is_plain { sse::retry(ms + random % ms) } else { String::new() }
    }

    /// For readers that know nothing of this protocol: an event for each record, of which each is a place to resume.
    fn one_by_one(&self, chunk: &Chunk) -> String {
        let event = |(token, value): &(Token, Option<Bytes>)| match value {
            Some(value) => sse::event(*token, None, &self.form.one(value)),
            None => sse::event(*token, Some("delete"), ""),
        };
        chunk.records.iter().map(event).collect()
    }
}

//! A reader that follows a stream as events: what it is sent for each chunk, and where it is.
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
    next: Token,
    cursor: Option<String>,
    form: Form,
    is_plain: bool,
    until_ms: Option<i64>,
}

/// What is sent next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// Events.
    pub text: String,
    /// Whether nothing will ever follow, so that the connection ends.
    pub is_over: bool,
}

impl Follow {
    pub(super) fn new(
        at: Address,
        next: Token,
        content_type: &str,
        (cursor, is_plain): (Option<String>, bool),
    ) -> Self {
        Self { at, next, cursor, form: Form::of(content_type), is_plain, until_ms: None }
    }

    pub(super) fn until(self, until_ms: Option<i64>) -> Self {
        Self { until_ms, ..self }
    }

    /// How long it may be followed yet, at most so long, in milliseconds: no longer than the token of its reader is worth something.
    pub fn left_ms(&self, now_ms: i64, most: i64) -> i64 {
        self.until_ms.map_or(most, |until| until.saturating_sub(now_ms).clamp(0, most))
    }

    /// Where it is: from there on it is to be read.
    pub fn next(&self) -> Token {
        self.next
    }

    /// What was read had nothing for it: it goes on behind that. What an aborted transaction has written is not read again and again.
    pub fn pass(&mut self, chunk: &Chunk) {
        self.next = chunk.next;
    }

    pub(super) fn head(&self) -> Response<()> {
        let mut response = Response::new(());
        let headers = response.headers_mut();
        put(headers, "content-type", "text/event-stream");
        put(headers, "cache-control", "no-cache");
        if self.form == Form::Base64 {
            put(headers, "stream-sse-data-encoding", "base64");
        }
        response
    }

    /// What is sent of what was read, or to show that the connection is alive; `random` is anything.
    pub fn send(&mut self, chunk: &Chunk, now_ms: i64, random: u64) -> Sent {
        self.next = chunk.next;
        let is_over = chunk.is_up_to_date && chunk.standing.life.is_closed;
        if self.is_plain {
            return Sent { text: self.one_by_one(chunk), is_over };
        }
        let values: Vec<&[u8]> = chunk.records.iter().filter_map(|(_, value)| value.as_deref()).collect();
        let mut text = String::new();
        if !values.is_empty() {
            text = sse::event(chunk.next, Some("data"), &self.form.all(&values));
        }
        let cursor = Cursor::next(self.cursor.as_deref(), now_ms, random);
        text.push_str(&sse::control(chunk.next, (!is_over).then_some(cursor), chunk.is_up_to_date));
        Sent { text, is_over }
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

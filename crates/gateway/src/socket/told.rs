//! What a client is told on a WebSocket: one object in JSON, whose `op` says what it is (docs/http.md).
//!
//! Records and problems look as they do over HTTP.

use crate::{
    many::{Item, Many, envelope},
    problem::Problem,
};
use bytes::Bytes;
use http::{HeaderMap, Response};
use serde_json::{Map, Value, json, value::RawValue};

/// Headers of an answer that a client acts on.
const TOLD_HEADERS: [&str; 8] = [
    "producer-epoch",
    "producer-expected-seq",
    "producer-received-seq",
    "retry-after",
    "stream-closed",
    "stream-earliest-offset",
    "stream-next-offset",
    "www-authenticate",
];

pub(super) fn pong(id: Option<u64>) -> String {
    match id {
        Some(id) => json!({"op": "pong", "id": id}).to_string(),
        None => json!({"op": "pong"}).to_string(),
    }
}

pub(super) fn subscribed(id: u64, offset: &str) -> String {
    json!({"op": "subscribed", "id": id, "offset": offset}).to_string()
}

pub(super) fn unsubscribed(id: u64) -> String {
    json!({"op": "unsubscribed", "id": id}).to_string()
}

pub(super) fn here(id: u64, offset: &str) -> String {
    json!({"op": "here", "id": id, "offset": offset}).to_string()
}

pub(super) fn renewed(id: u64, until_ms: Option<i64>) -> String {
    json!({"op": "token", "id": id, "until": until_ms}).to_string()
}

pub(super) fn end(id: u64, many: &Many, stream: usize) -> String {
    about("end", id, many, stream, many.is_over())
}

pub(super) fn gone(id: u64, many: &Many, stream: usize) -> String {
    about("gone", id, many, stream, false)
}

fn about(op: &str, id: u64, many: &Many, stream: usize, is_last: bool) -> String {
    let about = many.stream(stream).map(|(source, place)| envelope::about(source, stream, place, &[]));
    let last = if is_last { ",\"last\":true" } else { "" };
    let (offset, about) = (many.positions(), about.unwrap_or_else(|| "{}".to_owned()));
    format!("{{\"op\":\"{op}\",\"id\":{id},\"offset\":\"{offset}\",\"stream\":{about}{last}}}")
}

/// Records as one message.
pub(super) struct Records {
    text: String,
    count: usize,
}

impl Records {
    pub(super) fn new(id: u64) -> Self {
        Self { text: format!("{{\"op\":\"records\",\"id\":{id},\"records\":["), count: 0 }
    }

    pub(super) fn bytes(&self) -> usize {
        self.text.len()
    }

    /// One more; how many bytes it takes.
    pub(super) fn push(&mut self, many: &Many, item: &Item) -> usize {
        let source = many.source(item.stream);
        let record = source.map(|source| envelope::write(item, source, Some(item.stream)));
        let record = record.unwrap_or_default();
        if self.count > 0 {
            self.text.push(',');
        }
        self.count += 1;
        self.text.push_str(&record);
        record.len()
    }

    /// The message, if there are any; the offset is behind the last of them.
    pub(super) fn end(self, offset: &str) -> Option<String> {
        (self.count > 0).then(|| format!("{}],\"offset\":\"{offset}\"}}", self.text))
    }
}

/// What an answer to a publication says.
pub(super) fn published(id: u64, has_producer: bool, response: &Response<Bytes>) -> String {
    if !response.status().is_success() {
        return refused(Some(id), response);
    }
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
    let mut fields = Map::new();
    fields.insert("op".to_owned(), "ack".into());
    fields.insert("id".to_owned(), id.into());
    let texts = [("next", "stream-next-offset"), ("location", "content-location")];
    for (name, text) in texts.into_iter().filter_map(|(name, from)| Some((name, header(from)?))) {
        fields.insert(name.to_owned(), text.into());
    }
    if has_producer {
        // 200 says that it was new.
        fields.insert("duplicate".to_owned(), (response.status() != http::StatusCode::OK).into());
        if let Some(seq) = header("producer-seq").and_then(|text| text.parse::<u64>().ok()) {
            fields.insert("seq".to_owned(), seq.into());
        }
    }
    if header("idempotency-replayed") == Some("true") {
        fields.insert("duplicate".to_owned(), true.into());
    }
    if header("stream-closed") == Some("true") {
        fields.insert("closed".to_owned(), true.into());
    }
    Value::from(fields).to_string()
}

pub(super) fn problem(id: Option<u64>, problem: &Problem) -> String {
    refused(id, &problem.response().map(Bytes::from))
}

/// What an answer that is none says.
pub(super) fn refused(id: Option<u64>, response: &Response<Bytes>) -> String {
    let id = id.map(|id| format!("\"id\":{id},")).unwrap_or_default();
    let is_object = |raw: &&RawValue| raw.get().starts_with('{');
    let problem = serde_json::from_slice::<&RawValue>(response.body()).ok().filter(is_object);
    let problem = match problem {
        Some(problem) => problem.get().to_owned(),
        None => json!({"status": response.status().as_u16()}).to_string(),
    };
    let headers = headers(response.headers());
    format!("{{\"op\":\"error\",{id}\"problem\":{problem}{headers}}}")
}

fn headers(all: &HeaderMap) -> String {
    let told = TOLD_HEADERS.iter().filter_map(|name| {
        let value = all.get(*name)?.to_str().ok()?;
        Some(((*name).to_owned(), Value::from(value)))
    });
    let told: Map<String, Value> = told.collect();
    if told.is_empty() { String::new() } else { format!(",\"headers\":{}", Value::from(told)) }
}

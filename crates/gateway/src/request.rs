//! What a request asks for: its path, query and headers, read and checked, before anything is looked up.
//!
//! Everything that is not exactly as the protocol has it is refused with what would be right; nothing is guessed.

use crate::{problem::Problem, token::Token};
use chrono::DateTime;
use http::{HeaderMap, StatusCode};
use mailbox::{Lifetime, Sent, limits};
use model::TopicName;

mod once;
mod path;
mod prefer;
mod route;
mod subscription;
mod upgrade;

pub(crate) use once::Once;
pub(crate) use path::Path;
pub(crate) use prefer::{responds_async, wait_seconds};
pub(crate) use route::Route;
pub(crate) use subscription::{LIST_BYTES_MAX, Subscription, Wish, address as key_address};
pub(crate) use upgrade::upgrade;

/// Where a reader begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start<T = Token> {
    /// `-1`, or nothing: with the first record that is kept.
    Begin,
    /// `now`: with the next one.
    Now,
    /// With what comes at this offset or behind it.
    At(T),
}

/// How a reader waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Live {
    /// It is answered once there is something.
    LongPoll,
    /// It is sent what comes for as long as it listens, with control events.
    Sse,
    /// The same for an `EventSource` that knows nothing of this protocol.
    EventSource,
}

/// GET.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Read<T = Token> {
    /// Where.
    pub(crate) start: Start<T>,
    /// Whether it waits.
    pub(crate) live: Option<Live>,
    /// What it was sent as `Stream-Cursor` last.
    pub(crate) cursor: Option<String>,
    /// `If-None-Match`.
    pub(crate) none_match: Option<String>,
}

/// The head of a PUT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CreateHead {
    /// `Content-Type`, if there is a usable one.
    pub(crate) content_type: Option<String>,
    /// `Stream-TTL` or `Stream-Expires-At`.
    pub(crate) lifetime: Option<Lifetime>,
    /// `Stream-Closed: true`.
    pub(crate) is_closed: bool,
    /// `Stream-Forked-From`.
    pub(crate) fork: Option<Forked>,
}

/// Of which stream a fork is to be made, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Forked {
    /// `Stream-Forked-From`.
    pub(crate) path: String,
    /// `Stream-Fork-Offset`; without one the end of the source.
    pub(crate) offset: Option<Token>,
    /// `Stream-Fork-Sub-Offset`.
    pub(crate) sub_offset: u64,
}

/// The head of a POST.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AppendHead {
    /// `Content-Type`.
    pub(crate) content_type: Option<String>,
    /// `Stream-Seq`.
    pub(crate) seq: Option<String>,
    /// `Stream-Closed: true`.
    pub(crate) closes: bool,
    /// `Producer-Id`, `-Epoch`, `-Seq`.
    pub(crate) sent: Option<Sent>,
    /// `Expected-Offset`.
    pub(crate) expected: Option<Token>,
    /// `Idempotency-Key`.
    pub(crate) once: Option<Once>,
}

impl Read {
    /// Reads the query and the headers of a GET.
    pub(crate) fn parse(query: Option<&str>, headers: &HeaderMap) -> Result<Self, Problem> {
        Self::parse_as(&Query::parse(query)?, headers, Token::parse)
    }
}

/// The pairs of a query.
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(query: Option<&str>) -> Result<Self, Problem> {
        path::query(query.unwrap_or_default()).map(Self)
    }

    /// The one value of a name.
    pub(crate) fn one(&self, name: &str) -> Result<Option<&str>, Problem> {
        let mut values = self.all(name);
        let value = values.next();
        match values.next() {
            None => Ok(value),
            Some(_) => Err(Problem::malformed("query", format!("{name} is there more than once"))),
        }
    }

    /// All values of a name.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// Whether a client would have events.
pub(crate) fn wants_events(headers: &HeaderMap) -> Result<bool, Problem> {
    Ok(text(headers, "accept")?.is_some_and(|accepted| {
        accepted.split(',').any(|one| one.split(';').next().unwrap_or_default().trim() == "text/event-stream")
    }))
}

/// Where a browser was cut off.
pub(crate) fn last_event_id(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    Ok(text(headers, "last-event-id")?.filter(|id| !id.is_empty()))
}

impl<T> Read<T> {
    /// The same, with places of another kind.
    pub(crate) fn parse_as(
        query: &Query,
        headers: &HeaderMap,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Self, Problem> {
        let one = |name: &str| query.one(name);
        let live = match one("live")? {
            Some("long-poll") => Some(Live::LongPoll),
            Some("sse") => Some(Live::Sse),
            None if wants_events(headers)? => Some(Live::EventSource),
            None => None,
            Some(other) => {
                let text = format!("live is {other:?}; it can be long-poll or sse");
                return Err(Problem::malformed("live", text));
            }
        };
        // A browser tells where it was cut off, whatever its address says.
        let last_event = last_event_id(headers)?;
        let offset = match last_event.filter(|_| live == Some(Live::EventSource)) {
            Some(id) => Some(id),
            None => one("offset")?,
        };
        let start = match offset {
            None if matches!(live, Some(Live::LongPoll | Live::Sse)) => {
                let text =
                    "who waits says from where on: offset=-1, offset=now, or what Stream-Next-Offset said";
                return Err(Problem::malformed("offset", text));
            }
            None | Some("-1") => Start::Begin,
            Some("now") => Start::Now,
            Some(token) => Start::At(parse(token).ok_or_else(|| unknown_token("offset", token))?),
        };
        let cursor = one("cursor")?.map(str::to_owned);
        Ok(Self { start, live, cursor, none_match: none_match(headers)?.map(str::to_owned) })
    }
}

impl CreateHead {
    /// Reads the headers of a PUT.
    pub(crate) fn parse(headers: &HeaderMap) -> Result<Self, Problem> {
        // A type that is none counts as nothing: browsers send such.
        let content_type =
            text(headers, "content-type")?.filter(|text| is_media_type(text)).map(str::to_owned);
        let fork = match text(headers, "stream-forked-from")? {
            Some(path) => Some(Forked {
                path: path.to_owned(),
                offset: text(headers, "stream-fork-offset")?
                    .map(|token| parse_token("Stream-Fork-Offset", token))
                    .transpose()?,
                sub_offset: number(headers, "stream-fork-sub-offset")?.unwrap_or(0),
            }),
            None => {
                let alone = ["stream-fork-offset", "stream-fork-sub-offset"];
                if let Some(name) = alone.iter().find(|name| headers.contains_key(**name)) {
                    let text = format!("{name} wants Stream-Forked-From beside it");
                    return Err(Problem::malformed("fork", text));
                }
                None
            }
        };
        Ok(Self { content_type, lifetime: lifetime(headers)?, is_closed: is_closed(headers), fork })
    }
}

impl AppendHead {
    /// Reads the headers of a POST.
    pub(crate) fn parse(headers: &HeaderMap) -> Result<Self, Problem> {
        let (sent, once) = (sent(headers)?, Once::read(headers)?);
        if sent.is_some() && once.is_some() {
            let text = "Producer-Id and Idempotency-Key exclude each other: both say which append this is";
            return Err(Problem::malformed("idempotency-key", text));
        }
        Ok(Self {
            content_type: text(headers, "content-type")?.map(str::to_owned),
            seq: text(headers, "stream-seq")?.map(str::to_owned),
            closes: is_closed(headers),
            sent,
            once,
            expected: text(headers, "expected-offset")?
                .map(|token| parse_token("Expected-Offset", token))
                .transpose()?,
        })
    }
}

/// The one value that a query has under a name.
pub(crate) fn one_of_query(query: &str, name: &str) -> Result<Option<String>, Problem> {
    let pairs = path::query(query)?;
    let mut named = pairs.into_iter().filter(|(key, _)| key == name);
    match (named.next(), named.next()) {
        (first, None) => Ok(first.map(|(_, value)| value)),
        _ => Err(Problem::malformed("query", format!("{name} is there more than once"))),
    }
}

/// `If-None-Match`.
pub(crate) fn none_match(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    text(headers, "if-none-match")
}

fn lifetime(headers: &HeaderMap) -> Result<Option<Lifetime>, Problem> {
    let ttl = number(headers, "stream-ttl")?;
    let until = text(headers, "stream-expires-at")?;
    match (ttl, until) {
        (None, None) => Ok(None),
        (Some(seconds), None) => Ok(Some(Lifetime::Idle(seconds))),
        (None, Some(text)) => match DateTime::parse_from_rfc3339(text) {
            Ok(time) => Ok(Some(Lifetime::Until { at_ms: time.timestamp_millis(), text: text.to_owned() })),
            Err(error) => {
                let text =
                    format!("Stream-Expires-At is no RFC 3339 time such as 2026-12-24T18:00:00Z: {error}");
                Err(Problem::malformed("expires-at", text))
            }
        },
        (Some(_), Some(_)) => {
            Err(Problem::malformed("lifetime", "Stream-TTL and Stream-Expires-At exclude each other"))
        }
    }
}

fn sent(headers: &HeaderMap) -> Result<Option<Sent>, Problem> {
    let names = ["producer-id", "producer-epoch", "producer-seq"];
    let count = names.iter().filter(|name| headers.contains_key(**name)).count();
    if count == 0 {
        return Ok(None);
    }
    let id = text(headers, "producer-id")?.unwrap_or_default().to_owned();
    if count < names.len() || id.is_empty() {
        let text = "Producer-Id, Producer-Epoch and Producer-Seq come together, and none is empty";
        return Err(Problem::malformed("producer", text));
    }
    let counted = |name| match digits(headers, name)? {
        Some(number) if number <= limits::NUMBER_MAX => Ok(number),
        _ => {
            let text = format!("{name} is a whole number from 0 to {}", limits::NUMBER_MAX);
            Err(Problem::malformed("producer", text))
        }
    };
    Ok(Some(Sent { id, epoch: counted("producer-epoch")?, seq: counted("producer-seq")? }))
}

/// Whether `Stream-Closed` is true; what it says else counts as nothing.
fn is_closed(headers: &HeaderMap) -> bool {
    headers.get("stream-closed").is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"true"))
}

/// The one value of a header.
pub(crate) fn text<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<Option<&'a str>, Problem> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() && name != "accept" {
        return Err(Problem::malformed("header", format!("{name} is there more than once")));
    }
    let text = value
        .to_str()
        .map_err(|_| Problem::malformed("header", format!("{name} has bytes that are no printable ASCII")))?;
    Ok(Some(text))
}

/// A number in decimal digits, however many zeros stand before them.
fn digits(headers: &HeaderMap, name: &'static str) -> Result<Option<u64>, Problem> {
    let Some(text) = text(headers, name)? else { return Ok(None) };
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(number) if is_number => Ok(Some(number)),
        _ => Err(Problem::malformed("number", format!("{name} is a whole number, and not {text:?}"))),
    }
}

/// The same as it is written, without zeros before it.
fn number(headers: &HeaderMap, name: &'static str) -> Result<Option<u64>, Problem> {
    match text(headers, name)? {
        Some(text) if text.len() > 1 && text.starts_with('0') => {
            Err(Problem::malformed("number", format!("{name} is a number without zeros before it")))
        }
        _ => digits(headers, name),
    }
}

fn parse_token(what: &str, text: &str) -> Result<Token, Problem> {
    Token::parse(text).ok_or_else(|| unknown_token(what, text))
}

pub(crate) fn unknown_token(what: &str, text: &str) -> Problem {
    Problem::malformed("offset", format!("{what} is none that this server has given out: {text:?}"))
}

/// A type and a subtype of tokens (RFC 9110, section 8.3.1).
pub(crate) fn is_media_type(text: &str) -> bool {
    let is_token = |part: &str| {
        let is_mark = |byte: u8| b"!#$%&'*+-.^_`|~".contains(&byte);
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || is_mark(byte))
    };
    let media = text.split(';').next().unwrap_or_default().trim();
    media.split_once('/').is_some_and(|(kind, subtype)| is_token(kind) && is_token(subtype))
}

/// 404 for a path that names nothing here.
fn no_route(detail: &str) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "no-route", detail)
}

pub(crate) fn topic(text: &str) -> Result<TopicName, Problem> {
    TopicName::new(text).map_err(|error| Problem::malformed("topic", error.to_string()))
}

#[cfg(test)]
mod tests;

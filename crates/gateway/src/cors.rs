//! What lets pages use streams (WHATWG Fetch, section 3.2): which methods they may call, which headers they may set and read. Which
//! pages those are `origins` says.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};

/// What a stream knows.
pub(crate) const METHODS: &str = "GET, HEAD, PUT, POST, DELETE, OPTIONS";
/// Headers of requests that a page may set.
const ASKED: &str = "Authorization, Content-Encoding, Content-Type, If-None-Match, Last-Event-ID, Prefer, Expected-Offset, Idempotency-Key, Producer-Id, \
                     Producer-Epoch, Producer-Seq, Stream-Closed, Stream-Seq, Stream-TTL, Stream-Expires-At, Stream-Forked-From, \
                     Stream-Fork-Offset, Stream-Fork-Sub-Offset, traceparent, tracestate, ce-specversion, ce-id, ce-source, ce-type, \
                     ce-subject, ce-time, ce-datacontenttype, ce-dataschema, ce-partitionkey, ce-traceparent";
/// Headers of answers that a page may read.
pub(crate) const TOLD: &str = "Accept-Query, Content-Location, ETag, Idempotency-Replayed, Location, Preference-Applied, RateLimit, RateLimit-Policy, Retry-After, Producer-Epoch, Producer-Seq, \
                               Producer-Expected-Seq, Producer-Received-Seq, \
                    Stream-Closed, Stream-Cursor, Stream-Earliest-Offset, Stream-Expires-At, Stream-Next-Offset, \
                    Stream-SSE-Data-Encoding, Stream-TTL, Stream-Up-To-Date, WWW-Authenticate";
/// How long a browser remembers the answer: some take no more than this.
const SECONDS: &str = "7200";

/// The answer to OPTIONS, by which a browser asks first.
pub(crate) fn preflight() -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    put(headers, "allow", METHODS);
    put(headers, "access-control-allow-methods", METHODS);
    put(headers, "access-control-allow-headers", ASKED);
    put(headers, "access-control-max-age", SECONDS);
    response
}

/// A header with one value.
pub(crate) fn put(headers: &mut HeaderMap, name: &'static str, value: &'static str) {
    headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
}

/// What else than the address an answer depends on.
pub(crate) fn vary(headers: &mut HeaderMap, name: &'static str) {
    let said = headers.get(header::VARY).and_then(|value| value.to_str().ok());
    let value = match said {
        Some(said) if said.split(',').any(|one| one.trim().eq_ignore_ascii_case(name)) => return,
        Some(said) => HeaderValue::from_str(&format!("{said}, {name}")),
        None => Ok(HeaderValue::from_static(name)),
    };
    if let Ok(value) = value {
        headers.insert(header::VARY, value);
    }
}

//! What lets pages of any origin use streams (WHATWG Fetch, section 3.2). There is nothing that a browser would add by itself, such as a
//! cookie, so that no page can do in somebody's name what it could not do in its own.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

/// What a stream knows.
pub(crate) const METHODS: &str = "GET, HEAD, PUT, POST, DELETE, OPTIONS";
/// Headers of requests that a page may set.
const ASKED: &str = "Authorization, Content-Type, If-None-Match, Last-Event-ID, Prefer, Expected-Offset, Producer-Id, \
                     Producer-Epoch, Producer-Seq, Stream-Closed, Stream-Seq, Stream-TTL, Stream-Expires-At, Stream-Forked-From, \
                     Stream-Fork-Offset, Stream-Fork-Sub-Offset";
/// Headers of answers that a page may read.
const TOLD: &str = "ETag, Location, Preference-Applied, Retry-After, Producer-Epoch, Producer-Seq, Producer-Expected-Seq, \
                    Producer-Received-Seq, \
                    Stream-Closed, Stream-Cursor, Stream-Earliest-Offset, Stream-Expires-At, Stream-Next-Offset, \
                    Stream-SSE-Data-Encoding, Stream-TTL, Stream-Up-To-Date";
/// How long a browser remembers the answer: some take no more than this.
const SECONDS: &str = "7200";

/// What goes with every answer.
pub(crate) fn allow(headers: &mut HeaderMap) {
    put(headers, "access-control-allow-origin", "*");
    put(headers, "access-control-expose-headers", TOLD);
}

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

fn put(headers: &mut HeaderMap, name: &'static str, value: &'static str) {
    headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
}

//! The request that opens a WebSocket (RFC 6455, section 4.2.1), and what accepts it.
//!
//! Who may open one is not decided here: a page of a stranger is told by its origin, as with every request.

use super::text;
use crate::{base64, problem::Problem};
use aws_lc_rs::digest;
use http::{HeaderMap, Method, Request, Response, StatusCode, Version, header};

/// The subprotocol: what the messages are.
pub(crate) const PROTOCOL: &str = "odradek.v1";
/// What the standard has every server add to the key.
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const KEY_BYTES: usize = 16;

/// Accepts a request that would open one.
pub(crate) fn upgrade<T>(request: &Request<T>) -> Result<Response<()>, Problem> {
    let headers = request.headers();
    if *request.method() != Method::GET {
        let text = "a WebSocket is opened with GET";
        return Err(
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method", text).with("allow", "GET, OPTIONS")
        );
    }
    let is_asked = has(headers, header::UPGRADE.as_str(), "websocket")
        && has(headers, header::CONNECTION.as_str(), "upgrade");
    if !is_asked || request.version() != Version::HTTP_11 {
        let text =
            "this is a WebSocket: ask for it with HTTP/1.1, Connection: Upgrade and Upgrade: websocket";
        let problem = Problem::new(StatusCode::UPGRADE_REQUIRED, "no-upgrade", text);
        return Err(problem.with("upgrade", "websocket").with("connection", "upgrade"));
    }
    if text(headers, "sec-websocket-version")? != Some("13") {
        let text = "WebSockets have version 13 here";
        let problem = Problem::new(StatusCode::UPGRADE_REQUIRED, "websocket-version", text);
        return Err(problem.with("sec-websocket-version", 13));
    }
    let key = text(headers, "sec-websocket-key")?.unwrap_or_default();
    if base64::decode(key).is_none_or(|bytes| bytes.len() != KEY_BYTES) {
        return Err(Problem::malformed("websocket-key", "Sec-WebSocket-Key is 16 bytes in base64"));
    }
    let mut response = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::CONNECTION, "upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_ACCEPT, accept(key));
    if headers.contains_key(header::SEC_WEBSOCKET_PROTOCOL) {
        if !has(headers, header::SEC_WEBSOCKET_PROTOCOL.as_str(), PROTOCOL) {
            let text = format!("the subprotocol is {PROTOCOL}; offer it, or none");
            return Err(Problem::malformed("subprotocol", text));
        }
        response = response.header(header::SEC_WEBSOCKET_PROTOCOL, PROTOCOL);
    }
    response.body(()).map_err(|error| Problem::malformed("websocket-key", error.to_string()))
}

fn accept(key: &str) -> String {
    let text = format!("{key}{GUID}");
    base64::encode(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()).as_ref())
}

/// Whether a header that is a list has something.
fn has(headers: &HeaderMap, name: &str, wanted: &str) -> bool {
    let all = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    all.flat_map(|text| text.split(',')).any(|one| one.trim().eq_ignore_ascii_case(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: [(&str, &str); 4] = [
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "WebSocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];

    fn ask(headers: &[(&str, &str)]) -> Result<Response<()>, Problem> {
        let mut request = Request::get("/v1/ws");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        upgrade(&request.body(()).unwrap())
    }

    #[test]
    fn the_key_of_the_standard_is_accepted_as_the_standard_has_it() {
        let head = ask(&ASKED).unwrap();
        assert_eq!(head.status(), 101);
        assert_eq!(head.headers()["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert!(!head.headers().contains_key("sec-websocket-protocol"), "none was offered");
        let offered = [&ASKED[..], &[("sec-websocket-protocol", "chat, odradek.v1")]].concat();
        assert_eq!(ask(&offered).unwrap().headers()["sec-websocket-protocol"], "odradek.v1");
    }

    #[test]
    fn what_opens_no_web_socket_is_refused_with_what_would() {
        let with = |name: &str, value: &'static str| {
            let mut headers = ASKED.to_vec();
            headers.iter_mut().filter(|(known, _)| *known == name).for_each(|(_, said)| *said = value);
            ask(&headers).map_err(|problem| (problem.status.as_u16(), problem.kind)).map(|_| ())
        };
        for (name, value, expected) in [
            ("connection", "close", (426, "no-upgrade")),
            ("upgrade", "h2c", (426, "no-upgrade")),
            ("sec-websocket-version", "8", (426, "websocket-version")),
            ("sec-websocket-key", "", (400, "websocket-key")),
            ("sec-websocket-key", "c2hvcnQ=", (400, "websocket-key")),
            ("sec-websocket-key", "no base64", (400, "websocket-key")),
        ] {
            assert_eq!(with(name, value), Err(expected), "{name}: {value}");
        }
        let other = [&ASKED[..], &[("sec-websocket-protocol", "mqtt")]].concat();
        assert_eq!(ask(&other).unwrap_err().kind, "subprotocol");
        let twice = [&ASKED[..], &[ASKED[3]]].concat();
        assert_eq!(ask(&twice).unwrap_err().status, 400);
        assert_eq!(upgrade(&Request::post("/v1/ws").body(()).unwrap()).unwrap_err().status, 405);
    }
}

//! A message of a client: an object whose `op` says what it asks for. It is read and checked before anything is looked up.
//!
//! A publication becomes the POST that it stands for, and a subscription the QUERY, so that both mean here what they mean there.

use super::credit::Credit;
use crate::{
    base64,
    mailboxes::Address,
    problem::Problem,
    request::{key_address, topic},
};
use bytes::Bytes;
use http::{Method, Request};
use model::TopicName;
use serde_json::{Value, value::RawValue};
use std::collections::BTreeMap;

/// The largest number that every client keeps whole.
const NUMBER_MAX: u64 = (1 << 53) - 1;

/// See the head of the file.
#[derive(Debug)]
pub(crate) enum Command {
    /// Streams are to be followed.
    Subscribe { request: Request<Bytes>, credit: Credit },
    /// So much more of a subscription may be sent.
    Credit(Credit),
    /// A subscription ends.
    Unsubscribe,
    /// Records are to be appended.
    Publish { request: Request<Bytes>, has_producer: bool },
    /// Another token, before the one that the connection has is over.
    Token(String),
    /// A sign of life is asked for.
    Ping,
}

/// Reads a message: by which number its answers are known, and what it asks for.
pub(crate) fn read(text: &str) -> (Option<u64>, Result<Command, Problem>) {
    let fields = match Fields::parse(text) {
        Ok(fields) => fields,
        Err(problem) => return (None, Err(problem)),
    };
    let id = fields.number("id").ok().flatten();
    (id, command(&fields))
}

fn command(fields: &Fields<'_>) -> Result<Command, Problem> {
    let op = fields.text("op")?.ok_or_else(|| malformed("op says what is asked for"))?;
    if fields.number("id")?.is_none() && op != "ping" {
        return Err(malformed("id is a number, by which the answers to this message are known"));
    }
    match op.as_str() {
        "subscribe" => subscribe(fields),
        "publish" => publish(fields),
        "credit" => {
            fields.known(&["op", "id", "messages", "bytes"])?;
            let (messages, bytes) = (fields.number("messages")?, fields.number("bytes")?);
            Ok(Command::Credit(Credit { messages, bytes }))
        }
        "unsubscribe" => fields.known(&["op", "id"]).map(|()| Command::Unsubscribe),
        "token" => {
            fields.known(&["op", "id", "token"])?;
            let token = fields.text("token")?.ok_or_else(|| malformed("token is a text"))?;
            Ok(Command::Token(token))
        }
        "ping" => fields.known(&["op", "id"]).map(|()| Command::Ping),
        other => Err(malformed(format!(
            "op is {other:?}; there are subscribe, credit, unsubscribe, publish, token and ping"
        ))),
    }
}

fn subscribe(fields: &Fields<'_>) -> Result<Command, Problem> {
    fields.known(&["op", "id", "streams", "offset", "credit"])?;
    let streams = fields.0.get("streams").ok_or_else(|| malformed("streams is a list"))?;
    let credit = match fields.object("credit")? {
        None => Credit::default(),
        Some(credit) => Credit::read(&credit)?,
    };
    let request = subscription(streams.get(), fields.text("offset")?.as_deref())?;
    Ok(Command::Subscribe { request, credit })
}

/// The request for streams, which are told in JSON, from a place on.
pub(super) fn subscription(streams: &str, offset: Option<&str>) -> Result<Request<Bytes>, Problem> {
    let is_place = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let path = match offset {
        None => "/v1/subscribe".to_owned(),
        Some(place) if !place.is_empty() && place.bytes().all(is_place) => {
            format!("/v1/subscribe?offset={place}")
        }
        Some(place) => return Err(crate::request::unknown_token("offset", place)),
    };
    let request = Request::builder()
        .method(Method::from_bytes(b"QUERY").unwrap_or(Method::POST))
        .uri(path)
        .header("content-type", "application/json");
    request.body(Bytes::copy_from_slice(streams.as_bytes())).map_err(|error| malformed(error.to_string()))
}

fn publish(fields: &Fields<'_>) -> Result<Command, Problem> {
    fields.known(&[
        "op",
        "id",
        "topic",
        "key",
        "keyBase64",
        "partition",
        "value",
        "text",
        "base64",
        "contentType",
        "producer",
        "idempotencyKey",
        "streamSeq",
        "expectedOffset",
        "closes",
    ])?;
    let (body, usual) = body(fields)?;
    let content_type = fields.text("contentType")?;
    let mut request = Request::post(path(fields)?);
    if let Some(content_type) = content_type.as_deref().or(usual) {
        request = request.header("content-type", content_type);
    }
    let producer = fields.object("producer")?;
    let has_producer = producer.is_some();
    if let Some(producer) = producer {
        producer.known(&["id", "epoch", "seq"])?;
        let all = (producer.text("id")?, producer.number("epoch")?, producer.number("seq")?);
        let (Some(id), Some(epoch), Some(seq)) = all else {
            return Err(malformed("a producer has an id, an epoch and a seq"));
        };
        request =
            request.header("producer-id", id).header("producer-epoch", epoch).header("producer-seq", seq);
    }
    let texts = [
        ("streamSeq", "stream-seq"),
        ("expectedOffset", "expected-offset"),
        ("idempotencyKey", "idempotency-key"),
    ];
    for (name, header) in texts {
        if let Some(text) = fields.text(name)? {
            request = request.header(header, text);
        }
    }
    if fields.is_true("closes")? {
        request = request.header("stream-closed", "true");
    }
    // What is said here becomes a header, and must be able to.
    let request = request.body(body).map_err(|error| malformed(format!("a text is no header: {error}")))?;
    Ok(Command::Publish { request, has_producer })
}

/// The stream, the partition, or the topic.
fn path(fields: &Fields<'_>) -> Result<String, Problem> {
    let name: TopicName = topic(&fields.text("topic")?.ok_or_else(|| malformed("topic is a text"))?)?;
    let key = match (fields.text("key")?, fields.text("keyBase64")?) {
        (None, None) => None,
        (Some(key), None) => Some(key.into_bytes()),
        (None, Some(key)) => Some(base64::decode(&key).ok_or_else(|| malformed("keyBase64 is no base64"))?),
        (Some(_), Some(_)) => return Err(malformed("key and keyBase64 exclude each other")),
    };
    match (key, fields.number("partition")?) {
        (None, None) => Ok(format!("/s/{name}")),
        (None, Some(partition)) => Ok(format!("/s/{name}/-/p/{partition}")),
        (Some(key), None) => {
            let at = key_address(name, &key)?;
            let path = at.path();
            match Address::from_path(&path) == Some(at) {
                true => Ok(path),
                false => Err(malformed("there is no stream of this key; see the routes in docs/http.md")),
            }
        }
        (Some(_), Some(_)) => Err(malformed("a key and a partition exclude each other")),
    }
}

/// The body, and what it is if nothing is said of that.
fn body(fields: &Fields<'_>) -> Result<(Bytes, Option<&'static str>), Problem> {
    let value = fields.0.get("value");
    match (value, fields.text("text")?, fields.text("base64")?) {
        (None, None, None) => Ok((Bytes::new(), None)),
        (Some(value), None, None) => {
            Ok((Bytes::copy_from_slice(value.get().as_bytes()), Some("application/json")))
        }
        (None, Some(text), None) => Ok((text.into(), Some("text/plain"))),
        (None, None, Some(text)) => {
            let bytes = base64::decode(&text).ok_or_else(|| malformed("base64 is no base64"))?;
            Ok((bytes.into(), Some("application/octet-stream")))
        }
        _ => Err(malformed("value, text and base64 exclude each other")),
    }
}

/// The fields of an object, as they were written.
pub(super) struct Fields<'a>(BTreeMap<String, &'a RawValue>);

impl<'a> Fields<'a> {
    fn parse(text: &'a str) -> Result<Self, Problem> {
        let fields = serde_json::from_str(text);
        fields.map(Self).map_err(|error| malformed(format!("it is no object in JSON: {error}")))
    }

    /// What is not understood is not passed over.
    pub(super) fn known(&self, names: &[&str]) -> Result<(), Problem> {
        match self.0.keys().find(|name| !names.contains(&name.as_str())) {
            None => Ok(()),
            Some(name) => {
                Err(malformed(format!("{name:?} is not known here; there are {}", names.join(", "))))
            }
        }
    }

    fn text(&self, name: &str) -> Result<Option<String>, Problem> {
        self.read(name, "a text", |value| value.as_str().map(str::to_owned))
    }

    /// A whole number that every client keeps whole.
    pub(super) fn number(&self, name: &str) -> Result<Option<u64>, Problem> {
        let number = |value: &Value| value.as_u64().filter(|number| *number <= NUMBER_MAX);
        self.read(name, "a whole number from 0 to 2^53 - 1", number)
    }

    fn is_true(&self, name: &str) -> Result<bool, Problem> {
        Ok(self.read(name, "true or false", Value::as_bool)?.unwrap_or(false))
    }

    fn object(&self, name: &str) -> Result<Option<Fields<'a>>, Problem> {
        match self.0.get(name) {
            None => Ok(None),
            Some(raw) => {
                let fields = serde_json::from_str(raw.get());
                fields.map(|fields| Some(Self(fields))).map_err(|_| malformed(format!("{name} is an object")))
            }
        }
    }

    fn read<T>(
        &self,
        name: &str,
        wanted: &str,
        as_wanted: impl Fn(&Value) -> Option<T>,
    ) -> Result<Option<T>, Problem> {
        let Some(raw) = self.0.get(name) else { return Ok(None) };
        let value = serde_json::from_str::<Value>(raw.get()).ok();
        let read = value.as_ref().and_then(as_wanted);
        read.map(Some).ok_or_else(|| malformed(format!("{name} is {wanted}")))
    }
}

fn malformed(why: impl Into<String>) -> Problem {
    let why: String = why.into();
    Problem::malformed("message", format!("the message: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn request(text: &str) -> Request<Bytes> {
        match read(text).1.unwrap() {
            Command::Subscribe { request, .. } | Command::Publish { request, .. } => request,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_publication_is_the_post_that_it_stands_for() {
        let whole = request(
            r#"{"op":"publish","id":7,"topic":"rides","key":"u/4 2","value":{"eta": 7.0},"streamSeq":"a",
                "producer":{"id":"p","epoch":1,"seq":2},"expectedOffset":"x","closes":true}"#,
        );
        assert_eq!((whole.method(), whole.uri().path()), (&Method::POST, "/s/rides/u%2f4%202"));
        assert_eq!(&whole.body()[..], b"{\"eta\": 7.0}", "to the byte");
        for (name, value) in [
            ("content-type", "application/json"),
            ("producer-id", "p"),
            ("producer-epoch", "1"),
            ("producer-seq", "2"),
            ("stream-seq", "a"),
            ("expected-offset", "x"),
            ("stream-closed", "true"),
        ] {
            assert_eq!(whole.headers()[name], value);
        }
        for (fields, path, content_type, body) in [
            (r#""text":"a\n""#, "/s/rides", "text/plain", &b"a\n"[..]),
            (r#""partition":3,"base64":"/w==""#, "/s/rides/-/p/3", "application/octet-stream", b"\xff"),
            (
                r#""keyBase64":"/w==","text":"<a>","contentType":"text/html""#,
                "/s/rides/%ff",
                "text/html",
                b"<a>",
            ),
        ] {
            let made = request(&format!(r#"{{"op":"publish","id":1,"topic":"rides",{fields}}}"#));
            assert_eq!((made.uri().path(), &made.body()[..]), (path, body));
            assert_eq!(made.headers()["content-type"], content_type);
        }
        let closing = request(r#"{"op":"publish","id":1,"topic":"rides","key":"a","closes":true}"#);
        assert!(closing.body().is_empty() && !closing.headers().contains_key("content-type"));
    }

    #[test]
    fn a_subscription_is_the_query_that_it_stands_for() {
        let text = r#"{"op":"subscribe","id":1,"streams":[{"topic":"a"}],"offset":"AQ-_"}"#;
        let made = request(text);
        assert_eq!(made.uri(), "/v1/subscribe?offset=AQ-_");
        assert_eq!((made.method().as_str(), &made.body()[..]), ("QUERY", &br#"[{"topic":"a"}]"#[..]));
    }

    #[test]
    fn what_is_not_understood_is_refused_with_what_would_be_right() {
        for (text, says) in [
            ("", "no object"),
            ("[]", "no object"),
            ("{}", "op says"),
            (r#"{"op":"fly","id":1}"#, "there are subscribe"),
            (r#"{"op":"unsubscribe"}"#, "id is a number"),
            (r#"{"op":"unsubscribe","id":-1}"#, "from 0"),
            (r#"{"op":"unsubscribe","id":9007199254740992}"#, "2^53"),
            (r#"{"op":"unsubscribe","id":1,"x":1}"#, "\"x\" is not known"),
            (r#"{"op":"subscribe","id":1}"#, "streams is a list"),
            (r#"{"op":"subscribe","id":1,"streams":[],"offset":"a&b"}"#, "none that this server"),
            (r#"{"op":"subscribe","id":1,"streams":[],"credit":7}"#, "credit is an object"),
            (r#"{"op":"subscribe","id":1,"streams":[],"credit":{"x":7}}"#, "\"x\" is not known"),
            (r#"{"op":"credit","id":1,"messages":"7"}"#, "messages is a whole"),
            (r#"{"op":"publish","id":1}"#, "topic is a text"),
            (r#"{"op":"publish","id":1,"topic":"..","text":""}"#, "topic"),
            (r#"{"op":"publish","id":1,"topic":"a","key":"-"}"#, "no stream of this key"),
            (r#"{"op":"publish","id":1,"topic":"a","key":"x/../y"}"#, "no stream of this key"),
            (r#"{"op":"publish","id":1,"topic":"a","key":""}"#, "at least one byte"),
            (r#"{"op":"publish","id":1,"topic":"a","key":"b","partition":1}"#, "exclude"),
            (r#"{"op":"publish","id":1,"topic":"a","value":1,"text":""}"#, "exclude"),
            (r#"{"op":"publish","id":1,"topic":"a","base64":"?"}"#, "no base64"),
            (r#"{"op":"publish","id":1,"topic":"a","producer":{"id":"p"}}"#, "an id, an epoch"),
            (r#"{"op":"publish","id":1,"topic":"a","contentType":"a\r\nb: c"}"#, "no header"),
            (r#"{"op":"publish","id":1,"topic":"a","closes":1}"#, "true or false"),
            (r#"{"op":"token","id":1}"#, "token is a text"),
        ] {
            let problem = read(text).1.unwrap_err();
            assert!(problem.detail.contains(says), "{text}: {problem}");
        }
        assert_eq!(read(r#"{"op":"fly","id":9}"#).0, Some(9), "its answer is known all the same");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in r#"\{"op":"(subscribe|publish|credit)"[\[{}\]":,a-z0-9-]{0,60}\}"#, raw in ".{0,60}") {
            let _ = read(&text);
            let _ = read(&raw);
        }
    }
}

//! `/v1/call/{topic}/{key}`: a request that becomes a record, and the record that answers it.
//!
//! Nothing is remembered of a call. Its id is the key of its answer in the topic of answers, so that any node finds that at any time; who
//! has the id, and may call there, may read it.

use super::{Service, asker, author, caller, problem, put};
use crate::{
    base64, cors,
    mailboxes::{Address, Denied, From, Reach},
    many::with_bearer,
    problem::Problem,
    request::{Once, Query, responds_async, text, wait_seconds},
    topics::NewRecord,
};
use bytes::{Bytes, BytesMut};
use http::{Method, Request, Response, StatusCode};
use model::TopicName;
use records::Header;

const METHODS: &str = "GET, POST, OPTIONS";
/// What the name of a topic of answers ends with.
const REPLIES: &str = ".replies";
/// An id has so many bytes, and is told in base64url.
const ID_BYTES: usize = 16;
/// An answer that another node has is no larger.
const ANSWER_BYTES_MAX: usize = 8 << 20;
/// Of the record that asks: where its answer is to be written, and with which key.
const REPLY_TO: &str = "reply-to";
const CORRELATION_ID: &str = "correlation-id";
/// Of the record that answers: which status the caller is told.
const STATUS: &str = "od-status";

impl Service {
    pub(super) async fn call(
        &self,
        at: &Address,
        request: &Request<Bytes>,
    ) -> Result<Response<Bytes>, Problem> {
        let id = match *request.method() {
            Method::POST => {
                let once = Once::read(request.headers())?;
                let id = self.id_of(at, once.as_ref(), request);
                self.ask_for(at, &id, once.as_ref(), request).await?;
                id
            }
            Method::GET => id_of_query(request)?,
            Method::OPTIONS => return Ok(cors::preflight()),
            _ => {
                let text = "a call is made with POST, and its answer is asked for with GET";
                let problem = Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method", text);
                return Err(problem.with("allow", METHODS));
            }
        };
        let longest = u64::try_from(self.poll_ms / 1000).unwrap_or(0);
        let headers = request.headers();
        let seconds = match wait_seconds(headers) {
            _ if responds_async(headers) => 0,
            Some(seconds) => seconds.min(longest),
            None if *request.method() == Method::POST => longest,
            None => 0,
        };
        let reply = reply_of(at, &id)?;
        // The second request of a GET that was handed on; a POST has its own.
        let is_here = *request.method() == Method::GET && headers.contains_key(super::FORWARDED);
        let answer = match self.mailboxes.elsewhere(&reply).filter(|_| !is_here) {
            Some(reach) => self.ask_elsewhere(reach, (&id, seconds), request).await?,
            None => self.answer_of(&reply, seconds, request).await?,
        };
        Ok(answer.unwrap_or_else(|| self.later(&id, seconds, request)))
    }

    /// Who leads what a call wants first.
    pub(super) fn call_elsewhere<T>(&self, at: &Address, request: &Request<T>) -> Option<Reach> {
        if *request.method() == Method::GET {
            return self.mailboxes.elsewhere(&reply_of(at, &id_of_query(request).ok()?).ok()?);
        }
        self.mailboxes.partition_elsewhere(&self.mailboxes.partition_of(&at.topic, &at.key)?)
    }

    /// The same call has the same id, where it says that it is the same.
    fn id_of(&self, at: &Address, once: Option<&Once>, request: &Request<Bytes>) -> String {
        let bytes = match once {
            Some(once) => once.hash_for(&author(request), [Some(at.path().as_bytes())]),
            None => {
                let mut bytes = [0; 32];
                let words = bytes.chunks_exact_mut(8);
                words.for_each(|word| word.copy_from_slice(&self.random.next_u64().to_be_bytes()));
                bytes
            }
        };
        base64::encode_url(bytes.get(..ID_BYTES).unwrap_or_default())
    }

    /// Appends the record that asks.
    async fn ask_for(
        &self,
        at: &Address,
        id: &str,
        once: Option<&Once>,
        request: &Request<Bytes>,
    ) -> Result<(), Problem> {
        let reply = reply_of(at, id)?;
        if self.mailboxes.shape(&reply.topic).is_none() {
            let text = format!("answers are written to {}; whoever runs the cluster creates it", reply.topic);
            return Err(Problem::new(StatusCode::NOT_FOUND, "topic-not-found", text));
        }
        let unknown = || problem(Denied::UnknownTopic);
        let of = self.mailboxes.partition_of(&at.topic, &at.key).ok_or_else(unknown)?;
        let content_type = text(request.headers(), "content-type")?;
        let header = |name: &'static str, value: &str| Header {
            key: Bytes::from_static(name.as_bytes()),
            value: Some(Bytes::copy_from_slice(value.as_bytes())),
        };
        let mut headers = vec![header(REPLY_TO, &reply.topic), header(CORRELATION_ID, id)];
        headers.extend(content_type.map(|content_type| header("content-type", content_type)));
        headers.extend(author(request).headers());
        let record = NewRecord { key: Some(at.key.clone()), value: Some(request.body().clone()), headers };
        let appended = match once {
            None => self.mailboxes.append_records(&of, vec![record], None).await.map(|_| ()),
            Some(once) => {
                let parts = [Some(&b"call"[..]), content_type.map(str::as_bytes), Some(&request.body()[..])];
                let sent = once.sent(&author(request), parts);
                self.mailboxes.append_once(&of, vec![record], sent).await.map(|_| ())
            }
        };
        appended.map_err(problem)
    }

    /// The answer, if it comes within so many seconds.
    async fn answer_of(
        &self,
        reply: &Address,
        seconds: u64,
        request: &Request<Bytes>,
    ) -> Result<Option<Response<Bytes>>, Problem> {
        let left =
            caller(request).map_or(i64::MAX, |caller| caller.until_ms.saturating_sub(self.clock.wall()));
        let wait_ms = i64::try_from(seconds).unwrap_or(0).saturating_mul(1000);
        let until = self.clock.after_millis(left.min(wait_ms));
        loop {
            let read = self.mailboxes.read(reply, From::Begin, 1).await;
            let first = match read {
                Ok(chunk) => {
                    chunk.records.into_iter().next().map(|first| (first, chunk.standing.life.content_type))
                }
                Err(Denied::Refused(..)) => None,
                Err(denied) => return Err(problem(denied)),
            };
            if let Some(((next, value), content_type)) = first {
                let mut response = Response::new(value.unwrap_or_default());
                put(response.headers_mut(), "content-type", &content_type);
                put(response.headers_mut(), "cache-control", "no-store");
                self.mark_answer(reply, next.0.offset, &mut response).await;
                return Ok(Some(response));
            }
            if self.clock.now() >= until {
                return Ok(None);
            }
            tokio::select! {
                biased;
                () = self.mailboxes.latest_changed(reply, None) => {}
                () = self.clock.sleep_until(until) => {}
            }
        }
    }

    /// What the headers of the record that answers say of it.
    async fn mark_answer(&self, reply: &Address, next: u64, response: &mut Response<Bytes>) {
        let Some(of) = self.mailboxes.partition_of(&reply.topic, &reply.key) else { return };
        let from = From::At(crate::Token::new(0, next.saturating_sub(1)));
        let Ok(read) = self.mailboxes.read_records(&of, from, 1).await else { return };
        let record = read.records.into_iter().next();
        let Some(record) = record.filter(|record| record.key.as_ref() == Some(&reply.key)) else { return };
        let text = |name: &str| {
            let found = record.headers.iter().find(|header| header.key[..] == *name.as_bytes());
            std::str::from_utf8(found?.value.as_deref()?).ok()
        };
        if let Some(content_type) = text("content-type") {
            put(response.headers_mut(), "content-type", content_type);
        }
        let status =
            text(STATUS).and_then(|status| status.parse::<u16>().ok()).filter(|status| *status >= 200);
        if let Some(status) = status.and_then(|status| StatusCode::from_u16(status).ok()) {
            *response.status_mut() = status;
        }
    }

    /// The same of the node that has it.
    async fn ask_elsewhere(
        &self,
        reach: Reach,
        (id, seconds): (&str, u64),
        request: &Request<Bytes>,
    ) -> Result<Option<Response<Bytes>>, Problem> {
        let unavailable = |text: String| {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", text).with("retry-after", 1)
        };
        let asking = Request::get(format!("{}?id={id}", request.uri().path()));
        let asking = asking.header("prefer", format!("wait={seconds}"));
        let asking = with_bearer(asking, asker(request).bearer.as_ref());
        let asking = asking.body(Bytes::new()).map_err(|error| unavailable(error.to_string()))?;
        let (head, mut rest) = self.peers.ask(reach, asking).await?;
        let mut body = BytesMut::new();
        while let Some(piece) = rest.next().await {
            body.extend_from_slice(&piece.map_err(|error| unavailable(error.to_string()))?);
            if body.len() > ANSWER_BYTES_MAX {
                return Err(unavailable("the answer is too large to be handed on".to_owned()));
            }
        }
        match head.status() {
            StatusCode::ACCEPTED if head.headers().contains_key("location") => Ok(None),
            _ => Ok(Some(head.map(|()| body.freeze()))),
        }
    }

    /// There is no answer yet.
    fn later(&self, id: &str, seconds: u64, request: &Request<Bytes>) -> Response<Bytes> {
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = StatusCode::ACCEPTED;
        let headers = response.headers_mut();
        put(headers, "location", &format!("{}?id={id}", self.location(request)));
        put(headers, "cache-control", "no-store");
        let applied = if responds_async(request.headers()) {
            "respond-async".to_owned()
        } else {
            format!("wait={seconds}")
        };
        put(headers, "preference-applied", &applied);
        response
    }
}

/// The stream of one answer.
fn reply_of(at: &Address, id: &str) -> Result<Address, Problem> {
    let topic = TopicName::new(&format!("{}{REPLIES}", at.topic));
    let topic = topic.map_err(|error| Problem::malformed("topic", error.to_string()))?;
    Ok(Address { topic, key: Bytes::copy_from_slice(id.as_bytes()) })
}

/// Only what was given out: no other key of the topic of answers is read so.
fn id_of_query<T>(request: &Request<T>) -> Result<String, Problem> {
    let query = Query::parse(request.uri().query())?;
    let id = query.one("id")?.unwrap_or_default();
    match base64::decode_url(id).is_some_and(|bytes| bytes.len() == ID_BYTES) {
        true => Ok(id.to_owned()),
        false => Err(Problem::malformed("id", "id is what Location said of the call")),
    }
}

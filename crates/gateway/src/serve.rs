//! Requests for streams and their answers (PROTOCOL.md, section 5). Whoever listens hands whole requests over, and sends what comes.
//!
//! A reader that follows a stream gets no body here: [`Answer::Follow`] says what it is to be sent, so that thousands of them need
//! no HTTP connection object each.

use crate::{
    caller::{Author, Caller},
    cors,
    cursor::Cursor,
    json,
    mailboxes::{Address, Chunk, Denied, From, Mailboxes, NewRecords, NewStream, Reach, Standing},
    many::{Many, Peers},
    problem::Problem,
    request::{AppendHead, CreateHead, LIST_BYTES_MAX, Live, Path, Read, Route, Start},
    token::Token,
};
use bytes::Bytes;
use env::{Clock, Random};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use mailbox::{Lifetime, media_type};
use model::TopicPartition;
use std::sync::Arc;

mod authorise;
mod cloud_events;
mod follow;
mod latest;
mod subscribe;
mod topics;

use authorise::{asker, author, caller, source_of};
pub use follow::{EventShape, Follow, Sent};
use topics::Whole;

/// What it needs besides the request.
#[derive(Clone)]
pub struct Service {
    /// Where the streams are.
    pub mailboxes: Arc<dyn Mailboxes>,
    /// The other nodes.
    pub peers: Arc<dyn Peers>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// For cursors.
    pub random: Arc<dyn Random>,
    /// How clients reach it, such as `https://streams.example.com`; without it by their `Host`, without TLS.
    pub public_url: Option<String>,
    /// How long a long poll waits.
    pub poll_ms: i64,
    /// How much one answer has at most, but for one large record.
    pub bytes_max: usize,
}

/// What is sent.
pub enum Answer {
    /// A whole answer.
    Whole(Response<Bytes>),
    /// The head of an answer, and what follows until the reader goes.
    Follow(Response<()>, Follow),
    /// The same of several streams.
    Many(Response<()>, Box<Many>),
}

/// The header of a request that another node has handed on: it is not handed on again.
pub const FORWARDED: &str = "odradek-forwarded";
/// How the client came: `https`, if it came so. Proxies set it, and the node whose TLS it is.
pub const FORWARDED_PROTO: &str = "x-forwarded-proto";

const JSON: &str = "application/json";

impl Service {
    /// Answers a request.
    pub async fn answer(&self, request: Request<Bytes>) -> Answer {
        let answered = self.route(&request).await;
        let mut answer =
            answered.unwrap_or_else(|problem| Answer::Whole(problem.response().map(Bytes::from)));
        protect(match &mut answer {
            Answer::Whole(response) => response.headers_mut(),
            Answer::Follow(response, _) | Answer::Many(response, _) => response.headers_mut(),
        });
        if let Answer::Whole(response) = &mut answer
            && request.method() == Method::HEAD
        {
            *response.body_mut() = Bytes::new();
        }
        answer
    }

    /// How many bytes of a request's body are worth reading; or why not, if that is known without the body.
    pub fn admit<T>(&self, request: &Request<T>) -> Result<usize, Problem> {
        let is_query = request.method().as_str() == "QUERY";
        if !is_query && !matches!(*request.method(), Method::PUT | Method::POST) {
            return Ok(0);
        }
        let (Path::Key(topic, _) | Path::Topic(topic) | Path::Partition(topic, _) | Path::Control(topic, _)) =
            match Route::parse(request.uri().path())? {
                Route::Stream(_) if is_query => return Ok(0),
                Route::Stream(path) => path,
                Route::Events(topic) => Path::Topic(topic),
                Route::Subscribe if is_query && is_longer(request, LIST_BYTES_MAX) => {
                    let text = format!("the streams are named in at most {LIST_BYTES_MAX} bytes");
                    return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", text));
                }
                Route::Subscribe if is_query => return Ok(LIST_BYTES_MAX),
                Route::Subscribe | Route::Latest(_) => return Ok(0),
            };
        let allowed = self.authorise(request)?.and_then(|allowed| allowed.bytes_max);
        let max = self.mailboxes.body_bytes_max(&topic).ok_or_else(|| problem(Denied::UnknownTopic))?;
        // Events that another node hands on are in JSON, and what is binary in base64; each of them is held to the limits all the same.
        let is_handed_on = request.headers().contains_key(FORWARDED);
        let max = match Route::parse(request.uri().path())? {
            Route::Events(_) if is_handed_on => max.saturating_mul(2),
            _ => max.min(allowed.unwrap_or(usize::MAX)),
        };
        if is_longer(request, max) { Err(problem(Denied::TooLarge(max))) } else { Ok(max) }
    }

    /// Which other node is to be asked instead, once.
    pub fn elsewhere<T>(&self, request: &Request<T>) -> Option<Reach> {
        if request.headers().contains_key(FORWARDED) || *request.method() == Method::OPTIONS {
            return None;
        }
        match Route::parse(request.uri().path()).ok()? {
            Route::Stream(Path::Key(topic, key)) => {
                self.mailboxes.elsewhere(&Address { topic, key: key.into() })
            }
            Route::Stream(Path::Partition(topic, partition)) => {
                self.mailboxes.partition_elsewhere(&TopicPartition { topic, partition })
            }
            Route::Stream(Path::Topic(topic)) if *request.method() == Method::POST => {
                self.topic_elsewhere(&topic)
            }
            Route::Latest(at) => self.mailboxes.elsewhere(&at),
            // Of these this node reads what it has, and asks others for the rest.
            Route::Stream(_) | Route::Subscribe | Route::Events(_) => None,
        }
    }

    async fn route(&self, request: &Request<Bytes>) -> Result<Answer, Problem> {
        self.authorise_whole(request)?;
        let at = match Route::parse(request.uri().path())? {
            Route::Latest(at) => return self.latest(&at, request).await.map(Answer::Whole),
            Route::Stream(Path::Key(topic, key)) => Address { topic, key: key.into() },
            Route::Subscribe => return self.subscribe(request).await,
            Route::Stream(Path::Topic(topic)) => return self.whole(&Whole::Topic(topic), request).await,
            Route::Stream(Path::Partition(topic, partition)) => {
                return self.whole(&Whole::Partition(TopicPartition { topic, partition }), request).await;
            }
            Route::Events(topic) => return self.cloud_events(&topic, request).await.map(Answer::Whole),
            Route::Stream(Path::Control(..)) => {
                return Err(Problem::new(
                    StatusCode::NOT_IMPLEMENTED,
                    "not-served",
                    "subscriptions are not served yet",
                ));
            }
        };
        let whole = match *request.method() {
            Method::PUT => self.create(&at, request).await?,
            Method::POST => self.append(&at, request).await?,
            Method::DELETE => self.delete(&at, &author(request)).await?,
            Method::HEAD => self.head(&at).await?,
            Method::GET => return self.read(&at, request).await,
            Method::OPTIONS => cors::preflight(),
            _ => return Err(unknown_method()),
        };
        Ok(Answer::Whole(whole))
    }

    async fn create(&self, at: &Address, request: &Request<Bytes>) -> Result<Response<Bytes>, Problem> {
        let head = CreateHead::parse(request.headers())?;
        let fork = match head.fork {
            None => None,
            Some(fork) => Some((source_of(request, at, &fork.path)?, fork.offset, fork.sub_offset)),
        };
        let CreateHead { content_type, lifetime, is_closed, .. } = head;
        let (body, author) = (request.body().clone(), author(request));
        let new = NewStream { content_type, lifetime, is_closed, fork, body, author };
        let (is_new, standing) = self.mailboxes.create(at, new).await.map_err(problem)?;
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = if is_new { StatusCode::CREATED } else { StatusCode::OK };
        let headers = response.headers_mut();
        put(headers, "content-type", &standing.life.content_type);
        stands(headers, &standing);
        if is_new {
            put(headers, "location", &self.location(request));
        }
        Ok(response)
    }

    /// The address of a stream, as its client reaches it.
    fn location(&self, request: &Request<Bytes>) -> String {
        let path = request.uri().path();
        let host = request.headers().get("host").and_then(|host| host.to_str().ok());
        let host = host.or_else(|| request.uri().authority().map(|authority| authority.as_str()));
        match (&self.public_url, host) {
            (Some(url), _) => format!("{}{path}", url.trim_end_matches('/')),
            (None, Some(host)) => {
                let is_secure = request.headers().get(FORWARDED_PROTO).is_some_and(|how| how == "https");
                format!("{}://{host}{path}", if is_secure { "https" } else { "http" })
            }
            (None, None) => path.to_owned(),
        }
    }

    async fn append(&self, at: &Address, request: &Request<Bytes>) -> Result<Response<Bytes>, Problem> {
        let AppendHead { content_type, seq, closes, sent, expected } = AppendHead::parse(request.headers())?;
        let (has_body, epoch) = (!request.body().is_empty(), sent.as_ref().map(|sent| sent.epoch));
        let (body, author) = (request.body().clone(), author(request));
        let new = NewRecords { content_type, seq, closes, sent, expected, body, author };
        let taken = self.mailboxes.append(at, new).await.map_err(problem)?;
        let mut response = Response::new(Bytes::new());
        // With a producer 200 says that it was new, and 204 that it was there.
        let is_told = taken.is_new && epoch.is_some() && has_body;
        *response.status_mut() = if is_told { StatusCode::OK } else { StatusCode::NO_CONTENT };
        let headers = response.headers_mut();
        stands(headers, &taken.standing);
        if let (Some(epoch), Some(seq)) = (epoch, taken.seq) {
            put(headers, "producer-epoch", &epoch.to_string());
            put(headers, "producer-seq", &seq.to_string());
        }
        Ok(response)
    }

    async fn delete(&self, at: &Address, author: &Author) -> Result<Response<Bytes>, Problem> {
        self.mailboxes.delete(at, author).await.map_err(problem)?;
        Ok(no_content())
    }

    async fn head(&self, at: &Address) -> Result<Response<Bytes>, Problem> {
        let standing = self.mailboxes.look(at).await.map_err(problem)?;
        let mut response = Response::new(Bytes::new());
        let headers = response.headers_mut();
        put(headers, "content-type", &standing.life.content_type);
        put(headers, "cache-control", "no-store");
        stands(headers, &standing);
        match &standing.life.lifetime {
            Lifetime::Endless => {}
            Lifetime::Idle(seconds) => put(headers, "stream-ttl", &seconds.to_string()),
            Lifetime::Until { text, .. } => put(headers, "stream-expires-at", text),
        }
        Ok(response)
    }

    async fn read(&self, at: &Address, request: &Request<Bytes>) -> Result<Answer, Problem> {
        let read = Read::parse(request.uri().query(), request.headers())?;
        let from = match read.start {
            Start::Begin => From::Begin,
            Start::Now => From::End,
            Start::At(token) => From::At(token),
        };
        if let Some(live @ (Live::Sse | Live::EventSource)) = read.live {
            let follow = self.follow(at, from, live, read.cursor).await?;
            let until_ms = caller(request).map(|caller| caller.until_ms);
            let follow = Follow { until_ms, ..follow };
            return Ok(Answer::Follow(follow.head(), follow));
        }
        let mut chunk = self.mailboxes.read(at, from, self.bytes_max).await.map_err(problem)?;
        let is_polled = read.live == Some(Live::LongPoll);
        if is_polled && chunk.records.is_empty() && chunk.is_up_to_date && !chunk.standing.life.is_closed {
            chunk = self.poll(at, chunk, caller(request)).await?;
        }
        Ok(Answer::Whole(match is_polled && chunk.records.is_empty() {
            true => self.nothing_new(&chunk, &read),
            false => self.records(at, &chunk, &read),
        }))
    }

    async fn follow(
        &self,
        at: &Address,
        from: From,
        live: Live,
        cursor: Option<String>,
    ) -> Result<Follow, Problem> {
        // That the place is there is known before the answer begins.
        let chunk = self.mailboxes.read(at, from, 1).await.map_err(problem)?;
        let next = match from {
            From::Begin => Token::BEGIN,
            From::End => chunk.standing.end,
            From::At(token) => token,
        };
        let cursor = cursor.as_deref().and_then(Cursor::parse);
        let shape = EventShape::new(&chunk.standing.life.content_type, live == Live::EventSource, cursor);
        Ok(Follow { at: at.clone(), next, shape, until_ms: None })
    }

    /// Waits for something new, or until the time is over, that of the caller too.
    async fn poll(&self, at: &Address, chunk: Chunk, caller: Option<&Caller>) -> Result<Chunk, Problem> {
        let left = caller.map_or(self.poll_ms, |caller| caller.until_ms.saturating_sub(self.clock.wall()));
        let until = self.clock.after_millis(self.poll_ms.min(left));
        tokio::select! {
            biased;
            () = self.mailboxes.changed(at, chunk.next) => {}
            () = self.clock.sleep_until(until) => {}
        }
        if let Some(caller) = caller {
            caller.check_time(self.clock.wall())?;
        }
        self.mailboxes.read(at, From::At(chunk.next), self.bytes_max).await.map_err(problem)
    }

    fn records(&self, at: &Address, chunk: &Chunk, read: &Read) -> Response<Bytes> {
        let mut response = Response::new(Bytes::new());
        let headers = response.headers_mut();
        self.progress(headers, chunk, read);
        put(headers, "content-type", &chunk.standing.life.content_type);
        if read.start == Start::Now {
            // The end moves on.
            put(headers, "cache-control", "no-store");
        } else {
            put(headers, "cache-control", "private, max-age=60, stale-while-revalidate=300");
            let tag = etag(at, read.start, chunk);
            put(headers, "etag", &tag);
            if read.none_match.as_deref().is_some_and(|known| is_match(known, &tag)) {
                *response.status_mut() = StatusCode::NOT_MODIFIED;
                return response;
            }
        }
        *response.body_mut() = body(chunk);
        response
    }

    fn nothing_new(&self, chunk: &Chunk, read: &Read) -> Response<Bytes> {
        let mut response = no_content();
        self.progress(response.headers_mut(), chunk, read);
        response
    }

    fn progress(&self, headers: &mut HeaderMap, chunk: &Chunk, read: &Read) {
        put(headers, "stream-next-offset", &chunk.next.to_string());
        let is_over = chunk.is_up_to_date && chunk.standing.life.is_closed;
        if chunk.is_up_to_date {
            put(headers, "stream-up-to-date", "true");
        }
        if is_over {
            put(headers, "stream-closed", "true");
        } else if read.live == Some(Live::LongPoll) {
            let before = read.cursor.as_deref().and_then(Cursor::parse);
            let cursor = Cursor::next(before, self.clock.wall(), self.random.next_u64());
            put(headers, "stream-cursor", &cursor.0.to_string());
        }
    }
}

/// Whether a request says that its body is longer than this.
fn is_longer<T>(request: &Request<T>, bytes_max: usize) -> bool {
    let length = request.headers().get("content-length").and_then(|text| text.to_str().ok());
    length.and_then(|text| text.parse::<u64>().ok()).is_some_and(|length| length > bytes_max as u64)
}

/// A problem as it is answered, for whoever answers a request that never came here.
pub fn refusal(problem: &Problem) -> Response<Bytes> {
    let mut response = problem.response().map(Bytes::from);
    protect(response.headers_mut());
    response
}

/// What every answer says to browsers.
fn protect(headers: &mut HeaderMap) {
    put(headers, "x-content-type-options", "nosniff");
    // A stream may be a page that somebody has posted: it is shown as if it were of no origin, and does nothing.
    put(headers, "content-security-policy", "sandbox; default-src 'none'");
}

fn unknown_method() -> Problem {
    let text = "a stream knows GET, HEAD, PUT, POST, DELETE and OPTIONS";
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method", text).with("allow", cors::METHODS)
}

/// The stream that a fork's header names: its path, or what follows that of the topic.
fn source(at: &Address, path: &str) -> Result<Address, Problem> {
    let beside = || Path::parse(&format!("/s/{}/{}", at.topic, path.trim_start_matches('/')));
    match Path::parse(path).or_else(|_| beside())? {
        Path::Key(topic, key) => Ok(Address { topic, key: key.into() }),
        _ => Err(Problem::malformed("fork", "Stream-Forked-From is the path of a stream of one key")),
    }
}

fn body(chunk: &Chunk) -> Bytes {
    let values = || chunk.records.iter().filter_map(|(_, value)| value.as_ref());
    if media_type(&chunk.standing.life.content_type) == JSON {
        return json::join(values().map(|value| &value[..])).into();
    }
    match &chunk.records[..] {
        [(_, Some(only))] => only.clone(),
        _ => values().flatten().copied().collect::<Vec<u8>>().into(),
    }
}

fn etag(at: &Address, start: Start, chunk: &Chunk) -> String {
    let start = match start {
        Start::At(token) => token.to_string(),
        Start::Begin | Start::Now => "-1".to_owned(),
    };
    let closed = if chunk.is_up_to_date && chunk.standing.life.is_closed { ":c" } else { "" };
    let key: String = at.key.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("\"{}/{key}:{start}:{}{closed}\"", at.topic, chunk.next)
}

/// Whether `If-None-Match` names the tag (RFC 9110, section 13.1.2).
fn is_match(known: &str, tag: &str) -> bool {
    known.split(',').map(str::trim).any(|one| one == "*" || one.strip_prefix("W/").unwrap_or(one) == tag)
}

fn stands(headers: &mut HeaderMap, standing: &Standing) {
    put(headers, "stream-next-offset", &standing.end.to_string());
    if standing.life.is_closed {
        put(headers, "stream-closed", "true");
    }
}

fn no_content() -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

/// What is no header is left out: of what a client sent only what was one once comes here.
fn put(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(HeaderName::from_static(name), value);
    }
}

pub(crate) fn problem(denied: Denied) -> Problem {
    match denied {
        Denied::Refused(refusal, end) => {
            Problem::refused(&refusal, end.map(|end| end.to_string()).unwrap_or_default())
        }
        Denied::UnknownTopic => Problem::new(
            StatusCode::NOT_FOUND,
            "topic-not-found",
            "there is no such topic; whoever runs the cluster creates them",
        ),
        Denied::UnknownPartition(count) => Problem::new(
            StatusCode::NOT_FOUND,
            "partition-not-found",
            format!("the topic has {count} partitions, of which the first is 0"),
        ),
        Denied::NotTaken(text) => {
            Problem::malformed("not-taken", format!("the topic does not take it: {text}"))
        }
        Denied::NotJson(text) => Problem::malformed("no-json", text),
        Denied::ForkOffset(text) => Problem::malformed("fork-offset", text),
        Denied::TooLarge(max) => Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too-large",
            format!("the topic, or the token, takes at most {max} bytes"),
        ),
        Denied::Gone(earliest) => Problem::new(
            StatusCode::GONE,
            "offset-gone",
            "what was there is not kept any more; go on with the earliest offset",
        )
        .with("stream-earliest-offset", earliest),
        Denied::Unavailable(text) => {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", text).with("retry-after", 1)
        }
    }
}

#[cfg(test)]
mod tests;

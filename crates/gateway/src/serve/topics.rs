//! `/s/{topic}/-/p/{n}` and `/s/{topic}`: one partition, and all of a topic, record by record.
//!
//! They are there as long as the topic is: nobody creates, closes or deletes them here. A topic of one partition has the tokens of that
//! partition, one of several a text that does not sort.

use super::{Answer, Service, asker, author, caller, is_match, no_content, problem, put};
use crate::{
    cors,
    cursor::Cursor,
    form::Form,
    json,
    mailboxes::{Denied, From, Reach},
    many::{Event, Item, Many, Show, Shown, Source},
    positions::{self, Positions, STREAMS_MAX},
    problem::Problem,
    request::{AppendHead, Live, Query, Read, Start},
    token::Token,
    topics::{NewRecord, Shape},
};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use mailbox::media_type;
use model::{TopicName, TopicPartition, limits};

const METHODS: &str = "GET, HEAD, POST, OPTIONS";

/// What is read.
pub(super) enum Whole {
    Topic(TopicName),
    Partition(TopicPartition),
}

/// A place in it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    One(Token),
    All(Positions),
}

/// What was found.
#[derive(Default)]
struct Found {
    items: Vec<Item>,
    is_up_to_date: bool,
}

impl Place {
    fn parse(text: &str) -> Option<Self> {
        Token::parse(text).map(Self::One).or_else(|| Positions::decode(text).map(Self::All))
    }
}

impl Whole {
    fn topic(&self) -> &TopicName {
        match self {
            Self::Topic(topic) => topic,
            Self::Partition(of) => &of.topic,
        }
    }

    /// Its partitions.
    fn sources(&self, shape: &Shape) -> Result<Vec<Source>, Problem> {
        let topic = match self {
            Self::Partition(of) => return Ok(vec![Source::Partition(of.clone())]),
            Self::Topic(topic) => topic,
        };
        if shape.partitions > STREAMS_MAX {
            let text = format!(
                "the topic has {} partitions, and at most {STREAMS_MAX} are read at once: read them one by one, /s/{topic}/-/p/0",
                shape.partitions
            );
            return Err(Problem::new(StatusCode::NOT_IMPLEMENTED, "not-served", text));
        }
        let one = |partition| Source::Partition(TopicPartition { topic: topic.clone(), partition });
        Ok((0..i32::try_from(shape.partitions).unwrap_or(i32::MAX)).map(one).collect())
    }
}

impl Service {
    pub(super) async fn whole(&self, of: &Whole, request: &Request<Bytes>) -> Result<Answer, Problem> {
        if *request.method() == Method::OPTIONS {
            return Ok(Answer::Whole(cors::preflight()));
        }
        let shape = self.shape(of.topic())?;
        Ok(Answer::Whole(match *request.method() {
            Method::GET => return self.read_whole(of, &shape, request).await,
            Method::HEAD => self.head_whole(of, &shape, request).await?,
            Method::POST => self.append_whole(of, &shape, request).await?,
            _ => {
                let text = "a topic and its partitions are read and appended to; Kafka's tools create and delete them";
                let problem = Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method", text);
                return Err(problem.with("allow", METHODS));
            }
        }))
    }

    fn shape(&self, topic: &TopicName) -> Result<Shape, Problem> {
        self.mailboxes.shape(topic).ok_or_else(|| problem(Denied::UnknownTopic))
    }

    async fn many(
        &self,
        of: &Whole,
        wanted: Vec<(Source, From)>,
        request: &Request<Bytes>,
        show: Show,
    ) -> Result<Many, Problem> {
        Many::new(self, wanted, (hash(of), asker(request)), show).await
    }

    async fn head_whole(
        &self,
        of: &Whole,
        shape: &Shape,
        request: &Request<Bytes>,
    ) -> Result<Response<Bytes>, Problem> {
        let sources = of.sources(shape)?;
        let show = Show { of: Shown::Records, is_one: sources.len() == 1, is_plain: true, cursor: None };
        let wanted = sources.into_iter().map(|source| (source, From::End)).collect();
        let many = self.many(of, wanted, request, show).await?;
        let mut response = Response::new(Bytes::new());
        let headers = response.headers_mut();
        put(headers, "content-type", &shape.content_type);
        put(headers, "cache-control", "no-store");
        put(headers, "stream-next-offset", &many.positions());
        Ok(response)
    }

    async fn read_whole(
        &self,
        of: &Whole,
        shape: &Shape,
        request: &Request<Bytes>,
    ) -> Result<Answer, Problem> {
        let query = Query::parse(request.uri().query())?;
        let read = Read::parse_as(&query, request.headers(), Place::parse)?;
        let form = match query.one("format")? {
            None => Shown::Values(Form::of(&shape.content_type)),
            Some("records") => Shown::Records,
            Some(other) => {
                let text = format!("format is {other:?}; it can be records, or be left out for values alone");
                return Err(Problem::malformed("query", text));
            }
        };
        let sources = of.sources(shape)?;
        let wanted = begin(of, sources, &read.start)?;
        let show = Show {
            of: form,
            is_one: wanted.len() == 1,
            is_plain: read.live != Some(Live::Sse),
            cursor: read.cursor.clone(),
        };
        let mut many = self.many(of, wanted, request, show).await?;
        many.turn_by(&many.positions());
        if let Some(Live::Sse | Live::EventSource) = read.live {
            // Whether the place is there is known before the answer begins.
            self.look_first(&mut many).await?;
            return Ok(Answer::Many(many.head(), Box::new(many)));
        }
        let found = self.found(&mut many, read.live == Some(Live::LongPoll)).await?;
        if let Some(caller) = caller(request) {
            caller.check_time(self.clock.wall())?;
        }
        Ok(Answer::Whole(self.answer_whole(of, shape, &many, &found, &read)))
    }

    /// Finds out what happens first.
    async fn look_first(&self, many: &mut Many) -> Result<(), Problem> {
        match many.next(self, self.bytes_max).await.map_err(problem)? {
            Event::Gone(stream, earliest) => Err(gone(many, stream, earliest)),
            event => {
                many.put_back(event);
                Ok(())
            }
        }
    }

    /// All that is there, or enough of it; who polls waits for something.
    async fn found(&self, many: &mut Many, is_polled: bool) -> Result<Found, Problem> {
        let until = self.clock.after_millis(many.left_ms(self.clock.wall(), self.poll_ms));
        let (mut found, mut bytes) = (Found::default(), 0);
        while bytes < self.bytes_max && found.items.len() < limits::MAILBOX_RECORDS_MAX {
            let left = self.bytes_max - bytes;
            let event = tokio::select! {
                biased;
                event = many.next(self, left) => event,
                () = self.clock.sleep_until(until) => break,
            };
            match event {
                // What was found before that is told first.
                Err(_) | Ok(Event::Gone(..)) if !found.items.is_empty() => return Ok(found),
                Err(denied) => return Err(problem(denied)),
                Ok(Event::Gone(stream, earliest)) => return Err(gone(many, stream, earliest)),
                Ok(Event::Over(_)) => {}
                Ok(Event::Here) => {
                    found.is_up_to_date = true;
                    if !is_polled || !found.items.is_empty() {
                        break;
                    }
                }
                Ok(Event::Records(items)) => {
                    for item in items {
                        many.pass(&item);
                        bytes += item.bytes();
                        found.items.push(item);
                    }
                    found.is_up_to_date = false;
                }
            }
        }
        Ok(found)
    }

    fn answer_whole(
        &self,
        of: &Whole,
        shape: &Shape,
        many: &Many,
        found: &Found,
        read: &Read<Place>,
    ) -> Response<Bytes> {
        let is_polled = read.live == Some(Live::LongPoll);
        let next = many.positions();
        let mut response = match is_polled && found.items.is_empty() {
            true => no_content(),
            false => Response::new(Bytes::new()),
        };
        let headers = response.headers_mut();
        put(headers, "stream-next-offset", &next);
        if found.is_up_to_date {
            put(headers, "stream-up-to-date", "true");
        }
        if is_polled {
            let cursor = Cursor::next(
                read.cursor.as_deref().and_then(Cursor::parse),
                self.clock.wall(),
                self.random.next_u64(),
            );
            put(headers, "stream-cursor", &cursor.0.to_string());
        }
        if response.status() == StatusCode::NO_CONTENT {
            return response;
        }
        let headers = response.headers_mut();
        let content_type = match many.show.of {
            Shown::Values(_) => &*shape.content_type,
            Shown::Records | Shown::Numbered => "application/json",
        };
        put(headers, "content-type", content_type);
        if read.start == Start::Now {
            put(headers, "cache-control", "no-store");
        } else {
            put(headers, "cache-control", "private, max-age=60, stale-while-revalidate=300");
            let tag = tag(of, &read.start, &next, many.show.of);
            put(headers, "etag", &tag);
            if read.none_match.as_deref().is_some_and(|known| is_match(known, &tag)) {
                *response.status_mut() = StatusCode::NOT_MODIFIED;
                return response;
            }
        }
        *response.body_mut() = match many.show.of {
            Shown::Values(Form::Text | Form::Base64) => {
                let values = found.items.iter().filter_map(|item| item.record.value.as_ref());
                values.flatten().copied().collect::<Vec<u8>>().into()
            }
            _ => many.all(&found.items).unwrap_or_else(|| "[]".to_owned()).into(),
        };
        response
    }

    async fn append_whole(
        &self,
        of: &Whole,
        shape: &Shape,
        request: &Request<Bytes>,
    ) -> Result<Response<Bytes>, Problem> {
        let AppendHead { content_type, seq, closes, sent, expected, once } =
            AppendHead::parse(request.headers())?;
        if seq.is_some() || closes || sent.is_some() || once.is_some() {
            let text = "Stream-Seq, Stream-Closed, Producer-Id and Idempotency-Key are of streams of one key: /s/{topic}/{key}";
            return Err(Problem::malformed("header", text));
        }
        let is = media_type(&shape.content_type);
        if let Some(other) = content_type.filter(|told| media_type(told) != is) {
            let text = format!(
                "the topic's values are {is} and not {other:?}: say so, or change odradek.stream.content.type of the topic"
            );
            return Err(Problem::new(StatusCode::CONFLICT, "other-content-type", text));
        }
        let body = request.body();
        let values = match is == "application/json" {
            true if !body.is_empty() => {
                json::split(body).map_err(|error| Problem::malformed("no-json", error.to_string()))?
            }
            _ => vec![body.clone()],
        };
        if body.is_empty() || values.is_empty() {
            return Err(Problem::malformed("empty-body", "there is nothing to append"));
        }
        let of = match of {
            Whole::Partition(of) => of.clone(),
            Whole::Topic(topic) if expected.is_some() && shape.partitions != 1 => {
                let text = format!("Expected-Offset is of one partition: POST to /s/{topic}/-/p/0");
                return Err(Problem::malformed("header", text));
            }
            Whole::Topic(topic) => self.any_partition(topic, shape)?,
        };
        let headers = author(request).headers();
        let records = values.into_iter().map(|value| NewRecord {
            key: None,
            value: Some(value),
            headers: headers.clone(),
        });
        let next = self.mailboxes.append_records(&of, records.collect(), expected).await.map_err(problem)?;
        let mut response = no_content();
        let headers = response.headers_mut();
        put(headers, "stream-next-offset", &next.to_string());
        put(headers, "content-location", &format!("/s/{}/-/p/{}", of.topic, of.partition));
        Ok(response)
    }

    /// A partition for what has no key: any that this node leads.
    fn any_partition(&self, topic: &TopicName, shape: &Shape) -> Result<TopicPartition, Problem> {
        let count = i32::try_from(shape.partitions).unwrap_or(i32::MAX).max(1);
        let first = (self.random.next_u64() % count.unsigned_abs() as u64) as i32;
        let all = (first..count).chain(0..first);
        let mut all = all.map(|partition| TopicPartition { topic: topic.clone(), partition });
        all.find(|of| self.mailboxes.is_here(of)).ok_or_else(|| {
            let text = "no node that can be reached leads a partition of the topic";
            problem(Denied::Unavailable(text.to_owned()))
        })
    }

    /// The same, or any that a node leads that can be reached.
    pub(super) fn any_or_elsewhere(
        &self,
        topic: &TopicName,
        shape: &Shape,
    ) -> Result<TopicPartition, Problem> {
        self.any_partition(topic, shape).or_else(|problem| {
            let count = i32::try_from(shape.partitions).unwrap_or(i32::MAX);
            let mut all = (0..count).map(|partition| TopicPartition { topic: topic.clone(), partition });
            all.find(|of| self.mailboxes.partition_elsewhere(of).is_some()).ok_or(problem)
        })
    }

    /// Which other node takes records without a key, if this one has no partition of the topic.
    pub(super) fn topic_elsewhere(&self, topic: &TopicName) -> Option<Reach> {
        let shape = self.mailboxes.shape(topic)?;
        self.mailboxes.partition_elsewhere(&self.any_or_elsewhere(topic, &shape).ok()?)
    }
}

impl Many {
    pub(super) fn head(&self) -> Response<()> {
        let mut response = Response::new(());
        let headers: &mut HeaderMap = response.headers_mut();
        put(headers, "content-type", "text/event-stream");
        put(headers, "cache-control", "no-cache");
        if self.show.of == Shown::Values(Form::Base64) {
            put(headers, "stream-sse-data-encoding", "base64");
        }
        response
    }
}

/// Of which topic places are; it may get more partitions.
fn hash(of: &Whole) -> u32 {
    positions::hash(std::iter::once(of.topic().as_bytes()))
}

/// Where each of the partitions is begun.
fn begin(of: &Whole, sources: Vec<Source>, start: &Start<Place>) -> Result<Vec<(Source, From)>, Problem> {
    let count = sources.len();
    let places: Vec<Token> = match start {
        Start::Begin => Vec::new(),
        Start::Now => return Ok(sources.into_iter().map(|source| (source, From::End)).collect()),
        // A topic had one partition once.
        Start::At(Place::One(token)) => vec![*token],
        Start::At(Place::All(read)) if read.of == hash(of) && read.places.len() <= count => {
            read.places.clone()
        }
        Start::At(Place::All(_)) => {
            let text = "the offset is of another topic, or of one that had more partitions";
            return Err(Problem::malformed("offset", text));
        }
    };
    // Partitions that were added since are begun with their first records.
    let places = places.into_iter().map(From::At).chain(std::iter::repeat(From::Begin));
    Ok(sources.into_iter().zip(places).collect())
}

/// The earliest place that is kept, beside those that are.
fn gone(many: &mut Many, stream: usize, earliest: Token) -> Problem {
    many.put(stream, earliest);
    let gone = problem(Denied::Gone(earliest));
    let headers = gone.headers.into_iter().filter(|(name, _)| *name != "stream-earliest-offset").collect();
    Problem { headers, ..gone }.with("stream-earliest-offset", many.positions())
}

fn tag(of: &Whole, start: &Start<Place>, next: &str, shown: Shown) -> String {
    let start = match start {
        Start::At(Place::One(token)) => token.to_string(),
        Start::At(Place::All(positions)) => positions.encode(),
        Start::Begin | Start::Now => "-1".to_owned(),
    };
    let partition = match of {
        Whole::Topic(_) => String::new(),
        Whole::Partition(of) => format!("/-/p/{}", of.partition),
    };
    let records = if shown == Shown::Records { ":r" } else { "" };
    format!("\"{}{partition}:{start}:{next}{records}\"", of.topic())
}

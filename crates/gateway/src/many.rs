//! A reader of several streams at once: where it is in each, which of them have news, and which another node must be asked for.
//!
//! A stream here is a key or a partition; a topic is all of its partitions. What is found comes as [`Event`]s, whatever becomes of them:
//! `show` makes them events of `text/event-stream`, and a whole answer is collected from them. Nothing is kept for a reader that is slow.

use crate::{
    Service,
    bearer::Bearer,
    mailboxes::{Address, Chunk, Denied, From, Mailboxes},
    positions::{self, Positions},
    problem::Problem,
    serve::{Sent, problem},
    token::Token,
    topics::Records,
};
use bytes::Bytes;
use env::BoxFuture;
use mailbox::{Refusal, media_type};
use model::TopicPartition;
use records::Record;
use remote::{Heard, Remote};
use std::{collections::VecDeque, future::poll_fn, sync::Arc, task::Poll};

pub(crate) mod envelope;
mod remote;
mod show;

pub(crate) use remote::with_bearer;
pub use remote::{Asked, Peers, Rest};
pub(crate) use show::{Show, Shown};

/// One of the streams.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Source {
    Key(Address),
    Partition(TopicPartition),
}

/// A record of one of the streams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    /// Its number among the streams.
    pub(crate) stream: usize,
    /// Where to read on behind it.
    pub(crate) next: Token,
    /// Of a stream of one key neither its time nor its headers are known.
    pub(crate) record: Record,
    /// Whether the value is to be JSON.
    pub(crate) is_json: bool,
}

/// What has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// Records have come, of one stream or, from another node, of several.
    Records(Vec<Item>),
    /// Nothing will ever follow in this stream.
    Over(usize),
    /// What comes next in this stream is not kept any more; it goes on with the earliest that is.
    Gone(usize, Token),
    /// There is nothing more for now.
    Here,
}

/// See the head of the file.
pub struct Many {
    of: u32,
    until_ms: Option<i64>,
    streams: Vec<One>,
    remotes: Vec<Remote>,
    /// What was heard from other nodes, in its order.
    heard: VecDeque<Heard>,
    /// Which one is read next.
    turn: usize,
    /// Whether it has moved since it was told that there is nothing more.
    has_moved: bool,
    /// Whether anything was sent.
    is_begun: bool,
    pub(crate) show: Show,
}

/// Who asks for them.
pub(crate) struct Asker {
    /// Another node, which has asked for what is here alone.
    pub(crate) is_forwarded: bool,
    /// With which token other nodes are asked.
    pub(crate) bearer: Option<Bearer>,
    /// From when on, in milliseconds since 1970, it may read nothing any more.
    pub(crate) until_ms: Option<i64>,
}

struct One {
    source: Source,
    place: Token,
    state: State,
}

enum State {
    /// There may be something to read.
    Ready,
    /// It ends when there is.
    Waiting(BoxFuture<'static, ()>),
    /// Another node reads it.
    Elsewhere,
    Over,
}

/// What was read of one stream.
struct Read {
    records: Vec<(Token, Record)>,
    next: Token,
    is_up_to_date: bool,
    is_over: bool,
    is_json: bool,
}

impl Item {
    /// What it takes, about.
    pub(crate) fn bytes(&self) -> usize {
        let Record { key, value, headers, .. } = &self.record;
        let of = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        let headers: usize = headers.iter().map(|header| header.key.len() + of(&header.value)).sum();
        1 + of(key) + of(value) + headers
    }
}

impl Source {
    /// What the streams of a reader are, in one number.
    pub(crate) fn hash(all: &[Source]) -> u32 {
        let names: Vec<String> = all.iter().map(Source::name).collect();
        positions::hash(names.iter().map(|name| name.as_bytes()))
    }

    fn name(&self) -> String {
        match self {
            Self::Key(at) => at.path(),
            Self::Partition(of) => format!("/s/{}/-/p/{}", of.topic, of.partition),
        }
    }

    /// Whether it can be read at all.
    fn check(&self, mailboxes: &dyn Mailboxes) -> Result<(), Denied> {
        let (topic, partition) = match self {
            Self::Key(at) => (&at.topic, 0),
            Self::Partition(of) => (&of.topic, of.partition),
        };
        let count = mailboxes.shape(topic).ok_or(Denied::UnknownTopic)?.partitions;
        match usize::try_from(partition).is_ok_and(|partition| partition < count) {
            true => Ok(()),
            false => Err(Denied::UnknownPartition(count)),
        }
    }

    async fn read(&self, mailboxes: &dyn Mailboxes, from: From, bytes_max: usize) -> Result<Read, Denied> {
        let is_json = |content_type: &str| media_type(content_type) == "application/json";
        match self {
            Self::Key(at) => {
                let Chunk { records, next, is_up_to_date, standing } =
                    mailboxes.read(at, from, bytes_max).await?;
                let record = |(next, value): (Token, _)| {
                    let offset = i64::try_from(next.0.offset).unwrap_or(i64::MAX).saturating_sub(1);
                    let key = Some(at.key.clone());
                    (next, Record { offset, timestamp: -1, key, value, headers: Vec::new() })
                };
                Ok(Read {
                    records: records.into_iter().map(record).collect(),
                    next,
                    is_up_to_date,
                    is_over: is_up_to_date && standing.life.is_closed,
                    is_json: is_json(&standing.life.content_type),
                })
            }
            Self::Partition(of) => {
                let Records { records, next, is_up_to_date } =
                    mailboxes.read_records(of, from, bytes_max).await?;
                let content_type = mailboxes.shape(&of.topic).map(|shape| shape.content_type);
                let behind = |record: Record| {
                    let next = u64::try_from(record.offset).unwrap_or(0).saturating_add(1);
                    (Token::new(0, next), record)
                };
                Ok(Read {
                    records: records.into_iter().map(behind).collect(),
                    next,
                    is_up_to_date,
                    is_over: false,
                    is_json: is_json(&content_type.unwrap_or_default()),
                })
            }
        }
    }

    /// Ends when there is something behind a place.
    fn changed(&self, mailboxes: &Arc<dyn Mailboxes>, seen: Token) -> BoxFuture<'static, ()> {
        let mailboxes = mailboxes.clone();
        match self.clone() {
            Self::Key(at) => Box::pin(async move { mailboxes.changed(&at, seen).await }),
            Self::Partition(of) => Box::pin(async move { mailboxes.records_changed(&of, seen).await }),
        }
    }

    /// Ends when there is anything: there is no such stream now.
    fn appeared(&self, mailboxes: &Arc<dyn Mailboxes>) -> BoxFuture<'static, ()> {
        let mailboxes = mailboxes.clone();
        match self.clone() {
            Self::Key(at) => Box::pin(async move { mailboxes.latest_changed(&at, None).await }),
            Self::Partition(_) => Box::pin(std::future::pending()),
        }
    }
}

impl Many {
    /// Begins to read these streams, whose places are `of` this number; what other nodes have they are asked for, unless this node was
    /// asked by one.
    pub(crate) async fn new(
        service: &Service,
        wanted: Vec<(Source, From)>,
        (of, asker): (u32, Asker),
        show: Show,
    ) -> Result<Self, Problem> {
        let mailboxes = &service.mailboxes;
        let sources: Vec<Source> = wanted.iter().map(|(source, _)| source.clone()).collect();
        for source in &sources {
            source.check(&**mailboxes).map_err(problem)?;
        }
        let mut streams = Vec::new();
        let mut elsewhere: Vec<remote::Wanted> = Vec::new();
        for (number, (source, from)) in wanted.into_iter().enumerate() {
            let reach = match (&source, asker.is_forwarded) {
                (_, true) => None,
                (Source::Key(at), false) => mailboxes.elsewhere(at),
                (Source::Partition(of), false) => mailboxes.partition_elsewhere(of),
            };
            let (place, state) = match reach {
                None => (begin(&source, &**mailboxes, from).await.map_err(problem)?, State::Ready),
                Some(reach) => {
                    let group = match elsewhere.iter().position(|group| group.reach == reach) {
                        Some(group) => group,
                        None => {
                            elsewhere.push(remote::Wanted { reach, streams: Vec::new() });
                            elsewhere.len() - 1
                        }
                    };
                    if let Some(group) = elsewhere.get_mut(group) {
                        group.streams.push((number, source.clone(), from));
                    }
                    let place = if let From::At(token) = from { token } else { Token::BEGIN };
                    (place, State::Elsewhere)
                }
            };
            streams.push(One { source, place, state });
        }
        let mut remotes = Vec::new();
        for group in elsewhere {
            remotes.push(Remote::ask(service, group, asker.bearer.as_ref()).await?);
        }
        let heard = VecDeque::new();
        // Nobody is told a place before all are known.
        let until_ms = asker.until_ms;
        let mut many =
            Self { of, until_ms, streams, remotes, heard, turn: 0, has_moved: true, is_begun: false, show };
        while many.remotes.iter().any(|remote| !remote.is_placed) {
            many.hear().await.map_err(problem)?;
            many.place_first();
        }
        Ok(many)
    }

    /// How long it may be followed yet, at most so long, in milliseconds: no longer than the token of its reader is worth something.
    pub fn left_ms(&self, now_ms: i64, most: i64) -> i64 {
        self.until_ms.map_or(most, |until| until.saturating_sub(now_ms).clamp(0, most))
    }

    /// How many streams it follows.
    pub fn count(&self) -> usize {
        self.streams.len()
    }

    /// Where it is, as text.
    pub(crate) fn positions(&self) -> String {
        match &self.streams[..] {
            [One { place, .. }] if self.show.is_one => place.to_string(),
            streams => {
                let places = streams.iter().map(|one| one.place).collect();
                Positions { of: self.of, places }.encode()
            }
        }
    }

    pub(crate) fn source(&self, stream: usize) -> Option<&Source> {
        self.streams.get(stream).map(|one| &one.source)
    }

    /// Goes on behind a record that was told.
    pub(crate) fn pass(&mut self, item: &Item) {
        self.put(item.stream, item.next);
    }

    pub(crate) fn put(&mut self, stream: usize, place: Token) {
        if let Some(one) = self.streams.get_mut(stream) {
            self.has_moved |= one.place != place;
            one.place = place;
        }
    }

    /// Whether nothing will ever follow.
    pub(crate) fn is_over(&self) -> bool {
        self.streams.iter().all(|one| matches!(one.state, State::Over))
    }

    /// What is sent next. It may be dropped while it waits, and loses nothing.
    ///
    /// # Errors
    ///
    /// Where it cannot go on; the reader comes again, and is told why.
    pub async fn send(&mut self, service: &Service) -> Result<Sent, Denied> {
        if !std::mem::replace(&mut self.is_begun, true) && self.show.of == Shown::Numbered {
            return Ok(Sent { text: format!("id: {}\n\n", self.positions()), is_over: false });
        }
        let event = self.next(service, service.bytes_max).await?;
        match event {
            Event::Gone(_, earliest) if self.show.of != Shown::Numbered => Err(Denied::Gone(earliest)),
            event => {
                Ok(self.tell(event, service.bytes_max, (service.clock.wall(), service.random.next_u64())))
            }
        }
    }

    /// What shows that the connection is alive.
    pub fn alive(&self, service: &Service) -> String {
        self.sign(service.clock.wall(), service.random.next_u64())
    }

    /// Which one is read first: whoever has much to read of some comes to the others, too.
    pub(crate) fn turn_by(&mut self, text: &str) {
        let hash = positions::hash(std::iter::once(text.as_bytes()));
        self.turn = hash as usize % self.streams.len().max(1);
    }

    /// This happens next.
    pub(crate) fn put_back(&mut self, event: Event) {
        self.heard.push_front(Heard::Event(event));
    }

    /// These records are not told now. What is here is read again; what another node has said is kept, and no more than that.
    pub(crate) fn give_back(&mut self, items: Vec<Item>) {
        let is_ready = |one: &mut One| match one.state {
            State::Elsewhere => false,
            _ => {
                one.state = State::Ready;
                true
            }
        };
        let mut kept = items;
        kept.retain(|item| !self.streams.get_mut(item.stream).is_some_and(is_ready));
        if !kept.is_empty() {
            self.put_back(Event::Records(kept));
        }
    }

    /// The list of its streams, each from its place on, as a reader would ask for them.
    pub(crate) fn list(&self) -> String {
        let all: Vec<_> =
            self.streams.iter().map(|one| remote::told(&one.source, From::At(one.place))).collect();
        serde_json::Value::from(all).to_string()
    }

    /// One of its streams, and where it is in it.
    pub(crate) fn stream(&self, stream: usize) -> Option<(&Source, Token)> {
        self.streams.get(stream).map(|one| (&one.source, one.place))
    }

    /// What happens next. It may be dropped while it waits, and loses nothing.
    pub(crate) async fn next(&mut self, service: &Service, bytes_max: usize) -> Result<Event, Denied> {
        loop {
            if let Some(heard) = self.heard.pop_front() {
                if let Some(event) = self.on_heard(heard) {
                    return Ok(event);
                }
                continue;
            }
            let count = self.streams.len();
            let next = (self.turn..self.turn + count).map(|number| number % count.max(1));
            let is_ready = |number: &usize| {
                self.streams.get(*number).is_some_and(|one| matches!(one.state, State::Ready))
            };
            if let Some(number) = next.into_iter().find(is_ready) {
                self.turn = number;
                if let Some(event) = self.read(number, service, bytes_max).await? {
                    return Ok(event);
                }
                continue;
            }
            if self.has_moved && self.remotes.iter().all(|remote| remote.is_here) {
                self.has_moved = false;
                return Ok(Event::Here);
            }
            self.hear().await?;
        }
    }

    async fn read(
        &mut self,
        number: usize,
        service: &Service,
        bytes_max: usize,
    ) -> Result<Option<Event>, Denied> {
        let mailboxes = &service.mailboxes;
        let Some(one) = self.streams.get_mut(number) else { return Ok(None) };
        let read = match one.source.read(&**mailboxes, From::At(one.place), bytes_max).await {
            Err(Denied::Refused(Refusal::NotFound | Refusal::Deleted, _)) => {
                one.state = State::Waiting(one.source.appeared(mailboxes));
                return Ok(None);
            }
            Err(Denied::Gone(earliest)) if earliest != one.place => {
                return Ok(Some(Event::Gone(number, earliest)));
            }
            read => read?,
        };
        let Read { records, next, is_up_to_date, is_over, is_json } = read;
        let mut items: Vec<Item> = records
            .into_iter()
            .map(|(next, record)| Item { stream: number, next, record, is_json })
            .collect();
        match items.last_mut() {
            Some(last) => last.next = next.max(last.next),
            None => {
                self.has_moved |= one.place != next;
                one.place = next;
            }
        }
        self.turn = number + 1;
        if is_over && items.is_empty() {
            one.state = State::Over;
            return Ok(Some(Event::Over(number)));
        }
        if is_up_to_date && !is_over {
            one.state = State::Waiting(one.source.changed(mailboxes, next));
        }
        Ok((!items.is_empty()).then_some(Event::Records(items)))
    }

    /// Waits until a stream has news, or another node has told some.
    async fn hear(&mut self) -> Result<(), Denied> {
        let Self { streams, remotes, heard, .. } = self;
        poll_fn(|context| {
            let mut is_news = false;
            for one in streams.iter_mut() {
                if let State::Waiting(waiting) = &mut one.state
                    && waiting.as_mut().poll(context).is_ready()
                {
                    (one.state, is_news) = (State::Ready, true);
                }
            }
            for remote in remotes.iter_mut() {
                match remote.poll(context, heard) {
                    Poll::Ready(Ok(())) => is_news = true,
                    Poll::Ready(Err(why)) => return Poll::Ready(Err(Denied::Unavailable(why))),
                    Poll::Pending => {}
                }
            }
            if is_news { Poll::Ready(Ok(())) } else { Poll::Pending }
        })
        .await
    }

    /// Takes over where the streams of other nodes begin, which each says first.
    fn place_first(&mut self) {
        while let Some(Heard::Places(_)) = self.heard.front() {
            if let Some(heard) = self.heard.pop_front() {
                self.on_heard(heard);
            }
        }
    }

    fn on_heard(&mut self, heard: Heard) -> Option<Event> {
        match heard {
            Heard::Places(places) => {
                places.into_iter().for_each(|(stream, place)| self.put(stream, place));
                None
            }
            Heard::Event(Event::Over(stream)) => {
                if let Some(one) = self.streams.get_mut(stream) {
                    one.state = State::Over;
                }
                let streams = &self.streams;
                let is_over =
                    |stream: &usize| streams.get(*stream).is_none_or(|one| matches!(one.state, State::Over));
                // It ends its answer then.
                self.remotes.retain(|remote| !remote.numbers().iter().all(is_over));
                Some(Event::Over(stream))
            }
            Heard::Event(event) => Some(event),
        }
    }
}

/// Where a stream begins.
async fn begin(source: &Source, mailboxes: &dyn Mailboxes, from: From) -> Result<Token, Denied> {
    match from {
        From::Begin => Ok(Token::BEGIN),
        From::At(token) => Ok(token),
        From::End => match source.read(mailboxes, From::End, 1).await {
            Ok(read) => Ok(read.next),
            // Whatever comes is new.
            Err(Denied::Refused(..)) => Ok(Token::BEGIN),
            Err(denied) => Err(denied),
        },
    }
}

//! Streams that another node has: it is asked for them as any reader would (`QUERY /v1/subscribe`), and what it says is read here.
//!
//! It says first where each of its streams begins. What cannot be understood ends the reader, who comes again.

use super::{Event, Item, Source, envelope};
use crate::{
    Service, base64,
    bearer::Bearer,
    mailboxes::{From, Reach},
    positions::Positions,
    problem::Problem,
    token::Token,
};
use bytes::Bytes;
use env::BoxFuture;
use http::{Method, Request, Response, StatusCode, request};
use serde_json::{Value, json};
use std::{
    collections::VecDeque,
    io,
    task::{Context, Poll, ready},
};

/// The head of an answer, and what follows.
pub type Asked = Result<(Response<()>, Box<dyn Rest>), Problem>;

/// Other nodes.
pub trait Peers: Send + Sync {
    /// Asks one.
    fn ask(&self, reach: Reach, request: Request<Bytes>) -> BoxFuture<'static, Asked>;
}

/// The rest of an answer.
pub trait Rest: Send {
    /// The next piece; `None`: there is no more.
    fn next(&mut self) -> BoxFuture<'_, Option<io::Result<Bytes>>>;
}

/// Whom to ask for what: the streams with their numbers here.
pub(super) struct Wanted {
    pub(super) reach: Reach,
    pub(super) streams: Vec<(usize, Source, From)>,
}

/// What was heard of another node.
pub(super) enum Heard {
    /// It has nothing more, and is there in its streams.
    Places(Vec<(usize, Token)>),
    Event(Event),
}

/// See the head of the file.
pub(super) struct Remote {
    numbers: Vec<usize>,
    of: u32,
    reading: BoxFuture<'static, Piece>,
    text: Text,
    /// Whether it has said where it begins.
    pub(super) is_placed: bool,
    /// Whether it had nothing more.
    pub(super) is_here: bool,
}

/// Another node is asked in the name of whoever has asked here.
pub(crate) fn with_bearer(request: request::Builder, bearer: Option<&Bearer>) -> request::Builder {
    match bearer {
        Some(Bearer(token)) => request.header("authorization", format!("Bearer {token}")),
        None => request,
    }
}

/// What comes next, and from where.
type Piece = (Box<dyn Rest>, Option<io::Result<Bytes>>);

/// What was not understood yet.
#[derive(Default)]
struct Text {
    bytes: Vec<u8>,
    /// Up to here there is no end of an event.
    looked: usize,
}

/// One event of another node.
#[derive(Default)]
struct Block {
    id: String,
    kind: String,
    data: Option<String>,
}

/// The longest event. A record of so many bytes is not read from another node.
const EVENT_BYTES_MAX: usize = 32 << 20;

impl Remote {
    pub(super) async fn ask(
        service: &Service,
        wanted: Wanted,
        bearer: Option<&Bearer>,
    ) -> Result<Self, Problem> {
        let Wanted { reach, streams } = wanted;
        let at = format!("the node at {}:{}", reach.host, reach.port);
        let unavailable = |text: String| {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", text).with("retry-after", 1)
        };
        let all: Vec<Value> = streams.iter().map(|(_, source, from)| told(source, *from)).collect();
        let body = json!({"streams": all}).to_string();
        let request = Request::builder()
            .method(Method::from_bytes(b"QUERY").unwrap_or(Method::POST))
            .uri("/v1/subscribe")
            .header("content-type", "application/json")
            .header("accept", "text/event-stream");
        let request = with_bearer(request, bearer);
        let request = request.body(Bytes::from(body)).map_err(|error| unavailable(error.to_string()))?;
        let (head, mut rest) = service.peers.ask(reach, request).await?;
        if head.status() != StatusCode::OK {
            return Err(unavailable(format!("{at} has answered {}", head.status())));
        }
        let sources: Vec<Source> = streams.iter().map(|(_, source, _)| source.clone()).collect();
        Ok(Self {
            numbers: streams.into_iter().map(|(number, ..)| number).collect(),
            of: Source::hash(&sources),
            reading: Box::pin(async move {
                let piece = rest.next().await;
                (rest, piece)
            }),
            text: Text::default(),
            is_placed: false,
            is_here: false,
        })
    }

    /// The numbers here of its streams.
    pub(super) fn numbers(&self) -> &[usize] {
        &self.numbers
    }

    /// Ready when something was heard, or with why nothing more will be.
    pub(super) fn poll(
        &mut self,
        context: &mut Context<'_>,
        heard: &mut VecDeque<Heard>,
    ) -> Poll<Result<(), String>> {
        let (mut rest, piece) = ready!(self.reading.as_mut().poll(context));
        self.reading = Box::pin(std::future::pending());
        let piece = match piece {
            Some(Ok(piece)) => piece,
            Some(Err(error)) => return Poll::Ready(Err(format!("another node is not heard: {error}"))),
            None => return Poll::Ready(Err("another node has ended its answer".to_owned())),
        };
        self.reading = Box::pin(async move {
            let piece = rest.next().await;
            (rest, piece)
        });
        Poll::Ready(self.on_piece(&piece, heard).ok_or_else(|| "another node is not understood".to_owned()))
    }

    fn on_piece(&mut self, piece: &[u8], heard: &mut VecDeque<Heard>) -> Option<()> {
        self.text.bytes.extend_from_slice(piece);
        let mut items: Vec<Item> = Vec::new();
        while let Some(block) = self.text.next()? {
            let kind = block.kind.as_str();
            match (&block.data, kind) {
                (Some(data), "") => {
                    let item = envelope::read(data)?;
                    items.push(Item { stream: *self.numbers.get(item.stream)?, ..item });
                    self.is_here = false;
                    continue;
                }
                _ if !items.is_empty() => {
                    heard.push_back(Heard::Event(Event::Records(std::mem::take(&mut items))));
                }
                _ => {}
            }
            match (&block.data, kind) {
                (Some(data), "end") => {
                    let (stream, _) = envelope::read_about(data)?;
                    heard.push_back(Heard::Event(Event::Over(*self.numbers.get(stream)?)));
                }
                (Some(data), "gone") => {
                    let (stream, place) = envelope::read_about(data)?;
                    heard.push_back(Heard::Event(Event::Gone(*self.numbers.get(stream)?, place)));
                }
                (None, "" | "here") if !block.id.is_empty() => {
                    let positions = Positions::decode(&block.id).filter(|read| read.of == self.of)?;
                    let places = positions.places;
                    if places.len() != self.numbers.len() {
                        return None;
                    }
                    heard.push_back(Heard::Places(self.numbers.iter().copied().zip(places).collect()));
                    (self.is_placed, self.is_here) = (true, kind == "here");
                }
                // Signs of life, and what a later version may say.
                _ => {}
            }
        }
        if !items.is_empty() {
            heard.push_back(Heard::Event(Event::Records(items)));
        }
        Some(())
    }
}

impl Text {
    /// The next event, if it is whole; `None`: it is none, or too long.
    fn next(&mut self) -> Option<Option<Block>> {
        let from = self.looked.saturating_sub(1);
        let end = self.bytes.get(from..)?.windows(2).position(|two| two == b"\n\n");
        let Some(end) = end.map(|end| from + end) else {
            self.looked = self.bytes.len();
            return (self.bytes.len() <= EVENT_BYTES_MAX).then_some(None);
        };
        let rest = self.bytes.split_off(end + 2);
        let whole = std::mem::replace(&mut self.bytes, rest);
        self.looked = 0;
        let mut block = Block::default();
        for line in std::str::from_utf8(&whole).ok()?.lines() {
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match (field, &mut block.data) {
                ("id", _) => block.id = value.to_owned(),
                ("event", _) => block.kind = value.to_owned(),
                ("data", Some(data)) => {
                    data.push('\n');
                    data.push_str(value);
                }
                ("data", data) => *data = Some(value.to_owned()),
                _ => {}
            }
        }
        Some(Some(block))
    }
}

/// A stream, as `/v1/subscribe` reads it.
pub(super) fn told(source: &Source, from: From) -> Value {
    let offset = match from {
        From::Begin => "-1".to_owned(),
        From::End => "now".to_owned(),
        From::At(token) => token.to_string(),
    };
    match source {
        Source::Key(at) => match std::str::from_utf8(&at.key) {
            Ok(key) => json!({"topic": &*at.topic, "key": key, "offset": offset}),
            Err(_) => json!({"topic": &*at.topic, "keyBase64": base64::encode(&at.key), "offset": offset}),
        },
        Source::Partition(of) => json!({"topic": &*of.topic, "partition": of.partition, "offset": offset}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mailboxes::Address;
    use model::TopicName;
    use proptest::prelude::*;

    fn remote() -> Remote {
        Remote {
            numbers: vec![7, 4],
            of: 9,
            reading: Box::pin(std::future::pending()),
            text: Text::default(),
            is_placed: false,
            is_here: false,
        }
    }

    fn id(offsets: [u64; 2]) -> String {
        let places = offsets.map(|offset| Token::new(0, offset)).to_vec();
        Positions { of: 9, places }.encode()
    }

    /// What was heard, in words.
    fn words(heard: &VecDeque<Heard>) -> Vec<String> {
        let word = |heard: &Heard| match heard {
            Heard::Places(places) => format!("{places:?}"),
            Heard::Event(Event::Records(items)) => {
                items.iter().map(|item| format!("{}@{}", item.stream, item.next.0.offset)).collect()
            }
            Heard::Event(event) => format!("{event:?}"),
        };
        heard.iter().map(word).collect()
    }

    #[test]
    fn events_are_understood_wherever_they_are_cut() {
        let record = |stream: u32, offset: u64| {
            let next = Token::new(0, offset + 1);
            format!(
                "id: {}\ndata:{{\"stream\":{stream},\"topic\":\"t\",\"offset\":{offset},\"next\":\"{next}\"}}\n\n",
                id([0, 0])
            )
        };
        let about = |kind: &str| {
            format!("event: {kind}\ndata:{{\"stream\":1,\"next\":\"{}\"}}\n\n", Token::new(0, 5))
        };
        let begin = format!("id: {}\n\n:\n\n", id([1, 2]));
        let here = format!("id: {}\nevent: here\n\n", id([3, 6]));
        let text = begin
            + &record(0, 1)
            + &record(1, 2)
            + &about("gone")
            + "event: new\ndata:x\n\n"
            + &about("end")
            + &here;
        let place = |stream: u32, offset: u64| (stream as usize, Token::new(0, offset));
        let expected = [
            format!("{:?}", [place(7, 1), place(4, 2)]),
            "7@2".to_owned(),
            "4@3".to_owned(),
            format!("{:?}", Event::Gone(4, Token::new(0, 5))),
            format!("{:?}", Event::Over(4)),
            format!("{:?}", [place(7, 3), place(4, 6)]),
        ];
        for size in [1, 2, 3, 7, 50, text.len()] {
            let (mut remote, mut heard) = (remote(), VecDeque::new());
            for piece in text.as_bytes().chunks(size) {
                remote.on_piece(piece, &mut heard).unwrap();
            }
            assert_eq!(words(&heard).concat(), expected.concat(), "{size}");
            assert!(remote.is_here && remote.is_placed && remote.text.bytes.is_empty());
        }
    }

    #[test]
    fn what_is_of_other_streams_or_no_event_is_not_understood() {
        let other = Positions { of: 8, places: vec![Token::BEGIN; 2] }.encode();
        let short = Positions { of: 9, places: vec![Token::BEGIN] }.encode();
        let next = Token::BEGIN;
        for text in [
            format!("id: {other}\n\n"),
            format!("id: {short}\n\n"),
            "id: x\n\n".to_owned(),
            "data:x\n\n".to_owned(),
            format!("data:{{\"stream\":2,\"offset\":0,\"next\":\"{next}\"}}\n\n"),
            format!("event: gone\ndata:{{\"stream\":2,\"next\":\"{next}\"}}\n\n"),
            "event: end\ndata:\n\n".to_owned(),
        ] {
            let (mut remote, mut heard) = (remote(), VecDeque::new());
            assert!(remote.on_piece(text.as_bytes(), &mut heard).is_none(), "{text}");
        }
        let (mut remote, mut heard) = (remote(), VecDeque::new());
        assert!(remote.on_piece(b"data:\xff\n\n", &mut heard).is_none(), "no UTF-8");
        let (mut remote, endless) = (self::remote(), vec![b'x'; 1 << 20]);
        let is_ended = (0..40).any(|_| remote.on_piece(&endless, &mut heard).is_none());
        assert!(is_ended, "an event has an end");
    }

    #[test]
    fn another_node_is_asked_for_the_same_stream() {
        let topic = || TopicName::new("rides").unwrap();
        let key = |key: &'static [u8]| Source::Key(Address { topic: topic(), key: Bytes::from_static(key) });
        let partition = Source::Partition(model::TopicPartition { topic: topic(), partition: 3 });
        let all =
            [(key(b"u42"), From::Begin), (key(b"\xff"), From::End), (partition, From::At(Token::new(2, 7)))];
        let list: Vec<Value> = all.iter().map(|(source, from)| told(source, *from)).collect();
        let read = crate::request::Subscription::from_json(json!({"streams": list}).to_string().as_bytes());
        let wished = all.map(|(source, from)| (crate::request::Wish::One(source), from));
        assert_eq!(read.unwrap().0, wished);
    }

    proptest! {
        #[test]
        fn any_bytes_are_understood_or_not(pieces in prop::collection::vec("(id|data|event|:| |\n|[a-z{}\"0-9]){0,30}", 0..6)) {
            let (mut remote, mut heard) = (remote(), VecDeque::new());
            for piece in pieces {
                if remote.on_piece(piece.as_bytes(), &mut heard).is_none() {
                    break;
                }
            }
        }
    }
}

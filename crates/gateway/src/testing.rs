//! Streams in memory, for tests: one partition that holds every key, decided by `mailbox` as a leader decides.

use crate::{
    bell::{Bell, Hook},
    caller::Author,
    json,
    mailboxes::{
        Address, Chunk, Denied, From, Latest, Mailboxes, NewRecords, NewStream, Reach, Standing, Taken,
    },
    token::Token,
};
use bytes::Bytes;
use env::{BoxFuture, Clock};
use mailbox::{Append, Appended, Create, Created, Fork, Life, Origin, Place, Producer, Refusal};
use model::TopicName;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::watch;

mod partitions;

/// See the head of the file.
pub struct Memory {
    clock: Arc<dyn Clock>,
    held: Mutex<Held>,
    news: watch::Sender<()>,
    elsewhere: Mutex<Option<Reach>>,
    partitions: partitions::Partitions,
    bells: Arc<Mutex<Vec<(Sorted, Bell)>>>,
}

#[derive(Default)]
struct Held {
    streams: BTreeMap<Sorted, Stream>,
    next: u64,
}

/// An address that sorts.
type Sorted = (String, Bytes);

#[derive(Clone)]
struct Stream {
    life: Life,
    producers: BTreeMap<String, Producer>,
    /// Behind the newest append of each.
    ends: BTreeMap<String, Token>,
    records: Vec<(u64, Option<Bytes>)>,
    /// Behind its last record, or where it was created.
    end: Token,
}

/// How a reader of the protocol wants the events of a text.
pub fn shape() -> crate::EventShape {
    crate::EventShape::new("text/plain", false, None)
}

fn key(at: &Address) -> Sorted {
    (at.topic.to_string(), at.key.clone())
}

fn fork_id(at: &Address) -> mailbox::ForkId {
    let mut id = [0u8; 16];
    for (place, byte) in at.path().bytes().enumerate() {
        if let Some(slot) = id.get_mut(place % 16) {
            *slot = slot.wrapping_mul(31).wrapping_add(byte);
        }
    }
    id
}

impl Memory {
    /// Nothing is there.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let (held, elsewhere) = (Mutex::default(), Mutex::default());
        let partitions = partitions::Partitions::new();
        Self { clock, held, news: watch::Sender::new(()), elsewhere, partitions, bells: Arc::default() }
    }

    /// From now on another node has them.
    pub fn lead_elsewhere(&self, reach: Reach) {
        *self.elsewhere.lock().unwrap_or_else(PoisonError::into_inner) = Some(reach);
    }

    /// What one of Kafka's producers does.
    pub fn produce(&self, at: &Address, value: Option<&'static [u8]>) {
        let mut held = self.held();
        let end = Token::new(0, held.next);
        held.streams.entry(key(at)).or_insert_with(|| Stream::new(Life::implied("text/plain"), end));
        held.put(at, vec![value.map(Bytes::from_static)]);
        self.tell();
    }

    /// What one of them does in a transaction that is aborted: it takes a place, and nobody ever sees it.
    pub fn abort(&self, at: &Address) {
        let mut held = self.held();
        held.next += 1;
        let next = held.next;
        if let Some(stream) = held.streams.get_mut(&key(at)) {
            stream.end = Token::new(stream.life.generation(), next);
        }
        drop(held);
        self.tell();
    }

    /// Wakes all that wait or listen.
    fn tell(&self) {
        self.news.send_replace(());
        let bells = self.bells.lock().unwrap_or_else(PoisonError::into_inner);
        bells.iter().for_each(|(_, bell)| bell.ring(false));
    }

    /// How many bells hang at a stream.
    pub fn listeners(&self, at: &Address) -> usize {
        let bells = self.bells.lock().unwrap_or_else(PoisonError::into_inner);
        bells.iter().filter(|(hung, _)| *hung == key(at)).count()
    }

    /// What nobody may be told of any more, for now: as where the leader moves.
    pub fn silence(&self) {
        let bells = std::mem::take(&mut *self.bells.lock().unwrap_or_else(PoisonError::into_inner));
        bells.iter().for_each(|(_, bell)| bell.ring(true));
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn do_create(&self, at: &Address, new: NewStream) -> Result<(bool, Standing), Denied> {
        let (mut held, now) = (self.held(), self.clock.wall());
        let mut fork = None;
        if let Some((source, given, sub_offset)) = &new.fork {
            let found = held.streams.get(&key(source)).filter(|stream| !is_gone(stream, now));
            let found = found.ok_or(Denied::Refused(Refusal::NotFound, None))?;
            let begin = given.unwrap_or(found.end);
            if begin > found.end {
                return Err(Denied::ForkOffset("the source ends before it".to_owned()));
            }
            let generation = found.life.generation() + 1;
            let origin = Origin { path: source.path(), at: begin.0, sub_offset: *sub_offset, generation };
            fork = Some(Fork { origin, is_given: given.is_some(), source: found.life.clone() });
        }
        let known = held.streams.get(&key(at)).map(|stream| stream.life.clone());
        let request = Create {
            content_type: new.content_type,
            lifetime: new.lifetime,
            is_closed: new.is_closed,
            fork: fork.clone(),
        };
        let refused = |refusal| Denied::Refused(refusal, None);
        let life = match mailbox::create(known.as_ref(), now, &request).map_err(refused)? {
            Created::Exists => return held.standing(at).map(|standing| (false, standing)),
            Created::New(life) => *life,
        };
        let mut first = values(&life, &new.body)?;
        let mut end = Token::new(life.generation(), held.next);
        if let (Some(fork), Some((source, ..))) = (&fork, &new.fork) {
            let kept = held.inherited(source, Token(fork.origin.at), fork.origin.sub_offset)?;
            let retained =
                mailbox::retain(held.streams.get(&key(source)).map(|stream| &stream.life), now, fork_id(at));
            if let Some(life) = retained.map_err(refused)?
                && let Some(stream) = held.streams.get_mut(&key(source))
            {
                stream.life = life;
            }
            if kept.is_empty() && first.is_empty() {
                // It ends where it begins.
                end = Token(fork.origin.at);
            }
            first = [kept, first].concat();
        }
        held.streams.insert(key(at), Stream::new(life, end));
        held.put(at, first.into_iter().map(Some).collect());
        drop(held);
        self.tell();
        self.held().standing(at).map(|standing| (true, standing))
    }

    fn do_append(&self, at: &Address, new: NewRecords) -> Result<Taken, Denied> {
        let (mut held, now) = (self.held(), self.clock.wall());
        let known = held.streams.get(&key(at)).cloned();
        let end = known.as_ref().map(|stream| stream.end);
        let producer =
            known.as_ref().zip(new.sent.as_ref()).and_then(|(known, sent)| known.producers.get(&sent.id));
        let request = Append {
            content_type: new.content_type.as_deref(),
            has_body: !new.body.is_empty(),
            seq: new.seq.as_deref(),
            closes: new.closes,
            sent: new.sent.as_ref(),
            expected: new.expected.zip(end).map(|(expected, end)| (expected.0.offset, end.0.offset)),
        };
        let life = known.as_ref().map(|stream| &stream.life);
        let appended = mailbox::append(life, producer, now, &request)
            .map_err(|refusal| Denied::Refused(refusal, end))?;
        let (life, producer) = match appended {
            Appended::Again { seq, .. } => {
                let mut standing = held.standing(at)?;
                let taken = new.sent.as_ref().filter(|sent| sent.is_once()).zip(known);
                if let Some(end) = taken.and_then(|(sent, known)| known.ends.get(&sent.id).copied()) {
                    standing.end = end;
                }
                return Ok(Taken { is_new: false, seq, standing });
            }
            Appended::New { life, producer } => (life, producer),
        };
        let values = match (&known, new.body.is_empty()) {
            (Some(known), false) => values(&known.life, &new.body)?,
            _ => Vec::new(),
        };
        if values.is_empty() && !new.body.is_empty() {
            return Err(Denied::NotJson("an empty array has nothing to append".to_owned()));
        }
        held.put(at, values.into_iter().map(Some).collect());
        if let Some(stream) = held.streams.get_mut(&key(at)) {
            stream.life = life.map_or_else(|| stream.life.clone(), |life| *life);
            stream.life.used_ms = now;
            if let Some(producer) = producer {
                stream.ends.insert(producer.sent.id.clone(), stream.end);
                stream.producers.insert(producer.sent.id.clone(), producer);
            }
        }
        self.tell();
        let standing = held.standing(at)?;
        Ok(Taken { is_new: true, seq: new.sent.map(|sent| sent.seq), standing })
    }

    fn do_delete(&self, at: &Address) -> Result<(), Denied> {
        let (mut held, now) = (self.held(), self.clock.wall());
        let life = held.streams.get(&key(at)).map(|stream| &stream.life);
        let refused = |refusal| Denied::Refused(refusal, None);
        match mailbox::delete(life, now).map_err(refused)? {
            Some(life) => {
                if let Some(stream) = held.streams.get_mut(&key(at)) {
                    stream.life = life;
                }
            }
            None => held.remove(at, now),
        }
        self.tell();
        Ok(())
    }

    fn do_read(&self, at: &Address, from: From, bytes_max: usize) -> Result<Chunk, Denied> {
        let (mut held, now) = (self.held(), self.clock.wall());
        held.check(at, now)?;
        if let Some(stream) = held.streams.get_mut(&key(at)) {
            stream.life.used_ms = now;
        }
        let standing = held.standing(at)?;
        let begin = match from {
            From::Begin => Token::BEGIN,
            From::End => standing.end,
            From::At(token) => token,
        };
        let all = held.records(at, begin);
        let (mut bytes, mut records) = (0, Vec::new());
        let count = all.len();
        for (token, value) in all {
            bytes += value.as_ref().map_or(0, Bytes::len);
            if bytes > bytes_max && !records.is_empty() {
                break;
            }
            records.push((token, value));
        }
        let is_up_to_date = records.len() == count;
        let next = match records.last() {
            _ if is_up_to_date => standing.end.max(begin),
            Some((token, _)) => *token,
            None => begin,
        };
        Ok(Chunk { records, next, is_up_to_date, standing })
    }
}

fn is_gone(stream: &Stream, now: i64) -> bool {
    stream.life.is_expired(now) && stream.life.forks.is_empty()
}

fn values(life: &Life, body: &Bytes) -> Result<Vec<Bytes>, Denied> {
    if body.is_empty() {
        return Ok(Vec::new());
    }
    match mailbox::media_type(&life.content_type) == "application/json" {
        true => json::split(body).map_err(|error| Denied::NotJson(error.to_string())),
        false => Ok(vec![body.clone()]),
    }
}

impl Stream {
    fn new(life: Life, end: Token) -> Self {
        Self { life, producers: BTreeMap::new(), ends: BTreeMap::new(), records: Vec::new(), end }
    }
}

impl Held {
    fn put(&mut self, at: &Address, values: Vec<Option<Bytes>>) {
        for value in values {
            let offset = self.next;
            self.next += 1;
            if let Some(stream) = self.streams.get_mut(&key(at)) {
                stream.records.push((offset, value));
                stream.end = Token::new(stream.life.generation(), offset + 1);
            }
        }
    }

    fn check(&self, at: &Address, now: i64) -> Result<(), Denied> {
        let refused = |refusal| Err(Denied::Refused(refusal, None));
        match self.streams.get(&key(at)).map(|stream| &stream.life) {
            None => refused(Refusal::NotFound),
            Some(life) if life.is_deleted => refused(Refusal::Deleted),
            Some(life) if !life.is_expired(now) => Ok(()),
            Some(life) if life.forks.is_empty() => refused(Refusal::NotFound),
            Some(_) => refused(Refusal::Deleted),
        }
    }

    fn standing(&self, at: &Address) -> Result<Standing, Denied> {
        let stream = self.streams.get(&key(at)).ok_or(Denied::Refused(Refusal::NotFound, None))?;
        Ok(Standing { life: stream.life.clone(), end: stream.end })
    }

    fn source(&self, stream: &Stream) -> Option<(Address, Place)> {
        let origin = stream.life.origin.as_ref()?;
        Some((Address::from_path(&origin.path)?, origin.at))
    }

    /// The records from a token on, with the token behind each, those that were inherited first.
    fn records(&self, at: &Address, begin: Token) -> Vec<(Token, Option<Bytes>)> {
        let Some(stream) = self.streams.get(&key(at)) else { return Vec::new() };
        let mut all = match self.source(stream) {
            Some((source, until)) => {
                let inherited = self.records(&source, begin);
                inherited.into_iter().filter(|(token, _)| token.0 <= until).collect()
            }
            None => Vec::new(),
        };
        let generation = stream.life.generation();
        let own = stream.records.iter().filter(|(offset, _)| Token::new(generation, *offset) >= begin);
        all.extend(own.map(|(offset, value)| (Token::new(generation, offset + 1), value.clone())));
        all
    }

    /// What a fork has of its source behind where it begins: so many messages, or so many bytes.
    fn inherited(&self, source: &Address, begin: Token, count: u64) -> Result<Vec<Bytes>, Denied> {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let values: Vec<Bytes> =
            self.records(source, begin).into_iter().filter_map(|(_, value)| value).collect();
        let is_json = self
            .streams
            .get(&key(source))
            .is_some_and(|stream| mailbox::media_type(&stream.life.content_type) == "application/json");
        let short = || Denied::ForkOffset("the source has less behind the offset".to_owned());
        if count == 0 {
            return Ok(Vec::new());
        }
        match is_json {
            true => Ok(values.get(..count).ok_or_else(short)?.to_vec()),
            false => {
                let bytes = values.concat();
                Ok(vec![Bytes::copy_from_slice(bytes.get(..count).ok_or_else(short)?)])
            }
        }
    }

    fn latest(&self, at: &Address, now: i64) -> Option<Latest> {
        self.check(at, now).ok()?;
        let (Token(mut place), value) = self.records(at, Token::BEGIN).pop()?;
        place.offset -= 1;
        let content_type = self.streams.get(&key(at))?.life.content_type.clone();
        Some(Latest { at: Token(place), value: value?, content_type })
    }

    fn remove(&mut self, at: &Address, now: i64) {
        let Some(stream) = self.streams.remove(&key(at)) else { return };
        let Some((source, _)) = self.source(&stream) else { return };
        let Some(parent) = self.streams.get_mut(&key(&source)) else { return };
        match mailbox::release(&parent.life, now, &fork_id(at)) {
            Some(life) => parent.life = life,
            None => self.remove(&source, now),
        }
    }
}

impl Mailboxes for Memory {
    fn elsewhere(&self, _: &Address) -> Option<Reach> {
        self.elsewhere.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn body_bytes_max(&self, topic: &TopicName) -> Option<usize> {
        (**topic != *"unknown").then_some(1 << 20)
    }

    fn nodes(&self) -> Vec<String> {
        Vec::new()
    }

    fn create<'a>(
        &'a self,
        at: &'a Address,
        new: NewStream,
    ) -> BoxFuture<'a, Result<(bool, Standing), Denied>> {
        Box::pin(async move { self.do_create(at, new) })
    }

    fn append<'a>(&'a self, at: &'a Address, new: NewRecords) -> BoxFuture<'a, Result<Taken, Denied>> {
        Box::pin(async move { self.do_append(at, new) })
    }

    fn delete<'a>(&'a self, at: &'a Address, _: &'a Author) -> BoxFuture<'a, Result<(), Denied>> {
        Box::pin(async move { self.do_delete(at) })
    }

    fn look<'a>(&'a self, at: &'a Address) -> BoxFuture<'a, Result<Standing, Denied>> {
        Box::pin(async move {
            let held = self.held();
            held.check(at, self.clock.wall())?;
            held.standing(at)
        })
    }

    fn read<'a>(
        &'a self,
        at: &'a Address,
        from: From,
        bytes_max: usize,
    ) -> BoxFuture<'a, Result<Chunk, Denied>> {
        Box::pin(async move { self.do_read(at, from, bytes_max) })
    }

    fn latest<'a>(&'a self, at: &'a Address) -> BoxFuture<'a, Result<Option<Latest>, Denied>> {
        Box::pin(async move { Ok(self.held().latest(at, self.clock.wall())) })
    }

    fn latest_changed<'a>(&'a self, at: &'a Address, seen: Option<Token>) -> BoxFuture<'a, ()> {
        let mut news = self.news.subscribe();
        Box::pin(async move {
            loop {
                news.borrow_and_update();
                let latest = self.held().latest(at, self.clock.wall()).map(|latest| latest.at);
                if latest != seen || news.changed().await.is_err() {
                    return;
                }
            }
        })
    }

    fn changed<'a>(&'a self, at: &'a Address, seen: Token) -> BoxFuture<'a, ()> {
        let mut news = self.news.subscribe();
        Box::pin(async move {
            loop {
                news.borrow_and_update();
                let standing = self.held().standing(at);
                let is_same =
                    standing.is_ok_and(|s| s.end <= seen && !s.life.is_closed && !s.life.is_deleted);
                if !is_same || news.changed().await.is_err() {
                    return;
                }
            }
        })
    }

    fn listen<'a>(&'a self, at: &'a Address, seen: Token, bell: Bell) -> BoxFuture<'a, Option<Hook>> {
        let hook = Hung { bells: self.bells.clone(), bell: bell.clone() };
        self.bells.lock().unwrap_or_else(PoisonError::into_inner).push((key(at), bell.clone()));
        let standing = self.held().standing(at);
        if standing.is_err() || standing.is_ok_and(|s| s.end > seen || s.life.is_closed || s.life.is_deleted)
        {
            bell.ring(false);
        }
        Box::pin(std::future::ready(Some(Box::new(hook) as Hook)))
    }
}

/// A bell that hangs at a stream.
struct Hung {
    bells: Arc<Mutex<Vec<(Sorted, Bell)>>>,
    bell: Bell,
}

impl Drop for Hung {
    fn drop(&mut self) {
        let mut bells = self.bells.lock().unwrap_or_else(PoisonError::into_inner);
        bells.retain(|(_, bell)| !bell.is(&self.bell));
    }
}

//! One subscription: where it is in its streams, what it may still send, and how it goes on where a leader has moved or another node has
//! ended its answer.
//!
//! It decides when something is read. What is told of it `told` says.

use super::{MESSAGE_BYTES_MAX, credit::Credit, told};
use crate::{
    Service,
    mailboxes::Denied,
    many::{Event, Many},
};
use env::BoxFuture;
use std::{
    collections::BTreeSet,
    future::ready,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tokio::sync::Notify;

/// How long it waits before it goes on, first, and at most.
const WAIT_MS: i64 = 100;
const WAIT_MS_MAX: i64 = 5_000;

/// See the head of the file.
pub(super) struct Subscription<H> {
    pub(super) credit: Credit,
    count: usize,
    /// Streams of which it was told that nothing will follow.
    over: BTreeSet<usize>,
    line: Line<H>,
    /// How often in a row it could not go on.
    tries: u32,
    recalled: Arc<Notify>,
}

/// What has come; none: it is recalled.
type Read = (Box<Many>, Option<Result<Event, Denied>>);

enum Line<H> {
    Idle(Box<Many>, H),
    Reading(BoxFuture<'static, Read>, H),
    /// It is asked for again when this ends.
    Lost(String, BoxFuture<'static, ()>),
    /// Its streams are being found again.
    Asked(String),
}

/// What has happened.
pub(super) enum Heard {
    Event(Event),
    /// It is to be asked for again.
    Lost,
}

impl<H: Send + 'static> Subscription<H> {
    pub(super) fn new(credit: Credit, many: Box<Many>, held: H) -> Self {
        let (count, recalled) = (many.count(), Arc::new(Notify::new()));
        Self { credit, count, over: BTreeSet::new(), line: Line::Idle(many, held), tries: 0, recalled }
    }

    /// How many streams it has.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Whether nothing will ever follow.
    pub(super) fn is_over(&self) -> bool {
        matches!(&self.line, Line::Idle(many, _) if many.is_over())
    }

    /// What happens next. Nothing is read for which there is no credit.
    pub(super) fn poll(&mut self, service: &Service, context: &mut Context<'_>) -> Poll<Heard> {
        loop {
            match &mut self.line {
                Line::Idle(..) if !self.credit.is_left() => return Poll::Pending,
                Line::Idle(..) => self.read(service),
                Line::Reading(reading, _) => {
                    let (many, read) = ready!(reading.as_mut().poll(context));
                    match read {
                        Some(Ok(event)) => {
                            self.tries = 0;
                            self.rest(many);
                            return Poll::Ready(Heard::Event(event));
                        }
                        Some(Err(_)) => self.lose(&many, service),
                        None => self.line = Line::Lost(many.list(), Box::pin(ready(()))),
                    }
                }
                Line::Lost(_, wait) => {
                    ready!(wait.as_mut().poll(context));
                    return Poll::Ready(Heard::Lost);
                }
                Line::Asked(_) => return Poll::Pending,
            }
        }
    }

    /// What is sent of an event, if anything is.
    pub(super) fn tell(&mut self, id: u64, event: Event) -> Option<String> {
        let Line::Idle(many, _) = &mut self.line else { return None };
        match event {
            Event::Records(items) => {
                let (mut records, mut items) = (told::Records::new(id), items.into_iter());
                while self.credit.is_left()
                    && records.bytes() < MESSAGE_BYTES_MAX
                    && let Some(item) = items.next()
                {
                    many.pass(&item);
                    self.credit.take(records.push(many, &item));
                }
                many.give_back(items.collect());
                records.end(&many.positions())
            }
            Event::Over(stream) => self.over.insert(stream).then(|| told::end(id, many, stream)),
            Event::Gone(stream, earliest) => {
                many.put(stream, earliest);
                Some(told::gone(id, many, stream))
            }
            Event::Here => Some(told::here(id, &many.positions())),
        }
    }

    /// Its streams are asked for anew.
    pub(super) fn recall(&mut self) {
        match &self.line {
            Line::Idle(many, _) => self.line = Line::Lost(many.list(), Box::pin(ready(()))),
            Line::Reading(..) => self.recalled.notify_one(),
            Line::Lost(..) | Line::Asked(_) => {}
        }
    }

    /// What is to be asked for, each stream from its place on.
    pub(super) fn ask_again(&mut self) -> Option<String> {
        let Line::Lost(list, _) = &mut self.line else { return None };
        let list = std::mem::take(list);
        self.line = Line::Asked(list.clone());
        Some(list)
    }

    /// They were found.
    pub(super) fn go_on(&mut self, many: Box<Many>, held: H) {
        self.line = Line::Idle(many, held);
    }

    /// They were not found, and are asked for a little later.
    pub(super) fn wait(&mut self, service: &Service) {
        let Line::Asked(list) = &mut self.line else { return };
        let list = std::mem::take(list);
        self.line = Line::Lost(list, self.later(service));
        self.tries = self.tries.saturating_add(1);
    }

    fn read(&mut self, service: &Service) {
        let nothing = Line::Asked(String::new());
        let (mut many, held) = match std::mem::replace(&mut self.line, nothing) {
            Line::Idle(many, held) => (many, held),
            other => {
                self.line = other;
                return;
            }
        };
        let bytes_max = self.credit.read_bytes(service.bytes_max.min(MESSAGE_BYTES_MAX));
        let (service, recalled) = (service.clone(), self.recalled.clone());
        let reading = async move {
            let read = tokio::select! {
                biased;
                () = recalled.notified() => None,
                event = many.next(&service, bytes_max) => Some(event),
            };
            (many, read)
        };
        self.line = Line::Reading(Box::pin(reading), held);
    }

    /// Nothing is read for now.
    fn rest(&mut self, many: Box<Many>) {
        let nothing = Line::Asked(String::new());
        if let Line::Reading(_, held) = std::mem::replace(&mut self.line, nothing) {
            self.line = Line::Idle(many, held);
        }
    }

    fn lose(&mut self, many: &Many, service: &Service) {
        self.line = Line::Lost(many.list(), self.later(service));
        self.tries = self.tries.saturating_add(1);
    }

    /// Others have lost theirs at the same moment: by chance it is up to twice as long.
    fn later(&self, service: &Service) -> BoxFuture<'static, ()> {
        let least = WAIT_MS.saturating_mul(1 << self.tries.min(6)).min(WAIT_MS_MAX);
        let jitter =
            i64::try_from(service.random.next_u64() % u64::try_from(least).unwrap_or(1)).unwrap_or(0);
        service.clock.sleep_until(service.clock.after_millis(least + jitter))
    }
}

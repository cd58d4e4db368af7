//! One connection on which many streams are followed and records are published: what its messages ask for, and what it is told.
//!
//! It opens no socket and does no work itself: whoever holds the connection hands messages over, does the [`Work`] that comes of them, one
//! after the other, and sends what [`Socket::next`] says. A client that grants nothing, or takes nothing, is a place in each stream.

use crate::{
    Service,
    bearer::Bearer,
    caller::Caller,
    many::{Event, Many},
    positions::STREAMS_MAX,
    problem::Problem,
};
use bytes::Bytes;
use command::Command;
use credit::Credit;
use http::{Request, Response, StatusCode};
use std::{
    collections::{BTreeMap, VecDeque},
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
};
use subscription::{Heard, Subscription};

mod command;
mod credit;
mod subscription;
mod told;

/// The longest message of a client. One of the server has more only where one record has.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// Subscriptions of one connection; their streams are counted besides.
const SUBSCRIPTIONS_MAX: usize = 64;
/// What a client has asked for and was not begun: with so much of it no more is read.
const WAITING_MAX: usize = 32;
const WAITING_BYTES_MAX: usize = MESSAGE_BYTES_MAX;

/// See the head of the file. `H` is what each subscription holds for as long as it lasts.
pub struct Socket<H> {
    service: Service,
    entrant: Entrant,
    subscriptions: BTreeMap<u64, Subscription<H>>,
    waiting: VecDeque<(u64, Command)>,
    waiting_bytes: VecDeque<usize>,
    again: VecDeque<u64>,
    running: Option<Running>,
    /// The subscription that was told of last.
    turn: u64,
}

/// Who is at the other end.
#[derive(Clone, Default)]
pub struct Entrant {
    /// Whom the token says; none where nobody is asked for one.
    pub caller: Option<Arc<Caller>>,
    /// The token.
    pub bearer: Option<Bearer>,
}

/// What comes next of what was asked for.
pub enum Job {
    /// This is sent.
    Say(String),
    /// This is done, and [`Socket::finish`] told of it, before there is another.
    Do(Box<Work>),
}

/// What is to be done for a client, as its own requests would be.
pub enum Work {
    /// Records are appended.
    Publish(Request<Bytes>),
    /// Streams are found.
    Subscribe(Request<Bytes>),
    /// A token is verified.
    Verify(String),
}

/// What has become of it.
pub enum Outcome<H> {
    /// It was answered.
    Answered(Response<Bytes>),
    /// The streams can be followed.
    Follows(Box<Many>, H),
    /// The token is good.
    Verified(Entrant),
    /// It was refused.
    Refused(Problem),
}

/// What is being done.
enum Running {
    Publish {
        id: u64,
        has_producer: bool,
    },
    Subscribe {
        id: u64,
        credit: Credit,
    },
    /// A subscription goes on after it could not.
    Again {
        id: u64,
    },
    Verify {
        id: u64,
    },
}

impl<H: Send + 'static> Socket<H> {
    /// Nothing is followed yet.
    pub fn new(service: Service, entrant: Entrant) -> Self {
        let (subscriptions, waiting) = (BTreeMap::new(), VecDeque::new());
        let (waiting_bytes, again) = (VecDeque::new(), VecDeque::new());
        Self { service, entrant, subscriptions, waiting, waiting_bytes, again, running: None, turn: 0 }
    }

    /// From when on the client may nothing any more, in milliseconds since 1970.
    pub fn until_ms(&self) -> Option<i64> {
        self.entrant.caller.as_ref().map(|caller| caller.until_ms)
    }

    /// Whether so much waits that nothing more is read.
    pub fn is_full(&self) -> bool {
        self.waiting.len() >= WAITING_MAX || self.waiting_bytes.iter().sum::<usize>() >= WAITING_BYTES_MAX
    }

    /// A message of the client; `refused`: it is not listened to. What it is told at once.
    pub fn on_text(&mut self, text: &str, refused: Option<Problem>) -> Option<String> {
        let (id, command) = command::read(text);
        let command = match refused {
            Some(problem) => Err(problem),
            None => command,
        };
        let (id, command) = match (id, command) {
            (id, Err(problem)) => return Some(told::problem(id, &problem)),
            (id, Ok(Command::Ping)) => return Some(told::pong(id)),
            (id, Ok(command)) => (id.unwrap_or_default(), command),
        };
        // They must not wait for what the leader of another stream is late with.
        let is_at_once = self.subscriptions.contains_key(&id);
        match command {
            Command::Credit(more) if is_at_once => self.grant(id, more),
            Command::Unsubscribe if is_at_once => Some(self.unsubscribe(id)),
            command => {
                self.waiting.push_back((id, command));
                self.waiting_bytes.push_back(text.len());
                None
            }
        }
    }

    /// What is to be done next, if nothing is being done.
    pub fn next_job(&mut self) -> Option<Job> {
        if self.running.is_some() {
            return None;
        }
        while let Some(id) = self.again.pop_front() {
            let list = self.subscriptions.get_mut(&id).and_then(Subscription::ask_again);
            match list.map(|list| command::subscription(&list, None)) {
                None => {}
                Some(Ok(request)) => {
                    self.running = Some(Running::Again { id });
                    return Some(Job::Do(Box::new(Work::Subscribe(self.in_the_name_of(request)))));
                }
                Some(Err(problem)) => {
                    self.subscriptions.remove(&id);
                    return Some(Job::Say(told::problem(Some(id), &problem)));
                }
            }
        }
        loop {
            let (id, command) = self.waiting.pop_front()?;
            self.waiting_bytes.pop_front();
            let (running, work) = match command {
                Command::Publish { request, has_producer } => {
                    (Running::Publish { id, has_producer }, Work::Publish(self.in_the_name_of(request)))
                }
                Command::Subscribe { request, credit } => match self.check_room(id) {
                    Ok(()) => {
                        let work = Work::Subscribe(self.in_the_name_of(request));
                        (Running::Subscribe { id, credit }, work)
                    }
                    Err(problem) => return Some(Job::Say(told::problem(Some(id), &problem))),
                },
                Command::Token(token) => (Running::Verify { id }, Work::Verify(token)),
                Command::Credit(more) => match self.grant(id, more) {
                    Some(text) => return Some(Job::Say(text)),
                    None => continue,
                },
                Command::Unsubscribe => return Some(Job::Say(self.unsubscribe(id))),
                Command::Ping => return Some(Job::Say(told::pong(Some(id)))),
            };
            self.running = Some(running);
            return Some(Job::Do(Box::new(work)));
        }
    }

    /// What is sent of what has become of the work that was given last.
    pub fn finish(&mut self, outcome: Outcome<H>) -> Option<String> {
        let running = self.running.take()?;
        let (id, told) = match (running, outcome) {
            (Running::Publish { id, has_producer }, Outcome::Answered(response)) => {
                return Some(told::published(id, has_producer, &response));
            }
            (Running::Subscribe { id, credit }, Outcome::Follows(many, held)) => {
                (id, self.begin(id, credit, many, held))
            }
            (Running::Again { id }, Outcome::Follows(many, held)) => {
                if let Some(subscription) = self.subscriptions.get_mut(&id) {
                    subscription.go_on(many, held);
                }
                return None;
            }
            (Running::Again { id }, outcome) => {
                let response = match outcome {
                    Outcome::Answered(response) => response,
                    Outcome::Refused(problem) => problem.response().map(Bytes::from),
                    Outcome::Follows(..) | Outcome::Verified(_) => return None,
                };
                let is_passing = [StatusCode::SERVICE_UNAVAILABLE, StatusCode::TOO_MANY_REQUESTS];
                if is_passing.contains(&response.status()) {
                    let subscription = self.subscriptions.get_mut(&id)?;
                    subscription.wait(&self.service);
                    return None;
                }
                self.subscriptions.remove(&id)?;
                return Some(told::refused(Some(id), &response));
            }
            (Running::Verify { id }, Outcome::Verified(entrant)) => (id, self.renew(id, entrant)),
            (
                Running::Publish { id, .. } | Running::Subscribe { id, .. } | Running::Verify { id },
                outcome,
            ) => match outcome {
                Outcome::Answered(response) => return Some(told::refused(Some(id), &response)),
                Outcome::Refused(problem) => (id, Err(problem)),
                Outcome::Follows(..) | Outcome::Verified(_) => return None,
            },
        };
        Some(told.unwrap_or_else(|problem| told::problem(Some(id), &problem)))
    }

    /// What is sent next of what is followed; `None`: there is something to be done. It may be dropped while it waits, and loses nothing.
    pub async fn next(&mut self) -> Option<String> {
        poll_fn(|context| self.poll(context)).await
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<String>> {
        let turn = self.turn;
        let (before, behind): (Vec<u64>, Vec<u64>) = self.subscriptions.keys().partition(|id| **id <= turn);
        for id in behind.into_iter().chain(before) {
            let Some(subscription) = self.subscriptions.get_mut(&id) else { continue };
            loop {
                match subscription.poll(&self.service, context) {
                    Poll::Pending => break,
                    Poll::Ready(Heard::Lost) => {
                        self.again.push_back(id);
                        return Poll::Ready(None);
                    }
                    Poll::Ready(Heard::Event(event)) => {
                        self.turn = id;
                        let is_last = matches!(event, Event::Over(_)) && subscription.is_over();
                        let text = subscription.tell(id, event);
                        if is_last {
                            self.subscriptions.remove(&id);
                            // That its last stream is over may have been told before.
                            return Poll::Ready(text.or_else(|| Some(told::unsubscribed(id))));
                        }
                        if text.is_some() {
                            return Poll::Ready(text);
                        }
                    }
                }
            }
        }
        Poll::Pending
    }

    /// The same request, of whoever is at the other end.
    fn in_the_name_of(&self, mut request: Request<Bytes>) -> Request<Bytes> {
        let Entrant { caller, bearer } = self.entrant.clone();
        if let Some(Bearer(token)) = &bearer
            && let Ok(value) = http::HeaderValue::from_str(&format!("Bearer {token}"))
        {
            request.headers_mut().insert(http::header::AUTHORIZATION, value);
        }
        bearer.into_iter().for_each(|bearer| drop(request.extensions_mut().insert(bearer)));
        caller.into_iter().for_each(|caller| drop(request.extensions_mut().insert(caller)));
        request
    }

    fn check_room(&self, id: u64) -> Result<(), Problem> {
        if self.subscriptions.contains_key(&id) {
            let text = "there is a subscription with this id; end it first, or take another id";
            return Err(Problem::new(StatusCode::CONFLICT, "id-in-use", text));
        }
        match self.subscriptions.len() >= SUBSCRIPTIONS_MAX {
            true => {
                let text = format!(
                    "a connection has at most {SUBSCRIPTIONS_MAX} subscriptions; put more streams into one"
                );
                Err(Problem::malformed("streams", text))
            }
            false => Ok(()),
        }
    }

    fn begin(&mut self, id: u64, credit: Credit, many: Box<Many>, held: H) -> Result<String, Problem> {
        let all: usize = self.subscriptions.values().map(Subscription::count).sum();
        if all + many.count() > STREAMS_MAX {
            let text = format!("with these a connection would follow more than {STREAMS_MAX} streams");
            return Err(Problem::malformed("streams", text));
        }
        let told = told::subscribed(id, &many.positions());
        self.subscriptions.insert(id, Subscription::new(credit, many, held));
        Ok(told)
    }

    fn grant(&mut self, id: u64, more: Credit) -> Option<String> {
        match self.subscriptions.get_mut(&id) {
            Some(subscription) => {
                subscription.credit.grant(more);
                None
            }
            None => Some(told::problem(Some(id), &no_subscription())),
        }
    }

    fn unsubscribe(&mut self, id: u64) -> String {
        match self.subscriptions.remove(&id) {
            Some(_) => told::unsubscribed(id),
            None => told::problem(Some(id), &no_subscription()),
        }
    }

    /// Another token of the same subject. What is followed is asked for again with it: it may allow less.
    fn renew(&mut self, id: u64, entrant: Entrant) -> Result<String, Problem> {
        let who = |entrant: &Entrant| {
            entrant.caller.as_ref().map(|caller| (caller.subject.clone(), caller.issuer.clone()))
        };
        if self.entrant.caller.is_some() && who(&self.entrant) != who(&entrant) {
            let text = "the token is of another subject or issuer; open a connection of its own with it";
            return Err(Problem::new(StatusCode::FORBIDDEN, "other-subject", text));
        }
        self.entrant = entrant;
        self.subscriptions.values_mut().for_each(Subscription::recall);
        Ok(told::renewed(id, self.until_ms()))
    }
}

fn no_subscription() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "no-subscription", "there is no subscription with this id")
}

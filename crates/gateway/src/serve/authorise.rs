//! What a request wants to do with what, and whether its caller may. Every way to a stream is looked at here, before anything is looked up.
//!
//! A request without a caller is one of a server that asks nobody for a token.

use super::{Service, source, unknown_method};
use crate::{
    bearer::Bearer,
    caller::{Allowed, Author, Caller, Verb},
    mailboxes::{Address, Denied},
    many::{Asker, Source},
    problem::Problem,
    request::{Path, Route, Subscription, Wish},
};
use http::{Method, Request, StatusCode};
use model::{TopicName, TopicPartition};
use std::sync::Arc;

impl Service {
    /// What the caller of a request may do, whom whoever received it has put into its extensions. `None`: anything.
    pub fn authorise<T>(&self, request: &Request<T>) -> Result<Option<Allowed>, Problem> {
        let Some(caller) = caller(request) else { return Ok(None) };
        // It tells what any page may know.
        if *request.method() == Method::OPTIONS {
            return Ok(None);
        }
        caller.check_time(self.clock.wall())?;
        let path = match Route::parse(request.uri().path())? {
            Route::Stream(path) => path,
            Route::Latest(Address { topic, key }) => {
                return caller.allow(Verb::Read, &topic, Some(&key)).map(Some);
            }
            // Who may ask may hear the answer.
            Route::Call(Address { topic, key }) => {
                return caller.allow(Verb::Append, &topic, Some(&key)).map(Some);
            }
            // Its streams are known when the body is there, and the keys of events are.
            Route::Subscribe | Route::Socket => return Ok(None),
            Route::Events(topic) => return caller.allow_some_key(Verb::Append, &topic).map(Some),
        };
        let verb = match *request.method() {
            Method::GET | Method::HEAD => Verb::Read,
            Method::POST => Verb::Append,
            Method::PUT => Verb::Create,
            Method::DELETE => Verb::Delete,
            _ => return Err(unknown_method()),
        };
        match path {
            Path::Key(topic, key) => caller.allow(verb, &topic, Some(&key)),
            Path::Topic(topic) | Path::Partition(topic, _) | Path::Control(topic, _) => {
                caller.allow(verb, &topic, None)
            }
        }
        .map(Some)
    }

    /// The same for one of the events that a request has, of this key and so many bytes with all it says. How often is counted before the keys are
    /// known: an event that is counted otherwise is not taken so.
    pub(super) fn authorise_event<T>(
        &self,
        request: &Request<T>,
        topic: &TopicName,
        (key, bytes): (Option<&[u8]>, usize),
    ) -> Result<(), Problem> {
        let Some(caller) = caller(request) else { return Ok(()) };
        let allowed = caller.allow(Verb::Append, topic, key)?;
        let counted = self.authorise(request)?;
        if counted.is_none_or(|counted| counted.rate != allowed.rate) {
            return Err(rate_of_its_own("append to /s/{topic}/{key}"));
        }
        match allowed.bytes_max {
            Some(max) if bytes > max => Err(super::problem(Denied::TooLarge(max))),
            _ => Ok(()),
        }
    }

    /// The same for the streams of a subscription.
    pub(super) fn authorise_streams<T>(
        &self,
        request: &Request<T>,
        Subscription(wishes): &Subscription,
    ) -> Result<(), Problem> {
        let Some(caller) = caller(request) else { return Ok(()) };
        for (wish, _) in wishes {
            let allowed = match wish {
                Wish::One(Source::Key(at)) => caller.allow(Verb::Read, &at.topic, Some(&at.key))?,
                Wish::One(Source::Partition(TopicPartition { topic, .. })) | Wish::Topic(topic) => {
                    caller.allow(Verb::Read, topic, None)?
                }
            };
            if allowed.rate.is_some() {
                return Err(rate_of_its_own("follow the stream alone, by /s/{topic}/{key}"));
            }
        }
        Ok(())
    }

    /// The same when the body is there: that takes time, and it may be larger than was told.
    pub(super) fn authorise_whole<T: AsRef<[u8]>>(&self, request: &Request<T>) -> Result<(), Problem> {
        let allowed = self.authorise(request)?;
        match allowed.and_then(|allowed| allowed.bytes_max) {
            Some(max) if request.body().as_ref().len() > max => Err(super::problem(Denied::TooLarge(max))),
            _ => Ok(()),
        }
    }
}

/// The stream that a fork's header names, if its caller may read it.
pub(super) fn source_of<T>(request: &Request<T>, at: &Address, path: &str) -> Result<Address, Problem> {
    let source = source(at, path)?;
    if let Some(caller) = caller(request) {
        let allowed = caller.allow(Verb::Read, &source.topic, Some(&source.key))?;
        if allowed.rate.is_some() {
            return Err(rate_of_its_own("read the source by /s/{topic}/{key}"));
        }
    }
    Ok(source)
}

/// What is asked of other nodes is asked in the name of the caller, who is verified there, too.
pub(super) fn asker<T>(request: &Request<T>) -> Asker {
    Asker {
        is_forwarded: request.headers().contains_key(super::FORWARDED),
        bearer: request.extensions().get::<Bearer>().cloned(),
        until_ms: caller(request).map(|caller| caller.until_ms),
    }
}

fn rate_of_its_own(instead: &str) -> Problem {
    let text =
        format!("the grant that allows this has a rate, which counts requests of one stream: {instead}");
    Problem::new(StatusCode::FORBIDDEN, "not-granted", text)
}

pub(super) fn caller<T>(request: &Request<T>) -> Option<&Caller> {
    request.extensions().get::<Arc<Caller>>().map(Arc::as_ref)
}

pub(super) fn author<T>(request: &Request<T>) -> Author {
    caller(request).map(Caller::author).unwrap_or_default()
}

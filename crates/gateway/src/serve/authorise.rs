//! What a request wants to do with what, and whether its caller may. Every way to a stream is looked at here, before anything is looked up.
//!
//! A request without a caller is one of a server that asks nobody for a token.

use super::{Service, source, unknown_method};
use crate::{
    caller::{Allowed, Author, Caller, Verb},
    mailboxes::{Address, Denied},
    problem::Problem,
    request::Path,
};
use http::{Method, Request};
use std::sync::Arc;

impl Service {
    /// What the caller of a request may do, whom whoever received it has put into its extensions. `None`: anything.
    pub fn authorise<T>(&self, request: &Request<T>) -> Result<Option<Allowed>, Problem> {
        let Some(caller) = caller(request) else { return Ok(None) };
        let verb = match *request.method() {
            Method::GET | Method::HEAD => Verb::Read,
            Method::POST => Verb::Append,
            Method::PUT => Verb::Create,
            Method::DELETE => Verb::Delete,
            // It tells what any page may know.
            Method::OPTIONS => return Ok(None),
            _ => return Err(unknown_method()),
        };
        caller.check_time(self.clock.wall())?;
        match Path::parse(request.uri().path())? {
            Path::Key(topic, key) => caller.allow(verb, &topic, Some(&key)),
            Path::Topic(topic) | Path::Partition(topic, _) | Path::Control(topic, _) => {
                caller.allow(verb, &topic, None)
            }
        }
        .map(Some)
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
        caller.allow(Verb::Read, &source.topic, Some(&source.key))?;
    }
    Ok(source)
}

pub(super) fn caller<T>(request: &Request<T>) -> Option<&Caller> {
    request.extensions().get::<Arc<Caller>>().map(Arc::as_ref)
}

pub(super) fn author<T>(request: &Request<T>) -> Author {
    caller(request).map(Caller::author).unwrap_or_default()
}

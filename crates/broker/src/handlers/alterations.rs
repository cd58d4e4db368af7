//! What AlterConfigs and IncrementalAlterConfigs have in common: some resources are refused here, the others go to the
//! controller, and the answers come in the order of the request.
//!
//! As in Kafka, the broker that a client asks judges what is its own, whoever decides: its name and its loggers. Only the
//! rest goes to a controller elsewhere, in a request of its own.

use crate::{Broker, context::Context, failure_code};
use metadata::{AlterConfigsResults, Error, Reply, config::Resource};
use std::io;

/// The resources of one request.
pub(crate) struct Alterations<T> {
    /// What the controller is asked to change.
    resources: Vec<(Resource, T)>,
    /// All that was asked for, kind and name, with the results of those that the controller is not asked.
    places: Vec<(i8, String, Settled)>,
}

type Settled = Option<Result<(), Error>>;

/// The answer for one resource.
#[derive(Debug, Clone)]
pub(crate) struct Altered {
    pub(crate) kind: i8,
    pub(crate) name: String,
    pub(crate) error_code: i16,
    pub(crate) error_message: Option<String>,
}

impl<T> Alterations<T> {
    pub(crate) fn new() -> Self {
        Self { resources: Vec::new(), places: Vec::new() }
    }

    /// One more resource; `changes` are what is asked of it.
    pub(crate) fn push(
        &mut self,
        (broker, context): (&Broker, &Context),
        (kind, name): (i8, String),
        changes: T,
    ) {
        let refused = match super::alterable_resource(broker, context, kind, &name) {
            Ok(resource) => {
                self.resources.push((resource, changes));
                None
            }
            Err(error) => Some(Err(error)),
        };
        self.places.push((kind, name, refused));
    }

    /// One more resource, which is none of the controller's.
    pub(crate) fn settle(&mut self, kind: i8, name: String, result: Result<(), Error>) {
        self.places.push((kind, name, Some(result)));
    }

    /// The resources that the controller must be asked about.
    pub(crate) fn take(&mut self) -> Vec<(Resource, T)> {
        std::mem::take(&mut self.resources)
    }

    /// The answers, given those of this node's controller.
    pub(crate) fn answers(self, reply: Result<Reply, Error>) -> Vec<Altered> {
        let mut results = results(reply).map(|results| results.into_iter().map(|(_, result)| result));
        let answer = |(kind, name, settled)| {
            let result = match (settled, &mut results) {
                (Some(result), _) => result,
                (None, Ok(results)) => results.next().unwrap_or(Ok(())),
                (None, Err(error)) => Err(error.clone()),
            };
            altered((kind, name), result)
        };
        self.places.into_iter().map(answer).collect()
    }

    /// The answers, given those of a controller elsewhere, which may come in another order.
    pub(crate) fn answers_there(self, there: io::Result<Vec<Altered>>) -> Vec<Altered> {
        let none =
            |why: &str| Err(Error::NotController(format!("the active controller has not answered: {why}")));
        let answer = |(kind, name, settled): (i8, String, Settled)| match (settled, &there) {
            (Some(result), _) => altered((kind, name), result),
            (None, Ok(there)) => {
                let found = there.iter().find(|one| one.kind == kind && one.name == name);
                found.cloned().unwrap_or_else(|| altered((kind, name), none("not for this resource")))
            }
            (None, Err(error)) => altered((kind, name), none(&error.to_string())),
        };
        self.places.into_iter().map(answer).collect()
    }
}

fn altered((kind, name): (i8, String), result: Result<(), Error>) -> Altered {
    let (error_code, error_message) = failure_code::with_message(result);
    Altered { kind, name, error_code, error_message }
}

fn results(reply: Result<Reply, Error>) -> Result<AlterConfigsResults, Error> {
    match reply {
        Ok(Reply::AlterConfigs(results) | Reply::IncrementalAlterConfigs(results)) => Ok(results),
        other => Err(super::controller_error(other)),
    }
}

//! What AlterConfigs and IncrementalAlterConfigs have in common: some resources are refused here, the others go to the
//! controller, and the answers come in the order of the request.

use crate::{Broker, context::Context, failure_code};
use metadata::{AlterConfigsResults, Error, Reply, config::Resource};

/// The resources of one request.
pub(crate) struct Alterations<T> {
    /// What the controller is asked to change.
    resources: Vec<(Resource, T)>,
    /// All that was asked for, kind and name, with the results of those that the controller is not asked.
    places: Vec<(i8, String, Settled)>,
}

type Settled = Option<Result<(), Error>>;

/// The answer for one resource.
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
        kind: i8,
        name: String,
        changes: Result<T, Error>,
    ) {
        let resource = super::alterable_resource(broker, context, kind, &name);
        let refused = match resource.and_then(|resource| Ok((resource, changes?))) {
            Ok(resource) => {
                self.resources.push(resource);
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

    /// The answers, given the controller's.
    pub(crate) fn answers(self, reply: Result<Reply, Error>) -> impl Iterator<Item = Altered> {
        let mut results = results(reply).map(|results| results.into_iter().map(|(_, result)| result));
        self.places.into_iter().map(move |(kind, name, settled)| {
            let result = match (settled, &mut results) {
                (Some(result), _) => result,
                (None, Ok(results)) => results.next().unwrap_or(Ok(())),
                (None, Err(error)) => Err(error.clone()),
            };
            let (error_code, error_message) = failure_code::with_message(result);
            Altered { kind, name, error_code, error_message }
        })
    }
}

fn results(reply: Result<Reply, Error>) -> Result<AlterConfigsResults, Error> {
    match reply {
        Ok(Reply::AlterConfigs(results) | Reply::IncrementalAlterConfigs(results)) => Ok(results),
        other => Err(super::controller_error(other)),
    }
}

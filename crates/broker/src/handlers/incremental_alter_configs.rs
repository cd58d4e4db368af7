//! IncrementalAlterConfigs (key 44): single changes of configurations (KIP-339), effective when the answer leaves.

use super::{
    alterations::{Alterations, Altered},
    broker_loggers,
};
use crate::{Broker, context::Context};
use metadata::{ConfigChange, ConfigOperation, Error, Request, config::Resource};
use std::{collections::BTreeSet, io, sync::Arc};
use wire::{
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
    incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig},
    incremental_alter_configs_response::AlterConfigsResourceResponse,
};

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    context: &Context,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let mut alterations = Alterations::new();
    let is_logger = |asked: &AlterConfigsResource| asked.resource_type == broker_loggers::KIND;
    let loggers = request.resources.iter().filter(|asked| is_logger(asked));
    let once: BTreeSet<_> = super::once(loggers.map(|asked| asked.resource_name.clone())).collect();
    let is_readable = request.resources.iter().all(|asked| is_logger(asked) || are_readable(&asked.configs));
    let validate_only = request.validate_only;
    for asked in request.resources {
        let (kind, name) = (asked.resource_type, asked.resource_name.clone());
        if is_logger(&asked) {
            let result = alter_loggers(broker, asked, &once, validate_only);
            alterations.settle(kind, name, result);
        } else {
            alterations.push((broker, context), (kind, name), asked);
        }
    }
    let resources = alterations.take();
    let answers = if super::is_decided_elsewhere(broker, context) {
        alterations.answers_there(ask(broker, resources, validate_only).await)
    } else if is_readable {
        let changes = |asked: AlterConfigsResource| asked.configs.into_iter().map(change).collect();
        let resources = resources.into_iter().map(|(resource, asked)| (resource, changes(asked))).collect();
        let order = Request::IncrementalAlterConfigs { resources, validate_only };
        alterations.answers(super::decide((broker, context), order).await)
    } else {
        // Kafka's controller stumbles over all that it is asked.
        alterations.answers(Err(Error::UnknownServerError("config operations are 0 to 3".into())))
    };
    let responses = answers.into_iter().map(|altered| AlterConfigsResourceResponse {
        error_code: altered.error_code,
        error_message: altered.error_message,
        resource_type: altered.kind,
        resource_name: altered.name,
    });
    IncrementalAlterConfigsResponse { responses: responses.collect(), ..Default::default() }
}

fn alter_loggers(
    broker: &Broker,
    asked: AlterConfigsResource,
    once: &BTreeSet<String>,
    validate_only: bool,
) -> Result<(), Error> {
    if !once.contains(&asked.resource_name) {
        return Err(Error::InvalidRequest("Each resource can be in a request only once.".into()));
    }
    if !are_readable(&asked.configs) {
        return Err(Error::InvalidRequest("config operations are 0 to 3".into()));
    }
    let changes: Vec<_> = asked.configs.into_iter().map(change).collect();
    broker_loggers::alter(broker, &asked.resource_name, &changes, validate_only)
}

/// Asks a controller elsewhere for what is not this broker's to judge.
async fn ask(
    broker: &Broker,
    resources: Vec<(Resource, AlterConfigsResource)>,
    validate_only: bool,
) -> io::Result<Vec<Altered>> {
    if resources.is_empty() {
        return Ok(Vec::new());
    }
    let resources = resources.into_iter().map(|(_, asked)| asked).collect();
    let request = IncrementalAlterConfigsRequest { resources, validate_only };
    let answer =
        broker.ask_active(&request, |answer| answer.responses.iter().map(|one| one.error_code).collect());
    let altered = answer.await?.responses.into_iter().map(|one| Altered {
        kind: one.resource_type,
        name: one.resource_name,
        error_code: one.error_code,
        error_message: one.error_message,
    });
    Ok(altered.collect())
}

fn are_readable(configs: &[AlterableConfig]) -> bool {
    configs.iter().all(|config| (0..=3).contains(&config.config_operation))
}

fn change(config: AlterableConfig) -> ConfigChange {
    let operation = match config.config_operation {
        1 => ConfigOperation::Delete,
        2 => ConfigOperation::Append,
        3 => ConfigOperation::Subtract,
        _ => ConfigOperation::Set,
    };
    ConfigChange { name: config.name, operation, value: config.value }
}

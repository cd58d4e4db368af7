//! IncrementalAlterConfigs (key 44): single changes of configurations (KIP-339), effective when the answer leaves.

use super::{alterations::Alterations, broker_loggers};
use crate::{Broker, context::Context};
use metadata::{ConfigChange, ConfigOperation, Error, Request};
use std::{collections::BTreeSet, sync::Arc};
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
    for asked in request.resources {
        let (kind, name) = (asked.resource_type, asked.resource_name);
        if kind == broker_loggers::KIND {
            let result = if !once.contains(&name) {
                Err(Error::InvalidRequest("Each resource can be in a request only once.".into()))
            } else if !are_readable(&asked.configs) {
                Err(Error::InvalidRequest("config operations are 0 to 3".into()))
            } else {
                let changes: Vec<_> = asked.configs.into_iter().map(change).collect();
                broker_loggers::alter(broker, &name, &changes, request.validate_only)
            };
            alterations.settle(kind, name, result);
            continue;
        }
        let changes = match is_readable {
            true => Ok(asked.configs.into_iter().map(change).collect()),
            // Kafka's controller stumbles over all that it is asked.
            false => Err(Error::UnknownServerError("config operations are 0 to 3".into())),
        };
        alterations.push((broker, context), kind, name, changes);
    }
    let order = Request::IncrementalAlterConfigs {
        resources: alterations.take(),
        validate_only: request.validate_only,
    };
    let answers = alterations.answers(broker.controller.ask(order).await);
    let responses = answers.map(|altered| AlterConfigsResourceResponse {
        error_code: altered.error_code,
        error_message: altered.error_message,
        resource_type: altered.kind,
        resource_name: altered.name,
    });
    IncrementalAlterConfigsResponse { responses: responses.collect(), ..Default::default() }
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

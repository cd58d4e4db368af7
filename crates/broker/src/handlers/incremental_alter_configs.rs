//! IncrementalAlterConfigs (key 44): single changes of configurations (KIP-339), effective when the answer leaves.

use super::alterations::Alterations;
use crate::{Broker, context::Context};
use metadata::{ConfigChange, ConfigOperation, Error, Request};
use std::sync::Arc;
use wire::{
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
    incremental_alter_configs_request::AlterableConfig,
    incremental_alter_configs_response::AlterConfigsResourceResponse,
};

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    _context: &Context,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let mut alterations = Alterations::new();
    for asked in request.resources {
        let changes = asked.configs.into_iter().map(change).collect();
        alterations.push(broker, asked.resource_type, asked.resource_name, changes);
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

fn change(config: AlterableConfig) -> Result<ConfigChange, Error> {
    let operation = match config.config_operation {
        0 => ConfigOperation::Set,
        1 => ConfigOperation::Delete,
        2 => ConfigOperation::Append,
        3 => ConfigOperation::Subtract,
        other => {
            return Err(Error::InvalidRequest(format!("config operation {other} does not exist; 0 to 3 do")));
        }
    };
    Ok(ConfigChange { name: config.name, operation, value: config.value })
}

//! IncrementalAlterConfigs (key 44): single changes of configurations (KIP-339), effective when the answer leaves.

use super::controller_error;
use crate::{Broker, context::Context, failure_code};
use metadata::{ConfigChange, ConfigOperation, Error, Reply, Request};
use std::sync::Arc;
use wire::{
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
    incremental_alter_configs_request::AlterConfigsResource,
    incremental_alter_configs_response::AlterConfigsResourceResponse,
};

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    _context: &Context,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let mut places = Vec::with_capacity(request.resources.len());
    let mut resources = Vec::with_capacity(request.resources.len());
    for asked in request.resources {
        let place = (asked.resource_type, asked.resource_name.clone());
        match parse(broker, asked) {
            Ok(resource) => {
                resources.push(resource);
                places.push((place, None));
            }
            Err(error) => places.push((place, Some(error))),
        }
    }
    let order = Request::IncrementalAlterConfigs { resources, validate_only: request.validate_only };
    let mut results = match broker.controller.ask(order).await {
        Ok(Reply::IncrementalAlterConfigs(results)) => Ok(results.into_iter().map(|(_, result)| result)),
        other => Err(controller_error(other)),
    };
    let responses = places.into_iter().map(|((resource_type, resource_name), refused)| {
        let result = match (refused, &mut results) {
            (Some(error), _) => Err(error),
            (None, Ok(results)) => results.next().unwrap_or(Ok(())),
            (None, Err(error)) => Err(error.clone()),
        };
        let (error_code, error_message) = failure_code::with_message(result);
        AlterConfigsResourceResponse { error_code, error_message, resource_type, resource_name }
    });
    IncrementalAlterConfigsResponse { responses: responses.collect(), ..Default::default() }
}

type Parsed = (metadata::config::Resource, Vec<ConfigChange>);

fn parse(broker: &Broker, asked: AlterConfigsResource) -> Result<Parsed, Error> {
    let resource = super::alterable_resource(broker, asked.resource_type, &asked.resource_name)?;
    let changes = asked.configs.into_iter().map(|config| {
        let operation = match config.config_operation {
            0 => ConfigOperation::Set,
            1 => ConfigOperation::Delete,
            2 => ConfigOperation::Append,
            3 => ConfigOperation::Subtract,
            other => {
                return Err(Error::InvalidRequest(format!(
                    "config operation {other} does not exist; 0 to 3 do"
                )));
            }
        };
        Ok(ConfigChange { name: config.name, operation, value: config.value })
    });
    Ok((resource, changes.collect::<Result<_, _>>()?))
}

//! AlterConfigs (key 33): all configurations of a resource at once; what is not named returns to its default.

use super::controller_error;
use crate::{Broker, context::Context, failure_code};
use metadata::{Reply, Request};
use std::sync::Arc;
use wire::{AlterConfigsRequest, AlterConfigsResponse, alter_configs_response::AlterConfigsResourceResponse};

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    _context: &Context,
    request: AlterConfigsRequest,
) -> AlterConfigsResponse {
    let mut places = Vec::with_capacity(request.resources.len());
    let mut resources = Vec::with_capacity(request.resources.len());
    for asked in request.resources {
        let parsed = super::alterable_resource(broker, asked.resource_type, &asked.resource_name);
        let refused = match parsed {
            Ok(resource) => {
                resources.push((resource, asked.configs.into_iter().map(|c| (c.name, c.value)).collect()));
                None
            }
            Err(error) => Some(error),
        };
        places.push((asked.resource_type, asked.resource_name, refused));
    }
    let order = Request::AlterConfigs { resources, validate_only: request.validate_only };
    let mut results = match broker.controller.ask(order).await {
        Ok(Reply::AlterConfigs(results)) => Ok(results.into_iter().map(|(_, result)| result)),
        other => Err(controller_error(other)),
    };
    let responses = places.into_iter().map(|(resource_type, resource_name, refused)| {
        let result = match (refused, &mut results) {
            (Some(error), _) => Err(error),
            (None, Ok(results)) => results.next().unwrap_or(Ok(())),
            (None, Err(error)) => Err(error.clone()),
        };
        let (error_code, error_message) = failure_code::with_message(result);
        AlterConfigsResourceResponse { error_code, error_message, resource_type, resource_name }
    });
    AlterConfigsResponse { responses: responses.collect(), ..Default::default() }
}

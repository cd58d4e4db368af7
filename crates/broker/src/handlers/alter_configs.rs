//! AlterConfigs (key 33): all configurations of a resource at once; what is not named returns to its default.

use super::alterations::Alterations;
use crate::{Broker, context::Context};
use metadata::Request;
use std::sync::Arc;
use wire::{AlterConfigsRequest, AlterConfigsResponse, alter_configs_response::AlterConfigsResourceResponse};

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    context: &Context,
    request: AlterConfigsRequest,
) -> AlterConfigsResponse {
    let mut alterations = Alterations::new();
    for asked in request.resources {
        let values = asked.configs.into_iter().map(|config| (config.name, config.value)).collect();
        alterations.push((broker, context), asked.resource_type, asked.resource_name, Ok(values));
    }
    let order = Request::AlterConfigs { resources: alterations.take(), validate_only: request.validate_only };
    let answers = alterations.answers(broker.controller.ask(order).await);
    let responses = answers.map(|altered| AlterConfigsResourceResponse {
        error_code: altered.error_code,
        error_message: altered.error_message,
        resource_type: altered.kind,
        resource_name: altered.name,
    });
    AlterConfigsResponse { responses: responses.collect(), ..Default::default() }
}

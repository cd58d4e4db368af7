//! AlterConfigs (key 33): all configurations of a resource at once; what is not named returns to its default.

use super::alterations::{Alterations, Altered};
use crate::{Broker, context::Context};
use metadata::{ConfigValues, Request, config::Resource};
use std::{io, sync::Arc};
use wire::{
    AlterConfigsRequest, AlterConfigsResponse, alter_configs_request::AlterConfigsResource,
    alter_configs_response::AlterConfigsResourceResponse,
};

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    context: &Context,
    request: AlterConfigsRequest,
) -> AlterConfigsResponse {
    let validate_only = request.validate_only;
    let mut alterations = Alterations::new();
    for asked in request.resources {
        alterations.push((broker, context), (asked.resource_type, asked.resource_name.clone()), asked);
    }
    let resources = alterations.take();
    let answers = if super::is_decided_elsewhere(broker, context) {
        alterations.answers_there(ask(broker, resources, validate_only).await)
    } else {
        let resources = resources.into_iter().map(|(resource, asked)| (resource, values(asked))).collect();
        let order = Request::AlterConfigs { resources, validate_only };
        alterations.answers(super::decide((broker, context), order).await)
    };
    let responses = answers.into_iter().map(|altered| AlterConfigsResourceResponse {
        error_code: altered.error_code,
        error_message: altered.error_message,
        resource_type: altered.kind,
        resource_name: altered.name,
    });
    AlterConfigsResponse { responses: responses.collect(), ..Default::default() }
}

fn values(asked: AlterConfigsResource) -> ConfigValues {
    asked.configs.into_iter().map(|config| (config.name, config.value)).collect()
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
    let request = AlterConfigsRequest { resources, validate_only };
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

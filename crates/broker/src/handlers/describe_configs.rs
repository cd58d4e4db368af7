//! DescribeConfigs (key 32): configurations with their sources, synonyms, types and documentation (KIP-133, KIP-569).

use super::broker_loggers;
use crate::{Broker, context::Context, failure_code};
use metadata::{Error, config::Entry};
use std::sync::Arc;
use wire::{
    DescribeConfigsRequest, DescribeConfigsResponse,
    describe_configs_request::DescribeConfigsResource,
    describe_configs_response::{
        DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
    },
};

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    _context: &Context,
    request: DescribeConfigsRequest,
) -> DescribeConfigsResponse {
    let (synonyms, docs) = (request.include_synonyms, request.include_documentation);
    // As in Kafka, a kind of resource that does not exist is an error of the whole request.
    let kinds = request.resources.iter().map(|resource| super::config_resource(resource.resource_type, ""));
    if let Some(error) = kinds.filter_map(Result::err).next() {
        let refused = request.resources.into_iter().map(|asked| told(asked, Err(error.clone())));
        return DescribeConfigsResponse { results: refused.collect(), ..DescribeConfigsResponse::default() };
    }
    let results = request.resources.into_iter().map(|resource| describe(broker, resource, synonyms, docs));
    DescribeConfigsResponse { results: results.collect(), ..DescribeConfigsResponse::default() }
}

fn describe(
    broker: &Broker,
    asked: DescribeConfigsResource,
    synonyms: bool,
    docs: bool,
) -> DescribeConfigsResult {
    let keys = asked.configuration_keys.as_deref();
    let configs = if asked.resource_type == broker_loggers::KIND {
        broker_loggers::describe(broker, &asked.resource_name, keys)
    } else {
        super::config_resource(asked.resource_type, &asked.resource_name)
            .and_then(|resource| broker.describe_config(&resource, keys))
            .map(|entries| entries.into_iter().map(|entry| answer(entry, synonyms, docs)).collect())
    };
    told(asked, configs)
}

fn told(
    asked: DescribeConfigsResource,
    configs: Result<Vec<DescribeConfigsResourceResult>, Error>,
) -> DescribeConfigsResult {
    let (configs, error_code, error_message) = match configs {
        // Kafka says nothing here, but not null.
        Ok(configs) => (configs, failure_code::NONE, Some(String::new())),
        Err(error) => {
            (Vec::new(), failure_code::of_controller(&error).to_i16(), failure_code::message(&error))
        }
    };
    DescribeConfigsResult {
        error_code,
        error_message,
        resource_type: asked.resource_type,
        resource_name: asked.resource_name,
        configs,
    }
}

fn answer(entry: Entry, synonyms: bool, docs: bool) -> DescribeConfigsResourceResult {
    let synonyms = if synonyms { entry.synonyms } else { Vec::new() };
    DescribeConfigsResourceResult {
        name: entry.name.to_string(),
        value: entry.value,
        read_only: entry.read_only,
        config_source: entry.source as i8,
        is_sensitive: entry.sensitive,
        synonyms: synonyms
            .into_iter()
            .map(|synonym| DescribeConfigsSynonym {
                name: synonym.name.to_string(),
                value: synonym.value,
                source: synonym.source as i8,
            })
            .collect(),
        config_type: entry.kind.map_or(0, |kind| kind as i8),
        documentation: entry.doc.filter(|_| docs).map(str::to_owned),
    }
}

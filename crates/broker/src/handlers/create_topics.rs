//! CreateTopics (key 19): new topics with their partitions, replicas and configurations (KIP-4, KIP-525).

use super::controller_error;
use crate::{
    Broker,
    client_quotas::{self, Mutated},
    context::Context,
    failure_code,
};
use metadata::{CreatedTopic, Error, NewTopic, Reply, Request};
use std::sync::Arc;
use wire::{
    CreateTopicsRequest, CreateTopicsResponse, ErrorCode,
    create_topics_request::CreatableTopic,
    create_topics_response::{CreatableTopicConfigs, CreatableTopicResult},
};

/// From this version on clients know THROTTLING_QUOTA_EXCEEDED (KIP-599).
const VERSION_WITH_QUOTA: i16 = 6;

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    context: &Context,
    request: CreateTopicsRequest,
) -> CreateTopicsResponse {
    let names: Vec<String> = request.topics.iter().map(|topic| topic.name.clone()).collect();
    // The others are refused without asking the controller.
    let is_asked = super::once(names.iter()).any(|name| name != "__cluster_metadata");
    if super::is_late(request.timeout_ms) && is_asked {
        let topics = names.into_iter().map(|name| refusal(name, ErrorCode::RequestTimedOut, None));
        return CreateTopicsResponse { topics: topics.collect(), ..CreateTopicsResponse::default() };
    }
    let order = |permits| Request::CreateTopics {
        topics: request.topics.into_iter().map(|topic| new_topic(broker, topic)).collect(),
        validate_only: request.validate_only,
        seed: broker.world.random.next_u64(),
        permits,
    };
    let is_strict = context.version >= VERSION_WITH_QUOTA;
    let topics = match client_quotas::decide((broker, context), is_strict, order, mutated).await {
        Ok(Reply::CreateTopics(topics)) => {
            topics.into_iter().map(|(name, result)| answer(context, name, result)).collect()
        }
        other => {
            let error = controller_error(other);
            names.into_iter().map(|name| answer(context, name, Err(error.clone()))).collect()
        }
    };
    CreateTopicsResponse { topics, ..CreateTopicsResponse::default() }
}

pub(super) fn mutated(reply: &Reply) -> Mutated {
    let Reply::CreateTopics(topics) = reply else { return Mutated::default() };
    Mutated::of(
        topics.iter().map(|(_, result)| {
            result.as_ref().map(|created| usize::try_from(created.partitions).unwrap_or(0))
        }),
    )
}

fn new_topic(broker: &Broker, topic: CreatableTopic) -> NewTopic {
    NewTopic {
        name: topic.name,
        id: broker.world.random.uuid(),
        partitions: topic.num_partitions,
        replication_factor: topic.replication_factor,
        assignments: topic.assignments.into_iter().map(|a| (a.partition_index, a.broker_ids)).collect(),
        configs: topic.configs.into_iter().map(|config| (config.name, config.value)).collect(),
    }
}

fn answer(context: &Context, name: String, result: Result<CreatedTopic, Error>) -> CreatableTopicResult {
    match result {
        Ok(created) => CreatableTopicResult {
            name,
            error_message: None,
            topic_id: created.id,
            num_partitions: created.partitions,
            replication_factor: created.replication_factor,
            configs: (context.version >= 5).then(|| created.configs.into_iter().map(config).collect()),
            ..CreatableTopicResult::default()
        },
        Err(error) => refusal(name, failure_code::of_controller(&error), failure_code::message(&error)),
    }
}

fn refusal(name: String, error: ErrorCode, error_message: Option<String>) -> CreatableTopicResult {
    CreatableTopicResult {
        name,
        error_code: error.to_i16(),
        error_message,
        configs: Some(Vec::new()),
        ..CreatableTopicResult::default()
    }
}

fn config(entry: metadata::config::Entry) -> CreatableTopicConfigs {
    CreatableTopicConfigs {
        name: entry.name.to_string(),
        value: entry.value,
        read_only: entry.read_only,
        config_source: entry.source as i8,
        is_sensitive: entry.sensitive,
    }
}

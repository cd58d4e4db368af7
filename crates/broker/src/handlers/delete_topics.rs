//! DeleteTopics (key 20): topics by name or, from version 6 on, by id (KIP-516).

use super::controller_error;
use crate::{
    Broker,
    client_quotas::{self, Mutated},
    context::Context,
    failure_code,
};
use metadata::{DeleteTopic, DeletedTopic, Error, Reply, Request};
use std::sync::Arc;
use wire::{
    DeleteTopicsRequest, DeleteTopicsResponse, ErrorCode, delete_topics_response::DeletableTopicResult,
};

/// From this version on clients know THROTTLING_QUOTA_EXCEEDED (KIP-599).
const VERSION_WITH_QUOTA: i16 = 5;

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    context: &Context,
    request: DeleteTopicsRequest,
) -> DeleteTopicsResponse {
    let by_name =
        request.topic_names.into_iter().map(|name| DeleteTopic { name: Some(name), ..Default::default() });
    let by_either =
        request.topics.into_iter().map(|topic| DeleteTopic { name: topic.name, id: topic.topic_id });
    let topics: Vec<_> = by_name.chain(by_either).collect();
    if super::is_late(request.timeout_ms) && is_controller_asked(broker, &topics) {
        let late = |topic: DeleteTopic| {
            let named = DeletedTopic { name: topic.name, id: topic.id, partitions: 0, result: Ok(()) };
            DeletableTopicResult { error_code: ErrorCode::RequestTimedOut.to_i16(), ..answer(context, named) }
        };
        let responses = topics.into_iter().map(late).collect();
        return DeleteTopicsResponse { responses, ..DeleteTopicsResponse::default() };
    }
    let order = |permits| Request::DeleteTopics { topics: topics.clone(), permits };
    let is_strict = context.version >= VERSION_WITH_QUOTA;
    let deleted = match client_quotas::decide((broker, context), is_strict, order, mutated).await {
        Ok(Reply::DeleteTopics(deleted)) => deleted,
        other => {
            let error = match controller_error(other) {
                // Old clients do not know that deletion can be disabled.
                Error::TopicDeletionDisabled(why) if context.version < 3 => Error::InvalidRequest(why),
                error => error,
            };
            let failed = |topic: DeleteTopic| DeletedTopic {
                name: topic.name,
                id: topic.id,
                partitions: 0,
                result: Err(error.clone()),
            };
            topics.into_iter().map(failed).collect()
        }
    };
    DeleteTopicsResponse {
        responses: deleted.into_iter().map(|topic| answer(context, topic)).collect(),
        ..DeleteTopicsResponse::default()
    }
}

fn mutated(reply: &Reply) -> Mutated {
    let Reply::DeleteTopics(topics) = reply else { return Mutated::default() };
    Mutated::of(topics.iter().map(|topic| topic.result.as_ref().map(|()| topic.partitions)))
}

/// Whether anything is left for the controller once the others are refused: each must be named once, and in one way.
fn is_controller_asked(broker: &Broker, topics: &[DeleteTopic]) -> bool {
    let is_enabled = broker.config.configs(&broker.image()).broker().flag("delete.topic.enable");
    let named = topics.iter().filter(|topic| topic.name.is_some() == topic.id.is_zero());
    is_enabled && super::once(named.map(|topic| (&topic.name, topic.id))).next().is_some()
}

fn answer(context: &Context, topic: DeletedTopic) -> DeletableTopicResult {
    let (error_code, error_message) = match topic.result {
        Ok(()) => (failure_code::NONE, None),
        Err(error) => (failure_code::of_controller(&error).to_i16(), failure_code::message(&error)),
    };
    let name = topic.name.or_else(|| (context.version < 6).then(String::new));
    DeletableTopicResult { name, topic_id: topic.id, error_code, error_message }
}

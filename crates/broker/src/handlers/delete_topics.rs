//! DeleteTopics (key 20): topics by name or, from version 6 on, by id (KIP-516).

use super::controller_error;
use crate::{Broker, context::Context, failure_code};
use metadata::{DeleteTopic, DeletedTopic, Error, Reply, Request};
use std::sync::Arc;
use wire::{DeleteTopicsRequest, DeleteTopicsResponse, delete_topics_response::DeletableTopicResult};

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
    let deleted = match broker.controller.ask(Request::DeleteTopics { topics: topics.clone() }).await {
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

fn answer(context: &Context, topic: DeletedTopic) -> DeletableTopicResult {
    let (error_code, error_message) = match topic.result {
        Ok(()) => (failure_code::NONE, None),
        Err(error) => (failure_code::of_controller(&error).to_i16(), failure_code::message(&error)),
    };
    let name = topic.name.or_else(|| (context.version < 6).then(String::new));
    DeletableTopicResult { name, topic_id: topic.id, error_code, error_message }
}

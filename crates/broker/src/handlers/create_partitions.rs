//! CreatePartitions (key 37): more partitions for topics (KIP-195).

use super::controller_error;
use crate::{Broker, context::Context, failure_code};
use metadata::{NewPartitions, Reply, Request};
use std::sync::Arc;
use wire::{
    CreatePartitionsRequest, CreatePartitionsResponse,
    create_partitions_response::CreatePartitionsTopicResult,
};

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    _context: &Context,
    request: CreatePartitionsRequest,
) -> CreatePartitionsResponse {
    let names: Vec<String> = request.topics.iter().map(|topic| topic.name.clone()).collect();
    let topics = request.topics.into_iter().map(|topic| NewPartitions {
        topic: topic.name,
        count: topic.count,
        assignments: topic.assignments.map(|all| all.into_iter().map(|one| one.broker_ids).collect()),
    });
    let order = Request::CreatePartitions {
        topics: topics.collect(),
        validate_only: request.validate_only,
        seed: broker.world.random.next_u64(),
    };
    let results = match broker.controller.ask(order).await {
        Ok(Reply::CreatePartitions(results)) => results,
        other => {
            let error = controller_error(other);
            names.into_iter().map(|name| (name, Err(error.clone()))).collect()
        }
    };
    let results = results.into_iter().map(|(name, result)| {
        let (error_code, error_message) = failure_code::with_message(result);
        CreatePartitionsTopicResult { name, error_code, error_message }
    });
    CreatePartitionsResponse { results: results.collect(), ..CreatePartitionsResponse::default() }
}

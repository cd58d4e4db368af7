//! CreatePartitions (key 37): more partitions for topics (KIP-195).

use super::controller_error;
use crate::{
    Broker,
    client_quotas::{self, Mutated},
    context::Context,
    failure_code,
};
use metadata::{NewPartitions, Reply, Request};
use std::sync::Arc;
use wire::{
    CreatePartitionsRequest, CreatePartitionsResponse, ErrorCode,
    create_partitions_response::CreatePartitionsTopicResult,
};

/// From this version on clients know THROTTLING_QUOTA_EXCEEDED (KIP-599).
const VERSION_WITH_QUOTA: i16 = 3;

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    context: &Context,
    request: CreatePartitionsRequest,
) -> CreatePartitionsResponse {
    let names: Vec<String> = request.topics.iter().map(|topic| topic.name.clone()).collect();
    if super::is_late(request.timeout_ms) && super::once(names.iter()).next().is_some() {
        let late = |name| CreatePartitionsTopicResult {
            name,
            error_code: ErrorCode::RequestTimedOut.to_i16(),
            error_message: None,
        };
        let results = names.into_iter().map(late).collect();
        return CreatePartitionsResponse { results, ..CreatePartitionsResponse::default() };
    }
    let topics = request.topics.into_iter().map(|topic| NewPartitions {
        topic: topic.name,
        count: topic.count,
        assignments: topic.assignments.map(|all| all.into_iter().map(|one| one.broker_ids).collect()),
    });
    let order = |permits| Request::CreatePartitions {
        topics: topics.collect(),
        validate_only: request.validate_only,
        seed: broker.world.random.next_u64(),
        permits,
    };
    let is_strict = context.version >= VERSION_WITH_QUOTA;
    let results = match client_quotas::decide((broker, context), is_strict, order, mutated).await {
        Ok(Reply::CreatePartitions(results)) => results,
        other => {
            let error = controller_error(other);
            names.into_iter().map(|name| (name, Err(error.clone()))).collect()
        }
    };
    let results = results.into_iter().map(|(name, result)| {
        let (error_code, error_message) = failure_code::with_message(result.map(drop));
        CreatePartitionsTopicResult { name, error_code, error_message }
    });
    CreatePartitionsResponse { results: results.collect(), ..CreatePartitionsResponse::default() }
}

fn mutated(reply: &Reply) -> Mutated {
    let Reply::CreatePartitions(topics) = reply else { return Mutated::default() };
    Mutated::of(topics.iter().map(|(_, result)| result.as_ref().copied()))
}

//! AlterPartitionReassignments (key 45): partitions move to other brokers, or stop doing so (KIP-455, KIP-860).

use super::{by_topic, controller_error};
use crate::{Broker, context::Context, failure_code};
use metadata::{Error, Reassignment, Reply, Request};
use std::sync::Arc;
use wire::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse,
    alter_partition_reassignments_response::{ReassignablePartitionResponse, ReassignableTopicResponse},
};

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    context: &Context,
    request: AlterPartitionReassignmentsRequest,
) -> AlterPartitionReassignmentsResponse {
    let allow_replication_factor_change = request.allow_replication_factor_change;
    let reassignments = request.topics.into_iter().flat_map(|topic| {
        topic.partitions.into_iter().map(move |partition| Reassignment {
            topic: topic.name.clone(),
            index: partition.partition_index,
            replicas: partition.replicas,
        })
    });
    let order = Request::AlterPartitionReassignments {
        reassignments: reassignments.collect(),
        allow_replication_factor_change,
    };
    let results = match super::decide((broker, context), order).await {
        Ok(Reply::AlterPartitionReassignments(results)) => results,
        other => {
            let (error_code, error_message) = failure_code::with_message(Err(controller_error(other)));
            return AlterPartitionReassignmentsResponse {
                allow_replication_factor_change,
                error_code,
                error_message,
                ..AlterPartitionReassignmentsResponse::default()
            };
        }
    };
    let responses = by_topic(results).into_iter().map(|(name, partitions)| ReassignableTopicResponse {
        name,
        partitions: partitions.into_iter().map(result).collect(),
    });
    AlterPartitionReassignmentsResponse {
        allow_replication_factor_change,
        error_message: None,
        responses: responses.collect(),
        ..AlterPartitionReassignmentsResponse::default()
    }
}

fn result((partition_index, result): (i32, Result<(), Error>)) -> ReassignablePartitionResponse {
    let (error_code, error_message) = failure_code::with_message(result);
    ReassignablePartitionResponse { partition_index, error_code, error_message }
}

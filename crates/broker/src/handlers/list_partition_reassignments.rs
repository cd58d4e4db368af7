//! ListPartitionReassignments (key 46): which partitions are moving, and from where to where (KIP-455).

use super::controller_error;
use crate::{Broker, context::Context, failure_code};
use metadata::{OngoingReassignment, Reply, Request};
use std::sync::Arc;
use wire::{
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse,
    list_partition_reassignments_response::{OngoingPartitionReassignment, OngoingTopicReassignment},
};

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    context: &Context,
    request: ListPartitionReassignmentsRequest,
) -> ListPartitionReassignmentsResponse {
    let named = request.topics.map(|topics| {
        topics.into_iter().map(|topic| (topic.name, topic.partition_indexes)).collect::<Vec<_>>()
    });
    let order = Request::ListPartitionReassignments { partitions: named };
    match super::decide((broker, context), order).await {
        Ok(Reply::ListPartitionReassignments(ongoing)) => ListPartitionReassignmentsResponse {
            error_message: None,
            topics: topics(ongoing),
            ..ListPartitionReassignmentsResponse::default()
        },
        other => {
            let (error_code, error_message) = failure_code::with_message(Err(controller_error(other)));
            ListPartitionReassignmentsResponse { error_code, error_message, ..Default::default() }
        }
    }
}

fn topics(ongoing: Vec<OngoingReassignment>) -> Vec<OngoingTopicReassignment> {
    let mut topics: Vec<OngoingTopicReassignment> = Vec::new();
    for one in ongoing {
        let partition = OngoingPartitionReassignment {
            partition_index: one.index,
            replicas: one.replicas,
            adding_replicas: one.adding,
            removing_replicas: one.removing,
        };
        match topics.last_mut().filter(|last| last.name == *one.topic) {
            Some(last) => last.partitions.push(partition),
            None => topics
                .push(OngoingTopicReassignment { name: one.topic.to_string(), partitions: vec![partition] }),
        }
    }
    topics
}

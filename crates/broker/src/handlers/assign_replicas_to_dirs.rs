//! AssignReplicasToDirs (key 73): a broker says in which of its log directories replicas are (KIP-858).

use super::controller_error;
use crate::{Broker, context::Context, failure_code};
use metadata::{DirectoryAssignment, Error, Reply, Request};
use std::sync::Arc;
use wire::{
    AssignReplicasToDirsRequest, AssignReplicasToDirsResponse,
    assign_replicas_to_dirs_response::{DirectoryData, PartitionData, TopicData},
};

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    _context: &Context,
    request: AssignReplicasToDirsRequest,
) -> AssignReplicasToDirsResponse {
    let assignments = request.directories.into_iter().flat_map(|directory| {
        let id = directory.id;
        directory.topics.into_iter().flat_map(move |topic| {
            topic.partitions.into_iter().map(move |partition| DirectoryAssignment {
                directory: id,
                topic: topic.topic_id,
                index: partition.partition_index,
            })
        })
    });
    let order = Request::AssignReplicasToDirs {
        broker: request.broker_id,
        broker_epoch: request.broker_epoch,
        assignments: assignments.collect(),
    };
    match broker.controller.ask(order).await {
        Ok(Reply::AssignReplicasToDirs(results)) => {
            AssignReplicasToDirsResponse { directories: directories(results), ..Default::default() }
        }
        other => AssignReplicasToDirsResponse {
            error_code: failure_code::of_controller(&controller_error(other)).to_i16(),
            ..AssignReplicasToDirsResponse::default()
        },
    }
}

/// The results come in the order of the request, so that those of a directory and a topic stand together.
fn directories(results: Vec<(DirectoryAssignment, Result<(), Error>)>) -> Vec<DirectoryData> {
    let mut directories: Vec<DirectoryData> = Vec::new();
    for (assignment, result) in results {
        let (error_code, _) = failure_code::with_message(result);
        let partition = PartitionData { partition_index: assignment.index, error_code };
        if directories.last().is_none_or(|last| last.id != assignment.directory) {
            directories.push(DirectoryData { id: assignment.directory, topics: Vec::new() });
        }
        let Some(directory) = directories.last_mut() else { continue };
        match directory.topics.last_mut().filter(|last| last.topic_id == assignment.topic) {
            Some(last) => last.partitions.push(partition),
            None => {
                directory.topics.push(TopicData { topic_id: assignment.topic, partitions: vec![partition] })
            }
        }
    }
    directories
}

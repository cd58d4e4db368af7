//! AssignReplicasToDirs (key 73): a broker says in which of its log directories replicas are (KIP-858). It translates in
//! both directions, for this broker says so as well as hears it.

use super::controller_error;
use crate::{Broker, context::Context, dir_assignments::Results, failure_code};
use metadata::{DirectoryAssignment, Reply, Request};
use model::NodeId;
use std::sync::Arc;
use wire::{
    AssignReplicasToDirsRequest, AssignReplicasToDirsResponse, assign_replicas_to_dirs_request as asked,
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
    match broker.controller.ask_for_another(order).await {
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
fn directories(results: Results) -> Vec<DirectoryData> {
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

/// What this broker says to a controller elsewhere. Kafka's names a directory and a topic once.
pub(crate) fn to_request(
    broker_id: NodeId,
    broker_epoch: i64,
    mut assignments: Vec<DirectoryAssignment>,
) -> AssignReplicasToDirsRequest {
    assignments.sort_unstable_by_key(|one| (one.directory, one.topic, one.index));
    let mut directories: Vec<asked::DirectoryData> = Vec::new();
    for one in assignments {
        let partition = asked::PartitionData { partition_index: one.index };
        if directories.last().is_none_or(|last| last.id != one.directory) {
            directories.push(asked::DirectoryData { id: one.directory, topics: Vec::new() });
        }
        let Some(directory) = directories.last_mut() else { continue };
        match directory.topics.last_mut().filter(|last| last.topic_id == one.topic) {
            Some(last) => last.partitions.push(partition),
            None => {
                let topic = asked::TopicData { topic_id: one.topic, partitions: vec![partition] };
                directory.topics.push(topic);
            }
        }
    }
    AssignReplicasToDirsRequest { broker_id, broker_epoch, directories }
}

/// What that controller has answered.
pub(crate) fn results(response: AssignReplicasToDirsResponse) -> Results {
    let mut results = Results::new();
    for directory in response.directories {
        for topic in directory.topics {
            for partition in topic.partitions {
                let one = DirectoryAssignment {
                    directory: directory.id,
                    topic: topic.topic_id,
                    index: partition.partition_index,
                };
                let result = match partition.error_code {
                    failure_code::NONE => Ok(()),
                    code => Err(failure_code::to_controller(code)),
                };
                results.push((one, result));
            }
        }
    }
    results
}

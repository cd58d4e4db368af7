//! AlterReplicaLogDirs (key 34): in which log directory of this broker replicas shall be (KIP-113).
//!
//! A node has one, so there is nothing to move: what is asked to be there is there, and there is no other.

use crate::{Broker, context::Context, failure_code};
use std::{collections::BTreeMap, sync::Arc};
use wire::{
    AlterReplicaLogDirsRequest, AlterReplicaLogDirsResponse, ErrorCode,
    alter_replica_log_dirs_response::{AlterReplicaLogDirPartitionResult, AlterReplicaLogDirTopicResult},
};

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    _context: &Context,
    request: AlterReplicaLogDirsRequest,
) -> AlterReplicaLogDirsResponse {
    // Of a replica that is named twice the last directory counts, as in Kafka.
    let mut wanted: BTreeMap<String, BTreeMap<i32, bool>> = BTreeMap::new();
    for dir in request.dirs {
        let is_here = dir.path == broker.config.log_dir.to_string_lossy();
        for topic in dir.topics {
            let partitions = topic.partitions.into_iter().map(|index| (index, is_here));
            wanted.entry(topic.name).or_default().extend(partitions);
        }
    }
    let results = wanted.into_iter().map(|(topic_name, partitions)| {
        let result = |(partition_index, is_here)| AlterReplicaLogDirPartitionResult {
            partition_index,
            error_code: placed(broker, &topic_name, partition_index, is_here),
        };
        let partitions = partitions.into_iter().map(result).collect();
        AlterReplicaLogDirTopicResult { topic_name, partitions }
    });
    AlterReplicaLogDirsResponse { results: results.collect(), ..AlterReplicaLogDirsResponse::default() }
}

fn placed(broker: &Broker, topic: &str, index: i32, is_here: bool) -> i16 {
    if !is_here {
        return ErrorCode::LogDirNotFound.to_i16();
    }
    if broker.is_log_dir_offline() {
        return ErrorCode::KafkaStorageError.to_i16();
    }
    match super::partition_here(broker, topic, index) {
        Ok(partition) if partition.offsets().is_some() => failure_code::NONE,
        Ok(_) => ErrorCode::KafkaStorageError.to_i16(),
        Err(ErrorCode::NotLeaderOrFollower) => ErrorCode::ReplicaNotAvailable.to_i16(),
        Err(error) => error.to_i16(),
    }
}

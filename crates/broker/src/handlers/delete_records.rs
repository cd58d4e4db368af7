//! DeleteRecords (key 21): moves the start of partitions forward (KIP-107).

use crate::{Broker, context::Context, failure_code, partition::Refused, upkeep};
use model::Offset;
use std::sync::Arc;
use wire::{
    DeleteRecordsRequest, DeleteRecordsResponse, ErrorCode,
    delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult},
};

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    _context: &Context,
    request: DeleteRecordsRequest,
) -> DeleteRecordsResponse {
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for asked in topic.partitions {
            let result = delete(broker, &topic.name, asked.partition_index, asked.offset).await;
            let (low_watermark, error_code) = match result {
                Ok(start) => (start, failure_code::NONE),
                Err(error) => (-1, error.to_i16()),
            };
            let partition_index = asked.partition_index;
            partitions.push(DeleteRecordsPartitionResult { partition_index, low_watermark, error_code });
        }
        topics.push(DeleteRecordsTopicResult { name: topic.name, partitions });
    }
    // What was deleted must not come back after a crash.
    upkeep::checkpoint(broker).await;
    DeleteRecordsResponse { topics, ..DeleteRecordsResponse::default() }
}

async fn delete(broker: &Arc<Broker>, topic: &str, index: i32, before: Offset) -> Result<Offset, ErrorCode> {
    let partition = super::partition_here(broker, topic, index)?;
    if partition.is_internal() {
        // Its coordinator owns its log's start.
        return Err(ErrorCode::InvalidTopicException);
    }
    partition.delete_records(before).await.map_err(|error: Refused| failure_code::of_partition(&error))
}

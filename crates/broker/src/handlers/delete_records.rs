//! DeleteRecords (key 21): moves the start of partitions forward (KIP-107).

use crate::{Broker, context::Context, failure_code, partition::Refused, upkeep};
use model::Offset;
use std::{collections::BTreeMap, sync::Arc};
use wire::{
    DeleteRecordsRequest, DeleteRecordsResponse, ErrorCode,
    delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult},
};

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    _context: &Context,
    request: DeleteRecordsRequest,
) -> DeleteRecordsResponse {
    // Of a partition that is named twice the last offset counts, as in Kafka.
    let mut wanted: BTreeMap<String, BTreeMap<i32, Offset>> = BTreeMap::new();
    for topic in request.topics.into_iter().filter(|topic| !topic.partitions.is_empty()) {
        let offsets = topic.partitions.iter().map(|asked| (asked.partition_index, asked.offset));
        wanted.entry(topic.name).or_default().extend(offsets);
    }
    let mut topics = Vec::with_capacity(wanted.len());
    for (name, offsets) in wanted {
        let mut partitions = Vec::with_capacity(offsets.len());
        for (partition_index, before) in offsets {
            let (low_watermark, error_code) = match delete(broker, &name, partition_index, before).await {
                Ok(start) => (start, failure_code::NONE),
                Err(error) => (-1, error.to_i16()),
            };
            partitions.push(DeleteRecordsPartitionResult { partition_index, low_watermark, error_code });
        }
        topics.push(DeleteRecordsTopicResult { name, partitions });
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

//! ListOffsets (key 2): the offset of the start, the end, a timestamp, or the largest timestamp (KIP-79, KIP-734), and
//! the special times of tiered storage, answered as a log without it answers them (KIP-405, KIP-1005, KIP-1023).

use crate::{
    Broker,
    context::Context,
    failure_code,
    partition::{Found, Isolation, Sought},
};
use std::{collections::BTreeSet, sync::Arc};
use wire::{
    ErrorCode, ListOffsetsRequest, ListOffsetsResponse,
    list_offsets_request::ListOffsetsPartition,
    list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse},
};

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;
const EARLIEST_PENDING_UPLOAD: i64 = -6;

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    context: &Context,
    request: ListOffsetsRequest,
) -> ListOffsetsResponse {
    let isolation =
        if request.replica_id >= 0 { Isolation::LogEnd } else { Isolation::from_id(request.isolation_level) };
    let mut seen = BTreeSet::new();
    let mut twice = BTreeSet::new();
    for topic in &request.topics {
        for partition in &topic.partitions {
            if !seen.insert((topic.name.clone(), partition.partition_index)) {
                twice.insert((topic.name.clone(), partition.partition_index));
            }
        }
    }
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for asked in topic.partitions {
            let result = if twice.contains(&(topic.name.clone(), asked.partition_index)) {
                Err(ErrorCode::InvalidRequest)
            } else {
                find(broker, context, &topic.name, &asked, isolation).await
            };
            partitions.push(answer(context, asked.partition_index, result));
        }
        topics.push(ListOffsetsTopicResponse { name: topic.name, partitions });
    }
    ListOffsetsResponse { topics, ..ListOffsetsResponse::default() }
}

fn answer(
    context: &Context,
    partition_index: i32,
    result: Result<Found, ErrorCode>,
) -> ListOffsetsPartitionResponse {
    match result {
        Ok(found) => ListOffsetsPartitionResponse {
            partition_index,
            error_code: failure_code::NONE,
            timestamp: found.timestamp,
            offset: found.offset,
            leader_epoch: if context.version >= 4 { found.leader_epoch } else { -1 },
        },
        Err(error) => ListOffsetsPartitionResponse {
            partition_index,
            error_code: error.to_i16(),
            timestamp: -1,
            offset: -1,
            leader_epoch: -1,
        },
    }
}

async fn find(
    broker: &Arc<Broker>,
    context: &Context,
    topic: &str,
    asked: &ListOffsetsPartition,
    isolation: Isolation,
) -> Result<Found, ErrorCode> {
    let sought = match asked.timestamp {
        LATEST => Sought::Latest,
        EARLIEST => Sought::Earliest,
        MAX_TIMESTAMP if context.version >= 7 => Sought::MaxTimestamp,
        EARLIEST_LOCAL if context.version >= 8 => Sought::Earliest,
        LATEST_TIERED if context.version >= 9 => Sought::Nothing,
        EARLIEST_PENDING_UPLOAD if context.version >= 11 => Sought::Nothing,
        timestamp if timestamp >= 0 => Sought::Timestamp(timestamp),
        _ => return Err(ErrorCode::UnsupportedVersion),
    };
    let partition = broker.partitions.get(topic, asked.partition_index);
    let partition = partition.ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let found = partition.find(sought, isolation, asked.current_leader_epoch).await;
    found.map_err(|refused| failure_code::of_partition(&refused))
}

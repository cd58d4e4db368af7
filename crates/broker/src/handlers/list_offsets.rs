//! ListOffsets (key 2): the offset of the start, the end, a timestamp, or the largest timestamp (KIP-79, KIP-734), and
//! the special times of tiered storage, answered as a log without it answers them (KIP-405, KIP-1005, KIP-1023).

use crate::{
    Broker,
    context::Context,
    failure_code,
    partition::{Found, Isolation, Sought},
};
use futures_util::future::join_all;
use std::{collections::BTreeSet, sync::Arc};
use wire::{
    ErrorCode, ListOffsetsRequest, ListOffsetsResponse,
    list_offsets_request::ListOffsetsPartition,
    list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse},
};

/// Who is no replica; followers and the debugging consumer (-2) see what is not committed yet.
const CONSUMER: i32 = -1;

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
    let isolation = if request.replica_id == CONSUMER {
        Isolation::from_id(request.isolation_level)
    } else {
        Isolation::LogEnd
    };
    let mut seen = BTreeSet::new();
    let mut twice = BTreeSet::new();
    for topic in &request.topics {
        for partition in &topic.partitions {
            let named = (topic.name.as_str(), partition.partition_index);
            if !seen.insert(named) {
                twice.insert(named);
            }
        }
    }
    let asked: Vec<_> = request
        .topics
        .iter()
        .flat_map(|topic| topic.partitions.iter().map(|asked| (topic.name.as_str(), asked)))
        .collect();
    let mut found = Vec::with_capacity(asked.len());
    for some in asked.chunks(super::ASKED_AT_ONCE) {
        let seeking = some.iter().map(|(topic, asked)| {
            let is_twice = twice.contains(&(*topic, asked.partition_index));
            find(broker, context, topic, asked, isolation, is_twice)
        });
        found.extend(join_all(seeking).await);
    }
    let mut found = found.into_iter();
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().zip(&mut found);
        let partitions = partitions.map(|(asked, result)| answer(context, asked.partition_index, result));
        ListOffsetsTopicResponse { partitions: partitions.collect(), name: topic.name.clone() }
    });
    ListOffsetsResponse { topics: topics.collect(), ..ListOffsetsResponse::default() }
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
    is_twice: bool,
) -> Result<Found, ErrorCode> {
    if is_twice {
        return Err(ErrorCode::InvalidRequest);
    }
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
    let partition = super::partition_here(broker, topic, asked.partition_index)?;
    let found = partition.find(sought, isolation, asked.current_leader_epoch).await;
    found.map_err(|refused| failure_code::of_partition(&refused))
}

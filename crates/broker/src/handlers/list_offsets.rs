//! ListOffsets (key 2): the offset of the start, the end, a timestamp, or the largest timestamp (KIP-79, KIP-734), and
//! the special times of tiered storage, answered as a log without it answers them (KIP-405, KIP-1005, KIP-1023).

use crate::{
    Broker,
    context::Context,
    failure_code,
    partition::{Found, Isolation, Reader, Sought},
};
use futures_util::future::join_all;
use std::sync::Arc;
use stdx::Map;
use wire::{
    ErrorCode, ListOffsetsRequest, ListOffsetsResponse,
    list_offsets_request::ListOffsetsPartition,
    list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse},
};

/// Who is no replica; followers and the debugging consumer (-2) see what is not committed yet.
const CONSUMER: i32 = -1;

/// Before this version clients do not know OFFSET_NOT_AVAILABLE (KIP-207).
const VERSION_WITH_OFFSET_NOT_AVAILABLE: i16 = 5;

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
    let isolation = Isolation::from_id(request.isolation_level);
    let isolation =
        if request.replica_id == CONSUMER { isolation } else { isolation.and(Some(Isolation::LogEnd)) };
    let reader = isolation.map(|isolation| Reader::Consumer { isolation, leader_only: true });
    let topics = without_repetitions(&request);
    let asked: Vec<_> = topics
        .iter()
        .flat_map(|(topic, partitions)| {
            partitions.iter().map(|(asked, is_twice)| (*topic, *asked, *is_twice))
        })
        .collect();
    let mut found = Vec::with_capacity(asked.len());
    for some in asked.chunks(super::ASKED_AT_ONCE) {
        let seeking = some
            .iter()
            .map(|(topic, asked, is_twice)| find(broker, context, topic, asked, reader, *is_twice));
        found.extend(join_all(seeking).await);
    }
    let mut found = found.into_iter();
    let topics = topics.iter().map(|(topic, partitions)| {
        let partitions = partitions.iter().zip(&mut found);
        let partitions =
            partitions.map(|((asked, _), result)| answer(context, asked.partition_index, result));
        ListOffsetsTopicResponse { partitions: partitions.collect(), name: (*topic).to_owned() }
    });
    ListOffsetsResponse { topics: topics.collect(), ..ListOffsetsResponse::default() }
}

/// A topic with its partitions, and whether each was named more than once.
type Asked<'a> = (&'a str, Vec<(&'a ListOffsetsPartition, bool)>);

/// Every topic once, in the order in which they first came, and so every partition of it, as in Kafka's answer.
fn without_repetitions(request: &ListOffsetsRequest) -> Vec<Asked<'_>> {
    let mut topics: Vec<Asked<'_>> = Vec::with_capacity(request.topics.len());
    let mut places = Map::default();
    let mut known: Map<(usize, i32), usize> = Map::default();
    for topic in &request.topics {
        let place = *places.entry(topic.name.as_str()).or_insert(topics.len());
        if place == topics.len() {
            topics.push((&topic.name, Vec::with_capacity(topic.partitions.len())));
        }
        let Some((_, partitions)) = topics.get_mut(place) else { continue };
        for asked in &topic.partitions {
            match known.insert((place, asked.partition_index), partitions.len()) {
                None => partitions.push((asked, false)),
                Some(first) => {
                    known.insert((place, asked.partition_index), first);
                    if let Some((_, is_twice)) = partitions.get_mut(first) {
                        *is_twice = true;
                    }
                }
            }
        }
    }
    topics.retain(|(_, partitions)| !partitions.is_empty());
    topics
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
    reader: Option<Reader>,
    is_twice: bool,
) -> Result<Found, ErrorCode> {
    // Kafka stumbles over a level that does not exist.
    let reader = reader.ok_or(ErrorCode::UnknownServerError)?;
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
    let found = partition.find(sought, &reader, asked.current_leader_epoch).await;
    found.map_err(|refused| match failure_code::of_partition(&refused) {
        ErrorCode::OffsetNotAvailable if context.version < VERSION_WITH_OFFSET_NOT_AVAILABLE => {
            ErrorCode::LeaderNotAvailable
        }
        error => error,
    })
}

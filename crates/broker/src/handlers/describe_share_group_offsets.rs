//! DescribeShareGroupOffsets (key 90): where share groups stand in partitions, and how much is left (KIP-932, KIP-1226).

use crate::{
    Broker,
    context::Context,
    failure_code,
    partition::{Isolation, Reader, Sought},
};
use futures_util::future::join_all;
use groups::{Error, Reply, Request};
use model::{GroupId, TopicId};
use share::{Key, Summary};
use std::sync::Arc;
use stdx::Uuid;
use wire::{
    DescribeShareGroupOffsetsRequest, DescribeShareGroupOffsetsResponse, ErrorCode, ListOffsetsRequest,
    describe_share_group_offsets_request::{
        DescribeShareGroupOffsetsRequestGroup, DescribeShareGroupOffsetsRequestTopic,
    },
    describe_share_group_offsets_response::{
        DescribeShareGroupOffsetsResponseGroup, DescribeShareGroupOffsetsResponsePartition,
        DescribeShareGroupOffsetsResponseTopic,
    },
    list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
};

/// How long the leader of a partition may take to say where that ends.
const END_MS_MAX: i64 = 10_000;
/// The end of a partition, in ListOffsets.
const LATEST: i64 = -1;

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    _context: &Context,
    request: DescribeShareGroupOffsetsRequest,
) -> DescribeShareGroupOffsetsResponse {
    let is_enabled = super::has_share_groups(broker);
    let mut groups = Vec::with_capacity(request.groups.len());
    for asked in request.groups {
        groups.push(match is_enabled {
            true => describe(broker, asked).await,
            false => refusal(asked.group_id, ErrorCode::UnsupportedVersion),
        });
    }
    DescribeShareGroupOffsetsResponse { groups, ..DescribeShareGroupOffsetsResponse::default() }
}

async fn describe(
    broker: &Arc<Broker>,
    asked: DescribeShareGroupOffsetsRequestGroup,
) -> DescribeShareGroupOffsetsResponseGroup {
    let group = GroupId::new(&asked.group_id);
    let topics = match asked.topics {
        Some(topics) => topics,
        None => match all(broker, &group).await {
            Ok(topics) => topics,
            Err(error) => return refusal(asked.group_id, failure_code::of_groups(&error)),
        },
    };
    let image = broker.image();
    let (mut described, mut unknown) = (Vec::with_capacity(topics.len()), Vec::new());
    for topic in topics {
        let topic_id = image.topic(&topic.topic_name).map(|known| known.id);
        let Some(topic_id) = topic_id else {
            let nowhere = |partition_index: &i32| DescribeShareGroupOffsetsResponsePartition {
                partition_index: *partition_index,
                start_offset: -1,
                lag: -1,
                ..DescribeShareGroupOffsetsResponsePartition::default()
            };
            unknown.push(DescribeShareGroupOffsetsResponseTopic {
                topic_name: topic.topic_name,
                topic_id: Uuid::ZERO,
                partitions: topic.partitions.iter().map(nowhere).collect(),
            });
            continue;
        };
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for some in topic.partitions.chunks(super::ASKED_AT_ONCE) {
            let asked =
                some.iter().map(|index| partition(broker, &group, (topic_id, &topic.topic_name), *index));
            partitions.extend(join_all(asked).await);
        }
        let topic_name = topic.topic_name;
        described.push(DescribeShareGroupOffsetsResponseTopic { topic_name, topic_id, partitions });
    }
    described.append(&mut unknown);
    DescribeShareGroupOffsetsResponseGroup {
        group_id: asked.group_id,
        topics: described,
        ..DescribeShareGroupOffsetsResponseGroup::default()
    }
}

/// Every partition that the group has a share state of.
async fn all(broker: &Broker, group: &GroupId) -> Result<Vec<DescribeShareGroupOffsetsRequestTopic>, Error> {
    let order = Request::SharePartitions { group: group.clone() };
    let Reply::SharePartitions(partitions) = broker.groups.ask(group, order).await? else {
        return Err(Error::UnknownServerError);
    };
    let image = broker.image();
    let topics = partitions.into_iter().filter_map(|(id, partitions)| {
        let topic_name = image.topic_by_id(id)?.name.to_string();
        Some(DescribeShareGroupOffsetsRequestTopic {
            topic_name,
            partitions: partitions.into_iter().collect(),
        })
    });
    Ok(topics.collect())
}

async fn partition(
    broker: &Arc<Broker>,
    group: &GroupId,
    (topic, name): (TopicId, &str),
    partition_index: i32,
) -> DescribeShareGroupOffsetsResponsePartition {
    let key = Key { group: group.clone(), topic, partition: partition_index };
    let told = crate::share_states::ask(broker, share::Request::ReadSummary(key)).await;
    let summary = match told {
        Ok(share::Reply::ReadSummary(summary)) => summary,
        // Whoever asks of what does not exist hears of nothing, as in Kafka.
        _ => Summary::UNKNOWN,
    };
    let mut data = DescribeShareGroupOffsetsResponsePartition {
        partition_index,
        start_offset: summary.start,
        leader_epoch: summary.leader_epoch,
        lag: -1,
        ..DescribeShareGroupOffsetsResponsePartition::default()
    };
    if summary.start != -1 && summary.complete_count != -1 {
        match end_of(broker, name, partition_index).await {
            Ok(end) => data.lag = end - summary.start - i64::from(summary.complete_count),
            Err(error) => (data.error_code, data.error_message) = super::code_and_name(Some(error)),
        }
    }
    data
}

/// Where a partition ends, wherever its leader is.
async fn end_of(broker: &Arc<Broker>, topic: &str, index: i32) -> Result<i64, ErrorCode> {
    let leader = {
        let image = broker.image();
        let known = image.topic(topic).and_then(|topic| topic.partition(index));
        known.ok_or(ErrorCode::UnknownTopicOrPartition)?.leader
    };
    if leader == broker.config.node_id {
        let reader = Reader::Consumer { isolation: Isolation::HighWatermark, leader_only: true };
        let found = super::partition_here(broker, topic, index)?.find(Sought::Latest, &reader, -1).await;
        return found.map(|found| found.offset).map_err(|refused| failure_code::of_partition(&refused));
    }
    let address = broker.address_of(leader).ok_or(ErrorCode::LeaderNotAvailable)?;
    let partition =
        ListOffsetsPartition { partition_index: index, current_leader_epoch: -1, timestamp: LATEST };
    let topics = vec![ListOffsetsTopic { name: topic.to_owned(), partitions: vec![partition] }];
    let request = ListOffsetsRequest { replica_id: -1, topics, ..ListOffsetsRequest::default() };
    let response = broker.links.call(&address, &request, END_MS_MAX).await;
    let response = response.map_err(|_| ErrorCode::NetworkException)?;
    let found = response.topics.into_iter().flat_map(|topic| topic.partitions).next();
    let found = found.ok_or(ErrorCode::UnknownServerError)?;
    match failure_code::from_code(found.error_code) {
        ErrorCode::None => Ok(found.offset),
        code => Err(code),
    }
}

fn refusal(group_id: String, error: ErrorCode) -> DescribeShareGroupOffsetsResponseGroup {
    let (error_code, error_message) = super::code_and_name(Some(error));
    DescribeShareGroupOffsetsResponseGroup { group_id, error_code, error_message, topics: Vec::new() }
}

//! DescribeTopicPartitions (key 75): topics page by page, in the order of their names (KIP-966).

use crate::{Broker, context::Context, failure_code};
use metadata::{Image, Topic};
use std::{collections::BTreeSet, sync::Arc};
use wire::{
    DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, ErrorCode,
    describe_topic_partitions_request::TopicRequest,
    describe_topic_partitions_response::{
        Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
    },
};

/// `max.request.partition.size.limit`: partitions in one answer.
const PARTITIONS_MAX: i32 = 2000;

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    context: &Context,
    request: DescribeTopicPartitionsRequest,
) -> DescribeTopicPartitionsResponse {
    let image = broker.image();
    if let Some(cursor) = &request.cursor {
        let is_asked = |topic: &TopicRequest| topic.name == cursor.topic_name;
        if cursor.partition_index < 0 || !request.topics.is_empty() && !request.topics.iter().any(is_asked) {
            return refusal(request, ErrorCode::InvalidRequest);
        }
    }
    let (first_topic, first_partition) = match &request.cursor {
        Some(cursor) => (cursor.topic_name.clone(), cursor.partition_index),
        None => (String::new(), 0),
    };
    // Kafka stumbles over a name that is none, unless it is told where to begin.
    if request.cursor.is_none() && request.topics.iter().any(|topic| topic.name.is_empty()) {
        return refusal(request, ErrorCode::UnknownServerError);
    }
    let names: BTreeSet<String> = if request.topics.is_empty() {
        image.topics_from(&first_topic).map(|topic| topic.name.to_string()).collect()
    } else {
        request.topics.into_iter().map(|topic| topic.name).filter(|name| *name >= first_topic).collect()
    };
    let mut room = request.response_partition_limit.clamp(1, PARTITIONS_MAX) as usize;
    let mut response = DescribeTopicPartitionsResponse::default();
    for name in names {
        if room == 0 {
            response.next_cursor = Some(Cursor { topic_name: name, partition_index: 0 });
            break;
        }
        let Some(topic) = image.topic(&name) else {
            response.topics.push(unknown(name));
            continue;
        };
        let first = if name == first_topic { first_partition } else { 0 };
        let page = describe((&image, &context.listener), topic, first, room);
        let next = first + page.partitions.len() as i32;
        room -= page.partitions.len();
        response.topics.push(page);
        if (next as usize) < topic.partitions.len() {
            response.next_cursor = Some(Cursor { topic_name: name, partition_index: next });
            break;
        }
    }
    response
}

/// Kafka has no place for an error of the whole request but the topics.
fn refusal(request: DescribeTopicPartitionsRequest, error: ErrorCode) -> DescribeTopicPartitionsResponse {
    let topics = request.topics.into_iter().map(|topic| DescribeTopicPartitionsResponseTopic {
        error_code: error.to_i16(),
        name: Some(topic.name),
        ..DescribeTopicPartitionsResponseTopic::default()
    });
    DescribeTopicPartitionsResponse { topics: topics.collect(), ..Default::default() }
}

fn unknown(name: String) -> DescribeTopicPartitionsResponseTopic {
    DescribeTopicPartitionsResponseTopic {
        error_code: super::unknown_topic_error(&name).to_i16(),
        is_internal: super::is_internal(&name),
        topic_authorized_operations: super::TOPIC_OPERATIONS,
        name: Some(name),
        ..DescribeTopicPartitionsResponseTopic::default()
    }
}

fn describe(
    (image, listener): (&Image, &str),
    topic: &Topic,
    first: i32,
    room: usize,
) -> DescribeTopicPartitionsResponseTopic {
    let rest = topic.indexed().skip(first as usize).take(room);
    let partitions = rest.map(|(index, partition)| DescribeTopicPartitionsResponsePartition {
        error_code: super::partition_error(partition),
        partition_index: index,
        leader_id: partition.leader,
        leader_epoch: partition.leader_epoch,
        replica_nodes: partition.replicas.clone(),
        isr_nodes: partition.isr.clone(),
        eligible_leader_replicas: Some(partition.elr.clone()),
        last_known_elr: Some(partition.elr_last_known.clone()),
        offline_replicas: super::offline_replicas(image, partition, listener),
    });
    DescribeTopicPartitionsResponseTopic {
        error_code: failure_code::NONE,
        name: Some(topic.name.to_string()),
        topic_id: topic.id,
        is_internal: topic.name.is_internal(),
        partitions: partitions.collect(),
        topic_authorized_operations: super::TOPIC_OPERATIONS,
    }
}

//! OffsetFetch (key 9): the committed positions of groups; several groups at once from version 8 on (KIP-709), topics
//! by id from version 10 on.

use crate::{Broker, context::Context, failure_code};
use futures_util::future::join_all;
use groups::{Error, FetchTopic, FetchedTopic, OffsetFetch, Reply, Request};
use model::{GroupId, TopicName};
use std::sync::Arc;
use wire::{
    ErrorCode, OffsetFetchRequest, OffsetFetchResponse,
    offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics},
    offset_fetch_response::{
        OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
        OffsetFetchResponseTopic, OffsetFetchResponseTopics,
    },
};

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    context: &Context,
    request: OffsetFetchRequest,
) -> OffsetFetchResponse {
    if context.version >= 8 {
        let mut groups = Vec::with_capacity(request.groups.len());
        let mut asked = request.groups.into_iter().peekable();
        while asked.peek().is_some() {
            let some = asked.by_ref().take(super::ASKED_AT_ONCE);
            let answering = some.map(|group| of_group(broker, context, group, request.require_stable));
            groups.extend(join_all(answering).await);
        }
        return OffsetFetchResponse { groups, ..OffsetFetchResponse::default() };
    }
    let topics = request.topics.map(|topics| {
        let topics = topics.into_iter().map(|topic| OffsetFetchRequestTopics {
            name: topic.name,
            partition_indexes: topic.partition_indexes,
            ..OffsetFetchRequestTopics::default()
        });
        topics.collect()
    });
    let group = OffsetFetchRequestGroup { group_id: request.group_id, topics, ..Default::default() };
    old_form(context, of_group(broker, context, group, request.require_stable).await)
}

/// Before version 8 there is one group, and before version 2 its error stands with each partition.
fn old_form(context: &Context, group: OffsetFetchResponseGroup) -> OffsetFetchResponse {
    let topics = group.topics.into_iter().map(|topic| OffsetFetchResponseTopic {
        name: topic.name,
        partitions: topic
            .partitions
            .into_iter()
            .map(|one| OffsetFetchResponsePartition {
                partition_index: one.partition_index,
                committed_offset: one.committed_offset,
                committed_leader_epoch: one.committed_leader_epoch,
                metadata: one.metadata,
                error_code: if context.version < 2 && group.error_code != failure_code::NONE {
                    group.error_code
                } else {
                    one.error_code
                },
            })
            .collect(),
    });
    OffsetFetchResponse {
        topics: topics.collect(),
        error_code: group.error_code,
        ..OffsetFetchResponse::default()
    }
}

async fn of_group(
    broker: &Arc<Broker>,
    context: &Context,
    asked: OffsetFetchRequestGroup,
    require_stable: bool,
) -> OffsetFetchResponseGroup {
    let group = GroupId::new(&asked.group_id);
    let mut answer = OffsetFetchResponseGroup { group_id: asked.group_id, ..Default::default() };
    let by_id = context.version >= 10;
    let known = asked.topics.map(|topics| {
        topics
            .into_iter()
            .filter_map(|topic| known_topic(broker, by_id, topic, &mut answer))
            .collect::<Vec<_>>()
    });
    let shape = known.clone().unwrap_or_default();
    let member = asked.member_id.map(|id| (id.as_str().into(), asked.member_epoch));
    let fetch = OffsetFetch { group: group.clone(), topics: known, member, require_stable };
    let error = match broker.groups.ask(&group, Request::OffsetFetch(fetch)).await {
        Ok(Reply::OffsetFetch(topics)) => {
            let unknown = std::mem::take(&mut answer.topics);
            answer.topics = topics.into_iter().filter_map(|topic| fetched(broker, by_id, topic)).collect();
            answer.topics.extend(unknown);
            return answer;
        }
        Ok(_) => Error::UnknownServerError,
        Err(error) => error,
    };
    // The one API that has never learnt of COORDINATOR_NOT_AVAILABLE.
    let error = if error == Error::CoordinatorNotAvailable { Error::NotCoordinator } else { error };
    answer.error_code = failure_code::of_groups(&error).to_i16();
    if context.version >= 2 {
        answer.topics.clear();
    } else {
        // There is no other place for the error.
        answer.topics.extend(shape.into_iter().map(|topic| {
            let nothing = topic.partitions.iter().map(|index| nothing(*index, answer.error_code));
            OffsetFetchResponseTopics {
                name: topic.topic.to_string(),
                topic_id: topic.topic_id,
                partitions: nothing.collect(),
            }
        }));
    }
    answer
}

/// The topic as the coordinator knows it, or else an answer right away.
fn known_topic(
    broker: &Broker,
    by_id: bool,
    topic: OffsetFetchRequestTopics,
    answer: &mut OffsetFetchResponseGroup,
) -> Option<FetchTopic> {
    let image = broker.image();
    let name = if by_id {
        image.topic_by_id(topic.topic_id).map(|found| found.name.clone())
    } else {
        TopicName::new(&topic.name).ok()
    };
    let Some(name) = name else {
        let error = if by_id { ErrorCode::UnknownTopicId.to_i16() } else { failure_code::NONE };
        let partitions = topic.partition_indexes.iter().map(|index| nothing(*index, error)).collect();
        answer.topics.push(OffsetFetchResponseTopics {
            name: topic.name,
            topic_id: topic.topic_id,
            partitions,
        });
        return None;
    };
    Some(FetchTopic { topic: name, topic_id: topic.topic_id, partitions: topic.partition_indexes })
}

fn fetched(broker: &Broker, by_id: bool, topic: FetchedTopic) -> Option<OffsetFetchResponseTopics> {
    let mut topic_id = topic.topic_id;
    if by_id && topic_id.is_zero() {
        topic_id = broker.image().topic(&topic.topic)?.id;
    }
    let partitions = topic.partitions.into_iter().map(|one| OffsetFetchResponsePartitions {
        partition_index: one.partition,
        committed_offset: one.offset,
        committed_leader_epoch: one.leader_epoch,
        metadata: Some(one.metadata.to_string()),
        error_code: failure_code::of_group_result(one.error.as_ref()),
    });
    Some(OffsetFetchResponseTopics {
        name: topic.topic.to_string(),
        topic_id,
        partitions: partitions.collect(),
    })
}

fn nothing(partition_index: i32, error_code: i16) -> OffsetFetchResponsePartitions {
    OffsetFetchResponsePartitions {
        partition_index,
        committed_offset: -1,
        committed_leader_epoch: -1,
        metadata: Some(String::new()),
        error_code,
    }
}

//! OffsetCommit (key 8): a group's positions, by topic name or, from version 10 on, by topic id.

use crate::{Broker, context::Context, failure_code};
use groups::{CommitPartition, CommitTopic, Error, OffsetCommit, Reply, Request};
use model::{GroupId, TopicName};
use std::sync::Arc;
use stdx::Uuid;
use wire::{
    ErrorCode, OffsetCommitRequest, OffsetCommitResponse,
    offset_commit_request::OffsetCommitRequestTopic,
    offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic},
};

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    context: &Context,
    request: OffsetCommitRequest,
) -> OffsetCommitResponse {
    let group = GroupId::new(&request.group_id);
    let (known, mut answers) = sort_out(broker, context, request.topics);
    if !known.is_empty() || answers.is_empty() {
        let asked: Vec<_> = known.iter().map(shape).collect();
        let commit = OffsetCommit {
            group: group.clone(),
            generation: request.generation_id_or_member_epoch,
            member_id: request.member_id.as_str().into(),
            instance_id: request.group_instance_id.as_deref().map(Into::into),
            retention_ms: request.retention_time_ms,
            supports_group_id_not_found: context.version >= 9,
            topics: known,
        };
        let error = match broker.groups.ask(&group, Request::OffsetCommit(commit)).await {
            Ok(Reply::OffsetCommit(topics)) => {
                for topic in topics {
                    let name = topic.topic.to_string();
                    let partitions = topic.partitions.into_iter().map(|(index, error)| (index, code(error)));
                    merge(&mut answers, name, topic.topic_id, partitions);
                }
                None
            }
            Ok(_) => Some(Error::UnknownServerError),
            Err(error) => Some(error),
        };
        if let Some(error) = error {
            for (name, id, partitions) in asked {
                merge(
                    &mut answers,
                    name,
                    id,
                    partitions.into_iter().map(|index| (index, code(Some(error.clone())))),
                );
            }
        }
    }
    OffsetCommitResponse { topics: answers, ..OffsetCommitResponse::default() }
}

fn code(error: Option<Error>) -> i16 {
    error.map_or(failure_code::NONE, |error| failure_code::of_groups(&error).to_i16())
}

fn shape(topic: &CommitTopic) -> (String, Uuid, Vec<i32>) {
    (topic.topic.to_string(), topic.topic_id, topic.partitions.iter().map(|one| one.partition).collect())
}

/// The topics and partitions that exist, and the answers for those that do not.
fn sort_out(
    broker: &Broker,
    context: &Context,
    asked: Vec<OffsetCommitRequestTopic>,
) -> (Vec<CommitTopic>, Vec<OffsetCommitResponseTopic>) {
    let image = broker.image();
    let (mut known, mut answers) = (Vec::new(), Vec::new());
    for topic in asked {
        let by_id = context.version >= 10;
        let found = if by_id { image.topic_by_id(topic.topic_id) } else { image.topic(&topic.name) };
        let error = if by_id { ErrorCode::UnknownTopicId } else { ErrorCode::UnknownTopicOrPartition };
        let Some(found) = found else {
            let unknown = topic.partitions.iter().map(|one| (one.partition_index, error.to_i16()));
            merge(&mut answers, topic.name.clone(), topic.topic_id, unknown);
            continue;
        };
        let (there, gone): (Vec<_>, Vec<_>) =
            topic.partitions.into_iter().partition(|one| found.partition(one.partition_index).is_some());
        let gone = gone.iter().map(|one| (one.partition_index, ErrorCode::UnknownTopicOrPartition.to_i16()));
        let id = if by_id { found.id } else { Uuid::ZERO };
        merge(&mut answers, found.name.to_string(), id, gone);
        if !there.is_empty() {
            let partitions = there.into_iter().map(|one| CommitPartition {
                partition: one.partition_index,
                offset: one.committed_offset,
                leader_epoch: one.committed_leader_epoch,
                metadata: one.committed_metadata.as_deref().unwrap_or_default().into(),
            });
            let topic = TopicName::clone(&found.name);
            known.push(CommitTopic { topic, topic_id: found.id, partitions: partitions.collect() });
        }
    }
    (known, answers)
}

fn merge(
    answers: &mut Vec<OffsetCommitResponseTopic>,
    name: String,
    topic_id: Uuid,
    partitions: impl Iterator<Item = (i32, i16)>,
) {
    let partitions = partitions
        .map(|(partition_index, error_code)| OffsetCommitResponsePartition { partition_index, error_code })
        .collect::<Vec<_>>();
    if partitions.is_empty() {
        return;
    }
    match answers.iter_mut().find(|topic| topic.name == name) {
        Some(topic) => {
            topic.topic_id = topic_id;
            topic.partitions.extend(partitions);
        }
        None => answers.push(OffsetCommitResponseTopic { name, topic_id, partitions }),
    }
}

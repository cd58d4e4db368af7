//! OffsetCommit (key 8): a group's positions, by topic name or, from version 10 on, by topic id.

use crate::{Broker, context::Context, failure_code};
use groups::{CommitPartition, CommitTopic, Error, OffsetCommit, Reply, Request};
use model::{GroupId, TopicName};
use std::sync::Arc;
use stdx::{Map, Uuid};
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
    if !known.is_empty() || answers.topics.is_empty() {
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
                    let partitions = topic
                        .partitions
                        .into_iter()
                        .map(|(index, error)| (index, failure_code::of_group_result(error.as_ref())));
                    answers.merge(name, topic.topic_id, partitions);
                }
                None
            }
            Ok(_) => Some(Error::UnknownServerError),
            Err(error) => Some(error),
        };
        if let Some(error) = error {
            for (name, id, partitions) in asked {
                let refused =
                    partitions.into_iter().map(|index| (index, failure_code::of_groups(&error).to_i16()));
                answers.merge(name, id, refused);
            }
        }
    }
    OffsetCommitResponse { topics: answers.topics, ..OffsetCommitResponse::default() }
}

fn shape(topic: &CommitTopic) -> (String, Uuid, Vec<i32>) {
    (topic.topic.to_string(), topic.topic_id, topic.partitions.iter().map(|one| one.partition).collect())
}

/// The topics and partitions that exist, and the answers for those that do not.
fn sort_out(
    broker: &Broker,
    context: &Context,
    asked: Vec<OffsetCommitRequestTopic>,
) -> (Vec<CommitTopic>, Answers) {
    let image = broker.image();
    let by_id = context.version >= 10;
    let mut known = Vec::new();
    let mut answers = Answers { by_id, topics: Vec::new(), places: Map::default() };
    for topic in asked {
        let found = if by_id { image.topic_by_id(topic.topic_id) } else { image.topic(&topic.name) };
        let error = if by_id { ErrorCode::UnknownTopicId } else { ErrorCode::UnknownTopicOrPartition };
        let Some(found) = found else {
            let unknown = topic.partitions.iter().map(|one| (one.partition_index, error.to_i16()));
            answers.merge(topic.name.clone(), topic.topic_id, unknown);
            continue;
        };
        let (there, gone): (Vec<_>, Vec<_>) =
            topic.partitions.into_iter().partition(|one| found.partition(one.partition_index).is_some());
        let gone = gone.iter().map(|one| (one.partition_index, ErrorCode::UnknownTopicOrPartition.to_i16()));
        let id = if by_id { found.id } else { Uuid::ZERO };
        answers.merge(found.name.to_string(), id, gone);
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

/// The answer as it grows: one row for each topic, in the order in which they first came.
struct Answers {
    by_id: bool,
    topics: Vec<OffsetCommitResponseTopic>,
    places: Map<(String, Uuid), usize>,
}

impl Answers {
    fn merge(&mut self, name: String, topic_id: Uuid, partitions: impl Iterator<Item = (i32, i16)>) {
        let mut partitions = partitions
            .map(|(partition_index, error_code)| OffsetCommitResponsePartition {
                partition_index,
                error_code,
            })
            .peekable();
        if partitions.peek().is_none() {
            return;
        }
        // Unknown ids have no name to tell them apart, and old versions no ids.
        let key = if self.by_id { (String::new(), topic_id) } else { (name.clone(), Uuid::ZERO) };
        let place = *self.places.entry(key).or_insert(self.topics.len());
        match self.topics.get_mut(place) {
            Some(topic) => topic.partitions.extend(partitions),
            None => self.topics.push(OffsetCommitResponseTopic {
                name,
                topic_id,
                partitions: partitions.collect(),
            }),
        }
    }
}

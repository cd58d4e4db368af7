//! TxnOffsetCommit (key 28): a group's positions as part of a transaction (KIP-98), fenced by the generation of the group
//! (KIP-447); from version 5 on it adds the group's partition to the transaction itself (KIP-890).

use super::{add_offsets_to_txn::partition_of_group, partition_here};
use crate::{
    Broker,
    context::Context,
    failure_code,
    txn_verification::{Operation, Txn, Verified},
};
use groups::{CommitPartition, CommitTopic, Error, OffsetCommit, Reply, Request, TxnOffsetCommit};
use model::{GroupId, TopicName};
use std::{collections::BTreeMap, sync::Arc};
use stdx::Uuid;
use wire::{
    ErrorCode, TxnOffsetCommitRequest, TxnOffsetCommitResponse,
    txn_offset_commit_request::TxnOffsetCommitRequestTopic,
    txn_offset_commit_response::{TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic},
};

/// From this version on topics are named by their ids.
const VERSION_WITH_TOPIC_IDS: i16 = 6;
/// Before this version clients do not know COORDINATOR_LOAD_IN_PROGRESS.
const VERSION_WITH_LOADING: i16 = 2;

/// The codes of a topic's partitions.
type Codes = BTreeMap<i32, i16>;

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    context: &Context,
    mut request: TxnOffsetCommitRequest,
) -> TxnOffsetCommitResponse {
    let topics = std::mem::take(&mut request.topics);
    let mut codes: Vec<Codes> = vec![Codes::new(); topics.len()];
    let mut known = Vec::new();
    for (topic, codes) in topics.iter().zip(&mut codes) {
        known.extend(sort_out(broker, context, topic, codes));
    }
    if !known.is_empty() {
        let results = commit(broker, context, &request, known).await;
        for (topic, codes) in topics.iter().zip(&mut codes) {
            for partition in &topic.partitions {
                let index = partition.partition_index;
                let code = match &results {
                    Ok(results) => results.get(&(topic.topic_id, topic.name.clone(), index)).copied(),
                    Err(code) => Some(code.to_i16()),
                };
                codes.entry(index).or_insert(code.unwrap_or(ErrorCode::UnknownServerError.to_i16()));
            }
        }
    }
    let told = |code: i16| match context.version < VERSION_WITH_LOADING {
        true if code == ErrorCode::CoordinatorLoadInProgress.to_i16() => {
            ErrorCode::CoordinatorNotAvailable.to_i16()
        }
        _ => code,
    };
    let topics = topics.into_iter().zip(codes).map(|(topic, codes)| TxnOffsetCommitResponseTopic {
        partitions: topic
            .partitions
            .iter()
            .map(|one| TxnOffsetCommitResponsePartition {
                partition_index: one.partition_index,
                error_code: told(codes.get(&one.partition_index).copied().unwrap_or_default()),
            })
            .collect(),
        name: topic.name,
        topic_id: topic.topic_id,
    });
    TxnOffsetCommitResponse { topics: topics.collect(), ..Default::default() }
}

/// The partitions of a topic that exist; the codes of those that do not.
fn sort_out(
    broker: &Broker,
    context: &Context,
    topic: &TxnOffsetCommitRequestTopic,
    codes: &mut Codes,
) -> Option<CommitTopic> {
    let image = broker.image();
    let by_id = context.version >= VERSION_WITH_TOPIC_IDS;
    let found = if by_id { image.topic_by_id(topic.topic_id) } else { image.topic(&topic.name) };
    let error = if by_id { ErrorCode::UnknownTopicId } else { ErrorCode::UnknownTopicOrPartition };
    let Some(found) = found else {
        codes.extend(topic.partitions.iter().map(|one| (one.partition_index, error.to_i16())));
        return None;
    };
    let mut partitions = Vec::new();
    for one in &topic.partitions {
        if found.partition(one.partition_index).is_none() {
            codes.insert(one.partition_index, ErrorCode::UnknownTopicOrPartition.to_i16());
            continue;
        }
        partitions.push(CommitPartition {
            partition: one.partition_index,
            offset: one.committed_offset,
            leader_epoch: one.committed_leader_epoch,
            metadata: one.committed_metadata.as_deref().unwrap_or_default().into(),
        });
    }
    let topic_id = if by_id { found.id } else { Uuid::ZERO };
    (!partitions.is_empty()).then(|| CommitTopic {
        topic: TopicName::clone(&found.name),
        topic_id,
        partitions,
    })
}

/// By the topic's id (zero in old versions), its name in the request, and the partition.
type Results = BTreeMap<(Uuid, String, i32), i16>;

async fn commit(
    broker: &Arc<Broker>,
    context: &Context,
    request: &TxnOffsetCommitRequest,
    topics: Vec<CommitTopic>,
) -> Result<Results, ErrorCode> {
    let by_id = context.version >= VERSION_WITH_TOPIC_IDS;
    let group = GroupId::new(&request.group_id);
    if group.is_empty() {
        return Err(ErrorCode::InvalidGroupId);
    }
    let guard = verify(broker, context, request).await?;
    let commit = OffsetCommit {
        group: group.clone(),
        generation: request.generation_id_or_member_epoch,
        member_id: request.member_id.as_str().into(),
        instance_id: request.group_instance_id.as_deref().map(Into::into),
        retention_ms: -1,
        supports_group_id_not_found: false,
        topics,
    };
    let (producer_id, producer_epoch) = (request.producer_id, request.producer_epoch);
    let commit = TxnOffsetCommit { producer_id, producer_epoch, guard, commit };
    match broker.groups.ask(&group, Request::TxnOffsetCommit(commit)).await {
        Ok(Reply::TxnOffsetCommit(topics)) => {
            let mut results = Results::new();
            for topic in topics {
                for (index, error) in topic.partitions {
                    let name = if by_id { String::new() } else { topic.topic.to_string() };
                    let code = failure_code::of_group_result(error.as_ref());
                    results.insert((topic.topic_id, name, index), code);
                }
            }
            Ok(results)
        }
        Ok(_) => Err(ErrorCode::UnknownServerError),
        Err(Error::CoordinatorNotAvailable) => Err(ErrorCode::CoordinatorNotAvailable),
        Err(error) => Err(failure_code::of_groups(&error)),
    }
}

/// What the log of the group's offsets is to be shown.
async fn verify(
    broker: &Arc<Broker>,
    context: &Context,
    request: &TxnOffsetCommitRequest,
) -> Result<Option<u64>, ErrorCode> {
    let partition =
        partition_of_group(broker, &request.group_id).ok_or(ErrorCode::CoordinatorNotAvailable)?;
    let found = partition_here(broker, &partition.topic, partition.partition);
    let found = found.map_err(|_| ErrorCode::NotCoordinator)?;
    let txn = Txn {
        id: request.transactional_id.clone(),
        producer_id: request.producer_id,
        producer_epoch: request.producer_epoch,
        operation: Operation::of_offset_commit(context.version),
    };
    let mut verified = Verified::default();
    let asked = verified.begin(broker, &txn, vec![(found.clone(), -1)]);
    if !asked.is_empty() {
        verified.ask(broker, &txn, asked, false).await;
    }
    let guard = verified.guard(&found).map_err(|code| match code {
        ErrorCode::NotLeaderOrFollower | ErrorCode::KafkaStorageError => ErrorCode::NotCoordinator,
        ErrorCode::UnknownTopicOrPartition | ErrorCode::NotEnoughReplicas | ErrorCode::RequestTimedOut => {
            ErrorCode::CoordinatorNotAvailable
        }
        // The transaction's coordinator could not be asked; clients try again.
        ErrorCode::NetworkException => ErrorCode::CoordinatorLoadInProgress,
        code => code,
    })?;
    Ok(guard.map(|guard| guard.0))
}

//! DeleteShareGroupOffsets (key 92): lets a share group without members forget topics (KIP-932).

use crate::{Broker, context::Context, failure_code};
use groups::{Error, Partitions, Reply, Request};
use model::{GroupId, TopicId};
use share::Key;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use wire::{
    DeleteShareGroupOffsetsRequest, DeleteShareGroupOffsetsResponse, ErrorCode,
    delete_share_group_offsets_response::DeleteShareGroupOffsetsResponseTopic,
};

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    _context: &Context,
    request: DeleteShareGroupOffsetsRequest,
) -> DeleteShareGroupOffsetsResponse {
    if !super::has_share_groups(broker) {
        return refusal(ErrorCode::UnsupportedVersion, None);
    }
    if request.group_id.is_empty() {
        return refusal(ErrorCode::InvalidGroupId, None);
    }
    let group = GroupId::new(&request.group_id);
    let names: Vec<Arc<str>> = request.topics.iter().map(|topic| topic.topic_name.as_str().into()).collect();
    let results = match delete(broker, &group, Some(names)).await {
        Ok(results) => results,
        Err(error) => return refusal(failure_code::of_groups(&error), failure_code::message(&error)),
    };
    let image = broker.image();
    let topics = request.topics.into_iter().map(|topic| {
        let topic_id = image.topic(&topic.topic_name).map(|known| known.id);
        let code = topic_id.and_then(|id| results.get(&id)).copied();
        let (error_code, error_message) = match (topic_id, code) {
            (_, Some(ErrorCode::None)) => (failure_code::NONE, None),
            (_, Some(code)) => super::code_and_name(Some(code)),
            (Some(_), None) => {
                let why = "There is no offset information to delete.".to_owned();
                (ErrorCode::UnknownTopicOrPartition.to_i16(), Some(why))
            }
            (None, None) => super::code_and_name(Some(ErrorCode::UnknownTopicOrPartition)),
        };
        let (topic_name, topic_id) =
            (topic.topic_name, topic_id.filter(|_| code.is_some()).unwrap_or_default());
        DeleteShareGroupOffsetsResponseTopic { topic_name, topic_id, error_code, error_message }
    });
    DeleteShareGroupOffsetsResponse {
        responses: topics.collect(),
        ..DeleteShareGroupOffsetsResponse::default()
    }
}

/// Has share coordinators forget topics (`None`: all) of a group without members; what became of each that was known.
pub(super) async fn delete(
    broker: &Arc<Broker>,
    group: &GroupId,
    topics: Option<Vec<Arc<str>>>,
) -> Result<BTreeMap<TopicId, ErrorCode>, Error> {
    let order = Request::ShareDeleteOffsets { group: group.clone(), topics };
    let Reply::SharePartitions(partitions) = broker.groups.ask(group, order).await? else {
        return Err(Error::UnknownServerError);
    };
    let results = forget(broker, group, partitions).await;
    let topics: BTreeSet<TopicId> =
        results.iter().filter(|(_, code)| **code == ErrorCode::None).map(|(topic, _)| *topic).collect();
    if !topics.is_empty() {
        let order = Request::ShareOffsetsDeleted { group: group.clone(), topics };
        broker.groups.ask(group, order).await?;
    }
    Ok(results)
}

/// The first error of each topic.
async fn forget(
    broker: &Arc<Broker>,
    group: &GroupId,
    partitions: Partitions,
) -> BTreeMap<TopicId, ErrorCode> {
    let keys =
        partitions.into_iter().flat_map(|(topic, all)| all.into_iter().map(move |index| (topic, index)));
    let keys: Vec<Key> =
        keys.map(|(topic, partition)| Key { group: group.clone(), topic, partition }).collect();
    let asked = keys.iter().cloned().map(share::Request::Delete).collect();
    let told = super::ask_share_states_anywhere(broker, asked).await;
    let mut results = BTreeMap::new();
    for (key, told) in keys.into_iter().zip(told) {
        let result = results.entry(key.topic).or_insert(ErrorCode::None);
        match told {
            // What is gone has no state.
            Ok(_) | Err(ErrorCode::UnknownTopicOrPartition) => {}
            Err(code) => *result = code,
        }
    }
    results
}

fn refusal(error: ErrorCode, why: Option<String>) -> DeleteShareGroupOffsetsResponse {
    let (error_code, name) = super::code_and_name(Some(error));
    DeleteShareGroupOffsetsResponse {
        error_code,
        error_message: why.or(name),
        ..DeleteShareGroupOffsetsResponse::default()
    }
}

//! AlterShareGroupOffsets (key 91): lets a share group without members begin elsewhere (KIP-932).

use crate::{Broker, context::Context, failure_code};
use groups::{Error, NamedStates, Partitions, Reply, Request, ShareAlterOffsets};
use model::{GroupId, TopicId};
use share::{Initialize, Key};
use std::{collections::BTreeMap, sync::Arc};
use wire::{
    AlterShareGroupOffsetsRequest, AlterShareGroupOffsetsResponse, ErrorCode,
    alter_share_group_offsets_request::AlterShareGroupOffsetsRequestTopic,
    alter_share_group_offsets_response::{
        AlterShareGroupOffsetsResponsePartition, AlterShareGroupOffsetsResponseTopic,
    },
};

type Results = BTreeMap<(TopicId, i32), ErrorCode>;

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    _context: &Context,
    request: AlterShareGroupOffsetsRequest,
) -> AlterShareGroupOffsetsResponse {
    if !super::has_share_groups(broker) {
        return refusal(ErrorCode::UnsupportedVersion, None);
    }
    if request.group_id.is_empty() {
        return refusal(ErrorCode::InvalidGroupId, None);
    }
    let group = GroupId::new(&request.group_id);
    let results = match alter(broker, &group, &request.topics).await {
        Ok(results) => results,
        Err(error) => return refusal(failure_code::of_groups(&error), failure_code::message(&error)),
    };
    let image = broker.image();
    let topics = request.topics.into_iter().map(|topic| {
        let topic_id = image.topic(&topic.topic_name).map(|known| known.id).unwrap_or_default();
        let partitions = topic.partitions.iter().map(|one| {
            let code = results.get(&(topic_id, one.partition_index)).copied();
            let code = code.unwrap_or(ErrorCode::UnknownTopicOrPartition);
            let (error_code, error_message) =
                super::code_and_name(Some(code).filter(|code| *code != ErrorCode::None));
            let partition_index = one.partition_index;
            AlterShareGroupOffsetsResponsePartition { partition_index, error_code, error_message }
        });
        let partitions = partitions.collect();
        AlterShareGroupOffsetsResponseTopic { topic_name: topic.topic_name, topic_id, partitions }
    });
    AlterShareGroupOffsetsResponse {
        responses: topics.collect(),
        ..AlterShareGroupOffsetsResponse::default()
    }
}

/// What became of each partition that exists.
async fn alter(
    broker: &Arc<Broker>,
    group: &GroupId,
    topics: &[AlterShareGroupOffsetsRequestTopic],
) -> Result<Results, Error> {
    let mut partitions = NamedStates::new();
    let mut starts: BTreeMap<(TopicId, i32), i64> = BTreeMap::new();
    {
        let image = broker.image();
        for topic in topics {
            let Some(known) = image.topic(&topic.topic_name) else { continue };
            for one in topic.partitions.iter().filter(|one| known.partition(one.partition_index).is_some()) {
                let named = || (Arc::from(topic.topic_name.as_str()), Default::default());
                partitions.entry(known.id).or_insert_with(named).1.insert(one.partition_index);
                starts.insert((known.id, one.partition_index), one.start_offset);
            }
        }
    }
    let order = Request::ShareAlterOffsets(ShareAlterOffsets { group: group.clone(), partitions });
    let Reply::ShareAlterOffsets { epoch } = broker.groups.ask(group, order).await? else {
        return Err(Error::UnknownServerError);
    };
    let asked = starts.iter().map(|((topic, partition), start)| {
        let key = Key { group: group.clone(), topic: *topic, partition: *partition };
        share::Request::Initialize(Initialize { key, state_epoch: epoch, start: *start })
    });
    let told = super::ask_share_states_anywhere(broker, asked.collect()).await;
    let codes = told.into_iter().map(|told| told.err().unwrap_or(ErrorCode::None));
    let results: Results = starts.into_keys().zip(codes).collect();
    for is_done in [true, false] {
        let mut partitions = Partitions::new();
        for ((topic, index), _) in results.iter().filter(|(_, code)| (**code == ErrorCode::None) == is_done) {
            partitions.entry(*topic).or_default().insert(*index);
        }
        if !partitions.is_empty() {
            let order = Request::ShareInitialized { group: group.clone(), partitions, is_done };
            broker.groups.ask(group, order).await?;
        }
    }
    Ok(results)
}

fn refusal(error: ErrorCode, why: Option<String>) -> AlterShareGroupOffsetsResponse {
    let (error_code, name) = super::code_and_name(Some(error));
    AlterShareGroupOffsetsResponse {
        error_code,
        error_message: why.or(name),
        ..AlterShareGroupOffsetsResponse::default()
    }
}

//! Committing and fetching offsets, for members and for clients without a group. Every call tells the history what it
//! has asked and heard.

use super::{Ground, Link, Lost};
use crate::history::{Event, Place};
use std::sync::Arc;
use wire::{
    ErrorCode, OffsetCommitRequest, OffsetFetchRequest, OffsetFetchResponse,
    offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
    offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics},
};

/// From this version on a request names several groups.
const VERSION_WITH_GROUPS: i16 = 8;

/// Who commits.
#[derive(Debug, Clone)]
pub(super) struct Committing {
    pub(super) group: Arc<str>,
    pub(super) generation: i32,
    pub(super) member: String,
    pub(super) instance: Option<String>,
}

/// Commits one offset; gives the error of the answer.
pub(super) async fn commit(
    ground: &Ground,
    link: &mut Link,
    who: &Committing,
    (place, offset): (&Place, i64),
    version: i16,
) -> Result<ErrorCode, Lost> {
    let partition = OffsetCommitRequestPartition {
        partition_index: place.partition,
        committed_offset: offset,
        committed_leader_epoch: -1,
        committed_metadata: Some(String::new()),
    };
    let topic = OffsetCommitRequestTopic {
        name: place.topic.to_string(),
        partitions: vec![partition],
        ..Default::default()
    };
    let request = OffsetCommitRequest {
        group_id: who.group.to_string(),
        generation_id_or_member_epoch: who.generation,
        member_id: who.member.clone(),
        group_instance_id: who.instance.clone(),
        retention_time_ms: -1,
        topics: vec![topic],
    };
    ground.history.tell(Event::CommitSent { group: who.group.clone(), place: place.clone(), offset });
    let answer = link.ask(version, &request).await?;
    let partition = answer.topics.first().and_then(|topic| topic.partitions.first());
    let error = partition.and_then(|partition| ErrorCode::from_i16(partition.error_code));
    let error = error.unwrap_or(ErrorCode::UnknownServerError);
    if error == ErrorCode::None {
        ground.history.tell(Event::CommitAcked { group: who.group.clone(), place: place.clone(), offset });
    }
    Ok(error)
}

/// Asks for the committed offset; `None` if the coordinator is not ready.
pub(super) async fn fetch(
    ground: &Ground,
    link: &mut Link,
    group: &Arc<str>,
    place: &Place,
    version: i16,
) -> Result<Option<i64>, Lost> {
    let (name, partition_indexes) = (place.topic.to_string(), vec![place.partition]);
    let request = if version < VERSION_WITH_GROUPS {
        OffsetFetchRequest {
            group_id: group.to_string(),
            topics: Some(vec![OffsetFetchRequestTopic { name, partition_indexes }]),
            ..Default::default()
        }
    } else {
        let topics = vec![OffsetFetchRequestTopics { name, partition_indexes, ..Default::default() }];
        let group = OffsetFetchRequestGroup {
            group_id: group.to_string(),
            member_epoch: -1,
            topics: Some(topics),
            ..Default::default()
        };
        OffsetFetchRequest { groups: vec![group], ..Default::default() }
    };
    let (asked, term) = (ground.history.ask(), ground.coordinates(link, group));
    let answer = link.ask(version, &request).await?;
    let Some(offset) = committed(&answer, version) else { return Ok(None) };
    let is_current = term.is_some() && term == ground.coordinates(link, group);
    let (group, place) = (group.clone(), place.clone());
    ground.history.tell(Event::CommitFetched { group, request: asked, place, offset, is_current });
    Ok(Some(offset))
}

fn committed(answer: &OffsetFetchResponse, version: i16) -> Option<i64> {
    let (error, partition) = if version < VERSION_WITH_GROUPS {
        let partition = answer.topics.first()?.partitions.first()?;
        (answer.error_code, (partition.error_code, partition.committed_offset))
    } else {
        let group = answer.groups.first()?;
        let partition = group.topics.first().and_then(|topic| topic.partitions.first());
        (group.error_code, partition.map(|partition| (partition.error_code, partition.committed_offset))?)
    };
    (error == 0 && partition.0 == 0).then_some(partition.1)
}

//! How a client of a cluster finds whom it needs: Metadata for leaders, FindCoordinator for groups. It believes what it is
//! told; a node that is behind sends it to the wrong place, where it is refused.

use super::{Link, Lost};
use crate::{dice::Dice, history::Place};
use wire::{FindCoordinatorRequest, MetadataRequest, metadata_request::MetadataRequestTopic};

/// Metadata of this version on tells leader epochs.
const METADATA_VERSION_WITH_EPOCHS: u64 = 7;

/// Who leads a partition, and in which epoch.
pub(super) async fn leader(link: &mut Link, place: &Place, dice: &mut Dice) -> Result<(i32, i32), Lost> {
    let wanted = MetadataRequestTopic { name: Some(place.topic.to_string()), ..Default::default() };
    let request = MetadataRequest {
        topics: Some(vec![wanted]),
        allow_auto_topic_creation: false,
        ..Default::default()
    };
    let version = dice.range(METADATA_VERSION_WITH_EPOCHS..=13) as i16;
    let answer = link.ask(version, &request).await?;
    let topic = answer.topics.first().ok_or(Lost)?;
    let is_it = |partition: &&wire::metadata_response::MetadataResponsePartition| {
        partition.partition_index == place.partition && partition.leader_id >= 0
    };
    let found = topic.partitions.iter().find(is_it).ok_or(Lost)?;
    Ok((found.leader_id, found.leader_epoch))
}

/// Who coordinates a group.
pub(super) async fn coordinator(link: &mut Link, group: &str, dice: &mut Dice) -> Result<i32, Lost> {
    let find = FindCoordinatorRequest { key: group.to_owned(), ..Default::default() };
    let found = link.ask(dice.range(0..=3) as i16, &find).await?;
    if found.error_code == 0 { Ok(found.node_id) } else { Err(Lost) }
}

/// Who coordinates a transactional id.
pub(super) async fn transaction_coordinator(link: &mut Link, id: &str, dice: &mut Dice) -> Result<i32, Lost> {
    let find = FindCoordinatorRequest { key: id.to_owned(), key_type: 1, ..Default::default() };
    let found = link.ask(dice.range(1..=3) as i16, &find).await?;
    if found.error_code == 0 { Ok(found.node_id) } else { Err(Lost) }
}

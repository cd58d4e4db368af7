//! Committed offsets of a group: reading, writing and deleting them.
//!
//! It joins no group; with no generation a commit is an administrator's, which the coordinator only takes while the
//! group has no members.

use crate::{Client, Error};
use model::{LeaderEpoch, Offset, TopicName, TopicPartition};
use std::collections::{BTreeMap, BTreeSet};
use wire::{
    OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest, OffsetFetchResponse,
    offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
    offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic},
    offset_fetch_request::OffsetFetchRequestGroup,
};

/// What a group has committed for a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The next record to read.
    pub offset: Offset,
    /// The epoch of the leader that wrote the record before it, -1 if unknown.
    pub leader_epoch: LeaderEpoch,
    /// What the member wrote beside it.
    pub metadata: String,
}

/// Who commits.
#[derive(Debug, Clone, Default)]
pub(crate) struct Committer {
    pub(crate) generation_id: i32,
    pub(crate) member_id: String,
    pub(crate) instance_id: Option<String>,
}

impl Client {
    /// All that a group has committed.
    pub async fn committed_offsets(&self, group: &str) -> Result<BTreeMap<TopicPartition, Committed>, Error> {
        let asked = OffsetFetchRequestGroup {
            group_id: group.into(),
            member_id: None,
            member_epoch: -1,
            topics: None,
        };
        let new = OffsetFetchRequest {
            group_id: String::new(),
            topics: Some(Vec::new()),
            groups: vec![asked],
            require_stable: true,
        };
        // Versions below 8 know one group only.
        let old = OffsetFetchRequest {
            group_id: group.into(),
            topics: None,
            groups: Vec::new(),
            require_stable: false,
        };
        let mut attempts = self.attempts();
        loop {
            let response = match self.ask_coordinator(group, &new).await {
                Err(Error::Invalid(_)) => self.ask_coordinator(group, &old).await,
                other => other,
            };
            match response.and_then(|response| read(group, response)) {
                Err(error) if attempts.again(&error).await => {}
                other => return other,
            }
        }
    }

    /// Commits offsets for a group without members, as an administrator.
    pub async fn reset_offsets(
        &self,
        group: &str,
        offsets: &BTreeMap<TopicPartition, Offset>,
    ) -> Result<(), Error> {
        let nobody = Committer { generation_id: -1, ..Default::default() };
        let mut attempts = self.attempts();
        loop {
            match self.commit(group, &nobody, offsets).await {
                Err(error) if attempts.again(&error).await => {}
                other => return other,
            }
        }
    }

    /// Commits offsets, once.
    pub(crate) async fn commit(
        &self,
        group: &str,
        committer: &Committer,
        offsets: &BTreeMap<TopicPartition, Offset>,
    ) -> Result<(), Error> {
        let mut topics: Vec<OffsetCommitRequestTopic> = Vec::new();
        for (place, offset) in offsets {
            let row = OffsetCommitRequestPartition {
                partition_index: place.partition,
                committed_offset: *offset,
                committed_leader_epoch: -1,
                committed_metadata: Some(String::new()),
            };
            match topics.last_mut().filter(|topic| *topic.name == *place.topic) {
                Some(topic) => topic.partitions.push(row),
                None => topics.push(OffsetCommitRequestTopic {
                    name: place.topic.to_string(),
                    partitions: vec![row],
                    ..Default::default()
                }),
            }
        }
        let request = OffsetCommitRequest {
            group_id: group.into(),
            generation_id_or_member_epoch: committer.generation_id,
            member_id: committer.member_id.clone(),
            group_instance_id: committer.instance_id.clone(),
            retention_time_ms: -1,
            topics,
        };
        let response = self.ask_coordinator(group, &request).await?;
        for topic in response.topics {
            for row in topic.partitions {
                let subject = || format!("group '{group}', offset of {}-{}", topic.name, row.partition_index);
                Error::from_code(row.error_code, None, subject)?;
            }
        }
        Ok(())
    }

    /// Forgets what a group has committed for partitions; says which of them are refused, as the group still reads
    /// their topic.
    pub async fn delete_offsets(&self, group: &str, places: &BTreeSet<TopicPartition>) -> Result<(), Error> {
        let mut topics: Vec<OffsetDeleteRequestTopic> = Vec::new();
        for place in places {
            let row = OffsetDeleteRequestPartition { partition_index: place.partition };
            match topics.last_mut().filter(|topic| *topic.name == *place.topic) {
                Some(topic) => topic.partitions.push(row),
                None => topics
                    .push(OffsetDeleteRequestTopic { name: place.topic.to_string(), partitions: vec![row] }),
            }
        }
        let request = OffsetDeleteRequest { group_id: group.into(), topics };
        let response = self.ask_coordinator(group, &request).await?;
        Error::from_code(response.error_code, None, || format!("group '{group}'"))?;
        for topic in response.topics {
            for row in topic.partitions {
                let subject = || format!("group '{group}', offset of {}-{}", topic.name, row.partition_index);
                Error::from_code(row.error_code, None, subject)?;
            }
        }
        Ok(())
    }
}

fn read(group: &str, response: OffsetFetchResponse) -> Result<BTreeMap<TopicPartition, Committed>, Error> {
    let subject = || format!("group '{group}'");
    Error::from_code(response.error_code, None, subject)?;
    let mut rows = Vec::new();
    for answered in response.groups {
        Error::from_code(answered.error_code, None, subject)?;
        for topic in answered.topics {
            for row in topic.partitions {
                let committed = (row.committed_offset, row.committed_leader_epoch, row.metadata);
                rows.push((topic.name.clone(), row.partition_index, row.error_code, committed));
            }
        }
    }
    for topic in response.topics {
        for row in topic.partitions {
            let committed = (row.committed_offset, row.committed_leader_epoch, row.metadata);
            rows.push((topic.name.clone(), row.partition_index, row.error_code, committed));
        }
    }
    let mut all = BTreeMap::new();
    for (topic, partition, code, (offset, leader_epoch, metadata)) in rows {
        Error::from_code(code, None, || format!("group '{group}', offset of {topic}-{partition}"))?;
        let Ok(topic) = TopicName::new(&topic) else { continue };
        if offset >= 0 {
            let committed = Committed { offset, leader_epoch, metadata: metadata.unwrap_or_default() };
            all.insert(TopicPartition::new(topic, partition), committed);
        }
    }
    Ok(all)
}

//! The committed offsets of all groups of a partition.
//!
//! It holds only what the log has committed. The offsets of open transactions (TxnOffsetCommit) are to live beside it,
//! by producer id, and move here with the commit marker.

use crate::{CommittedOffset, OffsetView};
use model::{GroupId, PartitionIndex, TopicName};
use std::collections::BTreeMap;

type Topics = BTreeMap<TopicName, BTreeMap<PartitionIndex, CommittedOffset>>;

/// Offsets by group, topic and partition; no empty map inside.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Offsets {
    groups: BTreeMap<GroupId, Topics>,
}

impl Offsets {
    /// Sets an offset.
    pub(crate) fn put(
        &mut self,
        group: GroupId,
        topic: TopicName,
        partition: PartitionIndex,
        offset: CommittedOffset,
    ) {
        self.groups.entry(group).or_default().entry(topic).or_default().insert(partition, offset);
    }

    /// Removes an offset.
    pub(crate) fn remove(&mut self, group: &GroupId, topic: &TopicName, partition: PartitionIndex) {
        let Some(topics) = self.groups.get_mut(group) else { return };
        let Some(partitions) = topics.get_mut(topic) else { return };
        partitions.remove(&partition);
        if partitions.is_empty() {
            topics.remove(topic);
        }
        if topics.is_empty() {
            self.groups.remove(group);
        }
    }

    /// An offset.
    pub(crate) fn get(
        &self,
        group: &str,
        topic: &str,
        partition: PartitionIndex,
    ) -> Option<&CommittedOffset> {
        self.groups.get(group)?.get(topic)?.get(&partition)
    }

    /// The topics of a group with the offsets of their partitions.
    pub(crate) fn topics(
        &self,
        group: &str,
    ) -> impl Iterator<Item = (&TopicName, &BTreeMap<PartitionIndex, CommittedOffset>)> {
        self.groups.get(group).into_iter().flatten()
    }

    /// All offsets of a group.
    pub(crate) fn of_group(&self, group: &str) -> impl Iterator<Item = OffsetView<'_>> {
        self.groups.get_key_value(group).into_iter().flat_map(views)
    }

    /// All offsets.
    pub(crate) fn iter(&self) -> impl Iterator<Item = OffsetView<'_>> {
        self.groups.iter().flat_map(views)
    }
}

fn views<'a>((group, topics): (&'a GroupId, &'a Topics)) -> impl Iterator<Item = OffsetView<'a>> {
    topics.iter().flat_map(move |(topic, partitions)| {
        partitions.iter().map(move |(&partition, offset)| OffsetView { group, topic, partition, offset })
    })
}

//! The committed offsets of all groups of a partition, and those of open transactions (TxnOffsetCommit), which count once
//! the transaction is committed (KIP-98).
//!
//! It holds only what the log has committed. Of two commits the later one in the log counts, also where the transaction
//! of the earlier one ends after it.

use crate::{CommittedOffset, OffsetView};
use model::{GroupId, PartitionIndex, ProducerId, TopicName};
use std::collections::{BTreeMap, BTreeSet};

type Topics = BTreeMap<TopicName, BTreeMap<PartitionIndex, CommittedOffset>>;
type Key = (GroupId, TopicName, PartitionIndex);

/// Offsets by group, topic and partition; no empty map inside.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Offsets {
    groups: BTreeMap<GroupId, Topics>,
    /// How many commits there were: the number of each says which came later.
    commits: u64,
    /// The last commit of each offset outside of open transactions, as long as there is an open one of it.
    overtaken: BTreeMap<Key, u64>,
    /// What open transactions have committed, by their producers.
    pending: BTreeMap<ProducerId, BTreeMap<Key, (u64, CommittedOffset)>>,
    /// Which transactions are open for an offset.
    open: BTreeMap<Key, BTreeSet<ProducerId>>,
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
        self.commits += 1;
        let key = (group, topic, partition);
        if self.open.contains_key(&key) {
            self.overtaken.insert(key.clone(), self.commits);
        }
        self.set(key, offset);
    }

    fn set(&mut self, (group, topic, partition): Key, offset: CommittedOffset) {
        self.groups.entry(group).or_default().entry(topic).or_default().insert(partition, offset);
    }

    /// Sets an offset for when the transaction of `producer_id` is committed.
    pub(crate) fn put_pending(
        &mut self,
        producer_id: ProducerId,
        group: GroupId,
        topic: TopicName,
        partition: PartitionIndex,
        offset: CommittedOffset,
    ) {
        self.commits += 1;
        let key = (group, topic, partition);
        self.open.entry(key.clone()).or_default().insert(producer_id);
        self.pending.entry(producer_id).or_default().insert(key, (self.commits, offset));
    }

    /// The transaction of `producer_id` has ended: its offsets count, or are forgotten.
    pub(crate) fn end_transaction(&mut self, producer_id: ProducerId, committed: bool) {
        for (key, (commit, offset)) in self.pending.remove(&producer_id).unwrap_or_default() {
            let is_latest = self.overtaken.get(&key).is_none_or(|later| *later < commit);
            if committed && is_latest {
                self.overtaken.insert(key.clone(), commit);
                self.set(key.clone(), offset);
            }
            if let Some(open) = self.open.get_mut(&key) {
                open.remove(&producer_id);
                if open.is_empty() {
                    self.open.remove(&key);
                    self.overtaken.remove(&key);
                }
            }
        }
    }

    /// Removes an offset, also from open transactions.
    pub(crate) fn remove(&mut self, group: &GroupId, topic: &TopicName, partition: PartitionIndex) {
        let key = (group.clone(), topic.clone(), partition);
        for producer_id in self.open.remove(&key).unwrap_or_default() {
            if let Some(pending) = self.pending.get_mut(&producer_id) {
                pending.remove(&key);
                if pending.is_empty() {
                    self.pending.remove(&producer_id);
                }
            }
        }
        self.overtaken.remove(&key);
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

    /// Whether an open transaction may change an offset.
    pub(crate) fn is_pending(&self, group: &GroupId, topic: &TopicName, partition: PartitionIndex) -> bool {
        !self.open.is_empty() && self.open.contains_key(&(group.clone(), topic.clone(), partition))
    }

    /// The offsets of a group that open transactions may change.
    pub(crate) fn pending_of(&self, group: &GroupId) -> impl Iterator<Item = (&TopicName, PartitionIndex)> {
        let from = self.open.keys().skip_while(move |(id, _, _)| id != group);
        from.take_while(move |(id, _, _)| id == group).map(|(_, topic, partition)| (topic, *partition))
    }

    /// All offsets that open transactions would set.
    pub(crate) fn pending(&self) -> impl Iterator<Item = OffsetView<'_>> {
        let all = self.pending.values().flatten();
        all.map(|((group, topic, partition), (_, offset))| OffsetView {
            group,
            topic,
            partition: *partition,
            offset,
        })
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

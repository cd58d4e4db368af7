//! A share group (KIP-932): its members, what they are to have and have, and which partitions have a share state.
//!
//! As in a consumer group all of its state is made of the values that the log holds ([`ShareChange`]). Partitions are shared:
//! several members may have the same one, so nobody has to give one up first. Which record goes to whom is not known here;
//! the leaders of the partitions decide that.

pub(crate) mod assignor;
mod describe;
pub(crate) mod heartbeat;
pub(crate) mod records;
pub(crate) mod states;

use crate::{
    GroupEpoch, MemberId, Partitions, Record, TargetEpoch, Topics,
    decision::{Decision, Logged},
};
use model::{GroupId, Timestamp, TopicId};
use records::{ShareChange, ShareCurrent, ShareSubscription, StatePartitions};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// A share group.
#[derive(Debug)]
pub(crate) struct ShareGroup {
    pub(crate) id: GroupId,
    pub(crate) epoch: GroupEpoch,
    pub(crate) target_epoch: TargetEpoch,
    pub(crate) members: BTreeMap<MemberId, ShareMember>,
    pub(crate) targets: BTreeMap<MemberId, Partitions>,
    /// Which partitions have a share state, or are about to get or lose one.
    pub(crate) states: StatePartitions,
    /// The version of the cluster's topics that `epoch.metadata_hash` was compared with; not in the log.
    pub(crate) topics_seen: Option<u64>,
    /// Since when topics are being initialised; not in the log.
    pub(crate) initializing_since: BTreeMap<TopicId, Timestamp>,
}

/// A member.
#[derive(Debug, Clone, Default)]
pub(crate) struct ShareMember {
    pub(crate) subscription: ShareSubscription,
    pub(crate) current: ShareCurrent,
}

/// The states of a share group, as Kafka names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ShareState {
    /// No members.
    Empty,
    /// It has members.
    Stable,
    /// It does not exist.
    Dead,
}

impl ShareState {
    /// Kafka's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Stable => "Stable",
            Self::Dead => "Dead",
        }
    }
}

impl ShareGroup {
    /// A group without members.
    pub(crate) fn new(id: GroupId) -> Self {
        Self {
            id,
            epoch: GroupEpoch::FIRST,
            target_epoch: TargetEpoch { epoch: 0, timestamp: 0 },
            members: BTreeMap::new(),
            targets: BTreeMap::new(),
            states: StatePartitions::default(),
            topics_seen: None,
            initializing_since: BTreeMap::new(),
        }
    }

    /// Where the group stands.
    pub(crate) fn state(&self) -> ShareState {
        if self.members.is_empty() { ShareState::Empty } else { ShareState::Stable }
    }

    /// The names of all topics that members are subscribed to.
    pub(crate) fn subscribed(&self) -> BTreeSet<&Arc<str>> {
        self.members.values().flat_map(|member| &member.subscription.topics).collect()
    }

    /// The ids of the topics that a member is subscribed to, of those that exist.
    pub(crate) fn topic_ids(
        &self,
        subscription: &ShareSubscription,
        topics: &dyn Topics,
    ) -> BTreeSet<TopicId> {
        subscription.topics.iter().filter_map(|name| Some(topics.by_name(name)?.0)).collect()
    }

    /// A hash over all topics that members are subscribed to and that exist. 0: none.
    pub(crate) fn metadata_hash(&self, topics: &dyn Topics) -> i64 {
        crate::consumer::hash_of(self.subscribed(), topics)
    }
}

impl Logged for ShareGroup {
    type Change = ShareChange;

    fn id(&self) -> &GroupId {
        &self.id
    }

    fn apply(&mut self, change: ShareChange) -> ShareChange {
        match change {
            ShareChange::Epoch(epoch) => {
                let epoch = epoch.unwrap_or(GroupEpoch::FIRST);
                ShareChange::Epoch(Some(std::mem::replace(&mut self.epoch, epoch)))
            }
            ShareChange::TargetEpoch(epoch) => {
                let epoch = epoch.unwrap_or(TargetEpoch { epoch: 0, timestamp: 0 });
                ShareChange::TargetEpoch(Some(std::mem::replace(&mut self.target_epoch, epoch)))
            }
            ShareChange::Target(member, target) => {
                let former = match target {
                    Some(target) => self.targets.insert(member.clone(), target),
                    None => self.targets.remove(&member),
                };
                ShareChange::Target(member, former)
            }
            ShareChange::Member(id, subscription) => {
                let former = self.members.get(&id).map(|member| member.subscription.clone());
                match subscription {
                    Some(next) => self.members.entry(id.clone()).or_default().subscription = next,
                    None => drop(self.members.remove(&id)),
                }
                ShareChange::Member(id, former)
            }
            ShareChange::Current(id, current) => {
                // A tombstone of a member that is gone already makes none.
                if current.is_none() && !self.members.contains_key(&id) {
                    return ShareChange::Current(id, None);
                }
                let member = self.members.entry(id.clone()).or_default();
                let former = std::mem::replace(&mut member.current, current.unwrap_or_default());
                ShareChange::Current(id, Some(former))
            }
            ShareChange::States(states) => {
                let former = std::mem::replace(&mut self.states, states.unwrap_or_default());
                ShareChange::States(Some(former))
            }
        }
    }

    fn record(group: GroupId, change: ShareChange) -> Record {
        Record::Share { group, change }
    }
}

impl Decision<ShareGroup> {
    /// Asks for a new target assignment.
    pub(crate) fn bump_epoch(&mut self, metadata_hash: i64) {
        let epoch = self.group.epoch.epoch.saturating_add(1);
        self.set(ShareChange::Epoch(Some(GroupEpoch { epoch, metadata_hash })));
    }
}

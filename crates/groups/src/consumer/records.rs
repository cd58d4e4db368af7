//! What a consumer group (KIP-848) is made of, as values that the log holds under keys of their own.
//!
//! It decides nothing. `broker` translates each to and from Kafka's records of the same name; the group applies them.

use crate::{InstanceId, MemberId, Protocol};
use model::{PartitionIndex, Timestamp, TopicId};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Partitions by topic.
pub type Partitions = BTreeMap<TopicId, BTreeSet<PartitionIndex>>;

/// Partitions by topic, each with the member epoch in which it was assigned (KIP-1251).
pub type Epochs = BTreeMap<TopicId, BTreeMap<PartitionIndex, i32>>;

/// One value of a group under its key: set, or removed where it is `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConsumerChange {
    /// The group itself (ConsumerGroupMetadata); without it the group does not exist.
    Epoch(Option<GroupEpoch>),
    /// A member and what it subscribed to (ConsumerGroupMemberMetadata).
    Member(MemberId, Option<Subscription>),
    /// The topics that a pattern was found to match (ConsumerGroupRegularExpression).
    Pattern(Arc<str>, Option<Pattern>),
    /// In which group epoch the target assignment was computed (ConsumerGroupTargetAssignmentMetadata).
    TargetEpoch(Option<TargetEpoch>),
    /// What a member is to have in the end (ConsumerGroupTargetAssignmentMember).
    Target(MemberId, Option<Partitions>),
    /// What a member has now (ConsumerGroupCurrentMemberAssignment).
    Current(MemberId, Option<Current>),
}

/// The epoch of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupEpoch {
    /// Rises with every change that asks for a new target assignment.
    pub epoch: i32,
    /// A hash of what is known of the topics subscribed to; 0: none. Another value means that they changed.
    pub metadata_hash: i64,
}

impl GroupEpoch {
    /// That of a consumer group or share group before its first member, whose epoch is 2: Kafka counts from 1, since a member
    /// that joins says 0.
    pub(crate) const FIRST: Self = Self { epoch: 1, metadata_hash: 0 };
}

/// The epoch of a target assignment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TargetEpoch {
    /// The group epoch it was computed for.
    pub epoch: i32,
    /// When.
    pub timestamp: Timestamp,
}

/// A member, as it described itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Subscription {
    /// Its `group.instance.id`, if it is static.
    pub instance_id: Option<InstanceId>,
    /// Its `client.rack`.
    pub rack_id: Option<Arc<str>>,
    /// Its `client.id`.
    pub client_id: Arc<str>,
    /// The address that it connects from.
    pub client_host: Arc<str>,
    /// The topics by name.
    pub topics: BTreeSet<Arc<str>>,
    /// The topics by a pattern that must match the whole name (RE2 syntax).
    pub pattern: Option<Arc<str>>,
    /// How long it may take to give partitions up.
    pub rebalance_timeout_ms: i32,
    /// The assignor that it prefers.
    pub assignor: Option<Arc<str>>,
    /// Set for a member that speaks the classic protocol.
    pub classic: Option<ClassicMember>,
}

/// What is kept of a member that speaks the classic protocol in a consumer group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassicMember {
    /// How long it may be silent.
    pub session_timeout_ms: i32,
    /// The protocols it named when it joined.
    pub protocols: Vec<Protocol>,
}

/// What a pattern matched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// The topics.
    pub topics: BTreeSet<Arc<str>>,
    /// The version of the cluster's metadata that was searched; rises.
    pub version: i64,
    /// When.
    pub timestamp: Timestamp,
}

/// Where a member stands on its way to the target assignment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MemberState {
    /// It has what its epoch's target gives it.
    #[default]
    Stable,
    /// It has been told to give partitions up and has not said yet that it did.
    UnrevokedPartitions,
    /// It waits for partitions that others still have.
    UnreleasedPartitions,
}

/// What a member has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Current {
    /// The member's epoch: 0 while it joins; -2: a static member that left and will come back.
    pub epoch: i32,
    /// The epoch before; a request that bears it may be one whose answer was lost.
    pub previous_epoch: i32,
    /// Where it stands.
    pub state: MemberState,
    /// The partitions that it may read.
    pub assigned: Epochs,
    /// The partitions that it was told to give up. They stay its own until it says that it did.
    pub revoking: Epochs,
}

impl Current {
    /// The same, in `epoch`.
    pub(crate) fn in_epoch(&self, epoch: i32) -> Self {
        Self { epoch, previous_epoch: self.epoch, ..self.clone() }
    }

    /// What it may be reading: also what it was told to give up, until it says that it did.
    pub(crate) fn held(&self) -> Partitions {
        let mut held = without_epochs(&self.assigned);
        for (topic, partitions) in &self.revoking {
            held.entry(*topic).or_default().extend(partitions.keys());
        }
        held
    }

    /// Whether it has what the target of `epoch` gives it.
    pub(crate) fn is_reconciled_to(&self, epoch: i32) -> bool {
        self.state == MemberState::Stable && self.epoch == epoch
    }
}

/// Partitions without their epochs.
pub(crate) fn without_epochs(epochs: &Epochs) -> Partitions {
    epochs.iter().map(|(topic, partitions)| (*topic, partitions.keys().copied().collect())).collect()
}

/// Partitions that were all assigned in one epoch.
pub(crate) fn with_epoch(partitions: &Partitions, epoch: i32) -> Epochs {
    let with = |indices: &BTreeSet<PartitionIndex>| indices.iter().map(|index| (*index, epoch)).collect();
    partitions.iter().map(|(topic, indices)| (*topic, with(indices))).collect()
}

//! What a share group (KIP-932) is made of, as values that the log holds under keys of their own.
//!
//! It decides nothing. `broker` translates each to and from Kafka's records of the same name; the group applies them.

use crate::{GroupEpoch, MemberId, Partitions, TargetEpoch};
use model::{PartitionIndex, TopicId};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// One value of a group under its key: set, or removed where it is `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ShareChange {
    /// The group itself (ShareGroupMetadata); without it the group does not exist.
    Epoch(Option<GroupEpoch>),
    /// A member and what it subscribed to (ShareGroupMemberMetadata).
    Member(MemberId, Option<ShareSubscription>),
    /// In which group epoch the target assignment was computed (ShareGroupTargetAssignmentMetadata).
    TargetEpoch(Option<TargetEpoch>),
    /// What a member is to have (ShareGroupTargetAssignmentMember).
    Target(MemberId, Option<Partitions>),
    /// What a member has now (ShareGroupCurrentMemberAssignment).
    Current(MemberId, Option<ShareCurrent>),
    /// The partitions that have a share state (ShareGroupStatePartitionMetadata).
    States(Option<StatePartitions>),
}

/// A member, as it described itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ShareSubscription {
    /// Its `client.rack`.
    pub rack_id: Option<Arc<str>>,
    /// Its `client.id`.
    pub client_id: Arc<str>,
    /// The address that it connects from.
    pub client_host: Arc<str>,
    /// The topics, by name.
    pub topics: BTreeSet<Arc<str>>,
}

/// What a member has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ShareCurrent {
    /// The member's epoch: 0 while it joins.
    pub epoch: i32,
    /// The epoch before; a request that bears it may be one whose answer was lost.
    pub previous_epoch: i32,
    /// The partitions that it may read.
    pub assigned: Partitions,
}

/// Partitions of topics with the topics' names.
pub type NamedStates = BTreeMap<TopicId, (Arc<str>, BTreeSet<PartitionIndex>)>;

/// The partitions whose share state the share coordinators keep for the group.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StatePartitions {
    /// Share coordinators are being asked to begin with them.
    pub initializing: NamedStates,
    /// They have one; only these are given to members.
    pub initialized: NamedStates,
    /// Share coordinators are being asked to forget these topics.
    pub deleting: BTreeMap<TopicId, Arc<str>>,
}

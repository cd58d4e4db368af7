//! What a streams group (KIP-1071) is made of, as values that the log holds under keys of their own.
//!
//! It decides nothing. `broker` translates each to and from Kafka's records of the same name; the group applies them.

use super::topology::Topology;
use crate::{InstanceId, MemberId, MemberState, TargetEpoch};
use model::PartitionIndex;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Tasks: the numbers of the partitions that they read, by the id of their subtopology.
pub type TaskSet = BTreeMap<Arc<str>, BTreeSet<PartitionIndex>>;

/// Tasks, each with the member epoch in which it was assigned (KIP-1251).
pub type TaskEpochs = BTreeMap<Arc<str>, BTreeMap<PartitionIndex, i32>>;

/// How far tasks are: the sums of the offsets of their changelogs.
pub type TaskOffsets = BTreeMap<Arc<str>, BTreeMap<PartitionIndex, i64>>;

/// One value of a group under its key: set, or removed where it is `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamsChange {
    /// The group itself (StreamsGroupMetadata); without it the group does not exist.
    Epoch(Option<StreamsEpoch>),
    /// A member as it described itself (StreamsGroupMemberMetadata).
    Member(MemberId, Option<StreamsMetadata>),
    /// What the application does (StreamsGroupTopology).
    Topology(Option<Topology>),
    /// In which group epoch the target assignment was computed (StreamsGroupTargetAssignmentMetadata).
    TargetEpoch(Option<TargetEpoch>),
    /// What a member is to have in the end (StreamsGroupTargetAssignmentMember).
    Target(MemberId, Option<Tasks>),
    /// What a member has now (StreamsGroupCurrentMemberAssignment).
    Current(MemberId, Option<StreamsCurrent>),
}

/// The epoch of a group, and what it was reached with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamsEpoch {
    /// Rises with every change that asks for a new target assignment.
    pub epoch: i32,
    /// A hash of what is known of the topics that the topology needs; 0: none. Another value means that they changed.
    pub metadata_hash: i64,
    /// The epoch of the topology whose topics were all found to be there and fit; -1: of none.
    pub validated_topology_epoch: i32,
    /// What the assignor was configured with.
    pub assignment_configs: BTreeMap<Arc<str>, Arc<str>>,
    /// The epoch of the topology whose description a plugin of Kafka keeps; -1: of none, -2: unknown. Descriptions are in
    /// memory here, so it is only handed on.
    pub stored_description_epoch: i32,
    /// The epoch of the topology whose description such a plugin does not take; -1: of none.
    pub failed_description_epoch: i32,
}

impl Default for StreamsEpoch {
    /// Of a group that was just made: its first members stay in epoch 1 until the first assignment.
    fn default() -> Self {
        Self {
            epoch: 1,
            metadata_hash: 0,
            validated_topology_epoch: -1,
            assignment_configs: BTreeMap::new(),
            stored_description_epoch: -1,
            failed_description_epoch: -1,
        }
    }
}

/// A member, as it described itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamsMetadata {
    /// Its `group.instance.id`, if it is static.
    pub instance_id: Option<InstanceId>,
    /// Its `client.rack`.
    pub rack_id: Option<Arc<str>>,
    /// Its `client.id`.
    pub client_id: Arc<str>,
    /// The address that it connects from.
    pub client_host: Arc<str>,
    /// How long it may take to give tasks up.
    pub rebalance_timeout_ms: i32,
    /// The epoch of its topology; -1: unknown.
    pub topology_epoch: i32,
    /// The process that it is a thread of: two members of one process share its state on disk.
    pub process_id: Arc<str>,
    /// Where it answers interactive queries (`application.server`).
    pub user_endpoint: Option<Endpoint>,
    /// Its `client.tag.*`.
    pub client_tags: BTreeMap<Arc<str>, Arc<str>>,
}

impl Default for StreamsMetadata {
    /// Of a member of which nothing is known yet.
    fn default() -> Self {
        Self {
            instance_id: None,
            rack_id: None,
            client_id: Arc::default(),
            client_host: Arc::default(),
            rebalance_timeout_ms: -1,
            topology_epoch: -1,
            process_id: Arc::default(),
            user_endpoint: None,
            client_tags: BTreeMap::new(),
        }
    }
}

/// An address of an application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The host.
    pub host: Arc<str>,
    /// The port.
    pub port: u16,
}

/// Tasks of all three kinds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tasks {
    /// Tasks that are run.
    pub active: TaskSet,
    /// Tasks whose state is kept as a copy.
    pub standby: TaskSet,
    /// Tasks whose state is being copied before they move.
    pub warmup: TaskSet,
}

/// What a member has of tasks: as [`Tasks`], but it is known since when an active one is its own.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OwnedTasks {
    /// Tasks that are run.
    pub active: TaskEpochs,
    /// Tasks whose state is kept as a copy.
    pub standby: TaskSet,
    /// Tasks whose state is being copied before they move.
    pub warmup: TaskSet,
}

/// What a member has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StreamsCurrent {
    /// The member's epoch: 0 while it joins; -2: a static member that left and will come back.
    pub epoch: i32,
    /// The epoch before; a request that bears it may be one whose answer was lost.
    pub previous_epoch: i32,
    /// Where it stands.
    pub state: MemberState,
    /// The tasks that it may work on.
    pub assigned: OwnedTasks,
    /// The tasks that it was told to give up. They stay its own until it says that it did.
    pub revoking: OwnedTasks,
}

impl StreamsCurrent {
    /// Whether it has what the target of `epoch` gives it.
    pub(crate) fn is_reconciled_to(&self, epoch: i32) -> bool {
        self.state == MemberState::Stable && self.epoch == epoch
    }
}

impl OwnedTasks {
    /// The same without epochs.
    pub fn to_tasks(&self) -> Tasks {
        Tasks {
            active: without_epochs(&self.active),
            standby: self.standby.clone(),
            warmup: self.warmup.clone(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.active.is_empty() && self.standby.is_empty() && self.warmup.is_empty()
    }
}

impl Tasks {
    /// Whether all of these are among those that somebody has.
    pub(crate) fn is_part_of(&self, owned: &OwnedTasks) -> bool {
        let is_active = |subtopology: &Arc<str>, index: &PartitionIndex| {
            owned.active.get(subtopology).is_some_and(|tasks| tasks.contains_key(index))
        };
        each(&self.active).all(|(subtopology, index)| is_active(subtopology, &index))
            && each(&self.standby).all(|(subtopology, index)| has(&owned.standby, subtopology, index))
            && each(&self.warmup).all(|(subtopology, index)| has(&owned.warmup, subtopology, index))
    }

    /// Whether any of these is among those that somebody has, in the same kind.
    pub(crate) fn has_any_of(&self, owned: &OwnedTasks) -> bool {
        let active = owned.active.iter();
        let mut active = active.flat_map(|(name, tasks)| tasks.keys().map(move |index| (name, *index)));
        active.any(|(subtopology, index)| has(&self.active, subtopology, index))
            || each(&owned.standby).any(|(subtopology, index)| has(&self.standby, subtopology, index))
            || each(&owned.warmup).any(|(subtopology, index)| has(&self.warmup, subtopology, index))
    }
}

/// Each task of a set.
pub(crate) fn each(tasks: &TaskSet) -> impl Iterator<Item = (&Arc<str>, PartitionIndex)> {
    tasks.iter().flat_map(|(subtopology, indices)| indices.iter().map(move |index| (subtopology, *index)))
}

/// Whether a task is in a set.
pub(crate) fn has(tasks: &TaskSet, subtopology: &str, index: PartitionIndex) -> bool {
    tasks.get(subtopology).is_some_and(|indices| indices.contains(&index))
}

fn without_epochs(tasks: &TaskEpochs) -> TaskSet {
    tasks
        .iter()
        .map(|(subtopology, indices)| (subtopology.clone(), indices.keys().copied().collect()))
        .collect()
}

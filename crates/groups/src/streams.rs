//! A streams group (KIP-1071): its members, the topology that they run, the tasks that they are to have and have.
//!
//! As in a consumer group all of its state is made of the values that the log holds ([`StreamsChange`]); what a coordinator
//! that takes over finds out again is beside it ([`Soft`]). The decisions are in files of their own: `heartbeat`, `fence`,
//! `configured`, `assignor`, `reconcile`. Offsets are not here, and no topic is created here.

pub(crate) mod assignor;
pub(crate) mod commit;
mod configured;
mod describe;
pub(crate) mod description;
pub(crate) mod endpoints;
pub(crate) mod fence;
pub(crate) mod heartbeat;
mod join;
mod reconcile;
pub(crate) mod records;
pub(crate) mod status;
pub(crate) mod task_offsets;
pub(crate) mod topology;

use crate::{
    InstanceId, MemberId, Record, TargetEpoch,
    decision::{Decision, Logged},
};
use configured::Configured;
pub(crate) use describe::ASSIGNOR;
use description::Described;
use endpoints::EndpointPartitions;
use model::{GroupId, PartitionIndex};
use records::{StreamsChange, StreamsCurrent, StreamsEpoch, StreamsMetadata, Tasks};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use task_offsets::MemberOffsets;
use topology::Topology;

/// The epoch of the target assignment of a group that never had one.
const NO_TARGET: TargetEpoch = TargetEpoch { epoch: 1, timestamp: 0 };

/// A streams group.
#[derive(Debug)]
pub(crate) struct StreamsGroup {
    pub(crate) id: GroupId,
    pub(crate) epoch: StreamsEpoch,
    pub(crate) topology: Option<Topology>,
    /// The topics that its subtopologies read.
    sources: BTreeSet<Arc<str>>,
    pub(crate) target_epoch: TargetEpoch,
    pub(crate) members: BTreeMap<MemberId, StreamsMember>,
    pub(crate) static_members: BTreeMap<InstanceId, MemberId>,
    pub(crate) targets: BTreeMap<MemberId, Tasks>,
    /// Who has each task, or was told to give it up and has not yet; whether it runs it.
    owners: BTreeMap<Arc<str>, BTreeMap<PartitionIndex, BTreeMap<MemberId, bool>>>,
    pub(crate) soft: Soft,
}

/// What is not in the log: it is found out again, or members say it again.
#[derive(Debug, Default)]
pub(crate) struct Soft {
    /// What was found of the topics of the topology.
    pub(crate) configured: Option<Configured>,
    /// The version of the cluster's topics that `epoch.metadata_hash` was compared with.
    pub(crate) topics_seen: Option<u64>,
    /// How far the tasks of each member are.
    pub(crate) offsets: BTreeMap<MemberId, MemberOffsets>,
    /// What the endpoints of the members read, while that is known.
    pub(crate) endpoints: Option<Arc<[EndpointPartitions]>>,
    /// Rises when it changes where tasks can be asked for.
    pub(crate) endpoint_epoch: i32,
    /// The member that wants the application to end.
    pub(crate) shutdown_by: Option<MemberId>,
    /// The description of the topology, for people.
    pub(crate) described: Described,
}

/// A member.
#[derive(Debug, Clone, Default)]
pub(crate) struct StreamsMember {
    pub(crate) metadata: StreamsMetadata,
    pub(crate) current: StreamsCurrent,
}

/// The states of a streams group, as Kafka names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StreamsState {
    /// No members; perhaps offsets.
    Empty,
    /// Topics of the topology are missing or do not fit.
    NotReady,
    /// A target assignment is to be computed.
    Assigning,
    /// Members are on their way to the target assignment.
    Reconciling,
    /// Every member has what it is to have.
    Stable,
    /// It does not exist.
    Dead,
}

impl StreamsState {
    /// Kafka's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::NotReady => "NotReady",
            Self::Assigning => "Assigning",
            Self::Reconciling => "Reconciling",
            Self::Stable => "Stable",
            Self::Dead => "Dead",
        }
    }
}

impl StreamsGroup {
    /// A group without members.
    pub(crate) fn new(id: GroupId) -> Self {
        Self {
            id,
            epoch: StreamsEpoch::default(),
            topology: None,
            sources: BTreeSet::new(),
            target_epoch: NO_TARGET,
            members: BTreeMap::new(),
            static_members: BTreeMap::new(),
            targets: BTreeMap::new(),
            owners: BTreeMap::new(),
            soft: Soft::default(),
        }
    }

    /// Where the group stands.
    pub(crate) fn state(&self) -> StreamsState {
        let topology_epoch = self.topology.as_ref().map(|topology| topology.epoch);
        if self.members.is_empty() {
            StreamsState::Empty
        } else if topology_epoch != Some(self.epoch.validated_topology_epoch) {
            StreamsState::NotReady
        } else if self.epoch.epoch > self.target_epoch.epoch {
            StreamsState::Assigning
        } else if self.members.values().all(|m| m.current.is_reconciled_to(self.target_epoch.epoch)) {
            StreamsState::Stable
        } else {
            StreamsState::Reconciling
        }
    }

    /// Whether members read a topic. Nobody does in a group without members, so that offsets can expire.
    pub(crate) fn is_subscribed(&self, topic: &str) -> bool {
        !self.members.is_empty() && self.sources.contains(topic)
    }

    /// Whether a member other than this one runs a task, or has yet to give it up.
    pub(crate) fn is_run_by_another(&self, id: &MemberId, subtopology: &str, index: PartitionIndex) -> bool {
        self.owners_of(subtopology, index).any(|(owner, runs)| owner != id && runs)
    }

    /// Whether a member of the same process other than this one has a task in any kind.
    pub(crate) fn is_beside(&self, id: &MemberId, subtopology: &str, index: PartitionIndex) -> bool {
        let process = |id: &MemberId| self.members.get(id).map(|member| &member.metadata.process_id);
        self.owners_of(subtopology, index).any(|(owner, _)| owner != id && process(owner) == process(id))
    }

    fn owners_of(&self, subtopology: &str, index: PartitionIndex) -> impl Iterator<Item = (&MemberId, bool)> {
        let owners = self.owners.get(subtopology).and_then(|tasks| tasks.get(&index));
        owners.into_iter().flatten().map(|(id, runs)| (id, *runs))
    }

    fn set_metadata(&mut self, id: &MemberId, next: Option<StreamsMetadata>) -> Option<StreamsMetadata> {
        let former = self.members.get(id).map(|member| member.metadata.clone());
        // Another member may have taken the instance id over already.
        if let Some(instance) = former.as_ref().and_then(|former| former.instance_id.as_ref())
            && self.static_members.get(instance) == Some(id)
        {
            self.static_members.remove(instance);
        }
        let Some(next) = next else {
            if let Some(member) = self.members.remove(id) {
                self.release(id, &member.current);
            }
            self.soft.offsets.remove(id);
            if self.members.is_empty() {
                self.soft.shutdown_by = None;
            }
            return former;
        };
        if let Some(instance) = &next.instance_id {
            self.static_members.insert(instance.clone(), id.clone());
        }
        self.members.entry(id.clone()).or_default().metadata = next;
        former
    }

    fn set_current(&mut self, id: &MemberId, next: Option<StreamsCurrent>) -> Option<StreamsCurrent> {
        // A tombstone of a member that is gone already.
        if next.is_none() && !self.members.contains_key(id) {
            return None;
        }
        let next = next.unwrap_or_default();
        let member = self.members.entry(id.clone()).or_default();
        let former = std::mem::replace(&mut member.current, next.clone());
        self.release(id, &former);
        for (subtopology, index, runs) in all_tasks(&next) {
            let tasks = self.owners.entry(subtopology.clone()).or_default();
            *tasks.entry(index).or_default().entry(id.clone()).or_default() |= runs;
        }
        Some(former)
    }

    /// A member has these no more.
    fn release(&mut self, id: &MemberId, current: &StreamsCurrent) {
        for (subtopology, index, _) in all_tasks(current) {
            let Some(tasks) = self.owners.get_mut(subtopology) else { continue };
            if let Some(owners) = tasks.get_mut(&index) {
                owners.remove(id);
                if owners.is_empty() {
                    tasks.remove(&index);
                }
            }
            if tasks.is_empty() {
                self.owners.remove(subtopology);
            }
        }
    }
}

/// All tasks that a member has or is to give up; whether it runs them.
fn all_tasks(current: &StreamsCurrent) -> impl Iterator<Item = (&Arc<str>, PartitionIndex, bool)> {
    [&current.assigned, &current.revoking].into_iter().flat_map(|tasks| {
        let active = tasks.active.iter();
        let active = active.flat_map(|(name, tasks)| tasks.keys().map(move |index| (name, *index, true)));
        let copies = records::each(&tasks.standby).chain(records::each(&tasks.warmup));
        active.chain(copies.map(|(name, index)| (name, index, false)))
    })
}

impl Logged for StreamsGroup {
    type Change = StreamsChange;

    fn id(&self) -> &GroupId {
        &self.id
    }

    fn apply(&mut self, change: StreamsChange) -> StreamsChange {
        self.soft.endpoints = None;
        match change {
            StreamsChange::Epoch(epoch) => {
                let epoch = epoch.unwrap_or_default();
                StreamsChange::Epoch(Some(std::mem::replace(&mut self.epoch, epoch)))
            }
            StreamsChange::Topology(topology) => {
                self.soft.configured = None;
                let parts = topology.iter().flat_map(|topology| &topology.subtopologies);
                self.sources = parts.flat_map(|part| part.source_names()).cloned().collect();
                StreamsChange::Topology(std::mem::replace(&mut self.topology, topology))
            }
            StreamsChange::TargetEpoch(epoch) => {
                let epoch = epoch.unwrap_or(NO_TARGET);
                StreamsChange::TargetEpoch(Some(std::mem::replace(&mut self.target_epoch, epoch)))
            }
            StreamsChange::Target(member, target) => {
                let former = match target {
                    Some(target) => self.targets.insert(member.clone(), target),
                    None => self.targets.remove(&member),
                };
                StreamsChange::Target(member, former)
            }
            StreamsChange::Member(id, metadata) => {
                let former = self.set_metadata(&id, metadata);
                StreamsChange::Member(id, former)
            }
            StreamsChange::Current(id, current) => {
                let former = self.set_current(&id, current);
                StreamsChange::Current(id, former)
            }
        }
    }

    fn record(group: GroupId, change: StreamsChange) -> Record {
        Record::Streams { group, change }
    }

    /// What was found of the topics stays: it fits the topology, or goes with it.
    fn forget_derived(&mut self) {
        self.soft.topics_seen = None;
    }
}

impl Decision<StreamsGroup> {
    /// Asks for a new target assignment; `change` sets what else is known of the new epoch.
    pub(crate) fn bump_epoch(&mut self, change: impl FnOnce(&mut StreamsEpoch)) {
        let mut next = self.group.epoch.clone();
        next.epoch = next.epoch.saturating_add(1);
        change(&mut next);
        self.set(StreamsChange::Epoch(Some(next)));
    }

    /// Takes a member out.
    pub(crate) fn remove_member(&mut self, id: &MemberId) {
        self.set(StreamsChange::Current(id.clone(), None));
        self.set(StreamsChange::Target(id.clone(), None));
        self.set(StreamsChange::Member(id.clone(), None));
    }
}

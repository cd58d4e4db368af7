//! A consumer group (KIP-848): its members, what they are to have and what they have.
//!
//! All of its state is made of the values that the log holds ([`ConsumerChange`]); [`ConsumerGroup::apply`] sets one and
//! gives the value that was there before, so that a refused append can be undone. The decisions are beside it:
//! `heartbeat`, `classic` (members of the classic protocol), `fence` (leaving and falling silent), `reconcile`, `assignors`,
//! `patterns`. Offsets are not here.

pub(crate) mod assignors;
pub(crate) mod changes;
pub(crate) mod classic;
pub(crate) mod commit;
mod describe;
pub(crate) mod fence;
pub(crate) mod heartbeat;
mod patterns;
mod reconcile;
pub(crate) mod records;
pub(crate) mod topics;

use crate::{InstanceId, MemberId};
use assignors::Assignor;
pub(crate) use describe::named;
use model::{GroupId, PartitionIndex, TopicId};
use records::{ConsumerChange, Current, GroupEpoch, Partitions, Pattern, Subscription, TargetEpoch};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use topics::Topics;

/// A consumer group.
#[derive(Debug)]
pub(crate) struct ConsumerGroup {
    pub(crate) id: GroupId,
    pub(crate) epoch: GroupEpoch,
    pub(crate) target_epoch: TargetEpoch,
    pub(crate) members: BTreeMap<MemberId, Member>,
    pub(crate) static_members: BTreeMap<InstanceId, MemberId>,
    pub(crate) targets: BTreeMap<MemberId, Partitions>,
    /// What each pattern was found to match.
    pub(crate) patterns: BTreeMap<Arc<str>, Pattern>,
    /// How many members are subscribed to each topic by its name, to each pattern, and prefer each assignor.
    names: Counted,
    pattern_subscribers: Counted,
    preferred: Counted,
    /// Who has each partition, or was told to give it up and has not yet.
    owners: BTreeMap<(TopicId, PartitionIndex), MemberId>,
    /// The version of the cluster's topics that `epoch.metadata_hash` was compared with; not in the log.
    pub(crate) topics_seen: Option<u64>,
    /// As a classic group of more members it could not be written down, for it would have been too much for one batch; not in
    /// the log.
    pub(crate) downgrade_members_max: Option<usize>,
}

/// A member.
#[derive(Debug, Clone, Default)]
pub(crate) struct Member {
    pub(crate) subscription: Subscription,
    pub(crate) current: Current,
}

/// How often each name occurs.
#[derive(Debug, Default)]
struct Counted(BTreeMap<Arc<str>, usize>);

impl Counted {
    fn add(&mut self, name: &Arc<str>) {
        *self.0.entry(name.clone()).or_default() += 1;
    }

    fn remove(&mut self, name: &Arc<str>) {
        if let Some(count) = self.0.get_mut(name) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(name);
            }
        }
    }

    fn count(&self, name: &str) -> usize {
        self.0.get(name).copied().unwrap_or(0)
    }
}

/// The states of a consumer group, as Kafka names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConsumerState {
    /// No members; perhaps offsets.
    Empty,
    /// A target assignment is to be computed.
    Assigning,
    /// Members are on their way to the target assignment.
    Reconciling,
    /// Every member has what it is to have.
    Stable,
    /// It does not exist.
    Dead,
}

impl ConsumerState {
    /// Kafka's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Assigning => "Assigning",
            Self::Reconciling => "Reconciling",
            Self::Stable => "Stable",
            Self::Dead => "Dead",
        }
    }
}

impl ConsumerGroup {
    /// A group without members.
    pub(crate) fn new(id: GroupId) -> Self {
        Self {
            id,
            epoch: GroupEpoch::FIRST,
            target_epoch: TargetEpoch { epoch: 0, timestamp: 0 },
            members: BTreeMap::new(),
            static_members: BTreeMap::new(),
            targets: BTreeMap::new(),
            patterns: BTreeMap::new(),
            names: Counted::default(),
            pattern_subscribers: Counted::default(),
            preferred: Counted::default(),
            owners: BTreeMap::new(),
            topics_seen: None,
            downgrade_members_max: None,
        }
    }

    /// Sets one value and gives the change that takes it back.
    pub(crate) fn apply(&mut self, change: ConsumerChange) -> ConsumerChange {
        match change {
            ConsumerChange::Epoch(epoch) => {
                let epoch = epoch.unwrap_or(GroupEpoch::FIRST);
                ConsumerChange::Epoch(Some(std::mem::replace(&mut self.epoch, epoch)))
            }
            ConsumerChange::TargetEpoch(epoch) => {
                let epoch = epoch.unwrap_or(TargetEpoch { epoch: 0, timestamp: 0 });
                ConsumerChange::TargetEpoch(Some(std::mem::replace(&mut self.target_epoch, epoch)))
            }
            ConsumerChange::Pattern(pattern, found) => {
                let former = match found {
                    Some(found) => self.patterns.insert(pattern.clone(), found),
                    None => self.patterns.remove(&pattern),
                };
                ConsumerChange::Pattern(pattern, former)
            }
            ConsumerChange::Target(member, target) => {
                let former = match target {
                    Some(target) => self.targets.insert(member.clone(), target),
                    None => self.targets.remove(&member),
                };
                ConsumerChange::Target(member, former)
            }
            ConsumerChange::Member(id, subscription) => {
                let former = self.set_subscription(&id, subscription);
                ConsumerChange::Member(id, former)
            }
            ConsumerChange::Current(id, current) => {
                let former = self.set_current(&id, current);
                ConsumerChange::Current(id, former)
            }
        }
    }

    fn set_subscription(&mut self, id: &MemberId, next: Option<Subscription>) -> Option<Subscription> {
        let former = self.members.get(id).map(|member| member.subscription.clone());
        if let Some(former) = &former {
            former.topics.iter().for_each(|name| self.names.remove(name));
            former.pattern.iter().for_each(|pattern| self.pattern_subscribers.remove(pattern));
            former.assignor.iter().for_each(|assignor| self.preferred.remove(assignor));
            // Another member may have taken the instance id over already.
            if let Some(instance) = &former.instance_id
                && self.static_members.get(instance) == Some(id)
            {
                self.static_members.remove(instance);
            }
        }
        let Some(next) = next else {
            if let Some(member) = self.members.remove(id) {
                self.release(id, &member.current);
            }
            return former;
        };
        next.topics.iter().for_each(|name| self.names.add(name));
        next.pattern.iter().for_each(|pattern| self.pattern_subscribers.add(pattern));
        next.assignor.iter().for_each(|assignor| self.preferred.add(assignor));
        if let Some(instance) = &next.instance_id {
            self.static_members.insert(instance.clone(), id.clone());
        }
        self.members.entry(id.clone()).or_default().subscription = next;
        former
    }

    fn set_current(&mut self, id: &MemberId, next: Option<Current>) -> Option<Current> {
        // A tombstone of a member that is gone already.
        if next.is_none() && !self.members.contains_key(id) {
            return None;
        }
        let next = next.unwrap_or_default();
        let member = self.members.entry(id.clone()).or_default();
        let former = std::mem::replace(&mut member.current, next.clone());
        self.release(id, &former);
        for (topic, partitions) in next.assigned.iter().chain(&next.revoking) {
            self.owners.extend(partitions.keys().map(|index| ((*topic, *index), id.clone())));
        }
        Some(former)
    }

    /// A member has these no more, unless they are another's already.
    fn release(&mut self, id: &MemberId, current: &Current) {
        for (topic, partitions) in current.assigned.iter().chain(&current.revoking) {
            for index in partitions.keys() {
                if self.owners.get(&(*topic, *index)) == Some(id) {
                    self.owners.remove(&(*topic, *index));
                }
            }
        }
    }

    /// Who has a partition, or was told to give it up and has not yet.
    pub(crate) fn owner(&self, topic: &TopicId, index: PartitionIndex) -> Option<&MemberId> {
        self.owners.get(&(*topic, index))
    }

    /// How many members are subscribed to a pattern.
    pub(crate) fn pattern_subscribers(&self, pattern: &str) -> usize {
        self.pattern_subscribers.count(pattern)
    }

    /// All patterns that members are subscribed to.
    pub(crate) fn subscribed_patterns(&self) -> impl Iterator<Item = &Arc<str>> {
        self.pattern_subscribers.0.keys()
    }

    /// The assignor that most members prefer, the first by name among equals; the default where none prefers any.
    pub(crate) fn assignor(&self) -> Assignor {
        let preferred =
            self.preferred.0.iter().max_by_key(|(name, count)| (**count, std::cmp::Reverse(*name)));
        preferred.and_then(|(name, _)| Assignor::by_name(name)).unwrap_or(Assignor::ALL[0])
    }

    /// Where the group stands.
    pub(crate) fn state(&self) -> ConsumerState {
        if self.members.is_empty() {
            ConsumerState::Empty
        } else if self.epoch.epoch > self.target_epoch.epoch {
            ConsumerState::Assigning
        } else if self.members.values().all(|m| m.current.is_reconciled_to(self.target_epoch.epoch)) {
            ConsumerState::Stable
        } else {
            ConsumerState::Reconciling
        }
    }

    /// The names of the topics that a subscription means: by name and by what its pattern was found to match.
    fn topics_of<'a>(&'a self, subscription: &'a Subscription) -> impl Iterator<Item = &'a Arc<str>> {
        let matched = subscription.pattern.as_ref().and_then(|pattern| self.patterns.get(pattern));
        subscription.topics.iter().chain(matched.into_iter().flat_map(|found| &found.topics))
    }

    /// The ids of the topics that a subscription means, of those that exist.
    pub(crate) fn topic_ids(&self, subscription: &Subscription, topics: &dyn Topics) -> BTreeSet<TopicId> {
        self.topics_of(subscription).filter_map(|name| Some(topics.by_name(name)?.0)).collect()
    }

    /// Whether a member is subscribed to a topic.
    pub(crate) fn is_subscribed(&self, topic: &str) -> bool {
        let is_matched =
            |pattern: &Arc<str>| self.patterns.get(pattern).is_some_and(|found| found.topics.contains(topic));
        self.names.count(topic) > 0 || self.subscribed_patterns().any(is_matched)
    }

    /// A hash over all topics that members are subscribed to and that exist: their names, ids and partitions. 0: none.
    pub(crate) fn metadata_hash(&self, topics: &dyn Topics) -> i64 {
        let matched = self.subscribed_patterns().filter_map(|pattern| self.patterns.get(pattern));
        hash_of(self.names.0.keys().chain(matched.flat_map(|found| &found.topics)).collect(), topics)
    }
}

/// A hash over those of these topics that exist: their names, ids and partitions. 0: none.
pub(crate) fn hash_of(names: BTreeSet<&Arc<str>>, topics: &dyn Topics) -> i64 {
    let known = names.into_iter().filter_map(|name| Some((name, topics.by_name(name)?)));
    let mut hash = Fnv::default();
    for (name, (id, partitions)) in known {
        hash.add(name.as_bytes());
        hash.add(&[0xFF]);
        hash.add(&id.0);
        hash.add(&partitions.to_be_bytes());
    }
    hash.finish()
}

/// FNV-1a in 64 bits: the same on every machine and in every release, which is all that is asked of it.
#[derive(Default)]
struct Fnv(Option<u64>);

impl Fnv {
    fn add(&mut self, bytes: &[u8]) {
        let mut hash = self.0.unwrap_or(0xCBF2_9CE4_8422_2325);
        for byte in bytes {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01B3);
        }
        self.0 = Some(hash);
    }

    /// 0 only if nothing was added.
    fn finish(self) -> i64 {
        self.0.map_or(0, |hash| i64::from_be_bytes(hash.max(1).to_be_bytes()))
    }
}

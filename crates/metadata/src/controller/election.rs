//! How a partition looks after its ISR, its replicas or its brokers have changed: who leads it, which replicas stay
//! eligible (KIP-966), and whether a reassignment is complete (KIP-455).
//!
//! It does not find out what has changed and writes nothing: every decision about a partition drafts what it wants and
//! has it finished here, so that one rule decides on leaders everywhere.

use model::{NodeId, PartitionIndex, TopicId};
use stdx::Uuid;

use super::Controller;
use crate::{Partition, PartitionChange, Recovery, features};

/// What counts in the elections of one topic.
pub(super) struct Outlook<'a> {
    controller: &'a Controller,
    fits: &'a dyn Fn(NodeId, Uuid) -> bool,
    elr_on: bool,
    min_isr: i64,
    unclean: bool,
}

/// Whom an election may choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Election {
    /// Whoever leads goes on if it can; else the first replica that holds everything.
    Online,
    /// The preferred replica, if it holds everything; else as `Online`.
    Preferred,
    /// As `Online`, but rather a replica that may lack records than none.
    Unclean,
}

/// A wanted state of a partition.
pub(super) struct Draft<'a> {
    before: &'a Partition,
    /// The partition with what is wanted; [`Outlook::finish`] settles the leader and the rest.
    pub(super) after: Partition,
    /// A replica that may have lost what it held: it is in no ISR and no longer eligible.
    pub(super) doubtful: Option<NodeId>,
    /// Whom the election may choose.
    pub(super) election: Election,
    /// Whether the leader begins a new epoch even if it stays.
    pub(super) anew: bool,
}

impl<'a> Outlook<'a> {
    /// `fits` says whether a replica in that log directory of its broker can lead.
    pub(super) fn of(
        controller: &'a Controller,
        topic: &str,
        fits: &'a dyn Fn(NodeId, Uuid) -> bool,
    ) -> Self {
        let configs = controller.configs().topic(topic);
        Self {
            controller,
            fits,
            elr_on: controller.image.feature(features::ELR) > 0,
            min_isr: configs.integer("min.insync.replicas"),
            unclean: configs.flag("unclean.leader.election.enable"),
        }
    }

    /// Whether the topic would rather lose records than be without a leader.
    pub(super) fn allows_loss(&self) -> bool {
        self.unclean
    }

    /// How many must be in sync, if fewer would be than that and than are; `None` where the topic would rather lose records.
    pub(super) fn lacks_in_sync(&self, before: &Partition, after: &Partition) -> Option<usize> {
        let (min, left) = (after.min_isr(self.min_isr), after.isr.len());
        (!self.unclean && left < min && left < before.isr.len()).then_some(min)
    }

    /// A draft that wants nothing yet but a leader, by the rule of the topic.
    pub(super) fn draft<'p>(&self, before: &'p Partition) -> Draft<'p> {
        let election = if self.unclean { Election::Unclean } else { Election::Online };
        Draft { before, after: before.clone(), doubtful: None, election, anew: false }
    }

    /// Gives the draft new replicas. Those that stay keep their directories; a new one gets its broker's only one.
    pub(super) fn set_replicas(&self, partition: &mut Partition, replicas: Vec<NodeId>) {
        let directory = |id: &NodeId| partition.directory(*id).or_else(|| self.controller.directory_of(*id));
        partition.directories =
            replicas.iter().map(|id| directory(id).unwrap_or(crate::DIRECTORY_UNASSIGNED)).collect();
        partition.replicas = replicas;
    }

    /// The change that makes the draft true; `None` if nothing changes.
    pub(super) fn finish(
        &self,
        topic: TopicId,
        index: PartitionIndex,
        draft: Draft<'_>,
    ) -> Option<PartitionChange> {
        let Draft { before, mut after, doubtful, election, anew } = draft;
        after.isr.retain(|id| Some(*id) != doubtful);
        self.complete_reassignment(&mut after);
        self.settle_elr(before, &mut after, doubtful);
        let (leader, unclean) = self.elect(before, &after, election);
        if unclean {
            after.isr = vec![leader];
            after.elr.clear();
            after.recovery = Recovery::Recovering;
        } else if after.elr.contains(&leader) {
            after.isr = vec![leader];
            after.elr.retain(|id| *id != leader);
            if after.isr.len() >= after.min_isr(self.min_isr) {
                after.elr.clear();
            }
        }
        if after.isr.is_empty() && !self.elr_on {
            // Without ELR, the ISR is all that tells who holds everything.
            after.isr.clone_from(&before.isr);
        }
        // Who is no replica any more must learn that its epoch is over.
        let shrunk = before.replicas.iter().any(|id| !after.replicas.contains(id));
        let new_epoch = anew || unclean || shrunk || leader != before.leader;
        self.settle_last_known(before, &mut after, new_epoch.then_some(leader));
        after.leader = leader;
        difference(topic, index, before, after, new_epoch)
    }

    /// A reassignment is complete when the ISR holds every replica that comes, and does not only consist of those
    /// that leave. If there will be fewer replicas than before, all that stay must be in it: it would shrink else.
    fn complete_reassignment(&self, after: &mut Partition) {
        if !after.is_reassigning() {
            return;
        }
        let stays = |id: &NodeId| !after.removing.contains(id);
        let isr: Vec<_> = after.isr.iter().copied().filter(stays).collect();
        let replicas: Vec<_> = after.replicas.iter().copied().filter(stays).collect();
        let comes = after.adding.iter().copied().filter(stays).all(|id| isr.contains(&id));
        let fewer = after.adding.len() < after.removing.len();
        let whole = replicas.iter().all(|id| isr.contains(id));
        if isr.is_empty() || !comes || fewer && !whole {
            return;
        }
        after.isr = isr;
        after.removing.clear();
        after.adding.clear();
        self.set_replicas(after, replicas);
    }

    /// Below the least ISR nothing is committed, so that those who leave the ISR still hold everything.
    fn settle_elr(&self, before: &Partition, after: &mut Partition, doubtful: Option<NodeId>) {
        if !self.elr_on || after.isr.len() >= after.min_isr(self.min_isr) {
            after.elr.clear();
            return;
        }
        let candidates = before.elr.iter().chain(&before.isr).copied();
        let mut elr: Vec<_> = candidates
            .filter(|id| after.replicas.contains(id) && !after.isr.contains(id) && Some(*id) != doubtful)
            .collect();
        elr.sort_unstable();
        elr.dedup();
        after.elr = elr;
    }

    /// The leader, and whether it may lack records; -1 if there is none.
    fn elect(&self, before: &Partition, after: &Partition, election: Election) -> (NodeId, bool) {
        let fits = |id: &NodeId| after.directory(*id).is_some_and(|directory| (self.fits)(*id, directory));
        let holds_all =
            |id: &NodeId| after.isr.contains(id) || after.isr.is_empty() && after.elr.contains(id);
        let preferred = after.replicas.first().filter(|_| election == Election::Preferred);
        let mut clean = preferred.into_iter().chain([&before.leader]).chain(&after.replicas);
        if let Some(leader) = clean.find(|id| holds_all(id) && fits(id)) {
            return (*leader, false);
        }
        let unclean = match after.elr_last_known.as_slice() {
            [last] if self.elr_on && after.isr.is_empty() && after.elr.is_empty() && fits(last) => {
                Some(*last)
            }
            _ if election == Election::Unclean => after.replicas.iter().copied().find(|id| fits(id)),
            _ => None,
        };
        unclean.map_or((-1, false), |leader| (leader, true))
    }

    /// As in Kafka, the field keeps who led last while nobody leads.
    fn settle_last_known(&self, before: &Partition, after: &mut Partition, leader: Option<NodeId>) {
        match leader {
            _ if !self.elr_on => after.elr_last_known.clear(),
            Some(-1) if before.elr_last_known.is_empty() && before.leader >= 0 => {
                after.elr_last_known = vec![before.leader];
            }
            Some(0..) => after.elr_last_known.clear(),
            _ => {}
        }
    }
}

impl Controller {
    /// Whether a replica in that log directory of its broker can lead as things are.
    pub(super) fn fits(&self, broker: NodeId, directory: Uuid) -> bool {
        let known = self.image.broker(broker);
        known.is_some_and(|known| known.is_active() && known.has_online(directory))
    }

    fn directory_of(&self, broker: NodeId) -> Option<Uuid> {
        self.image.broker(broker).map(|known| known.directory())
    }
}

fn difference(
    topic: TopicId,
    index: PartitionIndex,
    before: &Partition,
    after: Partition,
    new_epoch: bool,
) -> Option<PartitionChange> {
    fn differs<T: PartialEq>(old: &T, new: T) -> Option<T> {
        (*old != new).then_some(new)
    }
    let change = PartitionChange {
        index,
        topic,
        isr: differs(&before.isr, after.isr),
        leader: new_epoch.then_some(after.leader),
        replicas: differs(&before.replicas, after.replicas),
        removing: differs(&before.removing, after.removing),
        adding: differs(&before.adding, after.adding),
        recovery: differs(&before.recovery, after.recovery),
        directories: differs(&before.directories, after.directories),
        elr: differs(&before.elr, after.elr),
        elr_last_known: differs(&before.elr_last_known, after.elr_last_known),
    };
    (change != PartitionChange { index, topic, ..PartitionChange::default() }).then_some(change)
}

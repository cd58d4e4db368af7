//! Who leads a partition after its ISR or its brokers have changed, and which replicas stay eligible (KIP-966).
//!
//! It moves no replicas between brokers. The controller asks it whenever a broker comes, goes, or an ISR changes.

use model::{NodeId, PartitionIndex, TopicId};

use super::Controller;
use crate::{Partition, PartitionChange, Recovery, features};

/// What counts in the elections of one topic.
pub(super) struct Outlook<'a> {
    active: &'a dyn Fn(NodeId) -> bool,
    elr_on: bool,
    min_isr: usize,
    unclean: bool,
}

impl<'a> Outlook<'a> {
    pub(super) fn of(controller: &Controller, topic: &str, active: &'a dyn Fn(NodeId) -> bool) -> Self {
        let configs = controller.configs().topic(topic);
        Self {
            active,
            elr_on: controller.image.feature(features::ELR) > 0,
            min_isr: usize::try_from(configs.integer("min.insync.replicas")).unwrap_or(1),
            unclean: configs.flag("unclean.leader.election.enable"),
        }
    }

    /// The change that gives `partition` the ISR `isr` and a leader for it; `None` if nothing changes.
    pub(super) fn change(
        &self,
        topic: TopicId,
        index: PartitionIndex,
        partition: &Partition,
        isr: Vec<NodeId>,
    ) -> Option<PartitionChange> {
        let mut after = partition.clone();
        after.isr = isr;
        if !after.isr.contains(&after.leader) || !(self.active)(after.leader) {
            self.elect(&mut after);
        }
        if after.isr.is_empty() && !self.elr_on {
            after.isr.clone_from(&partition.isr);
        }
        self.settle_elr(partition, &mut after);
        let differs = |old: &Vec<NodeId>, new: Vec<NodeId>| (*old != new).then_some(new);
        let change = PartitionChange {
            index,
            topic,
            isr: differs(&partition.isr, after.isr),
            leader: (partition.leader != after.leader).then_some(after.leader),
            recovery: (partition.recovery != after.recovery).then_some(after.recovery),
            elr: differs(&partition.elr, after.elr),
            elr_last_known: differs(&partition.elr_last_known, after.elr_last_known),
            ..PartitionChange::default()
        };
        (change != PartitionChange { index, topic, ..PartitionChange::default() }).then_some(change)
    }

    /// The change that lets the leader lead on in a new epoch.
    pub(super) fn again(
        &self,
        topic: TopicId,
        index: PartitionIndex,
        partition: &Partition,
    ) -> PartitionChange {
        PartitionChange { index, topic, leader: Some(partition.leader), ..PartitionChange::default() }
    }

    /// Chooses the leader: an active replica of the ISR, else an eligible one, else the last one known to have been
    /// eligible, else (if the topic allows loss) any active replica, else none.
    fn elect(&self, partition: &mut Partition) {
        let first = |among: &dyn Fn(NodeId) -> bool| {
            partition.replicas.iter().copied().find(|id| among(*id) && (self.active)(*id))
        };
        if let Some(leader) = first(&|id| partition.isr.contains(&id)) {
            partition.leader = leader;
            return;
        }
        if let Some(leader) = first(&|id| partition.elr.contains(&id)) {
            partition.leader = leader;
            partition.isr = vec![leader];
            return;
        }
        let none_eligible = partition.isr.is_empty() && partition.elr.is_empty();
        let last_known = match partition.elr_last_known.as_slice() {
            [last] if none_eligible && (self.active)(*last) => Some(*last),
            _ => None,
        };
        let unclean = last_known.or_else(|| if self.unclean { first(&|_| true) } else { None });
        partition.leader = unclean.unwrap_or(-1);
        if let Some(leader) = unclean {
            partition.isr = vec![leader];
            partition.elr.clear();
            partition.recovery = Recovery::Recovering;
        }
    }

    /// Below the least ISR, those that leave the ISR stay eligible, since they hold everything that was committed.
    fn settle_elr(&self, before: &Partition, after: &mut Partition) {
        if !self.elr_on || after.isr.len() >= self.min_isr.min(after.replicas.len()) {
            after.elr.clear();
            after.elr_last_known.clear();
            return;
        }
        if after.recovery == Recovery::Recovering {
            after.elr.clear();
        } else {
            let candidates = before.elr.iter().chain(&before.isr).copied();
            after.elr = candidates.filter(|id| !after.isr.contains(id)).collect();
            after.elr.sort_unstable();
            after.elr.dedup();
        }
        let known = before.elr_last_known.iter().chain(&before.elr).copied();
        after.elr_last_known =
            known.filter(|id| !after.isr.contains(id) && !after.elr.contains(id)).collect();
        after.elr_last_known.sort_unstable();
        after.elr_last_known.dedup();
        if after.leader < 0 && after.isr.is_empty() && after.elr.is_empty() && before.leader >= 0 {
            after.elr_last_known = vec![before.leader];
        }
    }
}

//! The in-sync replicas of one partition as its leader knows them: committed by the controller, or asked for and not yet
//! answered.
//!
//! It does not judge who is in sync; `Leader` does.

use model::{LeaderEpoch, NodeId};
use std::collections::BTreeSet;

/// The request of a leader to have its ISR changed (KIP-497).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlterIsr {
    /// The new ISR, with the broker epoch that each follower last fetched with; -1 where none is known (KIP-903).
    pub isr: Vec<(NodeId, i64)>,
    /// The epoch in which the leader asks.
    pub leader_epoch: LeaderEpoch,
    /// The partition epoch that the change builds on.
    pub partition_epoch: i32,
}

/// How the controller refused an [`AlterIsr`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IsrRefused {
    /// The change was not made and never will be: INELIGIBLE_REPLICA or OPERATION_NOT_ATTEMPTED. The ISR is the
    /// committed one again.
    NotMade,
    /// The leader's picture is old; the change may have been made. It stays asked for until newer metadata arrive.
    Stale,
    /// Nobody knows whether it was made: it is asked for again.
    Unknown,
}

#[derive(Debug, Clone)]
pub(crate) struct Isr {
    committed: BTreeSet<NodeId>,
    asked: Option<BTreeSet<NodeId>>,
}

impl Isr {
    pub(crate) fn new(committed: BTreeSet<NodeId>) -> Self {
        Self { committed, asked: None }
    }

    pub(crate) fn committed(&self) -> &BTreeSet<NodeId> {
        &self.committed
    }

    pub(crate) fn is_asked(&self) -> bool {
        self.asked.is_some()
    }

    /// Asks for another set. A follower that is to come in counts at once, one that is to go counts until the
    /// controller has agreed: either way the high watermark is never too high.
    pub(crate) fn ask(&mut self, wanted: BTreeSet<NodeId>) {
        self.asked = Some(wanted);
    }

    pub(crate) fn asked(&self) -> Option<&BTreeSet<NodeId>> {
        self.asked.as_ref()
    }

    pub(crate) fn take_back(&mut self) {
        self.asked = None;
    }

    /// Whether the high watermark must wait for `node`: it is in sync, or it will be.
    pub(crate) fn counts(&self, node: NodeId) -> bool {
        self.committed.contains(&node) || self.asked.as_ref().is_some_and(|asked| asked.contains(&node))
    }

    /// How many count.
    pub(crate) fn counted(&self) -> usize {
        self.asked.as_ref().map_or(self.committed.len(), |asked| self.committed.union(asked).count())
    }
}

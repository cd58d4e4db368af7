//! What the cluster's metadata say of one partition while one broker leads it.
//!
//! It is plain data, taken from `PartitionRecord` and `PartitionChangeRecord`; it decides nothing. The host makes it and
//! gives it to `Leader`.

use model::{LeaderEpoch, NodeId};
use std::collections::BTreeSet;

/// The partition as the metadata have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    /// Rises with every change of the leader.
    pub leader_epoch: LeaderEpoch,
    /// Rises with every change of the partition, its ISR among them.
    pub partition_epoch: i32,
    /// All replicas, in the order of the assignment; the leader is one of them.
    pub replicas: Vec<NodeId>,
    /// The replicas that are in sync, as the controller has committed them.
    pub isr: BTreeSet<NodeId>,
}

//! What an exporter of metrics or a console may see of the coordinator, without asking through an API.

use crate::{CommittedOffset, State};
use model::{GroupId, PartitionIndex, TopicName};

/// A group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupView<'a> {
    /// Its id.
    pub group: &'a GroupId,
    /// The kind of protocol; empty for a group that only holds offsets.
    pub protocol_type: &'a str,
    /// Its state.
    pub state: State,
    /// Its generation.
    pub generation: i32,
    /// How many members it has.
    pub members: usize,
    /// Why it last rebalanced; empty if it never did since this node leads it.
    pub rebalance_reason: &'a str,
}

/// A committed offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OffsetView<'a> {
    /// The group.
    pub group: &'a GroupId,
    /// The topic.
    pub topic: &'a TopicName,
    /// The partition.
    pub partition: PartitionIndex,
    /// The offset.
    pub offset: &'a CommittedOffset,
}

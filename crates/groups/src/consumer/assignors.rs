//! The server-side assignors of consumer groups: who is to have which partition, under the names that Kafka gives them.
//!
//! Pure: members, what they are subscribed to and what they were to have before go in; what they are to have comes out.
//! `uniform` balances and keeps what was assigned; `range` gives every member the same stretch of each topic.

mod range;
mod uniform;

use super::records::Partitions;
use crate::{InstanceId, MemberId};
use model::{PartitionIndex, TopicId};
use std::collections::{BTreeMap, BTreeSet};

/// An assignor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Assignor {
    Uniform,
    Range,
}

/// What an assignor knows of a member.
#[derive(Debug, Clone, Default)]
pub(crate) struct MemberSpec {
    pub(crate) instance_id: Option<InstanceId>,
    /// The topics that it is subscribed to; all of them exist.
    pub(crate) topics: BTreeSet<TopicId>,
    /// What it was to have.
    pub(crate) assigned: Partitions,
}

/// Members by id.
pub(crate) type MemberSpecs = BTreeMap<MemberId, MemberSpec>;

/// What each member is to have.
pub(crate) type Targets = BTreeMap<MemberId, Partitions>;

/// How many partitions a topic has.
pub(crate) type Counts<'a> = &'a dyn Fn(&TopicId) -> PartitionIndex;

impl Assignor {
    /// All, the default first.
    pub(crate) const ALL: [Self; 2] = [Self::Uniform, Self::Range];

    /// Kafka's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Range => "range",
        }
    }

    /// The assignor of this name.
    pub(crate) fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|assignor| assignor.name() == name)
    }

    /// Gives every partition of a topic that somebody is subscribed to to exactly one of its subscribers.
    pub(crate) fn assign(self, members: &MemberSpecs, counts: Counts<'_>) -> Targets {
        match self {
            Self::Range => range::assign(members, counts),
            Self::Uniform => uniform::assign(members, counts),
        }
    }
}

#[cfg(test)]
mod tests;

//! ConsumerGroupDescribe, and what lists show of consumer groups.

use super::{ConsumerGroup, Member, records::Partitions, topics::Topics};
use crate::{ConsumerDescribed, ConsumerDescribedMember, MemberId, NamedPartitions};
use std::sync::Arc;

impl ConsumerGroup {
    /// The group, as people see it. Topics that are gone are left out.
    pub(crate) fn to_described(&self, topics: &dyn Topics) -> ConsumerDescribed {
        ConsumerDescribed {
            group: self.id.clone(),
            error: None,
            state: self.state(),
            epoch: self.epoch.epoch,
            assignment_epoch: self.target_epoch.epoch,
            assignor: Arc::from(self.assignor().name()),
            members: self.members.iter().map(|(id, member)| self.member(id, member, topics)).collect(),
        }
    }

    fn member(&self, id: &MemberId, member: &Member, topics: &dyn Topics) -> ConsumerDescribedMember {
        let nothing = Partitions::new();
        ConsumerDescribedMember {
            member_id: id.clone(),
            epoch: member.current.epoch,
            subscription: member.subscription.clone(),
            assignment: named(&member.current.held(), topics),
            target: named(self.targets.get(id).unwrap_or(&nothing), topics),
        }
    }
}

/// The same with the names of the topics; those that are gone are left out.
pub(crate) fn named(partitions: &Partitions, topics: &dyn Topics) -> Vec<NamedPartitions> {
    let name = |(id, indices): (&model::TopicId, &std::collections::BTreeSet<i32>)| {
        let (name, _) = topics.by_id(id)?;
        Some(NamedPartitions { topic_id: *id, name, partitions: indices.iter().copied().collect() })
    };
    partitions.iter().filter_map(name).collect()
}

//! StreamsGroupDescribe.

use super::{StreamsGroup, StreamsMember, description::DescriptionStatus};
use crate::{MemberId, StreamsDescribed, StreamsDescribedMember};

/// Kafka's name of the one assignor.
pub(crate) const ASSIGNOR: &str = "sticky";

impl StreamsGroup {
    /// The group, as people see it.
    pub(crate) fn to_described(&self, with_description: bool) -> StreamsDescribed {
        let ready = self.soft.configured.as_ref().filter(|configured| configured.is_ready());
        let topology = self.topology.as_ref();
        StreamsDescribed {
            group: self.id.clone(),
            error: None,
            state: self.state(),
            epoch: self.epoch.epoch,
            assignment_epoch: self.target_epoch.epoch,
            assignor: ASSIGNOR,
            topology: topology.map(|topology| topology.to_described(ready.map(|found| &found.counts))),
            members: self.members.iter().map(|(id, member)| self.member(id, member)).collect(),
            description: match topology.filter(|_| with_description) {
                Some(topology) => self.soft.described.of(topology.epoch),
                None if with_description => DescriptionStatus::NotStored,
                None => DescriptionStatus::NotRequested,
            },
        }
    }

    fn member(&self, id: &MemberId, member: &StreamsMember) -> StreamsDescribedMember {
        StreamsDescribedMember {
            member_id: id.clone(),
            epoch: member.current.epoch,
            metadata: member.metadata.clone(),
            offsets: self.soft.offsets.get(id).cloned().unwrap_or_default(),
            assignment: member.current.assigned.to_tasks(),
            target: self.targets.get(id).cloned().unwrap_or_default(),
        }
    }
}

//! ShareGroupDescribe.

use super::{ShareGroup, assignor};
use crate::{ShareDescribed, ShareDescribedMember, consumer, consumer::topics::Topics};

impl ShareGroup {
    /// The group, as people see it. Topics that are gone are left out.
    pub(crate) fn to_described(&self, topics: &dyn Topics) -> ShareDescribed {
        let members = self.members.iter().map(|(id, member)| ShareDescribedMember {
            member_id: id.clone(),
            epoch: member.current.epoch,
            subscription: member.subscription.clone(),
            assignment: consumer::named(&member.current.assigned, topics),
        });
        ShareDescribed {
            group: self.id.clone(),
            error: None,
            state: self.state(),
            epoch: self.epoch.epoch,
            assignment_epoch: self.target_epoch.epoch,
            assignor: assignor::NAME,
            members: members.collect(),
        }
    }
}

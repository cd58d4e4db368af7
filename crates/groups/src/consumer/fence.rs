//! Members of consumer groups leave, fall silent, or take too long to give partitions up.

use super::{
    ConsumerGroup,
    changes::Changes,
    heartbeat::LEAVING_FOR_A_WHILE,
    records::{ConsumerChange, Current, Epochs, MemberState, TargetEpoch},
    topics::Topics,
};
use crate::{ConsumerHeartbeat, Error, MemberId};

/// Who it is that leaves, for good or for a while.
pub(crate) fn find(group: &ConsumerGroup, request: &ConsumerHeartbeat) -> Result<MemberId, Error> {
    match &request.instance_id {
        None => {
            let is_member = group.members.contains_key(&request.member_id);
            is_member.then(|| request.member_id.clone()).ok_or(Error::UnknownMemberId)
        }
        Some(instance) => match group.static_members.get(instance) {
            None => Err(Error::UnknownMemberId),
            Some(id) if *id != request.member_id => Err(Error::FencedInstanceId),
            Some(id) => Ok(id.clone()),
        },
    }
}

/// A static member will come back: what it has is kept for it, as if assigned before all epochs (KIP-1251).
pub(crate) fn rest(changes: &mut Changes<'_>, id: &MemberId) {
    let Some(member) = changes.group.members.get(id) else { return };
    let mut assigned = member.current.assigned.clone();
    assigned.values_mut().flat_map(|partitions| partitions.values_mut()).for_each(|epoch| *epoch = 0);
    let state = MemberState::Stable;
    let next = Current {
        epoch: LEAVING_FOR_A_WHILE,
        state,
        assigned,
        revoking: Epochs::new(),
        ..member.current.clone()
    };
    changes.set(ConsumerChange::Current(id.clone(), Some(next)));
}

/// Takes members out of the group; the next heartbeat of another gives their partitions away.
pub(crate) fn remove(changes: &mut Changes<'_>, topics: &dyn Topics, ids: &[MemberId]) {
    for id in ids {
        changes.set(ConsumerChange::Current(id.clone(), None));
        changes.set(ConsumerChange::Target(id.clone(), None));
        changes.set(ConsumerChange::Member(id.clone(), None));
    }
    let group: &ConsumerGroup = changes.group;
    let is_abandoned = |pattern: &&std::sync::Arc<str>| group.pattern_subscribers(pattern) == 0;
    let abandoned: Vec<_> = group.patterns.keys().filter(is_abandoned).cloned().collect();
    for pattern in abandoned {
        changes.set(ConsumerChange::Pattern(pattern, None));
    }
    changes.bump_epoch(changes.group.metadata_hash(topics));
    if changes.group.members.is_empty() {
        // Whoever comes next need not wait for the next assignment.
        let target = TargetEpoch { epoch: changes.group.epoch.epoch, timestamp: 0 };
        changes.set(ConsumerChange::TargetEpoch(Some(target)));
    }
}

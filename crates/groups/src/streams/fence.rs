//! Members of streams groups leave, fall silent, or take too long to give tasks up.

use super::{
    StreamsGroup,
    heartbeat::LEAVING_FOR_A_WHILE,
    records::{OwnedTasks, StreamsChange, StreamsCurrent},
};
use crate::{Error, MemberId, StreamsHeartbeat, StreamsHeartbeatReply, TargetEpoch, decision::Decision};

/// Lets a member go: for good, or (a static one) for a while. Gives its id.
pub(crate) fn leave(
    decision: &mut Decision<StreamsGroup>,
    request: &StreamsHeartbeat,
) -> Result<(MemberId, StreamsHeartbeatReply), Error> {
    let group = &decision.group;
    let id = match &request.instance_id {
        None => {
            let is_member = group.members.contains_key(&request.member_id);
            is_member.then(|| request.member_id.clone()).ok_or(Error::UnknownMemberId)?
        }
        Some(instance) => match group.static_members.get(instance) {
            None => return Err(Error::UnknownMemberId),
            Some(id) if *id != request.member_id => return Err(Error::FencedInstanceId),
            Some(id) => id.clone(),
        },
    };
    // The last one that goes takes it along.
    if request.wants_shutdown {
        decision.group.soft.shutdown_by.get_or_insert_with(|| request.member_id.clone());
    }
    match request.epoch {
        LEAVING_FOR_A_WHILE => rest(decision, &id),
        _ => remove(decision, &id),
    }
    Ok((id.clone(), StreamsHeartbeatReply::left(id, request.epoch)))
}

/// A static member will come back: what it has is kept for it, as if assigned before all epochs (KIP-1251).
fn rest(decision: &mut Decision<StreamsGroup>, id: &MemberId) {
    let Some(member) = decision.group.members.get(id) else { return };
    let mut next = StreamsCurrent {
        epoch: LEAVING_FOR_A_WHILE,
        revoking: OwnedTasks::default(),
        ..member.current.clone()
    };
    next.assigned.active.values_mut().flat_map(|tasks| tasks.values_mut()).for_each(|epoch| *epoch = 0);
    decision.set(StreamsChange::Current(id.clone(), Some(next)));
}

/// Takes a member out of the group; the next heartbeat of another gives its tasks away.
pub(crate) fn remove(decision: &mut Decision<StreamsGroup>, id: &MemberId) {
    decision.remove_member(id);
    decision.bump_epoch(|_| {});
    if decision.group.members.is_empty() {
        // Whoever comes next need not wait for the next assignment.
        let target = TargetEpoch { epoch: decision.group.epoch.epoch, timestamp: 0 };
        decision.set(StreamsChange::TargetEpoch(Some(target)));
    }
}

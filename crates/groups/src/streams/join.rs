//! Who may be a member of a streams group: newcomers, members under their epoch, and static members that come back.

use super::{
    StreamsGroup,
    heartbeat::{JOINING, LEAVING_FOR_A_WHILE},
    records::{StreamsChange, StreamsCurrent},
};
use crate::{Error, MemberId, StreamsHeartbeat, decision::Decision};

/// Lets the member in, or refuses it. Whether it has taken the place of a static member that was away.
pub(super) fn admit(
    decision: &mut Decision<StreamsGroup>,
    members_max: usize,
    request: &StreamsHeartbeat,
) -> Result<bool, Error> {
    let group = &decision.group;
    let id = &request.member_id;
    let is_joining = request.epoch == JOINING;
    let holder =
        request.instance_id.as_ref().and_then(|instance| group.static_members.get(instance)).cloned();
    let is_known = holder.is_some() || group.members.contains_key(id);
    if is_joining && !is_known && group.members.len() >= members_max {
        return Err(Error::GroupMaxSizeReached);
    }
    match (&request.instance_id, holder) {
        (None, _) => match group.members.get(id) {
            Some(member) => check_epoch(&member.current, request)?,
            None if is_joining => {}
            None => return Err(Error::UnknownMemberId),
        },
        (Some(_), None) if is_joining => {}
        (Some(_), None) => return Err(Error::UnknownMemberId),
        (Some(_), Some(holder)) if is_joining => {
            let epoch = group.members.get(&holder).map(|member| member.current.epoch);
            if epoch != Some(LEAVING_FOR_A_WHILE) {
                return Err(Error::UnreleasedInstanceId);
            }
            replace(decision, &holder, id);
            return Ok(true);
        }
        (Some(_), Some(holder)) if holder != *id => return Err(Error::FencedInstanceId),
        (Some(_), Some(holder)) => {
            let member = group.members.get(&holder).ok_or(Error::UnknownMemberId)?;
            check_epoch(&member.current, request)?;
        }
    }
    Ok(false)
}

/// Whether the member's epoch is its present one; the one before will do if the answer that raised it may have been lost.
fn check_epoch(current: &StreamsCurrent, request: &StreamsHeartbeat) -> Result<(), Error> {
    let is_part = || request.owned.as_ref().is_some_and(|owned| owned.is_part_of(&current.assigned));
    match request.epoch {
        JOINING => Ok(()),
        epoch if epoch == current.epoch => Ok(()),
        epoch if epoch < current.epoch && epoch == current.previous_epoch && is_part() => Ok(()),
        _ => Err(Error::FencedMemberEpoch),
    }
}

/// A static member comes back under a new id and takes over what it left.
fn replace(decision: &mut Decision<StreamsGroup>, old: &MemberId, new: &MemberId) {
    let Some(left) = decision.group.members.get(old).cloned() else { return };
    let target = decision.group.targets.get(old).cloned().unwrap_or_default();
    decision.remove_member(old);
    decision.set(StreamsChange::Member(new.clone(), Some(left.metadata)));
    decision.set(StreamsChange::Target(new.clone(), Some(target)));
    let current = StreamsCurrent { epoch: JOINING, previous_epoch: 0, ..left.current };
    decision.set(StreamsChange::Current(new.clone(), Some(current)));
}

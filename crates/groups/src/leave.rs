//! LeaveGroup: members go, or are removed by an administrator under their instance id.
//!
//! It does not know who asks; the handler in `broker` has authorised it.

use crate::{
    Error, LeaveGroup, LeavingMember, Left, MemberId, Reply, State, Token, group::Group, join::client_reason,
    step::Step,
};

impl Group {
    /// Members leave. The reply waits for the record of a group that has become empty.
    pub(crate) fn on_leave(&mut self, step: &mut Step<'_>, token: Token, request: LeaveGroup) {
        if self.state == State::Dead {
            return step.reply(token, Err(Error::CoordinatorNotAvailable));
        }
        let issued = step.appends.issued();
        let mut reason = None;
        let mut left = Vec::with_capacity(request.members.len());
        for member in request.members {
            let error = match self.find_leaving(&member) {
                Ok(id) => {
                    self.remove(step, &id, &Error::UnknownMemberId);
                    reason = Some(format!("{id} leaves; {}", client_reason(member.reason.as_deref())));
                    None
                }
                Err(error) => Some(error),
            };
            left.push(Left { member_id: member.member_id, instance_id: member.instance_id, error });
        }
        match (self.state, reason) {
            (State::Stable | State::CompletingRebalance, Some(reason)) => {
                self.rebalance_or_complete(step, reason);
            }
            (State::PreparingRebalance, Some(_)) => self.complete_join_if_ready(step),
            _ => {}
        }
        step.reply_after(issued, token, Reply::LeaveGroup(left));
    }

    fn find_leaving(&self, leaving: &LeavingMember) -> Result<MemberId, Error> {
        let (id, instance) = (&leaving.member_id, leaving.instance_id.as_ref());
        if id.is_empty() {
            let found = instance.and_then(|instance| self.static_members.get(instance));
            return found.cloned().ok_or(Error::UnknownMemberId);
        }
        if !self.pending_joins.contains(id) {
            self.validate(id, instance)?;
        }
        Ok(id.clone())
    }
}

/// The answer where the group does not exist: none of the members does.
pub(crate) fn nobody_left(request: LeaveGroup) -> Reply {
    let unknown = |member: LeavingMember| Left {
        member_id: member.member_id,
        instance_id: member.instance_id,
        error: Some(Error::UnknownMemberId),
    };
    Reply::LeaveGroup(request.members.into_iter().map(unknown).collect())
}

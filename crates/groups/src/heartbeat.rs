//! Heartbeats, and what their absence means.
//!
//! An OffsetCommit of a member counts as one too (see `commit`).

use crate::{Error, Heartbeat, MemberId, Reply, State, group::Group, step::Step};

impl Group {
    /// A member shows that it lives.
    pub(crate) fn on_heartbeat(&self, step: &mut Step<'_>, request: &Heartbeat) -> Result<Reply, Error> {
        if self.state == State::Dead {
            return Err(Error::CoordinatorNotAvailable);
        }
        self.validate(&request.member_id, request.instance_id.as_ref())?;
        if request.generation != self.generation {
            return Err(Error::IllegalGeneration);
        }
        self.refresh_session(step, &request.member_id);
        match self.state {
            State::PreparingRebalance => Err(Error::RebalanceInProgress),
            State::CompletingRebalance | State::Stable => Ok(Reply::Heartbeat),
            State::Empty | State::Dead => Err(Error::UnknownMemberId),
        }
    }

    /// A member has shown that it lives.
    pub(crate) fn refresh_session(&self, step: &mut Step<'_>, id: &MemberId) {
        if let Some(member) = self.members.get(id) {
            step.expect_heartbeat(&self.id, id, member.session_timeout_ms);
        }
    }

    /// A member, or an id given to nobody yet, was silent for too long.
    pub(crate) fn on_session_timeout(&mut self, step: &mut Step<'_>, id: &MemberId) {
        if self.pending_joins.contains(id) {
            self.remove(step, id, &Error::UnknownMemberId);
            if self.state == State::PreparingRebalance && self.has_all_joined() {
                self.complete_join(step);
            }
        } else if self.members.get(id).is_some_and(|member| !member.is_excused()) {
            self.remove(step, id, &Error::UnknownMemberId);
            match self.state {
                State::Stable | State::CompletingRebalance => {
                    self.rebalance_or_complete(step, format!("{id} was silent for too long"));
                }
                State::PreparingRebalance if self.has_all_joined() => self.complete_join(step),
                State::PreparingRebalance | State::Empty | State::Dead => {}
            }
        }
    }
}

//! Static members (KIP-345) that come back: the new process takes the old one's place, if possible without a rebalance.
//!
//! Dynamic members are never replaced; they leave and join.

use crate::{
    Error, JoinGroup, MemberId, State, Token,
    appends::{Replaced, Then},
    group::{Group, joined},
    join::client_reason,
    step::Step,
    timers::Timer,
};

impl Group {
    /// A static member joins without an id while `old_id` has its place.
    pub(crate) fn replace_static(
        &mut self,
        step: &mut Step<'_>,
        token: Token,
        old_id: MemberId,
        new_id: MemberId,
        request: JoinGroup,
    ) {
        let old_leader = self.leader.clone();
        self.rename_static(step, &old_id, &new_id);
        let Some(member) = self.members.get(&new_id) else {
            return step.reply(token, Err(Error::UnknownMemberId));
        };
        let replaced = Replaced {
            token,
            generation: self.generation,
            old_id,
            new_id: new_id.clone(),
            old_leader,
            old_protocols: member.protocols.clone(),
            old_rebalance_timeout_ms: member.rebalance_timeout_ms,
            old_session_timeout_ms: member.session_timeout_ms,
            supports_skipping_assignment: request.supports_skipping_assignment,
        };
        let reason =
            format!("{new_id} replaces a static member; {}", client_reason(request.reason.as_deref()));
        let timeouts_ms = (request.rebalance_timeout_ms, request.session_timeout_ms);
        self.update(step, &new_id, request.protocols, timeouts_ms, Some(token));
        match self.state {
            State::Stable if self.protocol == self.select_protocol() => {
                let record = self.to_record(|member| member.assignment.clone());
                step.append(vec![record], Then::StaticReplaced { group: self.id.clone(), replaced });
            }
            State::Stable => self.rebalance_or_complete(step, reason),
            // The leader may be assigning to the old id: its answer would leave the new one without anything.
            State::CompletingRebalance => self.prepare_rebalance(step, reason),
            State::PreparingRebalance | State::Empty | State::Dead => self.complete_join_if_ready(step),
        }
    }

    /// The replacement is in the log, or could not be put there (`failure`).
    ///
    /// If a rebalance began meanwhile, the member's JoinGroup counts in it and is answered by it.
    pub(crate) fn on_static_replaced(
        &mut self,
        step: &mut Step<'_>,
        replaced: Replaced,
        failure: Option<Error>,
    ) {
        let id = &replaced.new_id;
        let is_waiting = self.members.get(id).is_some_and(|m| m.joining == Some(replaced.token));
        if !is_waiting || self.state != State::Stable || self.generation != replaced.generation {
            return;
        }
        self.take_joining(id);
        if let Some(error) = failure {
            let timeouts_ms = (replaced.old_rebalance_timeout_ms, replaced.old_session_timeout_ms);
            self.update(step, id, replaced.old_protocols, timeouts_ms, None);
            self.rename_static(step, id, &replaced.old_id);
            return step.reply(replaced.token, Err(error));
        }
        if let Some(member) = self.members.get(id) {
            step.expect_heartbeat(&self.id, id, member.session_timeout_ms);
        }
        let mut reply = self.to_joined(id);
        if replaced.supports_skipping_assignment {
            reply.skip_assignment = self.is_leader(id);
        } else {
            // An older client that is told it leads would assign anew, without a rebalance. It hears the former id.
            reply.members.clear();
            reply.leader = replaced.old_leader.unwrap_or_default();
        }
        step.reply(replaced.token, joined(reply));
    }

    /// Gives the static member `from` the id `to`. Whoever still waits under the old id is fenced.
    fn rename_static(&mut self, step: &mut Step<'_>, from: &MemberId, to: &MemberId) {
        self.answer_parked(step, from, &Error::FencedInstanceId);
        step.timers.cancel(Timer::Heartbeat(self.id.clone(), from.clone()));
        let Some(mut member) = self.members.remove(from) else { return };
        member.id = to.clone();
        member.is_new = false;
        step.expect_heartbeat(&self.id, to, member.session_timeout_ms);
        if let Some(instance) = &member.instance_id {
            self.static_members.insert(instance.clone(), to.clone());
        }
        self.members.insert(to.clone(), member);
        if self.is_leader(from) {
            self.leader = Some(to.clone());
        }
        if self.pending_syncs.remove(from) {
            self.pending_syncs.insert(to.clone());
        }
    }
}

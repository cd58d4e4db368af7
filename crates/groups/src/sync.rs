//! SyncGroup: the leader's assignment is stored, then everybody gets his part.
//!
//! What the assignment says is opaque here.

use crate::{
    Error, MemberId, Reply, State, SyncGroup, Synced, Token, appends::Then, group::Group, step::Step,
    timers::Timer,
};
use bytes::Bytes;
use std::{collections::BTreeMap, sync::Arc};

impl Group {
    /// A member asks for its assignment.
    pub(crate) fn on_sync(&mut self, step: &mut Step<'_>, token: Token, request: SyncGroup) {
        if let Err(error) = self.validate_sync(&request) {
            return step.reply(token, Err(error));
        }
        let id = &request.member_id;
        match self.state {
            State::PreparingRebalance => step.reply(token, Err(Error::RebalanceInProgress)),
            State::CompletingRebalance => {
                self.note_sync(step, id);
                let member = self.members.get_mut(id);
                if let Some(former) = member.and_then(|member| member.syncing.replace(token)) {
                    // Its sender has given it up: the member asks again.
                    step.reply(former, Err(Error::RebalanceInProgress));
                }
                if self.is_leader(id) && self.storing.is_none() {
                    self.store_assignment(step, request.assignments);
                }
            }
            State::Stable => {
                self.note_sync(step, id);
                let assignment = self.members.get(id).map(|member| member.assignment.clone());
                step.reply(token, self.synced(assignment.unwrap_or_default()));
            }
            State::Empty | State::Dead => step.reply(token, Err(Error::UnknownMemberId)),
        }
    }

    fn validate_sync(&self, request: &SyncGroup) -> Result<(), Error> {
        if self.state == State::Dead {
            return Err(Error::CoordinatorNotAvailable);
        }
        self.validate(&request.member_id, request.instance_id.as_ref())?;
        if request.generation != self.generation {
            return Err(Error::IllegalGeneration);
        }
        let differ = |theirs: &Option<Arc<str>>, ours: &Option<Arc<str>>| {
            theirs.is_some() && ours.is_some() && theirs != ours
        };
        if differ(&request.protocol_type, &self.protocol_type) || differ(&request.protocol, &self.protocol) {
            return Err(Error::InconsistentGroupProtocol);
        }
        Ok(())
    }

    fn note_sync(&mut self, step: &mut Step<'_>, id: &MemberId) {
        self.pending_syncs.remove(id);
        if self.pending_syncs.is_empty() {
            step.timers.cancel(Timer::Sync(self.id.clone()));
        }
    }

    fn store_assignment(&mut self, step: &mut Step<'_>, assignments: Vec<(MemberId, Bytes)>) {
        let assignments = assignments.into_iter().collect::<BTreeMap<_, _>>();
        let record = self.to_record(|member| assignments.get(&member.id).cloned().unwrap_or_default());
        let then = Then::Assigned { group: self.id.clone(), generation: self.generation, assignments };
        self.storing = Some(step.append(vec![record], then));
    }

    /// The assignment of `generation` is in the log, or could not be put there (`failure`). If another rebalance began
    /// meanwhile it no longer matters.
    pub(crate) fn on_assignment_stored(
        &mut self,
        step: &mut Step<'_>,
        generation: i32,
        mut assignments: BTreeMap<MemberId, Bytes>,
        failure: Option<Error>,
    ) {
        if self.state != State::CompletingRebalance || self.generation != generation {
            return;
        }
        self.storing = None;
        if let Some(error) = failure {
            self.answer_syncs_with(step, &error);
            return self.rebalance_or_complete(step, format!("the assignment could not be stored: {error}"));
        }
        for member in self.members.values_mut() {
            member.assignment = assignments.remove(&member.id).unwrap_or_default();
        }
        self.transition(State::Stable, step.now.wall);
        self.answer_syncs(step, None);
    }

    /// Takes every assignment back and answers whoever waits for one with `error`.
    pub(crate) fn answer_syncs_with(&mut self, step: &mut Step<'_>, error: &Error) {
        for member in self.members.values_mut() {
            member.assignment = Bytes::new();
        }
        self.answer_syncs(step, Some(error));
    }

    /// Answers whoever waits for an assignment. Their sessions begin anew: while they waited nobody counted.
    fn answer_syncs(&mut self, step: &mut Step<'_>, error: Option<&Error>) {
        for id in self.members.keys().cloned().collect::<Vec<_>>() {
            let Some(member) = self.members.get_mut(&id) else { continue };
            let Some(token) = member.syncing.take() else { continue };
            let (assignment, session_timeout_ms) = (member.assignment.clone(), member.session_timeout_ms);
            let reply = error.map_or_else(|| self.synced(assignment), |error| Err(error.clone()));
            step.reply(token, reply);
            step.expect_heartbeat(&self.id, &id, session_timeout_ms);
        }
    }

    fn synced(&self, assignment: Bytes) -> Result<Reply, Error> {
        let (protocol_type, protocol) = (self.protocol_type.clone(), self.protocol.clone());
        Ok(Reply::SyncGroup(Synced { protocol_type, protocol, assignment }))
    }
}

//! The rebalance: collecting the members, beginning the next generation, and giving up on those who do not come.
//!
//! JoinGroup, LeaveGroup and silence cause it; SyncGroup (see `sync`) ends it.

use crate::{
    Error, MemberId, State,
    appends::Then,
    group::{Group, joined},
    step::Step,
    timers::Timer,
};
use bytes::Bytes;

impl Group {
    /// Something changed that the next generation must reflect.
    pub(crate) fn rebalance_or_complete(&mut self, step: &mut Step<'_>, reason: String) {
        match self.state {
            State::Stable | State::CompletingRebalance | State::Empty => self.prepare_rebalance(step, reason),
            State::PreparingRebalance | State::Dead => self.complete_join_if_ready(step),
        }
    }

    /// Asks all members to join again. An empty group waits a little for more than its first member.
    pub(crate) fn prepare_rebalance(&mut self, step: &mut Step<'_>, reason: String) {
        self.note_reason(reason);
        if self.state == State::CompletingRebalance {
            self.answer_syncs_with(step, &Error::RebalanceInProgress);
        }
        self.pending_syncs.clear();
        step.timers.cancel(Timer::Sync(self.id.clone()));
        let is_initial = self.state == State::Empty;
        self.transition(State::PreparingRebalance, step.now.wall);
        if is_initial {
            let delay_ms = i64::from(step.config.rebalance_delay_ms_initial);
            self.initial_delay = Some((delay_ms, (self.rebalance_timeout_ms() - delay_ms).max(0)));
            step.schedule(Timer::Join(self.id.clone()), delay_ms);
        } else if self.has_all_joined() {
            self.complete_join(step);
        } else {
            self.await_joins(step);
        }
    }

    /// Begins the next generation if everybody is there, unless this is an initial delay, which runs its time.
    pub(crate) fn complete_join_if_ready(&mut self, step: &mut Step<'_>) {
        if self.state == State::PreparingRebalance && self.previous != State::Empty && self.has_all_joined() {
            self.complete_join(step);
        }
    }

    /// The time to join is over.
    pub(crate) fn on_join_timeout(&mut self, step: &mut Step<'_>) {
        match self.initial_delay.take() {
            Some((delay_ms, remaining_ms)) if self.newcomer && remaining_ms != 0 => {
                self.newcomer = false;
                let next_ms = remaining_ms.min(step.config.rebalance_delay_ms_initial.into());
                self.initial_delay = Some((next_ms, (remaining_ms - delay_ms).max(0)));
                step.schedule(Timer::Join(self.id.clone()), next_ms);
            }
            _ => self.complete_join(step),
        }
    }

    /// Begins the next generation with those who joined. Static members who did not are kept: they may come back.
    pub(crate) fn complete_join(&mut self, step: &mut Step<'_>) {
        step.timers.cancel(Timer::Join(self.id.clone()));
        self.initial_delay = None;
        if self.state != State::PreparingRebalance {
            return;
        }
        let absent = self.members.values().filter(|m| m.joining.is_none() && m.instance_id.is_none());
        for id in absent.map(|member| member.id.clone()).collect::<Vec<_>>() {
            self.remove(step, &id, &Error::UnknownMemberId);
        }
        if !self.members.is_empty() && !self.elect_leader() {
            // Only absent static members are left; their sessions' ends or their return will decide.
            return self.await_joins(step);
        }
        self.generation = self.generation.wrapping_add(1);
        self.storing = None;
        self.pending_syncs.clear();
        self.protocol = self.select_protocol();
        self.refresh_subscribed();
        if self.members.is_empty() {
            self.transition(State::Empty, step.now.wall);
            // Should this append fail, the former generation comes back after a crash, and times out.
            step.append(vec![self.to_record(|_| Bytes::new())], Then::Nothing);
        } else {
            self.transition(State::CompletingRebalance, step.now.wall);
            self.begin_sync(step);
        }
    }

    fn begin_sync(&mut self, step: &mut Step<'_>) {
        for id in self.members.keys().cloned().collect::<Vec<MemberId>>() {
            if let Some(token) = self.take_joining(&id) {
                step.reply(token, joined(self.to_joined(&id)));
            }
            if let Some(member) = self.members.get_mut(&id) {
                member.is_new = false;
                step.expect_heartbeat(&self.id, &id, member.session_timeout_ms);
            }
            self.pending_syncs.insert(id);
        }
        self.await_syncs(step);
    }

    fn await_syncs(&self, step: &mut Step<'_>) {
        step.schedule(Timer::Sync(self.id.clone()), self.rebalance_timeout_ms());
    }

    /// The time to ask for the assignment is over: whoever did not is out.
    pub(crate) fn on_sync_timeout(&mut self, step: &mut Step<'_>) {
        if !matches!(self.state, State::CompletingRebalance | State::Stable) || self.pending_syncs.is_empty()
        {
            return;
        }
        let late = self.pending_syncs.clone();
        for id in &late {
            self.remove(step, id, &Error::UnknownMemberId);
        }
        self.prepare_rebalance(step, format!("{} members did not sync in time", late.len()));
    }

    /// A consumer group that was to take its place could not be written down. Members whose requests waited were sent back.
    pub(crate) fn resume(&mut self, step: &mut Step<'_>) {
        for id in self.members.keys() {
            self.refresh_session(step, id);
        }
        match (self.state, self.initial_delay) {
            (State::PreparingRebalance, Some((delay_ms, _))) => {
                step.schedule(Timer::Join(self.id.clone()), delay_ms)
            }
            (State::PreparingRebalance, None) => self.await_joins(step),
            (State::CompletingRebalance, _) => {
                self.prepare_rebalance(step, "it did not become a consumer group".to_owned());
            }
            (State::Stable, _) if !self.pending_syncs.is_empty() => self.await_syncs(step),
            (State::Stable | State::Empty | State::Dead, _) => {}
        }
    }

    fn await_joins(&mut self, step: &mut Step<'_>) {
        step.schedule(Timer::Join(self.id.clone()), self.rebalance_timeout_ms());
    }

    /// Makes sure that the leader is one who joined; whether there is one.
    fn elect_leader(&mut self) -> bool {
        let has_joined = |id: &MemberId| self.members.get(id).is_some_and(|member| member.joining.is_some());
        if self.leader.as_ref().is_some_and(has_joined) {
            return true;
        }
        let other = self.members.values().find(|member| member.joining.is_some()).map(|m| m.id.clone());
        if let Some(id) = other {
            self.leader = Some(id);
            return true;
        }
        false
    }
}

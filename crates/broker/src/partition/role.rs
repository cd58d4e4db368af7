//! Whether this broker leads the partition, and what follows from what the leader's core decides: the high watermark,
//! acks, wakened readers, a wish for another ISR.
//!
//! It decides nothing about replicas in sync: [`replica::Leader`] does. The role changes under the partition's one lock;
//! `replicas` says when.

use super::{
    Online, Partition, Refused, State,
    append::{Ack, Due, settle},
    read::Isolation,
};
use crate::{
    acks::{Acks, Undone},
    fetch_wait::FetchWait,
};
use log::Log;
use model::{LeaderEpoch, NodeId, Offset};
use replica::{Effect, Event, IsrRefused, Leader, Term};
use std::{collections::BTreeSet, sync::Arc, time::Duration};

/// What this broker is to the partition.
pub(super) enum Role {
    Leader(Box<Leader>),
    /// It copies from the leader of this epoch, if there is one.
    Follower(LeaderEpoch),
}

/// The partition as the metadata have it, with what the configuration adds for a leader.
#[derive(Debug, Clone)]
pub(crate) struct Assignment {
    /// -1: nobody.
    pub(crate) leader: NodeId,
    pub(crate) term: Term,
    /// How many must be in sync, reckoned as the controller does.
    pub(crate) isr_min: usize,
    /// `replica.lag.time.max.ms`.
    pub(crate) lag_max: Duration,
}

/// What has become of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Assigned {
    /// This broker leads in this epoch; `true` if it did not before.
    Leads(LeaderEpoch, bool),
    /// It follows this leader in this epoch.
    Follows(NodeId, LeaderEpoch),
    /// It cannot be used.
    Unusable,
}

/// What is to be done once the lock is released.
#[derive(Default)]
pub(super) struct Outcome {
    pub(super) due: Vec<Due>,
    pub(super) wish: Option<replica::AlterIsr>,
}

impl Role {
    /// The only replica, which waits for nobody.
    pub(super) fn alone(node: NodeId, leader_epoch: LeaderEpoch, log: &Log, now_ns: u64) -> Self {
        let term =
            Term { leader_epoch, partition_epoch: 0, replicas: vec![node], isr: BTreeSet::from([node]) };
        let offsets = (log.end_offset(), log.flushed_offset());
        let lag_max = Duration::MAX;
        Self::Leader(Box::new(Leader::new(Duration::from_nanos(now_ns), node, &term, offsets, (1, lag_max))))
    }

    pub(super) fn epoch(&self) -> LeaderEpoch {
        match self {
            Self::Leader(leader) => leader.leader_epoch(),
            Self::Follower(epoch) => *epoch,
        }
    }

    pub(super) fn leads(&self) -> bool {
        matches!(self, Self::Leader(_))
    }

    /// Whether it leads and the node is in sync.
    pub(super) fn has_in_sync(&self, node: NodeId) -> bool {
        matches!(self, Self::Leader(leader) if leader.isr().contains(&node))
    }

    /// Whether this broker follows the leader of this very epoch.
    pub(super) fn follows(&self, epoch: LeaderEpoch) -> bool {
        matches!(self, Self::Follower(known) if *known == epoch)
    }
}

impl Partition {
    /// Takes note of what the metadata say. Who waits for what only a leader can give is told if it leads no more.
    pub(crate) async fn assign(self: &Arc<Self>, assignment: &Assignment) -> Assigned {
        self.assignment.store(Some(Arc::new(assignment.clone())));
        loop {
            // A log that is being cut cannot be led.
            self.uncut().await;
            let mut outcome = Outcome::default();
            let assigned = {
                let mut state = self.state.lock();
                let online = match &mut *state {
                    State::Online(online) => online,
                    // It is told when its log opens.
                    State::Offline(_) => return assignment.for_offline(self.shared.node_id),
                    State::Deleted => return Assigned::Unusable,
                };
                if online.is_cutting {
                    continue;
                }
                online.assign(self.shared.node_id, assignment, self.monotonic(), &mut outcome)
            };
            self.carry_out(outcome);
            return assigned;
        }
    }

    /// Leads nothing and follows nobody until it is assigned. Before the last start this much was known to be safe, which
    /// the log has or not.
    pub(crate) fn await_role(&self, high_watermark: Offset) {
        self.state.lock().await_role(high_watermark);
    }

    /// Waits until all is known to be safe that was there when this broker took office in this epoch.
    pub(crate) async fn caught_up(&self, epoch: LeaderEpoch) -> Result<(), Refused> {
        let acks = Acks::new();
        {
            let mut state = self.state.lock();
            let online = state.online()?;
            let upto = match &online.role {
                Role::Leader(leader) if leader.leader_epoch() == epoch => leader.epoch_start(),
                _ => return Err(Refused::NotLeader),
            };
            if online.high_watermark >= upto {
                return Ok(());
            }
            acks.open(0);
            // What was appended since comes behind it.
            online.acks.push_front(Ack { upto, is_patient: true, settled: acks.clone(), slot: 0 });
        }
        if acks.wait().await.is_empty() { Ok(()) } else { Err(Refused::NotLeader) }
    }

    /// The controller has answered a wish.
    pub(crate) fn on_isr_answer(&self, built_on: i32, answer: Result<(i32, BTreeSet<NodeId>), IsrRefused>) {
        self.on_event(Event::IsrAltered { built_on, answer });
    }

    /// These nodes may not join the in-sync replicas, unless they fetch anew.
    pub(crate) fn on_ineligible(&self, nodes: &[NodeId]) {
        for node in nodes {
            self.on_event(Event::Eligible { node: *node, is_eligible: false });
        }
    }

    /// Looks whether followers have fallen behind.
    pub(crate) fn tick_isr(&self) {
        self.on_event(Event::Tick);
    }

    /// Whether others have replicas, so that the high watermark is more than the end of the log.
    pub(crate) fn is_replicated(&self) -> bool {
        match &*self.state.lock() {
            State::Online(online) => match &online.role {
                Role::Leader(leader) => leader.remotes().next().is_some(),
                Role::Follower(_) => true,
            },
            State::Offline(_) | State::Deleted => false,
        }
    }

    /// Whether this broker leads the partition and the node is in sync.
    pub(crate) fn has_in_sync(&self, node: NodeId) -> bool {
        match &*self.state.lock() {
            State::Online(online) => online.role.has_in_sync(node),
            State::Offline(_) | State::Deleted => false,
        }
    }

    /// Whether this broker leads the partition.
    pub(crate) fn is_led_here(&self) -> bool {
        matches!(&*self.state.lock(), State::Online(online) if online.role.leads())
    }

    fn on_event(&self, event: Event) {
        let mut outcome = Outcome::default();
        if let State::Online(online) = &mut *self.state.lock() {
            online.step(self.monotonic(), event, &mut outcome);
        }
        self.carry_out(outcome);
    }

    /// Must not be called under the lock.
    pub(super) fn carry_out(&self, outcome: Outcome) {
        settle(outcome.due);
        if let Some(change) = outcome.wish {
            self.shared.isr_changes.wish(self.key(), change);
        }
    }

    pub(super) fn monotonic(&self) -> Duration {
        Duration::from_nanos(self.shared.world.clock.now())
    }
}

impl Assignment {
    fn for_offline(&self, node: NodeId) -> Assigned {
        let epoch = self.term.leader_epoch;
        if self.leader == node { Assigned::Leads(epoch, true) } else { Assigned::Follows(self.leader, epoch) }
    }
}

impl State {
    pub(super) fn await_role(&mut self, high_watermark: Offset) {
        match self {
            Self::Online(online) => {
                online.role = Role::Follower(-1);
                online.high_watermark =
                    high_watermark.min(online.log.end_offset()).max(online.log.start_offset());
            }
            Self::Offline(offline) => {
                if let Some(marks) = &mut offline.marks {
                    marks.high_watermark = high_watermark;
                }
            }
            Self::Deleted => {}
        }
    }
}

impl Online {
    pub(super) fn assign(
        &mut self,
        node: NodeId,
        assignment: &Assignment,
        now: Duration,
        outcome: &mut Outcome,
    ) -> Assigned {
        if assignment.leader == node {
            self.lead(node, assignment, now, outcome)
        } else {
            self.follow(assignment, outcome)
        }
    }

    fn lead(
        &mut self,
        node: NodeId,
        assignment: &Assignment,
        now: Duration,
        outcome: &mut Outcome,
    ) -> Assigned {
        let Assignment { term, isr_min, lag_max, .. } = assignment;
        let epoch = term.leader_epoch;
        let is_new = match &self.role {
            Role::Leader(leader) => leader.leader_epoch() != epoch,
            Role::Follower(_) => true,
        };
        if let Role::Follower(_) = self.role {
            let offsets = (self.log.end_offset(), self.high_watermark);
            let leader = Leader::new(now, node, term, offsets, (*isr_min, *lag_max));
            self.role = Role::Leader(Box::new(leader));
        } else {
            self.step(now, Event::Configured { isr_min: *isr_min, lag_max: *lag_max }, outcome);
            self.step(now, Event::Renewed(term.clone()), outcome);
        }
        if is_new {
            self.log.begin_epoch(epoch);
            self.break_off_reads();
        }
        self.on_flushed(now, outcome);
        Assigned::Leads(epoch, is_new)
    }

    fn follow(&mut self, assignment: &Assignment, outcome: &mut Outcome) -> Assigned {
        let epoch = assignment.term.leader_epoch;
        if self.role.epoch() > epoch {
            return Assigned::Follows(-1, epoch);
        }
        if !self.role.follows(epoch) {
            self.role = Role::Follower(epoch);
            let waiting = self.own_acks.drain(..).chain(self.acks.drain(..));
            outcome.due.extend(waiting.map(|ack| (ack, Err(Undone::NotLeader))));
            self.break_off_reads();
        }
        Assigned::Follows(assignment.leader, epoch)
    }

    /// Tells the leader's core what has happened, with where the log stands, and does what it wants.
    pub(super) fn step(&mut self, now: Duration, event: Event, outcome: &mut Outcome) {
        let local =
            Event::Local { end_offset: self.log.end_offset(), safe_offset: self.log.flushed_offset() };
        let Role::Leader(leader) = &mut self.role else { return };
        leader.step(now, local, &mut self.wanted);
        leader.step(now, event, &mut self.wanted);
        let mut reached = None;
        for effect in self.wanted.drain(..) {
            match effect {
                Effect::HighWatermark(offset) => reached = Some(offset),
                Effect::AlterIsr(change) => outcome.wish = Some(change),
            }
        }
        if let Some(reached) = reached {
            self.raise(reached, outcome);
        }
    }

    /// This broker's own copy has become safer.
    pub(super) fn on_flushed(&mut self, now: Duration, outcome: &mut Outcome) {
        let flushed = self.log.flushed_offset();
        while let Some(ack) = self.own_acks.pop_front_if(|ack| ack.upto <= flushed) {
            outcome.due.push((ack, Ok(())));
        }
        if let Role::Leader(leader) = &mut self.role {
            let local = Event::Local { end_offset: self.log.end_offset(), safe_offset: flushed };
            leader.step(now, local, &mut self.wanted);
            // Nothing but the high watermark follows from this event.
            if let Some(Effect::HighWatermark(reached)) = self.wanted.pop() {
                self.raise(reached, outcome);
            }
        }
    }

    /// Everything before `reached` is safe: readers are woken, and the acks given that are due.
    pub(super) fn raise(&mut self, reached: Offset, outcome: &mut Outcome) {
        let stable_before = self.log.last_stable_offset(self.high_watermark);
        if reached > self.high_watermark {
            self.high_watermark = reached;
            self.log.high_watermark_moved(reached);
            self.waits().for_each(|wait| wait.touch());
        }
        let result = match &self.role {
            Role::Leader(leader) if !leader.has_enough_counted() => Err(Undone::TooFewInSync),
            _ => Ok(()),
        };
        while let Some(ack) = self.acks.pop_front_if(|ack| ack.upto <= reached) {
            outcome.due.push((ack, result));
        }
        let mut bytes = 0;
        while let Some((_, more)) = self.invisible.pop_front_if(|(upto, _)| *upto <= reached) {
            bytes += more;
        }
        let stable_moved = self.log.last_stable_offset(self.high_watermark) > stable_before;
        for (_, (wait, isolation)) in &self.watchers {
            match isolation {
                Isolation::LastStable if stable_moved => wait.break_off(),
                Isolation::LastStable => {}
                Isolation::HighWatermark | Isolation::LogEnd => wait.add(bytes),
            }
        }
    }

    /// All reads that wait.
    fn waits(&self) -> impl Iterator<Item = &Arc<FetchWait>> {
        self.watchers.iter().map(|(_, (wait, _))| wait).chain(self.following.iter().map(|(_, wait)| wait))
    }

    /// Whoever reads must look again.
    pub(super) fn break_off_reads(&self) {
        self.waits().for_each(|wait| wait.break_off());
    }
}

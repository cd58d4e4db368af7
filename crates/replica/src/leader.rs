//! The leader's part of a partition: it watches its followers, asks the controller for another ISR, and moves the high
//! watermark.
//!
//! It is a core: time comes with each event and all that it wants done are effects. It appends nothing and answers
//! nobody; the partition's host in `broker` does both.

use crate::{AlterIsr, IsrRefused, Remote, Term, isr::Isr};
use model::{LeaderEpoch, NodeId, Offset};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// The leader of one partition in one term of office.
#[derive(Debug, Clone)]
pub struct Leader {
    local: NodeId,
    leader_epoch: LeaderEpoch,
    partition_epoch: i32,
    /// Where the log ended when this leader epoch began.
    epoch_start: Offset,
    isr: Isr,
    remotes: BTreeMap<NodeId, Remote>,
    end_offset: Offset,
    safe_offset: Offset,
    high_watermark: Offset,
    /// `min.insync.replicas`, as configured.
    isr_min: usize,
    /// `replica.lag.time.max.ms`.
    lag_max: Duration,
}

/// What has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The local log ends at `end_offset`, and everything before `safe_offset` is as safe as the topic asks of a copy.
    Local {
        /// The offset that the next record will have.
        end_offset: Offset,
        /// Not above `end_offset`.
        safe_offset: Offset,
    },
    /// A follower asks for the records from `end_offset` on: what comes before is safe there. Not to be told of a fetch
    /// whose history differs from this log's.
    Fetched {
        /// Who.
        node: NodeId,
        /// Its broker epoch; -1 if it does not say (KIP-903).
        broker_epoch: i64,
        /// Where its log starts.
        start_offset: Offset,
        /// Where its log ends.
        end_offset: Offset,
        /// See [`Remote::is_eligible`].
        is_eligible: bool,
    },
    /// The metadata say that a follower may, or may no longer, join the ISR.
    Eligible {
        /// Who.
        node: NodeId,
        /// See [`Remote::is_eligible`].
        is_eligible: bool,
    },
    /// The metadata have the partition so; this broker still leads it.
    Renewed(Term),
    /// The controller answers an [`AlterIsr`].
    IsrAltered {
        /// The partition epoch that the request built on.
        built_on: i32,
        /// The new partition epoch and ISR, or why not.
        answer: Result<(i32, BTreeSet<NodeId>), IsrRefused>,
    },
    /// `min.insync.replicas` or `replica.lag.time.max.ms` has changed.
    Configured {
        /// `min.insync.replicas`.
        isr_min: usize,
        /// `replica.lag.time.max.ms`.
        lag_max: Duration,
    },
    /// Time has passed; to be told at least twice within `replica.lag.time.max.ms`.
    Tick,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Everything before this offset is on every in-sync replica. It only rises.
    HighWatermark(Offset),
    /// To be sent to the controller, and again until it answers. A newer one takes the place of an older one.
    AlterIsr(AlterIsr),
}

impl Leader {
    /// Takes office with a log that ends at `end_offset` and a high watermark that is known to be reached.
    pub fn new(
        now: Duration,
        local: NodeId,
        term: &Term,
        (end_offset, high_watermark): (Offset, Offset),
        (isr_min, lag_max): (usize, Duration),
    ) -> Self {
        let followers = term.replicas.iter().filter(|node| **node != local);
        Self {
            local,
            leader_epoch: term.leader_epoch,
            partition_epoch: term.partition_epoch,
            epoch_start: end_offset,
            isr: Isr::new(term.isr.clone()),
            remotes: followers.map(|node| (*node, Remote::new(now, term.isr.contains(node)))).collect(),
            end_offset,
            safe_offset: high_watermark,
            high_watermark,
            isr_min,
            lag_max,
        }
    }

    /// Takes note of what happened at `now`, monotonic time since an arbitrary start.
    pub fn step(&mut self, now: Duration, event: Event, effects: &mut Vec<Effect>) {
        match event {
            Event::Local { end_offset, safe_offset } => {
                self.end_offset = end_offset;
                self.safe_offset = safe_offset;
            }
            Event::Fetched { node, broker_epoch, start_offset, end_offset, is_eligible } => {
                let leader_end = self.end_offset;
                let Some(remote) = self.remotes.get_mut(&node) else { return };
                remote.on_fetch(now, end_offset, leader_end);
                remote.start_offset = start_offset;
                remote.broker_epoch = broker_epoch;
                remote.is_eligible = is_eligible;
                self.expand(node, effects);
            }
            Event::Eligible { node, is_eligible } => {
                if let Some(remote) = self.remotes.get_mut(&node) {
                    remote.is_eligible = is_eligible;
                }
            }
            Event::Renewed(term) => self.renew(now, term),
            Event::IsrAltered { built_on, answer } => self.on_answer(built_on, answer, effects),
            Event::Configured { isr_min, lag_max } => (self.isr_min, self.lag_max) = (isr_min, lag_max),
            Event::Tick => self.shrink(now, effects),
        }
        self.advance(now, effects);
    }

    /// Whether `acks=all` may be taken: as many are in sync as `min.insync.replicas` asks, or all there are.
    pub fn has_enough_in_sync(&self) -> bool {
        self.isr.committed().len() >= self.isr_needed()
    }

    /// Whether enough were in sync for what has been reached (else NOT_ENOUGH_REPLICAS_AFTER_APPEND).
    pub fn has_enough_counted(&self) -> bool {
        self.isr.counted() >= self.isr_needed()
    }

    /// Everything before is on every in-sync replica.
    pub fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    /// The epoch in which this broker leads.
    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.leader_epoch
    }

    /// The partition epoch of the newest change that is known.
    pub fn partition_epoch(&self) -> i32 {
        self.partition_epoch
    }

    /// The ISR that the controller has committed.
    pub fn isr(&self) -> &BTreeSet<NodeId> {
        self.isr.committed()
    }

    /// A follower; `None` if the node holds no replica.
    pub fn remote(&self, node: NodeId) -> Option<&Remote> {
        self.remotes.get(&node)
    }

    /// The followers.
    pub fn remotes(&self) -> impl Iterator<Item = (NodeId, &Remote)> {
        self.remotes.iter().map(|(node, remote)| (*node, remote))
    }

    /// Where the log ended when this leader epoch began.
    pub fn epoch_start(&self) -> Offset {
        self.epoch_start
    }

    /// The lowest start of the logs of all replicas that `is_alive` names, for DeleteRecords.
    pub fn low_watermark(&self, start_offset: Offset, is_alive: impl Fn(NodeId) -> bool) -> Offset {
        let alive = self.remotes.iter().filter(|(node, _)| is_alive(**node));
        alive.map(|(_, remote)| remote.start_offset).min().unwrap_or(start_offset).min(start_offset)
    }

    fn isr_needed(&self) -> usize {
        self.isr_min.min(self.remotes.len() + 1)
    }

    fn renew(&mut self, now: Duration, term: Term) {
        if term.partition_epoch < self.partition_epoch {
            return;
        }
        self.remotes.retain(|node, _| term.replicas.contains(node));
        for node in term.replicas.iter().filter(|node| **node != self.local) {
            let is_in_sync = term.isr.contains(node);
            self.remotes.entry(*node).or_insert_with(|| Remote::new(now, is_in_sync));
        }
        let is_new_epoch = term.leader_epoch > self.leader_epoch;
        if is_new_epoch {
            self.leader_epoch = term.leader_epoch;
            self.epoch_start = self.end_offset;
            for (node, remote) in &mut self.remotes {
                remote.renew(now, self.end_offset, term.isr.contains(node));
            }
        }
        // At the same partition epoch the request that is on its way may still be granted, unless it was made in a leader epoch
        // that is over: the answer that brought this partition epoch did not tell of that.
        if is_new_epoch || term.partition_epoch > self.partition_epoch {
            self.partition_epoch = term.partition_epoch;
            self.isr = Isr::new(term.isr);
        }
    }

    fn on_answer(
        &mut self,
        built_on: i32,
        answer: Result<(i32, BTreeSet<NodeId>), IsrRefused>,
        effects: &mut Vec<Effect>,
    ) {
        if built_on != self.partition_epoch {
            return;
        }
        let Some(asked) = self.isr.asked().cloned() else { return };
        match answer {
            Ok((partition_epoch, isr)) if partition_epoch > built_on => {
                self.partition_epoch = partition_epoch;
                self.isr = Isr::new(isr);
            }
            // The controller had the ISR so already: nothing was changed, and nothing will be.
            Ok(_) | Err(IsrRefused::NotMade) => self.isr.take_back(),
            Err(IsrRefused::Stale) => {}
            Err(IsrRefused::Unknown) => effects.push(self.request(&asked)),
        }
    }

    /// Lets a follower in that has everything which is safe, and everything of this leader's predecessors.
    fn expand(&mut self, node: NodeId, effects: &mut Vec<Effect>) {
        let Some(remote) = self.remotes.get(&node) else { return };
        let is_in_sync = remote.end_offset >= self.high_watermark && remote.end_offset >= self.epoch_start;
        if self.isr.is_asked() || self.isr.committed().contains(&node) || !remote.is_eligible || !is_in_sync {
            return;
        }
        let mut wanted = self.isr.committed().clone();
        wanted.insert(node);
        self.ask(wanted, effects);
    }

    /// Sends those out who have lagged behind for too long.
    fn shrink(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        if self.isr.is_asked() {
            return;
        }
        let stays = |node: &NodeId| match self.remotes.get(node) {
            Some(remote) => remote.is_caught_up(now, self.end_offset, self.lag_max),
            None => *node == self.local,
        };
        let wanted: BTreeSet<NodeId> = self.isr.committed().iter().copied().filter(stays).collect();
        if wanted.len() < self.isr.committed().len() {
            self.ask(wanted, effects);
        }
    }

    fn ask(&mut self, wanted: BTreeSet<NodeId>, effects: &mut Vec<Effect>) {
        effects.push(self.request(&wanted));
        self.isr.ask(wanted);
    }

    fn request(&self, wanted: &BTreeSet<NodeId>) -> Effect {
        let epoch = |node: &NodeId| self.remotes.get(node).map_or(-1, |remote| remote.broker_epoch);
        Effect::AlterIsr(AlterIsr {
            isr: wanted.iter().map(|node| (*node, epoch(node))).collect(),
            leader_epoch: self.leader_epoch,
            partition_epoch: self.partition_epoch,
        })
    }

    /// Moves the high watermark up to what everybody has who is in sync or about to be, unless too few are (KIP-966).
    fn advance(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        if !self.has_enough_in_sync() {
            return;
        }
        let mut reached = self.safe_offset;
        for (node, remote) in &self.remotes {
            let is_joining = || remote.is_eligible && remote.is_caught_up(now, self.end_offset, self.lag_max);
            if remote.end_offset < reached && (self.isr.counts(*node) || is_joining()) {
                reached = remote.end_offset;
            }
        }
        if reached > self.high_watermark {
            self.high_watermark = reached;
            effects.push(Effect::HighWatermark(reached));
        }
    }
}

mod preferred;

#[cfg(test)]
mod tests;

//! A share partition: what the leader of a partition remembers of the records that it has delivered to one share group.
//!
//! It is in memory only and may be lost at any time: what members acknowledged is written to the share coordinator before
//! they hear of it, and the next leader begins with what that holds. `broker` reads the records and runs the clock.
//!
//! ```text
//!      start (SPSO)                                 end
//!        |  acquired | available | acknowledged | acquired |   never delivered
//! -------+-----------------------------------------------+----------------------> offsets
//!   done
//! ```
//!
//! What is archiving is not done: the start does not pass a record before the dead-letter topic has been told of it.

pub(crate) mod acknowledge;
pub(crate) mod acquire;
pub(crate) mod letters;
mod release;
pub(crate) mod span;
mod write;

use crate::{Error, StateBatch};
use letters::Reason;
use model::Offset;
use span::{DeliveryState, Letter, Span, State};
use std::collections::BTreeMap;

/// What a group may ask of a share partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// `share.record.lock.duration.ms` (30000): how long a record is a member's.
    pub lock_ms: i64,
    /// `share.delivery.count.limit` (5): a record that was delivered so often and comes back is archived.
    pub delivery_count_max: i16,
    /// `share.partition.max.record.locks` (2000): records in flight.
    pub locks_max: i64,
    /// `share.renew.acknowledge.enable` (true): whether members may prolong their locks (KIP-1222).
    pub may_renew: bool,
    /// Whether the group has a dead-letter topic (`errors.deadletterqueue.topic.name`), which is told of records that are
    /// rejected or were delivered too often (KIP-1191).
    pub has_dead_letters: bool,
}

/// Names a write until the host says what became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WriteId(pub u64);

/// What the host is to write to the share coordinator, and then to report with [`SharePartition::on_written`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// Names it.
    pub id: WriteId,
    /// The epoch in which the state was read.
    pub state_epoch: i32,
    /// The first offset that is not done.
    pub start: Offset,
    /// How many records from `start` on are done.
    pub complete_count: i32,
    /// What has changed.
    pub batches: Vec<StateBatch>,
}

/// See the head of this file. Every offset from the start to before the end lies in exactly one span.
#[derive(Debug)]
pub struct SharePartition {
    config: Config,
    state_epoch: i32,
    start: Offset,
    end: Offset,
    spans: BTreeMap<Offset, Span>,
    write_next: u64,
    /// The stretches that each write under way is about.
    writes: BTreeMap<WriteId, Vec<(Offset, Offset)>>,
}

impl SharePartition {
    /// A share partition as the share coordinator knows it. What it does not know of, between what it does, was never
    /// delivered or was in flight when the last leader ended.
    ///
    /// # Errors
    /// What was read makes no sense.
    pub fn new(
        config: Config,
        state_epoch: i32,
        start: Offset,
        batches: &[StateBatch],
    ) -> Result<Self, Error> {
        let mut partition = Self {
            config,
            state_epoch,
            start,
            end: start,
            spans: BTreeMap::new(),
            write_next: 0,
            writes: BTreeMap::new(),
        };
        for batch in batches {
            let state = DeliveryState::from_number(batch.state);
            let is_sound =
                partition.end <= batch.first && batch.first <= batch.last && batch.last < Offset::MAX;
            let state = match state.filter(|_| is_sound) {
                Some(DeliveryState::Available | DeliveryState::Acquired) => State::Available,
                Some(DeliveryState::Acknowledged) => State::Acknowledged,
                Some(DeliveryState::Archiving) => partition.archiving(Reason::of_count(&config, batch.count)),
                Some(DeliveryState::Archived) => State::Archived,
                None => return Err(Error::UnknownServerError("the stored share state makes no sense")),
            };
            if partition.end < batch.first {
                partition.spans.insert(partition.end, Span::new(batch.first - 1, State::Available, 0));
            }
            partition.spans.insert(batch.first, Span::new(batch.last, state, batch.count.max(0)));
            partition.end = batch.last + 1;
        }
        partition.advance();
        Ok(partition)
    }

    /// Changes what the group may ask; locks that are held keep their time.
    pub fn configure(&mut self, config: Config) {
        self.config = config;
    }

    /// The first offset that is not done (share-partition start offset).
    pub fn start(&self) -> Offset {
        self.start
    }

    /// The first offset that was never delivered.
    pub fn end(&self) -> Offset {
        self.end
    }

    /// In which epoch the state was read.
    pub fn state_epoch(&self) -> i32 {
        self.state_epoch
    }

    /// Records between the start and the end: what counts against `share.partition.max.record.locks`.
    pub fn in_flight(&self) -> i64 {
        self.end - self.start
    }

    /// The first offset that somebody may have.
    pub fn next_offset(&self) -> Offset {
        self.spans.iter().find(|(_, span)| span.is_free()).map_or(self.end, |(first, _)| *first)
    }

    /// Whether anybody may have anything now, if the partition has it.
    pub fn can_acquire(&self) -> bool {
        self.next_offset() != self.end || self.in_flight() < self.config.locks_max
    }

    /// The delivery state of an offset and how often it was delivered; `None` outside of what is in flight.
    pub fn state_of(&self, offset: Offset) -> Option<(DeliveryState, i16)> {
        let (_, span) = self.spans.range(..=offset).next_back()?;
        (offset <= span.last).then(|| (span.delivery_state(), span.count))
    }

    /// How many records from the start on are done, or will be with a write under way.
    fn complete_count(&self) -> i32 {
        let done = self.spans.iter().filter(|(_, span)| span.delivery_state().is_terminal());
        let count: i64 = done.map(|(first, span)| span.last - first + 1).sum();
        i32::try_from(count).unwrap_or(i32::MAX)
    }

    /// Lets a span begin at `at`, if one lies across it.
    fn split_at(&mut self, at: Offset) {
        let Some((_, span)) = self.spans.range_mut(..at).next_back().filter(|(_, span)| span.last >= at)
        else {
            return;
        };
        let rest = span.clone();
        span.last = at - 1;
        self.spans.insert(at, rest);
    }

    /// The first offsets of the spans that lie wholly or in part between two offsets, once they begin and end there.
    fn cut_out(&mut self, first: Offset, last: Offset) -> Vec<Offset> {
        if first > last {
            return Vec::new();
        }
        self.split_at(first);
        self.split_at(last.saturating_add(1));
        self.spans.range(first..=last).map(|(first, _)| *first).collect()
    }

    /// Lets the start pass what is done, and neighbours that are alike become one.
    fn advance(&mut self) {
        while let Some(first) = self.spans.first_entry().filter(|first| first.get().is_done()) {
            self.start = first.get().last + 1;
            first.remove();
        }
        let mut before: Option<Offset> = None;
        let firsts: Vec<Offset> = self.spans.keys().copied().collect();
        for first in firsts {
            let is_alike = |one: &Span, other: &Span| {
                one.pending.is_none()
                    && other.pending.is_none()
                    && one.holder().is_none()
                    && one.state == other.state
                    && one.count == other.count
            };
            let pair =
                before.and_then(|before| Some((before, self.spans.get(&before)?, self.spans.get(&first)?)));
            match pair {
                Some((kept, one, other)) if is_alike(one, other) => {
                    let last = other.last;
                    self.spans.remove(&first);
                    self.spans.get_mut(&kept).into_iter().for_each(|span| span.last = last);
                }
                _ => before = Some(first),
            }
        }
        if self.spans.is_empty() {
            self.end = self.end.max(self.start);
            self.start = self.end;
        }
    }

    /// What becomes of a record that comes back: it is available, unless it was delivered too often.
    fn returned(&self, count: i16) -> State {
        match count >= self.config.delivery_count_max {
            true => self.given_up(Reason::DeliveredTooOften),
            false => State::Available,
        }
    }

    /// What becomes of a record that nobody is to have any more.
    fn given_up(&self, reason: Reason) -> State {
        if self.config.has_dead_letters { self.archiving(reason) } else { State::Archived }
    }

    fn archiving(&self, reason: Reason) -> State {
        State::Archiving(Letter { reason, is_given: false })
    }

    /// The parts agree with each other.
    #[cfg(test)]
    pub(crate) fn check(&self) {
        let mut next = self.start;
        for (first, span) in &self.spans {
            assert_eq!(*first, next, "{self:?}");
            assert!(span.last >= *first, "{self:?}");
            next = span.last + 1;
        }
        assert_eq!(next, self.end, "{self:?}");
        assert!(self.spans.first_key_value().is_none_or(|(_, span)| !span.is_done()), "{self:?}");
    }
}

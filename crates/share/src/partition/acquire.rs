//! A member gets records: those that came back first, then new ones.
//!
//! The host has read batches from [`SharePartition::next_offset`] on; which of their records the member may have is decided
//! here. Records that were delivered often already come alone, so that one bad record does not drag good ones down.

use super::{
    SharePartition,
    span::{Holder, Span, State},
};
use crate::MemberId;
use ::coordinator::Now;
use model::Offset;

/// How the records of an answer are chosen (KIP-1206).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Whole batches, although that may be more records than asked for.
    BatchOptimized,
    /// Never more records than asked for.
    RecordLimit,
}

/// What a member asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wish<'a> {
    /// Who.
    pub member: &'a MemberId,
    /// How many records.
    pub records_max: i64,
    /// How many new records are acquired together, about.
    pub batch_size: i64,
    /// How strict `records_max` is.
    pub mode: Mode,
    /// From which offset on was read.
    pub from: Offset,
}

/// A batch of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch {
    /// Its first offset.
    pub first: Offset,
    /// Its last offset.
    pub last: Offset,
    /// It is part of a transaction that was aborted, and the group reads committed records only.
    pub is_aborted: bool,
}

/// Records that are the member's now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acquired {
    /// The first.
    pub first: Offset,
    /// The last.
    pub last: Offset,
    /// How often they were delivered, this time included.
    pub count: i16,
}

/// A choice under way.
struct Choice<'a> {
    wish: Wish<'a>,
    batches: &'a [Batch],
    holder: Holder,
    /// How many records more.
    left: i64,
    taken: Vec<Acquired>,
}

/// From this many deliveries on records are handed out in ever smaller portions.
const THROTTLED_FROM: i16 = 2;

impl Choice<'_> {
    /// Where to end so that not more than `left` records are taken, or the batch is whole.
    fn end(&self, first: Offset, last: Offset) -> Offset {
        if last - first < self.left {
            return last;
        }
        let exact = first + self.left - 1;
        let around = self.batches.iter().find(|batch| batch.first <= exact && exact <= batch.last);
        match self.wish.mode {
            Mode::RecordLimit => exact,
            Mode::BatchOptimized => around.map_or(exact, |batch| batch.last.min(last)),
        }
    }

    /// Takes note; stretches of records that were delivered before and lie side by side are told as one.
    fn take(&mut self, first: Offset, last: Offset, count: i16) {
        self.left -= last - first + 1;
        match self.taken.last_mut().filter(|before| before.last + 1 == first && before.count == count) {
            Some(before) if count > 1 => before.last = last,
            _ => self.taken.push(Acquired { first, last, count }),
        }
    }
}

impl SharePartition {
    /// Gives a member what it may have of these batches, which were read from `wish.from` on and follow each other.
    pub fn acquire(&mut self, now: Now, wish: Wish<'_>, batches: &[Batch]) -> Vec<Acquired> {
        let (Some(head), Some(tail)) = (batches.first(), batches.last()) else { return Vec::new() };
        if tail.last < self.start || tail.last == Offset::MAX || wish.records_max <= 0 {
            return Vec::new();
        }
        let mut upto = tail.last;
        let mut left = wish.records_max.min(self.config.locks_max - self.in_flight());
        if left <= 0 {
            // All locks are taken: only what came back may be had.
            left = wish.records_max.min(self.end - wish.from);
            upto = upto.min(self.end - 1);
        }
        if left <= 0 {
            return Vec::new();
        }
        self.archive_gap(wish.from, head.first);
        let deadline = now.deadline_ms(self.config.lock_ms);
        let holder = Holder { member: wish.member.clone(), deadline };
        let mut choice = Choice { wish, batches, holder, left, taken: Vec::new() };
        let low = head.first.max(self.start);
        let is_over = self.acquire_again(&mut choice, low, upto);
        if !is_over && choice.left > 0 && upto >= self.end {
            self.acquire_new(&mut choice, low.max(self.end), upto);
        }
        let mut taken = choice.taken;
        for batch in batches.iter().filter(|batch| batch.is_aborted) {
            self.archive_aborted(batch, &mut taken);
        }
        self.advance();
        taken
    }

    /// Nothing is stored between where was read from and the first batch: nobody will ever get it.
    fn archive_gap(&mut self, from: Offset, first: Offset) {
        for key in self.cut_out(from, (first - 1).min(self.end - 1)) {
            let Some(span) = self.spans.get_mut(&key).filter(|span| span.is_free()) else { continue };
            span.state = State::Archived;
        }
        self.advance();
    }

    /// What came back; whether nothing more is to be taken.
    fn acquire_again(&mut self, choice: &mut Choice<'_>, low: Offset, upto: Offset) -> bool {
        let limit = self.config.delivery_count_max;
        let throttled_from = THROTTLED_FROM.max(limit / 2 + limit % 2);
        for key in self.cut_out(low, upto.min(self.end - 1)) {
            let Some(span) = self.spans.get(&key).filter(|span| span.is_free()) else { continue };
            let (last, count) = (span.last, span.count);
            if choice.left <= 0 {
                return true;
            }
            let portion = match count {
                _ if count < throttled_from => i64::MAX,
                _ if !choice.taken.is_empty() => return true,
                // The last chance is a chance of its own.
                _ if limit > 2 && count == limit - 1 => 1,
                _ => ((last - key + 1) >> (count - throttled_from + 1).clamp(0, 62)).max(1),
            };
            let last = choice.end(key, last).min(key.saturating_add(portion - 1));
            self.split_at(last + 1);
            let Some(span) = self.spans.get_mut(&key) else { continue };
            span.state = State::Acquired(choice.holder.clone());
            span.count = count.saturating_add(1);
            choice.take(key, last, span.count);
            if portion != i64::MAX {
                return true;
            }
        }
        false
    }

    /// What was never delivered.
    fn acquire_new(&mut self, choice: &mut Choice<'_>, first: Offset, upto: Offset) {
        if self.spans.is_empty() {
            (self.start, self.end) = (first, first);
        } else if first > self.end {
            self.spans.insert(self.end, Span::new(first - 1, State::Archived, 0));
        }
        let last = choice.end(first, upto);
        let mut begins = vec![first];
        if choice.wish.mode == Mode::BatchOptimized {
            for batch in choice.batches.iter().filter(|batch| batch.first <= last) {
                let before = begins.last().copied().unwrap_or(first);
                if batch.first - before >= choice.wish.batch_size.max(1) {
                    begins.push(batch.first);
                }
            }
        }
        for (place, begin) in begins.iter().enumerate() {
            let end = begins.get(place + 1).map_or(last, |next| next - 1);
            self.spans.insert(*begin, Span::new(end, State::Acquired(choice.holder.clone()), 1));
            choice.take(*begin, end, 1);
        }
        self.end = last + 1;
    }

    /// Takes the records of an aborted transaction back from what a member was about to get.
    fn archive_aborted(&mut self, batch: &Batch, taken: &mut Vec<Acquired>) {
        let mut rest = Vec::with_capacity(taken.len() + 1);
        for one in taken.drain(..) {
            let (low, high) = (one.first.max(batch.first), one.last.min(batch.last));
            if low > high {
                rest.push(one);
                continue;
            }
            for key in self.cut_out(low, high) {
                self.spans.get_mut(&key).into_iter().for_each(|span| span.state = State::Archived);
            }
            let pieces = [(one.first, low - 1), (high + 1, one.last)];
            let pieces = pieces.into_iter().filter(|(first, last)| first <= last);
            rest.extend(pieces.map(|(first, last)| Acquired { first, last, ..one }));
        }
        *taken = rest;
    }
}

//! Records come back without having been acknowledged: their member took too long, or has gone; or the log no longer has
//! them.

use super::{
    SharePartition, Write,
    span::{Span, State},
};
use crate::MemberId;
use ::coordinator::Now;
use model::Offset;

impl SharePartition {
    /// The nanosecond at which the first lock runs out.
    pub fn deadline(&self) -> Option<u64> {
        self.spans.values().filter_map(Span::holder).map(|holder| holder.deadline).min()
    }

    /// Takes back what was held for too long. It is available at once; that is to be written all the same, for the count.
    /// What is given up is so only once that is written: until then the start does not pass it, or a member that is late would
    /// hear that its word was taken while nothing of it is on a disk.
    pub fn expire(&mut self, now: Now) -> Option<Write> {
        let is_late = |span: &Span| span.holder().is_some_and(|holder| holder.deadline <= now.monotonic);
        let late: Vec<Offset> =
            self.spans.iter().filter(|(_, span)| is_late(span)).map(|(first, _)| *first).collect();
        let mut changed = Vec::with_capacity(late.len());
        for key in late {
            let Some(state) = self.spans.get(&key).map(|span| self.returned(span.count)) else { continue };
            if state.is_given_up() {
                self.begin(key, state, &mut changed);
                continue;
            }
            let Some(span) = self.spans.get_mut(&key) else { continue };
            span.state = state;
            changed.push((key, span.last));
        }
        let write = self.write(changed);
        self.advance();
        write
    }

    /// Takes back what a member has, because its session has ended.
    pub fn release(&mut self, member: &MemberId) -> Option<Write> {
        let is_held = |span: &Span| span.holder().is_some_and(|holder| holder.member == *member);
        let held: Vec<Offset> =
            self.spans.iter().filter(|(_, span)| is_held(span)).map(|(first, _)| *first).collect();
        let mut changed = Vec::with_capacity(held.len());
        for key in held {
            let Some(state) = self.spans.get(&key).map(|span| self.returned(span.count)) else { continue };
            self.begin(key, state, &mut changed);
        }
        self.write(changed)
    }

    /// The log begins at `offset` now: what lay before is done, whoever has it.
    pub fn on_log_start(&mut self, offset: Offset) {
        if offset <= self.start {
            return;
        }
        self.split_at(offset);
        self.spans = self.spans.split_off(&offset);
        self.start = offset;
        self.end = self.end.max(offset);
        self.advance();
    }

    /// Lets a span that is acquired change its state, once that is written.
    pub(super) fn begin(&mut self, key: Offset, state: State, changed: &mut Vec<(Offset, Offset)>) {
        let Some(span) = self.spans.get_mut(&key) else { return };
        let State::Acquired(holder) = std::mem::replace(&mut span.state, state) else { return };
        span.pending = Some((super::WriteId(self.write_next), holder));
        changed.push((key, span.last));
    }
}

//! Changes become final when the share coordinator has them, or are taken back if it does not take them.

use super::{
    SharePartition, Write, WriteId,
    span::{DeliveryState, State},
};
use crate::StateBatch;
use ::coordinator::Now;
use model::Offset;

/// After so long the share coordinator is told again of what is to be given up.
const TRY_AGAIN_MS: i64 = 1000;

impl SharePartition {
    /// Orders what has changed to be written.
    pub(super) fn write(&mut self, changed: Vec<(Offset, Offset)>) -> Option<Write> {
        if changed.is_empty() {
            return None;
        }
        let id = WriteId(self.write_next);
        self.write_next += 1;
        let batch = |(first, last): &(Offset, Offset)| {
            let (state, count) = self.state_of(*first).unwrap_or((DeliveryState::Archived, 0));
            StateBatch { first: *first, last: *last, state: state.number(), count }
        };
        let mut batches: Vec<StateBatch> = Vec::with_capacity(changed.len());
        for batch in changed.iter().map(batch) {
            match batches.last_mut() {
                Some(before)
                    if before.last + 1 == batch.first
                        && (before.state, before.count) == (batch.state, batch.count) =>
                {
                    before.last = batch.last;
                }
                _ => batches.push(batch),
            }
        }
        self.writes.insert(id, changed);
        Some(Write {
            id,
            state_epoch: self.state_epoch,
            start: self.start,
            complete_count: self.complete_count(),
            batches,
        })
    }

    /// What became of a write. Where it failed, the records are the member's again, unless its time is over. What is to be given
    /// up stays the member's for [`TRY_AGAIN_MS`]: it is given up by being written.
    pub fn on_written(&mut self, now: Now, id: WriteId, is_written: bool) {
        for (first, last) in self.writes.remove(&id).unwrap_or_default() {
            for key in self.cut_out(first, last) {
                let Some(span) = self.spans.get_mut(&key) else { continue };
                let Some((_, mut holder)) = span.pending.take_if(|(of, _)| *of == id) else { continue };
                if is_written {
                    continue;
                }
                let count = span.count;
                let state = match (holder.deadline <= now.monotonic).then(|| self.returned(count)) {
                    Some(state) if state.is_given_up() => {
                        holder.deadline = now.deadline_ms(TRY_AGAIN_MS);
                        State::Acquired(holder)
                    }
                    Some(state) => state,
                    None => State::Acquired(holder),
                };
                self.spans.get_mut(&key).into_iter().for_each(|span| span.state = state.clone());
            }
        }
        self.advance();
    }
}

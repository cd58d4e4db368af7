//! When open transactions are out of time, by the clock that never jumps.
//!
//! What stands in the log is the wall clock's: a clock that is set back would leave a transaction of a producer that died
//! open until it has caught up, and nobody could read past it. So the wall clock only says how much of its time a
//! transaction has left when it is seen first, and never more than all of it.

use crate::{Coordinator, Late, Producer, TransactionalId};
use ::coordinator::Now;
use model::Timestamp;
use std::collections::BTreeMap;

/// The deadlines of the open transactions of one coordinator. What is not written down is not replayed: they begin anew
/// with the process.
#[derive(Debug, Default)]
pub struct Timeouts {
    due: BTreeMap<TransactionalId, Due>,
}

#[derive(Debug)]
struct Due {
    /// The transaction that is meant; the id may have gone on to another.
    started: Timestamp,
    /// By [`Now::monotonic`].
    at: u64,
}

impl Timeouts {
    /// No deadline yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Those that have been open for longer than they may. To be asked again and again: a transaction is watched from the
    /// first time on that it is seen open.
    pub fn late(&mut self, coordinator: &Coordinator, now: Now) -> Vec<Late> {
        let transactions = &coordinator.transactions;
        self.due.retain(|id, due| transactions.get(id).is_some_and(|known| known.may_be_late(due.started)));
        let mut late = Vec::new();
        for (id, known) in transactions.iter().filter(|(_, known)| known.may_be_late(known.started)) {
            let due = self.due.entry(id.clone()).or_insert_with(|| {
                let (timeout_ms, passed_ms) =
                    (i64::from(known.timeout_ms), now.wall.saturating_sub(known.started));
                let longest_ms = timeout_ms.max(0) + 1;
                let left_ms = longest_ms.saturating_sub(passed_ms).clamp(0, longest_ms);
                Due { started: known.started, at: now.deadline_ms(left_ms) }
            });
            if due.at <= now.monotonic {
                let (producer_id, producer_epoch) = (known.producer_id, known.producer_epoch);
                let producer = Producer { id: id.clone(), producer_id, producer_epoch };
                late.push(Late { producer, started: known.started });
            }
        }
        late
    }
}

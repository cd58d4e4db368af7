//! Dead letters (KIP-1191): records that nobody is to have any more and that the group's dead-letter topic is to be told of.
//!
//! They are given to the host once it is written that they are archiving, and archived when the host says so; whoever leads
//! next begins with what is archiving. The dead-letter topic may be told twice, never not at all. What is written there, and
//! where, the host knows.

use super::{Config, SharePartition, Write, span::State};
use model::Offset;

/// Why nobody is to have a record any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// A member has rejected it.
    Rejected,
    /// It was delivered as often as the group allows, and came back.
    DeliveredTooOften,
}

/// A stretch of records that the dead-letter topic is to be told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeadLetters {
    /// The first.
    pub first: Offset,
    /// The last.
    pub last: Offset,
    /// How often they were delivered.
    pub count: i16,
    /// Why.
    pub reason: Reason,
}

impl Reason {
    /// What is written down of a record does not say why: its count does, or nearly.
    pub(super) fn of_count(config: &Config, count: i16) -> Self {
        if count >= config.delivery_count_max { Self::DeliveredTooOften } else { Self::Rejected }
    }
}

impl SharePartition {
    /// What the dead-letter topic is to be told, each once; the host reports with [`SharePartition::on_told`].
    pub fn take_dead_letters(&mut self) -> Vec<DeadLetters> {
        let mut all = Vec::new();
        for (first, span) in &mut self.spans {
            let State::Archiving(letter) = &mut span.state else { continue };
            if span.pending.is_some() || std::mem::replace(&mut letter.is_given, true) {
                continue;
            }
            let (first, reason) = (*first, letter.reason);
            all.push(DeadLetters { first, last: span.last, count: span.count, reason });
        }
        all
    }

    /// The dead-letter topic was told of these records, or never will be: they are archived.
    pub fn on_told(&mut self, first: Offset, last: Offset) -> Option<Write> {
        let mut changed = Vec::new();
        for key in self.cut_out(first.max(self.start), last) {
            let Some(span) = self.spans.get_mut(&key) else { continue };
            if matches!(span.state, State::Archiving(letter) if letter.is_given) {
                span.state = State::Archived;
                changed.push((key, span.last));
            }
        }
        let write = self.write(changed);
        self.advance();
        write
    }
}

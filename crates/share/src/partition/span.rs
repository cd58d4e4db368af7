//! A stretch of records in flight that share one fate, and the states that it can be in.
//!
//! What moves it from one state to the next is beside it: `acquire`, `acknowledge`, `release`, `write`.

use super::{WriteId, letters::Reason};
use crate::MemberId;
use model::Offset;

/// The delivery states, with Kafka's numbers of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryState {
    /// Anybody may have it.
    Available = 0,
    /// A member has it.
    Acquired = 1,
    /// A member has accepted it.
    Acknowledged = 2,
    /// Nobody is to have it any more, and the group's dead-letter topic is to be told (KIP-1191).
    Archiving = 3,
    /// Nobody is to have it any more: rejected, delivered too often, or not there.
    Archived = 4,
}

impl DeliveryState {
    /// Kafka's number.
    pub fn number(self) -> i8 {
        self as i8
    }

    /// The state of this number.
    pub fn from_number(number: i8) -> Option<Self> {
        Some(match number {
            0 => Self::Available,
            1 => Self::Acquired,
            2 => Self::Acknowledged,
            3 => Self::Archiving,
            4 => Self::Archived,
            _ => return None,
        })
    }

    /// Whether nothing comes after it.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Acknowledged | Self::Archived)
    }
}

/// Who has records, and until when (a nanosecond of the monotonic clock).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) member: MemberId,
    pub(crate) deadline: u64,
}

/// Where a span stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    Available,
    Acquired(Holder),
    Acknowledged,
    Archiving(Letter),
    Archived,
}

impl State {
    /// Whether nobody is to have it any more without having accepted it.
    pub(crate) fn is_given_up(&self) -> bool {
        matches!(self, Self::Archiving(_) | Self::Archived)
    }
}

/// What the dead-letter topic is to be told of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Letter {
    pub(crate) reason: Reason,
    /// The host has it.
    pub(crate) is_given: bool,
}

/// Records from its key on to `last`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) last: Offset,
    pub(crate) state: State,
    /// How often they were delivered.
    pub(crate) count: i16,
    /// The write that makes the state final, and who had the records before, for the case that it fails.
    pub(crate) pending: Option<(WriteId, Holder)>,
}

impl Span {
    pub(crate) fn new(last: Offset, state: State, count: i16) -> Self {
        Self { last, state, count, pending: None }
    }

    /// The state without its details.
    pub(crate) fn delivery_state(&self) -> DeliveryState {
        match self.state {
            State::Available => DeliveryState::Available,
            State::Acquired(_) => DeliveryState::Acquired,
            State::Acknowledged => DeliveryState::Acknowledged,
            State::Archiving(_) => DeliveryState::Archiving,
            State::Archived => DeliveryState::Archived,
        }
    }

    /// Whether somebody may have it.
    pub(crate) fn is_free(&self) -> bool {
        self.state == State::Available && self.pending.is_none()
    }

    /// Whether it is over for good.
    pub(crate) fn is_done(&self) -> bool {
        self.delivery_state().is_terminal() && self.pending.is_none()
    }

    /// Who has it, if no write is to decide that.
    pub(crate) fn holder(&self) -> Option<&Holder> {
        match &self.state {
            State::Acquired(holder) if self.pending.is_none() => Some(holder),
            _ => None,
        }
    }
}

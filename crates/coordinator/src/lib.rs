//! The shard contract: how a replicated state machine speaks with the host that orders and keeps its records.
//!
//! It runs nothing: no thread, no clock, no log. A shard decides (`handle`) and remembers (`replay`); the host in
//! `broker` appends the records, waits for their commit, and lets the reply go. [`kit`] is such a host for tests.

pub mod kit;
mod now;

pub use now::{Now, has_passed};

/// A state machine whose whole replicated state is made by [`Shard::replay`] of the records of one log, in order.
///
/// What the host promises:
/// - it calls `replay` for every record of an [`Outcome`] in their order, before it calls `handle` again: the next
///   request sees what the former decided, although that may not be committed yet;
/// - a reply leaves when its records, and all records before them, are committed. A reply without records waits for
///   the records before it too: nobody may read what a crash could take back;
/// - if an append fails, the shard may remember what the log does not hold. The host discards it, builds a new one by
///   replaying the log from its start (or a snapshot), and refuses every reply that was still waiting.
pub trait Shard {
    /// What is asked, without API versions.
    type Request;
    /// What is answered when the records are committed.
    type Reply;
    /// One change of the replicated state; a plain value that the host translates to and from bytes.
    type Record;
    /// Why a request is refused; nothing is recorded then.
    type Failure;

    /// Decides on `request`: no change of the state, no input but the arguments. Randomness comes inside the request.
    fn handle(
        &self,
        now: Now,
        request: Self::Request,
    ) -> Result<Outcome<Self::Record, Self::Reply>, Self::Failure>;

    /// Applies one record. It is the only way the replicated state changes, and it cannot fail: what `handle` would
    /// never have written is ignored, because a log of another version of the program may hold it.
    fn replay(&mut self, record: Self::Record);
}

/// What a request leads to: records to append, all or none of them, and the reply for when they are committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome<Record, Reply> {
    /// The changes, in order; they become durable together or not at all.
    pub records: Vec<Record>,
    /// The reply that leaves when `records` are committed.
    pub reply: Reply,
}

impl<Record, Reply> Outcome<Record, Reply> {
    /// `records` to append, then `reply`.
    pub fn new(records: Vec<Record>, reply: Reply) -> Self {
        Self { records, reply }
    }

    /// A reply that changes nothing.
    pub fn reply(reply: Reply) -> Self {
        Self { records: Vec::new(), reply }
    }
}

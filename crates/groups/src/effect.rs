//! What the coordinator orders the host to do.

use crate::{Error, Record, Reply, Ticket, Token, TransactionMarker};
use model::{ProducerEpoch, ProducerId};

/// The orders of one step, in the order in which they are to be carried out.
pub type Effects = Vec<Effect>;

/// An order.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Answer the client.
    Reply {
        /// Which request.
        token: Token,
        /// The answer. Where Kafka's response has no error of its own for the whole, each of its parts bears this one.
        reply: Result<Reply, Error>,
    },
    /// Append these records to the partition in one batch, after those of all earlier tickets; then report
    /// [`crate::Event::Committed`] or [`crate::Event::AppendFailed`].
    Append {
        /// Names the append.
        ticket: Ticket,
        /// Never empty.
        records: Vec<Record>,
    },
    /// The same as part of a transaction.
    AppendInTransaction {
        /// Names the append.
        ticket: Ticket,
        /// Never empty; for a marker they say what it means, and are not written.
        records: Vec<Record>,
        /// What part.
        part: InTransaction,
    },
    /// Report a [`crate::Event::Tick`] once the monotonic clock reaches this nanosecond. Replaces the former order.
    WakeAt(u64),
}

/// What part an append has in a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InTransaction {
    /// It commits offsets.
    Offsets {
        /// The producer of the transaction.
        producer_id: ProducerId,
        /// Its epoch.
        producer_epoch: ProducerEpoch,
        /// See [`crate::TxnOffsetCommit`].
        guard: Option<u64>,
    },
    /// It is the marker that ends it.
    Marker(TransactionMarker),
}

//! The transaction coordinator of one `__transaction_state` partition, as a shard (KIP-98, KIP-360, KIP-588, KIP-890).
//!
//! It knows no API versions, no bytes of records, no clock and no network. The broker's host appends what it decides,
//! and has the markers written that a prepared transaction needs; [`Request::Complete`] tells that they are.
//!
//! Who reads on: [`Coordinator`] is the whole; [`Transaction`] is what is known of a transactional id; [`Record`] is what
//! outlives the process.

mod add;
mod config;
mod coordinator;
mod end;
mod error;
mod expiry;
mod init;
mod listing;
mod record;
mod reply;
mod request;
mod state;
mod timeouts;
mod transaction;

#[cfg(test)]
mod tests;

pub use config::Config;
pub use coordinator::Coordinator;
pub use error::Error;
pub use record::Record;
pub use reply::{Listed, Reply};
pub use request::{
    AddPartitions, EndTxn, InitProducerId, Late, ListTransactions, Producer, Request, VerifyPartitions,
};
pub use state::State;
pub use timeouts::Timeouts;
pub use transaction::{Markers, Transaction};

use std::sync::Arc;

/// `transactional.id`: the name under which a producer finds its transactions again.
pub type TransactionalId = Arc<str>;

/// The version of the protocol in which a client speaks of a transaction (`transaction.version`). From [`EPOCH_BUMP`] on
/// each end of a transaction raises the producer's epoch (KIP-890).
pub type TransactionVersion = i16;

/// See [`TransactionVersion`].
pub const EPOCH_BUMP: TransactionVersion = 2;

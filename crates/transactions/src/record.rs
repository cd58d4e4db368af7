//! What outlives the process: the records of `__transaction_state`, as plain values.
//!
//! It knows no bytes: the broker translates each to and from Kafka's TransactionLogKey/Value.

use crate::{Transaction, TransactionalId};

/// One change of the persistent state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// All that is known of a transactional id from now on.
    Changed {
        /// The id.
        id: TransactionalId,
        /// What is known of it.
        transaction: Transaction,
    },
    /// The id has expired.
    Removed {
        /// The id.
        id: TransactionalId,
    },
}

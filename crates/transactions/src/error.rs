//! Why a request was refused, in Kafka's own names.
//!
//! It knows no error codes: `broker` maps each variant to the code of the same name.

/// A refusal. The name of each variant is Kafka's name of the error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The records could not be replicated: try again.
    #[error("the coordinator is not available")]
    CoordinatorNotAvailable,
    /// This node does not lead the partition of the transactional id any more: find the coordinator again.
    #[error("this node is not the coordinator of the transactional id")]
    NotCoordinator,
    /// Everything is being read, or no producer id could be had: try again.
    #[error("the coordinator is still loading")]
    CoordinatorLoadInProgress,
    /// The transactional id is empty, or the request makes no sense.
    #[error("the request is invalid; a transactional id must not be empty")]
    InvalidRequest,
    /// Two-phase commit is not enabled here: set `transaction.two.phase.commit.enable`.
    #[error("two-phase commit needs transaction.two.phase.commit.enable")]
    TransactionalIdAuthorizationFailed,
    /// A prepared transaction cannot be kept over a restart of its producer yet, as in Kafka.
    #[error("a prepared transaction cannot be kept")]
    UnsupportedVersion,
    /// The timeout is not above 0, or above `transaction.max.timeout.ms`.
    #[error("the transaction's timeout is not between 1 and transaction.max.timeout.ms")]
    InvalidTransactionTimeout,
    /// The transaction before is still being ended: try again.
    #[error("the transaction before is still being ended")]
    ConcurrentTransactions,
    /// Another producer has taken over this transactional id.
    #[error("another producer took over the transactional id")]
    ProducerFenced,
    /// The producer id is not the one of this transactional id.
    #[error("the producer id does not belong to the transactional id")]
    InvalidProducerIdMapping,
    /// The transaction is in a state that does not allow this.
    #[error("the transaction is in another state")]
    InvalidTxnState,
    /// The transactional id does not exist.
    #[error("the transactional id does not exist")]
    TransactionalIdNotFound,
    /// The records were larger than the partition's `max.message.bytes`.
    #[error("the transaction cannot be stored")]
    UnknownServerError,
    /// To decide this, the coordinator needs a producer id that nobody has: ask again with one. No client sees it.
    #[error("a fresh producer id is needed")]
    ProducerIdNeeded,
}

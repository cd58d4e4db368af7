//! What is asked, without API versions: where versions differ in meaning there is a field for it.
//!
//! It checks nothing; the handlers in `broker` have authorised the request and looked its partitions up.

use crate::{State, TransactionVersion, TransactionalId};
use model::{ProducerEpoch, ProducerId, Timestamp, TopicPartition};

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Take over a transactional id, or go on with it under a new epoch.
    InitProducerId(InitProducerId),
    /// Add partitions to the transaction, which begins with the first.
    AddPartitions(AddPartitions),
    /// Ask whether partitions belong to the transaction that is open.
    VerifyPartitions(VerifyPartitions),
    /// Commit or abort.
    EndTxn(EndTxn),
    /// Abort what [`crate::Timeouts::late`] has named, unless it has moved on meanwhile.
    AbortLate {
        /// Which.
        late: Late,
        /// An id that no other producer has, for when the epochs of this one are used up.
        fresh_id: Option<ProducerId>,
    },
    /// All markers are written.
    Complete {
        /// Whose, with the id and the epoch of the markers.
        producer: Producer,
    },
    /// Forget ids that nobody has used for long.
    Expire,
    /// Describe a transactional id.
    Describe {
        /// Which.
        id: TransactionalId,
    },
    /// List transactions.
    List(ListTransactions),
}

/// Who speaks of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Producer {
    /// Its transactional id.
    pub id: TransactionalId,
    /// Its producer id.
    pub producer_id: ProducerId,
    /// Its epoch.
    pub producer_epoch: ProducerEpoch,
}

/// A transaction that has been open for longer than it may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Late {
    /// Whose.
    pub producer: Producer,
    /// When it began, by the wall clock: the producer may have begun another.
    pub started: Timestamp,
}

/// See [`Request::InitProducerId`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InitProducerId {
    /// The transactional id; not empty.
    pub id: TransactionalId,
    /// How long a transaction may be open.
    pub timeout_ms: i32,
    /// Whether it takes part in a two-phase commit and has no limit (KIP-939).
    pub two_phase_commit: bool,
    /// Whether what was prepared is to be kept (KIP-939).
    pub keep_prepared: bool,
    /// The id and epoch with which the producer wants to go on (KIP-360).
    pub expected: Option<(ProducerId, ProducerEpoch)>,
    /// An id that no other producer has.
    pub fresh_id: Option<ProducerId>,
}

/// See [`Request::AddPartitions`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddPartitions {
    /// Who adds.
    pub producer: Producer,
    /// Which.
    pub partitions: Vec<TopicPartition>,
    /// In which version the client speaks of this transaction.
    pub version: TransactionVersion,
}

/// See [`Request::VerifyPartitions`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyPartitions {
    /// Whose transaction.
    pub producer: Producer,
    /// Which.
    pub partitions: Vec<TopicPartition>,
}

/// See [`Request::EndTxn`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndTxn {
    /// Who ends its transaction.
    pub producer: Producer,
    /// Whether it is committed.
    pub committed: bool,
    /// In which version the client speaks of this transaction.
    pub version: TransactionVersion,
    /// An id that no other producer has, for when the epochs of this one are used up.
    pub fresh_id: Option<ProducerId>,
}

/// Which transactions to list; what is empty or `None` does not exclude any.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListTransactions {
    /// In one of these states.
    pub states: Option<Vec<State>>,
    /// Of one of these producers.
    pub producer_ids: Vec<ProducerId>,
    /// That are open for longer than this.
    pub open_ms_min: Option<i64>,
}

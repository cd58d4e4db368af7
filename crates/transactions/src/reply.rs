//! What is answered, without API versions.

use crate::{State, Transaction, TransactionalId};
use model::{ProducerEpoch, ProducerId, TopicPartition};

/// A reply; each variant answers the request of its name but for [`Reply::Aborting`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// The producer's id and epoch.
    InitProducerId {
        /// The id.
        producer_id: ProducerId,
        /// The epoch.
        producer_epoch: ProducerEpoch,
    },
    /// InitProducerId or a timeout has begun to abort the transaction that was open. A client is to ask again
    /// (CONCURRENT_TRANSACTIONS).
    Aborting,
    /// The partitions belong to the transaction.
    AddPartitions,
    /// For each partition whether it belongs to the transaction, in their order.
    VerifyPartitions(Vec<(TopicPartition, bool)>),
    /// The transaction will end so. The id and epoch of the next transaction; -1 before version 2.
    EndTxn {
        /// The id.
        producer_id: ProducerId,
        /// The epoch.
        producer_epoch: ProducerEpoch,
    },
    /// The transaction has ended, now or before.
    Complete,
    /// How many ids were removed.
    Expire(usize),
    /// What is known of the id.
    Describe(Transaction),
    /// The transactions.
    List(Vec<Listed>),
}

/// A transaction in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its id.
    pub id: TransactionalId,
    /// Its producer.
    pub producer_id: ProducerId,
    /// Its state.
    pub state: State,
}

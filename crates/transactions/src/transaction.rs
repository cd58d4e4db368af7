//! What is known of one transactional id, and how it moves from state to state.
//!
//! It decides nothing: which move is allowed to whom, `init`, `add` and `end` know.

use crate::{EPOCH_BUMP, State, TransactionVersion, TransactionalId};
use model::{ProducerEpoch, ProducerId, Timestamp, TopicPartition};
use std::collections::BTreeSet;

/// What is known of a transactional id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// The id of its producer.
    pub producer_id: ProducerId,
    /// Which id it had before the last change; -1: none.
    pub previous_producer_id: ProducerId,
    /// Which id it will have once this transaction has ended, because the epochs of the present one are used up; -1: the same.
    pub next_producer_id: ProducerId,
    /// The epoch of its producer.
    pub producer_epoch: ProducerEpoch,
    /// The epoch before, of the same producer, if that producer asked for the next; -1: none. It is not in Kafka's record:
    /// a retry that meets another coordinator is fenced.
    pub last_producer_epoch: ProducerEpoch,
    /// How long a transaction may be open; `i32::MAX`: without a limit.
    pub timeout_ms: i32,
    /// Where it stands.
    pub state: State,
    /// What belongs to the transaction; empty once it has ended.
    pub partitions: BTreeSet<TopicPartition>,
    /// When it began; -1: it has not.
    pub started: Timestamp,
    /// When it last changed.
    pub updated: Timestamp,
    /// In which version its client spoke of it.
    pub version: TransactionVersion,
}

/// The markers that a prepared transaction needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Markers {
    /// Whose.
    pub id: TransactionalId,
    /// The producer id in the markers.
    pub producer_id: ProducerId,
    /// The epoch in the markers.
    pub producer_epoch: ProducerEpoch,
    /// Whether it is committed.
    pub committed: bool,
    /// Where they are written.
    pub partitions: BTreeSet<TopicPartition>,
    /// By whose rules partitions judge the epoch.
    pub version: TransactionVersion,
}

/// Whether no client may get an epoch above this one: the last one is for fencing.
pub(crate) fn is_exhausted(epoch: ProducerEpoch) -> bool {
    epoch >= ProducerEpoch::MAX - 1
}

impl Transaction {
    /// An id that nobody has used, before its first epoch.
    pub(crate) fn new(producer_id: ProducerId) -> Self {
        Self {
            producer_id,
            previous_producer_id: -1,
            next_producer_id: -1,
            producer_epoch: -1,
            last_producer_epoch: -1,
            timeout_ms: 0,
            state: State::Empty,
            partitions: BTreeSet::new(),
            started: -1,
            updated: -1,
            version: 0,
        }
    }

    /// Whether its producer can get no further epoch.
    pub(crate) fn is_epoch_exhausted(&self) -> bool {
        is_exhausted(self.producer_epoch)
    }

    /// Whether a producer speaks under the id and epoch that it has been given with the end that is still under way, because
    /// the epochs of the id before are used up.
    pub(crate) fn is_ahead(&self, producer_id: ProducerId, epoch: ProducerEpoch) -> bool {
        self.state.is_prepared() && self.next_producer_id == producer_id && producer_id >= 0 && epoch == 0
    }

    /// Whether the transaction that began then is open and may not be so forever, as one of a two-phase commit may.
    pub(crate) fn may_be_late(&self, started: Timestamp) -> bool {
        self.state == State::Ongoing && self.timeout_ms != i32::MAX && self.started == started
    }

    /// The markers that it needs, if it is prepared.
    pub fn markers(&self, id: &TransactionalId) -> Option<Markers> {
        self.state.is_prepared().then(|| Markers {
            id: id.clone(),
            producer_id: self.producer_id,
            producer_epoch: self.producer_epoch,
            committed: self.state == State::PrepareCommit,
            partitions: self.partitions.clone(),
            version: self.version,
        })
    }

    /// Empty again, under this id and epoch.
    pub(crate) fn emptied(
        &self,
        (producer_id, producer_epoch, last_producer_epoch): (ProducerId, ProducerEpoch, ProducerEpoch),
        timeout_ms: i32,
        now: Timestamp,
    ) -> Self {
        Self {
            producer_id,
            previous_producer_id: self.producer_id,
            producer_epoch,
            last_producer_epoch,
            timeout_ms,
            state: State::Empty,
            partitions: BTreeSet::new(),
            started: -1,
            updated: now,
            ..self.clone()
        }
    }

    /// With more partitions.
    pub(crate) fn with(
        &self,
        more: Vec<TopicPartition>,
        version: TransactionVersion,
        now: Timestamp,
    ) -> Self {
        let mut partitions = self.partitions.clone();
        partitions.extend(more);
        Self {
            previous_producer_id: self.producer_id,
            state: State::Ongoing,
            partitions,
            started: if self.state == State::Ongoing { self.started } else { now },
            updated: now,
            version,
            ..self.clone()
        }
    }

    /// On its way to its end. From version 2 on the markers have the next epoch (KIP-890); `next_producer_id` takes over
    /// when this is the last one.
    pub(crate) fn prepared(
        &self,
        committed: bool,
        version: TransactionVersion,
        next_producer_id: ProducerId,
        now: Timestamp,
    ) -> Self {
        let is_bumped = version >= EPOCH_BUMP;
        // An epoch at the end of all numbers should not be there; the abort gets us out of it.
        let bumped = self.producer_epoch.saturating_add(1);
        Self {
            previous_producer_id: self.producer_id,
            next_producer_id,
            producer_epoch: if is_bumped { bumped } else { self.producer_epoch },
            last_producer_epoch: if is_bumped { self.producer_epoch } else { self.last_producer_epoch },
            state: if committed { State::PrepareCommit } else { State::PrepareAbort },
            // One that has no partitions begins with its end.
            started: if self.state == State::Ongoing { self.started } else { now },
            updated: now,
            version,
            ..self.clone()
        }
    }

    /// Ended; with the next producer id if there is one.
    pub(crate) fn completed(&self, now: Timestamp) -> Self {
        let is_rotated = self.version >= EPOCH_BUMP && self.next_producer_id != -1;
        let committed = self.state == State::PrepareCommit;
        Self {
            producer_id: if is_rotated { self.next_producer_id } else { self.producer_id },
            previous_producer_id: self.producer_id,
            next_producer_id: -1,
            producer_epoch: if is_rotated { 0 } else { self.producer_epoch },
            state: if committed { State::CompleteCommit } else { State::CompleteAbort },
            partitions: BTreeSet::new(),
            updated: now,
            ..self.clone()
        }
    }
}

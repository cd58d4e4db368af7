//! What a log remembers of idempotent and transactional producers (KIP-98): epochs, the last five batches of each,
//! and which transactions are open.
//!
//! It judges a batch before it is appended and takes note of it after; it does no I/O. Snapshots of it are written
//! by `producer_snapshot`.

use crate::{AbortedTxn, Guard, verifications::Verifications};
use model::{Offset, ProducerEpoch, ProducerId, Sequence, Timestamp, limits};
use records::{BatchHeader, EndTxnMarker, sequence_before};
use std::collections::BTreeMap;
use stdx::Map;

/// A batch of a producer that is remembered to recognise its repetition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerBatch {
    /// The sequence number of its last record.
    pub last_sequence: Sequence,
    /// The offset of its last record.
    pub last_offset: Offset,
    /// The last offset minus the first.
    pub offset_delta: i32,
    /// Its max timestamp.
    pub timestamp: Timestamp,
}

/// What is known of one producer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Producer {
    /// Its epoch; -1 before anything was written.
    pub epoch: ProducerEpoch,
    /// The epoch of the coordinator that last ended a transaction of it; -1 if none did.
    pub coordinator_epoch: i32,
    /// Of what it wrote last.
    pub last_timestamp: Timestamp,
    /// Where its open transaction began.
    pub txn_first_offset: Option<Offset>,
    /// Whether it began this epoch with sequence number 0: what lies before its batches was then appended.
    pub began_at_zero: bool,
    /// Its last batches under this epoch, oldest first; at most five.
    pub batches: Vec<ProducerBatch>,
}

/// Who wants to append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A producer: epochs and sequence numbers are checked.
    Client,
    /// A coordinator on this broker; its control batches end transactions. Only epochs are checked.
    Coordinator {
        /// From 2 on (KIP-890) a marker must have a higher epoch than the producer's records.
        transaction_version: i16,
    },
    /// A leader that has checked already.
    Replication,
}

/// Why a producer may not append this batch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProducerError {
    /// Kafka: INVALID_PRODUCER_EPOCH.
    #[error("producer {producer_id} has epoch {epoch}, but epoch {current} was seen")]
    InvalidEpoch {
        /// Whose.
        producer_id: ProducerId,
        /// In the batch.
        epoch: ProducerEpoch,
        /// The last seen.
        current: ProducerEpoch,
    },
    /// Kafka: DUPLICATE_SEQUENCE_NUMBER, which clients take for success without an offset.
    #[error("producer {producer_id} repeats sequence number {sequence}, long before {last}")]
    RepeatedSequence {
        /// Whose.
        producer_id: ProducerId,
        /// The first of the batch.
        sequence: Sequence,
        /// The last that was appended.
        last: Sequence,
    },
    /// Kafka: OUT_OF_ORDER_SEQUENCE_NUMBER.
    #[error("producer {producer_id} sent sequence number {sequence} after {last}")]
    OutOfOrderSequence {
        /// Whose.
        producer_id: ProducerId,
        /// The first of the batch.
        sequence: Sequence,
        /// The last that was appended.
        last: Sequence,
    },
    /// Kafka: INVALID_TXN_STATE.
    #[error("producer {producer_id} wrote outside of its open transaction")]
    OutsideTransaction {
        /// Whose.
        producer_id: ProducerId,
    },
    /// Kafka: INVALID_TXN_STATE.
    #[error("producer {producer_id} wrote in a transaction that was not added, or has ended")]
    NotInTransaction {
        /// Whose.
        producer_id: ProducerId,
    },
    /// Kafka: TRANSACTION_COORDINATOR_FENCED.
    #[error("the marker's coordinator epoch {epoch} is older than {current}")]
    CoordinatorFenced {
        /// In the marker.
        epoch: i32,
        /// The last seen.
        current: i32,
    },
}

/// What a batch does to the transactions of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CompletedTxn {
    pub(crate) producer_id: ProducerId,
    pub(crate) first_offset: Offset,
    pub(crate) last_offset: Offset,
    pub(crate) committed: bool,
}

/// All producers of one log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Producers {
    producers: Map<ProducerId, Producer>,
    /// Open transactions, by first offset.
    ongoing: BTreeMap<Offset, ProducerId>,
    /// Ended transactions whose end the high watermark may not have passed: first offset to the marker's.
    unreplicated: BTreeMap<Offset, Offset>,
    /// Transactions that are about to begin.
    verifications: Verifications,
}

impl ProducerBatch {
    /// The offset of its first record.
    pub fn first_offset(&self) -> Offset {
        self.last_offset - i64::from(self.offset_delta)
    }

    fn first_sequence(&self) -> Sequence {
        sequence_before(self.last_sequence, self.offset_delta)
    }
}

impl Producer {
    fn new() -> Self {
        Self {
            epoch: -1,
            coordinator_epoch: -1,
            last_timestamp: -1,
            txn_first_offset: None,
            began_at_zero: false,
            batches: Vec::new(),
        }
    }

    /// The last sequence number under this epoch, or -1.
    pub fn last_sequence(&self) -> Sequence {
        self.batches.last().map_or(-1, |batch| batch.last_sequence)
    }

    /// Whether a batch of this epoch lies wholly before the batches that are remembered and was appended once: sequence
    /// numbers have no gaps from 0 on. A snapshot remembers one batch of a producer, and up to five may have been under
    /// way when the broker stopped: told that they are out of order, a client would send them under a new epoch, twice.
    ///
    /// An unknown producer may begin with any number, and nobody knows what became of the numbers before: a batch that was
    /// refused comes again, in halves, behind the one that was taken.
    fn was_appended_before(&self, header: &BatchHeader) -> bool {
        /// Numbers wrap after 31 bits: what is behind by more than half of them is ahead.
        const HALF: i32 = 1 << 30;
        let Some(first) = self.batches.first().filter(|_| self.began_at_zero) else { return false };
        let behind = first.first_sequence().wrapping_sub(header.last_sequence()) & i32::MAX;
        (1..HALF).contains(&behind)
    }

    fn enter_epoch(&mut self, epoch: ProducerEpoch) {
        if self.epoch != epoch {
            self.batches.clear();
            self.epoch = epoch;
        }
    }

    fn is_expired(&self, now: Timestamp, expiration_ms: i64) -> bool {
        self.txn_first_offset.is_none() && now.saturating_sub(self.last_timestamp) >= expiration_ms
    }
}

impl Producers {
    /// The batch that `header` repeats, if it is remembered.
    pub(crate) fn duplicate_of(&self, header: &BatchHeader) -> Option<ProducerBatch> {
        let producer = self.producers.get(&header.producer_id)?;
        let same = |batch: &&ProducerBatch| {
            batch.first_sequence() == header.base_sequence && batch.last_sequence == header.last_sequence()
        };
        if producer.epoch != header.producer_epoch {
            None
        } else {
            producer.batches.iter().find(same).copied()
        }
    }

    /// Begins to verify a transaction: what the append is to show, or nothing if the transaction is open already.
    pub(crate) fn verify(
        &mut self,
        now: Timestamp,
        (producer_id, epoch): (ProducerId, ProducerEpoch),
        sequence: Sequence,
        is_bumped: bool,
    ) -> Result<Option<Guard>, ProducerError> {
        if let Some(current) = self.get(producer_id).map(|known| known.epoch).filter(|known| epoch < *known) {
            return Err(ProducerError::InvalidEpoch { producer_id, epoch, current });
        }
        if self.has_open_transaction(producer_id, epoch) {
            return Ok(None);
        }
        Ok(Some(self.verifications.begin(now, (producer_id, epoch), sequence, is_bumped)))
    }

    /// Whether a batch of a transaction may be appended, as far as the transaction is concerned.
    pub(crate) fn check_verified(
        &self,
        header: &BatchHeader,
        guard: Option<Guard>,
    ) -> Result<(), ProducerError> {
        let (producer_id, epoch) = (header.producer_id, header.producer_epoch);
        if self.has_open_transaction(producer_id, epoch) {
            return Ok(());
        }
        // Who is fenced is told that, and not that its transaction has ended.
        if let Some(current) = self.get(producer_id).map(|known| known.epoch).filter(|known| epoch < *known) {
            return Err(ProducerError::InvalidEpoch { producer_id, epoch, current });
        }
        match self.verifications.is_verified(producer_id, guard) {
            true => Ok(()),
            false => Err(ProducerError::NotInTransaction { producer_id }),
        }
    }

    /// Whether a data batch may be appended.
    pub(crate) fn check_data(&self, header: &BatchHeader, origin: Origin) -> Result<(), ProducerError> {
        let producer_id = header.producer_id;
        let known = self.producers.get(&producer_id);
        if origin == Origin::Client {
            let last = known.map_or(-1, Producer::last_sequence);
            self.verifications.check_sequence(producer_id, header.base_sequence, last)?;
        }
        let Some(producer) = known else { return Ok(()) };
        let (epoch, current) = (header.producer_epoch, producer.epoch);
        if epoch < current && origin != Origin::Replication {
            return Err(ProducerError::InvalidEpoch { producer_id, epoch, current });
        }
        if origin == Origin::Client {
            let sequence = header.base_sequence;
            let last = producer.last_sequence();
            let in_order = match epoch == current {
                true => sequence == last.wrapping_add(1) || (sequence == 0 && last == i32::MAX),
                false => sequence == 0,
            };
            if epoch == current && producer.was_appended_before(header) {
                return Err(ProducerError::RepeatedSequence { producer_id, sequence, last });
            }
            // Without an epoch (only a fenced marker was ever seen) any number is a beginning.
            if !in_order && current != -1 {
                return Err(ProducerError::OutOfOrderSequence { producer_id, sequence, last });
            }
        }
        if producer.txn_first_offset.is_some()
            && !header.attributes.is_transactional()
            && origin != Origin::Replication
        {
            return Err(ProducerError::OutsideTransaction { producer_id });
        }
        Ok(())
    }

    /// Whether an end marker may be appended.
    pub(crate) fn check_marker(
        &self,
        header: &BatchHeader,
        marker: &EndTxnMarker,
        origin: Origin,
    ) -> Result<(), ProducerError> {
        let Some(producer) = self.producers.get(&header.producer_id) else { return Ok(()) };
        let Origin::Coordinator { transaction_version } = origin else { return Ok(()) };
        let (epoch, current) = (header.producer_epoch, producer.epoch);
        let stale = if transaction_version >= 2 { epoch <= current } else { epoch < current };
        // A coordinator that did not see our answer repeats its marker; the transaction has ended already.
        let repeated = transaction_version >= 2
            && epoch == current
            && (producer.txn_first_offset.is_none() || epoch == ProducerEpoch::MAX);
        if stale && !repeated {
            return Err(ProducerError::InvalidEpoch { producer_id: header.producer_id, epoch, current });
        }
        if producer.coordinator_epoch > marker.coordinator_epoch {
            return Err(ProducerError::CoordinatorFenced {
                epoch: marker.coordinator_epoch,
                current: producer.coordinator_epoch,
            });
        }
        Ok(())
    }

    /// Takes note of an appended data batch.
    pub(crate) fn on_data(&mut self, header: &BatchHeader) {
        let producer = self.producers.entry(header.producer_id).or_insert_with(Producer::new);
        producer.enter_epoch(header.producer_epoch);
        if producer.batches.is_empty() {
            producer.began_at_zero = header.base_sequence == 0;
        }
        if producer.batches.len() >= limits::PRODUCER_BATCHES_REMEMBERED {
            producer.batches.remove(0);
        }
        producer.batches.push(ProducerBatch {
            last_sequence: header.last_sequence(),
            last_offset: header.last_offset(),
            offset_delta: header.last_offset_delta,
            timestamp: header.max_timestamp,
        });
        producer.last_timestamp = header.max_timestamp;
        if header.attributes.is_transactional() {
            self.verifications.begun(header.producer_id);
            if producer.txn_first_offset.is_none() {
                producer.txn_first_offset = Some(header.base_offset);
                self.ongoing.insert(header.base_offset, header.producer_id);
            }
        }
    }

    /// Takes note of an appended end marker; the aborted transaction if it ended one so.
    pub(crate) fn on_marker(&mut self, header: &BatchHeader, marker: &EndTxnMarker) -> Option<AbortedTxn> {
        self.verifications.ended(header.producer_id, header.producer_epoch);
        let producer = self.producers.entry(header.producer_id).or_insert_with(Producer::new);
        producer.enter_epoch(header.producer_epoch);
        producer.coordinator_epoch = marker.coordinator_epoch;
        producer.last_timestamp = header.max_timestamp;
        let first_offset = producer.txn_first_offset.take()?;
        let completed = CompletedTxn {
            producer_id: header.producer_id,
            first_offset,
            last_offset: header.base_offset,
            committed: marker.committed,
        };
        self.complete(completed)
    }

    /// Takes note of what compaction has left of an end marker: a batch without a record. It ends no transaction, for
    /// nothing is left of that either, but who wrote under an earlier epoch stays fenced.
    pub(crate) fn on_emptied_marker(&mut self, header: &BatchHeader) {
        let producer = self.producers.entry(header.producer_id).or_insert_with(Producer::new);
        if header.producer_epoch >= producer.epoch {
            producer.enter_epoch(header.producer_epoch);
            producer.last_timestamp = header.max_timestamp;
        }
    }

    fn complete(&mut self, txn: CompletedTxn) -> Option<AbortedTxn> {
        let others = self.ongoing.iter().find(|(_, producer_id)| **producer_id != txn.producer_id);
        let last_stable_offset = others.map_or(txn.last_offset + 1, |(first, _)| *first);
        self.ongoing.remove(&txn.first_offset);
        self.unreplicated.insert(txn.first_offset, txn.last_offset);
        (!txn.committed).then_some(AbortedTxn {
            producer_id: txn.producer_id,
            first_offset: txn.first_offset,
            last_offset: txn.last_offset,
            last_stable_offset,
        })
    }

    /// The first offset that is not decided, or whose decision is not below `high_watermark`.
    pub fn first_unstable_offset(&self, high_watermark: Offset) -> Option<Offset> {
        let ongoing = self.ongoing.keys().next();
        let unreplicated =
            self.unreplicated.iter().find(|(_, last)| **last >= high_watermark).map(|(f, _)| f);
        ongoing.into_iter().chain(unreplicated).min().copied()
    }

    /// Forgets ended transactions below `offset`.
    pub(crate) fn forget_replicated(&mut self, offset: Offset) {
        if !self.unreplicated.is_empty() {
            self.unreplicated.retain(|_, last| *last >= offset);
        }
    }

    /// Forgets producers that were silent for too long and have no open transaction.
    pub(crate) fn expire(&mut self, now: Timestamp, expiration_ms: i64) {
        self.producers.retain(|_, producer| !producer.is_expired(now, expiration_ms));
        self.verifications.expire(now, expiration_ms);
    }

    /// Whether this producer has an open transaction under this epoch.
    pub fn has_open_transaction(&self, producer_id: ProducerId, epoch: ProducerEpoch) -> bool {
        self.producers
            .get(&producer_id)
            .is_some_and(|producer| producer.epoch == epoch && producer.txn_first_offset.is_some())
    }

    /// All producers, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (ProducerId, &Producer)> {
        self.producers.iter().map(|(id, producer)| (*id, producer))
    }

    /// One producer.
    pub fn get(&self, producer_id: ProducerId) -> Option<&Producer> {
        self.producers.get(&producer_id)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.producers.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.producers.is_empty()
    }

    /// Takes over which producers began their present epochs with sequence number 0, from what was known earlier.
    pub(crate) fn recall_beginnings(&mut self, earlier: &Self) {
        for (id, known) in earlier.producers.iter().filter(|(_, known)| known.began_at_zero) {
            if let Some(producer) = self.producers.get_mut(id).filter(|now| now.epoch == known.epoch) {
                producer.began_at_zero = true;
            }
        }
    }

    /// Puts a producer back from a snapshot.
    pub(crate) fn restore(&mut self, producer_id: ProducerId, producer: Producer) {
        if let Some(first_offset) = producer.txn_first_offset {
            self.ongoing.insert(first_offset, producer_id);
        }
        self.producers.insert(producer_id, producer);
    }
}

#[cfg(test)]
mod tests;

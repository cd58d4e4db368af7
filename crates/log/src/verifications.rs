//! Transactions that are about to begin in this log: of each it is to be known that the coordinator knows it, before its
//! first batch is taken (KIP-890). Else a batch that comes late would begin a transaction that nobody ever ends.
//!
//! It asks nobody: the broker asks the coordinator between [`Log::verify`](crate::Log::verify) and the append. What is
//! here is forgotten with the process.

use crate::ProducerError;
use model::{ProducerEpoch, ProducerId, Sequence, Timestamp};
use stdx::Map;

/// Shows with an append that the transaction was verified since the last one of this producer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Guard(pub u64);

/// A transaction that is about to begin.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Verification {
    guard: Guard,
    since: Timestamp,
    epoch: ProducerEpoch,
    /// The lowest sequence number that asked: what comes behind it must not overtake it while it tries again.
    lowest_sequence: Sequence,
    /// Whether the epoch rises with each transaction, so that the first number of one is 0.
    is_bumped: bool,
}

/// All of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Verifications {
    producers: Map<ProducerId, Verification>,
    guards: u64,
}

impl Verifications {
    /// Begins to verify, or goes on.
    pub(crate) fn begin(
        &mut self,
        now: Timestamp,
        (producer_id, epoch): (ProducerId, ProducerEpoch),
        sequence: Sequence,
        is_bumped: bool,
    ) -> Guard {
        let guards = &mut self.guards;
        let known = self.producers.entry(producer_id).or_insert_with(|| {
            *guards += 1;
            let guard = Guard(*guards);
            Verification { guard, since: now, epoch, lowest_sequence: sequence, is_bumped }
        });
        if epoch == known.epoch {
            known.lowest_sequence = known.lowest_sequence.min(sequence);
        } else if epoch > known.epoch {
            (known.epoch, known.lowest_sequence) = (epoch, sequence);
        }
        known.guard
    }

    /// Whether a transaction may begin that shows `guard`.
    pub(crate) fn is_verified(&self, producer_id: ProducerId, guard: Option<Guard>) -> bool {
        self.producers.get(&producer_id).is_some_and(|known| Some(known.guard) == guard)
    }

    /// Whether a batch may come next, as far as verifications go. `last` is the last number of the producer, -1 if nothing
    /// of it is known.
    pub(crate) fn check_sequence(
        &self,
        producer_id: ProducerId,
        sequence: Sequence,
        last: Sequence,
    ) -> Result<(), ProducerError> {
        let Some(known) = self.producers.get(&producer_id) else { return Ok(()) };
        let is_hole = known.is_bumped && sequence != 0 && last == -1;
        if is_hole || sequence > known.lowest_sequence {
            return Err(ProducerError::OutOfOrderSequence { producer_id, sequence, last });
        }
        Ok(())
    }

    /// The transaction has begun.
    pub(crate) fn begun(&mut self, producer_id: ProducerId) {
        self.producers.remove(&producer_id);
    }

    /// A transaction has ended by a marker of this epoch. Where the epoch rises with each transaction, the marker bears that
    /// of the next one, and the next one may ask here before the marker is written: what is said of it holds on.
    pub(crate) fn ended(&mut self, producer_id: ProducerId, epoch: ProducerEpoch) {
        let is_next = |known: &Verification| known.is_bumped && known.epoch == epoch;
        if !self.producers.get(&producer_id).is_some_and(is_next) {
            self.producers.remove(&producer_id);
        }
    }

    pub(crate) fn expire(&mut self, now: Timestamp, expiration_ms: i64) {
        self.producers.retain(|_, known| now.saturating_sub(known.since) < expiration_ms);
    }
}

#[cfg(test)]
mod tests {
    use crate::{AppendError, Durability, Guard, Origin, ProducerError, fixture::*};
    use records::{BatchBuilder, Checked};

    fn fixture() -> Fixture {
        let mut config = config(Durability::PageCache);
        (config.segment_bytes, config.transactions_verified) = (1 << 20, true);
        Fixture::new(config)
    }

    fn data(epoch: i16, sequence: i32) -> BatchBuilder {
        batch(NOW, 2, 10).producer(1, epoch, sequence).transactional()
    }

    fn append(fixture: &mut Fixture, batch: BatchBuilder, guard: Option<Guard>) -> Result<(), ProducerError> {
        let checked = Checked::trusted(batch.build().unwrap());
        let mut effects = Vec::new();
        match fixture.log.append(NOW, 0, (Origin::Client, guard), checked, &mut effects) {
            Ok(_) => Ok(()),
            Err(AppendError::Producer(error)) => Err(error),
            Err(other) => panic!("{other:?}"),
        }
    }

    const FENCED: Result<(), ProducerError> =
        Err(ProducerError::InvalidEpoch { producer_id: 1, epoch: 1, current: 2 });
    const OUTSIDE: Result<(), ProducerError> = Err(ProducerError::NotInTransaction { producer_id: 1 });

    #[test]
    fn a_transaction_begins_only_if_it_was_verified() {
        let mut fixture = fixture();
        assert_eq!(append(&mut fixture, data(0, 0), None), OUTSIDE);
        let guard = fixture.log.verify(NOW, (1, 0), 0, false).unwrap();
        assert!(guard.is_some());
        assert_eq!(append(&mut fixture, data(0, 0), None), OUTSIDE);
        assert_eq!(append(&mut fixture, data(0, 0), guard), Ok(()));
        assert_eq!(fixture.log.verify(NOW, (1, 0), 2, false), Ok(None), "it is open");
        assert_eq!(append(&mut fixture, data(0, 2), None), Ok(()));
    }

    #[test]
    fn what_was_said_before_a_transaction_ended_does_not_hold_after_it() {
        let mut fixture = fixture();
        let guard = fixture.log.verify(NOW, (1, 0), 0, false).unwrap();
        fixture.end_txn(1, 0, false).unwrap();
        assert_eq!(append(&mut fixture, data(0, 0), guard), OUTSIDE);
        let again = fixture.log.verify(NOW, (1, 0), 0, false).unwrap();
        assert_ne!(again, guard);
        assert_eq!(append(&mut fixture, data(0, 0), guard), OUTSIDE);
        assert_eq!(append(&mut fixture, data(0, 0), again), Ok(()));
    }

    #[test]
    fn the_next_transaction_may_ask_before_the_marker_of_the_one_before_is_written() {
        for (is_bumped, marker_epoch, expected) in [(true, 1, Ok(())), (true, 2, FENCED), (false, 1, OUTSIDE)]
        {
            let mut fixture = fixture();
            let guard = fixture.log.verify(NOW, (1, 0), 0, is_bumped).unwrap();
            append(&mut fixture, data(0, 0), guard).unwrap();
            let next = fixture.log.verify(NOW, (1, 1), 0, is_bumped).unwrap();
            fixture.end_txn(1, marker_epoch, true).unwrap();
            assert_eq!(append(&mut fixture, data(1, 0), next), expected, "{is_bumped}, {marker_epoch}");
        }
    }

    #[test]
    fn a_fenced_producer_is_told_so() {
        let mut fixture = fixture();
        let guard = fixture.log.verify(NOW, (1, 5), 0, true).unwrap();
        append(&mut fixture, data(5, 0), guard).unwrap();
        let fenced = ProducerError::InvalidEpoch { producer_id: 1, epoch: 4, current: 5 };
        assert_eq!(fixture.log.verify(NOW, (1, 4), 0, true), Err(fenced.clone()));
        assert_eq!(append(&mut fixture, data(4, 0), guard), Err(fenced));
    }

    #[test]
    fn a_later_batch_does_not_overtake_one_that_is_still_being_verified() {
        let mut fixture = fixture();
        let guard = fixture.log.verify(NOW, (1, 0), 0, false).unwrap();
        assert_eq!(fixture.log.verify(NOW, (1, 0), 2, false), Ok(guard));
        let gap = |sequence| Err(ProducerError::OutOfOrderSequence { producer_id: 1, sequence, last: -1 });
        assert_eq!(append(&mut fixture, data(0, 2), guard), gap(2));
        assert_eq!(append(&mut fixture, data(0, 0), guard), Ok(()));
        assert_eq!(append(&mut fixture, data(0, 2), None), Ok(()));
        // Where each transaction has an epoch of its own, its first number is 0.
        let mut fixture = super::tests::fixture();
        let guard = fixture.log.verify(NOW, (1, 0), 3, true).unwrap();
        assert_eq!(append(&mut fixture, data(0, 3), guard), gap(3));
    }

    #[test]
    fn what_is_never_appended_is_forgotten_with_silent_producers() {
        let mut fixture = fixture();
        let guard = fixture.log.verify(NOW, (1, 0), 0, false).unwrap();
        let late = NOW + fixture.log.config().producer_id_expiration_ms;
        fixture.log.expire_producers(late - 1);
        assert_eq!(fixture.log.verify(NOW, (1, 0), 0, false), Ok(guard));
        fixture.log.expire_producers(late);
        assert_ne!(fixture.log.verify(NOW, (1, 0), 0, false), Ok(guard));
    }
}

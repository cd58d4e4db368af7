//! How a transaction ends: EndTxn of its producer, or because its time is up.
//!
//! Version 2 (KIP-890) raises the epoch with each end; so a repetition can be told from the next request by its epoch:
//!
//! ```text
//!                  abort: repeated   abort: new   commit: repeated   commit: new
//! Empty            fenced            epoch + 1    fenced             refused
//! CompleteAbort    done already      epoch + 1    refused            refused
//! CompleteCommit   refused           epoch + 1    done already       refused
//! ```
//!
//! While the one before is being ended, a repetition waits (CONCURRENT_TRANSACTIONS), and so does the next end, which Kafka
//! answers with PRODUCER_FENCED: a client whose first batch was refused has nothing to do but to abort.

use crate::{
    Coordinator, EPOCH_BUMP, EndTxn, Error, Late, Reply, State, Transaction, TransactionalId,
    coordinator::{Decided, changed, rotation},
};
use ::coordinator::{Now, Outcome};
use model::{ProducerEpoch, ProducerId};

impl Coordinator {
    pub(crate) fn end(&self, now: Now, request: EndTxn) -> Decided {
        let known = self.of(&request.producer)?;
        if request.version >= EPOCH_BUMP {
            end_with_bump(now, known, request)
        } else {
            end_without_bump(now, known, &request)
        }
    }

    pub(crate) fn abort_late(&self, now: Now, late: &Late, fresh_id: Option<ProducerId>) -> Decided {
        let Late { producer, started } = late;
        let known = self.of(producer)?;
        if known.producer_id != producer.producer_id || known.producer_epoch != producer.producer_epoch {
            return Err(Error::ProducerFenced);
        }
        match known.may_be_late(*started) {
            true => self.fence(now, &producer.id, known, fresh_id),
            false => Err(Error::InvalidTxnState),
        }
    }
}

fn end_without_bump(now: Now, known: &Transaction, request: &EndTxn) -> Decided {
    let EndTxn { producer, committed, .. } = request;
    if known.producer_id != producer.producer_id {
        return Err(Error::InvalidProducerIdMapping);
    }
    if known.producer_epoch != producer.producer_epoch {
        return Err(Error::ProducerFenced);
    }
    let reply = Reply::EndTxn { producer_id: -1, producer_epoch: -1 };
    match (known.state, committed) {
        (State::Ongoing, _) => Ok(changed(&producer.id, known.prepared(*committed, 0, -1, now.wall), reply)),
        (State::CompleteCommit, true) | (State::CompleteAbort, false) => Ok(Outcome::reply(reply)),
        (State::PrepareCommit, true) | (State::PrepareAbort, false) => Err(Error::ConcurrentTransactions),
        _ => Err(Error::InvalidTxnState),
    }
}

fn end_with_bump(now: Now, known: &Transaction, request: EndTxn) -> Decided {
    let EndTxn { producer, committed, version, fresh_id } = request;
    let epoch = producer.producer_epoch;
    // The epoch was raised by the request that this one repeats; so far that the producer id has changed.
    let is_after_rotation = known.previous_producer_id == producer.producer_id
        && epoch == ProducerEpoch::MAX - 1
        && known.producer_epoch == 0;
    if known.is_ahead(producer.producer_id, epoch) {
        return Err(Error::ConcurrentTransactions);
    }
    let is_after_bump = epoch.checked_add(1) == Some(known.producer_epoch);
    if known.producer_id != producer.producer_id && !is_after_rotation {
        return Err(Error::InvalidProducerIdMapping);
    }
    let is_current = epoch == known.producer_epoch;
    let is_valid = match known.state {
        State::Ongoing | State::Empty => is_current,
        // The producer that has the raised epoch is not fenced: it is one transaction ahead.
        State::PrepareCommit | State::PrepareAbort if is_current => {
            return Err(Error::ConcurrentTransactions);
        }
        State::PrepareCommit | State::PrepareAbort => is_after_bump,
        State::CompleteCommit | State::CompleteAbort => is_after_bump || is_after_rotation || is_current,
    };
    if !is_valid {
        return Err(Error::ProducerFenced);
    }
    let is_repeated = is_after_bump || is_after_rotation;
    match (known.state, committed) {
        (State::Ongoing, _) => prepare(now, &producer.id, known, (committed, version), fresh_id),
        (State::CompleteCommit, true) | (State::CompleteAbort, false) if is_repeated => {
            Ok(Outcome::reply(Reply::EndTxn {
                producer_id: known.producer_id,
                producer_epoch: known.producer_epoch,
            }))
        }
        (State::Empty, false) => prepare(now, &producer.id, known, (false, version), fresh_id),
        (State::CompleteCommit | State::CompleteAbort, false) if !is_repeated => {
            prepare(now, &producer.id, known, (false, version), fresh_id)
        }
        (State::PrepareCommit, true) | (State::PrepareAbort, false) => Err(Error::ConcurrentTransactions),
        _ => Err(Error::InvalidTxnState),
    }
}

fn prepare(
    now: Now,
    id: &TransactionalId,
    known: &Transaction,
    (committed, version): (bool, i16),
    fresh_id: Option<ProducerId>,
) -> Decided {
    let prepared = known.prepared(committed, version, rotation(known, fresh_id)?, now.wall);
    let next = prepared.completed(now.wall);
    let reply = Reply::EndTxn { producer_id: next.producer_id, producer_epoch: next.producer_epoch };
    Ok(changed(id, prepared, reply))
}

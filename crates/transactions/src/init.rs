//! InitProducerId: who takes over a transactional id, and under which epoch (KIP-98, KIP-360, KIP-588).
//!
//! What it finds open it has aborted first; the client comes again until that has ended.

use crate::{
    Coordinator, Error, InitProducerId, Reply, State, Transaction,
    coordinator::{Decided, changed, rotation},
    transaction::is_exhausted,
};
use ::coordinator::Now;
use model::{ProducerEpoch, ProducerId};

impl Coordinator {
    pub(crate) fn init(&self, now: Now, request: InitProducerId) -> Decided {
        let timeout_ms = self.timeout_ms(&request)?;
        let InitProducerId { id, expected, fresh_id, .. } = request;
        let Some(known) = self.transactions.get(&id) else {
            let created = Transaction::new(fresh_id.ok_or(Error::ProducerIdNeeded)?);
            let next = (created.producer_id, 0, -1);
            return Ok(initialised(&id, created.emptied(next, timeout_ms, now.wall)));
        };
        if expected.is_some_and(|expected| !may_go_on(known, expected)) {
            return Err(Error::ProducerFenced);
        }
        match known.state {
            State::PrepareCommit | State::PrepareAbort => Err(Error::ConcurrentTransactions),
            State::Ongoing => self.fence(now, &id, known, fresh_id),
            State::Empty | State::CompleteCommit | State::CompleteAbort => {
                let epoch = expected.map(|(_, epoch)| epoch);
                let next = next_epoch(known, epoch, fresh_id)?;
                Ok(initialised(&id, known.emptied(next, timeout_ms, now.wall)))
            }
        }
    }

    fn timeout_ms(&self, request: &InitProducerId) -> Result<i32, Error> {
        if request.id.is_empty() {
            return Err(Error::InvalidRequest);
        }
        if request.two_phase_commit && !self.config.two_phase_commit {
            return Err(Error::TransactionalIdAuthorizationFailed);
        }
        if request.keep_prepared {
            return Err(Error::UnsupportedVersion);
        }
        match request.two_phase_commit {
            true => Ok(i32::MAX),
            false if (1..=self.config.timeout_ms_max).contains(&request.timeout_ms) => Ok(request.timeout_ms),
            false => Err(Error::InvalidTransactionTimeout),
        }
    }

    /// Aborts what is open, under an epoch that its producer does not know.
    pub(crate) fn fence(
        &self,
        now: Now,
        id: &crate::TransactionalId,
        known: &Transaction,
        fresh_id: Option<ProducerId>,
    ) -> Decided {
        let version = self.config.version;
        let prepared = if version >= crate::EPOCH_BUMP {
            known.prepared(false, version, rotation(known, fresh_id)?, now.wall)
        } else {
            let fenced = Transaction {
                producer_epoch: known.producer_epoch.saturating_add(1),
                last_producer_epoch: -1,
                ..known.clone()
            };
            fenced.prepared(false, 0, -1, now.wall)
        };
        Ok(changed(id, prepared, Reply::Aborting))
    }
}

fn initialised(
    id: &crate::TransactionalId,
    transaction: Transaction,
) -> ::coordinator::Outcome<crate::Record, Reply> {
    let Transaction { producer_id, producer_epoch, .. } = transaction;
    changed(id, transaction, Reply::InitProducerId { producer_id, producer_epoch })
}

/// Whether a producer that had this id and epoch is the last one (its epoch is looked at later), or the one before whose
/// epochs were used up and who has not heard of its new id.
fn may_go_on(known: &Transaction, (producer_id, epoch): (ProducerId, ProducerEpoch)) -> bool {
    known.is_ahead(producer_id, epoch)
        || producer_id == known.producer_id
        || (producer_id == known.previous_producer_id && is_exhausted(epoch))
}

/// The id and epoch to go on with, and the one before that a retry may still name.
fn next_epoch(
    known: &Transaction,
    expected: Option<ProducerEpoch>,
    fresh_id: Option<ProducerId>,
) -> Result<(ProducerId, ProducerEpoch, ProducerEpoch), Error> {
    let current = known.producer_epoch;
    let last = if expected.is_some() { current } else { -1 };
    match expected {
        // It asks again for what it was given: nobody else has come between, or there were no epoch before.
        Some(epoch) if epoch != current && epoch == known.last_producer_epoch => {
            Ok((known.producer_id, current, epoch))
        }
        Some(epoch) if epoch != current => Err(Error::ProducerFenced),
        _ if known.is_epoch_exhausted() => Ok((fresh_id.ok_or(Error::ProducerIdNeeded)?, 0, last)),
        _ => Ok((known.producer_id, current.saturating_add(1), last)),
    }
}

//! The coordinator of one `__transaction_state` partition: requests in, records and a reply out.
//!
//! It leads each request to the file that decides on it. The broker's host is the only caller.

use crate::{
    Config, Error, Markers, Producer, Record, Reply, Request, Transaction, TransactionalId, transaction,
};
use ::coordinator::{Now, Outcome, Shard};
use std::collections::BTreeMap;

/// All transactional ids of one partition. See [`Shard`] for its life.
///
/// A request sees what was decided before it although that may not be committed: where Kafka sends clients away while a
/// change is being written (CONCURRENT_TRANSACTIONS), the reply waits instead.
#[derive(Debug, PartialEq)]
pub struct Coordinator {
    pub(crate) config: Config,
    pub(crate) transactions: BTreeMap<TransactionalId, Transaction>,
}

pub(crate) type Decided = Result<Outcome<Record, Reply>, Error>;

impl Coordinator {
    /// A coordinator that knows no transactional id.
    pub fn new(config: Config) -> Self {
        Self { config, transactions: BTreeMap::new() }
    }

    /// Changes the configuration from the next request on.
    pub fn configure(&mut self, config: Config) {
        self.config = config;
    }

    /// How many transactional ids there are.
    pub fn len(&self) -> usize {
        self.transactions.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.transactions.is_empty()
    }

    /// The markers of all transactions that are on their way to their end.
    pub fn prepared(&self) -> impl Iterator<Item = Markers> {
        self.transactions.iter().filter_map(|(id, transaction)| transaction.markers(id))
    }

    /// The transaction of a producer that may speak of it under its present id.
    pub(crate) fn of(&self, producer: &Producer) -> Result<&Transaction, Error> {
        if producer.id.is_empty() {
            return Err(Error::InvalidRequest);
        }
        self.transactions.get(&producer.id).ok_or(Error::InvalidProducerIdMapping)
    }

    fn complete(&self, now: Now, producer: &Producer) -> Decided {
        let known = self.of(producer)?;
        let is_same =
            (known.producer_id, known.producer_epoch) == (producer.producer_id, producer.producer_epoch);
        if !known.state.is_prepared() || !is_same {
            // It was completed before, or the id has moved on.
            return Ok(Outcome::reply(Reply::Complete));
        }
        Ok(changed(&producer.id, known.completed(now.wall), Reply::Complete))
    }
}

/// The outcome of a change.
pub(crate) fn changed(
    id: &TransactionalId,
    transaction: Transaction,
    reply: Reply,
) -> Outcome<Record, Reply> {
    Outcome::new(vec![Record::Changed { id: id.clone(), transaction }], reply)
}

/// A fresh producer id if one is needed, -1 otherwise.
pub(crate) fn rotation(known: &Transaction, fresh_id: Option<i64>) -> Result<i64, Error> {
    match transaction::is_exhausted(known.producer_epoch) {
        true => fresh_id.ok_or(Error::ProducerIdNeeded),
        false => Ok(-1),
    }
}

impl Shard for Coordinator {
    type Request = Request;
    type Reply = Reply;
    type Record = Record;
    type Failure = Error;

    fn handle(&self, now: Now, request: Request) -> Decided {
        match request {
            Request::InitProducerId(request) => self.init(now, request),
            Request::AddPartitions(request) => self.add(now, request),
            Request::VerifyPartitions(request) => self.verify(request),
            Request::EndTxn(request) => self.end(now, request),
            Request::AbortLate { late, fresh_id } => self.abort_late(now, &late, fresh_id),
            Request::Complete { producer } => self.complete(now, &producer),
            Request::Expire => Ok(self.expire(now)),
            Request::Describe { id } => self.describe(&id),
            Request::List(request) => Ok(Outcome::reply(Reply::List(self.list(now, &request)))),
        }
    }

    fn replay(&mut self, record: Record) {
        match record {
            Record::Changed { id, transaction } => {
                self.transactions.insert(id, transaction);
            }
            Record::Removed { id } => {
                self.transactions.remove(&id);
            }
        }
    }
}

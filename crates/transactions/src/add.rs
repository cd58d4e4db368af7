//! Which partitions belong to a transaction: they are added by clients (AddPartitionsToTxn, AddOffsetsToTxn) or by the
//! partitions' leaders, which else only ask (KIP-890).

use crate::{
    AddPartitions, Coordinator, Error, Producer, Reply, State, Transaction, VerifyPartitions,
    coordinator::{Decided, changed},
};
use ::coordinator::{Now, Outcome};

impl Coordinator {
    pub(crate) fn add(&self, now: Now, request: AddPartitions) -> Decided {
        let AddPartitions { producer, partitions, version } = request;
        let known = self.open_to(&producer)?;
        let is_in = known.state == State::Ongoing
            && partitions.iter().all(|partition| known.partitions.contains(partition));
        if is_in {
            return Ok(Outcome::reply(Reply::AddPartitions));
        }
        Ok(changed(&producer.id, known.with(partitions, version, now.wall), Reply::AddPartitions))
    }

    pub(crate) fn verify(&self, request: VerifyPartitions) -> Decided {
        let known = self.open_to(&request.producer)?;
        let verified = request.partitions.into_iter().map(|partition| {
            let is_in = known.partitions.contains(&partition);
            (partition, is_in)
        });
        Ok(Outcome::reply(Reply::VerifyPartitions(verified.collect())))
    }

    /// The transaction of a producer, if that may write in it.
    fn open_to(&self, producer: &Producer) -> Result<&Transaction, Error> {
        let known = self.of(producer)?;
        if known.is_ahead(producer.producer_id, producer.producer_epoch) {
            return Err(Error::ConcurrentTransactions);
        }
        if known.producer_id != producer.producer_id {
            return Err(Error::InvalidProducerIdMapping);
        }
        if known.producer_epoch != producer.producer_epoch {
            return Err(Error::ProducerFenced);
        }
        if known.state.is_prepared() {
            return Err(Error::ConcurrentTransactions);
        }
        Ok(known)
    }
}

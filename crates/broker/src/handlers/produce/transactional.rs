//! What of a produce request belongs to a transaction, and what is said where the transaction's coordinator refuses it.
//!
//! It asks nobody and appends nothing.

use super::{Failed, topic_of};
use crate::{
    Broker,
    context::Context,
    partition::Partition,
    txn_verification::{Operation, Txn},
};
use model::Sequence;
use records::BatchHeader;
use std::sync::Arc;
use stdx::Part;
use wire::{ErrorCode, ProduceRequest};

/// The transaction of a request and the partitions in which it writes, each with its first sequence number. Partitions that
/// are not here are left out: they are refused later.
pub(super) type Found = Option<(Txn, Vec<(Arc<Partition>, Sequence)>)>;

/// See [`Found`].
pub(super) fn find(broker: &Broker, context: &Context, request: &ProduceRequest) -> Result<Found, Failed> {
    let Some(id) = &request.transactional_id else { return Ok(None) };
    let mut producer = None;
    let mut partitions = Vec::new();
    for topic in &request.topic_data {
        let found = topic_of(broker, context, topic);
        for data in &topic.partition_data {
            let Some(Part::Memory(payload)) = data.records.as_ref().and_then(|records| records.iter().next())
            else {
                continue;
            };
            let header = BatchHeader::parse(payload)
                .filter(|header| header.attributes.is_transactional() && header.has_producer());
            let Some(header) = header else { continue };
            let of = (header.producer_id, header.producer_epoch);
            if producer.replace(of).is_some_and(|other| other != of) {
                let message = Some("the batches of one request are of more than one producer".into());
                return Err(Failed { message, ..ErrorCode::InvalidProducerIdMapping.into() });
            }
            if let Some(partition) = found.as_ref().and_then(|found| found.partition(data.index)) {
                partitions.push((partition, header.base_sequence));
            }
        }
    }
    Ok(producer.map(|(producer_id, producer_epoch)| {
        let operation = Operation::of_produce(context.version);
        (Txn { id: id.clone(), producer_id, producer_epoch, operation }, partitions)
    }))
}

/// What a producer is told: it knows what comes of partitions, and little of what comes of coordinators.
pub(super) fn refusal(version: i16, code: ErrorCode) -> Failed {
    let why = |text: &str| Some(text.to_owned());
    let (code, message) = match code {
        ErrorCode::InvalidTxnState => (code, why("the partition was not added to the transaction")),
        ErrorCode::ConcurrentTransactions if Operation::of_produce(version) == Operation::Add => (code, None),
        ErrorCode::NetworkException
        | ErrorCode::CoordinatorLoadInProgress
        | ErrorCode::CoordinatorNotAvailable
        | ErrorCode::NotCoordinator
        | ErrorCode::ConcurrentTransactions => {
            let text = format!(
                "the transaction's coordinator could not say whether the partition was added: {code:?}"
            );
            (ErrorCode::NotEnoughReplicas, Some(text))
        }
        code => (code, None),
    };
    Failed { message, ..code.into() }
}

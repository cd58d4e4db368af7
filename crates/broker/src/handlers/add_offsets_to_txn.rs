//! AddOffsetsToTxn (key 25): the partition of a group's offsets into a transaction (KIP-98). Clients of KIP-890 leave it to
//! TxnOffsetCommit.

use super::add_partitions_to_txn::add;
use crate::{Broker, context::Context, coordinators::partition_of, failure_code, group_hosts};
use model::{TopicName, TopicPartition};
use std::sync::Arc;
use transactions::Producer;
use wire::{AddOffsetsToTxnRequest, AddOffsetsToTxnResponse, ErrorCode};

/// Before this version clients do not know PRODUCER_FENCED.
const VERSION_WITH_FENCED: i16 = 2;

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    context: &Context,
    request: AddOffsetsToTxnRequest,
) -> AddOffsetsToTxnResponse {
    let answer = |code: i16| AddOffsetsToTxnResponse { error_code: code, ..Default::default() };
    let Some(partition) = partition_of_group(broker, &request.group_id) else {
        return answer(ErrorCode::CoordinatorNotAvailable.to_i16());
    };
    let producer = Producer {
        id: request.transactional_id.as_str().into(),
        producer_id: request.producer_id,
        producer_epoch: request.producer_epoch,
    };
    let is_old = context.version < VERSION_WITH_FENCED;
    match add(broker, producer, vec![partition], 0, is_old).await {
        Ok(_) => answer(failure_code::NONE),
        Err(code) => answer(code.to_i16()),
    }
}

/// The partition that holds a group's offsets; `None` before there is such a topic.
pub(crate) fn partition_of_group(broker: &Broker, group: &str) -> Option<TopicPartition> {
    let image = broker.image();
    let topic = image.topic(group_hosts::TOPIC)?;
    let index = partition_of(group, topic.partitions.len());
    Some(TopicPartition::new(TopicName::clone(&topic.name), index))
}

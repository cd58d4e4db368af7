//! DescribeProducers (key 61): the producers that partitions know, with their open transactions (KIP-664).

use super::{partition_here, unknown_topic_error};
use crate::{Broker, context::Context, failure_code};
use std::sync::Arc;
use wire::{
    DescribeProducersRequest, DescribeProducersResponse, ErrorCode,
    describe_producers_response::{PartitionResponse, ProducerState, TopicResponse},
};

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    _context: &Context,
    request: DescribeProducersRequest,
) -> DescribeProducersResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partition_indexes.iter().map(|index| {
            let producers = match broker.image().topic(&topic.name) {
                Some(_) => producers(broker, &topic.name, *index),
                None => Err(unknown_topic_error(&topic.name)),
            };
            let (error_code, error_message, active_producers) = match producers {
                Ok(producers) => (failure_code::NONE, None, producers),
                Err(error) => (error.to_i16(), Some(error.name().to_owned()), Vec::new()),
            };
            PartitionResponse { partition_index: *index, error_code, error_message, active_producers }
        });
        let partitions = partitions.collect();
        TopicResponse { name: topic.name, partitions }
    });
    DescribeProducersResponse { topics: topics.collect(), ..Default::default() }
}

fn producers(broker: &Broker, topic: &str, index: i32) -> Result<Vec<ProducerState>, ErrorCode> {
    let partition = partition_here(broker, topic, index)?;
    let producers = partition.producers().map_err(|refused| failure_code::of_partition(&refused))?;
    let each = producers.into_iter().map(|(producer_id, producer)| ProducerState {
        producer_id,
        producer_epoch: producer.epoch.into(),
        last_sequence: producer.last_sequence(),
        last_timestamp: producer.last_timestamp,
        coordinator_epoch: producer.coordinator_epoch,
        current_txn_start_offset: producer.txn_first_offset.unwrap_or(-1),
    });
    Ok(each.collect())
}

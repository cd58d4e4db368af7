//! OffsetForLeaderEpoch (key 23): where a leader epoch ends, for consumers and followers that look for a truncation
//! (KIP-101, KIP-320).

use crate::{Broker, context::Context, failure_code};
use std::sync::Arc;
use wire::{
    OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
    offset_for_leader_epoch_request::OffsetForLeaderPartition,
    offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult},
};

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    _context: &Context,
    request: OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let topics = request.topics.into_iter().map(|topic| OffsetForLeaderTopicResult {
        partitions: topic.partitions.iter().map(|asked| answer(broker, &topic.topic, asked)).collect(),
        topic: topic.topic,
    });
    OffsetForLeaderEpochResponse { topics: topics.collect(), ..Default::default() }
}

fn answer(broker: &Broker, topic: &str, asked: &OffsetForLeaderPartition) -> EpochEndOffset {
    let found = super::partition_here(broker, topic, asked.partition).and_then(|partition| {
        let found = partition.epoch_end(asked.current_leader_epoch, asked.leader_epoch);
        found.map_err(|refused| failure_code::of_partition(&refused))
    });
    let (error_code, (leader_epoch, end_offset)) = match found {
        Ok(found) => (failure_code::NONE, found.unwrap_or((-1, -1))),
        Err(error) => (error.to_i16(), (-1, -1)),
    };
    EpochEndOffset { error_code, partition: asked.partition, leader_epoch, end_offset }
}

//! ReadShareGroupState (key 84): a new leader of a partition reads what the share coordinator here knows of its records.

use crate::{Broker, context::Context};
use model::GroupId;
use share::{Key, Read, Reply, Request, StateBatch};
use std::sync::Arc;
use wire::{
    ErrorCode, ReadShareGroupStateRequest, ReadShareGroupStateResponse,
    read_share_group_state_response::{self as response, PartitionResult, ReadStateResult},
};

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    _context: &Context,
    request: ReadShareGroupStateRequest,
) -> ReadShareGroupStateResponse {
    let group = GroupId::new(&request.group_id);
    let mut results = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let asked = topic.partitions.into_iter().map(|one| {
            let key = Key { group: group.clone(), topic: topic.topic_id, partition: one.partition };
            (one.partition, Request::Read(Read { key, leader_epoch: one.leader_epoch }))
        });
        let told = super::ask_share_states(broker, asked.collect()).await;
        let partitions = told.into_iter().map(|(partition, told)| answer(partition, told)).collect();
        results.push(ReadStateResult { topic_id: topic.topic_id, partitions });
    }
    ReadShareGroupStateResponse { results }
}

fn answer(partition: i32, told: Result<Reply, ErrorCode>) -> PartitionResult {
    let error = match told {
        Ok(Reply::Read(reply)) => {
            let batch = |batch: StateBatch| response::StateBatch {
                first_offset: batch.first,
                last_offset: batch.last,
                delivery_state: batch.state,
                delivery_count: batch.count,
            };
            return PartitionResult {
                partition,
                state_epoch: reply.state_epoch,
                start_offset: reply.start,
                state_batches: reply.batches.into_iter().map(batch).collect(),
                ..PartitionResult::default()
            };
        }
        Ok(_) => ErrorCode::UnknownServerError,
        Err(error) => error,
    };
    let (error_code, error_message) = super::code_and_name(Some(error));
    PartitionResult { partition, error_code, error_message, ..PartitionResult::default() }
}

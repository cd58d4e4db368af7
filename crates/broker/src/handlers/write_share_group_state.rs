//! WriteShareGroupState (key 85): the leader of a partition tells the share coordinator here what became of records.

use crate::{Broker, context::Context};
use model::GroupId;
use share::{Key, Request, StateBatch, WriteState};
use std::sync::Arc;
use wire::{
    ErrorCode, WriteShareGroupStateRequest, WriteShareGroupStateResponse,
    write_share_group_state_request::PartitionData,
    write_share_group_state_response::{PartitionResult, WriteStateResult},
};

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    _context: &Context,
    request: WriteShareGroupStateRequest,
) -> WriteShareGroupStateResponse {
    let group = GroupId::new(&request.group_id);
    let mut results = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let asked = topic.partitions.into_iter().map(|one| {
            let key = Key { group: group.clone(), topic: topic.topic_id, partition: one.partition };
            (one.partition, to_write(key, one))
        });
        let (asked, refused): (Vec<_>, Vec<_>) = asked.partition(|(_, write)| is_in_order(&write.batches));
        let asked = asked.into_iter().map(|(partition, write)| (partition, Request::Write(write)));
        let told = super::ask_share_states(broker, asked.collect()).await;
        let refused = refused.into_iter().map(|(partition, _)| (partition, Err(ErrorCode::InvalidRequest)));
        let partitions = told.into_iter().chain(refused).map(|(partition, told)| {
            let (error_code, error_message) = super::code_and_name(told.err());
            PartitionResult { partition, error_code, error_message }
        });
        let partitions = partitions.collect();
        results.push(WriteStateResult { topic_id: topic.topic_id, partitions });
    }
    WriteShareGroupStateResponse { results }
}

/// Whether each batch lies behind the one before: laying others over each other takes long, and no broker sends such.
fn is_in_order(batches: &[StateBatch]) -> bool {
    batches.iter().zip(batches.iter().skip(1)).all(|(one, next)| one.last < next.first)
}

fn to_write(key: Key, data: PartitionData) -> WriteState {
    let batches = data.state_batches.into_iter().map(|batch| StateBatch {
        first: batch.first_offset,
        last: batch.last_offset,
        state: batch.delivery_state,
        count: batch.delivery_count,
    });
    WriteState {
        key,
        state_epoch: data.state_epoch,
        leader_epoch: data.leader_epoch,
        start: data.start_offset,
        complete_count: data.delivery_complete_count,
        batches: batches.collect(),
    }
}

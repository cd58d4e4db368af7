//! ReadShareGroupStateSummary (key 87): a group coordinator asks the share coordinator here where share partitions stand.

use crate::{Broker, context::Context};
use model::GroupId;
use share::{Key, Reply, Request};
use std::sync::Arc;
use wire::{
    ErrorCode, ReadShareGroupStateSummaryRequest, ReadShareGroupStateSummaryResponse,
    read_share_group_state_summary_response::{PartitionResult, ReadStateSummaryResult},
};

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    _context: &Context,
    request: ReadShareGroupStateSummaryRequest,
) -> ReadShareGroupStateSummaryResponse {
    let group = GroupId::new(&request.group_id);
    let mut results = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let asked = topic.partitions.into_iter().map(|one| {
            let key = Key { group: group.clone(), topic: topic.topic_id, partition: one.partition };
            (one.partition, Request::ReadSummary(key))
        });
        let told = super::ask_share_states(broker, asked.collect()).await;
        let partitions = told.into_iter().map(|(partition, told)| answer(partition, told)).collect();
        results.push(ReadStateSummaryResult { topic_id: topic.topic_id, partitions });
    }
    ReadShareGroupStateSummaryResponse { results }
}

fn answer(partition: i32, told: Result<Reply, ErrorCode>) -> PartitionResult {
    let error = match told {
        Ok(Reply::ReadSummary(summary)) => {
            return PartitionResult {
                partition,
                state_epoch: summary.state_epoch,
                leader_epoch: summary.leader_epoch,
                start_offset: summary.start,
                delivery_complete_count: summary.complete_count,
                ..PartitionResult::default()
            };
        }
        Ok(_) => ErrorCode::UnknownServerError,
        Err(error) => error,
    };
    let (error_code, error_message) = super::code_and_name(Some(error));
    PartitionResult { partition, error_code, error_message, ..PartitionResult::default() }
}

//! DeleteShareGroupState (key 86): a group coordinator lets the share coordinator here forget share partitions.

use crate::{Broker, context::Context};
use model::GroupId;
use share::{Key, Request};
use std::sync::Arc;
use wire::{
    DeleteShareGroupStateRequest, DeleteShareGroupStateResponse,
    delete_share_group_state_response::{DeleteStateResult, PartitionResult},
};

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    _context: &Context,
    request: DeleteShareGroupStateRequest,
) -> DeleteShareGroupStateResponse {
    let group = GroupId::new(&request.group_id);
    let mut results = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let asked = topic.partitions.into_iter().map(|one| {
            let key = Key { group: group.clone(), topic: topic.topic_id, partition: one.partition };
            (one.partition, Request::Delete(key))
        });
        let told = super::ask_share_states(broker, asked.collect()).await;
        let partitions = told.into_iter().map(|(partition, told)| {
            let (error_code, error_message) = super::code_and_name(told.err());
            PartitionResult { partition, error_code, error_message }
        });
        let partitions = partitions.collect();
        results.push(DeleteStateResult { topic_id: topic.topic_id, partitions });
    }
    DeleteShareGroupStateResponse { results }
}

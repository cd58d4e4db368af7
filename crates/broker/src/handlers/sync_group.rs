//! SyncGroup (key 14): the leader hands out the assignment, the others wait for theirs.

use crate::{Broker, context::Context, failure_code};
use groups::{Error, Reply, Request, SyncGroup};
use model::GroupId;
use std::sync::Arc;
use wire::{SyncGroupRequest, SyncGroupResponse};

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    context: &Context,
    request: SyncGroupRequest,
) -> SyncGroupResponse {
    if context.version >= 5 && (request.protocol_type.is_none() || request.protocol_name.is_none()) {
        return refusal(&Error::InconsistentGroupProtocol);
    }
    let group = GroupId::new(&request.group_id);
    let assignments = request.assignments.into_iter().map(|one| {
        // Copies, because the group outlives the request's frame.
        (one.member_id.as_str().into(), bytes::Bytes::copy_from_slice(&one.assignment))
    });
    let sync = SyncGroup {
        group: group.clone(),
        generation: request.generation_id,
        member_id: request.member_id.as_str().into(),
        instance_id: request.group_instance_id.as_deref().map(Into::into),
        protocol_type: request.protocol_type.as_deref().map(Into::into),
        protocol: request.protocol_name.as_deref().map(Into::into),
        assignments: assignments.collect(),
    };
    let error = match broker.groups.ask(&group, Request::SyncGroup(sync)).await {
        Ok(Reply::SyncGroup(synced)) => {
            return SyncGroupResponse {
                error_code: failure_code::NONE,
                protocol_type: synced.protocol_type.map(|text| text.to_string()),
                protocol_name: synced.protocol.map(|text| text.to_string()),
                assignment: synced.assignment,
                ..SyncGroupResponse::default()
            };
        }
        Ok(_) => Error::UnknownServerError,
        Err(error) => error,
    };
    refusal(&error)
}

fn refusal(error: &Error) -> SyncGroupResponse {
    SyncGroupResponse { error_code: failure_code::of_groups(error).to_i16(), ..SyncGroupResponse::default() }
}

//! Heartbeat (key 12): a member is alive; it hears whether the group rebalances.

use crate::{Broker, context::Context, failure_code};
use groups::{Heartbeat, Request};
use model::GroupId;
use std::sync::Arc;
use wire::{HeartbeatRequest, HeartbeatResponse};

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    _context: &Context,
    request: HeartbeatRequest,
) -> HeartbeatResponse {
    let group = GroupId::new(&request.group_id);
    let heartbeat = Heartbeat {
        group: group.clone(),
        generation: request.generation_id,
        member_id: request.member_id.as_str().into(),
        instance_id: request.group_instance_id.as_deref().map(Into::into),
    };
    let error_code = match broker.groups.ask(&group, Request::Heartbeat(heartbeat)).await {
        Ok(_) => failure_code::NONE,
        Err(error) => failure_code::of_groups(&error).to_i16(),
    };
    HeartbeatResponse { error_code, ..HeartbeatResponse::default() }
}

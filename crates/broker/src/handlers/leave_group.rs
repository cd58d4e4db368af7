//! LeaveGroup (key 13): members leave a group, several at once from version 3 on (KIP-345).

use crate::{Broker, context::Context, failure_code};
use groups::{Error, LeaveGroup, LeavingMember, Reply, Request};
use model::GroupId;
use std::sync::Arc;
use wire::{LeaveGroupRequest, LeaveGroupResponse, leave_group_response::MemberResponse};

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    context: &Context,
    request: LeaveGroupRequest,
) -> LeaveGroupResponse {
    let group = GroupId::new(&request.group_id);
    let members = if context.version < 3 {
        vec![LeavingMember { member_id: request.member_id.as_str().into(), instance_id: None, reason: None }]
    } else {
        let members = request.members.into_iter().map(|member| LeavingMember {
            member_id: member.member_id.as_str().into(),
            instance_id: member.group_instance_id.as_deref().map(Into::into),
            reason: member.reason,
        });
        members.collect()
    };
    let left = match broker
        .groups
        .ask(&group, Request::LeaveGroup(LeaveGroup { group: group.clone(), members }))
        .await
    {
        Ok(Reply::LeaveGroup(left)) => left,
        Ok(_) => return refusal(&Error::UnknownServerError),
        Err(error) => return refusal(&error),
    };
    if context.version < 3 {
        let error_code = failure_code::of_group_result(left.first().and_then(|left| left.error.as_ref()));
        return LeaveGroupResponse { error_code, ..LeaveGroupResponse::default() };
    }
    let members = left.into_iter().map(|left| MemberResponse {
        member_id: left.member_id.to_string(),
        group_instance_id: left.instance_id.map(|id| id.to_string()),
        error_code: failure_code::of_group_result(left.error.as_ref()),
    });
    LeaveGroupResponse { members: members.collect(), ..LeaveGroupResponse::default() }
}

fn refusal(error: &Error) -> LeaveGroupResponse {
    LeaveGroupResponse {
        error_code: failure_code::of_groups(error).to_i16(),
        ..LeaveGroupResponse::default()
    }
}

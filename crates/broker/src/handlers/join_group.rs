//! JoinGroup (key 11): a member enters a group or its next generation; waits until the group is complete.

use crate::{Broker, context::Context, failure_code};
use groups::{Error, JoinGroup, Joined, Protocol, Reply, Request};
use model::GroupId;
use std::sync::Arc;
use wire::{JoinGroupRequest, JoinGroupResponse, join_group_response::JoinGroupResponseMember};

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    context: &Context,
    request: JoinGroupRequest,
) -> JoinGroupResponse {
    let version = context.version;
    let group = GroupId::new(&request.group_id);
    let member_id = request.member_id.clone();
    let protocols = request.protocols.into_iter().map(|protocol| Protocol {
        name: protocol.name.as_str().into(),
        // A copy, because the group outlives the request's frame.
        metadata: bytes::Bytes::copy_from_slice(&protocol.metadata),
    });
    let join = JoinGroup {
        group: group.clone(),
        member_id: request.member_id.as_str().into(),
        instance_id: request.group_instance_id.as_deref().map(Into::into),
        client_id: context.client_id.as_deref().unwrap_or_default().into(),
        client_host: format!("/{}", context.address.ip()).as_str().into(),
        session_timeout_ms: request.session_timeout_ms,
        // Version 0 has one timeout for both.
        rebalance_timeout_ms: if version == 0 {
            request.session_timeout_ms
        } else {
            request.rebalance_timeout_ms
        },
        protocol_type: request.protocol_type.as_str().into(),
        protocols: protocols.collect(),
        reason: request.reason,
        require_known_member_id: version >= 4 && request.group_instance_id.is_none(),
        supports_skipping_assignment: version >= 9,
        fresh_id: broker.world.random.uuid(),
    };
    match broker.groups.ask(&group, Request::JoinGroup(join)).await {
        Ok(Reply::JoinGroup(joined)) => joined_response(joined, version),
        Err(error) => refusal(&error, member_id, version),
        Ok(_) => refusal(&Error::UnknownServerError, member_id, version),
    }
}

fn joined_response(joined: Joined, version: i16) -> JoinGroupResponse {
    let members = joined.members.into_iter().map(|member| JoinGroupResponseMember {
        member_id: member.member_id.to_string(),
        group_instance_id: member.instance_id.map(|id| id.to_string()),
        metadata: member.metadata,
    });
    JoinGroupResponse {
        error_code: failure_code::NONE,
        generation_id: joined.generation,
        protocol_type: joined.protocol_type.map(|text| text.to_string()),
        protocol_name: joined
            .protocol
            .map(|text| text.to_string())
            .or_else(|| (version < 7).then(String::new)),
        leader: joined.leader.to_string(),
        skip_assignment: joined.skip_assignment && version >= 9,
        member_id: joined.member_id.to_string(),
        members: members.collect(),
        ..JoinGroupResponse::default()
    }
}

fn refusal(error: &Error, member_id: String, version: i16) -> JoinGroupResponse {
    let member_id = match error {
        Error::MemberIdRequired(id) => id.to_string(),
        Error::GroupMaxSizeReached => String::new(),
        _ => member_id,
    };
    JoinGroupResponse {
        error_code: failure_code::of_groups(error).to_i16(),
        generation_id: -1,
        protocol_name: (version < 7).then(String::new),
        member_id,
        ..JoinGroupResponse::default()
    }
}

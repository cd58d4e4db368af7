//! DescribeGroups (key 15): state, members and assignments of classic groups.

use crate::{Broker, context::Context, failure_code};
use groups::{Described, Error, Reply, Request};
use model::GroupId;
use std::sync::Arc;
use wire::{
    DescribeGroupsRequest, DescribeGroupsResponse,
    describe_groups_response::{DescribedGroup, DescribedGroupMember},
};

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    context: &Context,
    request: DescribeGroupsRequest,
) -> DescribeGroupsResponse {
    let operations = if request.include_authorized_operations {
        super::GROUP_OPERATIONS
    } else {
        super::metadata::OPERATIONS_UNKNOWN
    };
    let mut groups = Vec::new();
    for name in super::distinct(request.groups) {
        let group = GroupId::new(&name);
        let order =
            Request::DescribeGroups { groups: vec![group.clone()], missing_is_error: context.version >= 6 };
        let error = match broker.groups.ask(&group, order).await {
            Ok(Reply::DescribeGroups(described)) => {
                groups.extend(described.into_iter().map(|group| answer(group, operations)));
                continue;
            }
            Ok(_) => Error::UnknownServerError,
            Err(error) => error,
        };
        groups.push(DescribedGroup {
            error_code: failure_code::of_groups(&error).to_i16(),
            error_message: failure_code::message(&error),
            group_id: name,
            ..DescribedGroup::default()
        });
    }
    if context.version < 6 {
        groups.iter_mut().for_each(|group| group.error_message = None);
    }
    DescribeGroupsResponse { groups, ..DescribeGroupsResponse::default() }
}

fn answer(group: Described, operations: i32) -> DescribedGroup {
    let is_described = group.error.is_none();
    let members = group.members.into_iter().map(|member| DescribedGroupMember {
        member_id: member.member_id.to_string(),
        group_instance_id: member.instance_id.map(|id| id.to_string()),
        client_id: member.client_id.to_string(),
        client_host: member.client_host.to_string(),
        member_metadata: member.metadata,
        member_assignment: member.assignment,
    });
    DescribedGroup {
        error_code: failure_code::of_group_result(group.error.as_ref()),
        error_message: group.error.and_then(|error| failure_code::message(&error)),
        group_id: group.group.to_string(),
        group_state: group.state.to_string(),
        protocol_type: group.protocol_type.to_string(),
        protocol_data: group.protocol.to_string(),
        members: members.collect(),
        authorized_operations: if is_described { operations } else { super::metadata::OPERATIONS_UNKNOWN },
    }
}

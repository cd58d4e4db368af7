//! ShareGroupDescribe (key 77): state, members and assignments of share groups (KIP-932).

use crate::{Broker, context::Context, failure_code};
use groups::{Error, NamedPartitions, Reply, Request, ShareDescribed, ShareDescribedMember};
use model::GroupId;
use std::sync::Arc;
use wire::{
    ErrorCode, ShareGroupDescribeRequest, ShareGroupDescribeResponse,
    share_group_describe_response::{Assignment, DescribedGroup, Member, TopicPartitions},
};

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    _context: &Context,
    request: ShareGroupDescribeRequest,
) -> ShareGroupDescribeResponse {
    let operations = match request.include_authorized_operations {
        true => super::GROUP_OPERATIONS,
        false => super::metadata::OPERATIONS_UNKNOWN,
    };
    let is_enabled = super::has_share_groups(broker);
    let mut groups = Vec::with_capacity(request.group_ids.len());
    for name in request.group_ids {
        if !is_enabled {
            groups.push(refusal(name, ErrorCode::UnsupportedVersion, None));
            continue;
        }
        let group = GroupId::new(&name);
        let order = Request::ShareDescribe { groups: vec![group.clone()] };
        let error = match broker.groups.ask(&group, order).await {
            Ok(Reply::ShareDescribe(described)) => {
                groups.extend(described.into_iter().map(|group| answer(group, operations)));
                continue;
            }
            Ok(_) => Error::UnknownServerError,
            Err(error) => error,
        };
        groups.push(refusal(name, failure_code::of_groups(&error), failure_code::message(&error)));
    }
    ShareGroupDescribeResponse { groups, ..ShareGroupDescribeResponse::default() }
}

fn refusal(group_id: String, error: ErrorCode, error_message: Option<String>) -> DescribedGroup {
    DescribedGroup {
        error_code: error.to_i16(),
        error_message,
        group_id,
        authorized_operations: super::metadata::OPERATIONS_UNKNOWN,
        ..DescribedGroup::default()
    }
}

fn answer(group: ShareDescribed, operations: i32) -> DescribedGroup {
    if let Some(error) = group.error {
        let code = failure_code::of_groups(&error);
        return refusal(group.group.to_string(), code, failure_code::message(&error));
    }
    DescribedGroup {
        group_id: group.group.to_string(),
        group_state: group.state.name().to_owned(),
        group_epoch: group.epoch,
        assignment_epoch: group.assignment_epoch,
        assignor_name: group.assignor.to_owned(),
        members: group.members.into_iter().map(member).collect(),
        authorized_operations: operations,
        ..DescribedGroup::default()
    }
}

fn member(member: ShareDescribedMember) -> Member {
    let said = member.subscription;
    Member {
        member_id: member.member_id.to_string(),
        rack_id: said.rack_id.map(|id| id.to_string()),
        member_epoch: member.epoch,
        client_id: said.client_id.to_string(),
        client_host: said.client_host.to_string(),
        subscribed_topic_names: said.topics.iter().map(|name| name.to_string()).collect(),
        assignment: assignment(member.assignment),
    }
}

fn assignment(topics: Vec<NamedPartitions>) -> Assignment {
    let topics = topics.into_iter().map(|topic| TopicPartitions {
        topic_id: topic.topic_id,
        topic_name: topic.name.to_string(),
        partitions: topic.partitions,
    });
    Assignment { topic_partitions: topics.collect() }
}

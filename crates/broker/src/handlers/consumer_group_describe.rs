//! ConsumerGroupDescribe (key 69): state, members and assignments of consumer groups (KIP-848).

use crate::{Broker, context::Context, failure_code};
use groups::{ConsumerDescribed, ConsumerDescribedMember, Error, NamedPartitions, Reply, Request};
use model::GroupId;
use std::sync::Arc;
use wire::{
    ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse,
    consumer_group_describe_response::{Assignment, DescribedGroup, Member, TopicPartitions},
};

/// Members that speak the classic protocol, and those that speak the consumer protocol (v1 on).
const MEMBER_CLASSIC: i8 = 0;
const MEMBER_CONSUMER: i8 = 1;

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    _context: &Context,
    request: ConsumerGroupDescribeRequest,
) -> ConsumerGroupDescribeResponse {
    let operations = match request.include_authorized_operations {
        true => super::GROUP_OPERATIONS,
        false => super::metadata::OPERATIONS_UNKNOWN,
    };
    let mut groups = Vec::new();
    for name in super::distinct(request.group_ids) {
        let group = GroupId::new(&name);
        let order = Request::ConsumerDescribe { groups: vec![group.clone()] };
        let error = match broker.groups.ask(&group, order).await {
            Ok(Reply::ConsumerDescribe(described)) => {
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
            authorized_operations: super::metadata::OPERATIONS_UNKNOWN,
            ..DescribedGroup::default()
        });
    }
    ConsumerGroupDescribeResponse { groups, ..ConsumerGroupDescribeResponse::default() }
}

fn answer(group: ConsumerDescribed, operations: i32) -> DescribedGroup {
    if let Some(error) = group.error {
        return DescribedGroup {
            error_code: failure_code::of_groups(&error).to_i16(),
            error_message: failure_code::message(&error),
            group_id: group.group.to_string(),
            authorized_operations: super::metadata::OPERATIONS_UNKNOWN,
            ..DescribedGroup::default()
        };
    }
    DescribedGroup {
        group_id: group.group.to_string(),
        group_state: group.state.name().to_owned(),
        group_epoch: group.epoch,
        assignment_epoch: group.assignment_epoch,
        assignor_name: group.assignor.to_string(),
        members: group.members.into_iter().map(member).collect(),
        authorized_operations: operations,
        ..DescribedGroup::default()
    }
}

fn member(member: ConsumerDescribedMember) -> Member {
    let said = member.subscription;
    Member {
        member_id: member.member_id.to_string(),
        instance_id: said.instance_id.map(|id| id.to_string()),
        rack_id: said.rack_id.map(|id| id.to_string()),
        member_epoch: member.epoch,
        client_id: said.client_id.to_string(),
        client_host: said.client_host.to_string(),
        subscribed_topic_names: said.topics.iter().map(|name| name.to_string()).collect(),
        subscribed_topic_regex: Some(said.pattern.map(|pattern| pattern.to_string()).unwrap_or_default()),
        assignment: assignment(member.assignment),
        target_assignment: assignment(member.target),
        member_type: if said.classic.is_some() { MEMBER_CLASSIC } else { MEMBER_CONSUMER },
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

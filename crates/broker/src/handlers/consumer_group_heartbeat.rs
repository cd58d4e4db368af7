//! ConsumerGroupHeartbeat (key 68): a member of a consumer group joins, stays or leaves, and hears what it may read
//! (KIP-848).

use crate::{Broker, context::Context, failure_code};
use groups::{ConsumerHeartbeat, Error, Partitions, Reply, Request};
use metadata::config::Resolved;
use model::GroupId;
use std::sync::Arc;
use wire::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
    consumer_group_heartbeat_response::{Assignment, TopicPartitions},
};

/// From here on members choose their ids themselves (KIP-1082).
const VERSION_WITH_OWN_IDS: i16 = 1;

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    context: &Context,
    request: ConsumerGroupHeartbeatRequest,
) -> ConsumerGroupHeartbeatResponse {
    let group = GroupId::new(&request.group_id);
    let image = broker.image();
    let configs = broker.config.configs(&image);
    let heartbeat = heartbeat(context, &configs.group(&group), request, broker.world.random.uuid());
    let error = match broker.groups.ask(&group, Request::ConsumerHeartbeat(heartbeat)).await {
        Ok(Reply::ConsumerHeartbeat(reply)) => {
            return ConsumerGroupHeartbeatResponse {
                member_id: reply.member_id.map(|id| id.to_string()),
                member_epoch: reply.epoch,
                heartbeat_interval_ms: reply.interval_ms,
                assignment: reply.assignment.map(assignment),
                ..ConsumerGroupHeartbeatResponse::default()
            };
        }
        Ok(_) => Error::UnknownServerError,
        Err(error) => error,
    };
    ConsumerGroupHeartbeatResponse {
        error_code: failure_code::of_groups(&error).to_i16(),
        error_message: failure_code::message(&error),
        ..ConsumerGroupHeartbeatResponse::default()
    }
}

fn heartbeat(
    context: &Context,
    config: &Resolved<'_>,
    request: ConsumerGroupHeartbeatRequest,
    fresh_id: stdx::Uuid,
) -> ConsumerHeartbeat {
    let text = |text: Option<String>| text.as_deref().map(Arc::from);
    let owned = request.topic_partitions.map(|topics| {
        let mut owned = Partitions::new();
        for topic in topics {
            owned.entry(topic.topic_id).or_default().extend(topic.partitions);
        }
        owned
    });
    let int = |name: &str| i32::try_from(config.integer(name)).unwrap_or(i32::MAX);
    ConsumerHeartbeat {
        group: GroupId::new(&request.group_id),
        member_id: request.member_id.as_str().into(),
        is_id_required: context.version >= VERSION_WITH_OWN_IDS,
        epoch: request.member_epoch,
        instance_id: text(request.instance_id),
        rack_id: text(request.rack_id),
        rebalance_timeout_ms: request.rebalance_timeout_ms,
        topics: request
            .subscribed_topic_names
            .map(|names| names.iter().map(|name| name.as_str().into()).collect()),
        pattern: text(request.subscribed_topic_regex),
        assignor: text(request.server_assignor),
        owned,
        client_id: context.client_id.as_deref().unwrap_or_default().into(),
        client_host: format!("/{}", context.address.ip()).as_str().into(),
        fresh_id,
        session_timeout_ms: int("consumer.session.timeout.ms"),
        interval_ms: int("consumer.heartbeat.interval.ms"),
    }
}

fn assignment(partitions: Partitions) -> Assignment {
    let topics = partitions
        .into_iter()
        .map(|(topic_id, indices)| TopicPartitions { topic_id, partitions: indices.into_iter().collect() });
    Assignment { topic_partitions: topics.collect() }
}

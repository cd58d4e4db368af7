//! ShareGroupHeartbeat (key 76): a member of a share group joins, stays or leaves, and hears what it may read (KIP-932).
//!
//! Partitions that nobody has read yet get their share state before the answer, and the member its assignment with it.

use crate::{Broker, context::Context, failure_code};
use groups::{Error, Partitions, Reply, Request, ShareHeartbeat, ShareHeartbeatReply};
use metadata::config::Resolved;
use model::GroupId;
use share::{Initialize, Key};
use std::sync::Arc;
use wire::{
    ErrorCode, ShareGroupHeartbeatRequest, ShareGroupHeartbeatResponse,
    share_group_heartbeat_response::{Assignment, TopicPartitions},
};

/// The longest id of a member.
const MEMBER_ID_CHARS_MAX: usize = 36;

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    context: &Context,
    request: ShareGroupHeartbeatRequest,
) -> ShareGroupHeartbeatResponse {
    if !super::has_share_groups(broker) {
        return refusal(ErrorCode::UnsupportedVersion, None);
    }
    if request.member_id.encode_utf16().count() > MEMBER_ID_CHARS_MAX {
        return refusal(ErrorCode::InvalidRequest, Some("Invalid member id in the request.".into()));
    }
    let group = GroupId::new(&request.group_id);
    let heartbeat = {
        let image = broker.image();
        let configs = broker.config.configs(&image);
        heartbeat(context, &configs.group(&group), request)
    };
    match beat(broker, heartbeat).await {
        Ok(reply) => ShareGroupHeartbeatResponse {
            member_id: Some(reply.member_id.to_string()),
            member_epoch: reply.epoch,
            heartbeat_interval_ms: reply.interval_ms,
            assignment: reply.assignment.map(assignment),
            ..ShareGroupHeartbeatResponse::default()
        },
        Err(error) => refusal(failure_code::of_groups(&error), failure_code::message(&error)),
    }
}

async fn beat(broker: &Arc<Broker>, heartbeat: ShareHeartbeat) -> Result<ShareHeartbeatReply, Error> {
    let first = ask(broker, heartbeat.clone()).await?;
    let Some((epoch, partitions)) = first.initialize.clone() else { return Ok(first) };
    if let Err(code) = initialize(broker, &heartbeat.group, epoch, partitions).await {
        // A later heartbeat tries again; a member that were told would end.
        tracing::info!(group = %heartbeat.group, ?code, "share states could not be initialised for now");
        return Ok(first);
    }
    // The member need not wait for its next heartbeat to get what can be read from now on.
    let again = ShareHeartbeat { epoch: first.epoch, topics: None, rack_id: None, ..heartbeat };
    let second = ask(broker, again).await?;
    Ok(ShareHeartbeatReply { assignment: second.assignment.or(first.assignment), ..second })
}

async fn ask(broker: &Arc<Broker>, heartbeat: ShareHeartbeat) -> Result<ShareHeartbeatReply, Error> {
    let group = heartbeat.group.clone();
    match broker.groups.ask(&group, Request::ShareHeartbeat(heartbeat)).await {
        Ok(Reply::ShareHeartbeat(reply)) => Ok(reply),
        Ok(_) => Err(Error::UnknownServerError),
        Err(error) => Err(error),
    }
}

/// Has share coordinators begin with partitions, and lets the group coordinator know which of them did.
async fn initialize(
    broker: &Arc<Broker>,
    group: &GroupId,
    state_epoch: i32,
    partitions: Partitions,
) -> Result<(), ErrorCode> {
    let keys =
        partitions.into_iter().flat_map(|(topic, all)| all.into_iter().map(move |index| (topic, index)));
    let keys: Vec<_> = keys.collect();
    let asked = keys.iter().map(|(topic, partition)| {
        let key = Key { group: group.clone(), topic: *topic, partition: *partition };
        share::Request::Initialize(Initialize { key, state_epoch, start: -1 })
    });
    let told = super::ask_share_states_anywhere(broker, asked.collect()).await;
    let failed = told.iter().find_map(|told| told.as_ref().err()).copied();
    for is_done in [true, false] {
        let mut partitions = Partitions::new();
        for ((topic, index), _) in keys.iter().zip(&told).filter(|(_, told)| told.is_ok() == is_done) {
            partitions.entry(*topic).or_default().insert(*index);
        }
        if !partitions.is_empty() {
            let order = Request::ShareInitialized { group: group.clone(), partitions, is_done };
            broker.groups.ask(group, order).await.map_err(|error| failure_code::of_groups(&error))?;
        }
    }
    failed.map_or(Ok(()), Err)
}

fn heartbeat(
    context: &Context,
    config: &Resolved<'_>,
    request: ShareGroupHeartbeatRequest,
) -> ShareHeartbeat {
    let int = |name: &str| i32::try_from(config.integer(name)).unwrap_or(i32::MAX);
    ShareHeartbeat {
        group: GroupId::new(&request.group_id),
        member_id: request.member_id.as_str().into(),
        epoch: request.member_epoch,
        rack_id: request.rack_id.as_deref().map(Arc::from),
        topics: request
            .subscribed_topic_names
            .map(|names| names.iter().map(|name| name.as_str().into()).collect()),
        client_id: context.client_id.as_deref().unwrap_or_default().into(),
        client_host: format!("/{}", context.address.ip()).as_str().into(),
        session_timeout_ms: int("share.session.timeout.ms"),
        interval_ms: int("share.heartbeat.interval.ms"),
        assignment_interval_ms: config.integer("share.assignment.interval.ms"),
    }
}

fn assignment(partitions: Partitions) -> Assignment {
    let topics = partitions
        .into_iter()
        .map(|(topic_id, indices)| TopicPartitions { topic_id, partitions: indices.into_iter().collect() });
    Assignment { topic_partitions: topics.collect() }
}

fn refusal(error: ErrorCode, error_message: Option<String>) -> ShareGroupHeartbeatResponse {
    let error_code = error.to_i16();
    ShareGroupHeartbeatResponse { error_code, error_message, ..ShareGroupHeartbeatResponse::default() }
}

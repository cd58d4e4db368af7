//! StreamsGroupHeartbeat (key 88): a member of a streams group joins, stays or leaves, and hears which tasks it is to work on
//! (KIP-1071).
//!
//! Topics of the application that are missing are created meanwhile.

use crate::{Broker, context::Context, failure_code, streams_topics};
use groups::{
    CopartitionGroup, Endpoint, Error, InternalTopic, Reply, Request, StreamsConfig, StreamsHeartbeat,
    StreamsHeartbeatReply, StreamsStatus, Subtopology, TaskOffset, TaskSet, Tasks, Topology,
};
use metadata::config::Resolved;
use model::{GroupId, TopicName};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use wire::{
    ErrorCode, StreamsGroupHeartbeatRequest, StreamsGroupHeartbeatResponse,
    streams_group_heartbeat_request as asked, streams_group_heartbeat_response as told,
};

/// From here on a member can be asked for the description of its topology (KIP-1331).
const VERSION_WITH_DESCRIPTIONS: i16 = 1;

/// Failures that a status names.
const FAILURES_TOLD_MAX: usize = 3;

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    context: &Context,
    request: StreamsGroupHeartbeatRequest,
) -> StreamsGroupHeartbeatResponse {
    if !super::has_streams_groups(broker) {
        return refusal(ErrorCode::UnsupportedVersion, None);
    }
    if let Some(why) = request.topology.as_ref().and_then(wrong_topics) {
        return refusal(ErrorCode::StreamsInvalidTopology, Some(why));
    }
    let group = GroupId::new(&request.group_id);
    let heartbeat = {
        let image = broker.image();
        let configs = broker.config.configs(&image);
        heartbeat(context, &configs.group(&group), request)
    };
    let heartbeat = match heartbeat {
        Ok(heartbeat) => heartbeat,
        Err(error) => return refusal(failure_code::of_groups(&error), failure_code::message(&error)),
    };
    let retry_ms = i64::from(heartbeat.config.interval_ms).saturating_mul(2);
    match broker.groups.ask(&group, Request::StreamsHeartbeat(Box::new(heartbeat))).await {
        Ok(Reply::StreamsHeartbeat(mut reply)) => {
            let missing = std::mem::take(&mut reply.create);
            let failures = streams_topics::create(broker, context, missing, retry_ms);
            tell_failures(&mut reply, &failures);
            answer(*reply)
        }
        Ok(_) => refusal(ErrorCode::UnknownServerError, None),
        Err(error) => refusal(failure_code::of_groups(&error), failure_code::message(&error)),
    }
}

/// Why a topology may not be used with the topics that it names.
fn wrong_topics(topology: &asked::Topology) -> Option<String> {
    let mut names = BTreeSet::new();
    for part in &topology.subtopologies {
        names.extend(part.source_topics.iter().chain(&part.repartition_sink_topics));
        let own = part.repartition_source_topics.iter().chain(&part.state_changelog_topics);
        names.extend(own.map(|topic| &topic.name));
    }
    let listed = |names: Vec<&String>| names.into_iter().map(String::as_str).collect::<Vec<_>>().join(",");
    let internal: Vec<_> = names.iter().copied().filter(|name| super::is_internal(name)).collect();
    if !internal.is_empty() {
        let names = listed(internal);
        return Some(format!(
            "Use of Kafka internal topics {names} in a Kafka Streams topology is prohibited."
        ));
    }
    let invalid: Vec<_> = names.iter().copied().filter(|name| TopicName::new(name).is_err()).collect();
    (!invalid.is_empty()).then(|| format!("Topic names {} are not valid topic names.", listed(invalid)))
}

/// Adds why topics could not be created to the status that says that they are missing.
fn tell_failures(reply: &mut StreamsHeartbeatReply, failures: &[streams_topics::Failure]) {
    let is_missing = |status: &&mut (StreamsStatus, String)| status.0 == StreamsStatus::MissingInternalTopics;
    let Some((_, detail)) = reply.statuses.iter_mut().find(is_missing).filter(|_| !failures.is_empty())
    else {
        return;
    };
    let told = failures.iter().take(FAILURES_TOLD_MAX);
    let told: Vec<String> = told.map(|(topic, error)| format!("{topic} ({})", error.name())).collect();
    let more = match failures.len().saturating_sub(FAILURES_TOLD_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    detail.push_str(&format!("; Creation failed: {}{more}.", told.join(", ")));
}

fn heartbeat(
    context: &Context,
    config: &Resolved<'_>,
    request: StreamsGroupHeartbeatRequest,
) -> Result<StreamsHeartbeat, Error> {
    let owned = match (request.active_tasks, request.standby_tasks, request.warmup_tasks) {
        (None, None, None) => None,
        (Some(active), Some(standby), Some(warmup)) => {
            Some(Tasks { active: tasks(active), standby: tasks(standby), warmup: tasks(warmup) })
        }
        _ => {
            let why = "If one task-type is non-null, all must be non-null.";
            return Err(Error::InvalidRequest(why.into()));
        }
    };
    let tags = |tags: Vec<asked::KeyValue>| -> BTreeMap<Arc<str>, Arc<str>> {
        tags.into_iter().map(|tag| (tag.key.into(), tag.value.into())).collect()
    };
    Ok(StreamsHeartbeat {
        group: GroupId::new(&request.group_id),
        member_id: request.member_id.into(),
        epoch: request.member_epoch,
        endpoint_epoch: request.endpoint_information_epoch,
        instance_id: request.instance_id.map(Into::into),
        rack_id: request.rack_id.map(Into::into),
        rebalance_timeout_ms: request.rebalance_timeout_ms,
        topology: request.topology.map(topology),
        owned,
        process_id: request.process_id.map(Into::into),
        user_endpoint: request
            .user_endpoint
            .map(|endpoint| Endpoint { host: endpoint.host.into(), port: endpoint.port }),
        client_tags: request.client_tags.map(tags),
        offsets: request.task_offsets.map(offsets),
        end_offsets: request.task_end_offsets.map(offsets),
        wants_shutdown: request.shutdown_application,
        speaks_of_descriptions: context.version >= VERSION_WITH_DESCRIPTIONS,
        client_id: context.client_id.as_deref().unwrap_or_default().into(),
        client_host: format!("/{}", context.address.ip()).as_str().into(),
        config: configured(config),
    })
}

fn configured(config: &Resolved<'_>) -> StreamsConfig {
    let int = |name: &str| i32::try_from(config.integer(name)).unwrap_or(i32::MAX);
    StreamsConfig {
        session_timeout_ms: int("streams.session.timeout.ms"),
        interval_ms: int("streams.heartbeat.interval.ms"),
        task_offset_interval_ms: int("streams.task.offset.interval.ms"),
        acceptable_recovery_lag: config.integer("streams.acceptable.recovery.lag"),
        assignment_interval_ms: config.integer("streams.assignment.interval.ms"),
        initial_rebalance_delay_ms: config.integer("streams.initial.rebalance.delay.ms"),
        standby_replicas: int("streams.num.standby.replicas"),
        rack_aware_tags: config
            .list("streams.rack.aware.assignment.tags")
            .into_iter()
            .map(Into::into)
            .collect(),
    }
}

fn topology(topology: asked::Topology) -> Topology {
    let names = |names: Vec<String>| -> Vec<Arc<str>> { names.into_iter().map(Into::into).collect() };
    let topic = |topic: asked::TopicInfo| InternalTopic {
        name: topic.name.into(),
        partitions: topic.partitions,
        replication_factor: topic.replication_factor,
        configs: topic.topic_configs.into_iter().map(|one| (one.key.into(), one.value.into())).collect(),
    };
    let group = |group: asked::CopartitionGroup| CopartitionGroup {
        source_topics: group.source_topics,
        source_topic_regex: group.source_topic_regex,
        repartition_source_topics: group.repartition_source_topics,
    };
    let part = |part: asked::Subtopology| Subtopology {
        id: part.subtopology_id.into(),
        source_topics: names(part.source_topics),
        source_topic_regex: names(part.source_topic_regex),
        state_changelog_topics: part.state_changelog_topics.into_iter().map(topic).collect(),
        repartition_sink_topics: names(part.repartition_sink_topics),
        repartition_source_topics: part.repartition_source_topics.into_iter().map(topic).collect(),
        copartition_groups: part.copartition_groups.into_iter().map(group).collect(),
    };
    Topology { epoch: topology.epoch, subtopologies: topology.subtopologies.into_iter().map(part).collect() }
}

fn tasks(tasks: Vec<asked::TaskIds>) -> TaskSet {
    let mut all = TaskSet::new();
    for task in tasks {
        all.entry(task.subtopology_id.into()).or_default().extend(task.partitions);
    }
    all
}

fn offsets(offsets: Vec<asked::TaskOffset>) -> Vec<TaskOffset> {
    let offset = |one: asked::TaskOffset| TaskOffset {
        subtopology: one.subtopology_id.into(),
        partition: one.partition,
        offset: one.offset,
    };
    offsets.into_iter().map(offset).collect()
}

fn answer(reply: StreamsHeartbeatReply) -> StreamsGroupHeartbeatResponse {
    let statuses = reply.statuses.into_iter();
    let statuses =
        statuses.map(|(status, detail)| told::Status { status_code: status.code(), status_detail: detail });
    let (active, standby, warmup) = match reply.assignment {
        Some(tasks) => (Some(tasks.active), Some(tasks.standby), Some(tasks.warmup)),
        None => (None, None, None),
    };
    let ids = |tasks: TaskSet| -> Vec<told::TaskIds> {
        let task = |(id, indices): (Arc<str>, BTreeSet<i32>)| told::TaskIds {
            subtopology_id: id.to_string(),
            partitions: indices.into_iter().collect(),
        };
        tasks.into_iter().map(task).collect()
    };
    let partitions = |topics: BTreeMap<Arc<str>, BTreeSet<i32>>| -> Vec<told::TopicPartition> {
        let topic = |(topic, indices): (Arc<str>, BTreeSet<i32>)| told::TopicPartition {
            topic: topic.to_string(),
            partitions: indices.into_iter().collect(),
        };
        topics.into_iter().map(topic).collect()
    };
    let endpoint = |one: groups::EndpointPartitions| told::EndpointToPartitions {
        user_endpoint: told::Endpoint { host: one.endpoint.host.to_string(), port: one.endpoint.port },
        active_partitions: partitions(one.active),
        standby_partitions: partitions(one.standby),
    };
    StreamsGroupHeartbeatResponse {
        member_id: reply.member_id.to_string(),
        member_epoch: reply.epoch,
        heartbeat_interval_ms: reply.interval_ms,
        task_offset_interval_ms: reply.task_offset_interval_ms,
        acceptable_recovery_lag: reply.acceptable_recovery_lag,
        status: Some(statuses.collect()),
        active_tasks: active.map(ids),
        standby_tasks: standby.map(ids),
        warmup_tasks: warmup.map(ids),
        topology_description_required: reply.wants_description,
        endpoint_information_epoch: reply.endpoint_epoch,
        partitions_by_user_endpoint: reply.endpoints.map(|all| all.iter().cloned().map(endpoint).collect()),
        ..StreamsGroupHeartbeatResponse::default()
    }
}

fn refusal(error: ErrorCode, error_message: Option<String>) -> StreamsGroupHeartbeatResponse {
    let error_code = error.to_i16();
    StreamsGroupHeartbeatResponse { error_code, error_message, ..StreamsGroupHeartbeatResponse::default() }
}

//! One file per API: a request of any version in, a response of that version out. Versions end here; below them are
//! cores and hosts that know none.

pub(crate) mod alter_configs;
mod alterations;
pub(crate) mod api_versions;
mod broker_loggers;
pub(crate) mod create_partitions;
pub(crate) mod create_topics;
pub(crate) mod delete_groups;
pub(crate) mod delete_records;
pub(crate) mod delete_topics;
pub(crate) mod describe_cluster;
pub(crate) mod describe_configs;
pub(crate) mod describe_groups;
pub(crate) mod describe_log_dirs;
pub(crate) mod describe_topic_partitions;
pub(crate) mod fetch;
pub(crate) mod find_coordinator;
pub(crate) mod heartbeat;
pub(crate) mod incremental_alter_configs;
pub(crate) mod init_producer_id;
pub(crate) mod join_group;
pub(crate) mod leave_group;
pub(crate) mod list_groups;
pub(crate) mod list_offsets;
pub(crate) mod metadata;
pub(crate) mod offset_commit;
pub(crate) mod offset_delete;
pub(crate) mod offset_fetch;
pub(crate) mod offset_for_leader_epoch;
pub(crate) mod produce;
pub(crate) mod sync_group;

use crate::{Broker, failure_code};
use ::metadata::{
    Error, NewTopic, Reply, Request,
    config::{Resource, ResourceKind},
};
use model::TopicName;
use std::sync::Arc;
use wire::ErrorCode;

/// Every operation that Kafka knows for a topic, as a bit set by the operation's number (KIP-430): read, write,
/// create, delete, alter, describe, describe configs, alter configs. Without an authorizer all are allowed.
pub(crate) const TOPIC_OPERATIONS: i32 =
    1 << 3 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 8 | 1 << 10 | 1 << 11;
/// The same for a group: read, delete, describe, describe configs, alter configs.
pub(crate) const GROUP_OPERATIONS: i32 = 1 << 3 | 1 << 6 | 1 << 8 | 1 << 10 | 1 << 11;
/// The same for the cluster: create, alter, describe, cluster action, describe configs, alter configs, idempotent
/// write.
pub(crate) const CLUSTER_OPERATIONS: i32 = 1 << 5 | 1 << 7 | 1 << 8 | 1 << 9 | 1 << 10 | 1 << 11 | 1 << 12;

/// Groups, partitions and the like of one request that are asked at the same time: each may have to wait for a disk or
/// for a coordinator that is being read.
pub(crate) const ASKED_AT_ONCE: usize = 64;

/// Whether the controller has no time at all for a request. Kafka's then answers REQUEST_TIMED_OUT for all of it, and does
/// nothing.
pub(crate) fn is_late(timeout_ms: i32) -> bool {
    timeout_ms <= 0
}

/// Those that are there once.
pub(crate) fn once<T: Ord>(all: impl Iterator<Item = T>) -> impl Iterator<Item = T> {
    let mut times = std::collections::BTreeMap::new();
    all.for_each(|one| *times.entry(one).or_insert(0usize) += 1);
    times.into_iter().filter(|(_, times)| *times == 1).map(|(one, _)| one)
}

/// What Metadata and its kin say of a partition.
pub(crate) fn partition_error(partition: &::metadata::Partition) -> i16 {
    let error = if partition.leader < 0 { ErrorCode::LeaderNotAvailable } else { ErrorCode::None };
    error.to_i16()
}

/// What Metadata and its kin say of a topic that does not exist.
pub(crate) fn unknown_topic_error(name: &str) -> ErrorCode {
    match TopicName::new(name) {
        Ok(_) => ErrorCode::UnknownTopicOrPartition,
        Err(_) => ErrorCode::InvalidTopicException,
    }
}

/// Whether a topic of this name is kept by the brokers themselves, if there is one.
pub(crate) fn is_internal(name: &str) -> bool {
    TopicName::new(name).is_ok_and(|name| name.is_internal())
}

/// Creates topics as the configuration says; gives those that could not be created.
pub(crate) async fn topics_of<'a>(broker: &Arc<Broker>, names: &[&'a str]) -> Vec<(&'a str, ErrorCode)> {
    let topics = names
        .iter()
        .map(|name| broker.config.topic_to_create(&broker.image(), name, broker.world.random.uuid()));
    let order = Request::CreateTopics {
        topics: topics.collect::<Vec<NewTopic>>(),
        validate_only: false,
        seed: broker.world.random.next_u64(),
    };
    match broker.controller.ask(order).await {
        Ok(Reply::CreateTopics(results)) => names
            .iter()
            .zip(results)
            .filter_map(|(name, (_, result))| Some((*name, failure_code::of_controller(&result.err()?))))
            .filter(|(_, error)| *error != ErrorCode::TopicAlreadyExists)
            .collect(),
        other => {
            let error = failure_code::of_controller(&controller_error(other));
            names.iter().map(|name| (*name, error)).collect()
        }
    }
}

/// The failure of a controller's answer that is not of the kind that was asked for.
pub(crate) fn controller_error(answer: Result<Reply, Error>) -> Error {
    match answer {
        Err(error) => error,
        Ok(_) => Error::UnknownServerError("the controller answered another question".into()),
    }
}

/// The same, if it may be changed here: a broker's configuration is changed at that broker, or for all.
pub(crate) fn alterable_resource(broker: &Broker, kind: i8, name: &str) -> Result<Resource, Error> {
    let resource = config_resource(kind, name)?;
    let is_other = !name.is_empty() && name != broker.config.node_id.to_string();
    if resource.kind == ResourceKind::Broker && is_other {
        let here = broker.config.node_id;
        return Err(Error::InvalidRequest(format!(
            "this is broker {here}, not '{name}'; ask that broker, or name none"
        )));
    }
    Ok(resource)
}

/// The resource that a number and a name of the configuration APIs mean.
pub(crate) fn config_resource(kind: i8, name: &str) -> Result<Resource, Error> {
    let kind = ResourceKind::from_number(kind).ok_or_else(|| {
        Error::InvalidRequest(format!(
            "there is no kind of resource {kind}; 2 is a topic, 4 a broker, 16 client metrics, 32 a group"
        ))
    })?;
    Ok(Resource::new(kind, name))
}

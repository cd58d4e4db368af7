//! One file per API: a request of any version in, a response of that version out. Versions end here; below them are
//! cores and hosts that know none.

pub(crate) mod add_offsets_to_txn;
pub(crate) mod add_partitions_to_txn;
pub(crate) mod add_raft_voter;
pub(crate) mod allocate_producer_ids;
pub(crate) mod alter_client_quotas;
pub(crate) mod alter_configs;
pub(crate) mod alter_partition;
pub(crate) mod alter_partition_reassignments;
pub(crate) mod alter_replica_log_dirs;
pub(crate) mod alter_share_group_offsets;
mod alterations;
pub(crate) mod api_versions;
pub(crate) mod assign_replicas_to_dirs;
pub(crate) mod broker_heartbeat;
mod broker_loggers;
pub(crate) mod broker_registration;
pub(crate) mod consumer_group_describe;
pub(crate) mod consumer_group_heartbeat;
pub(crate) mod controller_registration;
pub(crate) mod create_partitions;
pub(crate) mod create_topics;
pub(crate) mod delete_groups;
pub(crate) mod delete_records;
pub(crate) mod delete_share_group_offsets;
pub(crate) mod delete_share_group_state;
pub(crate) mod delete_topics;
pub(crate) mod describe_client_quotas;
pub(crate) mod describe_cluster;
pub(crate) mod describe_configs;
pub(crate) mod describe_groups;
pub(crate) mod describe_log_dirs;
pub(crate) mod describe_producers;
pub(crate) mod describe_quorum;
pub(crate) mod describe_share_group_offsets;
pub(crate) mod describe_topic_partitions;
pub(crate) mod describe_transactions;
pub(crate) mod elect_leaders;
pub(crate) mod end_txn;
pub(crate) mod envelope;
pub(crate) mod fetch;
pub(crate) mod fetch_metadata;
pub(crate) mod fetch_snapshot;
pub(crate) mod find_coordinator;
pub(crate) mod get_telemetry_subscriptions;
pub(crate) mod heartbeat;
pub(crate) mod incremental_alter_configs;
pub(crate) mod init_producer_id;
pub(crate) mod initialize_share_group_state;
pub(crate) mod join_group;
pub(crate) mod leave_group;
pub(crate) mod list_config_resources;
pub(crate) mod list_groups;
pub(crate) mod list_offsets;
pub(crate) mod list_partition_reassignments;
pub(crate) mod list_transactions;
pub(crate) mod metadata;
pub(crate) mod offset_commit;
pub(crate) mod offset_delete;
pub(crate) mod offset_fetch;
pub(crate) mod offset_for_leader_epoch;
pub(crate) mod produce;
pub(crate) mod push_telemetry;
pub(crate) mod read_share_group_state;
pub(crate) mod read_share_group_state_summary;
pub(crate) mod remove_raft_voter;
pub(crate) mod share_acknowledge;
mod share_acknowledgements;
pub(crate) mod share_fetch;
pub(crate) mod share_group_describe;
pub(crate) mod share_group_heartbeat;
pub(crate) mod streams_group_describe;
pub(crate) mod streams_group_heartbeat;
pub(crate) mod streams_group_topology_description_update;
pub(crate) mod sync_group;
pub(crate) mod txn_offset_commit;
pub(crate) mod unregister_broker;
pub(crate) mod unregister_controller;
pub(crate) mod update_features;
pub(crate) mod update_raft_voter;
pub(crate) mod write_share_group_state;
pub(crate) mod write_txn_markers;

use crate::{Broker, client_quotas, context::Context, failure_code, partition::Partition, share_states};
use ::metadata::{
    Error, Image, NewTopic, Permits, Reply, Request,
    config::{Resource, ResourceKind},
};
use env::BoxFuture;
use model::{LeaderEpoch, NodeId, PartitionIndex, TopicId, TopicName};
use quorum::{ChangeError, Member, Quorum, Replica};
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

/// Each once, in the order in which they come first. Kafka describes a group or transaction as often as a request names it,
/// so that a small request would have an answer of any size.
pub(crate) fn distinct(names: Vec<String>) -> impl Iterator<Item = String> {
    let mut seen = std::collections::BTreeSet::new();
    names.into_iter().filter(move |name| seen.insert(name.clone()))
}

/// What Metadata and its kin say of a partition.
pub(crate) fn partition_error(partition: &::metadata::Partition) -> i16 {
    let error = if partition.leader < 0 { ErrorCode::LeaderNotAvailable } else { ErrorCode::None };
    error.to_i16()
}

/// The replicas of a partition that cannot be reached by a listener: their broker is fenced, is not there, does not listen
/// so, or its log directory has failed.
pub(crate) fn offline_replicas(
    image: &Image,
    partition: &::metadata::Partition,
    listener: &str,
) -> Vec<NodeId> {
    let is_online = |id: &NodeId| {
        image.broker(*id).is_some_and(|known| {
            let directory = partition.directory(*id);
            !known.fenced
                && known.endpoint(listener).is_some()
                && directory.is_some_and(|directory| known.has_online(directory))
        })
    };
    partition.replicas.iter().copied().filter(|id| !is_online(id)).collect()
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

/// Creates topics as the configuration says; gives those that could not be created. The others are in the image. They count
/// for the quota of the client that has asked for them, if it was one.
pub(crate) async fn topics_of<'a>(
    broker: &Arc<Broker>,
    names: &[&'a str],
    asked_by: Option<&Context>,
) -> Vec<(&'a str, ErrorCode)> {
    let topics = names
        .iter()
        .map(|name| broker.config.topic_to_create(&broker.image(), name, broker.world.random.uuid()));
    let results = create_all(broker, topics.collect(), asked_by).await;
    let failed = names.iter().zip(results).filter_map(|(name, result)| Some((*name, result.err()?)));
    failed.filter(|(_, error)| *error != ErrorCode::TopicAlreadyExists).collect()
}

/// Creates a topic of the broker's own; once that is done it is in the image, or soon will be.
pub(crate) async fn create_topic(broker: &Arc<Broker>, topic: NewTopic) -> Result<(), ErrorCode> {
    let result = create_all(broker, vec![topic], None).await.pop();
    result.unwrap_or(Err(ErrorCode::UnknownServerError))
}

/// Creates topics; gives each one's failure. Those that could be created are in the image. They count for the quota of the client
/// that has asked for them, if it was one.
pub(crate) async fn create_all(
    broker: &Arc<Broker>,
    topics: Vec<NewTopic>,
    asked_by: Option<&Context>,
) -> Vec<Result<(), ErrorCode>> {
    match broker.is_decided_here() {
        true => create(broker, topics, asked_by).await,
        false => create_there(broker, topics, asked_by).await,
    }
}

async fn create(
    broker: &Arc<Broker>,
    topics: Vec<NewTopic>,
    asked_by: Option<&Context>,
) -> Vec<Result<(), ErrorCode>> {
    let (count, seed) = (topics.len(), broker.world.random.next_u64());
    let order = |permits| Request::CreateTopics { topics, validate_only: false, seed, permits };
    let answer = match asked_by {
        Some(context) => {
            // It did not ask to create them: the rest of what it sends is not held back.
            let context = Context { pace: Arc::default(), ..context.clone() };
            client_quotas::decide((broker, &context), true, order, create_topics::mutated).await
        }
        None => broker.controller.ask(order(Permits::Unbounded)).await,
    };
    match answer {
        Ok(Reply::CreateTopics(results)) => {
            let told = results.into_iter().map(|(_, result)| result);
            told.map(|result| result.map(drop).map_err(|error| failure_code::of_controller(&error))).collect()
        }
        other => vec![Err(failure_code::of_controller(&controller_error(other))); count],
    }
}

/// How long a broker waits until it knows a topic that was created for it.
const KNOWN_MS_MAX: i64 = 1000;

async fn create_there(
    broker: &Arc<Broker>,
    topics: Vec<NewTopic>,
    asked_by: Option<&Context>,
) -> Vec<Result<(), ErrorCode>> {
    let names: Vec<String> = topics.iter().map(|topic| topic.name.clone()).collect();
    let results = broker.create_topics_there(topics, asked_by).await;
    let there =
        |result: &Result<(), ErrorCode>| matches!(result, Ok(()) | Err(ErrorCode::TopicAlreadyExists));
    let created: Vec<_> = names.iter().zip(&results).filter(|(_, result)| there(result)).collect();
    let clock = &broker.world.clock;
    tokio::select! {
        biased;
        _ = broker.images.until(|image| created.iter().all(|(name, _)| image.topic(name).is_some())) => {}
        () = clock.sleep_until(clock.after_millis(KNOWN_MS_MAX)) => {}
    }
    results
}

/// The replica of a partition that is here; else whether the client asks the wrong broker, or for nothing that exists.
pub(crate) fn partition_here(
    broker: &Broker,
    topic: &str,
    index: PartitionIndex,
) -> Result<Arc<Partition>, ErrorCode> {
    broker.partitions.get(topic, index).ok_or_else(|| broker.absent(topic, index))
}

/// Who leads a partition, in which epoch, and where it listens (KIP-951).
pub(crate) struct Leader {
    pub(crate) node: NodeId,
    pub(crate) epoch: LeaderEpoch,
    pub(crate) endpoint: Option<(String, i32, Option<String>)>,
}

/// See [`Leader`]; the topic by its id, or by its name if that is zero.
pub(crate) fn leader_of(
    broker: &Broker,
    context: &Context,
    (id, name): (TopicId, &str),
    index: PartitionIndex,
) -> Option<Leader> {
    let image = broker.image();
    let topic = if id.is_zero() { image.topic(name) } else { image.topic_by_id(id) };
    let partition = topic?.partition(index)?;
    let node = image.broker(partition.leader).filter(|node| !node.fenced);
    let endpoint = node.and_then(|node| {
        let endpoint = node.endpoint(&context.listener)?;
        Some((endpoint.host.clone(), i32::from(endpoint.port), node.rack.clone()))
    });
    Some(Leader { node: partition.leader, epoch: partition.leader_epoch, endpoint })
}

/// Asks the share coordinators that are here; gives an answer for each partition, in their order.
pub(crate) async fn ask_share_states(
    broker: &Arc<Broker>,
    asked: Vec<(PartitionIndex, share::Request)>,
) -> Vec<(PartitionIndex, Result<share::Reply, ErrorCode>)> {
    let mut told = Vec::with_capacity(asked.len());
    let mut asked = asked.into_iter().peekable();
    while asked.peek().is_some() {
        let some = asked.by_ref().take(ASKED_AT_ONCE);
        let some =
            some.map(async |(partition, request)| (partition, share_states::answer(broker, request).await));
        told.extend(futures_util::future::join_all(some).await);
    }
    told
}

/// Asks share coordinators wherever they are; gives an answer for each request, in their order.
pub(crate) async fn ask_share_states_anywhere(
    broker: &Arc<Broker>,
    asked: Vec<share::Request>,
) -> Vec<Result<share::Reply, ErrorCode>> {
    let asked = asked.into_iter().map(|request| share_states::ask(broker, request));
    futures_util::future::join_all(asked).await
}

/// Whether the cluster has share groups (`share.version`).
pub(crate) fn has_share_groups(broker: &Broker) -> bool {
    broker.image().features().any(|(name, level)| name == "share.version" && level >= 1)
}

/// Whether the cluster has streams groups (`streams.version`).
pub(crate) fn has_streams_groups(broker: &Broker) -> bool {
    broker.image().features().any(|(name, level)| name == "streams.version" && level >= 1)
}

/// The code of an error and, unless there is none, its name.
pub(crate) fn code_and_name(error: Option<ErrorCode>) -> (i16, Option<String>) {
    match error {
        None => (failure_code::NONE, None),
        Some(error) => (error.to_i16(), Some(error.name().to_owned())),
    }
}

/// Carries a change of the voters out, within a time; the code and the text of what came of it. `member` is where the voter
/// shall listen, if that is a part of the change.
pub(crate) async fn change_voters(
    broker: &Arc<Broker>,
    cluster_id: Option<&str>,
    (voter, member): (Replica, Option<&Member>),
    change: BoxFuture<'_, Result<(), ChangeError>>,
    timeout_ms: i64,
) -> (i16, Option<String>) {
    let here = broker.home.meta().cluster_id;
    if let Some(id) = cluster_id.filter(|id| *id != here) {
        let error = Error::InconsistentClusterId(format!("This is cluster {here}, not {id}."));
        return failure_code::with_message(Err(error));
    }
    // Who does not lead says that first, as in Kafka.
    let leader = broker.quorum.leadership().borrow().leader;
    if leader != Some(broker.quorum.replica()) {
        return change_error(&ChangeError::NotLeader { leader });
    }
    if let Some(why) = invalid_voter(broker, voter, member) {
        return failure_code::with_message(Err(Error::InvalidRequest(why)));
    }
    let clock = &broker.world.clock;
    let changed = tokio::select! {
        biased;
        changed = change => changed,
        () = clock.sleep_until(clock.after_millis(timeout_ms)) => {
            let why = "the voters were not changed in time; the change may still happen";
            return (ErrorCode::RequestTimedOut.to_i16(), Some(why.into()));
        }
    };
    match changed {
        Ok(()) => (failure_code::NONE, None),
        Err(error) => change_error(&error),
    }
}

fn change_error(error: &ChangeError) -> (i16, Option<String>) {
    (failure_code::of_change(error).to_i16(), Some(error.to_string()))
}

/// Why that is no voter, or where it shall listen no place for one. The other voters would look for it in vain.
fn invalid_voter(broker: &Broker, voter: Replica, member: Option<&Member>) -> Option<String> {
    if voter.node < 0 || voter.directory.is_zero() {
        return Some(format!(
            "A voter has a node.id that is not negative and the directory.id of its metadata.log.dir, but this is {voter}."
        ));
    }
    let member = member?;
    let listener = broker.config.controller_endpoints.first().map(|own| &own.name);
    if let Some(name) = listener.filter(|name| !member.endpoints.iter().any(|one| one.name == **name)) {
        return Some(format!("The voters are reached at their listener {name}, which is not among these."));
    }
    let (min, max) = (member.version_min, member.version_max);
    (min < 0 || max < min).then(|| format!("No voter supports kraft.version {min} to {max}."))
}

/// The broker that clients take for the controller: the active one if it is a broker, else this one, which forwards.
pub(crate) fn controller_id(broker: &Broker) -> NodeId {
    let image = broker.image();
    let leader = broker.active_controller().map(|(node, _)| node);
    let leader = leader.filter(|node| image.broker(*node).is_some_and(|broker| broker.is_active()));
    leader.unwrap_or(broker.config.node_id)
}

/// The results of partitions, together for each topic in the order of the request.
pub(crate) fn by_topic<T>(
    results: Vec<(String, PartitionIndex, T)>,
) -> Vec<(String, Vec<(PartitionIndex, T)>)> {
    let mut topics: Vec<(String, Vec<(PartitionIndex, T)>)> = Vec::new();
    for (topic, index, result) in results {
        match topics.last_mut().filter(|(last, _)| *last == topic) {
            Some((_, partitions)) => partitions.push((index, result)),
            None => topics.push((topic, vec![(index, result)])),
        }
    }
    topics
}

/// Asks this node's controller for whoever has sent the request: a client of this node finds its broker in line with what
/// was decided, another node sees to itself.
pub(crate) async fn decide((broker, context): (&Broker, &Context), request: Request) -> Result<Reply, Error> {
    match is_for_controller(broker, context) {
        true => broker.controller.ask_for_another(request).await,
        false => broker.controller.ask(request).await,
    }
}

/// The failure of a controller's answer that is not of the kind that was asked for.
pub(crate) fn controller_error(answer: Result<Reply, Error>) -> Error {
    match answer {
        Err(error) => error,
        Ok(_) => Error::UnknownServerError("the controller answered another question".into()),
    }
}

/// The same, if it may be changed here: a broker's configuration is changed at that broker, which forwards it to the
/// active controller, or for all.
pub(crate) fn alterable_resource(
    broker: &Broker,
    context: &Context,
    kind: i8,
    name: &str,
) -> Result<Resource, Error> {
    let resource = config_resource(kind, name)?;
    let is_other = !name.is_empty() && name != broker.config.node_id.to_string();
    if resource.kind == ResourceKind::Broker && is_other && !is_for_controller(broker, context) {
        let here = broker.config.node_id;
        return Err(Error::InvalidRequest(format!(
            "this is broker {here}, not '{name}'; ask that broker, or name none"
        )));
    }
    Ok(resource)
}

/// Whether a client of this broker asks for what the controller of another node decides.
pub(crate) fn is_decided_elsewhere(broker: &Broker, context: &Context) -> bool {
    !broker.is_decided_here() && !is_for_controller(broker, context)
}

/// Whether the request came in by a listener of controllers: from them, or forwarded by a broker.
pub(crate) fn is_for_controller(broker: &Broker, context: &Context) -> bool {
    broker.config.controller_listeners.iter().any(|name| **name == *context.listener)
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

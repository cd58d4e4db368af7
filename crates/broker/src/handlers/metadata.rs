//! Metadata (key 3): brokers, topics, partitions and their leaders; creates missing topics when the configuration
//! and the request allow it (KIP-204, KIP-516).
//!
//! It decides nothing: the image does, and the controller creates.

use super::topics_of;
use crate::{Broker, context::Context, failure_code};
use metadata::{Image, Topic};
use model::NodeId;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use wire::{
    ErrorCode, MetadataRequest, MetadataResponse,
    metadata_response::{MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic},
};

/// "Not asked for", in place of a set of authorized operations.
pub(crate) const OPERATIONS_UNKNOWN: i32 = i32::MIN;

/// How often it is looked whether a leader that has been lost is there again; that others lead is told by the image.
const SUCCESSION_LOOK_MS: i64 = 50;
/// No answer waits longer, however many leaders are lost one after the other.
const SUCCESSION_MS_MAX: i64 = 500;

/// From this version on topics may be asked for by their ids.
const VERSION_WITH_TOPIC_IDS: i16 = 12;

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    context: &Context,
    request: MetadataRequest,
) -> MetadataResponse {
    if let Some(error) = misnamed(context, &request) {
        return refusal(request, error);
    }
    let wants_all = match &request.topics {
        None => true,
        Some(topics) => topics.is_empty() && context.version == 0,
    };
    await_successors(broker, &request, wants_all).await;
    let topics = if wants_all {
        let image = broker.image();
        image.topics().map(|topic| describe((&image, context), topic, &request)).collect()
    } else {
        named(broker, context, &request).await
    };
    let image = broker.image();
    let told = broker.images.told(&image, broker.world.clock.now());
    let brokers = told.filter_map(|registration| {
        let endpoint = registration.endpoint(&context.listener)?;
        Some(MetadataResponseBroker {
            node_id: registration.id,
            host: endpoint.host.clone(),
            port: i32::from(endpoint.port),
            rack: registration.rack.clone(),
        })
    });
    MetadataResponse {
        brokers: brokers.collect(),
        cluster_id: Some(image.cluster_id().to_owned()),
        controller_id: super::controller_id(broker),
        topics,
        cluster_authorized_operations: if request.include_cluster_authorized_operations {
            super::CLUSTER_OPERATIONS
        } else {
            OPERATIONS_UNKNOWN
        },
        ..MetadataResponse::default()
    }
}

/// Waits a moment where a leader may have died just now. Its clients have lost it at the same time and ask at once who leads;
/// who is told of the dead one tries that first, and asks again only when its own timers say so.
async fn await_successors(broker: &Broker, request: &MetadataRequest, wants_all: bool) {
    let clock = &broker.world.clock;
    let until = clock.after_millis(SUCCESSION_MS_MAX);
    let mut replayed = broker.images.replayed();
    loop {
        let now = clock.now();
        let doubted = broker.fetchers.doubted(now);
        if now >= until || doubted.is_empty() || !names_any(&broker.image(), (request, wants_all), &doubted) {
            return;
        }
        tokio::select! {
            biased;
            changed = replayed.changed() => if changed.is_err() { return },
            () = clock.sleep_until(clock.after_millis(SUCCESSION_LOOK_MS)) => {}
        }
    }
}

/// Whether the answer would name one of these brokers as a leader.
fn names_any(image: &Image, (request, wants_all): (&MetadataRequest, bool), nodes: &[NodeId]) -> bool {
    let is_led = |topic: &Topic| topic.partitions.iter().any(|partition| nodes.contains(&partition.leader));
    if wants_all {
        return image.topics().any(|topic| is_led(topic));
    }
    request.topics.iter().flatten().any(|asked| {
        let known = match &asked.name {
            Some(name) => image.topic(name),
            None => image.topic_by_id(asked.topic_id),
        };
        known.is_some_and(|topic| is_led(topic))
    })
}

/// What is wrong with the way in which topics are named, if anything: versions 10 and 11 have a field for topic ids, but
/// Kafka takes names only; later it stumbles over a topic that has neither, unless another has an id.
fn misnamed(context: &Context, request: &MetadataRequest) -> Option<ErrorCode> {
    let mut topics = request.topics.iter().flatten();
    if context.version < VERSION_WITH_TOPIC_IDS {
        let is_named = topics.all(|topic| topic.name.is_some() && topic.topic_id.is_zero());
        return (!is_named).then_some(ErrorCode::InvalidRequest);
    }
    let is_nameless = topics.clone().any(|topic| topic.name.is_none());
    (is_nameless && topics.all(|topic| topic.topic_id.is_zero())).then_some(ErrorCode::UnknownServerError)
}

fn refusal(request: MetadataRequest, error: ErrorCode) -> MetadataResponse {
    let error_code = error.to_i16();
    let topics = request.topics.into_iter().flatten().map(|topic| MetadataResponseTopic {
        error_code,
        name: Some(topic.name.unwrap_or_default()),
        topic_id: topic.topic_id,
        ..MetadataResponseTopic::default()
    });
    MetadataResponse { topics: topics.collect(), error_code, ..MetadataResponse::default() }
}

async fn named(
    broker: &Arc<Broker>,
    context: &Context,
    request: &MetadataRequest,
) -> Vec<MetadataResponseTopic> {
    let asked = request.topics.as_deref().unwrap_or_default();
    let mut answers = Vec::with_capacity(asked.len());
    let (mut names, mut ids) = (BTreeSet::new(), BTreeSet::new());
    let image = broker.image();
    let by_id = asked.iter().any(|topic| !topic.topic_id.is_zero());
    for topic in asked {
        match (&topic.name, by_id) {
            (_, true) if topic.topic_id.is_zero() || !ids.insert(topic.topic_id) => {}
            (_, true) => match image.topic_by_id(topic.topic_id) {
                Some(topic) => answers.push(describe((&image, context), topic, request)),
                None => answers.push(MetadataResponseTopic {
                    error_code: ErrorCode::UnknownTopicId.to_i16(),
                    name: (context.version < VERSION_WITH_TOPIC_IDS).then(String::new),
                    topic_id: topic.topic_id,
                    ..MetadataResponseTopic::default()
                }),
            },
            (Some(name), false) => {
                names.insert(name.as_str());
            }
            (None, false) => {}
        }
    }
    let missing: Vec<&str> = names.iter().copied().filter(|name| image.topic(name).is_none()).collect();
    let create = request.allow_auto_topic_creation && broker.config.topics_created_automatically();
    let failed = if create && !missing.is_empty() {
        topics_of(broker, &missing, Some(context)).await
    } else {
        Vec::new()
    };
    let failed: BTreeMap<&str, ErrorCode> = failed.into_iter().collect();
    let image = broker.image();
    for name in names {
        answers.push(match image.topic(name) {
            Some(topic) => describe((&image, context), topic, request),
            None => unknown(name, request, failed.get(name).copied()),
        });
    }
    answers
}

fn unknown(name: &str, request: &MetadataRequest, failed: Option<ErrorCode>) -> MetadataResponseTopic {
    let error = match super::unknown_topic_error(name) {
        ErrorCode::UnknownTopicOrPartition => match failed {
            // Clients ask again for what is not there; the other error they do not expect here.
            None | Some(ErrorCode::ThrottlingQuotaExceeded) => ErrorCode::UnknownTopicOrPartition,
            Some(failed) => failed,
        },
        invalid => invalid,
    };
    MetadataResponseTopic {
        error_code: error.to_i16(),
        name: Some(name.to_owned()),
        is_internal: super::is_internal(name),
        topic_authorized_operations: operations(request),
        ..MetadataResponseTopic::default()
    }
}

fn describe(
    (image, context): (&Image, &Context),
    topic: &Topic,
    request: &MetadataRequest,
) -> MetadataResponseTopic {
    let partitions = topic.indexed().map(|(index, partition)| MetadataResponsePartition {
        error_code: super::partition_error(partition),
        partition_index: index,
        leader_id: partition.leader,
        leader_epoch: partition.leader_epoch,
        replica_nodes: partition.replicas.clone(),
        isr_nodes: partition.isr.clone(),
        offline_replicas: super::offline_replicas(image, partition, &context.listener),
    });
    MetadataResponseTopic {
        error_code: failure_code::NONE,
        name: Some(topic.name.to_string()),
        topic_id: topic.id,
        is_internal: topic.name.is_internal(),
        partitions: partitions.collect(),
        topic_authorized_operations: operations(request),
    }
}

fn operations(request: &MetadataRequest) -> i32 {
    if request.include_topic_authorized_operations { super::TOPIC_OPERATIONS } else { OPERATIONS_UNKNOWN }
}

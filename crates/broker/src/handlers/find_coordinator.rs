//! FindCoordinator (key 10): which broker coordinates a group, a transactional id or a share partition (KIP-699 for several
//! at once).

use super::topics_of;
use crate::{
    Broker, context::Context, coordinators::partition_of, failure_code, group_hosts, share_coordinators,
    transaction_hosts,
};
use std::sync::Arc;
use stdx::Uuid;
use wire::{
    ErrorCode, FindCoordinatorRequest, FindCoordinatorResponse, find_coordinator_response::Coordinator,
};

const KEY_TYPE_GROUP: i8 = 0;
const KEY_TYPE_TRANSACTION: i8 = 1;
const KEY_TYPE_SHARE: i8 = 2;

/// From this version on coordinators of share partitions are found (KIP-932).
const VERSION_WITH_SHARE: i16 = 6;

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    context: &Context,
    request: FindCoordinatorRequest,
) -> FindCoordinatorResponse {
    let keys = if context.version >= 4 { request.coordinator_keys } else { vec![request.key] };
    let mut coordinators = Vec::with_capacity(keys.len());
    for key in keys {
        let found = match request.key_type {
            KEY_TYPE_GROUP => of_key(broker, context, group_hosts::TOPIC, &key).await,
            KEY_TYPE_TRANSACTION => of_key(broker, context, transaction_hosts::TOPIC, &key).await,
            KEY_TYPE_SHARE if context.version < VERSION_WITH_SHARE || !is_share_key(&key) => Err((
                ErrorCode::InvalidRequest,
                "the key of a share partition is group:topicId:partition, from version 6 on".to_owned(),
            )),
            KEY_TYPE_SHARE => of_key(broker, context, share_coordinators::TOPIC, &key).await,
            _ => Err((
                ErrorCode::InvalidRequest,
                "only coordinators of groups (key type 0), of transactional ids (1) and of share partitions (2) can be found"
                    .to_owned(),
            )),
        };
        coordinators.push(answer(key, found));
    }
    if context.version >= 4 {
        return FindCoordinatorResponse { coordinators, ..FindCoordinatorResponse::default() };
    }
    let only = coordinators.pop().unwrap_or_default();
    FindCoordinatorResponse {
        error_code: only.error_code,
        // Kafka writes the name of success here.
        error_message: only.error_message.filter(|text| !text.is_empty()).or_else(|| Some("NONE".into())),
        node_id: only.node_id,
        host: only.host,
        port: only.port,
        ..FindCoordinatorResponse::default()
    }
}

/// Whether a key names a share partition: `group:topicId:partition`.
fn is_share_key(key: &str) -> bool {
    let mut parts = key.rsplitn(3, ':');
    let partition = parts.next().is_some_and(|index| index.parse::<i32>().is_ok_and(|index| index >= 0));
    let topic = parts.next().is_some_and(|id| Uuid::parse(id).is_some());
    partition && topic && parts.next().is_some_and(|group| !group.is_empty())
}

type Found = Result<(i32, String, i32), (ErrorCode, String)>;

/// Who leads the partition of an internal topic that keeps `key`.
async fn of_key(broker: &Arc<Broker>, context: &Context, topic: &'static str, key: &str) -> Found {
    let unavailable = |why: String| (ErrorCode::CoordinatorNotAvailable, why);
    if broker.image().topic(topic).is_none() {
        topics_of(broker, &[topic], None).await;
    }
    let image = broker.image();
    let found = image.topic(topic);
    let found =
        found.ok_or_else(|| unavailable(format!("{topic} could not be created; see the broker's log")))?;
    let index = partition_of(key, found.partitions.len());
    let leader = found.partition(index).map_or(-1, |partition| partition.leader);
    let node = image.broker(leader).filter(|node| !node.fenced);
    let node =
        node.ok_or_else(|| unavailable(format!("partition {index} of {topic} has no leader; try again")))?;
    let endpoint = node.endpoint(&context.listener);
    let endpoint =
        endpoint.ok_or_else(|| unavailable("the coordinator has no listener of this name".into()))?;
    Ok((leader, endpoint.host.clone(), i32::from(endpoint.port)))
}

fn answer(key: String, found: Found) -> Coordinator {
    match found {
        Ok((node_id, host, port)) => {
            let error_message = Some(String::new());
            Coordinator { key, node_id, host, port, error_code: failure_code::NONE, error_message }
        }
        Err((error, message)) => Coordinator {
            key,
            node_id: -1,
            host: String::new(),
            port: -1,
            error_code: error.to_i16(),
            error_message: Some(message),
        },
    }
}

//! FindCoordinator (key 10): which broker coordinates a group (KIP-699 for several at once).

use super::topics_of;
use crate::{Broker, context::Context, failure_code};
use std::sync::Arc;
use wire::{
    ErrorCode, FindCoordinatorRequest, FindCoordinatorResponse, find_coordinator_response::Coordinator,
};

const KEY_TYPE_GROUP: i8 = 0;

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    context: &Context,
    request: FindCoordinatorRequest,
) -> FindCoordinatorResponse {
    let keys = if context.version >= 4 { request.coordinator_keys } else { vec![request.key] };
    let mut coordinators = Vec::with_capacity(keys.len());
    for key in keys {
        let found = if request.key_type == KEY_TYPE_GROUP {
            of_group(broker, context, &key).await
        } else {
            Err((
                ErrorCode::InvalidRequest,
                "only coordinators of groups (key type 0) can be found".to_owned(),
            ))
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

type Found = Result<(i32, String, i32), (ErrorCode, String)>;

async fn of_group(broker: &Arc<Broker>, context: &Context, group: &str) -> Found {
    let unavailable = |why: &str| (ErrorCode::CoordinatorNotAvailable, why.to_owned());
    if broker.image().topic(crate::group_hosts::TOPIC).is_none() {
        topics_of(broker, &[crate::group_hosts::TOPIC]).await;
    }
    let image = broker.image();
    let topic = image.topic(crate::group_hosts::TOPIC);
    let topic =
        topic.ok_or_else(|| unavailable("the offsets topic could not be created; see the broker's log"))?;
    let index = crate::group_hosts::partition_of(group, topic.partitions.len());
    let leader = topic.partition(index).map_or(-1, |partition| partition.leader);
    let node = image.broker(leader).filter(|node| !node.fenced);
    let node =
        node.ok_or_else(|| unavailable("the partition of the offsets topic has no leader; try again"))?;
    let endpoint = node.endpoint(&context.listener);
    let endpoint = endpoint.ok_or_else(|| unavailable("the coordinator has no listener of this name"))?;
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

//! ShareAcknowledge (key 79): a member says what became of records, without asking for more (KIP-932).

use super::share_acknowledgements::{self as acknowledgements, Result, Said, Speaker, Stretch};
use crate::{Broker, context::Context, failure_code};
use share::{PartitionKey, SessionKey};
use std::sync::Arc;
use wire::{
    ErrorCode, ShareAcknowledgeRequest, ShareAcknowledgeResponse,
    share_acknowledge_request::AcknowledgeTopic,
    share_acknowledge_response::{NodeEndpoint, PartitionData, ShareAcknowledgeTopicResponse},
};

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    context: &Context,
    request: ShareAcknowledgeRequest,
) -> ShareAcknowledgeResponse {
    if !super::has_share_groups(broker) {
        return refusal(ErrorCode::UnsupportedVersion, None);
    }
    let named = (request.group_id.as_deref(), request.member_id.as_deref());
    let speaker = match acknowledgements::speaker(context, named, request.is_renew_ack) {
        Ok(speaker) => speaker,
        Err(why) => return refusal(ErrorCode::InvalidRequest, Some(why)),
    };
    let key = SessionKey { group: speaker.group.clone(), member: speaker.member.clone() };
    let is_last = match broker.shares.sessions.lock().acknowledge(&key, request.share_session_epoch) {
        Ok(is_last) => is_last,
        Err(failure) => return refusal(failure_code::of_share_session(failure), None),
    };
    let told = acknowledgements::take(broker, &speaker, said(request.topics)).await;
    if is_last {
        acknowledgements::end_session(broker, &speaker);
    }
    respond(broker, context, &speaker, told)
}

fn said(topics: Vec<AcknowledgeTopic>) -> Vec<Said> {
    let mut all = Vec::new();
    for topic in topics {
        for one in topic.partitions {
            let stretch = |batch: wire::share_acknowledge_request::AcknowledgementBatch| Stretch {
                first: batch.first_offset,
                last: batch.last_offset,
                types: batch.acknowledge_types,
            };
            let partition = PartitionKey { topic: topic.topic_id, partition: one.partition_index };
            let stretches = one.acknowledgement_batches.into_iter().map(stretch).collect();
            all.push(Said { partition, stretches });
        }
    }
    all
}

fn respond(
    broker: &Broker,
    context: &Context,
    speaker: &Speaker,
    told: Vec<(PartitionKey, Result)>,
) -> ShareAcknowledgeResponse {
    let mut endpoints: Vec<NodeEndpoint> = Vec::new();
    let mut responses = Vec::new();
    for (topic_id, partitions) in acknowledgements::by_topic(told) {
        let mut answers = Vec::with_capacity(partitions.len());
        for (partition_index, result) in partitions {
            let (error_code, error_message) = acknowledgements::code_and_name(result);
            let mut data =
                PartitionData { partition_index, error_code, error_message, ..PartitionData::default() };
            if acknowledgements::is_elsewhere(error_code)
                && let Some(leader) = super::leader_of(broker, context, (topic_id, ""), partition_index)
            {
                data.current_leader.leader_id = leader.node;
                data.current_leader.leader_epoch = leader.epoch;
                let is_told = endpoints.iter().any(|endpoint| endpoint.node_id == leader.node);
                if let Some((host, port, rack)) = leader.endpoint.filter(|_| !is_told) {
                    endpoints.push(NodeEndpoint { node_id: leader.node, host, port, rack });
                }
            }
            answers.push(data);
        }
        responses.push(ShareAcknowledgeTopicResponse { topic_id, partitions: answers });
    }
    ShareAcknowledgeResponse {
        acquisition_lock_timeout_ms: acknowledgements::lock_ms(broker, &speaker.group),
        responses,
        node_endpoints: endpoints,
        ..ShareAcknowledgeResponse::default()
    }
}

fn refusal(error: ErrorCode, why: Option<&str>) -> ShareAcknowledgeResponse {
    let (error_code, name) = super::code_and_name(Some(error));
    let error_message = why.map(str::to_owned).or(name);
    ShareAcknowledgeResponse { error_code, error_message, ..ShareAcknowledgeResponse::default() }
}

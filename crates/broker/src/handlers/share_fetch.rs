//! ShareFetch (key 78): a member gets records that are its own for a while, and says what became of those before (KIP-932).

use super::share_acknowledgements::{self as acknowledgements, Result, Said, Speaker, Stretch};
use crate::{
    Broker,
    context::Context,
    failure_code,
    partition::Isolation,
    share_fetch::{self, Asked, Outcome},
    share_partitions::SharePartitions,
};
use share::{Acquired, Mode, Opened, PartitionKey, SessionFailure, SessionKey};
use std::{collections::BTreeMap, sync::Arc};
use stdx::Parts;
use wire::{
    ErrorCode, ShareFetchRequest, ShareFetchResponse,
    share_fetch_request::{FetchTopic, ForgottenTopic},
    share_fetch_response::{AcquiredRecords, NodeEndpoint, PartitionData, ShareFetchableTopicResponse},
};

/// Never more records than asked for (KIP-1206); 0: whole batches.
const MODE_RECORD_LIMIT: i8 = 1;

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    context: &Context,
    request: ShareFetchRequest,
) -> ShareFetchResponse {
    if !super::has_share_groups(broker) {
        return refusal(ErrorCode::UnsupportedVersion, None);
    }
    let named = (request.group_id.as_deref(), request.member_id.as_deref());
    let speaker = match acknowledgements::speaker(context, named, request.is_renew_ack) {
        Ok(speaker) => speaker,
        Err(why) => return refusal(ErrorCode::InvalidRequest, Some(why.to_owned())),
    };
    if let Some(why) = check_renewal(context, &request) {
        return refusal(ErrorCode::InvalidRequest, Some(why));
    }
    let deadline = broker.world.clock.after_millis(i64::from(request.max_wait_ms));
    let opened = match open(broker, context, &speaker, &request) {
        Ok(opened) => opened,
        Err(failure) => {
            if failure == SessionFailure::ShareSessionLimitReached {
                // Or a client that finds no room would ask without end.
                broker.world.clock.sleep_until(deadline).await;
            }
            return refusal(failure_code::of_share_session(failure), None);
        }
    };
    let asked = asked(broker, &speaker, &request, deadline);
    let is_renewal = request.is_renew_ack && speaker.knows_renewal;
    let is_fetch = !is_renewal && !opened.is_last;
    let acknowledging = acknowledgements::take(broker, &speaker, said(request.topics));
    let fetching = async {
        match asked.records_max > 0 && asked.bytes_max > 0 && is_fetch && !opened.partitions.is_empty() {
            true => share_fetch::fetch(broker, &asked, &opened.partitions).await,
            false => Vec::new(),
        }
    };
    let (taken, outcomes) = futures_util::future::join(acknowledging, fetching).await;
    if opened.is_last {
        acknowledgements::end_session(broker, &speaker);
    }
    respond(broker, context, &speaker, (opened, outcomes), taken)
}

/// A request that prolongs locks cannot fetch as well.
fn check_renewal(context: &Context, request: &ShareFetchRequest) -> Option<String> {
    if !request.is_renew_ack || context.version < acknowledgements::VERSION_WITH_RENEWAL {
        return None;
    }
    let fields = [
        ("maxBytes", request.max_bytes),
        ("minBytes", request.min_bytes),
        ("maxRecords", request.max_records),
        ("maxWaitMs", request.max_wait_ms),
    ];
    let wrong: Vec<String> = fields
        .iter()
        .filter(|(_, value)| *value != 0)
        .map(|(name, _)| format!("{name} must be set to 0, "))
        .collect();
    (!wrong.is_empty()).then(|| format!("{}if isRenewAck is true.", wrong.concat()))
}

fn open(
    broker: &Arc<Broker>,
    context: &Context,
    speaker: &Speaker,
    request: &ShareFetchRequest,
) -> std::result::Result<Opened, SessionFailure> {
    let wanted = |topic: &FetchTopic| {
        let topic_id = topic.topic_id;
        let keys = topic.partitions.iter();
        keys.map(move |one| PartitionKey { topic: topic_id, partition: one.partition_index })
            .collect::<Vec<_>>()
    };
    let forgotten = |topic: &ForgottenTopic| {
        let topic_id = topic.topic_id;
        let keys = topic.partitions.iter();
        keys.map(move |index| PartitionKey { topic: topic_id, partition: *index }).collect::<Vec<_>>()
    };
    let has_acknowledgements = request
        .topics
        .iter()
        .flat_map(|topic| &topic.partitions)
        .any(|partition| !partition.acknowledgement_batches.is_empty());
    let wanted: Vec<PartitionKey> = request.topics.iter().flat_map(wanted).collect();
    let forgotten: Vec<PartitionKey> = request.forgotten_topics_data.iter().flat_map(forgotten).collect();
    let key = SessionKey { group: speaker.group.clone(), member: speaker.member.clone() };
    let of = (request.share_session_epoch, context.connection);
    SharePartitions::open_session(broker, &key, of, (&wanted, &forgotten), has_acknowledgements)
}

fn asked(broker: &Broker, speaker: &Speaker, request: &ShareFetchRequest, deadline: env::Deadline) -> Asked {
    let image = broker.image();
    let configs = broker.config.configs(&image);
    let isolation = match configs.group(&speaker.group).text("share.isolation.level").as_deref() {
        Some("read_committed") => Isolation::LastStable,
        _ => Isolation::HighWatermark,
    };
    let bytes_max = usize::try_from(request.max_bytes).unwrap_or(0).min(broker.config.fetch_bytes_max);
    let mode = match request.share_acquire_mode {
        MODE_RECORD_LIMIT => Mode::RecordLimit,
        _ => Mode::BatchOptimized,
    };
    Asked {
        group: speaker.group.clone(),
        member: speaker.member.clone(),
        isolation,
        mode,
        bytes_max,
        bytes_min: usize::try_from(request.min_bytes).unwrap_or(0).min(bytes_max),
        records_max: i64::from(request.max_records),
        batch_size: i64::from(request.batch_size),
        deadline,
    }
}

fn said(topics: Vec<FetchTopic>) -> Vec<Said> {
    let mut all = Vec::new();
    for topic in topics {
        for one in topic.partitions.into_iter().filter(|one| !one.acknowledgement_batches.is_empty()) {
            let stretch = |batch: wire::share_fetch_request::AcknowledgementBatch| Stretch {
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
    (opened, outcomes): (Opened, Vec<Outcome>),
    taken: Vec<(PartitionKey, Result)>,
) -> ShareFetchResponse {
    let session = SessionKey { group: speaker.group.clone(), member: speaker.member.clone() };
    let mut answers: Vec<(PartitionKey, PartitionData)> = Vec::new();
    {
        let mut sessions = broker.shares.sessions.lock();
        for (key, outcome) in opened.partitions.iter().zip(outcomes) {
            let has_records = outcome.as_ref().is_ok_and(|given| !given.acquired.is_empty());
            let must_be_told = sessions.tell(&session, *key, has_records, outcome.is_err());
            if must_be_told || opened.is_new {
                answers.push((*key, data(key.partition, outcome)));
            }
        }
    }
    let mut taken: BTreeMap<PartitionKey, Result> = taken.into_iter().collect();
    for (key, data) in &mut answers {
        let result = taken.remove(key).unwrap_or(Ok(()));
        (data.acknowledge_error_code, data.acknowledge_error_message) =
            acknowledgements::code_and_name(result);
    }
    for (key, result) in taken {
        let (acknowledge_error_code, acknowledge_error_message) = acknowledgements::code_and_name(result);
        let partition_index = key.partition;
        let data = PartitionData {
            partition_index,
            acknowledge_error_code,
            acknowledge_error_message,
            ..PartitionData::default()
        };
        answers.push((key, data));
    }
    let node_endpoints = tell_leaders(broker, context, &mut answers);
    let responses = acknowledgements::by_topic(answers).into_iter().map(|(topic_id, partitions)| {
        let partitions = partitions.into_iter().map(|(_, data)| data).collect();
        ShareFetchableTopicResponse { topic_id, partitions }
    });
    let response = ShareFetchResponse {
        acquisition_lock_timeout_ms: acknowledgements::lock_ms(broker, &speaker.group),
        responses: responses.collect(),
        node_endpoints,
        ..ShareFetchResponse::default()
    };
    let sent = response.responses.iter().flat_map(|topic| &topic.partitions);
    broker.metrics.bytes_out.add(sent.map(|data| data.records.len() as u64).sum());
    response
}

fn data(partition_index: i32, outcome: Outcome) -> PartitionData {
    match outcome {
        Ok(given) => {
            let acquired = |one: Acquired| AcquiredRecords {
                first_offset: one.first,
                last_offset: one.last,
                delivery_count: one.count,
            };
            PartitionData {
                partition_index,
                records: given.records,
                acquired_records: given.acquired.into_iter().map(acquired).collect(),
                ..PartitionData::default()
            }
        }
        Err(error) => {
            let (error_code, error_message) = super::code_and_name(Some(error));
            PartitionData {
                partition_index,
                error_code,
                error_message,
                records: Parts::new(),
                ..PartitionData::default()
            }
        }
    }
}

/// Says who leads partitions that another broker leads, and where those listen.
fn tell_leaders(
    broker: &Broker,
    context: &Context,
    answers: &mut [(PartitionKey, PartitionData)],
) -> Vec<NodeEndpoint> {
    let mut endpoints: Vec<NodeEndpoint> = Vec::new();
    for (key, data) in answers {
        let is_elsewhere = acknowledgements::is_elsewhere(data.error_code);
        let leader = super::leader_of(broker, context, (key.topic, ""), key.partition);
        let Some(leader) = leader.filter(|_| is_elsewhere) else { continue };
        data.current_leader.leader_id = leader.node;
        data.current_leader.leader_epoch = leader.epoch;
        let is_told = endpoints.iter().any(|endpoint| endpoint.node_id == leader.node);
        if let Some((host, port, rack)) = leader.endpoint.filter(|_| !is_told) {
            endpoints.push(NodeEndpoint { node_id: leader.node, host, port, rack });
        }
    }
    endpoints
}

fn refusal(error: ErrorCode, why: Option<String>) -> ShareFetchResponse {
    let (error_code, name) = super::code_and_name(Some(error));
    ShareFetchResponse { error_code, error_message: why.or(name), ..ShareFetchResponse::default() }
}

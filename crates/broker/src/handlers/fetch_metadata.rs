//! Fetch (key 1) on a controller's listener: the committed metadata log, for brokers and observers (KIP-595, KIP-630).
//!
//! Only the leader of the quorum answers with records; the others say who that is. What is not committed is not sent, so
//! that a follower never has to cut anything off.

use crate::{Broker, context::Context};
use bytes::Bytes;
use quorum::{Committed, Quorum, Replica};
use std::sync::Arc;
use stdx::{Parts, Uuid};
use wire::{
    ErrorCode, FetchRequest, FetchResponse,
    fetch_request::FetchPartition,
    fetch_response::{FetchableTopicResponse, NodeEndpoint, PartitionData},
};

/// From this version on the answer says who leads and names snapshots.
const VERSION_WITH_QUORUM: i16 = 12;
/// From this version on it says where the leader listens.
const VERSION_WITH_ENDPOINTS: i16 = 16;
const TOPIC: &str = "__cluster_metadata";
/// No answer has more.
const BYTES_MAX: usize = 8 << 20;

pub(crate) async fn handle(broker: &Arc<Broker>, context: &Context, request: FetchRequest) -> FetchResponse {
    let refuse = |error: ErrorCode| FetchResponse { error_code: error.to_i16(), ..FetchResponse::default() };
    if request.cluster_id.as_deref().is_some_and(|id| id != broker.home.meta().cluster_id) {
        return refuse(ErrorCode::InconsistentClusterId);
    }
    let [topic] = request.topics.as_slice() else { return refuse(ErrorCode::InvalidRequest) };
    let is_ours = topic.topic_id == Uuid::METADATA_TOPIC || topic.topic == TOPIC;
    let [wanted] = topic.partitions.as_slice() else { return refuse(ErrorCode::InvalidRequest) };
    if !is_ours || wanted.partition != 0 {
        return refuse(ErrorCode::InvalidRequest);
    }
    note_observer(broker, &request, wanted);
    let data = read(broker, context, wanted, i64::from(request.max_wait_ms)).await;
    let known = broker.active_controller().filter(|_| context.version >= VERSION_WITH_ENDPOINTS);
    let endpoint = known.map(|(node_id, address)| NodeEndpoint {
        node_id,
        host: address.host,
        port: i32::from(address.port),
        rack: None,
    });
    let response = FetchableTopicResponse {
        topic: TOPIC.to_owned(),
        topic_id: Uuid::METADATA_TOPIC,
        partitions: vec![data],
    };
    FetchResponse {
        responses: vec![response],
        node_endpoints: endpoint.into_iter().collect(),
        ..FetchResponse::default()
    }
}

/// Who fetches and has no vote is an observer.
fn note_observer(broker: &Broker, request: &FetchRequest, wanted: &FetchPartition) {
    // Up to version 14 the node stands in another place.
    let node = request.replica_state.replica_id.max(request.replica_id);
    let described = broker.quorum.describe();
    let is_voter = described.voters.iter().any(|voter| voter.replica.node == node);
    if node < 0 || is_voter || described.leadership.leader != Some(broker.quorum.replica()) {
        return;
    }
    let who = Replica { node, directory: wanted.replica_directory_id };
    let end = described.leadership.high_watermark;
    broker.observers.on_fetch(broker.now_ms(), who, wanted.fetch_offset, end);
}

async fn read(
    broker: &Arc<Broker>,
    context: &Context,
    wanted: &FetchPartition,
    wait_ms: i64,
) -> PartitionData {
    let mut leadership = broker.quorum.leadership();
    let clock = &broker.world.clock;
    let me = broker.quorum.replica();
    tokio::select! {
        biased;
        // Ends also when somebody else leads.
        _ = leadership.wait_for(|known| {
            known.leader != Some(me) || known.high_watermark > wanted.fetch_offset
        }) => {}
        () = clock.sleep_until(clock.after_millis(wait_ms)) => {}
    }
    let known = *leadership.borrow();
    let mut data = PartitionData {
        partition_index: 0,
        high_watermark: known.high_watermark,
        last_stable_offset: known.high_watermark,
        records: Some(Parts::new()),
        ..PartitionData::default()
    };
    let tells_quorum = context.version >= VERSION_WITH_QUORUM;
    if tells_quorum {
        data.current_leader.leader_id = known.leader.map_or(-1, |leader| leader.node);
        data.current_leader.leader_epoch = known.epoch;
    }
    if known.leader != Some(me) {
        data.error_code = ErrorCode::NotLeaderOrFollower.to_i16();
        return data;
    }
    let bytes_max = usize::try_from(wanted.partition_max_bytes).unwrap_or(0).min(BYTES_MAX);
    match broker.quorum.read(wanted.fetch_offset, bytes_max).await {
        Ok(Committed::Batches(batches)) => {
            let mut parts = Parts::new();
            batches.into_iter().for_each(|batch| parts.append(Bytes::into(batch.bytes)));
            data.records = Some(parts);
        }
        Ok(Committed::InSnapshot(_)) if !tells_quorum => {
            data.error_code = ErrorCode::OffsetOutOfRange.to_i16();
        }
        Ok(Committed::InSnapshot(id)) => {
            (data.snapshot_id.end_offset, data.snapshot_id.epoch) = (id.end_offset, id.epoch);
        }
        Err(error) => {
            tracing::error!(%error, offset = wanted.fetch_offset, "the metadata log could not be read");
            data.error_code = ErrorCode::KafkaStorageError.to_i16();
        }
    }
    data
}

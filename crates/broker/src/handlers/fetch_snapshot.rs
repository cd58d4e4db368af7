//! FetchSnapshot (key 59): parts of the newest snapshot of the metadata (KIP-630).

use crate::{Broker, context::Context};
use quorum::{Quorum, SnapshotId};
use std::sync::Arc;
use wire::{
    ErrorCode, FetchSnapshotRequest, FetchSnapshotResponse,
    fetch_snapshot_request::PartitionSnapshot as Wanted,
    fetch_snapshot_response::{PartitionSnapshot, TopicSnapshot},
};

const TOPIC: &str = "__cluster_metadata";
/// No answer has more.
const BYTES_MAX: usize = 8 << 20;

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    _context: &Context,
    request: FetchSnapshotRequest,
) -> FetchSnapshotResponse {
    if request.cluster_id.as_deref().is_some_and(|id| id != broker.home.meta().cluster_id) {
        let error_code = ErrorCode::InconsistentClusterId.to_i16();
        return FetchSnapshotResponse { error_code, ..FetchSnapshotResponse::default() };
    }
    let mut left = usize::try_from(request.max_bytes).unwrap_or(0).min(BYTES_MAX);
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for wanted in topic.partitions {
            let is_ours = topic.name == TOPIC && wanted.partition == 0;
            let answer = read(broker, &wanted, is_ours, left).await;
            // The limit is that of the whole answer, however often it names the one partition.
            left = left.saturating_sub(answer.unaligned_records.len());
            partitions.push(answer);
        }
        topics.push(TopicSnapshot { name: topic.name, partitions });
    }
    FetchSnapshotResponse { topics, ..FetchSnapshotResponse::default() }
}

async fn read(broker: &Arc<Broker>, wanted: &Wanted, is_ours: bool, bytes_max: usize) -> PartitionSnapshot {
    let known = *broker.quorum.leadership().borrow();
    let mut answer = PartitionSnapshot { index: wanted.partition, ..PartitionSnapshot::default() };
    answer.current_leader.leader_id = known.leader.map_or(-1, |leader| leader.node);
    answer.current_leader.leader_epoch = known.epoch;
    let id = SnapshotId { end_offset: wanted.snapshot_id.end_offset, epoch: wanted.snapshot_id.epoch };
    answer.snapshot_id.end_offset = id.end_offset;
    answer.snapshot_id.epoch = id.epoch;
    let refuse = |answer: PartitionSnapshot, error: ErrorCode| PartitionSnapshot {
        error_code: error.to_i16(),
        ..answer
    };
    if !is_ours {
        return refuse(answer, ErrorCode::UnknownTopicOrPartition);
    }
    if known.leader != Some(broker.quorum.replica()) {
        return refuse(answer, ErrorCode::NotLeaderOrFollower);
    }
    let Some(snapshot) = broker.quorum.snapshot().filter(|snapshot| snapshot.id() == id) else {
        return refuse(answer, ErrorCode::SnapshotNotFound);
    };
    let size = snapshot.size_bytes();
    let Some(position) = u64::try_from(wanted.position).ok().filter(|position| *position < size) else {
        return refuse(answer, ErrorCode::PositionOutOfRange);
    };
    match broker.on_lane(move || snapshot.read(position, bytes_max)).await {
        Some(Ok(bytes)) => PartitionSnapshot {
            size: i64::try_from(size).unwrap_or(i64::MAX),
            position: wanted.position,
            unaligned_records: bytes.into(),
            ..answer
        },
        Some(Err(_)) | None => refuse(answer, ErrorCode::KafkaStorageError),
    }
}

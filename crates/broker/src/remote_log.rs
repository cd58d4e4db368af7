//! The committed metadata log as a node without a vote reads it: by Kafka's Fetch and FetchSnapshot from the controllers.
//!
//! It keeps nothing but who leads; [`crate::follower`] replays what it brings. A node that has a vote reads its own log.

use crate::{
    failure_code,
    link::{Address, Links},
};
use bytes::{Bytes, BytesMut};
use model::{NodeId, Offset};
use parking_lot::Mutex;
use quorum::{Replica, SnapshotId};
use records::Batch;
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};
use stdx::Uuid;
use wire::{
    ErrorCode, FetchRequest, FetchSnapshotRequest,
    fetch_request::{FetchPartition, FetchTopic, ReplicaState},
    fetch_response::PartitionData,
    fetch_snapshot_request::{PartitionSnapshot, TopicSnapshot},
};

/// How long a controller may wait for something new.
const WAIT_MS: i32 = 500;
/// How long it may take beyond that.
const ANSWER_MS_MAX: i64 = 2000;
/// What is fetched at once.
const PART_BYTES: i32 = 1 << 20;
/// A snapshot is in memory while it is loaded.
const SNAPSHOT_BYTES_MAX: i64 = 1 << 30;

/// See the head of the file.
pub(crate) struct RemoteLog {
    me: Replica,
    links: Arc<Links>,
    listed: Vec<Address>,
    asked: AtomicUsize,
    leader: Mutex<Option<(NodeId, Address)>>,
}

/// What a fetch has brought.
pub(crate) enum Fetched {
    /// Committed batches, none if nothing is new, of a log that is committed up to there; `Offset::MAX` if nobody has said.
    Batches { batches: Vec<Batch>, end: Offset },
    /// Everything before an offset: batches of records.
    Snapshot(SnapshotId, Vec<Batch>),
}

impl RemoteLog {
    pub(crate) fn new(me: Replica, links: Arc<Links>, listed: Vec<Address>) -> Arc<Self> {
        Arc::new(Self { me, links, listed, asked: AtomicUsize::new(0), leader: Mutex::default() })
    }

    /// The active controller, as the last answer told it.
    pub(crate) fn leader(&self) -> Option<(NodeId, Address)> {
        self.leader.lock().clone()
    }

    /// What is committed from `from` on; waits a little if nothing is.
    pub(crate) async fn fetch(&self, from: Offset) -> io::Result<Fetched> {
        let to = match self.leader() {
            Some((_, address)) => address,
            None => {
                let next = self.asked.fetch_add(1, Ordering::Relaxed) % self.listed.len().max(1);
                self.listed.get(next).cloned().ok_or_else(|| io::Error::other("no controllers are listed"))?
            }
        };
        let fetched = self.fetch_from(&to, from).await;
        if fetched.is_err() {
            *self.leader.lock() = None;
        }
        fetched
    }

    async fn fetch_from(&self, to: &Address, from: Offset) -> io::Result<Fetched> {
        let partition = FetchPartition {
            fetch_offset: from,
            partition_max_bytes: PART_BYTES,
            replica_directory_id: self.me.directory,
            ..FetchPartition::default()
        };
        let topic =
            FetchTopic { topic_id: Uuid::METADATA_TOPIC, partitions: vec![partition], ..Default::default() };
        let request = FetchRequest {
            replica_state: ReplicaState { replica_id: self.me.node, replica_epoch: -1 },
            max_wait_ms: WAIT_MS,
            max_bytes: PART_BYTES,
            session_epoch: -1,
            topics: vec![topic],
            ..FetchRequest::default()
        };
        let answer = self.links.call(to, &request, i64::from(WAIT_MS) + ANSWER_MS_MAX).await?;
        let endpoint = answer.node_endpoints.into_iter().next();
        let data = answer.responses.into_iter().flat_map(|topic| topic.partitions).next();
        let data = data.ok_or_else(|| io::Error::other(format!("{to} answers {}", answer.error_code)))?;
        let leader = data.current_leader.leader_id;
        if let Some(endpoint) = endpoint.filter(|endpoint| endpoint.node_id == leader && leader >= 0) {
            let port = u16::try_from(endpoint.port).map_err(io::Error::other)?;
            *self.leader.lock() = Some((leader, Address { host: endpoint.host, port }));
        }
        match failure_code::from_code(data.error_code) {
            ErrorCode::None => self.read(to, data).await,
            // Its leader is asked next, if it has named one.
            ErrorCode::NotLeaderOrFollower if leader >= 0 && self.leader().is_some() => {
                Ok(Fetched::Batches { batches: Vec::new(), end: Offset::MAX })
            }
            error => Err(io::Error::other(format!("{to} answers {error:?}"))),
        }
    }

    async fn read(&self, to: &Address, data: PartitionData) -> io::Result<Fetched> {
        if data.snapshot_id.end_offset >= 0 {
            let id = SnapshotId { end_offset: data.snapshot_id.end_offset, epoch: data.snapshot_id.epoch };
            let batches = split(self.fetch_snapshot(to, id).await?)?;
            let records = batches.into_iter().filter(|batch| !batch.header.attributes.is_control());
            return Ok(Fetched::Snapshot(id, records.collect()));
        }
        let bytes = data.records.and_then(|records| records.to_bytes()).unwrap_or_default();
        let mut batches = split(bytes)?;
        // A controller of Apache Kafka sends what is not committed, too.
        batches.retain(|batch| batch.header.next_offset() <= data.high_watermark);
        Ok(Fetched::Batches { batches, end: data.high_watermark })
    }

    async fn fetch_snapshot(&self, from: &Address, id: SnapshotId) -> io::Result<Bytes> {
        let mut whole = BytesMut::new();
        loop {
            let mut partition = PartitionSnapshot { position: whole.len() as i64, ..Default::default() };
            partition.current_leader_epoch = -1;
            partition.replica_directory_id = self.me.directory;
            (partition.snapshot_id.end_offset, partition.snapshot_id.epoch) = (id.end_offset, id.epoch);
            let topic = TopicSnapshot { name: "__cluster_metadata".into(), partitions: vec![partition] };
            let request = FetchSnapshotRequest {
                replica_id: self.me.node,
                max_bytes: PART_BYTES,
                topics: vec![topic],
                ..FetchSnapshotRequest::default()
            };
            let answer = self.links.call(from, &request, ANSWER_MS_MAX).await?;
            let part = answer.topics.into_iter().flat_map(|topic| topic.partitions).next();
            let part = part.filter(|part| part.error_code == failure_code::NONE);
            let part = part.ok_or_else(|| io::Error::other(format!("{from} does not send its snapshot")))?;
            let bytes = part.unaligned_records.to_bytes().unwrap_or_default();
            if bytes.is_empty() || part.size > SNAPSHOT_BYTES_MAX {
                return Err(io::Error::other(format!("{from} sends a snapshot that cannot be loaded")));
            }
            whole.extend_from_slice(&bytes);
            if whole.len() as i64 >= part.size {
                return Ok(whole.freeze());
            }
        }
    }
}

/// Whole batches, each intact; a last one that is cut off is left out.
fn split(mut bytes: Bytes) -> io::Result<Vec<Batch>> {
    let mut batches = Vec::new();
    while let Some(batch) = Batch::split_off(&mut bytes) {
        if !batch.is_intact() {
            let at = batch.header.base_offset;
            return Err(io::Error::other(format!("the metadata at offset {at} have come damaged")));
        }
        batches.push(batch);
    }
    Ok(batches)
}

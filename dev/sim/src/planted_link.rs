//! Bugs planted on the way between nodes: who asks the controller for something is told that it is done, and the controller
//! never hears of it. A leader that wants fewer replicas in sync seems to decide that alone; a broker whose replica is lost
//! keeps that to itself. Only runs that must fail use it.

use crate::world::Plant;
use bytes::{Bytes, BytesMut};
use env::{BoxFuture, Connection, Network};
use metadata::DIRECTORY_LOST;
use std::{io, net::SocketAddr, sync::Arc};
use stdx::Parts;
use wire::{
    AlterPartitionRequest, AlterPartitionResponse, ApiKey, AssignReplicasToDirsRequest,
    AssignReplicasToDirsResponse, Decoder, Message,
    alter_partition_request::PartitionData,
    alter_partition_response::{PartitionData as Granted, TopicData},
    frame, header,
};

/// A network that grants what only the controller may grant.
pub struct Liars(pub Arc<dyn Network>, pub Plant);

struct Liar {
    inner: Box<dyn Connection>,
    plant: Plant,
    lie: Bytes,
}

/// As many replicas as every partition has: a request for all of them is none for fewer.
const ALL: usize = 3;

impl Network for Liars {
    fn connect(&self, host: &str, port: u16) -> BoxFuture<'static, io::Result<Box<dyn Connection>>> {
        let (connecting, plant) = (self.0.connect(host, port), self.1);
        Box::pin(async move {
            let inner = connecting.await?;
            Ok(Box::new(Liar { inner, plant, lie: Bytes::new() }) as Box<dyn Connection>)
        })
    }
}

impl Connection for Liar {
    fn peer(&self) -> SocketAddr {
        self.inner.peer()
    }

    fn read<'a>(&'a mut self, buffer: &'a mut BytesMut) -> BoxFuture<'a, io::Result<usize>> {
        if self.lie.is_empty() {
            return self.inner.read(buffer);
        }
        let room = buffer.capacity() - buffer.len();
        let told = self.lie.split_to(room.min(self.lie.len()));
        buffer.extend_from_slice(&told);
        Box::pin(std::future::ready(Ok(told.len())))
    }

    fn write(&mut self, parts: Parts) -> BoxFuture<'_, io::Result<()>> {
        match parts.to_bytes().and_then(|frame| lie(&frame, self.plant)) {
            Some(lie) => {
                self.lie = lie;
                Box::pin(std::future::ready(Ok(())))
            }
            None => self.inner.write(parts),
        }
    }
}

/// The answer to a request that the plant keeps from the controller; `None` to any other.
fn lie(frame: &Bytes, plant: Plant) -> Option<Bytes> {
    let mut decoder = Decoder::with_default_budget(frame.slice(frame::PREFIX_BYTES.min(frame.len())..));
    let (key, head) = header::decode_request(&mut decoder).ok()?;
    let (version, correlation_id) = (head.request_api_version, head.correlation_id);
    match (key, plant) {
        (ApiKey::AlterPartition, Plant::IsrShrunkAlone) => {
            let answer = isr_granted(AlterPartitionRequest::decode(&mut decoder, version).ok()?)?;
            header::encode_response(correlation_id, key, version, &answer).ok()?.to_bytes()
        }
        (ApiKey::AssignReplicasToDirs, Plant::LossUntold) => {
            let request = AssignReplicasToDirsRequest::decode(&mut decoder, version).ok()?;
            let is_loss = request.directories.iter().any(|directory| directory.id == DIRECTORY_LOST);
            let answer = AssignReplicasToDirsResponse::default();
            let told = || header::encode_response(correlation_id, key, version, &answer).ok()?.to_bytes();
            is_loss.then(told).flatten()
        }
        _ => None,
    }
}

/// The answer to a request for fewer replicas in sync.
fn isr_granted(request: AlterPartitionRequest) -> Option<AlterPartitionResponse> {
    let is_fewer = |wanted: &PartitionData| isr(wanted).len() < ALL;
    if !request.topics.iter().flat_map(|topic| &topic.partitions).all(is_fewer) {
        return None;
    }
    let granted = |wanted: &PartitionData| Granted {
        partition_index: wanted.partition_index,
        leader_id: request.broker_id,
        leader_epoch: wanted.leader_epoch,
        isr: isr(wanted),
        partition_epoch: wanted.partition_epoch + 1,
        ..Default::default()
    };
    let topics = request.topics.iter().map(|topic| TopicData {
        topic_id: topic.topic_id,
        partitions: topic.partitions.iter().map(granted).collect(),
    });
    Some(AlterPartitionResponse { topics: topics.collect(), ..Default::default() })
}

fn isr(wanted: &PartitionData) -> Vec<i32> {
    let with_epochs = wanted.new_isr_with_epochs.iter().map(|one| one.broker_id);
    if wanted.new_isr.is_empty() { with_epochs.collect() } else { wanted.new_isr.clone() }
}

//! A client that sends what it is told at the version it is told, reads answers in order, and judges their framing.

use super::pipe::Wire;
use bytes::{Buf, Bytes, BytesMut};
use std::time::Duration;
use stdx::{Parts, Uuid};
use wire::{
    CreateTopicsRequest, Decoder, DeleteRecordsRequest, FetchRequest, Message, ProduceRequest, Request,
    create_topics_request::{CreatableTopic, CreatableTopicConfig},
    delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic},
    fetch_request::{FetchPartition, FetchTopic},
    fetch_response::PartitionData,
    header,
    produce_request::{PartitionProduceData, TopicProduceData},
    produce_response::PartitionProduceResponse,
};

/// A connection from the client's side.
pub(crate) struct Client {
    wire: Wire,
    buffer: BytesMut,
    sent: i32,
    received: i32,
    pub(crate) client_id: Option<&'static str>,
}

/// A topic that was created: requests name it by name or id as their version wants it.
#[derive(Debug, Clone)]
pub(crate) struct Topic {
    pub(crate) name: String,
    pub(crate) id: Uuid,
}

/// No answer takes so long; but virtual time is free.
const ANSWER_WITHIN: Duration = Duration::from_secs(500);

impl Client {
    pub(crate) fn new(wire: Wire) -> Self {
        Self { wire, buffer: BytesMut::new(), sent: 0, received: 0, client_id: Some("test-client") }
    }

    /// Sends a request and waits for its answer.
    pub(crate) async fn call<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        self.send(version, request).await;
        self.receive::<R>(version).await
    }

    /// Sends a request.
    pub(crate) async fn send<R: Request>(&mut self, version: i16, request: &R) {
        let frame = header::encode_request(self.sent, self.client_id, version, request).unwrap();
        self.sent += 1;
        self.send_bytes(frame.to_bytes().unwrap()).await;
    }

    /// Sends any bytes; whether the broker still listens is not its matter.
    pub(crate) async fn send_bytes(&mut self, bytes: Bytes) {
        if let Some(to_broker) = &self.wire.to_broker {
            let _ = to_broker.send(bytes).await;
        }
    }

    /// Pieces that were sent and that the broker has not begun to read.
    pub(crate) fn unread(&self) -> usize {
        self.wire.to_broker.as_ref().map_or(0, |to_broker| to_broker.max_capacity() - to_broker.capacity())
    }

    /// Takes note of a request that has no answer.
    pub(crate) fn expect_no_answer(&mut self) {
        self.received += 1;
    }

    /// Closes the client's side.
    pub(crate) fn finish(&mut self) {
        self.wire.to_broker = None;
    }

    /// Waits for the next answer, which must be the one to the oldest request.
    pub(crate) async fn receive<R: Request>(&mut self, version: i16) -> R::Response {
        let frame = self.frame().await.unwrap_or_else(|| panic!("{:?} v{version}: closed", R::KEY));
        let mut decoder = Decoder::with_default_budget(frame);
        let header = header::decode_response(&mut decoder, R::KEY, version).unwrap();
        assert_eq!(header.correlation_id, self.received, "{:?} v{version}: not in order", R::KEY);
        self.received += 1;
        let response = R::Response::decode(&mut decoder, version).unwrap();
        assert_eq!(decoder.remaining(), 0, "{:?} v{version}: bytes behind the answer", R::KEY);
        response
    }

    /// Waits for the next whole frame; `None` if the broker closes before.
    pub(crate) async fn frame(&mut self) -> Option<Bytes> {
        loop {
            if let Some(prefix) = self.buffer.first_chunk::<4>() {
                let len = u32::from_be_bytes(*prefix) as usize;
                if self.buffer.len() >= 4 + len {
                    self.buffer.advance(4);
                    return Some(self.buffer.split_to(len).freeze());
                }
            }
            let read = tokio::time::timeout(ANSWER_WITHIN, self.wire.from_broker.recv());
            match read.await.expect("an answer in time") {
                Some(bytes) => self.buffer.extend_from_slice(&bytes),
                None => {
                    assert!(self.buffer.is_empty(), "the broker closed inside a frame");
                    return None;
                }
            }
        }
    }

    /// Waits for the next piece of an answer and takes it; says how long it is.
    pub(crate) async fn take_piece(&mut self) -> usize {
        let piece = self.wire.from_broker.recv().await.expect("a piece");
        self.buffer.extend_from_slice(&piece);
        piece.len()
    }

    /// Whether an answer is already there, once all that can happen without time passing has happened.
    pub(crate) async fn has_answer(&mut self) -> bool {
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
        !self.wire.from_broker.is_empty()
    }

    /// The broker closes without another answer.
    pub(crate) async fn assert_closed(&mut self) {
        assert_eq!(self.frame().await, None, "the connection stays open");
    }

    /// Creates a topic.
    pub(crate) async fn create(&mut self, name: &str, partitions: i32, configs: &[(&str, &str)]) -> Topic {
        let configs = configs.iter().map(|(name, value)| CreatableTopicConfig {
            name: name.to_string(),
            value: Some(value.to_string()),
        });
        let topic = CreatableTopic {
            name: name.to_owned(),
            num_partitions: partitions,
            replication_factor: 1,
            configs: configs.collect(),
            ..Default::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic], ..Default::default() };
        let response = self.call(7, &request).await;
        assert_eq!(response.topics[0].error_code, 0, "{:?}", response.topics[0].error_message);
        Topic { name: name.to_owned(), id: response.topics[0].topic_id }
    }

    /// Produces one batch to partition 0 at the newest version.
    pub(crate) async fn produce(&mut self, topic: &Topic, batch: Bytes) -> PartitionProduceResponse {
        self.produce_at(13, topic, 0, batch).await
    }

    /// Produces one batch with acks=all.
    pub(crate) async fn produce_at(
        &mut self,
        version: i16,
        topic: &Topic,
        partition: i32,
        batch: Bytes,
    ) -> PartitionProduceResponse {
        let mut response = self.call(version, &produce(topic, partition, -1, batch)).await;
        response.responses.remove(0).partition_responses.remove(0)
    }

    /// Deletes the records of partition 0 before an offset.
    pub(crate) async fn delete_before(&mut self, topic: &Topic, offset: i64) {
        let partitions = vec![DeleteRecordsPartition { partition_index: 0, offset }];
        let topics = vec![DeleteRecordsTopic { name: topic.name.clone(), partitions }];
        let response = self.call(2, &DeleteRecordsRequest { topics, timeout_ms: 1000 }).await;
        assert_eq!(response.topics[0].partitions[0].error_code, 0);
    }

    /// Fetches all of partition 0 from an offset on at the newest version.
    pub(crate) async fn fetch(&mut self, topic: &Topic, offset: i64) -> PartitionData {
        self.fetch_at(18, topic, 0, offset).await
    }

    /// Fetches without a session and without waiting.
    pub(crate) async fn fetch_at(
        &mut self,
        version: i16,
        topic: &Topic,
        partition: i32,
        offset: i64,
    ) -> PartitionData {
        let mut response = self.call(version, &fetch(topic, partition, offset)).await;
        assert_eq!(response.error_code, 0);
        response.responses.remove(0).partitions.remove(0)
    }

    /// The values of partition 0, which must be at the offsets from 0 on.
    pub(crate) async fn read_all(&mut self, topic: &Topic) -> Vec<String> {
        let data = self.fetch(topic, 0).await;
        assert_eq!(data.error_code, 0);
        let values = super::values(bytes_of(&data));
        let offsets: Vec<_> = values.iter().map(|(offset, _)| *offset).collect();
        assert_eq!(offsets, (0..values.len() as i64).collect::<Vec<_>>());
        values.into_iter().map(|(_, value)| value).collect()
    }
}

/// The records of a fetched partition.
pub(crate) fn bytes_of(data: &PartitionData) -> Bytes {
    data.records.as_ref().map(|records| records.to_bytes().unwrap()).unwrap_or_default()
}

/// A request that produces one batch.
pub(crate) fn produce(topic: &Topic, index: i32, acks: i16, batch: Bytes) -> ProduceRequest {
    let data = PartitionProduceData { index, records: Some(Parts::from(batch)) };
    let topic = TopicProduceData { name: topic.name.clone(), topic_id: topic.id, partition_data: vec![data] };
    ProduceRequest { acks, timeout_ms: 1000, topic_data: vec![topic], ..Default::default() }
}

/// A request that fetches one partition, up to 1 MiB, without session or wait.
pub(crate) fn fetch(topic: &Topic, partition: i32, fetch_offset: i64) -> FetchRequest {
    FetchRequest {
        max_wait_ms: 0,
        min_bytes: 1,
        max_bytes: 1 << 20,
        session_epoch: -1,
        topics: vec![fetch_topic(topic, &[(partition, fetch_offset)])],
        ..Default::default()
    }
}

/// Partitions of one topic, with the offsets to fetch from.
pub(crate) fn fetch_topic(topic: &Topic, partitions: &[(i32, i64)]) -> FetchTopic {
    let partitions = partitions.iter().map(|(partition, fetch_offset)| FetchPartition {
        partition: *partition,
        fetch_offset: *fetch_offset,
        partition_max_bytes: 1 << 20,
        ..Default::default()
    });
    FetchTopic { topic: topic.name.clone(), topic_id: topic.id, partitions: partitions.collect() }
}

//! The cluster's logs: partitions that this node leads are read where they lie, all others with Kafka's client, which writes them all.
//!
//! One producer serves all sessions of the node, so that what many clients publish shares batches and syncs.

use crate::log::{Appending, Chunk, Failure, Log};
use bytes::Bytes;
use client::{
    At, Client, Config, Connect, Consumer, ConsumerConfig, Error, ErrorCode, Isolation, NewTopic, OutOfRange,
    OutRecord, Producer, ProducerConfig,
};
use env::{BoxFuture, World};
use gateway::{Address, Denied, From, Mailboxes, NewRecord, Token};
use model::{Offset, PartitionIndex, TopicName, TopicPartition};
use parking_lot::Mutex;
use std::{collections::BTreeMap, sync::Arc};

/// How long something that fails is tried again.
const RETRY_MS: i64 = 5_000;
/// How long a record waits for the others of its batch.
const LINGER_MS: i64 = 0;
/// How long an append may take.
const APPEND_MS: i64 = 30_000;
/// How often the ends of partitions are asked for that other nodes lead.
const REMOTE_POLL_MS: i64 = 100;

/// See the head of the file.
pub struct ClusterLog {
    world: World,
    mailboxes: Arc<dyn Mailboxes>,
    connect: Arc<dyn Connect>,
    /// A Kafka listener of this node.
    address: String,
    shared: Mutex<Option<Shared>>,
}

#[derive(Clone)]
struct Shared {
    client: Client,
    producer: Arc<Producer>,
}

impl ClusterLog {
    /// Nothing is opened yet. `address` is that of a Kafka listener of this node.
    pub fn new(
        world: World,
        mailboxes: Arc<dyn Mailboxes>,
        connect: Arc<dyn Connect>,
        address: String,
    ) -> Arc<Self> {
        Arc::new(Self { world, mailboxes, connect, address, shared: Mutex::new(None) })
    }

    async fn shared(&self) -> Result<Shared, Failure> {
        if let Some(shared) = &*self.shared.lock() {
            return Ok(shared.clone());
        }
        let config = Config {
            client_id: "odradek-mqtt".into(),
            retry_timeout_ms: RETRY_MS,
            ..Config::new(vec![self.address.clone()])
        };
        let client =
            Client::connect(self.world.clone(), self.connect.clone(), config).await.map_err(failure)?;
        let config =
            ProducerConfig { linger_ms: LINGER_MS, delivery_timeout_ms: APPEND_MS, ..ProducerConfig::new() };
        let producer = Arc::new(Producer::open(&client, config).await.map_err(failure)?);
        // Two that came at once: the first one stays.
        Ok(self.shared.lock().get_or_insert(Shared { client, producer }).clone())
    }

    /// Whether this node leads it.
    fn is_here(&self, at: &TopicPartition) -> bool {
        self.mailboxes.is_here(at)
    }
}

impl Log for Arc<ClusterLog> {
    fn partitions<'a>(&'a self, topic: &'a TopicName) -> BoxFuture<'a, Result<usize, Failure>> {
        Box::pin(async move {
            if let Some(shape) = self.mailboxes.shape(topic) {
                return Ok(shape.partitions);
            }
            let topic = self.shared().await?.client.topic(topic, false).await.map_err(failure)?;
            Ok(topic.partitions.len())
        })
    }

    fn append<'a>(
        &'a self,
        at: &'a TopicPartition,
        record: NewRecord,
    ) -> BoxFuture<'a, Result<Appending, Failure>> {
        Box::pin(async move {
            let record = OutRecord {
                topic: at.topic.to_string(),
                partition: Some(at.partition),
                timestamp: None,
                key: record.key,
                value: record.value,
                headers: record.headers,
            };
            let delivery = self.shared().await?.producer.send(record).await.map_err(failure)?;
            let appending = async move { delivery.wait().await.map(|at| at.offset).map_err(failure) };
            Ok(Box::pin(appending) as Appending)
        })
    }

    fn end(&self, at: TopicPartition) -> BoxFuture<'static, Result<Offset, Failure>> {
        let this = self.clone();
        Box::pin(async move {
            if this.is_here(&at) {
                let read = this.mailboxes.read_records(&at, From::End, 1).await;
                return read.map(|read| offset(read.next)).map_err(denied);
            }
            let client = this.shared().await?.client;
            client.topic(&at.topic, false).await.map_err(failure)?;
            let found = client.offsets_at(&BTreeMap::from([(at.clone(), At::End)]), true).await;
            let end = found.map_err(failure)?.get(&at).and_then(|end| end.offset);
            end.ok_or_else(|| Failure::Unavailable(format!("{at} does not say where it ends")))
        })
    }

    fn read(
        &self,
        at: TopicPartition,
        from: Offset,
        bytes_max: usize,
    ) -> BoxFuture<'static, Result<Chunk, Failure>> {
        let this = self.clone();
        Box::pin(async move {
            if !this.is_here(&at) {
                return this.read_elsewhere(at, from, bytes_max).await;
            }
            let begin = From::At(Token::new(0, from.max(0) as u64));
            let read = match this.mailboxes.read_records(&at, begin, bytes_max).await {
                Err(Denied::Gone(earliest)) => {
                    this.mailboxes.read_records(&at, From::At(earliest), bytes_max).await
                }
                read => read,
            };
            read.map(|read| Chunk { records: read.records, next: offset(read.next) }).map_err(denied)
        })
    }

    fn changed(&self, at: TopicPartition, seen: Offset) -> BoxFuture<'static, ()> {
        let this = self.clone();
        Box::pin(async move {
            if this.is_here(&at) {
                return this.mailboxes.records_changed(&at, Token::new(0, seen.max(0) as u64)).await;
            }
            let clock = &this.world.clock;
            clock.sleep_until(clock.after_millis(REMOTE_POLL_MS)).await;
        })
    }

    fn latest(&self, at: TopicPartition, key: Bytes) -> BoxFuture<'static, Result<Option<Offset>, Failure>> {
        let this = self.clone();
        Box::pin(async move {
            if !this.is_here(&at) {
                return Err(Failure::Unavailable("another node knows".into()));
            }
            let of = Address { topic: at.topic.clone(), key };
            let found = this.mailboxes.latest(&of).await.map_err(denied)?;
            Ok(found.map(|latest| offset(latest.at)))
        })
    }

    fn create_compacted<'a>(
        &'a self,
        topic: &'a TopicName,
        partitions: PartitionIndex,
    ) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            let client = self.shared().await?.client;
            match client.topic(topic, false).await {
                Ok(_) => return Ok(()),
                Err(error) if error.code() == Some(ErrorCode::UnknownTopicOrPartition) => {}
                Err(error) => return Err(failure(error)),
            }
            let nodes = client.cluster().brokers().count();
            let configs = [("cleanup.policy", "compact"), ("compression.type", "uncompressed")];
            let new = NewTopic {
                name: topic.to_string(),
                partitions: Some(partitions),
                replication_factor: Some(nodes.clamp(1, 3) as i16),
                configs: configs.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
            };
            match client.create_topic(&new, false).await {
                Ok(_) => {}
                Err(error) if error.code() == Some(ErrorCode::TopicAlreadyExists) => {}
                Err(error) => return Err(failure(error)),
            }
            client.topic_anew(topic, true).await.map(drop).map_err(failure)
        })
    }

    fn nodes<'a>(&'a self) -> BoxFuture<'a, Result<Vec<i32>, Failure>> {
        Box::pin(async move {
            let client = self.shared().await?.client;
            client.topics_anew().await.map_err(failure)?;
            Ok(client.cluster().brokers().map(|broker| broker.id).collect())
        })
    }
}

impl ClusterLog {
    async fn read_elsewhere(
        &self,
        at: TopicPartition,
        from: Offset,
        bytes_max: usize,
    ) -> Result<Chunk, Failure> {
        let client = self.shared().await?.client;
        client.topic(&at.topic, false).await.map_err(failure)?;
        let bytes = i32::try_from(bytes_max).unwrap_or(i32::MAX);
        let config = ConsumerConfig {
            isolation: Isolation::Committed,
            fetch_wait_ms: 0,
            fetch_bytes_max: bytes,
            partition_bytes_max: bytes,
            out_of_range: OutOfRange::Reset(At::Beginning),
            ..ConsumerConfig::new()
        };
        let mut consumer = Consumer::new(&client, config);
        consumer.assign(BTreeMap::from([(at, from)]));
        let mut chunk = Chunk { records: Vec::new(), next: from };
        for fetched in consumer.poll().await.map_err(failure)? {
            chunk.next = fetched.next_offset;
            chunk.records.extend(fetched.records);
        }
        Ok(chunk)
    }
}

/// Nodes whose clients would see other things than this one.
fn offset(token: Token) -> Offset {
    Offset::try_from(token.0.offset).unwrap_or(Offset::MAX)
}

fn failure(error: Error) -> Failure {
    match error.code() {
        Some(ErrorCode::UnknownTopicOrPartition | ErrorCode::InvalidTopicException) => Failure::UnknownTopic,
        Some(ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge) => Failure::TooLarge,
        Some(ErrorCode::InvalidRecord | ErrorCode::PolicyViolation) => Failure::Refused(error.to_string()),
        _ => Failure::Unavailable(error.to_string()),
    }
}

fn denied(denied: Denied) -> Failure {
    match denied {
        Denied::UnknownTopic | Denied::UnknownPartition(_) => Failure::UnknownTopic,
        Denied::TooLarge(_) => Failure::TooLarge,
        other => Failure::Unavailable(format!("{other:?}")),
    }
}

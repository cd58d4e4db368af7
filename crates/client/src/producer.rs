//! Producing records: batched per partition, compressed, idempotent, repeated without changing their order.
//!
//! It knows no transactions. A task sends (`producer/sender.rs`), what it does is decided in
//! `producer/accumulator.rs`; whoever sends a record gets a [`Delivery`] to wait for.

mod accumulator;
mod partition_queue;
mod sender;

use crate::{Client, Error};
use bytes::Bytes;
use model::{Offset, PartitionIndex, ProducerEpoch, ProducerId, Timestamp};
use records::{Compression, Header};
use sender::{Command, Sender};
use tokio::sync::{mpsc, oneshot};
use wire::{ErrorCode, InitProducerIdRequest};

/// Records between the callers and the sender; a caller waits while it is full.
const COMMANDS_MAX: usize = 1024;

/// Whom a produce waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acks {
    /// Nobody: a record may be lost without a word.
    None,
    /// The leader alone.
    Leader,
    /// All replicas in sync.
    All,
}

/// How to produce.
#[derive(Debug, Clone)]
pub struct ProducerConfig {
    /// Whom to wait for. Idempotence needs [`Acks::All`].
    pub acks: Acks,
    /// Whether a record that is sent twice is written once (KIP-98).
    pub idempotent: bool,
    /// How batches are compressed.
    pub compression: Compression,
    /// How long a record waits for others.
    pub linger_ms: i64,
    /// Bytes of records, before compression, after which a batch is full. One record alone may have more.
    pub batch_bytes: usize,
    /// Bytes of records that are neither sent nor given up; callers wait beyond it.
    pub buffer_bytes: usize,
    /// How long a record may take from the call to the acknowledgement.
    pub delivery_timeout_ms: i64,
}

impl ProducerConfig {
    /// Safe and for throughput: idempotent, acknowledged by all, 5 ms linger, batches of 256 KiB.
    pub fn new() -> Self {
        Self {
            acks: Acks::All,
            idempotent: true,
            compression: records::Codec::None.into(),
            linger_ms: 5,
            batch_bytes: 256 * 1024,
            buffer_bytes: 32 * 1024 * 1024,
            delivery_timeout_ms: 120_000,
        }
    }
}

impl Default for ProducerConfig {
    fn default() -> Self {
        Self::new()
    }
}

/// A record on its way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OutRecord {
    /// The topic; created by the broker if it does that.
    pub topic: String,
    /// The partition; `None`: chosen by the key.
    pub partition: Option<PartitionIndex>,
    /// The time; `None`: that of the call.
    pub timestamp: Option<Timestamp>,
    /// The key.
    pub key: Option<Bytes>,
    /// The value.
    pub value: Option<Bytes>,
    /// The headers.
    pub headers: Vec<Header>,
}

/// Where a record was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivered {
    /// The partition.
    pub partition: PartitionIndex,
    /// The offset; -1 if the broker did not tell (acks=0, or a repetition that it recognised).
    pub offset: Offset,
}

/// An acknowledgement that is to come.
pub struct Delivery(oneshot::Receiver<Result<Delivered, Error>>);

impl Delivery {
    /// Waits for it.
    pub async fn wait(self) -> Result<Delivered, Error> {
        self.0.await.unwrap_or(Err(Error::Ended))
    }
}

/// Sends records. Records of one partition keep the order of the calls.
pub struct Producer {
    client: Client,
    commands: mpsc::Sender<Command>,
}

impl Producer {
    /// A producer with a task of its own. Records that were not acknowledged when it is dropped may be lost;
    /// [`Self::flush`] waits for them.
    pub async fn open(client: &Client, config: ProducerConfig) -> Result<Self, Error> {
        if config.idempotent && config.acks != Acks::All {
            return Err(Error::Invalid("an idempotent producer needs acks=all".into()));
        }
        let identity = if config.idempotent { Some(init_producer_id(client).await?) } else { None };
        let (commands, queue) = mpsc::channel(COMMANDS_MAX);
        let sender = Sender::new(client.clone(), config, identity);
        client.world().tasks.spawn(Box::pin(sender.run(queue)));
        Ok(Self { client: client.clone(), commands })
    }

    /// Takes a record; waits while the buffer is full.
    pub async fn send(&self, mut record: OutRecord) -> Result<Delivery, Error> {
        let topic = self.client.topic(&record.topic, true).await?;
        if let Some(index) = record.partition {
            self.client.cluster().partition(&topic.name, index)?;
        }
        record.timestamp.get_or_insert_with(|| self.client.world().clock.wall());
        let (answer, delivery) = oneshot::channel();
        self.commands.send(Command::Record(record, answer)).await.map_err(|_| Error::Ended)?;
        Ok(Delivery(delivery))
    }

    /// Sends at once what waits, and ends when every record taken so far is acknowledged or given up.
    pub async fn flush(&self) -> Result<(), Error> {
        let (done, flushed) = oneshot::channel();
        self.commands.send(Command::Flush(done)).await.map_err(|_| Error::Ended)?;
        flushed.await.map_err(|_| Error::Ended)
    }
}

async fn init_producer_id(client: &Client) -> Result<(ProducerId, ProducerEpoch), Error> {
    let request = InitProducerIdRequest {
        transactional_id: None,
        transaction_timeout_ms: i32::MAX,
        ..Default::default()
    };
    let mut attempts = client.attempts();
    loop {
        let response = client.ask(&request).await?;
        match Error::from_code(response.error_code, None, || "a producer id".into()) {
            Ok(()) => return Ok((response.producer_id, response.producer_epoch)),
            Err(error) if error.code() == Some(ErrorCode::CoordinatorNotAvailable) || error.is_passing() => {
                if !attempts.again(&error).await {
                    return Err(error);
                }
            }
            Err(error) => return Err(error),
        }
    }
}

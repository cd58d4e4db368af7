//! What the host asks of the cluster's logs. [`crate::ClusterLog`] has them; tests have one of memory.

use bytes::Bytes;
use env::BoxFuture;
use gateway::NewRecord;
use model::{Offset, PartitionIndex, TopicName, TopicPartition};
use records::Record;

/// Why the log does not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// There is no such topic.
    #[error("there is no such topic")]
    UnknownTopic,
    /// It is larger than the topic takes.
    #[error("the record is larger than the topic takes")]
    TooLarge,
    /// The topic does not take it.
    #[error("{0}")]
    Refused(String),
    /// Not now.
    #[error("{0}")]
    Unavailable(String),
}

/// Records of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Those that readers of committed records see.
    pub records: Vec<Record>,
    /// Behind all that was looked at.
    pub next: Offset,
}

/// An append that was taken, and is safe when this ends; with its offset, or -1 where that is not told.
pub type Appending = BoxFuture<'static, Result<Offset, Failure>>;

/// See the head of the file. Futures are polled by who asked and may be dropped.
pub trait Log: Send + Sync {
    /// How many partitions a topic has.
    fn partitions<'a>(&'a self, topic: &'a TopicName) -> BoxFuture<'a, Result<usize, Failure>>;

    /// Takes a record; those of one partition are appended in the order in which they were taken.
    fn append<'a>(
        &'a self,
        at: &'a TopicPartition,
        record: NewRecord,
    ) -> BoxFuture<'a, Result<Appending, Failure>>;

    /// The end of a partition.
    fn end(&self, at: TopicPartition) -> BoxFuture<'static, Result<Offset, Failure>>;

    /// Reads from an offset on, or from the first that is kept behind it: at least one record if there is one, else about at most
    /// `bytes_max` bytes. Nothing is waited for.
    fn read(
        &self,
        at: TopicPartition,
        from: Offset,
        bytes_max: usize,
    ) -> BoxFuture<'static, Result<Chunk, Failure>>;

    /// Ends when there may be something to read behind `seen`.
    fn changed(&self, at: TopicPartition, seen: Offset) -> BoxFuture<'static, ()>;

    /// Where the newest record of a key is, by the key index; `Ok(None)`: it has none. `Unavailable`: that is not known here.
    fn latest(&self, at: TopicPartition, key: Bytes) -> BoxFuture<'static, Result<Option<Offset>, Failure>>;

    /// Makes sure that there is a compacted topic of this name.
    fn create_compacted<'a>(
        &'a self,
        topic: &'a TopicName,
        partitions: PartitionIndex,
    ) -> BoxFuture<'a, Result<(), Failure>>;

    /// The nodes of the cluster that are up.
    fn nodes<'a>(&'a self) -> BoxFuture<'a, Result<Vec<i32>, Failure>>;
}

/// The partition of a key, as Kafka's Java producer takes it; of records without a key, one for each client.
pub(crate) fn partition_of(key: &[u8], partitions: usize) -> PartitionIndex {
    let positive = client::murmur2(key) & 0x7fff_ffff;
    (positive as usize % partitions.max(1)) as PartitionIndex
}

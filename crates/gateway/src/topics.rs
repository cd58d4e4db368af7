//! What the gateway asks of whoever holds topics: their partitions one by one, record by record.
//!
//! [`crate::Mailboxes`] has the streams of single keys; both are of the same records.

use crate::{
    mailboxes::{Denied, From, Reach},
    token::Token,
};
use bytes::Bytes;
use env::BoxFuture;
use mailbox::Sent;
use model::{TopicName, TopicPartition};
use records::{Header, Record};

/// What is known of a topic that is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// How many partitions it has.
    pub partitions: usize,
    /// What its values are, as far as nothing else is said.
    pub content_type: String,
}

/// Records of a partition, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Records {
    /// Those that no aborted transaction has written.
    pub records: Vec<Record>,
    /// Behind all that was looked at.
    pub next: Token,
    /// Whether there was nothing more.
    pub is_up_to_date: bool,
}

/// A record that is to be appended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewRecord {
    /// Its key.
    pub key: Option<Bytes>,
    /// Its value.
    pub value: Option<Bytes>,
    /// Its headers.
    pub headers: Vec<Header>,
}

/// See the head of the file.
pub trait Topics: Send + Sync {
    /// What is known of a topic; `None`: there is none, or it is nobody's business.
    fn shape(&self, topic: &TopicName) -> Option<Shape>;

    /// Which other node serves a partition, if one does and can be reached.
    fn partition_elsewhere(&self, of: &TopicPartition) -> Option<Reach>;

    /// The partition in which records of this key lie.
    fn partition_of(&self, topic: &TopicName, key: &[u8]) -> Option<TopicPartition>;

    /// Whether this node serves it.
    fn is_here(&self, of: &TopicPartition) -> bool;

    /// Reads records of at least one and otherwise about at most `bytes_max` bytes; nothing is waited for.
    fn read_records<'a>(
        &'a self,
        of: &'a TopicPartition,
        from: From,
        bytes_max: usize,
    ) -> BoxFuture<'a, Result<Records, Denied>>;

    /// Ends when there is something to read behind `seen`, or that cannot be known any more.
    fn records_changed<'a>(&'a self, of: &'a TopicPartition, seen: Token) -> BoxFuture<'a, ()>;

    /// Appends records in one batch, if the partition ends at `expected` where that is said; the place behind them, once they are safe.
    fn append_records<'a>(
        &'a self,
        of: &'a TopicPartition,
        records: Vec<NewRecord>,
        expected: Option<Token>,
    ) -> BoxFuture<'a, Result<Token, Denied>>;

    /// Appends records in one batch, of which the last has a key, unless that request was taken before; the place behind them, and whether
    /// they are new.
    fn append_once<'a>(
        &'a self,
        of: &'a TopicPartition,
        records: Vec<NewRecord>,
        sent: Sent,
    ) -> BoxFuture<'a, Result<(Token, bool), Denied>>;
}

//! What a replica of the metadata log needs to know, as plain values. It has no defaults and knows no names of Kafka's
//! configuration; the host fills it in.

use crate::member::{Member, Replica};
use log::LogConfig;
use model::{LeaderEpoch, Offset};
use std::path::PathBuf;

/// The configuration of a replica. Times in milliseconds, sizes in bytes.
#[derive(Debug, Clone)]
pub struct Config {
    /// Messages of another cluster are refused.
    pub cluster_id: String,
    /// This replica.
    pub replica: Replica,
    /// Where it listens.
    pub member: Member,
    /// The directory `__cluster_metadata-0`.
    pub dir: PathBuf,
    /// How far a log that was written before there were quorums is known to be on stable storage; see
    /// docs/formats/metadata-log.md, "A start".
    pub plain_recovery_point: Offset,
    /// What a leader that was asked says: its epoch, and up to which offset this replica has acknowledged the log to it. One
    /// that has heard of no later leader and holds less is not opened ([`crate::Stale`]).
    pub acknowledged: Option<(LeaderEpoch, Offset)>,
    /// Of the log; its acknowledgements must be durable.
    pub log: LogConfig,
    /// What of the log is kept in memory.
    pub tail_bytes_max: usize,
    /// How often a leader shows that it is there.
    pub heartbeat_interval_ms: u64,
    /// A follower that has not heard of a leader for so long (and up to twice) asks for votes.
    pub election_timeout_ms: u64,
    /// How long one part of a snapshot may be under way.
    pub snapshot_timeout_ms: u64,
    /// Entries that stay in the log although a snapshot has them, for followers that are a little behind.
    pub entries_kept: u64,
}

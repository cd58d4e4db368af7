//! What one log needs to know of its topic's configuration, as plain values.
//!
//! It knows no names and no defaults: `metadata` has the catalogue of configurations, `broker` fills this in.

use model::Timestamp;
use records::{Compression, Rules, TimestampType};

/// When an appended batch counts as safe (`odradek.ack.durability`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// When it is on stable storage.
    Fsync,
    /// When the operating system has it: it survives the end of the process but not of the machine.
    PageCache,
}

/// The configuration of one log. Times in milliseconds, sizes in bytes; negative retention means "without limit".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// `segment.bytes`: no segment grows beyond it, and no batch may be larger.
    pub segment_bytes: u32,
    /// `segment.ms`: the active segment is closed when a batch is so much younger than its first.
    pub segment_ms: i64,
    /// What is taken off `segment_ms`, drawn once per log from 0 to `segment.jitter.ms`.
    pub segment_jitter_ms: i64,
    /// `index.interval.bytes`: an index entry for every so many bytes of batches.
    pub index_interval_bytes: u32,
    /// `segment.index.bytes`: no index grows beyond it.
    pub index_bytes_max: u32,
    /// `retention.ms`.
    pub retention_ms: i64,
    /// `retention.bytes`.
    pub retention_bytes: i64,
    /// `cleanup.policy` contains `delete`.
    pub cleanup_delete: bool,
    /// `cleanup.policy` contains `compact`: records need keys.
    pub cleanup_compact: bool,
    /// The log was compacted once, here or where it was copied from, whatever `cleanup.policy` says by now. The log knows it
    /// from its directory; nobody else sets it.
    pub was_compacted: bool,
    /// `min.cleanable.dirty.ratio`, in millionths: a log is compacted when more of it is dirty.
    pub min_cleanable_dirty_ppm: u32,
    /// `min.compaction.lag.ms`: what is younger is not compacted.
    pub min_compaction_lag_ms: i64,
    /// `max.compaction.lag.ms`: what is older is compacted, however little of the log is dirty.
    pub max_compaction_lag_ms: i64,
    /// `delete.retention.ms`: how long tombstones, and markers of transactions of which nothing is left, stay after they
    /// were compacted first.
    pub delete_retention_ms: i64,
    /// `max.message.bytes`: the largest batch.
    pub batch_bytes_max: usize,
    /// The most bytes that the compressed records of a batch may stand for.
    pub plain_bytes_max: usize,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`.
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`.
    pub timestamp_after_max_ms: i64,
    /// `compression.type`: `None` keeps what the producer chose.
    pub compression: Option<Compression>,
    /// `flush.messages`: sync after so many records; `i64::MAX`: never.
    pub flush_messages: i64,
    /// `flush.ms`: sync at least so often; `i64::MAX`: never.
    pub flush_ms: i64,
    /// `file.delete.delay.ms`: how long a deleted segment's files stay, for those who still read them.
    pub file_delete_delay_ms: i64,
    /// `odradek.ack.durability`.
    pub durability: Durability,
    /// `odradek.key.index`: the offsets of the records of each key are kept beside the segments.
    pub key_index: bool,
    /// `producer.id.expiration.ms`: how long a silent producer is remembered.
    pub producer_id_expiration_ms: i64,
    /// `transaction.partition.verification.enable`: a transaction begins only if the coordinator knows it.
    pub transactions_verified: bool,
}

impl LogConfig {
    /// Whether offsets may be missing between batches: compaction leaves holes, and Apache Kafka's page-cache logs may
    /// have others; ours have none.
    pub(crate) fn has_holes(&self) -> bool {
        self.is_sparse() || self.durability == Durability::PageCache
    }

    /// Whether compaction may have left holes.
    pub fn is_sparse(&self) -> bool {
        self.cleanup_compact || self.was_compacted
    }

    /// How much younger than its first batch a batch may be that still goes into the active segment. What must be compacted
    /// in time must be in a sealed one.
    pub(crate) fn roll_ms(&self) -> i64 {
        let longest = match self.cleanup_compact && self.max_compaction_lag_ms > 0 {
            true => self.segment_ms.min(self.max_compaction_lag_ms),
            false => self.segment_ms,
        };
        longest.saturating_sub(self.segment_jitter_ms).max(0)
    }

    /// What [`records::check`] asks of batches from clients.
    pub fn rules(&self, now: Timestamp, zstd_allowed: bool) -> Rules {
        Rules {
            now,
            batch_bytes_max: self.batch_bytes_max,
            plain_bytes_max: self.plain_bytes_max,
            timestamp_type: self.timestamp_type,
            timestamp_before_max_ms: self.timestamp_before_max_ms,
            timestamp_after_max_ms: self.timestamp_after_max_ms,
            keys_required: self.cleanup_compact,
            compression: self.compression,
            zstd_allowed,
            from_client: true,
        }
    }
}

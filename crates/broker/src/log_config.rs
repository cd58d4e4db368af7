//! From effective configurations to what cores need of them.
//!
//! It decides no precedence: `metadata::config` does.

use log::{Durability, LogConfig};
use metadata::config::{AckDurability, Resolved};
use records::{Codec, Compression, TimestampType};

/// The largest plain contents of a compressed batch, as a multiple of `max.message.bytes`, that is unpacked to check
/// it: more is taken for a decompression bomb.
const PLAIN_RATIO_MAX: usize = 1024;
/// ... and never more than this, nor less than the smallest batch may need.
const PLAIN_BYTES_MAX: usize = 1 << 30;

/// The configuration of a topic's logs.
pub(crate) fn of_topic(topic: &Resolved<'_>) -> LogConfig {
    let list = topic.list("cleanup.policy");
    let has = |policy: &str| list.iter().any(|one| one == policy);
    let size = |name: &str| u32::try_from(topic.integer(name)).unwrap_or(u32::MAX);
    let batch_bytes_max = usize::try_from(topic.integer("max.message.bytes")).unwrap_or(0);
    LogConfig {
        segment_bytes: size("segment.bytes"),
        segment_ms: topic.integer("segment.ms"),
        segment_jitter_ms: topic.integer("segment.jitter.ms"),
        index_interval_bytes: size("index.interval.bytes"),
        index_bytes_max: size("segment.index.bytes"),
        retention_ms: topic.integer("retention.ms"),
        retention_bytes: topic.integer("retention.bytes"),
        cleanup_delete: has("delete"),
        cleanup_compact: has("compact"),
        batch_bytes_max,
        plain_bytes_max: batch_bytes_max.saturating_mul(PLAIN_RATIO_MAX).clamp(1 << 20, PLAIN_BYTES_MAX),
        timestamp_type: match topic.text("message.timestamp.type").as_deref() {
            Some("LogAppendTime") => TimestampType::LogAppendTime,
            _ => TimestampType::CreateTime,
        },
        timestamp_before_max_ms: topic.integer("message.timestamp.before.max.ms"),
        timestamp_after_max_ms: topic.integer("message.timestamp.after.max.ms"),
        compression: compression(topic),
        flush_messages: topic.integer("flush.messages"),
        flush_ms: topic.integer("flush.ms"),
        file_delete_delay_ms: topic.integer("file.delete.delay.ms"),
        durability: match topic.ack_durability() {
            AckDurability::Fsync => Durability::Fsync,
            AckDurability::PageCache => Durability::PageCache,
        },
        producer_id_expiration_ms: 86_400_000,
    }
}

/// The configuration of the metadata log: always synced, never deleted, batches as large as a request can make them.
pub(crate) fn of_metadata(topic: &Resolved<'_>) -> LogConfig {
    LogConfig {
        segment_bytes: 1 << 30,
        retention_ms: -1,
        retention_bytes: -1,
        cleanup_delete: false,
        cleanup_compact: false,
        batch_bytes_max: 256 << 20,
        durability: Durability::Fsync,
        timestamp_type: TimestampType::CreateTime,
        compression: None,
        ..of_topic(topic)
    }
}

/// The limits of the group coordinators.
pub(crate) fn of_groups(broker: &Resolved<'_>) -> groups::Config {
    let int = |name: &str| i32::try_from(broker.integer(name)).unwrap_or(i32::MAX);
    groups::Config {
        session_timeout_ms_min: int("group.min.session.timeout.ms"),
        session_timeout_ms_max: int("group.max.session.timeout.ms"),
        rebalance_delay_ms_initial: int("group.initial.rebalance.delay.ms"),
        group_members_max: usize::try_from(broker.integer("group.max.size")).unwrap_or(usize::MAX),
        join_timeout_ms_new_member: 300_000,
        offset_metadata_chars_max: usize::try_from(broker.integer("offset.metadata.max.bytes"))
            .unwrap_or(4096),
        offsets_retention_ms: broker.integer("offsets.retention.minutes").saturating_mul(60_000),
        offsets_retention_check_interval_ms: broker.integer("offsets.retention.check.interval.ms"),
    }
}

fn compression(topic: &Resolved<'_>) -> Option<Compression> {
    let name = topic.text("compression.type")?;
    let codec = match &*name {
        "producer" => return None,
        "uncompressed" => Codec::None,
        name => Codec::from_name(name)?,
    };
    let level = match codec {
        Codec::Gzip => Some("compression.gzip.level"),
        Codec::Lz4 => Some("compression.lz4.level"),
        Codec::Zstd => Some("compression.zstd.level"),
        Codec::None | Codec::Snappy => None,
    };
    let level = level.map(|key| topic.integer(key) as i32);
    Some(Compression { codec, level })
}

//! From effective configurations to what cores need of them.
//!
//! It decides no precedence: `metadata::config` does.

use crate::Broker;
use log::{Durability, LogConfig};
use metadata::{
    Image,
    config::{AckDurability, Resolved},
};
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
        was_compacted: false,
        min_cleanable_dirty_ppm: ppm(topic.double("min.cleanable.dirty.ratio")),
        min_compaction_lag_ms: topic.integer("min.compaction.lag.ms"),
        max_compaction_lag_ms: topic.integer("max.compaction.lag.ms"),
        delete_retention_ms: topic.integer("delete.retention.ms"),
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
        key_index: topic.flag("odradek.key.index"),
        // Of all logs, whatever their topic says.
        producer_id_expiration_ms: topic.broker().integer("producer.id.expiration.ms"),
        transactions_verified: topic.broker().flag("transaction.partition.verification.enable"),
    }
}

/// The configuration of the metadata log: always synced, never deleted, batches as large as a request can make them.
pub(crate) fn of_metadata(topic: &Resolved<'_>) -> LogConfig {
    LogConfig {
        // Snapshots let go of whole segments.
        segment_bytes: 8 << 20,
        segment_ms: i64::MAX,
        retention_ms: -1,
        retention_bytes: -1,
        cleanup_delete: false,
        cleanup_compact: false,
        batch_bytes_max: 256 << 20,
        durability: Durability::Fsync,
        timestamp_type: TimestampType::CreateTime,
        compression: None,
        key_index: false,
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
        consumer_members_max: usize::try_from(broker.integer("group.consumer.max.size"))
            .unwrap_or(usize::MAX),
        consumer_session_timeout_ms: int("group.consumer.session.timeout.ms"),
        migration: broker
            .text("group.consumer.migration.policy")
            .and_then(|name| groups::Migration::by_name(&name))
            .unwrap_or(groups::Migration::Bidirectional),
        consumer_assignment_interval_ms: broker.integer("group.consumer.assignment.interval.ms"),
        share_members_max: usize::try_from(broker.integer("group.share.max.size")).unwrap_or(usize::MAX),
        share_session_timeout_ms: int("group.share.session.timeout.ms"),
        share_initialize_retry_ms: broker.integer("group.share.initialize.retry.interval.ms"),
        streams_members_max: usize::try_from(broker.integer("group.streams.max.size")).unwrap_or(usize::MAX),
        streams_session_timeout_ms: int("group.streams.session.timeout.ms"),
        offset_metadata_chars_max: usize::try_from(broker.integer("offset.metadata.max.bytes"))
            .unwrap_or(4096),
        offsets_retention_ms: broker.integer("offsets.retention.minutes").saturating_mul(60_000),
        offsets_retention_check_interval_ms: broker.integer("offsets.retention.check.interval.ms"),
    }
}

/// The limits of the share coordinators.
pub(crate) fn of_share_coordinators(broker: &Resolved<'_>) -> share::CoordinatorConfig {
    let updates = broker.integer("share.coordinator.snapshot.update.records.per.snapshot");
    share::CoordinatorConfig {
        updates_per_snapshot: u32::try_from(updates).unwrap_or(500),
        cold_snapshot_ms: broker.integer("share.coordinator.cold.partition.snapshot.interval.ms"),
    }
}

/// What a share group may ask of a partition.
pub(crate) fn of_share_partition(broker: &Broker, group: &str) -> share::Config {
    let image = broker.image();
    let configs = broker.config.configs(&image);
    let group = configs.group(group);
    let has_feature = image.feature("share.version") >= DEAD_LETTERS_LEVEL;
    let dead_letters = group.text("errors.deadletterqueue.topic.name");
    share::Config {
        lock_ms: group.integer("share.record.lock.duration.ms"),
        delivery_count_max: i16::try_from(group.integer("share.delivery.count.limit")).unwrap_or(i16::MAX),
        locks_max: group.integer("share.partition.max.record.locks"),
        may_renew: group.flag("share.renew.acknowledge.enable"),
        has_dead_letters: has_feature && dead_letters.is_some_and(|name| !name.is_empty()),
    }
}

/// The level of `share.version` from which on there are dead letters (KIP-1191).
const DEAD_LETTERS_LEVEL: i16 = 2;

/// The limits of the transaction coordinators.
pub(crate) fn of_transactions(broker: &Resolved<'_>, image: &Image) -> transactions::Config {
    let level = image.features().find(|(name, _)| *name == "transaction.version");
    transactions::Config {
        timeout_ms_max: i32::try_from(broker.integer("transaction.max.timeout.ms")).unwrap_or(i32::MAX),
        id_expiration_ms: broker.integer("transactional.id.expiration.ms"),
        two_phase_commit: broker.flag("transaction.two.phase.commit.enable"),
        version: level.map_or(0, |(_, level)| level),
    }
}

/// A part of one, in millionths.
fn ppm(ratio: f64) -> u32 {
    (ratio.clamp(0.0, 1.0) * 1_000_000.0).round() as u32
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

#[cfg(test)]
mod tests {
    use super::*;
    use metadata::{
        Image,
        config::{Configs, Statics},
    };

    fn with<T>(values: &[(&str, &str)], look: impl FnOnce(Configs<'_>) -> T) -> T {
        let statics = Statics::new(values.iter().map(|(key, value)| (key.to_string(), value.to_string())));
        assert_eq!(statics.problems(), Vec::<String>::new());
        let image = Image::new("");
        look(Configs { image: &image, statics: &statics, node: 1 })
    }

    fn topic(values: &[(&str, &str)]) -> LogConfig {
        with(values, |configs| of_topic(&configs.topic("t")))
    }

    #[test]
    fn every_configuration_of_a_log_comes_from_its_key() {
        let config = topic(&[
            ("log.segment.bytes", "2097152"),
            ("log.roll.ms", "1001"),
            ("log.roll.jitter.ms", "1002"),
            ("log.index.interval.bytes", "1003"),
            ("log.index.size.max.bytes", "1004"),
            ("log.retention.ms", "1005"),
            ("log.retention.bytes", "1006"),
            ("log.cleanup.policy", "compact"),
            ("log.cleaner.min.cleanable.ratio", "0.25"),
            ("log.cleaner.min.compaction.lag.ms", "1013"),
            ("log.cleaner.max.compaction.lag.ms", "1014"),
            ("log.cleaner.delete.retention.ms", "1015"),
            ("message.max.bytes", "2000"),
            ("log.message.timestamp.type", "LogAppendTime"),
            ("log.message.timestamp.before.max.ms", "1007"),
            ("log.message.timestamp.after.max.ms", "1008"),
            ("compression.type", "zstd"),
            ("compression.zstd.level", "7"),
            ("log.flush.interval.messages", "1009"),
            ("log.flush.interval.ms", "1010"),
            ("log.segment.delete.delay.ms", "1011"),
            ("odradek.ack.durability", "page-cache"),
            ("producer.id.expiration.ms", "1012"),
            ("transaction.partition.verification.enable", "false"),
        ]);
        let expected = LogConfig {
            segment_bytes: 2_097_152,
            segment_ms: 1001,
            segment_jitter_ms: 1002,
            index_interval_bytes: 1003,
            index_bytes_max: 1004,
            retention_ms: 1005,
            retention_bytes: 1006,
            cleanup_delete: false,
            cleanup_compact: true,
            was_compacted: false,
            min_cleanable_dirty_ppm: 250_000,
            min_compaction_lag_ms: 1013,
            max_compaction_lag_ms: 1014,
            delete_retention_ms: 1015,
            batch_bytes_max: 2000,
            plain_bytes_max: 2000 * 1024,
            timestamp_type: TimestampType::LogAppendTime,
            timestamp_before_max_ms: 1007,
            timestamp_after_max_ms: 1008,
            compression: Some(Compression { codec: Codec::Zstd, level: Some(7) }),
            flush_messages: 1009,
            flush_ms: 1010,
            file_delete_delay_ms: 1011,
            durability: Durability::PageCache,
            // No broker's key stands behind it.
            key_index: false,
            producer_id_expiration_ms: 1012,
            transactions_verified: false,
        };
        assert_eq!(config, expected);
    }

    #[test]
    fn without_any_a_log_is_kafkas_but_for_its_durability() {
        let config = topic(&[]);
        assert_eq!((config.segment_bytes, config.batch_bytes_max), (1 << 30, 1_048_588));
        assert_eq!((config.retention_ms, config.retention_bytes), (604_800_000, -1));
        assert_eq!((config.cleanup_delete, config.cleanup_compact), (true, false));
        assert_eq!((config.compression, config.timestamp_type), (None, TimestampType::CreateTime));
        assert_eq!((config.durability, config.producer_id_expiration_ms), (Durability::Fsync, 86_400_000));
    }

    #[test]
    fn each_codec_has_its_own_level_and_some_have_none() {
        let compression = |name: &str| topic(&[("compression.type", name)]).compression;
        let levels =
            [("gzip", Codec::Gzip, Some(-1)), ("lz4", Codec::Lz4, Some(9)), ("zstd", Codec::Zstd, Some(3))];
        for (name, codec, level) in levels {
            assert_eq!(compression(name), Some(Compression { codec, level }), "{name}");
        }
        for (name, codec) in [("snappy", Codec::Snappy), ("uncompressed", Codec::None)] {
            assert_eq!(compression(name), Some(Compression { codec, level: None }), "{name}");
        }
        assert_eq!(compression("producer"), None);
    }

    #[test]
    fn what_a_batch_may_unpack_to_is_bounded_from_both_sides() {
        let plain = |max: &str| topic(&[("message.max.bytes", max)]).plain_bytes_max;
        assert_eq!(plain("0"), 1 << 20);
        assert_eq!(plain("1024"), 1 << 20);
        assert_eq!(plain("10240"), 10 << 20);
        assert_eq!(plain("2147483647"), PLAIN_BYTES_MAX);
    }

    #[test]
    fn nothing_that_topics_inherit_makes_the_metadata_log_forget() {
        let values = [
            ("log.cleanup.policy", "compact,delete"),
            ("log.retention.ms", "1"),
            ("log.retention.bytes", "1"),
            ("compression.type", "gzip"),
            ("message.max.bytes", "1"),
            ("log.message.timestamp.type", "LogAppendTime"),
            ("odradek.ack.durability", "page-cache"),
        ];
        let config = with(&values, |configs| of_metadata(&configs.topic("")));
        assert_eq!((config.retention_ms, config.retention_bytes), (-1, -1));
        assert!(!config.cleanup_delete && !config.cleanup_compact);
        assert_eq!((config.compression, config.timestamp_type), (None, TimestampType::CreateTime));
        assert_eq!((config.durability, config.batch_bytes_max), (Durability::Fsync, 256 << 20));
    }

    #[test]
    fn every_limit_of_groups_comes_from_its_key() {
        let values = [
            ("group.min.session.timeout.ms", "1001"),
            ("group.max.session.timeout.ms", "1002"),
            ("group.initial.rebalance.delay.ms", "1003"),
            ("group.max.size", "1004"),
            ("offset.metadata.max.bytes", "1005"),
            ("offsets.retention.minutes", "2"),
            ("offsets.retention.check.interval.ms", "1006"),
            ("group.consumer.migration.policy", "UPGRADE"),
        ];
        let expected = groups::Config {
            session_timeout_ms_min: 1001,
            session_timeout_ms_max: 1002,
            rebalance_delay_ms_initial: 1003,
            group_members_max: 1004,
            join_timeout_ms_new_member: 300_000,
            consumer_members_max: 2_147_483_647,
            consumer_session_timeout_ms: 45_000,
            migration: groups::Migration::Upgrade,
            consumer_assignment_interval_ms: 1000,
            share_members_max: 200,
            share_session_timeout_ms: 45_000,
            share_initialize_retry_ms: 30_000,
            streams_members_max: 2_147_483_647,
            streams_session_timeout_ms: 45_000,
            offset_metadata_chars_max: 1005,
            offsets_retention_ms: 120_000,
            offsets_retention_check_interval_ms: 1006,
        };
        assert_eq!(with(&values, |configs| of_groups(&configs.broker())), expected);
    }
}

//! A log on a disk in memory, for this crate's tests.

use crate::{testing::MemoryDisk, *};
use model::{Offset, Timestamp};
use records::{Batch, BatchBuilder, Checked, Codec, Decompressor, EndTxnMarker, TimestampType};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

pub(crate) const NOW: Timestamp = 1_700_000_000_000;

pub(crate) fn config(durability: Durability) -> LogConfig {
    LogConfig {
        segment_bytes: 2000,
        segment_ms: 1_000_000,
        segment_jitter_ms: 0,
        index_interval_bytes: 300,
        index_bytes_max: 10 << 20,
        retention_ms: -1,
        retention_bytes: -1,
        cleanup_delete: true,
        cleanup_compact: false,
        was_compacted: false,
        min_cleanable_dirty_ppm: 500_000,
        min_compaction_lag_ms: 0,
        max_compaction_lag_ms: i64::MAX,
        delete_retention_ms: 86_400_000,
        batch_bytes_max: 1 << 20,
        plain_bytes_max: 16 << 20,
        timestamp_type: TimestampType::CreateTime,
        timestamp_before_max_ms: i64::MAX,
        timestamp_after_max_ms: 3_600_000,
        compression: None,
        flush_messages: i64::MAX,
        flush_ms: i64::MAX,
        file_delete_delay_ms: 60_000,
        durability,
        key_index: false,
        transactions_verified: false,
        producer_id_expiration_ms: 86_400_000,
    }
}

/// A log and what belongs to it.
pub(crate) struct Fixture {
    pub(crate) disk: MemoryDisk,
    pub(crate) log: Log,
    pub(crate) files: Files,
    pub(crate) recovery: Recovery,
    pub(crate) now: Timestamp,
    /// Of the leader that appends.
    pub(crate) epoch: i32,
}

pub(crate) const TOPIC_ID: stdx::Uuid = stdx::Uuid([7; 16]);

pub(crate) fn dir() -> PathBuf {
    PathBuf::from("/data/topic-0")
}

/// Opens whatever is on the disk.
pub(crate) fn reopen(
    disk: MemoryDisk,
    config: LogConfig,
    clean: bool,
    recovery_point: Offset,
) -> Result<Fixture, OpenError> {
    let Opened { log, files, recovery } = open(&disk, &dir(), options(config, clean, recovery_point))?;
    Ok(Fixture { disk, log, files, recovery, now: NOW, epoch: 0 })
}

pub(crate) fn options(config: LogConfig, clean: bool, recovery_point: Offset) -> OpenOptions {
    OpenOptions {
        topic_id: TOPIC_ID,
        is_new: false,
        config: Arc::new(config),
        clean,
        recovery_point,
        start_offset: 0,
        now: NOW,
    }
}

/// A batch of `count` records with values of `bytes` bytes.
pub(crate) fn batch(timestamp: Timestamp, count: usize, bytes: usize) -> BatchBuilder {
    let mut builder = BatchBuilder::new();
    for index in 0..count {
        builder.push(timestamp + index as i64, Some(b"key"), Some(&vec![b'v'; bytes]), &[]);
    }
    builder
}

impl Fixture {
    pub(crate) fn new(config: LogConfig) -> Self {
        reopen(MemoryDisk::new(), config, false, 0).unwrap()
    }

    pub(crate) fn perform(&mut self, effects: Vec<Effect>) {
        let sync = self.log.must_sync(self.now);
        let performed = self.files.perform(&self.disk, &effects, sync).unwrap();
        self.log.flushed(self.now, &performed);
        if let Some(sealed) = performed.sealed {
            let upto = sealed.sync(&self.disk).unwrap();
            self.log.synced(self.now, upto);
        }
    }

    /// Appends without performing.
    pub(crate) fn decide(
        &mut self,
        origin: Origin,
        batch: Batch,
        effects: &mut Vec<Effect>,
    ) -> Result<Appended, AppendError> {
        let rules = records::Rules {
            from_client: origin == Origin::Client,
            ..self.log.config().rules(self.now, true)
        };
        let checked = records::check(batch.bytes, &rules, &mut Decompressor::new()).unwrap();
        self.log.append(self.now, self.epoch, (origin, None), checked, effects)
    }

    pub(crate) fn try_append(&mut self, builder: BatchBuilder) -> Result<Appended, AppendError> {
        let mut effects = Vec::new();
        let appended = self.decide(Origin::Client, builder.build().unwrap(), &mut effects)?;
        self.perform(effects);
        Ok(appended)
    }

    pub(crate) fn append(&mut self, builder: BatchBuilder) -> Appended {
        self.try_append(builder).unwrap()
    }

    pub(crate) fn end_txn(&mut self, id: i64, epoch: i16, committed: bool) -> Result<Appended, AppendError> {
        let marker = EndTxnMarker { committed, coordinator_epoch: 1 };
        let checked = Checked::trusted(marker.to_batch(id, epoch, self.now).unwrap());
        let mut effects = Vec::new();
        let origin = Origin::Coordinator { transaction_version: 1 };
        let appended = self.log.append(self.now, self.epoch, (origin, None), checked, &mut effects)?;
        self.perform(effects);
        Ok(appended)
    }

    pub(crate) fn close(mut self) -> MemoryDisk {
        let mut effects = Vec::new();
        self.log.close(&mut effects);
        let performed = self.files.perform(&self.disk, &effects, true).unwrap();
        self.log.flushed(self.now, &performed);
        assert_eq!(self.log.recovery_point(), self.log.end_offset());
        self.disk
    }

    /// Whole batches from `from`.
    pub(crate) fn read(&self, from: Offset, bytes_max: usize) -> (Vec<u8>, Offset) {
        let slice = match self.log.read(from, self.log.end_offset(), bytes_max, true) {
            ReadPlan::Memory(slice) => slice,
            ReadPlan::File(plan) => plan.locate(&self.disk).unwrap(),
            ReadPlan::OutOfRange { .. } => panic!("{from} is out of range of {:?}", self.log),
        };
        (testing::bytes_of(&slice.parts), slice.next_offset)
    }

    /// All batches, read a few bytes at a time.
    pub(crate) fn batches(&self, bytes_max: usize) -> Vec<Batch> {
        let mut batches = Vec::new();
        let mut from = self.log.start_offset();
        while from < self.log.end_offset() {
            let (bytes, next) = self.read(from, bytes_max);
            assert!(next > from, "no way on at {from}");
            let mut bytes = bytes::Bytes::from(bytes);
            while let Some(batch) = Batch::split_off(&mut bytes) {
                assert!(batch.is_intact());
                batches.push(batch);
            }
            assert!(bytes.is_empty(), "a batch is cut off");
            from = next;
        }
        batches
    }

    pub(crate) fn contents(&self, offset: Offset, kind: &str) -> Vec<u8> {
        self.disk.contents(&path(offset, kind)).unwrap_or_default()
    }

    /// Drops the tail, so that everything is read from files.
    pub(crate) fn forget_tail(&mut self) {
        self.log.trim_tail(usize::MAX);
        assert_eq!(self.log.tail_bytes(), 0);
    }
}

pub(crate) fn path(offset: Offset, kind: &str) -> PathBuf {
    dir().join(names::file_name(offset, kind))
}

/// Changes a file.
pub(crate) fn damage(disk: &MemoryDisk, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = disk.contents(path).unwrap();
    change(&mut bytes);
    disk.put(path, bytes);
}

/// All codecs in turn.
pub(crate) fn codec(index: usize) -> Codec {
    Codec::from_id((index % 5) as u8).unwrap()
}

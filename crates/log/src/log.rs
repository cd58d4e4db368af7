//! One partition's log, as its leader sees it: the core that decides where every batch goes. It does no I/O and reads
//! no clock.
//!
//! The broker holds a short lock around each call, collects the effects and has them executed by [`crate::Files`] on a
//! disk lane; what was executed it reports with [`Log::flushed`]. The high watermark is the broker's.

use crate::{
    AbortedTxn, Durability, Effect, Epochs, Guard, LogConfig, Origin, Performed, ProducerError, Producers,
    clean::Swapping,
    handles::Handles,
    keys::Keys,
    producer_snapshot,
    segment::Segment,
    tail::{Tail, TailBatch},
};
use model::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};
use records::{BatchHeader, Checked, EndTxnMarker};
use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};

/// One partition's log.
pub struct Log {
    pub(crate) config: Arc<LogConfig>,
    /// Rising and never empty; the last one is active.
    pub(crate) segments: Vec<Segment>,
    pub(crate) epochs: Epochs,
    /// An epoch has begun that `leader-epoch-checkpoint` does not say.
    pub(crate) epochs_unwritten: bool,
    pub(crate) producers: Producers,
    pub(crate) tail: Tail,
    pub(crate) keys: Keys,
    pub(crate) start_offset: Offset,
    pub(crate) end_offset: Offset,
    /// Everything before is in the files.
    pub(crate) written_offset: Offset,
    /// Everything before is on stable storage.
    pub(crate) synced_offset: Offset,
    pub(crate) synced_at: Timestamp,
    /// The producer snapshots that exist, by offset.
    pub(crate) snapshots: BTreeSet<Offset>,
    /// Deleted segments whose files are still there, and when they are due.
    pub(crate) doomed: VecDeque<(Timestamp, Offset)>,
    /// Segments that are being replaced by their compacted contents.
    pub(crate) swapping: Option<Swapping>,
    /// How often that was done.
    pub(crate) swap_count: u64,
    /// Whether the active segment was written to since it was opened.
    pub(crate) touched: bool,
    pub(crate) handles: Arc<Handles>,
}

/// Where a batch went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// The offset of its first record.
    pub base_offset: Offset,
    /// The offset of its last record.
    pub last_offset: Offset,
    /// The broker's time if the topic uses that, else -1; for a repetition the max timestamp of the original.
    pub log_append_time: Timestamp,
    /// The first offset of the log.
    pub log_start_offset: Offset,
    /// Whether it is a repetition, and the offsets are those of the original.
    pub duplicate: bool,
}

/// Why a batch was not appended. The log is as it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// Kafka: RECORD_LIST_TOO_LARGE.
    #[error("the batch has {bytes} bytes, more than a segment of {segment_bytes} can hold")]
    LargerThanSegment {
        /// Of the batch.
        bytes: usize,
        /// The limit.
        segment_bytes: u32,
    },
    /// The producer must not append it.
    #[error(transparent)]
    Producer(#[from] ProducerError),
    /// A control batch of a producer holds no end marker. Kafka: INVALID_RECORD.
    #[error("the control batch holds no transaction marker")]
    NoMarker,
    /// No offsets are left. Kafka: UNKNOWN_SERVER_ERROR.
    #[error("the log has reached the last offset")]
    OffsetsUsedUp,
}

impl Log {
    /// Begins to verify the transaction of a producer with the coordinator, whose batch has `sequence` as its first number.
    /// What it gives is to be shown to [`Log::append`]; nothing if the transaction is open already. `is_bumped`: the epoch
    /// rises with each transaction (KIP-890).
    pub fn verify(
        &mut self,
        now: Timestamp,
        producer: (ProducerId, ProducerEpoch),
        sequence: Sequence,
        is_bumped: bool,
    ) -> Result<Option<Guard>, ProducerError> {
        self.producers.verify(now, producer, sequence, is_bumped)
    }

    /// Appends a checked batch at the end, as the leader of `leader_epoch`. `guard` is what [`Log::verify`] gave.
    pub fn append(
        &mut self,
        now: Timestamp,
        leader_epoch: LeaderEpoch,
        (origin, guard): (Origin, Option<Guard>),
        batch: Checked,
        effects: &mut Vec<Effect>,
    ) -> Result<Appended, AppendError> {
        let header = *batch.header();
        let bytes = batch.bytes();
        if bytes as u64 > u64::from(self.config.segment_bytes) {
            return Err(AppendError::LargerThanSegment { bytes, segment_bytes: self.config.segment_bytes });
        }
        if self.end_offset.checked_add(i64::from(header.last_offset_delta) + 1).is_none() {
            return Err(AppendError::OffsetsUsedUp);
        }
        let mut marker = None;
        if header.has_producer() {
            let original = self.producers.duplicate_of(&header).filter(|_| origin == Origin::Client);
            if let Some(original) = original {
                return Ok(Appended {
                    base_offset: original.first_offset(),
                    last_offset: original.last_offset,
                    log_append_time: original.timestamp,
                    log_start_offset: self.start_offset,
                    duplicate: true,
                });
            }
            if header.attributes.is_control() {
                let found = EndTxnMarker::from_batch(batch.batch()).ok_or(AppendError::NoMarker)?;
                self.producers.check_marker(&header, &found, origin)?;
                marker = Some(found);
            } else {
                if header.attributes.is_transactional()
                    && self.config.transactions_verified
                    && origin != Origin::Replication
                {
                    self.producers.check_verified(&header, guard)?;
                }
                self.producers.check_data(&header, origin)?;
            }
        }
        let stamped = TailBatch::new(batch.stamp(self.end_offset, leader_epoch));
        let header = stamped.header;
        self.place(now, stamped, marker, effects);
        Ok(Appended {
            base_offset: header.base_offset,
            last_offset: header.last_offset(),
            log_append_time: match header.attributes.timestamp_type() {
                records::TimestampType::CreateTime => -1,
                records::TimestampType::LogAppendTime => header.max_timestamp,
            },
            log_start_offset: self.start_offset,
            duplicate: false,
        })
    }

    /// Puts a stamped batch at the end: nothing can go wrong any more.
    pub(crate) fn place(
        &mut self,
        now: Timestamp,
        batch: TailBatch,
        marker: Option<EndTxnMarker>,
        effects: &mut Vec<Effect>,
    ) {
        let header = batch.header;
        if self.epochs.assign(header.leader_epoch, header.base_offset) || self.epochs_unwritten {
            self.epochs_unwritten = false;
            effects.push(Effect::Epochs(self.epochs.entries().to_vec()));
        }
        if self.segments.last().is_none_or(|active| active.must_roll(now, &header, &self.config)) {
            self.roll(now, effects);
        }
        if let Some(active) = self.segments.last_mut() {
            let position = active.size;
            active.push(&header, &self.config, now, effects);
            effects.push(Effect::Write {
                segment: active.base_offset,
                position,
                next_offset: header.next_offset(),
                head: batch.head.clone(),
                body: batch.body.clone(),
            });
        }
        self.end_offset = header.next_offset();
        self.touched = true;
        self.tail.push(batch);
        self.note_producer(&header, marker, effects);
    }

    fn note_producer(
        &mut self,
        header: &BatchHeader,
        marker: Option<EndTxnMarker>,
        effects: &mut Vec<Effect>,
    ) {
        match marker {
            None if header.has_producer() && header.attributes.is_control() => {
                self.producers.on_emptied_marker(header);
            }
            None if header.has_producer() => self.producers.on_data(header),
            None => {}
            Some(marker) => {
                let aborted = self.producers.on_marker(header, &marker);
                if let (Some(aborted), Some(active)) = (aborted, self.segments.last_mut()) {
                    let ordinal = active.aborted.len() as u32;
                    effects.push(Effect::TxnIndex { segment: active.base_offset, ordinal, aborted });
                    active.aborted.push(aborted);
                }
            }
        }
    }

    /// Closes the active segment and begins a new one at the end; an empty active segment stays.
    pub fn roll(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        if let Some(active) = self.segments.last_mut() {
            if active.size == 0 && active.base_offset == self.end_offset {
                return;
            }
            active.index_time(effects);
            effects.push(Effect::Seal { segment: active.base_offset, next_offset: self.end_offset });
        }
        self.snapshot(effects);
        effects.push(Effect::Create { segment: self.end_offset });
        self.segments.push(Segment::new(self.end_offset, now));
    }

    /// Writes a snapshot of the producers at the end, unless there is one.
    fn snapshot(&mut self, effects: &mut Vec<Effect>) {
        if self.end_offset > self.start_offset && self.snapshots.insert(self.end_offset) {
            let bytes = producer_snapshot::encode(&self.producers);
            effects.push(Effect::Snapshot { offset: self.end_offset, bytes });
        }
    }

    /// Prepares a clean end: after these effects are performed with `sync`, the log opens again without reading data.
    /// Nothing may be appended after.
    pub fn close(&mut self, effects: &mut Vec<Effect>) {
        if let Some(active) = self.segments.last_mut().filter(|_| std::mem::take(&mut self.touched)) {
            active.index_time(effects);
            effects.push(Effect::Seal { segment: active.base_offset, next_offset: self.end_offset });
        }
        self.snapshot(effects);
    }

    /// Takes note of what was performed.
    pub fn flushed(&mut self, now: Timestamp, performed: &Performed) {
        if performed.swapped {
            self.swapped(now);
        } else if performed.swap_refused {
            self.swapping = None;
        }
        if let Some(upto) = performed.written_upto {
            self.written_offset = self.written_offset.max(upto);
        }
        if let Some(upto) = performed.synced_upto {
            self.synced(now, upto);
        }
    }

    /// Takes note that everything before `upto` is on stable storage, as [`crate::Sealed::sync`] says.
    pub fn synced(&mut self, now: Timestamp, upto: Offset) {
        self.synced_offset = self.synced_offset.max(upto);
        self.synced_at = now;
    }

    /// Whether the next effects are to be performed with `sync`: always with durable acknowledgements, else as
    /// `flush.messages` and `flush.ms` say.
    pub fn must_sync(&self, now: Timestamp) -> bool {
        let unsynced = self.end_offset - self.synced_offset;
        unsynced > 0
            && (self.config.durability == Durability::Fsync
                || unsynced >= self.config.flush_messages
                || now.saturating_sub(self.synced_at) >= self.config.flush_ms)
    }

    /// Changes the configuration from the next call on.
    pub fn configure(&mut self, config: Arc<LogConfig>) {
        let was_compacted = self.config.was_compacted;
        self.config = config;
        if was_compacted {
            self.remember_holes();
        }
    }

    /// The configuration.
    pub fn config(&self) -> &LogConfig {
        &self.config
    }

    /// The first offset that may be read.
    pub fn start_offset(&self) -> Offset {
        self.start_offset
    }

    /// The offset that the next record will have.
    pub fn end_offset(&self) -> Offset {
        self.end_offset
    }

    /// Everything before is as safe as the configured durability asks: acknowledgements wait for this.
    pub fn flushed_offset(&self) -> Offset {
        match self.config.durability {
            Durability::Fsync => self.synced_offset,
            Durability::PageCache => self.written_offset,
        }
    }

    /// Everything before is on stable storage; what `recovery-point-offset-checkpoint` holds.
    pub fn recovery_point(&self) -> Offset {
        self.synced_offset
    }

    /// The offset up to which readers of committed records may read.
    pub fn last_stable_offset(&self, high_watermark: Offset) -> Offset {
        let first_unstable = self.producers.first_unstable_offset(high_watermark);
        first_unstable.map_or(high_watermark, |first| first.max(self.start_offset).min(high_watermark))
    }

    /// Forgets ended transactions that the high watermark has passed. To be called when it moves; cheap.
    pub fn high_watermark_moved(&mut self, high_watermark: Offset) {
        self.producers.forget_replicated(high_watermark);
    }

    /// The leader epochs.
    pub fn epochs(&self) -> &Epochs {
        &self.epochs
    }

    /// The producers.
    pub fn producers(&self) -> &Producers {
        &self.producers
    }

    /// Forgets producers that were silent for longer than the configuration says.
    pub fn expire_producers(&mut self, now: Timestamp) {
        self.producers.expire(now, self.config.producer_id_expiration_ms);
    }

    /// Bytes of all batches in all segments.
    pub fn size_bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.size).sum()
    }

    /// How many segments there are.
    pub fn segment_count(&self) -> usize {
        self.segments.len()
    }

    /// The base offset of the segment that is written to.
    pub fn active_segment(&self) -> Offset {
        self.segments.last().map_or(self.start_offset, |segment| segment.base_offset)
    }

    /// The base offset of the first segment; the start offset may be above it.
    pub fn first_segment(&self) -> Offset {
        self.segments.first().map_or(self.start_offset, |segment| segment.base_offset)
    }

    /// Memory that the tail takes.
    pub fn tail_bytes(&self) -> usize {
        self.tail.bytes()
    }

    /// Frees at least `bytes` of the tail if so many can be spared; says how many were freed.
    pub fn trim_tail(&mut self, bytes: usize) -> usize {
        self.tail.trim(bytes, self.written_offset)
    }

    /// The aborted transactions that a reader of committed records must know for the offsets from `from` to before
    /// `upto`.
    pub fn aborted_transactions(&self, from: Offset, upto: Offset) -> Vec<AbortedTxn> {
        let first = self.floor_segment(from);
        let mut found = Vec::new();
        for aborted in self.segments.iter().skip(first).flat_map(|segment| &segment.aborted) {
            if aborted.last_offset >= from && aborted.first_offset < upto {
                found.push(*aborted);
            }
            if aborted.last_stable_offset >= upto {
                break;
            }
        }
        found
    }

    /// The index of the segment in which `offset` is, or the first one.
    pub(crate) fn floor_segment(&self, offset: Offset) -> usize {
        self.segments.partition_point(|segment| segment.base_offset <= offset).saturating_sub(1)
    }
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log")
            .field("start_offset", &self.start_offset)
            .field("end_offset", &self.end_offset)
            .field("written_offset", &self.written_offset)
            .field("synced_offset", &self.synced_offset)
            .field("segments", &self.segments.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

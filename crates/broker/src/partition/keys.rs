//! The key index of a partition: what is next to be done for it, and what readers find by it.
//!
//! [`log::Log`] knows what is indexed and plans both; `key_index` has it built. Readers get records and not postings: a posting
//! only says where one may be. What is not indexed yet, which is the end of the log, is read.

use super::{Isolation, Online, Partition, READ_TRIES, ReadOf, Refused, State, on_lane};
use log::{AbortedTxn, KeyPostings, KeyTask, KeyTurn, ReadPlan, Term};
use model::Offset;
use records::{Batch, BatchHeader, Decompressor, Message, Record};
use std::{
    io,
    sync::{Arc, atomic::Ordering},
};
use tokio::sync::oneshot;

/// How much of what is not indexed is read at once.
const SCAN_BYTES: usize = 1 << 20;
/// Less than any batch has: one is read, whatever its size.
const ONE_BATCH: usize = 1;
/// How many postings are looked up at once, and the records of so many read under one plan.
const POSTINGS: usize = 128;

/// Records of one key.
#[derive(Debug, Clone, Default)]
pub struct KeyRecords {
    /// In their order.
    pub records: Vec<Record>,
    /// None is missing before this offset.
    pub upto: Offset,
}

/// A stretch of the log, to be read on a lane.
struct Stretch {
    from: Offset,
    /// Of batches that begin at or behind this offset it is not known what of them counts.
    known_upto: Offset,
    plan: ReadPlan,
    /// What does not count.
    aborted: Vec<AbortedTxn>,
}

impl Partition {
    /// Whether it is to have a key index, or still has one, as far as that is known without its lock.
    pub(crate) fn has_key_index(&self) -> bool {
        self.config.load().key_index || self.has_keys.load(Ordering::Relaxed)
    }

    /// Notes whether it has one; what a start has left is seen within seconds.
    pub(super) fn note_keys(&self, online: &Online) {
        self.has_keys.store(online.log.has_keys(), Ordering::Relaxed);
    }

    /// How many records that readers may see are not indexed, and how many bytes of the index are in memory.
    pub(crate) fn key_index_load(&self) -> (u64, usize) {
        match &*self.state.lock() {
            State::Online(online) => {
                let behind = online.high_watermark - online.log.key_index_upto();
                (u64::try_from(behind).unwrap_or(0), online.log.key_index_bytes())
            }
            State::Offline(_) | State::Deleted => (0, 0),
        }
    }

    /// What is next to be done for the index, if anything is; what this gives beside is to be dropped when it was done, and
    /// neither a cut nor a removal begins before. Whoever says `may_replace` holds `maintenance` until it was told.
    pub(crate) fn begin_key_task(
        &self,
        seed: u64,
        (may_replace, pairs_max): (bool, usize),
    ) -> Option<(KeyTask, ReadOf, oneshot::Sender<()>)> {
        let mut state = self.state.lock();
        let State::Online(online) = &mut *state else { return None };
        let is_cut_soon = online.is_cutting || online.recovery_point_max.is_some();
        if is_cut_soon || online.is_closed || online.is_held || online.is_renamed || online.stuck.is_some() {
            return None;
        }
        let upto = online.high_watermark;
        let task = online.log.begin_key_task(KeyTurn { upto, seed, may_replace, pairs_max })?;
        let of = online.read_of(task.segment());
        let (ended, step) = oneshot::channel();
        online.upkeep.key_step = Some(step);
        Some((task, of, ended))
    }

    /// It has come so far.
    pub(crate) fn end_key_task(&self, task: KeyTask, of: ReadOf) {
        if let State::Online(online) = &mut *self.state.lock()
            && online.cuts == of.cuts
        {
            online.log.end_key_task(task);
            self.note_keys(online);
        }
    }

    /// The index of this segment is not what was written: it is built anew.
    pub(crate) fn discard_keys(&self, segment: Offset, of: ReadOf) {
        if let State::Online(online) = &mut *self.state.lock()
            && online.cuts == of.cuts
        {
            online.log.discard_keys(segment);
        }
    }

    /// Records with this key from `from` on that `isolation` lets readers see, about `max` at most. Where none is left,
    /// [`KeyRecords::upto`] is how far that reaches.
    pub(crate) async fn records_of_key(
        self: &Arc<Self>,
        key: &[u8],
        (from, isolation): (Offset, Isolation),
        max: usize,
    ) -> Result<KeyRecords, Refused> {
        let mut found = KeyRecords { records: Vec::new(), upto: from.max(self.start_offset()) };
        loop {
            let upto = self.visible_upto(isolation)?;
            if found.upto >= upto || found.records.len() >= max {
                return Ok(found);
            }
            let left = POSTINGS.min(max - found.records.len());
            let postings = self.key_postings(Term::key(key), (found.upto, isolation), left).await?;
            let next = postings.upto.min(upto);
            if next > found.upto {
                found.records.extend(self.read_those(key, postings.offsets, isolation).await?);
                found.upto = next;
            } else {
                let (records, next) = self.scan(key, found.upto, isolation).await?;
                found.records.extend(records);
                if next <= found.upto {
                    // What comes next cannot be read yet.
                    return Ok(found);
                }
                found.upto = next;
            }
        }
    }

    /// The last record with this key that `isolation` lets readers see.
    pub(crate) async fn newest_of_key(
        self: &Arc<Self>,
        key: &[u8],
        isolation: Isolation,
    ) -> Result<Option<Record>, Refused> {
        loop {
            let indexed_upto = self.key_indexed_upto()?;
            let (mut newest, mut at) = (None, indexed_upto);
            while at < self.visible_upto(isolation)? {
                let (mut records, next) = self.scan(key, at, isolation).await?;
                newest = records.pop().or(newest);
                if next <= at {
                    break;
                }
                at = next;
            }
            if newest.is_some() {
                return Ok(newest);
            }
            if let Some(newest) = self.newest_indexed(key, indexed_upto, isolation).await? {
                return Ok(newest);
            }
        }
    }

    /// The last record with this key before `below`, to where all is indexed; nothing if that is so no more.
    async fn newest_indexed(
        self: &Arc<Self>,
        key: &[u8],
        mut below: Offset,
        isolation: Isolation,
    ) -> Result<Option<Option<Record>>, Refused> {
        // What readers may not see yet is not read in vain, record by record.
        below = below.min(self.visible_upto(isolation)?);
        loop {
            let (found, (from, upto)) = self.newest_posting(Term::key(key), below).await?;
            if upto < below && below > self.start_offset() {
                return Ok(None);
            }
            if let Some(offset) = found {
                let record = self.read_those(key, vec![offset], isolation).await?.pop();
                if record.is_some() {
                    return Ok(Some(record));
                }
            } else if from <= self.start_offset() {
                return Ok(Some(None));
            }
            below = found.unwrap_or(from);
        }
    }

    /// The offsets of records that may bear this term, from `from` on, as far as `isolation` and the index go.
    pub(crate) async fn key_postings(
        self: &Arc<Self>,
        term: Term,
        (from, isolation): (Offset, Isolation),
        max: usize,
    ) -> Result<KeyPostings, Refused> {
        let upto = self.visible_upto(isolation)?;
        let look = |online: &Online| online.log.key_postings(term.clone(), from);
        let mut found = self.look_up(look, move |plan, disk| plan.postings(disk, max)).await?;
        found.offsets.retain(|offset| *offset < upto);
        Ok(found)
    }

    /// The last offset before `below` of a record that may bear this term, and of which stretch that is known.
    pub(crate) async fn newest_posting(
        self: &Arc<Self>,
        term: Term,
        below: Offset,
    ) -> Result<(Option<Offset>, (Offset, Offset)), Refused> {
        let look = |online: &Online| online.log.key_newest(term.clone(), below);
        self.look_up(look, |plan, disk| Ok((plan.newest(disk)?, plan.stretch()))).await
    }

    async fn look_up<T: Send + 'static>(
        self: &Arc<Self>,
        plan: impl Fn(&Online) -> log::KeyPlan,
        work: impl Fn(&log::KeyPlan, &dyn env::Disk) -> io::Result<T> + Clone + Send + 'static,
    ) -> Result<T, Refused> {
        for tried in 0..READ_TRIES {
            let (plan, of) = {
                let mut state = self.state.lock();
                let online = state.online()?;
                online.looked_up_at = self.shared.world.clock.wall();
                (plan(online), online.read_of(None))
            };
            let (disk, work) = (self.shared.world.disk.clone(), work.clone());
            let found = on_lane(&self.shared.world, move || work(&plan, &*disk)).await;
            match found.ok_or_else(stops)? {
                Ok(found) => return Ok(found),
                Err(error) => {
                    let is_missing = error.kind() == io::ErrorKind::NotFound;
                    // What is missing was replaced since it was planned, as a rule; not if it stays so.
                    let is_lasting = !is_missing || tried + 2 >= READ_TRIES;
                    if let Some(segment) = log::worthless_keys(&error).filter(|_| is_lasting) {
                        tracing::warn!(partition = %self, %error, "it is built anew");
                        self.discard_keys(segment, of);
                    } else if !log::is_moved(&error) && !is_missing {
                        return Err(self.unreadable(&error));
                    }
                    self.written().await;
                }
            }
        }
        Err(Refused::Offline(format!("the key index of {self} changes all the time").into()))
    }

    /// Those records at these offsets that have the key and count.
    async fn read_those(
        self: &Arc<Self>,
        key: &[u8],
        offsets: Vec<Offset>,
        isolation: Isolation,
    ) -> Result<Vec<Record>, Refused> {
        let (records, _) = self.read_stretches(key, (&offsets, ONE_BATCH), isolation).await?;
        Ok(records.into_iter().filter(|record| offsets.binary_search(&record.offset).is_ok()).collect())
    }

    /// The records with the key in the next stretch of the log, and where it ends.
    async fn scan(
        self: &Arc<Self>,
        key: &[u8],
        from: Offset,
        isolation: Isolation,
    ) -> Result<(Vec<Record>, Offset), Refused> {
        let (mut records, next) = self.read_stretches(key, (&[from], SCAN_BYTES), isolation).await?;
        records.retain(|record| record.offset >= from);
        Ok((records, next))
    }

    /// What has the key and counts in stretches that begin with the batches of these offsets, and where the last one ends.
    async fn read_stretches(
        self: &Arc<Self>,
        key: &[u8],
        (from, bytes_max): (&[Offset], usize),
        isolation: Isolation,
    ) -> Result<(Vec<Record>, Offset), Refused> {
        for _ in 0..READ_TRIES {
            let (stretches, plain_bytes_max, of) = {
                let mut state = self.state.lock();
                let online = state.online()?;
                let upto = online.visible(isolation);
                let plan = |from: &Offset| Stretch::plan(&online.log, (*from, upto), bytes_max, isolation);
                let stretches: Vec<_> = from.iter().map(plan).collect();
                let first = stretches.first().and_then(Stretch::segment);
                (stretches, online.log.config().plain_bytes_max, online.read_of(first))
            };
            let (disk, key) = (self.shared.world.disk.clone(), key.to_vec());
            let read = on_lane(&self.shared.world, move || {
                let (mut records, mut next) = (Vec::new(), 0);
                for stretch in stretches {
                    // One batch may hold several of them.
                    if stretch.from >= next {
                        next = stretch.read(&*disk, &key, plain_bytes_max, &mut records)?;
                    }
                }
                Ok((records, next))
            });
            match read.await.ok_or_else(stops)? {
                Ok(read) => return Ok(read),
                Err(error) if log::is_moved(&error) => self.written().await,
                // Of a segment that was deleted meanwhile nobody has to know anything.
                Err(error) if error.kind() == io::ErrorKind::NotFound => self.written().await,
                Err(error) => {
                    self.on_read_error(&error, of);
                    return Err(self.unreadable(&error));
                }
            }
        }
        Err(Refused::Offline(format!("the segments of {self} change all the time").into()))
    }

    fn unreadable(&self, error: &io::Error) -> Refused {
        Refused::Offline(format!("{self} could not be read: {error}").into())
    }

    fn visible_upto(&self, isolation: Isolation) -> Result<Offset, Refused> {
        Ok(self.state.lock().online()?.visible(isolation))
    }

    pub(crate) fn key_indexed_upto(&self) -> Result<Offset, Refused> {
        Ok(self.state.lock().online()?.log.key_index_upto())
    }
}

impl Stretch {
    /// Of batches from the one with an offset on that readers may see.
    fn plan(log: &log::Log, (from, upto): (Offset, Offset), bytes_max: usize, isolation: Isolation) -> Self {
        let plan = log.read(from, upto, bytes_max, true);
        // There may be very many of them: for one batch only those in which it may be.
        let known_upto = if bytes_max == ONE_BATCH { from.saturating_add(1).min(upto) } else { upto };
        let aborted = match isolation {
            Isolation::LastStable => log.aborted_transactions(from, known_upto),
            Isolation::HighWatermark | Isolation::LogEnd => Vec::new(),
        };
        Self { from, known_upto, plan, aborted }
    }

    fn segment(&self) -> Option<Offset> {
        match &self.plan {
            ReadPlan::File(plan) => plan.segment(),
            ReadPlan::Memory(_) | ReadPlan::OutOfRange { .. } => None,
        }
    }

    /// Adds the records that have the key and count; gives the offset behind the last batch. Runs on a lane.
    fn read(
        self,
        disk: &dyn env::Disk,
        key: &[u8],
        plain_bytes_max: usize,
        found: &mut Vec<Record>,
    ) -> io::Result<Offset> {
        let (slice, is_file) = match self.plan {
            ReadPlan::Memory(slice) => (slice, false),
            ReadPlan::File(plan) => {
                let upto = plan.upto();
                let slice = plan.load(disk)?;
                if slice.parts.is_empty() {
                    // Compaction has left nothing of what there was.
                    return Ok(upto);
                }
                (slice, true)
            }
            // It was deleted.
            ReadPlan::OutOfRange { start_offset, .. } => return Ok(start_offset.max(self.from)),
        };
        let mut bytes = slice.parts.to_bytes().unwrap_or_default();
        let mut decompressor = Decompressor::new();
        let mut note = |record: Record| {
            if record.key.as_deref() == Some(key) {
                found.push(record);
            }
        };
        while !bytes.is_empty() {
            // What its producer has sent so that it cannot be read no reader gets anything of.
            if let Some(batch) = Batch::split_off(&mut bytes) {
                if is_file && !batch.is_intact() {
                    return Err(damaged(batch.header.base_offset, "its checksum is wrong"));
                }
                if batch.header.base_offset >= self.known_upto {
                    return Ok(batch.header.base_offset.max(self.from.saturating_add(1)));
                }
                let is_hidden = self.aborted.iter().any(|txn| is_of(&batch.header, txn));
                if !is_hidden && !batch.header.attributes.is_control() {
                    let _ = batch.each_record(plain_bytes_max, &mut decompressor, &mut note);
                }
            } else {
                let message = Message::split_off(&mut bytes);
                let message = message.map_err(|error| damaged(self.from, &error.to_string()))?;
                let records = message.records(plain_bytes_max, &mut decompressor);
                records.into_iter().flatten().for_each(&mut note);
            }
        }
        Ok(slice.next_offset)
    }
}

/// Whether a batch is part of an aborted transaction.
fn is_of(header: &BatchHeader, txn: &AbortedTxn) -> bool {
    let offsets = txn.first_offset..=txn.last_offset;
    header.attributes.is_transactional()
        && header.producer_id == txn.producer_id
        && offsets.contains(&header.base_offset)
}

fn damaged(offset: Offset, why: &str) -> io::Error {
    let why = format!("the batch at offset {offset} or behind it is damaged: {why}");
    io::Error::new(io::ErrorKind::InvalidData, why)
}

fn stops() -> Refused {
    Refused::Offline("the broker stops".into())
}

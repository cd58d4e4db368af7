//! The key index of a partition: what is next to be done for it, and what readers find by it.
//!
//! [`log::Log`] knows what is indexed and plans both; `key_index` has it built. Readers get records and not postings: a posting
//! only says where one may be. What is not indexed yet, which is the end of the log, is read.

use super::{Isolation, Online, Partition, READ_TRIES, ReadOf, Refused, State, on_lane};
use log::{AbortedTxn, KeyPostings, KeyTask, KeyTurn, ReadPlan, Term};
use model::Offset;
use records::{Batch, BatchHeader, Decompressor, Message, Record};
use std::{io, sync::Arc};
use tokio::sync::oneshot;

/// How much of what is not indexed is read at once.
const SCAN_BYTES: usize = 1 << 20;
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
    upto: Offset,
    plan: ReadPlan,
    /// What does not count.
    aborted: Vec<AbortedTxn>,
}

impl Partition {
    /// Whether it is to have a key index, or still has one.
    pub(crate) fn has_key_index(&self) -> bool {
        self.config.load().key_index
            || matches!(&*self.state.lock(), State::Online(online) if online.log.has_keys())
    }

    /// How many records that readers may see are not indexed.
    pub(crate) fn key_index_behind(&self) -> u64 {
        match &*self.state.lock() {
            State::Online(online) => {
                u64::try_from(online.high_watermark - online.log.key_index_upto()).unwrap_or(0)
            }
            State::Offline(_) | State::Deleted => 0,
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
        for _ in 0..READ_TRIES {
            let (plan, of) = {
                let mut state = self.state.lock();
                let online = state.online()?;
                (plan(online), online.read_of(None))
            };
            let (disk, work) = (self.shared.world.disk.clone(), work.clone());
            let found = on_lane(&self.shared.world, move || work(&plan, &*disk)).await;
            match found.ok_or_else(stops)? {
                Ok(found) => return Ok(found),
                Err(error) => {
                    if let Some(segment) = log::worthless_keys(&error) {
                        tracing::warn!(partition = %self, %error, "it is built anew");
                        self.discard_keys(segment, of);
                    } else if !log::is_moved(&error) && error.kind() != io::ErrorKind::NotFound {
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
        // One batch each.
        let (records, _) = self.read_stretches(key, (&offsets, 1), isolation).await?;
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
        let aborted = match isolation {
            Isolation::LastStable => log.aborted_transactions(from, upto),
            Isolation::HighWatermark | Isolation::LogEnd => Vec::new(),
        };
        Self { from, upto, plan, aborted }
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
        let slice = match self.plan {
            ReadPlan::Memory(slice) => slice,
            ReadPlan::File(plan) => plan.load(disk)?,
            // It was deleted.
            ReadPlan::OutOfRange { start_offset, .. } => return Ok(start_offset.max(self.from)),
        };
        if slice.parts.is_empty() {
            // Compaction has left nothing of what there was.
            return Ok(self.upto);
        }
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
                let is_hidden = self.aborted.iter().any(|txn| is_of(&batch.header, txn));
                if !is_hidden && !batch.header.attributes.is_control() {
                    let _ = batch.each_record(plain_bytes_max, &mut decompressor, &mut note);
                }
            } else {
                let Ok(message) = Message::split_off(&mut bytes) else { break };
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

fn stops() -> Refused {
    Refused::Offline("the broker stops".into())
}

//! What becomes of one batch when a log is compacted: it stays, loses records, is emptied, or goes.
//!
//! It does no I/O; `clean::cleaning` walks over the segments and writes what stays.

use super::{key_map::KeyMap, transactions::Transactions};
use crate::AbortedTxn;
use bytes::Bytes;
use mailbox::headers;
use model::{Offset, ProducerEpoch, ProducerId, Timestamp};
use records::{Batch, Decompressor, EndTxnMarker, Filter, RecordError, RecordView};
use std::{collections::BTreeMap, io};

/// What is known of the last batch of an active producer: it stays, emptied if need be, or the next start would take
/// what the producer sends for out of order, and a zombie for nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LastBatch {
    /// It ends with this offset.
    Data(Offset),
    /// It is a marker: the last of this epoch.
    Marker(ProducerEpoch),
}

/// The rules of one pass.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) now: Timestamp,
    /// `delete.retention.ms`.
    pub(crate) delete_retention_ms: i64,
    /// Where the pass ends: the last batch before it stays, so that no end of a log is lost.
    pub(crate) upper_bound: Offset,
    /// The most that the records of a batch may stand for.
    pub(crate) plain_bytes_max: usize,
    pub(crate) last_batches: BTreeMap<ProducerId, LastBatch>,
}

/// What becomes of a batch.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It stays as it is.
    Stays,
    /// This stays of it.
    Becomes(Batch),
    /// Nothing stays of it.
    Goes,
}

impl Rules {
    /// Judges a batch; also gives the aborted transaction that it ends, if batches of it are left.
    pub(crate) fn judge(
        &self,
        batch: &Batch,
        map: &KeyMap,
        transactions: &mut Transactions,
        decompressor: &mut Decompressor,
    ) -> Result<(Verdict, Option<AbortedTxn>), RecordError> {
        let header = &batch.header;
        let is_control = header.attributes.is_control();
        let (is_needless, aborted) = match is_control {
            true => {
                let seen = transactions.on_control(header, EndTxnMarker::from_batch(batch));
                (seen.is_needless, seen.aborted)
            }
            false => (transactions.on_data(header), None),
        };
        let is_due = |horizon: Timestamp| horizon <= self.now;
        let all_go = is_needless && (!is_control || header.delete_horizon().is_some_and(is_due));
        let must_stay = self.is_last_of_producer(batch) || header.next_offset() == self.upper_bound;
        let emptied = match must_stay {
            true if header.record_count == 0 => Verdict::Stays,
            true => Verdict::Becomes(Batch::emptied(header)),
            false => Verdict::Goes,
        };
        if all_go || header.record_count == 0 {
            return Ok((emptied, aborted));
        }
        let stays_control = is_control && Self::stays_control(batch, map);
        let filter = Filter::new(batch, self.plain_bytes_max, decompressor, |record| {
            if is_control { stays_control } else { self.stays(batch, &record, map) }
        })?;
        let verdict = match filter.kept() {
            0 => emptied,
            _ => {
                // The time of a tombstone begins when this pass knows of it, and not when it only copies it: all that it hides
                // must be gone when it goes.
                let is_known = header.next_offset() > map.from() && header.next_offset() <= map.upto();
                let is_doomed = (filter.has_tombstones() && is_known) || (is_control && is_needless);
                let is_new = is_doomed && header.delete_horizon().is_none();
                let horizon = is_new.then(|| self.now.saturating_add(self.delete_retention_ms));
                match filter.is_whole() && horizon.is_none() {
                    true => Verdict::Stays,
                    false => Verdict::Becomes(filter.build(batch, horizon).map_err(io_error)?),
                }
            }
        };
        Ok((verdict, aborted))
    }

    /// Whether the record with this key and offset is the last one of its key, as far as this pass knows.
    pub(crate) fn is_latest(key: Option<&[u8]>, offset: Offset, map: &KeyMap) -> bool {
        match key {
            _ if offset >= map.upto() => true,
            // What has no key cannot be asked for by one; produce refuses such.
            None => false,
            Some(key) => map.latest(key).is_none_or(|latest| offset >= latest),
        }
    }

    /// What is said of a mailbox stays until something is behind it, a record of its key or the like: if it outlived the tombstone, the
    /// mailbox would be there again.
    fn stays_control(batch: &Batch, map: &KeyMap) -> bool {
        let offset = batch.header.base_offset;
        let Some(key) = mailbox_of(batch) else { return true };
        let is_last = map.latest_control(&key).is_none_or(|latest| offset >= latest);
        is_last && Self::is_latest(Some(&key), offset, map)
    }

    fn stays(&self, batch: &Batch, record: &RecordView<'_>, map: &KeyMap) -> bool {
        let is_tombstone_over =
            !record.has_value && batch.header.delete_horizon().is_some_and(|horizon| horizon <= self.now);
        Self::is_latest(record.key, record.offset, map) && (record.offset >= map.upto() || !is_tombstone_over)
    }

    fn is_last_of_producer(&self, batch: &Batch) -> bool {
        let header = &batch.header;
        header.has_producer()
            && match self.last_batches.get(&header.producer_id) {
                None => false,
                Some(LastBatch::Data(last_offset)) => header.last_offset() == *last_offset,
                Some(LastBatch::Marker(epoch)) => {
                    header.attributes.is_control() && header.producer_epoch == *epoch
                }
            }
    }
}

/// The key of the mailbox that a control batch is about; `None` of others.
pub(super) fn mailbox_of(batch: &Batch) -> Option<Bytes> {
    // They are never compressed, and have one record.
    let records = batch.records(batch.bytes.len(), &mut Decompressor::new()).ok()?;
    let record =
        records.into_iter().next().filter(|record| record.key.as_deref() == Some(&headers::CONTROL_KEY))?;
    record.headers.into_iter().find(|header| header.key[..] == *headers::KEY.as_bytes())?.value
}

fn io_error(error: io::Error) -> RecordError {
    RecordError::Decompression(error)
}

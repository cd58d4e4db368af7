//! The entries of the Raft log as they lie in `__cluster_metadata`: one entry is one batch.
//!
//! It keeps, in memory, where each entry since the last purge stands, and decides what bytes a new one gets. The files
//! are those of `log`; whoever calls this carries out the effects.

use crate::{
    compact::Malformed,
    control_records,
    entry::Payload,
    member::Replica,
    type_config::{Entry, LogId, Membership, StoredMembership, epoch_of, log_id},
};
use bytes::Bytes;
use log::{Effect, Log, Origin};
use model::{LeaderEpoch, Offset, Timestamp};
use openraft::entry::RaftEntry;
use records::{Batch, Checked};
use std::{collections::VecDeque, io, ops::Range, sync::Arc};

/// An entry of the log.
#[derive(Debug, Clone)]
pub(crate) struct Slot {
    pub(crate) epoch: LeaderEpoch,
    pub(crate) base_offset: Offset,
    pub(crate) next_offset: Offset,
    pub(crate) bytes: usize,
    pub(crate) max_timestamp: Timestamp,
    pub(crate) membership: Option<Arc<Membership>>,
}

/// The log with its entries.
pub(crate) struct MetadataLog {
    pub(crate) log: Log,
    /// The last entry that is only in a snapshot.
    purged: Option<LogId>,
    /// The offset after it.
    start_offset: Offset,
    slots: VecDeque<Slot>,
}

impl MetadataLog {
    /// A log whose entries begin behind `purged`; `batches` are all that it holds.
    pub(crate) fn new(log: Log, purged: Option<LogId>, start_offset: Offset) -> Self {
        Self { log, purged, start_offset, slots: VecDeque::new() }
    }

    /// Takes note of the next batch that is in the files already.
    pub(crate) fn found(&mut self, batch: &Batch) -> Result<(), Malformed> {
        let header = &batch.header;
        if !batch.is_intact() || header.base_offset != self.end_offset_known() {
            return Err(Malformed(format!("the batch at offset {} is damaged", header.base_offset)));
        }
        if header.leader_epoch < self.last().map_or(0, |last| *last.leader_id as i32) {
            return Err(Malformed(format!("the epoch goes back at offset {}", header.base_offset)));
        }
        self.slots.push_back(slot(batch, control_records::membership_of(batch)?.map(Arc::new)));
        Ok(())
    }

    fn end_offset_known(&self) -> Offset {
        self.slots.back().map_or(self.start_offset, |slot| slot.next_offset)
    }

    /// The last entry that is only in a snapshot.
    pub(crate) fn purged(&self) -> Option<LogId> {
        self.purged
    }

    /// The last entry, or the last purged one.
    pub(crate) fn last(&self) -> Option<LogId> {
        let last = self.slots.back().map(|slot| log_id(slot.epoch, self.next_index() - 1));
        last.or(self.purged)
    }

    fn first_index(&self) -> u64 {
        self.purged.map_or(0, |purged| purged.index + 1)
    }

    fn next_index(&self) -> u64 {
        self.first_index() + self.slots.len() as u64
    }

    /// The entry of an index, if it is in the log.
    pub(crate) fn slot(&self, index: u64) -> Option<&Slot> {
        self.slots.get(usize::try_from(index.checked_sub(self.first_index())?).ok()?)
    }

    /// The log id of an index, if it is in the log or the last purged one.
    pub(crate) fn log_id(&self, index: u64) -> Option<LogId> {
        let purged = self.purged.filter(|purged| purged.index == index);
        purged.or_else(|| self.slot(index).map(|slot| log_id(slot.epoch, index)))
    }

    /// The offset after an entry that is in the log or the last purged one.
    pub(crate) fn offset_after(&self, index: u64) -> Option<Offset> {
        match self.purged {
            Some(purged) if purged.index == index => Some(self.start_offset),
            _ => self.slot(index).map(|slot| slot.next_offset),
        }
    }

    /// The entry that ends before `offset`, with its index.
    pub(crate) fn entry_before(&self, offset: Offset) -> Option<(u64, &Slot)> {
        let at = self.slots.binary_search_by_key(&offset, |slot| slot.next_offset).ok()?;
        Some((self.first_index() + at as u64, self.slots.get(at)?))
    }

    /// Who takes part after the entry of `index`, if an entry in the log says it.
    pub(crate) fn membership_at(&self, index: u64) -> Option<StoredMembership> {
        let count = usize::try_from((index + 1).checked_sub(self.first_index())?).ok()?;
        let (at, slot) =
            self.slots.iter().take(count).enumerate().rev().find(|(_, slot)| slot.membership.is_some())?;
        let membership = Membership::clone(slot.membership.as_deref()?);
        Some(StoredMembership::new(Some(log_id(slot.epoch, self.first_index() + at as u64)), membership))
    }

    /// The part of `indexes` that is in the log, cut after `bytes_max` bytes but not before the first entry.
    pub(crate) fn clamp(&self, indexes: Range<u64>, bytes_max: usize) -> Range<u64> {
        let start = indexes.start.max(self.first_index());
        let end = indexes.end.min(self.next_index()).max(start);
        let mut bytes = 0;
        let mut upto = start;
        while upto < end
            && let Some(slot) = self.slot(upto)
        {
            bytes += slot.bytes;
            if bytes > bytes_max && upto > start {
                break;
            }
            upto += 1;
        }
        start..upto
    }

    /// Where a read of about `bytes_max` bytes from `from` on ends: behind a batch, and not behind `upto`.
    pub(crate) fn end_of_read(&self, from: Offset, upto: Offset, bytes_max: usize) -> Offset {
        let first = self.slots.partition_point(|slot| slot.next_offset <= from);
        let (mut end, mut bytes) = (from, 0);
        for slot in self.slots.range(first..).take_while(|slot| slot.next_offset <= upto) {
            bytes += slot.bytes;
            if bytes > bytes_max && end > from {
                break;
            }
            end = slot.next_offset;
        }
        end
    }

    /// The entry of `index` with the bytes that were read for it.
    pub(crate) fn to_entry(index: u64, slot: &Slot, batch: Bytes) -> Entry {
        let payload = Payload::Stored { batch, membership: slot.membership.clone() };
        Entry::new(log_id(slot.epoch, index), payload)
    }

    /// Puts an entry at the end. A new one gets its offsets here; one from a leader must stand where it says.
    pub(crate) fn append(
        &mut self,
        now: Timestamp,
        replica: Replica,
        entry: Entry,
        effects: &mut Vec<Effect>,
    ) -> io::Result<()> {
        if entry.log_id.index != self.next_index() {
            return Err(
                Malformed(format!("entry {} does not follow {}", entry.log_id, self.next_index())).into()
            );
        }
        let epoch = epoch_of(*entry.log_id.leader_id)
            .ok_or_else(|| Malformed(format!("there are no leader epochs left at {}", entry.log_id)))?;
        let (batch, membership) = self.to_batch(now, replica, epoch, entry)?;
        let (bytes, max_timestamp) = (batch.bytes.len(), batch.header.max_timestamp);
        let origin = (Origin::Replication, None);
        let appended = self.log.append(now, epoch, origin, Checked::trusted(batch), effects);
        let appended = appended.map_err(io::Error::other)?;
        self.slots.push_back(Slot {
            epoch,
            base_offset: appended.base_offset,
            next_offset: appended.last_offset + 1,
            bytes,
            max_timestamp,
            membership,
        });
        Ok(())
    }

    fn to_batch(
        &self,
        now: Timestamp,
        replica: Replica,
        epoch: LeaderEpoch,
        entry: Entry,
    ) -> io::Result<(Batch, Option<Arc<Membership>>)> {
        // What every founding voter writes by itself must be the same bytes everywhere.
        let now = if epoch == 0 { 0 } else { now };
        Ok(match entry.payload {
            Payload::Blank => {
                let membership = self.last().and_then(|last| self.membership_at(last.index));
                let voters: Vec<_> =
                    membership.iter().flat_map(|membership| membership.voter_ids()).collect();
                (control_records::leader_change(now, replica, &voters)?, None)
            }
            Payload::Membership(membership) => {
                let known = self.last().and_then(|last| self.membership_at(last.index));
                let first = self.purged.is_none() && known.is_none();
                (control_records::voters(now, &membership, first)?, Some(membership))
            }
            Payload::Records(proposal) => (single_batch(proposal.batch)?, None),
            Payload::Stored { batch, membership } => {
                let batch = single_batch(batch)?;
                let (base, end) = (batch.header.base_offset, self.log.end_offset());
                if base != end || batch.header.leader_epoch != epoch {
                    let wrong = format!("the leader's batch of offset {base} cannot stand at {end}");
                    return Err(Malformed(wrong).into());
                }
                (batch, membership)
            }
        })
    }

    /// Forgets the entries behind `last` and says where the log must end.
    pub(crate) fn truncate_after(&mut self, last: Option<LogId>) -> Offset {
        let keep = last.map_or(0, |last| (last.index + 1).saturating_sub(self.first_index()));
        self.slots.truncate(usize::try_from(keep).unwrap_or(usize::MAX));
        self.end_offset_known()
    }

    /// Forgets the entries up to `upto`, which are in a snapshot that ends at `end_offset`.
    pub(crate) fn purge(
        &mut self,
        now: Timestamp,
        upto: LogId,
        end_offset: Offset,
        effects: &mut Vec<Effect>,
    ) {
        let count = (upto.index + 1).saturating_sub(self.first_index());
        self.slots.drain(..self.slots.len().min(count as usize));
        (self.purged, self.start_offset) = (Some(upto), end_offset);
        if self.log.delete_records_before(end_offset, end_offset, effects).is_ok() {
            self.log.retain(now, end_offset, effects);
            self.log.purge(now, effects);
        }
    }
}

fn slot(batch: &Batch, membership: Option<Arc<Membership>>) -> Slot {
    let header = &batch.header;
    Slot {
        epoch: header.leader_epoch,
        base_offset: header.base_offset,
        next_offset: header.next_offset(),
        bytes: batch.bytes.len(),
        max_timestamp: header.max_timestamp,
        membership,
    }
}

/// Exactly one intact batch with at least one record.
pub(crate) fn single_batch(mut bytes: Bytes) -> Result<Batch, Malformed> {
    let batch = Batch::split_off(&mut bytes)
        .filter(|batch| bytes.is_empty() && batch.is_intact() && batch.header.last_offset_delta >= 0);
    batch.ok_or_else(|| Malformed("an entry is exactly one intact batch".into()))
}

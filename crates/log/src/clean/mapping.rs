//! The first part of a pass: which record of each key is the last one in the dirty part of the log.
//!
//! Records of aborted transactions do not count, for nobody may see them. It ends early when the map is full: then only
//! what it knows of is compacted, and the next pass begins behind it.

use super::{
    CleanError, Source, filter::mailbox_of, key_map::KeyMap, transactions::Transactions, walk::Walk,
};
use crate::{handles::Handles, index, scan::Found};
use bytes::Bytes;
use env::Disk;
use model::Offset;
use records::{Batch, Decompressor, EndTxnMarker, Filter, Message};
use std::{collections::VecDeque, sync::Arc};

/// How far it has come.
pub(crate) struct Mapping {
    pub(crate) handles: Arc<Handles>,
    pub(crate) map: KeyMap,
    pub(crate) transactions: Transactions,
    pub(crate) first_dirty: Offset,
    pub(crate) left: VecDeque<Source>,
    pub(crate) walk: Option<Walk>,
    pub(crate) window_bytes: usize,
    pub(crate) plain_bytes_max: usize,
    pub(crate) decompressor: Decompressor,
}

impl Mapping {
    /// Reads at most about `bytes_max` bytes of one segment; gives how many, and whether that was all there is.
    pub(crate) fn step(&mut self, disk: &dyn Disk, bytes_max: u64) -> Result<(u64, bool), CleanError> {
        let mut walk = match self.walk.take() {
            Some(walk) => walk,
            None => match self.left.pop_front() {
                None => return Ok((0, true)),
                Some(source) => self.open(disk, source)?,
            },
        };
        let (read, is_more) = self.read(&mut walk, bytes_max)?;
        self.walk = is_more.then_some(walk);
        Ok((read, self.map.is_full()))
    }

    /// Reads on in a segment; gives how many bytes, and whether there are more.
    fn read(&mut self, walk: &mut Walk, bytes_max: u64) -> Result<(u64, bool), CleanError> {
        let (file, next) = (walk.file(), walk.source.next);
        let mut ahead = walk.ahead(&*file, self.window_bytes);
        let mut read = 0;
        while read < bytes_max && !self.map.is_full() {
            let Some((found, bytes)) = ahead.next()? else {
                self.map.reached(next);
                return Ok((read, false));
            };
            read += found.bytes;
            if found.last_offset >= self.first_dirty {
                self.note(&found, bytes)
                    .map_err(|why| CleanError::Unreadable { offset: found.base_offset, why })?;
                self.map.reached(found.next_offset());
            }
        }
        Ok((read, true))
    }

    /// The offset index shows where the dirty part begins; whether it is right is seen when it is read.
    fn open(&self, disk: &dyn Disk, source: Source) -> Result<Walk, CleanError> {
        let from = self.first_dirty;
        let position = match source.base < from {
            true => index::position_of(disk, &self.handles, source.base, from)?,
            false => 0,
        };
        Ok(Walk::open(disk, &self.handles, source, position)?)
    }

    fn note(&mut self, found: &Found, bytes: Bytes) -> Result<(), String> {
        let (from, map) = (self.first_dirty, &mut self.map);
        let mut put = |key: Option<&[u8]>, offset: Offset| {
            if let Some(key) = key.filter(|_| offset >= from) {
                map.put(key, offset);
            }
        };
        let Some(header) = found.header else {
            let mut bytes = bytes;
            let message = Message::split_off(&mut bytes).map_err(|error| error.to_string())?;
            let records = message.records(self.plain_bytes_max, &mut self.decompressor);
            for record in records.map_err(|error| error.to_string())? {
                put(record.key.as_deref(), record.offset);
            }
            return Ok(());
        };
        let batch = Batch { header, bytes };
        if header.attributes.is_control() {
            self.transactions.on_control(&header, EndTxnMarker::from_batch(&batch));
            if let Some(key) = mailbox_of(&batch).filter(|_| header.base_offset >= from) {
                self.map.put_control(&key, header.base_offset);
            }
            return Ok(());
        }
        if self.transactions.on_data(&header) {
            return Ok(());
        }
        let walked = Filter::new(&batch, self.plain_bytes_max, &mut self.decompressor, |record| {
            put(record.key, record.offset);
            false
        });
        walked.map(drop).map_err(|error| error.to_string())
    }
}

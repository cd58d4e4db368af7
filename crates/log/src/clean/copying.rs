//! The second part of a pass: segments are written anew, group by group from the beginning of the log, with what stays of
//! them.
//!
//! The order matters: a tombstone goes in the same group as the records that it hides, or after them, never before.

use super::{
    CleanError, Cleaned, Source,
    filter::{Rules, Verdict},
    key_map::KeyMap,
    output::Output,
    transactions::Transactions,
    walk::Walk,
};
use crate::{LogConfig, handles::Handles, index, scan::Found};
use bytes::Bytes;
use env::Disk;
use records::{Batch, Decompressor, Message};
use std::{collections::VecDeque, sync::Arc};

/// How far it has come.
pub(crate) struct Copying {
    pub(crate) handles: Arc<Handles>,
    pub(crate) config: Arc<LogConfig>,
    pub(crate) map: KeyMap,
    pub(crate) transactions: Transactions,
    pub(crate) left: VecDeque<Vec<Source>>,
    pub(crate) group: Option<Group>,
    pub(crate) window_bytes: usize,
    pub(crate) decompressor: Decompressor,
}

/// Segments that become one.
pub(crate) struct Group {
    sources: Vec<Source>,
    at: usize,
    walk: Option<Walk>,
    pub(crate) output: Output,
}

/// What a slice has brought.
pub(crate) enum Copied {
    /// So many bytes were read, and so many written.
    Some { read: u64, written: u64 },
    /// A group is complete: what it had and what it has, and what takes its place unless that would be its equal.
    Group { before: u64, after: u64, cleaned: Option<Box<Cleaned>> },
    /// There is no group left.
    All,
}

impl Copying {
    /// Reads at most about `bytes_max` bytes of one segment.
    pub(crate) fn step(
        &mut self,
        disk: &dyn Disk,
        rules: &Rules,
        bytes_max: u64,
    ) -> Result<Copied, CleanError> {
        let mut group = match self.group.take() {
            Some(group) => group,
            None => match self.left.pop_front() {
                None => return Ok(Copied::All),
                Some(sources) => self.open(disk, rules, sources)?,
            },
        };
        let stepped = self.copy(disk, rules, bytes_max, &mut group);
        match stepped {
            Ok(None) => self.finish(disk, rules, group),
            Ok(Some(copied)) => {
                self.group = Some(group);
                Ok(copied)
            }
            Err(error) => {
                // For whoever discards it.
                self.group = Some(group);
                Err(error)
            }
        }
    }

    fn open(&self, disk: &dyn Disk, rules: &Rules, sources: Vec<Source>) -> Result<Group, CleanError> {
        let base = sources.first().map_or(0, |source| source.base);
        let output = Output::create(disk, &self.handles, base, rules.now)?;
        Ok(Group { sources, at: 0, walk: None, output })
    }

    /// `None` once all of the group was read.
    fn copy(
        &mut self,
        disk: &dyn Disk,
        rules: &Rules,
        bytes_max: u64,
        group: &mut Group,
    ) -> Result<Option<Copied>, CleanError> {
        let mut walk = match group.walk.take() {
            Some(walk) => walk,
            None => match group.sources.get(group.at).cloned() {
                None => return Ok(None),
                Some(source) => {
                    group.at += 1;
                    Walk::open(disk, &self.handles, source, 0)?
                }
            },
        };
        let before = group.output.bytes();
        let (read, is_more) = self.read(rules, bytes_max, &mut walk, &mut group.output)?;
        group.walk = is_more.then_some(walk);
        Ok(Some(Copied::Some { read, written: group.output.bytes() - before }))
    }

    /// Reads on in a segment; gives how many bytes, and whether there are more.
    fn read(
        &mut self,
        rules: &Rules,
        bytes_max: u64,
        walk: &mut Walk,
        output: &mut Output,
    ) -> Result<(u64, bool), CleanError> {
        let file = walk.file();
        let mut ahead = walk.ahead(&*file, self.window_bytes);
        let mut read = 0;
        while read < bytes_max {
            let Some((found, bytes)) = ahead.next()? else { return Ok((read, false)) };
            read += found.bytes;
            self.judge(rules, &found, bytes, output)?;
        }
        Ok((read, true))
    }

    fn judge(
        &mut self,
        rules: &Rules,
        found: &Found,
        bytes: Bytes,
        output: &mut Output,
    ) -> Result<(), CleanError> {
        let unreadable = |why: String| CleanError::Unreadable { offset: found.base_offset, why };
        let Some(header) = found.header else {
            let stays = self.is_any_latest(rules, &bytes).map_err(unreadable)?;
            if stays || found.next_offset() == rules.upper_bound {
                output.push(&self.config, rules.now, (found, found.max_timestamp), &bytes)?;
            } else {
                output.is_unchanged = false;
            }
            return Ok(());
        };
        let batch = Batch { header, bytes };
        let judged = rules.judge(&batch, &self.map, &mut self.transactions, &mut self.decompressor);
        let (verdict, aborted) = judged.map_err(|error| unreadable(error.to_string()))?;
        output.is_unchanged &= verdict == Verdict::Stays;
        let left = match verdict {
            Verdict::Stays => Some(batch),
            Verdict::Becomes(batch) => Some(batch),
            Verdict::Goes => None,
        };
        if let Some(batch) = left {
            output.push(&self.config, rules.now, (found, batch.header.max_timestamp), &batch.bytes)?;
        }
        if let Some(aborted) = aborted {
            output.push_aborted(aborted);
        }
        Ok(())
    }

    /// Whether anything in a message of an old format is the last of its key. Such stay whole, and their tombstones stay
    /// until something newer of their key comes: there is no place in them for a horizon.
    fn is_any_latest(&mut self, rules: &Rules, bytes: &Bytes) -> Result<bool, String> {
        let mut bytes = bytes.clone();
        let message = Message::split_off(&mut bytes).map_err(|error| error.to_string())?;
        let records = message.records(rules.plain_bytes_max, &mut self.decompressor);
        let records = records.map_err(|error| error.to_string())?;
        let is_latest =
            |record: &records::Record| Rules::is_latest(record.key.as_deref(), record.offset, &self.map);
        Ok(records.iter().any(is_latest))
    }

    fn finish(&self, disk: &dyn Disk, rules: &Rules, group: Group) -> Result<Copied, CleanError> {
        let Group { sources, output, .. } = group;
        let before = sources.iter().map(|source| source.size).sum();
        let after = output.bytes();
        let modified = sources.last().map_or(rules.now, |source| source.modified);
        let sources = sources.iter().map(|source| (source.base, source.size)).collect();
        Ok(Copied::Group { before, after, cleaned: output.finish(disk, sources, modified)?.map(Box::new) })
    }
}

/// Neighbours that fit together into one segment, by the sizes that they have before they are compacted.
pub(crate) fn groups(sources: Vec<Source>, config: &LogConfig) -> VecDeque<Vec<Source>> {
    let mut groups: VecDeque<Vec<Source>> = VecDeque::new();
    let (mut size, mut index_bytes, mut time_bytes) = (0, 0, 0);
    for source in sources {
        let index = u64::from(source.index_entries) * index::INDEX_ENTRY_BYTES;
        let time = u64::from(source.time_entries) * index::TIME_ENTRY_BYTES;
        let last = groups.back_mut().filter(|group| {
            let base = group.first().map_or(0, |first| first.base);
            size + source.size <= u64::from(config.segment_bytes)
                && index_bytes + index <= u64::from(config.index_bytes_max)
                && time_bytes + time <= u64::from(config.index_bytes_max)
                && source.next - 1 - base <= i64::from(i32::MAX)
        });
        match last {
            Some(group) => {
                size += source.size;
                index_bytes += index;
                time_bytes += time;
                group.push(source);
            }
            None => {
                (size, index_bytes, time_bytes) = (source.size, index, time);
                groups.push_back(vec![source]);
            }
        }
    }
    groups
}

//! Finding what the log says of one mailbox: by the key index as far as that goes, and by looking through the rest.
//!
//! It knows no cache and decides nothing. What is looked through is bounded: a partition whose index is not made yet is not read
//! from its beginning for each request.

use super::{
    cache::{Entry, Known, Name},
    indexed::Indexed,
    marks::Seen,
    walk::Ground,
};
use crate::partition::{Isolation, READ_TRIES, Refused};
use bytes::Bytes;
use log::Term;
use model::{Offset, limits};

/// Records of one mailbox.
pub(crate) struct Found {
    pub(crate) records: Vec<(Offset, Option<Bytes>)>,
    /// Everything before was looked at.
    pub(crate) upto: Offset,
}

/// How much of a mailbox is wanted at most, but for one record that is larger.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    pub(crate) bytes: usize,
    pub(crate) records: usize,
}

/// Finds things in one partition.
pub(crate) struct Finder {
    pub(crate) ground: Ground,
    pub(crate) index: Indexed,
}

impl Finder {
    /// What is known of a mailbox, or of one of its producers, from what lies from `from` on and before `upto`.
    pub(crate) async fn find(&self, name: &Name, (from, upto): (Offset, Offset)) -> Result<Entry, Refused> {
        for _ in 0..READ_TRIES {
            match self.find_once(name, (from, upto)).await {
                Err(Refused::Overtaken) => {}
                found => return found,
            }
        }
        Err(unindexed())
    }

    async fn find_once(&self, name: &Name, (from, upto): (Offset, Offset)) -> Result<Entry, Refused> {
        let key = name.key.clone();
        let indexed = self.index.upto().min(upto);
        let mut entry = match &name.producer {
            None => {
                let (last, life) = ((Term::key(&key), &key), (Term::life(&key), &key));
                let last = self.newest(last, indexed, Isolation::LogEnd, |seen| seen.is_record).await?;
                let life = self.newest(life, indexed, Isolation::LogEnd, |seen| seen.mark.is_some()).await?;
                let (last, mark) = (last.map(|seen| seen.offset), life.and_then(|seen| seen.mark));
                Entry::Key(Known { mark, last })
            }
            Some(id) => {
                let term = Term::producer(&key, id);
                let is_of = |seen: &Seen| seen.producer.as_ref().is_some_and(|one| one.sent.id == *id);
                let found = self.newest((term, &key), indexed, Isolation::LogEnd, is_of).await?;
                Entry::Producer(found.and_then(|seen| Some((seen.offset, seen.producer?))))
            }
        };
        let rest = (indexed.max(from), upto);
        self.rest(&key, rest, Isolation::LogEnd, |seen| entry.on_record(name, &seen)).await?;
        Ok(entry)
    }

    /// The newest record of a mailbox from `from` on and before `upto` that no aborted transaction has written, with its value. `last` is
    /// the newest of all, whoever has written it.
    pub(crate) async fn newest_record(
        &self,
        key: &Bytes,
        (from, upto): (Offset, Offset),
        last: Offset,
    ) -> Result<Option<(Offset, Option<Bytes>)>, Refused> {
        if (from..upto).contains(&last) {
            let key = key.clone();
            let bounds = (last, last.saturating_add(1));
            let piece = self.ground.walk_batch(bounds, Isolation::LastStable, move |one| one == key).await?;
            if let Some(seen) = piece.seen.into_iter().find(|seen| seen.is_record) {
                return Ok(Some(valued(seen)));
            }
        }
        let upto = upto.min(last);
        for _ in 0..READ_TRIES {
            match self.newest_record_once(key, (from, upto)).await {
                Err(Refused::Overtaken) => {}
                found => return found,
            }
        }
        Err(unindexed())
    }

    async fn newest_record_once(
        &self,
        key: &Bytes,
        (from, upto): (Offset, Offset),
    ) -> Result<Option<(Offset, Option<Bytes>)>, Refused> {
        let indexed = self.index.upto().clamp(from, upto.max(from));
        let mut newest = None;
        let rest = self.rest(key, (indexed, upto), Isolation::LastStable, |seen| {
            if seen.is_record {
                newest = Some(valued(seen));
            }
        });
        rest.await?;
        if newest.is_some() {
            return Ok(newest);
        }
        let found = self.newest((Term::key(key), key), indexed, Isolation::LastStable, |seen| seen.is_record);
        Ok(found.await?.map(valued).filter(|(offset, _)| *offset >= from))
    }

    /// Records of a mailbox from `from` on and before `upto`, those that no aborted transaction has written. Where retention takes some
    /// away meanwhile it ends before them; [`Refused::OffsetOutOfRange`]: it has taken what lies at `from`.
    pub(crate) async fn records(
        &self,
        key: &Bytes,
        (from, upto): (Offset, Offset),
        room: Room,
    ) -> Result<Found, Refused> {
        let mut taking = Taking { found: Found { records: Vec::new(), upto: from }, bytes: 0, room };
        let indexed = self.index.upto().min(upto);
        let (mut at, term) = (from, Term::key(key));
        while at < indexed {
            let (postings, known_upto) = self.index.postings(&term, at, POSTINGS_AT_ONCE).await?;
            let mut next = at;
            for offset in postings.iter().take_while(|offset| **offset < indexed) {
                // What lies in one batch is read with it, and not once for each record.
                if *offset < next {
                    continue;
                }
                let bounds = (*offset, indexed);
                let key = key.clone();
                let batch =
                    self.ground.walk_batch(bounds, Isolation::LastStable, move |one| one == key).await?;
                if batch.from > *offset {
                    return taking.cut(*offset, (batch.from, upto));
                }
                for seen in batch.seen {
                    if !taking.take(seen) {
                        return Ok(taking.found);
                    }
                }
                next = batch.next;
                if next < upto && taking.is_enough(&self.ground) {
                    taking.found.upto = next;
                    return Ok(taking.found);
                }
            }
            // It may have been thrown away meanwhile.
            if known_upto <= at {
                break;
            }
            at = known_upto.max(next).min(indexed);
        }
        let mut next = at;
        taking.found.upto = next;
        let mut left = limits::MAILBOX_SCAN_READS_MAX;
        while next < upto {
            left = left.checked_sub(1).ok_or_else(unindexed)?;
            let key = key.clone();
            let piece = self.ground.walk((next, upto), Isolation::LastStable, move |one| one == key).await?;
            if piece.from > next {
                return taking.cut(next, (piece.from, upto));
            }
            for seen in piece.seen {
                if !taking.take(seen) {
                    return Ok(taking.found);
                }
            }
            next = piece.next;
            taking.found.upto = next;
            if next < upto && taking.is_enough(&self.ground) {
                return Ok(taking.found);
            }
        }
        Ok(taking.found)
    }

    /// The newest record below `below` that the index has under a term and that is meant.
    async fn newest(
        &self,
        (term, key): (Term, &Bytes),
        mut below: Offset,
        isolation: Isolation,
        is_meant: impl Fn(&Seen) -> bool,
    ) -> Result<Option<Seen>, Refused> {
        // Terms that meet are rare; so many of them in a row are no chance.
        for _ in 0..limits::MAILBOX_SCAN_READS_MAX {
            let Some(offset) = self.index.newest(&term, below).await? else { return Ok(None) };
            let (wanted, bounds) = (key.clone(), (offset, offset.saturating_add(1)));
            let piece = self.ground.walk_batch(bounds, isolation, move |one| one == wanted).await?;
            if let Some(seen) = piece.seen.into_iter().find(&is_meant) {
                return Ok(Some(seen));
            }
            below = offset;
        }
        Err(unindexed())
    }

    /// Looks through what the index does not have.
    async fn rest(
        &self,
        key: &Bytes,
        (from, upto): (Offset, Offset),
        isolation: Isolation,
        mut on_record: impl FnMut(Seen),
    ) -> Result<(), Refused> {
        let (mut next, mut left) = (from, limits::MAILBOX_SCAN_READS_MAX);
        while next < upto {
            left = left.checked_sub(1).ok_or_else(unindexed)?;
            let key = key.clone();
            let piece = self.ground.walk((next, upto), isolation, move |one| one == key).await?;
            piece.seen.into_iter().for_each(&mut on_record);
            next = piece.next;
        }
        Ok(())
    }
}

/// Postings that are asked for at once.
const POSTINGS_AT_ONCE: usize = 256;

fn unindexed() -> Refused {
    Refused::Offline("its key index is not made yet, and there is too much to look through".into())
}

/// Where a record lies, and its value: what is referred to keeps all of the read that it came with.
fn valued(seen: Seen) -> (Offset, Option<Bytes>) {
    (seen.offset, seen.value.map(|value| Bytes::copy_from_slice(&value)))
}

struct Taking {
    found: Found,
    bytes: usize,
    room: Room,
}

impl Taking {
    /// What lies at `at` is not there any more, and perhaps never was of this mailbox.
    fn cut(mut self, at: Offset, (start_offset, end_offset): (Offset, Offset)) -> Result<Found, Refused> {
        if self.found.records.is_empty() {
            return Err(Refused::OffsetOutOfRange { start_offset, end_offset });
        }
        self.found.upto = at;
        Ok(self.found)
    }

    /// Whether it is not worth while to look for more: nobody waits for others with what it has.
    fn is_enough(&self, ground: &Ground) -> bool {
        let is_full = self.bytes >= self.room.bytes || self.found.records.len() >= self.room.records;
        !self.found.records.is_empty() && (is_full || ground.reads.available_permits() == 0)
    }

    /// Takes a record if there is room.
    fn take(&mut self, seen: Seen) -> bool {
        if !seen.is_record {
            return true;
        }
        let bytes = seen.value.as_ref().map_or(0, Bytes::len);
        let is_full = self.bytes + bytes > self.room.bytes || self.found.records.len() >= self.room.records;
        if is_full && !self.found.records.is_empty() {
            return false;
        }
        self.bytes += bytes;
        self.found.upto = seen.offset.saturating_add(1);
        self.found.records.push(valued(seen));
        true
    }
}

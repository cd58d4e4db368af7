//! Walking over a partition's records in pieces, for whoever looks for those of one key, or reads all.
//!
//! It reads as a consumer does and decides nothing. What takes long to unpack is unpacked by a worker.

use super::{find::Room, marks::Seen};
use crate::{
    fetch_sessions::Wanted,
    partition::{
        Isolation, Partition, READ_TRIES, Read, ReadOf, Reader, Records, Refused, on_lane, on_worker,
    },
};
use bytes::Bytes;
use client::Aborts;
use env::World;
use model::{LeaderEpoch, Offset, ProducerId};
use records::{Batch, BatchHeader, Codec, Decompressor, Entry, Header, MAGIC_V2, Message, Record};
use std::{cell::Cell, io, sync::Arc};
use tokio::sync::Semaphore;

/// So much is read at once, but one batch whatever its size.
const READ_BYTES_MAX: usize = 1 << 20;
/// The plain contents of a batch that is looked into. What stands for more is passed over.
const PLAIN_BYTES_MAX: usize = 64 << 20;
/// So much is looked into beside the reactor's other work.
const BYTES_AT_ONCE_MAX: usize = 32 * 1024;

/// Which partition, and as whose leader it is read.
#[derive(Clone)]
pub(crate) struct Ground {
    pub(crate) world: World,
    pub(crate) partition: Arc<Partition>,
    pub(crate) epoch: LeaderEpoch,
    /// Who may read at the same time.
    pub(crate) reads: Arc<Semaphore>,
}

/// What one read has found.
pub(crate) struct Piece<T = Seen> {
    pub(crate) seen: Vec<T>,
    /// From where on it was read: what lies before is not kept any more.
    pub(crate) from: Offset,
    /// Where to read on.
    pub(crate) next: Offset,
}

/// What was read, and is not looked into yet.
struct Raw {
    bytes: Bytes,
    /// Aborted transactions.
    aborted: Option<Vec<(ProducerId, Offset)>>,
    /// From where on it was read.
    from: Offset,
    /// Of which files.
    of: Option<ReadOf>,
}

impl Ground {
    /// The records of mailboxes from `from` on, but none at `upto` or behind it; `is_wanted` says by its key which.
    ///
    /// With [`Isolation::LastStable`] those of aborted transactions are left out.
    pub(crate) async fn walk(
        &self,
        bounds: (Offset, Offset),
        isolation: Isolation,
        is_wanted: impl Fn(&[u8]) -> bool + Send + 'static,
    ) -> Result<Piece, Refused> {
        self.walk_some(bounds, READ_BYTES_MAX, isolation, of_mailboxes(is_wanted)).await
    }

    /// The same, of the batch alone in which `from` lies, or the next one.
    pub(crate) async fn walk_batch(
        &self,
        bounds: (Offset, Offset),
        isolation: Isolation,
        is_wanted: impl Fn(&[u8]) -> bool + Send + 'static,
    ) -> Result<Piece, Refused> {
        self.walk_some(bounds, 1, isolation, of_mailboxes(is_wanted)).await
    }

    /// All records from `from` on that readers of committed records see, as many as there is room for, but at least one.
    pub(crate) async fn walk_all(
        &self,
        bounds: (Offset, Offset),
        room: Room,
    ) -> Result<Piece<Record>, Refused> {
        let (mut bytes, mut count) = (0, 0);
        let take = move |batch: Option<&Batch>, record: Record| {
            if batch.is_some_and(|batch| batch.header.attributes.is_control()) {
                return Take::Nothing;
            }
            let of = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
            let headers = record.headers.iter().map(|header| header.key.len() + of(&header.value));
            bytes += of(&record.key) + of(&record.value) + headers.sum::<usize>();
            count += 1;
            match count > 1 && (bytes > room.bytes || count > room.records) {
                true => Take::Stop,
                false => Take::One(own(record)),
            }
        };
        self.walk_some(bounds, room.bytes.min(READ_BYTES_MAX), Isolation::LastStable, take).await
    }

    async fn walk_some<T: Send + 'static>(
        &self,
        (from, upto): (Offset, Offset),
        bytes_max: usize,
        isolation: Isolation,
        take: impl FnMut(Option<&Batch>, Record) -> Take<T> + Send + 'static,
    ) -> Result<Piece<T>, Refused> {
        let _turn = self.reads.acquire().await.map_err(|_| Refused::Offline("the broker stops".into()))?;
        let Raw { bytes, aborted, from, of } = self.read(from, bytes_max, isolation).await?;
        if bytes.is_empty() {
            // Nothing is left of what was there, or the partition ends here.
            return Ok(Piece { seen: Vec::new(), from, next: upto });
        }
        let is_small = bytes.len() <= BYTES_AT_ONCE_MAX && !is_packed(&bytes);
        let look = move || look(bytes, (from, upto), aborted, take);
        let looked = match is_small {
            true => look(),
            false => {
                let looked = on_worker(&self.world, look).await;
                looked.ok_or_else(|| Refused::Offline("the broker stops".into()))?
            }
        };
        looked.map_err(|error| {
            if let Some(of) = of {
                self.partition.on_read_error(&error, of);
            }
            Refused::Offline(error.to_string().into())
        })
    }

    /// Batches from `from` on, or from where the log begins.
    async fn read(&self, mut from: Offset, bytes_max: usize, isolation: Isolation) -> Result<Raw, Refused> {
        let reader = Reader::Consumer { isolation, leader_only: true };
        let mut tries = READ_TRIES;
        loop {
            let wanted = Wanted {
                offset: from,
                bytes_max: bytes_max as i32,
                current_leader_epoch: self.epoch,
                last_fetched_epoch: -1,
                start_offset: -1,
            };
            let read = match self.partition.read(&wanted, &reader, bytes_max, true) {
                Err(Refused::OffsetOutOfRange { start_offset, .. }) if start_offset > from => {
                    from = start_offset;
                    continue;
                }
                Err(Refused::OffsetOutOfRange { .. }) => {
                    return Ok(Raw { bytes: Bytes::new(), aborted: None, from, of: None });
                }
                other => other?,
            };
            let Read { records, aborted, .. } = read;
            let cold = match records {
                Records::Memory(parts) => {
                    let bytes = parts.to_bytes().unwrap_or_default();
                    return Ok(Raw { bytes, aborted, from, of: None });
                }
                Records::File(cold) => cold,
            };
            let of = cold.of;
            tries -= 1;
            match on_lane(&self.world, move || cold.load()).await {
                Some(Ok(bytes)) => return Ok(Raw { bytes, aborted, from, of: Some(of) }),
                // The segment was deleted meanwhile: the next read finds the new start. Or it was compacted.
                Some(Err(error)) if tries > 0 && error.kind() == std::io::ErrorKind::NotFound => {}
                Some(Err(error)) if tries > 0 && log::is_moved(&error) => self.partition.written().await,
                Some(Err(error)) => {
                    self.partition.on_read_error(&error, of);
                    return Err(Refused::Offline(format!("it could not be read: {error}").into()));
                }
                None => return Err(Refused::Offline("the broker stops".into())),
            }
        }
    }
}

/// Whether any of the batches is compressed.
fn is_packed(mut bytes: &[u8]) -> bool {
    while let Some(header) = BatchHeader::parse(bytes) {
        if header.attributes.codec() != Some(Codec::None) {
            return true;
        }
        let entry = Entry::peek(bytes).map_or(bytes.len(), |entry| entry.bytes);
        bytes = bytes.get(entry..).unwrap_or_default();
    }
    false
}

/// What is taken of what is walked over.
enum Take<T> {
    One(T),
    Nothing,
    /// Nothing of this record, and nothing more.
    Stop,
}

/// Of the records those of mailboxes, by their keys. What older formats hold was written before there were mailboxes.
fn of_mailboxes(is_wanted: impl Fn(&[u8]) -> bool) -> impl FnMut(Option<&Batch>, Record) -> Take<Seen> {
    move |batch, record| {
        let seen = batch.and_then(|batch| Seen::new(batch, record));
        seen.filter(|seen| is_wanted(&seen.key)).map_or(Take::Nothing, Take::One)
    }
}

/// The same record in memory of its own: what is referred to keeps all of the read that it came with.
fn own(record: Record) -> Record {
    let own = |bytes: Option<Bytes>| bytes.map(|bytes| Bytes::copy_from_slice(&bytes));
    let header =
        |header: Header| Header { key: Bytes::copy_from_slice(&header.key), value: own(header.value) };
    let headers = record.headers.into_iter().map(header).collect();
    Record { key: own(record.key), value: own(record.value), headers, ..record }
}

fn look<T>(
    mut bytes: Bytes,
    (from, upto): (Offset, Offset),
    aborted: Option<Vec<(ProducerId, Offset)>>,
    mut take: impl FnMut(Option<&Batch>, Record) -> Take<T>,
) -> io::Result<Piece<T>> {
    let (mut aborts, mut decompressor) = (aborted.map(Aborts::new), Decompressor::new());
    let mut piece = Piece { seen: Vec::new(), from, next: from };
    let (mut seen, stopped_at) = (Vec::new(), Cell::new(None));
    let mut visit = |batch: Option<&Batch>, record: Record| {
        let offset = record.offset;
        if stopped_at.get().is_some() || !(from..upto).contains(&offset) {
            return;
        }
        match take(batch, record) {
            Take::One(one) => seen.push(one),
            Take::Nothing => {}
            Take::Stop => stopped_at.set(Some(offset)),
        }
    };
    while let Some(entry) = Entry::peek(&bytes).filter(|entry| entry.bytes <= bytes.len()) {
        if stopped_at.get().is_some() {
            break;
        }
        if entry.magic != MAGIC_V2 {
            let message = Message::split_off(&mut bytes).map_err(|error| damaged(error.to_string()))?;
            piece.next = piece.next.max(entry.offset.saturating_add(1));
            let records = message.records(PLAIN_BYTES_MAX, &mut decompressor);
            records.into_iter().flatten().for_each(|record| visit(None, record));
            continue;
        }
        let Some(batch) = Batch::split_off(&mut bytes) else { break };
        let header = &batch.header;
        if header.base_offset >= upto {
            piece.next = upto;
            break;
        }
        // Whoever fetches verifies what it is sent, and here nobody else does.
        if !batch.is_intact() || header.next_offset() <= piece.next && header.next_offset() <= from {
            return Err(damaged(format!("the batch at offset {} is damaged", header.base_offset)));
        }
        piece.next = piece.next.max(header.next_offset());
        let is_hidden = aborts.as_mut().is_some_and(|aborts| aborts.hide(&batch));
        if is_hidden && !header.attributes.is_control() {
            continue;
        }
        let read =
            batch.each_record(PLAIN_BYTES_MAX, &mut decompressor, |record| visit(Some(&batch), record));
        if let Err(error) = read {
            tracing::warn!(offset = header.base_offset, %error, "a batch cannot be looked into for records of streams");
        }
    }
    if let Some(offset) = stopped_at.get() {
        piece.next = offset;
    }
    piece.seen = seen;
    match piece.next > from {
        true => Ok(piece),
        false => Err(damaged(format!("no batch could be read at offset {from}"))),
    }
}

fn damaged(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

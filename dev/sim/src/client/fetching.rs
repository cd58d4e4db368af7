//! What fetches have in common: the request for some partitions, and the records of an answer as the history tells
//! them. It keeps no positions and no sessions.

use crate::{history::Place, history::Seen, value::ValueId};
use records::{Batch, Decompressor};
use stdx::{Parts, Uuid};
use wire::fetch_request::{FetchPartition, FetchTopic};

/// From this version on topics are named by their ids.
pub(super) const VERSION_WITH_IDS: i16 = 13;
/// From this version on there are sessions.
pub(super) const VERSION_WITH_SESSIONS: i16 = 7;
/// From this version on a reader says which leader epoch it knows.
pub(super) const VERSION_WITH_EPOCHS: i16 = 9;
/// Batches are not unpacked beyond this.
const PLAIN_BYTES_MAX: usize = 16 << 20;

/// A partition of a fetch request.
pub(super) fn topic(
    place: &Place,
    topic_id: Uuid,
    fetch_offset: i64,
    bytes_max: i32,
    leader_epoch: i32,
) -> FetchTopic {
    let partition = FetchPartition {
        partition: place.partition,
        current_leader_epoch: leader_epoch,
        fetch_offset,
        last_fetched_epoch: -1,
        log_start_offset: -1,
        partition_max_bytes: bytes_max,
        ..Default::default()
    };
    FetchTopic { topic: place.topic.to_string(), topic_id, partitions: vec![partition] }
}

/// The records from `from` on, and the offset to go on from: compaction leaves batches without records. Whatever cannot be read, or is no value of ours, is there without a value. Where disks are
/// `damaged` the client does as real ones do, which verify checksums: it takes nothing from there on, and asks again.
pub(super) fn records(parts: Option<&Parts>, from: i64, damaged: bool) -> (Vec<Seen>, i64) {
    let mut bytes = parts.and_then(Parts::to_bytes).unwrap_or_default();
    let (mut seen, mut next) = (Vec::new(), from);
    let mut decompressor = Decompressor::default();
    while let Some(batch) = Batch::split_off(&mut bytes) {
        let offsets = batch.header.base_offset..batch.header.next_offset();
        let read =
            if batch.is_intact() { batch.records(PLAIN_BYTES_MAX, &mut decompressor).ok() } else { None };
        if damaged && read.is_none() {
            break;
        }
        next = next.max(offsets.end);
        match read {
            Some(records) => seen.extend(records.iter().map(|record| {
                (record.offset, record.value.as_ref().and_then(|value| ValueId::from_bytes(value)))
            })),
            None => seen.extend(offsets.map(|offset| (offset, None))),
        }
    }
    if !bytes.is_empty() && seen.is_empty() && !damaged {
        seen.push((from, None));
    }
    seen.retain(|(offset, _)| *offset >= from);
    (seen, next)
}

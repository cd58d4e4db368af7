//! The postings that a batch has: what of its records they are found by.
//!
//! Records of transactions that were aborted, or are not decided yet, have theirs too: whoever reads the records knows which
//! of them count.

use super::pair::{Kind, Pair, term};
use crate::scan::Found;
use bytes::Bytes;
use mailbox::{Producer, headers};
use model::Offset;
use records::{Batch, Decompressor, Message, Record};

/// Adds the postings of a batch, or of an old message, of the segment that begins at `base`.
pub(super) fn gather(
    (found, bytes): (&Found, Bytes),
    (seed, base): (u64, Offset),
    (plain_bytes_max, decompressor): (usize, &mut Decompressor),
    pairs: &mut Vec<Pair>,
) -> Result<(), String> {
    let Some(header) = found.header else {
        let mut bytes = bytes;
        let message = Message::split_off(&mut bytes).map_err(|error| error.to_string())?;
        let records = message.records(plain_bytes_max, decompressor).map_err(|error| error.to_string())?;
        records.iter().for_each(|record| note(record, false, (seed, base), pairs));
        return Ok(());
    };
    let is_control = header.attributes.is_control();
    let batch = Batch { header, bytes };
    batch
        .each_record(plain_bytes_max, decompressor, |record| note(&record, is_control, (seed, base), pairs))
        .map_err(|error| error.to_string())
}

fn note(record: &Record, is_control: bool, (seed, base): (u64, Offset), pairs: &mut Vec<Pair>) {
    let find = |name: &str| {
        let found = record.headers.iter().find(|header| header.key == name.as_bytes());
        found.and_then(|header| header.value.as_ref())
    };
    // The key of a control record says what kind of one it is.
    let key = if is_control { find(headers::KEY) } else { record.key.as_ref() };
    let Some(key) = key else { return };
    let mut put = |kind, more: &[u8]| {
        pairs.push(Pair::new(term(seed, kind, key, more), base, record.offset));
    };
    if !is_control {
        put(Kind::Key, &[]);
    }
    if find(headers::LIFE).is_some() {
        put(Kind::Life, &[]);
    }
    // What is no producer nobody looks for.
    if let Some(Ok(producer)) = find(headers::PRODUCER).map(|bytes| Producer::decode(bytes)) {
        put(Kind::Producer, producer.sent.id.as_bytes());
    }
}

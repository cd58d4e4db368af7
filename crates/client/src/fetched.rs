//! Reading the records out of what a fetch brought: batches of every format, from an offset on, without those of
//! aborted transactions if that is wanted.
//!
//! It fetches nothing; `consumer` does.

use bytes::Bytes;
use model::{Offset, PartitionIndex, ProducerId};
use records::{Batch, ControlType, Decompressor, Entry, MAGIC_V2, Message, Record};
use stdx::Set;

/// Decompressed bytes that one batch may stand for: what the largest allowed batch can hold is far less.
const BATCH_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Records of one partition, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: PartitionIndex,
    /// The records; empty if all that there was are marks of transactions.
    pub records: Vec<Record>,
    /// Where to read on.
    pub next_offset: Offset,
    /// The end of what consumers may see; with [`crate::Isolation::Committed`] the end of decided transactions.
    pub end_offset: Offset,
}

/// The records of `bytes` from offset `from` on, and where to read on. `aborted` names aborted transactions by their
/// producer and first offset; `None`: all records are wanted.
pub(crate) fn read(
    mut bytes: Bytes,
    from: Offset,
    aborted: Option<Vec<(ProducerId, Offset)>>,
    decompressor: &mut Decompressor,
) -> Result<(Vec<Record>, Offset), String> {
    let mut aborts = aborted.map(Aborts::new);
    let (mut records, mut next) = (Vec::new(), from);
    // A broker may cut the last batch off in the middle; it comes whole with the next fetch.
    while let Some(entry) = Entry::peek(&bytes).filter(|entry| entry.bytes <= bytes.len()) {
        let read = if entry.magic == MAGIC_V2 {
            let Some(batch) = Batch::split_off(&mut bytes) else { break };
            if !batch.is_intact() {
                return Err(format!("the batch at offset {} has a wrong checksum", batch.header.base_offset));
            }
            next = next.max(batch.header.next_offset());
            let hidden = aborts.as_mut().is_some_and(|aborts| aborts.hide(&batch));
            match hidden || batch.header.attributes.is_control() {
                true => continue,
                false => batch.records(BATCH_BYTES_MAX, decompressor).map_err(|error| error.to_string())?,
            }
        } else {
            let message = Message::split_off(&mut bytes).map_err(|error| error.to_string())?;
            message.records(BATCH_BYTES_MAX, decompressor).map_err(|error| error.to_string())?
        };
        // A batch is fetched whole, although it may begin before the offset that was asked for.
        records.extend(read.into_iter().filter(|record| record.offset >= from));
        next = next.max(records.last().map_or(from, |record| record.offset.saturating_add(1)));
    }
    Ok((records, next))
}

/// Which producers are inside an aborted transaction, for whoever walks over batches in their order.
pub struct Aborts {
    /// By first offset, the next one last.
    ahead: Vec<(ProducerId, Offset)>,
    inside: Set<ProducerId>,
}

impl Aborts {
    /// `ahead` names aborted transactions by their producer and first offset.
    pub fn new(mut ahead: Vec<(ProducerId, Offset)>) -> Self {
        ahead.sort_by_key(|(_, first)| std::cmp::Reverse(*first));
        Self { ahead, inside: Set::default() }
    }

    /// Whether a batch is part of an aborted transaction. The mark of the abort ends it.
    pub fn hide(&mut self, batch: &Batch) -> bool {
        let header = &batch.header;
        while let Some((id, _)) = self.ahead.pop_if(|(_, first)| *first <= header.last_offset()) {
            self.inside.insert(id);
        }
        if header.attributes.is_control() {
            if is_abort(batch) {
                self.inside.remove(&header.producer_id);
            }
            return true;
        }
        header.attributes.is_transactional() && self.inside.contains(&header.producer_id)
    }
}

fn is_abort(batch: &Batch) -> bool {
    let records = batch.records(1024, &mut Decompressor::new()).unwrap_or_default();
    let key = records.first().and_then(|record| record.key.clone());
    key.and_then(|key| ControlType::from_key(&key)) == Some(ControlType::Abort)
}

#[cfg(test)]
mod tests {
    use super::*;
    use records::{BatchBuilder, Codec, EndTxnMarker};

    fn batch(base: Offset, values: &[&str], producer: Option<ProducerId>) -> Vec<u8> {
        let mut builder = BatchBuilder::new().base_offset(base).compression(Codec::Lz4);
        if let Some(id) = producer {
            builder = builder.producer(id, 0, 0).transactional();
        }
        values.iter().for_each(|value| builder.push(1, None, Some(value.as_bytes()), &[]));
        builder.build().unwrap().bytes.to_vec()
    }

    fn mark(base: Offset, committed: bool, id: ProducerId) -> Vec<u8> {
        let marker = EndTxnMarker { committed, coordinator_epoch: 0 };
        let mut bytes = marker.to_batch(id, 0, 1).unwrap().bytes.to_vec();
        // The base offset is not part of the checksum: leaders stamp it.
        bytes[..8].copy_from_slice(&base.to_be_bytes());
        bytes
    }

    fn check(
        bytes: &[u8],
        from: Offset,
        aborted: Option<Vec<(ProducerId, Offset)>>,
    ) -> (Vec<String>, Offset) {
        let bytes = Bytes::copy_from_slice(bytes);
        let (records, next) = read(bytes, from, aborted, &mut Decompressor::new()).unwrap();
        let show = |record: &Record| {
            format!("{}:{}", record.offset, String::from_utf8_lossy(record.value.as_deref().unwrap()))
        };
        (records.iter().map(show).collect(), next)
    }

    #[test]
    fn reading_begins_inside_a_batch_and_ends_before_one_that_is_cut_off() {
        let mut bytes = [batch(5, &["a", "b", "c"], None), batch(8, &["d"], None)].concat();
        assert_eq!(check(&bytes, 6, None), (vec!["6:b".into(), "7:c".into(), "8:d".into()], 9));
        bytes.pop();
        assert_eq!(check(&bytes, 6, None), (vec!["6:b".into(), "7:c".into()], 8));
        assert_eq!(check(&[], 6, None), (vec![], 6));
    }

    #[test]
    fn aborted_transactions_are_hidden_up_to_their_mark_and_marks_always() {
        let bytes = [
            batch(0, &["a"], Some(1)),
            batch(1, &["b"], Some(2)),
            mark(2, false, 1),
            batch(3, &["c"], Some(1)),
            mark(4, true, 2),
            mark(5, true, 1),
        ]
        .concat();
        let all = vec!["0:a".to_owned(), "1:b".into(), "3:c".into()];
        assert_eq!(check(&bytes, 0, None), (all.clone(), 6));
        assert_eq!(check(&bytes, 0, Some(vec![])), (all, 6));
        assert_eq!(check(&bytes, 0, Some(vec![(1, 0)])), (vec!["1:b".into(), "3:c".into()], 6));
    }

    #[test]
    fn a_flipped_bit_is_noticed() {
        let mut bytes = batch(0, &["a"], None);
        *bytes.last_mut().unwrap() ^= 1;
        let error = read(bytes.into(), 0, None, &mut Decompressor::new()).unwrap_err();
        assert!(error.contains("checksum"), "{error}");
    }
}

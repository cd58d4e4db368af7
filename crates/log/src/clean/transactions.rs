//! Which batches of a log belong to aborted transactions, and which markers end transactions of which nothing is left,
//! told while the log is walked over from its beginning or from a dirty offset.
//!
//! It decides only what may go; when a marker goes is a matter of its delete horizon (`clean::filter`).

use crate::AbortedTxn;
use model::{Offset, ProducerId};
use records::{BatchHeader, EndTxnMarker};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The transactions of a walk.
#[derive(Debug, Default)]
pub(crate) struct Transactions {
    /// Those that the walk has not come to, by first offset.
    aborted: VecDeque<AbortedTxn>,
    /// Those that it is in, and whether a batch of theirs was seen.
    in_aborted: BTreeMap<ProducerId, (AbortedTxn, bool)>,
    /// Producers of which a batch was seen that no abort concerns.
    in_committed: BTreeSet<ProducerId>,
}

/// What a marker means for the walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MarkerSeen {
    /// Nothing is left of the transaction that it ends.
    pub(crate) is_needless: bool,
    /// The aborted transaction that it ends, of which batches are left: readers must be told.
    pub(crate) aborted: Option<AbortedTxn>,
}

impl Transactions {
    /// For a walk from `from` on; `aborted` are all of the log.
    pub(crate) fn new(aborted: &[AbortedTxn], from: Offset) -> Self {
        let mut aborted: Vec<_> = aborted.iter().filter(|txn| txn.last_offset >= from).copied().collect();
        aborted.sort_by_key(|txn| txn.first_offset);
        Self { aborted: aborted.into(), ..Self::default() }
    }

    /// Whether a data batch was aborted.
    pub(crate) fn on_data(&mut self, header: &BatchHeader) -> bool {
        self.come_to(header.last_offset());
        if !header.attributes.is_transactional() {
            return false;
        }
        if let Some((_, is_seen)) = self.in_aborted.get_mut(&header.producer_id) {
            *is_seen = true;
            return true;
        }
        self.in_committed.insert(header.producer_id);
        false
    }

    /// A control batch; without a marker it was emptied, or says something else.
    pub(crate) fn on_control(&mut self, header: &BatchHeader, marker: Option<EndTxnMarker>) -> MarkerSeen {
        self.come_to(header.last_offset());
        let kept = MarkerSeen { is_needless: false, aborted: None };
        match marker {
            None => MarkerSeen { is_needless: header.record_count == 0, aborted: None },
            Some(EndTxnMarker { committed: true, .. }) => {
                MarkerSeen { is_needless: !self.in_committed.remove(&header.producer_id), aborted: None }
            }
            Some(_) => match self.in_aborted.remove(&header.producer_id) {
                Some((txn, true)) => MarkerSeen { aborted: Some(txn), ..kept },
                Some((_, false)) | None => MarkerSeen { is_needless: true, aborted: None },
            },
        }
    }

    fn come_to(&mut self, offset: Offset) {
        while let Some(txn) = self.aborted.pop_front_if(|txn| txn.first_offset <= offset) {
            self.in_aborted.entry(txn.producer_id).or_insert((txn, false));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use records::{Batch, BatchBuilder};

    fn data(producer: i64, offset: i64) -> BatchHeader {
        let mut builder = BatchBuilder::new().base_offset(offset).producer(producer, 0, 0).transactional();
        builder.push(0, Some(b"k"), None, &[]);
        builder.build().unwrap().header
    }

    fn end(producer: i64, offset: i64, committed: bool) -> (BatchHeader, Option<EndTxnMarker>) {
        let marker = EndTxnMarker { committed, coordinator_epoch: 0 };
        let header = marker.to_batch(producer, 0, 0).unwrap().header;
        (BatchHeader { base_offset: offset, ..header }, Some(marker))
    }

    fn aborted(producer_id: i64, first_offset: i64, last_offset: i64) -> AbortedTxn {
        AbortedTxn { producer_id, first_offset, last_offset, last_stable_offset: last_offset + 1 }
    }

    #[test]
    fn batches_between_the_first_offset_and_the_marker_are_aborted_and_the_marker_is_needed() {
        let txn = aborted(1, 10, 13);
        let mut transactions = Transactions::new(&[txn], 0);
        assert!(!transactions.on_data(&data(1, 5)), "of an earlier transaction");
        let (header, marker) = end(1, 6, true);
        assert!(!transactions.on_control(&header, marker).is_needless);
        assert!(transactions.on_data(&data(1, 10)));
        assert!(!transactions.on_data(&data(2, 11)), "of another producer");
        let (header, marker) = end(1, 13, false);
        let seen = transactions.on_control(&header, marker);
        assert_eq!(seen, MarkerSeen { is_needless: false, aborted: Some(txn) });
        assert!(!transactions.on_data(&data(1, 14)));
    }

    #[test]
    fn a_marker_of_which_nothing_is_left_is_needless() {
        let mut transactions = Transactions::new(&[aborted(1, 10, 13)], 0);
        for (committed, offset) in [(false, 13), (true, 20)] {
            let (header, marker) = end(1, offset, committed);
            let seen = transactions.on_control(&header, marker);
            assert_eq!(seen, MarkerSeen { is_needless: true, aborted: None });
        }
        let (header, _) = end(1, 30, true);
        let emptied = Batch::emptied(&header).header;
        assert!(transactions.on_control(&emptied, None).is_needless);
        assert!(!transactions.on_control(&header, None).is_needless, "it says something else");
    }

    #[test]
    fn transactions_that_ended_before_the_walk_concern_nobody() {
        let mut transactions = Transactions::new(&[aborted(1, 10, 13)], 14);
        assert!(!transactions.on_data(&data(1, 15)));
    }
}

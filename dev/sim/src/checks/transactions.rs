//! Transactions (KIP-98): readers of committed records see only what was sent to be committed (no aborted or dirty reads),
//! of each transaction all or nothing, each record once and in the order in which it was sent; and whoever was fenced
//! (KIP-360, KIP-890) changes nothing any more.
//!
//! It knows what clients decided, not what the broker did: a commit whose answer was lost may have happened or not.

use super::{Check, Floor};
use crate::{
    history::{Event, Place, Seen, Txn},
    value::ValueId,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// What is known of all transactions.
#[derive(Default)]
pub(super) struct Transactions {
    newest: u64,
    txns: BTreeMap<Txn, Known>,
    of_value: BTreeMap<(Place, ValueId), Txn>,
    /// The epoch of each transactional id's newest owner.
    owners: BTreeMap<(Arc<str>, i64), Floor>,
    /// Where each value was seen.
    seen: BTreeMap<Place, BTreeMap<i64, ValueId>>,
    /// What the last reading of everything has shown, partition by partition.
    read_back: BTreeMap<Place, BTreeSet<ValueId>>,
}

/// One transaction.
#[derive(Default)]
struct Known {
    acked: Vec<ValueId>,
    places: BTreeMap<ValueId, Place>,
    commit_sent: bool,
    committed: bool,
}

impl Transactions {
    /// A reader keeps these.
    fn keep(&mut self, place: &Place, kept: &[Seen]) -> Result<(), String> {
        let seen = self.seen.entry(place.clone()).or_default();
        for (offset, value) in kept {
            let Some(value) = value else {
                return Err(format!("{place:?} offset {offset} has a record that no producer makes"));
            };
            let txn = self.of_value.get(&(place.clone(), *value));
            let known = txn.and_then(|txn| self.txns.get(txn));
            let Some(known) = known else {
                return Err(format!("{place:?} offset {offset}: {value:?} was not sent in a transaction"));
            };
            if !known.commit_sent {
                return Err(format!(
                    "{place:?} offset {offset}: {value:?} is seen, and nobody has committed it"
                ));
            }
            let first = seen.entry(*offset).or_insert(*value);
            if first != value {
                return Err(format!("{place:?} offset {offset} was {first:?} and is {value:?}"));
            }
        }
        in_order(place, seen)
    }

    /// Of a transaction all of what was acknowledged is there, or nothing; all if its commit was acknowledged.
    fn judge_all(&self) -> Result<(), String> {
        let is_seen = |known: &Known, value: &ValueId| {
            let place = known.places.get(value);
            place.and_then(|place| self.read_back.get(place)).is_some_and(|seen| seen.contains(value))
        };
        for (txn, known) in &self.txns {
            let seen = known.places.keys().filter(|value| is_seen(known, value)).count();
            let missing = known.acked.iter().find(|value| !is_seen(known, value));
            if let Some(missing) = missing.filter(|_| known.committed || seen > 0) {
                let place = known.places.get(missing);
                return Err(format!("{txn:?} is committed, but {missing:?} in {place:?} is missing"));
            }
        }
        Ok(())
    }

    /// Somebody with this epoch was obeyed, having asked with `request`.
    fn obeyed(&self, id: &Arc<str>, producer_id: i64, epoch: i16, request: u64) -> Result<(), String> {
        let owner = self.owners.get(&(id.clone(), producer_id)).and_then(|owners| owners.of(request));
        match owner {
            Some(owner) if owner > i64::from(epoch) => Err(format!(
                "{id}: a producer of epoch {epoch} was obeyed after another had taken over with epoch {owner}"
            )),
            _ => Ok(()),
        }
    }
}

/// Each value once, and those of one producer in the order of their numbers.
fn in_order(place: &Place, seen: &BTreeMap<i64, ValueId>) -> Result<(), String> {
    let mut last: BTreeMap<u32, u32> = BTreeMap::new();
    for (offset, value) in seen {
        if let Some(last) = last.insert(value.producer, value.number).filter(|last| *last >= value.number) {
            let producer = value.producer;
            return Err(format!(
                "{place:?} offset {offset}: {value:?} comes behind #{last} of producer {producer}"
            ));
        }
    }
    Ok(())
}

impl Check for Transactions {
    fn name(&self) -> &'static str {
        "transactions"
    }

    fn on(&mut self, event: &Event) -> Result<(), String> {
        match event {
            Event::Asked { request } => self.newest = *request,
            Event::TxnOwned { id, producer_id, epoch } => {
                let owners = self.owners.entry((id.clone(), *producer_id)).or_default();
                owners.raise(self.newest, i64::from(*epoch));
            }
            Event::TxnSent { txn, place, values } => {
                let known = self.txns.entry(*txn).or_default();
                for value in values {
                    known.places.insert(*value, place.clone());
                    self.of_value.insert((place.clone(), *value), *txn);
                }
            }
            Event::TxnAcked { id, producer_id, epoch, request, txn, values } => {
                self.txns.entry(*txn).or_default().acked.extend(values);
                return self.obeyed(id, *producer_id, *epoch, *request);
            }
            Event::TxnEnding { txn, committed } => {
                self.txns.entry(*txn).or_default().commit_sent |= committed;
            }
            Event::TxnEnded { id, producer_id, epoch, request, txn, committed } => {
                self.txns.entry(*txn).or_default().committed |= committed;
                return self.obeyed(id, *producer_id, *epoch, *request);
            }
            Event::TxnRead { place, kept, .. } => return self.keep(place, kept),
            Event::TxnReadAll { place, kept } => {
                let values = kept.iter().filter_map(|(_, value)| *value).collect();
                self.read_back.insert(place.clone(), values);
                return self.keep(place, kept);
            }
            Event::TxnAllRead => {
                let judged = self.judge_all();
                self.read_back.clear();
                return judged;
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{super::kit::*, *};

    const TXN: Txn = Txn { producer: 1, number: 0 };

    fn sent(numbers: &[u32]) -> Event {
        let values = numbers.iter().map(|number| value(*number)).collect();
        Event::TxnSent { txn: TXN, place: place(), values }
    }

    fn obeyed(epoch: i16, request: u64, numbers: &[u32]) -> Event {
        let values = numbers.iter().map(|number| value(*number)).collect();
        Event::TxnAcked { id: "t".into(), producer_id: 7, epoch, request, txn: TXN, values }
    }

    fn ending(committed: bool) -> Event {
        Event::TxnEnding { txn: TXN, committed }
    }

    fn ended(epoch: i16, request: u64) -> Event {
        Event::TxnEnded { id: "t".into(), producer_id: 7, epoch, request, txn: TXN, committed: true }
    }

    fn kept(records: &[(i64, u32)]) -> Vec<Seen> {
        records.iter().map(|(offset, number)| (*offset, Some(value(*number)))).collect()
    }

    fn seen(records: &[(i64, u32)]) -> Event {
        Event::TxnRead { place: place(), kept: kept(records), dropped: Vec::new() }
    }

    fn seen_all(records: &[(i64, u32)]) -> Event {
        Event::TxnReadAll { place: place(), kept: kept(records) }
    }

    #[test]
    fn what_nobody_has_committed_is_not_to_be_seen() {
        check(Transactions::default(), &[sent(&[0]), seen(&[(0, 0)])], false);
        check(Transactions::default(), &[sent(&[0]), ending(false), seen(&[(0, 0)])], false);
        check(Transactions::default(), &[sent(&[0]), ending(true), seen(&[(0, 0)])], true);
        check(Transactions::default(), &[sent(&[0]), ending(true), seen(&[(0, 1)])], false);
    }

    #[test]
    fn a_transaction_is_seen_as_a_whole_or_not_at_all() {
        let begun = [sent(&[0, 1]), obeyed(0, 1, &[0, 1]), ending(true)];
        let with = |more: &[Event]| [&begun[..], more].concat();
        check(Transactions::default(), &with(&[seen_all(&[(0, 0)]), Event::TxnAllRead]), false);
        check(Transactions::default(), &with(&[seen_all(&[]), Event::TxnAllRead]), true);
        check(Transactions::default(), &with(&[seen_all(&[(0, 0), (1, 1)]), Event::TxnAllRead]), true);
        check(Transactions::default(), &with(&[ended(0, 2), seen_all(&[]), Event::TxnAllRead]), false);
    }

    #[test]
    fn each_record_is_seen_once_and_in_its_order() {
        let begun = [sent(&[0, 1]), ending(true)];
        let with = |more: Event| [&begun[..], &[more]].concat();
        check(Transactions::default(), &with(seen(&[(0, 1), (1, 0)])), false);
        check(Transactions::default(), &with(seen(&[(0, 0), (1, 0)])), false);
        check(Transactions::default(), &with(seen(&[(0, 0), (2, 1)])), true);
    }

    #[test]
    fn who_was_fenced_is_not_obeyed_any_more() {
        let owned = |epoch| Event::TxnOwned { id: "t".into(), producer_id: 7, epoch };
        let asked = |request| Event::Asked { request };
        let with = |last| [sent(&[0]), owned(0), asked(5), owned(2), last];
        check(Transactions::default(), &with(obeyed(0, 5, &[0])), true);
        check(Transactions::default(), &with(obeyed(0, 6, &[0])), false);
        check(Transactions::default(), &with(obeyed(2, 6, &[0])), true);
        check(Transactions::default(), &with(ended(1, 6)), false);
    }
}

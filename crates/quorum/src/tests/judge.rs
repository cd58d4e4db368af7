//! What must hold, whatever happens: judged over all replicas and all their starts.

use crate::{Committed, Leadership, Placed, Quorum, RaftQuorum, Replica};
use model::{LeaderEpoch, Offset};
use parking_lot::Mutex;
use records::{Batch, Decompressor};
use std::{collections::BTreeMap, sync::Arc};

/// Remembers everything that was told.
#[derive(Default)]
pub(super) struct Judge(Mutex<Told>);

#[derive(Default)]
struct Told {
    leaders: BTreeMap<LeaderEpoch, Replica>,
    /// Committed batches by their first offset: the offset after them, and all bytes.
    batches: BTreeMap<Offset, (Offset, bytes::Bytes)>,
    acknowledged: BTreeMap<u64, Placed>,
    sent: u64,
}

impl Judge {
    /// A value that was never sent, and the offset behind which it must go.
    pub(super) fn next_value(&self) -> (u64, Offset) {
        let mut told = self.0.lock();
        told.sent += 1;
        let behind = told.acknowledged.values().map(|placed| placed.last_offset).max().unwrap_or(-1);
        (told.sent, behind)
    }

    pub(super) fn acknowledged(&self, value: u64, behind: Offset, placed: Placed) {
        assert!(
            placed.base_offset > behind,
            "value {value} went to {placed}, but {behind} was acknowledged before"
        );
        assert!(self.0.lock().acknowledged.insert(value, placed).is_none());
    }

    pub(super) fn count(&self) -> usize {
        self.0.lock().acknowledged.len()
    }

    fn on_leadership(&self, leadership: Leadership) {
        let Some(leader) = leadership.leader else { return };
        let mut told = self.0.lock();
        let known = *told.leaders.entry(leadership.epoch).or_insert(leader);
        assert_eq!(known, leader, "epoch {} has two leaders", leadership.epoch);
    }

    fn on_batch(&self, batch: &Batch) {
        assert!(batch.is_intact());
        let (base, next) = (batch.header.base_offset, batch.header.next_offset());
        let mut told = self.0.lock();
        let known = told.batches.entry(base).or_insert((next, batch.bytes.clone()));
        assert_eq!(*known, (next, batch.bytes.clone()), "offset {base} has two values");
    }

    /// Follows one start of a replica until its tasks end.
    pub(super) async fn follow(self: Arc<Self>, quorum: RaftQuorum) {
        let mut watching = quorum.leadership();
        let (mut from, mut before) = (0, *watching.borrow());
        loop {
            let now = *watching.borrow_and_update();
            assert!(now.epoch >= before.epoch, "an epoch went back");
            assert!(now.high_watermark >= before.high_watermark, "a high watermark went back");
            before = now;
            self.on_leadership(now);
            while from < now.high_watermark {
                match quorum.read(from, 10_000).await {
                    Ok(Committed::Batches(batches)) => {
                        let Some(last) = batches.last() else { break };
                        from = last.header.next_offset();
                        assert!(from <= quorum.leadership().borrow().high_watermark);
                        batches.iter().for_each(|batch| self.on_batch(batch));
                    }
                    Ok(Committed::InSnapshot(id)) => from = id.end_offset,
                    Err(_) => return,
                }
            }
            if watching.changed().await.is_err() {
                return;
            }
        }
    }

    /// All that was acknowledged is committed, once, where it was said to be; offsets have no holes.
    pub(super) fn finish(&self) {
        let told = self.0.lock();
        let mut found = BTreeMap::new();
        let mut expected = 0;
        for (base, (next, bytes)) in &told.batches {
            assert_eq!(*base, expected, "a hole before offset {base}");
            expected = *next;
            let batch = Batch::split_off(&mut bytes.clone()).unwrap();
            if batch.header.attributes.is_control() {
                continue;
            }
            for record in batch.records(1 << 20, &mut Decompressor::new()).unwrap() {
                let value = u64::from_be_bytes(record.value.unwrap()[..8].try_into().unwrap());
                assert_eq!(found.insert(value, record.offset), None, "value {value} is there twice");
            }
        }
        for (value, placed) in &told.acknowledged {
            assert_eq!(found.get(value), Some(&placed.base_offset), "value {value} was lost");
        }
    }
}

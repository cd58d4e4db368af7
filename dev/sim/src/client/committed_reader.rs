//! A reader of committed records (read_committed, KIP-98): leaves out what belongs to aborted transactions, as the broker
//! tells it, and tells the history what is left. It begins anew now and then.

use super::{Ground, Link, Lost, Seek, fetching};
use crate::{
    dice::Dice,
    history::{Event, Place, Seen},
    value::ValueId,
};
use records::{Batch, Decompressor};
use std::collections::BTreeMap;
use stdx::Uuid;
use wire::{FetchRequest, fetch_response::PartitionData};

/// A reader of the partitions that transactions write to.
pub struct CommittedReader {
    ground: Ground,
    dice: Dice,
    number: u32,
    places: Vec<(Place, Uuid)>,
}

/// What a fetch has shown.
pub(super) struct Shown {
    /// What a reader keeps.
    pub(super) kept: Vec<Seen>,
    /// What it leaves out because the transaction was aborted.
    pub(super) dropped: Vec<Seen>,
    /// Where to read on.
    pub(super) next: i64,
}

/// The aborted transactions that a reader is inside of, by producer, as it reads along.
pub(super) type Inside = BTreeMap<i64, Vec<i64>>;

/// Batches are not unpacked beyond this.
const PLAIN_BYTES_MAX: usize = 16 << 20;
const VERSIONS: std::ops::RangeInclusive<u64> = 4..=17;

impl CommittedReader {
    /// A reader of its own number.
    pub fn new(ground: Ground, dice: Dice, number: u32, places: Vec<(Place, Uuid)>) -> Self {
        Self { ground, dice, number, places }
    }

    /// Reads until the run ends.
    pub async fn run(mut self) {
        let name = format!("committed{}", self.number);
        while !self.ground.rules.is_ended() {
            let index = self.dice.below(self.places.len() as u64) as usize;
            let Some((place, id)) = self.places.get(index).cloned() else { return };
            let Ok(mut link) = self.ground.try_connect(Seek::Leader(&place), &name, &mut self.dice).await
            else {
                self.ground.clock.sleep_ms(self.dice.range(20..=300)).await;
                continue;
            };
            if self.follow(&mut link, &place, id).await.is_err() {
                // It has been refused or lost: at once it would only be so again.
                self.ground.clock.sleep_ms(self.dice.range(20..=300)).await;
            }
        }
    }

    /// Follows one partition for a while, from some offset on.
    async fn follow(&mut self, link: &mut Link, place: &Place, id: Uuid) -> Result<(), Lost> {
        let version = self.dice.range(VERSIONS) as i16;
        let mut position = 0;
        let mut inside = Inside::new();
        for _ in 0..self.dice.range(1..=30) {
            if self.ground.rules.is_ended() {
                break;
            }
            let bytes_max = self.dice.pick(&[1, 400, 4000, 1 << 20], 4000);
            let Some(data) = fetch(link, (place, id), position, (version, bytes_max)).await? else {
                return Err(Lost);
            };
            let shown = show(&data, position, &mut inside, self.ground.cluster.was_damaged());
            position = shown.next;
            self.ground.history.tell(Event::TxnRead {
                place: place.clone(),
                kept: shown.kept,
                dropped: shown.dropped,
            });
            self.ground.clock.sleep_ms(self.dice.range(0..=400)).await;
        }
        Ok(())
    }
}

/// Fetches committed records of one partition; nothing if the broker refuses.
pub(super) async fn fetch(
    link: &mut Link,
    (place, id): (&Place, Uuid),
    position: i64,
    (version, bytes_max): (i16, i32),
) -> Result<Option<PartitionData>, Lost> {
    let request = FetchRequest {
        replica_id: -1,
        max_wait_ms: 100,
        min_bytes: 1,
        max_bytes: 1 << 20,
        isolation_level: 1,
        session_epoch: -1,
        topics: vec![fetching::topic(place, id, position, bytes_max, link.leader_epoch)],
        ..Default::default()
    };
    let mut answer = link.ask(version, &request).await?;
    let data = answer.responses.pop().and_then(|mut topic| topic.partitions.pop());
    Ok(data.filter(|data| data.error_code == 0))
}

/// What a reader makes of an answer, as Kafka's consumers do: an aborted transaction is inside from its first offset to
/// its marker. Where the bytes of a replica were `damaged` it takes nothing from there on, as real ones do, which verify
/// checksums, and asks again.
pub(super) fn show(data: &PartitionData, from: i64, inside: &mut Inside, damaged: bool) -> Shown {
    let mut shown = Shown { kept: Vec::new(), dropped: Vec::new(), next: from };
    for aborted in data.aborted_transactions.iter().flatten() {
        let firsts = inside.entry(aborted.producer_id).or_default();
        if !firsts.contains(&aborted.first_offset) {
            firsts.push(aborted.first_offset);
        }
    }
    let mut bytes = data.records.as_ref().and_then(stdx::Parts::to_bytes).unwrap_or_default();
    let mut decompressor = Decompressor::default();
    while let Some(batch) = Batch::split_off(&mut bytes) {
        let header = batch.header;
        if !batch.is_intact() {
            if damaged {
                break;
            }
            shown.kept.extend((header.base_offset..header.next_offset()).map(|offset| (offset, None)));
        }
        if header.next_offset() <= from {
            continue;
        }
        shown.next = header.next_offset();
        if header.attributes.is_control() {
            if let Some(firsts) = inside.get_mut(&header.producer_id) {
                firsts.retain(|first| *first > header.base_offset);
            }
            continue;
        }
        let firsts = inside.get(&header.producer_id);
        let is_aborted = header.attributes.is_transactional()
            && firsts.is_some_and(|firsts| firsts.iter().any(|first| *first <= header.base_offset));
        let records = batch.records(PLAIN_BYTES_MAX, &mut decompressor).unwrap_or_default();
        let seen = records.into_iter().filter(|record| record.offset >= from).map(|record| {
            (record.offset, record.value.as_ref().and_then(|value| ValueId::from_bytes(value)))
        });
        match is_aborted {
            true => shown.dropped.extend(seen),
            false => shown.kept.extend(seen),
        }
    }
    shown
}

//! A share partition with a log of records one batch each, and short words for what is done with it.

use crate::*;
use ::coordinator::Now;
use model::Offset;

pub(super) struct Desk {
    pub(super) partition: SharePartition,
    pub(super) now: Now,
}

pub(super) const CONFIG: Config =
    Config { lock_ms: 1000, delivery_count_max: 5, locks_max: 100, may_renew: true, has_dead_letters: false };

pub(super) fn member(name: &str) -> MemberId {
    name.into()
}

/// Batches of `size` records each, from `first` on to before `end`.
pub(super) fn log(first: Offset, end: Offset, size: Offset) -> Vec<Batch> {
    let batch = |first: Offset| Batch { first, last: (first + size - 1).min(end - 1), is_aborted: false };
    (first..end).step_by(size as usize).map(batch).collect()
}

pub(super) fn batch(first: Offset, last: Offset, state: i8, count: i16) -> StateBatch {
    StateBatch { first, last, state, count }
}

impl Desk {
    pub(super) fn new() -> Self {
        Self::with(CONFIG, 0, &[])
    }

    pub(super) fn with(config: Config, start: Offset, batches: &[StateBatch]) -> Self {
        let partition = SharePartition::new(config, 1, start, batches).unwrap();
        partition.check();
        Self { partition, now: Now { wall: 0, monotonic: 0 } }
    }

    /// Reads `batches` for a member and gives what it may have.
    pub(super) fn acquire_of(
        &mut self,
        name: &str,
        max: i64,
        mode: Mode,
        batches: &[Batch],
    ) -> Vec<Acquired> {
        let from = self.partition.next_offset();
        let wish = Wish { member: &member(name), records_max: max, batch_size: 1000, mode, from };
        let read: Vec<Batch> = batches.iter().copied().filter(|batch| batch.last >= from).collect();
        let taken = self.partition.acquire(self.now, wish, &read);
        self.partition.check();
        taken
    }

    /// The same of a log of twenty batches of one record.
    pub(super) fn acquire(&mut self, name: &str, max: i64) -> Vec<(Offset, Offset, i16)> {
        let taken = self.acquire_of(name, max, Mode::RecordLimit, &log(0, 20, 1));
        taken.into_iter().map(|one| (one.first, one.last, one.count)).collect()
    }

    pub(super) fn begin(
        &mut self,
        name: &str,
        first: Offset,
        last: Offset,
        kind: Kind,
    ) -> Result<Option<Write>, Error> {
        let all = [Acknowledged { first, last, kinds: vec![kind] }];
        let write = self.partition.acknowledge(self.now, &member(name), &all);
        self.partition.check();
        write
    }

    pub(super) fn end(&mut self, write: &Write, is_written: bool) {
        self.partition.on_written(self.now, write.id, is_written);
        self.partition.check();
    }

    /// Acknowledges, and the share coordinator takes it.
    pub(super) fn acknowledge(
        &mut self,
        name: &str,
        first: Offset,
        last: Offset,
        kind: Kind,
    ) -> Option<Write> {
        let write = self.begin(name, first, last, kind).unwrap();
        write.iter().for_each(|write| self.end(write, true));
        write
    }

    pub(super) fn sleep(&mut self, ms: u32) -> Option<Write> {
        self.now = self.now.plus_ms(ms);
        let write = self.partition.expire(self.now);
        self.partition.check();
        write
    }
}

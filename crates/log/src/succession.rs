//! A copy of a log takes its place: how far it is a copy, and what it takes over besides the batches (KIP-113).
//!
//! It copies nothing; whoever does hands batches to [`Log::append_as_follower`]. What happens to the files is
//! [`crate::Files::move_to`].

use crate::{Effect, Log, producer_snapshot};
use model::{LeaderEpoch, Offset};

/// Where a copy stands that is to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kinship {
    /// It is a first part of the log, or all of it.
    Prefix,
    /// What it has from this offset on the log has not: it was cut.
    PartsAt(Offset),
    /// Nothing that the log still has follows on it: it begins anew at this offset.
    Apart(Offset),
}

/// The same by what the two logs say of themselves.
fn kinship(
    (end, last): (Offset, Option<(LeaderEpoch, Offset)>),
    (start, log_end): (Offset, Offset),
    answer: impl Fn(LeaderEpoch) -> (LeaderEpoch, Offset),
) -> Kinship {
    if end < start {
        return Kinship::Apart(start);
    }
    let Some((epoch, began)) = last else {
        return if end > log_end { Kinship::PartsAt(log_end) } else { Kinship::Prefix };
    };
    match answer(epoch) {
        // Nothing is known of that epoch: what was written in it is lost.
        (_, before) if before < 0 && began > start => Kinship::PartsAt(began),
        (_, before) if before < 0 => Kinship::Apart(start),
        // The log never had that epoch.
        (floor, ends) if floor < epoch => Kinship::PartsAt(ends.min(began)),
        (_, ends) if ends < end => Kinship::PartsAt(ends),
        _ => Kinship::Prefix,
    }
}

impl Log {
    /// How this log, which was copied from `log`, stands to it now. To be asked again after a cut.
    pub fn kinship(&self, log: &Self) -> Kinship {
        let last = self.epochs.epoch_for_offset(self.end_offset - 1);
        let last = last.filter(|_| self.end_offset > self.start_offset);
        let began = |epoch| {
            let entry = self.epochs.entries().iter().find(|entry| entry.epoch == epoch);
            (epoch, entry.map_or(self.start_offset, |entry| entry.start_offset))
        };
        kinship((self.end_offset, last.map(began)), (log.start_offset, log.end_offset), |epoch| {
            log.epochs.end_offset_for(epoch, log.end_offset)
        })
    }

    /// Takes the place of `old`, whose batches it has to the last: the start of the log, the epochs, and the producers,
    /// among them those whose batches are deleted already. Reads that were planned of either log's files are to be planned
    /// again. `false`, and nothing is done, if it has not all of them.
    pub fn succeed(&mut self, old: &Self, effects: &mut Vec<Effect>) -> bool {
        if self.end_offset != old.end_offset || self.kinship(old) != Kinship::Prefix {
            return false;
        }
        // The end of the log bounds it.
        let _ = self.delete_records_before(old.start_offset, old.end_offset, effects);
        self.epochs = old.epochs.clone();
        self.epochs_unwritten = false;
        effects.push(Effect::Epochs(self.epochs.entries().to_vec()));
        self.producers = old.producers.clone();
        // One that it has of this offset knows less; and it counts though all records are deleted.
        self.snapshots.insert(self.end_offset);
        let bytes = producer_snapshot::encode(&self.producers);
        effects.push(Effect::Snapshot { offset: self.end_offset, bytes });
        old.handles.begin_swap();
        self.handles.begin_swap();
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A copy that ends there, whose last epoch began there, of a log from `start` to `end` with such epochs.
    fn of(end: Offset, last: Option<(LeaderEpoch, Offset)>, log: (Offset, Offset)) -> Kinship {
        // The log: epoch 1 from 0, epoch 3 from 10.
        kinship((end, last), log, |epoch| match epoch {
            3 => (3, log.1),
            1 | 2 => (1, 10),
            _ => (-1, -1),
        })
    }

    #[test]
    fn a_copy_goes_on_where_it_is_a_first_part() {
        assert_eq!(of(0, None, (0, 20)), Kinship::Prefix);
        assert_eq!(of(7, Some((1, 0)), (0, 20)), Kinship::Prefix);
        assert_eq!(of(20, Some((3, 10)), (0, 20)), Kinship::Prefix);
        assert_eq!(of(10, Some((1, 0)), (5, 20)), Kinship::Prefix);
    }

    #[test]
    fn what_the_log_was_cut_of_is_cut_of_its_copy() {
        assert_eq!(of(15, Some((1, 0)), (0, 20)), Kinship::PartsAt(10), "epoch 1 has ended before");
        assert_eq!(of(15, Some((3, 10)), (0, 12)), Kinship::PartsAt(12));
        assert_eq!(of(18, Some((2, 12)), (0, 20)), Kinship::PartsAt(10), "the log never had epoch 2");
        assert_eq!(of(9, Some((2, 6)), (0, 20)), Kinship::PartsAt(6));
        assert_eq!(of(5, None, (0, 3)), Kinship::PartsAt(3));
    }

    #[test]
    fn a_copy_of_what_the_log_has_deleted_begins_anew() {
        assert_eq!(of(7, Some((1, 0)), (8, 20)), Kinship::Apart(8));
        assert_eq!(of(7, Some((9, 0)), (0, 20)), Kinship::Apart(0), "it is another log's");
        assert_eq!(of(17, Some((9, 12)), (0, 20)), Kinship::PartsAt(12), "the log has lost epoch 9");
        assert_eq!(of(0, None, (8, 8)), Kinship::Apart(8));
    }
}

//! At which offset each leader epoch of a partition began (KIP-101, KIP-279, KIP-320).
//!
//! It does not know which epoch is current beyond what was written. The log assigns an entry with the first batch of
//! an epoch and writes all of them to `leader-epoch-checkpoint`.

use model::{LeaderEpoch, Offset};

/// The first offset that was written under an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochEntry {
    /// The epoch.
    pub epoch: LeaderEpoch,
    /// Its first offset.
    pub start_offset: Offset,
}

/// The epochs of one log, both numbers rising.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Epochs {
    entries: Vec<EpochEntry>,
}

impl Epochs {
    /// The epochs of a checkpoint; entries that contradict a later one are dropped.
    pub fn from_entries(entries: impl IntoIterator<Item = EpochEntry>) -> Self {
        let mut epochs = Self::default();
        for entry in entries {
            epochs.assign(entry.epoch, entry.start_offset);
        }
        epochs
    }

    /// All entries, rising.
    pub fn entries(&self) -> &[EpochEntry] {
        &self.entries
    }

    /// The latest epoch.
    pub fn latest(&self) -> Option<LeaderEpoch> {
        self.entries.last().map(|entry| entry.epoch)
    }

    /// The first entry.
    pub fn earliest(&self) -> Option<EpochEntry> {
        self.entries.first().copied()
    }

    /// Says that `epoch` begins at `start_offset`, unless that is known; whether anything changed.
    pub fn assign(&mut self, epoch: LeaderEpoch, start_offset: Offset) -> bool {
        let known = |last: &EpochEntry| last.epoch == epoch && start_offset >= last.start_offset;
        if epoch < 0 || start_offset < 0 || self.entries.last().is_some_and(known) {
            return false;
        }
        while self.entries.pop_if(|last| last.epoch >= epoch || last.start_offset >= start_offset).is_some() {
        }
        self.entries.push(EpochEntry { epoch, start_offset });
        true
    }

    /// Where `epoch` ends: the largest known epoch not above it, and the offset at which the one after began.
    /// (-1, -1) if that is not known.
    pub fn end_offset_for(&self, epoch: LeaderEpoch, log_end_offset: Offset) -> (LeaderEpoch, Offset) {
        if epoch == -1 {
            return (-1, -1);
        }
        if self.latest() == Some(epoch) {
            return (epoch, log_end_offset);
        }
        let after = self.entries.partition_point(|entry| entry.epoch <= epoch);
        match (self.entries.get(after), after.checked_sub(1).and_then(|before| self.entries.get(before))) {
            (None, _) => (-1, -1),
            (Some(higher), None) => (epoch, higher.start_offset),
            (Some(higher), Some(floor)) => (floor.epoch, higher.start_offset),
        }
    }

    /// The epoch under which `offset` was written.
    pub fn epoch_for_offset(&self, offset: Offset) -> Option<LeaderEpoch> {
        let after = self.entries.partition_point(|entry| entry.start_offset <= offset);
        self.entries.get(after.checked_sub(1)?).map(|entry| entry.epoch)
    }

    /// Forgets what began at or after `end_offset`; whether anything changed.
    pub fn truncate_from_end(&mut self, end_offset: Offset) -> bool {
        let before = self.entries.len();
        self.entries.retain(|entry| entry.start_offset < end_offset);
        self.entries.len() != before
    }

    /// Forgets what ended before `start_offset`; the epoch of that offset then begins there. Whether anything changed.
    pub fn truncate_from_start(&mut self, start_offset: Offset) -> bool {
        let covered = self.entries.partition_point(|entry| entry.start_offset <= start_offset);
        let Some(last) = covered.checked_sub(1) else { return false };
        let changed = last > 0 || self.entries.first().is_some_and(|e| e.start_offset != start_offset);
        self.entries.drain(..last);
        if let Some(first) = self.entries.first_mut() {
            first.start_offset = start_offset;
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epochs(entries: &[(i32, i64)]) -> Epochs {
        Epochs::from_entries(
            entries.iter().map(|(epoch, start)| EpochEntry { epoch: *epoch, start_offset: *start }),
        )
    }

    #[test]
    fn the_end_of_an_epoch_is_the_start_of_the_next() {
        let epochs = epochs(&[(2, 10), (4, 20), (7, 35)]);
        let cases = [
            (-1, (-1, -1)),
            (1, (1, 10)),
            (2, (2, 20)),
            (3, (2, 20)),
            (4, (4, 35)),
            (6, (4, 35)),
            (7, (7, 50)),
            (8, (-1, -1)),
        ];
        for (asked, answer) in cases {
            assert_eq!(epochs.end_offset_for(asked, 50), answer, "epoch {asked}");
        }
    }

    #[test]
    fn an_epoch_of_an_offset_is_the_last_that_began_before() {
        let epochs = epochs(&[(2, 10), (4, 20)]);
        let found: Vec<_> = [9, 10, 19, 20, 99].map(|offset| epochs.epoch_for_offset(offset)).into();
        assert_eq!(found, [None, Some(2), Some(2), Some(4), Some(4)]);
    }

    #[test]
    fn a_new_entry_drops_those_that_contradict_it() {
        let mut epochs = epochs(&[(2, 10), (4, 20), (5, 30)]);
        assert!(!epochs.assign(5, 31));
        assert!(epochs.assign(6, 15));
        assert_eq!(epochs.entries().iter().map(|e| e.epoch).collect::<Vec<_>>(), [2, 6]);
        assert!(!epochs.assign(-1, 99));
    }

    #[test]
    fn truncation_keeps_the_epoch_of_the_first_offset() {
        let mut start = epochs(&[(2, 10), (4, 20), (7, 35)]);
        assert!(start.truncate_from_start(25));
        assert_eq!(start, epochs(&[(4, 25), (7, 35)]));
        assert!(!start.truncate_from_start(25));
        assert!(!start.truncate_from_start(3));
        let mut end = epochs(&[(2, 10), (4, 20), (7, 35)]);
        assert!(end.truncate_from_end(20));
        assert_eq!(end, epochs(&[(2, 10)]));
    }
}

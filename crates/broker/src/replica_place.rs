//! In which log directory a replica's log lies, or is to be made: the decision, as data (KIP-113, KIP-858).
//!
//! It looks at no disk: `replicas` tells it what was found in the directories that can be read.

use metadata::{DIRECTORY_LOST, DIRECTORY_MIGRATING, DIRECTORY_UNASSIGNED};
use stdx::Uuid;

/// A log directory of this node, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dir {
    /// `directory.id`; `None` if it could not be read.
    pub(crate) id: Option<Uuid>,
    pub(crate) is_online: bool,
    /// `cordoned.log.dirs` names it: it takes no new replicas.
    pub(crate) is_cordoned: bool,
    /// How many logs lie in it, those among them that are being copied into it.
    pub(crate) logs: usize,
}

/// What is known of one replica. Directories are named by their place in the list.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known<'a> {
    /// The directories that can be read and have its log.
    pub(crate) found: &'a [usize],
    /// Its directory, as the metadata have it.
    pub(crate) assigned: Uuid,
    /// The directory that AlterReplicaLogDirs has named before it was made.
    pub(crate) wished: Option<usize>,
    /// The directory that has what was to become its log, by the name that this has until it does.
    pub(crate) future: Option<usize>,
}

/// Where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// There it lies.
    Found(usize),
    /// It lies nowhere, and begins there with nothing.
    New(usize),
    /// It may lie in a directory that cannot be read: beginning anew would give up what it holds. This is the first such.
    Offline(usize),
    /// It was being moved to the directory `copy`, and the one that it was moved from is there no more: what was copied may be
    /// less than what it held. It belongs to `at`, should it begin anew.
    HalfMoved { copy: usize, at: usize },
}

/// Where a replica is. `None` only if there is no directory.
pub(crate) fn place(dirs: &[Dir], known: Known<'_>) -> Option<Place> {
    let place_of = |id: Uuid| dirs.iter().position(|dir| dir.is_online && dir.id == Some(id));
    let assigned = place_of(known.assigned);
    let offline = dirs.iter().position(|dir| !dir.is_online);
    let is_named = !matches!(known.assigned, DIRECTORY_UNASSIGNED | DIRECTORY_LOST | DIRECTORY_MIGRATING);
    if let Some(first) = known.found.first() {
        // What is found may be what a log was before it was moved, and the log in the directory that cannot be read.
        if let Some(offline) = offline.filter(|_| is_named && assigned.is_none()) {
            return Some(Place::Offline(offline));
        }
        // Two have it where a crash came between the two renamings that end a move, or a directory is back that had failed
        // meanwhile. The controller heard of the new place before the first of them.
        return Some(Place::Found(assigned.filter(|place| known.found.contains(place)).unwrap_or(*first)));
    }
    if let Some(copy) = known.future {
        let half = |at| Place::HalfMoved { copy, at };
        return offline.map(Place::Offline).or_else(|| assigned.or_else(|| next(dirs)).map(half));
    }
    match offline {
        Some(offline) if assigned.is_none() && known.assigned != DIRECTORY_UNASSIGNED => {
            Some(Place::Offline(offline))
        }
        _ => {
            let wished = known.wished.filter(|place| dirs.get(*place).is_some_and(|dir| dir.is_online));
            wished.or(assigned).or_else(|| next(dirs)).map(Place::New)
        }
    }
}

/// The directory for a new log of which nothing else is known: the one with the fewest that takes new ones, or, as in Kafka,
/// the first where none does.
fn next(dirs: &[Dir]) -> Option<usize> {
    let online = || dirs.iter().enumerate().filter(|(_, dir)| dir.is_online);
    let fewest = online().filter(|(_, dir)| !dir.is_cordoned).min_by_key(|(_, dir)| dir.logs);
    fewest.or_else(|| online().next()).map(|(place, _)| place)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: Uuid = Uuid([9; 16]);

    fn id(place: u8) -> Uuid {
        Uuid([10 + place; 16])
    }

    /// Directories with so many logs; `None` is one that cannot be read.
    fn dirs(logs: &[Option<usize>]) -> Vec<Dir> {
        let dir = |(place, logs): (u8, &Option<usize>)| Dir {
            id: logs.map(|_| id(place)),
            is_online: logs.is_some(),
            is_cordoned: false,
            logs: logs.unwrap_or(0),
        };
        (0..).zip(logs).map(dir).collect()
    }

    fn unknown(assigned: Uuid) -> Known<'static> {
        Known { found: &[], assigned, wished: None, future: None }
    }

    #[test]
    fn a_new_replica_goes_where_the_fewest_are() {
        let place = |logs: &[Option<usize>]| place(&dirs(logs), unknown(DIRECTORY_UNASSIGNED));
        assert_eq!(place(&[Some(0)]), Some(Place::New(0)));
        assert_eq!(place(&[Some(3), Some(1), Some(2)]), Some(Place::New(1)));
        assert_eq!(place(&[Some(2), Some(2)]), Some(Place::New(0)));
        assert_eq!(place(&[None, Some(7), Some(8)]), Some(Place::New(1)), "one that is offline takes none");
        assert_eq!(place(&[]), None);
    }

    #[test]
    fn cordoned_directories_take_nothing_unless_all_are() {
        let mut all = dirs(&[Some(1), Some(5)]);
        all[0].is_cordoned = true;
        assert_eq!(place(&all, unknown(DIRECTORY_UNASSIGNED)), Some(Place::New(1)));
        assert_eq!(place(&all, unknown(id(0))), Some(Place::New(0)), "it was assigned there");
        all[1].is_cordoned = true;
        assert_eq!(place(&all, unknown(DIRECTORY_UNASSIGNED)), Some(Place::New(0)));
    }

    #[test]
    fn a_wish_counts_before_the_metadata_and_they_before_the_count() {
        let all = dirs(&[Some(0), Some(1), Some(2)]);
        assert_eq!(place(&all, unknown(id(2))), Some(Place::New(2)));
        assert_eq!(place(&all, Known { wished: Some(1), ..unknown(id(2)) }), Some(Place::New(1)));
        let failed = dirs(&[Some(0), None, Some(2)]);
        let wished = Known { wished: Some(1), ..unknown(DIRECTORY_UNASSIGNED) };
        assert_eq!(place(&failed, wished), Some(Place::New(0)), "the wished one has failed since");
    }

    #[test]
    fn what_is_found_is_taken_and_of_two_the_assigned_one() {
        let all = dirs(&[Some(5), Some(1), Some(2)]);
        let found = |found: &'static [usize], assigned| Known { found, ..unknown(assigned) };
        assert_eq!(place(&all, found(&[0], DIRECTORY_UNASSIGNED)), Some(Place::Found(0)));
        assert_eq!(place(&all, found(&[0], id(1))), Some(Place::Found(0)), "the move was not made");
        assert_eq!(place(&all, found(&[0, 2], id(2))), Some(Place::Found(2)));
        assert_eq!(place(&all, found(&[0, 2], OLD)), Some(Place::Found(0)));
        let one_gone = dirs(&[Some(1), None]);
        assert_eq!(place(&one_gone, found(&[0], id(1))), Some(Place::Offline(1)), "it may be newer there");
        assert_eq!(place(&one_gone, found(&[0], id(0))), Some(Place::Found(0)));
        assert_eq!(place(&one_gone, found(&[0], DIRECTORY_LOST)), Some(Place::Found(0)));
        assert_eq!(
            place(&all, Known { future: Some(1), ..found(&[0], id(1)) }),
            Some(Place::Found(0)),
            "the future copy may be behind"
        );
    }

    #[test]
    fn what_may_lie_in_a_directory_that_is_offline_is_not_begun_anew() {
        let failed = dirs(&[Some(0), None]);
        for assigned in [OLD, DIRECTORY_LOST, DIRECTORY_MIGRATING] {
            assert_eq!(place(&failed, unknown(assigned)), Some(Place::Offline(1)));
        }
        assert_eq!(place(&failed, unknown(id(0))), Some(Place::New(0)), "it was never there");
        let whole = dirs(&[Some(1), Some(0)]);
        assert_eq!(place(&whole, unknown(OLD)), Some(Place::New(1)), "its disk was replaced");
    }

    #[test]
    fn a_future_copy_alone_is_not_taken_for_the_log() {
        let known = |assigned| Known { future: Some(1), ..unknown(assigned) };
        assert_eq!(place(&dirs(&[Some(0), None]), known(id(0))), Some(Place::Offline(1)));
        let both = dirs(&[Some(0), Some(1)]);
        assert_eq!(place(&both, known(id(1))), Some(Place::HalfMoved { copy: 1, at: 1 }));
        assert_eq!(
            place(&both, known(OLD)),
            Some(Place::HalfMoved { copy: 1, at: 0 }),
            "the copy is where it is"
        );
    }
}

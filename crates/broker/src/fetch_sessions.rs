//! Incremental fetch sessions (KIP-227): what each fetcher follows and what it was last told, so that requests name
//! only changes and answers only news.
//!
//! A pure core: no lock, no clock, no logs. [`crate::handlers::fetch`] opens a session, reads, and closes with what
//! it found.

use model::{LeaderEpoch, Offset, PartitionIndex};
use std::{collections::BTreeMap, sync::Arc};
use stdx::{Map, Uuid};

/// A partition as a fetch request names it: by topic id (version 13 on) or by name (before).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) topic_id: Uuid,
    /// Shared by the partitions of a topic: a request names it once for all of them.
    pub(crate) topic: Arc<str>,
    pub(crate) partition: PartitionIndex,
}

/// What a fetcher wants of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) offset: Offset,
    pub(crate) bytes_max: i32,
    pub(crate) current_leader_epoch: LeaderEpoch,
    pub(crate) last_fetched_epoch: LeaderEpoch,
    /// Where a follower's log starts; -1 for consumers.
    pub(crate) start_offset: Offset,
}

/// What an answer says of a partition, as far as the session remembers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) high_watermark: Offset,
    pub(crate) start_offset: Offset,
    pub(crate) has_records: bool,
    pub(crate) failed: bool,
}

/// Why an incremental request cannot be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SessionFailure {
    /// There is no such session (any more).
    IdNotFound,
    /// The request is not the next one of its session.
    InvalidEpoch,
    /// The session names topics by id and the request by name, or the other way round.
    TopicIdMismatch,
}

/// A request within its session.
#[derive(Debug)]
pub(crate) struct Opened {
    kind: Kind,
    /// All partitions to read, in the order of fairness.
    pub(crate) partitions: Vec<(Key, Wanted)>,
}

#[derive(Debug)]
enum Kind {
    Sessionless,
    Full { uses_ids: bool },
    Incremental { id: i32, epoch: i32 },
}

/// All sessions of a broker, at most `max`.
pub(crate) struct FetchSessions {
    max: usize,
    sessions: Map<i32, Session>,
}

struct Session {
    epoch: i32,
    uses_ids: bool,
    used_at_ms: i64,
    next_place: u64,
    places: Map<Key, u64>,
    partitions: BTreeMap<u64, (Key, Wanted, Option<Told>)>,
}

/// No session.
const NO_ID: i32 = 0;
/// A full request that wants a session.
const EPOCH_INITIAL: i32 = 0;
/// A full request that wants none.
const EPOCH_FINAL: i32 = -1;
/// A session idle for so long may make room for a new one
/// (`min.incremental.fetch.session.eviction.ms` of Kafka's cache).
const EVICTABLE_AFTER_MS: i64 = 120_000;

impl FetchSessions {
    pub(crate) fn new(max: usize) -> Self {
        Self { max, sessions: Map::default() }
    }

    /// How many sessions are open.
    pub(crate) fn count(&self) -> usize {
        self.sessions.len()
    }

    /// Takes a request into its session and says what to read.
    pub(crate) fn open(
        &mut self,
        now_ms: i64,
        (id, epoch): (i32, i32),
        uses_ids: bool,
        wanted: Vec<(Key, Wanted)>,
        forgotten: &[Key],
    ) -> Result<Opened, SessionFailure> {
        if epoch == EPOCH_INITIAL || epoch == EPOCH_FINAL {
            self.sessions.remove(&id);
            let kind = if epoch == EPOCH_FINAL { Kind::Sessionless } else { Kind::Full { uses_ids } };
            return Ok(Opened { kind, partitions: wanted });
        }
        let session = self.sessions.get_mut(&id).ok_or(SessionFailure::IdNotFound)?;
        if session.epoch != epoch {
            return Err(SessionFailure::InvalidEpoch);
        }
        if session.uses_ids != uses_ids {
            return Err(SessionFailure::TopicIdMismatch);
        }
        for (key, wanted) in &wanted {
            session.want(key, *wanted);
        }
        for key in forgotten {
            session.forget(key);
        }
        if session.partitions.is_empty() {
            self.sessions.remove(&id);
            return Ok(Opened { kind: Kind::Sessionless, partitions: wanted });
        }
        session.used_at_ms = now_ms;
        session.epoch = epoch_after(epoch);
        let partitions = session.partitions.values().map(|(key, wanted, _)| (key.clone(), *wanted)).collect();
        Ok(Opened { kind: Kind::Incremental { id, epoch: session.epoch }, partitions })
    }

    /// Ends a request: gives the session's id for the answer, and for each of `told` (which follows
    /// `opened.partitions`) whether the answer must name it.
    pub(crate) fn close(
        &mut self,
        now_ms: i64,
        opened: &Opened,
        told: &[Told],
        draw_id: &mut dyn FnMut() -> i32,
    ) -> Result<(i32, Vec<bool>), SessionFailure> {
        let all = vec![true; told.len()];
        match opened.kind {
            Kind::Sessionless => Ok((NO_ID, all)),
            Kind::Full { uses_ids } => {
                if opened.partitions.is_empty() || !self.make_room(now_ms) {
                    return Ok((NO_ID, all));
                }
                let id = self.free_id(draw_id);
                let mut session = Session::new(uses_ids, now_ms);
                for ((key, wanted), told) in opened.partitions.iter().zip(told) {
                    session.want(key, *wanted);
                    session.tell(key, *told);
                }
                self.sessions.insert(id, session);
                Ok((id, all))
            }
            Kind::Incremental { id, epoch } => {
                let session = self.sessions.get_mut(&id).ok_or(SessionFailure::IdNotFound)?;
                if session.epoch != epoch {
                    return Err(SessionFailure::InvalidEpoch);
                }
                let pairs = opened.partitions.iter().zip(told);
                Ok((id, pairs.map(|((key, _), told)| session.tell(key, *told)).collect()))
            }
        }
    }

    fn free_id(&self, draw_id: &mut dyn FnMut() -> i32) -> i32 {
        loop {
            let id = draw_id() & i32::MAX;
            if id != NO_ID && !self.sessions.contains_key(&id) {
                return id;
            }
        }
    }

    fn make_room(&mut self, now_ms: i64) -> bool {
        if self.sessions.len() < self.max {
            return true;
        }
        let oldest = self.sessions.iter().map(|(id, session)| (session.used_at_ms, *id)).min();
        match oldest {
            Some((used_at_ms, id)) if now_ms.saturating_sub(used_at_ms) > EVICTABLE_AFTER_MS => {
                self.sessions.remove(&id);
                true
            }
            _ => false,
        }
    }
}

impl Session {
    fn new(uses_ids: bool, used_at_ms: i64) -> Self {
        let epoch = epoch_after(EPOCH_INITIAL);
        Self {
            epoch,
            uses_ids,
            used_at_ms,
            next_place: 0,
            places: Map::default(),
            partitions: BTreeMap::new(),
        }
    }

    fn want(&mut self, key: &Key, wanted: Wanted) {
        if let Some((_, old, _)) = self.places.get(key).and_then(|place| self.partitions.get_mut(place)) {
            *old = wanted;
            return;
        }
        self.put_last(key.clone(), wanted, None);
    }

    fn forget(&mut self, key: &Key) {
        if let Some(place) = self.places.remove(key) {
            self.partitions.remove(&place);
        }
    }

    /// Remembers what is told; says whether it is news. A partition that gave records goes to the end, so that the
    /// others are first when the next answer is too small for all.
    fn tell(&mut self, key: &Key, told: Told) -> bool {
        let Some(place) = self.places.get(key).copied() else { return true };
        let Some((_, wanted, before)) = self.partitions.get_mut(&place) else { return true };
        let same = before.is_some_and(|before| {
            before.high_watermark == told.high_watermark && before.start_offset == told.start_offset
        });
        // After an error the partition must be named again once the error is gone: remember nothing of it.
        *before = (!told.failed).then_some(told);
        if told.has_records {
            let wanted = *wanted;
            self.forget(key);
            self.put_last(key.clone(), wanted, (!told.failed).then_some(told));
        }
        told.has_records || told.failed || !same
    }

    fn put_last(&mut self, key: Key, wanted: Wanted, told: Option<Told>) {
        self.places.insert(key.clone(), self.next_place);
        self.partitions.insert(self.next_place, (key, wanted, told));
        self.next_place += 1;
    }
}

/// Epochs count from 1 and wrap to 1: 0 and -1 mean a full request.
fn epoch_after(epoch: i32) -> i32 {
    if epoch == i32::MAX { 1 } else { epoch + 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(partition: i32) -> Key {
        Key { topic_id: Uuid([7; 16]), topic: "".into(), partition }
    }

    fn wanted(offset: Offset) -> Wanted {
        Wanted { offset, bytes_max: 9, current_leader_epoch: -1, last_fetched_epoch: -1, start_offset: -1 }
    }

    fn told(high_watermark: Offset, has_records: bool) -> Told {
        Told { high_watermark, start_offset: 0, has_records, failed: false }
    }

    fn full(sessions: &mut FetchSessions, partitions: &[i32]) -> i32 {
        let wanted: Vec<_> = partitions.iter().map(|p| (key(*p), wanted(0))).collect();
        let opened = sessions.open(0, (0, 0), true, wanted, &[]).unwrap();
        let answers = vec![told(5, false); partitions.len()];
        let mut next = 40;
        let mut draw = || {
            next += 1;
            next
        };
        sessions.close(0, &opened, &answers, &mut draw).unwrap().0
    }

    fn order(opened: &Opened) -> Vec<i32> {
        opened.partitions.iter().map(|(key, _)| key.partition).collect()
    }

    #[test]
    fn an_incremental_answer_names_only_news() {
        let mut sessions = FetchSessions::new(10);
        let id = full(&mut sessions, &[0, 1, 2]);
        let opened = sessions.open(0, (id, 1), true, vec![(key(1), wanted(3))], &[]).unwrap();
        assert_eq!(opened.partitions[1].1.offset, 3);
        let answers = [told(5, false), told(6, false), told(5, true)];
        let close = sessions.close(0, &opened, &answers, &mut || 1).unwrap();
        assert_eq!(close, (id, vec![false, true, true]));
    }

    #[test]
    fn a_partition_that_gave_records_goes_to_the_end() {
        let mut sessions = FetchSessions::new(10);
        let id = full(&mut sessions, &[0, 1, 2]);
        let opened = sessions.open(0, (id, 1), true, vec![], &[]).unwrap();
        assert_eq!(order(&opened), [0, 1, 2]);
        sessions.close(0, &opened, &[told(9, true), told(5, false), told(5, false)], &mut || 1).unwrap();
        let opened = sessions.open(0, (id, 2), true, vec![], &[]).unwrap();
        assert_eq!(order(&opened), [1, 2, 0]);
    }

    #[test]
    fn a_partition_whose_error_has_gone_is_named_again() {
        let mut sessions = FetchSessions::new(10);
        let id = full(&mut sessions, &[0]);
        let opened = sessions.open(0, (id, 1), true, vec![], &[]).unwrap();
        let failed = Told { failed: true, ..told(5, false) };
        assert_eq!(sessions.close(0, &opened, &[failed], &mut || 1).unwrap().1, [true]);
        let opened = sessions.open(0, (id, 2), true, vec![], &[]).unwrap();
        assert_eq!(sessions.close(0, &opened, &[told(5, false)], &mut || 1).unwrap().1, [true]);
        let opened = sessions.open(0, (id, 3), true, vec![], &[]).unwrap();
        assert_eq!(sessions.close(0, &opened, &[told(5, false)], &mut || 1).unwrap().1, [false]);
    }

    #[test]
    fn wrong_ids_epochs_and_topic_forms_are_refused() {
        let mut sessions = FetchSessions::new(10);
        let id = full(&mut sessions, &[0]);
        let mut open = |id, epoch, ids| sessions.open(0, (id, epoch), ids, vec![], &[]).map(drop);
        assert_eq!(open(id + 1, 1, true), Err(SessionFailure::IdNotFound));
        assert_eq!(open(id, 2, true), Err(SessionFailure::InvalidEpoch));
        assert_eq!(open(id, 1, false), Err(SessionFailure::TopicIdMismatch));
        assert_eq!(open(id, 1, true), Ok(()));
        assert_eq!(open(id, 1, true), Err(SessionFailure::InvalidEpoch), "a repeated request");
    }

    #[test]
    fn a_session_ends_with_its_last_partition_or_by_a_full_request() {
        let mut sessions = FetchSessions::new(10);
        let id = full(&mut sessions, &[0, 1]);
        let opened = sessions.open(0, (id, 1), true, vec![], &[key(0), key(1)]).unwrap();
        assert!(opened.partitions.is_empty());
        assert_eq!(sessions.count(), 0);
        let id = full(&mut sessions, &[0]);
        sessions.open(0, (id, -1), true, vec![], &[]).unwrap();
        assert_eq!(sessions.count(), 0);
    }

    #[test]
    fn a_full_cache_evicts_only_the_idle() {
        let mut sessions = FetchSessions::new(1);
        let first = full(&mut sessions, &[0]);
        assert_ne!(first, 0);
        assert_eq!(full(&mut sessions, &[1]), 0, "the answer is complete, without a session");
        let opened = sessions.open(0, (0, 0), true, vec![(key(1), wanted(0))], &[]).unwrap();
        let (id, _) = sessions.close(200_000, &opened, &[told(1, false)], &mut || 77).unwrap();
        assert_eq!((id, sessions.count()), (77, 1));
    }
}

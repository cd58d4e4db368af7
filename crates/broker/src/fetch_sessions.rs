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
    /// It names another replica to read from (KIP-392).
    pub(crate) is_elsewhere: bool,
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

/// All sessions of a broker, at most `max` with at most `partitions_max` partitions in all of them.
pub(crate) struct FetchSessions {
    max: usize,
    partitions_max: usize,
    sessions: Map<i32, Session>,
    /// Of all sessions together.
    size: usize,
}

struct Session {
    epoch: i32,
    uses_ids: bool,
    created_at_ms: i64,
    used_at_ms: i64,
    next_place: u64,
    /// How many partitions, those with monstrous names counted several times.
    size: usize,
    places: Map<Key, u64>,
    partitions: BTreeMap<u64, (Key, Wanted, Option<Told>)>,
}

/// No session.
const NO_ID: i32 = 0;
/// A full request that wants a session.
const EPOCH_INITIAL: i32 = 0;
/// A full request that wants none.
const EPOCH_FINAL: i32 = -1;
/// A session idle for so long makes room for any new one, and one as old as this for a larger one
/// (`MIN_INCREMENTAL_FETCH_SESSION_EVICTION_MS` of Kafka).
const EVICTABLE_AFTER_MS: i64 = 120_000;

impl FetchSessions {
    pub(crate) fn new(max: usize, partitions_max: usize) -> Self {
        Self { max, partitions_max, sessions: Map::default(), size: 0 }
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
            self.remove(id);
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
        let before = session.size;
        for (key, wanted) in &wanted {
            session.want(key, *wanted);
        }
        for key in forgotten {
            session.forget(key);
        }
        self.size = self.size - before + session.size;
        if session.partitions.is_empty() {
            self.remove(id);
            return Ok(Opened { kind: Kind::Sessionless, partitions: wanted });
        }
        if self.size > self.partitions_max {
            // It comes again with a full request, which may find room or is served without a session.
            self.remove(id);
            return Err(SessionFailure::IdNotFound);
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
                let size = opened.partitions.iter().map(|(key, _)| size_of(key)).sum();
                if opened.partitions.is_empty() || !self.make_room(now_ms, size) {
                    return Ok((NO_ID, all));
                }
                let id = self.free_id(draw_id);
                let mut session = Session::new(uses_ids, now_ms);
                for ((key, wanted), told) in opened.partitions.iter().zip(told) {
                    session.want(key, *wanted);
                    session.tell(key, *told);
                }
                self.size += session.size;
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

    /// Ends a request whose answer tells nothing of its partitions: gives the session's id, if there is one already.
    pub(crate) fn id_of(&self, opened: &Opened) -> Result<i32, SessionFailure> {
        let Kind::Incremental { id, epoch } = opened.kind else { return Ok(NO_ID) };
        let session = self.sessions.get(&id).ok_or(SessionFailure::IdNotFound)?;
        if session.epoch == epoch { Ok(id) } else { Err(SessionFailure::InvalidEpoch) }
    }

    fn free_id(&self, draw_id: &mut dyn FnMut() -> i32) -> i32 {
        loop {
            let id = draw_id() & i32::MAX;
            if id != NO_ID && !self.sessions.contains_key(&id) {
                return id;
            }
        }
    }

    /// Makes room for a session of this size as Kafka does: at the cost of those that are stale, else of smaller ones
    /// that are not young. Without room for it all stay, but for the stale ones.
    fn make_room(&mut self, now_ms: i64, size: usize) -> bool {
        let has_room =
            |count, total: usize| count < self.max && total.saturating_add(size) <= self.partitions_max;
        let (mut count, mut total) = (self.sessions.len(), self.size);
        if has_room(count, total) {
            return true;
        }
        let is_over = |since_ms: i64| now_ms.saturating_sub(since_ms) > EVICTABLE_AFTER_MS;
        let is_smaller = |session: &Session| is_over(session.created_at_ms) && session.size < size;
        let evictable = self.sessions.iter().filter_map(|(id, session)| {
            let place = match is_over(session.used_at_ms) {
                true => (false, session.used_at_ms),
                false if is_smaller(session) => (true, i64::try_from(session.size).unwrap_or(i64::MAX)),
                false => return None,
            };
            Some((place, *id, session.size))
        });
        let mut evictable: Vec<_> = evictable.collect();
        evictable.sort_unstable();
        let mut evicted = 0;
        for (_, _, freed) in &evictable {
            if has_room(count, total) {
                break;
            }
            (count, total, evicted) = (count - 1, total - freed, evicted + 1);
        }
        let has_room = has_room(count, total);
        for (((is_used, _), id, _), _) in evictable.iter().zip(0..evicted) {
            if has_room || !is_used {
                self.remove(*id);
            }
        }
        has_room
    }

    fn remove(&mut self, id: i32) {
        if let Some(session) = self.sessions.remove(&id) {
            self.size -= session.size;
        }
    }
}

/// What a partition counts in a session: its name is kept with it, and a request may call it anything.
fn size_of(key: &Key) -> usize {
    1 + key.topic.len() / 256
}

impl Session {
    fn new(uses_ids: bool, now_ms: i64) -> Self {
        let epoch = epoch_after(EPOCH_INITIAL);
        Self {
            epoch,
            uses_ids,
            created_at_ms: now_ms,
            used_at_ms: now_ms,
            next_place: 0,
            size: 0,
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
        if let Some((key, _, _)) = self.places.remove(key).and_then(|place| self.partitions.remove(&place)) {
            self.size -= size_of(&key);
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
        told.has_records || told.failed || told.is_elsewhere || !same
    }

    fn put_last(&mut self, key: Key, wanted: Wanted, told: Option<Told>) {
        self.size += size_of(&key);
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
        Told { high_watermark, start_offset: 0, has_records, failed: false, is_elsewhere: false }
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
        let mut sessions = FetchSessions::new(10, 100);
        let id = full(&mut sessions, &[0, 1, 2]);
        let opened = sessions.open(0, (id, 1), true, vec![(key(1), wanted(3))], &[]).unwrap();
        assert_eq!(opened.partitions[1].1.offset, 3);
        let answers = [told(5, false), told(6, false), told(5, true)];
        let close = sessions.close(0, &opened, &answers, &mut || 1).unwrap();
        assert_eq!(close, (id, vec![false, true, true]));
    }

    #[test]
    fn a_partition_that_gave_records_goes_to_the_end() {
        let mut sessions = FetchSessions::new(10, 100);
        let id = full(&mut sessions, &[0, 1, 2]);
        let opened = sessions.open(0, (id, 1), true, vec![], &[]).unwrap();
        assert_eq!(order(&opened), [0, 1, 2]);
        sessions.close(0, &opened, &[told(9, true), told(5, false), told(5, false)], &mut || 1).unwrap();
        let opened = sessions.open(0, (id, 2), true, vec![], &[]).unwrap();
        assert_eq!(order(&opened), [1, 2, 0]);
    }

    #[test]
    fn a_partition_whose_error_has_gone_is_named_again() {
        let mut sessions = FetchSessions::new(10, 100);
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
        let mut sessions = FetchSessions::new(10, 100);
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
        let mut sessions = FetchSessions::new(10, 100);
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
        let mut sessions = FetchSessions::new(1, 100);
        let first = full(&mut sessions, &[0]);
        assert_ne!(first, 0);
        assert_eq!(full(&mut sessions, &[1]), 0, "the answer is complete, without a session");
        let opened = sessions.open(0, (0, 0), true, vec![(key(1), wanted(0))], &[]).unwrap();
        let (id, _) = sessions.close(200_000, &opened, &[told(1, false)], &mut || 77).unwrap();
        assert_eq!((id, sessions.count()), (77, 1));
    }

    /// A full request at this time; gives the id of its session.
    fn full_at(sessions: &mut FetchSessions, now_ms: i64, partitions: &[Key]) -> i32 {
        let wanted: Vec<_> = partitions.iter().map(|key| (key.clone(), wanted(0))).collect();
        let opened = sessions.open(now_ms, (0, 0), true, wanted, &[]).unwrap();
        let told = vec![told(5, false); partitions.len()];
        let next = sessions.sessions.keys().max().map_or(1, |id| id + 1);
        sessions.close(now_ms, &opened, &told, &mut || next).unwrap().0
    }

    fn keys(count: i32) -> Vec<Key> {
        (0..count).map(key).collect()
    }

    #[test]
    fn partitions_of_all_sessions_are_bounded_and_whoever_finds_no_room_is_served_without() {
        let mut sessions = FetchSessions::new(100, 10);
        assert_ne!(full_at(&mut sessions, 0, &keys(6)), 0);
        assert_eq!(full_at(&mut sessions, 0, &keys(5)), 0);
        let other = full_at(&mut sessions, 0, &keys(4));
        assert_ne!(other, 0);
        assert_eq!(full_at(&mut sessions, 0, &keys(1)), 0);
        // A session that outgrows the bound must begin anew.
        let more = vec![(key(4), wanted(0))];
        let grown = sessions.open(0, (other, 1), true, more, &[]);
        assert_eq!(grown.map(drop), Err(SessionFailure::IdNotFound));
        assert_eq!((sessions.count(), sessions.size), (1, 6));
        // Naming a partition again, or another one in its place, is no growth.
        let id = full_at(&mut sessions, 0, &keys(4));
        let changed = vec![(key(3), wanted(7)), (key(9), wanted(0))];
        assert_eq!(sessions.open(0, (id, 1), true, changed, &[key(0)]).unwrap().partitions.len(), 4);
        let opened = sessions.open(0, (id, 2), true, vec![], &keys(9)).unwrap();
        sessions.close(0, &opened, &vec![told(9, true); opened.partitions.len()], &mut || 1).unwrap();
        assert_eq!((sessions.count(), sessions.size), (2, 7));
        sessions.open(0, (id, -1), true, vec![], &[]).unwrap();
        assert_eq!((sessions.count(), sessions.size), (1, 6));
    }

    #[test]
    fn a_monstrous_name_counts_for_several_partitions() {
        let mut sessions = FetchSessions::new(100, 100);
        let monster = Key { topic: "x".repeat(30_000).into(), ..key(0) };
        assert_eq!(full_at(&mut sessions, 0, &[monster]), 0);
        let name = Key { topic: "x".repeat(249).into(), ..key(0) };
        assert_ne!(full_at(&mut sessions, 0, &[name]), 0);
        assert_eq!(sessions.size, 1);
    }

    #[test]
    fn as_in_kafka_a_larger_session_takes_the_place_of_smaller_ones_that_are_not_young() {
        for (max, partitions_max) in [(3, 100), (100, 12)] {
            let mut sessions = FetchSessions::new(max, partitions_max);
            let ids = [4, 2, 5].map(|count| full_at(&mut sessions, 0, &keys(count)));
            assert_eq!(full_at(&mut sessions, 120_000, &keys(3)), 0, "all are young");
            for id in ids {
                sessions.open(120_000, (id, 1), true, vec![], &[]).unwrap();
            }
            assert_eq!(full_at(&mut sessions, 120_001, &keys(2)), 0, "none is smaller");
            assert_ne!(full_at(&mut sessions, 120_001, &keys(3)), 0);
            assert_eq!((sessions.sessions.contains_key(&ids[1]), sessions.count()), (false, 3));
        }
    }

    #[test]
    fn nothing_is_evicted_for_what_has_no_room_anyway() {
        let mut sessions = FetchSessions::new(100, 10);
        let id = full_at(&mut sessions, 0, &keys(8));
        sessions.open(120_000, (id, 1), true, vec![], &[]).unwrap();
        assert_eq!(full_at(&mut sessions, 120_001, &keys(11)), 0);
        assert_eq!(sessions.count(), 1);
        assert_ne!(full_at(&mut sessions, 120_001, &keys(10)), 0);
        assert_eq!((sessions.count(), sessions.size), (1, 10));
    }
}

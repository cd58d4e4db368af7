//! Share sessions: the partitions that each member fetches from this broker, so that it need not name them each time.
//!
//! They are in memory only: a member whose session is gone begins a new one. A session belongs to a connection and ends with
//! it; what its member has acquired then comes back. The broker does that; nothing here knows of records.

use crate::MemberId;
use model::{GroupId, PartitionIndex, TopicId};
use std::collections::{BTreeMap, BTreeSet};

/// A member of a group.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SessionKey {
    /// The group.
    pub group: GroupId,
    /// The member.
    pub member: MemberId,
}

/// A partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PartitionKey {
    /// The topic.
    pub topic: TopicId,
    /// The partition.
    pub partition: PartitionIndex,
}

/// Why a session cannot be had, in Kafka's own names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SessionFailure {
    /// There is none: begin one.
    #[error("the share session does not exist; begin a new one")]
    ShareSessionNotFound,
    /// The epoch is not the next one.
    #[error("the epoch of the share session is not the next one")]
    InvalidShareSessionEpoch,
    /// There are too many, or they have too many partitions.
    #[error("the broker has no room for another share session")]
    ShareSessionLimitReached,
    /// Who begins a session has nothing to acknowledge.
    #[error("a request that begins a share session cannot acknowledge records")]
    InvalidRequest,
}

/// The epoch of a request that begins a session.
const BEGIN: i32 = 0;
/// The epoch of a request that ends it.
const END: i32 = -1;

/// What a request is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// The partitions to fetch, those first that gave nothing for the longest time.
    pub partitions: Vec<PartitionKey>,
    /// The session has just begun: everything is news.
    pub is_new: bool,
    /// The session ends with this request.
    pub is_last: bool,
}

/// All sessions of a broker.
#[derive(Debug)]
pub struct Sessions {
    sessions_max: usize,
    partitions_max: usize,
    session_partitions_max: usize,
    partitions: usize,
    sessions: BTreeMap<SessionKey, Session>,
}

#[derive(Debug, Default)]
struct Session {
    epoch: i32,
    connection: u64,
    place_next: u64,
    places: BTreeMap<PartitionKey, u64>,
    /// In the order in which they are served, each with whether it must be told of although there is nothing new.
    partitions: BTreeMap<u64, (PartitionKey, bool)>,
}

impl Sessions {
    /// No sessions; at most so many, and so many partitions in all of them, and in one.
    pub fn new(sessions_max: usize, partitions_max: usize, session_partitions_max: usize) -> Self {
        let sessions = BTreeMap::new();
        Self { sessions_max, partitions_max, session_partitions_max, partitions: 0, sessions }
    }

    /// Changes how many there may be; those that are there stay.
    pub fn configure(&mut self, sessions_max: usize) {
        self.sessions_max = sessions_max;
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// Begins a ShareFetch.
    ///
    /// # Errors
    /// The session is not as the request says. Nothing has changed then; where there is no room for what it asks for, the
    /// host ends the session ([`Sessions::end`]), for its member will begin a new one.
    pub fn open(
        &mut self,
        key: &SessionKey,
        (epoch, connection): (i32, u64),
        wanted: &[PartitionKey],
        forgotten: &[PartitionKey],
        has_acknowledgements: bool,
    ) -> Result<Opened, SessionFailure> {
        match epoch {
            END => {
                let is_known = self.sessions.contains_key(key);
                is_known.then_some(()).ok_or(SessionFailure::ShareSessionNotFound)?;
                return Ok(Opened { partitions: Vec::new(), is_new: false, is_last: true });
            }
            BEGIN if has_acknowledgements => return Err(SessionFailure::InvalidRequest),
            BEGIN => {}
            _ => self.check(key, epoch)?,
        }
        self.check_room(key, epoch == BEGIN, wanted, forgotten)?;
        if epoch == BEGIN {
            self.end(key);
            self.sessions.insert(key.clone(), Session { epoch, connection, ..Session::default() });
        }
        let Some(session) = self.sessions.get_mut(key) else {
            return Err(SessionFailure::ShareSessionNotFound);
        };
        let before = session.partitions.len();
        wanted.iter().for_each(|partition| session.want(*partition, epoch != BEGIN));
        // What is acknowledged is named too, although it may be fetched no more.
        forgotten.iter().for_each(|partition| session.forget(partition));
        session.epoch = epoch_after(epoch);
        session.connection = connection;
        let after = session.partitions.len();
        let partitions = session.partitions.values().map(|(key, _)| *key).collect();
        self.partitions = (self.partitions + after).saturating_sub(before);
        Ok(Opened { partitions, is_new: epoch == BEGIN, is_last: false })
    }

    fn check_room(
        &self,
        key: &SessionKey,
        is_new: bool,
        wanted: &[PartitionKey],
        forgotten: &[PartitionKey],
    ) -> Result<(), SessionFailure> {
        let former = self.sessions.get(key);
        let forgotten: BTreeSet<&PartitionKey> = forgotten.iter().collect();
        let wanted: BTreeSet<&PartitionKey> = wanted.iter().collect();
        let wanted = wanted.difference(&forgotten);
        let kept = former.filter(|_| !is_new).map(|session| &session.places);
        let is_new_to = |partition: &&&PartitionKey| kept.is_none_or(|kept| !kept.contains_key(**partition));
        let gone =
            forgotten.iter().filter(|partition| kept.is_some_and(|kept| kept.contains_key(**partition)));
        let here = kept.map_or(0, BTreeMap::len) + wanted.filter(is_new_to).count();
        let here = here.saturating_sub(gone.count());
        let elsewhere = self.partitions.saturating_sub(former.map_or(0, |session| session.places.len()));
        let sessions = self.sessions.len() + usize::from(former.is_none());
        let has_room = here <= self.session_partitions_max && elsewhere + here <= self.partitions_max;
        // Those that are there stay when fewer are allowed.
        let may_begin = !is_new || sessions <= self.sessions_max;
        (has_room && may_begin).then_some(()).ok_or(SessionFailure::ShareSessionLimitReached)
    }

    /// Begins a ShareAcknowledge; whether the session ends with it.
    ///
    /// # Errors
    /// The session is not as the request says.
    pub fn acknowledge(&mut self, key: &SessionKey, epoch: i32) -> Result<bool, SessionFailure> {
        match epoch {
            BEGIN => Err(SessionFailure::InvalidShareSessionEpoch),
            END if self.sessions.contains_key(key) => Ok(true),
            END => Err(SessionFailure::ShareSessionNotFound),
            _ => {
                self.check(key, epoch)?;
                let session = self.sessions.get_mut(key);
                session.into_iter().for_each(|session| session.epoch = epoch_after(epoch));
                Ok(false)
            }
        }
    }

    /// Whether an answer must name a partition.
    pub fn tell(
        &mut self,
        key: &SessionKey,
        partition: PartitionKey,
        has_records: bool,
        has_failed: bool,
    ) -> bool {
        match self.sessions.get_mut(key) {
            Some(session) => session.tell(partition, has_records, has_failed),
            None => true,
        }
    }

    /// Ends a session; gives its partitions.
    pub fn end(&mut self, key: &SessionKey) -> Option<Vec<PartitionKey>> {
        let session = self.sessions.remove(key)?;
        self.partitions = self.partitions.saturating_sub(session.partitions.len());
        Some(session.places.into_keys().collect())
    }

    /// The sessions of a connection.
    pub fn of_connection(&self, connection: u64) -> Vec<SessionKey> {
        let of = self.sessions.iter().filter(|(_, session)| session.connection == connection);
        of.map(|(key, _)| key.clone()).collect()
    }

    /// Whether any member of a group has a session.
    pub fn has_group(&self, group: &GroupId) -> bool {
        let first = SessionKey { group: group.clone(), member: "".into() };
        self.sessions.range(first..).next().is_some_and(|(key, _)| key.group == *group)
    }

    fn check(&self, key: &SessionKey, epoch: i32) -> Result<(), SessionFailure> {
        match self.sessions.get(key) {
            None => Err(SessionFailure::ShareSessionNotFound),
            Some(session) if session.epoch != epoch => Err(SessionFailure::InvalidShareSessionEpoch),
            Some(_) => Ok(()),
        }
    }
}

impl Session {
    fn want(&mut self, partition: PartitionKey, must_be_told: bool) {
        if !self.places.contains_key(&partition) {
            self.put_last(partition, must_be_told);
        }
    }

    fn put_last(&mut self, partition: PartitionKey, must_be_told: bool) {
        self.places.insert(partition, self.place_next);
        self.partitions.insert(self.place_next, (partition, must_be_told));
        self.place_next += 1;
    }

    fn forget(&mut self, partition: &PartitionKey) {
        if let Some(place) = self.places.remove(partition) {
            self.partitions.remove(&place);
        }
    }

    fn tell(&mut self, partition: PartitionKey, has_records: bool, has_failed: bool) -> bool {
        let Some(place) = self.places.get(&partition).copied() else { return true };
        let Some((_, must_be_told)) = self.partitions.get_mut(&place) else { return true };
        // Once the error is gone, that is news.
        let was_owed = std::mem::replace(must_be_told, has_failed);
        if has_records {
            self.partitions.remove(&place);
            self.put_last(partition, has_failed);
        }
        has_records || has_failed || was_owed
    }
}

/// Epochs count from 1 and wrap to 1.
fn epoch_after(epoch: i32) -> i32 {
    if epoch == i32::MAX { 1 } else { epoch + 1 }
}

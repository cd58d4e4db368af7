//! Consumer groups (KIP-848) in the coordinator: requests and timers find their group, and what was decided is appended.
//!
//! The decisions are in `consumer`. A group that is asked for is taken out while it decides and put back afterwards.

use crate::{
    ConsumerHeartbeat, ConsumerHeartbeatReply, Coordinator, Effects, Error, MemberId, Record, Reply, Token,
    appends::Then,
    consumer::{
        ConsumerGroup, ConsumerState,
        changes::{Changes, Made, Undo},
        fence,
        heartbeat::{self, LEAVING, LEAVING_FOR_A_WHILE, Surroundings},
        records::ConsumerChange,
    },
    group::Group,
    timers::Timer,
};
use coordinator::Now;
use model::GroupId;

/// When a member is removed once more whose removal could not be written down.
const FENCE_AGAIN_MS: i32 = 500;

/// A consumer group that was taken out, and what it came from.
struct Taken {
    group: ConsumerGroup,
    is_new: bool,
    /// The empty classic group whose place it takes.
    classic: Option<Box<Group>>,
}

impl Coordinator {
    pub(crate) fn on_consumer_heartbeat(
        &mut self,
        now: Now,
        token: Token,
        request: ConsumerHeartbeat,
        effects: &mut Effects,
    ) {
        let reply = heartbeat::check(&request).and_then(|()| match request.epoch {
            LEAVING | LEAVING_FOR_A_WHILE => self.leave_consumer_group(now, &request, effects),
            _ => self.beat(now, &request, effects),
        });
        let (_, _, mut step) = self.split(now, effects);
        match reply {
            Ok(reply) => step.reply_after(0, token, Reply::ConsumerHeartbeat(reply)),
            Err(error) => step.reply(token, Err(error)),
        }
    }

    fn beat(
        &mut self,
        now: Now,
        request: &ConsumerHeartbeat,
        effects: &mut Effects,
    ) -> Result<ConsumerHeartbeatReply, Error> {
        let mut taken = self.take_consumer_group(&request.group, request.epoch == heartbeat::JOINING)?;
        let mut changes = Changes { group: &mut taken.group, made: Made::default() };
        if let Some(classic) = &taken.classic {
            // Its tombstone comes first: what follows is another kind of group.
            changes
                .made
                .records
                .extend(classic.is_committed.then(|| Record::GroupRemoved { group: classic.id.clone() }));
        }
        let around = Surroundings {
            now,
            config: &self.config,
            topics: &*self.topics.0,
            topics_version: self.topics_version,
        };
        let decided = heartbeat::decide(&mut changes, &around, request);
        let made = changes.made;
        match decided {
            Err(error) => {
                made.undo(&mut taken.group);
                self.put_back(taken);
                Err(error)
            }
            Ok(reply) => {
                let id = reply.member_id.clone().unwrap_or_default();
                let is_revoking = heartbeat::is_revoking(&taken.group, &id);
                let has_moved = made.has_moved(&id);
                for pending in taken.classic.iter().flat_map(|classic| &classic.pending_joins) {
                    self.timers.cancel(Timer::Heartbeat(request.group.clone(), pending.clone()));
                }
                self.store(now, taken, made, effects);
                let group = &request.group;
                let (consumers, mut step) = self.split_consumers(now, effects);
                step.expect_heartbeat(group, &id, request.session_timeout_ms);
                let timer = Timer::Revoke(group.clone(), id.clone());
                let member = consumers.get(group).and_then(|group| group.members.get(&id));
                match member.filter(|_| is_revoking) {
                    // What it was told before; a new revocation has its own time.
                    Some(_) if !has_moved && step.timers.is_set(&timer) => {}
                    Some(member) => step.schedule(timer, member.subscription.rebalance_timeout_ms.into()),
                    None => step.timers.cancel(timer),
                }
                Ok(reply)
            }
        }
    }

    fn leave_consumer_group(
        &mut self,
        now: Now,
        request: &ConsumerHeartbeat,
        effects: &mut Effects,
    ) -> Result<ConsumerHeartbeatReply, Error> {
        let mut taken = self.take_consumer_group(&request.group, false)?;
        let mut changes = Changes { group: &mut taken.group, made: Made::default() };
        let left = fence::leave(&mut changes, &*self.topics.0, request);
        let made = changes.made;
        match left {
            Err(error) => {
                self.put_back(taken);
                Err(error)
            }
            Ok((id, reply)) => {
                self.store(now, taken, made, effects);
                let (_, _, step) = self.split(now, effects);
                // Its heartbeat is awaited still: if the append fails it is a member again.
                step.timers.cancel(Timer::Revoke(request.group.clone(), id));
                Ok(reply)
            }
        }
    }

    /// A member was silent, or kept partitions that it was told to give up, for too long.
    pub(crate) fn fence_consumer(&mut self, now: Now, group: &GroupId, id: &MemberId, effects: &mut Effects) {
        let Ok(mut taken) = self.take_consumer_group(group, false) else { return };
        if !taken.group.members.contains_key(id) {
            return self.put_back(taken);
        }
        let mut changes = Changes { group: &mut taken.group, made: Made::default() };
        fence::remove(&mut changes, &*self.topics.0, std::slice::from_ref(id));
        let made = changes.made;
        self.store(now, taken, made, effects);
        let (_, _, mut step) = self.split(now, effects);
        // If the append fails it is a member again, and must be found silent again.
        step.expect_heartbeat(group, id, FENCE_AGAIN_MS);
        step.timers.cancel(Timer::Revoke(group.clone(), id.clone()));
    }

    /// Takes the consumer group of this name out; makes one where `may_create` allows it, in the place of an empty
    /// classic group, too.
    fn take_consumer_group(&mut self, id: &GroupId, may_create: bool) -> Result<Taken, Error> {
        if let Some(group) = self.consumers.remove(id) {
            return Ok(Taken { group, is_new: false, classic: None });
        }
        if !may_create {
            return Err(Error::GroupIdNotFound);
        }
        let is_replaceable = |group: &Group| group.members.is_empty() && group.state == crate::State::Empty;
        let is_taken = self.shares.contains_key(id) || self.streams.contains_key(id);
        if is_taken || self.groups.get(id).is_some_and(|group| !is_replaceable(group)) {
            return Err(Error::GroupIdNotFound);
        }
        let classic = self.groups.remove(id).map(Box::new);
        Ok(Taken { group: ConsumerGroup::new(id.clone()), is_new: true, classic })
    }

    fn put_back(&mut self, taken: Taken) {
        if let Some(classic) = taken.classic {
            self.groups.insert(classic.id.clone(), *classic);
        }
        if !taken.is_new {
            self.consumers.insert(taken.group.id.clone(), taken.group);
        }
    }

    /// Puts a group back and orders the append of what was changed.
    fn store(&mut self, now: Now, taken: Taken, made: Made, effects: &mut Effects) {
        let Taken { group, is_new, classic } = taken;
        let (records, mut undo) = made.split(group.id.clone());
        undo.is_new = is_new;
        undo.classic = classic;
        self.consumers.insert(group.id.clone(), group);
        if !records.is_empty() {
            let (_, _, mut step) = self.split(now, effects);
            step.append(records, Then::ConsumerChanged(undo));
        }
    }

    /// Takes a decision back whose append failed.
    pub(crate) fn undo_consumer(&mut self, undo: Undo) {
        let mut undo = undo;
        // A group of the same name may have been made since its deletion was ordered.
        let deleted = undo.deleted.take().filter(|group| !self.groups.contains_key(&group.id));
        let Some(group) = self.consumers.remove(&undo.group).or(deleted.map(|group| *group)) else { return };
        let id = group.id.clone();
        let (group, classic) = undo.apply(group);
        if let Some(group) = group {
            self.consumers.insert(id, group);
        } else if let Some(classic) = classic {
            self.groups.insert(id, *classic);
        }
    }

    /// Takes over a value of a consumer group from the log.
    pub(crate) fn replay_consumer(&mut self, id: GroupId, change: ConsumerChange) {
        match change {
            ConsumerChange::Epoch(None) => {
                self.consumers.remove(&id);
            }
            // Tombstones of a group that is gone make none.
            ConsumerChange::Member(_, None)
            | ConsumerChange::Pattern(_, None)
            | ConsumerChange::TargetEpoch(None)
            | ConsumerChange::Target(_, None)
            | ConsumerChange::Current(_, None)
                if !self.consumers.contains_key(&id) => {}
            change => {
                // An offset before it may have made a classic group, and compaction taken the end of that.
                self.groups.remove(&id);
                let make = || ConsumerGroup::new(id.clone());
                self.consumers.entry(id.clone()).or_insert_with(make).apply(change);
            }
        }
    }

    /// Gives every member of a consumer group its time after this broker took over.
    pub(crate) fn watch_consumers(&mut self, now: Now, effects: &mut Effects) {
        let (consumers, mut step) = self.split_consumers(now, effects);
        let session_timeout_ms = step.config.consumer_session_timeout_ms;
        for group in consumers.values() {
            for (id, member) in &group.members {
                let classic = member.subscription.classic.as_ref();
                let session_timeout_ms =
                    classic.map_or(session_timeout_ms, |classic| classic.session_timeout_ms);
                step.expect_heartbeat(&group.id, id, session_timeout_ms);
                if heartbeat::is_revoking(group, id) {
                    let timer = Timer::Revoke(group.id.clone(), id.clone());
                    step.schedule(timer, member.subscription.rebalance_timeout_ms.into());
                }
            }
        }
    }

    /// The tombstones of a consumer group without members, but for its offsets.
    pub(crate) fn bury_consumer(&mut self, id: &GroupId) -> Result<(Vec<Record>, Undo), Error> {
        let group = self.consumers.get(id).ok_or(Error::GroupIdNotFound)?;
        if group.state() != ConsumerState::Empty {
            return Err(Error::NonEmptyGroup);
        }
        let mut group = self.consumers.remove(id).ok_or(Error::GroupIdNotFound)?;
        let mut changes = Changes { group: &mut group, made: Made::default() };
        changes.set(ConsumerChange::TargetEpoch(None));
        changes.set(ConsumerChange::Epoch(None));
        let (records, mut undo) = changes.made.split(id.clone());
        undo.deleted = Some(Box::new(group));
        Ok((records, undo))
    }
}

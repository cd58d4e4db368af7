//! Consumer groups (KIP-848) in the coordinator: requests and timers find their group, and what was decided is appended.
//!
//! The decisions are in `consumer`. A group that is asked for is taken out while it decides and put back afterwards.
//! Members that speak the classic protocol are in `classic`, groups that change their kind in `conversion`.

mod classic;
mod conversion;

use crate::{
    AppendFailure, ConsumerHeartbeat, ConsumerHeartbeatReply, Coordinator, Effects, Error, MemberId, Record,
    Reply, Token,
    appends::Then,
    consumer::{
        ConsumerGroup, ConsumerState,
        changes::{Changes, Made, Undo},
        classic::is_downgrade,
        fence,
        heartbeat::{self, LEAVING, LEAVING_FOR_A_WHILE, Surroundings},
        records::ConsumerChange,
    },
    convert,
    group::Group,
    step::Step,
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
    /// The classic group whose place it takes.
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
        let around = self.surroundings(now);
        let upgraded = match &taken.classic {
            None => Ok(()),
            Some(classic) => {
                // Its tombstone comes first: what follows is another kind of group.
                changes.made.records.push(Record::GroupRemoved { group: classic.id.clone() });
                match classic.members.is_empty() {
                    true => Ok(()),
                    false => convert::to_consumer(&mut changes, classic, &*self.topics.0),
                }
            }
        };
        let decided = upgraded.and_then(|()| heartbeat::decide(&mut changes, &around, request));
        let made = changes.made;
        let reply = match decided {
            Ok(reply) => reply,
            Err(error) => {
                made.undo(&mut taken.group);
                self.put_back(taken);
                return Err(error);
            }
        };
        let id = reply.member_id.clone().unwrap_or_default();
        let is_revoking = heartbeat::is_revoking(&taken.group, &id);
        let has_moved = made.has_moved(&id);
        self.retire_classic(now, &mut taken, effects);
        self.store(now, taken, made, effects);
        let group = &request.group;
        let (consumers, mut step) = self.split_consumers(now, effects);
        step.expect_heartbeat(group, &id, request.session_timeout_ms);
        // It may have spoken the classic protocol before.
        step.timers.cancel(Timer::MemberJoin(group.clone(), id.clone()));
        step.timers.cancel(Timer::MemberSync(group.clone(), id.clone()));
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

    fn surroundings(&self, now: Now) -> Surroundings<'_> {
        let (config, topics, topics_version) = (&self.config, &*self.topics.0, self.topics_version);
        Surroundings { now, config, topics, topics_version }
    }

    fn leave_consumer_group(
        &mut self,
        now: Now,
        request: &ConsumerHeartbeat,
        effects: &mut Effects,
    ) -> Result<ConsumerHeartbeatReply, Error> {
        let group = self.consumers.get(&request.group).ok_or(Error::GroupIdNotFound)?;
        let id = fence::find(group, request)?;
        if request.epoch == LEAVING_FOR_A_WHILE {
            let mut taken = self.take_consumer_group(&request.group, false)?;
            let mut changes = Changes { group: &mut taken.group, made: Made::default() };
            fence::rest(&mut changes, &id);
            let made = changes.made;
            self.store(now, taken, made, effects);
            let timer = Timer::Revoke(request.group.clone(), id.clone());
            self.split(now, effects).2.timers.cancel(timer);
        } else {
            self.remove_consumers(now, &request.group, std::slice::from_ref(&id), effects);
        }
        let (member_id, epoch) = (Some(id), request.epoch);
        Ok(ConsumerHeartbeatReply { member_id, epoch, interval_ms: 0, assignment: None })
    }

    /// A member was silent, or kept partitions that it was told to give up, for too long.
    pub(crate) fn fence_consumer(&mut self, now: Now, group: &GroupId, id: &MemberId, effects: &mut Effects) {
        if !self.consumers.get(group).is_some_and(|group| group.members.contains_key(id)) {
            return;
        }
        self.remove_consumers(now, group, std::slice::from_ref(id), effects);
        if self.consumers.contains_key(group) {
            // If the append fails it is a member again, and must be found silent again.
            self.split(now, effects).2.expect_heartbeat(group, id, FENCE_AGAIN_MS);
        }
    }

    /// Takes members out, at least one, sorted. Their heartbeats are awaited still: if the append fails they are members again.
    fn remove_consumers(&mut self, now: Now, id: &GroupId, leaving: &[MemberId], effects: &mut Effects) {
        let Ok(mut taken) = self.take_consumer_group(id, false) else { return };
        if is_downgrade(&taken.group, &self.config, leaving) {
            let generation = taken.group.epoch.epoch;
            return self.downgrade(now, taken.group, Made::default(), (leaving, generation, None), effects);
        }
        let mut changes = Changes { group: &mut taken.group, made: Made::default() };
        fence::remove(&mut changes, &*self.topics.0, leaving);
        let made = changes.made;
        self.store(now, taken, made, effects);
        let (_, _, mut step) = self.split(now, effects);
        leaving.iter().for_each(|member| step.cancel_moves(id, member));
    }

    /// Takes the consumer group of this name out; makes one where `may_create` allows it, in the place of a classic group,
    /// too, if that is empty or may be upgraded.
    fn take_consumer_group(&mut self, id: &GroupId, may_create: bool) -> Result<Taken, Error> {
        if let Some(group) = self.consumers.remove(id) {
            return Ok(Taken { group, is_new: false, classic: None });
        }
        if !may_create {
            // Whoever was given up as the last one that speaks this protocol may come back, and the group with it.
            let comes_back =
                |classic: &Group| !classic.members.is_empty() && self.check_upgrade(classic).is_ok();
            return Err(match self.groups.get(id).is_some_and(comes_back) {
                true => Error::UnknownMemberId,
                false => Error::GroupIdNotFound,
            });
        }
        if self.shares.contains_key(id) || self.streams.contains_key(id) {
            return Err(Error::GroupIdNotFound);
        }
        if let Some(classic) = self.groups.get(id) {
            self.check_upgrade(classic)?;
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
    pub(crate) fn undo_consumer(&mut self, now: Now, mut undo: Undo, error: &Error, effects: &mut Effects) {
        let is_downgrade = undo.is_downgrade;
        let count = match is_downgrade {
            true => self.drop_downgraded(now, &undo.group, error, effects),
            false => 0,
        };
        // A group of the same name may have been made since its deletion was ordered.
        let deleted = undo.deleted.take().filter(|group| !self.groups.contains_key(&group.id));
        let Some(group) = self.consumers.remove(&undo.group).or(deleted.map(|group| *group)) else { return };
        let id = group.id.clone();
        if undo.is_new {
            let (_, _, mut step) = self.split(now, effects);
            for member in group.members.keys() {
                step.cancel_moves(&id, member);
                step.timers.cancel(Timer::Heartbeat(id.clone(), member.clone()));
            }
        }
        let (group, classic) = undo.apply(group);
        if let Some(mut group) = group {
            if is_downgrade {
                // The same would fail again and again, and who was to leave would stay.
                if *error == Error::from(AppendFailure::TooLarge) && count > 0 {
                    group.downgrade_members_max = Some(count - 1);
                }
                watch(&mut self.split(now, effects).2, &group);
            }
            self.consumers.insert(id, group);
        } else if let Some(mut classic) = classic {
            classic.resume(&mut self.split(now, effects).2);
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
        consumers.values().for_each(|group| watch(&mut step, group));
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

/// Gives every member of a consumer group its time.
fn watch(step: &mut Step<'_>, group: &ConsumerGroup) {
    for (id, member) in &group.members {
        let classic = member.subscription.classic.as_ref();
        let session_timeout_ms =
            classic.map_or(step.config.consumer_session_timeout_ms, |classic| classic.session_timeout_ms);
        step.expect_heartbeat(&group.id, id, session_timeout_ms);
        if heartbeat::is_revoking(group, id) {
            let (group, id) = (group.id.clone(), id.clone());
            let timer = match classic {
                Some(_) => Timer::MemberJoin(group, id),
                None => Timer::Revoke(group, id),
            };
            step.schedule(timer, member.subscription.rebalance_timeout_ms.into());
        }
    }
}

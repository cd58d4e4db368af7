//! Streams groups (KIP-1071) in the coordinator: requests and timers find their group, and what was decided is appended.
//!
//! The decisions are in `streams`. A group that is asked for is taken out while it decides and put back afterwards.

use crate::{
    Coordinator, DescriptionStatus, Effects, Error, MemberId, Record, Reply, StreamsDescribed,
    StreamsHeartbeat, StreamsHeartbeatReply, StreamsState, Token, TopologyDescription,
    appends::{StreamsUndo, Then},
    consumer::heartbeat::Surroundings,
    decision::Decision,
    group::Group,
    listing,
    streams::{
        ASSIGNOR, StreamsGroup, fence,
        heartbeat::{self, JOINING, LEAVING, LEAVING_FOR_A_WHILE},
        records::StreamsChange,
    },
    timers::Timer,
};
use coordinator::Now;
use model::GroupId;

/// When a member is removed once more whose removal could not be written down.
const FENCE_AGAIN_MS: i32 = 500;

/// A streams group that was taken out, and the empty classic group whose place it takes.
struct Taken {
    decision: Decision<StreamsGroup>,
    classic: Option<Box<Group>>,
}

impl Coordinator {
    pub(crate) fn on_streams_heartbeat(
        &mut self,
        now: Now,
        token: Token,
        request: StreamsHeartbeat,
        effects: &mut Effects,
    ) {
        let reply = heartbeat::check(&request).and_then(|()| match request.epoch {
            LEAVING | LEAVING_FOR_A_WHILE => self.leave_streams_group(now, &request, effects),
            _ => self.beat_streams(now, &request, effects),
        });
        let (_, _, mut step) = self.split(now, effects);
        match reply {
            Ok(reply) => step.reply_after(0, token, Reply::StreamsHeartbeat(Box::new(reply))),
            Err(error) => step.reply(token, Err(error)),
        }
    }

    fn beat_streams(
        &mut self,
        now: Now,
        request: &StreamsHeartbeat,
        effects: &mut Effects,
    ) -> Result<StreamsHeartbeatReply, Error> {
        let (group, id) = (&request.group, &request.member_id);
        let mut taken = self.take_streams_group(group, request.epoch == JOINING)?;
        let delay = Timer::Rebalance(group.clone());
        let delay_ms = request.config.initial_rebalance_delay_ms;
        let begins_delay = taken.decision.group.members.is_empty() && delay_ms > 0;
        let is_delayed = begins_delay || self.timers.is_set(&delay);
        let around = Surroundings {
            now,
            config: &self.config,
            topics: &*self.topics.0,
            topics_version: self.topics_version,
        };
        let reply = match heartbeat::decide(&mut taken.decision, &around, request, is_delayed) {
            Ok(reply) => reply,
            Err(error) => {
                self.refuse_streams(taken);
                return Err(error);
            }
        };
        let former_state = heartbeat::is_revoking(&taken.decision.group, id);
        let has_moved = self.store_streams(now, taken, effects).iter().any(|record| {
            matches!(record, Record::Streams { change: StreamsChange::Current(moved, _), .. } if moved == id)
        });
        let rebalance_timeout_ms = self.streams.get(group).and_then(|group| group.members.get(id));
        let rebalance_timeout_ms =
            rebalance_timeout_ms.filter(|_| former_state).map(|member| member.metadata.rebalance_timeout_ms);
        let (_, _, mut step) = self.split(now, effects);
        step.expect_heartbeat(group, id, request.config.session_timeout_ms);
        if begins_delay && !step.timers.is_set(&delay) {
            step.schedule(delay, delay_ms);
        }
        let timer = Timer::Revoke(group.clone(), id.clone());
        match rebalance_timeout_ms {
            // What it was told before; a new revocation has its own time.
            Some(_) if !has_moved && step.timers.is_set(&timer) => {}
            Some(ms) => step.schedule(timer, ms.into()),
            None => step.timers.cancel(timer),
        }
        Ok(reply)
    }

    fn leave_streams_group(
        &mut self,
        now: Now,
        request: &StreamsHeartbeat,
        effects: &mut Effects,
    ) -> Result<StreamsHeartbeatReply, Error> {
        let mut taken = self.take_streams_group(&request.group, false)?;
        match fence::leave(&mut taken.decision, request) {
            Err(error) => {
                self.refuse_streams(taken);
                Err(error)
            }
            Ok((id, reply)) => {
                self.store_streams(now, taken, effects);
                let (_, _, step) = self.split(now, effects);
                // Its heartbeat is awaited still: if the append fails it is a member again.
                step.timers.cancel(Timer::Revoke(request.group.clone(), id));
                Ok(reply)
            }
        }
    }

    /// A member was silent, or kept tasks that it was told to give up, for too long.
    pub(crate) fn fence_streams(&mut self, now: Now, group: &GroupId, id: &MemberId, effects: &mut Effects) {
        let Ok(mut taken) = self.take_streams_group(group, false) else { return };
        if !taken.decision.group.members.contains_key(id) {
            return self.refuse_streams(taken);
        }
        fence::remove(&mut taken.decision, id);
        self.store_streams(now, taken, effects);
        let (_, _, mut step) = self.split(now, effects);
        // If the append fails it is a member again, and must be found silent again.
        step.expect_heartbeat(group, id, FENCE_AGAIN_MS);
        step.timers.cancel(Timer::Revoke(group.clone(), id.clone()));
    }

    /// The initial rebalance delay is over: whoever has joined meanwhile gets its part of the first assignment.
    pub(crate) fn end_rebalance_delay(&mut self, now: Now, group: &GroupId, effects: &mut Effects) {
        let Ok(mut taken) = self.take_streams_group(group, false) else { return };
        let known = &taken.decision.group;
        if known.members.is_empty() || known.epoch.epoch <= known.target_epoch.epoch {
            return self.refuse_streams(taken);
        }
        heartbeat::compute_target(&mut taken.decision, now.wall);
        self.store_streams(now, taken, effects);
    }

    pub(crate) fn describe_streams(&self, ids: Vec<GroupId>, with_description: bool) -> Reply {
        let describe = |id: GroupId| match self.streams.get(&id) {
            Some(group) => group.to_described(with_description),
            None => StreamsDescribed {
                error: Some(listing::absent(&id)),
                group: id,
                state: StreamsState::Dead,
                epoch: 0,
                assignment_epoch: 0,
                assignor: ASSIGNOR,
                topology: None,
                members: Vec::new(),
                description: DescriptionStatus::NotRequested,
            },
        };
        Reply::StreamsDescribe(ids.into_iter().map(describe).collect())
    }

    /// A member pushes the description of its topology. It is in memory only, so nothing is waited for.
    pub(crate) fn on_topology_description(
        &mut self,
        group: &GroupId,
        (member, epoch): (&MemberId, i32),
        description: TopologyDescription,
    ) -> Result<Reply, Error> {
        let group = self.streams.get_mut(group).ok_or(Error::GroupIdNotFound)?;
        group.describe_topology(member, epoch, description).map(|()| Reply::StreamsTopologyDescribed)
    }

    /// Takes the streams group of this name out; makes one where `may_create` allows it, in the place of an empty classic
    /// group, too.
    fn take_streams_group(&mut self, id: &GroupId, may_create: bool) -> Result<Taken, Error> {
        if let Some(group) = self.streams.remove(id) {
            return Ok(Taken { decision: Decision::new(group, false), classic: None });
        }
        let is_replaceable = |group: &Group| group.members.is_empty() && group.state == crate::State::Empty;
        if may_create && self.groups.get(id).is_some_and(|group| group.state == crate::State::Dead) {
            // It is being deleted.
            return Err(Error::CoordinatorNotAvailable);
        }
        let is_taken = self.shares.contains_key(id) || self.consumers.contains_key(id);
        if !may_create || is_taken || self.groups.get(id).is_some_and(|group| !is_replaceable(group)) {
            return Err(Error::GroupIdNotFound);
        }
        let classic = self.groups.remove(id).map(Box::new);
        Ok(Taken { decision: Decision::new(StreamsGroup::new(id.clone()), true), classic })
    }

    fn refuse_streams(&mut self, taken: Taken) {
        if let Some(classic) = taken.classic {
            self.groups.insert(classic.id.clone(), *classic);
        }
        let (group, is_new) = taken.decision.refuse();
        if !is_new {
            self.streams.insert(group.id.clone(), group);
        }
    }

    /// Puts a group back and orders the append of what was changed; gives the records.
    fn store_streams(&mut self, now: Now, mut taken: Taken, effects: &mut Effects) -> Vec<Record> {
        let (group, mut records, undo) = taken.decision.split();
        let id = group.id.clone();
        self.streams.insert(id.clone(), group);
        if let Some(classic) = &mut taken.classic {
            // Its tombstone comes first: what follows is another kind of group. The group may be on its way to the log.
            records.insert(0, Record::GroupRemoved { group: id.clone() });
            // If this cannot be written down the group comes back, but not the ids that nobody has used.
            for pending in std::mem::take(&mut classic.pending_joins) {
                self.timers.cancel(Timer::Heartbeat(id.clone(), pending));
            }
        }
        if !records.is_empty() {
            let (_, _, mut step) = self.split(now, effects);
            let undo = StreamsUndo { undo, replaced: taken.classic, has_classic: false };
            step.append(records.clone(), Then::StreamsChanged(undo));
        }
        records
    }

    /// Takes a decision back whose append failed.
    fn undo_streams(&mut self, taken_back: StreamsUndo) {
        let StreamsUndo { mut undo, replaced, .. } = taken_back;
        let id = undo.id.clone();
        // A group of the same name may have been made since its deletion was ordered.
        let is_free = !self.groups.contains_key(&id)
            && !self.consumers.contains_key(&id)
            && !self.shares.contains_key(&id);
        let deleted = undo.deleted.take().filter(|_| is_free);
        let Some(group) = self.streams.remove(&id).or(deleted.map(|group| *group)) else { return };
        match undo.apply(group) {
            Some(group) => drop(self.streams.insert(id, group)),
            None => drop(replaced.map(|classic| self.groups.insert(id, *classic))),
        }
    }

    /// Takes over a value of a streams group from the log.
    pub(crate) fn replay_streams(&mut self, id: GroupId, change: StreamsChange) {
        match change {
            StreamsChange::Epoch(None) => {
                self.streams.remove(&id);
            }
            // Tombstones of a group that is gone make none.
            StreamsChange::Member(_, None)
            | StreamsChange::Topology(None)
            | StreamsChange::TargetEpoch(None)
            | StreamsChange::Target(_, None)
            | StreamsChange::Current(_, None)
                if !self.streams.contains_key(&id) => {}
            change => {
                // An offset before it may have made a classic group, and compaction taken the end of that.
                self.groups.remove(&id);
                let make = || StreamsGroup::new(id.clone());
                let group = self.streams.entry(id.clone()).or_insert_with(make);
                crate::decision::Logged::apply(group, change);
            }
        }
    }

    /// Gives every member of a streams group its time after this broker took over.
    pub(crate) fn watch_streams(&mut self, now: Now, effects: &mut Effects) {
        let mut members = Vec::new();
        for group in self.streams.values() {
            for (id, member) in &group.members {
                let revoking =
                    heartbeat::is_revoking(group, id).then_some(member.metadata.rebalance_timeout_ms);
                members.push((group.id.clone(), id.clone(), revoking));
            }
        }
        let (_, _, mut step) = self.split(now, effects);
        for (group, id, revoking) in members {
            step.expect_heartbeat(&group, &id, step.config.streams_session_timeout_ms);
            if let Some(ms) = revoking {
                step.schedule(Timer::Revoke(group, id), ms.into());
            }
        }
    }

    /// A classic group takes the place of a streams group without members, whose offsets stay.
    pub(crate) fn replace_streams(&mut self, now: Now, classic: Group, effects: &mut Effects) {
        let Ok((mut records, mut undo)) = self.bury_streams(&classic.id) else { return };
        records.push(classic.to_record_without_members());
        undo.has_classic = true;
        let (groups, _, mut step) = self.split(now, effects);
        step.append(records, Then::StreamsChanged(undo));
        groups.insert(classic.id.clone(), classic);
    }

    /// Takes a decision back whose append failed; with it the classic group that took the place, whose members hear so.
    pub(crate) fn take_back_streams(
        &mut self,
        now: Now,
        undo: StreamsUndo,
        error: &Error,
        effects: &mut Effects,
    ) {
        if undo.has_classic {
            self.drop_downgraded(now, &undo.undo.id, error, effects);
        }
        self.undo_streams(undo);
    }

    /// The tombstones of a streams group without members, but for its offsets.
    pub(crate) fn bury_streams(&mut self, id: &GroupId) -> Result<(Vec<Record>, StreamsUndo), Error> {
        let group = self.streams.get(id).ok_or(Error::GroupIdNotFound)?;
        if group.state() != StreamsState::Empty {
            return Err(Error::NonEmptyGroup);
        }
        let group = self.streams.remove(id).ok_or(Error::GroupIdNotFound)?;
        let mut decision = Decision::new(group, false);
        decision.set(StreamsChange::TargetEpoch(None));
        decision.set(StreamsChange::Epoch(None));
        decision.set(StreamsChange::Topology(None));
        let (group, records, mut undo) = decision.split();
        undo.deleted = Some(Box::new(group));
        self.timers.cancel(Timer::Rebalance(id.clone()));
        Ok((records, StreamsUndo { undo, replaced: None, has_classic: false }))
    }
}

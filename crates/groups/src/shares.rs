//! Share groups (KIP-932) in the coordinator: requests and timers find their group, and what was decided is appended.
//!
//! The decisions are in `share`. A group that is asked for is taken out while it decides and put back afterwards.

use crate::{
    Coordinator, DeletedTopic, Effects, Error, MemberId, Reply, ShareAlterOffsets, ShareDescribed,
    ShareHeartbeat, ShareHeartbeatReply, ShareState, Token,
    appends::Then,
    consumer::heartbeat::Surroundings,
    decision::{Decision, Logged, Undo},
    listing,
    share::{
        ShareGroup, assignor,
        heartbeat::{self, JOINING, LEAVING},
        records::ShareChange,
        states,
    },
    timers::Timer,
};
use coordinator::Now;
use model::{GroupId, TopicId};
use std::{collections::BTreeSet, sync::Arc};

impl Coordinator {
    pub(crate) fn on_share_heartbeat(
        &mut self,
        now: Now,
        token: Token,
        request: ShareHeartbeat,
        effects: &mut Effects,
    ) {
        let reply = heartbeat::check(&request).and_then(|()| match request.epoch {
            LEAVING => self.leave_share_group(now, &request, effects),
            _ => self.beat_share(now, &request, effects),
        });
        self.reply_share(now, token, reply.map(Reply::ShareHeartbeat), effects);
    }

    fn reply_share(&mut self, now: Now, token: Token, reply: Result<Reply, Error>, effects: &mut Effects) {
        let (_, _, mut step) = self.split(now, effects);
        match reply {
            Ok(reply) => step.reply_after(0, token, reply),
            Err(error) => step.reply(token, Err(error)),
        }
    }

    fn beat_share(
        &mut self,
        now: Now,
        request: &ShareHeartbeat,
        effects: &mut Effects,
    ) -> Result<ShareHeartbeatReply, Error> {
        let mut changes = self.take_share_group(&request.group, request.epoch == JOINING)?;
        let around = Surroundings {
            now,
            config: &self.config,
            topics: &*self.topics.0,
            topics_version: self.topics_version,
        };
        match heartbeat::decide(&mut changes, &around, request) {
            Err(error) => {
                self.refuse_share(changes);
                Err(error)
            }
            Ok(reply) => {
                self.store_share(now, changes, effects);
                let (_, _, mut step) = self.split(now, effects);
                step.expect_heartbeat(&request.group, &request.member_id, request.session_timeout_ms);
                Ok(reply)
            }
        }
    }

    fn leave_share_group(
        &mut self,
        now: Now,
        request: &ShareHeartbeat,
        effects: &mut Effects,
    ) -> Result<ShareHeartbeatReply, Error> {
        let id = &request.member_id;
        let group = self.shares.get(&request.group).ok_or(Error::GroupIdNotFound)?;
        group.members.get(id).ok_or(Error::UnknownMemberId)?;
        self.fence_share(now, &request.group, id, effects);
        Ok(ShareHeartbeatReply {
            member_id: id.clone(),
            epoch: request.epoch,
            interval_ms: 0,
            assignment: None,
            initialize: None,
        })
    }

    /// A member leaves, or was silent for too long.
    pub(crate) fn fence_share(&mut self, now: Now, group: &GroupId, id: &MemberId, effects: &mut Effects) {
        let Ok(mut changes) = self.take_share_group(group, false) else { return };
        if !changes.group.members.contains_key(id) {
            return self.refuse_share(changes);
        }
        heartbeat::remove(&mut changes, &*self.topics.0, id);
        self.store_share(now, changes, effects);
        let (_, _, step) = self.split(now, effects);
        step.timers.cancel(Timer::Heartbeat(group.clone(), id.clone()));
    }

    pub(crate) fn describe_shares(&self, ids: Vec<GroupId>) -> Reply {
        let describe = |id: GroupId| match self.shares.get(&id) {
            Some(group) => group.to_described(&*self.topics.0),
            None => ShareDescribed {
                error: Some(listing::absent(&id)),
                group: id,
                state: ShareState::Dead,
                epoch: 0,
                assignment_epoch: 0,
                assignor: assignor::NAME,
                members: Vec::new(),
            },
        };
        Reply::ShareDescribe(ids.into_iter().map(describe).collect())
    }

    /// What came of the request to the share coordinators to begin with partitions.
    pub(crate) fn on_share_initialized(
        &mut self,
        now: Now,
        token: Token,
        (group, partitions, is_done): (GroupId, crate::Partitions, bool),
        effects: &mut Effects,
    ) {
        let reply = self.take_share_group(&group, false).map(|mut changes| {
            states::initialized(&mut changes, &*self.topics.0, &partitions, is_done);
            self.store_share(now, changes, effects);
            Reply::ShareDone
        });
        self.reply_share(now, token, reply, effects);
    }

    /// Offsets of a group without members are to be set: it is noted which, and told in which epoch.
    pub(crate) fn on_share_alter(
        &mut self,
        now: Now,
        token: Token,
        request: ShareAlterOffsets,
        effects: &mut Effects,
    ) {
        let reply = self.take_share_group(&request.group, true).and_then(|mut changes| {
            if !changes.group.members.is_empty() {
                self.refuse_share(changes);
                return Err(Error::NonEmptyGroup);
            }
            if changes.is_new {
                // The epoch is what makes a group.
                let epoch = changes.group.epoch;
                changes.set(ShareChange::Epoch(Some(epoch)));
            }
            states::initialize(&mut changes, request.partitions, now.wall);
            let epoch = changes.group.epoch.epoch;
            self.store_share(now, changes, effects);
            Ok(Reply::ShareAlterOffsets { epoch })
        });
        self.reply_share(now, token, reply, effects);
    }

    /// Offsets of a group without members are to be forgotten; of which partitions, and of which topics there are none.
    pub(crate) fn on_share_delete_offsets(
        &mut self,
        now: Now,
        token: Token,
        (group, topics): (GroupId, Option<Vec<Arc<str>>>),
        effects: &mut Effects,
    ) {
        let reply = self.take_share_group(&group, false).and_then(|mut changes| {
            if !changes.group.members.is_empty() {
                self.refuse_share(changes);
                return Err(Error::NonEmptyGroup);
            }
            let known = changes.group.state_topics();
            let ids: BTreeSet<TopicId> = match &topics {
                Some(names) => {
                    let ids = names.iter().filter_map(|name| Some(self.topics.0.by_name(name)?.0));
                    ids.filter(|id| known.contains(id)).collect()
                }
                None => known,
            };
            let partitions = states::delete(&mut changes, &*self.topics.0, &ids);
            self.store_share(now, changes, effects);
            Ok(Reply::SharePartitions(partitions))
        });
        self.reply_share(now, token, reply, effects);
    }

    /// Share coordinators have forgotten topics.
    pub(crate) fn on_share_offsets_deleted(
        &mut self,
        now: Now,
        token: Token,
        (group, topics): (GroupId, BTreeSet<TopicId>),
        effects: &mut Effects,
    ) {
        let reply = self.take_share_group(&group, false).map(|mut changes| {
            states::forget(&mut changes, &topics, false);
            self.store_share(now, changes, effects);
            Reply::ShareDone
        });
        self.reply_share(now, token, reply, effects);
    }

    /// Topics are gone from the cluster.
    pub(crate) fn forget_share_topics(&mut self, now: Now, topics: &[DeletedTopic], effects: &mut Effects) {
        let ids: BTreeSet<TopicId> = topics.iter().map(|topic| topic.id).collect();
        let knows = |group: &ShareGroup| !group.state_topics().is_disjoint(&ids);
        let groups: Vec<GroupId> =
            self.shares.values().filter(|group| knows(group)).map(|group| group.id.clone()).collect();
        for id in groups {
            let Ok(mut changes) = self.take_share_group(&id, false) else { continue };
            states::forget(&mut changes, &ids, true);
            self.store_share(now, changes, effects);
        }
    }

    /// Takes the share group of this name out; makes one where `may_create` allows it and no group of another kind has the
    /// name.
    fn take_share_group(&mut self, id: &GroupId, may_create: bool) -> Result<Decision<ShareGroup>, Error> {
        if let Some(group) = self.shares.remove(id) {
            return Ok(Decision::new(group, false));
        }
        if !may_create || self.has_other_than_share(id) {
            return Err(Error::GroupIdNotFound);
        }
        Ok(Decision::new(ShareGroup::new(id.clone()), true))
    }

    fn has_other_than_share(&self, id: &GroupId) -> bool {
        self.groups.contains_key(id) || self.consumers.contains_key(id) || self.streams.contains_key(id)
    }

    fn refuse_share(&mut self, changes: Decision<ShareGroup>) {
        let (group, is_new) = changes.refuse();
        if !is_new {
            self.shares.insert(group.id.clone(), group);
        }
    }

    /// Puts a group back and orders the append of what was changed.
    fn store_share(&mut self, now: Now, changes: Decision<ShareGroup>, effects: &mut Effects) {
        let (group, records, undo) = changes.split();
        self.shares.insert(group.id.clone(), group);
        if !records.is_empty() {
            let (_, _, mut step) = self.split(now, effects);
            step.append(records, Then::ShareChanged(undo));
        }
    }

    /// Takes a decision back whose append failed.
    pub(crate) fn undo_share(&mut self, mut undo: Undo<ShareGroup>) {
        // A group of the same name may have been made since its deletion was ordered.
        let deleted = undo.deleted.take().filter(|group| !self.has_other_than_share(&group.id));
        let group = self.shares.remove(&undo.id).or(deleted.map(|group| *group));
        if let Some(group) = group.and_then(|group| undo.apply(group)) {
            self.shares.insert(group.id.clone(), group);
        }
    }

    /// Takes over a value of a share group from the log.
    pub(crate) fn replay_share(&mut self, id: GroupId, change: ShareChange) {
        match change {
            ShareChange::Epoch(None) => {
                self.shares.remove(&id);
            }
            // Tombstones of a group that is gone make none.
            ShareChange::Member(_, None)
            | ShareChange::TargetEpoch(None)
            | ShareChange::Target(_, None)
            | ShareChange::Current(_, None)
            | ShareChange::States(None)
                if !self.shares.contains_key(&id) => {}
            change => {
                let make = || ShareGroup::new(id.clone());
                self.shares.entry(id.clone()).or_insert_with(make).apply(change);
            }
        }
    }

    /// Gives every member of a share group its time after this broker took over.
    pub(crate) fn watch_shares(&mut self, now: Now, effects: &mut Effects) {
        let ids = self
            .shares
            .values()
            .flat_map(|group| group.members.keys().map(|id| (group.id.clone(), id.clone())));
        let ids: Vec<(GroupId, MemberId)> = ids.collect();
        let (_, _, mut step) = self.split(now, effects);
        for (group, member) in ids {
            step.expect_heartbeat(&group, &member, step.config.share_session_timeout_ms);
        }
    }

    /// Deletes a share group without members.
    pub(crate) fn delete_share(
        &mut self,
        now: Now,
        id: &GroupId,
        effects: &mut Effects,
    ) -> Result<(), Error> {
        let mut changes = self.take_share_group(id, false)?;
        if !changes.group.members.is_empty() {
            self.refuse_share(changes);
            return Err(Error::NonEmptyGroup);
        }
        changes.set(ShareChange::TargetEpoch(None));
        changes.set(ShareChange::States(None));
        changes.set(ShareChange::Epoch(None));
        let (group, records, mut undo) = changes.split();
        undo.deleted = Some(Box::new(group));
        let (_, _, mut step) = self.split(now, effects);
        step.append(records, Then::ShareChanged(undo));
        Ok(())
    }

    /// The partitions of a share group that have a share state; none if there is no such group.
    pub(crate) fn share_partitions(&self, id: &GroupId) -> Reply {
        Reply::SharePartitions(self.shares.get(id).map(ShareGroup::initialized).unwrap_or_default())
    }
}

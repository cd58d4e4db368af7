//! The coordinator of one `__consumer_offsets` partition: events in, effects out.
//!
//! It leads each event to the group that it concerns; the groups decide. What a group is, is in `group`; which requests
//! concern offsets, in `commit`. The broker's partition host is the only caller.

use crate::{
    AppendFailure, Config, Effect, Effects, Error, Event, GroupView, Heartbeat, JoinGroup, LeaveGroup,
    OffsetView, Record, Request, State, SyncGroup, Ticket, Token,
    appends::{Append, Appends, Then, Waiting},
    consumer::{
        ConsumerGroup,
        topics::{NoTopics, TopicsView},
    },
    group::Group,
    leave::nobody_left,
    offsets::Offsets,
    share::ShareGroup,
    step::Step,
    streams::StreamsGroup,
    timers::{Timer, Timers},
};
use coordinator::Now;
use model::GroupId;
use std::{collections::BTreeMap, sync::Arc};

/// All groups and offsets of one partition.
///
/// Life: [`Coordinator::new`], [`Coordinator::replay`] for every record of the log, [`Event::Loaded`], then any other
/// events, at last [`Event::Unloaded`].
///
/// Offsets are shown only when their records are committed, so that no crash takes back what somebody has read. Members
/// and their waiting requests are in memory only: after a crash they join again, as with Kafka.
#[derive(Debug)]
pub struct Coordinator {
    pub(crate) config: Config,
    pub(crate) groups: BTreeMap<GroupId, Group>,
    /// No id is in two of the maps.
    pub(crate) consumers: BTreeMap<GroupId, ConsumerGroup>,
    pub(crate) shares: BTreeMap<GroupId, ShareGroup>,
    pub(crate) streams: BTreeMap<GroupId, StreamsGroup>,
    pub(crate) topics: TopicsView,
    /// How often the topics changed.
    pub(crate) topics_version: u64,
    pub(crate) offsets: Offsets,
    pub(crate) timers: Timers,
    pub(crate) appends: Appends,
}

impl Coordinator {
    /// A coordinator without groups.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            groups: BTreeMap::new(),
            consumers: BTreeMap::new(),
            shares: BTreeMap::new(),
            streams: BTreeMap::new(),
            topics: TopicsView(Arc::new(NoTopics)),
            topics_version: 0,
            offsets: Offsets::default(),
            timers: Timers::default(),
            appends: Appends::default(),
        }
    }

    /// Takes over one record of the log; all of them in order, before [`Event::Loaded`].
    pub fn replay(&mut self, record: Record) {
        match record {
            Record::GroupMetadata(metadata) => {
                // The tombstones of a group of another kind whose place it took may be lost.
                self.streams.remove(&metadata.group);
                self.consumers.remove(&metadata.group);
                self.groups.insert(metadata.group.clone(), Group::from_record(metadata));
            }
            Record::GroupRemoved { group } => {
                self.groups.remove(&group);
            }
            Record::Consumer { group, change } => self.replay_consumer(group, change),
            Record::Share { group, change } => self.replay_share(group, change),
            Record::Streams { group, change } => self.replay_streams(group, change),
            record => self.apply(record),
        }
    }

    /// Decides on one event and appends its orders to `effects`.
    pub fn step(&mut self, now: Now, event: Event, effects: &mut Effects) {
        match event {
            Event::Loaded => self.on_loaded(now, effects),
            Event::Request { token, request } => self.on_request(now, token, request, effects),
            Event::Committed { ticket } => self.on_append_done(now, ticket, None, effects),
            Event::AppendFailed { ticket, failure } => {
                self.on_append_done(now, ticket, Some(failure), effects);
            }
            Event::Tick => self.on_tick(now, effects),
            Event::TopicsChanged(topics) => {
                self.topics = topics;
                self.topics_version += 1;
            }
            Event::TopicsDeleted(topics) => self.on_topics_deleted(now, &topics, effects),
            Event::Configured(config) => self.config = config,
            Event::Unloaded => return self.on_unloaded(effects),
        }
        effects.extend(self.timers.announce().map(Effect::WakeAt));
    }

    /// All groups, for metrics.
    pub fn groups(&self) -> impl Iterator<Item = GroupView<'_>> {
        self.groups.values().map(Group::view)
    }

    /// All committed offsets, for metrics.
    pub fn offsets(&self) -> impl Iterator<Item = OffsetView<'_>> {
        self.offsets.iter()
    }

    /// The groups, the offsets, and the surroundings of a decision, side by side.
    pub(crate) fn split<'a>(
        &'a mut self,
        now: Now,
        effects: &'a mut Effects,
    ) -> (&'a mut BTreeMap<GroupId, Group>, &'a mut Offsets, Step<'a>) {
        let (config, timers, appends) = (&self.config, &mut self.timers, &mut self.appends);
        (&mut self.groups, &mut self.offsets, Step { now, config, timers, appends, effects })
    }

    /// The consumer groups and the surroundings of a decision, side by side.
    pub(crate) fn split_consumers<'a>(
        &'a mut self,
        now: Now,
        effects: &'a mut Effects,
    ) -> (&'a mut BTreeMap<GroupId, ConsumerGroup>, Step<'a>) {
        let (config, timers, appends) = (&self.config, &mut self.timers, &mut self.appends);
        (&mut self.consumers, Step { now, config, timers, appends, effects })
    }

    fn on_request(&mut self, now: Now, token: Token, request: Request, effects: &mut Effects) {
        match request {
            Request::JoinGroup(request) => self.on_join(now, token, request, effects),
            Request::OffsetCommit(request) => self.on_offset_commit(now, token, request, effects),
            Request::TxnOffsetCommit(request) => self.on_txn_offset_commit(now, token, request, effects),
            Request::TransactionMarker(marker) => self.on_marker(now, token, marker, effects),
            Request::OffsetFetch(request) => self.on_offset_fetch(now, token, request, effects),
            Request::OffsetDelete(request) => self.on_offset_delete(now, token, request, effects),
            Request::ConsumerHeartbeat(request) => self.on_consumer_heartbeat(now, token, request, effects),
            Request::ConsumerDescribe { groups } => {
                let reply = self.describe_consumers(groups);
                self.split(now, effects).2.reply_after(0, token, reply);
            }
            Request::ShareHeartbeat(request) => self.on_share_heartbeat(now, token, request, effects),
            Request::ShareDescribe { groups } => {
                let reply = self.describe_shares(groups);
                self.split(now, effects).2.reply_after(0, token, reply);
            }
            Request::SharePartitions { group } => {
                let reply = self.share_partitions(&group);
                self.split(now, effects).2.reply_after(0, token, reply);
            }
            Request::ShareInitialized { group, partitions, is_done } => {
                self.on_share_initialized(now, token, (group, partitions, is_done), effects);
            }
            Request::ShareAlterOffsets(request) => self.on_share_alter(now, token, request, effects),
            Request::ShareDeleteOffsets { group, topics } => {
                self.on_share_delete_offsets(now, token, (group, topics), effects);
            }
            Request::ShareOffsetsDeleted { group, topics } => {
                self.on_share_offsets_deleted(now, token, (group, topics), effects);
            }
            Request::StreamsHeartbeat(request) => self.on_streams_heartbeat(now, token, *request, effects),
            Request::StreamsDescribe { groups, with_description } => {
                let reply = self.describe_streams(groups, with_description);
                self.split(now, effects).2.reply_after(0, token, reply);
            }
            Request::StreamsDescribeTopology { group, member, epoch, description } => {
                let reply = self.on_topology_description(&group, (&member, epoch), description);
                self.split(now, effects).2.reply(token, reply);
            }
            Request::DeleteGroups { groups } => self.on_delete_groups(now, token, groups, effects),
            Request::ListGroups { states, types } => {
                let reply = Ok(self.list_groups(&states, &types));
                effects.push(Effect::Reply { token, reply });
            }
            Request::DescribeGroups { groups, missing_is_error } => {
                let reply = Ok(self.describe_groups(groups, missing_is_error));
                effects.push(Effect::Reply { token, reply });
            }
            Request::SyncGroup(request) => self.on_sync(now, token, request, effects),
            Request::Heartbeat(request) => self.on_heartbeat(now, token, &request, effects),
            Request::LeaveGroup(request) => self.on_leave(now, token, request, effects),
        }
    }

    fn on_sync(&mut self, now: Now, token: Token, request: SyncGroup, effects: &mut Effects) {
        if self.consumers.contains_key(&request.group) {
            return self.sync_consumer_group(now, token, &request, effects);
        }
        let (groups, _, mut step) = self.split(now, effects);
        match find(groups, &request.group, Error::UnknownMemberId) {
            Ok(group) => group.on_sync(&mut step, token, request),
            Err(error) => step.reply(token, Err(error)),
        }
    }

    fn on_heartbeat(&mut self, now: Now, token: Token, request: &Heartbeat, effects: &mut Effects) {
        if self.consumers.contains_key(&request.group) {
            return self.heartbeat_consumer_group(now, token, request, effects);
        }
        let (groups, _, mut step) = self.split(now, effects);
        let group = find(groups, &request.group, Error::UnknownMemberId);
        let reply = group.and_then(|group| group.on_heartbeat(&mut step, request));
        step.reply(token, reply);
    }

    fn on_leave(&mut self, now: Now, token: Token, request: LeaveGroup, effects: &mut Effects) {
        if self.consumers.contains_key(&request.group) {
            return self.leave_consumer_group_classic(now, token, request, effects);
        }
        let (groups, _, mut step) = self.split(now, effects);
        match find(groups, &request.group, Error::UnknownMemberId) {
            Ok(group) => group.on_leave(&mut step, token, request),
            Err(Error::UnknownMemberId) => step.reply(token, Ok(nobody_left(request))),
            Err(error) => step.reply(token, Err(error)),
        }
    }

    fn on_join(&mut self, now: Now, token: Token, request: JoinGroup, effects: &mut Effects) {
        let streams = self.streams.get(&request.group).map(|group| group.members.is_empty());
        let (is_streams, is_of_other_kind) =
            (streams.is_some(), self.shares.contains_key(&request.group) || streams == Some(false));
        let consumer = self.consumers.get(&request.group).map(|group| group.members.is_empty());
        let (groups, _, mut step) = self.split(now, effects);
        let config = step.config;
        let session_timeouts_ms = config.session_timeout_ms_min..=config.session_timeout_ms_max;
        if request.group.is_empty() {
            return step.reply(token, Err(Error::InvalidGroupId));
        }
        if !session_timeouts_ms.contains(&request.session_timeout_ms) {
            return step.reply(token, Err(Error::InvalidSessionTimeout));
        }
        if is_of_other_kind {
            return step.reply(token, Err(Error::InconsistentGroupProtocol));
        }
        if consumer == Some(false) {
            return self.join_consumer_group(now, token, request, effects);
        }
        if let Some(group) = groups.get_mut(&request.group) {
            return group.on_join(&mut step, token, request);
        }
        if !request.member_id.is_empty() {
            return step.reply(token, Err(Error::UnknownMemberId));
        }
        let mut group = Group::new(request.group.clone(), now.wall);
        group.on_join(&mut step, token, request);
        // A group exists from its first member on; one that was refused leaves no trace.
        if group.is_unused() {
            return;
        }
        if consumer.is_some() {
            self.replace_consumer_group(now, group, effects);
        } else if is_streams {
            self.replace_streams(now, group, effects);
        } else {
            let then = Then::GroupCreated { group: group.id.clone(), token };
            step.append(vec![group.to_record_without_members()], then);
            groups.insert(group.id.clone(), group);
        }
    }

    fn on_append_done(
        &mut self,
        now: Now,
        ticket: Ticket,
        failure: Option<AppendFailure>,
        effects: &mut Effects,
    ) {
        let Some(Append { records, then, replies, .. }) = self.appends.take(ticket) else { return };
        for record in records {
            match (failure, record) {
                (None, record) => self.apply(record),
                (Some(_), Record::GroupRemoved { group }) => self.revive(&group, now),
                (Some(_), _) => {}
            }
        }
        let error = failure.map(Error::from);
        match then {
            Then::ConsumerChanged(undo) if let Some(error) = &error => {
                self.undo_consumer(now, undo, error, effects);
            }
            Then::ShareChanged(undo) if error.is_some() => self.undo_share(undo),
            Then::StreamsChanged(undo) if let Some(error) = &error => {
                self.take_back_streams(now, undo, error, effects);
            }
            then => self.follow_up(now, then, error.clone(), effects),
        }
        for (token, waiting) in replies {
            let reply = match (waiting, &error) {
                (Waiting::Reply(reply), None) => Ok(reply),
                (Waiting::Reply(_), Some(error)) => Err(error.clone()),
                (Waiting::Fetch(request), _) => Ok(self.fetch_offsets(request)),
            };
            effects.push(Effect::Reply { token, reply });
        }
    }

    fn follow_up(&mut self, now: Now, then: Then, failure: Option<Error>, effects: &mut Effects) {
        let (groups, _, mut step) = self.split(now, effects);
        match then {
            Then::Nothing | Then::ConsumerChanged(_) | Then::ShareChanged(_) | Then::StreamsChanged(_) => {}
            Then::GroupCreated { group: id, token } => {
                let (Some(error), Some(group)) = (failure, groups.get_mut(&id)) else { return };
                group.on_creation_failed(&mut step, token, &error);
            }
            Then::Assigned { group, generation, assignments } => {
                if let Some(group) = groups.get_mut(&group) {
                    group.on_assignment_stored(&mut step, generation, assignments, failure);
                }
            }
            Then::StaticReplaced { group, replaced } => {
                if let Some(group) = groups.get_mut(&group) {
                    group.on_static_replaced(&mut step, replaced, failure);
                }
            }
        }
    }

    /// Takes over a record that is in the log for good. What members agreed on is already in memory.
    fn apply(&mut self, record: Record) {
        match record {
            Record::OffsetCommitted { group, topic, partition, offset } => {
                self.hold(&group);
                self.offsets.put(group, topic, partition, offset);
            }
            Record::OffsetPending { producer_id, group, topic, partition, offset } => {
                self.hold(&group);
                self.offsets.put_pending(producer_id, group, topic, partition, offset);
            }
            Record::TransactionEnded { producer_id, committed } => {
                self.offsets.end_transaction(producer_id, committed);
            }
            Record::OffsetRemoved { group, topic, partition } => {
                self.offsets.remove(&group, &topic, partition)
            }
            Record::GroupMetadata(metadata) => {
                if let Some(group) = self.groups.get_mut(&metadata.group) {
                    group.is_committed = true;
                }
            }
            Record::GroupRemoved { group } => {
                // One that became a consumer group is gone already, and there may be another since.
                if self.groups.get(&group).is_some_and(|group| group.state == State::Dead) {
                    self.groups.remove(&group);
                }
            }
            // Groups of these kinds change when they decide.
            Record::Consumer { .. } | Record::Share { .. } | Record::Streams { .. } => {}
        }
    }

    /// Offsets without a group make a group that only holds offsets ("simple" in Kafka).
    fn hold(&mut self, group: &GroupId) {
        if !self.consumers.contains_key(group) && !self.streams.contains_key(group) {
            let make = || Group::new(group.clone(), -1);
            self.groups.entry(group.clone()).or_insert_with(make).is_committed = true;
        }
    }

    fn on_loaded(&mut self, now: Now, effects: &mut Effects) {
        let (groups, _, mut step) = self.split(now, effects);
        for group in groups.values_mut() {
            for id in group.members.keys() {
                group.refresh_session(&mut step, id);
            }
            let (members, max) = (group.members.len(), step.config.group_members_max);
            if members > max {
                group.prepare_rebalance(&mut step, format!("{members} members loaded, {max} are allowed"));
            } else if std::mem::take(&mut group.is_to_rebalance) {
                group.prepare_rebalance(&mut step, "it was a consumer group before".to_owned());
            }
        }
        let interval_ms = step.config.offsets_retention_check_interval_ms;
        step.schedule(Timer::Expiry, interval_ms);
        self.watch_consumers(now, effects);
        self.watch_shares(now, effects);
        self.watch_streams(now, effects);
    }

    fn on_tick(&mut self, now: Now, effects: &mut Effects) {
        self.timers.on_woken();
        // Every timer that is set meanwhile lies in the future, so this ends.
        while let Some(timer) = self.timers.pop_due(now.monotonic) {
            if let Timer::Heartbeat(group, member)
            | Timer::Revoke(group, member)
            | Timer::MemberJoin(group, member)
            | Timer::MemberSync(group, member) = &timer
                && self.consumers.contains_key(group)
            {
                self.fence_consumer(now, group, member, effects);
                continue;
            }
            if let Timer::Heartbeat(group, member) = &timer
                && self.shares.contains_key(group)
            {
                self.fence_share(now, group, member, effects);
                continue;
            }
            if let Timer::Heartbeat(group, member) | Timer::Revoke(group, member) = &timer
                && self.streams.contains_key(group)
            {
                self.fence_streams(now, group, member, effects);
                continue;
            }
            let (groups, _, mut step) = self.split(now, effects);
            match timer {
                Timer::Revoke(..) | Timer::MemberJoin(..) | Timer::MemberSync(..) => {}
                Timer::Rebalance(group) => self.end_rebalance_delay(now, &group, effects),
                Timer::Heartbeat(group, member) => {
                    groups.get_mut(&group).into_iter().for_each(|g| g.on_session_timeout(&mut step, &member));
                }
                Timer::Join(group) => {
                    groups.get_mut(&group).into_iter().for_each(|g| g.on_join_timeout(&mut step));
                }
                Timer::Sync(group) => {
                    groups.get_mut(&group).into_iter().for_each(|g| g.on_sync_timeout(&mut step));
                }
                Timer::Expiry => self.on_expiry(now, effects),
            }
        }
    }

    fn on_unloaded(&mut self, effects: &mut Effects) {
        let now = Now { wall: -1, monotonic: 0 };
        for append in self.appends.take_all() {
            let refused = |(token, _)| Effect::Reply { token, reply: Err(Error::NotCoordinator) };
            effects.extend(append.replies.into_iter().map(refused));
        }
        let (groups, _, mut step) = self.split(now, effects);
        for group in groups.values_mut() {
            group.answer_all_parked(&mut step, &Error::NotCoordinator);
        }
        groups.clear();
        self.consumers.clear();
        self.shares.clear();
        self.streams.clear();
        self.offsets = Offsets::default();
        self.timers.clear();
    }
}

impl From<AppendFailure> for Error {
    fn from(failure: AppendFailure) -> Self {
        match failure {
            AppendFailure::Unavailable => Self::CoordinatorNotAvailable,
            AppendFailure::NotLeader => Self::NotCoordinator,
            AppendFailure::TooLarge => Self::UnknownServerError,
            AppendFailure::ProducerFenced => Self::InvalidProducerEpoch,
            AppendFailure::CoordinatorFenced => Self::TransactionCoordinatorFenced,
            AppendFailure::NotInTransaction => Self::InvalidTxnState,
        }
    }
}

/// The group of an API that does not allow the empty id.
pub(crate) fn find<'a>(
    groups: &'a mut BTreeMap<GroupId, Group>,
    id: &GroupId,
    missing: Error,
) -> Result<&'a mut Group, Error> {
    if id.is_empty() { Err(Error::InvalidGroupId) } else { groups.get_mut(id).ok_or(missing) }
}

//! A classic group: its members, what they agree on, and where it stands.
//!
//! This file holds the state and keeps its parts consistent; the decisions are beside it: `join`, `rebalance`, `sync`,
//! `replace` (static members), `heartbeat`, `leave`. Offsets are not here. The coordinator owns one per group id.

use crate::{
    Error, GroupMetadata, InstanceId, Joined, MemberId, Protocol, Record, Reply, State, Ticket, Token,
    member::Member,
    step::Step,
    subscription::{self, CONSUMER},
    timers::Timer,
};
use bytes::Bytes;
use model::{GroupId, Timestamp};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Characters of a client's reason that are kept (KIP-800 lets clients send 255).
const REASON_CHARS_MAX: usize = 255;

/// A classic group.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) id: GroupId,
    pub(crate) state: State,
    pub(crate) previous: State,
    /// When it entered its state; -1: unknown.
    pub(crate) state_timestamp: Timestamp,
    pub(crate) protocol_type: Option<Arc<str>>,
    pub(crate) protocol: Option<Arc<str>>,
    pub(crate) generation: i32,
    pub(crate) leader: Option<MemberId>,
    pub(crate) members: BTreeMap<MemberId, Member>,
    pub(crate) static_members: BTreeMap<InstanceId, MemberId>,
    /// Ids given out for which no member came back yet.
    pub(crate) pending_joins: BTreeSet<MemberId>,
    /// Members of this generation that have not asked for their assignment yet.
    pub(crate) pending_syncs: BTreeSet<MemberId>,
    /// How many members have a JoinGroup waiting.
    joining: usize,
    /// How many members support each protocol.
    supported: BTreeMap<Arc<str>, usize>,
    /// What the members are subscribed to, if that could be read.
    subscribed: Option<BTreeSet<String>>,
    /// A member came during the initial delay: it may be extended.
    pub(crate) newcomer: bool,
    /// The initial delay's length and what may still be added to it; none in other rebalances.
    pub(crate) initial_delay: Option<(i64, i64)>,
    /// The append of this generation's assignment, while it is under way.
    pub(crate) storing: Option<Ticket>,
    /// Whether the log holds it.
    pub(crate) is_committed: bool,
    /// It was written down on its way into a rebalance, which begins when it is loaded.
    pub(crate) is_to_rebalance: bool,
    pub(crate) rebalance_reason: String,
}

impl Group {
    /// A group without members.
    pub(crate) fn new(id: GroupId, state_timestamp: Timestamp) -> Self {
        Self {
            id,
            state: State::Empty,
            previous: State::Dead,
            state_timestamp,
            protocol_type: None,
            protocol: None,
            generation: 0,
            leader: None,
            members: BTreeMap::new(),
            static_members: BTreeMap::new(),
            pending_joins: BTreeSet::new(),
            pending_syncs: BTreeSet::new(),
            joining: 0,
            supported: BTreeMap::new(),
            subscribed: None,
            newcomer: false,
            initial_delay: None,
            storing: None,
            is_committed: false,
            is_to_rebalance: false,
            rebalance_reason: String::new(),
        }
    }

    /// The group that was written down.
    pub(crate) fn from_record(record: GroupMetadata) -> Self {
        let mut group = Self::new(record.group, record.state_timestamp);
        group.is_committed = true;
        group.generation = record.generation;
        group.protocol_type = Some(record.protocol_type).filter(|protocol_type| !protocol_type.is_empty());
        // Only a consumer group that became a classic one is written down without a leader.
        group.is_to_rebalance = record.leader.is_none() && !record.members.is_empty();
        group.leader = record.leader;
        for member in record.members {
            group.state = State::Stable;
            group.insert(Member::from_record(member, record.protocol.as_ref()));
        }
        group.protocol = record.protocol;
        group.subscribed = group.compute_subscribed();
        group
    }

    /// The group as it is written down, with each member's assignment.
    pub(crate) fn to_record(&self, assignment: impl Fn(&Member) -> Bytes) -> Record {
        let protocol = self.protocol.as_deref();
        Record::GroupMetadata(GroupMetadata {
            group: self.id.clone(),
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            state_timestamp: self.state_timestamp,
            members: self.members.values().map(|m| m.to_record(protocol, assignment(m))).collect(),
        })
    }

    /// A group that was just made for its first member, as it is written down: without it.
    pub(crate) fn to_record_without_members(&self) -> Record {
        Record::GroupMetadata(GroupMetadata {
            group: self.id.clone(),
            protocol_type: Arc::default(),
            generation: 0,
            protocol: None,
            leader: None,
            state_timestamp: self.state_timestamp,
            members: Vec::new(),
        })
    }

    /// Enters a state.
    pub(crate) fn transition(&mut self, state: State, now: Timestamp) {
        debug_assert!(self.may_enter(state), "{:?} to {state:?}", self.state);
        self.previous = std::mem::replace(&mut self.state, state);
        self.state_timestamp = now;
    }

    fn may_enter(&self, state: State) -> bool {
        use State::{CompletingRebalance, Dead, Empty, PreparingRebalance, Stable};
        match state {
            Empty => self.state == PreparingRebalance,
            PreparingRebalance => matches!(self.state, Stable | CompletingRebalance | Empty),
            CompletingRebalance => self.state == PreparingRebalance,
            Stable => self.state == CompletingRebalance,
            Dead => true,
        }
    }

    /// Notes why it rebalances, for people.
    pub(crate) fn note_reason(&mut self, reason: String) {
        self.rebalance_reason = reason.chars().take(2 * REASON_CHARS_MAX).collect();
    }

    // ---- members

    /// Puts a member in; the first one is the leader and decides on the protocol type before.
    pub(crate) fn insert(&mut self, member: Member) {
        if let Some(instance) = &member.instance_id {
            self.static_members.insert(instance.clone(), member.id.clone());
        }
        self.leader.get_or_insert_with(|| member.id.clone());
        self.pending_joins.remove(&member.id);
        self.joining += usize::from(member.joining.is_some());
        count(&mut self.supported, &member.protocols);
        self.members.insert(member.id.clone(), member);
    }

    /// Takes a member or a pending id out. If requests of it wait, they hear `error`.
    pub(crate) fn remove(&mut self, step: &mut Step<'_>, id: &MemberId, error: &Error) {
        self.answer_parked(step, id, error);
        step.timers.cancel(Timer::Heartbeat(self.id.clone(), id.clone()));
        if let Some(member) = self.members.remove(id) {
            uncount(&mut self.supported, &member.protocols);
            if let Some(instance) = &member.instance_id {
                self.static_members.remove(instance);
            }
        }
        if self.leader.as_ref() == Some(id) {
            self.leader = self.members.keys().next().cloned();
        }
        self.pending_joins.remove(id);
        self.pending_syncs.remove(id);
    }

    /// Takes over what a member says with a new JoinGroup, which waits from then on (or not: `None`). A JoinGroup of it
    /// that waited already is sent back: its sender has given it up, or would not ask again.
    pub(crate) fn update(
        &mut self,
        step: &mut Step<'_>,
        id: &MemberId,
        protocols: Vec<Protocol>,
        timeouts_ms: (i32, i32),
        token: Option<Token>,
    ) {
        let Some(member) = self.members.get_mut(id) else { return };
        if let Some(former) = std::mem::replace(&mut member.joining, token) {
            self.joining -= 1;
            step.reply(former, Err(Error::RebalanceInProgress));
        }
        self.joining += usize::from(token.is_some());
        uncount(&mut self.supported, &member.protocols);
        count(&mut self.supported, &protocols);
        member.protocols = protocols;
        (member.rebalance_timeout_ms, member.session_timeout_ms) = timeouts_ms;
    }

    /// Takes the waiting JoinGroup of a member out.
    pub(crate) fn take_joining(&mut self, id: &MemberId) -> Option<Token> {
        let token = self.members.get_mut(id)?.joining.take();
        self.joining -= usize::from(token.is_some());
        token
    }

    /// Answers the waiting requests of a member with `error`.
    pub(crate) fn answer_parked(&mut self, step: &mut Step<'_>, id: &MemberId, error: &Error) {
        let join = self.take_joining(id);
        let sync = self.members.get_mut(id).and_then(|member| member.syncing.take());
        for token in join.into_iter().chain(sync) {
            step.reply(token, Err(error.clone()));
        }
    }

    /// Whether `id` is the member that it says, by `instance` too.
    pub(crate) fn validate(&self, id: &str, instance: Option<&InstanceId>) -> Result<(), Error> {
        if let Some(instance) = instance {
            let known = self.static_members.get(instance).ok_or(Error::UnknownMemberId)?;
            if **known != *id {
                return Err(Error::FencedInstanceId);
            }
        }
        self.members.contains_key(id).then_some(()).ok_or(Error::UnknownMemberId)
    }

    /// Whether `id` leads the generation.
    pub(crate) fn is_leader(&self, id: &str) -> bool {
        self.leader.as_deref() == Some(id)
    }

    /// How many JoinGroups wait.
    pub(crate) fn joining(&self) -> usize {
        self.joining
    }

    /// Whether nobody is waited for.
    pub(crate) fn has_all_joined(&self) -> bool {
        self.members.len() == self.joining && self.pending_joins.is_empty()
    }

    /// The longest rebalance timeout of a member: the slowest one may take that long.
    pub(crate) fn rebalance_timeout_ms(&self) -> i64 {
        self.members.values().map(|member| i64::from(member.rebalance_timeout_ms)).max().unwrap_or(0).max(0)
    }

    /// A member's place in the present generation.
    pub(crate) fn to_joined(&self, id: &MemberId) -> Joined {
        let protocol = self.protocol.as_deref();
        let members = if self.is_leader(id) { Some(self.members.values()) } else { None };
        Joined {
            member_id: id.clone(),
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone().unwrap_or_default(),
            skip_assignment: false,
            members: members.into_iter().flatten().map(|member| member.to_joined(protocol)).collect(),
        }
    }

    /// Sends every waiting request back with `error`.
    pub(crate) fn answer_all_parked(&mut self, step: &mut Step<'_>, error: &Error) {
        for id in self.members.keys().cloned().collect::<Vec<_>>() {
            self.answer_parked(step, &id, error);
        }
    }

    /// Takes all timers of the group, but for those of its members' sessions.
    pub(crate) fn forget_timers(&self, step: &mut Step<'_>) {
        step.timers.cancel(Timer::Join(self.id.clone()));
        step.timers.cancel(Timer::Sync(self.id.clone()));
        for id in &self.pending_joins {
            step.timers.cancel(Timer::Heartbeat(self.id.clone(), id.clone()));
        }
    }

    // ---- protocols

    /// Whether a member that speaks this could be in the group.
    pub(crate) fn supports(&self, protocol_type: &str, protocols: &[Protocol]) -> bool {
        if self.state == State::Empty {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        let by_all = |p: &Protocol| self.supported.get(&p.name).copied().unwrap_or(0) == self.members.len();
        self.protocol_type.as_deref() == Some(protocol_type) && protocols.iter().any(by_all)
    }

    /// The protocol that most members prefer among those that all support.
    pub(crate) fn select_protocol(&self) -> Option<Arc<str>> {
        let is_candidate = |p: &&Protocol| self.supported.get(&p.name) == Some(&self.members.len());
        let mut votes = BTreeMap::<&Arc<str>, usize>::new();
        for member in self.members.values() {
            if let Some(vote) = member.protocols.iter().find(is_candidate) {
                *votes.entry(&vote.name).or_default() += 1;
            }
        }
        votes.into_iter().max_by_key(|(_, count)| *count).map(|(name, _)| name.clone())
    }

    /// Whether the members are consumers.
    pub(crate) fn uses_consumer_protocol(&self) -> bool {
        self.protocol_type.as_deref() == Some(CONSUMER)
    }

    /// Whether what the members are subscribed to is known.
    pub(crate) fn knows_subscriptions(&self) -> bool {
        self.subscribed.is_some()
    }

    /// Whether a member is subscribed to `topic`, as far as that is known: consumers might be.
    pub(crate) fn is_subscribed(&self, topic: &str) -> bool {
        self.subscribed.as_ref().map_or(self.uses_consumer_protocol(), |topics| topics.contains(topic))
    }

    /// Reads the members' subscriptions again.
    pub(crate) fn refresh_subscribed(&mut self) {
        self.subscribed = self.compute_subscribed();
    }

    fn compute_subscribed(&self) -> Option<BTreeSet<String>> {
        if !self.uses_consumer_protocol() {
            return None;
        }
        let mut all = BTreeSet::new();
        for member in self.members.values() {
            let metadata = member.metadata(Some(self.protocol.as_deref()?));
            all.extend(subscription::topics(&metadata)?.into_iter().map(str::to_owned));
        }
        Some(all)
    }
}

/// Keeps the first protocol of each name, as Kafka does.
pub(crate) fn without_duplicates(mut protocols: Vec<Protocol>) -> Vec<Protocol> {
    let mut seen = BTreeSet::new();
    protocols.retain(|protocol| seen.insert(protocol.name.clone()));
    protocols
}

/// A successful reply to JoinGroup.
pub(crate) fn joined(joined: Joined) -> Result<Reply, Error> {
    Ok(Reply::JoinGroup(joined))
}

fn count(supported: &mut BTreeMap<Arc<str>, usize>, protocols: &[Protocol]) {
    for protocol in protocols {
        *supported.entry(protocol.name.clone()).or_default() += 1;
    }
}

fn uncount(supported: &mut BTreeMap<Arc<str>, usize>, protocols: &[Protocol]) {
    for protocol in protocols {
        if let Some(count) = supported.get_mut(&protocol.name) {
            *count -= 1;
            if *count == 0 {
                supported.remove(&protocol.name);
            }
        }
    }
}

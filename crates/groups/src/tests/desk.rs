//! A host for tests: it keeps the log and the time, and checks what holds for every step.

use crate::{
    group::Group,
    timers::{Timer, Timers},
    *,
};
use ::coordinator::Now;
use bytes::Bytes;
use model::{GroupId, TopicName};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use stdx::Uuid;

pub(super) const SECOND: u64 = 1000;
pub(super) const MINUTE: u64 = 60 * SECOND;
pub(super) const DAY: u64 = 24 * 60 * MINUTE;

pub(super) struct Desk {
    pub(super) coordinator: Coordinator,
    pub(super) now: Now,
    pub(super) config: Config,
    /// Appends commit as soon as they are ordered.
    pub(super) commits_at_once: bool,
    pub(super) appends: VecDeque<(Ticket, Vec<Record>)>,
    pub(super) log: Vec<Record>,
    pub(super) unanswered: BTreeSet<Token>,
    replies: BTreeMap<Token, Result<Reply, Error>>,
    wake_at: Option<u64>,
    asked: u64,
    ids: u64,
}

pub(super) fn config() -> Config {
    Config {
        session_timeout_ms_min: 6000,
        session_timeout_ms_max: 1_800_000,
        rebalance_delay_ms_initial: 3000,
        group_members_max: usize::MAX,
        join_timeout_ms_new_member: 300_000,
        consumer_members_max: usize::MAX,
        consumer_session_timeout_ms: 45_000,
        migration: Migration::Bidirectional,
        consumer_assignment_interval_ms: 0,
        share_members_max: 3,
        share_session_timeout_ms: 45_000,
        share_initialize_retry_ms: 30_000,
        streams_members_max: 6,
        streams_session_timeout_ms: 45_000,
        offset_metadata_chars_max: 10,
        offsets_retention_ms: 7 * DAY as i64,
        offsets_retention_check_interval_ms: 10 * MINUTE as i64,
    }
}

impl Desk {
    pub(super) fn new() -> Self {
        Self::with(config())
    }

    pub(super) fn with(config: Config) -> Self {
        let mut desk = Self {
            coordinator: Coordinator::new(config.clone()),
            now: Now { wall: 1_000_000, monotonic: 5_000_000_000 },
            config,
            commits_at_once: true,
            appends: VecDeque::new(),
            log: Vec::new(),
            unanswered: BTreeSet::new(),
            replies: BTreeMap::new(),
            wake_at: None,
            asked: 0,
            ids: 0,
        };
        desk.tell(Event::Loaded);
        desk
    }

    /// Loses everything that is not committed and begins again from the log. Nobody waits any more.
    pub(super) fn crash(&mut self) {
        self.coordinator = self.rebuilt();
        self.appends.clear();
        self.unanswered.clear();
        self.wake_at = None;
        self.tell(Event::Loaded);
    }

    /// From the log, which says the same after it was compacted, whether tombstones are still there or not.
    pub(super) fn rebuilt(&self) -> Coordinator {
        let replayed = |log: &[Record]| {
            let mut coordinator = Coordinator::new(self.config.clone());
            log.iter().cloned().for_each(|record| coordinator.replay(record));
            coordinator
        };
        let whole = replayed(&self.log);
        for has_tombstones in [true, false] {
            let compacted = replayed(&compacted(&self.log, has_tombstones));
            assert_eq!(shown(&compacted), shown(&whole), "after compaction");
        }
        whole
    }

    pub(super) fn tell(&mut self, event: Event) {
        let mut effects = Effects::new();
        self.coordinator.step(self.now, event, &mut effects);
        for effect in effects {
            match effect {
                Effect::Reply { token, reply } => {
                    assert!(self.unanswered.remove(&token), "{token:?} is answered once: {reply:?}");
                    self.replies.insert(token, reply);
                }
                Effect::Append { ticket, records } | Effect::AppendInTransaction { ticket, records, .. } => {
                    assert!(!records.is_empty());
                    assert!(self.appends.back().is_none_or(|(former, _)| *former < ticket));
                    self.appends.push_back((ticket, records));
                }
                Effect::WakeAt(at) => self.wake_at = Some(at),
            }
        }
        if self.commits_at_once {
            self.commit();
        }
    }

    /// Commits all appends.
    pub(super) fn commit(&mut self) {
        while !self.appends.is_empty() {
            self.commit_one();
        }
    }

    pub(super) fn commit_one(&mut self) {
        if let Some((ticket, records)) = self.appends.pop_front() {
            self.log.extend(records);
            self.tell(Event::Committed { ticket });
        }
    }

    /// Lets the oldest append fail.
    pub(super) fn fail(&mut self, failure: AppendFailure) {
        let (ticket, _) = self.appends.pop_front().expect("an append to fail");
        self.tell(Event::AppendFailed { ticket, failure });
    }

    /// Lets time pass, with a tick at each moment that was asked for.
    pub(super) fn pass(&mut self, ms: u64) {
        let end = self.now.monotonic + ms * 1_000_000;
        while let Some(at) = self.wake_at.filter(|at| *at <= end) {
            assert!(at > self.now.monotonic, "a wake-up lies in the future");
            self.wake_at = None;
            self.set_time(at);
            self.tell(Event::Tick);
        }
        self.set_time(end);
    }

    fn set_time(&mut self, monotonic: u64) {
        self.now.wall += ((monotonic / 1_000_000) - (self.now.monotonic / 1_000_000)) as i64;
        self.now.monotonic = monotonic;
    }

    pub(super) fn send(&mut self, request: Request) -> Token {
        self.asked += 1;
        let token = Token(self.asked);
        self.unanswered.insert(token);
        self.tell(Event::Request { token, request });
        token
    }

    /// The answer that has come, if any; each once.
    pub(super) fn take(&mut self, token: Token) -> Option<Result<Reply, Error>> {
        self.replies.remove(&token)
    }

    pub(super) fn ask(&mut self, request: Request) -> Result<Reply, Error> {
        let token = self.send(request);
        self.take(token).expect("an answer at once")
    }

    // ---- members

    pub(super) fn fresh_id(&mut self) -> Uuid {
        self.ids += 1;
        Uuid(u128::from(self.ids).to_be_bytes())
    }

    pub(super) fn send_join(&mut self, mut join: JoinGroup) -> Token {
        join.fresh_id = self.fresh_id();
        self.send(Request::JoinGroup(join))
    }

    /// What became of a JoinGroup: `None` while it waits.
    pub(super) fn joined(&mut self, token: Token) -> Option<Result<Joined, Error>> {
        let reply = self.take(token)?;
        Some(reply.map(|reply| match reply {
            Reply::JoinGroup(joined) => joined,
            other => panic!("{other:?}"),
        }))
    }

    pub(super) fn synced(&mut self, token: Token) -> Option<Result<Bytes, Error>> {
        let reply = self.take(token)?;
        Some(reply.map(|reply| match reply {
            Reply::SyncGroup(synced) => synced.assignment,
            other => panic!("{other:?}"),
        }))
    }

    pub(super) fn heartbeat(&mut self, member: &MemberId, generation: i32) -> Result<Reply, Error> {
        self.ask(Request::Heartbeat(Heartbeat {
            group: group(),
            generation,
            member_id: member.clone(),
            instance_id: None,
        }))
    }

    pub(super) fn state(&self) -> Option<State> {
        self.coordinator.groups().find(|view| *view.group == group()).map(|view| view.state)
    }

    /// Brings these members, the first of them the leader, into the first generation of an empty group; everybody's
    /// assignment is its own id. Gives their ids.
    pub(super) fn stable(&mut self, joins: Vec<JoinGroup>) -> Vec<MemberId> {
        let tokens = joins.into_iter().map(|join| self.send_join(join)).collect::<Vec<_>>();
        while self.state() != Some(State::CompletingRebalance) {
            self.pass(SECOND);
        }
        let joined = tokens.into_iter().map(|t| self.joined(t).unwrap().unwrap()).collect::<Vec<_>>();
        let ids = joined.iter().map(|joined| joined.member_id.clone()).collect::<Vec<_>>();
        assert_eq!(joined[0].leader, ids[0]);
        self.sync_all(&ids, joined[0].generation);
        ids
    }

    /// The leader, the first, gives everybody its own id; all ask.
    pub(super) fn sync_all(&mut self, ids: &[MemberId], generation: i32) {
        for id in ids.iter().rev() {
            let assignments = if *id == ids[0] { assign(ids) } else { Vec::new() };
            self.send(sync(id, generation, assignments));
        }
        self.commit();
        assert_eq!(self.state(), Some(State::Stable));
    }

    /// All join again, the first one first, and the next generation is stable; gives it.
    pub(super) fn rebalance(&mut self, ids: &[MemberId]) -> i32 {
        let tokens = ids
            .iter()
            .map(|id| self.send_join(JoinGroup { member_id: id.clone(), ..join("any") }))
            .collect::<Vec<_>>();
        let joined = tokens.into_iter().map(|t| self.joined(t).unwrap().unwrap()).collect::<Vec<_>>();
        self.sync_all(ids, joined[0].generation);
        joined[0].generation
    }
}

/// A small deterministic generator (SplitMix64).
pub(super) struct Chance(pub(super) u64);

impl Chance {
    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ z >> 31) % n
    }

    pub(super) fn one_of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize].clone()
    }
}

/// What must hold inside every group at any time.
pub(super) fn assert_consistent(coordinator: &Coordinator) {
    for group in coordinator.groups.values() {
        let waiting = group.members.values().filter(|member| member.joining.is_some()).count();
        assert_eq!(group.joining(), waiting);
        assert!(group.members.keys().all(|id| !group.pending_joins.contains(id)));
        assert!(group.pending_syncs.iter().all(|id| group.members.contains_key(id)));
        assert_eq!(group.leader.is_none(), group.members.is_empty());
        assert!(group.leader.iter().all(|id| group.members.contains_key(id)));
        let by_instance =
            group.members.values().filter_map(|m| m.instance_id.clone().zip(Some(m.id.clone())));
        assert_eq!(group.static_members, by_instance.collect());
        assert!(
            !group.members.is_empty()
                || matches!(group.state, State::Empty | State::Dead | State::PreparingRebalance)
        );
        assert!(group.members.is_empty() || !matches!(group.state, State::Empty | State::Dead));
        assert_timed(&coordinator.timers, group);
    }
    assert!(coordinator.timers.is_set(&Timer::Expiry));
    for timer in coordinator.timers.iter() {
        if let Timer::Heartbeat(group, id) = timer {
            let group = coordinator.groups.get(group).expect("no timer of a group that is gone");
            assert!(
                group.members.contains_key(id) || group.pending_joins.contains(id),
                "no timer of strangers"
            );
        }
    }
}

/// Everything that a group waits for has an end.
fn assert_timed(timers: &Timers, group: &Group) {
    let heartbeat = |id: &MemberId| timers.is_set(&Timer::Heartbeat(group.id.clone(), id.clone()));
    assert!(group.pending_joins.iter().all(heartbeat));
    for member in group.members.values() {
        assert!(member.is_excused() || heartbeat(&member.id), "{member:?} would live for ever");
    }
    assert_eq!(timers.is_set(&Timer::Join(group.id.clone())), group.state == State::PreparingRebalance);
    assert_eq!(timers.is_set(&Timer::Sync(group.id.clone())), !group.pending_syncs.is_empty());
}

pub(super) fn group() -> GroupId {
    GroupId::new("g")
}

pub(super) fn topic(name: &str) -> TopicName {
    TopicName::new(name).unwrap()
}

/// A consumer's metadata: it is subscribed to `topics`.
pub(super) fn subscribed(topics: &[&str]) -> Bytes {
    let mut bytes = vec![0, 1];
    bytes.extend((topics.len() as i32).to_be_bytes());
    for topic in topics {
        bytes.extend((topic.len() as i16).to_be_bytes());
        bytes.extend(topic.as_bytes());
    }
    bytes.extend([0xff; 4]);
    bytes.into()
}

pub(super) fn protocols(names: &[&str], metadata: &Bytes) -> Vec<Protocol> {
    names.iter().map(|name| Protocol { name: (*name).into(), metadata: metadata.clone() }).collect()
}

/// A dynamic consumer that joins without an id, as before v4, so that it is in at once.
pub(super) fn join(client: &str) -> JoinGroup {
    JoinGroup {
        group: group(),
        member_id: "".into(),
        instance_id: None,
        client_id: client.into(),
        client_host: "/127.0.0.1".into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 60_000,
        protocol_type: "consumer".into(),
        protocols: protocols(&["range"], &subscribed(&["t"])),
        reason: None,
        require_known_member_id: false,
        supports_skipping_assignment: true,
        fresh_id: Uuid::ZERO,
    }
}

pub(super) fn join_static(instance: &str) -> JoinGroup {
    JoinGroup { instance_id: Some(instance.into()), session_timeout_ms: 120_000, ..join("s") }
}

pub(super) fn assign(ids: &[MemberId]) -> Vec<(MemberId, Bytes)> {
    ids.iter().map(|id| (id.clone(), Bytes::copy_from_slice(id.as_bytes()))).collect()
}

pub(super) fn sync(member: &MemberId, generation: i32, assignments: Vec<(MemberId, Bytes)>) -> Request {
    Request::SyncGroup(SyncGroup {
        group: group(),
        generation,
        member_id: member.clone(),
        instance_id: None,
        protocol_type: Some("consumer".into()),
        protocol: Some("range".into()),
        assignments,
    })
}

pub(super) fn commit(generation: i32, member: &str, topic_name: &str, offset: i64) -> OffsetCommit {
    OffsetCommit {
        group: group(),
        generation,
        member_id: member.into(),
        instance_id: None,
        retention_ms: -1,
        supports_group_id_not_found: true,
        topics: vec![CommitTopic {
            topic: topic(topic_name),
            topic_id: Uuid::ZERO,
            partitions: vec![CommitPartition {
                partition: 0,
                offset,
                leader_epoch: 3,
                metadata: "note".into(),
            }],
        }],
    }
}

pub(super) fn fetch(topic_name: &str, require_stable: bool) -> Request {
    let topics = vec![FetchTopic { topic: topic(topic_name), topic_id: Uuid::ZERO, partitions: vec![0] }];
    Request::OffsetFetch(OffsetFetch { group: group(), topics: Some(topics), member: None, require_stable })
}

/// The one offset in the answer to `fetch`.
pub(super) fn fetched(reply: Result<Reply, Error>) -> i64 {
    match reply {
        Ok(Reply::OffsetFetch(topics)) => topics[0].partitions[0].offset,
        other => panic!("{other:?}"),
    }
}

/// All that a coordinator knows, but for how many commits it has heard of.
fn shown(coordinator: &Coordinator) -> String {
    let all = format!("{coordinator:#?}");
    let is_count = |line: &str| {
        line.trim_start().starts_with("commits: ") || line.trim().trim_end_matches(',').parse::<u64>().is_ok()
    };
    all.lines().filter(|line| !is_count(line)).collect::<Vec<_>>().join("\n")
}

/// What compaction leaves of a log: the last record of each key, and nothing of what was aborted; all from the first record on
/// that a transaction may still decide about.
fn compacted(log: &[Record], has_tombstones: bool) -> Vec<Record> {
    let end = |place: usize, producer: &model::ProducerId| {
        log.get(place..).unwrap_or_default().iter().find_map(|record| match record {
            Record::TransactionEnded { producer_id, committed } if producer_id == producer => {
                Some(*committed)
            }
            _ => None,
        })
    };
    let ended: Vec<_> = log
        .iter()
        .enumerate()
        .map(|(place, record)| match record {
            Record::OffsetPending { producer_id, .. } => end(place, producer_id),
            _ => Some(true),
        })
        .collect();
    let bound = ended.iter().position(Option::is_none).unwrap_or(log.len());
    let mut last = BTreeMap::new();
    for (place, record) in log.iter().enumerate().take(bound) {
        if let Some(key) = key(record).filter(|_| ended[place] == Some(true)) {
            last.insert(key, place);
        }
    }
    let stays = |place: usize, record: &Record| match key(record) {
        _ if place >= bound => true,
        None => true,
        Some(key) => last.get(&key) == Some(&place) && (has_tombstones || !is_tombstone(record)),
    };
    let all = log.iter().enumerate();
    all.filter(|(place, record)| stays(*place, record)).map(|(_, record)| record.clone()).collect()
}

/// Which records have the same key in `__consumer_offsets`; markers have none.
fn key(record: &Record) -> Option<String> {
    Some(match record {
        Record::OffsetCommitted { group, topic, partition, .. }
        | Record::OffsetPending { group, topic, partition, .. }
        | Record::OffsetRemoved { group, topic, partition } => {
            format!("offset {group:?} {topic} {partition}")
        }
        Record::TransactionEnded { .. } => return None,
        Record::GroupMetadata(metadata) => format!("group {:?}", metadata.group),
        Record::GroupRemoved { group } => format!("group {group:?}"),
        Record::Consumer { group, change } => match change {
            ConsumerChange::Epoch(_) => format!("epoch {group:?}"),
            ConsumerChange::Member(member, _) => format!("member {group:?} {member:?}"),
            ConsumerChange::Pattern(pattern, _) => format!("pattern {group:?} {pattern}"),
            ConsumerChange::TargetEpoch(_) => format!("target epoch {group:?}"),
            ConsumerChange::Target(member, _) => format!("target {group:?} {member:?}"),
            ConsumerChange::Current(member, _) => format!("current {group:?} {member:?}"),
        },
        Record::Share { group, change } => match change {
            ShareChange::Epoch(_) => format!("share epoch {group:?}"),
            ShareChange::Member(member, _) => format!("share member {group:?} {member:?}"),
            ShareChange::TargetEpoch(_) => format!("share target epoch {group:?}"),
            ShareChange::Target(member, _) => format!("share target {group:?} {member:?}"),
            ShareChange::Current(member, _) => format!("share current {group:?} {member:?}"),
            ShareChange::States(_) => format!("share states {group:?}"),
        },
        Record::Streams { group, change } => match change {
            StreamsChange::Epoch(_) => format!("streams epoch {group:?}"),
            StreamsChange::Member(member, _) => format!("streams member {group:?} {member:?}"),
            StreamsChange::Topology(_) => format!("streams topology {group:?}"),
            StreamsChange::TargetEpoch(_) => format!("streams target epoch {group:?}"),
            StreamsChange::Target(member, _) => format!("streams target {group:?} {member:?}"),
            StreamsChange::Current(member, _) => format!("streams current {group:?} {member:?}"),
        },
    })
}

fn is_tombstone(record: &Record) -> bool {
    match record {
        Record::OffsetRemoved { .. } | Record::GroupRemoved { .. } => true,
        Record::Consumer { change, .. } => matches!(
            change,
            ConsumerChange::Epoch(None)
                | ConsumerChange::Member(_, None)
                | ConsumerChange::Pattern(_, None)
                | ConsumerChange::TargetEpoch(None)
                | ConsumerChange::Target(_, None)
                | ConsumerChange::Current(_, None)
        ),
        Record::Share { change, .. } => matches!(
            change,
            ShareChange::Epoch(None)
                | ShareChange::Member(_, None)
                | ShareChange::TargetEpoch(None)
                | ShareChange::Target(_, None)
                | ShareChange::Current(_, None)
                | ShareChange::States(None)
        ),
        Record::Streams { change, .. } => matches!(
            change,
            StreamsChange::Epoch(None)
                | StreamsChange::Member(_, None)
                | StreamsChange::Topology(None)
                | StreamsChange::TargetEpoch(None)
                | StreamsChange::Target(_, None)
                | StreamsChange::Current(_, None)
        ),
        _ => false,
    }
}

//! Online migration between classic and consumer groups (KIP-848), one rule after the other.

use super::{
    consumers::{Known, beat, beating, described, id, joining, know, of},
    desk::*,
};
use crate::*;
use bytes::Bytes;
use model::PartitionIndex;
use std::collections::BTreeSet;

const TOPICS: [(&str, PartitionIndex); 2] = [("t", 4), ("u", 2)];
const GONE: u64 = 46 * SECOND;

type Named<'a> = &'a [(&'static str, PartitionIndex)];

fn named(partitions: &Partitions, topics: Named<'_>) -> Vec<(&'static str, Vec<i32>)> {
    let name = |topic: &model::TopicId| topics[(0..topics.len()).find(|n| id(*n) == *topic).unwrap()].0;
    partitions.iter().map(|(topic, own)| (name(topic), own.iter().copied().collect())).collect()
}

/// A subscription of version 1, with the partitions that the member has.
pub(super) fn subscription(wants: &[&str], owned: &Partitions, topics: Named<'_>) -> Bytes {
    let mut bytes = subscribed(wants).to_vec();
    let owned = named(owned, topics);
    bytes.extend((owned.len() as i32).to_be_bytes());
    for (topic, indices) in owned {
        bytes.extend((topic.len() as i16).to_be_bytes());
        bytes.extend(topic.as_bytes());
        bytes.extend((indices.len() as i32).to_be_bytes());
        indices.iter().for_each(|index| bytes.extend(index.to_be_bytes()));
    }
    bytes.into()
}

pub(super) fn bytes_of(partitions: &Partitions, topics: Named<'_>) -> Bytes {
    crate::subscription::to_assignment(b"\0\x01", &named(partitions, topics))
}

pub(super) fn assigned(bytes: &[u8], topics: Named<'_>) -> Partitions {
    let read = crate::subscription::read_assignment(bytes).expect("an assignment");
    crate::convert::by_id(&read.partitions, &Known(topics.to_vec()))
}

fn desk() -> Desk {
    let mut desk = Desk::new();
    know(&mut desk, &TOPICS);
    desk
}

fn with_policy(migration: Migration) -> Desk {
    let mut desk = Desk::with(Config { migration, ..config() });
    know(&mut desk, &TOPICS);
    desk
}

/// A classic member that joins with what it has.
fn rejoin(member: &str, owned: &Partitions) -> JoinGroup {
    let protocols = protocols(&["range"], &subscription(&["t"], owned, &TOPICS));
    JoinGroup { member_id: member.into(), session_timeout_ms: 45_000, protocols, ..join("c") }
}

fn join_now(desk: &mut Desk, join: JoinGroup) -> Result<Joined, Error> {
    let token = desk.send_join(join);
    desk.joined(token).expect("an answer at once")
}

fn sync_now(desk: &mut Desk, member: &str, generation: i32) -> Result<Partitions, Error> {
    let token = desk.send(sync(&member.into(), generation, vec![]));
    let bytes = desk.synced(token).expect("an answer at once")?;
    Ok(assigned(&bytes, &TOPICS))
}

/// A stable classic group of members that have these partitions of `t`; gives their ids.
fn classic(desk: &mut Desk, shares: &[std::ops::Range<i32>]) -> Vec<MemberId> {
    let at_once = std::mem::replace(&mut desk.commits_at_once, true);
    let nothing = Partitions::new();
    let tokens: Vec<Token> = shares.iter().map(|_| desk.send_join(rejoin("", &nothing))).collect();
    desk.pass(6 * SECOND);
    let joined: Vec<Joined> = tokens.into_iter().map(|t| desk.joined(t).unwrap().unwrap()).collect();
    let ids: Vec<MemberId> = joined.iter().map(|joined| joined.member_id.clone()).collect();
    let assignments =
        ids.iter().zip(shares).map(|(id, share)| (id.clone(), bytes_of(&of(0, share.clone()), &TOPICS)));
    let assignments: Vec<_> = assignments.collect();
    for joined in &joined {
        let assignments = if joined.members.is_empty() { vec![] } else { assignments.clone() };
        desk.send(sync(&joined.member_id, 1, assignments));
    }
    assert_eq!(desk.state(), Some(State::Stable));
    desk.commits_at_once = at_once;
    ids
}

/// The same with one member that has all.
fn alone(desk: &mut Desk) -> Vec<MemberId> {
    classic(desk, std::slice::from_ref(&(0..4)))
}

fn kinds(desk: &mut Desk) -> Vec<&'static str> {
    match desk.ask(Request::ListGroups { states: vec![], types: vec![] }) {
        Ok(Reply::ListGroups(listed)) => listed.into_iter().map(|group| group.group_type).collect(),
        other => panic!("{other:?}"),
    }
}

fn leave(desk: &mut Desk, members: &[&str]) -> Vec<Option<Error>> {
    let leaving = |id: &&str| LeavingMember { member_id: (*id).into(), instance_id: None, reason: None };
    let members = members.iter().map(leaving).collect();
    match desk.ask(Request::LeaveGroup(LeaveGroup { group: group(), members })) {
        Ok(Reply::LeaveGroup(left)) => left.into_iter().map(|left| left.error).collect(),
        other => panic!("{other:?}"),
    }
}

/// Which values a record is about, and whether it removes them.
fn written(records: &[Record]) -> Vec<&'static str> {
    let name = |record: &Record| match record {
        Record::GroupRemoved { .. } => "-classic",
        Record::GroupMetadata(_) => "classic",
        Record::Consumer { change, .. } => match change {
            ConsumerChange::Epoch(Some(_)) => "epoch",
            ConsumerChange::Epoch(None) => "-epoch",
            ConsumerChange::Member(_, Some(_)) => "member",
            ConsumerChange::Member(_, None) => "-member",
            ConsumerChange::TargetEpoch(Some(_)) => "target epoch",
            ConsumerChange::TargetEpoch(None) => "-target epoch",
            ConsumerChange::Target(_, Some(_)) => "target",
            ConsumerChange::Target(_, None) => "-target",
            ConsumerChange::Current(_, Some(_)) => "current",
            ConsumerChange::Current(_, None) => "-current",
            ConsumerChange::Pattern(..) => "pattern",
        },
        other => panic!("{other:?}"),
    };
    records.iter().map(name).collect()
}

#[test]
fn the_first_member_of_the_consumer_protocol_upgrades_the_group_and_nobody_loses_anything() {
    let mut desk = desk();
    let ids = classic(&mut desk, &[0..2, 2..4]);
    let before = desk.log.len();
    let c = beat(&mut desk, joining("c", &["t"])).unwrap();
    assert_eq!((c.epoch, c.assignment), (2, Some(Partitions::new())), "all is still the others'");
    assert_eq!(kinds(&mut desk), ["consumer"]);
    let group = described(&mut desk);
    assert_eq!((group.state, group.epoch, group.members.len()), (ConsumerState::Reconciling, 2, 3));
    let (a, b) = (&ids[0], &ids[1]);
    for member in &group.members {
        assert_eq!(member.subscription.classic.is_some(), *member.member_id != *"c");
    }
    let order = written(&desk.log[before..]);
    let upgrade =
        ["-classic", "member", "member", "epoch", "target", "target", "target epoch", "current", "current"];
    assert_eq!(order[..9], upgrade);
    // Each hears in its own time that it is to join again.
    assert_eq!(desk.heartbeat(a, 1), Err(Error::RebalanceInProgress));
    assert_eq!(desk.heartbeat(b, 1), Err(Error::RebalanceInProgress));
    assert_eq!(sync_now(&mut desk, a, 1), Err(Error::RebalanceInProgress));
}

#[test]
fn an_eager_member_gives_all_up_and_gets_back_what_it_is_to_have() {
    let mut desk = desk();
    let ids = alone(&mut desk);
    beat(&mut desk, joining("c", &["t"])).unwrap();
    let joined = join_now(&mut desk, rejoin(&ids[0], &Partitions::new())).unwrap();
    assert_eq!((joined.generation, &*joined.leader, joined.members.len()), (2, "", 0));
    assert_eq!(
        (joined.protocol_type.as_deref(), joined.protocol.as_deref()),
        (Some("consumer"), Some("range"))
    );
    let own = sync_now(&mut desk, &ids[0], 2).unwrap();
    assert_eq!(own.values().map(BTreeSet::len).sum::<usize>(), 2);
    let c = beat(&mut desk, beating("c", 2, Some(Partitions::new()))).unwrap();
    assert_eq!(c.assignment.unwrap().values().map(BTreeSet::len).sum::<usize>(), 2);
    desk.heartbeat(&ids[0], 2).unwrap();
    assert_eq!(described(&mut desk).state, ConsumerState::Stable);
}

#[test]
fn a_cooperative_member_keeps_reading_and_joins_again_once_it_has_given_up() {
    let mut desk = desk();
    let ids = alone(&mut desk);
    beat(&mut desk, joining("c", &["t"])).unwrap();
    let joined = join_now(&mut desk, rejoin(&ids[0], &of(0, 0..4))).unwrap();
    assert_eq!(joined.generation, 1, "it has not given up yet");
    let own = sync_now(&mut desk, &ids[0], 1).unwrap();
    assert_eq!(own, of(0, 0..2));
    assert_eq!(desk.heartbeat(&ids[0], 1), Err(Error::RebalanceInProgress), "it is to join again");
    assert_eq!(beat(&mut desk, beating("c", 2, None)).unwrap().assignment, None, "not yet");
    let joined = join_now(&mut desk, rejoin(&ids[0], &own)).unwrap();
    assert_eq!((joined.generation, sync_now(&mut desk, &ids[0], 2)), (2, Ok(own)));
    desk.heartbeat(&ids[0], 2).unwrap();
    assert_eq!(beat(&mut desk, beating("c", 2, None)).unwrap().assignment, Some(of(0, 2..4)));
}

#[test]
fn a_cooperative_member_that_joins_again_and_again_and_gives_nothing_up_is_removed() {
    let mut desk = desk();
    let ids = alone(&mut desk);
    let mut c = beat(&mut desk, joining("c", &["t"])).unwrap();
    let mut rounds = 0;
    while desk.heartbeat(&ids[0], 1) == Err(Error::RebalanceInProgress) {
        rounds += 1;
        assert!(rounds < 30, "it is still there");
        join_now(&mut desk, rejoin(&ids[0], &of(0, 0..4))).unwrap();
        assert_eq!(sync_now(&mut desk, &ids[0], 1), Ok(of(0, 0..2)));
        desk.pass(10 * SECOND);
        c = beat(&mut desk, beating("c", c.epoch, None)).unwrap();
    }
    assert_eq!(desk.heartbeat(&ids[0], 1), Err(Error::UnknownMemberId));
    c = beat(&mut desk, beating("c", c.epoch, None)).unwrap();
    assert_eq!(described(&mut desk).members.len(), 1);
    assert!(rounds > 1 && c.epoch > 2, "c gets all");
}

#[test]
fn a_classic_member_hears_when_what_it_waits_for_is_free() {
    let mut desk = desk();
    beat(&mut desk, joining("c", &["t"])).unwrap();
    let a = join_now(&mut desk, rejoin("a", &Partitions::new())).unwrap();
    assert_eq!((a.generation, sync_now(&mut desk, "a", 3)), (3, Ok(Partitions::new())));
    desk.heartbeat(&"a".into(), 3).unwrap();
    beat(&mut desk, beating("c", 2, Some(of(0, 0..4)))).unwrap();
    desk.heartbeat(&"a".into(), 3).unwrap();
    beat(&mut desk, beating("c", 2, Some(of(0, 0..2)))).unwrap();
    assert_eq!(desk.heartbeat(&"a".into(), 3), Err(Error::RebalanceInProgress));
    join_now(&mut desk, rejoin("a", &Partitions::new())).unwrap();
    assert_eq!(sync_now(&mut desk, "a", 3), Ok(of(0, 2..4)));
}

#[test]
fn whoever_waits_in_a_rebalance_is_told_to_join_again_and_keeps_what_it_kept() {
    let mut desk = desk();
    let ids = classic(&mut desk, &[0..2, 2..4]);
    let owns = [of(0, 0..2), of(0, 2..4)];
    let tokens: Vec<Token> = ids.iter().zip(&owns).map(|(id, own)| desk.send_join(rejoin(id, own))).collect();
    let joined: Vec<_> = tokens.into_iter().map(|token| desk.joined(token).unwrap().unwrap()).collect();
    let follower = joined.iter().find(|joined| joined.members.is_empty()).unwrap().member_id.clone();
    let waiting = desk.send(sync(&follower, 2, vec![]));
    // Another one joins, which takes all assignments back, and then one of the consumer protocol.
    let newcomer = desk.send_join(rejoin("", &Partitions::new()));
    assert_eq!(desk.synced(waiting), Some(Err(Error::RebalanceInProgress)));
    let c = beat(&mut desk, joining("c", &["t"])).unwrap();
    assert_eq!(desk.joined(newcomer), Some(Err(Error::RebalanceInProgress)));
    assert_eq!((c.epoch, c.assignment), (3, Some(Partitions::new())), "they may still be reading");
}

#[test]
fn what_an_assignment_has_just_taken_back_is_held_until_the_member_joins_again() {
    let mut desk = desk();
    let ids = alone(&mut desk);
    let token = desk.send_join(rejoin(&ids[0], &of(0, 0..4)));
    let generation = desk.joined(token).unwrap().unwrap().generation;
    let less = vec![(ids[0].clone(), bytes_of(&of(0, 1..2), &TOPICS))];
    desk.send(sync(&ids[0], generation, less));
    let c = beat(&mut desk, joining("c", &["t"])).unwrap();
    assert_eq!(c.assignment, Some(Partitions::new()), "the answer may be on its way");
}

#[test]
fn a_group_that_goes_back_and_forth_gives_nothing_away_that_is_read() {
    let mut desk = desk();
    alone(&mut desk);
    beat(&mut desk, joining("c", &["t"])).unwrap();
    beat(&mut desk, beating("c", -1, None)).unwrap();
    let d = beat(&mut desk, joining("d", &["t"])).unwrap();
    assert_eq!(d.assignment, Some(Partitions::new()), "the classic member has not even heard of it");
}

#[test]
fn a_group_in_its_very_first_rebalance_is_upgraded_too() {
    let mut desk = desk();
    let token = desk.send_join(rejoin("", &Partitions::new()));
    let c = beat(&mut desk, joining("c", &["t"])).unwrap();
    assert_eq!(desk.joined(token), Some(Err(Error::RebalanceInProgress)));
    assert_eq!(c.epoch, 1);
    let described = described(&mut desk);
    let a = described.members.iter().find(|member| *member.member_id != *"c").unwrap().member_id.clone();
    assert_eq!(join_now(&mut desk, rejoin(&a, &Partitions::new())).unwrap().generation, 1);
    assert_eq!(sync_now(&mut desk, &a, 1).unwrap().values().map(BTreeSet::len).sum::<usize>(), 2);
}

#[test]
fn the_policy_decides_what_is_converted() {
    for migration in [Migration::Disabled, Migration::Downgrade] {
        let mut desk = with_policy(migration);
        let ids = alone(&mut desk);
        assert_eq!(beat(&mut desk, joining("c", &["t"])), Err(Error::GroupIdNotFound), "{migration:?}");
        desk.heartbeat(&ids[0], 1).unwrap();
    }
    let mut desk = with_policy(Migration::Disabled);
    beat(&mut desk, joining("c", &["t"])).unwrap();
    assert_eq!(join_now(&mut desk, rejoin("", &Partitions::new())), Err(Error::InconsistentGroupProtocol));
    let mut desk = with_policy(Migration::Upgrade);
    let ids = alone(&mut desk);
    beat(&mut desk, joining("c", &["t"])).unwrap();
    beat(&mut desk, beating("c", -1, None)).unwrap();
    assert_eq!(kinds(&mut desk), ["consumer"], "it stays one");
    // Nobody of the consumer protocol is left to bring a new target assignment about.
    assert_eq!(desk.heartbeat(&ids[0], 1), Err(Error::RebalanceInProgress));
    join_now(&mut desk, rejoin(&ids[0], &Partitions::new())).unwrap();
    assert_eq!(sync_now(&mut desk, &ids[0], 3), Ok(of(0, 0..4)));
}

#[test]
fn only_consumers_are_upgraded_and_only_what_can_be_read() {
    let mut desk = desk();
    let connect = JoinGroup { protocol_type: "connect".into(), ..join("a") };
    desk.send_join(connect);
    assert_eq!(beat(&mut desk, joining("c", &["t"])), Err(Error::GroupIdNotFound));
    let mut desk = Desk::new();
    let ids = desk.stable(vec![join("a")]);
    assert_eq!(
        beat(&mut desk, joining("c", &["t"])),
        Err(Error::GroupIdNotFound),
        "an assignment in its own form"
    );
    desk.heartbeat(&ids[0], 1).unwrap();
    let mut desk = Desk::with(Config { consumer_members_max: 1, ..config() });
    know(&mut desk, &TOPICS);
    alone(&mut desk);
    assert_eq!(beat(&mut desk, joining("c", &["t"])), Err(Error::GroupMaxSizeReached));
    assert_eq!(kinds(&mut desk), ["classic"]);
}

#[test]
fn classic_members_of_a_consumer_group_hear_what_kafka_says() {
    let mut desk = desk();
    beat(&mut desk, joining("c", &["t"])).unwrap();
    let nothing = Partitions::new();
    let new = JoinGroup { require_known_member_id: true, ..rejoin("", &nothing) };
    let Err(Error::MemberIdRequired(a)) = join_now(&mut desk, new.clone()) else { panic!("no id") };
    join_now(&mut desk, JoinGroup { member_id: a.clone(), ..new }).unwrap();
    let of_type =
        |protocol_type: &str| JoinGroup { protocol_type: protocol_type.into(), ..rejoin("", &nothing) };
    assert_eq!(join_now(&mut desk, of_type("connect")), Err(Error::InconsistentGroupProtocol));
    let other = JoinGroup { protocols: protocols(&["mine"], &subscribed(&["t"])), ..join("d") };
    assert_eq!(join_now(&mut desk, other), Err(Error::InconsistentGroupProtocol), "a does not know it");
    let garbage = JoinGroup { protocols: protocols(&["range"], &Bytes::new()), ..join("d") };
    assert_eq!(join_now(&mut desk, garbage), Err(Error::InconsistentGroupProtocol));
    let named = JoinGroup { instance_id: Some("i".into()), ..rejoin("x", &nothing) };
    assert_eq!(join_now(&mut desk, named), Err(Error::UnknownMemberId));
    assert_eq!(desk.heartbeat(&"x".into(), 3), Err(Error::UnknownMemberId));
    assert_eq!(desk.heartbeat(&"c".into(), 2), Err(Error::UnknownMemberId), "it speaks the other protocol");
    assert_eq!(desk.heartbeat(&a, 2), Err(Error::IllegalGeneration));
    assert_eq!(sync_now(&mut desk, &a, 7), Err(Error::IllegalGeneration));
    assert_eq!(sync_now(&mut desk, "c", 2), Err(Error::UnknownMemberId));
    let mut wrong = sync(&a, 3, vec![]);
    let Request::SyncGroup(request) = &mut wrong else { panic!("no SyncGroup") };
    request.protocol = Some("mine".into());
    assert_eq!(desk.ask(wrong), Err(Error::InconsistentGroupProtocol));
    let by = |epoch: i32| Request::OffsetCommit(commit(epoch, &a, "t", 3));
    desk.ask(by(3)).unwrap();
    assert_eq!(desk.ask(by(4)), Err(Error::IllegalGeneration));
    assert_eq!(leave(&mut desk, &["x", ""]), [Some(Error::UnknownMemberId), Some(Error::UnknownMemberId)]);
    let groups = vec![group()];
    let Ok(Reply::DescribeGroups(classic)) =
        desk.ask(Request::DescribeGroups { groups, missing_is_error: true })
    else {
        panic!("no description")
    };
    assert_eq!(classic[0].error, Some(Error::GroupIdNotFound), "it is no classic group");
}

#[test]
fn a_classic_member_has_its_time_to_join_and_to_ask() {
    let mut desk = desk();
    beat(&mut desk, joining("c", &["t"])).unwrap();
    let slow = JoinGroup { rebalance_timeout_ms: 10_000, ..rejoin("a", &Partitions::new()) };
    let lives = |desk: &mut Desk, ms: u64| {
        desk.pass(ms);
        let epoch = described(desk).members.iter().find(|m| *m.member_id == *"c").unwrap().epoch;
        beat(desk, beating("c", epoch, None)).unwrap();
        described(desk).members.len() == 2
    };
    join_now(&mut desk, slow.clone()).unwrap();
    assert!(lives(&mut desk, 9 * SECOND));
    assert!(!lives(&mut desk, 2 * SECOND), "it never asked for its assignment");
    join_now(&mut desk, slow.clone()).unwrap();
    let generation = join_now(&mut desk, slow).unwrap().generation;
    sync_now(&mut desk, "a", generation).unwrap();
    assert!(lives(&mut desk, 20 * SECOND));
    let more = ConsumerHeartbeat {
        topics: Some(vec!["t".into(), "u".into()]),
        ..beating("c", generation - 1, None)
    };
    let _ = beat(&mut desk, more);
    let other = joining("d", &["t"]);
    beat(&mut desk, other).unwrap();
    assert_eq!(desk.heartbeat(&"a".into(), generation), Err(Error::RebalanceInProgress));
    desk.pass(9 * SECOND);
    assert_eq!(desk.heartbeat(&"a".into(), generation), Err(Error::RebalanceInProgress));
    desk.pass(2 * SECOND);
    assert_eq!(desk.heartbeat(&"a".into(), generation), Err(Error::UnknownMemberId), "it never joined again");
}

#[test]
fn the_last_member_of_the_consumer_protocol_downgrades_the_group_however_it_goes() {
    for way in ["leaves", "is silent", "is removed"] {
        let mut desk = desk();
        let ids = alone(&mut desk);
        desk.ask(Request::OffsetCommit(commit(1, &ids[0], "t", 7))).unwrap();
        beat(&mut desk, joining("c", &["t"])).unwrap();
        join_now(&mut desk, rejoin(&ids[0], &Partitions::new())).unwrap();
        let own = sync_now(&mut desk, &ids[0], 2).unwrap();
        let before = desk.log.len();
        match way {
            "leaves" => drop(beat(&mut desk, beating("c", -1, None)).unwrap()),
            "is removed" => assert_eq!(leave(&mut desk, &["c"]), [None]),
            _ => {
                desk.pass(GONE / 2);
                desk.heartbeat(&ids[0], 2).unwrap();
                desk.pass(GONE / 2);
            }
        }
        assert_eq!(kinds(&mut desk), ["classic"], "{way}");
        assert_eq!(desk.state(), Some(State::PreparingRebalance));
        let all: Vec<&str> = ["-current", "-target"].into_iter().flat_map(|name| [name; 2]).collect();
        let rest = ["-target epoch", "-member", "-member", "-epoch", "classic"];
        assert_eq!(written(&desk.log[before..]), [all, rest.to_vec()].concat());
        let groups = desk.coordinator.groups.values().next().unwrap();
        assert_eq!(assigned(&groups.members[&ids[0]].assignment, &TOPICS), own, "what it has");
        assert_eq!(desk.heartbeat(&ids[0], 2), Err(Error::RebalanceInProgress));
        let joined = join_now(&mut desk, rejoin(&ids[0], &own)).unwrap();
        assert_eq!((joined.generation, &joined.leader), (3, &ids[0]), "it leads a classic group again");
        assert_eq!(fetched(desk.ask(fetch("t", false))), 7);
    }
}

#[test]
fn a_downgraded_group_rebalances_also_where_another_broker_takes_over_before() {
    let mut desk = desk();
    let ids = alone(&mut desk);
    beat(&mut desk, joining("c", &["t"])).unwrap();
    join_now(&mut desk, rejoin(&ids[0], &Partitions::new())).unwrap();
    beat(&mut desk, beating("c", -1, None)).unwrap();
    desk.crash();
    know(&mut desk, &TOPICS);
    assert_eq!(desk.heartbeat(&ids[0], 2), Err(Error::RebalanceInProgress), "or c's would be nobody's");
    join_now(&mut desk, rejoin(&ids[0], &Partitions::new())).unwrap();
}

#[test]
fn who_leaves_is_gone_also_where_the_classic_group_would_be_too_large_to_be_written_down() {
    let mut desk = desk();
    let ids = classic(&mut desk, &[0..2, 2..4]);
    beat(&mut desk, joining("c", &["t"])).unwrap();
    desk.commits_at_once = false;
    let token = desk.send(Request::ConsumerHeartbeat(beating("c", -1, None)));
    desk.fail(AppendFailure::TooLarge);
    assert_eq!(desk.take(token), Some(Err(Error::UnknownServerError)));
    desk.commits_at_once = true;
    let before = desk.log.len();
    beat(&mut desk, beating("c", -1, None)).unwrap();
    assert_eq!(written(&desk.log[before..]), ["-current", "-target", "-member", "epoch"]);
    assert_eq!((kinds(&mut desk), described(&mut desk).members.len()), (vec!["consumer"], 2));
    // A smaller one can be.
    assert_eq!(leave(&mut desk, &[&ids[0]]), [None]);
    assert_eq!(kinds(&mut desk), ["classic"]);
}

#[test]
fn a_consumer_group_of_both_protocols_goes_on_after_a_crash() {
    let mut desk = desk();
    let ids = alone(&mut desk);
    beat(&mut desk, joining("c", &["t"])).unwrap();
    join_now(&mut desk, rejoin(&ids[0], &of(0, 0..4))).unwrap();
    desk.crash();
    know(&mut desk, &TOPICS);
    assert_eq!(sync_now(&mut desk, &ids[0], 1), Ok(of(0, 0..2)), "as it was told before");
    desk.pass(GONE);
    assert_eq!(
        desk.state(),
        Some(State::PreparingRebalance),
        "c was silent since; it was the last of its kind"
    );
}

#[test]
fn a_static_member_takes_its_place_under_either_protocol() {
    let mut desk = desk();
    let i = Some(InstanceId::from("i"));
    let consumer = ConsumerHeartbeat { instance_id: i.clone(), ..joining("c", &["t"]) };
    beat(&mut desk, consumer).unwrap();
    // As a classic one it is the only member, and the group a classic one without any rebalance.
    let back = JoinGroup { instance_id: i.clone(), ..rejoin("", &Partitions::new()) };
    let joined = join_now(&mut desk, back).unwrap();
    assert_eq!((joined.generation, kinds(&mut desk)), (2, vec!["classic"]));
    assert_eq!((&joined.leader, joined.members.len()), (&joined.member_id, 1), "somebody leads");
    assert_eq!(desk.state(), Some(State::Stable));
    assert_eq!(sync_now(&mut desk, &joined.member_id, 2), Ok(of(0, 0..4)));
    desk.crash();
    know(&mut desk, &TOPICS);
    assert_eq!(desk.state(), Some(State::Stable), "a crash makes none either");
    // And back: nobody need say that it left.
    let again = ConsumerHeartbeat { instance_id: i.clone(), ..joining("d", &["t"]) };
    let reply = beat(&mut desk, again).unwrap();
    assert_eq!((reply.epoch, reply.assignment, kinds(&mut desk)), (2, Some(of(0, 0..4)), vec!["consumer"]));
    let old =
        Heartbeat { group: group(), generation: 2, member_id: joined.member_id.clone(), instance_id: i };
    assert_eq!(desk.ask(Request::Heartbeat(old)), Err(Error::FencedInstanceId));
}

#[test]
fn a_static_member_that_comes_back_into_an_unsettled_group_begins_a_rebalance() {
    let mut desk = desk();
    let consumer = ConsumerHeartbeat { instance_id: Some("i".into()), ..joining("c", &["t"]) };
    beat(&mut desk, consumer).unwrap();
    join_now(&mut desk, rejoin("a", &Partitions::new())).unwrap();
    assert_eq!(sync_now(&mut desk, "a", 3), Ok(Partitions::new()), "it waits for c");
    let back = JoinGroup { instance_id: Some("i".into()), ..rejoin("", &Partitions::new()) };
    join_now(&mut desk, back).unwrap();
    assert_eq!(kinds(&mut desk), ["classic"]);
    assert_eq!(desk.heartbeat(&"a".into(), 3), Err(Error::RebalanceInProgress), "or it would wait for ever");
}

#[test]
fn an_empty_consumer_group_becomes_a_classic_one_with_its_offsets() {
    let mut desk = desk();
    beat(&mut desk, joining("c", &["t"])).unwrap();
    desk.ask(Request::OffsetCommit(commit(2, "c", "t", 7))).unwrap();
    beat(&mut desk, beating("c", -1, None)).unwrap();
    assert_eq!(join_now(&mut desk, rejoin("a", &Partitions::new())), Err(Error::UnknownMemberId));
    assert_eq!(kinds(&mut desk), ["consumer"]);
    alone(&mut desk);
    assert_eq!((kinds(&mut desk), fetched(desk.ask(fetch("t", false)))), (vec!["classic"], 7));
    desk.crash();
    know(&mut desk, &TOPICS);
    assert_eq!((kinds(&mut desk), fetched(desk.ask(fetch("t", false)))), (vec!["classic"], 7));
    desk.commits_at_once = false;
}

#[test]
fn what_could_not_be_written_down_was_never_converted() {
    let mut desk = desk();
    let ids = classic(&mut desk, &[0..2, 2..4]);
    desk.commits_at_once = false;
    let token = desk.send(Request::ConsumerHeartbeat(joining("c", &["t"])));
    desk.fail(AppendFailure::Unavailable);
    assert_eq!(desk.take(token), Some(Err(Error::CoordinatorNotAvailable)));
    assert_eq!((kinds(&mut desk), desk.state()), (vec!["classic"], Some(State::Stable)));
    assert!(ids.iter().all(|id| desk.heartbeat(id, 1).is_ok()));
    assert_consistent(&desk.coordinator);
    desk.commits_at_once = true;
    beat(&mut desk, joining("c", &["t"])).unwrap();
    desk.commits_at_once = false;
    let token = desk.send(Request::ConsumerHeartbeat(beating("c", -1, None)));
    desk.fail(AppendFailure::Unavailable);
    assert_eq!(desk.take(token), Some(Err(Error::CoordinatorNotAvailable)));
    assert_eq!((kinds(&mut desk), described(&mut desk).members.len()), (vec!["consumer"], 3));
    desk.commits_at_once = true;
    desk.pass(GONE);
    assert_eq!(kinds(&mut desk), ["classic"], "it was silent; so were the others, and are gone next");
    desk.pass(2 * MINUTE);
    assert_eq!(desk.state(), Some(State::Empty));
    assert_consistent(&desk.coordinator);
}

#[test]
fn a_rebalance_that_was_under_way_goes_on_where_the_upgrade_could_not_be_written_down() {
    let mut desk = desk();
    let ids = classic(&mut desk, &[0..2, 2..4]);
    let waiting = desk.send_join(rejoin(&ids[0], &Partitions::new()));
    let newcomer = desk.send_join(rejoin("", &Partitions::new()));
    desk.commits_at_once = false;
    desk.send(Request::ConsumerHeartbeat(joining("c", &["t"])));
    for token in [waiting, newcomer] {
        assert_eq!(desk.joined(token), Some(Err(Error::RebalanceInProgress)));
    }
    desk.fail(AppendFailure::Unavailable);
    assert_eq!(desk.state(), Some(State::PreparingRebalance));
    assert_consistent(&desk.coordinator);
    desk.commits_at_once = true;
    let token = desk.send_join(rejoin(&ids[0], &Partitions::new()));
    desk.pass(61 * SECOND);
    assert_eq!(desk.joined(token).unwrap().unwrap().generation, 2, "with those who came");
}

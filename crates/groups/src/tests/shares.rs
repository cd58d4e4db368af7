//! Share groups (KIP-932), one rule after the other.

use super::{
    consumers::{id, joining as joining_consumer, know},
    desk::*,
};
use crate::*;
use model::{PartitionIndex, TopicName};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

fn joining(member: &str, topics: &[&str]) -> ShareHeartbeat {
    ShareHeartbeat {
        group: group(),
        member_id: member.into(),
        epoch: 0,
        rack_id: None,
        topics: Some(topics.iter().map(|name| (*name).into()).collect()),
        client_id: "c".into(),
        client_host: "/127.0.0.1".into(),
        session_timeout_ms: 45_000,
        interval_ms: 5000,
        assignment_interval_ms: 0,
    }
}

fn beating(member: &str, epoch: i32) -> ShareHeartbeat {
    ShareHeartbeat { epoch, topics: None, ..joining(member, &[]) }
}

fn beat(desk: &mut Desk, request: ShareHeartbeat) -> Result<ShareHeartbeatReply, Error> {
    match desk.ask(Request::ShareHeartbeat(request))? {
        Reply::ShareHeartbeat(reply) => Ok(reply),
        other => panic!("{other:?}"),
    }
}

fn of(n: usize, partitions: impl IntoIterator<Item = PartitionIndex>) -> Partitions {
    Partitions::from([(id(n), partitions.into_iter().collect::<BTreeSet<_>>())])
}

fn initialized(desk: &mut Desk, partitions: Partitions, is_done: bool) {
    let request = Request::ShareInitialized { group: group(), partitions, is_done };
    assert_eq!(desk.ask(request), Ok(Reply::ShareDone));
}

fn described(desk: &mut Desk) -> ShareDescribed {
    match desk.ask(Request::ShareDescribe { groups: vec![group()] }) {
        Ok(Reply::ShareDescribe(mut groups)) => groups.remove(0),
        other => panic!("{other:?}"),
    }
}

fn desk() -> Desk {
    let mut desk = Desk::new();
    know(&mut desk, &[("t", 2), ("u", 1)]);
    desk
}

/// A desk whose group has members with all of `t`, of which the share coordinators know; and the epoch of the last.
fn desk_with(members: &[&str]) -> (Desk, i32) {
    let mut desk = desk();
    let mut epoch = 0;
    for member in members {
        let reply = beat(&mut desk, joining(member, &["t"])).unwrap();
        epoch = reply.epoch;
        if let Some((_, partitions)) = reply.initialize {
            initialized(&mut desk, partitions, true);
            epoch = beat(&mut desk, beating(member, epoch)).unwrap().epoch;
        }
    }
    (desk, epoch)
}

#[test]
fn partitions_are_assigned_once_share_coordinators_know_them() {
    let mut desk = desk();
    let reply = beat(&mut desk, joining("a", &["t"])).unwrap();
    assert_eq!((reply.epoch, reply.assignment), (2, Some(Partitions::new())));
    assert_eq!(reply.initialize, Some((2, of(0, 0..2))));
    let again = beat(&mut desk, beating("a", 2)).unwrap();
    assert_eq!((again.epoch, again.initialize), (2, None), "they are being asked");
    initialized(&mut desk, of(0, 0..2), true);
    let reply = beat(&mut desk, beating("a", 2)).unwrap();
    assert_eq!((reply.epoch, reply.assignment, reply.initialize), (3, Some(of(0, 0..2)), None));
    assert_eq!(beat(&mut desk, beating("a", 3)).unwrap().assignment, None);
    let group = described(&mut desk);
    assert_eq!((group.state, group.epoch, group.assignment_epoch), (ShareState::Stable, 3, 3));
    assert_eq!((group.members[0].epoch, &*group.members[0].assignment[0].name), (3, "t"));
}

#[test]
fn what_could_not_be_initialised_is_tried_again() {
    let mut desk = desk();
    beat(&mut desk, joining("a", &["t"])).unwrap();
    initialized(&mut desk, of(0, 0..2), false);
    assert_eq!(beat(&mut desk, beating("a", 2)).unwrap().initialize, Some((2, of(0, 0..2))));
    // Nobody says what came of it.
    desk.pass(29 * SECOND);
    assert_eq!(beat(&mut desk, beating("a", 2)).unwrap().initialize, None);
    desk.pass(2 * SECOND);
    assert_eq!(beat(&mut desk, beating("a", 2)).unwrap().initialize, Some((2, of(0, 0..2))));
    desk.crash();
    know(&mut desk, &[("t", 2), ("u", 1)]);
    assert_eq!(beat(&mut desk, beating("a", 2)).unwrap().initialize, Some((2, of(0, 0..2))));
}

#[test]
fn several_members_share_a_partition() {
    let (mut desk, epoch) = desk_with(&["a", "b", "c"]);
    assert_eq!(epoch, 5);
    let assigned: Vec<Partitions> = described(&mut desk)
        .members
        .iter()
        .map(|member| {
            beat(
                &mut desk,
                ShareHeartbeat { topics: Some(vec!["t".into()]), ..beating(&member.member_id, member.epoch) },
            )
        })
        .map(|reply| reply.unwrap().assignment.unwrap())
        .collect();
    assert_eq!(
        assigned.iter().flat_map(|all| all.values()).flatten().count(),
        4,
        "two have each: {assigned:?}"
    );
    assert!(assigned.iter().all(|all| !all.is_empty()));
    assert_eq!(beat(&mut desk, joining("d", &["t"])), Err(Error::GroupMaxSizeReached));
}

#[test]
fn who_is_not_who_it_says_is_refused() {
    let (mut desk, epoch) = desk_with(&["a"]);
    assert_eq!(beat(&mut desk, beating("b", 1)), Err(Error::UnknownMemberId));
    assert_eq!(beat(&mut desk, beating("a", epoch + 1)), Err(Error::FencedMemberEpoch));
    assert!(beat(&mut desk, beating("a", epoch - 1)).is_ok(), "the answer may have been lost");
    let wrong = |request| matches!(request, Err(Error::InvalidRequest(_)));
    assert!(wrong(beat(&mut desk, joining("", &["t"]))));
    assert!(wrong(beat(&mut desk, joining("a", &[]))));
    assert!(wrong(beat(&mut desk, beating("a", -2))));
    assert!(wrong(beat(&mut desk, ShareHeartbeat { rack_id: Some("".into()), ..beating("a", epoch) })));
    let nobody = ShareHeartbeat { group: model::GroupId::new(""), ..beating("a", epoch) };
    assert!(wrong(beat(&mut desk, nobody)));
    let other = ShareHeartbeat { group: model::GroupId::new("other"), ..beating("a", epoch) };
    assert_eq!(beat(&mut desk, other), Err(Error::GroupIdNotFound));
}

#[test]
fn a_member_that_leaves_or_falls_silent_gives_its_partitions_to_the_others() {
    let (mut desk, epoch) = desk_with(&["a", "b"]);
    let left = beat(&mut desk, beating("a", -1)).unwrap();
    assert_eq!((left.epoch, left.assignment), (-1, None));
    assert_eq!(beat(&mut desk, beating("b", epoch)).unwrap().assignment, Some(of(0, 0..2)));
    assert_eq!(beat(&mut desk, beating("a", -1)), Err(Error::UnknownMemberId));
    desk.pass(45 * SECOND);
    let group = described(&mut desk);
    assert_eq!((group.state, group.members.len()), (ShareState::Empty, 0));
}

#[test]
fn a_group_that_everybody_has_left_owes_no_assignment() {
    let (mut desk, epoch) = desk_with(&["a"]);
    beat(&mut desk, beating("a", -1)).unwrap();
    let group = described(&mut desk);
    assert_eq!((group.state, group.epoch, group.assignment_epoch), (ShareState::Empty, epoch + 1, epoch + 1));
}

#[test]
fn new_partitions_and_deleted_topics_are_noticed() {
    let (mut desk, epoch) = desk_with(&["a"]);
    know(&mut desk, &[("t", 3), ("u", 1)]);
    let reply = beat(&mut desk, beating("a", epoch)).unwrap();
    assert_eq!(reply.initialize, Some((reply.epoch, of(0, 2..3))));
    initialized(&mut desk, of(0, 2..3), true);
    assert_eq!(beat(&mut desk, beating("a", reply.epoch)).unwrap().assignment, Some(of(0, 0..3)));
    desk.tell(Event::TopicsDeleted(vec![DeletedTopic { name: TopicName::new("t").unwrap(), id: id(0) }]));
    let partitions = desk.ask(Request::SharePartitions { group: group() });
    assert_eq!(partitions, Ok(Reply::SharePartitions(Partitions::new())));
}

#[test]
fn offsets_are_set_and_deleted_only_while_nobody_is_there() {
    let (mut desk, _) = desk_with(&["a"]);
    let alter = |desk: &mut Desk| {
        let partitions = BTreeMap::from([(id(1), (Arc::from("u"), BTreeSet::from([0])))]);
        desk.ask(Request::ShareAlterOffsets(ShareAlterOffsets { group: group(), partitions }))
    };
    let delete = |desk: &mut Desk, topics: Option<Vec<Arc<str>>>| {
        desk.ask(Request::ShareDeleteOffsets { group: group(), topics })
    };
    assert_eq!(alter(&mut desk), Err(Error::NonEmptyGroup));
    assert_eq!(delete(&mut desk, None), Err(Error::NonEmptyGroup));
    beat(&mut desk, beating("a", -1)).unwrap();
    assert_eq!(alter(&mut desk), Ok(Reply::ShareAlterOffsets { epoch: 4 }));
    initialized(&mut desk, of(1, 0..1), true);
    let both = Partitions::from([(id(0), BTreeSet::from([0, 1])), (id(1), BTreeSet::from([0]))]);
    let partitions = |desk: &mut Desk| desk.ask(Request::SharePartitions { group: group() });
    assert_eq!(partitions(&mut desk), Ok(Reply::SharePartitions(both)));
    let only_u = delete(&mut desk, Some(vec!["u".into(), "v".into()]));
    assert_eq!(only_u, Ok(Reply::SharePartitions(of(1, 0..1))));
    assert_eq!(partitions(&mut desk), Ok(Reply::SharePartitions(of(0, 0..2))));
    assert_eq!(
        delete(&mut desk, Some(vec!["u".into()])),
        Ok(Reply::SharePartitions(of(1, 0..1))),
        "it may not have been heard"
    );
    let done = Request::ShareOffsetsDeleted { group: group(), topics: BTreeSet::from([id(1)]) };
    assert_eq!(desk.ask(done), Ok(Reply::ShareDone));
    assert_eq!(delete(&mut desk, Some(vec!["u".into()])), Ok(Reply::SharePartitions(Partitions::new())));
}

#[test]
fn offsets_can_be_set_before_there_is_a_group() {
    let mut desk = desk();
    let partitions = BTreeMap::from([(id(1), (Arc::from("u"), BTreeSet::from([0])))]);
    let alter = Request::ShareAlterOffsets(ShareAlterOffsets { group: group(), partitions });
    assert_eq!(desk.ask(alter), Ok(Reply::ShareAlterOffsets { epoch: 1 }));
    initialized(&mut desk, of(1, 0..1), true);
    desk.crash();
    know(&mut desk, &[("t", 2), ("u", 1)]);
    let reply = beat(&mut desk, joining("a", &["u"])).unwrap();
    assert_eq!((reply.assignment, reply.initialize), (Some(of(1, 0..1)), None));
}

#[test]
fn a_group_has_one_kind() {
    let (mut desk, epoch) = desk_with(&["a"]);
    let consumer = desk.ask(Request::ConsumerHeartbeat(joining_consumer("a", &["t"])));
    assert_eq!(consumer, Err(Error::GroupIdNotFound));
    let listed =
        |desk: &mut Desk, types: Vec<String>| match desk.ask(Request::ListGroups { states: vec![], types }) {
            Ok(Reply::ListGroups(groups)) => groups.len(),
            other => panic!("{other:?}"),
        };
    assert_eq!((listed(&mut desk, vec!["share".into()]), listed(&mut desk, vec!["consumer".into()])), (1, 0));
    let fetch = OffsetFetch { group: group(), topics: None, member: None, require_stable: false };
    assert_eq!(desk.ask(Request::OffsetFetch(fetch)), Ok(Reply::OffsetFetch(vec![])));
    let delete = |desk: &mut Desk| match desk.ask(Request::DeleteGroups { groups: vec![group()] }) {
        Ok(Reply::DeleteGroups(mut deleted)) => deleted.remove(0).error,
        other => panic!("{other:?}"),
    };
    assert_eq!(delete(&mut desk), Some(Error::NonEmptyGroup));
    beat(&mut desk, ShareHeartbeat { epoch: -1, ..beating("a", epoch) }).unwrap();
    assert_eq!(delete(&mut desk), None);
    assert_eq!(described(&mut desk).state, ShareState::Dead);
    desk.ask(Request::ConsumerHeartbeat(joining_consumer("a", &["t"]))).unwrap();
    assert_eq!(beat(&mut desk, joining("a", &["t"])), Err(Error::GroupIdNotFound));
}

#[test]
fn what_could_not_be_written_did_not_happen() {
    let (mut desk, epoch) = desk_with(&["a"]);
    desk.commits_at_once = false;
    let token = desk.send(Request::ShareHeartbeat(joining("b", &["t"])));
    desk.fail(AppendFailure::Unavailable);
    assert!(desk.take(token).unwrap().is_err());
    desk.commits_at_once = true;
    assert_eq!(described(&mut desk).members.len(), 1);
    assert_eq!(beat(&mut desk, beating("a", epoch)).unwrap().epoch, epoch);
    beat(&mut desk, beating("a", -1)).unwrap();
    desk.commits_at_once = false;
    desk.send(Request::DeleteGroups { groups: vec![group()] });
    desk.fail(AppendFailure::Unavailable);
    desk.commits_at_once = true;
    assert_eq!(described(&mut desk).state, ShareState::Empty);
}

#[test]
fn a_group_that_was_rebuilt_is_the_same() {
    let (mut desk, epoch) = desk_with(&["a", "b"]);
    let before = described(&mut desk);
    desk.crash();
    know(&mut desk, &[("t", 2), ("u", 1)]);
    assert_eq!(described(&mut desk), before);
    assert_eq!(beat(&mut desk, beating("b", epoch)).unwrap().assignment, None);
    desk.pass(46 * SECOND);
    assert_eq!(described(&mut desk).state, ShareState::Empty, "members have their time after a crash too");
}

//! Consumer groups (KIP-848), one rule after the other.

use super::desk::*;
use crate::*;
use model::{GroupId, PartitionIndex, TopicId};
use std::{collections::BTreeSet, sync::Arc};
use stdx::Uuid;

/// Topics by name and count of partitions; a topic's id is made of its place.
#[derive(Debug)]
pub(super) struct Known(pub(super) Vec<(&'static str, PartitionIndex)>);

pub(super) fn id(n: usize) -> TopicId {
    let mut bytes = [7; 16];
    bytes[15] = n as u8;
    Uuid(bytes)
}

impl Topics for Known {
    fn version(&self) -> i64 {
        9
    }

    fn by_name(&self, name: &str) -> Option<(TopicId, PartitionIndex)> {
        let place = self.0.iter().position(|(known, _)| *known == name)?;
        Some((id(place), self.0[place].1))
    }

    fn by_id(&self, wanted: &TopicId) -> Option<(Arc<str>, PartitionIndex)> {
        let place = (0..self.0.len()).find(|place| id(*place) == *wanted)?;
        Some((self.0[place].0.into(), self.0[place].1))
    }

    fn each_name(&self, see: &mut dyn FnMut(&str)) {
        self.0.iter().for_each(|(name, _)| see(name));
    }
}

pub(super) fn know(desk: &mut Desk, topics: &[(&'static str, PartitionIndex)]) {
    desk.tell(Event::TopicsChanged(TopicsView(Arc::new(Known(topics.to_vec())))));
}

/// A member that joins and wants `topics`.
pub(super) fn joining(member: &str, topics: &[&str]) -> ConsumerHeartbeat {
    ConsumerHeartbeat {
        group: group(),
        member_id: member.into(),
        is_id_required: true,
        epoch: 0,
        instance_id: None,
        rack_id: None,
        rebalance_timeout_ms: 60_000,
        topics: Some(topics.iter().map(|name| (*name).into()).collect()),
        pattern: None,
        assignor: None,
        owned: Some(Partitions::new()),
        client_id: "c".into(),
        client_host: "/127.0.0.1".into(),
        fresh_id: Uuid([3; 16]),
        session_timeout_ms: 45_000,
        interval_ms: 5000,
    }
}

/// A member that has nothing new to say but what it has.
pub(super) fn beating(member: &str, epoch: i32, owned: Option<Partitions>) -> ConsumerHeartbeat {
    ConsumerHeartbeat { epoch, rebalance_timeout_ms: -1, topics: None, owned, ..joining(member, &[]) }
}

pub(super) fn beat(desk: &mut Desk, request: ConsumerHeartbeat) -> Result<ConsumerHeartbeatReply, Error> {
    match desk.ask(Request::ConsumerHeartbeat(request))? {
        Reply::ConsumerHeartbeat(reply) => Ok(reply),
        other => panic!("{other:?}"),
    }
}

pub(super) fn of(n: usize, partitions: impl IntoIterator<Item = PartitionIndex>) -> Partitions {
    Partitions::from([(id(n), partitions.into_iter().collect::<BTreeSet<_>>())])
}

pub(super) fn described(desk: &mut Desk) -> ConsumerDescribed {
    match desk.ask(Request::ConsumerDescribe { groups: vec![group()] }) {
        Ok(Reply::ConsumerDescribe(mut groups)) => groups.remove(0),
        other => panic!("{other:?}"),
    }
}

fn desk() -> Desk {
    let mut desk = Desk::new();
    know(&mut desk, &[("t", 4), ("u", 2)]);
    desk
}

#[test]
fn the_first_member_gets_everything_with_its_first_heartbeat() {
    let mut desk = desk();
    let reply = beat(&mut desk, joining("a", &["t"])).unwrap();
    // Kafka counts from 1, the epoch of a group without members.
    assert_eq!((reply.epoch, reply.interval_ms), (2, 5000));
    assert_eq!(reply.assignment, Some(of(0, 0..4)));
    let again = beat(&mut desk, beating("a", 2, Some(of(0, 0..4)))).unwrap();
    assert_eq!((again.epoch, again.assignment), (2, None), "nothing changed");
    assert_eq!(described(&mut desk).state, ConsumerState::Stable);
}

#[test]
fn a_partition_moves_only_when_its_owner_has_given_it_up() {
    let mut desk = desk();
    beat(&mut desk, joining("a", &["t"])).unwrap();
    let b = beat(&mut desk, joining("b", &["t"])).unwrap();
    assert_eq!((b.epoch, b.assignment), (3, Some(Partitions::new())), "all is still a's");
    let a = beat(&mut desk, beating("a", 2, Some(of(0, 0..4)))).unwrap();
    assert_eq!((a.epoch, a.assignment), (2, Some(of(0, 0..2))), "it is to give up two, in its old epoch");
    assert_eq!(described(&mut desk).state, ConsumerState::Reconciling);
    assert_eq!(beat(&mut desk, beating("b", 3, None)).unwrap().assignment, None);
    let a = beat(&mut desk, beating("a", 2, Some(of(0, 0..2)))).unwrap();
    assert_eq!((a.epoch, a.assignment), (3, None));
    let b = beat(&mut desk, beating("b", 3, None)).unwrap();
    assert_eq!((b.epoch, b.assignment), (3, Some(of(0, 2..4))));
    assert_eq!(described(&mut desk).state, ConsumerState::Stable);
}

#[test]
fn who_does_not_give_up_in_time_is_fenced() {
    let mut desk = desk();
    let slow = ConsumerHeartbeat { rebalance_timeout_ms: 10_000, ..joining("a", &["t"]) };
    beat(&mut desk, slow).unwrap();
    beat(&mut desk, joining("b", &["t"])).unwrap();
    beat(&mut desk, beating("a", 2, Some(of(0, 0..4)))).unwrap();
    desk.pass(9 * SECOND);
    beat(&mut desk, beating("a", 2, Some(of(0, 0..4)))).unwrap();
    desk.pass(2 * SECOND);
    assert_eq!(beat(&mut desk, beating("a", 2, None)), Err(Error::UnknownMemberId));
    assert_eq!(beat(&mut desk, beating("b", 3, None)).unwrap().assignment, Some(of(0, 0..4)));
}

#[test]
fn who_is_silent_is_removed_and_its_partitions_go_to_the_others() {
    let mut desk = desk();
    beat(&mut desk, joining("a", &["t"])).unwrap();
    desk.pass(20 * SECOND);
    beat(&mut desk, joining("b", &["t"])).unwrap();
    desk.pass(26 * SECOND);
    assert_eq!(beat(&mut desk, beating("a", 2, None)), Err(Error::UnknownMemberId));
    let b = beat(&mut desk, beating("b", 3, None)).unwrap();
    assert_eq!((b.epoch, b.assignment), (4, Some(of(0, 0..4))));
}

#[test]
fn after_a_crash_members_go_on_and_the_silent_ones_are_removed() {
    let mut desk = desk();
    beat(&mut desk, joining("a", &["t"])).unwrap();
    desk.crash();
    know(&mut desk, &[("t", 4), ("u", 2)]);
    let reply = beat(&mut desk, beating("a", 2, Some(of(0, 0..4)))).unwrap();
    assert_eq!((reply.epoch, reply.assignment), (2, None));
    desk.crash();
    desk.pass(46 * SECOND);
    assert_eq!(described(&mut desk).state, ConsumerState::Empty);
}

#[test]
fn an_epoch_must_be_the_members_own() {
    let mut desk = desk();
    assert_eq!(beat(&mut desk, beating("a", 6, None)), Err(Error::GroupIdNotFound));
    beat(&mut desk, joining("a", &["t"])).unwrap();
    assert_eq!(beat(&mut desk, beating("x", 2, None)), Err(Error::UnknownMemberId));
    assert_eq!(beat(&mut desk, beating("a", 3, None)), Err(Error::FencedMemberEpoch));
    // The answer that raised its epoch was lost: what it has is a part of what it may have.
    assert_eq!(beat(&mut desk, joining("a", &["t"])).unwrap().assignment, Some(of(0, 0..4)));
    let more = ConsumerHeartbeat {
        topics: Some(vec!["t".into(), "u".into()]),
        ..beating("a", 2, Some(of(0, 0..4)))
    };
    assert_eq!(beat(&mut desk, more).unwrap().epoch, 3);
    assert_eq!(beat(&mut desk, beating("a", 2, Some(of(0, 0..4)))).unwrap().epoch, 3);
    assert_eq!(beat(&mut desk, beating("a", 2, Some(of(9, 0..4)))), Err(Error::FencedMemberEpoch));
    assert_eq!(beat(&mut desk, beating("a", 2, None)), Err(Error::FencedMemberEpoch));
}

#[test]
fn a_request_that_contradicts_itself_is_refused_with_what_is_wrong() {
    let mut desk = desk();
    let mut wrong = |request: ConsumerHeartbeat| match beat(&mut desk, request) {
        Err(Error::InvalidRequest(why)) => why,
        other => panic!("{other:?}"),
    };
    let good = || joining("a", &["t"]);
    assert_eq!(wrong(ConsumerHeartbeat { member_id: "".into(), ..good() }), "MemberId can't be empty.");
    assert_eq!(wrong(ConsumerHeartbeat { group: GroupId::new(""), ..good() }), "GroupId can't be empty.");
    assert_eq!(
        wrong(ConsumerHeartbeat { instance_id: Some("".into()), ..good() }),
        "InstanceId can't be empty."
    );
    assert_eq!(wrong(ConsumerHeartbeat { rack_id: Some("".into()), ..good() }), "RackId can't be empty.");
    assert!(wrong(ConsumerHeartbeat { rebalance_timeout_ms: -1, ..good() }).contains("RebalanceTimeoutMs"));
    assert!(wrong(ConsumerHeartbeat { owned: None, ..good() }).contains("TopicPartitions"));
    assert!(wrong(ConsumerHeartbeat { topics: None, ..good() }).contains("SubscribedTopicNames"));
    assert_eq!(wrong(ConsumerHeartbeat { epoch: -2, ..good() }), "InstanceId can't be null.");
    assert_eq!(wrong(ConsumerHeartbeat { epoch: -3, ..good() }), "MemberEpoch is invalid.");
    let unknown = ConsumerHeartbeat { assignor: Some("best".into()), ..good() };
    assert_eq!(beat(&mut desk, unknown), Err(Error::UnsupportedAssignor("best".into())));
    let pattern = ConsumerHeartbeat { pattern: Some("(".into()), ..good() };
    assert!(matches!(beat(&mut desk, pattern), Err(Error::InvalidRegularExpression(_))));
    assert_eq!(described(&mut desk).error, Some(Error::GroupIdNotFound), "nobody got in");
}

#[test]
fn a_static_member_takes_up_what_it_left_and_nobody_else_moves() {
    let mut desk = desk();
    let named = |member: &str| ConsumerHeartbeat { instance_id: Some("i".into()), ..joining(member, &["t"]) };
    beat(&mut desk, named("a")).unwrap();
    assert_eq!(beat(&mut desk, named("b")), Err(Error::UnreleasedInstanceId));
    let away = ConsumerHeartbeat { epoch: -2, instance_id: Some("i".into()), ..beating("a", -2, None) };
    assert_eq!(beat(&mut desk, away).unwrap().epoch, -2);
    let back = beat(&mut desk, named("b")).unwrap();
    assert_eq!((back.epoch, back.assignment), (2, Some(of(0, 0..4))), "no new assignment was needed");
    let late = ConsumerHeartbeat { instance_id: Some("i".into()), ..beating("a", 2, None) };
    assert_eq!(beat(&mut desk, late), Err(Error::FencedInstanceId));
}

#[test]
fn who_leaves_for_good_leaves_at_once() {
    let mut desk = desk();
    beat(&mut desk, joining("a", &["t"])).unwrap();
    beat(&mut desk, joining("b", &["t"])).unwrap();
    assert_eq!(beat(&mut desk, beating("a", -1, None)).unwrap().epoch, -1);
    assert_eq!(beat(&mut desk, beating("b", 3, None)).unwrap().assignment, Some(of(0, 0..4)));
    assert_eq!(beat(&mut desk, beating("a", -1, None)), Err(Error::UnknownMemberId));
}

#[test]
fn new_partitions_and_new_topics_that_a_pattern_matches_are_assigned() {
    let mut desk = desk();
    let pattern = ConsumerHeartbeat { topics: None, pattern: Some("t.*".into()), ..joining("a", &[]) };
    assert_eq!(beat(&mut desk, pattern).unwrap().assignment, Some(of(0, 0..4)), "t, but not u");
    know(&mut desk, &[("t", 5), ("u", 2), ("tea", 1), ("at", 1)]);
    let reply = beat(&mut desk, beating("a", 2, Some(of(0, 0..4)))).unwrap();
    let mut all = of(0, 0..5);
    all.extend(of(2, 0..1));
    assert_eq!((reply.epoch, reply.assignment), (3, Some(all)), "the whole name must match");
    let none = ConsumerHeartbeat { pattern: Some("".into()), ..beating("a", 3, None) };
    assert_eq!(beat(&mut desk, none).unwrap().assignment, Some(Partitions::new()));
}

#[test]
fn members_choose_the_assignor_by_majority() {
    let mut desk = desk();
    for (member, assignor) in [("a", "range"), ("b", "range"), ("c", "uniform")] {
        let request = ConsumerHeartbeat { assignor: Some(assignor.into()), ..joining(member, &["t"]) };
        beat(&mut desk, request).unwrap();
    }
    assert_eq!(&*described(&mut desk).assignor, "range");
}

#[test]
fn a_failed_append_leaves_the_group_as_it_was() {
    let mut desk = desk();
    desk.commits_at_once = false;
    let token = desk.send(Request::ConsumerHeartbeat(joining("a", &["t"])));
    desk.fail(AppendFailure::Unavailable);
    assert_eq!(desk.take(token), Some(Err(Error::CoordinatorNotAvailable)));
    assert_eq!(desk.ask(Request::ConsumerHeartbeat(beating("a", 2, None))), Err(Error::GroupIdNotFound));
    desk.commits_at_once = true;
    beat(&mut desk, joining("a", &["t"])).unwrap();
    desk.commits_at_once = false;
    let token = desk.send(Request::ConsumerHeartbeat(joining("b", &["t"])));
    desk.fail(AppendFailure::Unavailable);
    assert_eq!(desk.take(token), Some(Err(Error::CoordinatorNotAvailable)));
    desk.commits_at_once = true;
    let reply = beat(&mut desk, beating("a", 2, Some(of(0, 0..4)))).unwrap();
    assert_eq!((reply.epoch, reply.assignment), (2, None), "b never was there");
}

#[test]
fn an_empty_classic_group_becomes_a_consumer_group_with_its_offsets() {
    let mut desk = desk();
    desk.ask(Request::OffsetCommit(commit(-1, "", "t", 3))).unwrap();
    beat(&mut desk, joining("a", &["t"])).unwrap();
    assert_eq!(fetched(desk.ask(fetch("t", false))), 3);
    desk.crash();
    know(&mut desk, &[("t", 4)]);
    assert_eq!(fetched(desk.ask(fetch("t", false))), 3);
    assert_eq!(described(&mut desk).members.len(), 1);
    let ids = desk.ask(Request::ListGroups { states: vec![], types: vec!["Consumer".into()] });
    assert!(matches!(ids, Ok(Reply::ListGroups(listed)) if listed.len() == 1));
}

#[test]
fn offsets_are_committed_in_the_members_epoch_or_since_it_has_the_partition() {
    let mut desk = desk();
    beat(&mut desk, joining("a", &["t"])).unwrap();
    let by = |epoch: i32, member: &str| {
        let mut request = commit(epoch, member, "t", 3);
        request.supports_group_id_not_found = true;
        Request::OffsetCommit(request)
    };
    desk.ask(by(2, "a")).unwrap();
    assert_eq!(desk.ask(by(3, "a")), Err(Error::StaleMemberEpoch));
    assert_eq!(desk.ask(by(2, "x")), Err(Error::UnknownMemberId));
    assert_eq!(desk.ask(by(-1, "")), Err(Error::UnknownMemberId), "it has members");
    let mut old = commit(1, "a", "t", 3);
    old.supports_group_id_not_found = false;
    assert_eq!(desk.ask(Request::OffsetCommit(old)), Err(Error::UnsupportedVersion));
    // b comes, a gives up 2 and 3 and enters epoch 3; partition 0 it has had since epoch 2.
    beat(&mut desk, joining("b", &["t"])).unwrap();
    beat(&mut desk, beating("a", 2, Some(of(0, 0..4)))).unwrap();
    beat(&mut desk, beating("a", 2, Some(of(0, 0..2)))).unwrap();
    beat(&mut desk, beating("b", 3, None)).unwrap();
    let Ok(Reply::OffsetCommit(results)) = desk.ask(by(2, "a")) else { panic!("refused as a whole") };
    assert_eq!(results[0].partitions, [(0, None)]);
    let Ok(Reply::OffsetCommit(results)) = desk.ask(by(2, "b")) else { panic!("refused as a whole") };
    assert_eq!(results[0].partitions, [(0, Some(Error::StaleMemberEpoch))]);
}

#[test]
fn only_empty_consumer_groups_are_deleted_and_with_them_their_offsets() {
    let mut desk = desk();
    beat(&mut desk, joining("a", &["t"])).unwrap();
    let delete = || Request::DeleteGroups { groups: vec![group()] };
    let error = |reply| match reply {
        Ok(Reply::DeleteGroups(mut deleted)) => deleted.remove(0).error,
        other => panic!("{other:?}"),
    };
    assert_eq!(error(desk.ask(delete())), Some(Error::NonEmptyGroup));
    beat(&mut desk, beating("a", -1, None)).unwrap();
    desk.ask(Request::OffsetCommit(commit(-1, "", "t", 3))).unwrap();
    desk.commits_at_once = false;
    let token = desk.send(delete());
    desk.fail(AppendFailure::Unavailable);
    assert_eq!(desk.take(token), Some(Err(Error::CoordinatorNotAvailable)));
    desk.commits_at_once = true;
    assert_eq!(described(&mut desk).error, None, "it is back");
    assert_eq!(error(desk.ask(delete())), None);
    assert_eq!(error(desk.ask(delete())), Some(Error::GroupIdNotFound));
    assert_eq!(desk.coordinator.offsets().count(), 0);
    desk.crash();
    assert_eq!(described(&mut desk).error, Some(Error::GroupIdNotFound));
}

#[test]
fn a_group_that_nobody_uses_expires_with_its_offsets() {
    let mut desk = desk();
    beat(&mut desk, joining("a", &["t"])).unwrap();
    let mut request = commit(2, "a", "t", 3);
    request.supports_group_id_not_found = true;
    desk.ask(Request::OffsetCommit(request)).unwrap();
    beat(&mut desk, beating("a", -1, None)).unwrap();
    desk.pass(6 * DAY);
    assert_eq!(described(&mut desk).error, None);
    desk.pass(2 * DAY);
    assert_eq!(described(&mut desk).error, Some(Error::GroupIdNotFound));
}

#[test]
fn assignments_are_not_computed_more_often_than_configured() {
    let mut desk = Desk::with(Config { consumer_assignment_interval_ms: 1000, ..config() });
    know(&mut desk, &[("t", 4)]);
    beat(&mut desk, joining("a", &["t"])).unwrap();
    let b = beat(&mut desk, joining("b", &["t"])).unwrap();
    assert_eq!(b.epoch, 2, "the target is still the old one");
    assert_eq!(described(&mut desk).state, ConsumerState::Assigning);
    desk.pass(SECOND);
    beat(&mut desk, beating("b", 2, None)).unwrap();
    assert_eq!(described(&mut desk).assignment_epoch, 3);
    // The clock is set back by an hour: nobody waits for that hour to pass again.
    desk.now.wall -= 3_600_000;
    beat(&mut desk, joining("c", &["t"])).unwrap();
    assert_eq!(described(&mut desk).assignment_epoch, 4);
}

#[test]
fn whoever_comes_to_an_empty_group_need_not_wait_for_the_next_assignment() {
    let mut desk = Desk::with(Config { consumer_assignment_interval_ms: 1000, ..config() });
    know(&mut desk, &[("t", 4)]);
    beat(&mut desk, joining("a", &["t"])).unwrap();
    beat(&mut desk, beating("a", -1, None)).unwrap();
    let group = described(&mut desk);
    assert_eq!((group.state, group.epoch, group.assignment_epoch), (ConsumerState::Empty, 3, 3));
    assert_eq!(beat(&mut desk, joining("b", &["t"])).unwrap().epoch, 4);
    desk.crash();
    assert_eq!(described(&mut desk).assignment_epoch, 4);
}

#[test]
fn a_removal_that_could_not_be_written_down_is_tried_again() {
    let mut desk = desk();
    beat(&mut desk, joining("a", &["t"])).unwrap();
    desk.commits_at_once = false;
    desk.pass(45 * SECOND);
    desk.fail(AppendFailure::Unavailable);
    desk.commits_at_once = true;
    assert_eq!(described(&mut desk).members.len(), 1, "it is back");
    desk.pass(SECOND);
    assert_eq!(described(&mut desk).members.len(), 0);
}

#[test]
fn topics_that_changed_are_looked_at_again_after_a_failed_append() {
    let mut desk = desk();
    beat(&mut desk, joining("a", &["t"])).unwrap();
    know(&mut desk, &[("t", 5), ("u", 2)]);
    desk.commits_at_once = false;
    let token = desk.send(Request::ConsumerHeartbeat(beating("a", 2, Some(of(0, 0..4)))));
    desk.fail(AppendFailure::Unavailable);
    assert_eq!(desk.take(token), Some(Err(Error::CoordinatorNotAvailable)));
    desk.commits_at_once = true;
    let reply = beat(&mut desk, beating("a", 2, Some(of(0, 0..4)))).unwrap();
    assert_eq!((reply.epoch, reply.assignment), (3, Some(of(0, 0..5))));
}

#[test]
fn an_offset_before_the_group_in_the_log_makes_no_second_group() {
    let mut desk = desk();
    desk.ask(Request::OffsetCommit(commit(-1, "", "t", 3))).unwrap();
    beat(&mut desk, joining("a", &["t"])).unwrap();
    // As compaction leaves it: the tombstone of the classic group is gone.
    desk.log.retain(|record| !matches!(record, Record::GroupRemoved { .. }));
    desk.crash();
    let listed = desk.ask(Request::ListGroups { states: vec![], types: vec![] });
    assert!(matches!(listed, Ok(Reply::ListGroups(listed)) if listed.len() == 1));
}

#[test]
fn a_second_revocation_has_its_own_time() {
    let mut desk = desk();
    let slow = ConsumerHeartbeat { rebalance_timeout_ms: 10_000, ..joining("a", &["t"]) };
    beat(&mut desk, slow).unwrap();
    beat(&mut desk, joining("b", &["t"])).unwrap();
    beat(&mut desk, beating("a", 2, Some(of(0, 0..4)))).unwrap();
    desk.pass(9 * SECOND);
    beat(&mut desk, joining("c", &["t"])).unwrap();
    beat(&mut desk, joining("d", &["t"])).unwrap();
    let told = beat(&mut desk, beating("a", 2, Some(of(0, 0..2)))).unwrap().assignment;
    assert_eq!(told.map(|told| told[&id(0)].len()), Some(1), "one more is to be given up");
    desk.pass(9 * SECOND);
    assert!(beat(&mut desk, beating("a", 2, Some(of(0, 0..1)))).is_ok());
}

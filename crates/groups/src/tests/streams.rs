//! Streams groups (KIP-1071), one rule after the other.

use super::{consumers::know, desk::*};
use crate::*;
use model::{GroupId, PartitionIndex};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// An application that reads `in`, writes the topic `re` of its own, and counts what it reads of that into a store.
pub(super) fn topology() -> Topology {
    let counts = Subtopology {
        id: "1".into(),
        repartition_source_topics: vec![internal("re", 0)],
        state_changelog_topics: vec![internal("log", 0)],
        ..Subtopology::default()
    };
    let reads = Subtopology {
        id: "0".into(),
        source_topics: vec!["in".into()],
        repartition_sink_topics: vec!["re".into()],
        ..Subtopology::default()
    };
    Topology { epoch: 0, subtopologies: vec![reads, counts] }
}

fn internal(name: &str, partitions: PartitionIndex) -> InternalTopic {
    InternalTopic { name: name.into(), partitions, ..InternalTopic::default() }
}

pub(super) const TOPICS: [(&str, PartitionIndex); 3] = [("in", 3), ("re", 3), ("log", 3)];

pub(super) fn config() -> StreamsConfig {
    StreamsConfig {
        session_timeout_ms: 45_000,
        interval_ms: 5000,
        task_offset_interval_ms: 60_000,
        acceptable_recovery_lag: 10_000,
        assignment_interval_ms: 0,
        initial_rebalance_delay_ms: 0,
        standby_replicas: 0,
        rack_aware_tags: Vec::new(),
    }
}

pub(super) fn joining(member: &str) -> StreamsHeartbeat {
    StreamsHeartbeat {
        group: group(),
        member_id: member.into(),
        epoch: 0,
        endpoint_epoch: 0,
        instance_id: None,
        rack_id: None,
        rebalance_timeout_ms: 60_000,
        topology: Some(topology()),
        owned: Some(Tasks::default()),
        process_id: Some(format!("process of {member}").as_str().into()),
        user_endpoint: None,
        client_tags: None,
        offsets: None,
        end_offsets: None,
        wants_shutdown: false,
        speaks_of_descriptions: true,
        client_id: "c".into(),
        client_host: "/127.0.0.1".into(),
        config: config(),
    }
}

/// A member that has nothing new to say but what it has.
pub(super) fn beating(member: &str, epoch: i32, owned: Option<Tasks>) -> StreamsHeartbeat {
    StreamsHeartbeat {
        epoch,
        owned,
        topology: None,
        rebalance_timeout_ms: -1,
        process_id: None,
        ..joining(member)
    }
}

fn beat(desk: &mut Desk, request: StreamsHeartbeat) -> Result<StreamsHeartbeatReply, Error> {
    match desk.ask(Request::StreamsHeartbeat(Box::new(request)))? {
        Reply::StreamsHeartbeat(reply) => Ok(*reply),
        other => panic!("{other:?}"),
    }
}

fn described(desk: &mut Desk) -> StreamsDescribed {
    match desk.ask(Request::StreamsDescribe { groups: vec![group()], with_description: true }) {
        Ok(Reply::StreamsDescribe(mut groups)) => groups.remove(0),
        other => panic!("{other:?}"),
    }
}

fn statuses(reply: &StreamsHeartbeatReply) -> Vec<StreamsStatus> {
    reply.statuses.iter().map(|(status, _)| *status).collect()
}

fn set(all: &[(&str, &[PartitionIndex])]) -> TaskSet {
    all.iter().map(|(id, tasks)| ((*id).into(), tasks.iter().copied().collect())).collect()
}

fn active(all: &[(&str, &[PartitionIndex])]) -> Tasks {
    Tasks { active: set(all), ..Tasks::default() }
}

fn count(tasks: &TaskSet) -> usize {
    tasks.values().map(BTreeSet::len).sum()
}

fn desk() -> Desk {
    let mut desk = Desk::new();
    know(&mut desk, &TOPICS);
    desk
}

#[test]
fn a_refused_request_takes_nothing_away_of_what_is_known_of_the_topology() {
    let mut desk = desk();
    let reply = beat(&mut desk, joining("a")).unwrap();
    let wrong = beating("a", reply.epoch, Some(active(&[("7", &[0])])));
    assert!(matches!(beat(&mut desk, wrong), Err(Error::InvalidRequest(_))));
    let topology = described(&mut desk).topology.unwrap();
    assert_eq!(topology.subtopologies[1].repartition_source_topics[0].partitions, 3);
}

#[test]
fn a_group_waits_for_its_topics_and_says_which_are_to_be_created() {
    let mut desk = Desk::new();
    let reply = beat(&mut desk, joining("a")).unwrap();
    assert_eq!(statuses(&reply), [StreamsStatus::MissingSourceTopics]);
    assert_eq!((reply.create.len(), described(&mut desk).state), (0, StreamsState::NotReady));
    know(&mut desk, &[("in", 3)]);
    let reply = beat(&mut desk, beating("a", reply.epoch, None)).unwrap();
    assert_eq!(statuses(&reply), [StreamsStatus::MissingInternalTopics]);
    assert_eq!(reply.create, [internal("log", 3), internal("re", 3)]);
    know(&mut desk, &[("in", 3), ("re", 3), ("log", 2)]);
    let reply = beat(&mut desk, beating("a", reply.epoch, None)).unwrap();
    assert_eq!(statuses(&reply), [StreamsStatus::IncorrectlyPartitionedTopics]);
    assert!(reply.statuses[0].1.contains("expected 3, found 2"), "{:?}", reply.statuses);
    know(&mut desk, &TOPICS);
    let reply = beat(&mut desk, beating("a", reply.epoch, None)).unwrap();
    assert_eq!(statuses(&reply), []);
    assert_eq!(reply.assignment, Some(active(&[("0", &[0, 1, 2]), ("1", &[0, 1, 2])])));
    let group = described(&mut desk);
    assert_eq!((group.state, group.epoch, group.assignment_epoch), (StreamsState::Stable, 5, 5));
    let topology = group.topology.unwrap();
    let re = &topology.subtopologies[1].repartition_source_topics[0];
    assert_eq!((&*re.name, re.partitions), ("re", 3), "what was found");
    let deleted = beat(&mut desk, beating("a", reply.epoch, Some(reply.assignment.unwrap()))).unwrap();
    assert_eq!((deleted.epoch, deleted.assignment), (5, None));
}

#[test]
fn a_second_member_gets_its_tasks_once_the_first_has_given_them_up() {
    let mut desk = desk();
    let first = beat(&mut desk, joining("a")).unwrap();
    assert_eq!(first.epoch, 2);
    let all = first.assignment.unwrap();
    let second = beat(&mut desk, joining("b")).unwrap();
    assert_eq!((second.epoch, second.assignment), (3, Some(Tasks::default())));
    assert_eq!(described(&mut desk).state, StreamsState::Reconciling);
    let told = beat(&mut desk, beating("a", 2, None)).unwrap();
    assert_eq!(told.epoch, 2, "it stays where it was until it has given tasks up");
    let kept = told.assignment.unwrap();
    assert_eq!(count(&kept.active), 3);
    let waiting = beat(&mut desk, beating("b", 3, None)).unwrap();
    assert_eq!(waiting.assignment, None);
    assert_eq!(beat(&mut desk, beating("a", 2, Some(all))).unwrap().epoch, 2, "not yet");
    assert_eq!(beat(&mut desk, beating("a", 2, Some(kept.clone()))).unwrap().epoch, 3);
    let given = beat(&mut desk, beating("b", 3, None)).unwrap();
    assert_eq!(given.epoch, 3);
    let given = given.assignment.unwrap();
    assert_eq!(count(&given.active), 3);
    assert!(given.active.iter().all(|(id, tasks)| kept.active[id].is_disjoint(tasks)));
    assert_eq!(described(&mut desk).state, StreamsState::Stable);
}

#[test]
fn who_keeps_what_it_was_told_to_give_up_is_out_after_its_rebalance_timeout() {
    let mut desk = desk();
    beat(&mut desk, joining("a")).unwrap();
    beat(&mut desk, joining("b")).unwrap();
    beat(&mut desk, beating("a", 2, None)).unwrap();
    for _ in 0..5 {
        desk.pass(10 * SECOND);
        beat(&mut desk, beating("a", 2, None)).unwrap();
        beat(&mut desk, beating("b", 3, None)).unwrap();
    }
    desk.crash();
    know(&mut desk, &TOPICS);
    for _ in 0..6 {
        desk.pass(9 * SECOND);
        beat(&mut desk, beating("a", 2, None)).unwrap();
        beat(&mut desk, beating("b", 3, None)).unwrap();
    }
    desk.pass(7 * SECOND);
    assert_eq!(beat(&mut desk, beating("a", 2, None)), Err(Error::UnknownMemberId));
    let rest = beat(&mut desk, beating("b", 3, None)).unwrap();
    assert_eq!(count(&rest.assignment.unwrap().active), 6);
}

#[test]
fn standby_tasks_lie_elsewhere_and_take_over() {
    let mut desk = desk();
    let replicas = |request: StreamsHeartbeat| StreamsHeartbeat {
        config: StreamsConfig { standby_replicas: 1, ..config() },
        ..request
    };
    let mut has = BTreeMap::new();
    for name in ["a", "b"] {
        let reply = beat(&mut desk, replicas(joining(name))).unwrap();
        has.insert(name, (reply.epoch, reply.assignment.unwrap()));
    }
    for _ in 0..4 {
        for name in ["a", "b"] {
            let (epoch, owned) = has[name].clone();
            let reply = beat(&mut desk, replicas(beating(name, epoch, Some(owned.clone())))).unwrap();
            has.insert(name, (reply.epoch, reply.assignment.unwrap_or(owned)));
        }
    }
    assert_eq!(described(&mut desk).state, StreamsState::Stable);
    let (a, b) = (&has["a"].1, &has["b"].1);
    assert_eq!((count(&a.active), count(&b.active)), (3, 3));
    assert_eq!(a.standby.get("1"), b.active.get("1"), "its copies are of what the other one runs");
    assert_eq!(b.standby.get("1"), a.active.get("1"));
    assert!(!a.standby.contains_key("0") && !b.standby.contains_key("0"), "a task without state has no copy");
    // The other one leaves: what was a copy runs, in the next answer but one.
    beat(&mut desk, replicas(beating("b", -1, None))).unwrap();
    let (mut epoch, mut owned) = has["a"].clone();
    for _ in 0..2 {
        let reply = beat(&mut desk, replicas(beating("a", epoch, Some(owned.clone())))).unwrap();
        (epoch, owned) = (reply.epoch, reply.assignment.unwrap_or(owned));
    }
    assert_eq!(owned, active(&[("0", &[0, 1, 2]), ("1", &[0, 1, 2])]));
}

#[test]
fn the_first_members_wait_for_more() {
    let mut desk = desk();
    let waits = |request: StreamsHeartbeat| StreamsHeartbeat {
        config: StreamsConfig { initial_rebalance_delay_ms: 3000, ..config() },
        ..request
    };
    let first = beat(&mut desk, waits(joining("a"))).unwrap();
    assert_eq!((first.epoch, statuses(&first)), (1, vec![StreamsStatus::AssignmentDelayed]));
    desk.pass(2 * SECOND);
    let second = beat(&mut desk, waits(joining("b"))).unwrap();
    assert_eq!((second.epoch, second.assignment), (1, Some(Tasks::default())));
    desk.pass(SECOND);
    let given = beat(&mut desk, waits(beating("a", 1, None))).unwrap();
    assert_eq!(
        (given.epoch, count(&given.assignment.unwrap().active)),
        (3, 3),
        "both have their share at once"
    );
    let given = beat(&mut desk, waits(beating("b", 1, None))).unwrap();
    assert_eq!((given.epoch, count(&given.assignment.unwrap().active)), (3, 3));
}

#[test]
fn assignments_do_not_follow_each_other_too_fast() {
    let mut desk = desk();
    let paced = |request: StreamsHeartbeat| StreamsHeartbeat {
        config: StreamsConfig { assignment_interval_ms: 5000, ..config() },
        ..request
    };
    beat(&mut desk, paced(joining("a"))).unwrap();
    let second = beat(&mut desk, paced(joining("b"))).unwrap();
    assert_eq!((second.epoch, statuses(&second)), (2, vec![StreamsStatus::AssignmentDelayed]));
    assert_eq!(described(&mut desk).state, StreamsState::Assigning);
    desk.pass(5 * SECOND);
    assert_eq!(beat(&mut desk, paced(beating("b", 2, None))).unwrap().epoch, 3);
    // The clock is set back by an hour: nobody waits for that hour to pass again.
    desk.now.wall -= 3_600_000;
    assert_eq!(statuses(&beat(&mut desk, paced(joining("c"))).unwrap()), vec![]);
}

#[test]
fn who_is_not_who_it_says_is_refused() {
    let mut desk = desk();
    let reply = beat(&mut desk, joining("a")).unwrap();
    let owned = reply.assignment.unwrap();
    assert_eq!(beat(&mut desk, beating("b", 2, None)), Err(Error::UnknownMemberId));
    assert_eq!(beat(&mut desk, beating("a", 3, None)), Err(Error::FencedMemberEpoch));
    assert_eq!(beat(&mut desk, beating("a", 1, None)), Err(Error::FencedMemberEpoch));
    let other = StreamsHeartbeat { group: GroupId::new("other"), ..beating("a", 2, None) };
    assert_eq!(beat(&mut desk, other), Err(Error::GroupIdNotFound));
    beat(&mut desk, joining("b")).unwrap();
    let kept = beat(&mut desk, beating("a", 2, None)).unwrap().assignment.unwrap();
    assert_eq!(beat(&mut desk, beating("a", 2, Some(kept.clone()))).unwrap().epoch, 3);
    let again = beat(&mut desk, beating("a", 2, Some(kept))).unwrap();
    assert_eq!(again.epoch, 3, "the answer may have been lost");
    assert_eq!(beat(&mut desk, beating("a", 2, Some(owned))), Err(Error::FencedMemberEpoch));
    for name in ["c", "d", "e", "f"] {
        beat(&mut desk, joining(name)).unwrap();
    }
    assert_eq!(beat(&mut desk, joining("g")), Err(Error::GroupMaxSizeReached));
    assert!(beat(&mut desk, joining("f")).is_ok(), "it is there already");
}

#[test]
fn nonsense_is_refused_and_leaves_no_group() {
    let mut desk = desk();
    let invalid = |desk: &mut Desk, request| {
        let result = beat(desk, request);
        assert!(matches!(result, Err(Error::InvalidRequest(_))), "{result:?}");
    };
    let unusable = |desk: &mut Desk, part: Subtopology| {
        let topology = Some(Topology { epoch: 0, subtopologies: vec![part] });
        let result = beat(desk, StreamsHeartbeat { topology, ..joining("a") });
        assert!(matches!(result, Err(Error::StreamsInvalidTopology(_))), "{result:?}");
    };
    invalid(&mut desk, joining(""));
    invalid(&mut desk, StreamsHeartbeat { group: GroupId::new(""), ..joining("a") });
    invalid(&mut desk, StreamsHeartbeat { instance_id: Some("".into()), ..joining("a") });
    invalid(&mut desk, StreamsHeartbeat { rack_id: Some("".into()), ..joining("a") });
    invalid(&mut desk, StreamsHeartbeat { rebalance_timeout_ms: -1, ..joining("a") });
    invalid(&mut desk, StreamsHeartbeat { owned: None, ..joining("a") });
    invalid(&mut desk, StreamsHeartbeat { owned: Some(active(&[("0", &[0])])), ..joining("a") });
    invalid(&mut desk, StreamsHeartbeat { topology: None, ..joining("a") });
    invalid(&mut desk, beating("a", -2, None));
    invalid(&mut desk, StreamsHeartbeat { topology: Some(topology()), ..beating("a", 3, None) });
    invalid(&mut desk, beating("a", -3, None));
    let twice = TaskOffset { subtopology: "1".into(), partition: 0, offset: 4 };
    invalid(&mut desk, StreamsHeartbeat { offsets: Some(vec![twice.clone(), twice]), ..joining("a") });
    let part = Subtopology { id: "0".into(), source_topics: vec!["in".into()], ..Subtopology::default() };
    unusable(&mut desk, Subtopology { state_changelog_topics: vec![internal("log", 3)], ..part.clone() });
    unusable(&mut desk, Subtopology { source_topics: vec![], ..part.clone() });
    unusable(&mut desk, Subtopology { repartition_source_topics: vec![internal("re", 0)], ..part.clone() });
    unusable(&mut desk, Subtopology { repartition_source_topics: vec![internal("re", -1)], ..part.clone() });
    let outside = CopartitionGroup { source_topics: vec![1], ..CopartitionGroup::default() };
    unusable(&mut desk, Subtopology { copartition_groups: vec![outside], ..part.clone() });
    let a_loop = Subtopology {
        source_topics: vec![],
        repartition_source_topics: vec![internal("re", 0)],
        repartition_sink_topics: vec!["re".into()],
        ..part.clone()
    };
    unusable(&mut desk, a_loop);
    let many = (0..20_000).map(|n| Subtopology { id: n.to_string().as_str().into(), ..part.clone() });
    know(&mut desk, &[("in", 30)]);
    let too_many = Some(Topology { epoch: 0, subtopologies: many.collect() });
    let result = beat(&mut desk, StreamsHeartbeat { topology: too_many, ..joining("a") });
    assert!(matches!(result, Err(Error::StreamsInvalidTopology(_))), "{result:?}");
    assert_eq!(described(&mut desk).error, Some(Error::GroupIdNotFound));
    assert_eq!(desk.log, [], "nothing was written");
    know(&mut desk, &TOPICS);
    beat(&mut desk, joining("a")).unwrap();
    invalid(&mut desk, beating("a", 2, Some(active(&[("0", &[3])]))));
    invalid(&mut desk, beating("a", 2, Some(active(&[("7", &[0])]))));
    let mut other = topology();
    other.subtopologies.pop();
    other.subtopologies[0].repartition_sink_topics.clear();
    invalid(&mut desk, StreamsHeartbeat { topology: Some(other), ..joining("b") });
}

#[test]
fn a_member_with_an_older_topology_is_told() {
    let mut desk = desk();
    let newer = Topology { epoch: 2, ..topology() };
    beat(&mut desk, StreamsHeartbeat { topology: Some(newer), ..joining("a") }).unwrap();
    let older = beat(&mut desk, joining("b")).unwrap();
    assert_eq!(statuses(&older), [StreamsStatus::StaleTopology]);
    assert!(!older.wants_description);
}

#[test]
fn partitions_are_counted_through_the_topics_between_subtopologies() {
    let mut desk = Desk::new();
    know(&mut desk, &[("in", 3), ("wide", 5)]);
    let part = |id: &str, sources: &[&str], own: &[&str], sinks: &[&str]| Subtopology {
        id: id.into(),
        source_topics: sources.iter().map(|name| (*name).into()).collect(),
        repartition_source_topics: own.iter().map(|name| internal(name, 0)).collect(),
        repartition_sink_topics: sinks.iter().map(|name| (*name).into()).collect(),
        state_changelog_topics: vec![internal(&format!("log{id}"), 0)],
        ..Subtopology::default()
    };
    // In an order in which the first ones cannot be counted before the last.
    let parts = vec![
        part("2", &[], &["second"], &[]),
        part("1", &["in"], &["first"], &["second"]),
        part("0", &["wide"], &[], &["first"]),
    ];
    let topology = Some(Topology { epoch: 0, subtopologies: parts.clone() });
    let reply = beat(&mut desk, StreamsHeartbeat { topology, ..joining("a") }).unwrap();
    let counts: Vec<(&str, i32)> =
        reply.create.iter().map(|topic| (&*topic.name, topic.partitions)).collect();
    let expected = [("first", 5), ("log0", 5), ("log1", 5), ("log2", 5), ("second", 5)];
    assert_eq!(counts, expected);
    // What is joined with `in` must be as wide as that.
    let mut joined = parts.clone();
    let both = CopartitionGroup {
        source_topics: vec![0],
        repartition_source_topics: vec![0],
        ..CopartitionGroup::default()
    };
    joined[1].copartition_groups = vec![both];
    let other = |parts: Vec<Subtopology>| StreamsHeartbeat {
        group: GroupId::new("other"),
        topology: Some(Topology { epoch: 0, subtopologies: parts }),
        ..joining("a")
    };
    let reply = beat(&mut desk, other(joined.clone())).unwrap();
    let first = reply.create.iter().find(|topic| &*topic.name == "first").unwrap();
    assert_eq!(first.partitions, 3);
    joined[1].repartition_source_topics[0].partitions = 4;
    let group = GroupId::new("third");
    let reply = beat(&mut desk, StreamsHeartbeat { group, ..other(joined) }).unwrap();
    assert_eq!(statuses(&reply), [StreamsStatus::IncorrectlyPartitionedTopics]);
}

#[test]
fn static_members_come_back_to_their_tasks_without_a_rebalance() {
    let mut desk = desk();
    let named = |request: StreamsHeartbeat| StreamsHeartbeat { instance_id: Some("i".into()), ..request };
    let all = beat(&mut desk, named(joining("a"))).unwrap().assignment.unwrap();
    let same_process =
        |member: &str| StreamsHeartbeat { process_id: Some("process of a".into()), ..named(joining(member)) };
    assert_eq!(beat(&mut desk, same_process("b")), Err(Error::UnreleasedInstanceId));
    let left = beat(&mut desk, named(beating("a", -2, None))).unwrap();
    assert_eq!((left.epoch, left.interval_ms), (-2, 0));
    desk.crash();
    know(&mut desk, &TOPICS);
    let back = beat(&mut desk, same_process("b")).unwrap();
    assert_eq!((back.epoch, back.assignment), (2, Some(all)));
    assert_eq!(beat(&mut desk, named(beating("a", 2, None))), Err(Error::FencedInstanceId));
    beat(&mut desk, named(beating("b", -2, None))).unwrap();
    desk.pass(46 * SECOND);
    assert_eq!(described(&mut desk).state, StreamsState::Empty, "its session was over");
}

#[test]
fn endpoints_are_told_when_they_change() {
    let mut desk = desk();
    let at = |member: &str, port| StreamsHeartbeat {
        user_endpoint: Some(Endpoint { host: "h".into(), port }),
        ..joining(member)
    };
    let first = beat(&mut desk, at("a", 1)).unwrap();
    let told = first.endpoints.unwrap();
    assert_eq!((first.endpoint_epoch, told.len(), told[0].endpoint.port), (1, 1, 1));
    let partitions: BTreeSet<PartitionIndex> = [0, 1, 2].into();
    assert_eq!(
        told[0].active,
        BTreeMap::from([("in".into(), partitions.clone()), ("re".into(), partitions)])
    );
    let heard = StreamsHeartbeat { endpoint_epoch: 1, ..beating("a", 2, None) };
    assert_eq!(beat(&mut desk, heard.clone()).unwrap().endpoints, None);
    beat(&mut desk, at("b", 2)).unwrap();
    let news = beat(&mut desk, heard).unwrap();
    assert_eq!(news.endpoints.as_ref().map(|told| told.len()), Some(2));
    let asking = |desk: &mut Desk| beat(desk, beating("a", news.epoch, None)).unwrap().endpoints.unwrap();
    assert!(Arc::ptr_eq(&asking(&mut desk), &asking(&mut desk)), "they are found once for all who ask");
}

#[test]
fn a_shutdown_is_told_to_everybody_until_all_are_gone() {
    let mut desk = desk();
    beat(&mut desk, joining("a")).unwrap();
    beat(&mut desk, joining("b")).unwrap();
    beat(&mut desk, StreamsHeartbeat { wants_shutdown: true, ..beating("b", 3, None) }).unwrap();
    let told = beat(&mut desk, beating("a", 2, None)).unwrap();
    assert_eq!(statuses(&told), [StreamsStatus::ShutdownApplication]);
    beat(&mut desk, beating("a", -1, None)).unwrap();
    beat(&mut desk, beating("b", -1, None)).unwrap();
    assert_eq!(statuses(&beat(&mut desk, joining("a")).unwrap()), []);
}

#[test]
fn missing_client_tags_are_told() {
    let mut desk = desk();
    let config = StreamsConfig { rack_aware_tags: vec!["zone".into(), "host".into()], ..config() };
    let tags = |tags: &[&str]| Some(tags.iter().map(|tag| ((*tag).into(), "x".into())).collect());
    let some = StreamsHeartbeat { client_tags: tags(&["zone"]), config: config.clone(), ..joining("a") };
    let told = beat(&mut desk, some).unwrap();
    assert_eq!(statuses(&told), [StreamsStatus::MissingClientTags]);
    assert!(told.statuses[0].1.contains("[\"host\"]"), "{:?}", told.statuses);
    let all = StreamsHeartbeat { client_tags: tags(&["zone", "host"]), config, ..joining("a") };
    assert_eq!(statuses(&beat(&mut desk, all).unwrap()), []);
}

#[test]
fn a_description_is_asked_for_now_and_then_until_it_is_there() {
    let mut desk = desk();
    assert!(beat(&mut desk, joining("a")).unwrap().wants_description);
    assert!(!beat(&mut desk, beating("a", 2, None)).unwrap().wants_description);
    desk.pass(30 * SECOND);
    assert!(beat(&mut desk, beating("a", 2, None)).unwrap().wants_description, "nobody has answered");
    assert_eq!(described(&mut desk).description, DescriptionStatus::NotStored);
    let push = |desk: &mut Desk, member: &str, epoch, description: &TopologyDescription| {
        desk.ask(Request::StreamsDescribeTopology {
            group: group(),
            member: member.into(),
            epoch,
            description: description.clone(),
        })
    };
    let source = TopologyNode {
        name: "source".into(),
        kind: NodeKind::Source(vec!["in".into()]),
        successors: vec!["sink".into()],
    };
    let one = TopologyDescription {
        subtopologies: vec![("0".into(), vec![source.clone()])],
        ..TopologyDescription::default()
    };
    assert_eq!(push(&mut desk, "b", 0, &one), Err(Error::UnknownMemberId));
    assert!(matches!(push(&mut desk, "a", 1, &one), Err(Error::InvalidRequest(_))));
    assert_eq!(push(&mut desk, "a", 0, &one), Ok(Reply::StreamsTopologyDescribed));
    assert_eq!(described(&mut desk).description, DescriptionStatus::Available(one));
    desk.pass(40 * SECOND);
    assert!(!beat(&mut desk, beating("a", 2, None)).unwrap().wants_description);
    desk.crash();
    know(&mut desk, &TOPICS);
    assert!(beat(&mut desk, beating("a", 2, None)).unwrap().wants_description, "it was in memory only");
    let many = TopologyDescription {
        subtopologies: vec![("0".into(), vec![source; 2000])],
        ..TopologyDescription::default()
    };
    let refused = push(&mut desk, "a", 0, &many);
    assert!(matches!(refused, Err(Error::StreamsTopologyDescriptionUpdateFailed(_))), "{refused:?}");
    desk.pass(44 * SECOND);
    assert!(!beat(&mut desk, beating("a", 2, None)).unwrap().wants_description, "it will not get smaller");
}

#[test]
fn offsets_of_tasks_are_shown_as_far_as_there_are_such_tasks() {
    let mut desk = desk();
    let offset = |partition, offset| TaskOffset { subtopology: "1".into(), partition, offset };
    let request = StreamsHeartbeat {
        offsets: Some(vec![offset(0, 7), offset(9, 1)]),
        end_offsets: Some(vec![offset(0, 8)]),
        ..joining("a")
    };
    beat(&mut desk, request).unwrap();
    let known = described(&mut desk).members.remove(0).offsets;
    assert_eq!(known.offsets, BTreeMap::from([("1".into(), BTreeMap::from([(0, 7)]))]));
    assert_eq!(known.end_offsets, BTreeMap::from([("1".into(), BTreeMap::from([(0, 8)]))]));
}

#[test]
fn only_who_reads_a_partition_commits_its_offset() {
    let mut desk = desk();
    beat(&mut desk, joining("a")).unwrap();
    let commit = |desk: &mut Desk, epoch, member: &str, topic: &str| match desk
        .ask(Request::OffsetCommit(commit(epoch, member, topic, 5)))
    {
        Ok(Reply::OffsetCommit(topics)) => topics[0].partitions[0].1.clone().map_or(Ok(()), Err),
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(error),
    };
    assert_eq!(commit(&mut desk, 2, "a", "in"), Ok(()));
    assert_eq!(commit(&mut desk, 3, "a", "in"), Err(Error::StaleMemberEpoch));
    assert_eq!(commit(&mut desk, 2, "b", "in"), Err(Error::UnknownMemberId));
    assert_eq!(commit(&mut desk, -1, "", "in"), Err(Error::UnknownMemberId), "the group has members");
    // A member that has had the task since before its present epoch commits under the former one, too.
    beat(&mut desk, joining("b")).unwrap();
    let kept = beat(&mut desk, beating("a", 2, None)).unwrap().assignment.unwrap();
    beat(&mut desk, beating("a", 2, Some(kept.clone()))).unwrap();
    let has_it = kept.active.get("0").is_some_and(|tasks| tasks.contains(&0));
    let expected = if has_it { Ok(()) } else { Err(Error::StaleMemberEpoch) };
    assert_eq!(commit(&mut desk, 2, "a", "in"), expected);
    assert_eq!(commit(&mut desk, 1, "a", "in"), Err(Error::StaleMemberEpoch), "nobody had it then");
    assert_eq!(commit(&mut desk, 2, "a", "strange"), Err(Error::StaleMemberEpoch));
    let member = Some((Arc::from("a"), 2));
    let fetch = |member| {
        Request::OffsetFetch(OffsetFetch { group: group(), topics: None, member, require_stable: false })
    };
    assert_eq!(desk.ask(fetch(member)), Err(Error::StaleMemberEpoch));
    assert!(desk.ask(fetch(Some((Arc::from("a"), 3)))).is_ok());
    let delete = OffsetDelete {
        group: group(),
        topics: vec![FetchTopic { topic: topic("in"), topic_id: stdx::Uuid::ZERO, partitions: vec![0] }],
    };
    let deleted = desk.ask(Request::OffsetDelete(delete.clone()));
    let Ok(Reply::OffsetDelete(topics)) = deleted else { panic!("{deleted:?}") };
    assert_eq!(topics[0].partitions, [(0, Some(Error::GroupSubscribedToTopic))]);
    for (name, epoch) in [("a", -1), ("b", -1)] {
        beat(&mut desk, beating(name, epoch, None)).unwrap();
    }
    assert_eq!(commit(&mut desk, -1, "", "in"), Ok(()), "an administrator resets an application that rests");
    let Ok(Reply::OffsetDelete(topics)) = desk.ask(Request::OffsetDelete(delete)) else { panic!() };
    assert_eq!(topics[0].partitions, [(0, None)]);
}

#[test]
fn a_group_without_members_is_deleted_or_expires_and_makes_room_for_another_kind() {
    let mut desk = desk();
    let delete = |desk: &mut Desk| match desk.ask(Request::DeleteGroups { groups: vec![group()] }) {
        Ok(Reply::DeleteGroups(mut deleted)) => deleted.remove(0).error,
        other => panic!("{other:?}"),
    };
    beat(&mut desk, joining("a")).unwrap();
    assert_eq!(delete(&mut desk), Some(Error::NonEmptyGroup));
    let listed = |desk: &mut Desk, state: &str| {
        let types = vec!["streams".to_owned()];
        let Ok(Reply::ListGroups(listed)) =
            desk.ask(Request::ListGroups { states: vec![state.to_owned()], types })
        else {
            panic!()
        };
        listed.len()
    };
    assert_eq!((listed(&mut desk, "stable"), listed(&mut desk, "not_ready")), (1, 0));
    let refused = desk.send_join(join("c"));
    let refused = desk.joined(refused).unwrap();
    assert_eq!(refused, Err(Error::InconsistentGroupProtocol), "there are members of another kind");
    beat(&mut desk, beating("a", -1, None)).unwrap();
    assert_eq!(delete(&mut desk), None);
    desk.crash();
    assert_eq!(described(&mut desk).error, Some(Error::GroupIdNotFound));
    know(&mut desk, &TOPICS);
    // The streams group comes in the place of an empty classic one, and the other way round.
    beat(&mut desk, joining("a")).unwrap();
    beat(&mut desk, beating("a", -1, None)).unwrap();
    let ids = desk.stable(vec![join("c")]);
    assert_eq!(described(&mut desk).error, Some(Error::GroupIdNotFound));
    desk.crash();
    know(&mut desk, &TOPICS);
    assert_eq!(beat(&mut desk, joining("a")), Err(Error::GroupIdNotFound));
    let leaving = LeavingMember { member_id: ids[0].clone(), instance_id: None, reason: None };
    desk.ask(Request::LeaveGroup(LeaveGroup { group: group(), members: vec![leaving] })).unwrap();
    beat(&mut desk, joining("a")).unwrap();
    beat(&mut desk, beating("a", -1, None)).unwrap();
    desk.pass(11 * MINUTE);
    assert_eq!(described(&mut desk).error, Some(Error::GroupIdNotFound), "it had no offsets");
}

#[test]
fn what_could_not_be_written_did_not_happen() {
    let mut desk = desk();
    desk.commits_at_once = false;
    let token = desk.send(Request::StreamsHeartbeat(Box::new(joining("a"))));
    assert_eq!(desk.take(token), None, "it is not safe yet");
    desk.fail(AppendFailure::Unavailable);
    assert_eq!(desk.take(token), Some(Err(Error::CoordinatorNotAvailable)));
    assert_eq!(described(&mut desk).error, Some(Error::GroupIdNotFound));
    desk.commits_at_once = true;
    beat(&mut desk, joining("a")).unwrap();
    desk.commits_at_once = false;
    let token = desk.send(Request::StreamsHeartbeat(Box::new(beating("a", -1, None))));
    desk.fail(AppendFailure::Unavailable);
    assert_eq!(desk.take(token), Some(Err(Error::CoordinatorNotAvailable)));
    desk.commits_at_once = true;
    assert_eq!(described(&mut desk).state, StreamsState::Stable);
    desk.pass(46 * SECOND);
    assert_eq!(described(&mut desk).state, StreamsState::Empty, "its session was not forgotten");
    desk.crash();
    assert_eq!(described(&mut desk).state, StreamsState::Empty);
}

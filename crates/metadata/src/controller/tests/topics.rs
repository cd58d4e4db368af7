//! Topics created and deleted.

use super::*;
use crate::{DeleteTopic, NewPartitions, config::Source};

/// What becomes of one new topic in a cluster of three brokers (of which 3 is fenced) with the topic `a.b`.
fn check(topic: NewTopic, expected: &str) {
    let mut cluster = Cluster::of(3);
    cluster.create(vec![super::topic("a.b", 1, 1)]);
    let broker_epoch = cluster.epoch(3);
    cluster.ask(Request::FenceBroker { broker: 3, broker_epoch }).unwrap();
    let text = format!("{topic:?}");
    let result = cluster.create(vec![topic]).remove(0);
    let shown =
        result.as_ref().map_or_else(|_| variant(&result), |(count, factor)| format!("{count}x{factor}"));
    assert_eq!(shown, expected, "{text} {result:?}");
    assert_eq!(cluster.image().topics_count(), if result.is_ok() { 2 } else { 1 });
}

fn assigned(assignments: &[(i32, &[i32])]) -> NewTopic {
    let assignments = assignments.iter().map(|(index, replicas)| (*index, replicas.to_vec())).collect();
    NewTopic { assignments, ..topic("t", -1, -1) }
}

fn configured(configs: &[(&str, Option<&str>)]) -> NewTopic {
    let own = |(name, value): &(&str, Option<&str>)| ((*name).to_owned(), value.map(str::to_owned));
    NewTopic { configs: configs.iter().map(own).collect(), ..topic("t", 1, 1) }
}

#[test]
fn a_topic_is_created_or_refused_as_kafka_does() {
    check(topic("t", 3, 2), "3x2");
    check(topic("t", -1, -1), "1x1");
    check(topic("t", 1, 3), "1x3");
    check(topic("t", 1, 4), "InvalidReplicationFactor");
    check(topic("t", 1, 0), "InvalidReplicationFactor");
    check(topic("t", 1, -2), "InvalidReplicationFactor");
    check(topic("t", 0, 1), "InvalidPartitions");
    check(topic("t", -2, 1), "InvalidPartitions");
    check(topic("a.b", 1, 1), "TopicAlreadyExists");
    check(topic("a_b", 1, 1), "InvalidTopicException");
    check(topic("a b", 1, 1), "InvalidTopicException");
    check(topic("", 1, 1), "InvalidTopicException");
    check(topic("..", 1, 1), "InvalidTopicException");
    check(topic("__cluster_metadata", 1, 1), "InvalidRequest");
    check(NewTopic { id: TopicId::ZERO, ..topic("t", 1, 1) }, "UnknownServerError");
    check(NewTopic { id: id("a.b"), ..topic("t", 1, 1) }, "UnknownServerError");
}

#[test]
fn replicas_chosen_by_hand_are_checked() {
    check(assigned(&[(0, &[1, 2]), (1, &[2, 3])]), "2x2");
    check(assigned(&[(1, &[2]), (0, &[1])]), "2x1");
    check(assigned(&[(0, &[1]), (0, &[2])]), "InvalidReplicaAssignment");
    check(assigned(&[(0, &[1]), (2, &[2])]), "InvalidReplicaAssignment");
    check(assigned(&[(-1, &[1])]), "InvalidReplicaAssignment");
    check(assigned(&[(0, &[1]), (1, &[1, 2])]), "InvalidReplicaAssignment");
    check(assigned(&[(0, &[])]), "InvalidReplicaAssignment");
    check(assigned(&[(0, &[1, 1])]), "InvalidReplicaAssignment");
    check(assigned(&[(0, &[9])]), "InvalidReplicaAssignment");
    check(assigned(&[(0, &[3])]), "InvalidReplicaAssignment");
    check(NewTopic { partitions: 1, ..assigned(&[(0, &[1])]) }, "InvalidRequest");
    check(NewTopic { replication_factor: 1, ..assigned(&[(0, &[1])]) }, "InvalidRequest");
}

#[test]
fn the_configuration_of_a_new_topic_is_checked() {
    check(configured(&[("retention.ms", Some("5"))]), "1x1");
    check(configured(&[("retention.ms", Some("x"))]), "InvalidConfig");
    check(configured(&[("retention.ms", None)]), "InvalidConfig");
    check(configured(&[("retention", Some("5"))]), "InvalidConfig");
}

#[test]
fn a_topic_named_twice_in_a_request_is_refused_once_and_the_others_are_created() {
    let mut cluster = Cluster::of(1);
    let topics =
        vec![topic("t", 1, 1), topic("u", 1, 1), topic("t", 2, 1), topic("u.v", 1, 1), topic("u_v", 1, 1)];
    let results = cluster.create(topics);
    let shown: Vec<_> = results.iter().map(variant).collect();
    // Names collide with those of topics that exist only.
    assert_eq!(shown, ["InvalidRequest", "ok", "ok", "ok"]);
    assert_eq!(
        cluster.image().topics().map(|topic| topic.name.to_string()).collect::<Vec<_>>(),
        ["u", "u.v", "u_v"]
    );
}

#[test]
fn too_many_partitions_for_one_request_are_refused_as_a_whole() {
    let cluster = Cluster::of(1);
    let topics = vec![topic("t", 9_999, 1), topic("u", 2, 1)];
    let result = cluster.controller.handle(
        NOW,
        Request::CreateTopics { topics, validate_only: false, seed: 1, permits: Permits::Unbounded },
    );
    assert_eq!(variant(&result), "PolicyViolation");
}

#[test]
fn asking_only_what_would_happen_changes_nothing() {
    let mut cluster = Cluster::of(1);
    let request = Request::CreateTopics {
        topics: vec![topic("t", 2, 1)],
        validate_only: true,
        seed: 1,
        permits: Permits::Unbounded,
    };
    let (records, reply) = cluster.decide(request).unwrap();
    assert_eq!(records, []);
    let Reply::CreateTopics(results) = reply else { panic!() };
    assert_eq!(results[0].1.as_ref().unwrap().partitions, 2);
}

#[test]
fn the_records_come_in_kafkas_order_and_the_reply_shows_the_configuration() {
    let mut cluster = Cluster::with(1, &[("log.retention.hours", "1")]);
    let new = configured(&[("segment.ms", Some("77"))]);
    let request = Request::CreateTopics {
        topics: vec![new],
        validate_only: false,
        seed: 1,
        permits: Permits::Unbounded,
    };
    let (records, reply) = cluster.decide(request).unwrap();
    assert!(
        matches!(records.as_slice(), [Record::Topic { .. }, Record::Config { .. }, Record::Partition(_)]),
        "{records:?}"
    );
    let Reply::CreateTopics(results) = reply else { panic!() };
    let created = results[0].1.as_ref().unwrap();
    let entry = |name: &str| created.configs.iter().find(|entry| entry.name == name).unwrap();
    assert_eq!(entry("segment.ms").value.as_deref(), Some("77"));
    assert_eq!(entry("segment.ms").source, Source::DynamicTopic);
    assert_eq!(entry("retention.ms").value.as_deref(), Some("3600000"));
    let partition = cluster.image().partition("t", 0).unwrap();
    assert_eq!(partition.directories, [Uuid([0xd1; 16])]);
    assert_eq!((partition.leader, partition.leader_epoch, partition.partition_epoch), (1, 0, 0));
}

/// Deletes out of the topics t and u; each is a name, `#name` for its id, or `name#name` for both.
fn check_delete(wanted: &[&str], expected: &[&str], left: &[&str]) {
    let mut cluster = Cluster::of(1);
    cluster.create(vec![topic("t", 1, 1), topic("u", 1, 1)]);
    let topics = wanted.iter().map(|text| {
        let (name, of) = text.split_once('#').map_or((*text, None), |(name, of)| (name, Some(of)));
        DeleteTopic {
            name: Some(name.to_owned()).filter(|name| !name.is_empty()),
            id: of.map_or(TopicId::ZERO, id),
        }
    });
    let request = Request::DeleteTopics { topics: topics.collect(), permits: Permits::Unbounded };
    let Ok(Reply::DeleteTopics(results)) = cluster.ask(request) else { panic!() };
    let shown: Vec<_> = results.iter().map(|topic| variant(&topic.result)).collect();
    assert_eq!(shown, expected, "{wanted:?}");
    let names: Vec<_> = cluster.image().topics().map(|topic| topic.name.to_string()).collect();
    assert_eq!(names, left, "{wanted:?}");
}

#[test]
fn topics_are_deleted_by_name_or_id() {
    check_delete(&["t"], &["ok"], &["u"]);
    check_delete(&["#u", "t"], &["ok", "ok"], &[]);
    check_delete(&["x", "#x"], &["UnknownTopicOrPartition", "UnknownTopicId"], &["t", "u"]);
    check_delete(&["t", "t", "u"], &["InvalidRequest", "ok"], &["t"]);
    check_delete(&["x", "x", "#x", "#x"], &["InvalidRequest", "InvalidRequest"], &["t", "u"]);
    check_delete(&["t", "#t"], &["InvalidRequest"], &["t", "u"]);
    check_delete(&["t", "#t", "#t"], &["InvalidRequest", "InvalidRequest"], &["t", "u"]);
    check_delete(&["t#t", ""], &["InvalidRequest", "InvalidRequest"], &["t", "u"]);
}

#[test]
fn a_deleted_name_is_free_again_with_nothing_left_of_the_old_topic() {
    let mut cluster = Cluster::of(1);
    cluster.create(vec![NewTopic { name: "a.b".to_owned(), ..configured(&[("retention.ms", Some("5"))]) }]);
    let topics = vec![DeleteTopic { name: Some("a.b".to_owned()), id: TopicId::ZERO }];
    cluster.ask(Request::DeleteTopics { topics, permits: Permits::Unbounded }).unwrap();
    assert_eq!(cluster.create(vec![topic("a_b", 1, 1)]), [Ok((1, 1))]);
    assert_eq!(cluster.controller.configs().topic("a.b").integer("retention.ms"), 604_800_000);
}

#[test]
fn deletion_can_be_switched_off() {
    let mut cluster = Cluster::with(1, &[("delete.topic.enable", "false")]);
    let result = cluster.ask(Request::DeleteTopics { topics: Vec::new(), permits: Permits::Unbounded });
    assert_eq!(variant(&result), "TopicDeletionDisabled");
}

#[test]
fn a_strict_quota_refuses_what_comes_once_it_is_used_up() {
    let mut cluster = Cluster::of(1);
    let permits = Permits::Strict { thousandths: 2500 };
    let topics = ["a", "b", "bad name", "c"].map(|name| topic(name, 2, 1)).to_vec();
    let request = Request::CreateTopics { topics, validate_only: false, seed: 1, permits };
    let Ok(Reply::CreateTopics(results)) = cluster.ask(request) else { panic!() };
    let shown: Vec<_> = results.iter().map(|(_, result)| variant(result)).collect();
    assert_eq!(shown, ["ok", "ok", "InvalidTopicException", "ThrottlingQuotaExceeded"]);
    let add = |name: &str| NewPartitions { topic: name.to_owned(), count: 4, assignments: None };
    let topics = vec![add("a"), add("x"), add("b")];
    let request = Request::CreatePartitions {
        topics,
        validate_only: false,
        seed: 1,
        permits: Permits::Strict { thousandths: 0 },
    };
    let Ok(Reply::CreatePartitions(results)) = cluster.ask(request) else { panic!() };
    let shown: Vec<_> = results.iter().map(|(_, result)| variant(result)).collect();
    assert_eq!(shown, ["ok", "UnknownTopicOrPartition", "ThrottlingQuotaExceeded"]);
    let topics =
        ["b", "a"].map(|name| DeleteTopic { name: Some(name.to_owned()), id: TopicId::ZERO }).to_vec();
    let request = Request::DeleteTopics { topics, permits: Permits::Strict { thousandths: 1999 } };
    let Ok(Reply::DeleteTopics(results)) = cluster.ask(request) else { panic!() };
    let shown: Vec<_> = results.iter().map(|topic| (topic.partitions, variant(&topic.result))).collect();
    assert_eq!(shown, [(2, "ok".to_owned()), (0, "ThrottlingQuotaExceeded".to_owned())]);
}

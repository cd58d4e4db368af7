//! Configurations altered.

use super::*;
use crate::{ConfigChange, ConfigOperation, config::ResourceKind};

fn change(operation: &str, name: &str, value: &str) -> ConfigChange {
    let operation = match operation {
        "set" => ConfigOperation::Set,
        "delete" => ConfigOperation::Delete,
        "append" => ConfigOperation::Append,
        _ => ConfigOperation::Subtract,
    };
    ConfigChange { name: name.to_owned(), operation, value: Some(value.to_owned()) }
}

fn incremental(
    cluster: &mut Cluster,
    resource: &Resource,
    changes: &[(&str, &str, &str)],
) -> Result<(), Error> {
    let changes = changes.iter().map(|(operation, name, value)| change(operation, name, value)).collect();
    let resources = vec![(resource.clone(), changes)];
    let request = Request::IncrementalAlterConfigs { resources, validate_only: false };
    let Ok(Reply::IncrementalAlterConfigs(mut results)) = cluster.ask(request) else { panic!() };
    results.remove(0).1
}

fn cluster() -> Cluster {
    let mut cluster = Cluster::of(1);
    cluster.create(vec![topic("t", 1, 1)]);
    cluster
}

fn set(cluster: &Cluster, kind: ResourceKind, name: &str) -> Vec<String> {
    let overrides = cluster.image().overrides(kind, name).into_iter().flat_map(|set| set.iter());
    overrides.map(|(name, value)| format!("{name}={value}")).collect()
}

#[test]
fn keys_are_set_deleted_appended_and_subtracted() {
    let mut cluster = cluster();
    let resource = Resource::topic("t");
    for (changes, expected) in [
        (
            &[("set", "retention.ms", "5"), ("set", "segment.ms", "6")][..],
            &["retention.ms=5", "segment.ms=6"][..],
        ),
        (&[("delete", "retention.ms", ""), ("delete", "flush.ms", "")], &["segment.ms=6"]),
        (
            &[("append", "cleanup.policy", "compact,delete")],
            &["cleanup.policy=delete,compact", "segment.ms=6"],
        ),
        (&[("subtract", "cleanup.policy", "delete,x")], &["cleanup.policy=compact", "segment.ms=6"]),
        (&[("subtract", "cleanup.policy", "compact")], &["cleanup.policy=", "segment.ms=6"]),
        (&[("delete", "cleanup.policy", ""), ("delete", "segment.ms", "")], &[]),
    ] {
        incremental(&mut cluster, &resource, changes).unwrap();
        assert_eq!(set(&cluster, ResourceKind::Topic, "t"), expected, "{changes:?}");
    }
}

#[test]
fn a_resource_with_one_bad_change_stays_as_it_is() {
    let mut cluster = cluster();
    let good = ("set", "retention.ms", "5");
    for (resource, bad, expected) in [
        (Resource::topic("t"), ("append", "segment.ms", "5"), "InvalidConfig"),
        (Resource::topic("t"), ("append", "cleanup.policy", "x"), "InvalidConfig"),
        (Resource::topic("t"), ("set", "nothing", "5"), "InvalidConfig"),
        (Resource::topic("t"), good, "InvalidRequest"),
        (Resource::topic("x"), ("set", "segment.ms", "5"), "UnknownTopicOrPartition"),
        (Resource::topic(""), ("set", "segment.ms", "5"), "InvalidRequest"),
        (Resource::topic("a b"), ("set", "segment.ms", "5"), "InvalidTopicException"),
        (Resource::group(""), ("set", "consumer.session.timeout.ms", "50000"), "InvalidRequest"),
        (Resource::new(ResourceKind::BrokerLogger, "1"), ("set", "root", "INFO"), "InvalidRequest"),
    ] {
        let result = incremental(&mut cluster, &resource, &[good, bad]);
        assert_eq!(variant(&result), expected, "{resource:?} {bad:?} {result:?}");
        assert_eq!(set(&cluster, resource.kind, &resource.name), [""; 0]);
    }
    let unknown = incremental(&mut cluster, &Resource::broker(9), &[("set", "log.retention.ms", "5")]);
    assert_eq!(variant(&unknown), "BrokerIdNotRegistered");
}

#[test]
fn a_resource_named_twice_is_refused_both_times() {
    let cluster = cluster();
    let one = |name: &str| (Resource::topic(name), vec![change("set", "retention.ms", "5")]);
    let resources = vec![one("t"), one("t"), one("x")];
    let outcome =
        cluster.controller.handle(NOW, Request::IncrementalAlterConfigs { resources, validate_only: false });
    let outcome = outcome.unwrap();
    let Reply::IncrementalAlterConfigs(results) = outcome.reply else { panic!() };
    let shown: Vec<_> = results.iter().map(|(_, result)| variant(result)).collect();
    assert_eq!(shown, ["InvalidRequest", "InvalidRequest", "UnknownTopicOrPartition"]);
    assert_eq!(outcome.records, []);
}

#[test]
fn the_old_way_replaces_everything() {
    let mut cluster = cluster();
    let replace = |cluster: &mut Cluster, values: &[(&str, Option<&str>)]| {
        let own = |(name, value): &(&str, Option<&str>)| ((*name).to_owned(), value.map(str::to_owned));
        let resources = vec![(Resource::topic("t"), values.iter().map(own).collect())];
        let request = Request::AlterConfigs { resources, validate_only: false };
        let Ok(Reply::AlterConfigs(mut results)) = cluster.ask(request) else { panic!() };
        results.remove(0).1
    };
    replace(&mut cluster, &[("retention.ms", Some("5")), ("segment.ms", Some("6"))]).unwrap();
    replace(&mut cluster, &[("segment.ms", Some("7"))]).unwrap();
    assert_eq!(set(&cluster, ResourceKind::Topic, "t"), ["segment.ms=7"]);
    assert_eq!(variant(&replace(&mut cluster, &[("segment.ms", None)])), "InvalidRequest");
    replace(&mut cluster, &[]).unwrap();
    assert_eq!(set(&cluster, ResourceKind::Topic, "t"), [""; 0]);
}

#[test]
fn brokers_hear_of_unchanged_keys_and_topics_do_not() {
    let mut cluster = cluster();
    for (resource, name, again) in
        [(Resource::topic("t"), "retention.ms", 0), (Resource::broker(1), "log.retention.ms", 1)]
    {
        for expected in [1, again] {
            let resources = vec![(resource.clone(), vec![change("set", name, "5")])];
            let request = Request::IncrementalAlterConfigs { resources, validate_only: false };
            let (records, _) = cluster.decide(request).unwrap();
            assert_eq!(records.len(), expected, "{resource:?}");
        }
    }
    assert_eq!(cluster.controller.configs().broker().integer("log.retention.ms"), 5);
}

#[test]
fn a_new_least_isr_makes_eligible_replicas_void() {
    let mut cluster = cluster();
    for (resource, topic) in [(Resource::topic("t"), Some("t")), (Resource::all_brokers(), None)] {
        let resources = vec![(resource, vec![change("set", "min.insync.replicas", "2")])];
        let request = Request::IncrementalAlterConfigs { resources, validate_only: false };
        let (records, _) = cluster.decide(request).unwrap();
        let topic = topic.map(|name| model::TopicName::new(name).unwrap());
        assert_eq!(records.last(), Some(&Record::ClearElr { topic }));
    }
}

/// Topic t on brokers 1 and 2 with a least ISR of 2; both are fenced, so that its ISR is empty and both are eligible.
fn leaderless() -> Cluster {
    let mut cluster = Cluster::with(2, &[("min.insync.replicas", "2")]);
    cluster.create(vec![NewTopic { assignments: vec![(0, vec![1, 2])], ..topic("t", -1, -1) }]);
    fence(&mut cluster, 1, true);
    fence(&mut cluster, 2, true);
    assert_eq!(state(&cluster), (-1, vec![], vec![1, 2], 2));
    cluster
}

#[test]
fn a_new_least_isr_forgets_nobody_where_the_isr_is_empty() {
    let mut cluster = leaderless();
    cluster.create(vec![topic("u", 1, 1)]);
    let resources = vec![(Resource::all_brokers(), vec![change("set", "min.insync.replicas", "1")])];
    let request = Request::IncrementalAlterConfigs { resources, validate_only: false };
    let (records, _) = cluster.decide(request).unwrap();
    assert_eq!(records.len(), 1, "{records:?}");
    assert_eq!(state(&cluster), (-1, vec![], vec![1, 2], 2));
    fence(&mut cluster, 2, false);
    assert_eq!(state(&cluster), (2, vec![2], vec![], 3), "broker 1 is not needed any more");
}

#[test]
fn eligible_replicas_are_the_isr_once_the_feature_is_off_and_one_least_isr_comes_with_it() {
    use crate::{FeatureUpdate, FeatureUpgrade};
    let mut cluster = leaderless();
    let update = |cluster: &mut Cluster, level| {
        let upgrade = if level > 0 { FeatureUpgrade::Upgrade } else { FeatureUpgrade::SafeDowngrade };
        let update = FeatureUpdate { name: features::ELR.to_owned(), level, upgrade };
        cluster.decide(Request::UpdateFeatures { updates: vec![update], validate_only: false }).unwrap().0
    };
    assert_eq!(update(&mut cluster, 0).len(), 2);
    assert_eq!(state(&cluster), (-1, vec![1, 2], vec![], 2));
    fence(&mut cluster, 2, false);
    assert_eq!(state(&cluster), (2, vec![1, 2], vec![], 3));
    for resource in [Resource::broker(1), Resource::all_brokers()] {
        let value = (resource.name == "1").then(|| "2".to_owned());
        let name = "min.insync.replicas".to_owned();
        cluster.controller.replay(Record::Config { resource, name, value });
    }
    assert_eq!(update(&mut cluster, 1).len(), 3);
    assert_eq!(set(&cluster, ResourceKind::Broker, "1"), [""; 0]);
    assert_eq!(set(&cluster, ResourceKind::Broker, ""), ["min.insync.replicas=2"]);
}

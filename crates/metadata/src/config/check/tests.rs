//! Allowed and refused values and alterations, key by key.

use super::*;
use crate::{Image, Record, config::Statics};

fn check_key(kind: ResourceKind, name: &str, good: &[&str], bad: &[&str]) {
    let key = catalogue::find(kind, name).unwrap_or_else(|| panic!("{name}"));
    for text in good {
        assert!(check_value(key, name, text).is_ok(), "{name}={text}");
    }
    for text in bad {
        let message = check_value(key, name, text).unwrap_err();
        assert!(message.contains(name) && message.ends_with('.'), "{message}");
    }
}

#[test]
fn limits_of_topic_keys_are_kafkas() {
    let check = |name, good: &[&str], bad: &[&str]| check_key(ResourceKind::Topic, name, good, bad);
    check("retention.ms", &["-1", "0", "9223372036854775807"], &["-2", "", "1.5", "1h"]);
    check("retention.bytes", &["-5", "0"], &["x"]);
    check("segment.bytes", &["1048576"], &["1048575", "2147483648"]);
    check("compression.type", &["zstd", "producer", " gzip "], &["none", "ZSTD", ""]);
    check("compression.gzip.level", &["-1", "1", "9"], &["0", "10", "-2"]);
    check("compression.zstd.level", &["-131072", "22"], &["23", "-131073"]);
    check(
        "cleanup.policy",
        &["delete", "compact,delete", "compact , delete", ""],
        &["compact,compact", "x", "delete,"],
    );
    check("min.cleanable.dirty.ratio", &["0", "1", "0.25"], &["1.01", "-0.1", "NaN"]);
    check("leader.replication.throttled.replicas", &["", "*", "0:1,10:20"], &["0:1,*", "a:1", "1"]);
    check("message.timestamp.type", &["CreateTime", "LogAppendTime"], &["createtime"]);
    check("odradek.ack.durability", &["fsync", "page-cache"], &["none"]);
}

#[test]
fn limits_of_other_keys_are_kafkas() {
    check_key(ResourceKind::Broker, "process.roles", &["broker", "controller,broker"], &["", "observer"]);
    check_key(ResourceKind::Broker, "listeners", &["PLAINTEXT://:9092"], &["", "A://:1,A://:1"]);
    check_key(
        ResourceKind::Broker,
        "controller.quorum.voters",
        &["", "1@h:9093,2@i:1"],
        &["h:9093", "1@h", "x@h:1"],
    );
    check_key(
        ResourceKind::Broker,
        "controller.quorum.bootstrap.servers",
        &["", "h:1"],
        &["h", ":1", "h:65536"],
    );
    check_key(ResourceKind::Broker, "group.consumer.migration.policy", &["UPGRADE", "Disabled"], &["both"]);
    check_key(ResourceKind::Broker, "offsets.topic.replication.factor", &["1", "32767"], &["0", "32768"]);
    check_key(ResourceKind::Broker, "remote.log.metadata.manager.class.name", &["c"], &["", " "]);
    let reset = ["latest", "by_duration:PT1H30M", "by_duration:P2DT3.5S", "by_duration:pt0s"];
    let bad =
        ["none", "by_duration:", "by_duration:P", "by_duration:PT", "by_duration:1h", "by_duration:PT1.5H"];
    check_key(ResourceKind::Group, "share.auto.offset.reset", &reset, &bad);
}

#[test]
fn a_secret_is_not_in_the_message() {
    let key = Key {
        valid: Valid::OneOf(&["a"]),
        ..*catalogue::find(ResourceKind::Broker, "ssl.key.password").unwrap()
    };
    let message = check_value(&key, key.name, "hush").unwrap_err();
    assert!(!message.contains("hush"), "{message}");
}

/// The refusal of `name=value` set for a resource, or nothing. An empty value removes the key.
fn alter(kind: ResourceKind, resource: &str, set: &[(&str, &str)]) -> Result<(), Error> {
    let mut image = Image::new("c");
    image.apply(Record::FeatureLevel { name: crate::features::ELR.to_owned(), level: 1 });
    let statics = Statics::default();
    let configs = Configs { image: &image, statics: &statics, node: 1 };
    let names: Vec<_> = set.iter().map(|(name, _)| (*name).to_owned()).collect();
    let after = set.iter().filter(|(_, value)| !value.is_empty());
    let after = after.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    check_alteration(configs, &Resource::new(kind, resource), &after, &names)
}

#[test]
fn topics_take_known_keys_that_agree() {
    let topic = |set: &[(&str, &str)]| alter(ResourceKind::Topic, "t", set);
    assert_eq!(topic(&[("retention.ms", "5"), ("segment.ms", "5")]), Ok(()));
    let Err(Error::InvalidConfig(message)) = topic(&[("retention.sm", "5")]) else { panic!() };
    assert!(message.contains("did you mean 'retention.ms'"), "{message}");
    for bad in [
        &[("min.compaction.lag.ms", "5"), ("max.compaction.lag.ms", "4")][..],
        &[("remote.storage.enable", "true")],
        &[("retention.ms", "x")],
        &[("cleanup.policy", &"x".repeat(40_000))],
    ] {
        assert!(matches!(topic(bad), Err(Error::InvalidConfig(_))), "{bad:?}");
    }
}

#[test]
fn brokers_take_what_can_change_while_they_run() {
    let broker = |name: &str, set: (&str, &str)| alter(ResourceKind::Broker, name, &[set]);
    for (name, set) in [
        ("", ("log.retention.ms", "5")),
        ("1", ("log.retention.ms", "5")),
        ("1", ("listeners", "PLAINTEXT://:9092")),
        ("1", ("listener.name.x.ssl.keystore.location", "/k")),
        ("", ("my.plugin.key", "v")),
        ("", ("min.insync.replicas", "2")),
        ("", ("num.io.threads", "16")),
        ("", ("follower.replication.throttled.rate", "1000")),
        ("", ("odradek.ack.durability", "page-cache")),
    ] {
        assert_eq!(broker(name, set), Ok(()), "{name} {set:?}");
    }
    for (name, set) in [
        ("", ("num.partitions", "5")),
        ("", ("listeners", "PLAINTEXT://:9092")),
        ("1", ("ssl.keystore.location", "/k")),
        ("", ("log.retention.ms", "x")),
        ("", ("num.io.threads", "17")),
        ("", ("num.io.threads", "3")),
        ("x", ("log.retention.ms", "5")),
        ("-1", ("log.retention.ms", "5")),
    ] {
        assert!(matches!(broker(name, set), Err(Error::InvalidRequest(_))), "{name} {set:?}");
    }
    for (name, set) in [("1", ("min.insync.replicas", "2")), ("", ("min.insync.replicas", ""))] {
        assert!(matches!(broker(name, set), Err(Error::InvalidConfig(_))), "{name} {set:?}");
    }
}

#[test]
fn groups_stay_within_the_bounds_of_the_brokers() {
    let group = |set: &[(&str, &str)]| alter(ResourceKind::Group, "g", set);
    assert_eq!(group(&[("consumer.session.timeout.ms", "60000")]), Ok(()));
    assert_eq!(group(&[("share.isolation.level", "read_committed")]), Ok(()));
    assert_eq!(group(&[("streams.num.warmup.replicas", "20"), ("streams.assignor.name", "sticky")]), Ok(()));
    for bad in [
        ("consumer.session.timeout.ms", "60001"),
        ("consumer.session.timeout.ms", "44999"),
        ("streams.num.standby.replicas", "3"),
        ("streams.num.warmup.replicas", "21"),
        ("streams.task.offset.interval.ms", "14999"),
        ("streams.assignor.name", "mock"),
        ("share.delivery.count.limit", "1"),
        ("no.such.key", "1"),
    ] {
        assert!(matches!(group(&[bad]), Err(Error::InvalidConfig(_))), "{bad:?}");
    }
}

#[test]
fn client_metrics_subscriptions_are_checked() {
    let metrics = |set: &[(&str, &str)]| alter(ResourceKind::ClientMetrics, "m", set);
    assert_eq!(metrics(&[("interval.ms", "100"), ("match", "client_id=a.*,client_source_port = 1")]), Ok(()));
    assert!(matches!(metrics(&[("interval.ms", "99")]), Err(Error::InvalidRequest(_))));
    assert!(matches!(metrics(&[("period.ms", "100")]), Err(Error::InvalidRequest(_))));
    assert!(matches!(metrics(&[("match", "colour=red")]), Err(Error::InvalidConfig(_))));
    assert!(matches!(metrics(&[("match", "client_id")]), Err(Error::InvalidConfig(_))));
}

#[test]
fn problems_of_files_are_all_told() {
    let pair = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    let good = [("log.retention.ms", "5"), ("listener.name.x.ssl.key.password", "p"), ("rsm.config.a", "b")];
    assert_eq!(Statics::new(good.map(pair)).problems(), Vec::<String>::new());
    let bad = [("log.retention.m", "5"), ("num.partitions", "0"), ("zzz", "")];
    let problems = Statics::new(bad.map(pair)).problems();
    assert_eq!(problems.len(), 3);
    assert!(problems[0].contains("did you mean 'log.retention.ms'"), "{problems:?}");
    assert!(problems[1].contains("'num.partitions' cannot be '0'"), "{problems:?}");
    assert!(problems[2].contains("'zzz'"), "{problems:?}");
}

#[test]
fn the_selector_of_replicas_is_kafkas_or_none() {
    let with =
        |class: &str| Statics::new([("replica.selector.class".to_owned(), class.to_owned())]).problems();
    assert_eq!(with("org.apache.kafka.common.replica.RackAwareReplicaSelector"), Vec::<String>::new());
    let [told] = with("com.example.NearestReplica").try_into().unwrap();
    assert!(
        told.contains("com.example.NearestReplica") && told.contains("RackAwareReplicaSelector"),
        "{told}"
    );
}

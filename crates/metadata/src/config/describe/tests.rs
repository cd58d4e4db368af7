//! DescribeConfigs beside what Apache Kafka answers, and its order of sources.

use super::*;
use crate::{Image, Record, config::Statics};

const KAFKA: &str = include_str!("../golden/describe.tsv");

/// Defaults that differ from Kafka's on purpose (docs/decisions/0010-short-sessions.md): the key, Kafka's, ours.
const OURS: [(&str, &str, &str); 2] =
    [("broker.heartbeat.interval.ms", "2000", "200"), ("broker.session.timeout.ms", "9000", "1500")];

fn with_our_defaults(line: &str) -> String {
    let ours = OURS.iter().find(|(name, ..)| line.split('\t').nth(1) == Some(name));
    ours.map_or_else(|| line.to_owned(), |(_, kafkas, ours)| line.replace(kafkas, ours))
}

fn world(statics: &[(&str, &str)], records: Vec<Record>) -> (Image, Statics) {
    let mut image = Image::new("c");
    image.apply(Record::Topic { name: TopicName::new("t").unwrap(), id: stdx::Uuid([1; 16]) });
    records.into_iter().for_each(|record| image.apply(record));
    let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    (image, Statics::new(statics.iter().map(pair)))
}

fn set(resource: Resource, name: &str, value: &str) -> Record {
    Record::Config { resource, name: name.to_owned(), value: Some(value.to_owned()) }
}

fn source_name(source: Source) -> &'static str {
    match source {
        Source::DynamicTopic => "DYNAMIC_TOPIC_CONFIG",
        Source::DynamicBroker => "DYNAMIC_BROKER_CONFIG",
        Source::DynamicDefaultBroker => "DYNAMIC_DEFAULT_BROKER_CONFIG",
        Source::StaticBroker => "STATIC_BROKER_CONFIG",
        Source::Default => "DEFAULT_CONFIG",
        Source::ClientMetrics => "DYNAMIC_CLIENT_METRICS_CONFIG",
        Source::Group => "DYNAMIC_GROUP_CONFIG",
    }
}

fn line(resource: &str, entry: &Entry) -> String {
    let text = |value: &Option<String>| value.as_deref().unwrap_or("\\N").to_owned();
    let kind = format!("{:?}", entry.kind.unwrap()).to_uppercase();
    let mut line = format!(
        "{resource}\t{}\t{}\t{}\t{}\t{}\t{kind}",
        entry.name,
        text(&entry.value),
        source_name(entry.source),
        entry.read_only,
        entry.sensitive
    );
    for synonym in &entry.synonyms {
        line.push_str(&format!(
            "\t{}={}@{}",
            synonym.name,
            text(&synonym.value),
            source_name(synonym.source)
        ));
    }
    line
}

#[test]
fn every_entry_is_what_kafka_answers() {
    let statics: Vec<(&str, &str)> =
        KAFKA.lines().filter_map(|line| line.strip_prefix("STATIC\t")?.split_once('\t')).collect();
    let (image, statics) = world(&statics, vec![set(Resource::all_brokers(), "min.insync.replicas", "1")]);
    let configs = Configs { image: &image, statics: &statics, node: 1 };
    let resources = [
        ("BROKER:1", Resource::broker(1)),
        ("BROKER:", Resource::all_brokers()),
        ("TOPIC:t", Resource::topic("t")),
        ("GROUP:g", Resource::group("g")),
        ("CLIENT_METRICS:m", Resource::new(ResourceKind::ClientMetrics, "m")),
    ];
    let mut compared = 0;
    for (title, resource) in resources {
        let prefix = format!("{title}\t");
        let expected: Vec<String> =
            KAFKA.lines().filter(|line| line.starts_with(&prefix)).map(with_our_defaults).collect();
        let entries = configs.describe(&resource, None).unwrap();
        let entries = entries.iter().filter(|entry| !entry.name.starts_with("odradek."));
        let described: Vec<String> = entries.map(|entry| line(title, entry)).collect();
        for (ours, kafkas) in described.iter().zip(&expected) {
            assert_eq!(ours, kafkas);
        }
        assert_eq!(described.len(), expected.len(), "{title}");
        compared += described.len();
    }
    assert!(compared > 400, "{compared}");
}

fn check(statics: &[(&str, &str)], records: Vec<Record>, resource: Resource, expected: &str) {
    let (image, statics) = world(statics, records);
    let configs = Configs { image: &image, statics: &statics, node: 1 };
    let name = expected.split('\t').nth(1).unwrap().to_owned();
    let entries = configs.describe(&resource, Some(&[name])).unwrap();
    let lines: Vec<_> = entries.iter().map(|entry| line("r", entry)).collect();
    assert_eq!(lines, [expected]);
}

#[test]
fn what_was_set_nearest_to_the_resource_comes_first() {
    let records = vec![
        set(Resource::topic("t"), "segment.bytes", " 1048577 "),
        set(Resource::broker(1), "log.segment.bytes", "2000000"),
        set(Resource::all_brokers(), "log.segment.bytes", "3000000"),
    ];
    check(
        &[("log.segment.bytes", "4000000")],
        records,
        Resource::topic("t"),
        "r\tsegment.bytes\t1048577\tDYNAMIC_TOPIC_CONFIG\tfalse\tfalse\tINT\tsegment.bytes=1048577@DYNAMIC_TOPIC_CONFIG\t\
         log.segment.bytes=2000000@DYNAMIC_BROKER_CONFIG\tlog.segment.bytes=3000000@DYNAMIC_DEFAULT_BROKER_CONFIG\t\
         log.segment.bytes=4000000@STATIC_BROKER_CONFIG\tlog.segment.bytes=1073741824@DEFAULT_CONFIG",
    );
}

#[test]
fn a_secret_is_never_shown() {
    check(
        &[("ssl.key.password", "hush")],
        vec![],
        Resource::broker(1),
        "r\tssl.key.password\t\\N\tSTATIC_BROKER_CONFIG\tfalse\ttrue\tPASSWORD\tssl.key.password=\\N@STATIC_BROKER_CONFIG",
    );
    let (image, statics) = world(&[("my.plugin.password", "hush")], vec![]);
    let configs = Configs { image: &image, statics: &statics, node: 1 };
    let entries = configs.describe(&Resource::broker(1), Some(&["my.plugin.password".to_owned()])).unwrap();
    assert_eq!(
        entries.iter().map(|entry| (entry.sensitive, &entry.value)).collect::<Vec<_>>(),
        [(true, &None)]
    );
}

#[test]
fn an_internal_key_is_shown_once_it_is_set() {
    let records = vec![set(Resource::topic("t"), "internal.segment.bytes", "512")];
    check(
        &[],
        records,
        Resource::topic("t"),
        "r\tinternal.segment.bytes\t512\tDYNAMIC_TOPIC_CONFIG\tfalse\tfalse\tINT\t\
         internal.segment.bytes=512@DYNAMIC_TOPIC_CONFIG",
    );
}

#[test]
fn no_names_mean_all() {
    let (image, statics) = world(&[], vec![]);
    let configs = Configs { image: &image, statics: &statics, node: 1 };
    let describe = |names| configs.describe(&Resource::topic("t"), names).unwrap().len();
    assert_eq!(describe(Some(&[])), describe(None));
    assert_eq!(describe(Some(&["retention.ms".to_owned(), "x".to_owned()])), 1);
}

#[test]
fn what_cannot_be_described_is_refused() {
    let (image, statics) = world(&[], vec![]);
    let configs = Configs { image: &image, statics: &statics, node: 1 };
    let refuse = |resource| configs.describe(&resource, None).unwrap_err();
    assert!(matches!(refuse(Resource::topic("none")), Error::UnknownTopicOrPartition(_)));
    assert!(matches!(refuse(Resource::topic("a b")), Error::InvalidTopicException(_)));
    assert!(matches!(refuse(Resource::broker(2)), Error::InvalidRequest(_)));
    assert!(matches!(refuse(Resource::group("")), Error::InvalidRequest(_)));
}

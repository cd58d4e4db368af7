//! Metrics in Prometheus' text format, with the names of kafka_exporter where it has one.
//!
//! Everything is read when it is asked for; nothing is kept between two scrapes.

use broker::{Broker, view::PartitionView};
use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::ConstCounter, family::Family, gauge::Gauge},
    registry::Registry,
};
use std::{collections::BTreeMap, fmt};

/// What [`render`] gives.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Labels = Vec<(&'static str, String)>;
type Gauges = Family<Labels, Gauge>;

/// All metrics.
pub(crate) fn render(broker: &Broker) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    topics(broker, &mut registry);
    groups(broker, &mut registry);
    process(broker, &mut registry);
    clients(broker, &mut registry);
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

fn family(registry: &mut Registry, name: &str, help: &str) -> Gauges {
    let family = Gauges::default();
    registry.register(name, help, family.clone());
    family
}

fn topics(broker: &Broker, registry: &mut Registry) {
    let image = broker.image();
    let brokers: Gauge = Gauge::default();
    brokers.set(image.brokers_active().count() as i64);
    registry.register("kafka_brokers", "Brokers that are not fenced", brokers);
    let count = family(registry, "kafka_topic_partitions", "Partitions of a topic");
    let leader = family(registry, "kafka_topic_partition_leader", "Leader of a partition");
    let replicas = family(registry, "kafka_topic_partition_replicas", "Replicas of a partition");
    let in_sync =
        family(registry, "kafka_topic_partition_in_sync_replica", "In-sync replicas of a partition");
    for topic in image.topics() {
        count.get_or_create(&vec![("topic", topic.name.to_string())]).set(topic.partitions.len() as i64);
        for (index, partition) in topic.indexed() {
            let labels = of_partition(&topic.name, index);
            leader.get_or_create(&labels).set(i64::from(partition.leader));
            replicas.get_or_create(&labels).set(partition.replicas.len() as i64);
            in_sync.get_or_create(&labels).set(partition.isr.len() as i64);
        }
    }
    let newest = family(registry, "kafka_topic_partition_current_offset", "Newest offset of a partition");
    let oldest = family(registry, "kafka_topic_partition_oldest_offset", "Oldest offset of a partition");
    let size = family(registry, "odradek_partition_size_bytes", "Bytes of a partition's segments");
    let online = family(registry, "odradek_partition_online", "Whether a partition can be written and read");
    for view in broker.partition_views() {
        let labels = of_partition(&view.topic, view.partition);
        online.get_or_create(&labels).set(i64::from(view.offsets.is_some()));
        size.get_or_create(&labels).set(view.size_bytes as i64);
        if let Some((start, end)) = view.offsets {
            oldest.get_or_create(&labels).set(start);
            newest.get_or_create(&labels).set(end);
        }
    }
}

fn groups(broker: &Broker, registry: &mut Registry) {
    let ends: BTreeMap<(String, i32), i64> = broker
        .partition_views()
        .into_iter()
        .filter_map(|view| Some(((view.topic, view.partition), view.offsets?.1)))
        .collect();
    let (groups, offsets) = broker.group_views();
    let members = family(registry, "kafka_consumergroup_members", "Members of a group");
    for group in groups {
        members.get_or_create(&vec![("consumergroup", group.group)]).set(group.members as i64);
    }
    let current = family(registry, "kafka_consumergroup_current_offset", "Committed offset of a group");
    let lag = family(registry, "kafka_consumergroup_lag", "Records between a group's offset and the newest");
    let current_sum =
        family(registry, "kafka_consumergroup_current_offset_sum", "Sum over a topic's partitions");
    let lag_sum = family(registry, "kafka_consumergroup_lag_sum", "Sum over a topic's partitions");
    for offset in offsets {
        let sums = vec![("consumergroup", offset.group.clone()), ("topic", offset.topic.clone())];
        let mut labels = vec![("consumergroup", offset.group)];
        labels.extend(of_partition(&offset.topic, offset.partition));
        current.get_or_create(&labels).set(offset.offset);
        current_sum.get_or_create(&sums).inc_by(offset.offset);
        if let Some(end) = ends.get(&(offset.topic, offset.partition)) {
            let behind = (end - offset.offset).max(0);
            lag.get_or_create(&labels).set(behind);
            lag_sum.get_or_create(&sums).inc_by(behind);
        }
    }
}

/// What clients push (KIP-714), under the names that they give with every other character than letters, digits and `_` as `_`.
fn clients(broker: &Broker, registry: &mut Registry) {
    let instances: Gauge = Gauge::default();
    instances.set(broker.client_instance_count() as i64);
    registry.register("odradek_client_instances", "Clients that tell of themselves", instances);
    type Values = Family<Vec<(String, String)>, Gauge<f64, std::sync::atomic::AtomicU64>>;
    let mut families: BTreeMap<String, Values> = BTreeMap::new();
    for metric in broker.client_metrics() {
        let mut labels = vec![
            ("client_instance_id".to_owned(), metric.instance.to_string()),
            ("client_id".to_owned(), metric.client_id),
        ];
        for (key, value) in metric.labels {
            // Names that begin with two are Prometheus' own: no scrape with one would be taken.
            let key = match plain(&key) {
                own if own.starts_with("__") => format!("client{own}"),
                key => key,
            };
            if !labels.iter().any(|(known, _)| *known == key) {
                labels.push((key, value));
            }
        }
        // So that no client writes over what the node says of itself.
        let family = families.entry(format!("client_{}", plain(&metric.name))).or_default();
        family.get_or_create(&labels).set(metric.value);
    }
    for (name, family) in families {
        registry.register(name, "Pushed by clients", family);
    }
}

/// The text as a name in Prometheus' format.
fn plain(text: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let name: String = text.chars().map(|letter| if is_plain(letter) { letter } else { '_' }).collect();
    if name.starts_with(|first: char| first.is_ascii_digit()) || name.is_empty() {
        format!("_{name}")
    } else {
        name
    }
}

fn process(broker: &Broker, registry: &mut Registry) {
    let metrics = broker.metrics();
    let requests: Family<Labels, prometheus_client::metrics::counter::Counter> = Family::default();
    for (api, count) in metrics.requests() {
        requests.get_or_create(&vec![("api", api.to_owned())]).inc_by(count);
    }
    registry.register("odradek_requests", "Requests by API", requests);
    log_dir(broker, registry);
    let connections: Gauge = Gauge::default();
    connections.set(broker.connection_count() as i64);
    registry.register("odradek_connections", "Open connections", connections);
    let sessions: Gauge = Gauge::default();
    sessions.set(broker.fetch_session_count() as i64);
    registry.register("odradek_fetch_sessions", "Open incremental fetch sessions", sessions);
    let counters = [
        (
            "odradek_requests_refused",
            "Connections closed for a request that cannot be answered",
            &metrics.requests_refused,
        ),
        (
            "odradek_connections_refused",
            "Connections closed because there were too many",
            &metrics.connections_refused,
        ),
        (
            "odradek_connections_throttled",
            "Connections closed because too many came from their address",
            &metrics.connections_throttled,
        ),
        (
            "odradek_requests_throttled",
            "Requests whose clients were held back by their quotas",
            &metrics.requests_throttled,
        ),
        ("odradek_record_bytes_in", "Bytes of records received", &metrics.bytes_in),
        ("odradek_record_bytes_out", "Bytes of records sent", &metrics.bytes_out),
        ("odradek_batches_in", "Record batches received", &metrics.batches_in),
        (
            "odradek_catch_up_bytes",
            "Bytes of records sent to replicas that were not in sync",
            &metrics.catch_up_bytes,
        ),
    ];
    for (name, help, counter) in counters {
        registry.register(name, help, ConstCounter::new(counter.get()));
    }
    chores(broker, registry);
}

/// What is done beside the requests of clients: reading everything again, and compacting.
fn chores(broker: &Broker, registry: &mut Registry) {
    let metrics = broker.metrics();
    let counters = [
        (
            "odradek_scrub_bytes",
            "Bytes of records that were read again and found as they were written",
            &metrics.scrub.bytes,
        ),
        ("odradek_scrub_passes", "Passes of the scrub over all replicas", &metrics.scrub.passes),
        ("odradek_scrub_damaged", "Replicas that the scrub has found damaged", &metrics.scrub.damaged),
        (
            "odradek_scrub_indexes_rebuilt",
            "Indexes that did not agree with their records and were built anew",
            &metrics.scrub.indexes_rebuilt,
        ),
        (
            "odradek_cleaner_passes",
            "Passes of compaction over a partition that came to their end",
            &metrics.cleaner.passes,
        ),
        (
            "odradek_cleaner_bytes_read",
            "Bytes of records that compaction has read",
            &metrics.cleaner.bytes_read,
        ),
        (
            "odradek_cleaner_bytes_written",
            "Bytes of records that compaction has written",
            &metrics.cleaner.bytes_written,
        ),
        (
            "odradek_key_index_bytes_read",
            "Bytes of records that were read to index their keys",
            &metrics.key_index.bytes_read,
        ),
        (
            "odradek_key_index_discarded",
            "Key indexes of segments that were damaged and are built anew",
            &metrics.key_index.discarded,
        ),
        ("odradek_cleaner_damaged", "Replicas that compaction has found damaged", &metrics.cleaner.damaged),
    ];
    for (name, help, counter) in counters {
        registry.register(name, help, ConstCounter::new(counter.get()));
    }
}

/// What an operator is to be woken for, as Kafka's metrics of the same names count it.
fn log_dir(broker: &Broker, registry: &mut Registry) {
    let views = broker.partition_views();
    let count =
        |matches: fn(&PartitionView) -> bool| views.iter().filter(|view| matches(view)).count() as i64;
    let gauges = [
        (
            "kafka_log_log_manager_offline_log_directory_count",
            "Log directories that could not be opened, or in which a write or sync has failed",
            broker.offline_log_dirs() as i64,
        ),
        (
            "kafka_server_replica_manager_offline_replica_count",
            "Partitions of this node that can be neither read nor written",
            count(|view| view.offsets.is_none()),
        ),
        (
            "odradek_replicas_damaged",
            "Replicas of this node that are damaged and not yet copied anew",
            count(|view| view.is_damaged),
        ),
        (
            "odradek_scrub_progress_permille",
            "Which part of the replicas the scrub under way has verified; 1000 between passes",
            broker.metrics().scrub.progress_permille().map_or(1000, |part| part as i64),
        ),
        (
            "odradek_catch_up_bytes_per_second_max",
            "The most that replicas that are not in sync are sent, so that producers do not wait; -1: it is not bounded",
            broker.catch_up_rate().map_or(-1, |rate| i64::try_from(rate).unwrap_or(i64::MAX)),
        ),
        (
            "kafka_log_log_cleaner_manager_uncleanable_partitions_count",
            "Partitions that are not compacted any more because that failed; the log says why",
            broker.metrics().cleaner.uncleanable() as i64,
        ),
        (
            "kafka_log_log_cleaner_manager_max_dirty_percent",
            "Which part of the dirtiest compacted partition waits for compaction",
            broker.metrics().cleaner.dirty_percent_max() as i64,
        ),
        (
            "kafka_log_log_cleaner_max_compaction_delay_secs",
            "By how much records have outlived max.compaction.lag.ms at most",
            broker.metrics().cleaner.overdue_seconds_max() as i64,
        ),
        (
            "odradek_key_index_records_behind",
            "Records of topics with odradek.key.index that are not indexed yet",
            i64::try_from(broker.metrics().key_index.records_behind()).unwrap_or(i64::MAX),
        ),
        (
            "odradek_partitions_refusing_records",
            "Partitions that take no records until there is room on the disk, or descriptors",
            count(|view| view.waits_for_room),
        ),
    ];
    for (name, help, value) in gauges {
        let gauge: Gauge = Gauge::default();
        gauge.set(value);
        registry.register(name, help, gauge);
    }
}

fn of_partition(topic: &str, partition: i32) -> Labels {
    vec![("topic", topic.to_owned()), ("partition", partition.to_string())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_client_calls_its_metrics_the_names_are_plain() {
        for (name, expected) in [
            ("org.apache.kafka.x-y_z", "org_apache_kafka_x_y_z"),
            ("9a", "_9a"),
            ("", "_"),
            ("a\n{é", "a___"),
        ] {
            assert_eq!(plain(name), expected, "{name}");
        }
    }
}

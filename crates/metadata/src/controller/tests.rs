//! The controller as its host sees it: requests in, records and replies out. The files beside it are one per subject.

mod brokers;
mod clean_histories;
mod client_quotas;
mod configs;
mod directories;
mod elections;
mod histories;
mod partitions;
mod reassignments;
mod topics;

use super::*;
use crate::{FeatureRange, NewTopic, Permits, RegisterBroker};
use coordinator::Now;
use model::TopicId;
use stdx::Uuid;

const NOW: Now = Now { wall: 0, monotonic: 0 };

/// A controller together with what it was started with.
struct Cluster {
    controller: Controller,
}

impl Cluster {
    /// A started cluster with brokers 1 to `brokers`, in racks a, b, c in turn.
    fn of(brokers: i32) -> Self {
        Self::with(brokers, &[])
    }

    fn with(brokers: i32, statics: &[(&str, &str)]) -> Self {
        let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let statics = Arc::new(Statics::new(statics.iter().map(pair)));
        let mut cluster =
            Self { controller: Controller::new(Settings { cluster_id: "c".to_owned(), node: 1, statics }) };
        cluster.ask(Request::Bootstrap).unwrap();
        for id in 1..=brokers {
            cluster.ask(Request::RegisterBroker(registration(id, 1))).unwrap();
        }
        cluster
    }

    /// Asks, and replays the records.
    fn ask(&mut self, request: Request) -> Result<Reply, Error> {
        self.decide(request).map(|(_, reply)| reply)
    }

    fn decide(&mut self, request: Request) -> Result<(Vec<Record>, Reply), Error> {
        let outcome = self.controller.handle(NOW, request)?;
        outcome.records.iter().cloned().for_each(|record| self.controller.replay(record));
        check_image(self.controller.image());
        Ok((outcome.records, outcome.reply))
    }

    fn create(&mut self, topics: Vec<NewTopic>) -> Vec<Result<(i32, i16), Error>> {
        let request =
            Request::CreateTopics { topics, validate_only: false, seed: 1, permits: Permits::Unbounded };
        let Ok(Reply::CreateTopics(results)) = self.ask(request) else { panic!() };
        results
            .into_iter()
            .map(|(_, result)| result.map(|topic| (topic.partitions, topic.replication_factor)))
            .collect()
    }

    fn image(&self) -> &Image {
        self.controller.image()
    }

    fn epoch(&self, broker: NodeId) -> i64 {
        self.image().broker(broker).map_or(-1, |broker| broker.epoch)
    }
}

/// An incarnation of a broker that may lead at once.
fn registration(id: i32, incarnation: u8) -> RegisterBroker {
    RegisterBroker {
        broker: id,
        cluster_id: "c".to_owned(),
        incarnation: Uuid([incarnation; 16]),
        endpoints: Vec::new(),
        features: features::supported(),
        rack: Some(["a", "b", "c"][id as usize % 3].to_owned()),
        directories: vec![Uuid([0xd0 + id as u8; 16])],
        fenced: false,
        previous_epoch: -1,
        synced: true,
    }
}

/// A topic with an id made of its name.
fn topic(name: &str, partitions: i32, replication_factor: i16) -> NewTopic {
    NewTopic { name: name.to_owned(), id: id(name), partitions, replication_factor, ..NewTopic::default() }
}

fn id(name: &str) -> TopicId {
    let mut bytes = [9; 16];
    name.bytes()
        .enumerate()
        .for_each(|(place, byte)| bytes[place % 15] ^= byte.rotate_left(place as u32 / 15));
    Uuid(bytes)
}

/// What holds in every image that a controller can make.
fn check_image(image: &Image) {
    let mut ids = std::collections::BTreeSet::new();
    for topic in image.topics() {
        assert!(ids.insert(topic.id), "ids are unique");
        assert_eq!(image.topic(&topic.name).unwrap().id, topic.id);
        assert_eq!(image.topic_by_id(topic.id).unwrap().name, topic.name);
        assert!(!topic.partitions.is_empty());
        for partition in &topic.partitions {
            let is_replica = |id: &i32| partition.replicas.contains(id);
            let distinct: std::collections::BTreeSet<_> = partition.replicas.iter().collect();
            assert_eq!(distinct.len(), partition.replicas.len(), "{partition:?}");
            assert!(partition.adding.iter().chain(&partition.removing).all(is_replica), "{partition:?}");
            assert_eq!(partition.directories.len(), partition.replicas.len());
            assert!(partition.isr.iter().chain(&partition.elr).all(is_replica), "{partition:?}");
            assert!(!partition.elr.iter().any(|id| partition.isr.contains(id)), "{partition:?}");
            let leads =
                partition.isr.contains(&partition.leader) && can_lead(image, partition, partition.leader);
            assert!(partition.leader == -1 || leads, "{partition:?}");
            // An ISR counts before the replicas that are eligible beside it.
            let whole = if partition.isr.is_empty() { &partition.elr } else { &partition.isr };
            let available = whole.iter().any(|id| can_lead(image, partition, *id));
            assert!(partition.leader >= 0 || !available, "{partition:?}");
        }
    }
    assert_eq!(ids.len(), image.topics_count());
    for (name, _) in image.overridden(crate::config::ResourceKind::Topic) {
        assert!(image.topic(name).is_some(), "configurations go with their topic");
    }
}

/// Whether the broker of a replica is active and the replica's log directory is there.
fn can_lead(image: &Image, partition: &crate::Partition, id: NodeId) -> bool {
    let directory = partition.directory(id);
    image.is_active(id) && directory.is_some_and(|directory| image.broker(id).unwrap().has_online(directory))
}

/// The variant of an error, for tables.
fn variant<T>(result: &Result<T, Error>) -> String {
    match result {
        Ok(_) => "ok".to_owned(),
        Err(error) => format!("{error:?}").split('(').next().unwrap_or_default().to_owned(),
    }
}

#[test]
fn a_new_cluster_has_the_features_of_kafka() {
    let cluster = Cluster::with(0, &[("min.insync.replicas", "2")]);
    let levels: Vec<_> = cluster.image().features().collect();
    let expected = [
        ("eligible.leader.replicas.version", 1),
        ("group.version", 1),
        ("metadata.version", 33),
        ("share.version", 2),
        ("streams.version", 1),
        ("transaction.version", 2),
    ];
    assert_eq!(levels, expected);
    assert_eq!(cluster.controller.configs().topic("t").integer("min.insync.replicas"), 2);
    let outcome = cluster.controller.handle(NOW, Request::Bootstrap).unwrap();
    assert_eq!(outcome, Outcome::reply(Reply::Bootstrap(false)));
}

#[test]
fn producer_ids_come_in_blocks_that_never_overlap() {
    let mut cluster = Cluster::of(1);
    for first in [0, 1000, 2000] {
        let request = Request::AllocateProducerIds { broker: 1, broker_epoch: cluster.epoch(1) };
        assert_eq!(
            cluster.ask(request),
            Ok(Reply::AllocateProducerIds(crate::ProducerIds { first, count: 1000 }))
        );
    }
    let stale = cluster.ask(Request::AllocateProducerIds { broker: 1, broker_epoch: 0 });
    assert_eq!(variant(&stale), "StaleBrokerEpoch");
    let next = i64::MAX - 999;
    cluster.controller.replay(Record::ProducerIds { broker: 1, broker_epoch: 0, next });
    let request = Request::AllocateProducerIds { broker: 1, broker_epoch: cluster.epoch(1) };
    assert_eq!(variant(&cluster.ask(request)), "UnknownServerError");
}

#[test]
fn features_change_within_what_everybody_supports() {
    use crate::{FeatureUpdate, FeatureUpgrade::*};
    let mut cluster = Cluster::of(1);
    let narrow = RegisterBroker {
        features: features::supported()
            .into_iter()
            .map(|range| if range.name == "share.version" { FeatureRange { min: 1, ..range } } else { range })
            .collect(),
        ..registration(2, 1)
    };
    cluster.ask(Request::RegisterBroker(narrow)).unwrap();
    for (name, level, upgrade, expected) in [
        ("group.version", 0, Upgrade, "InvalidUpdateVersion"),
        ("group.version", 0, SafeDowngrade, "ok"),
        ("group.version", 1, SafeDowngrade, "InvalidUpdateVersion"),
        ("group.version", 1, Upgrade, "ok"),
        ("group.version", 1, Upgrade, "ok"),
        ("group.version", 2, Upgrade, "InvalidUpdateVersion"),
        ("group.version", -1, UnsafeDowngrade, "InvalidUpdateVersion"),
        ("share.version", 0, SafeDowngrade, "InvalidUpdateVersion"),
        ("share.version", 1, UnsafeDowngrade, "ok"),
        ("metadata.version", 32, SafeDowngrade, "InvalidUpdateVersion"),
        ("metadata.version", 32, UnsafeDowngrade, "InvalidUpdateVersion"),
        ("metadata.version", 33, Upgrade, "ok"),
        ("kraft.version", 1, Upgrade, "ok"),
        ("kraft.version", 0, UnsafeDowngrade, "InvalidUpdateVersion"),
        ("no.such.version", 1, Upgrade, "InvalidUpdateVersion"),
        ("no.such.version", 0, Upgrade, "InvalidUpdateVersion"),
    ] {
        let update = FeatureUpdate { name: name.to_owned(), level, upgrade };
        let before = cluster.image().feature(name);
        for validate_only in [true, false] {
            let request = Request::UpdateFeatures { updates: vec![update.clone()], validate_only };
            assert_eq!(variant(&cluster.ask(request)), expected, "{name} {level}");
            let after = if expected == "ok" && !validate_only { level } else { before };
            assert_eq!(cluster.image().feature(name), after, "{name} {level}");
        }
    }
}

#[test]
fn a_metadata_version_goes_back_only_where_it_brought_no_records() {
    use crate::{FeatureUpdate, FeatureUpgrade::*};
    let mut cluster = Cluster::of(1);
    let set = |cluster: &mut Cluster, wanted: &[(&str, i16)]| {
        let update = |(name, level): &(&str, i16)| FeatureUpdate {
            name: (*name).to_owned(),
            level: *level,
            upgrade: if *level < cluster.image().feature(name) { SafeDowngrade } else { Upgrade },
        };
        let updates = wanted.iter().map(update).collect();
        variant(&cluster.ask(Request::UpdateFeatures { updates, validate_only: false }))
    };
    cluster.controller.replay(Record::FeatureLevel { name: "metadata.version".to_owned(), level: 29 });
    for (level, expected) in
        [(22, "InvalidUpdateVersion"), (23, "ok"), (24, "ok"), (30, "ok"), (29, "InvalidUpdateVersion")]
    {
        assert_eq!(set(&mut cluster, &[("metadata.version", level)]), expected, "{level}");
    }
    cluster.controller.replay(Record::FeatureLevel { name: "metadata.version".to_owned(), level: 22 });
    let elr = features::ELR;
    assert_eq!(set(&mut cluster, &[(elr, 0)]), "ok");
    assert_eq!(set(&mut cluster, &[(elr, 1)]), "InvalidUpdateVersion", "it needs 23");
    assert_eq!(set(&mut cluster, &[(elr, 1), ("metadata.version", 23)]), "ok");
}

/// Leader, ISR, eligible replicas and leader epoch of the first partition of topic t.
fn state(cluster: &Cluster) -> (i32, Vec<i32>, Vec<i32>, i32) {
    let partition = cluster.image().partition("t", 0).unwrap();
    (partition.leader, partition.isr.clone(), partition.elr.clone(), partition.leader_epoch)
}

fn fence(cluster: &mut Cluster, broker: i32, fenced: bool) {
    let broker_epoch = cluster.epoch(broker);
    let request = if fenced {
        Request::FenceBroker { broker, broker_epoch }
    } else {
        Request::UnfenceBroker { broker, broker_epoch }
    };
    assert_eq!(cluster.ask(request), Ok(Reply::BrokerChanged));
}

/// The leader of the first partition of topic t gives it that ISR.
fn set_isr(cluster: &mut Cluster, isr: &[i32]) -> Result<crate::AlteredPartition, Error> {
    let partition = cluster.image().partition("t", 0).unwrap().clone();
    let request = crate::AlterPartition {
        broker: partition.leader,
        broker_epoch: cluster.epoch(partition.leader),
        partitions: vec![crate::IsrChange {
            topic: id("t"),
            index: 0,
            leader_epoch: partition.leader_epoch,
            partition_epoch: partition.partition_epoch,
            isr: isr.iter().map(|id| (*id, -1)).collect(),
            recovery: crate::Recovery::Recovered,
        }],
    };
    let Reply::AlterPartition(mut results) = cluster.ask(Request::AlterPartition(request))? else { panic!() };
    results.remove(0).2
}

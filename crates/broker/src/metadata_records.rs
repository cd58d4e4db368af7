//! Cluster metadata as the bytes of `__cluster_metadata`: Kafka's metadata records (KIP-631).
//!
//! A record's value is a frame version, the record's type, its version (each an unsigned varint), then the message.
//! Types that this broker does not know yet (ACLs, tokens) are refused at reading rather than dropped: a
//! broker that ignored them would serve wrongly.

use bytes::Bytes;
use metadata::{
    ControllerRegistration, Endpoint, FeatureRange, PartitionChange, PartitionRecord, Record, Recovery,
    Registration,
    client_quota::QuotaValue,
    config::{Resource, ResourceKind},
};
use model::TopicName;
use std::ops::RangeInclusive;
use stdx::{Cursor, Uuid, varint};
use wire::{
    Decoder, Encoder, Message,
    record::{
        AbortTransactionRecord, BeginTransactionRecord, BrokerRegistrationChangeRecord, ClearElrRecord,
        ClientQuotaRecord, ConfigRecord, EndTransactionRecord, FeatureLevelRecord, FenceBrokerRecord,
        NoOpRecord, PartitionChangeRecord, PartitionRecord as WirePartition, ProducerIdsRecord,
        RegisterBrokerRecord, RegisterControllerRecord, RemoveTopicRecord, TopicRecord, UnfenceBrokerRecord,
        UnregisterBrokerRecord, UnregisterControllerRecord, client_quota_record, register_broker_record,
        register_controller_record,
    },
};

const FRAME_VERSION: u64 = 1;
/// "No change" of a leader in a PartitionChangeRecord.
const LEADER_UNCHANGED: i32 = -2;
const RECOVERY_UNCHANGED: i8 = -1;

/// A record that cannot be understood.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreadable {
    /// What it says is no such record.
    #[error("metadata record of type {kind} version {version} cannot be read: {why}")]
    Malformed { kind: u32, version: u32, why: String },
    /// This program does not know its type.
    #[error("metadata record of type {kind} is not known")]
    Type { kind: u32 },
    /// ... or its version.
    #[error("{what} of version {version} is not known")]
    Version { what: String, version: u32, known: RangeInclusive<i16> },
}

/// Why the message of a record cannot be understood.
enum Problem {
    Malformed(String),
    Type,
    Version { what: &'static str, known: RangeInclusive<i16> },
}

impl<T: std::fmt::Display> From<T> for Problem {
    fn from(why: T) -> Self {
        Self::Malformed(why.to_string())
    }
}

/// The value of a metadata record.
pub(crate) fn encode(record: &Record) -> Bytes {
    match record.clone() {
        Record::RegisterBroker(broker) => {
            let version = if broker.cordoned.is_empty() { 3 } else { 4 };
            write(0, version, &register_broker(broker))
        }
        Record::UnregisterBroker { broker, broker_epoch } => {
            write(1, 0, &UnregisterBrokerRecord { broker_id: broker, broker_epoch })
        }
        Record::Topic { name, id } => write(2, 0, &TopicRecord { name: name.to_string(), topic_id: id }),
        Record::Partition(partition) => write(3, 2, &from_partition(partition)),
        Record::Config { resource, name, value } => write(
            4,
            0,
            &ConfigRecord { resource_type: resource.kind as i8, resource_name: resource.name, name, value },
        ),
        Record::PartitionChange(change) => write(5, 2, &from_change(change)),
        Record::FenceBroker { broker, broker_epoch } => {
            write(7, 0, &FenceBrokerRecord { id: broker, epoch: broker_epoch })
        }
        Record::UnfenceBroker { broker, broker_epoch } => {
            write(8, 0, &UnfenceBrokerRecord { id: broker, epoch: broker_epoch })
        }
        Record::RemoveTopic { id } => write(9, 0, &RemoveTopicRecord { topic_id: id }),
        Record::FeatureLevel { name, level } => {
            write(12, 0, &FeatureLevelRecord { name, feature_level: level })
        }
        Record::ClientQuota { entity, key, value } => {
            let entity = entity.into_iter().map(|(entity_type, entity_name)| {
                client_quota_record::EntityData { entity_type, entity_name }
            });
            let (number, remove) = (value.map_or(0.0, QuotaValue::get), value.is_none());
            write(14, 0, &ClientQuotaRecord { entity: entity.collect(), key, value: number, remove })
        }
        Record::ProducerIds { broker, broker_epoch, next } => {
            write(15, 0, &ProducerIdsRecord { broker_id: broker, broker_epoch, next_producer_id: next })
        }
        Record::BrokerChange { broker, broker_epoch, fenced, shutting_down, directories, cordoned } => {
            let change = BrokerRegistrationChangeRecord {
                broker_id: broker,
                broker_epoch,
                fenced: fenced.map_or(0, |fenced| if fenced { 1 } else { -1 }),
                in_controlled_shutdown: i8::from(shutting_down == Some(true)),
                log_dirs: directories.unwrap_or_default(),
                cordoned_log_dirs: cordoned,
            };
            write(17, if change.cordoned_log_dirs.is_some() { 3 } else { 2 }, &change)
        }
        Record::NoOp => write(20, 0, &NoOpRecord {}),
        Record::BeginTransaction { name } => write(23, 0, &BeginTransactionRecord { name }),
        Record::EndTransaction => write(24, 0, &EndTransactionRecord {}),
        Record::AbortTransaction { reason } => write(25, 0, &AbortTransactionRecord { reason }),
        Record::RegisterController(controller) => write(27, 0, &register_controller(controller)),
        Record::ClearElr { topic } => write(
            28,
            0,
            &ClearElrRecord { topic_name: topic.map(|topic| topic.to_string()).unwrap_or_default() },
        ),
        Record::UnregisterController { controller } => {
            write(29, 0, &UnregisterControllerRecord { controller_id: controller })
        }
    }
}

/// The record that a value stands for.
pub(crate) fn decode(value: &Bytes) -> Result<Record, Unreadable> {
    let mut cursor = Cursor::new(value);
    let mut head = || cursor.unsigned_varint().map_err(|error| error.to_string());
    let (frame, kind, version) = match (head(), head(), head()) {
        (Ok(frame), Ok(kind), Ok(version)) => (frame, kind, version),
        _ => return Err(Unreadable::Malformed { kind: u32::MAX, version: 0, why: "it is cut off".into() }),
    };
    if u64::from(frame) != FRAME_VERSION {
        return Err(Unreadable::Version { what: "its frame".into(), version: frame, known: 1..=1 });
    }
    let body = value.slice(cursor.position()..);
    // Kafka's versions have two bytes: what is above has none.
    let read = read_kind(kind, i16::try_from(version).unwrap_or(i16::MAX), body);
    read.map_err(|problem| match problem {
        Problem::Malformed(why) => Unreadable::Malformed { kind, version, why },
        Problem::Type => Unreadable::Type { kind },
        Problem::Version { what, known } => Unreadable::Version { what: what.into(), version, known },
    })
}

fn read_kind(kind: u32, version: i16, body: Bytes) -> Result<Record, Problem> {
    Ok(match kind {
        0 => Record::RegisterBroker(registration(read(body, version)?)),
        1 => {
            let record: UnregisterBrokerRecord = read(body, version)?;
            Record::UnregisterBroker { broker: record.broker_id, broker_epoch: record.broker_epoch }
        }
        2 => {
            let record: TopicRecord = read(body, version)?;
            let name = TopicName::new(&record.name)?;
            Record::Topic { name, id: record.topic_id }
        }
        3 => Record::Partition(to_partition(read(body, version)?)),
        4 => {
            let record: ConfigRecord = read(body, version)?;
            let kind = ResourceKind::from_number(record.resource_type)
                .ok_or_else(|| format!("there is no kind of resource {}", record.resource_type))?;
            let resource = Resource::new(kind, &record.resource_name);
            Record::Config { resource, name: record.name, value: record.value }
        }
        5 => Record::PartitionChange(to_change(read(body, version)?)),
        7 => {
            let record: FenceBrokerRecord = read(body, version)?;
            Record::FenceBroker { broker: record.id, broker_epoch: record.epoch }
        }
        8 => {
            let record: UnfenceBrokerRecord = read(body, version)?;
            Record::UnfenceBroker { broker: record.id, broker_epoch: record.epoch }
        }
        9 => Record::RemoveTopic { id: read::<RemoveTopicRecord>(body, version)?.topic_id },
        12 => {
            let record: FeatureLevelRecord = read(body, version)?;
            Record::FeatureLevel { name: record.name, level: record.feature_level }
        }
        14 => {
            let record: ClientQuotaRecord = read(body, version)?;
            let entity = record.entity.into_iter().map(|part| (part.entity_type, part.entity_name));
            let value = (!record.remove).then(|| QuotaValue::new(record.value));
            Record::ClientQuota { entity: entity.collect(), key: record.key, value }
        }
        15 => {
            let record: ProducerIdsRecord = read(body, version)?;
            let (broker, broker_epoch) = (record.broker_id, record.broker_epoch);
            Record::ProducerIds { broker, broker_epoch, next: record.next_producer_id }
        }
        17 => broker_change(read(body, version)?),
        20 => {
            read::<NoOpRecord>(body, version)?;
            Record::NoOp
        }
        23 => Record::BeginTransaction { name: read::<BeginTransactionRecord>(body, version)?.name },
        24 => {
            read::<EndTransactionRecord>(body, version)?;
            Record::EndTransaction
        }
        25 => Record::AbortTransaction { reason: read::<AbortTransactionRecord>(body, version)?.reason },
        27 => Record::RegisterController(controller_registration(read(body, version)?)),
        28 => {
            let name = read::<ClearElrRecord>(body, version)?.topic_name;
            Record::ClearElr { topic: TopicName::new(&name).ok() }
        }
        29 => {
            let record: UnregisterControllerRecord = read(body, version)?;
            Record::UnregisterController { controller: record.controller_id }
        }
        _ => return Err(Problem::Type),
    })
}

fn read<T: Message>(body: Bytes, version: i16) -> Result<T, Problem> {
    if !T::VERSIONS.contains(&version) {
        return Err(Problem::Version { what: T::NAME, known: T::VERSIONS });
    }
    Ok(T::decode(&mut Decoder::with_default_budget(body), version)?)
}

fn write<T: Message>(kind: u64, version: i16, message: &T) -> Bytes {
    let mut out = Vec::new();
    for head in [FRAME_VERSION, kind, version as u64] {
        varint::write_unsigned(&mut out, head);
    }
    let mut encoder = Encoder::new();
    let encoded = message.encode(&mut encoder, version).ok().and_then(|()| encoder.into_bytes());
    debug_assert!(encoded.is_some(), "records are built for the version they are written in");
    out.extend_from_slice(&encoded.unwrap_or_default());
    out.into()
}

fn register_broker(broker: Registration) -> RegisterBrokerRecord {
    let endpoints = broker.endpoints.into_iter().map(|endpoint| register_broker_record::BrokerEndpoint {
        name: endpoint.name,
        host: endpoint.host,
        port: endpoint.port,
        security_protocol: endpoint.security,
    });
    let features = broker.features.into_iter().map(|feature| register_broker_record::BrokerFeature {
        name: feature.name,
        min_supported_version: feature.min,
        max_supported_version: feature.max,
    });
    RegisterBrokerRecord {
        broker_id: broker.id,
        is_migrating_zk_broker: false,
        incarnation_id: broker.incarnation,
        broker_epoch: broker.epoch,
        end_points: endpoints.collect(),
        features: features.collect(),
        rack: broker.rack,
        fenced: broker.fenced,
        in_controlled_shutdown: broker.shutting_down,
        log_dirs: broker.directories,
        cordoned_log_dirs: (!broker.cordoned.is_empty()).then_some(broker.cordoned),
    }
}

fn registration(record: RegisterBrokerRecord) -> Registration {
    let endpoints = record.end_points.into_iter().map(|endpoint| Endpoint {
        name: endpoint.name,
        host: endpoint.host,
        port: endpoint.port,
        security: endpoint.security_protocol,
    });
    let features = record.features.into_iter().map(|feature| FeatureRange {
        name: feature.name,
        min: feature.min_supported_version,
        max: feature.max_supported_version,
    });
    Registration {
        id: record.broker_id,
        epoch: record.broker_epoch,
        incarnation: record.incarnation_id,
        endpoints: endpoints.collect(),
        features: features.collect(),
        rack: record.rack,
        fenced: record.fenced,
        shutting_down: record.in_controlled_shutdown,
        directories: record.log_dirs,
        cordoned: record.cordoned_log_dirs.unwrap_or_default(),
    }
}

fn register_controller(controller: ControllerRegistration) -> RegisterControllerRecord {
    let endpoints =
        controller.endpoints.into_iter().map(|endpoint| register_controller_record::ControllerEndpoint {
            name: endpoint.name,
            host: endpoint.host,
            port: endpoint.port,
            security_protocol: endpoint.security,
        });
    let features =
        controller.features.into_iter().map(|feature| register_controller_record::ControllerFeature {
            name: feature.name,
            min_supported_version: feature.min,
            max_supported_version: feature.max,
        });
    RegisterControllerRecord {
        controller_id: controller.id,
        incarnation_id: controller.incarnation,
        zk_migration_ready: false,
        end_points: endpoints.collect(),
        features: features.collect(),
    }
}

fn controller_registration(record: RegisterControllerRecord) -> ControllerRegistration {
    let endpoints = record.end_points.into_iter().map(|endpoint| Endpoint {
        name: endpoint.name,
        host: endpoint.host,
        port: endpoint.port,
        security: endpoint.security_protocol,
    });
    let features = record.features.into_iter().map(|feature| FeatureRange {
        name: feature.name,
        min: feature.min_supported_version,
        max: feature.max_supported_version,
    });
    ControllerRegistration {
        id: record.controller_id,
        incarnation: record.incarnation_id,
        endpoints: endpoints.collect(),
        features: features.collect(),
    }
}

fn recovery(value: i8) -> Recovery {
    if value == Recovery::Recovering as i8 { Recovery::Recovering } else { Recovery::Recovered }
}

fn from_partition(partition: PartitionRecord) -> WirePartition {
    let some = |nodes: Vec<i32>| (!nodes.is_empty()).then_some(nodes);
    WirePartition {
        partition_id: partition.index,
        topic_id: partition.topic,
        replicas: partition.replicas,
        isr: partition.isr,
        removing_replicas: partition.removing,
        adding_replicas: partition.adding,
        leader: partition.leader,
        leader_recovery_state: partition.recovery as i8,
        leader_epoch: partition.leader_epoch,
        partition_epoch: partition.partition_epoch,
        directories: partition.directories,
        eligible_leader_replicas: some(partition.elr),
        last_known_elr: some(partition.elr_last_known),
    }
}

fn to_partition(record: WirePartition) -> PartitionRecord {
    let directories = if record.directories.is_empty() {
        vec![Uuid::ZERO; record.replicas.len()]
    } else {
        record.directories
    };
    PartitionRecord {
        index: record.partition_id,
        topic: record.topic_id,
        replicas: record.replicas,
        isr: record.isr,
        removing: record.removing_replicas,
        adding: record.adding_replicas,
        leader: record.leader,
        recovery: recovery(record.leader_recovery_state),
        leader_epoch: record.leader_epoch,
        partition_epoch: record.partition_epoch,
        directories,
        elr: record.eligible_leader_replicas.unwrap_or_default(),
        elr_last_known: record.last_known_elr.unwrap_or_default(),
    }
}

fn from_change(change: PartitionChange) -> PartitionChangeRecord {
    PartitionChangeRecord {
        partition_id: change.index,
        topic_id: change.topic,
        isr: change.isr,
        leader: change.leader.unwrap_or(LEADER_UNCHANGED),
        replicas: change.replicas,
        removing_replicas: change.removing,
        adding_replicas: change.adding,
        leader_recovery_state: change.recovery.map_or(RECOVERY_UNCHANGED, |recovery| recovery as i8),
        directories: change.directories,
        eligible_leader_replicas: change.elr,
        last_known_elr: change.elr_last_known,
    }
}

fn to_change(record: PartitionChangeRecord) -> PartitionChange {
    let recovered = record.leader_recovery_state;
    PartitionChange {
        index: record.partition_id,
        topic: record.topic_id,
        isr: record.isr,
        leader: (record.leader != LEADER_UNCHANGED).then_some(record.leader),
        replicas: record.replicas,
        removing: record.removing_replicas,
        adding: record.adding_replicas,
        recovery: (recovered != RECOVERY_UNCHANGED).then(|| recovery(recovered)),
        directories: record.directories,
        elr: record.eligible_leader_replicas,
        elr_last_known: record.last_known_elr,
    }
}

fn broker_change(record: BrokerRegistrationChangeRecord) -> Record {
    Record::BrokerChange {
        broker: record.broker_id,
        broker_epoch: record.broker_epoch,
        fenced: match record.fenced {
            1 => Some(true),
            -1 => Some(false),
            _ => None,
        },
        shutting_down: (record.in_controlled_shutdown == 1).then_some(true),
        directories: (!record.log_dirs.is_empty()).then_some(record.log_dirs),
        cordoned: record.cordoned_log_dirs,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(record: Record) {
        assert_eq!(decode(&encode(&record)).unwrap(), record);
    }

    #[test]
    fn partitions_and_brokers_read_back_as_they_were_written() {
        let partition = PartitionRecord {
            index: 3,
            topic: Uuid([1; 16]),
            replicas: vec![1, 2],
            isr: vec![1],
            removing: vec![],
            adding: vec![2],
            leader: 1,
            recovery: Recovery::Recovering,
            leader_epoch: 4,
            partition_epoch: 5,
            directories: vec![Uuid([2; 16]), Uuid::ZERO],
            elr: vec![2],
            elr_last_known: vec![],
        };
        let change = PartitionChange {
            index: 1,
            topic: Uuid([1; 16]),
            isr: Some(vec![]),
            leader: Some(-1),
            recovery: Some(Recovery::Recovered),
            ..PartitionChange::default()
        };
        let broker = Registration {
            id: 1,
            epoch: 7,
            incarnation: Uuid([3; 16]),
            endpoints: vec![Endpoint { name: "PLAINTEXT".into(), host: "h".into(), port: 9, security: 0 }],
            features: vec![FeatureRange { name: "f".into(), min: 0, max: 2 }],
            rack: Some("r".into()),
            fenced: true,
            shutting_down: false,
            directories: vec![Uuid([4; 16])],
            cordoned: vec![],
        };
        check(Record::RegisterBroker(broker.clone()));
        check(Record::RegisterController(ControllerRegistration {
            id: 3,
            incarnation: Uuid([5; 16]),
            endpoints: broker.endpoints.clone(),
            features: broker.features.clone(),
        }));
        check(Record::RegisterBroker(Registration { cordoned: vec![Uuid([4; 16])], ..broker }));
        check(Record::Partition(partition));
        check(Record::PartitionChange(change));
        check(Record::PartitionChange(PartitionChange::default()));
    }

    #[test]
    fn small_records_read_back_as_they_were_written() {
        let name = TopicName::new("t").unwrap();
        for record in [
            Record::UnregisterBroker { broker: 1, broker_epoch: 2 },
            Record::UnregisterController { controller: 3 },
            Record::Topic { name: name.clone(), id: Uuid([1; 16]) },
            Record::Config {
                resource: Resource::new(ResourceKind::Topic, "t"),
                name: "retention.ms".into(),
                value: None,
            },
            Record::FenceBroker { broker: 1, broker_epoch: 2 },
            Record::UnfenceBroker { broker: 1, broker_epoch: 2 },
            Record::RemoveTopic { id: Uuid([1; 16]) },
            Record::FeatureLevel { name: "f".into(), level: 1 },
            Record::ClientQuota {
                entity: [("user".into(), Some("u".into())), ("client-id".into(), None)].into(),
                key: "producer_byte_rate".into(),
                value: Some(QuotaValue::new(1.5)),
            },
            Record::ClientQuota { entity: Default::default(), key: "k".into(), value: None },
            Record::ProducerIds { broker: 1, broker_epoch: 2, next: 1000 },
            Record::BrokerChange {
                broker: 1,
                broker_epoch: 2,
                fenced: Some(false),
                shutting_down: Some(true),
                directories: None,
                cordoned: Some(vec![]),
            },
            Record::NoOp,
            Record::BeginTransaction { name: Some("n".into()) },
            Record::EndTransaction,
            Record::AbortTransaction { reason: None },
            Record::ClearElr { topic: Some(name) },
            Record::ClearElr { topic: None },
        ] {
            check(record);
        }
    }

    #[test]
    fn the_bytes_of_a_topic_record_are_kafkas() {
        let record = Record::Topic { name: TopicName::new("ab").unwrap(), id: Uuid([9; 16]) };
        let expected = [&[1, 2, 0, 3, b'a', b'b'][..], &[9; 16], &[0]].concat();
        assert_eq!(encode(&record), expected);
    }

    #[test]
    fn types_and_versions_that_are_not_known_are_told_from_what_is_malformed() {
        let read = |bytes: &'static [u8]| decode(&Bytes::from_static(bytes)).unwrap_err();
        assert!(matches!(read(&[1, 99, 0]), Unreadable::Type { kind: 99 }));
        // User credentials, which Apache Kafka may write.
        assert!(matches!(read(&[1, 11, 0]), Unreadable::Type { kind: 11 }));
        let Unreadable::Version { what, version: 9, known } = read(&[1, 2, 9]) else { panic!("it is newer") };
        assert_eq!((what.as_str(), known), ("TopicRecord", 0..=0));
        for without_a_body in [24, 20] {
            let newer = decode(&Bytes::from(vec![1, without_a_body, 0xff, 0xff, 0xff, 0xff, 7]));
            assert!(
                matches!(newer, Err(Unreadable::Version { version: 0x7fff_ffff, .. })),
                "{without_a_body}"
            );
        }
        assert!(matches!(read(&[7, 2, 0]), Unreadable::Version { version: 7, .. }));
        for cut in [&[][..], &[1], &[1, 2], &[1, 2, 0], &[1, 2, 0, 3, b'a']] {
            assert!(matches!(read(cut), Unreadable::Malformed { .. }), "{cut:?}");
        }
    }
}

//! Random histories: what holds whatever is asked.

use proptest::prelude::*;

use super::*;
use crate::{
    ChangeDirectories, ConfigChange, ConfigOperation, DeleteTopic, ElectionKind, NewPartitions,
    QuotaAlteration, Reassignment, client_quota::QuotaValue,
};

const NAMES: [&str; 6] = ["a", "a.b", "a_b", "c", "..", "d"];

fn name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(&NAMES[..])
}

fn alteration() -> impl Strategy<Value = (Resource, Vec<ConfigChange>)> {
    (name(), 0..4u8, "[a-z]{1,7}|[0-9]{1,2}").prop_map(|(name, operation, value)| {
        let operation = [
            ConfigOperation::Set,
            ConfigOperation::Delete,
            ConfigOperation::Append,
            ConfigOperation::Subtract,
        ][usize::from(operation)];
        let key =
            if value.starts_with(|c: char| c.is_ascii_digit()) { "retention.ms" } else { "cleanup.policy" };
        (Resource::topic(name), vec![ConfigChange { name: key.to_owned(), operation, value: Some(value) }])
    })
}

fn quota_alteration() -> impl Strategy<Value = Request> {
    let part = (prop::sample::select(&["user", "client-id", "ip"][..]), prop::option::of(name()));
    let key =
        prop::sample::select(&["producer_byte_rate", "request_percentage", "connection_creation_rate"][..]);
    let change = (key, prop::option::of(0..4u8));
    (prop::collection::vec(part, 0..3), prop::collection::vec(change, 0..3), any::<bool>()).prop_map(
        |(parts, changes, validate_only)| {
            let entity = parts.into_iter().map(|(kind, name)| (kind.to_owned(), name.map(str::to_owned)));
            let changes = changes
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value.map(|value| QuotaValue::new(f64::from(value)))));
            let alteration = QuotaAlteration { entity: entity.collect(), changes: changes.collect() };
            Request::AlterClientQuotas { alterations: vec![alteration], validate_only }
        },
    )
}

fn requests() -> impl Strategy<Value = Request> {
    let new_topic = (name(), -1..4i32, -1..4i16, 0..4u8, prop::option::of("[0-9]{1,3}")).prop_map(
        |(name, partitions, factor, id, retention)| NewTopic {
            id: Uuid([id; 16]),
            configs: retention.map(|value| ("retention.ms".to_owned(), Some(value))).into_iter().collect(),
            ..topic(name, partitions, factor)
        },
    );
    let by_hand =
        (name(), 4..9u8, prop::collection::vec((0..3, prop::collection::vec(1..5, 0..4)), 1..3)).prop_map(
            |(name, id, assignments)| NewTopic { id: Uuid([id; 16]), assignments, ..topic(name, -1, -1) },
        );
    let deletion = prop_oneof![
        name().prop_map(|name| DeleteTopic { name: Some(name.to_owned()), id: TopicId::ZERO }),
        (0..9u8).prop_map(|id| DeleteTopic { name: None, id: Uuid([id; 16]) }),
    ];
    let created = prop::collection::vec(prop_oneof![new_topic, by_hand], 1..3);
    prop_oneof![
        1 => Just(Request::Bootstrap),
        6 => (1..5, 0..3u8, any::<bool>())
            .prop_map(|(id, life, fenced)| Request::RegisterBroker(RegisterBroker { fenced, ..registration(id, life) })),
        1 => (1..5).prop_map(|broker| Request::UnregisterBroker { broker }),
        4 => (1..5, 0..30i64, any::<bool>()).prop_map(|(broker, broker_epoch, fence)| match fence {
            true => Request::FenceBroker { broker, broker_epoch },
            false => Request::UnfenceBroker { broker, broker_epoch },
        }),
        8 => (created, any::<bool>(), any::<u64>())
            .prop_map(|(topics, validate_only, seed)| Request::CreateTopics { topics, validate_only, seed, permits: Permits::Unbounded }),
        2 => prop::collection::vec(deletion, 1..3).prop_map(|topics| Request::DeleteTopics { topics, permits: Permits::Unbounded }),
        3 => (name(), 0..6, any::<u64>()).prop_map(|(name, count, seed)| Request::CreatePartitions {
            topics: vec![NewPartitions { topic: name.to_owned(), count, assignments: None }],
            validate_only: false,
            seed,
            permits: Permits::Unbounded,
        }),
        4 => quota_alteration(),
        4 => alteration().prop_map(|one| Request::IncrementalAlterConfigs { resources: vec![one], validate_only: false }),
        2 => (1..5, 0..30i64)
            .prop_map(|(broker, broker_epoch)| Request::AllocateProducerIds { broker, broker_epoch }),
        1 => (1..5, 0..30i64)
            .prop_map(|(broker, broker_epoch)| Request::ShutDownBroker { broker, broker_epoch }),
        4 => (name(), 0..3, prop::option::of(prop::collection::vec(1..5, 0..4)), any::<bool>()).prop_map(
            |(name, index, replicas, allow_replication_factor_change)| {
                let reassignments = vec![Reassignment { topic: name.to_owned(), index, replicas }];
                Request::AlterPartitionReassignments { reassignments, allow_replication_factor_change }
            }
        ),
        1 => Just(Request::ElectLeaders { kind: ElectionKind::Unclean, partitions: None }),
        1 => (0..3usize).prop_map(|changes_max| Request::BalanceLeaders { changes_max }),
        1 => (1..5, 0..30i64, 1..5u8).prop_map(|(broker, broker_epoch, which)| {
            let offline = vec![Uuid([0xd0 + which; 16])];
            Request::ChangeDirectories(ChangeDirectories { broker, broker_epoch, offline, cordoned: None })
        }),
        1 => (1..3).prop_map(|controller| Request::UnregisterController { controller }),
        1 => (1..3, 0..3u8).prop_map(|(id, life)| Request::RegisterController(ControllerRegistration {
            id,
            incarnation: Uuid([life; 16]),
            ..ControllerRegistration::default()
        })),
    ]
}

fn new() -> Controller {
    let statics = Arc::new(Statics::default());
    Controller::new(Settings { cluster_id: "c".to_owned(), node: 1, statics })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever is asked, the invariants hold, and the log alone makes the same controller.
    #[test]
    fn every_history_replays_to_a_sound_image(
        requests in prop::collection::vec(requests(), 1..40),
        mut seed: u64,
    ) {
        let chance = |n| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) % n
        };
        let requests = requests.into_iter().map(|request| (NOW, request));
        coordinator::kit::check(new, requests, chance, |live, built| {
            assert_eq!(live, built);
            check_image(live.image());
        });
    }

    /// A snapshot's records make the image again.
    #[test]
    fn a_snapshot_makes_the_same_image(requests in prop::collection::vec(requests(), 1..40)) {
        let mut controller = new();
        for request in requests {
            if let Ok(outcome) = controller.handle(NOW, request) {
                outcome.records.into_iter().for_each(|record| controller.replay(record));
            }
        }
        let mut image = Image::new("c");
        controller.image().to_records().for_each(|record| image.apply(record));
        image.place(controller.image().position());
        prop_assert_eq!(&image, controller.image());
    }
}

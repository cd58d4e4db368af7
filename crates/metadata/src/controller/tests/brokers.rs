//! Brokers registered, fenced and unfenced, and who leads then.

use super::*;

fn check_registration(change: impl FnOnce(&mut RegisterBroker), expected: &str) {
    let mut cluster = Cluster::of(1);
    let mut request = registration(2, 1);
    change(&mut request);
    let result = cluster.ask(Request::RegisterBroker(request));
    assert_eq!(variant(&result), expected, "{result:?}");
}

#[test]
fn a_broker_that_does_not_fit_is_refused() {
    check_registration(|_| (), "ok");
    check_registration(|request| request.cluster_id = "d".to_owned(), "InconsistentClusterId");
    check_registration(|request| request.broker = -1, "InvalidRegistration");
    check_registration(|request| request.directories.clear(), "InvalidRegistration");
    check_registration(|request| request.directories = vec![Uuid::ZERO], "InvalidRegistration");
    check_registration(|request| request.directories = vec![Uuid([7; 16]); 2], "InvalidRegistration");
    check_registration(|request| request.directories = vec![Uuid([0xd1; 16])], "InvalidRegistration");
    check_registration(|request| request.features.clear(), "InvalidRegistration");
    check_registration(
        |request| request.features.retain(|range| range.name != "group.version"),
        "UnsupportedVersion",
    );
    let older = |range: &mut crate::FeatureRange| range.max -= 1;
    for (name, expected) in [
        ("metadata.version", "UnsupportedVersion"),
        ("share.version", "UnsupportedVersion"),
        ("kraft.version", "ok"),
    ] {
        let of_name = |request: &mut RegisterBroker| {
            request.features.iter_mut().filter(|range| range.name == name).for_each(older);
        };
        check_registration(of_name, expected);
    }
}

#[test]
fn a_single_node_leads_again_in_a_new_epoch_after_each_restart() {
    let mut cluster = Cluster::of(1);
    cluster.create(vec![topic("t", 1, 1)]);
    let epoch = cluster.epoch(1);
    for (incarnation, leader_epoch) in [(1, 0), (2, 1), (3, 2), (3, 2)] {
        cluster.ask(Request::RegisterBroker(registration(1, incarnation))).unwrap();
        assert_eq!(state(&cluster), (1, vec![1], vec![], leader_epoch), "{incarnation}");
    }
    assert!(cluster.epoch(1) > epoch);
}

#[test]
fn a_restarted_broker_that_must_catch_up_leads_nothing_until_it_is_unfenced() {
    let mut cluster = Cluster::of(1);
    cluster.create(vec![topic("t", 1, 1)]);
    cluster.ask(Request::RegisterBroker(RegisterBroker { fenced: true, ..registration(1, 2) })).unwrap();
    assert_eq!(state(&cluster), (-1, vec![], vec![1], 1));
    assert_eq!(variant(&cluster.create(vec![topic("u", 1, 1)])[0]), "InvalidReplicationFactor");
    fence(&mut cluster, 1, false);
    assert_eq!(state(&cluster), (1, vec![1], vec![], 2));
}

#[test]
fn leadership_moves_within_the_isr_and_returns_to_eligible_replicas_only() {
    let mut cluster = Cluster::with(3, &[("min.insync.replicas", "2")]);
    cluster.create(vec![NewTopic { assignments: vec![(0, vec![1, 2, 3])], ..topic("t", -1, -1) }]);
    fence(&mut cluster, 1, true);
    assert_eq!(state(&cluster), (2, vec![2, 3], vec![], 1));
    fence(&mut cluster, 3, true);
    assert_eq!(state(&cluster), (2, vec![2], vec![3], 1));
    fence(&mut cluster, 2, true);
    assert_eq!(state(&cluster), (-1, vec![], vec![2, 3], 2));
    fence(&mut cluster, 1, false);
    assert_eq!(state(&cluster), (-1, vec![], vec![2, 3], 2), "broker 1 may lack what was committed");
    fence(&mut cluster, 3, false);
    assert_eq!(state(&cluster), (3, vec![3], vec![2], 3));
}

#[test]
fn an_unclean_leader_is_chosen_only_where_the_topic_allows_loss() {
    for (unclean, leader) in [("false", -1), ("true", 1)] {
        let mut cluster = Cluster::of(2);
        let configs = vec![("unclean.leader.election.enable".to_owned(), Some(unclean.to_owned()))];
        cluster.create(vec![NewTopic { configs, assignments: vec![(0, vec![1, 2])], ..topic("t", -1, -1) }]);
        fence(&mut cluster, 1, true);
        fence(&mut cluster, 2, true);
        fence(&mut cluster, 1, false);
        let partition = cluster.image().partition("t", 0).unwrap();
        assert_eq!(partition.leader, leader, "{partition:?}");
        assert_eq!(partition.recovery == crate::Recovery::Recovering, leader == 1);
    }
}

#[test]
fn a_broker_on_its_way_out_neither_leads_nor_gets_partitions() {
    let mut cluster = Cluster::of(1);
    let broker_epoch = cluster.epoch(1);
    cluster.controller.replay(Record::BrokerChange {
        broker: 1,
        broker_epoch,
        fenced: None,
        shutting_down: Some(true),
        directories: None,
        cordoned: None,
    });
    assert_eq!(variant(&cluster.create(vec![topic("t", 1, 1)])[0]), "InvalidReplicationFactor");
    fence(&mut cluster, 1, false);
    assert!(!cluster.image().is_active(1), "only a new registration brings it back");
    cluster.ask(Request::RegisterBroker(registration(1, 2))).unwrap();
    assert_eq!(cluster.create(vec![topic("t", 1, 1)]), [Ok((1, 1))]);
}

#[test]
fn an_unregistered_broker_is_unknown() {
    let mut cluster = Cluster::of(2);
    let broker_epoch = cluster.epoch(2);
    cluster.ask(Request::UnregisterBroker { broker: 2 }).unwrap();
    assert!(cluster.image().broker(2).is_none());
    let again = cluster.ask(Request::UnregisterBroker { broker: 2 });
    assert_eq!(variant(&again), "BrokerIdNotRegistered");
    let fence = cluster.ask(Request::FenceBroker { broker: 2, broker_epoch });
    assert_eq!(variant(&fence), "StaleBrokerEpoch");
}

/// The only partition of topic t on brokers 1 and 2 when 1 has come back like that, after 2 was fenced.
/// A broker comes back after a crash, but for what `change` makes of it; it is also given the epoch it had.
fn check_restart(durability: &str, change: impl FnOnce(&mut RegisterBroker, i64), isr: &[i32], elr: &[i32]) {
    let mut cluster = Cluster::with(2, &[("min.insync.replicas", "2")]);
    let configs = vec![("odradek.ack.durability".to_owned(), Some(durability.to_owned()))];
    cluster.create(vec![NewTopic { configs, assignments: vec![(0, vec![1, 2])], ..topic("t", -1, -1) }]);
    fence(&mut cluster, 2, true);
    let mut request = RegisterBroker { fenced: true, ..registration(1, 2) };
    request.previous_epoch = -1;
    change(&mut request, cluster.epoch(1));
    cluster.ask(Request::RegisterBroker(request)).unwrap();
    let (leader, now, eligible, _) = state(&cluster);
    assert_eq!((leader, &*now, &*eligible), (-1, isr, elr));
}

#[test]
fn a_restarted_broker_is_eligible_only_if_it_holds_what_it_held() {
    check_restart("fsync", |_, _| (), &[], &[1, 2]);
    check_restart("page-cache", |_, _| (), &[], &[2]);
    check_restart("page-cache", |request, epoch| request.previous_epoch = epoch, &[], &[1, 2]);
    check_restart("fsync", |request, _| request.synced = false, &[], &[2]);
    check_restart("fsync", |request, _| request.directories = vec![Uuid([1; 16])], &[], &[2]);
    // A directory that was stopped cleanly, but long ago: a copy.
    check_restart("fsync", |request, epoch| request.previous_epoch = epoch - 1, &[], &[2]);
}

#[test]
fn a_controlled_shutdown_moves_the_leaders_away() {
    let mut cluster = Cluster::of(2);
    cluster.create(vec![NewTopic { assignments: vec![(0, vec![1, 2])], ..topic("t", -1, -1) }]);
    let request = Request::ShutDownBroker { broker: 1, broker_epoch: cluster.epoch(1) };
    let (records, reply) = cluster.decide(request.clone()).unwrap();
    assert_eq!(reply, Reply::BrokerChanged);
    assert!(
        matches!(records.last(), Some(Record::BrokerChange { shutting_down: Some(true), .. })),
        "who has read it knows the new leaders: {records:?}"
    );
    assert_eq!(state(&cluster), (2, vec![2], vec![], 1));
    assert_eq!(cluster.decide(request).unwrap().0, []);
    assert_eq!(cluster.create(vec![topic("u", 1, 1)]), [Ok((1, 1))]);
    assert_eq!(cluster.image().partition("u", 0).unwrap().replicas, [2]);
}

#[test]
fn a_broker_without_any_session_listed_is_known_to_be_fenced() {
    let mut cluster = Cluster::of(3);
    fence(&mut cluster, 2, true);
    let broker_epoch = cluster.epoch(3);
    cluster.ask(Request::ShutDownBroker { broker: 3, broker_epoch }).unwrap();
    let listed: Vec<_> = cluster.image().brokers_unfenced().map(|broker| broker.id).collect();
    assert_eq!(listed, [1, 3]);
}

#[test]
fn controllers_register_once_per_life() {
    let mut cluster = Cluster::of(0);
    let controller = |life| crate::ControllerRegistration {
        id: 7,
        incarnation: Uuid([life; 16]),
        ..crate::ControllerRegistration::default()
    };
    for (life, count) in [(1, 1), (1, 0), (2, 1)] {
        let (records, _) = cluster.decide(Request::RegisterController(controller(life))).unwrap();
        assert_eq!(records.len(), count, "{life}");
        assert_eq!(cluster.image().controller(7), Some(&controller(life)));
    }
}

#[test]
fn a_controller_is_forgotten_where_the_metadata_can_say_so() {
    let mut cluster = Cluster::of(0);
    let controller = crate::ControllerRegistration { id: 7, ..crate::ControllerRegistration::default() };
    cluster.decide(Request::RegisterController(controller)).unwrap();
    let forget = Request::UnregisterController { controller: 7 };
    cluster
        .controller
        .replay(Record::FeatureLevel { name: features::METADATA_VERSION.to_owned(), level: 32 });
    assert_eq!(variant(&cluster.ask(forget.clone())), "UnsupportedVersion");
    cluster
        .controller
        .replay(Record::FeatureLevel { name: features::METADATA_VERSION.to_owned(), level: 33 });
    let (records, _) = cluster.decide(forget.clone()).unwrap();
    assert_eq!(records, [Record::UnregisterController { controller: 7 }]);
    assert_eq!(cluster.image().controller(7), None);
    assert_eq!(variant(&cluster.ask(forget)), "ControllerIdNotRegistered");
}

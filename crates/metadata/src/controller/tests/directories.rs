//! Log directories that fail, are cordoned, and get replicas.

use super::*;
use crate::{
    ChangeDirectories, DIRECTORY_LOST, DIRECTORY_MIGRATING, DIRECTORY_UNASSIGNED, DirectoryAssignment,
};

const FIRST: Uuid = Uuid([0xa1; 16]);
const SECOND: Uuid = Uuid([0xa2; 16]);

/// Topic t with one partition on brokers 1 and 2; broker 1 has two directories and holds it in the first.
fn cluster() -> Cluster {
    let mut cluster = Cluster::with(0, &[("min.insync.replicas", "2")]);
    let two = RegisterBroker { directories: vec![FIRST, SECOND], ..registration(1, 1) };
    cluster.ask(Request::RegisterBroker(two)).unwrap();
    cluster.ask(Request::RegisterBroker(registration(2, 1))).unwrap();
    cluster.create(vec![NewTopic { assignments: vec![(0, vec![1, 2])], ..topic("t", -1, -1) }]);
    assert_eq!(directory(&cluster), DIRECTORY_UNASSIGNED);
    assert_eq!(assign(&mut cluster, FIRST), "ok");
    cluster
}

fn directory(cluster: &Cluster) -> Uuid {
    cluster.image().partition("t", 0).unwrap().directory(1).unwrap()
}

fn assign(cluster: &mut Cluster, directory: Uuid) -> String {
    assign_to(cluster, 1, id("t"), 0, directory)
}

fn assign_to(cluster: &mut Cluster, broker: i32, topic: TopicId, index: i32, directory: Uuid) -> String {
    let broker_epoch = cluster.epoch(broker);
    let assignments = vec![DirectoryAssignment { directory, topic, index }];
    let request = Request::AssignReplicasToDirs { broker, broker_epoch, assignments };
    let Ok(Reply::AssignReplicasToDirs(results)) = cluster.ask(request) else { panic!() };
    variant(&results[0].1)
}

fn change(cluster: &mut Cluster, offline: &[Uuid], cordoned: Option<&[Uuid]>) -> Vec<Record> {
    let request = ChangeDirectories {
        broker: 1,
        broker_epoch: cluster.epoch(1),
        offline: offline.to_vec(),
        cordoned: cordoned.map(<[_]>::to_vec),
    };
    cluster.decide(Request::ChangeDirectories(request)).unwrap().0
}

#[test]
fn what_was_led_from_a_failed_directory_is_led_elsewhere() {
    let mut cluster = cluster();
    assert_eq!(change(&mut cluster, &[SECOND, Uuid([9; 16])], None).len(), 1);
    assert_eq!(state(&cluster), (1, vec![1, 2], vec![], 0), "it was in the other directory");
    let mut cluster = self::cluster();
    assert_eq!(change(&mut cluster, &[FIRST], None).len(), 2);
    assert_eq!(state(&cluster), (2, vec![2], vec![1], 1));
    assert_eq!(cluster.image().broker(1).unwrap().directories, [SECOND]);
    assert!(cluster.image().is_active(1));
    assert_eq!(change(&mut cluster, &[FIRST], None), [], "it is known");
    assert_eq!(variant(&set_isr(&mut cluster, &[1, 2])), "IneligibleReplica");
    fence(&mut cluster, 2, true);
    assert_eq!(state(&cluster), (-1, vec![], vec![1, 2], 2), "broker 1 is there, but the directory is not");
}

#[test]
fn a_broker_without_any_directory_is_fenced() {
    let mut cluster = cluster();
    change(&mut cluster, &[FIRST, SECOND], None);
    assert!(cluster.image().broker(1).unwrap().fenced);
    assert_eq!(state(&cluster), (2, vec![2], vec![1], 1));
}

#[test]
fn cordoned_directories_are_written_down_when_they_change() {
    let mut cluster = cluster();
    assert_eq!(change(&mut cluster, &[], Some(&[FIRST, SECOND])).len(), 1);
    assert_eq!(change(&mut cluster, &[], Some(&[SECOND, FIRST])), []);
    assert_eq!(change(&mut cluster, &[], None), []);
    assert_eq!(cluster.create(vec![topic("u", 1, 1)]), [Ok((1, 1))]);
    assert_eq!(cluster.image().partition("u", 0).unwrap().replicas, [2]);
    assert_eq!(variant(&cluster.create(vec![topic("v", 1, 2)])[0]), "InvalidReplicationFactor");
    assert_eq!(change(&mut cluster, &[], Some(&[])).len(), 1);
    assert_eq!(cluster.create(vec![topic("v", 1, 2)]), [Ok((1, 2))]);
}

#[test]
fn a_replica_that_moves_out_of_a_failed_directory_is_eligible_no_more() {
    let mut cluster = cluster();
    change(&mut cluster, &[FIRST], None);
    assert_eq!(state(&cluster), (2, vec![2], vec![1], 1));
    assert_eq!(assign(&mut cluster, SECOND), "ok");
    assert_eq!(directory(&cluster), SECOND);
    assert_eq!(state(&cluster), (2, vec![2], vec![], 1));
    set_isr(&mut cluster, &[1, 2]).unwrap();
}

#[test]
fn a_replica_that_could_not_be_opened_leads_nothing_and_counts_again_once_it_is_found_whole() {
    let mut cluster = cluster();
    assert_eq!(assign(&mut cluster, DIRECTORY_LOST), "ok");
    assert_eq!(state(&cluster), (2, vec![2], vec![1], 1));
    fence(&mut cluster, 2, true);
    assert_eq!(state(&cluster), (-1, vec![], vec![1, 2], 2), "what it holds is out of reach");
    // It stops, and comes back.
    let again = |incarnation, cluster: &Cluster| RegisterBroker {
        directories: vec![FIRST, SECOND],
        previous_epoch: cluster.epoch(1),
        fenced: true,
        ..registration(1, incarnation)
    };
    let request = again(2, &cluster);
    cluster.ask(Request::RegisterBroker(request)).unwrap();
    assert_eq!(state(&cluster), (-1, vec![], vec![1, 2], 2));
    assert_eq!(assign(&mut cluster, DIRECTORY_MIGRATING), "ok");
    assert_eq!(assign(&mut cluster, FIRST), "ok");
    fence(&mut cluster, 1, false);
    assert_eq!(state(&cluster).0, 1);
    // The same, but its log began with nothing.
    let mut cluster = self::cluster();
    assign(&mut cluster, DIRECTORY_LOST);
    fence(&mut cluster, 2, true);
    let request = again(2, &cluster);
    cluster.ask(Request::RegisterBroker(request)).unwrap();
    assert_eq!(assign(&mut cluster, FIRST), "ok");
    fence(&mut cluster, 1, false);
    assert_eq!(state(&cluster), (-1, vec![], vec![2], 2));
}

#[test]
fn a_replica_whose_disk_was_replaced_counts_for_nothing_until_it_is_in_sync_again() {
    let third = Uuid([0xa3; 16]);
    let mut cluster = cluster();
    fence(&mut cluster, 2, true);
    assert_eq!(state(&cluster), (1, vec![1], vec![2], 0));
    let replaced = RegisterBroker { directories: vec![third], fenced: true, ..registration(1, 2) };
    cluster.ask(Request::RegisterBroker(replaced)).unwrap();
    assert_eq!(state(&cluster), (-1, vec![], vec![2], 1));
    fence(&mut cluster, 1, false);
    assert_eq!(assign(&mut cluster, third), "ok");
    assert_eq!(state(&cluster), (-1, vec![], vec![2], 1), "an empty replica leads nothing");
    fence(&mut cluster, 2, false);
    assert_eq!(state(&cluster).0, 2);
    set_isr(&mut cluster, &[1, 2]).unwrap();
}

#[test]
fn a_replica_in_a_directory_that_is_not_there_leaves_the_isr() {
    for lost in [DIRECTORY_LOST, Uuid([9; 16])] {
        let mut cluster = cluster();
        assert_eq!(assign(&mut cluster, SECOND), "ok");
        assert_eq!(state(&cluster), (1, vec![1, 2], vec![], 0));
        assert_eq!(assign(&mut cluster, lost), "ok");
        assert_eq!(state(&cluster), (2, vec![2], vec![1], 1));
    }
}

#[test]
fn a_lost_replica_that_comes_back_begins_an_epoch_in_which_nobody_knows_what_it_had() {
    let mut cluster = cluster();
    assert_eq!(assign(&mut cluster, DIRECTORY_LOST), "ok");
    assert_eq!(state(&cluster), (2, vec![2], vec![1], 1));
    assert_eq!(assign(&mut cluster, DIRECTORY_LOST), "ok");
    assert_eq!(state(&cluster), (2, vec![2], vec![1], 1), "nothing has changed");
    assert_eq!(assign(&mut cluster, FIRST), "ok");
    assert_eq!(state(&cluster), (2, vec![2], vec![], 2));
}

#[test]
fn only_replicas_that_are_there_get_a_directory() {
    let mut cluster = cluster();
    cluster.create(vec![NewTopic { assignments: vec![(0, vec![2])], ..topic("u", -1, -1) }]);
    assert_eq!(assign_to(&mut cluster, 1, id("x"), 0, FIRST), "UnknownTopicId");
    assert_eq!(assign_to(&mut cluster, 1, id("t"), 1, FIRST), "UnknownTopicOrPartition");
    assert_eq!(assign_to(&mut cluster, 1, id("u"), 0, FIRST), "NotLeaderOrFollower");
    let stale = Request::AssignReplicasToDirs { broker: 1, broker_epoch: 0, assignments: Vec::new() };
    assert_eq!(variant(&cluster.ask(stale)), "StaleBrokerEpoch");
}

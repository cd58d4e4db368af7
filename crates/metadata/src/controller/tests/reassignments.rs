//! Partitions moved from brokers to brokers, and what interrupts that.

use super::*;
use crate::Reassignment;

/// Topic t with one partition on those brokers, in a cluster of six.
fn cluster(replicas: &[i32], statics: &[(&str, &str)]) -> Cluster {
    let mut cluster = Cluster::with(6, statics);
    cluster.create(vec![NewTopic { assignments: vec![(0, replicas.to_vec())], ..topic("t", -1, -1) }]);
    cluster
}

fn reassign(cluster: &mut Cluster, replicas: Option<&[i32]>) -> Result<(), Error> {
    reassign_with(cluster, "t", 0, replicas, true)
}

fn reassign_with(
    cluster: &mut Cluster,
    topic: &str,
    index: i32,
    replicas: Option<&[i32]>,
    allow_replication_factor_change: bool,
) -> Result<(), Error> {
    let replicas = replicas.map(<[_]>::to_vec);
    let reassignments = vec![Reassignment { topic: topic.to_owned(), index, replicas }];
    let request = Request::AlterPartitionReassignments { reassignments, allow_replication_factor_change };
    let Reply::AlterPartitionReassignments(mut results) = cluster.ask(request)? else { panic!() };
    results.remove(0).2
}

/// Replicas, those that come, and those that leave.
fn moves(cluster: &Cluster) -> (Vec<i32>, Vec<i32>, Vec<i32>) {
    let partition = cluster.image().partition("t", 0).unwrap();
    assert_eq!(partition.directories.len(), partition.replicas.len());
    for (id, directory) in partition.replicas.iter().zip(&partition.directories) {
        assert_eq!(*directory, Uuid([0xd0 + *id as u8; 16]), "replicas keep their directories");
    }
    (partition.replicas.clone(), partition.adding.clone(), partition.removing.clone())
}

#[test]
fn a_partition_moves_once_the_new_replicas_are_in_sync() {
    let mut cluster = cluster(&[1, 2, 3], &[]);
    reassign(&mut cluster, Some(&[4, 5, 3])).unwrap();
    assert_eq!(moves(&cluster), (vec![4, 5, 3, 1, 2], vec![4, 5], vec![1, 2]));
    assert_eq!(state(&cluster), (1, vec![1, 2, 3], vec![], 0));
    set_isr(&mut cluster, &[1, 2, 3, 4]).unwrap();
    assert_eq!(moves(&cluster), (vec![4, 5, 3, 1, 2], vec![4, 5], vec![1, 2]));
    let answer = set_isr(&mut cluster, &[1, 2, 3, 4, 5]);
    assert_eq!(variant(&answer), "NewLeaderElected", "broker 1 has to go");
    assert_eq!(moves(&cluster), (vec![4, 5, 3], vec![], vec![]));
    assert_eq!(state(&cluster), (4, vec![3, 4, 5], vec![], 1));
}

#[test]
fn the_leader_stays_if_it_is_a_replica_still_but_in_a_new_epoch() {
    let mut cluster = cluster(&[1, 2, 3], &[]);
    reassign(&mut cluster, Some(&[1, 2, 4])).unwrap();
    let altered = set_isr(&mut cluster, &[1, 2, 3, 4]).unwrap();
    assert_eq!((altered.leader, altered.leader_epoch, &*altered.isr), (1, 1, &[1, 2, 4][..]));
    assert_eq!(moves(&cluster), (vec![1, 2, 4], vec![], vec![]));
}

#[test]
fn a_new_order_and_fewer_replicas_need_no_waiting() {
    let mut cluster = cluster(&[1, 2, 3], &[]);
    reassign(&mut cluster, Some(&[3, 2, 1])).unwrap();
    assert_eq!(moves(&cluster), (vec![3, 2, 1], vec![], vec![]));
    assert_eq!(state(&cluster), (1, vec![1, 2, 3], vec![], 0));
    reassign(&mut cluster, Some(&[3, 2])).unwrap();
    assert_eq!(moves(&cluster), (vec![3, 2], vec![], vec![]));
    assert_eq!(state(&cluster), (3, vec![2, 3], vec![], 1));
}

#[test]
fn fewer_replicas_wait_until_all_that_stay_are_in_sync() {
    let mut cluster = cluster(&[1, 2, 3, 4], &[]);
    set_isr(&mut cluster, &[1, 2]).unwrap();
    reassign(&mut cluster, Some(&[2, 3])).unwrap();
    assert_eq!(moves(&cluster), (vec![2, 3, 1, 4], vec![], vec![1, 4]));
    assert_eq!(variant(&set_isr(&mut cluster, &[1, 2, 3])), "NewLeaderElected");
    assert_eq!(state(&cluster), (2, vec![2, 3], vec![], 1));
}

#[test]
fn a_cancelled_reassignment_leaves_everything_as_it_was() {
    let mut cluster = cluster(&[1, 2, 3], &[]);
    reassign(&mut cluster, Some(&[4, 5, 6])).unwrap();
    set_isr(&mut cluster, &[1, 3, 4]).unwrap();
    reassign(&mut cluster, None).unwrap();
    assert_eq!(moves(&cluster), (vec![1, 2, 3], vec![], vec![]));
    assert_eq!(state(&cluster), (1, vec![1, 3], vec![], 1));
    assert_eq!(variant(&reassign(&mut cluster, None)), "NoReassignmentInProgress");
}

#[test]
fn going_back_is_refused_where_only_new_replicas_hold_everything() {
    for (unclean, expected) in [("false", "InvalidReplicaAssignment"), ("true", "ok")] {
        let mut cluster = cluster(&[1, 2], &[("unclean.leader.election.enable", unclean)]);
        reassign(&mut cluster, Some(&[3, 4])).unwrap();
        set_isr(&mut cluster, &[1, 3]).unwrap();
        fence(&mut cluster, 1, true);
        assert_eq!(state(&cluster), (3, vec![3], vec![], 1));
        assert_eq!(variant(&reassign(&mut cluster, None)), expected);
        let partition = cluster.image().partition("t", 0).unwrap();
        if unclean == "true" {
            assert_eq!((partition.leader, &*partition.isr), (2, &[2][..]));
            assert_eq!(partition.recovery, crate::Recovery::Recovering);
        } else {
            assert!(partition.is_reassigning());
        }
    }
}

#[test]
fn going_back_is_refused_where_it_would_leave_too_few_copies() {
    let going_back = |configs: &[(&str, &str)], isr: &[NodeId]| {
        let mut cluster = cluster(&[1, 2], configs);
        reassign(&mut cluster, Some(&[3, 4])).unwrap();
        fence(&mut cluster, 2, true);
        if !isr.is_empty() {
            set_isr(&mut cluster, isr).unwrap();
        }
        variant(&reassign(&mut cluster, None))
    };
    let two = ("min.insync.replicas", "2");
    assert_eq!(going_back(&[two], &[1, 3]), "InvalidReplicaAssignment");
    assert_eq!(going_back(&[two, ("unclean.leader.election.enable", "true")], &[1, 3]), "ok");
    assert_eq!(going_back(&[], &[1, 3]), "ok", "one is enough");
    assert_eq!(going_back(&[two], &[]), "ok", "it takes no copy away");
}

#[test]
fn going_back_to_an_eligible_replica_loses_nothing() {
    let mut cluster = cluster(&[1, 2], &[("min.insync.replicas", "2")]);
    reassign(&mut cluster, Some(&[3, 4])).unwrap();
    set_isr(&mut cluster, &[1, 3]).unwrap();
    fence(&mut cluster, 1, true);
    fence(&mut cluster, 3, true);
    assert_eq!(state(&cluster), (-1, vec![], vec![1, 3], 2));
    reassign(&mut cluster, None).unwrap();
    assert_eq!(moves(&cluster), (vec![1, 2], vec![], vec![]));
    assert_eq!(state(&cluster), (-1, vec![], vec![1], 3));
    fence(&mut cluster, 1, false);
    assert_eq!(state(&cluster), (1, vec![1], vec![], 4));
}

#[test]
fn a_reassignment_replaces_the_one_before() {
    let mut cluster = cluster(&[1, 2], &[]);
    reassign(&mut cluster, Some(&[3, 4])).unwrap();
    set_isr(&mut cluster, &[1, 2, 3]).unwrap();
    reassign(&mut cluster, Some(&[5, 2])).unwrap();
    assert_eq!(moves(&cluster), (vec![5, 2, 1, 3, 4], vec![3, 4, 5], vec![1, 3, 4]));
    let mut cancelled = Cluster { controller: cluster.controller.clone() };
    reassign(&mut cancelled, None).unwrap();
    assert_eq!(moves(&cancelled), (vec![2, 1], vec![], vec![]), "as in Kafka, in the order of the last wish");
    assert_eq!(variant(&set_isr(&mut cluster, &[1, 2, 5])), "NewLeaderElected");
    assert_eq!(moves(&cluster), (vec![5, 2], vec![], vec![]));
}

#[test]
fn replicas_that_come_do_not_raise_the_least_isr() {
    let mut cluster = cluster(&[1], &[("min.insync.replicas", "2")]);
    reassign(&mut cluster, Some(&[1, 2, 3])).unwrap();
    let partition = cluster.image().partition("t", 0).unwrap();
    assert_eq!(partition.min_isr(2), 1);
    set_isr(&mut cluster, &[1, 2, 3]).unwrap();
    assert_eq!(cluster.image().partition("t", 0).unwrap().min_isr(2), 2);
}

#[test]
fn a_reassignment_that_cannot_be_is_refused() {
    let mut cluster = cluster(&[1, 2], &[]);
    for (name, index, replicas, expected) in [
        ("x", 0, &[1][..], "UnknownTopicOrPartition"),
        ("t", 1, &[1], "UnknownTopicOrPartition"),
        ("t", -1, &[1], "UnknownTopicOrPartition"),
        ("t", 0, &[], "InvalidReplicaAssignment"),
        ("t", 0, &[1, 1], "InvalidReplicaAssignment"),
        ("t", 0, &[1, 9], "InvalidReplicaAssignment"),
        ("t", 0, &[1, -1], "InvalidReplicaAssignment"),
        ("t", 0, &[1, 2, 3], "InvalidReplicationFactor"),
        ("t", 0, &[1], "InvalidReplicationFactor"),
        ("t", 0, &[1, 3], "ok"),
        ("t", 0, &[1, 4], "ok"),
        ("t", 0, &[1, 4, 3], "InvalidReplicationFactor"),
    ] {
        let result = reassign_with(&mut cluster, name, index, Some(replicas), false);
        assert_eq!(variant(&result), expected, "{name} {index} {replicas:?}");
    }
}

#[test]
fn what_is_under_way_is_listed() {
    let mut cluster = cluster(&[1, 2], &[]);
    cluster.create(vec![topic("u", 2, 1)]);
    reassign(&mut cluster, Some(&[3, 2])).unwrap();
    let shown = |partitions| {
        let request = Request::ListPartitionReassignments { partitions };
        let reply = cluster.controller.handle(NOW, request).unwrap();
        let Reply::ListPartitionReassignments(list) = reply.reply else { panic!() };
        list.into_iter().map(|one| (one.topic.to_string(), one.index, one.replicas)).collect::<Vec<_>>()
    };
    let expected = vec![("t".to_owned(), 0, vec![3, 2, 1])];
    assert_eq!(shown(None), expected);
    assert_eq!(shown(Some(vec![("u".to_owned(), vec![0, 1]), ("t".to_owned(), vec![0, 9])])), expected);
    assert_eq!(shown(Some(vec![("x".to_owned(), vec![0])])), []);
}

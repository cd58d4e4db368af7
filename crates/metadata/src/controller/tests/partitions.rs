//! Partitions added, and ISRs altered.

use super::*;
use crate::{AlterPartition, AlteredPartition, IsrChange, NewPartitions, Recovery};

/// Adds partitions to a topic that has two, with two replicas each, in a cluster of three brokers.
fn check_add(count: i32, assignments: Option<&[&[i32]]>, expected: &str) {
    let mut cluster = Cluster::of(3);
    cluster.create(vec![topic("t", 2, 2)]);
    let assignments = assignments.map(|given| given.iter().map(|replicas| replicas.to_vec()).collect());
    let wanted = NewPartitions { topic: "t".to_owned(), count, assignments };
    for validate_only in [true, false] {
        let request = Request::CreatePartitions {
            topics: vec![wanted.clone()],
            validate_only,
            seed: 3,
            permits: Permits::Unbounded,
        };
        let Ok(Reply::CreatePartitions(results)) = cluster.ask(request) else { panic!() };
        assert_eq!(variant(&results[0].1), expected, "{wanted:?}");
        let after = if expected == "ok" && !validate_only { count } else { 2 };
        assert_eq!(cluster.image().topic("t").unwrap().partitions.len() as i32, after);
    }
}

#[test]
fn partitions_are_only_ever_added() {
    check_add(5, None, "ok");
    check_add(2, None, "InvalidPartitions");
    check_add(1, None, "InvalidPartitions");
    check_add(-1, None, "InvalidPartitions");
    check_add(20_000, None, "PolicyViolation");
    check_add(3, Some(&[&[3, 1]]), "ok");
    check_add(3, Some(&[]), "InvalidReplicaAssignment");
    check_add(3, Some(&[&[1]]), "InvalidReplicaAssignment");
    check_add(3, Some(&[&[1, 9]]), "InvalidReplicaAssignment");
    check_add(4, Some(&[&[1, 2], &[2, 2]]), "InvalidReplicaAssignment");
}

#[test]
fn partitions_of_unknown_or_repeated_topics_are_refused() {
    let mut cluster = Cluster::of(1);
    cluster.create(vec![topic("t", 1, 1)]);
    let add = |name: &str| NewPartitions { topic: name.to_owned(), count: 2, assignments: None };
    let request = Request::CreatePartitions {
        topics: vec![add("x"), add("t"), add("t")],
        validate_only: false,
        seed: 1,
        permits: Permits::Unbounded,
    };
    let Ok(Reply::CreatePartitions(results)) = cluster.ask(request) else { panic!() };
    let shown: Vec<_> = results.iter().map(|(_, result)| variant(result)).collect();
    assert_eq!(shown, ["UnknownTopicOrPartition", "InvalidRequest"]);
}

#[test]
fn a_request_of_very_many_topics_is_looked_through_once() {
    let mut cluster = Cluster::of(1);
    let add = |n: usize| NewPartitions { topic: format!("t{n}"), count: 2, assignments: None };
    // Were each compared with all others, this would take minutes.
    let topics = (0..200_000).map(add).collect();
    let request =
        Request::CreatePartitions { topics, validate_only: false, seed: 1, permits: Permits::Unbounded };
    let Ok(Reply::CreatePartitions(results)) = cluster.ask(request) else { panic!() };
    assert_eq!(results.len(), 200_000);
}

/// A change that the leader, broker 1, may make to partition 0 of topic t with the replicas 1, 2 and 3.
fn isr_change() -> IsrChange {
    IsrChange {
        topic: id("t"),
        index: 0,
        leader_epoch: 0,
        partition_epoch: 0,
        isr: vec![(1, -1), (3, -1)],
        recovery: Recovery::Recovered,
    }
}

fn check_isr(broker: i32, change: IsrChange, expected: &str) {
    let mut cluster = Cluster::of(4);
    let new = NewTopic { assignments: vec![(0, vec![1, 2, 3])], ..topic("t", -1, -1) };
    cluster.create(vec![new]);
    let broker_epoch = cluster.epoch(broker);
    let request = AlterPartition { broker, broker_epoch, partitions: vec![change] };
    let Ok(Reply::AlterPartition(results)) = cluster.ask(Request::AlterPartition(request.clone())) else {
        panic!()
    };
    let result = &results[0].2;
    assert_eq!(variant(result), expected, "{request:?}");
    if let Ok(altered) = result {
        let isr: Vec<_> = request.partitions[0].isr.iter().map(|(id, _)| *id).collect();
        let partition = cluster.image().partition("t", 0).unwrap();
        assert_eq!(partition.isr, isr);
        let expected = AlteredPartition {
            leader: partition.leader,
            leader_epoch: partition.leader_epoch,
            isr,
            recovery: partition.recovery,
            partition_epoch: partition.partition_epoch,
        };
        assert_eq!(*altered, expected);
    }
}

#[test]
fn a_leader_changes_its_isr() {
    check_isr(1, isr_change(), "ok");
    check_isr(1, IsrChange { isr: vec![(1, -1)], ..isr_change() }, "ok");
    check_isr(2, isr_change(), "InvalidRequest");
    check_isr(1, IsrChange { isr: vec![(1, -1), (4, -1)], ..isr_change() }, "InvalidRequest");
    check_isr(1, IsrChange { isr: vec![(2, -1)], ..isr_change() }, "InvalidRequest");
    check_isr(1, IsrChange { isr: vec![(1, -1), (1, -1)], ..isr_change() }, "InvalidRequest");
    check_isr(1, IsrChange { isr: vec![(1, -1), (2, 99)], ..isr_change() }, "IneligibleReplica");
    check_isr(1, IsrChange { recovery: Recovery::Recovering, ..isr_change() }, "InvalidRequest");
    check_isr(1, IsrChange { leader_epoch: 1, ..isr_change() }, "NotController");
    check_isr(1, IsrChange { leader_epoch: -1, ..isr_change() }, "FencedLeaderEpoch");
    check_isr(1, IsrChange { partition_epoch: -1, ..isr_change() }, "InvalidUpdateVersion");
    check_isr(1, IsrChange { index: 1, ..isr_change() }, "UnknownTopicOrPartition");
    check_isr(1, IsrChange { topic: id("u"), ..isr_change() }, "UnknownTopicId");
}

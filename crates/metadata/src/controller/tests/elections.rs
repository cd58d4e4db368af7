//! Leaders elected on request and by the host's rounds.

use super::*;
use crate::ElectionKind;

/// Topic t with a partition on brokers 1, 2 and 3 per preferred leader, all led by broker 3.
fn cluster(preferred: &[i32], statics: &[(&str, &str)]) -> Cluster {
    let mut cluster = Cluster::with(3, statics);
    let replicas = |first: &i32| [&[*first][..], &[3, 1, 2]].concat();
    let distinct = |first: &i32| {
        let mut replicas = replicas(first);
        let again = replicas.iter().skip(1).position(|id| id == first).unwrap() + 1;
        replicas.remove(again);
        replicas
    };
    let assignments = (0..).zip(preferred.iter().map(distinct)).collect();
    cluster.create(vec![NewTopic { assignments, ..topic("t", -1, -1) }]);
    for broker in [1, 2] {
        fence(&mut cluster, broker, true);
        fence(&mut cluster, broker, false);
    }
    cluster
}

fn elect(cluster: &mut Cluster, kind: ElectionKind, partitions: Option<&[i32]>) -> Vec<(i32, String)> {
    let partitions = partitions.map(|indexes| indexes.iter().map(|index| ("t".to_owned(), *index)).collect());
    let Ok(Reply::ElectLeaders(results)) = cluster.ask(Request::ElectLeaders { kind, partitions }) else {
        panic!()
    };
    results.iter().map(|(_, index, result)| (*index, variant(result))).collect()
}

fn shown(results: &[(i32, &str)]) -> Vec<(i32, String)> {
    results.iter().map(|(index, text)| (*index, (*text).to_owned())).collect()
}

#[test]
fn a_preferred_leader_is_elected_if_it_is_in_sync() {
    let mut cluster = cluster(&[1, 3], &[]);
    assert_eq!(state(&cluster), (3, vec![3], vec![], 1));
    let out = elect(&mut cluster, ElectionKind::Preferred, Some(&[0, 1, 2]));
    let expected =
        [(0, "PreferredLeaderNotAvailable"), (1, "ElectionNotNeeded"), (2, "UnknownTopicOrPartition")];
    assert_eq!(out, shown(&expected));
    set_isr(&mut cluster, &[3, 1]).unwrap();
    assert_eq!(elect(&mut cluster, ElectionKind::Preferred, None), shown(&[(0, "ok")]));
    assert_eq!(state(&cluster), (1, vec![3, 1], vec![], 2));
    assert_eq!(elect(&mut cluster, ElectionKind::Preferred, None), []);
}

#[test]
fn an_unclean_leader_is_elected_only_where_there_is_none() {
    let mut cluster = cluster(&[1], &[]);
    let elect = |cluster: &mut Cluster| elect(cluster, ElectionKind::Unclean, Some(&[0]));
    assert_eq!(elect(&mut cluster), shown(&[(0, "ElectionNotNeeded")]));
    for broker in [1, 2, 3] {
        fence(&mut cluster, broker, true);
    }
    assert_eq!(elect(&mut cluster), shown(&[(0, "EligibleLeadersNotAvailable")]));
    fence(&mut cluster, 2, false);
    assert_eq!(state(&cluster).0, -1);
    assert_eq!(elect(&mut cluster), shown(&[(0, "ok")]));
    assert_eq!(state(&cluster), (2, vec![2], vec![], 3));
    let recovery = |cluster: &Cluster| cluster.image().partition("t", 0).unwrap().recovery;
    assert_eq!(recovery(&cluster), crate::Recovery::Recovering);
    set_isr(&mut cluster, &[2]).unwrap();
    assert_eq!(recovery(&cluster), crate::Recovery::Recovered);
}

#[test]
fn balancing_gives_back_a_bounded_number_at_once() {
    let mut cluster = cluster(&[1, 2, 1], &[]);
    fence(&mut cluster, 3, true);
    fence(&mut cluster, 3, false);
    let balance = |cluster: &mut Cluster, changes_max| {
        let (records, reply) = cluster.decide(Request::BalanceLeaders { changes_max }).unwrap();
        let Reply::BalanceLeaders(more) = reply else { panic!() };
        (records.len(), more)
    };
    assert_eq!(balance(&mut cluster, 5), (0, false), "nobody else is in sync");
    for index in 0..3 {
        let topic = id("t");
        let change = crate::PartitionChange { index, topic, isr: Some(vec![1, 2, 3]), ..Default::default() };
        let change = crate::PartitionChange { leader: Some(3), elr: Some(Vec::new()), ..change };
        cluster.controller.replay(Record::PartitionChange(change));
    }
    assert_eq!(balance(&mut cluster, 2), (2, true));
    assert_eq!(balance(&mut cluster, 2), (1, false));
    assert_eq!(balance(&mut cluster, 2), (0, false));
    let leaders: Vec<_> =
        cluster.image().topic("t").unwrap().partitions.iter().map(|one| one.leader).collect();
    assert_eq!(leaders, [1, 2, 1]);
}

#[test]
fn a_topic_that_begins_to_allow_loss_gets_leaders_in_the_next_round() {
    let mut cluster = cluster(&[1, 2], &[]);
    fence(&mut cluster, 3, true);
    let round = |cluster: &mut Cluster, changes_max| {
        cluster.ask(Request::ElectUncleanLeaders { changes_max }).unwrap()
    };
    assert_eq!(round(&mut cluster, 9), Reply::ElectUncleanLeaders(false));
    assert_eq!(state(&cluster), (-1, vec![], vec![3], 2));
    cluster.controller.replay(Record::Config {
        resource: Resource::topic("t"),
        name: "unclean.leader.election.enable".to_owned(),
        value: Some("true".to_owned()),
    });
    assert_eq!(round(&mut cluster, 1), Reply::ElectUncleanLeaders(true));
    assert_eq!(state(&cluster), (1, vec![1], vec![], 3));
    assert_eq!(cluster.image().partition("t", 1).unwrap().leader, -1);
    assert_eq!(round(&mut cluster, 1), Reply::ElectUncleanLeaders(false));
    assert_eq!(cluster.image().partition("t", 1).unwrap().leader, 2);
}

#[test]
fn the_last_leader_is_remembered_and_taken_back_when_nobody_is_eligible() {
    let mut cluster = Cluster::with(2, &[("min.insync.replicas", "2")]);
    cluster.create(vec![NewTopic { assignments: vec![(0, vec![1, 2])], ..topic("t", -1, -1) }]);
    fence(&mut cluster, 2, true);
    let lost = RegisterBroker { fenced: true, synced: false, ..registration(2, 2) };
    cluster.ask(Request::RegisterBroker(lost)).unwrap();
    assert_eq!(state(&cluster), (1, vec![1], vec![], 0));
    let lost = RegisterBroker { fenced: true, synced: false, ..registration(1, 2) };
    cluster.ask(Request::RegisterBroker(lost)).unwrap();
    assert_eq!(state(&cluster), (-1, vec![], vec![], 1));
    assert_eq!(cluster.image().partition("t", 0).unwrap().elr_last_known, [1]);
    fence(&mut cluster, 2, false);
    assert_eq!(state(&cluster).0, -1, "broker 1 had led last");
    fence(&mut cluster, 1, false);
    assert_eq!(state(&cluster), (1, vec![1], vec![], 2));
    let partition = cluster.image().partition("t", 0).unwrap();
    assert_eq!(partition.recovery, crate::Recovery::Recovering);
    assert_eq!(partition.elr_last_known, [0; 0]);
}

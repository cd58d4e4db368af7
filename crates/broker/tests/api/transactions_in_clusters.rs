//! Transactions over several nodes: a coordinator on one, partitions on others, and each of them lost in the middle.

use crate::clusters::{ALL, known};
use crate::harness::{Client, Cluster, Topic, Transactional, code, committed};
use crate::transactions::describe;
use wire::{CreateTopicsRequest, ErrorCode, FindCoordinatorRequest, create_topics_request::CreatableTopic};

const SMALL: &[(&str, &str)] = &[
    ("transaction.state.log.num.partitions", "3"),
    ("transaction.state.log.replication.factor", "3"),
    ("transaction.state.log.min.isr", "2"),
];

async fn create(cluster: &Cluster, name: &str) -> Topic {
    let topic =
        CreatableTopic { name: name.into(), num_partitions: 3, replication_factor: 3, ..Default::default() };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 5000, ..Default::default() };
    let response = cluster.client(1).call(7, &request).await;
    assert_eq!(response.topics[0].error_code, 0, "{:?}", response.topics[0].error_message);
    for node in ALL {
        known(cluster, node, name).await;
    }
    Topic { name: name.into(), id: response.topics[0].topic_id }
}

/// Who coordinates a transactional id, by a node that runs; waits until that is known and runs.
async fn coordinator(cluster: &Cluster, asked: i32, id: &str) -> i32 {
    let request =
        FindCoordinatorRequest { key_type: 1, coordinator_keys: vec![id.into()], ..Default::default() };
    for _ in 0..400 {
        let found = cluster.client(asked).call(6, &request).await.coordinators.remove(0);
        if found.error_code == 0 && cluster.is_running(found.node_id) {
            return found.node_id;
        }
        cluster.pass(50).await;
    }
    panic!("node {asked} finds no coordinator of {id}");
}

/// Who leads partition 0.
async fn leader(cluster: &Cluster, asked: i32, topic: &Topic) -> i32 {
    for _ in 0..400 {
        let leader = known(cluster, asked, &topic.name).await.partitions[0].leader_id;
        if cluster.is_running(leader) {
            return leader;
        }
        cluster.pass(50).await;
    }
    panic!("nobody leads {}", topic.name);
}

async fn send(cluster: &Cluster, to: i32, producer: &mut Transactional, topic: &Topic, value: &str) {
    let answer = producer.send(&mut cluster.client(to), 13, topic, &[value]).await;
    assert_eq!(answer.error_code, 0, "{:?}", answer.error_message);
}

async fn until_seen(client: &mut Client, cluster: &Cluster, topic: &Topic, expected: &[&str]) {
    let mut seen = Vec::new();
    for _ in 0..400 {
        seen = committed(client, topic).await.0;
        if seen == expected {
            return;
        }
        cluster.pass(50).await;
    }
    panic!("{seen:?} are seen, not {expected:?}");
}

#[tokio::test(start_paused = true)]
async fn a_coordinator_ends_transactions_in_partitions_of_other_nodes() {
    let cluster = Cluster::of_three_with(SMALL).await;
    let topic = create(&cluster, "t").await;
    let mut is_ever_apart = false;
    let mut expected = Vec::new();
    let leader = leader(&cluster, 1, &topic).await;
    for round in 0..6 {
        let id = format!("t-{round}");
        let at = coordinator(&cluster, 1, &id).await;
        is_ever_apart |= at != leader;
        let mut client = cluster.client(at);
        let mut producer = Transactional::init(&mut client, &id).await;
        send(&cluster, leader, &mut producer, &topic, &id).await;
        let is_committed = round % 3 != 1;
        producer.end_patiently(&mut client, 5, is_committed).await;
        expected.extend(is_committed.then_some(id));
    }
    assert!(is_ever_apart);
    let expected: Vec<_> = expected.iter().map(String::as_str).collect();
    until_seen(&mut cluster.client(leader), &cluster, &topic, &expected).await;
    let elsewhere = ALL.into_iter().find(|node| *node != leader).unwrap();
    let mut stranger = cluster.client(elsewhere);
    let refused = describe(&mut stranger, "t-0").await.error_code;
    let at = coordinator(&cluster, 1, "t-0").await;
    assert_eq!(refused, if at == elsewhere { 0 } else { code(ErrorCode::NotCoordinator) });
    cluster.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn a_prepared_transaction_is_ended_by_the_next_coordinator() {
    for is_committed in [true, false] {
        let cluster = Cluster::of_three_with(SMALL).await;
        let topic = create(&cluster, "t").await;
        let first = leader(&cluster, 1, &topic).await;
        let mut id = String::new();
        let mut at = first;
        for number in 0..20 {
            id = format!("t-{number}");
            at = coordinator(&cluster, 1, &id).await;
            if at != first {
                break;
            }
        }
        assert_ne!(at, first);
        let mut client = cluster.client(at);
        let mut producer = Transactional::init(&mut client, &id).await;
        send(&cluster, first, &mut producer, &topic, "a").await;
        // The markers cannot get there before the coordinator is dead.
        cluster.set_cut(first, true);
        assert_eq!(producer.end(&mut client, 5, is_committed).await.error_code, 0);
        cluster.kill(at);
        cluster.set_cut(first, false);
        let expected: &[&str] = if is_committed { &["a"] } else { &[] };
        until_seen(&mut cluster.client(leader(&cluster, first, &topic).await), &cluster, &topic, expected)
            .await;
        let next = coordinator(&cluster, first, &id).await;
        let mut client = cluster.client(next);
        producer = Transactional::init(&mut client, &id).await;
        let to = leader(&cluster, first, &topic).await;
        send(&cluster, to, &mut producer, &topic, "b").await;
        producer.end_patiently(&mut client, 5, true).await;
        let expected: &[&str] = if is_committed { &["a", "b"] } else { &["b"] };
        until_seen(&mut cluster.client(to), &cluster, &topic, expected).await;
        cluster.assert_sound();
    }
}

#[tokio::test(start_paused = true)]
async fn a_transaction_goes_on_with_the_next_leader_of_its_partition() {
    let cluster = Cluster::of_three_with(SMALL).await;
    let topic = create(&cluster, "t").await;
    let first = leader(&cluster, 1, &topic).await;
    let mut id = String::new();
    let mut at = first;
    for number in 0..20 {
        id = format!("t-{number}");
        at = coordinator(&cluster, 1, &id).await;
        if at != first {
            break;
        }
    }
    assert_ne!(at, first);
    let mut client = cluster.client(at);
    let mut producer = Transactional::init(&mut client, &id).await;
    send(&cluster, first, &mut producer, &topic, "a").await;
    cluster.kill(first);
    let next = leader(&cluster, at, &topic).await;
    assert_ne!(next, first);
    send(&cluster, next, &mut producer, &topic, "b").await;
    producer.end_patiently(&mut client, 5, true).await;
    until_seen(&mut cluster.client(next), &cluster, &topic, &["a", "b"]).await;
    cluster.assert_sound();
}

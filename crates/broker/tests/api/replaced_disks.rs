//! Disks that were replaced, restored or damaged while their nodes were away: what lies there counts for what it is, not
//! for what the metadata remember of it, and its node gets back to work by itself.

use crate::{
    clusters::ALL,
    harness::{Cluster, Topic, batch, code},
    replication::{create, partitions, produce_somewhere, read_at, sorted, until, until_in_sync},
};
use broker::Config;
use log::testing::MemoryDisk;
use std::path::Path;
use wire::{
    DescribeTopicPartitionsRequest, ElectLeadersRequest, ErrorCode,
    describe_topic_partitions_request::TopicRequest, elect_leaders_request::TopicPartitions,
};

const SEGMENT: &str = "/data/t-0/00000000000000000000.log";

fn only_broker(config: &mut Config) {
    config.is_controller = false;
    config.controller_endpoints.clear();
}

/// Three controllers with brokers, and nodes 4 and 5 that are only brokers: they can be away together.
async fn of_five() -> Cluster {
    let cluster = Cluster::of_three().await;
    for node in [4, 5] {
        cluster.start_as(node, node, &ALL, only_broker).await.unwrap().unwrap();
    }
    cluster
}

async fn start(cluster: &Cluster, node: i32) {
    cluster.start_as(node, node, &ALL, only_broker).await.unwrap().unwrap();
}

async fn stays_without_leader(cluster: &Cluster, topic: &Topic) {
    for _ in 0..60 {
        let seen = partitions(cluster, 1, topic).await;
        assert_eq!(seen[0].leader_id, -1, "{seen:?}");
        cluster.pass(100).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_whose_disk_was_replaced_gets_its_replicas_back() {
    for is_killed in [true, false] {
        let cluster = Cluster::of_three().await;
        let replicas: [&[i32]; 2] = [&[1, 2, 3], &[3, 1, 2]];
        let topic = create(&cluster, "t", &replicas, &[("min.insync.replicas", "2")]).await;
        for index in [0, 1] {
            produce_somewhere(&cluster, 1, &topic, index, "before").await;
        }
        if is_killed {
            cluster.kill(3);
        } else {
            cluster.stop(3).await;
        }
        cluster.set_disk(3, MemoryDisk::new());
        cluster.start(3, &ALL).await.unwrap().unwrap();
        until_in_sync(&cluster, 1, &topic, &ALL).await;
        cluster.pass(1000).await;
        for index in [0, 1] {
            assert_eq!(read_at(&cluster, 3, &topic, index).await, ["before"]);
        }
        assert!(partitions(&cluster, 1, &topic).await.iter().all(|one| one.offline_replicas.is_empty()));
        cluster.assert_sound();
    }
}

#[tokio::test(start_paused = true)]
async fn an_empty_disk_leads_nothing_that_was_acknowledged_on_the_old_one() {
    let cluster = of_five().await;
    let topic = create(&cluster, "t", &[&[4, 5]], &[]).await;
    cluster.kill(5);
    until(&cluster, 1, &topic, |one| one.isr_nodes == [4]).await;
    produce_somewhere(&cluster, 1, &topic, 0, "only on 4").await;
    cluster.kill(4);
    cluster.set_disk(4, MemoryDisk::new());
    start(&cluster, 4).await;
    start(&cluster, 5).await;
    stays_without_leader(&cluster, &topic).await;
    // Whoever would rather lose records can say so.
    let named = TopicPartitions { topic: "t".into(), partitions: vec![0] };
    let request =
        ElectLeadersRequest { election_type: 1, topic_partitions: Some(vec![named]), timeout_ms: 1000 };
    assert_eq!(cluster.client(1).call(2, &request).await.error_code, 0);
    produce_somewhere(&cluster, 1, &topic, 0, "anew").await;
    until_in_sync(&cluster, 1, &topic, &[4, 5]).await;
    cluster.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn a_directory_that_was_restored_from_a_copy_leads_nothing_that_is_not_in_it() {
    let cluster = of_five().await;
    let topic = create(&cluster, "t", &[&[4, 5]], &[("min.insync.replicas", "2")]).await;
    produce_somewhere(&cluster, 1, &topic, 0, "in the copy").await;
    cluster.stop(4).await;
    let copy = cluster.disk(4).after_kill();
    start(&cluster, 4).await;
    produce_somewhere(&cluster, 1, &topic, 0, "not in it").await;
    cluster.kill(5);
    until(&cluster, 1, &topic, |one| one.isr_nodes == [4]).await;
    cluster.kill(4);
    cluster.set_disk(4, copy);
    start(&cluster, 4).await;
    stays_without_leader(&cluster, &topic).await;
    start(&cluster, 5).await;
    until_in_sync(&cluster, 1, &topic, &[4, 5]).await;
    cluster.pass(1000).await;
    assert_eq!(read_at(&cluster, 4, &topic, 0).await, ["in the copy", "not in it"]);
    cluster.assert_sound();
}

/// Cuts the last batch in half, although the checkpoint says that it was on stable storage; gives what was there.
fn damage(cluster: &Cluster, node: i32) -> Vec<u8> {
    let whole = cluster.disk(node).contents(Path::new(SEGMENT)).unwrap();
    cluster.disk(node).put(Path::new(SEGMENT), whole[..whole.len() - 10].to_vec());
    whole
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_cannot_be_opened_is_not_elected_and_is_again_once_it_is_repaired() {
    let cluster = of_five().await;
    let topic = create(&cluster, "t", &[&[4, 5]], &[("min.insync.replicas", "2")]).await;
    produce_somewhere(&cluster, 1, &topic, 0, "on both").await;
    cluster.pass(61_000).await;
    cluster.kill(5);
    until(&cluster, 1, &topic, |one| one.isr_nodes == [4]).await;
    cluster.kill(4);
    let whole = damage(&cluster, 4);
    start(&cluster, 4).await;
    stays_without_leader(&cluster, &topic).await;
    assert_eq!(sorted(&partitions(&cluster, 1, &topic).await[0].offline_replicas), [4, 5]);
    // Repaired while the other is still away: it holds all that was acknowledged.
    cluster.kill(4);
    cluster.disk(4).put(Path::new(SEGMENT), whole);
    start(&cluster, 4).await;
    until(&cluster, 1, &topic, |one| one.leader_id == 4).await;
    cluster.pass(1000).await;
    // Nothing is added before there are two again.
    let answer = cluster.client(4).produce_at(13, &topic, 0, batch(&["b"])).await;
    assert_eq!(answer.error_code, code(ErrorCode::NotEnoughReplicas));
    start(&cluster, 5).await;
    until_in_sync(&cluster, 1, &topic, &[4, 5]).await;
    cluster.pass(1000).await;
    assert_eq!(read_at(&cluster, 5, &topic, 0).await, ["on both"]);
    cluster.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn others_lead_what_cannot_be_opened() {
    let cluster = of_five().await;
    let topic = create(&cluster, "t", &[&[4, 5, 1]], &[("min.insync.replicas", "2")]).await;
    produce_somewhere(&cluster, 1, &topic, 0, "on all").await;
    cluster.pass(61_000).await;
    // Back before anybody has noticed that it was away.
    cluster.kill(4);
    damage(&cluster, 4);
    start(&cluster, 4).await;
    let seen = until(&cluster, 1, &topic, |one| sorted(&one.isr_nodes) == [1, 5] && one.leader_id != 4).await;
    assert_eq!(seen[0].offline_replicas, [4]);
    produce_somewhere(&cluster, 1, &topic, 0, "without 4").await;
    cluster.assert_sound();
}

/// Who leads the only partition, who is in sync, who else holds everything, and who led last (KIP-966).
async fn described(cluster: &Cluster, name: &str) -> (i32, Vec<i32>, Vec<i32>, Vec<i32>) {
    let topics = vec![TopicRequest { name: name.into() }];
    let request = DescribeTopicPartitionsRequest { topics, ..Default::default() };
    let mut answer = cluster.client(1).call(0, &request).await;
    let one = answer.topics.remove(0).partitions.remove(0);
    let eligible = one.eligible_leader_replicas.unwrap();
    (one.leader_id, sorted(&one.isr_nodes), sorted(&eligible), one.last_known_elr.unwrap())
}

async fn until_described(cluster: &Cluster, name: &str, expected: (i32, &[i32], &[i32], &[i32])) {
    let (leader, isr, eligible, last) = expected;
    let expected = (leader, isr.to_vec(), eligible.to_vec(), last.to_vec());
    for _ in 0..400 {
        if described(cluster, name).await == expected {
            return;
        }
        cluster.pass(50).await;
    }
    assert_eq!(described(cluster, name).await, expected, "of {name}");
}

#[tokio::test(start_paused = true)]
async fn who_holds_everything_is_told_until_it_stops_uncleanly_with_records_that_were_not_synced() {
    let cluster = of_five().await;
    let least = ("min.insync.replicas", "2");
    let synced = create(&cluster, "synced", &[&[4, 5]], &[least]).await;
    let cached =
        create(&cluster, "cached", &[&[4, 5]], &[least, ("odradek.ack.durability", "page-cache")]).await;
    for topic in [&synced, &cached] {
        until_in_sync(&cluster, 1, topic, &[4, 5]).await;
        produce_somewhere(&cluster, 1, topic, 0, "a").await;
        until_described(&cluster, &topic.name, (4, &[4, 5], &[], &[])).await;
    }
    cluster.kill(5);
    for name in ["synced", "cached"] {
        until_described(&cluster, name, (4, &[4], &[5], &[])).await;
    }
    cluster.kill(4);
    for name in ["synced", "cached"] {
        until_described(&cluster, name, (-1, &[], &[4, 5], &[4])).await;
    }
    start(&cluster, 5).await;
    until_described(&cluster, "synced", (5, &[5], &[4], &[])).await;
    until_described(&cluster, "cached", (-1, &[], &[4], &[4])).await;
    // It has led last, and nobody is known any more to hold everything: as in Kafka, it leads again.
    start(&cluster, 4).await;
    until_described(&cluster, "synced", (5, &[4, 5], &[], &[])).await;
    until_described(&cluster, "cached", (4, &[4, 5], &[], &[])).await;
    for (topic, node) in [(&synced, 5), (&cached, 4)] {
        assert_eq!(read_at(&cluster, node, topic, 0).await, ["a"]);
    }
    cluster.assert_sound();
}

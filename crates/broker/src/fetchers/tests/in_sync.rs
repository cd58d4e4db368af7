//! Who is in sync, and what that means for acknowledgements and readers.

use super::{
    Cluster, batch,
    client::{fetch, produce},
    cluster::code,
};
use wire::{
    ErrorCode, FetchRequest, ListOffsetsRequest,
    list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
};

#[tokio::test(start_paused = true)]
async fn followers_that_fall_behind_leave_and_come_back_when_they_have_caught_up() {
    let mut cluster = Cluster::start(3, &[]).await;
    let topic = cluster.create("t", &[1, 2, 3], &[("min.insync.replicas", "2")]).await;
    cluster.produce_all(1, &topic, -1, &["a"]).await;
    // The controller has not noticed yet: the leader does.
    cluster.kill(3, false);
    let mut client = cluster.client(1);
    client.send(13, &produce(&topic, 0, -1, batch(&["b"]))).await;
    cluster.pass(500).await;
    assert!(!client.has_answer().await, "one in sync lacks it");
    cluster.pass(9000).await;
    assert_eq!(cluster.partition("t"), (1, vec![1, 2]));
    cluster.produce_all(1, &topic, -1, &["c"]).await;
    cluster.kill(2, false);
    // Who has everything is in sync. Who asks for less gets it, but nobody sees it yet (KIP-966).
    cluster.produce_all(1, &topic, 1, &["e"]).await;
    cluster.pass(9000).await;
    assert_eq!(cluster.partition("t"), (1, vec![1]));
    let refused = cluster.produce(1, &topic, -1, "d").await;
    assert_eq!(refused.error_code, code(ErrorCode::NotEnoughReplicas));
    assert_eq!(cluster.offsets(1, &topic).high_watermark, 3);
    cluster.run(2).await;
    cluster.run(3).await;
    cluster.pass(3000).await;
    assert_eq!(cluster.partition("t"), (1, vec![1, 2, 3]));
    cluster.produce_all(1, &topic, -1, &["f"]).await;
    cluster.pass(1000).await;
    assert_eq!(cluster.read(3, &topic).await, ["a", "b", "c", "e", "f"]);
    cluster.assert_equal(&topic).await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_cluster_asks_the_controller_nothing_and_keeps_everybody_in_sync() {
    let cluster = Cluster::start(3, &[]).await;
    let topic = cluster.create("t", &[1, 2, 3], &[]).await;
    cluster.produce_all(1, &topic, -1, &["a"]).await;
    cluster.pass(100_000).await;
    assert_eq!(cluster.partition("t"), (1, vec![1, 2, 3]));
    assert_eq!(cluster.alterations(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_replicas_fetch_does_not_count_as_what_clients_ask() {
    let cluster = Cluster::start(3, &[]).await;
    let topic = cluster.create("t", &[1, 2, 3], &[]).await;
    cluster.produce_all(1, &topic, -1, &["a"]).await;
    cluster.pass(1000).await;
    let before = cluster.requests(1);
    cluster.pass(10_000).await;
    let idle = cluster.requests(1);
    assert!(idle.0 > before.0, "they go on to fetch");
    assert_eq!(idle.1, before.1);
    let mut client = cluster.client(1);
    for version in [4, 14, 15, 18] {
        client.fetch_at(version, &topic, 0, 0).await;
    }
    client.produce_at(13, &topic, 0, batch(&["b"])).await;
    assert_eq!(cluster.requests(1).1, before.1 + 5);
}

#[tokio::test(start_paused = true)]
async fn followers_answer_only_consumers_that_know_of_them() {
    let cluster = Cluster::start(3, &[]).await;
    let topic = cluster.create("t", &[1, 2, 3], &[]).await;
    cluster.produce_all(1, &topic, -1, &["a"]).await;
    cluster.pass(1000).await;
    let old = cluster.client(2).fetch_at(10, &topic, 0, 0).await;
    assert_eq!(old.error_code, code(ErrorCode::NotLeaderOrFollower));
    let new = cluster.client(2).fetch_at(18, &topic, 0, 0).await;
    assert_eq!((new.error_code, new.high_watermark), (0, 1));
    let topics = vec![ListOffsetsTopic {
        name: topic.name.clone(),
        partitions: vec![ListOffsetsPartition {
            timestamp: -1,
            current_leader_epoch: -1,
            ..Default::default()
        }],
    }];
    let answer =
        cluster.client(2).call(7, &ListOffsetsRequest { replica_id: -1, topics, ..Default::default() }).await;
    assert_eq!(answer.topics[0].partitions[0].error_code, code(ErrorCode::NotLeaderOrFollower));
    // A node without a replica.
    let elsewhere = cluster.create("elsewhere", &[1], &[]).await;
    let answer = cluster.client(2).fetch_at(18, &elsewhere, 0, 0).await;
    assert_eq!(answer.error_code, code(ErrorCode::NotLeaderOrFollower));
}

#[tokio::test(start_paused = true)]
async fn a_new_leader_tells_no_end_before_it_knows_its_predecessors() {
    let mut cluster = Cluster::start(3, &[]).await;
    let topic = cluster.create("t", &[1, 2, 3], &[]).await;
    cluster.produce_all(1, &topic, -1, &["a", "b"]).await;
    // Nobody can tell the follower that they are safe, nor the new leader after.
    cluster.kill(3, false);
    cluster.kill(1, false);
    cluster.fence(1);
    cluster.pass(300).await;
    assert_eq!(cluster.partition("t").0, 2);
    assert!(cluster.offsets(2, &topic).high_watermark < 2);
    let latest = |version| {
        let topics = vec![ListOffsetsTopic {
            name: topic.name.clone(),
            partitions: vec![ListOffsetsPartition {
                timestamp: -1,
                current_leader_epoch: -1,
                ..Default::default()
            }],
        }];
        let (mut client, request) =
            (cluster.client(2), ListOffsetsRequest { replica_id: -1, topics, ..Default::default() });
        async move { client.call(version, &request).await.topics[0].partitions[0].clone() }
    };
    assert_eq!(latest(5).await.error_code, code(ErrorCode::OffsetNotAvailable));
    assert_eq!(latest(4).await.error_code, code(ErrorCode::LeaderNotAvailable));
    cluster.fence(3);
    cluster.pass(300).await;
    assert_eq!((latest(5).await.error_code, latest(5).await.offset), (0, 2));
}

#[tokio::test(start_paused = true)]
async fn a_follower_with_a_wrong_epoch_or_of_an_earlier_life_is_refused_and_counts_for_nothing() {
    let mut cluster = Cluster::start(3, &[]).await;
    let topic = cluster.create("t", &[1, 2], &[]).await;
    cluster.kill(2, false);
    cluster.produce_all(1, &topic, 1, &["a"]).await;
    let epoch = cluster.image().broker(2).unwrap().epoch;
    let fetched = |node: i32, broker_epoch: i64, leader_epoch: i32| {
        let mut request = FetchRequest { replica_id: -1, ..fetch(&topic, 0, 1) };
        request.replica_state.replica_id = node;
        request.replica_state.replica_epoch = broker_epoch;
        request.topics[0].partitions[0].current_leader_epoch = leader_epoch;
        let mut client = cluster.client(1);
        async move { client.call(18, &request).await.responses[0].partitions[0].error_code }
    };
    let leader_epoch = cluster.image().partition("t", 0).unwrap().leader_epoch;
    assert_eq!(fetched(3, -1, leader_epoch).await, code(ErrorCode::UnknownLeaderEpoch));
    assert_eq!(fetched(3, -1, -1).await, code(ErrorCode::NotLeaderOrFollower));
    assert_eq!(fetched(2, epoch - 1, leader_epoch).await, code(ErrorCode::NotLeaderOrFollower));
    assert_eq!(fetched(2, epoch, leader_epoch + 1).await, code(ErrorCode::UnknownLeaderEpoch));
    assert_eq!(cluster.offsets(1, &topic).high_watermark, 0);
    assert_eq!(fetched(2, epoch, leader_epoch).await, 0);
    assert_eq!(cluster.offsets(1, &topic).high_watermark, 1);
}

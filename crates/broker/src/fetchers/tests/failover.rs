//! Leaders that die: nothing acknowledged is lost, and logs that parted become one again.

use super::{Cluster, batch, client::produce, cluster::code};
use std::time::Duration;
use wire::{
    ErrorCode, OffsetForLeaderEpochRequest,
    offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic},
};

#[tokio::test(start_paused = true)]
async fn what_is_acknowledged_by_all_is_on_every_replica() {
    let cluster = Cluster::start(3, &[]).await;
    let topic = cluster.create("t", &[1, 2, 3], &[]).await;
    let values: Vec<_> = (0..50).map(|value| value.to_string()).collect();
    let values: Vec<_> = values.iter().map(String::as_str).collect();
    cluster.produce_all(1, &topic, -1, &values).await;
    for id in 1..=3 {
        assert_eq!(cluster.offsets(id, &topic).end, 50, "node {id}");
    }
    cluster.pass(1000).await;
    assert_eq!(cluster.read(2, &topic).await, values);
    cluster.assert_equal(&topic).await;
}

#[tokio::test(start_paused = true)]
async fn a_follower_whose_connection_breaks_while_there_is_nothing_new_goes_on() {
    let cluster = Cluster::start(3, &[]).await;
    let topic = cluster.create("t", &[1, 2, 3], &[]).await;
    cluster.produce_all(1, &topic, -1, &["a"]).await;
    for round in 0..3 {
        cluster.pass(2000).await;
        cluster.reset_connections();
        cluster.pass(2000).await;
        cluster.produce_all(1, &topic, -1, &["b"]).await;
        assert_eq!(cluster.partition("t"), (1, vec![1, 2, 3]), "round {round}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_waits_for_the_slowest_disk_in_sync_and_not_for_its_page_cache() {
    let cluster = Cluster::start(3, &[]).await;
    let topic = cluster.create("t", &[1, 2, 3], &[]).await;
    cluster.produce_all(1, &topic, -1, &["a"]).await;
    cluster.tasks(3).hold_next_job();
    let mut client = cluster.client(1);
    client.send(13, &produce(&topic, 0, -1, batch(&["b"]))).await;
    cluster.pass(300).await;
    assert_eq!(cluster.offsets(3, &topic).end, 2, "it has it in memory");
    assert!(!client.has_answer().await);
    cluster.tasks(3).release();
    let answer = client.receive::<wire::ProduceRequest>(13).await;
    assert_eq!(answer.responses[0].partition_responses[0].error_code, 0);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_killed_takes_nothing_acknowledged_along() {
    for is_power_cut in [false, true] {
        let mut cluster = Cluster::start(3, &[]).await;
        let topic = cluster.create("t", &[1, 2, 3], &[]).await;
        let mut acknowledged = Vec::new();
        for round in 0..12 {
            let (leader, _) = cluster.partition("t");
            for value in 0..5 {
                let value = format!("{round}-{value}");
                let answer = cluster.produce(leader, &topic, -1, &value).await;
                if answer.error_code == 0 {
                    acknowledged.push(value);
                }
            }
            // Some are on their way when it dies.
            let mut client = cluster.client(leader);
            client.send(13, &produce(&topic, 0, -1, batch(&["unknown"]))).await;
            tokio::task::yield_now().await;
            cluster.kill(leader, is_power_cut);
            cluster.fence(leader);
            cluster.pass(200).await;
            cluster.run(leader).await;
            cluster.pass(if round % 3 == 0 { 2000 } else { 50 }).await;
        }
        cluster.pass(3000).await;
        cluster.assert_equal(&topic).await;
        assert_eq!(cluster.partition("t").1, [1, 2, 3]);
        let mut read = cluster.read(1, &topic).await;
        read.retain(|value| value != "unknown");
        assert_eq!(read, acknowledged);
        assert_eq!(acknowledged.len(), 60, "a new leader serves at once");
    }
}

#[tokio::test(start_paused = true)]
async fn a_follower_cuts_off_what_its_new_leader_does_not_have() {
    let mut cluster = Cluster::start(3, &[]).await;
    let topic = cluster.create("t", &[1, 2, 3], &[("segment.bytes", "1048576")]).await;
    cluster.produce_all(1, &topic, -1, &["a", "b"]).await;
    cluster.kill(2, false);
    cluster.kill(3, false);
    // Only the leader has them, and nobody else will.
    cluster.produce_all(1, &topic, 1, &["lost-1", "lost-2", "lost-3"]).await;
    cluster.kill(1, false);
    cluster.run_unregistered(2).await;
    cluster.run_unregistered(3).await;
    cluster.fence(1);
    cluster.pass(500).await;
    let (leader, _) = cluster.partition("t");
    assert_ne!(leader, 1);
    cluster.produce_all(leader, &topic, -1, &["c"]).await;
    cluster.run(1).await;
    cluster.pass(3000).await;
    assert_eq!(cluster.read(1, &topic).await, ["a", "b", "c"]);
    cluster.assert_equal(&topic).await;
    // What was cut stays cut.
    cluster.kill(1, true);
    cluster.fence(1);
    cluster.run(1).await;
    cluster.pass(3000).await;
    cluster.assert_equal(&topic).await;
}

#[tokio::test(start_paused = true)]
async fn a_follower_that_lies_behind_its_leaders_first_record_starts_over() {
    let mut cluster = Cluster::start(3, &[]).await;
    let topic = cluster.create("t", &[1, 2, 3], &[]).await;
    cluster.produce_all(1, &topic, -1, &["a", "b"]).await;
    cluster.kill(3, false);
    // Nothing of it waits at the leader any more when the controller notices.
    cluster.pass(1000).await;
    cluster.fence(3);
    cluster.pass(200).await;
    cluster.produce_all(1, &topic, -1, &["c", "d", "e"]).await;
    cluster.client(1).delete_before(&topic, 4).await;
    cluster.run(3).await;
    cluster.pass(3000).await;
    assert_eq!(cluster.offsets(3, &topic).start, 4);
    assert_eq!(cluster.read(3, &topic).await, ["e"]);
    cluster.produce_all(1, &topic, -1, &["f"]).await;
    cluster.pass(1000).await;
    cluster.assert_equal(&topic).await;
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_at_a_leader_that_steps_down_is_told() {
    let mut cluster = Cluster::start(3, &[]).await;
    let topic = cluster.create("t", &[1, 2, 3], &[]).await;
    cluster.produce_all(1, &topic, -1, &["a"]).await;
    cluster.kill(2, false);
    cluster.kill(3, false);
    let (mut producer, mut consumer) = (cluster.client(1), cluster.client(1));
    producer.send(13, &produce(&topic, 0, -1, batch(&["b"]))).await;
    let mut wait = wire::FetchRequest { max_wait_ms: 100_000, ..super::client::fetch(&topic, 0, 1) };
    wait.topics[0].partitions[0].current_leader_epoch =
        cluster.image().partition("t", 0).unwrap().leader_epoch;
    consumer.send(18, &wait).await;
    cluster.pass(100).await;
    assert!(!producer.has_answer().await && !consumer.has_answer().await);
    let begun = tokio::time::Instant::now();
    cluster.fence(1);
    let answer = producer.receive::<wire::ProduceRequest>(13).await;
    let answer = &answer.responses[0].partition_responses[0];
    assert_eq!((answer.error_code, answer.base_offset), (code(ErrorCode::NotLeaderOrFollower), -1));
    let answer = consumer.receive::<wire::FetchRequest>(18).await;
    assert_eq!(answer.responses[0].partitions[0].error_code, code(ErrorCode::FencedLeaderEpoch));
    assert!(begun.elapsed() < Duration::from_millis(100));
    let refused = cluster.produce(1, &topic, -1, "c").await;
    assert_eq!(refused.error_code, code(ErrorCode::NotLeaderOrFollower));
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_has_appended_nothing_knows_where_the_epochs_before_it_end() {
    let mut cluster = Cluster::start(3, &[]).await;
    let topic = cluster.create("t", &[1, 2, 3], &[]).await;
    cluster.produce_all(1, &topic, -1, &["a", "b"]).await;
    cluster.kill(1, false);
    cluster.fence(1);
    cluster.pass(300).await;
    let (second, _) = cluster.partition("t");
    cluster.kill(second, false);
    cluster.fence(second);
    cluster.pass(300).await;
    let (third, _) = cluster.partition("t");
    let epoch = cluster.image().partition("t", 0).unwrap().leader_epoch;
    let asked = |leader_epoch| {
        let partition =
            OffsetForLeaderPartition { leader_epoch, current_leader_epoch: epoch, ..Default::default() };
        let topics = vec![OffsetForLeaderTopic { topic: topic.name.clone(), partitions: vec![partition] }];
        let request = OffsetForLeaderEpochRequest { replica_id: 1, topics };
        let mut client = cluster.client(third);
        async move {
            let answer = &client.call(4, &request).await.topics[0].partitions[0];
            (answer.error_code, answer.leader_epoch, answer.end_offset)
        }
    };
    assert_eq!(asked(epoch - 1).await, (0, epoch - 2, 2), "nothing was appended in it");
    assert_eq!(asked(epoch).await, (0, epoch, 2));
    let refused = cluster.produce(third, &topic, -1, "c").await;
    assert_eq!(refused.error_code, 0, "the only one that is left leads");
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_is_taken_away_goes_with_its_files_and_a_new_one_copies_all() {
    let cluster = Cluster::start(4, &[]).await;
    let topic = cluster.create("t", &[1, 2, 3], &[]).await;
    cluster.produce_all(1, &topic, -1, &["a", "b", "c"]).await;
    cluster.reassign("t", &[4, 2, 1]);
    cluster.pass(3000).await;
    assert_eq!(cluster.partition("t").1, [1, 2, 4]);
    assert_eq!(cluster.image().partition("t", 0).unwrap().replicas, [4, 2, 1]);
    assert!(!cluster.has_files(3, "t-0"));
    cluster.produce_all(cluster.partition("t").0, &topic, -1, &["d"]).await;
    cluster.pass(1000).await;
    cluster.assert_equal(&topic).await;
    // The leader may be taken away as well.
    cluster.reassign("t", &[3, 4]);
    cluster.pass(3000).await;
    let (leader, isr) = cluster.partition("t");
    assert!(leader != 1 && isr == [3, 4], "{leader} leads, in sync are {isr:?}");
    cluster.produce_all(leader, &topic, -1, &["e"]).await;
    cluster.pass(1000).await;
    assert_eq!(cluster.read(3, &topic).await, ["a", "b", "c", "d", "e"]);
    cluster.assert_equal(&topic).await;
    assert!(!cluster.has_files(1, "t-0"));
}

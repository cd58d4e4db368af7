//! Throttled replication (KIP-73), as kafka-reassign-partitions sets it: replicas that come are copied no faster than either
//! side allows, those in sync are not held back, and without the throttle all of it is over at once. And the pace that leaders
//! keep by themselves so that producers do not wait.

use crate::{
    clusters::{ALL, controller},
    harness::{Cluster, Topic, batch, produce},
    replication::{create, move_to, produce_somewhere, until_in_sync},
};
use wire::{
    IncrementalAlterConfigsRequest,
    incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig},
};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const BATCH_BYTES: usize = 50_000;
const BATCHES: usize = 40;

async fn set(cluster: &Cluster, (kind, name): (i8, &str), key: &str, value: Option<&str>) {
    let config = AlterableConfig {
        name: key.into(),
        config_operation: i8::from(value.is_none()),
        value: value.map(str::to_owned),
    };
    let resource =
        AlterConfigsResource { resource_type: kind, resource_name: name.into(), configs: vec![config] };
    let request = IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false };
    let asked = if kind == BROKER { name.parse().unwrap_or(1) } else { 1 };
    let answer = cluster.client(asked).call(1, &request).await.responses.remove(0);
    assert_eq!(answer.error_code, 0, "{:?}", answer.error_message);
}

/// A topic on nodes 1 and 2 with two megabytes.
async fn written(cluster: &Cluster) -> Topic {
    let topic = create(cluster, "t", &[&[1, 2]], &[]).await;
    write(cluster, &topic, BATCHES).await;
    until_in_sync(cluster, 1, &topic, &[1, 2]).await;
    topic
}

async fn write(cluster: &Cluster, topic: &Topic, batches: usize) {
    let value = "x".repeat(BATCH_BYTES);
    for _ in 0..batches {
        produce_somewhere(cluster, 1, topic, 0, &value).await;
    }
}

/// How long it takes until node 3 has all of it.
async fn moving_ms(cluster: &Cluster, topic: &Topic) -> u64 {
    let begun = cluster.elapsed_ms();
    let answer = cluster.client(1).call(1, &move_to(topic, &[1, 2, 3])).await;
    assert_eq!(answer.error_code, 0);
    until_in_sync(cluster, 1, topic, &ALL).await;
    cluster.elapsed_ms() - begun
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_comes_is_copied_as_fast_as_the_throttled_side_allows() {
    // In small pieces, or the first would be all of it.
    let statics = [("replica.fetch.max.bytes", "60000"), ("replica.fetch.response.max.bytes", "60000")];
    let cluster = Cluster::of_three_with(&statics).await;
    let topic = written(&cluster).await;
    let unthrottled = moving_ms(&cluster, &topic).await;
    assert!(unthrottled < 2000, "{unthrottled} ms");
    for (side, throttled, at) in [("leader", "0:1", "1"), ("follower", "0:3", "3"), ("leader", "*", "1")] {
        let answer = cluster.client(1).call(1, &move_to(&topic, &[1, 2])).await;
        assert_eq!(answer.error_code, 0);
        until_in_sync(&cluster, 1, &topic, &[1, 2]).await;
        let (rate, replicas) =
            (format!("{side}.replication.throttled.rate"), format!("{side}.replication.throttled.replicas"));
        set(&cluster, (BROKER, at), &rate, Some("200000")).await;
        set(&cluster, (TOPIC, "t"), &replicas, Some(throttled)).await;
        cluster.pass(1000).await;
        let took = moving_ms(&cluster, &topic).await;
        // Two megabytes at 200 kB a second.
        assert!((8_000..15_000).contains(&took), "{took} ms, throttled at the {side}");
        set(&cluster, (TOPIC, "t"), &replicas, None).await;
        set(&cluster, (BROKER, at), &rate, None).await;
        cluster.pass(15_000).await;
    }
    cluster.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn a_throttle_that_is_taken_off_lets_the_rest_through_and_who_is_in_sync_is_never_held_back() {
    let statics = [("replica.fetch.max.bytes", "60000"), ("replica.fetch.response.max.bytes", "60000")];
    let cluster = Cluster::of_three_with(&statics).await;
    let topic = written(&cluster).await;
    set(&cluster, (BROKER, ""), "leader.replication.throttled.rate", Some("1000")).await;
    set(&cluster, (TOPIC, "t"), "leader.replication.throttled.replicas", Some("*")).await;
    set(&cluster, (BROKER, ""), "follower.replication.throttled.rate", Some("1000")).await;
    set(&cluster, (TOPIC, "t"), "follower.replication.throttled.replicas", Some("*")).await;
    cluster.pass(1000).await;
    let answer = cluster.client(1).call(1, &move_to(&topic, &[1, 2, 3])).await;
    assert_eq!(answer.error_code, 0);
    cluster.pass(10_000).await;
    // Node 3 has hardly anything; node 2 is in sync and follows as ever.
    let begun = cluster.elapsed_ms();
    for _ in 0..5 {
        let answer =
            cluster.client(1).produce_at(13, &topic, 0, batch(&["y".repeat(BATCH_BYTES).as_str()])).await;
        assert_eq!(answer.error_code, 0);
    }
    let took = cluster.elapsed_ms() - begun;
    assert!(took < 1000, "{took} ms");
    until_in_sync(&cluster, 1, &topic, &[1, 2]).await;
    set(&cluster, (TOPIC, "t"), "leader.replication.throttled.replicas", None).await;
    set(&cluster, (TOPIC, "t"), "follower.replication.throttled.replicas", None).await;
    let begun = cluster.elapsed_ms();
    until_in_sync(&cluster, 1, &topic, &ALL).await;
    let took = cluster.elapsed_ms() - begun;
    assert!(took < 3000, "{took} ms");
    cluster.assert_sound();
}

/// How long a replica of twenty megabytes takes to come to one node, while a producer waits for another one that does not answer.
async fn coming_ms(cluster: &Cluster, (topic, to): (&Topic, i32), (other, silent): (&Topic, i32)) -> u64 {
    let mut producer = cluster.client(1);
    cluster.set_pair_cut(1, silent, true);
    producer.send(13, &produce(other, 0, -1, batch(&["waits"]))).await;
    let begun = cluster.elapsed_ms();
    let answer = cluster.client(to).call(1, &move_to(topic, &[1, to])).await;
    assert_eq!(answer.error_code, 0);
    until_in_sync(cluster, 1, topic, &[1, to]).await;
    let took = cluster.elapsed_ms() - begun;
    producer.expect_no_answer();
    cluster.set_pair_cut(1, silent, false);
    until_in_sync(cluster, 1, other, &[1, silent]).await;
    took
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_comes_waits_while_producers_do_unless_that_is_switched_off() {
    let cluster = Cluster::of_three().await;
    // The controller is heard by all.
    let (to, silent) = if controller(&cluster, 1).await == 2 { (2, 3) } else { (3, 2) };
    let topic = create(&cluster, "t", &[&[1]], &[]).await;
    let other = create(&cluster, "u", &[&[1, silent]], &[]).await;
    write(&cluster, &topic, 400).await;
    // What was produced is over.
    cluster.pass(1000).await;
    let paced = coming_ms(&cluster, (&topic, to), (&other, silent)).await;
    // It begins with 32 MiB a second and falls to 8.
    assert!((700..5000).contains(&paced), "{paced} ms");
    let answer = cluster.client(1).call(1, &move_to(&topic, &[1])).await;
    assert_eq!(answer.error_code, 0);
    until_in_sync(&cluster, 1, &topic, &[1]).await;
    set(&cluster, (BROKER, ""), "odradek.catch.up.paced", Some("false")).await;
    cluster.pass(1000).await;
    let unbounded = coming_ms(&cluster, (&topic, to), (&other, silent)).await;
    assert!(unbounded < 500, "{unbounded} ms");
    cluster.assert_sound();
}

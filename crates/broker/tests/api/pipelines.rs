//! Many produce requests under way at once: appended and answered in their order, synced together, and bounded.

use crate::harness::{Client, Node, Topic, batch, produce};
use std::sync::atomic::Ordering;
use wire::{MetadataRequest, ProduceRequest, ProduceResponse, produce_response::PartitionProduceResponse};

async fn node_and_topic(configs: &[(&str, &str)]) -> (Node, Client, Topic) {
    let node = Node::start().await;
    let mut client = node.client();
    let topic = client.create("t", 2, configs).await;
    (node, client, topic)
}

fn only(response: &ProduceResponse) -> &PartitionProduceResponse {
    &response.responses[0].partition_responses[0]
}

#[tokio::test(start_paused = true)]
async fn requests_in_flight_are_appended_and_answered_in_order() {
    let (node, mut client, topic) = node_and_topic(&[]).await;
    for index in 0..5 {
        client.send(13, &produce(&topic, 0, -1, batch(&[&index.to_string()]))).await;
        if index == 2 {
            client.send(12, &MetadataRequest { topics: Some(vec![]), ..Default::default() }).await;
            client.send(13, &produce(&topic, 5, -1, batch(&["nowhere"]))).await;
        }
    }
    for index in 0..5 {
        let answer = client.receive::<ProduceRequest>(13).await;
        assert_eq!((only(&answer).error_code, only(&answer).base_offset), (0, index));
        if index == 2 {
            assert_eq!(client.receive::<MetadataRequest>(12).await.brokers.len(), 1);
            assert_ne!(only(&client.receive::<ProduceRequest>(13).await).error_code, 0);
        }
    }
    assert_eq!(client.read_all(&topic).await, ["0", "1", "2", "3", "4"]);
    node.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_the_disk_is_synced_together() {
    let (node, mut client, topic) = node_and_topic(&[]).await;
    let syncs = || node.disk.switches().syncs.load(Ordering::Relaxed);
    let before = syncs();
    for _ in 0..50 {
        client.send(13, &produce(&topic, 0, -1, batch(&["a"]))).await;
    }
    for index in 0..50 {
        assert_eq!(only(&client.receive::<ProduceRequest>(13).await).base_offset, index);
    }
    assert!(syncs() - before < 10, "{} syncs", syncs() - before);
}

#[tokio::test(start_paused = true)]
async fn what_is_taken_is_counted() {
    let (node, mut client, topic) = node_and_topic(&[]).await;
    let bytes = batch(&["a"]);
    for partition in [0, 0, 7] {
        client.produce_at(13, &topic, partition, bytes.clone()).await;
    }
    let metrics = node.broker.metrics();
    assert_eq!((metrics.batches_in.get(), metrics.bytes_in.get()), (2, 2 * bytes.len() as u64));
    client.fetch(&topic, 0).await;
    assert_eq!(metrics.bytes_out.get(), 2 * bytes.len() as u64);
}

#[tokio::test(start_paused = true)]
async fn many_connections_write_densely_into_one_partition() {
    let (node, mut client, topic) = node_and_topic(&[]).await;
    let mut others: Vec<_> = (0..10).map(|_| node.client()).collect();
    for round in 0..10 {
        for (index, other) in others.iter_mut().enumerate() {
            other.send(13, &produce(&topic, 0, -1, batch(&[&format!("{index}-{round}")]))).await;
        }
    }
    let mut offsets = Vec::new();
    for other in &mut others {
        let mut last = -1;
        for _ in 0..10 {
            let answer = other.receive::<ProduceRequest>(13).await;
            assert_eq!(only(&answer).error_code, 0);
            assert!(only(&answer).base_offset > last, "each connection's own order is kept");
            last = only(&answer).base_offset;
            offsets.push(last);
        }
    }
    offsets.sort();
    assert_eq!(offsets, (0..100).collect::<Vec<_>>());
    assert_eq!(client.read_all(&topic).await.len(), 100);
}

#[tokio::test(start_paused = true)]
async fn more_requests_than_may_wait_and_more_bytes_than_the_backlog_takes_are_all_answered_in_order() {
    let node = Node::with_config(&[], |config| config.backlog_bytes_max = 3000).await;
    let mut client = node.client();
    let topic = client.create("t", 1, &[]).await;
    let bytes = batch(&["x".repeat(100).as_str()]);
    let requests = 5000;
    for round in 0..requests / 500 {
        for _ in 0..500 {
            client.send(13, &produce(&topic, 0, -1, bytes.clone())).await;
        }
        for index in 0..500 {
            let answer = client.receive::<ProduceRequest>(13).await;
            assert_eq!((only(&answer).error_code, only(&answer).base_offset), (0, round * 500 + index));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_no_answers_holds_nobody_else_up() {
    let (node, mut client, topic) = node_and_topic(&[]).await;
    let mut mute = node.client();
    for _ in 0..1024 {
        mute.send(12, &MetadataRequest { topics: None, ..Default::default() }).await;
    }
    node.pass(10).await;
    for _ in 0..500 {
        mute.send(12, &MetadataRequest { topics: None, ..Default::default() }).await;
    }
    node.pass(10).await;
    assert_eq!(client.produce(&topic, batch(&["a"])).await.base_offset, 0);
    node.broker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_full_backlog_holds_up_producers_also_those_without_acks_and_nobody_else() {
    for acks in [0, 1] {
        let node = Node::with_config(&[], |config| config.backlog_bytes_max = 5000).await;
        let mut client = node.client();
        let topic = client.create("t", 1, &[]).await;
        client.produce(&topic, batch(&["first"])).await;
        node.tasks.hold_next_job();
        let value = "x".repeat(1000);
        for _ in 0..50 {
            client.send(9, &produce(&topic, 0, acks, batch(&[&value]))).await;
        }
        // Longer than the request waits for the disk: its answer makes no room.
        node.pass(5000).await;
        assert!(client.unread() >= 30, "acks={acks}: only {} are unread", client.unread());
        let mut other = node.client();
        assert_eq!(other.read_all(&topic).await, ["first"], "readers are not held up");
        node.tasks.release();
        node.pass(1).await;
        assert_eq!(client.unread(), 0, "acks={acks}");
        assert_eq!(other.read_all(&topic).await.len(), 51);
        node.assert_sound();
    }
}

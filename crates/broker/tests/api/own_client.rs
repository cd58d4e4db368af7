//! The client of `crates/client` with a broker in the same process, over connections that break at the wrong moment:
//! what was acknowledged is there once and in order, and a group goes on where it was.

use crate::harness::{Client as Raw, Cut, Node, Reach};
use client::{
    At, Client, Config, Consumer, ConsumerConfig, Delivery, Error, ErrorCode, GroupConsumer, OutOfRange,
    OutRecord, Producer, ProducerConfig,
};
use model::{TopicName, TopicPartition};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use wire::{ApiKey, DeleteTopicsRequest};

async fn start() -> (Node, Reach, Client, Raw) {
    let node = Node::with(&[("group.initial.rebalance.delay.ms", "0")]).await;
    let reach = Reach::default();
    reach.point_at(&node);
    let client = another(&node, &reach).await;
    let raw = node.client();
    (node, reach, client, raw)
}

async fn another(node: &Node, reach: &Reach) -> Client {
    let config = Config::new(vec!["here:9092".into()]);
    Client::connect(node.world_beside(), Arc::new(reach.clone()), config).await.unwrap()
}

async fn send(producer: &Producer, value: usize) -> Delivery {
    let value = Some(format!("{value:04}").into());
    let record = OutRecord { topic: "t".into(), partition: Some(0), value, ..OutRecord::default() };
    producer.send(record).await.unwrap()
}

/// Small batches, so that several are in flight.
fn small_batches() -> ProducerConfig {
    ProducerConfig { batch_bytes: 40, linger_ms: 0, ..ProducerConfig::new() }
}

/// Sends so many records in batches of a few, and checks that each got its own offset.
async fn produce(producer: &Producer, values: std::ops::Range<usize>) {
    let mut deliveries = Vec::new();
    for value in values.clone() {
        deliveries.push(send(producer, value).await);
    }
    for (value, delivery) in values.zip(deliveries) {
        let offset = delivery.wait().await.unwrap().offset;
        assert!(offset == value as i64 || offset == -1, "record {value} at offset {offset}");
    }
}

fn place(partition: i32) -> TopicPartition {
    TopicPartition::new(TopicName::new("t").unwrap(), partition)
}

fn reader(client: &Client, from: i64, out_of_range: OutOfRange) -> Consumer {
    let mut consumer = Consumer::new(client, ConsumerConfig { out_of_range, ..ConsumerConfig::new() });
    consumer.assign(BTreeMap::from([(place(0), from)]));
    consumer
}

/// The values of the next poll that brings any.
async fn some(consumer: &mut Consumer) -> Vec<String> {
    loop {
        let values = values(&consumer.poll().await.unwrap());
        if !values.is_empty() {
            return values;
        }
    }
}

fn values(fetched: &[client::Fetched]) -> Vec<String> {
    let records = fetched.iter().flat_map(|part| &part.records);
    records.map(|record| String::from_utf8(record.value.clone().unwrap().to_vec()).unwrap()).collect()
}

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|value| format!("{value:04}")).collect()
}

#[tokio::test(start_paused = true)]
async fn batches_whose_request_or_answer_was_lost_are_there_once_and_in_order() {
    let (node, reach, client, mut raw) = start().await;
    let topic = raw.create("t", 1, &[]).await;
    let producer = Producer::open(&client, small_batches()).await.unwrap();
    produce(&producer, 0..10).await;
    for (round, cut) in [Cut::Request, Cut::Answer, Cut::Answer, Cut::Request].into_iter().enumerate() {
        reach.cut(ApiKey::Produce, cut);
        produce(&producer, 10 + 30 * round..40 + 30 * round).await;
        reach.assert_cut();
    }
    assert_eq!(raw.read_all(&topic).await, numbers(0..130));
    node.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn a_producer_goes_on_after_the_broker_came_back() {
    let (node, reach, client, mut raw) = start().await;
    let topic = raw.create("t", 1, &[]).await;
    let producer = Producer::open(&client, small_batches()).await.unwrap();
    produce(&producer, 0..20).await;
    reach.point_nowhere();
    let node = node.cut_power().await;
    // Taken while nobody is there; delivered afterwards, before the delivery times out.
    let mut deliveries = Vec::new();
    for value in 20..40 {
        deliveries.push(send(&producer, value).await);
    }
    node.pass(20_000).await;
    reach.point_at(&node);
    for delivery in deliveries {
        delivery.wait().await.unwrap();
    }
    assert_eq!(node.client().read_all(&topic).await, numbers(0..40));
}

#[tokio::test(start_paused = true)]
async fn records_that_cannot_be_sent_in_time_are_given_up_with_a_reason() {
    let (node, reach, client, mut raw) = start().await;
    raw.create("t", 1, &[]).await;
    let config = ProducerConfig { delivery_timeout_ms: 10_000, ..small_batches() };
    let producer = Producer::open(&client, config).await.unwrap();
    produce(&producer, 0..1).await;
    reach.point_nowhere();
    let node = node.cut_power().await;
    let start = node.now_ms();
    let error = send(&producer, 1).await.wait().await.unwrap_err();
    assert!(matches!(&error, Error::NotDelivered { subject, .. } if subject == "t-0"), "{error}");
    assert!((10_000..20_000).contains(&(node.now_ms() - start)), "{}", node.now_ms() - start);
    producer.flush().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_producer_finds_a_topic_that_was_made_anew() {
    let (_node, _reach, client, mut raw) = start().await;
    raw.create("t", 1, &[]).await;
    let producer = Producer::open(&client, small_batches()).await.unwrap();
    produce(&producer, 0..10).await;
    let request =
        DeleteTopicsRequest { topic_names: vec!["t".into()], timeout_ms: 1000, ..Default::default() };
    assert_eq!(raw.call(5, &request).await.responses[0].error_code, 0);
    let topic = raw.create("t", 1, &[]).await;
    let delivered = send(&producer, 10).await.wait().await.unwrap();
    assert_eq!(delivered.offset, 0, "the new topic is empty");
    assert_eq!(raw.read_all(&topic).await, ["0010"]);
}

#[tokio::test(start_paused = true)]
async fn a_consumer_reads_on_after_lost_fetches_and_a_restart_without_gap_or_repetition() {
    let (node, reach, client, mut raw) = start().await;
    raw.create("t", 1, &[]).await;
    let producer = Producer::open(&client, small_batches()).await.unwrap();
    produce(&producer, 0..10).await;
    let mut consumer = reader(&client, 0, OutOfRange::Fail);
    let mut read = some(&mut consumer).await;
    for (round, cut) in [Cut::Request, Cut::Answer].into_iter().enumerate() {
        reach.cut(ApiKey::Fetch, cut);
        produce(&producer, 10 + 10 * round..20 + 10 * round).await;
        while read.len() < 20 + 10 * round {
            read.extend(some(&mut consumer).await);
        }
    }
    // One fetch is always under way: the last cut may wait for the one behind it.
    let node = node.restart().await;
    reach.point_at(&node);
    produce(&producer, 30..40).await;
    while read.len() < 40 {
        read.extend(some(&mut consumer).await);
    }
    assert_eq!(read, numbers(0..40));
}

#[tokio::test(start_paused = true)]
async fn an_offset_that_is_gone_is_an_error_or_the_way_to_the_next_as_was_asked() {
    let (_node, _reach, client, mut raw) = start().await;
    let topic = raw.create("t", 1, &[]).await;
    let producer = Producer::open(&client, small_batches()).await.unwrap();
    produce(&producer, 0..10).await;
    raw.delete_before(&topic, 6).await;
    let error = reader(&client, 2, OutOfRange::Fail).poll().await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::OffsetOutOfRange), "{error}");
    let mut earliest = reader(&client, 2, OutOfRange::Reset(At::Beginning));
    assert_eq!(some(&mut earliest).await, numbers(6..10));
    let mut latest = reader(&client, 99, OutOfRange::Reset(At::End));
    // The first poll finds the end; what comes behind it is read.
    let polled = tokio::time::timeout(Duration::from_secs(5), latest.poll()).await;
    assert!(polled.is_err() || values(&polled.unwrap().unwrap()).is_empty());
    produce(&producer, 10..11).await;
    assert_eq!(some(&mut latest).await, ["0010"]);
}

fn member(client: &Client) -> GroupConsumer {
    let topics = BTreeSet::from(["t".to_owned()]);
    GroupConsumer::new(client, "g", topics, At::Beginning, ConsumerConfig::new())
}

/// Polls for so long, whatever comes.
async fn poll_for(member: &mut GroupConsumer, seconds: u64) -> Vec<String> {
    let mut all = Vec::new();
    let end = tokio::time::Instant::now() + Duration::from_secs(seconds);
    while let Ok(fetched) = tokio::time::timeout_at(end, member.poll()).await {
        all.extend(values(&fetched.unwrap()));
    }
    all
}

async fn produce_to_both(producer: &Producer, values: std::ops::Range<usize>) {
    for value in values {
        let text = Some(format!("{value:04}").into());
        let partition = Some((value % 2) as i32);
        let record = OutRecord { topic: "t".into(), partition, value: text, ..OutRecord::default() };
        producer.send(record).await.unwrap().wait().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_rebalance_in_the_middle_of_a_poll_shares_the_partitions_and_repeats_nothing() {
    let (node, reach, client, mut raw) = start().await;
    raw.create("t", 2, &[]).await;
    let producer = Producer::open(&client, small_batches()).await.unwrap();
    produce_to_both(&producer, 0..10).await;
    let mut first = member(&client);
    let mut read = poll_for(&mut first, 8).await;
    assert_eq!((read.len(), first.positions().count()), (10, 2));
    // The first one waits in its poll when the second one joins.
    let mut second = member(&another(&node, &reach).await);
    let (of_first, of_second) = tokio::join!(poll_for(&mut first, 20), poll_for(&mut second, 20));
    assert_eq!((of_first.len(), of_second.len()), (0, 0), "everything was seen and committed");
    assert_eq!((first.positions().count(), second.positions().count()), (1, 1));
    produce_to_both(&producer, 10..20).await;
    let (of_first, of_second) = tokio::join!(poll_for(&mut first, 8), poll_for(&mut second, 8));
    assert_eq!((of_first.len(), of_second.len()), (5, 5));
    // The second one leaves in good order: the first has all again, from where the second was.
    second.close().await.unwrap();
    produce_to_both(&producer, 20..30).await;
    let of_first_alone = poll_for(&mut first, 20).await;
    assert_eq!((of_first_alone.len(), first.positions().count()), (10, 2));
    read.extend([of_first, of_second, of_first_alone].concat());
    read.sort();
    assert_eq!(read, numbers(0..30));
    first.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn closing_commits_what_was_returned_and_dropping_does_not() {
    let (node, reach, client, mut raw) = start().await;
    raw.create("t", 2, &[]).await;
    let producer = Producer::open(&client, small_batches()).await.unwrap();
    produce_to_both(&producer, 0..10).await;
    let mut dropped = member(&client);
    let first = values(&dropped.poll().await.unwrap());
    assert!(!first.is_empty());
    drop(dropped);
    // Whoever was dropped says no goodbye: its session must end first.
    let mut closed = member(&another(&node, &reach).await);
    let again = poll_for(&mut closed, 70).await;
    assert_eq!(again.len(), 10, "nothing was committed before the drop");
    for value in 10..15 {
        let value = Some(format!("{value:04}").into());
        let record = OutRecord { topic: "t".into(), partition: Some(0), value, ..OutRecord::default() };
        producer.send(record).await.unwrap().wait().await.unwrap();
    }
    while !values(&closed.poll().await.unwrap()).contains(&"0014".to_owned()) {}
    // The caller has not come to the last one.
    closed.set_seen("t", 0, 9);
    closed.close().await.unwrap();
    let committed = client.committed_offsets("g").await.unwrap();
    let offsets: Vec<_> = committed.values().map(|committed| committed.offset).collect();
    assert_eq!(offsets, [9, 5]);
    let mut last = member(&client);
    assert_eq!(poll_for(&mut last, 5).await, ["0014"]);
}

#[tokio::test(start_paused = true)]
async fn a_member_survives_lost_requests_of_every_kind_and_the_coordinators_restart() {
    let (node, reach, client, mut raw) = start().await;
    raw.create("t", 2, &[]).await;
    let producer = Producer::open(&client, small_batches()).await.unwrap();
    produce_to_both(&producer, 0..10).await;
    for key in [ApiKey::FindCoordinator, ApiKey::JoinGroup, ApiKey::SyncGroup, ApiKey::OffsetFetch] {
        reach.cut(key, Cut::Request);
    }
    for key in [ApiKey::Heartbeat, ApiKey::OffsetCommit] {
        reach.cut(key, Cut::Answer);
    }
    let mut member = member(&client);
    let mut read = poll_for(&mut member, 60).await;
    reach.assert_cut();
    assert!(reach.connections() > 6);
    let node = node.cut_power().await;
    reach.point_at(&node);
    produce_to_both(&producer, 10..20).await;
    read.extend(poll_for(&mut member, 60).await);
    read.sort();
    assert_eq!(read, numbers(0..20));
    member.close().await.unwrap();
    let committed = client.committed_offsets("g").await.unwrap();
    assert!(committed.values().all(|committed| committed.offset == 10), "{committed:?}");
}

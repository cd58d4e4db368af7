//! Fetches that wait: for how long, for how much, and what ends the wait. Time is paused, so each wait is exact.

use crate::harness::{Client, Node, Topic, batch, bytes_of, code, fetch, fetch_topic, values};
use wire::{DeleteTopicsRequest, ErrorCode, FetchRequest, FetchResponse};

async fn node_and_topic() -> (Node, Client, Topic) {
    let node = Node::start().await;
    let mut client = node.client();
    let topic = client.create("t", 2, &[]).await;
    (node, client, topic)
}

fn patient(topic: &Topic, offset: i64, min_bytes: i32) -> FetchRequest {
    FetchRequest { max_wait_ms: 500, min_bytes, ..fetch(topic, 0, offset) }
}

fn told(response: &FetchResponse) -> Vec<String> {
    let data = &response.responses[0].partitions[0];
    assert_eq!(data.error_code, 0);
    values(bytes_of(data)).into_iter().map(|(_, value)| value).collect()
}

#[tokio::test(start_paused = true)]
async fn nothing_to_read_is_told_when_the_time_is_up_and_not_before() {
    let (node, mut client, topic) = node_and_topic().await;
    let start = node.now_ms();
    let response = client.call(18, &patient(&topic, 0, 1)).await;
    assert_eq!((told(&response).len(), node.now_ms() - start), (0, 500));
    let response = client.call(18, &patient(&topic, 0, 0)).await;
    assert_eq!((told(&response).len(), node.now_ms() - start), (0, 500), "no bytes are enough");
}

#[tokio::test(start_paused = true)]
async fn a_produce_wakes_the_reader_at_once() {
    let (node, mut client, topic) = node_and_topic().await;
    let start = node.now_ms();
    client.send(18, &patient(&topic, 0, 1)).await;
    node.pass(100).await;
    assert!(!client.has_answer().await);
    node.client().produce(&topic, batch(&["a"])).await;
    let response = client.receive::<FetchRequest>(18).await;
    assert_eq!((told(&response), node.now_ms() - start), (vec!["a".to_owned()], 100));
}

#[tokio::test(start_paused = true)]
async fn a_reader_waits_until_it_has_min_bytes() {
    let (node, mut client, topic) = node_and_topic().await;
    let (start, bytes) = (node.now_ms(), batch(&["a"]));
    let mut producer = node.client();
    client.send(18, &patient(&topic, 0, 2 * bytes.len() as i32)).await;
    node.pass(100).await;
    producer.produce(&topic, bytes.clone()).await;
    node.pass(100).await;
    assert!(!client.has_answer().await, "half of what it wants");
    producer.produce(&topic, bytes.clone()).await;
    assert_eq!(told(&client.receive::<FetchRequest>(18).await).len(), 2);
    assert_eq!(node.now_ms() - start, 200);
    client.send(18, &patient(&topic, 0, 1000)).await;
    let response = client.receive::<FetchRequest>(18).await;
    assert_eq!((told(&response).len(), node.now_ms() - start), (2, 700), "what there is, when time is up");
}

#[tokio::test(start_paused = true)]
async fn bytes_of_several_partitions_count_together() {
    let (node, mut client, topic) = node_and_topic().await;
    let (start, bytes) = (node.now_ms(), batch(&["a"]));
    let topics = vec![fetch_topic(&topic, &[(0, 0), (1, 0)])];
    let request = FetchRequest { topics, ..patient(&topic, 0, 2 * bytes.len() as i32) };
    client.send(18, &request).await;
    let mut producer = node.client();
    for partition in [0, 1] {
        node.pass(50).await;
        assert!(!client.has_answer().await);
        producer.produce_at(13, &topic, partition, bytes.clone()).await;
    }
    let response = client.receive::<FetchRequest>(18).await;
    assert_eq!((response.responses[0].partitions.len(), node.now_ms() - start), (2, 100));
}

#[tokio::test(start_paused = true)]
async fn a_read_committed_reader_is_woken_too() {
    let (node, mut client, topic) = node_and_topic().await;
    let start = node.now_ms();
    client.send(18, &FetchRequest { isolation_level: 1, ..patient(&topic, 0, 1) }).await;
    node.pass(100).await;
    node.client().produce(&topic, batch(&["a"])).await;
    let response = client.receive::<FetchRequest>(18).await;
    assert_eq!((told(&response).len(), node.now_ms() - start), (1, 100));
    assert_eq!(response.responses[0].partitions[0].aborted_transactions, Some(vec![]));
}

#[tokio::test(start_paused = true)]
async fn an_error_in_reading_one_partition_ends_the_wait_for_all() {
    let (node, mut client, topic) = node_and_topic().await;
    let start = node.now_ms();
    let topics = vec![fetch_topic(&topic, &[(0, 0), (1, 9)])];
    let response = client.call(18, &FetchRequest { topics, ..patient(&topic, 0, 1) }).await;
    let codes: Vec<_> = response.responses[0].partitions.iter().map(|data| data.error_code).collect();
    assert_eq!(codes, [0, code(ErrorCode::OffsetOutOfRange)]);
    assert_eq!(node.now_ms(), start);
}

#[tokio::test(start_paused = true)]
async fn deleting_the_topic_ends_the_wait_and_says_that_it_is_gone() {
    for version in [12, 18] {
        let (node, mut client, topic) = node_and_topic().await;
        let start = node.now_ms();
        client.send(version, &patient(&topic, 0, 1)).await;
        node.pass(100).await;
        let request =
            DeleteTopicsRequest { topic_names: vec!["t".into()], timeout_ms: 1000, ..Default::default() };
        assert_eq!(node.client().call(5, &request).await.responses[0].error_code, 0);
        let response = client.receive::<FetchRequest>(version).await;
        let expected = ErrorCode::UnknownTopicOrPartition;
        let error = response.responses[0].partitions[0].error_code;
        assert_eq!((error, node.now_ms() - start), (code(expected), 100), "version {version}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_at_the_end_is_told_that_its_offset_was_deleted_when_it_asks_again() {
    let (node, mut client, topic) = node_and_topic().await;
    client.produce(&topic, batch(&["a", "b"])).await;
    client.send(18, &patient(&topic, 2, 1)).await;
    node.client().delete_before(&topic, -1).await;
    let response = client.receive::<FetchRequest>(18).await;
    assert_eq!(told(&response).len(), 0, "its offset is the new start");
    let data = client.fetch(&topic, 1).await;
    assert_eq!(data.error_code, code(ErrorCode::OffsetOutOfRange));
}

#[tokio::test(start_paused = true)]
async fn a_waiting_reader_that_goes_away_leaves_nothing_behind() {
    let (node, mut client, topic) = node_and_topic().await;
    let request = FetchRequest { max_wait_ms: i32::MAX, ..patient(&topic, 0, 1) };
    client.send(18, &request).await;
    node.pass(10).await;
    assert_eq!(node.broker.connection_count(), 1);
    client.finish();
    client.assert_closed().await;
    node.pass(10).await;
    assert_eq!(node.broker.connection_count(), 0);
    assert_eq!(node.client().produce(&topic, batch(&["a"])).await.base_offset, 0);
    node.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn requests_behind_a_waiting_fetch_are_answered_after_it() {
    let (node, mut client, topic) = node_and_topic().await;
    let start = node.now_ms();
    client.send(18, &patient(&topic, 0, 1)).await;
    client.send(13, &crate::harness::produce(&topic, 0, -1, batch(&["a"]))).await;
    let response = client.receive::<FetchRequest>(18).await;
    assert_eq!((told(&response).len(), node.now_ms() - start), (0, 500), "as Kafka, one after the other");
    let response = client.receive::<wire::ProduceRequest>(13).await;
    assert_eq!(response.responses[0].partition_responses[0].base_offset, 0);
}

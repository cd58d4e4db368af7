//! Produce requests whose records take long to check: they hold nobody up but their own connection, and keep its order.

use crate::harness::{BatchSpec, Client, Node, Topic, batch, batch_of, code, produce};
use bytes::Bytes;
use records::Codec;
use wire::{ErrorCode, ProduceRequest};

async fn node_and_topic() -> (Node, Client, Topic) {
    let node = Node::start().await;
    let mut client = node.client();
    let topic = client.create("t", 4, &[]).await;
    (node, client, topic)
}

/// A few kilobytes that stand for more than is checked on the reactor.
fn bomb() -> Bytes {
    let value = "x".repeat(6 << 20);
    batch_of(&BatchSpec { values: &[&value], codec: Codec::Zstd, ..BatchSpec::default() })
}

/// The error and the base offset of each row of the next answer.
async fn rows(client: &mut Client) -> Vec<(i16, i64)> {
    let answer = client.receive::<ProduceRequest>(13).await;
    let rows = answer.responses.iter().flat_map(|topic| &topic.partition_responses);
    rows.map(|row| (row.error_code, row.base_offset)).collect()
}

#[tokio::test(start_paused = true)]
async fn while_a_request_is_checked_others_are_answered_and_its_own_connection_keeps_its_order() {
    let (node, mut client, topic) = node_and_topic().await;
    node.tasks.keep_workers_busy();
    client.send(13, &produce(&topic, 0, -1, batch(&["before"]))).await;
    client.send(13, &produce(&topic, 0, -1, bomb())).await;
    client.send(13, &produce(&topic, 0, -1, batch(&["behind"]))).await;
    assert_eq!(rows(&mut client).await, [(0, 0)], "what came before is answered");
    let mut other = node.client();
    assert_eq!(other.produce(&topic, batch(&["other"])).await.base_offset, 1);
    assert!(!client.has_answer().await);
    assert_eq!(node.tasks.free_workers(), 1);
    assert_eq!(rows(&mut client).await, [(0, 2)]);
    assert_eq!(rows(&mut client).await, [(0, 3)]);
    node.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn rows_stand_in_their_order_whoever_checked_them() {
    let (node, mut client, topic) = node_and_topic().await;
    let more = |index, batch| produce(&topic, index, -1, batch).topic_data.remove(0).partition_data.remove(0);
    let mut wrong = bomb().to_vec();
    *wrong.last_mut().unwrap() ^= 1;
    let mut request = produce(&topic, 0, -1, batch(&["inline"]));
    request.topic_data[0].partition_data.extend([
        more(1, bomb()),
        more(9, batch(&["nowhere"])),
        more(2, wrong.into()),
        more(3, batch(&["behind"])),
    ]);
    client.send(13, &request).await;
    let expected = [
        (0, 0),
        (0, 0),
        (code(ErrorCode::UnknownTopicOrPartition), -1),
        (code(ErrorCode::CorruptMessage), -1),
        (0, 0),
    ];
    assert_eq!(rows(&mut client).await, expected);
    node.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn without_acks_a_checked_request_keeps_its_order_and_its_failure_closes() {
    let (node, mut client, topic) = node_and_topic().await;
    client.send(13, &produce(&topic, 0, 0, bomb())).await;
    client.expect_no_answer();
    client.send(13, &produce(&topic, 0, -1, batch(&["behind"]))).await;
    assert_eq!(rows(&mut client).await, [(0, 1)]);
    let mut wrong = bomb().to_vec();
    *wrong.last_mut().unwrap() ^= 1;
    let mut request = produce(&topic, 0, 0, bomb());
    request.topic_data[0].partition_data[0].index = 1;
    let wrong = produce(&topic, 2, 0, wrong.into()).topic_data.remove(0).partition_data;
    request.topic_data[0].partition_data.extend(wrong);
    client.send(13, &request).await;
    client.assert_closed().await;
    node.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn a_check_that_takes_too_long_or_a_stop_ends_the_connection() {
    let (node, mut client, topic) = node_and_topic().await;
    node.tasks.keep_workers_busy();
    let start = node.now_ms();
    client.send(13, &produce(&topic, 0, -1, bomb())).await;
    client.assert_closed().await;
    assert_eq!(node.now_ms() - start, 60_000);
    let mut client = node.client();
    client.send(13, &produce(&topic, 0, -1, bomb())).await;
    node.pass(10).await;
    node.broker.stop().await;
    client.assert_closed().await;
    node.tasks.free_workers();
    node.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn a_crowd_of_small_bombs_lets_others_take_their_turn() {
    let (node, mut client, topic) = node_and_topic().await;
    // Each is small enough to be checked at once; all of them together are not.
    let value = "x".repeat(1 << 20);
    let bytes = batch_of(&BatchSpec { values: &[&value], codec: Codec::Zstd, ..BatchSpec::default() });
    let frames: Vec<u8> = (0..40)
        .flat_map(|_| {
            let request = produce(&topic, 0, -1, bytes.clone());
            let frame = wire::header::encode_request(0, None, 13, &request).unwrap();
            frame.to_bytes().unwrap().to_vec()
        })
        .collect();
    client.send_bytes(frames.into()).await;
    let mut other = node.client();
    let answer = other.produce(&topic, batch(&["other"])).await;
    assert!(answer.base_offset <= 8, "its turn comes only after {}", answer.base_offset);
}

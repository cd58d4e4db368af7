//! How answers reach a client that takes them slowly, not at all, or while it says no more.

use crate::harness::{Client, Node, Topic, batch, code, fetch, join, produce};
use wire::{
    CreateTopicsRequest, ErrorCode, FetchRequest, IncrementalAlterConfigsRequest, MetadataRequest,
    ProduceRequest, create_topics_request::CreatableTopic,
    incremental_alter_configs_request::AlterConfigsResource,
};

const IDLE_MS: u64 = 5000;

async fn node_and_topic() -> (Node, Topic) {
    let node = Node::with(&[("connections.max.idle.ms", "5000")]).await;
    let topic = node.client().create("t", 1, &[("max.message.bytes", "10000000")]).await;
    node.pass(1).await;
    assert_eq!(node.broker.connection_count(), 0);
    (node, topic)
}

async fn ask(client: &mut Client, times: usize) {
    for _ in 0..times {
        client.send(12, &MetadataRequest { topics: None, ..Default::default() }).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_no_answers_is_closed_when_it_has_been_idle_for_too_long() {
    let (node, topic) = node_and_topic().await;
    let mut mute = node.narrow_client();
    ask(&mut mute, 5).await;
    node.pass(IDLE_MS - 1).await;
    assert_eq!(node.broker.connection_count(), 1);
    node.pass(2000).await;
    assert_eq!(node.broker.connection_count(), 0);
    // The same with answers that overlap, which are written in another place.
    let mut mute = node.narrow_client();
    for _ in 0..5 {
        mute.send(13, &produce(&topic, 0, -1, batch(&["a"]))).await;
    }
    node.pass(1).await;
    ask(&mut mute, 1).await;
    node.pass(IDLE_MS + 2000).await;
    assert_eq!(node.broker.connection_count(), 0);
    node.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_slowly_is_served_as_long_as_it_reads() {
    let (node, topic) = node_and_topic().await;
    let value = "x".repeat(6 << 20);
    let mut producer = node.client();
    producer.fetch(&topic, 0).await;
    assert_eq!(producer.produce(&topic, batch(&[&value])).await.error_code, 0);
    drop(producer);
    let mut slow = node.narrow_client();
    let request = FetchRequest { max_bytes: 10 << 20, ..fetch(&topic, 0, 0) };
    slow.send(18, &request).await;
    for _ in 0..4 {
        node.pass(IDLE_MS - 1000).await;
        assert!(slow.take_piece().await <= 1 << 20);
    }
    let response = slow.receive::<FetchRequest>(18).await;
    assert!(response.responses[0].partitions[0].records.as_ref().unwrap().len() > 6 << 20);
    slow.send(18, &request).await;
    slow.take_piece().await;
    node.pass(IDLE_MS + 2000).await;
    assert_eq!(node.broker.connection_count(), 0, "in the midst of the second answer it has stopped");
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_clients_that_do_not_read() {
    let (node, _) = node_and_topic().await;
    let mut mute = node.narrow_client();
    ask(&mut mute, 5).await;
    node.pass(1).await;
    let start = node.now_ms();
    node.broker.stop().await;
    node.pass(1).await;
    assert_eq!((node.broker.connection_count(), node.now_ms() - start), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_was_idle_for_want_of_an_answer_goes_on_after_it() {
    let (node, topic) = node_and_topic().await;
    let mut client = node.client();
    let patient = FetchRequest { max_wait_ms: 4 * IDLE_MS as i32, ..fetch(&topic, 0, 0) };
    client.call(18, &patient).await;
    node.pass(1000).await;
    client.call(18, &fetch(&topic, 0, 0)).await;
    node.pass(IDLE_MS + 2000).await;
    assert_eq!(node.broker.connection_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_cannot_be_written_closes_the_connection_behind_those_before_it() {
    let (node, topic) = node_and_topic().await;
    let mut client = node.client();
    client.find_coordinator().await;
    client.send(13, &produce(&topic, 0, -1, batch(&["a"]))).await;
    // The member's id begins with the client's, and strings end at 32767 bytes.
    client.client_id = Some("x".repeat(32_760).leak());
    client.send(9, &join("g", "")).await;
    let before = client.receive::<ProduceRequest>(13).await;
    assert_eq!(before.responses[0].partition_responses[0].error_code, 0);
    client.assert_closed().await;
    assert_eq!(node.broker.metrics().requests_refused.get(), 1);
    node.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn an_error_that_repeats_what_was_sent_does_not_outgrow_its_answer() {
    let (node, _) = node_and_topic().await;
    let mut client = node.client();
    for letter in ["x", "\u{e9}"] {
        let name = letter.repeat(32_760 / letter.len());
        let topic = CreatableTopic { name, num_partitions: 1, replication_factor: 1, ..Default::default() };
        let response =
            client.call(7, &CreateTopicsRequest { topics: vec![topic], ..Default::default() }).await;
        let topic = &response.topics[0];
        assert_eq!(topic.error_code, code(ErrorCode::InvalidTopicException));
        assert!(topic.error_message.as_ref().unwrap().len() <= 4096);
        let resource = AlterConfigsResource {
            resource_type: 4,
            resource_name: topic.name.clone(),
            ..AlterConfigsResource::default()
        };
        let request = IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false };
        let response = client.call(1, &request).await;
        assert_eq!(response.responses[0].error_code, code(ErrorCode::InvalidRequest));
    }
}

/// The base offset of the next answer, which must be to a produce request.
async fn appended_at(client: &mut Client) -> i64 {
    let answer = client.receive::<ProduceRequest>(13).await;
    assert_eq!(answer.responses[0].partition_responses[0].error_code, 0);
    answer.responses[0].partition_responses[0].base_offset
}

#[tokio::test(start_paused = true)]
async fn a_client_that_only_stops_sending_gets_the_answers_to_all_that_it_has_sent() {
    let (node, topic) = node_and_topic().await;
    let mut client = node.client();
    for _ in 0..3 {
        client.send(13, &produce(&topic, 0, -1, batch(&["a"]))).await;
    }
    // It waits, while what follows and the end of the stream are read.
    client.send(18, &FetchRequest { max_wait_ms: 500, ..fetch(&topic, 0, 3) }).await;
    client.send(13, &produce(&topic, 0, 0, batch(&["b"]))).await;
    client.send(13, &produce(&topic, 0, -1, batch(&["c"]))).await;
    client.finish();
    let start = node.now_ms();
    for offset in 0..3 {
        assert_eq!(appended_at(&mut client).await, offset);
    }
    assert_eq!(client.receive::<FetchRequest>(18).await.error_code, 0);
    client.expect_no_answer();
    assert_eq!(appended_at(&mut client).await, 4);
    client.assert_closed().await;
    assert_eq!(node.now_ms() - start, 500);
    assert_eq!(node.client().read_all(&topic).await, ["a", "a", "a", "b", "c"]);
}

#[tokio::test(start_paused = true)]
async fn what_came_before_nonsense_is_answered() {
    let (node, topic) = node_and_topic().await;
    for nonsense in [&b"\0\0\0\x0a\x03\xe7\0\0\0\0\0\0\xff\xff"[..], b"\xff\xff\xff\xff"] {
        let refused = node.broker.metrics().requests_refused.get();
        let mut client = node.client();
        client.send(13, &produce(&topic, 0, -1, batch(&["a"]))).await;
        client.send_bytes(bytes::Bytes::copy_from_slice(nonsense)).await;
        appended_at(&mut client).await;
        client.assert_closed().await;
        assert_eq!(node.broker.metrics().requests_refused.get(), refused + 1);
    }
}

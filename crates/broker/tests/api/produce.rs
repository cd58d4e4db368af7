//! What a producer is told: Kafka's error for each way of being wrong, and answers in the order of the requests.

use crate::harness::{BatchSpec, Client, Node, Topic, batch, batch_of, bytes_of, code, produce, values};
use bytes::{Bytes, BytesMut};
use records::{Batch, BatchBuilder, Codec, TimestampType};
use std::sync::atomic::Ordering;
use wire::{
    ErrorCode, MetadataRequest, ProduceRequest, ProduceResponse, produce_response::PartitionProduceResponse,
};

async fn node_and_topic(configs: &[(&str, &str)]) -> (Node, Client, Topic) {
    let node = Node::start().await;
    let mut client = node.client();
    let topic = client.create("t", 2, configs).await;
    (node, client, topic)
}

fn only(response: &ProduceResponse) -> &PartitionProduceResponse {
    &response.responses[0].partition_responses[0]
}

fn joined(parts: &[&[u8]]) -> Bytes {
    parts.concat().into()
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_breaks_a_rule_is_refused_with_kafkas_error_and_leaves_nothing() {
    let (node, mut client, topic) = node_and_topic(&[("max.message.bytes", "200")]).await;
    let good = batch(&["a"]);
    let mut flipped = BytesMut::from(&good[..]);
    *flipped.last_mut().unwrap() ^= 1;
    let mut short_length = BytesMut::from(&good[..]);
    short_length[8..12].copy_from_slice(&3i32.to_be_bytes());
    let mut old_format = BytesMut::from(&good[..]);
    old_format[16] = 1;
    let large = "x".repeat(200);
    let control = BatchBuilder::new().control().build().unwrap().bytes;
    let cases = [
        ("a flipped bit", flipped.freeze(), ErrorCode::CorruptMessage),
        ("a length that is no batch's", short_length.freeze(), ErrorCode::CorruptMessage),
        ("too large", batch(&[&large]), ErrorCode::MessageTooLarge),
        ("two batches", joined(&[&good, &good]), ErrorCode::InvalidRecord),
        ("nothing", Bytes::new(), ErrorCode::InvalidRecord),
        ("a cut batch", good.slice(..good.len() - 1), ErrorCode::InvalidRecord),
        ("format v1", old_format.freeze(), ErrorCode::InvalidRecord),
        ("a control batch", control, ErrorCode::InvalidRecord),
    ];
    for (what, bytes, error) in cases {
        for version in [3, 13] {
            let answer = client.produce_at(version, &topic, 0, bytes.clone()).await;
            assert_eq!((answer.error_code, answer.base_offset), (code(error), -1), "{what} v{version}");
            assert_eq!(answer.error_message.is_some(), version >= 8, "{what} v{version}");
        }
    }
    assert_eq!(client.produce(&topic, good).await.base_offset, 0);
    assert_eq!(client.read_all(&topic).await, ["a"]);
    node.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn every_codec_is_kept_as_it_was_sent_and_zstd_needs_version_seven() {
    let (_node, mut client, topic) = node_and_topic(&[]).await;
    let codecs = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];
    for (index, codec) in codecs.into_iter().enumerate() {
        let bytes = batch_of(&BatchSpec { values: &["same", "same"], codec, ..BatchSpec::default() });
        assert_eq!(client.produce(&topic, bytes.clone()).await.base_offset, 2 * index as i64);
        let fetched = bytes_of(&client.fetch(&topic, 2 * index as i64).await);
        assert_eq!(fetched[16..], bytes[16..], "{codec:?}");
        assert_eq!(Batch::split_off(&mut fetched.clone()).unwrap().header.attributes.codec(), Some(codec));
    }
    assert_eq!(client.read_all(&topic).await, ["same"; 10]);
    let bytes = batch_of(&BatchSpec { codec: Codec::Zstd, ..BatchSpec::default() });
    let answer = client.produce_at(6, &topic, 0, bytes.clone()).await;
    assert_eq!(answer.error_code, code(ErrorCode::UnsupportedCompressionType));
    assert_eq!(client.produce_at(7, &topic, 0, bytes).await.error_code, 0);
}

#[tokio::test(start_paused = true)]
async fn timestamps_out_of_bounds_are_named_record_by_record() {
    let hour = ("message.timestamp.after.max.ms", "3600000");
    let (node, mut client, topic) =
        node_and_topic(&[hour, ("message.timestamp.before.max.ms", "1000")]).await;
    let now = node.now_ms();
    for (timestamp, faults) in
        [(now + 3_600_000 - 1, vec![2]), (now + 4_000_000, vec![0, 1, 2]), (now - 1002, vec![0, 1])]
    {
        let bytes = batch_of(&BatchSpec { values: &["a", "b", "c"], timestamp, ..BatchSpec::default() });
        let answer = client.produce(&topic, bytes).await;
        assert_eq!(answer.error_code, code(ErrorCode::InvalidTimestamp));
        let indexes: Vec<_> = answer.record_errors.iter().map(|error| error.batch_index).collect();
        assert_eq!(indexes, faults, "timestamps from {timestamp}");
        assert!(answer.record_errors.iter().all(|error| error.batch_index_error_message.is_some()));
    }
    let bytes = batch_of(&BatchSpec { timestamp: now + 3_600_000, ..BatchSpec::default() });
    assert_eq!(client.produce(&topic, bytes).await.error_code, 0);
}

#[tokio::test(start_paused = true)]
async fn log_append_time_replaces_the_producers_timestamps() {
    let (node, mut client, topic) = node_and_topic(&[("message.timestamp.type", "LogAppendTime")]).await;
    node.pass(5000).await;
    let answer = client.produce(&topic, batch(&["a", "b"])).await;
    assert_eq!((answer.error_code, answer.log_append_time_ms), (0, node.now_ms()));
    let mut fetched = bytes_of(&client.fetch(&topic, 0).await);
    let stored = Batch::split_off(&mut fetched).unwrap();
    assert!(stored.is_intact());
    assert_eq!(stored.header.attributes.timestamp_type(), TimestampType::LogAppendTime);
    assert_eq!(stored.header.max_timestamp, node.now_ms());
}

#[tokio::test(start_paused = true)]
async fn a_producer_may_not_set_log_append_time() {
    let (node, mut client, topic) = node_and_topic(&[("message.timestamp.type", "LogAppendTime")]).await;
    let mut builder = BatchBuilder::new().log_append_time(node.now_ms());
    builder.push(node.now_ms(), None, Some(b"a"), &[]);
    let answer = client.produce(&topic, builder.build().unwrap().bytes).await;
    assert_eq!(answer.error_code, code(ErrorCode::InvalidTimestamp));
}

#[tokio::test(start_paused = true)]
async fn a_compacted_topic_wants_keys() {
    let (_node, mut client, topic) = node_and_topic(&[("cleanup.policy", "compact")]).await;
    let keyless = batch_of(&BatchSpec { values: &["a", "b"], key: None, ..BatchSpec::default() });
    let answer = client.produce(&topic, keyless).await;
    assert_eq!((answer.error_code, answer.record_errors.len()), (code(ErrorCode::InvalidRecord), 2));
    assert_eq!(client.produce(&topic, batch(&["a"])).await.error_code, 0);
}

#[tokio::test(start_paused = true)]
async fn a_topic_with_a_codec_of_its_own_stores_batches_anew() {
    let (_node, mut client, topic) = node_and_topic(&[("compression.type", "gzip")]).await;
    for codec in [Codec::None, Codec::Gzip, Codec::Lz4] {
        let bytes = batch_of(&BatchSpec { values: &["a", "b"], codec, ..BatchSpec::default() });
        let offset = client.produce(&topic, bytes).await.base_offset;
        let mut fetched = bytes_of(&client.fetch(&topic, offset).await);
        let stored = Batch::split_off(&mut fetched).unwrap();
        assert_eq!(stored.header.attributes.codec(), Some(Codec::Gzip), "sent as {codec:?}");
    }
    assert_eq!(client.read_all(&topic).await, ["a", "b", "a", "b", "a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn acks_are_none_one_or_all_and_anything_else_is_refused() {
    let (_node, mut client, topic) = node_and_topic(&[]).await;
    for (acks, error) in [(-1, ErrorCode::None), (1, ErrorCode::None)] {
        let response = client.call(9, &produce(&topic, 0, acks, batch(&["a"]))).await;
        assert_eq!(only(&response).error_code, code(error));
    }
    for acks in [2, -2, i16::MAX] {
        let response = client.call(9, &produce(&topic, 0, acks, batch(&["b"]))).await;
        assert_eq!(only(&response).error_code, code(ErrorCode::InvalidRequiredAcks));
        assert_eq!(only(&response).base_offset, -1);
    }
    assert_eq!(client.read_all(&topic).await, ["a", "a"]);
}

#[tokio::test(start_paused = true)]
async fn without_acks_there_is_no_answer_and_a_failure_closes() {
    let (node, mut client, topic) = node_and_topic(&[]).await;
    client.send(9, &produce(&topic, 0, 0, batch(&["a"]))).await;
    client.expect_no_answer();
    client.produce(&topic, batch(&["b"])).await;
    assert_eq!(client.read_all(&topic).await, ["a", "b"]);
    client.send(9, &produce(&topic, 7, 0, batch(&["c"]))).await;
    client.assert_closed().await;
    let mut client = node.client();
    assert_eq!(client.read_all(&topic).await, ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn internal_topics_are_closed_to_all_but_the_admin_client() {
    let node = Node::start().await;
    let mut client = node.client();
    client.find_coordinator().await;
    let offsets = Topic { name: "__consumer_offsets".into(), id: stdx::Uuid::ZERO };
    let answer = client.produce_at(9, &offsets, 0, batch(&["a"])).await;
    assert_eq!(answer.error_code, code(ErrorCode::InvalidTopicException));
    client.client_id = Some("__admin_client");
    let answer = client.produce_at(9, &offsets, 0, batch(&["a"])).await;
    assert_eq!(answer.error_code, 0);
}

#[tokio::test(start_paused = true)]
async fn one_bad_partition_does_not_keep_the_others_from_being_written() {
    let (_node, mut client, topic) = node_and_topic(&[]).await;
    let mut request = produce(&topic, 0, -1, batch(&["a"]));
    let mut more = produce(&topic, 9, -1, batch(&["b"])).topic_data.remove(0).partition_data;
    more.extend(produce(&topic, 1, -1, batch(&["c"])).topic_data.remove(0).partition_data);
    request.topic_data[0].partition_data.extend(more);
    let response = client.call(13, &request).await;
    let codes: Vec<_> = response.responses[0]
        .partition_responses
        .iter()
        .map(|answer| (answer.index, answer.error_code, answer.base_offset))
        .collect();
    assert_eq!(codes, [(0, 0, 0), (9, code(ErrorCode::UnknownTopicOrPartition), -1), (1, 0, 0)]);
    let other = client.fetch_at(18, &topic, 1, 0).await;
    assert_eq!(values(bytes_of(&other)), [(0, "c".to_owned())]);
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

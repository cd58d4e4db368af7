//! What a producer is told: Kafka's error for each way of being wrong, and answers in the order of the requests.

use crate::harness::{
    BatchSpec, Client, Node, Topic, Transactional, batch, batch_of, bytes_of, code, produce, values,
};
use bytes::{Bytes, BytesMut};
use records::{Batch, BatchBuilder, Codec, TimestampType};
use wire::{ErrorCode, ProduceResponse, produce_response::PartitionProduceResponse};

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
async fn a_batch_of_a_transaction_that_nobody_has_begun_is_refused() {
    let (node, mut client, topic) = node_and_topic(&[]).await;
    let records_time = node.now_ms();
    let mut builder = BatchBuilder::new().producer(77, 0, 0).transactional();
    builder.push(records_time, Some(b"key"), Some(b"a"), &[]);
    let bytes = builder.build().unwrap().bytes;
    for version in [9, 13] {
        let mut request = produce(&topic, 0, -1, bytes.clone());
        request.transactional_id = Some("tx".into());
        let response = client.call(version, &request).await;
        // There is no coordinator that could be asked: clients try this one again.
        assert_eq!(only(&response).error_code, code(ErrorCode::NotEnoughReplicas));
    }
    Transactional::init(&mut client, "other").await;
    let mut request = produce(&topic, 0, -1, bytes);
    request.transactional_id = Some("tx".into());
    let response = client.call(13, &request).await;
    assert_eq!(only(&response).error_code, code(ErrorCode::InvalidProducerIdMapping));
    assert_eq!(client.read_all(&topic).await.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn null_in_the_place_of_a_batch_is_refused() {
    let (_node, mut client, topic) = node_and_topic(&[]).await;
    let mut request = produce(&topic, 0, -1, Bytes::new());
    request.topic_data[0].partition_data[0].records = None;
    let response = client.call(13, &request).await;
    assert_eq!(only(&response).error_code, code(ErrorCode::InvalidRecord));
}

#[tokio::test(start_paused = true)]
async fn of_several_errors_kafkas_first_one_is_told() {
    let (_node, mut client, topic) = node_and_topic(&[]).await;
    client.find_coordinator().await;
    let offsets = Topic { name: "__consumer_offsets".into(), id: stdx::Uuid::ZERO };
    let nowhere = Topic { name: "nowhere".into(), id: stdx::Uuid::ZERO };
    let (good, two) = (batch(&["a"]), joined(&[&batch(&["a"]), &batch(&["b"])]));
    let mut corrupt = good.to_vec();
    *corrupt.last_mut().unwrap() ^= 1;
    let corrupt = Bytes::from(corrupt);
    let cases = [
        (
            "no topic, no batch, no such acks",
            &nowhere,
            0,
            5,
            Bytes::new(),
            ErrorCode::UnknownTopicOrPartition,
        ),
        ("no partition, no such acks", &topic, 9, 5, good.clone(), ErrorCode::UnknownTopicOrPartition),
        ("two batches, no such acks", &topic, 0, 5, two.clone(), ErrorCode::InvalidRecord),
        ("no batch, internal", &offsets, 0, -1, Bytes::new(), ErrorCode::InvalidRecord),
        ("no such acks, internal", &offsets, 0, 5, good, ErrorCode::InvalidRequiredAcks),
        ("no such acks, corrupt", &topic, 0, 5, corrupt.clone(), ErrorCode::InvalidRequiredAcks),
        ("internal, corrupt", &offsets, 0, -1, corrupt, ErrorCode::InvalidTopicException),
    ];
    for (what, topic, partition, acks, bytes, error) in cases {
        let response = client.call(9, &produce(topic, partition, acks, bytes)).await;
        assert_eq!(only(&response).error_code, code(error), "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_tells_where_the_log_starts_where_kafka_tells_it() {
    let configs = [("cleanup.policy", "compact,delete"), ("max.message.bytes", "200")];
    let (_node, mut client, topic) = node_and_topic(&configs).await;
    client.produce(&topic, batch(&["a", "b", "c"])).await;
    client.delete_before(&topic, 2).await;
    let keyless = batch_of(&BatchSpec { key: None, ..BatchSpec::default() });
    let gap = batch_of(&BatchSpec { producer: Some((5, 0, 7)), ..BatchSpec::default() });
    let first = batch_of(&BatchSpec { producer: Some((5, 0, 0)), ..BatchSpec::default() });
    let mut corrupt = first.to_vec();
    *corrupt.last_mut().unwrap() ^= 1;
    assert_eq!(client.produce(&topic, first).await.error_code, 0);
    let cases = [
        ("a key is missing", keyless, ErrorCode::InvalidRecord, 2),
        ("a sequence is missing", gap, ErrorCode::OutOfOrderSequenceNumber, 2),
        ("corrupt", corrupt.into(), ErrorCode::CorruptMessage, -1),
        ("too large", batch(&["x".repeat(200).as_str()]), ErrorCode::MessageTooLarge, -1),
        ("no batch", Bytes::new(), ErrorCode::InvalidRecord, -1),
    ];
    for (what, bytes, error, start) in cases {
        let answer = client.produce(&topic, bytes).await;
        assert_eq!((answer.error_code, answer.log_start_offset), (code(error), start), "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn of_a_partition_that_is_named_twice_the_last_batch_counts() {
    for version in [12, 13] {
        let (_node, mut client, topic) = node_and_topic(&[]).await;
        let mut request = produce(&topic, 0, -1, batch(&["first"]));
        let more = |index, value: &str| produce(&topic, index, -1, batch(&[value])).topic_data.remove(0);
        request.topic_data[0].partition_data.push(more(1, "other").partition_data.remove(0));
        request.topic_data[0].partition_data.push(more(0, "second").partition_data.remove(0));
        request.topic_data.push(more(0, "last"));
        let response = client.call(version, &request).await;
        let rows = response.responses.iter().flat_map(|topic| &topic.partition_responses);
        let rows: Vec<_> = rows.map(|row| (row.index, row.error_code, row.base_offset)).collect();
        assert_eq!(rows, [(1, 0, 0), (0, 0, 0)], "version {version}");
        assert_eq!(client.read_all(&topic).await, ["last"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_of_a_transaction_without_a_transactional_id_fails_the_whole_request() {
    let (node, mut client, topic) = node_and_topic(&[]).await;
    let mut builder = BatchBuilder::new().producer(77, 0, 0).transactional();
    builder.push(node.now_ms(), Some(b"key"), Some(b"a"), &[]);
    let bytes = builder.build().unwrap().bytes;
    let mut request = produce(&topic, 0, -1, batch(&["a"]));
    let transactional = produce(&topic, 1, -1, bytes).topic_data.remove(0).partition_data;
    request.topic_data[0].partition_data.extend(transactional);
    let response = client.call(13, &request).await;
    let rows = response.responses[0].partition_responses.iter().map(|row| row.error_code);
    let expected = code(ErrorCode::TransactionalIdAuthorizationFailed);
    assert_eq!(rows.collect::<Vec<_>>(), [expected, expected]);
    assert_eq!(client.read_all(&topic).await.len(), 0);
    request.acks = 0;
    client.send(13, &request).await;
    client.assert_closed().await;
}

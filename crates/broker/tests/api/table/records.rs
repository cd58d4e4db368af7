//! The APIs that move and find records.

use crate::harness::{
    Node, Topic, Transactional, WALL_START_MS, batch, bytes_of, code, fetch as fetch_of, fetch_topic,
    produce as produce_request, values,
};
use wire::{
    DeleteRecordsRequest, ErrorCode, InitProducerIdRequest, ListOffsetsRequest, OffsetForLeaderEpochRequest,
    delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic},
    list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
    offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic},
};

pub(super) async fn produce(version: i16) {
    let node = Node::start().await;
    let mut client = node.client();
    let topic = client.create("t", 2, &[]).await;
    let bytes = batch(&["a", "b"]);
    for base_offset in [0, 2] {
        let request = produce_request(&topic, 1, -1, bytes.clone());
        let mut response = client.call(version, &request).await;
        assert_eq!(response.responses.len(), 1);
        let mut answer = response.responses.remove(0);
        assert_eq!(answer.name, if version < 13 { "t" } else { "" });
        assert_eq!(answer.topic_id == topic.id, version >= 13);
        let answer = answer.partition_responses.remove(0);
        assert_eq!((answer.index, answer.error_code, answer.base_offset), (1, 0, base_offset));
        assert_eq!(answer.log_append_time_ms, -1);
        assert_eq!(answer.log_start_offset, if version >= 5 { 0 } else { -1 });
        assert_eq!((answer.record_errors.len(), answer.error_message), (0, None));
    }
    for fetch_version in 4..=18 {
        let fetched = bytes_of(&client.fetch_at(fetch_version, &topic, 1, 0).await);
        let (first, second) = fetched.split_at(bytes.len());
        // What the broker stamps: the base offset and the leader epoch.
        assert_eq!(first[..8], 0i64.to_be_bytes());
        assert_eq!(second[..8], 2i64.to_be_bytes());
        for stored in [first, second] {
            assert_eq!(stored[8..12], bytes[8..12], "fetched at version {fetch_version}");
            assert_eq!(stored[16..], bytes[16..], "fetched at version {fetch_version}");
        }
    }
    let unknown = Topic { name: "unknown".into(), id: stdx::Uuid([9; 16]) };
    let answer = client.produce_at(version, &unknown, 0, bytes.clone()).await;
    let expected = if version < 13 { ErrorCode::UnknownTopicOrPartition } else { ErrorCode::UnknownTopicId };
    assert_eq!((answer.error_code, answer.base_offset), (code(expected), -1));
    let answer = client.produce_at(version, &topic, 2, bytes).await;
    assert_eq!(answer.error_code, code(ErrorCode::UnknownTopicOrPartition));
}

pub(super) async fn fetch(version: i16) {
    let node = Node::start().await;
    let mut client = node.client();
    let topic = client.create("t", 3, &[]).await;
    client.produce(&topic, batch(&["a", "b"])).await;
    client.produce(&topic, batch(&["c"])).await;
    client.produce_at(13, &topic, 1, batch(&["x"])).await;
    for isolation_level in [0, 1] {
        let mut request = fetch_request(&topic, &[(0, 1), (1, 0), (2, 7)], isolation_level);
        request.session_epoch = if version >= 7 { 0 } else { -1 };
        let response = client.call(version, &request).await;
        assert_eq!((response.error_code, response.throttle_time_ms), (0, 0));
        assert_eq!(response.session_id != 0, version >= 7);
        assert_eq!(response.responses.len(), 1);
        let answer = &response.responses[0];
        assert_eq!(answer.topic, if version < 13 { "t" } else { "" });
        assert_eq!(answer.topic_id == topic.id, version >= 13);
        let [first, second, third] = &answer.partitions[..] else { panic!("{}", answer.partitions.len()) };
        assert_eq!((first.partition_index, first.error_code), (0, 0));
        assert_eq!((first.high_watermark, first.last_stable_offset), (3, 3));
        assert_eq!(first.log_start_offset, if version >= 5 { 0 } else { -1 });
        assert_eq!(first.aborted_transactions.is_some(), isolation_level == 1);
        assert_eq!(first.preferred_read_replica, -1);
        let told: Vec<_> = values(bytes_of(first)).into_iter().map(|(_, value)| value).collect();
        assert_eq!(told, ["a", "b", "c"], "the whole batch that holds the offset, and those behind it");
        assert_eq!(values(bytes_of(second)), [(0, "x".to_owned())]);
        let error = (third.error_code, third.high_watermark, bytes_of(third).len());
        assert_eq!(error, (code(ErrorCode::OffsetOutOfRange), -1, 0));
    }
    let unknown = Topic { name: "unknown".into(), id: stdx::Uuid([9; 16]) };
    let answer = client.fetch_at(version, &unknown, 0, 0).await;
    let expected = if version < 13 { ErrorCode::UnknownTopicOrPartition } else { ErrorCode::UnknownTopicId };
    assert_eq!(answer.error_code, code(expected));
    assert_eq!(answer.high_watermark, -1);
}

fn fetch_request(topic: &Topic, partitions: &[(i32, i64)], isolation_level: i8) -> wire::FetchRequest {
    let topics = vec![fetch_topic(topic, partitions)];
    wire::FetchRequest { isolation_level, topics, ..fetch_of(topic, 0, 0) }
}

pub(super) async fn list_offsets(version: i16) {
    let node = Node::start().await;
    let mut client = node.client();
    let topic = client.create("t", 1, &[]).await;
    let start = WALL_START_MS;
    client.produce(&topic, batch(&["a", "b", "c"])).await;
    client.produce(&topic, batch(&["d"])).await;
    client.delete_before(&topic, 1).await;
    let epoch = if version >= 4 { 0 } else { -1 };
    let unsupported = (code(ErrorCode::UnsupportedVersion), -1, -1, -1);
    let from = |lowest: i16, answer| if version >= lowest { answer } else { unsupported };
    let expected = [
        (-1, (0, -1, 4, epoch)),
        (-2, (0, -1, 1, epoch)),
        (-3, from(7, (0, start + 2, 2, epoch))),
        (-4, from(8, (0, -1, 1, epoch))),
        (-5, from(9, (0, -1, -1, -1))),
        (-6, from(11, (0, -1, -1, -1))),
        (-7, unsupported),
        (0, (0, start + 1, 1, epoch)),
        (start + 2, (0, start + 2, 2, epoch)),
        (start + 3, (0, -1, -1, -1)),
    ];
    for isolation_level in 0..=i8::from(version >= 2) {
        for (timestamp, expected) in expected {
            let request = list_request(&[("t", 0, timestamp)], isolation_level);
            let response = client.call(version, &request).await;
            let answer = &response.topics[0].partitions[0];
            assert_eq!(response.topics[0].name, "t");
            let got = (answer.error_code, answer.timestamp, answer.offset, answer.leader_epoch);
            assert_eq!(got, expected, "timestamp {timestamp}");
        }
    }
    let request = list_request(&[("t", 5, -1), ("unknown", 0, -1)], 0);
    for topic in client.call(version, &request).await.topics {
        assert_eq!(topic.partitions[0].error_code, code(ErrorCode::UnknownTopicOrPartition));
    }
}

fn list_request(partitions: &[(&str, i32, i64)], isolation_level: i8) -> ListOffsetsRequest {
    let topics = partitions.iter().map(|(name, partition_index, timestamp)| ListOffsetsTopic {
        name: name.to_string(),
        partitions: vec![ListOffsetsPartition {
            partition_index: *partition_index,
            current_leader_epoch: -1,
            timestamp: *timestamp,
        }],
    });
    ListOffsetsRequest { replica_id: -1, isolation_level, topics: topics.collect(), ..Default::default() }
}

pub(super) async fn offset_for_leader_epoch(version: i16) {
    let node = Node::start().await;
    let mut client = node.client();
    let topic = client.create("t", 1, &[]).await;
    client.produce(&topic, batch(&["a", "b"])).await;
    let partition = |partition, leader_epoch, current_leader_epoch| OffsetForLeaderPartition {
        partition,
        current_leader_epoch,
        leader_epoch,
    };
    let partitions = vec![
        partition(0, 0, -1),
        partition(0, 0, 0),
        partition(0, 0, 5),
        partition(0, 9, -1),
        partition(4, 0, -1),
    ];
    let topics = vec![OffsetForLeaderTopic { topic: "t".into(), partitions }];
    let request = OffsetForLeaderEpochRequest { topics, ..Default::default() };
    let response = client.call(version, &request).await;
    assert_eq!(response.topics[0].topic, "t");
    let answers: Vec<_> = response.topics[0]
        .partitions
        .iter()
        .map(|answer| (answer.partition, answer.error_code, answer.leader_epoch, answer.end_offset))
        .collect();
    let (unknown_epoch, unknown) = (ErrorCode::UnknownLeaderEpoch, ErrorCode::UnknownTopicOrPartition);
    assert_eq!(
        answers,
        [
            (0, 0, 0, 2),
            (0, 0, 0, 2),
            (0, code(unknown_epoch), -1, -1),
            (0, 0, -1, -1),
            (4, code(unknown), -1, -1),
        ]
    );
}

pub(super) async fn delete_records(version: i16) {
    let node = Node::start().await;
    let mut client = node.client();
    let topic = client.create("t", 1, &[]).await;
    client.produce(&topic, batch(&["a", "b", "c"])).await;
    let out_of_range = code(ErrorCode::OffsetOutOfRange);
    for (offset, low_watermark, error) in
        [(1, 1, 0), (0, 1, 0), (4, -1, out_of_range), (-2, -1, out_of_range), (-1, 3, 0)]
    {
        let partitions = vec![DeleteRecordsPartition { partition_index: 0, offset }];
        let topics = vec![DeleteRecordsTopic { name: "t".into(), partitions }];
        let response = client.call(version, &DeleteRecordsRequest { topics, ..Default::default() }).await;
        let answer = &response.topics[0].partitions[0];
        assert_eq!(response.topics[0].name, "t");
        assert_eq!((answer.low_watermark, answer.error_code), (low_watermark, error), "before {offset}");
    }
    let partitions = vec![DeleteRecordsPartition { partition_index: 8, offset: 0 }];
    let topics = vec![DeleteRecordsTopic { name: "t".into(), partitions }];
    let response = client.call(version, &DeleteRecordsRequest { topics, ..Default::default() }).await;
    let answer = &response.topics[0].partitions[0];
    assert_eq!((answer.partition_index, answer.error_code), (8, code(ErrorCode::UnknownTopicOrPartition)));
}

pub(super) async fn init_producer_id(version: i16) {
    let node = Node::start().await;
    let mut client = node.client();
    let request = InitProducerIdRequest { transactional_id: None, ..InitProducerIdRequest::default() };
    let first = client.call(version, &request).await;
    assert_eq!((first.error_code, first.producer_epoch), (0, 0));
    assert!(first.producer_id >= 0);
    let second = client.call(version, &request).await;
    assert_ne!(first.producer_id, second.producer_id);
    let of = |id: &str, transaction_timeout_ms| InitProducerIdRequest {
        transactional_id: Some(id.into()),
        transaction_timeout_ms,
        ..InitProducerIdRequest::default()
    };
    let nowhere = client.call(version, &of("t-1", 1000)).await;
    assert_eq!(nowhere.error_code, code(ErrorCode::CoordinatorNotAvailable), "nobody has looked for it");
    let begun = Transactional::init(&mut client, "t-1").await;
    let refused = [
        ("", 1000, ErrorCode::InvalidRequest),
        ("t-1", 0, ErrorCode::InvalidTransactionTimeout),
        ("t-1", 900_001, ErrorCode::InvalidTransactionTimeout),
    ];
    for (id, timeout_ms, error) in refused {
        let refused = client.call(version, &of(id, timeout_ms)).await;
        assert_eq!((refused.error_code, refused.producer_id, refused.producer_epoch), (code(error), -1, -1));
    }
    let again = client.call(version, &of("t-1", 1000)).await;
    let expected = (0, begun.producer_id, begun.epoch + 1);
    assert_eq!((again.error_code, again.producer_id, again.producer_epoch), expected);
    if version >= 3 {
        let go_on = |producer_epoch| InitProducerIdRequest {
            producer_id: begun.producer_id,
            producer_epoch,
            ..of("t-1", 1000)
        };
        let next = client.call(version, &go_on(begun.epoch + 1)).await;
        assert_eq!((next.error_code, next.producer_epoch), (0, begun.epoch + 2));
        let fenced = client.call(version, &go_on(begun.epoch)).await.error_code;
        let error = if version < 4 { ErrorCode::InvalidProducerEpoch } else { ErrorCode::ProducerFenced };
        assert_eq!(fenced, code(error));
    }
}

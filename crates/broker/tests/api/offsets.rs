//! Where offsets are found: by time, by epoch, from memory and from the disk, before and after a restart.

use crate::harness::{BatchSpec, Client, Node, Topic, WALL_START_MS, batch, batch_of, code};
use records::Codec;
use wire::{
    DeleteRecordsRequest, ErrorCode, ListOffsetsRequest, OffsetForLeaderEpochRequest,
    delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic},
    list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
    offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic},
};

/// Error, offset and timestamp.
async fn find(client: &mut Client, timestamp: i64, current_leader_epoch: i32) -> (i16, i64, i64) {
    let partition = ListOffsetsPartition { partition_index: 0, current_leader_epoch, timestamp };
    let topics = vec![ListOffsetsTopic { name: "t".into(), partitions: vec![partition] }];
    let request = ListOffsetsRequest { replica_id: -1, topics, ..Default::default() };
    let answer = client.call(11, &request).await.topics.remove(0).partitions.remove(0);
    (answer.error_code, answer.offset, answer.timestamp)
}

async fn epoch_end(client: &mut Client, leader_epoch: i32) -> (i16, i32, i64) {
    let partition = OffsetForLeaderPartition { partition: 0, current_leader_epoch: -1, leader_epoch };
    let topics = vec![OffsetForLeaderTopic { topic: "t".into(), partitions: vec![partition] }];
    let request = OffsetForLeaderEpochRequest { topics, ..Default::default() };
    let answer = client.call(4, &request).await.topics.remove(0).partitions.remove(0);
    (answer.error_code, answer.leader_epoch, answer.end_offset)
}

/// Ten batches of three records; those of a batch are 1 ms apart, the batches 100 ms, but the fourth is from the future.
async fn fill(client: &mut Client, topic: &Topic, start: i64) {
    let codecs = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];
    for (index, codec) in codecs.into_iter().cycle().take(10).enumerate() {
        let timestamp = start + if index == 3 { 2000 } else { 100 * index as i64 };
        let spec = BatchSpec { values: &["a", "b", "c"], timestamp, codec, ..BatchSpec::default() };
        assert_eq!(client.produce(topic, batch_of(&spec)).await.error_code, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn an_offset_is_found_by_its_time_wherever_its_segment_is() {
    for tail_bytes_max in [1 << 20, 0] {
        let mut node = Node::with_config(&[], |config| config.tail_bytes_max = tail_bytes_max).await;
        let start = node.now_ms();
        let mut client = node.client();
        let topic = client.create("t", 1, &[("index.interval.bytes", "100")]).await;
        fill(&mut client, &topic, start).await;
        for round in 0..3 {
            let expected = [
                (0, (0, 0, start)),
                (start + 1, (0, 1, start + 1)),
                (start + 3, (0, 3, start + 100)),
                (start + 201, (0, 7, start + 201)),
                (start + 203, (0, 9, start + 2000)),
                (start + 900, (0, 9, start + 2000)),
                (start + 2002, (0, 11, start + 2002)),
                (start + 2003, (0, -1, -1)),
                (-3, (0, 11, start + 2002)),
            ];
            for (timestamp, answer) in expected {
                let found = find(&mut client, timestamp, -1).await;
                let from_start = timestamp - start;
                assert_eq!(found, answer, "tail {tail_bytes_max}, start {round}, start + {from_start}");
            }
            node = if round == 0 { node.restart().await } else { node.cut_power().await };
            client = node.client();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_search_by_time_begins_at_the_logs_start() {
    let node = Node::start().await;
    let start = WALL_START_MS;
    let mut client = node.client();
    let topic = client.create("t", 1, &[]).await;
    assert_eq!(find(&mut client, 0, -1).await, (0, -1, -1), "nothing in an empty log");
    assert_eq!(find(&mut client, -3, -1).await, (0, -1, -1));
    client.produce(&topic, batch(&["a", "b", "c"])).await;
    client.delete_before(&topic, 2).await;
    assert_eq!(find(&mut client, 0, -1).await, (0, 2, start + 2));
    client.delete_before(&topic, 3).await;
    assert_eq!(find(&mut client, 0, -1).await, (0, -1, -1));
    assert_eq!((find(&mut client, -2, -1).await.1, find(&mut client, -1, -1).await.1), (3, 3));
}

#[tokio::test(start_paused = true)]
async fn every_start_is_an_epoch_whose_end_is_known() {
    let mut node = Node::start().await;
    let mut client = node.client();
    let topic = client.create("t", 1, &[]).await;
    for _ in 0..3 {
        client.produce(&topic, batch(&["a", "b"])).await;
        node = node.restart().await;
        client = node.client();
    }
    for (epoch, answer) in
        [(0, (0, 0, 2)), (1, (0, 1, 4)), (2, (0, 2, 6)), (3, (0, 3, 6)), (4, (0, -1, -1)), (-1, (0, -1, -1))]
    {
        assert_eq!(epoch_end(&mut client, epoch).await, answer, "epoch {epoch}");
    }
    assert_eq!(find(&mut client, -1, 3).await.0, 0);
    assert_eq!(find(&mut client, -1, 2).await.0, code(ErrorCode::FencedLeaderEpoch));
    assert_eq!(find(&mut client, -1, 4).await.0, code(ErrorCode::UnknownLeaderEpoch));
}

#[tokio::test(start_paused = true)]
async fn a_partition_named_twice_is_an_invalid_request() {
    let node = Node::start().await;
    let mut client = node.client();
    client.create("t", 2, &[]).await;
    let partition =
        |partition_index| ListOffsetsPartition { partition_index, current_leader_epoch: -1, timestamp: -1 };
    let topic = |partitions: &[i32]| ListOffsetsTopic {
        name: "t".into(),
        partitions: partitions.iter().map(|index| partition(*index)).collect(),
    };
    let twice = code(ErrorCode::InvalidRequest);
    for topics in [vec![topic(&[0, 1, 0])], vec![topic(&[0]), topic(&[1]), topic(&[0, 0])]] {
        let request = ListOffsetsRequest { replica_id: -1, topics, ..Default::default() };
        let answers = client.call(11, &request).await.topics;
        let codes: Vec<_> =
            answers[0].partitions.iter().map(|one| (one.partition_index, one.error_code)).collect();
        assert_eq!((answers.len(), codes), (1, vec![(0, twice), (1, 0)]));
    }
}

#[tokio::test(start_paused = true)]
async fn records_of_compacted_and_internal_topics_are_not_deleted() {
    let node = Node::start().await;
    let mut client = node.client();
    client.find_coordinator().await;
    client.create("t", 1, &[("cleanup.policy", "compact")]).await;
    client.create("both", 1, &[("cleanup.policy", "compact,delete")]).await;
    client.create("__transaction_state", 1, &[]).await;
    for (name, error) in [
        ("t", ErrorCode::PolicyViolation),
        ("both", ErrorCode::None),
        ("__consumer_offsets", ErrorCode::InvalidTopicException),
        ("__transaction_state", ErrorCode::InvalidTopicException),
        ("__share_group_state", ErrorCode::UnknownTopicOrPartition),
    ] {
        let partitions = vec![DeleteRecordsPartition { partition_index: 0, offset: 0 }];
        let topics = vec![DeleteRecordsTopic { name: name.into(), partitions }];
        let response = client.call(2, &DeleteRecordsRequest { topics, timeout_ms: 1000 }).await;
        assert_eq!(response.topics[0].partitions[0].error_code, code(error), "{name}");
    }
}

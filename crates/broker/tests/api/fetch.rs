//! What a fetch gives: sizes, epochs, offsets out of range, and the same bytes from memory and from the disk.

use crate::harness::{Client, Node, Topic, batch, bytes_of, code, fetch, fetch_topic, values};
use wire::{ErrorCode, FetchRequest, FetchResponse, fetch_response::PartitionData};

async fn node_and_topic() -> (Node, Client, Topic) {
    let node = Node::start().await;
    let mut client = node.client();
    let topic = client.create("t", 3, &[]).await;
    (node, client, topic)
}

fn partitions(response: &FetchResponse) -> &[PartitionData] {
    &response.responses[0].partitions
}

fn sizes(response: &FetchResponse) -> Vec<usize> {
    partitions(response).iter().map(|data| bytes_of(data).len()).collect()
}

fn all_of(topic: &Topic, max_bytes: i32, partition_max_bytes: i32) -> FetchRequest {
    let mut topics = vec![fetch_topic(topic, &[(0, 0), (1, 0), (2, 0)])];
    for partition in &mut topics[0].partitions {
        partition.partition_max_bytes = partition_max_bytes;
    }
    FetchRequest { topics, max_bytes, ..fetch(topic, 0, 0) }
}

#[tokio::test(start_paused = true)]
async fn the_first_batch_comes_whole_however_small_the_limits_are() {
    let (_node, mut client, topic) = node_and_topic().await;
    let bytes = batch(&["a", "b"]);
    let len = bytes.len();
    for partition in [1, 1, 2] {
        client.produce_at(13, &topic, partition, bytes.clone()).await;
    }
    for (max_bytes, partition_max_bytes, expected) in [
        (1, 1, [0, len, 0]),
        (1 << 20, 1, [0, len, 0]),
        (1, 1 << 20, [0, len, 0]),
        (1 << 20, len as i32, [0, len, len]),
        (1 << 20, 1 << 20, [0, 2 * len, len]),
        (2 * len as i32, 1 << 20, [0, 2 * len, 0]),
        (3 * len as i32, 1 << 20, [0, 2 * len, len]),
        (0, 0, [0, len, 0]),
    ] {
        let response = client.call(18, &all_of(&topic, max_bytes, partition_max_bytes)).await;
        assert_eq!(sizes(&response), expected, "max {max_bytes}, per partition {partition_max_bytes}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_progresses_through_batches_larger_than_its_limits() {
    let (_node, mut client, topic) = node_and_topic().await;
    for index in 0..20 {
        client.produce(&topic, batch(&["x".repeat(100 * index).as_str()])).await;
    }
    let mut request = fetch(&topic, 0, 0);
    request.topics[0].partitions[0].partition_max_bytes = 700;
    let mut offset = 0;
    while offset < 20 {
        request.topics[0].partitions[0].fetch_offset = offset;
        let response = client.call(18, &request).await;
        let found = values(bytes_of(&partitions(&response)[0]));
        assert_eq!(found.first().map(|(first, _)| *first), Some(offset), "stuck at {offset}");
        offset = found.last().unwrap().0 + 1;
    }
    assert_eq!(offset, 20);
}

#[tokio::test(start_paused = true)]
async fn offsets_out_of_range_are_told_and_the_end_is_in_range() {
    let (_node, mut client, topic) = node_and_topic().await;
    client.produce(&topic, batch(&["a", "b", "c"])).await;
    client.delete_before(&topic, 2).await;
    for (offset, error) in [
        (-1, ErrorCode::OffsetOutOfRange),
        (0, ErrorCode::OffsetOutOfRange),
        (1, ErrorCode::OffsetOutOfRange),
        (2, ErrorCode::None),
        (3, ErrorCode::None),
        (4, ErrorCode::OffsetOutOfRange),
        (i64::MAX, ErrorCode::OffsetOutOfRange),
    ] {
        let data = client.fetch(&topic, offset).await;
        assert_eq!(data.error_code, code(error), "offset {offset}");
        if error == ErrorCode::None {
            assert_eq!((data.log_start_offset, data.high_watermark), (2, 3));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn leader_epochs_fence_old_readers_and_put_off_new_ones() {
    let (node, mut client, topic) = node_and_topic().await;
    client.produce(&topic, batch(&["a"])).await;
    let mut request = fetch(&topic, 0, 0);
    for (epoch, error) in [(-1, ErrorCode::None), (0, ErrorCode::None), (1, ErrorCode::UnknownLeaderEpoch)] {
        request.topics[0].partitions[0].current_leader_epoch = epoch;
        let response = client.call(18, &request).await;
        assert_eq!(partitions(&response)[0].error_code, code(error), "epoch {epoch}");
    }
    let node = node.restart().await;
    let mut client = node.client();
    for (epoch, error) in [(0, ErrorCode::FencedLeaderEpoch), (1, ErrorCode::None)] {
        request.topics[0].partitions[0].current_leader_epoch = epoch;
        let response = client.call(18, &request).await;
        assert_eq!(partitions(&response)[0].error_code, code(error), "epoch {epoch} after a restart");
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_whose_history_parts_from_the_logs_is_told_where() {
    let (node, mut client, topic) = node_and_topic().await;
    client.produce(&topic, batch(&["a", "b"])).await;
    let node = node.restart().await;
    let mut client = node.client();
    client.produce(&topic, batch(&["c"])).await;
    let mut request = fetch(&topic, 0, 3);
    for (offset, last_fetched_epoch, diverging) in [(3, 1, (-1, -1)), (2, 0, (-1, -1)), (3, 0, (0, 2))] {
        let partition = &mut request.topics[0].partitions[0];
        (partition.fetch_offset, partition.last_fetched_epoch) = (offset, last_fetched_epoch);
        let response = client.call(18, &request).await;
        let data = &partitions(&response)[0];
        let told = (data.diverging_epoch.epoch, data.diverging_epoch.end_offset);
        assert_eq!((data.error_code, told), (0, diverging), "offset {offset}, epoch {last_fetched_epoch}");
        assert_eq!(bytes_of(data).is_empty(), diverging != (-1, -1) || offset == 3);
    }
    request.topics[0].partitions[0].last_fetched_epoch = 5;
    let response = client.call(18, &request).await;
    let error = partitions(&response)[0].error_code;
    assert_eq!(error, code(ErrorCode::OffsetOutOfRange), "an epoch that this log has never seen");
}

#[tokio::test(start_paused = true)]
async fn a_reader_gets_the_same_bytes_from_memory_and_from_the_disk() {
    let warm = Node::start().await;
    let cold = Node::with_config(&[], |config| config.tail_bytes_max = 0).await;
    let mut streams = Vec::new();
    for node in [&warm, &cold] {
        let mut client = node.client();
        let topic = client.create("t", 1, &[("segment.bytes", "1048576")]).await;
        for index in 0..300 {
            let value = format!("{index}-{}", "x".repeat(10_000));
            assert_eq!(client.produce(&topic, batch(&[&value, "small"])).await.base_offset, 2 * index);
        }
        let (mut offset, mut all) = (0, Vec::new());
        while offset < 600 {
            let mut request = fetch(&topic, 0, offset);
            request.topics[0].partitions[0].partition_max_bytes = 50_000;
            let response = client.call(18, &request).await;
            let bytes = bytes_of(&partitions(&response)[0]);
            let found = values(bytes.clone());
            assert_eq!(found.first().map(|(first, _)| *first), Some(offset));
            offset = found.last().unwrap().0 + 1;
            all.extend_from_slice(&bytes);
        }
        streams.push(all);
    }
    assert!(streams[0] == streams[1]);
    assert!(streams[0].len() > 3_000_000, "several segments");
}

#[tokio::test(start_paused = true)]
async fn a_cold_read_in_the_middle_of_a_batch_begins_with_that_batch() {
    let node = Node::with_config(&[], |config| config.tail_bytes_max = 0).await;
    let mut client = node.client();
    let topic = client.create("t", 1, &[]).await;
    for values in [["a", "b", "c"], ["d", "e", "f"]] {
        client.produce(&topic, batch(&values)).await;
    }
    for (offset, first) in [(0, 0), (2, 0), (3, 3), (5, 3)] {
        let data = client.fetch(&topic, offset).await;
        assert_eq!(values(bytes_of(&data))[0].0, first, "offset {offset}");
    }
    assert!(bytes_of(&client.fetch(&topic, 6).await).is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_oldest_batches_of_all_partitions_make_room_in_memory_for_new_ones() {
    let node = Node::with_config(&[], |config| config.tail_bytes_max = 100_000).await;
    let mut client = node.client();
    let (first, second) = (client.create("first", 1, &[]).await, client.create("second", 1, &[]).await);
    let value = "x".repeat(40_000);
    for topic in [&first, &second] {
        client.produce(topic, batch(&[&value])).await;
    }
    let read = || node.disk.switches().bytes_read.load(std::sync::atomic::Ordering::Relaxed);
    let before = read();
    for topic in [&first, &second] {
        assert_eq!(client.read_all(topic).await.len(), 1);
    }
    assert_eq!(read(), before, "both are in memory");
    client.produce(&second, batch(&[&value])).await;
    assert_eq!(client.read_all(&second).await.len(), 2);
    assert_eq!(read(), before, "what came last is still there");
    assert_eq!(client.read_all(&first).await.len(), 1);
    assert!(read() > before, "what came first is read from the disk, though another topic pushed it out");
}

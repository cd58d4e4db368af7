//! Compacted topics from outside: what is left for readers, what is where, and what becomes of it over restarts, changes of
//! the policy, damage and copies. The rules record by record are tested in the log's own crate.

use crate::{
    configs::{TOPIC, alter},
    harness::{
        BatchSpec, Client, LOG_DIR, Node, Topic, Transactional, batch_of, bytes_of, code, committed, fetch,
        values,
    },
};
use std::path::{Path, PathBuf};
use wire::{
    ErrorCode, OffsetCommitRequest, OffsetFetchRequest,
    offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
    offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics},
};

const FAST: [(&str, &str); 1] = [("log.cleaner.backoff.ms", "100")];
const COMPACTED: [(&str, &str); 3] =
    [("cleanup.policy", "compact"), ("min.cleanable.dirty.ratio", "0"), ("segment.ms", "1000")];
/// So that a segment is closed before the next record.
const ROLL_MS: u64 = 1500;

async fn start() -> (Node, Client, Topic) {
    let node = Node::with(&FAST).await;
    let mut client = node.client();
    let topic = client.create("t", 1, &COMPACTED).await;
    (node, client, topic)
}

async fn put(node: &Node, client: &mut Client, topic: &Topic, key: &str, value: &str) -> i64 {
    let spec =
        BatchSpec { values: &[value], key: Some(key), timestamp: node.now_ms(), ..BatchSpec::default() };
    let answer = client.produce(topic, batch_of(&spec)).await;
    assert_eq!(answer.error_code, 0);
    answer.base_offset
}

/// All that a reader gets from the beginning on.
async fn read(client: &mut Client, topic: &Topic) -> Vec<(i64, String)> {
    let (mut from, mut all) = (0, Vec::new());
    loop {
        let data = client.fetch(topic, from).await;
        assert_eq!(data.error_code, 0, "at {from}");
        let found = values(bytes_of(&data));
        if found.is_empty() {
            return all;
        }
        from = found.last().map_or(from, |(offset, _)| offset + 1);
        all.extend(found);
    }
}

fn owned(values: &[(i64, &str)]) -> Vec<(i64, String)> {
    values.iter().map(|(offset, value)| (*offset, value.to_string())).collect()
}

fn contents(node: &Node, name: &str) -> String {
    let bytes = node.disk.contents(&Path::new(LOG_DIR).join(name)).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test(start_paused = true)]
async fn of_each_key_the_last_record_is_left_and_stays_over_restarts() {
    let (node, mut client, topic) = start().await;
    for (key, value) in [("a", "1"), ("b", "2"), ("a", "3"), ("b", "4"), ("c", "5")] {
        put(&node, &mut client, &topic, key, value).await;
    }
    node.pass(ROLL_MS).await;
    put(&node, &mut client, &topic, "a", "6").await;
    node.pass(5000).await;
    let left = owned(&[(2, "3"), (3, "4"), (4, "5"), (5, "6")]);
    assert_eq!(read(&mut client, &topic).await, left, "only the active segment has what is newer");
    assert_eq!(contents(&node, "cleaner-offset-checkpoint"), "0\n1\nt 0 5\n");
    let node = node.restart().await;
    let mut client = node.client();
    assert_eq!(read(&mut client, &topic).await, left);
    node.pass(ROLL_MS).await;
    put(&node, &mut client, &topic, "d", "7").await;
    node.pass(5000).await;
    let left = owned(&[(3, "4"), (4, "5"), (5, "6"), (6, "7")]);
    assert_eq!(read(&mut client, &topic).await, left);
    let node = node.cut_power().await;
    assert_eq!(read(&mut node.client(), &topic).await, left);
    let metrics = node.broker.metrics();
    assert_eq!(metrics.cleaner.uncleanable(), 0);
    node.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn without_the_cleaner_nothing_is_compacted() {
    let node = Node::with(&[("log.cleaner.backoff.ms", "100"), ("log.cleaner.enable", "false")]).await;
    let mut client = node.client();
    let topic = client.create("t", 1, &COMPACTED).await;
    put(&node, &mut client, &topic, "a", "1").await;
    put(&node, &mut client, &topic, "a", "2").await;
    node.pass(ROLL_MS).await;
    put(&node, &mut client, &topic, "a", "3").await;
    node.pass(60_000).await;
    assert_eq!(read(&mut client, &topic).await.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn the_policy_may_change_at_any_time() {
    let (node, mut client, topic) = start().await;
    let policy = |policy: &'static str| [("cleanup.policy", policy)];
    for round in 0..3 {
        for value in ["x", "y"] {
            put(&node, &mut client, &topic, "a", value).await;
        }
        put(&node, &mut client, &topic, "b", "z").await;
        if round == 0 {
            let [(key, value)] = policy("delete");
            alter(&mut client, TOPIC, "t", key, Some(value)).await;
        }
        node.pass(ROLL_MS).await;
    }
    put(&node, &mut client, &topic, "c", "w").await;
    node.pass(20_000).await;
    assert_eq!(read(&mut client, &topic).await.len(), 10, "it only deletes, and nothing is old");
    alter(&mut client, TOPIC, "t", "cleanup.policy", Some("compact,delete")).await;
    node.pass(5000).await;
    let left = owned(&[(7, "y"), (8, "z"), (9, "w")]);
    assert_eq!(read(&mut client, &topic).await, left);
    // What compaction has left is no damage now.
    alter(&mut client, TOPIC, "t", "cleanup.policy", Some("delete")).await;
    let node = node.cut_power().await;
    let mut client = node.client();
    assert_eq!(read(&mut client, &topic).await, left);
    alter(&mut client, TOPIC, "t", "cleanup.policy", Some("compact,delete")).await;
    alter(&mut client, TOPIC, "t", "retention.ms", Some("1000")).await;
    node.pass(10_000).await;
    assert_eq!(client.fetch(&topic, 0).await.error_code, code(ErrorCode::OffsetOutOfRange));
    let end = client.fetch(&topic, 10).await;
    assert_eq!((end.error_code, end.high_watermark), (0, 10));
    node.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn aborted_records_go_and_readers_of_committed_records_never_see_them() {
    let (node, mut client, topic) = start().await;
    let mut producer = Transactional::init(&mut client, "p").await;
    for round in 0..4 {
        assert_eq!(producer.send(&mut client, 12, &topic, &["aborted"]).await.error_code, 0);
        producer.end(&mut client, 5, false).await;
        assert_eq!(producer.send(&mut client, 12, &topic, &["committed"]).await.error_code, 0);
        producer.end(&mut client, 5, true).await;
        node.pass(ROLL_MS).await;
        put(&node, &mut client, &topic, "other", "x").await;
        node.pass(5000).await;
        let (seen, _) = committed(&mut client, &topic).await;
        assert!(!seen.iter().any(|value| value == "aborted"), "round {round}: {seen:?}");
        assert_eq!(seen.iter().filter(|value| *value == "committed").count(), 1, "round {round}: {seen:?}");
    }
    let node = node.cut_power().await;
    let (seen, _) = committed(&mut node.client(), &topic).await;
    assert_eq!(seen.iter().filter(|value| *value == "committed").count(), 1);
    assert!(!seen.iter().any(|value| value == "aborted"));
    node.assert_sound();
}

async fn commit(client: &mut Client, topic: &Topic, committed_offset: i64) {
    let partition = OffsetCommitRequestPartition {
        partition_index: 0,
        committed_offset,
        committed_leader_epoch: 0,
        committed_metadata: Some("x".repeat(4000)),
    };
    let topics = vec![OffsetCommitRequestTopic {
        name: topic.name.clone(),
        partitions: vec![partition],
        ..Default::default()
    }];
    let request = OffsetCommitRequest {
        group_id: "g".into(),
        generation_id_or_member_epoch: -1,
        topics,
        ..Default::default()
    };
    assert_eq!(client.call(9, &request).await.topics[0].partitions[0].error_code, 0);
}

#[tokio::test(start_paused = true)]
async fn the_log_of_a_coordinator_stays_small_and_says_the_same() {
    let node = Node::with(&[
        ("log.cleaner.backoff.ms", "100"),
        ("offsets.topic.num.partitions", "1"),
        ("offsets.topic.segment.bytes", "1048576"),
    ])
    .await;
    let mut client = node.client();
    client.find_coordinator().await;
    let topic = client.create("t", 1, &[]).await;
    for offset in 1..=1500 {
        commit(&mut client, &topic, offset).await;
        if offset % 100 == 0 {
            node.pass(1000).await;
        }
    }
    node.pass(120_000).await;
    let size = |node: &Node| -> usize {
        let paths = node.disk.paths();
        let logs = paths.iter().filter(|path| {
            path.to_string_lossy().contains("__consumer_offsets")
                && path.extension().is_some_and(|e| e == "log")
        });
        logs.map(|path| node.disk.contents(path).unwrap().len()).sum()
    };
    assert!(size(&node) < 2_300_000, "6 MB were written, {} are left", size(&node));
    let node = node.cut_power().await;
    let mut client = node.client();
    client.find_coordinator().await;
    let topics = vec![OffsetFetchRequestTopics {
        name: topic.name.clone(),
        partition_indexes: vec![0],
        ..Default::default()
    }];
    let groups =
        vec![OffsetFetchRequestGroup { group_id: "g".into(), topics: Some(topics), ..Default::default() }];
    let group = client.call(9, &OffsetFetchRequest { groups, ..Default::default() }).await.groups.remove(0);
    assert_eq!((group.error_code, group.topics[0].partitions[0].committed_offset), (0, 1500));
}

#[tokio::test(start_paused = true)]
async fn a_damaged_partition_goes_offline_and_the_others_are_compacted() {
    let node = Node::with(&[("log.cleaner.backoff.ms", "30000")]).await;
    let mut client = node.client();
    let (bad, good) = (client.create("bad", 1, &COMPACTED).await, client.create("good", 1, &COMPACTED).await);
    for topic in [&bad, &good] {
        for value in ["1", "2", "3"] {
            put(&node, &mut client, topic, "a", value).await;
        }
    }
    node.pass(ROLL_MS).await;
    for topic in [&bad, &good] {
        put(&node, &mut client, topic, "a", "4").await;
    }
    let path: PathBuf = Path::new(LOG_DIR).join("bad-0/00000000000000000000.log");
    let mut bytes = node.disk.contents(&path).unwrap();
    bytes[70] ^= 1;
    node.disk.put(&path, bytes);
    node.pass(120_000).await;
    let data = client.call(18, &fetch(&bad, 0, 0)).await.responses[0].partitions[0].clone();
    assert_eq!(data.error_code, code(ErrorCode::KafkaStorageError));
    assert_eq!(node.broker.metrics().cleaner.damaged.get(), 1);
    assert_eq!(read(&mut client, &good).await, owned(&[(2, "3"), (3, "4")]));
    node.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn a_deleted_topic_leaves_no_offset_behind_and_a_new_one_of_its_name_begins_dirty() {
    let (node, mut client, topic) = start().await;
    put(&node, &mut client, &topic, "a", "1").await;
    node.pass(ROLL_MS).await;
    put(&node, &mut client, &topic, "a", "2").await;
    node.pass(5000).await;
    assert_eq!(contents(&node, "cleaner-offset-checkpoint"), "0\n1\nt 0 1\n");
    let delete = wire::DeleteTopicsRequest {
        topics: vec![wire::delete_topics_request::DeleteTopicState {
            name: Some("t".into()),
            ..Default::default()
        }],
        timeout_ms: 1000,
        ..Default::default()
    };
    assert_eq!(client.call(6, &delete).await.responses[0].error_code, 0);
    node.pass(1000).await;
    assert_eq!(contents(&node, "cleaner-offset-checkpoint"), "0\n0\n");
    let topic = client.create("t", 1, &COMPACTED).await;
    for value in ["1", "2", "3"] {
        put(&node, &mut client, &topic, "a", value).await;
    }
    node.pass(ROLL_MS).await;
    put(&node, &mut client, &topic, "b", "4").await;
    node.pass(5000).await;
    assert_eq!(read(&mut client, &topic).await, owned(&[(2, "3"), (3, "4")]));
}

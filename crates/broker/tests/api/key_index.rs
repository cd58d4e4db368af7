//! Records found by their keys, as the gateway finds them: over restarts, compaction, and aborted
//! transactions, with an index and without. What the index says of a log is tested in the log's own crate.

use crate::{
    configs::{TOPIC, alter},
    harness::{BatchSpec, Client, LOG_DIR, Node, Topic, Transactional, batch_of},
};
use bytes::Bytes;
use gateway::{Address, Denied, From};
use mailbox::Refusal;
use model::TopicName;

const INDEXED: [(&str, &str); 2] = [("odradek.key.index", "true"), ("segment.ms", "1000")];
/// So that a segment is closed before the next record.
const ROLL_MS: u64 = 1500;

async fn put(node: &Node, client: &mut Client, topic: &Topic, key: &str, values: &[&str]) {
    let spec = BatchSpec { values, key: Some(key), timestamp: node.now_ms(), ..BatchSpec::default() };
    assert_eq!(client.produce(topic, batch_of(&spec)).await.error_code, 0);
}

/// The offsets of a key's records that are committed, and that of the newest.
async fn found(node: &Node, key: &str) -> (Vec<i64>, Option<i64>) {
    let boxes = node.broker.mailboxes();
    let at = Address { topic: TopicName::new("t").unwrap(), key: Bytes::copy_from_slice(key.as_bytes()) };
    let (mut offsets, mut from) = (Vec::new(), From::Begin);
    loop {
        // One at a time, as a reader goes on.
        match boxes.read(&at, from, 1).await {
            Ok(chunk) => {
                offsets.extend(chunk.records.iter().map(|(next, _)| next.0.offset as i64 - 1));
                from = From::At(chunk.next);
                if chunk.is_up_to_date {
                    break;
                }
            }
            Err(Denied::Refused(Refusal::NotFound, _)) => break,
            Err(other) => panic!("{other:?}"),
        }
    }
    let latest = boxes.latest(&at).await.unwrap();
    (offsets, latest.map(|latest| latest.at.0.offset as i64))
}

fn key_files(node: &Node) -> usize {
    let paths = node.disk.paths();
    let names = paths.iter().filter(|path| path.starts_with(LOG_DIR)).map(|path| path.to_string_lossy());
    names.filter(|name| name.ends_with(".keys")).count()
}

#[tokio::test(start_paused = true)]
async fn records_are_found_by_their_keys_with_an_index_and_without() {
    let node = Node::with(&[]).await;
    let mut client = node.client();
    let topic = client.create("t", 1, &[("segment.ms", "1000")]).await;
    for key in ["a", "b", "a", "c"] {
        put(&node, &mut client, &topic, key, &["1", "2"]).await;
        node.pass(ROLL_MS).await;
    }
    let of_a = (vec![0, 1, 4, 5], Some(5));
    assert_eq!(found(&node, "a").await, of_a);
    assert_eq!((key_files(&node), node.broker.metrics().key_index.records_behind()), (0, 0));
    alter(&mut client, TOPIC, "t", "odradek.key.index", Some("true")).await;
    node.pass(3000).await;
    assert_eq!(found(&node, "a").await, of_a);
    assert_eq!((key_files(&node), node.broker.metrics().key_index.records_behind()), (3, 0));
    let node = node.cut_power().await;
    let mut client = node.client();
    assert_eq!(found(&node, "a").await, of_a, "before anything is indexed");
    node.pass(3000).await;
    put(&node, &mut client, &topic, "a", &["9"]).await;
    assert_eq!(found(&node, "a").await, (vec![0, 1, 4, 5, 8], Some(8)));
    assert_eq!(found(&node, "d").await, (vec![], None));
    alter(&mut client, TOPIC, "t", "odradek.key.index", None).await;
    node.pass(3000).await;
    assert_eq!(key_files(&node), 0);
    assert_eq!(found(&node, "a").await, (vec![0, 1, 4, 5, 8], Some(8)));
    node.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn a_compacted_segment_has_its_index_from_the_beginning() {
    let node = Node::with(&[("log.cleaner.backoff.ms", "100")]).await;
    let mut client = node.client();
    let compacted = [("cleanup.policy", "compact"), ("min.cleanable.dirty.ratio", "0")];
    let configs: Vec<_> = INDEXED.into_iter().chain(compacted).collect();
    let topic = client.create("t", 1, &configs).await;
    for round in 0..4 {
        for key in ["a", "b"] {
            put(&node, &mut client, &topic, key, &["x"]).await;
        }
        node.pass(ROLL_MS).await;
        put(&node, &mut client, &topic, "c", &["y"]).await;
        node.pass(5000).await;
        let last = 3 * round + 1;
        assert_eq!(found(&node, "b").await, (vec![last], Some(last)), "round {round}");
        assert_eq!(node.broker.metrics().key_index.records_behind(), 0);
    }
    assert_eq!(node.broker.metrics().key_index.discarded.get(), 0);
    node.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn what_was_aborted_is_not_found_by_readers_of_committed_records() {
    let node = Node::with(&[]).await;
    let mut client = node.client();
    let topic = client.create("t", 1, &INDEXED).await;
    put(&node, &mut client, &topic, "key", &["1"]).await;
    let mut producer = Transactional::init(&mut client, "p").await;
    for committed in [false, true, false] {
        let sent = producer.send(&mut client, 12, &topic, &["2"]).await;
        assert_eq!(sent.error_code, 0);
        producer.end(&mut client, 5, committed).await;
    }
    for _ in 0..2 {
        assert_eq!(found(&node, "key").await, (vec![0, 3], Some(3)));
        node.pass(3000).await;
    }
    node.assert_sound();
}

/// Three closed segments with their indexes, and one that is written.
async fn indexed(node: &Node, client: &mut Client) -> Topic {
    let topic = client.create("t", 1, &INDEXED).await;
    for key in ["a", "b", "a", "c"] {
        put(node, client, &topic, key, &["1", "2"]).await;
        node.pass(ROLL_MS).await;
    }
    topic
}

#[tokio::test(start_paused = true)]
async fn a_file_of_the_index_that_is_missing_is_made_again() {
    let node = Node::with(&[]).await;
    let mut client = node.client();
    indexed(&node, &mut client).await;
    node.pass(3000).await;
    assert_eq!(key_files(&node), 3);
    for path in node.disk.paths().iter().filter(|path| path.to_string_lossy().ends_with(".keys")) {
        env::Disk::remove_file(&*node.disk, path).unwrap();
    }
    for _ in 0..2 {
        assert_eq!(found(&node, "a").await, (vec![0, 1, 4, 5], Some(5)));
        node.pass(3000).await;
    }
    assert_eq!(found(&node, "b").await, (vec![2, 3], Some(3)));
    node.pass(3000).await;
    assert_eq!(key_files(&node), 3);
    node.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn where_there_was_no_room_no_index_is_built_for_a_minute() {
    let node = Node::with(&[]).await;
    let mut client = node.client();
    let topic = client.create("t", 1, &[("segment.ms", "1000")]).await;
    for key in ["a", "b", "a", "c"] {
        put(&node, &mut client, &topic, key, &["1", "2"]).await;
        node.pass(ROLL_MS).await;
    }
    *node.disk.switches().full_below.lock().unwrap() = Some(std::path::Path::new(LOG_DIR).join("t-0"));
    alter(&mut client, TOPIC, "t", "odradek.key.index", Some("true")).await;
    node.pass(3000).await;
    let left = node.disk.paths().iter().filter(|path| path.to_string_lossy().contains(".keys")).count();
    assert_eq!(left, 0, "nothing half written is left");
    *node.disk.switches().full_below.lock().unwrap() = None;
    node.pass(10_000).await;
    assert_eq!(key_files(&node), 0, "others have the room first");
    assert_eq!(found(&node, "a").await, (vec![0, 1, 4, 5], Some(5)));
    node.pass(60_000).await;
    assert_eq!(key_files(&node), 3);
    node.assert_sound();
}

//! Moves of replicas from one log directory to another: what clients notice, what lies where, and what a crash leaves.

use crate::{
    clusters::ALL,
    configs::{TOPIC, alter},
    harness::{
        BatchSpec, Client, LOG_DIR, NODE_ID, Node, Topic, Transactional, batch, batch_of, code, committed,
    },
    log_dirs::{
        MORE, cluster_of_two_dirs, describe, lying, meta, of_two, put, read, read_from, set_broken, set_full,
        two_dirs,
    },
    replication::{create, produce_somewhere, read_at, until_in_sync},
};
use log::testing::MemoryDisk;
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::atomic::Ordering,
};
use wire::{
    AlterReplicaLogDirsRequest, DeleteTopicsRequest, ErrorCode,
    alter_replica_log_dirs_request::{AlterReplicaLogDir, AlterReplicaLogDirTopic},
};

/// Slow enough that a test sees a move under way: a batch of this size takes a second.
pub(crate) const SLOW: (&str, &str) = ("replica.alter.log.dirs.io.max.bytes.per.second", "65536");
const SLOW_BYTES: usize = 65_000;

/// Writes so many batches of which each takes a second to be moved.
pub(crate) async fn put_slow(client: &mut Client, topic: &Topic, count: usize) {
    let large = "x".repeat(SLOW_BYTES);
    for _ in 0..count {
        assert_eq!(put(client, topic, 0, &large).await, 0);
    }
}

/// Asks for a replica to be in a directory.
pub(crate) async fn ask(client: &mut Client, topic: &str, index: i32, path: &str) -> i16 {
    let topic = AlterReplicaLogDirTopic { name: topic.into(), partitions: vec![index] };
    let dir = AlterReplicaLogDir { path: path.into(), topics: vec![topic] };
    let answer = client.call(2, &AlterReplicaLogDirsRequest { dirs: vec![dir] }).await;
    answer.results[0].partitions[0].error_code
}

/// Waits until nothing is on its way any more.
pub(crate) async fn until_moved(client: &mut Client) -> Vec<Vec<String>> {
    for _ in 0..2000 {
        let lying = lying(&describe(client).await);
        if !lying.iter().flatten().any(|name| name.starts_with('+')) {
            return lying;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("it is not moved: {:?}", lying(&describe(client).await));
}

/// The directories of logs that are called so, or so with something behind.
pub(crate) fn dirs_of(disk: &MemoryDisk, name: &str) -> BTreeSet<PathBuf> {
    let paths = disk.paths();
    let parents = paths.iter().filter_map(|path| path.parent());
    let is_named =
        |path: &&Path| path.file_name().is_some_and(|file| file.to_string_lossy().starts_with(name));
    parents.filter(is_named).map(Path::to_owned).collect()
}

fn only(dir: &str) -> BTreeSet<PathBuf> {
    BTreeSet::from([PathBuf::from(dir)])
}

/// A node with a topic of one partition, in the first of two directories.
pub(crate) async fn one_partition(
    statics: &[(&str, &str)],
    configs: &[(&str, &str)],
) -> (Node, Client, Topic) {
    let node = of_two(statics).await;
    let mut client = node.client();
    let topic = client.create("t", 1, configs).await;
    (node, client, topic)
}

/// ... whose log, of so many slow batches, has been on its way to the second for so long.
pub(crate) async fn moving(count: usize, ms: u64) -> (Node, Client, Topic) {
    let (node, mut client, topic) = one_partition(&[SLOW], &[]).await;
    put_slow(&mut client, &topic, count).await;
    assert_eq!(ask(&mut client, "t", 0, MORE).await, 0);
    node.pass(ms).await;
    (node, client, topic)
}

/// Changes how many bytes of moves a node copies in a second.
pub(crate) async fn set_rate(client: &mut Client, node: i32, bytes: &str) {
    const BROKER: i8 = 4;
    alter(client, BROKER, &node.to_string(), SLOW.0, Some(bytes)).await;
}

/// Of a topic that is compacted as soon as anything can be.
pub(crate) const COMPACTED: [(&str, &str); 3] =
    [("cleanup.policy", "compact"), ("min.cleanable.dirty.ratio", "0"), ("segment.ms", "1000")];

/// A record with a key.
pub(crate) fn keyed(key: &str, value: &str, now: i64) -> bytes::Bytes {
    batch_of(&BatchSpec { values: &[value], key: Some(key), timestamp: now, ..BatchSpec::default() })
}

#[tokio::test(start_paused = true)]
async fn a_log_is_moved_with_all_it_has_and_stays_there() {
    let (node, mut client, topic) = one_partition(&[], &[]).await;
    let values: Vec<_> = (0..20).map(|number| number.to_string()).collect();
    for value in &values {
        assert_eq!(put(&mut client, &topic, 0, value).await, 0);
    }
    assert_eq!(ask(&mut client, "t", 0, MORE).await, 0);
    assert_eq!(until_moved(&mut client).await, [vec![], vec!["t-0".to_owned()]]);
    node.pass(100).await;
    assert_eq!(dirs_of(&node.disk, "t-0"), only("/more/t-0"));
    assert_eq!(read(&mut client, &topic, 0).await, values);
    assert_eq!(put(&mut client, &topic, 0, "after").await, 0);
    let image = node.broker.image();
    let directory = image.topic("t").unwrap().partition(0).unwrap().directory(NODE_ID);
    assert_eq!(directory.unwrap().to_string(), meta(&node.disk, MORE, "directory.id"));
    assert_eq!(ask(&mut client, "t", 0, MORE).await, 0, "it is there");
    let mut node = node.cut_power().await;
    for _ in 0..2 {
        let mut client = node.client();
        assert_eq!(lying(&describe(&mut client).await), [vec![], vec!["t-0".to_owned()]]);
        let mut expected = values.clone();
        expected.push("after".into());
        assert_eq!(read(&mut client, &topic, 0).await, expected);
        node.assert_sound();
        node = node.restart().await;
    }
    // And back.
    let mut client = node.client();
    assert_eq!(ask(&mut client, "t", 0, LOG_DIR).await, 0);
    assert_eq!(until_moved(&mut client).await, [vec!["t-0".to_owned()], vec![]]);
    assert_eq!(read(&mut client, &topic, 0).await.len(), 21);
    node.pass(100).await;
    assert_eq!(dirs_of(&node.disk, "t-0"), only("/data/t-0"));
}

#[tokio::test(start_paused = true)]
async fn a_log_without_records_is_moved_too() {
    let (node, mut client, topic) = one_partition(&[], &[]).await;
    assert_eq!(ask(&mut client, "t", 0, MORE).await, 0);
    assert_eq!(until_moved(&mut client).await, [vec![], vec!["t-0".to_owned()]]);
    assert_eq!(put(&mut client, &topic, 0, "a").await, 0);
    let node = node.cut_power().await;
    assert_eq!(read(&mut node.client(), &topic, 0).await, ["a"]);
    assert_eq!(dirs_of(&node.disk, "t-0"), only("/more/t-0"));
}

#[tokio::test(start_paused = true)]
async fn a_slow_move_is_seen_under_way_and_the_log_is_written_and_read_meanwhile() {
    let (node, mut client, topic) = one_partition(&[SLOW], &[]).await;
    put_slow(&mut client, &topic, 6).await;
    let begun = node.now_ms();
    assert_eq!(ask(&mut client, "t", 0, MORE).await, 0);
    node.pass(2500).await;
    let dirs = describe(&mut client).await;
    assert_eq!(lying(&dirs), [["t-0"], ["+t-0"]]);
    let (current, future) = (&dirs[0].topics[0].partitions[0], &dirs[1].topics[0].partitions[0]);
    assert_eq!((current.offset_lag, future.is_future_key), (0, true));
    assert!((3..6).contains(&future.offset_lag), "{future:?}");
    assert!(future.partition_size > 0 && future.partition_size < current.partition_size);
    assert_eq!(dirs_of(&node.disk, "t-0").len(), 2);
    let copy = dirs_of(&node.disk, "t-0").into_iter().find(|path| path.starts_with(MORE)).unwrap();
    let name = copy.file_name().unwrap().to_string_lossy().into_owned();
    assert!(name.starts_with("t-0.") && name.ends_with("-future") && name.len() == "t-0.-future".len() + 32);
    assert_eq!(put(&mut client, &topic, 0, "meanwhile").await, 0);
    assert_eq!(ask(&mut client, "t", 0, MORE).await, 0, "it is on its way");
    until_moved(&mut client).await;
    assert!(node.now_ms() - begun >= 4900, "{}", node.now_ms() - begun);
    let all = read(&mut client, &topic, 0).await;
    assert_eq!((all.len(), all[6].as_str()), (7, "meanwhile"));
    node.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn under_load_no_record_is_lost_or_doubled_and_the_moves_come_to_their_end() {
    let (node, mut client, topic) = one_partition(&[], &[("segment.bytes", "1048576")]).await;
    let producing = {
        let mut producer = node.client();
        let topic = Topic { name: topic.name.clone(), id: topic.id };
        tokio::spawn(async move {
            for number in 0..400 {
                let value = format!("{number:06}{}", "x".repeat(10_000));
                assert_eq!(put(&mut producer, &topic, 0, &value).await, 0);
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            }
        })
    };
    for path in [MORE, LOG_DIR, MORE, LOG_DIR, MORE] {
        node.pass(40).await;
        assert_eq!(ask(&mut client, "t", 0, path).await, 0);
        until_moved(&mut client).await;
    }
    producing.await.unwrap();
    let node = node.cut_power().await;
    let all = read(&mut node.client(), &topic, 0).await;
    let numbers: Vec<_> = all.iter().map(|value| value[..6].parse::<usize>().unwrap()).collect();
    assert_eq!(numbers, (0..400).collect::<Vec<_>>());
    assert_eq!(dirs_of(&node.disk, "t-0"), only("/more/t-0"));
    node.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn a_second_request_calls_the_move_off_or_leads_it_elsewhere() {
    let third = |config: &mut broker::Config| config.log_dirs.extend([MORE.into(), "/third".into()]);
    let node = Node::with_config(&[SLOW], third).await;
    let mut client = node.client();
    let topic = client.create("t", 1, &[]).await;
    put_slow(&mut client, &topic, 4).await;
    assert_eq!(ask(&mut client, "t", 0, MORE).await, 0);
    node.pass(1500).await;
    assert_eq!(ask(&mut client, "t", 0, LOG_DIR).await, 0);
    assert_eq!(lying(&describe(&mut client).await), [vec!["t-0".to_owned()], vec![], vec![]]);
    node.pass(100).await;
    assert_eq!(dirs_of(&node.disk, "t-0"), only("/data/t-0"), "what was copied is removed");
    assert_eq!(ask(&mut client, "t", 0, MORE).await, 0);
    node.pass(1500).await;
    assert_eq!(ask(&mut client, "t", 0, "/third").await, 0);
    assert_eq!(lying(&describe(&mut client).await), [vec!["t-0".to_owned()], vec![], vec!["+t-0".into()]]);
    assert_eq!(until_moved(&mut client).await, [vec![], vec![], vec!["t-0".to_owned()]]);
    node.pass(100).await;
    assert_eq!(dirs_of(&node.disk, "t-0"), only("/third/t-0"));
    assert_eq!(read(&mut client, &topic, 0).await.len(), 4);
    let image = node.broker.image();
    let directory = image.topic("t").unwrap().partition(0).unwrap().directory(NODE_ID);
    assert_eq!(directory.unwrap().to_string(), meta(&node.disk, "/third", "directory.id"));
    node.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn a_directory_that_is_named_before_its_replica_is_made_gets_it() {
    let (_node, mut client, _) = one_partition(&[], &[]).await;
    let unknown = code(ErrorCode::UnknownTopicOrPartition);
    for index in 0..3 {
        assert_eq!(ask(&mut client, "later", index, LOG_DIR).await, unknown);
    }
    client.create("later", 4, &[]).await;
    let lying = lying(&describe(&mut client).await);
    assert_eq!(
        lying,
        [["later-0", "later-1", "later-2", "t-0"].map(str::to_owned).to_vec(), vec!["later-3".into()]]
    );
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_moved_is_refused_as_kafka_refuses_it() {
    let (node, mut client, topic) = one_partition(&[], &[]).await;
    assert_eq!(put(&mut client, &topic, 0, "a").await, 0);
    let long = "l".repeat(240);
    client.create(&long, 1, &[]).await;
    assert_eq!(ask(&mut client, &long, 0, LOG_DIR).await, code(ErrorCode::InvalidTopicException));
    assert_eq!(ask(&mut client, "t", 0, "/none").await, code(ErrorCode::LogDirNotFound));
    assert_eq!(ask(&mut client, "t", 7, MORE).await, code(ErrorCode::UnknownTopicOrPartition));
    set_full(&node.disk, Some(MORE));
    assert_eq!(ask(&mut client, "t", 0, MORE).await, code(ErrorCode::KafkaStorageError));
    set_full(&node.disk, None);
    set_broken(&node.disk, Some(MORE));
    let storage = code(ErrorCode::KafkaStorageError);
    assert_eq!(ask(&mut client, "t", 0, MORE).await, storage);
    assert_eq!(describe(&mut client).await[1].error_code, storage, "it is found to have failed");
    assert_eq!((put(&mut client, &topic, 0, "b").await, ask(&mut client, "t", 0, LOG_DIR).await), (0, 0));
    node.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn a_full_directory_holds_the_move_up_and_one_that_fails_ends_it() {
    let (node, mut client, topic) = moving(4, 1500).await;
    set_full(&node.disk, Some(MORE));
    node.pass(5000).await;
    assert_eq!(lying(&describe(&mut client).await), [["t-0"], ["+t-0"]]);
    assert_eq!(put(&mut client, &topic, 0, "meanwhile").await, 0);
    set_full(&node.disk, None);
    assert_eq!(until_moved(&mut client).await[1], ["t-0"]);
    assert_eq!(ask(&mut client, "t", 0, LOG_DIR).await, 0);
    node.pass(1500).await;
    // The one that it is moved from is full: that is why it is moved.
    set_full(&node.disk, Some(MORE));
    assert_eq!(put(&mut client, &topic, 0, "refused").await, code(ErrorCode::KafkaStorageError));
    assert_eq!(until_moved(&mut client).await[0], ["t-0"]);
    assert_eq!(put(&mut client, &topic, 0, "taken").await, 0);
    set_full(&node.disk, None);
    assert_eq!(ask(&mut client, "t", 0, MORE).await, 0);
    node.pass(1500).await;
    set_broken(&node.disk, Some(MORE));
    node.pass(5000).await;
    assert_eq!(lying(&describe(&mut client).await), [vec!["t-0".to_owned()], vec![]]);
    assert_eq!(put(&mut client, &topic, 0, "last").await, 0);
    assert_eq!(node.broker.offline_log_dirs(), 1);
    let node = node.start_on(|disk| set_broken(disk, None)).await.unwrap();
    let mut client = node.client();
    // The restart goes on with it.
    assert_eq!(until_moved(&mut client).await[1], ["t-0"]);
    let all = read_from(&mut client, &topic, 0, 4).await;
    assert_eq!((&*all[0], &*all[all.len() - 1]), ("meanwhile", "last"));
    node.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn deleted_records_stay_deleted_and_a_copy_that_falls_behind_them_begins_anew() {
    let (node, mut client, topic) = one_partition(&[SLOW], &[("segment.bytes", "1048576")]).await;
    let large = "x".repeat(SLOW_BYTES);
    for _ in 0..40 {
        assert_eq!(put(&mut client, &topic, 0, &large).await, 0);
    }
    assert_eq!(ask(&mut client, "t", 0, MORE).await, 0);
    node.pass(3500).await;
    client.delete_before(&topic, 2).await;
    node.pass(2000).await;
    client.delete_before(&topic, 38).await;
    assert_eq!(until_moved(&mut client).await[1], ["t-0"]);
    assert_eq!(client.fetch_at(18, &topic, 0, 37).await.error_code, code(ErrorCode::OffsetOutOfRange));
    assert_eq!(read_from(&mut client, &topic, 0, 38).await.len(), 2);
    let node = node.cut_power().await;
    let mut client = node.client();
    assert_eq!(client.fetch_at(18, &topic, 0, 37).await.error_code, code(ErrorCode::OffsetOutOfRange));
    assert_eq!(read_from(&mut client, &topic, 0, 38).await.len(), 2);
    // All of it is deleted.
    client.delete_before(&topic, 40).await;
    assert_eq!(ask(&mut client, "t", 0, LOG_DIR).await, 0);
    assert_eq!(until_moved(&mut client).await[0], ["t-0"]);
    assert_eq!(client.produce_at(13, &topic, 0, batch(&["next"])).await.base_offset, 40);
    let node = node.cut_power().await;
    assert_eq!(read_from(&mut node.client(), &topic, 0, 40).await, ["next"]);
    node.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn producers_and_transactions_go_on_over_a_move() {
    let (node, mut client, topic) = one_partition(&[], &[]).await;
    let numbered = |sequence: i32| {
        let value = sequence.to_string();
        let (values, producer) = ([value.as_str()], Some((7000, 0, sequence)));
        batch_of(&BatchSpec { values: &values, producer, ..BatchSpec::default() })
    };
    let plain = client.create("p", 1, &[]).await;
    for sequence in [0, 1] {
        assert_eq!(client.produce(&plain, numbered(sequence)).await.base_offset, i64::from(sequence));
    }
    // What the log remembers of a producer whose records are deleted goes along.
    client.delete_before(&plain, 2).await;
    let mut aborted = Transactional::init(&mut client, "aborted").await;
    let mut open = Transactional::init(&mut client, "open").await;
    aborted.send(&mut client, 13, &topic, &["gone"]).await;
    aborted.end(&mut client, 5, false).await;
    node.pass(100).await;
    open.send(&mut client, 13, &topic, &["one"]).await;
    assert_eq!((ask(&mut client, "t", 0, MORE).await, ask(&mut client, "p", 0, LOG_DIR).await), (0, 0));
    let lying = until_moved(&mut client).await;
    assert!(lying[1].contains(&"t-0".into()) && lying[0].contains(&"p-0".into()), "{lying:?}");
    assert_eq!(client.produce(&plain, numbered(1)).await.base_offset, 1, "it is a repetition");
    let gap = client.produce(&plain, numbered(3)).await.error_code;
    assert_eq!(gap, code(ErrorCode::OutOfOrderSequenceNumber));
    assert_eq!(committed(&mut client, &topic).await.0, Vec::<String>::new(), "it is still open");
    open.send(&mut client, 13, &topic, &["two"]).await;
    assert_eq!(open.end(&mut client, 5, true).await.error_code, 0);
    node.pass(100).await;
    assert_eq!(committed(&mut client, &topic).await.0, ["one", "two"]);
    let node = node.cut_power().await;
    let mut client = node.client();
    assert_eq!(committed(&mut client, &topic).await.0, ["one", "two"]);
    assert_eq!(client.produce(&plain, numbered(1)).await.base_offset, 1);
    assert_eq!(client.produce(&plain, numbered(2)).await.error_code, 0);
    node.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn a_compacted_log_is_moved_as_it_is_and_is_compacted_again_afterwards() {
    let node = of_two(&[("log.cleaner.backoff.ms", "100")]).await;
    let mut client = node.client();
    let topic = client.create("t", 1, &COMPACTED).await;
    for (key, value) in [("a", "1"), ("b", "2"), ("a", "3")] {
        assert_eq!(client.produce(&topic, keyed(key, value, node.now_ms())).await.error_code, 0);
    }
    node.pass(1500).await;
    assert_eq!(client.produce(&topic, keyed("c", "4", node.now_ms())).await.error_code, 0);
    node.pass(3000).await;
    assert_eq!(read(&mut client, &topic, 0).await, ["2", "3", "4"]);
    assert_eq!(ask(&mut client, "t", 0, MORE).await, 0);
    assert_eq!(until_moved(&mut client).await[1], ["t-0"]);
    assert_eq!(read(&mut client, &topic, 0).await, ["2", "3", "4"]);
    node.pass(100).await;
    let clean = node.disk.contents(&Path::new(MORE).join("cleaner-offset-checkpoint")).unwrap();
    assert_eq!(String::from_utf8(clean).unwrap(), "0\n1\nt 0 3\n", "what is clean stays clean");
    node.pass(1500).await;
    assert_eq!(client.produce(&topic, keyed("b", "5", node.now_ms())).await.error_code, 0);
    node.pass(1500).await;
    assert_eq!(client.produce(&topic, keyed("d", "6", node.now_ms())).await.error_code, 0);
    node.pass(3000).await;
    assert_eq!(read(&mut client, &topic, 0).await, ["3", "4", "5", "6"]);
    let node = node.cut_power().await;
    assert_eq!(read(&mut node.client(), &topic, 0).await, ["3", "4", "5", "6"]);
    node.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_is_deleted_takes_its_copies_along() {
    let (node, mut client, _) = moving(4, 1500).await;
    let request =
        DeleteTopicsRequest { topic_names: vec!["t".into()], timeout_ms: 1000, ..Default::default() };
    assert_eq!(client.call(5, &request).await.responses[0].error_code, 0);
    let again = client.create("t", 1, &[]).await;
    assert_eq!(put(&mut client, &again, 0, "anew").await, 0);
    node.pass(3000).await;
    assert_eq!(dirs_of(&node.disk, "t-0").len(), 1);
    assert_eq!(read(&mut client, &again, 0).await, ["anew"]);
    let described = lying(&describe(&mut client).await);
    assert!(!described.iter().flatten().any(|name| name.starts_with('+')), "{described:?}");
    node.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn the_rate_of_moves_can_be_changed_while_they_go() {
    let (node, mut client, topic) = one_partition(&[], &[]).await;
    put_slow(&mut client, &topic, 4).await;
    set_rate(&mut client, NODE_ID, "0").await;
    assert_eq!(ask(&mut client, "t", 0, MORE).await, 0);
    node.pass(10_000).await;
    let dirs = describe(&mut client).await;
    assert_eq!((lying(&dirs)[1][0].as_str(), dirs[1].topics[0].partitions[0].offset_lag), ("+t-0", 4));
    set_rate(&mut client, NODE_ID, "1000000").await;
    node.pass(3000).await;
    assert_eq!(lying(&describe(&mut client).await)[1], ["t-0"]);
    // What would take hours is called off at once.
    set_rate(&mut client, NODE_ID, "1").await;
    assert_eq!(ask(&mut client, "t", 0, LOG_DIR).await, 0);
    node.pass(5000).await;
    let begun = node.now_ms();
    assert_eq!(ask(&mut client, "t", 0, MORE).await, 0);
    assert!(node.now_ms() - begun <= 100);
    node.pass(100).await;
    assert_eq!(dirs_of(&node.disk, "t-0"), only("/more/t-0"));
}

/// Whether the process has died as it was to; what starts now lives.
fn has_died(node: &Node) -> bool {
    node.disk.switches().dead_after.swap(0, Ordering::Relaxed) == 1
}

/// What is acknowledged before the process dies at its `at`-th change of anything on the disk after the move was asked for;
/// `None` if it did not come so far.
async fn dies_at(at: usize, is_power_cut: bool) -> Option<()> {
    let (node, mut client, topic) = one_partition(&[], &[("segment.ms", "1000")]).await;
    let mut acknowledged = Vec::new();
    for number in 0..4 {
        let value = format!("{number}");
        let spec = BatchSpec { values: &[&value], timestamp: node.now_ms(), ..BatchSpec::default() };
        assert_eq!(client.produce(&topic, batch_of(&spec)).await.error_code, 0);
        acknowledged.push(value);
        // Each in a segment of its own.
        node.pass(1100).await;
    }
    client.delete_before(&topic, 1).await;
    node.pass(100).await;
    node.disk.switches().dead_after.store(at, Ordering::Relaxed);
    let mut producer = node.client();
    let asked = ask(&mut client, "t", 0, MORE).await;
    for number in 4..9 {
        let value = format!("{number}");
        if put(&mut producer, &topic, 0, &value).await != 0 {
            break;
        }
        acknowledged.push(value);
        node.pass(5).await;
    }
    node.pass(300).await;
    let is_dead = has_died(&node);
    let mut node = match is_power_cut {
        true => node.cut_power().await,
        false => node.start_on(|_| {}).await.unwrap(),
    };
    for life in 0..2 {
        let mut client = node.client();
        let lying = until_moved(&mut client).await;
        assert_eq!(lying.iter().flatten().collect::<Vec<_>>(), ["t-0"], "at {at}: one whole copy");
        let all = read_from(&mut client, &topic, 0, 1).await;
        assert!(all.len() + 1 >= acknowledged.len(), "at {at}: {} of {}", all.len() + 1, acknowledged.len());
        assert!(
            all.iter().zip(&acknowledged[1..]).all(|(found, told)| found == told),
            "at {at}: other records"
        );
        let before = client.fetch_at(18, &topic, 0, 0).await.error_code;
        assert_eq!(before, code(ErrorCode::OffsetOutOfRange), "at {at}: what was deleted is back");
        if asked == 0 {
            assert_eq!(lying[1], ["t-0"], "at {at}: the move was accepted, and goes on");
        }
        let value = format!("life{life}");
        assert_eq!(put(&mut client, &topic, 0, &value).await, 0, "at {at}");
        acknowledged = [&acknowledged[..1], &all[..], &[value]].concat();
        node.pass(200).await;
        let names = dirs_of(&node.disk, "t-0");
        let named: Vec<_> = names.iter().filter(|path| path.ends_with("t-0")).collect();
        assert_eq!(named.len(), 1, "at {at}: {names:?}");
        assert!(!names.iter().any(|path| path.to_string_lossy().ends_with("-future")), "at {at}: {names:?}");
        node.assert_sound();
        node = node.cut_power().await;
    }
    is_dead.then_some(())
}

#[tokio::test(start_paused = true)]
async fn wherever_the_process_dies_one_whole_copy_is_left_and_nothing_acknowledged_is_lost() {
    for is_power_cut in [false, true] {
        let mut at = 2;
        while dies_at(at, is_power_cut).await.is_some() {
            at += 1;
        }
        assert!(at > 40, "the move takes more steps than {at}");
    }
}

/// The same of a log without records; whether the process came so far.
async fn dies_empty_at(at: usize) -> bool {
    let (node, mut client, topic) = one_partition(&[], &[]).await;
    node.disk.switches().dead_after.store(at, Ordering::Relaxed);
    ask(&mut client, "t", 0, MORE).await;
    node.pass(300).await;
    let is_dead = has_died(&node);
    let node = node.cut_power().await;
    let mut client = node.client();
    until_moved(&mut client).await;
    assert_eq!(put(&mut client, &topic, 0, "a").await, 0, "at {at}: nothing was lost, for there was nothing");
    assert_eq!(read(&mut client, &topic, 0).await, ["a"]);
    is_dead
}

#[tokio::test(start_paused = true)]
async fn wherever_the_process_dies_a_log_without_records_serves() {
    let mut at = 2;
    while dies_empty_at(at).await {
        at += 1;
    }
    assert!(at > 20, "the move takes more steps than {at}");
}

#[tokio::test(start_paused = true)]
async fn the_copy_of_a_log_that_may_be_compacted_meanwhile_begins_anew_after_a_restart() {
    for policy in ["delete", "compact"] {
        let (node, mut client, topic) = one_partition(&[SLOW], &[]).await;
        put_slow(&mut client, &topic, 4).await;
        alter(&mut client, TOPIC, "t", "cleanup.policy", Some(policy)).await;
        assert_eq!(ask(&mut client, "t", 0, MORE).await, 0);
        node.pass(2500).await;
        let node = node.cut_power().await;
        node.pass(200).await;
        let lag = describe(&mut node.client()).await[1].topics[0].partitions[0].offset_lag;
        assert_eq!(lag >= 3, policy == "compact", "{policy}: the copy is behind by {lag}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_follows_is_moved_and_one_that_leads() {
    let cluster = cluster_of_two_dirs().await;
    let topic = create(&cluster, "t", &[&[1, 2, 3]], &[("min.insync.replicas", "2")]).await;
    produce_somewhere(&cluster, 1, &topic, 0, "before").await;
    until_in_sync(&cluster, 1, &topic, &ALL).await;
    for node in [2, 1] {
        let mut client = cluster.client(node);
        let is_first = !lying(&describe(&mut client).await)[0].is_empty();
        let to = if is_first { MORE } else { LOG_DIR };
        assert_eq!(ask(&mut client, "t", 0, to).await, 0);
        until_moved(&mut client).await;
        produce_somewhere(&cluster, 3, &topic, 0, &format!("moved on {node}")).await;
    }
    until_in_sync(&cluster, 3, &topic, &ALL).await;
    cluster.pass(1000).await;
    for node in ALL {
        assert_eq!(read_at(&cluster, node, &topic, 0).await, ["before", "moved on 2", "moved on 1"]);
    }
    // It leads there, and after its power was cut it is in sync again by itself.
    cluster.cut_power(1);
    produce_somewhere(&cluster, 2, &topic, 0, "without 1").await;
    cluster.start_as(1, 1, &ALL, two_dirs).await.unwrap().unwrap();
    until_in_sync(&cluster, 2, &topic, &ALL).await;
    cluster.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn a_directory_that_has_gone_in_the_middle_of_a_move_is_not_replaced_by_half_a_copy() {
    let (node, _, topic) = moving(4, 1500).await;
    let node = node.start_on(|disk| {
        for path in disk.paths().into_iter().filter(|path| path.starts_with("/data/t-0")) {
            env::Disk::remove_file(disk, &path).unwrap();
        }
        env::Disk::remove_dir_all(disk, Path::new("/data/t-0")).unwrap();
    });
    let node = node.await.unwrap();
    let mut client = node.client();
    let storage = code(ErrorCode::KafkaStorageError);
    assert_eq!(client.fetch_at(18, &topic, 0, 0).await.error_code, storage);
    assert_eq!(put(&mut client, &topic, 0, "lost").await, storage);
    let copy = dirs_of(&node.disk, "t-0").into_iter().next().unwrap();
    assert!(copy.starts_with(MORE), "what was copied is left to whoever wants it: {copy:?}");
    // As the log says: renamed, it is what there is.
    let node =
        node.start_on(|disk| env::Disk::rename(disk, &copy, Path::new("/more/t-0")).unwrap()).await.unwrap();
    let mut client = node.client();
    let left = read(&mut client, &topic, 0).await.len();
    assert!((1..4).contains(&left), "{left}");
    assert_eq!(put(&mut client, &topic, 0, "on").await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_change_of_the_configuration_reaches_the_log_in_its_new_place() {
    let (node, mut client, topic) = moving(3, 1500).await;
    alter(&mut client, TOPIC, "t", "retention.bytes", Some("1")).await;
    until_moved(&mut client).await;
    for value in ["a", "b"] {
        assert_eq!(put(&mut client, &topic, 0, value).await, 0);
    }
    node.pass(3000).await;
    node.assert_sound();
}

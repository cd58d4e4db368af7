//! Files that are cut, flipped, missing or somebody else's: a partition is recovered or taken offline, a directory is
//! refused with a reason, and nothing that is well suffers.

use crate::harness::{LOG_DIR, Node, Topic, batch, bytes_of, code, fetch, values};
use broker::{LogDirError, StartError};
use log::testing::MemoryDisk;
use std::path::{Path, PathBuf};
use wire::ErrorCode;

fn file(name: &str) -> PathBuf {
    Path::new(LOG_DIR).join(name)
}

fn change(disk: &MemoryDisk, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = disk.contents(&file(name)).unwrap_or_else(|| panic!("no {name}: {:?}", disk.paths()));
    change(&mut bytes);
    disk.put(&file(name), bytes);
}

const SEGMENT: &str = "t-0/00000000000000000000.log";
const SECOND: &str = "t-0/00000000000000000010.log";

/// Topics t, with two segments of ten records of 100 kB and a third, and u, with one record.
async fn node() -> (Node, Topic, Topic) {
    let node = Node::start().await;
    let mut client = node.client();
    let topic = client.create("t", 1, &[("segment.bytes", "1048576")]).await;
    let other = client.create("u", 1, &[]).await;
    let value = "x".repeat(100_000);
    for _ in 0..25 {
        assert_eq!(client.produce(&topic, batch(&[&value])).await.error_code, 0);
    }
    client.produce(&other, batch(&["well"])).await;
    (node, topic, other)
}

/// Reads all of t from the disk and from memory; gives how many records there are.
async fn count(node: &Node, topic: &Topic) -> i64 {
    let (mut client, mut offset) = (node.client(), 0);
    loop {
        let response = client.call(18, &fetch(topic, 0, offset)).await;
        let data = &response.responses[0].partitions[0];
        assert_eq!(data.error_code, 0, "at offset {offset}");
        let found = values(bytes_of(data));
        match found.last() {
            Some((last, _)) => offset = last + 1,
            None => return offset,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_segment_cut_in_its_last_batch_loses_that_batch_only() {
    for cut in [1, 60, 99_000] {
        let (node, topic, other) = node().await;
        let node = node.start_on(|disk| {
            let last = "t-0/00000000000000000020.log";
            change(disk, last, |bytes| bytes.truncate(bytes.len() - cut));
        });
        let node = node.await.unwrap();
        assert_eq!(count(&node, &topic).await, 24, "{cut} bytes cut");
        assert_eq!(node.client().produce(&topic, batch(&["next"])).await.base_offset, 24);
        assert_eq!(node.client().read_all(&other).await, ["well"]);
    }
}

#[tokio::test(start_paused = true)]
async fn zeros_behind_the_last_batch_go() {
    let (node, topic, _) = node().await;
    let last = "t-0/00000000000000000020.log";
    let node = node.start_on(|disk| change(disk, last, |bytes| bytes.resize(bytes.len() + 5000, 0)));
    let node = node.await.unwrap();
    assert_eq!(count(&node, &topic).await, 25);
    assert_eq!(node.client().produce(&topic, batch(&["next"])).await.base_offset, 25);
}

#[tokio::test(start_paused = true)]
async fn indexes_that_are_missing_or_garbage_are_built_anew() {
    let (node, topic, _) = node().await;
    let node = node.start_on(|disk| {
        for path in disk.paths() {
            let name = path.to_string_lossy().into_owned();
            if name.ends_with("10.index") || name.ends_with("10.timeindex") {
                env::Disk::remove_file(disk, &path).unwrap();
            } else if name.contains("/t-0/") && name.ends_with("index") {
                disk.put(&path, vec![0xff; 1000]);
            }
        }
    });
    let node = node.await.unwrap();
    assert_eq!(count(&node, &topic).await, 25);
    for offset in [0, 5, 10, 17, 20, 24] {
        let data = node.client().fetch(&topic, offset).await;
        assert_eq!(values(bytes_of(&data))[0].0, offset);
    }
}

#[tokio::test(start_paused = true)]
async fn a_flipped_bit_where_everything_was_synced_takes_the_partition_offline_and_no_other() {
    let (node, topic, other) = node().await;
    // The checkpoint says that all is synced: what is damaged below it was acknowledged, and is not cut away.
    node.pass(61_000).await;
    let node = node.start_on(|disk| change(disk, SECOND, |bytes| bytes[200_000] ^= 1)).await.unwrap();
    let mut client = node.client();
    let data = client.fetch(&topic, 24).await;
    let produced = client.produce(&topic, batch(&["next"])).await.error_code;
    if data.error_code == 0 {
        // The damage lies in a segment that a start does not read: what is well is served, and nothing is lost.
        assert_eq!((data.high_watermark, produced), (25, 0));
    } else {
        let storage = code(ErrorCode::KafkaStorageError);
        assert_eq!((data.error_code, produced), (storage, storage));
    }
    assert_eq!(client.read_all(&other).await, ["well"]);
    assert!(node.disk.contents(&file(SECOND)).is_some_and(|bytes| bytes.len() > 1_000_000), "kept as it is");
}

#[tokio::test(start_paused = true)]
async fn what_is_damaged_below_a_checkpoint_is_not_cut_off_by_a_later_start_either() {
    let (node, topic, _) = node().await;
    node.pass(61_000).await;
    let last = "t-0/00000000000000000020.log";
    // As a write that a crash has cut short: behind the checkpoint it would be cut off.
    let cut_short = |bytes: &mut Vec<u8>| bytes.truncate(bytes.len() - 10_000);
    let mut node = node.start_on(|disk| change(disk, last, cut_short)).await.unwrap();
    let damaged = node.disk.contents(&file(last));
    for _ in 0..3 {
        let storage = code(ErrorCode::KafkaStorageError);
        assert_eq!(node.client().fetch(&topic, 24).await.error_code, storage);
        node.pass(61_000).await;
        node = node.start_on(|_| {}).await.unwrap();
        assert!(node.disk.contents(&file(last)) == damaged, "not changed");
    }
}

#[tokio::test(start_paused = true)]
async fn a_missing_segment_loses_no_other() {
    let (node, topic, other) = node().await;
    let node = node.start_on(|disk| env::Disk::remove_file(disk, &file(SEGMENT)).unwrap()).await.unwrap();
    let data = node.client().fetch(&topic, 24).await;
    assert!(data.error_code != 0 || data.high_watermark == 25);
    assert_eq!(node.client().read_all(&other).await, ["well"]);
    assert!(node.disk.contents(&file(SECOND)).is_some());
}

#[tokio::test(start_paused = true)]
async fn checkpoints_and_snapshots_that_are_garbage_do_not_keep_a_node_from_starting() {
    let (node, topic, other) = node().await;
    node.pass(61_000).await;
    let node = node.start_on(|disk| {
        for path in disk.paths() {
            let name = path.to_string_lossy().into_owned();
            let is_hint = name.ends_with(".snapshot") || name.ends_with("leader-epoch-checkpoint");
            if name.contains("/t-0/") && is_hint {
                disk.put(&path, b"garbage".to_vec());
            }
        }
    });
    let node = node.await.unwrap();
    let data = node.client().fetch(&topic, 24).await;
    let storage = code(ErrorCode::KafkaStorageError);
    assert!((data.error_code, data.high_watermark) == (0, 25) || data.error_code == storage);
    assert_eq!(node.client().read_all(&other).await, ["well"]);
}

#[tokio::test(start_paused = true)]
async fn no_small_file_that_is_damaged_keeps_a_node_from_starting() {
    for damaged in [&b""[..], b"garbage", b"\xff\xff", b"0\n1\n", b"0\n1\n2147483647 0\n"] {
        for is_clean in [true, false] {
            let (node, topic, other) = node().await;
            node.pass(61_000).await;
            let node = if is_clean { node.restart().await } else { node };
            let node = node.start_on(|disk| {
                for path in disk.paths() {
                    let name = path.to_string_lossy().into_owned();
                    let is_other = name.contains("/u-0/") || name.ends_with("meta.properties");
                    if !is_other && !name.ends_with(".log") && !name.ends_with("index") {
                        disk.put(&path, damaged.to_vec());
                    }
                }
            });
            let mut client = node.await.unwrap().client();
            assert_eq!(client.read_all(&other).await, ["well"]);
            let data = client.fetch(&topic, 24).await;
            let storage = code(ErrorCode::KafkaStorageError);
            assert!(data.error_code == storage || data.high_watermark == 25);
            client.create("new", 1, &[]).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_directory_of_somebody_else_is_refused_and_not_touched() {
    let (node, ..) = node().await;
    let refused = node.start_on(|disk| {
        change(disk, "meta.properties", |bytes| {
            let text = String::from_utf8(bytes.clone()).unwrap().replace("node.id=7", "node.id=8");
            *bytes = text.into_bytes();
        });
    });
    let Err(StartError::LogDir(LogDirError::Foreign { key, .. })) = refused.await else { panic!("started") };
    assert_eq!(key, "node.id");
}

#[tokio::test(start_paused = true)]
async fn a_directory_whose_meta_properties_are_missing_or_garbage_is_refused() {
    let (node, ..) = node().await;
    let refused = node.start_on(|disk| env::Disk::remove_file(disk, &file("meta.properties")).unwrap()).await;
    assert!(matches!(refused, Err(StartError::LogDir(LogDirError::NotOurs(_)))));
    let (node, ..) = self::node().await;
    let refused = node.start_on(|disk| change(disk, "meta.properties", |bytes| bytes.truncate(3))).await;
    assert!(matches!(refused, Err(StartError::LogDir(LogDirError::Malformed { .. }))));
}

#[tokio::test(start_paused = true)]
async fn a_damaged_metadata_log_is_refused_or_cut_and_no_record_of_a_topic_is_lost() {
    const METADATA: &str = "__cluster_metadata-0/00000000000000000000.log";
    let bytes = batch(&["well"]);
    for place in (0..).step_by(31) {
        let node = Node::start().await;
        let mut client = node.client();
        let topic = client.create("u", 1, &[]).await;
        client.produce(&topic, bytes.clone()).await;
        if place >= node.disk.contents(&file(METADATA)).unwrap().len() {
            return;
        }
        match node.start_on(|disk| change(disk, METADATA, |bytes| bytes[place] ^= 0x10)).await {
            Err(StartError::Metadata(why)) => assert!(!why.is_empty()),
            Err(other) => panic!("flipped at {place}: {other}"),
            Ok(node) => {
                let names = ["u-0", "u-0-stray"].map(|dir| file(dir).join("00000000000000000000.log"));
                let kept = names.iter().find_map(|name| node.disk.contents(name));
                assert_eq!(kept.map(|kept| kept.len()), Some(bytes.len()), "flipped at {place}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn directories_without_a_topic_are_set_aside_and_those_of_deleted_topics_go() {
    let (node, topic, other) = node().await;
    let request =
        wire::DeleteTopicsRequest { topic_names: vec!["t".into()], timeout_ms: 1000, ..Default::default() };
    assert_eq!(node.client().call(5, &request).await.responses[0].error_code, 0);
    node.pass(1).await;
    let is_of_t = |path: &PathBuf| path.to_string_lossy().contains("/t-0");
    assert!(!node.disk.paths().iter().any(is_of_t), "{:?}", node.disk.paths());
    let node = node
        .start_on(|disk| {
            disk.put(&file(SEGMENT), b"records".to_vec());
            disk.put(&file("t-1.0123456789abcdef0123456789abcdef-delete/x.log"), b"records".to_vec());
        })
        .await
        .unwrap();
    let stray = file("t-0-stray/00000000000000000000.log");
    assert_eq!(node.disk.contents(&stray), Some(b"records".to_vec()));
    assert!(!node.disk.paths().iter().any(|path| path.to_string_lossy().contains("-delete")));
    assert_eq!(node.client().read_all(&other).await, ["well"]);
    let data = node.client().fetch(&topic, 0).await;
    assert_eq!(data.error_code, code(ErrorCode::UnknownTopicId));
}

#[tokio::test(start_paused = true)]
async fn the_scrub_counts_what_it_reads_builds_wrong_indexes_anew_and_finds_what_nobody_reads() {
    let fast = [("odradek.scrub.interval.ms", "1000"), ("odradek.scrub.bytes.per.second", "100000000")];
    let node = Node::with(&fast).await;
    let mut client = node.client();
    let topic = client.create("t", 1, &[("segment.bytes", "1048576")]).await;
    let value = "x".repeat(100_000);
    for _ in 0..25 {
        assert_eq!(client.produce(&topic, batch(&[&value])).await.error_code, 0);
    }
    node.pass(3000).await;
    let scrub = || &node.broker.metrics().scrub;
    assert!(scrub().bytes.get() > 2_500_000 && scrub().passes.get() > 0);
    assert_eq!((scrub().damaged.get(), scrub().indexes_rebuilt.get()), (0, 0));
    let index = "t-0/00000000000000000010.index";
    let sound = node.disk.contents(&file(index)).unwrap();
    change(&node.disk, index, |bytes| bytes[4] ^= 1);
    node.pass(3000).await;
    assert_eq!((scrub().damaged.get(), scrub().indexes_rebuilt.get()), (0, 1));
    assert_eq!(node.disk.contents(&file(index)), Some(sound));
    assert_eq!(client.fetch(&topic, 24).await.error_code, 0);
    change(&node.disk, SECOND, |bytes| bytes[200_000] ^= 1);
    node.pass(3000).await;
    assert_eq!((scrub().damaged.get(), scrub().progress_permille()), (1, None));
    assert_eq!(client.fetch(&topic, 24).await.error_code, code(ErrorCode::KafkaStorageError));
    let read = scrub().bytes.get();
    node.pass(5000).await;
    assert_eq!(scrub().bytes.get(), read, "its only partition is offline");
}

//! Several log directories on one node: where replicas go, and what becomes of them when a directory fails, is full, or
//! cannot be opened. Moves between them are in `moves`.

use crate::{
    clusters::ALL,
    harness::{Client, Cluster, LOG_DIR, Node, Topic, batch, bytes_of, code, values},
    replication::{create, produce_somewhere, read_at, sorted, until, until_in_sync},
};
use broker::{LogDirError, StartError, view::Unhealthy};
use log::testing::MemoryDisk;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};
use wire::{
    DescribeLogDirsRequest, ErrorCode, IncrementalAlterConfigsRequest,
    describe_log_dirs_response::DescribeLogDirsResult,
    incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig},
};

pub(crate) const MORE: &str = "/more";

/// A node with two directories.
pub(crate) async fn of_two(statics: &[(&str, &str)]) -> Node {
    Node::with_config(statics, |config| config.log_dirs.push(MORE.into())).await
}

pub(crate) async fn describe(client: &mut Client) -> Vec<DescribeLogDirsResult> {
    client.call(5, &DescribeLogDirsRequest { topics: None }).await.results
}

/// The replicas in each directory, as `topic-partition`; `+` before one that is on its way there.
pub(crate) fn lying(dirs: &[DescribeLogDirsResult]) -> Vec<Vec<String>> {
    let of_dir = |dir: &DescribeLogDirsResult| {
        let named = dir.topics.iter().flat_map(|topic| {
            topic.partitions.iter().map(|one| {
                let mark = if one.is_future_key { "+" } else { "" };
                format!("{mark}{}-{}", topic.name, one.partition_index)
            })
        });
        named.collect()
    };
    dirs.iter().map(of_dir).collect()
}

pub(crate) fn set_broken(disk: &MemoryDisk, path: Option<&str>) {
    *disk.switches().broken_below.lock().unwrap() = path.map(PathBuf::from);
}

pub(crate) fn set_full(disk: &MemoryDisk, path: Option<&str>) {
    *disk.switches().full_below.lock().unwrap() = path.map(PathBuf::from);
}

pub(crate) async fn put(client: &mut Client, topic: &Topic, index: i32, value: &str) -> i16 {
    client.produce_at(13, topic, index, batch(&[value])).await.error_code
}

/// What a partition has, from the offset on.
pub(crate) async fn read_from(client: &mut Client, topic: &Topic, index: i32, mut from: i64) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        let data = client.fetch_at(18, topic, index, from).await;
        assert_eq!(data.error_code, 0, "at {from}");
        let found = values(bytes_of(&data));
        let Some((last, _)) = found.last() else { return all };
        from = last + 1;
        all.extend(found.into_iter().map(|(_, value)| value));
    }
}

pub(crate) async fn read(client: &mut Client, topic: &Topic, index: i32) -> Vec<String> {
    read_from(client, topic, index, 0).await
}

/// A line of `meta.properties`.
pub(crate) fn meta(disk: &MemoryDisk, dir: &str, key: &str) -> String {
    let bytes = disk.contents(&Path::new(dir).join("meta.properties")).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    text.lines().find_map(|line| line.strip_prefix(&format!("{key}="))).unwrap().to_owned()
}

#[tokio::test(start_paused = true)]
async fn new_replicas_go_where_the_fewest_are_and_are_found_there_again() {
    let node = of_two(&[]).await;
    let mut client = node.client();
    let topic = client.create("t", 3, &[]).await;
    let one = client.create("u", 1, &[]).await;
    let expected = [vec!["t-0".to_owned(), "t-2".into()], vec!["t-1".into(), "u-0".into()]];
    assert_eq!(lying(&describe(&mut client).await), expected);
    for index in 0..3 {
        assert_eq!(put(&mut client, &topic, index, "a").await, 0);
    }
    assert_eq!(put(&mut client, &one, 0, "b").await, 0);
    let exists = |node: &Node, dir: &str, name: &str| {
        node.disk.contents(&Path::new(dir).join(name).join("00000000000000000000.log")).is_some()
    };
    assert!(exists(&node, LOG_DIR, "t-0") && exists(&node, MORE, "t-1") && !exists(&node, LOG_DIR, "t-1"));
    assert_eq!(meta(&node.disk, LOG_DIR, "cluster.id"), meta(&node.disk, MORE, "cluster.id"));
    assert_ne!(meta(&node.disk, LOG_DIR, "directory.id"), meta(&node.disk, MORE, "directory.id"));
    // The metadata say where each is.
    node.pass(100).await;
    let image = node.broker.image();
    let directory = image.topic("t").unwrap().partition(1).unwrap().directory(node.config.node_id);
    assert_eq!(directory.unwrap().to_string(), meta(&node.disk, MORE, "directory.id"));
    let mut node = node.restart().await;
    for _ in 0..2 {
        let mut client = node.client();
        assert_eq!(lying(&describe(&mut client).await), expected);
        for index in 0..3 {
            assert_eq!(read(&mut client, &topic, index).await, ["a"]);
        }
        node.assert_sound();
        node = node.cut_power().await;
    }
    let mark = |dir: &str| Path::new(dir).join(".kafka_cleanshutdown");
    node.broker.stop().await;
    assert!(node.disk.contents(&mark(LOG_DIR)).is_some() && node.disk.contents(&mark(MORE)).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_directory_is_added_to_a_node_that_had_one() {
    let mut node = Node::start().await;
    let mut client = node.client();
    let topic = client.create("t", 2, &[]).await;
    assert_eq!((put(&mut client, &topic, 0, "a").await, put(&mut client, &topic, 1, "b").await), (0, 0));
    node.config.log_dirs.push(MORE.into());
    let node = node.restart().await;
    let mut client = node.client();
    assert_eq!(lying(&describe(&mut client).await), [vec!["t-0".to_owned(), "t-1".into()], vec![]]);
    assert_eq!(read(&mut client, &topic, 0).await, ["a"]);
    assert_eq!(read(&mut client, &topic, 1).await, ["b"]);
    client.create("u", 2, &[]).await;
    assert_eq!(lying(&describe(&mut client).await)[1], ["u-0", "u-1"]);
    node.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn the_metadata_log_may_have_a_directory_of_its_own() {
    let change = |config: &mut broker::Config| {
        config.metadata_log_dir = "/metadata".into();
        config.log_dirs = vec![LOG_DIR.into(), MORE.into()];
    };
    let node = Node::with_config(&[], change).await;
    let mut client = node.client();
    let topic = client.create("t", 2, &[]).await;
    assert_eq!(put(&mut client, &topic, 1, "a").await, 0);
    assert_eq!(describe(&mut client).await.len(), 2, "no partition lies there");
    let has_metadata = |node: &Node, dir: &str| {
        let dir = Path::new(dir).join("__cluster_metadata-0");
        node.disk.paths().iter().any(|path| path.starts_with(&dir))
    };
    assert!(has_metadata(&node, "/metadata") && !has_metadata(&node, LOG_DIR));
    let mut node = node.restart().await;
    assert_eq!(read(&mut node.client(), &topic, 1).await, ["a"]);
    // A second place of metadata is a mistake that must not be guessed about.
    node.config.metadata_log_dir = LOG_DIR.into();
    node.config.log_dirs.push("/metadata".into());
    let refused = node.start_on(|_| {}).await;
    assert!(matches!(refused, Err(StartError::LogDir(LogDirError::OtherMetadata { .. }))));
}

#[tokio::test(start_paused = true)]
async fn log_directories_in_a_wrong_order_are_refused_and_put_right_again() {
    let mut node = of_two(&[]).await;
    let mut client = node.client();
    let topic = client.create("t", 1, &[]).await;
    assert_eq!(put(&mut client, &topic, 0, "a").await, 0);
    let right = node.config.clone();
    let metadata = |disk: &MemoryDisk, dir: &Path| {
        let dir = dir.join("__cluster_metadata-0");
        disk.paths().into_iter().filter(|path| path.starts_with(&dir)).count()
    };
    // Another is named first, or has come to be named in metadata.log.dir.
    for (home, dirs) in [(MORE, [MORE, LOG_DIR]), ("/new", [LOG_DIR, MORE])] {
        node.broker.stop().await;
        let mut wrong = right.clone();
        wrong.metadata_log_dir = home.into();
        wrong.log_dirs = dirs.map(PathBuf::from).to_vec();
        let disk = Arc::new(node.disk.after_kill());
        let refused = Node::start_at(disk.clone(), wrong).await.err().unwrap();
        let StartError::LogDir(LogDirError::OtherMetadata { path, home: named }) = &refused else {
            panic!("{refused}")
        };
        assert_eq!((path.as_path(), named.as_path()), (Path::new(LOG_DIR), Path::new(home)));
        assert_eq!(metadata(&disk, named), 0, "nothing is made that would be in the way");
        node = Node::start_at(disk, right.clone()).await.unwrap();
        assert!(metadata(&node.disk, path) > 0);
    }
    assert_eq!(read(&mut node.client(), &topic, 0).await, ["a"]);
    node.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn a_directory_that_fails_takes_what_lies_in_it_and_nothing_else() {
    let node = of_two(&[]).await;
    let mut client = node.client();
    let topic = client.create("t", 4, &[]).await;
    for index in 0..4 {
        assert_eq!(put(&mut client, &topic, index, "before").await, 0);
    }
    set_broken(&node.disk, Some(MORE));
    let storage = code(ErrorCode::KafkaStorageError);
    assert_eq!(put(&mut client, &topic, 1, "b").await, storage);
    node.pass(10).await;
    // Of the other in that directory nobody has asked yet.
    assert_eq!(client.fetch_at(18, &topic, 3, 0).await.error_code, storage);
    for index in [0, 2] {
        assert_eq!(put(&mut client, &topic, index, "after").await, 0);
        assert_eq!(read(&mut client, &topic, index).await, ["before", "after"]);
    }
    let dirs = describe(&mut client).await;
    assert_eq!(dirs.iter().map(|dir| dir.error_code).collect::<Vec<_>>(), [0, storage]);
    assert_eq!((dirs[1].topics.len(), dirs[1].total_bytes, dirs[1].log_dir.as_str()), (0, -1, MORE));
    assert_eq!((node.broker.health(), node.broker.offline_log_dirs()), (Ok(()), 1));
    // New ones go where they can.
    client.create("u", 2, &[]).await;
    assert_eq!(lying(&describe(&mut client).await)[0], ["t-0", "t-2", "u-0", "u-1"]);
    // Not marked as closed, and the other is.
    node.broker.stop().await;
    let mark = |dir: &str| node.disk.contents(&Path::new(dir).join(".kafka_cleanshutdown"));
    assert_eq!((mark(LOG_DIR).is_some(), mark(MORE).is_some()), (true, false));
    let node = node.start_on(|disk| set_broken(disk, None)).await.unwrap();
    let mut client = node.client();
    for index in [1, 3] {
        assert_eq!(read(&mut client, &topic, index).await, ["before"]);
        assert_eq!(put(&mut client, &topic, index, "again").await, 0);
    }
    assert_eq!(read(&mut client, &topic, 2).await, ["before", "after"]);
    node.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn a_directory_that_cannot_be_opened_leaves_its_replicas_offline_until_it_is_repaired() {
    let node = of_two(&[]).await;
    let mut client = node.client();
    let topic = client.create("t", 2, &[]).await;
    assert_eq!((put(&mut client, &topic, 0, "a").await, put(&mut client, &topic, 1, "b").await), (0, 0));
    let node = node.start_on(|disk| set_broken(disk, Some(MORE))).await.unwrap();
    let mut client = node.client();
    let storage = code(ErrorCode::KafkaStorageError);
    assert_eq!(client.fetch_at(18, &topic, 1, 0).await.error_code, storage, "it is not begun anew elsewhere");
    assert_eq!(put(&mut client, &topic, 1, "c").await, storage);
    assert_eq!(read(&mut client, &topic, 0).await, ["a"]);
    assert_eq!(put(&mut client, &topic, 0, "d").await, 0);
    let dirs = describe(&mut client).await;
    assert_eq!((dirs[1].error_code, dirs[1].log_dir.as_str()), (storage, MORE));
    let other = client.create("u", 1, &[]).await;
    assert_eq!(put(&mut client, &other, 0, "e").await, 0);
    node.pass(61_000).await;
    let node = node.start_on(|disk| set_broken(disk, None)).await.unwrap();
    let mut client = node.client();
    assert_eq!(read(&mut client, &topic, 1).await, ["b"]);
    assert_eq!(put(&mut client, &topic, 1, "f").await, 0);
    assert_eq!(read(&mut client, &topic, 0).await, ["a", "d"]);
    // Without the metadata log nothing is known.
    let refused = node.start_on(|disk| set_broken(disk, Some(LOG_DIR))).await;
    assert!(matches!(refused, Err(StartError::LogDir(LogDirError::Io { .. }))));
}

#[tokio::test(start_paused = true)]
async fn a_full_directory_holds_up_what_lies_in_it_and_nothing_else() {
    let node = of_two(&[]).await;
    let mut client = node.client();
    let topic = client.create("t", 2, &[]).await;
    assert_eq!((put(&mut client, &topic, 0, "a").await, put(&mut client, &topic, 1, "b").await), (0, 0));
    set_full(&node.disk, Some(MORE));
    let storage = code(ErrorCode::KafkaStorageError);
    for _ in 0..3 {
        assert_eq!(put(&mut client, &topic, 1, "c").await, storage);
        assert_eq!(put(&mut client, &topic, 0, "d").await, 0);
        node.pass(1100).await;
    }
    // Records are deleted on the other, though one directory takes no checkpoint.
    client.delete_before(&topic, 2).await;
    assert_eq!(node.broker.health(), Err(Unhealthy::NoRoom(1)));
    assert_eq!(node.broker.offline_log_dirs(), 0);
    set_full(&node.disk, None);
    node.pass(1100).await;
    assert_eq!(put(&mut client, &topic, 1, "e").await, 0);
    let node = node.cut_power().await;
    assert_eq!(read(&mut node.client(), &topic, 1).await.last().unwrap(), "e");
    assert_eq!(read_from(&mut node.client(), &topic, 0, 2).await, ["d", "d"]);
    node.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn what_lies_in_two_directories_counts_where_the_metadata_have_it() {
    let node = of_two(&[]).await;
    let mut client = node.client();
    let topic = client.create("t", 2, &[]).await;
    assert_eq!((put(&mut client, &topic, 0, "a").await, put(&mut client, &topic, 1, "b").await), (0, 0));
    node.pass(100).await;
    let files: Vec<_> = node.disk.paths().into_iter().filter(|path| path.starts_with("/more/t-1")).collect();
    let node = node
        .start_on(|disk| {
            // An older state of it, in the other directory.
            for path in &files {
                let name = path.file_name().unwrap();
                let bytes =
                    if name == "00000000000000000000.log" { Some(Vec::new()) } else { disk.contents(path) };
                disk.put(&Path::new("/data/t-1").join(name), bytes.unwrap());
            }
        })
        .await
        .unwrap();
    let mut client = node.client();
    assert_eq!(read(&mut client, &topic, 1).await, ["b"]);
    assert_eq!(lying(&describe(&mut client).await), [["t-0"], ["t-1"]]);
    let aside = |path: &&PathBuf| {
        let path = path.to_string_lossy();
        path.contains("/data/t-1.") && path.contains("-stray/")
    };
    assert!(node.disk.paths().iter().find(aside).is_some(), "{:?}", node.disk.paths());
    assert!(!node.disk.paths().iter().any(|path| path.starts_with("/data/t-1")));
}

#[tokio::test(start_paused = true)]
async fn cordoned_directories_take_no_new_replicas() {
    let node = of_two(&[]).await;
    let mut client = node.client();
    client.create("t", 2, &[]).await;
    let config = |value: &str| AlterConfigsResource {
        resource_type: 4,
        resource_name: node.config.node_id.to_string(),
        configs: vec![AlterableConfig {
            name: "cordoned.log.dirs".into(),
            config_operation: 0,
            value: Some(value.into()),
        }],
    };
    let request = IncrementalAlterConfigsRequest { resources: vec![config(MORE)], validate_only: false };
    assert_eq!(client.call(1, &request).await.responses[0].error_code, 0);
    client.create("u", 3, &[]).await;
    let dirs = describe(&mut client).await;
    let first = ["t-0", "u-0", "u-1", "u-2"].map(str::to_owned).to_vec();
    assert_eq!(lying(&dirs), [first, vec!["t-1".into()]]);
    assert_eq!(dirs.iter().map(|dir| dir.is_cordoned).collect::<Vec<_>>(), [false, true]);
    let request = IncrementalAlterConfigsRequest { resources: vec![config("*")], validate_only: false };
    assert_eq!(client.call(1, &request).await.responses[0].error_code, 0);
    client.create("v", 1, &[]).await;
    let dirs = describe(&mut client).await;
    assert!(dirs.iter().all(|dir| dir.is_cordoned));
    assert_eq!(lying(&dirs)[0].last().unwrap(), "v-0", "the first, where all are");
}

pub(crate) fn two_dirs(config: &mut broker::Config) {
    config.log_dirs.push(MORE.into());
}

/// Three nodes with two directories each.
pub(crate) async fn cluster_of_two_dirs() -> Cluster {
    cluster_of_two_dirs_with(&[]).await
}

/// ... with configurations beside those that keep tests small.
pub(crate) async fn cluster_of_two_dirs_with(statics: &[(&str, &str)]) -> Cluster {
    let cluster = Cluster::new(statics);
    let starting = ALL.map(|node| cluster.start_as(node, node, &ALL, two_dirs));
    for start in starting {
        start.await.unwrap().unwrap();
    }
    cluster
}

#[tokio::test(start_paused = true)]
async fn others_lead_what_lies_in_a_directory_that_has_failed() {
    let cluster = cluster_of_two_dirs().await;
    let replicas: [&[i32]; 2] = [&[1, 2, 3], &[1, 2, 3]];
    let topic = create(&cluster, "t", &replicas, &[("min.insync.replicas", "2")]).await;
    for index in [0, 1] {
        produce_somewhere(&cluster, 1, &topic, index, "before").await;
    }
    until_in_sync(&cluster, 1, &topic, &ALL).await;
    let dirs = lying(&describe(&mut cluster.client(1)).await);
    let failing = (0..2).find(|index| dirs[1].contains(&format!("t-{index}"))).unwrap();
    let well = 1 - failing;
    set_broken(&cluster.disk(1), Some(MORE));
    let begun = cluster.elapsed_ms();
    // Whoever asks is told that it is not there, and looks for another leader.
    let answer = cluster.client(1).produce_at(13, &topic, failing, batch(&["lost"])).await;
    assert_eq!(answer.error_code, code(ErrorCode::KafkaStorageError));
    produce_somewhere(&cluster, 2, &topic, failing, "after").await;
    assert!(cluster.elapsed_ms() - begun < 1500, "the controller hears of it at once");
    let seen = until(&cluster, 2, &topic, |one| one.partition_index == well || one.leader_id != 1).await;
    let of = |index: i32| seen.iter().find(|one| one.partition_index == index).unwrap();
    assert_eq!((of(well).leader_id, sorted(&of(well).isr_nodes)), (1, ALL.to_vec()), "the other serves on");
    assert_eq!((sorted(&of(failing).isr_nodes), &*of(failing).offline_replicas), (vec![2, 3], &[1][..]));
    produce_somewhere(&cluster, 2, &topic, well, "after").await;
    cluster.kill(1);
    set_broken(&cluster.disk(1), None);
    cluster.start_as(1, 1, &ALL, two_dirs).await.unwrap().unwrap();
    until_in_sync(&cluster, 2, &topic, &ALL).await;
    cluster.pass(1000).await;
    let held = read_at(&cluster, 1, &topic, failing).await;
    assert!(held == ["before", "after"] || held == ["before", "lost", "after"], "{held:?}");
    cluster.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn a_directory_that_was_replaced_gets_its_replicas_back() {
    let cluster = cluster_of_two_dirs().await;
    let replicas: [&[i32]; 2] = [&[1, 2, 3], &[2, 3, 1]];
    let topic = create(&cluster, "t", &replicas, &[("min.insync.replicas", "2")]).await;
    for index in [0, 1] {
        produce_somewhere(&cluster, 1, &topic, index, "before").await;
    }
    cluster.kill(3);
    let disk = MemoryDisk::new();
    for path in cluster.disk(3).paths().into_iter().filter(|path| !path.starts_with(MORE)) {
        disk.put(&path, cluster.disk(3).contents(&path).unwrap());
    }
    cluster.set_disk(3, disk);
    cluster.start_as(3, 3, &ALL, two_dirs).await.unwrap().unwrap();
    until_in_sync(&cluster, 1, &topic, &ALL).await;
    cluster.pass(1000).await;
    for index in [0, 1] {
        assert_eq!(read_at(&cluster, 3, &topic, index).await, ["before"]);
    }
    cluster.assert_sound();
}

//! The metadata log of a node that is a quorum of one: snapshots, and logs of versions that had no quorum.

use crate::harness::{LOG_DIR, Node, batch};
use bytes::Bytes;
use log::testing::MemoryDisk;
use records::{Batch, BatchBuilder, Checked, ControlType};
use std::path::PathBuf;
use wire::{DescribeConfigsRequest, MetadataRequest, describe_configs_request::DescribeConfigsResource};

const LOG: &str = "__cluster_metadata-0/00000000000000000000.log";

fn path(name: &str) -> PathBuf {
    PathBuf::from(LOG_DIR).join(name)
}

fn metadata_files(node: &Node, suffix: &str) -> Vec<String> {
    let names =
        node.disk.paths().into_iter().filter(|path| path.to_string_lossy().contains("cluster_metadata"));
    let names = names.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()));
    names.filter(|name| name.ends_with(suffix)).collect()
}

/// Names of topics with their partitions.
async fn topics(node: &Node) -> Vec<(String, usize)> {
    let response = node.client().call(12, &MetadataRequest { topics: None, ..Default::default() }).await;
    response.topics.into_iter().map(|topic| (topic.name.unwrap(), topic.partitions.len())).collect()
}

#[tokio::test(start_paused = true)]
async fn snapshots_replace_the_log_and_a_start_goes_on_from_them() {
    let mut node = Node::with_config(&[], |config| {
        (config.snapshot_bytes, config.snapshot_batches_kept) = (3000, 5);
    })
    .await;
    let mut expected = Vec::new();
    for round in 0..60 {
        let name = format!("t{round:02}");
        node.client().create(&name, 1 + round % 3, &[("retention.ms", "77")]).await;
        expected.push((name, (1 + round % 3) as usize));
        if round % 20 == 13 {
            node = if round < 30 { node.cut_power().await } else { node.restart().await };
        }
    }
    node.pass(100).await;
    let snapshots = metadata_files(&node, ".checkpoint");
    assert_eq!(snapshots.len(), 1, "the older ones are gone: {snapshots:?}");
    assert!(!snapshots[0].starts_with("00000000000000000000-"));
    let node = node.cut_power().await;
    assert_eq!(topics(&node).await, expected);
    let resource = DescribeConfigsResource {
        resource_type: 2,
        resource_name: "t00".into(),
        configuration_keys: Some(vec!["retention.ms".into()]),
    };
    let request = DescribeConfigsRequest { resources: vec![resource], ..Default::default() };
    let configs = node.client().call(4, &request).await.results.remove(0).configs;
    assert_eq!(configs[0].value.as_deref(), Some("77"), "known from the snapshot only");
    node.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_is_written_when_the_last_one_is_old() {
    let node = Node::with_config(&[], |config| config.snapshot_interval_ms = 60_000).await;
    node.client().create("t", 1, &[]).await;
    node.pass(59_000).await;
    assert_eq!(metadata_files(&node, ".checkpoint"), Vec::<String>::new());
    node.pass(2_000).await;
    assert_eq!(metadata_files(&node, ".checkpoint").len(), 1);
    node.pass(600_000).await;
    assert_eq!(metadata_files(&node, ".checkpoint").len(), 1, "nothing has changed since");
}

/// Turns the metadata log into what a version without a quorum would have written: no voters, and a
/// LeaderChangeMessage of version 0 at the start.
fn make_plain(disk: &MemoryDisk) {
    let mut bytes = Bytes::from(disk.contents(&path(LOG)).unwrap());
    let mut change = BatchBuilder::new().control();
    change.push(5, Some(&ControlType::LeaderChange.to_key()), Some(&[0, 0, 0, 0, 0, 7, 1, 1, 0]), &[]);
    let mut batches = vec![change.build().unwrap()];
    while let Some(batch) = Batch::split_off(&mut bytes) {
        if !batch.header.attributes.is_control() {
            batches.push(batch);
        }
    }
    assert!(bytes.is_empty() && batches.len() > 3, "{} {:?}", batches.len(), bytes.len());
    let (mut plain, mut offset) = (Vec::new(), 0);
    for batch in batches {
        let stamped = Checked::trusted(batch).stamp(offset, 1);
        offset = stamped.header.next_offset();
        plain.extend_from_slice(&stamped.header.encode());
        plain.extend_from_slice(&stamped.body);
    }
    for file in disk.paths().into_iter().filter(|path| path.to_string_lossy().contains("cluster_metadata")) {
        env::Disk::remove_file(disk, &file).unwrap();
    }
    disk.put(&path(LOG), plain);
}

#[tokio::test(start_paused = true)]
async fn the_directory_of_a_version_without_a_quorum_is_opened_with_all_that_it_holds() {
    let node = Node::start().await;
    let topic = node.client().create("t", 2, &[]).await;
    node.client().produce(&topic, batch(&["a"])).await;
    let mut node = node.start_on(make_plain).await.unwrap();
    for value in ["b", "c"] {
        assert_eq!(topics(&node).await, [("t".to_owned(), 2)]);
        node.client().produce(&topic, batch(&[value])).await;
        node = node.cut_power().await;
    }
    assert_eq!(node.client().read_all(&topic).await, ["a", "b", "c"]);
    node.client().create("u", 1, &[]).await;
    node.assert_sound();
}

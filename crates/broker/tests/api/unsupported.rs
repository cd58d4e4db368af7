//! Data of a newer version: an older program says what it cannot work with and what to do, and goes on with none of it.

use crate::{
    clusters::{ALL, known},
    harness::{Cluster, LOG_DIR, Node, batch},
};
use broker::{Broker, Config, LogDirError, StartError, Unsupported};
use bytes::Bytes;
use log::testing::MemoryDisk;
use metadata::features;
use records::{Batch, BatchBuilder, Checked};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};
use wire::{Message, record::FeatureLevelRecord};

fn metadata_log() -> PathBuf {
    Path::new(LOG_DIR).join("__cluster_metadata-0/00000000000000000000.log")
}

/// The value of a record that sets the level of a feature.
fn feature(name: &str, feature_level: i16) -> Bytes {
    let record = FeatureLevelRecord { name: name.into(), feature_level };
    let body = record.to_parts(0).unwrap().to_bytes().unwrap();
    Bytes::from([&[1, 12, 0][..], &body].concat())
}

/// Puts batches of one record each at the end of the metadata log, as its last leader would have.
fn append(disk: &MemoryDisk, values: &[Bytes]) {
    let mut bytes = Bytes::from(disk.contents(&metadata_log()).unwrap());
    let (mut whole, mut offset, mut epoch) = (Vec::new(), 0, 0);
    while let Some(batch) = Batch::split_off(&mut bytes) {
        (offset, epoch) = (batch.header.next_offset(), batch.header.leader_epoch);
        whole.extend_from_slice(&batch.bytes);
    }
    assert!(bytes.is_empty(), "{} bytes are left", bytes.len());
    for value in values {
        let mut builder = BatchBuilder::new();
        builder.push(5, None, Some(value), &[]);
        let stamped = Checked::trusted(builder.build().unwrap()).stamp(offset, epoch);
        offset = stamped.header.next_offset();
        whole.extend_from_slice(&stamped.header.encode());
        whole.extend_from_slice(&stamped.body);
    }
    disk.put(&metadata_log(), whole);
}

fn why(started: Result<Arc<Broker>, StartError>) -> Unsupported {
    match started {
        Err(StartError::Unsupported(why)) => why,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it has started"),
    }
}

/// What a node that is alone says of metadata that end with these records; `None` if it starts.
async fn alone(values: &[Bytes]) -> Option<Unsupported> {
    let node = Node::start().await;
    node.client().create("t", 1, &[]).await;
    match node.start_on(|disk| append(disk, values)).await {
        Ok(node) => {
            node.client().create("u", 1, &[]).await;
            node.assert_sound();
            None
        }
        Err(error) => Some(why(Err(error))),
    }
}

fn newer() -> features::Unsupported {
    features::Unsupported { name: "metadata.version".into(), level: 34, range: Some((7, 33)) }
}

#[tokio::test(start_paused = true)]
async fn a_node_does_not_start_on_feature_levels_that_only_a_newer_one_supports() {
    let told = alone(&[feature("metadata.version", 34)]).await.unwrap();
    assert_eq!(told, newer().into());
    let text = StartError::Unsupported(told).to_string();
    for part in ["metadata.version is at level 34", "7 to 33", "downgrade --feature metadata.version=33"] {
        assert!(text.contains(part), "{text}");
    }
    assert!(!text.contains("copy") && !text.contains("empty"), "nothing is damaged: {text}");
    let unknown = features::Unsupported { name: "new.version".into(), level: 1, range: None };
    assert_eq!(alone(&[feature("new.version", 1)]).await, Some(unknown.into()));
}

#[tokio::test(start_paused = true)]
async fn what_was_raised_and_lowered_again_before_the_end_is_no_reason() {
    let lowered = [feature("new.version", 1), feature("share.version", 3), feature("new.version", 0)];
    assert!(alone(&[&lowered[..], &[feature("share.version", 2)]].concat()).await.is_none());
    assert!(alone(&lowered).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_node_does_not_start_on_records_that_it_does_not_know() {
    let Some(Unsupported::Type { kind: 99, offset }) = alone(&[Bytes::from_static(&[1, 99, 0, 0])]).await
    else {
        panic!("it is not known")
    };
    assert!(offset > 0);
    let told = alone(&[Bytes::from_static(&[1, 2, 1, 0])]).await.unwrap();
    let Unsupported::Version { what, version: 1, min: 0, max: 0, .. } = &told else { panic!("{told}") };
    assert!(what == "TopicRecord" && told.to_string().contains("newer program"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn files_of_a_newer_format_are_refused_with_the_version_that_was_found() {
    let node = Node::start().await;
    let topic = node.client().create("t", 1, &[]).await;
    node.client().produce(&topic, batch(&["a"])).await;
    let raft_state = Path::new(LOG_DIR).join("__cluster_metadata-0/raft-state");
    let refused = node.start_on(|disk| {
        let mut newer = disk.contents(&raft_state).unwrap();
        newer[4] += 1;
        disk.put(&raft_state, newer);
    });
    let told = why(refused.await.map(|node| node.broker));
    assert!(matches!(&told, Unsupported::File(text) if text.contains("format 2")), "{told}");
    let node = Node::start().await;
    let refused = node.start_on(|disk| {
        let path = Path::new(LOG_DIR).join("meta.properties");
        let text = String::from_utf8(disk.contents(&path).unwrap()).unwrap();
        disk.put(&path, text.replace("version=1", "version=2").into_bytes());
    });
    let Err(StartError::LogDir(LogDirError::Malformed { why, .. })) = refused.await else {
        panic!("started")
    };
    assert!(why.contains("version is 2") && why.contains("0 and 1"), "{why}");
}

/// A cluster of three whose controllers have all committed these records, as a newer program had them, and started again. What
/// came of their starts is given, and the broker without a vote that runs all the while.
async fn cluster(values: &[Bytes]) -> (Cluster, Vec<Result<Arc<Broker>, StartError>>, Arc<Broker>) {
    let cluster = Cluster::of_three().await;
    let broker = cluster.start_as(4, 4, &ALL, only_broker).await.unwrap().unwrap();
    crate::clusters::create(&cluster, 1, "t", 3).await.unwrap();
    known(&cluster, 4, "t").await;
    cluster.pass(1000).await;
    ALL.iter().for_each(|node| cluster.kill(*node));
    let logs = ALL.map(|node| cluster.disk(node).contents(&metadata_log()).unwrap());
    assert!(logs.iter().all(|log| *log == logs[0]), "they have committed the same");
    ALL.iter().for_each(|node| append(&cluster.disk(*node), values));
    let starting = ALL.map(|node| cluster.start(node, &ALL));
    let mut started = Vec::new();
    for start in starting {
        started.push(start.await.unwrap());
    }
    (cluster, started, broker)
}

fn only_broker(config: &mut Config) {
    config.is_controller = false;
    config.controller_endpoints.clear();
}

#[tokio::test(start_paused = true)]
async fn nodes_of_a_cluster_do_not_start_on_what_only_newer_ones_support_and_those_that_run_stop() {
    let (cluster, started, broker) = cluster(&[feature("metadata.version", 34)]).await;
    let expected = Unsupported::from(newer());
    for refused in started {
        assert_eq!(why(refused), expected);
    }
    // Their consensus goes on until the processes end, so that whoever runs without a vote hears of it.
    assert_eq!(broker.until_unsupported().await, expected);
    // A new one hears it before it serves anybody.
    assert_eq!(why(cluster.start_as(5, 5, &ALL, only_broker).await.unwrap()), expected);
    cluster.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn a_record_that_is_not_known_ends_all_nodes_of_a_cluster_with_the_same_words() {
    let (cluster, started, broker) = cluster(&[Bytes::from_static(&[1, 99, 0, 0])]).await;
    let told = broker.until_unsupported().await;
    assert!(matches!(told, Unsupported::Type { kind: 99, .. }), "{told}");
    for refused in started {
        assert_eq!(why(refused), told);
    }
    cluster.assert_sound();
}

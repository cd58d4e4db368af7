//! Groups whose partition cannot be read: nobody is told that nothing was committed, and they come back with the disk.

use crate::harness::{Client, LOG_DIR, Node, Topic, code};
use std::path::{Path, PathBuf};
use wire::{
    ErrorCode, OffsetCommitRequest, OffsetFetchRequest,
    offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
    offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics},
};

/// Error and committed offset of the group "g".
async fn committed(client: &mut Client, topic: &Topic) -> (i16, Option<i64>) {
    let topics = vec![OffsetFetchRequestTopics {
        name: topic.name.clone(),
        partition_indexes: vec![0],
        ..Default::default()
    }];
    let groups =
        vec![OffsetFetchRequestGroup { group_id: "g".into(), topics: Some(topics), ..Default::default() }];
    let group = client.call(9, &OffsetFetchRequest { groups, ..Default::default() }).await.groups.remove(0);
    (group.error_code, group.topics.first().map(|topic| topic.partitions[0].committed_offset))
}

/// A node on which the group "g" has committed offset 5, and the file that holds it.
async fn node() -> (Node, Topic, PathBuf) {
    let node = Node::start().await;
    let mut client = node.client();
    client.find_coordinator().await;
    let topic = client.create("t", 1, &[]).await;
    for committed_offset in 1..=5 {
        let partition = OffsetCommitRequestPartition {
            partition_index: 0,
            committed_offset,
            committed_leader_epoch: 0,
            // So large that the log has an index, and a start after a clean stop looks at its end only.
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
    assert_eq!(committed(&mut client, &topic).await, (0, Some(5)));
    let segment = |index| Path::new(LOG_DIR).join(format!("__consumer_offsets-{index}/{:020}.log", 0));
    let file =
        (0..3).map(segment).find(|file| node.disk.contents(file).is_some_and(|bytes| !bytes.is_empty()));
    (node, topic, file.expect("the group was written somewhere"))
}

#[tokio::test(start_paused = true)]
async fn groups_that_cannot_be_read_are_not_served_and_are_read_once_they_can_be() {
    let (node, topic, file) = node().await;
    // After a clean stop nothing is verified: the damage is met by whoever reads.
    node.broker.stop().await;
    let whole = node.disk.contents(&file).unwrap();
    let mut damaged = whole.clone();
    damaged[..100].fill(0);
    let node = node.start_on(|disk| disk.put(&file, damaged)).await.unwrap();
    let mut client = node.client();
    let not_coordinator = code(ErrorCode::NotCoordinator);
    for _ in 0..3 {
        assert_eq!(committed(&mut client, &topic).await, (not_coordinator, None));
        // As in Kafka: whoever lists groups hears of those that are coordinated here.
        let listed = client.call(5, &wire::ListGroupsRequest::default()).await;
        assert_eq!((listed.error_code, listed.groups.len()), (0, 0));
        node.pass(1500).await;
    }
    node.broker.stop().await;
    let node = node.start_on(|disk| disk.put(&file, whole)).await.unwrap();
    assert_eq!(committed(&mut node.client(), &topic).await, (0, Some(5)));
}

#[tokio::test(start_paused = true)]
async fn a_flipped_bit_in_a_groups_record_is_no_other_record() {
    // In the metadata of the last commit, which can be read whatever it says; and in the first offset of the first batch.
    for (is_from_end, place) in [(true, 100), (false, 7), (false, 4)] {
        let (node, topic, file) = node().await;
        node.broker.stop().await;
        let mut damaged = node.disk.contents(&file).unwrap();
        let place = if is_from_end { damaged.len() - place } else { place };
        damaged[place] ^= 1;
        let node = node.start_on(|disk| disk.put(&file, damaged)).await.unwrap();
        let found = committed(&mut node.client(), &topic).await;
        assert_eq!(found, (code(ErrorCode::NotCoordinator), None), "flipped at {place}");
    }
}

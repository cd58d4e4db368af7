//! What a restart and a power cut leave: everything that was acknowledged.

use crate::harness::{Client, Node, Topic, batch, code};
use wire::{
    DescribeGroupsRequest, ErrorCode, HeartbeatRequest, ListOffsetsRequest, MetadataRequest,
    OffsetCommitRequest, OffsetFetchRequest,
    list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
    offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
};

async fn earliest(client: &mut Client, topic: &Topic) -> i64 {
    let partition = ListOffsetsPartition { partition_index: 0, current_leader_epoch: -1, timestamp: -2 };
    let topics = vec![ListOffsetsTopic { name: topic.name.clone(), partitions: vec![partition] }];
    let request = ListOffsetsRequest { replica_id: -1, topics, ..Default::default() };
    client.call(11, &request).await.topics[0].partitions[0].offset
}

async fn cluster(client: &mut Client) -> (Option<String>, Vec<(Option<String>, stdx::Uuid, usize)>) {
    let response = client.call(12, &MetadataRequest { topics: None, ..Default::default() }).await;
    let topics = response.topics.into_iter().map(|t| (t.name, t.topic_id, t.partitions.len()));
    (response.cluster_id, topics.collect())
}

/// Restarts in one of the two ways.
async fn again(node: Node, is_power_cut: bool) -> Node {
    if is_power_cut { node.cut_power().await } else { node.restart().await }
}

#[tokio::test(start_paused = true)]
async fn topics_and_records_are_kept() {
    for is_power_cut in [false, true] {
        let node = Node::start().await;
        let mut client = node.client();
        let topic = client.create("t", 2, &[]).await;
        client.create("u", 1, &[]).await;
        for value in ["a", "b"] {
            client.produce(&topic, batch(&[value])).await;
        }
        let before = cluster(&mut client).await;
        let mut node = again(node, is_power_cut).await;
        for (round, value) in ["c", "d", "e"].into_iter().enumerate() {
            let mut client = node.client();
            assert_eq!(cluster(&mut client).await, before);
            assert_eq!(client.produce(&topic, batch(&[value])).await.base_offset, 2 + round as i64);
            node = again(node, is_power_cut).await;
        }
        assert_eq!(node.client().read_all(&topic).await, ["a", "b", "c", "d", "e"]);
    }
}

#[tokio::test(start_paused = true)]
async fn large_logs_of_many_segments_are_kept() {
    for is_power_cut in [false, true] {
        let node = Node::start().await;
        let mut client = node.client();
        let topic = client.create("t", 1, &[("segment.bytes", "1048576")]).await;
        let value = "x".repeat(50_000);
        for _ in 0..70 {
            client.produce(&topic, batch(&[&value])).await;
        }
        let node = again(node, is_power_cut).await;
        let mut client = node.client();
        assert_eq!(client.produce(&topic, batch(&["last"])).await.base_offset, 70);
        for offset in [0, 19, 20, 21, 69, 70] {
            let data = client.fetch(&topic, offset).await;
            let found = crate::harness::values(crate::harness::bytes_of(&data));
            assert_eq!((data.error_code, found[0].0), (0, offset));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_start_that_delete_records_has_set_is_kept() {
    let node = Node::start().await;
    let mut client = node.client();
    let topic = client.create("t", 1, &[]).await;
    client.produce(&topic, batch(&["a", "b", "c"])).await;
    client.delete_before(&topic, 2).await;
    let node = node.restart().await;
    let mut client = node.client();
    assert_eq!(earliest(&mut client, &topic).await, 2);
    client.delete_before(&topic, 3).await;
    // The checkpoint is written once a minute.
    node.pass(61_000).await;
    let node = node.cut_power().await;
    assert_eq!(earliest(&mut node.client(), &topic).await, 3);
}

#[tokio::test(start_paused = true)]
async fn delete_records_deletes_what_it_was_told_and_leaves_retention_to_its_own_time() {
    let node = Node::with(&[("log.retention.check.interval.ms", "300000")]).await;
    let mut client = node.client();
    let topic = client.create("t", 1, &[("retention.ms", "1000")]).await;
    client.produce(&topic, batch(&["a", "b", "c"])).await;
    node.pass(5000).await;
    client.delete_before(&topic, 1).await;
    assert_eq!(earliest(&mut client, &topic).await, 1, "b and c are too old, but nobody has looked");
    node.pass(300_000).await;
    assert_eq!(earliest(&mut client, &topic).await, 3);
}

#[tokio::test(start_paused = true)]
async fn files_of_deleted_segments_go_after_their_delay_and_not_with_the_next_retention_check() {
    let node = Node::with(&[("log.retention.check.interval.ms", "300000")]).await;
    let mut client = node.client();
    let topic = client.create("t", 1, &[("retention.ms", "1000")]).await;
    client.produce(&topic, batch(&["a"])).await;
    node.pass(301_000).await;
    let left =
        || node.disk.paths().iter().filter(|path| path.to_string_lossy().ends_with(".deleted")).count();
    assert_ne!(left(), 0);
    node.pass(50_000).await;
    assert_ne!(left(), 0, "a reader may still have them open");
    node.pass(12_000).await;
    assert_eq!(left(), 0);
}

#[tokio::test(start_paused = true)]
async fn groups_with_their_members_and_offsets_are_kept() {
    for is_power_cut in [false, true] {
        let node = Node::start().await;
        let mut client = node.client();
        client.find_coordinator().await;
        let topic = client.create("t", 1, &[]).await;
        let member = client.enter("g").await;
        let partition = OffsetCommitRequestPartition {
            partition_index: 0,
            committed_offset: 42,
            committed_leader_epoch: 0,
            committed_metadata: Some("note".into()),
        };
        let commit = OffsetCommitRequest {
            group_id: "g".into(),
            generation_id_or_member_epoch: member.generation,
            member_id: member.id.clone(),
            topics: vec![OffsetCommitRequestTopic {
                name: "t".into(),
                topic_id: topic.id,
                partitions: vec![partition],
            }],
            ..Default::default()
        };
        assert_eq!(client.call(9, &commit).await.topics[0].partitions[0].error_code, 0);
        let node = again(node, is_power_cut).await;
        let mut client = node.client();
        let fetch = OffsetFetchRequest { group_id: "g".into(), topics: None, ..Default::default() };
        let response = client.call(7, &fetch).await;
        let found = &response.topics[0].partitions[0];
        assert_eq!((found.committed_offset, found.metadata.as_deref()), (42, Some("note")));
        let describe = DescribeGroupsRequest { groups: vec!["g".into()], ..Default::default() };
        let group = client.call(6, &describe).await.groups.remove(0);
        assert_eq!(
            (group.group_state.as_str(), group.members[0].member_id.as_str()),
            ("Stable", &*member.id)
        );
        assert_eq!(&group.members[0].member_assignment[..], b"mine");
        let beat = HeartbeatRequest {
            group_id: "g".into(),
            generation_id: member.generation,
            member_id: member.id.clone(),
            group_instance_id: None,
        };
        assert_eq!(client.call(4, &beat).await.error_code, 0);
        node.pass(11_000).await;
        let error = client.call(4, &beat).await.error_code;
        assert_eq!(error, code(ErrorCode::UnknownMemberId), "its session ends as if nothing had been");
    }
}

#[tokio::test(start_paused = true)]
async fn an_acknowledged_record_is_on_the_disk_before_it_is_acknowledged() {
    let node = Node::start().await;
    let mut client = node.client();
    let topic = client.create("t", 1, &[]).await;
    for acks in [1, -1] {
        client.call(13, &crate::harness::produce(&topic, 0, acks, batch(&["a"]))).await;
    }
    let node = node.cut_power().await;
    assert_eq!(node.client().read_all(&topic).await.len(), 2);
}

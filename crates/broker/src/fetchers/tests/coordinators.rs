//! Group coordinators move with the partitions that keep their groups.

use super::{Cluster, client::Client, cluster::code};
use wire::{
    ErrorCode, FindCoordinatorRequest, OffsetCommitRequest, OffsetFetchRequest,
    offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
    offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics},
};

async fn coordinator(cluster: &Cluster, ask: i32) -> i32 {
    let request =
        FindCoordinatorRequest { coordinator_keys: vec!["g".into()], ..FindCoordinatorRequest::default() };
    for _ in 0..20 {
        let answer = cluster.client(ask).call(4, &request).await;
        if answer.coordinators[0].error_code == 0 {
            return answer.coordinators[0].node_id;
        }
        cluster.pass(100).await;
    }
    panic!("no coordinator");
}

async fn commit(client: &mut Client, offset: i64) -> i16 {
    let partition = OffsetCommitRequestPartition { committed_offset: offset, ..Default::default() };
    let topic =
        OffsetCommitRequestTopic { name: "t".into(), partitions: vec![partition], ..Default::default() };
    let request = OffsetCommitRequest {
        group_id: "g".into(),
        generation_id_or_member_epoch: -1,
        topics: vec![topic],
        ..OffsetCommitRequest::default()
    };
    client.call(9, &request).await.topics[0].partitions[0].error_code
}

async fn committed(client: &mut Client) -> (i16, i64) {
    let topic =
        OffsetFetchRequestTopics { name: "t".into(), partition_indexes: vec![0], ..Default::default() };
    let group =
        OffsetFetchRequestGroup { group_id: "g".into(), topics: Some(vec![topic]), ..Default::default() };
    let request = OffsetFetchRequest { groups: vec![group], ..OffsetFetchRequest::default() };
    let answer = client.call(9, &request).await;
    let group = &answer.groups[0];
    let offset = group.topics.first().map_or(-1, |topic| topic.partitions[0].committed_offset);
    (group.error_code, offset)
}

#[tokio::test(start_paused = true)]
async fn committed_offsets_outlive_their_coordinators() {
    let mut cluster = Cluster::start(3, &[]).await;
    cluster.create("t", &[1, 2, 3], &[]).await;
    let mut offset = 0;
    for _ in 0..4 {
        let first = coordinator(&cluster, 1).await;
        cluster.pass(500).await;
        offset += 10;
        assert_eq!(commit(&mut cluster.client(first), offset).await, 0);
        cluster.kill(first, false);
        cluster.fence(first);
        cluster.pass(500).await;
        let next = coordinator(&cluster, if first == 1 { 2 } else { 1 }).await;
        assert_ne!(next, first);
        assert_eq!(committed(&mut cluster.client(next)).await, (0, offset));
        cluster.run(first).await;
        cluster.pass(2000).await;
        // The old one sends its clients to the new one.
        assert_eq!(committed(&mut cluster.client(first)).await.0, code(ErrorCode::NotCoordinator));
        assert_eq!(commit(&mut cluster.client(first), 1).await, code(ErrorCode::NotCoordinator));
    }
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_waits_at_a_coordinator_that_steps_down_is_sent_to_the_next() {
    let mut cluster = Cluster::start(3, &[]).await;
    cluster.create("t", &[1, 2, 3], &[]).await;
    let first = coordinator(&cluster, 1).await;
    cluster.pass(500).await;
    assert_eq!(commit(&mut cluster.client(first), 7).await, 0);
    for id in (1..=3).filter(|id| *id != first) {
        cluster.kill(id, false);
    }
    let mut client = cluster.client(first);
    let waiting = commit(&mut client, 8);
    let fenced = async {
        cluster.pass(100).await;
        cluster.fence(first);
    };
    let (result, ()) = tokio::join!(waiting, fenced);
    assert_eq!(result, code(ErrorCode::NotCoordinator));
}

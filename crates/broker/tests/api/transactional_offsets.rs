//! Offsets that are committed in a transaction (KIP-98, KIP-447): they count with its commit and not before, and a
//! consumer that was replaced cannot commit.

use crate::harness::{
    Client, Node, Topic, Transactional, code, join, offsets_in_transaction, stable_offset, sync,
};
use crate::transactions::until_state;
use wire::{
    DeleteGroupsRequest, ErrorCode, OffsetCommitRequest, TxnOffsetCommitRequest,
    offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
};

async fn start() -> (Node, Client, Topic, Transactional) {
    let node = Node::with(&[("transaction.state.log.num.partitions", "3")]).await;
    let mut client = node.client();
    client.find_coordinator().await;
    let topic = client.create("t", 1, &[]).await;
    let producer = Transactional::init(&mut client, "t-1").await;
    (node, client, topic, producer)
}

async fn commit(client: &mut Client, request: &TxnOffsetCommitRequest) -> i16 {
    client.call(5, request).await.topics[0].partitions[0].error_code
}

async fn commit_plainly(client: &mut Client, topic: &Topic, committed_offset: i64) {
    let partition =
        OffsetCommitRequestPartition { partition_index: 0, committed_offset, ..Default::default() };
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

const UNSTABLE: ErrorCode = ErrorCode::UnstableOffsetCommit;

#[tokio::test(start_paused = true)]
async fn offsets_count_with_the_commit_of_their_transaction_and_are_dropped_with_its_abort() {
    for is_restarted in [false, true] {
        let (mut node, mut client, topic, mut producer) = start().await;
        commit_plainly(&mut client, &topic, 1).await;
        for (offset, is_committed, expected) in [(5, true, 5), (7, false, 5), (9, true, 9)] {
            let before = stable_offset(&mut client, "g", &topic, true).await;
            let request = offsets_in_transaction(&producer, "g", &topic, offset);
            assert_eq!(commit(&mut client, &request).await, 0);
            if is_restarted {
                node = node.cut_power().await;
                client = node.client();
            }
            assert_eq!(stable_offset(&mut client, "g", &topic, true).await, (code(UNSTABLE), -1));
            assert_eq!(stable_offset(&mut client, "g", &topic, false).await, before);
            producer.end_patiently(&mut client, 5, is_committed).await;
            let state = if is_committed { "CompleteCommit" } else { "CompleteAbort" };
            until_state(&mut client, "t-1", state).await;
            assert_eq!(stable_offset(&mut client, "g", &topic, true).await, (0, expected));
        }
        let node = node.restart().await;
        assert_eq!(stable_offset(&mut node.client(), "g", &topic, true).await, (0, 9));
    }
}

#[tokio::test(start_paused = true)]
async fn of_two_commits_the_later_one_counts_whenever_the_transaction_ends() {
    let (node, mut client, topic, mut producer) = start().await;
    commit(&mut client, &offsets_in_transaction(&producer, "g", &topic, 5)).await;
    commit_plainly(&mut client, &topic, 6).await;
    producer.end(&mut client, 5, true).await;
    until_state(&mut client, "t-1", "CompleteCommit").await;
    assert_eq!(stable_offset(&mut client, "g", &topic, true).await, (0, 6));
    let node = node.restart().await;
    assert_eq!(stable_offset(&mut node.client(), "g", &topic, true).await, (0, 6));
}

#[tokio::test(start_paused = true)]
async fn a_member_that_was_replaced_cannot_commit() {
    let (_node, mut client, topic, producer) = start().await;
    let joined = client.join(9, "g").await;
    let member = crate::harness::Member { id: joined.member_id.clone(), generation: 1 };
    client.call(5, &sync("g", &member, &[(&member.id, "all")])).await;
    let request = |generation, member: &str| TxnOffsetCommitRequest {
        generation_id_or_member_epoch: generation,
        member_id: member.into(),
        ..offsets_in_transaction(&producer, "g", &topic, 5)
    };
    let illegal = code(ErrorCode::IllegalGeneration);
    assert_eq!(commit(&mut client, &request(0, &member.id)).await, illegal);
    assert_eq!(commit(&mut client, &request(1, "other")).await, code(ErrorCode::UnknownMemberId));
    assert_eq!(commit(&mut client, &request(1, &member.id)).await, 0);
    let mut nobody = request(3, "other");
    nobody.group_id = "h".into();
    assert_eq!(commit(&mut client, &nobody).await, illegal);
    // The next generation fences the one before.
    let again = client.call(9, &join("g", &member.id)).await;
    assert_eq!(again.generation_id, 2);
    assert_eq!(commit(&mut client, &request(1, &member.id)).await, illegal);
}

#[tokio::test(start_paused = true)]
async fn a_fenced_producer_cannot_commit_offsets() {
    let (_node, mut client, topic, zombie) = start().await;
    assert_eq!(commit(&mut client, &offsets_in_transaction(&zombie, "g", &topic, 5)).await, 0);
    let mut producer = Transactional::init(&mut client, "t-1").await;
    let refused = commit(&mut client, &offsets_in_transaction(&zombie, "g", &topic, 6)).await;
    assert_eq!(refused, code(ErrorCode::InvalidProducerEpoch));
    assert_eq!(commit(&mut client, &offsets_in_transaction(&producer, "g", &topic, 7)).await, 0);
    producer.end(&mut client, 5, true).await;
    until_state(&mut client, "t-1", "CompleteCommit").await;
    assert_eq!(stable_offset(&mut client, "g", &topic, true).await, (0, 7));
}

#[tokio::test(start_paused = true)]
async fn a_group_that_is_deleted_takes_the_offsets_of_open_transactions_along() {
    let (node, mut client, topic, mut producer) = start().await;
    assert_eq!(commit(&mut client, &offsets_in_transaction(&producer, "g", &topic, 5)).await, 0);
    let deleted = client.call(2, &DeleteGroupsRequest { groups_names: vec!["g".into()] }).await;
    assert_eq!(deleted.results[0].error_code, 0);
    producer.end(&mut client, 5, true).await;
    until_state(&mut client, "t-1", "CompleteCommit").await;
    assert_eq!(stable_offset(&mut client, "g", &topic, true).await, (0, -1));
    let node = node.restart().await;
    assert_eq!(stable_offset(&mut node.client(), "g", &topic, true).await, (0, -1));
}

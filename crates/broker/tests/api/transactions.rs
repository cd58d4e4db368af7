//! Transactions of one node (KIP-98, KIP-890): what is committed is seen as a whole, what is aborted never, and nobody
//! can leave one open for good.

use crate::harness::{Client, Node, Topic, Transactional, batch, bytes_of, code, committed, fetch, values};
use wire::{
    DescribeProducersRequest, DescribeTransactionsRequest, ErrorCode, InitProducerIdRequest, ProduceRequest,
    WriteTxnMarkersRequest,
    describe_producers_request::TopicRequest,
    describe_transactions_response::TransactionState,
    write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic},
};

const SMALL: &[(&str, &str)] = &[("transaction.state.log.num.partitions", "3")];

async fn start() -> (Node, Client, Topic) {
    let node = Node::with(SMALL).await;
    let mut client = node.client();
    let topic = client.create("t", 2, &[]).await;
    (node, client, topic)
}

pub(super) async fn describe(client: &mut Client, id: &str) -> TransactionState {
    let request = DescribeTransactionsRequest { transactional_ids: vec![id.into()] };
    client.call(0, &request).await.transaction_states.remove(0)
}

/// Waits until a transaction stands in a state.
pub(super) async fn until_state(client: &mut Client, id: &str, state: &str) {
    for _ in 0..1000 {
        if describe(client, id).await.transaction_state == state {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("{id} is {:?}, not {state}", describe(client, id).await);
}

/// Sends and ends a transaction in the way of clients of `transaction.version` 1 or 2.
async fn transact(
    client: &mut Client,
    producer: &mut Transactional,
    topic: &Topic,
    values: &[&str],
    (is_new, is_committed): (bool, bool),
) {
    if is_new {
        assert_eq!(producer.send(client, 13, topic, values).await.error_code, 0);
        producer.end_patiently(client, 5, is_committed).await;
    } else {
        loop {
            match producer.add(client, 3, topic, &[0]).await[..] {
                [0] => break,
                [error] if error == code(ErrorCode::ConcurrentTransactions) => {
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                }
                ref other => panic!("{other:?}"),
            }
        }
        assert_eq!(producer.send(client, 11, topic, values).await.error_code, 0);
        producer.end_patiently(client, 4, is_committed).await;
    }
    let state = if is_committed { "CompleteCommit" } else { "CompleteAbort" };
    until_state(client, &producer.id, state).await;
}

#[tokio::test(start_paused = true)]
async fn readers_of_committed_records_see_what_is_committed_and_nothing_else() {
    for is_new in [false, true] {
        let (node, mut client, topic) = start().await;
        let mut producer = Transactional::init(&mut client, "t-1").await;
        transact(&mut client, &mut producer, &topic, &["a", "b"], (is_new, true)).await;
        transact(&mut client, &mut producer, &topic, &["x"], (is_new, false)).await;
        client.produce(&topic, batch(&["plain"])).await;
        transact(&mut client, &mut producer, &topic, &["c"], (is_new, true)).await;
        let (seen, end) = committed(&mut client, &topic).await;
        assert_eq!(seen, ["a", "b", "plain", "c"]);
        // Four batches with five records, three markers.
        assert_eq!(end, 8);
        let node = node.restart().await;
        assert_eq!(committed(&mut node.client(), &topic).await, (seen.clone(), end));
        let node = node.cut_power().await;
        let mut client = node.client();
        assert_eq!(committed(&mut client, &topic).await, (seen, end));
        transact(&mut client, &mut producer, &topic, &["d"], (is_new, true)).await;
        assert_eq!(committed(&mut client, &topic).await.0.last().unwrap(), "d");
        node.assert_sound();
    }
}

#[tokio::test(start_paused = true)]
async fn an_open_transaction_holds_readers_of_committed_records_back_and_no_others() {
    let (_node, mut client, topic) = start().await;
    let mut producer = Transactional::init(&mut client, "t-1").await;
    client.produce(&topic, batch(&["before"])).await;
    producer.send(&mut client, 13, &topic, &["in"]).await;
    client.produce(&topic, batch(&["behind"])).await;
    assert_eq!(committed(&mut client, &topic).await, (vec!["before".to_owned()], 1));
    assert_eq!(client.read_all(&topic).await, ["before", "in", "behind"]);
    producer.end(&mut client, 5, true).await;
    until_state(&mut client, "t-1", "CompleteCommit").await;
    assert_eq!(committed(&mut client, &topic).await.0, ["before", "in", "behind"]);
}

#[tokio::test(start_paused = true)]
async fn aborted_transactions_are_told_with_the_offsets_at_which_they_began() {
    let (_node, mut client, topic) = start().await;
    let mut first = Transactional::init(&mut client, "t-1").await;
    let mut second = Transactional::init(&mut client, "t-2").await;
    let (first_id, second_id) = (first.producer_id, second.producer_id);
    first.send(&mut client, 13, &topic, &["a"]).await;
    second.send(&mut client, 13, &topic, &["b", "c"]).await;
    first.send(&mut client, 13, &topic, &["d"]).await;
    second.end(&mut client, 5, false).await;
    until_state(&mut client, "t-2", "CompleteAbort").await;
    first.end(&mut client, 5, false).await;
    until_state(&mut client, "t-1", "CompleteAbort").await;
    let aborted = async |client: &mut Client, from| {
        let request = wire::FetchRequest { isolation_level: 1, ..fetch(&topic, 0, from) };
        let data = client.call(18, &request).await.responses.remove(0).partitions.remove(0);
        let aborted = data.aborted_transactions.unwrap();
        aborted.iter().map(|one| (one.producer_id, one.first_offset)).collect::<Vec<_>>()
    };
    assert_eq!(aborted(&mut client, 0).await, [(second_id, 1), (first_id, 0)]);
    assert_eq!(aborted(&mut client, 5).await, [(first_id, 0)], "the second ended before");
    let uncommitted = client.fetch(&topic, 0).await;
    assert_eq!(uncommitted.aborted_transactions, None);
    let told: Vec<_> = values(bytes_of(&uncommitted)).into_iter().map(|(offset, _)| offset).collect();
    assert_eq!(told, [0, 1, 2, 3, 4, 5], "markers have offsets");
}

#[tokio::test(start_paused = true)]
async fn a_batch_of_a_partition_that_was_not_added_is_refused() {
    let (_node, mut client, topic) = start().await;
    let mut producer = Transactional::init(&mut client, "t-1").await;
    for (version, error) in [
        (3, ErrorCode::InvalidTxnState),
        (9, ErrorCode::InvalidTxnState),
        (11, ErrorCode::TransactionAbortable),
    ] {
        let refused = producer.clone().send(&mut client, version, &topic, &["x"]).await;
        assert_eq!(refused.error_code, code(error), "version {version}");
    }
    assert_eq!(producer.add(&mut client, 3, &topic, &[0]).await, [0]);
    assert_eq!(producer.send(&mut client, 9, &topic, &["a"]).await.error_code, 0);
    let elsewhere = producer.produce(&topic, 1, &["x"]);
    let refused = client.call(11, &elsewhere).await;
    let error = refused.responses[0].partition_responses[0].error_code;
    assert_eq!(error, code(ErrorCode::TransactionAbortable));
    // It was not written: nobody would ever end it.
    assert_eq!(bytes_of(&client.fetch_at(18, &topic, 1, 0).await).len(), 0);
}

#[tokio::test(start_paused = true)]
async fn without_verification_a_batch_is_taken_at_its_word() {
    let node = Node::with(&[SMALL[0], ("transaction.partition.verification.enable", "false")]).await;
    let mut client = node.client();
    let topic = client.create("t", 1, &[]).await;
    let mut producer = Transactional::init(&mut client, "t-1").await;
    assert_eq!(producer.send(&mut client, 11, &topic, &["a"]).await.error_code, 0);
    assert_eq!(describe(&mut client, "t-1").await.transaction_state, "Empty");
    // The new protocol adds partitions nevertheless.
    let mut producer = Transactional::init(&mut client, "t-2").await;
    assert_eq!(producer.send(&mut client, 12, &topic, &["a"]).await.error_code, 0);
    assert_eq!(describe(&mut client, "t-2").await.transaction_state, "Ongoing");
}

#[tokio::test(start_paused = true)]
async fn batches_of_a_transaction_need_its_id_and_one_producer() {
    let (_node, mut client, topic) = start().await;
    let mut producer = Transactional::init(&mut client, "t-1").await;
    let request = producer.produce(&topic, 0, &["x"]);
    let nameless = ProduceRequest { transactional_id: None, ..request.clone() };
    let answer = client.call(13, &nameless).await;
    let error = answer.responses[0].partition_responses[0].error_code;
    assert_eq!(error, code(ErrorCode::TransactionalIdAuthorizationFailed));
    let mut other = Transactional::init(&mut client, "t-2").await;
    let mut mixed = request;
    let theirs = other.produce(&topic, 1, &["y"]).topic_data.remove(0).partition_data.remove(0);
    mixed.topic_data[0].partition_data.push(theirs);
    let answer = client.call(13, &mixed).await;
    for row in &answer.responses[0].partition_responses {
        assert_eq!(row.error_code, code(ErrorCode::InvalidProducerIdMapping));
    }
    assert_eq!(client.read_all(&topic).await.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_new_producer_ends_the_transaction_of_the_one_before_and_fences_it() {
    let (_node, mut client, topic) = start().await;
    let mut zombie = Transactional::init(&mut client, "t-1").await;
    zombie.send(&mut client, 13, &topic, &["lost"]).await;
    let mut producer = Transactional::init(&mut client, "t-1").await;
    assert_eq!(producer.producer_id, zombie.producer_id);
    assert!(producer.epoch > zombie.epoch + 1, "one epoch was for the abort");
    let fenced = code(ErrorCode::InvalidProducerEpoch);
    assert_eq!(zombie.send(&mut client, 13, &topic, &["late"]).await.error_code, fenced);
    let mut elsewhere = zombie.clone();
    let late = elsewhere.produce(&topic, 1, &["late"]);
    let answer = client.call(13, &late).await;
    assert_eq!(answer.responses[0].partition_responses[0].error_code, fenced, "where it had not written");
    for (version, error) in
        [(0, ErrorCode::InvalidProducerEpoch), (2, ErrorCode::ProducerFenced), (5, ErrorCode::ProducerFenced)]
    {
        assert_eq!(zombie.end(&mut client, version, true).await.error_code, code(error));
    }
    producer.send(&mut client, 13, &topic, &["kept"]).await;
    producer.end(&mut client, 5, true).await;
    until_state(&mut client, "t-1", "CompleteCommit").await;
    assert_eq!(committed(&mut client, &topic).await.0, ["kept"]);
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_comes_after_the_end_of_its_transaction_is_refused() {
    let (_node, mut client, topic) = start().await;
    // From version 2 on its epoch is over.
    let mut producer = Transactional::init(&mut client, "t-1").await;
    producer.send(&mut client, 13, &topic, &["a"]).await;
    let mut late = producer.clone();
    producer.end(&mut client, 5, true).await;
    until_state(&mut client, "t-1", "CompleteCommit").await;
    let refused = late.send(&mut client, 13, &topic, &["late"]).await;
    assert_eq!(refused.error_code, code(ErrorCode::InvalidProducerEpoch));
    // Before, the coordinator does not know the partition any more.
    let mut producer = Transactional::init(&mut client, "t-2").await;
    producer.add(&mut client, 3, &topic, &[0]).await;
    producer.send(&mut client, 11, &topic, &["b"]).await;
    producer.end(&mut client, 4, true).await;
    until_state(&mut client, "t-2", "CompleteCommit").await;
    let refused = producer.send(&mut client, 11, &topic, &["late"]).await;
    assert_eq!(refused.error_code, code(ErrorCode::TransactionAbortable));
    assert_eq!(committed(&mut client, &topic).await.0, ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn a_transaction_that_is_open_for_too_long_is_aborted() {
    let (node, mut client, topic) = start().await;
    let mut producer = Transactional::init_with(&mut client, "t-1", 30_000).await;
    producer.send(&mut client, 13, &topic, &["lost"]).await;
    client.produce(&topic, batch(&["plain"])).await;
    node.pass(29_000).await;
    assert_eq!(describe(&mut client, "t-1").await.transaction_state, "Ongoing");
    assert_eq!(committed(&mut client, &topic).await.0.len(), 0);
    node.pass(12_000).await;
    until_state(&mut client, "t-1", "CompleteAbort").await;
    assert_eq!(committed(&mut client, &topic).await.0, ["plain"]);
    let answer = producer.end(&mut client, 5, true).await;
    assert_eq!(answer.error_code, code(ErrorCode::InvalidTxnState));
    let refused = producer.send(&mut client, 13, &topic, &["late"]).await;
    assert_eq!(refused.error_code, code(ErrorCode::InvalidProducerEpoch));
    let again = Transactional::init(&mut client, "t-1").await;
    assert_eq!(again.producer_id, producer.producer_id);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_transaction_survives_a_crash_before_its_markers_are_written() {
    for (is_power_cut, is_committed) in [(false, true), (true, true), (false, false), (true, false)] {
        let (mut node, mut client, topic) = start().await;
        let mut producer = Transactional::init(&mut client, "t-1").await;
        let mut expected = Vec::new();
        for round in 0..4 {
            let value = format!("v{round}");
            assert_eq!(producer.send(&mut client, 13, &topic, &[&value]).await.error_code, 0);
            // The decision is written down; the disk is busy when it comes to what follows.
            node.tasks.hold_next_job();
            client.send(5, &producer.end_request(is_committed)).await;
            assert!(!client.has_answer().await);
            node.tasks.release_and_hold_next_job();
            let answer = client.receive::<wire::EndTxnRequest>(5).await;
            assert_eq!(answer.error_code, 0);
            producer.on_ended(5, &answer);
            let state = describe(&mut client, "t-1").await.transaction_state;
            assert_eq!(state, if is_committed { "PrepareCommit" } else { "PrepareAbort" });
            node = if is_power_cut { node.cut_power().await } else { node.start_on(|_| {}).await.unwrap() };
            client = node.client();
            until_state(&mut client, "t-1", if is_committed { "CompleteCommit" } else { "CompleteAbort" })
                .await;
            expected.extend(is_committed.then_some(value));
            assert_eq!(committed(&mut client, &topic).await.0, expected);
        }
        node.assert_sound();
    }
}

#[tokio::test(start_paused = true)]
async fn an_open_transaction_survives_a_crash_and_can_be_committed() {
    let (node, mut client, topic) = start().await;
    let mut producer = Transactional::init(&mut client, "t-1").await;
    producer.send(&mut client, 13, &topic, &["a"]).await;
    let node = node.cut_power().await;
    let mut client = node.client();
    assert_eq!(describe(&mut client, "t-1").await.transaction_state, "Ongoing");
    assert_eq!(committed(&mut client, &topic).await, (vec![], 0));
    producer.send(&mut client, 13, &topic, &["b"]).await;
    producer.end(&mut client, 5, true).await;
    until_state(&mut client, "t-1", "CompleteCommit").await;
    assert_eq!(committed(&mut client, &topic).await.0, ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn an_operator_can_end_a_transaction_that_hangs() {
    let node = Node::with(&[SMALL[0], ("transaction.partition.verification.enable", "false")]).await;
    let mut client = node.client();
    let topic = client.create("t", 1, &[]).await;
    let mut producer = Transactional::init(&mut client, "t-1").await;
    producer.send(&mut client, 11, &topic, &["hangs"]).await;
    let request = DescribeProducersRequest {
        topics: vec![TopicRequest { name: "t".into(), partition_indexes: vec![0] }],
    };
    let found =
        client.call(0, &request).await.topics.remove(0).partitions.remove(0).active_producers.remove(0);
    assert_eq!((found.producer_id, found.current_txn_start_offset), (producer.producer_id, 0));
    let marker = WritableTxnMarker {
        producer_id: found.producer_id,
        producer_epoch: found.producer_epoch as i16,
        transaction_result: false,
        topics: vec![WritableTxnMarkerTopic { name: "t".into(), partition_indexes: vec![0] }],
        coordinator_epoch: 0,
        transaction_version: 0,
    };
    let written = client.call(1, &WriteTxnMarkersRequest { markers: vec![marker] }).await;
    assert_eq!(written.markers[0].topics[0].partitions[0].error_code, 0);
    assert_eq!(committed(&mut client, &topic).await, (vec![], 2));
}

#[tokio::test(start_paused = true)]
async fn a_transactional_id_that_nobody_uses_is_forgotten() {
    let node = Node::with(&[
        SMALL[0],
        ("transactional.id.expiration.ms", "1000"),
        ("transaction.remove.expired.transaction.cleanup.interval.ms", "500"),
    ])
    .await;
    let mut client = node.client();
    let before = Transactional::init(&mut client, "t-1").await;
    node.pass(2000).await;
    let gone = describe(&mut client, "t-1").await;
    assert_eq!(gone.error_code, code(ErrorCode::TransactionalIdNotFound));
    let node = node.restart().await;
    let mut client = node.client();
    let gone = describe(&mut client, "t-1").await;
    assert_eq!(gone.error_code, code(ErrorCode::TransactionalIdNotFound));
    assert_ne!(Transactional::init(&mut client, "t-1").await.producer_id, before.producer_id);
}

#[tokio::test(start_paused = true)]
async fn the_limits_of_the_configuration_hold() {
    let node = Node::with(&[SMALL[0], ("transaction.max.timeout.ms", "5000")]).await;
    let mut client = node.client();
    Transactional::init_with(&mut client, "t-1", 5000).await;
    for timeout in [0, -1, 5001] {
        let request = InitProducerIdRequest {
            transactional_id: Some("t-1".into()),
            transaction_timeout_ms: timeout,
            ..InitProducerIdRequest::default()
        };
        let refused = client.call(5, &request).await;
        assert_eq!(refused.error_code, code(ErrorCode::InvalidTransactionTimeout));
        assert_eq!((refused.producer_id, refused.producer_epoch), (-1, -1));
    }
}

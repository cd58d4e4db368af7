//! The APIs of transactions.

use crate::harness::{
    Client, Node, Topic, Transactional, code, committed, offsets_in_transaction, stable_offset,
};
use crate::transactions::{describe, until_state};
use wire::{
    AddPartitionsToTxnRequest, DescribeProducersRequest, DescribeTransactionsRequest, ErrorCode,
    ListTransactionsRequest, WriteTxnMarkersRequest,
    add_partitions_to_txn_request::{AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction},
    describe_producers_request::TopicRequest,
    write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic},
};

async fn start() -> (Node, Client, Topic, Transactional) {
    let node = Node::with(&[("transaction.state.log.num.partitions", "3")]).await;
    let mut client = node.client();
    let topic = client.create("t", 2, &[]).await;
    let producer = Transactional::init(&mut client, "t-1").await;
    (node, client, topic, producer)
}

fn fenced(version: i16, from: i16) -> i16 {
    code(if version < from { ErrorCode::InvalidProducerEpoch } else { ErrorCode::ProducerFenced })
}

pub(super) async fn add_partitions_to_txn(version: i16) {
    let (_node, mut client, topic, mut producer) = start().await;
    if version >= 4 {
        return add_partitions_for_brokers(version, client, producer).await;
    }
    assert_eq!(producer.add(&mut client, version, &topic, &[0, 1]).await, [0, 0]);
    let known = describe(&mut client, "t-1").await;
    assert_eq!((known.transaction_state.as_str(), &known.topics[0].partitions[..]), ("Ongoing", &[0, 1][..]));
    let (unknown, not_attempted) =
        (code(ErrorCode::UnknownTopicOrPartition), code(ErrorCode::OperationNotAttempted));
    assert_eq!(producer.add(&mut client, version, &topic, &[1, 9]).await, [not_attempted, unknown]);
    producer.epoch += 1;
    assert_eq!(producer.add(&mut client, version, &topic, &[0]).await, [fenced(version, 2)]);
    producer.producer_id += 1;
    let other = code(ErrorCode::InvalidProducerIdMapping);
    assert_eq!(producer.add(&mut client, version, &topic, &[0]).await, [other]);
}

/// From version 4 on brokers ask for many transactions at once, to add or to verify.
async fn add_partitions_for_brokers(version: i16, mut client: Client, producer: Transactional) {
    let other = Transactional::init(&mut client, "t-2").await;
    let of = |producer: &Transactional, verify_only, partitions: &[i32]| AddPartitionsToTxnTransaction {
        transactional_id: producer.id.clone(),
        producer_id: producer.producer_id,
        producer_epoch: producer.epoch,
        verify_only,
        topics: vec![AddPartitionsToTxnTopic { name: "t".into(), partitions: partitions.to_vec() }],
    };
    let call = async |client: &mut Client, transactions| {
        let request = AddPartitionsToTxnRequest { transactions, ..Default::default() };
        let response = client.call(version, &request).await;
        assert_eq!(response.error_code, 0);
        let results = response.results_by_transaction.into_iter().map(|mut result| {
            let results = result.topic_results.remove(0).results_by_partition;
            let codes: Vec<_> = results.into_iter().map(|one| one.partition_error_code).collect();
            (result.transactional_id, codes)
        });
        results.collect::<Vec<_>>()
    };
    let told = call(&mut client, vec![of(&producer, false, &[0]), of(&other, true, &[0, 1])]).await;
    let abortable = code(ErrorCode::TransactionAbortable);
    assert_eq!(told, [("t-1".to_owned(), vec![0]), ("t-2".to_owned(), vec![abortable, abortable])]);
    let told = call(&mut client, vec![of(&producer, true, &[0, 1])]).await;
    assert_eq!(told, [("t-1".to_owned(), vec![0, abortable])]);
    let mut late = producer.clone();
    late.epoch += 1;
    let told = call(&mut client, vec![of(&late, true, &[0]), of(&late, false, &[0])]).await;
    let fenced = code(ErrorCode::ProducerFenced);
    assert_eq!(told, [("t-1".to_owned(), vec![fenced]), ("t-1".to_owned(), vec![fenced])]);
}

pub(super) async fn add_offsets_to_txn(version: i16) {
    let (_node, mut client, _topic, mut producer) = start().await;
    client.find_coordinator().await;
    assert_eq!(producer.add_offsets(&mut client, version, "g").await, 0);
    let known = describe(&mut client, "t-1").await;
    assert_eq!(known.topics[0].topic, "__consumer_offsets");
    producer.epoch += 1;
    assert_eq!(producer.add_offsets(&mut client, version, "g").await, fenced(version, 2));
    producer.id = "t-9".into();
    let unknown = producer.add_offsets(&mut client, version, "g").await;
    assert_eq!(unknown, code(ErrorCode::InvalidProducerIdMapping));
}

pub(super) async fn end_txn(version: i16) {
    let (_node, mut client, topic, mut producer) = start().await;
    for is_committed in [true, false] {
        let begun = producer.clone();
        assert_eq!(producer.send(&mut client, 13, &topic, &["a"]).await.error_code, 0);
        let answer = producer.end(&mut client, version, is_committed).await;
        let next = if version >= 5 { (begun.producer_id, begun.epoch + 1) } else { (-1, -1) };
        assert_eq!((answer.error_code, answer.producer_id, answer.producer_epoch), (0, next.0, next.1));
        let state = if is_committed { "CompleteCommit" } else { "CompleteAbort" };
        until_state(&mut client, "t-1", state).await;
        // The same again is an answer that was lost; the opposite is a mistake.
        let repeated = begun.clone().end(&mut client, version, is_committed).await;
        assert_eq!((repeated.error_code, repeated.producer_epoch), (0, next.1));
        let opposite = begun.clone().end(&mut client, version, !is_committed).await;
        assert_eq!(opposite.error_code, code(ErrorCode::InvalidTxnState));
    }
    assert_eq!(committed(&mut client, &topic).await.0, ["a"]);
    producer.epoch += 1;
    assert_eq!(producer.end(&mut client, version, true).await.error_code, fenced(version, 2));
}

pub(super) async fn write_txn_markers(version: i16) {
    let (_node, mut client, topic, mut producer) = start().await;
    producer.send(&mut client, 13, &topic, &["a"]).await;
    let marker = |producer_epoch, coordinator_epoch, transaction_version| WritableTxnMarker {
        producer_id: producer.producer_id,
        producer_epoch,
        transaction_result: false,
        topics: vec![
            WritableTxnMarkerTopic { name: "t".into(), partition_indexes: vec![0, 9] },
            WritableTxnMarkerTopic { name: "no topic".into(), partition_indexes: vec![0] },
        ],
        coordinator_epoch,
        transaction_version,
    };
    let write = async |client: &mut Client, marker| {
        let mut response = client.call(version, &WriteTxnMarkersRequest { markers: vec![marker] }).await;
        assert_eq!(response.markers.len(), 1);
        let topics = response.markers.remove(0).topics.into_iter().flat_map(|topic| {
            topic
                .partitions
                .into_iter()
                .map(move |one| (topic.name.clone(), one.partition_index, one.error_code))
        });
        topics.collect::<Vec<_>>()
    };
    let unknown = code(ErrorCode::UnknownTopicOrPartition);
    let told = |error| {
        [("no topic".to_owned(), 0, unknown), ("t".to_owned(), 0, error), ("t".to_owned(), 9, unknown)]
    };
    let stale = code(ErrorCode::InvalidProducerEpoch);
    if version >= 2 {
        // By the rules of version 2 the epoch of the records is too low.
        assert_eq!(write(&mut client, marker(producer.epoch, 3, 2)).await, told(stale));
    }
    let next = producer.epoch + i16::from(version >= 2);
    assert_eq!(write(&mut client, marker(next, 3, version as i8)).await, told(0));
    assert_eq!(committed(&mut client, &topic).await, (vec![], 2));
    let older = code(ErrorCode::TransactionCoordinatorFenced);
    assert_eq!(write(&mut client, marker(next, 2, 0)).await, told(older));
    assert_eq!(write(&mut client, marker(next - 1, 3, 0)).await, told(stale));
}

pub(super) async fn txn_offset_commit(version: i16) {
    let (_node, mut client, topic, mut producer) = start().await;
    client.find_coordinator().await;
    if version < 5 {
        let request = offsets_in_transaction(&producer, "g", &topic, 4);
        let refused = client.call(version, &request).await.topics[0].partitions[0].error_code;
        let error = if version < 4 { ErrorCode::InvalidTxnState } else { ErrorCode::TransactionAbortable };
        assert_eq!(refused, code(error), "the group's partition was not added");
        assert_eq!(producer.add_offsets(&mut client, 3, "g").await, 0);
    }
    let mut request = offsets_in_transaction(&producer, "g", &topic, 5);
    let known = request.topics[0].partitions[0].clone();
    request.topics[0].partitions.push(known);
    request.topics[0].partitions[1].partition_index = 9;
    let answer = client.call(version, &request).await.topics.remove(0);
    let codes: Vec<_> = answer.partitions.iter().map(|one| (one.partition_index, one.error_code)).collect();
    assert_eq!(codes, [(0, 0), (9, code(ErrorCode::UnknownTopicOrPartition))]);
    assert_eq!(answer.name, if version < 6 { "t" } else { "" });
    assert_eq!(answer.topic_id == topic.id, version >= 6);
    assert_eq!(stable_offset(&mut client, "g", &topic, false).await, (0, -1));
    let end = if version < 5 { 4 } else { 5 };
    assert_eq!(producer.end(&mut client, end, true).await.error_code, 0);
    until_state(&mut client, "t-1", "CompleteCommit").await;
    assert_eq!(stable_offset(&mut client, "g", &topic, true).await, (0, 5));
    let nameless = offsets_in_transaction(&producer, "", &topic, 6);
    let refused = client.call(version, &nameless).await.topics[0].partitions[0].error_code;
    assert_eq!(refused, code(ErrorCode::InvalidGroupId));
}

pub(super) async fn describe_producers(version: i16) {
    let (_node, mut client, topic, mut producer) = start().await;
    producer.send(&mut client, 13, &topic, &["a", "b"]).await;
    let topics = ["t", "unknown", "no topic"];
    let topics = topics.map(|name| TopicRequest { name: name.into(), partition_indexes: vec![0, 9] });
    let response = client.call(version, &DescribeProducersRequest { topics: topics.into() }).await;
    let [known, absent] = &response.topics[0].partitions[..] else { panic!("two were asked for") };
    let found = &known.active_producers[0];
    assert_eq!((known.error_code, found.producer_id), (0, producer.producer_id));
    assert_eq!((found.producer_epoch, found.last_sequence), (i32::from(producer.epoch), 1));
    assert_eq!((found.current_txn_start_offset, found.coordinator_epoch), (0, -1));
    assert_eq!(absent.error_code, code(ErrorCode::UnknownTopicOrPartition));
    let errors = [ErrorCode::UnknownTopicOrPartition, ErrorCode::InvalidTopicException];
    for (topic, error) in response.topics[1..].iter().zip(errors) {
        assert_eq!(topic.partitions[0].error_code, code(error), "{}", topic.name);
    }
}

pub(super) async fn describe_transactions(version: i16) {
    let (_node, mut client, topic, mut producer) = start().await;
    producer.send(&mut client, 13, &topic, &["a"]).await;
    let request = DescribeTransactionsRequest {
        transactional_ids: ["t-1", "unknown", "", "t-1", ""].map(str::to_owned).to_vec(),
    };
    let states = client.call(version, &request).await.transaction_states;
    let known = &states[0];
    assert_eq!((known.error_code, known.transaction_state.as_str()), (0, "Ongoing"));
    assert_eq!((known.producer_id, known.producer_epoch), (producer.producer_id, producer.epoch));
    assert_eq!((known.transaction_timeout_ms, known.transaction_start_time_ms > 0), (60_000, true));
    assert_eq!((known.topics[0].topic.as_str(), &known.topics[0].partitions[..]), ("t", &[0][..]));
    let errors: Vec<_> = states[1..].iter().map(|state| state.error_code).collect();
    assert_eq!(errors, [code(ErrorCode::TransactionalIdNotFound), code(ErrorCode::InvalidRequest)]);
}

pub(super) async fn list_transactions(version: i16) {
    let (node, mut client, topic, mut producer) = start().await;
    producer.send(&mut client, 13, &topic, &["a"]).await;
    let other = Transactional::init(&mut client, "u-2").await;
    node.pass(1000).await;
    let list = async |client: &mut Client, request: ListTransactionsRequest| {
        let response = client.call(version, &request).await;
        let mut ids: Vec<_> = response
            .transaction_states
            .into_iter()
            .map(|state| (state.transactional_id, state.producer_id, state.transaction_state))
            .collect();
        ids.sort();
        (response.error_code, response.unknown_state_filters, ids)
    };
    let first = ("t-1".to_owned(), producer.producer_id, "Ongoing".to_owned());
    let second = ("u-2".to_owned(), other.producer_id, "Empty".to_owned());
    let all = ListTransactionsRequest::default();
    let both = vec![first.clone(), second.clone()];
    assert_eq!(list(&mut client, all.clone()).await, (0, vec![], both));
    let states = ListTransactionsRequest { state_filters: vec!["Empty".into(), "Odd".into()], ..all.clone() };
    assert_eq!(list(&mut client, states).await, (0, vec!["Odd".to_owned()], vec![second.clone()]));
    let producers =
        ListTransactionsRequest { producer_id_filters: vec![producer.producer_id], ..all.clone() };
    assert_eq!(list(&mut client, producers).await, (0, vec![], vec![first.clone()]));
    if version >= 1 {
        // What has not begun is as old as time.
        let open = ListTransactionsRequest { duration_filter: 5000, ..all.clone() };
        assert_eq!(list(&mut client, open).await, (0, vec![], vec![second]));
    }
    if version >= 2 {
        let named = ListTransactionsRequest { transactional_id_pattern: Some("t-.*".into()), ..all.clone() };
        assert_eq!(list(&mut client, named).await, (0, vec![], vec![first]));
        let partly = ListTransactionsRequest { transactional_id_pattern: Some("-".into()), ..all.clone() };
        assert_eq!(list(&mut client, partly).await, (0, vec![], vec![]), "the whole id must match");
        let broken = ListTransactionsRequest { transactional_id_pattern: Some("(".into()), ..all };
        assert_eq!(list(&mut client, broken).await.0, code(ErrorCode::InvalidRegularExpression));
    }
}

//! Idempotent producers (KIP-98): a repetition is answered like the first time and written once, a gap is refused.

use crate::harness::{BatchSpec, Client, Node, Topic, batch_of, code};
use wire::{ErrorCode, InitProducerIdRequest};

async fn start() -> (Node, Client, Topic, i64) {
    let node = Node::start().await;
    let mut client = node.client();
    let topic = client.create("t", 1, &[]).await;
    let request = InitProducerIdRequest { transactional_id: None, ..Default::default() };
    let id = client.call(5, &request).await.producer_id;
    (node, client, topic, id)
}

/// Sends a batch of two records; gives error and base offset.
async fn send(client: &mut Client, topic: &Topic, producer: (i64, i16, i32)) -> (i16, i64) {
    let values = [producer.2.to_string(), (producer.2 + 1).to_string()];
    let values = [values[0].as_str(), values[1].as_str()];
    let bytes = batch_of(&BatchSpec { values: &values, producer: Some(producer), ..BatchSpec::default() });
    let answer = client.produce(topic, bytes).await;
    (answer.error_code, answer.base_offset)
}

const GAP: ErrorCode = ErrorCode::OutOfOrderSequenceNumber;

#[tokio::test(start_paused = true)]
async fn the_last_five_batches_may_be_repeated_and_are_answered_with_their_first_offsets() {
    let (_node, mut client, topic, id) = start().await;
    for sequence in [0, 2, 4, 6, 8, 10] {
        assert_eq!(send(&mut client, &topic, (id, 0, sequence)).await, (0, i64::from(sequence)));
    }
    for sequence in [10, 2, 4, 8, 6] {
        assert_eq!(send(&mut client, &topic, (id, 0, sequence)).await, (0, i64::from(sequence)));
    }
    let answer = send(&mut client, &topic, (id, 0, 0)).await;
    assert_eq!(answer, (code(ErrorCode::DuplicateSequenceNumber), -1), "longer ago than five batches");
    let written: Vec<_> = (0..12).map(|value| value.to_string()).collect();
    assert_eq!(client.read_all(&topic).await, written);
}

#[tokio::test(start_paused = true)]
async fn a_gap_and_an_old_epoch_are_refused_and_a_new_epoch_begins_at_zero() {
    let (_node, mut client, topic, id) = start().await;
    assert_eq!(send(&mut client, &topic, (id, 0, 0)).await, (0, 0));
    assert_eq!(send(&mut client, &topic, (id, 0, 4)).await, (code(GAP), -1));
    assert_eq!(send(&mut client, &topic, (id, 0, 1)).await, (code(GAP), -1), "overlaps what was written");
    assert_eq!(send(&mut client, &topic, (id, 1, 2)).await, (code(GAP), -1));
    assert_eq!(send(&mut client, &topic, (id, 1, 0)).await, (0, 2));
    let fenced = code(ErrorCode::InvalidProducerEpoch);
    assert_eq!(send(&mut client, &topic, (id, 0, 2)).await, (fenced, -1));
    assert_eq!(send(&mut client, &topic, (id + 1, 0, 0)).await, (0, 4), "another producer");
    assert_eq!(client.read_all(&topic).await.len(), 6);
}

#[tokio::test(start_paused = true)]
async fn sequences_wrap_around() {
    let (_node, mut client, topic, id) = start().await;
    assert_eq!(send(&mut client, &topic, (id, 0, i32::MAX - 2)).await, (0, 0));
    let bytes = |sequence| {
        batch_of(&BatchSpec {
            values: &["x", "y"],
            producer: Some((id, 0, sequence)),
            ..BatchSpec::default()
        })
    };
    assert_eq!(client.produce(&topic, bytes(i32::MAX)).await.base_offset, 2);
    let answer = client.produce(&topic, bytes(1)).await;
    assert_eq!((answer.error_code, answer.base_offset), (0, 4), "the second record had sequence 0");
}

#[tokio::test(start_paused = true)]
async fn a_repetition_is_recognised_after_a_restart_and_after_a_power_cut() {
    let (node, mut client, topic, id) = start().await;
    for sequence in [0, 2, 4] {
        assert_eq!(send(&mut client, &topic, (id, 0, sequence)).await.0, 0);
    }
    let node = node.restart().await;
    let mut client = node.client();
    assert_eq!(send(&mut client, &topic, (id, 0, 4)).await, (0, 4));
    let answer = send(&mut client, &topic, (id, 0, 2)).await;
    assert_eq!(
        answer,
        (code(ErrorCode::DuplicateSequenceNumber), -1),
        "a snapshot keeps the last batch only"
    );
    assert_eq!(send(&mut client, &topic, (id, 0, 6)).await, (0, 6));
    let node = node.cut_power().await;
    let mut client = node.client();
    assert_eq!(send(&mut client, &topic, (id, 0, 4)).await, (0, 4));
    assert_eq!(send(&mut client, &topic, (id, 0, 6)).await, (0, 6));
    assert_eq!(send(&mut client, &topic, (id, 0, 12)).await, (code(GAP), -1));
    assert_eq!(client.read_all(&topic).await.len(), 8);
    let request = InitProducerIdRequest { transactional_id: None, ..Default::default() };
    let next = client.call(5, &request).await.producer_id;
    assert!(next > id, "an id is never given twice");
}

#[tokio::test(start_paused = true)]
async fn five_requests_in_flight_with_the_first_one_repeated_stay_in_order() {
    let (_node, mut client, topic, id) = start().await;
    for sequence in [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 5] {
        let producer = Some((id, 0, sequence));
        let value = sequence.to_string();
        let bytes = batch_of(&BatchSpec { values: &[&value], producer, ..BatchSpec::default() });
        client.send(13, &crate::harness::produce(&topic, 0, -1, bytes)).await;
    }
    for offset in [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 5] {
        let response = client.receive::<wire::ProduceRequest>(13).await;
        let answer = &response.responses[0].partition_responses[0];
        assert_eq!((answer.error_code, answer.base_offset), (0, offset));
    }
    assert_eq!(client.read_all(&topic).await, ["0", "1", "2", "3", "4", "5"]);
}

#[tokio::test(start_paused = true)]
async fn no_producer_id_is_given_twice_beyond_a_block_and_over_a_restart() {
    let (node, mut client, _, first) = start().await;
    let request = InitProducerIdRequest { transactional_id: None, ..Default::default() };
    let mut last = first;
    // A block has a thousand ids.
    for _ in 0..2100 {
        let id = client.call(5, &request).await.producer_id;
        assert_eq!(id, last + 1, "one broker takes block after block");
        last = id;
    }
    let node = node.cut_power().await;
    let id = node.client().call(5, &request).await.producer_id;
    assert!(id > last, "{id} was given before the power was cut");
}

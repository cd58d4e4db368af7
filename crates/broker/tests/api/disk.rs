//! A disk that fails: nothing is acknowledged that was not written, and readers hear of it.

use crate::harness::{BatchSpec, LOG_DIR, Node, batch, batch_of, code};
use std::sync::atomic::Ordering;
use wire::ErrorCode;

#[tokio::test(start_paused = true)]
async fn a_produce_that_cannot_be_written_is_not_acknowledged() {
    let node = Node::start().await;
    let mut client = node.client();
    let topic = client.create("t", 1, &[]).await;
    assert_eq!(client.produce(&topic, batch(&["a"])).await.error_code, 0);
    assert!(node.broker.is_healthy());
    node.disk.switches().fail_writes.store(true, Ordering::Relaxed);
    let storage = code(ErrorCode::KafkaStorageError);
    let answer = client.produce(&topic, batch(&["b"])).await;
    assert_eq!((answer.error_code, answer.base_offset), (storage, -1));
    assert!(!node.broker.is_healthy());
    assert_eq!(client.produce(&topic, batch(&["c"])).await.error_code, storage);
    let data = client.fetch(&topic, 0).await;
    assert_eq!((data.error_code, data.high_watermark), (storage, -1));
    let data = client.fetch_at(5, &topic, 0, 0).await;
    assert_eq!(data.error_code, code(ErrorCode::NotLeaderOrFollower), "an old client knows no other");
    let node = node.cut_power().await;
    assert_eq!(node.client().read_all(&topic).await, ["a"]);
}

#[tokio::test(start_paused = true)]
async fn topics_cannot_be_created_on_a_failed_disk_and_nobody_waits_forever() {
    let node = Node::start().await;
    let mut client = node.client();
    node.disk.switches().fail_writes.store(true, Ordering::Relaxed);
    let topic = wire::create_topics_request::CreatableTopic {
        name: "t".into(),
        num_partitions: 1,
        replication_factor: 1,
        ..Default::default()
    };
    let request = wire::CreateTopicsRequest { topics: vec![topic], ..Default::default() };
    for _ in 0..2 {
        let response = client.call(7, &request).await;
        assert_eq!(response.topics[0].error_code, code(ErrorCode::NotController));
    }
    let node = node.cut_power().await;
    node.client().create("t", 1, &[]).await;
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_refuses_records_until_there_is_room_and_keeps_readers() {
    let node = Node::start().await;
    let mut client = node.client();
    let topic = client.create("t", 2, &[]).await;
    assert_eq!(client.produce(&topic, batch(&["a"])).await.error_code, 0);
    node.disk.switches().full_after.store(1, Ordering::Relaxed);
    let storage = code(ErrorCode::KafkaStorageError);
    for value in ["b", "c"] {
        let answer = client.produce(&topic, batch(&[value])).await;
        assert_eq!((answer.error_code, answer.base_offset), (storage, -1));
        assert_eq!(client.produce_at(13, &topic, 1, batch(&["first"])).await.error_code, storage);
        assert_eq!(client.read_all(&topic).await, ["a"], "what is there can be read");
        node.pass(3000).await;
    }
    node.disk.switches().full_after.store(0, Ordering::Relaxed);
    node.pass(1100).await;
    assert_eq!(client.produce(&topic, batch(&["d"])).await.error_code, 0);
    assert_eq!(client.produce_at(13, &topic, 1, batch(&["second"])).await.base_offset, 1);
    // What was refused when the room ended may be there, as after any retriable error; what was refused later is not.
    let node = node.cut_power().await;
    assert_eq!(node.client().read_all(&topic).await, ["a", "b", "d"]);
}

#[tokio::test(start_paused = true)]
async fn an_idempotent_producer_goes_on_after_a_full_disk_without_a_repetition() {
    let node = Node::start().await;
    let mut client = node.client();
    let topic = client.create("t", 1, &[]).await;
    let numbered = |sequence: i32| {
        let value = sequence.to_string();
        let (values, producer) = ([value.as_str()], Some((7, 0, sequence)));
        batch_of(&BatchSpec { values: &values, producer, ..BatchSpec::default() })
    };
    assert_eq!(client.produce(&topic, numbered(0)).await.error_code, 0);
    node.disk.switches().full_after.store(1, Ordering::Relaxed);
    assert_ne!(client.produce(&topic, numbered(1)).await.error_code, 0);
    node.disk.switches().full_after.store(0, Ordering::Relaxed);
    node.pass(1100).await;
    for sequence in [1, 2] {
        let answer = client.produce(&topic, numbered(sequence)).await;
        assert_eq!((answer.error_code, answer.base_offset), (0, i64::from(sequence)));
    }
    assert_eq!(client.read_all(&topic).await, ["0", "1", "2"]);
}

#[tokio::test(start_paused = true)]
async fn metadata_wait_for_room_and_a_stop_without_room_is_no_clean_one() {
    let node = Node::start().await;
    let mut client = node.client();
    let topic = client.create("t", 1, &[]).await;
    node.disk.switches().full_after.store(1, Ordering::Relaxed);
    let wanted = wire::create_topics_request::CreatableTopic {
        name: "u".into(),
        num_partitions: 1,
        replication_factor: 1,
        ..Default::default()
    };
    let request = wire::CreateTopicsRequest { topics: vec![wanted], ..Default::default() };
    let mut waiting = node.client();
    waiting.send(7, &request).await;
    node.pass(2500).await;
    assert!(!waiting.has_answer().await);
    node.disk.switches().full_after.store(0, Ordering::Relaxed);
    assert_eq!(waiting.receive::<wire::CreateTopicsRequest>(7).await.topics[0].error_code, 0);
    node.disk.switches().full_after.store(1, Ordering::Relaxed);
    assert_ne!(client.produce(&topic, batch(&["a"])).await.error_code, 0);
    node.broker.stop().await;
    let mark = std::path::Path::new(LOG_DIR).join(".kafka_cleanshutdown");
    assert_eq!(node.disk.contents(&mark), None);
}

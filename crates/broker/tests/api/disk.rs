//! A disk that fails: nothing is acknowledged that was not written, and readers hear of it.

use crate::harness::{Node, batch, code};
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

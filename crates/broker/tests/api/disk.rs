//! A disk that fails: nothing is acknowledged that was not written, and readers hear of it.

use crate::{
    clusters::{ALL, controller},
    harness::{BatchSpec, Cluster, LOG_DIR, Node, batch, batch_of, code, produce},
    replication::{create, produce_somewhere, read_at, until, until_in_sync},
};
use broker::view::Unhealthy;
use std::sync::atomic::Ordering;
use wire::{
    DeleteRecordsRequest, DeleteTopicsRequest, ErrorCode, ListOffsetsRequest, ProduceRequest,
    delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic},
    list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
};

#[tokio::test(start_paused = true)]
async fn a_produce_that_cannot_be_written_is_not_acknowledged() {
    let node = Node::start().await;
    let mut client = node.client();
    let topic = client.create("t", 1, &[]).await;
    assert_eq!(client.produce(&topic, batch(&["a"])).await.error_code, 0);
    assert_eq!(node.broker.health(), Ok(()));
    node.disk.switches().fail_writes.store(true, Ordering::Relaxed);
    let storage = code(ErrorCode::KafkaStorageError);
    let answer = client.produce(&topic, batch(&["b"])).await;
    assert_eq!((answer.error_code, answer.base_offset), (storage, -1));
    assert_eq!(node.broker.health(), Err(Unhealthy::LogDirOffline));
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
async fn a_produce_that_takes_longer_than_its_timeout_is_answered_and_comes_through_all_the_same() {
    let node = Node::start().await;
    let mut client = node.client();
    let topic = client.create("t", 2, &[]).await;
    let producer = BatchSpec { values: &["a"], producer: Some((9, 0, 0)), ..BatchSpec::default() };
    let mut request = ProduceRequest { timeout_ms: 5000, ..produce(&topic, 0, -1, batch_of(&producer)) };
    let other = produce(&topic, 1, -1, batch(&["x"])).topic_data.remove(0).partition_data;
    request.topic_data[0].partition_data.extend(other);
    node.tasks.hold_next_job();
    let start = node.now_ms();
    let response = client.call(9, &request).await;
    assert_eq!(node.now_ms() - start, 5000);
    let told = response.responses[0].partition_responses.iter().map(|one| (one.error_code, one.base_offset));
    let timed_out = code(ErrorCode::RequestTimedOut);
    assert_eq!(told.collect::<Vec<_>>(), [(timed_out, 0), (0, 0)], "the other partition's disk is quick");
    assert_eq!(client.read_all(&topic).await.len(), 0, "not visible before it is durable");
    node.tasks.release();
    assert_eq!(client.read_all(&topic).await, ["a"]);
    // The client sends it again, as it must: it is there once, and the log goes on.
    let again = client.produce_at(9, &topic, 0, batch_of(&producer)).await;
    assert_eq!((again.error_code, again.base_offset), (0, 0));
    assert_eq!(client.produce(&topic, batch(&["b"])).await.base_offset, 1);
    node.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn a_produce_without_a_timeout_is_given_the_time_that_a_disk_needs() {
    let node = Node::start().await;
    let mut client = node.client();
    let topic = client.create("t", 1, &[]).await;
    for timeout_ms in [0, -1, i32::MIN] {
        node.tasks.hold_next_job();
        client.send(9, &ProduceRequest { timeout_ms, ..produce(&topic, 0, 1, batch(&["a"])) }).await;
        node.pass(900).await;
        node.tasks.release();
        let answer = client.receive::<ProduceRequest>(9).await;
        assert_eq!(answer.responses[0].partition_responses[0].error_code, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_produce_whose_topic_is_deleted_meanwhile_hears_that_it_is_unknown() {
    let node = Node::start().await;
    let (mut client, mut admin) = (node.client(), node.client());
    let topic = client.create("t", 1, &[]).await;
    assert_eq!(client.produce(&topic, batch(&["there"])).await.error_code, 0);
    node.tasks.hold_next_job();
    client.send(13, &produce(&topic, 0, -1, batch(&["a"]))).await;
    node.pass(1).await;
    let request =
        DeleteTopicsRequest { topic_names: vec!["t".into()], timeout_ms: 1000, ..Default::default() };
    admin.send(5, &request).await;
    let answer = client.receive::<ProduceRequest>(13).await;
    let answer = &answer.responses[0].partition_responses[0];
    assert_eq!(answer.error_code, code(ErrorCode::UnknownTopicOrPartition));
    node.pass(1000).await;
    assert!(!admin.has_answer().await, "the lane still writes by path, where a new topic may soon be");
    node.tasks.release();
    assert_eq!(admin.receive::<DeleteTopicsRequest>(5).await.responses[0].error_code, 0);
    let dir = std::path::Path::new(LOG_DIR).join("t-0");
    assert!(!node.disk.paths().iter().any(|path| path.starts_with(&dir)));
    node.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn the_sync_of_a_deleted_topics_segment_takes_nothing_offline() {
    let node = Node::start().await;
    let (mut client, mut admin) = (node.client(), node.client());
    let configs = [("segment.bytes", "1048576"), ("odradek.ack.durability", "page-cache")];
    let topic = client.create("t", 1, &configs).await;
    let large = "x".repeat(600_000);
    assert_eq!(client.produce(&topic, batch(&[&large])).await.error_code, 0);
    node.tasks.hold_next_job();
    client.send(13, &produce(&topic, 0, 1, batch(&[&large]))).await;
    node.pass(1).await;
    // The flush has rolled; the full segment is to be synced by a job of its own.
    node.tasks.release_and_hold_next_job();
    assert_eq!(client.receive::<ProduceRequest>(13).await.responses[0].partition_responses[0].error_code, 0);
    let request =
        DeleteTopicsRequest { topic_names: vec!["t".into()], timeout_ms: 1000, ..Default::default() };
    admin.send(5, &request).await;
    assert_eq!(admin.receive::<DeleteTopicsRequest>(5).await.responses[0].error_code, 0);
    node.tasks.release();
    assert_eq!(node.broker.health(), Ok(()));
    let answer = client.produce(&topic, batch(&["late"])).await;
    assert_eq!(answer.error_code, code(ErrorCode::UnknownTopicId));
    node.assert_sound();
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
        assert_eq!(node.broker.health(), Err(Unhealthy::NoRoom(2)));
        assert!(
            node.broker.partition_views().iter().all(|view| view.waits_for_room && view.offsets.is_some())
        );
        node.pass(3000).await;
    }
    node.disk.switches().full_after.store(0, Ordering::Relaxed);
    node.pass(1100).await;
    assert_eq!(node.broker.health(), Ok(()));
    assert_eq!(client.produce(&topic, batch(&["d"])).await.error_code, 0);
    assert_eq!(client.produce_at(13, &topic, 1, batch(&["second"])).await.base_offset, 1);
    // What was refused when the room ended may be there, as after any retriable error; what was refused later is not.
    let node = node.cut_power().await;
    assert_eq!(node.client().read_all(&topic).await, ["a", "b", "d"]);
}

#[tokio::test(start_paused = true)]
async fn a_follower_without_room_leaves_the_isr_producers_go_on_and_with_room_it_comes_back() {
    for is_whole in [false, true] {
        // It is not fenced: it lives, and only does not get on.
        let statics = [("replica.lag.time.max.ms", "2000")];
        let cluster = Cluster::of_three_with(&statics).await;
        let active = controller(&cluster, 1).await;
        let full = ALL.into_iter().find(|node| *node != active).unwrap();
        let rest: Vec<_> = ALL.into_iter().filter(|node| *node != full).collect();
        let topic =
            create(&cluster, "t", &[&[rest[0], full, rest[1]]], &[("min.insync.replicas", "2")]).await;
        produce_somewhere(&cluster, active, &topic, 0, "a").await;
        until_in_sync(&cluster, active, &topic, &ALL).await;
        let disk = cluster.disk(full);
        match is_whole {
            true => disk.switches().full_after.store(1, Ordering::Relaxed),
            false => {
                *disk.switches().full_below.lock().unwrap() = Some(std::path::Path::new(LOG_DIR).join("t-0"));
            }
        }
        let full_at = cluster.elapsed_ms();
        produce_somewhere(&cluster, active, &topic, 0, "b").await;
        let seen = until(&cluster, active, &topic, |one| !one.isr_nodes.contains(&full)).await;
        assert_eq!((seen[0].leader_id, seen[0].isr_nodes.len()), (rest[0], 2), "{seen:?}");
        assert!(cluster.elapsed_ms() - full_at < 5000, "whole disk: {is_whole}");
        assert_eq!(cluster.health(full), Err(Unhealthy::NoRoom(1)), "whole disk: {is_whole}");
        let asked_at = cluster.elapsed_ms();
        for value in ["c", "d"] {
            let answer = cluster.client(rest[0]).produce(&topic, batch(&[value])).await;
            assert_eq!(answer.error_code, 0);
        }
        assert!(cluster.elapsed_ms() - asked_at < 500, "they wait for it no more");
        cluster.pass(10_000).await;
        assert_eq!(read_at(&cluster, full, &topic, 0).await[0], "a", "what it has can be read");
        disk.switches().full_after.store(0, Ordering::Relaxed);
        *disk.switches().full_below.lock().unwrap() = None;
        until_in_sync(&cluster, active, &topic, &ALL).await;
        cluster.pass(1000).await;
        assert_eq!(cluster.health(full), Ok(()), "whole disk: {is_whole}");
        let mut read = read_at(&cluster, full, &topic, 0).await;
        // What was not acknowledged in time was sent again.
        read.dedup();
        assert_eq!(read, ["a", "b", "c", "d"]);
        cluster.assert_sound();
    }
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

#[tokio::test(start_paused = true)]
async fn a_log_that_finds_no_descriptor_at_a_start_is_opened_once_there_are_some() {
    let node = Node::start().await;
    let mut client = node.client();
    let (topic, other) = (client.create("t", 1, &[]).await, client.create("u", 1, &[]).await);
    assert_eq!(client.produce(&topic, batch(&["a"])).await.error_code, 0);
    let close = |disk: &log::testing::MemoryDisk, path: Option<&str>| {
        *disk.switches().closed_below.lock().unwrap() =
            path.map(|name| std::path::Path::new(LOG_DIR).join(name));
    };
    let node = node.start_on(|disk| close(disk, Some("t-0"))).await.unwrap();
    let mut client = node.client();
    let storage = code(ErrorCode::KafkaStorageError);
    for _ in 0..3 {
        assert_eq!(client.produce(&topic, batch(&["b"])).await.error_code, storage);
        assert_eq!(client.produce(&other, batch(&["x"])).await.error_code, 0);
        node.pass(1100).await;
    }
    close(&node.disk, None);
    node.pass(1100).await;
    assert_eq!(client.produce(&topic, batch(&["b"])).await.error_code, 0);
    let node = node.cut_power().await;
    assert_eq!(node.client().read_all(&topic).await, ["a", "b"]);
    // What could not even be opened is not marked as closed.
    let node = node.start_on(|disk| close(disk, Some("t-0"))).await.unwrap();
    node.broker.stop().await;
    let mark = std::path::Path::new(LOG_DIR).join(".kafka_cleanshutdown");
    assert_eq!(node.disk.contents(&mark), None);
}

#[tokio::test(start_paused = true)]
async fn a_time_that_is_looked_for_in_a_segment_that_goes_meanwhile_is_looked_for_again() {
    let node = Node::with_config(&[], |config| config.tail_bytes_max = 0).await;
    let (mut client, mut admin) = (node.client(), node.client());
    let topic = client.create("t", 1, &[("segment.bytes", "1048576")]).await;
    let large = "x".repeat(600_000);
    for _ in 0..4 {
        assert_eq!(client.produce(&topic, batch(&[&large])).await.error_code, 0);
    }
    let partition = ListOffsetsPartition { partition_index: 0, current_leader_epoch: -1, timestamp: 0 };
    let topics = vec![ListOffsetsTopic { name: topic.name.clone(), partitions: vec![partition] }];
    let request = ListOffsetsRequest { replica_id: -1, topics, ..Default::default() };
    node.tasks.hold_next_job();
    client.send(11, &request).await;
    node.pass(1).await;
    let delete = DeleteRecordsTopic {
        name: topic.name.clone(),
        partitions: vec![DeleteRecordsPartition { partition_index: 0, offset: 2 }],
    };
    let delete = DeleteRecordsRequest { topics: vec![delete], timeout_ms: 1000 };
    assert_eq!(admin.call(2, &delete).await.topics[0].partitions[0].error_code, 0);
    node.tasks.release();
    let found = &client.receive::<ListOffsetsRequest>(11).await.topics[0].partitions[0];
    assert_eq!((found.error_code, found.offset), (0, 2));
}

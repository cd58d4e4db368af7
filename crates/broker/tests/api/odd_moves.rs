//! Moves of replicas between log directories under odd circumstances: without rest from producers, without descriptors, beside
//! a compaction, into a place that is taken.

use crate::{
    clusters::ALL,
    harness::{Client, LOG_DIR, NODE_ID, Node, Topic, WALL_START_MS, batch, code, produce},
    log_dirs::{MORE, cluster_of_two_dirs_with, describe, lying, of_two, put, read},
    moves::{COMPACTED, SLOW, ask, dirs_of, keyed, moving, one_partition, put_slow, set_rate, until_moved},
    replication::{create, until_in_sync},
};
use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};
use wire::{ErrorCode, ProduceRequest};

#[tokio::test(start_paused = true)]
async fn a_log_that_many_write_without_rest_is_moved_all_the_same() {
    const PRODUCERS: usize = 8;
    const BATCHES_MAX: usize = 400;
    const BURST: usize = 10;
    let (node, mut client, topic) = one_partition(&[], &[("segment.bytes", "8388608")]).await;
    let (is_over, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let producing = (0..PRODUCERS).map(|_| {
        let (mut producer, is_over, sent) = (node.client(), is_over.clone(), sent.clone());
        let topic = Topic { name: topic.name.clone(), id: topic.id };
        tokio::spawn(async move {
            // Before its first request that makes sense no large frame is taken from a connection.
            assert_eq!(producer.produce_at(13, &topic, 0, batch(&["hello"])).await.error_code, 0);
            sent.fetch_add(1, Ordering::Relaxed);
            // What all of them have under way is more than may be left over at the first try.
            let value = "x".repeat(250_000);
            while !is_over.load(Ordering::Relaxed) && sent.load(Ordering::Relaxed) < BATCHES_MAX {
                for _ in 0..BURST {
                    let answer = producer.produce_at(13, &topic, 0, batch(&[&value])).await;
                    assert_eq!(answer.error_code, 0);
                    sent.fetch_add(1, Ordering::Relaxed);
                }
                // Without that the time would stand still.
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
    });
    let producing: Vec<_> = producing.collect();
    assert_eq!(ask(&mut client, "t", 0, MORE).await, 0);
    let mut is_there = false;
    while !is_there && sent.load(Ordering::Relaxed) < BATCHES_MAX {
        is_there = lying(&describe(&mut client).await)[1] == ["t-0"];
        node.pass(1).await;
    }
    assert!(is_there, "not moved after {} batches", sent.load(Ordering::Relaxed));
    is_over.store(true, Ordering::Relaxed);
    for producer in producing {
        producer.await.unwrap();
    }
    let last = client.produce_at(13, &topic, 0, batch(&["last"])).await;
    assert_eq!(last.base_offset as usize, sent.load(Ordering::Relaxed));
    node.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn a_move_comes_to_its_end_whichever_step_finds_no_descriptor_at_first() {
    let mut at = 0;
    loop {
        at += 1;
        let (node, mut client, topic) = one_partition(&[], &[]).await;
        assert_eq!(put(&mut client, &topic, 0, "before").await, 0);
        *node.disk.switches().closed_at.lock().unwrap() = Some((PathBuf::from(MORE), at));
        let asked = ask(&mut client, "t", 0, MORE).await;
        assert!(asked == 0 || asked == code(ErrorCode::KafkaStorageError), "at {at}");
        node.pass(5000).await;
        let has_come = node.disk.switches().closed_at.lock().unwrap().take().is_none();
        let dirs = describe(&mut client).await;
        let expected = usize::from(asked == 0);
        assert_eq!((lying(&dirs)[expected].len(), dirs[1].error_code), (1, 0), "at {at}");
        assert_eq!(put(&mut client, &topic, 0, "after").await, 0, "at {at}");
        let node = node.cut_power().await;
        assert_eq!(read(&mut node.client(), &topic, 0).await, ["before", "after"], "at {at}");
        node.assert_sound();
        if !has_come {
            break;
        }
    }
    assert!(at > 10, "the move opens more than {at} files");
}

#[tokio::test(start_paused = true)]
async fn a_move_that_was_accepted_goes_on_after_a_restart_that_cannot_open_its_copy_at_first() {
    let (node, _, topic) = moving(3, 1500).await;
    let copy = dirs_of(&node.disk, "t-0").into_iter().find(|dir| dir.starts_with(MORE)).unwrap();
    let node =
        node.start_on(|disk| *disk.switches().closed_below.lock().unwrap() = Some(copy)).await.unwrap();
    let mut client = node.client();
    node.pass(3000).await;
    assert_eq!(lying(&describe(&mut client).await), [["t-0"], ["+t-0"]]);
    *node.disk.switches().closed_below.lock().unwrap() = None;
    assert_eq!(until_moved(&mut client).await, [vec![], vec!["t-0".to_owned()]]);
    assert_eq!(read(&mut client, &topic, 0).await.len(), 3);
    node.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn a_move_that_was_accepted_waits_for_a_log_that_cannot_be_opened_at_a_restart() {
    let (node, _, topic) = moving(3, 1500).await;
    let node = node
        .start_on(|disk| *disk.switches().closed_below.lock().unwrap() = Some("/data/t-0".into()))
        .await
        .unwrap();
    let mut client = node.client();
    node.pass(3000).await;
    assert_eq!(put(&mut client, &topic, 0, "refused").await, code(ErrorCode::KafkaStorageError));
    assert_eq!(lying(&describe(&mut client).await), [["t-0"], ["+t-0"]], "it is not forgotten");
    // It holds nobody up meanwhile.
    client.create("u", 4, &[]).await;
    for index in 0..4 {
        let to = if lying(&describe(&mut client).await)[0].contains(&format!("u-{index}")) {
            MORE
        } else {
            LOG_DIR
        };
        assert_eq!(ask(&mut client, "u", index, to).await, 0);
    }
    node.pass(2000).await;
    let moving = lying(&describe(&mut client).await).concat();
    assert_eq!(moving.iter().filter(|name| name.starts_with('+')).collect::<Vec<_>>(), ["+t-0"]);
    *node.disk.switches().closed_below.lock().unwrap() = None;
    assert!(until_moved(&mut client).await[1].contains(&"t-0".to_owned()));
    assert_eq!(read(&mut client, &topic, 0).await.len(), 3);
    node.pass(100).await;
    assert_eq!(dirs_of(&node.disk, "t-0").len(), 1);
    node.assert_sound();
}

/// A tombstone, or a record, of a key.
fn of_key(key: &str, value: Option<&str>, now: i64) -> bytes::Bytes {
    let mut builder = records::BatchBuilder::new();
    builder.push(now, Some(key.as_bytes()), value.map(str::as_bytes), &[]);
    builder.build().unwrap().bytes
}

#[tokio::test(start_paused = true)]
async fn a_key_that_was_deleted_while_its_log_was_copied_anew_in_the_middle_of_a_move_stays_deleted() {
    let scrubbed = [("odradek.scrub.interval.ms", "1000"), ("odradek.scrub.bytes.per.second", "1000000000")];
    let cluster =
        cluster_of_two_dirs_with(&[&scrubbed[..], &[SLOW, ("log.cleaner.backoff.ms", "100")]].concat()).await;
    let configs = [&COMPACTED[..], &[("delete.retention.ms", "1000"), ("min.insync.replicas", "2")]].concat();
    let topic = create(&cluster, "t", &[&[1, 2, 3]], &configs).await;
    let mut leader = cluster.client(1);
    let large = "x".repeat(50_000);
    let put = async |client: &mut Client, key: &str, value: Option<&str>| {
        let now = WALL_START_MS + cluster.elapsed_ms() as i64;
        assert_eq!(client.produce_at(13, &topic, 0, of_key(key, value, now)).await.error_code, 0);
        cluster.pass(1500).await;
    };
    put(&mut leader, "gone", Some(&format!("gone{large}"))).await;
    for key in ["a", "b", "c", "d", "e"] {
        put(&mut leader, key, Some(&large)).await;
    }
    until_in_sync(&cluster, 2, &topic, &ALL).await;
    let mut client = cluster.client(2);
    let from = usize::from(lying(&describe(&mut client).await)[0].is_empty());
    let (from, to) = ([LOG_DIR, MORE][from], [MORE, LOG_DIR][from]);
    assert_eq!(ask(&mut client, "t", 0, to).await, 0);
    cluster.pass(1500).await;
    set_rate(&mut client, 2, "0").await;
    let copied = || {
        let dirs = dirs_of(&cluster.disk(2), "t-0");
        let copy = dirs.into_iter().find(|dir| dir.to_string_lossy().ends_with("-future"))?;
        cluster.disk(2).contents(&copy.join("00000000000000000000.log"))
    };
    assert!(copied().is_some_and(|bytes| bytes.len() > 50_000), "it has the first record");
    put(&mut leader, "gone", None).await;
    for _ in 0..4 {
        put(&mut leader, "a", Some("y")).await;
    }
    cluster.pass(5000).await;
    let has_gone =
        |values: Vec<String>| !values.iter().any(|value| value.is_empty() || value.starts_with("gone"));
    let values = read(&mut leader, &topic, 0).await;
    assert!(has_gone(values), "both are compacted away");
    // What lies here cannot be read any more.
    let mut segments = cluster.disk(2).paths();
    segments.retain(|path| path.parent() == Some(&Path::new(from).join("t-0")));
    let damaged = segments.iter().find(|path| path.extension().is_some_and(|kind| kind == "log")).unwrap();
    let mut bytes = cluster.disk(2).contents(damaged).unwrap();
    bytes[1000..2000].fill(7);
    cluster.disk(2).put(damaged, bytes.clone());
    cluster.pass(20_000).await;
    assert_ne!(cluster.disk(2).contents(damaged), Some(bytes), "it is copied anew");
    until_in_sync(&cluster, 1, &topic, &ALL).await;
    set_rate(&mut client, 2, "1000000").await;
    let place = usize::from(to == MORE);
    assert_eq!(until_moved(&mut client).await[place], ["t-0"]);
    let values = read(&mut client, &topic, 0).await;
    assert_eq!(values.iter().filter(|value| value.starts_with('x')).count(), 4, "all others are there");
    assert!(has_gone(values));
    cluster.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn what_may_be_left_in_memory_at_the_end_of_a_move_grows_until_it_is_enough() {
    // Together more than twice what the first try allows, and less than four times.
    const WRITERS: usize = 12;
    const JOBS_MAX: usize = 40;
    let (node, mut client, topic) = one_partition(&[], &[]).await;
    let mut writers: Vec<_> = (0..WRITERS).map(|_| node.client()).collect();
    for writer in &mut writers {
        assert_eq!(put(writer, &topic, 0, "hello").await, 0);
    }
    let write = produce(&topic, 0, -1, batch(&[&"x".repeat(250_000)]));
    // From here on each job of the disk waits until those who write have all under way that they may, and until whoever moves
    // the log waits for that job.
    node.tasks.hold_next_job();
    client.send(13, &produce(&topic, 0, -1, batch(&["first"]))).await;
    node.pass(1).await;
    assert_eq!(ask(&mut node.client(), "t", 0, MORE).await, 0);
    for writer in &mut writers {
        writer.send(13, &write).await;
    }
    let is_there = || node.disk.paths().iter().any(|path| path.starts_with("/more/t-0"));
    let mut jobs = 0;
    while !is_there() && jobs < JOBS_MAX {
        node.pass(50).await;
        node.tasks.release_and_hold_next_job();
        jobs += 1;
        node.pass(1).await;
        for writer in &mut writers {
            if writer.has_answer().await {
                assert_eq!(
                    writer.receive::<ProduceRequest>(13).await.responses[0].partition_responses[0].error_code,
                    0
                );
                writer.send(13, &write).await;
            }
        }
    }
    assert!(is_there(), "it is not moved after {jobs} jobs");
    // Each try takes two: what was under way is written, and copied. The last is the renaming.
    assert!(jobs > 4, "the first tries allow 1 MiB and 2 MiB: {jobs}");
    node.tasks.release_if_held();
    let mut client = node.client();
    assert_eq!(until_moved(&mut client).await, [vec![], vec!["t-0".to_owned()]]);
    assert_eq!(put(&mut client, &topic, 0, "last").await, 0);
    node.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn a_place_that_is_taken_is_refused_and_costs_nothing_else() {
    let (node, mut client, topic) = one_partition(&[], &[]).await;
    assert_eq!(put(&mut client, &topic, 0, "a").await, 0);
    node.disk.put(Path::new("/more/t-0/00000000000000000000.log"), vec![1]);
    assert_eq!(ask(&mut client, "t", 0, MORE).await, code(ErrorCode::KafkaStorageError));
    node.pass(1000).await;
    let dirs = describe(&mut client).await;
    assert_eq!((lying(&dirs)[0].len(), dirs[1].error_code), (1, 0), "the directory is well");
    assert_eq!(put(&mut client, &topic, 0, "b").await, 0);
    // It is taken while the log is copied.
    env::Disk::remove_dir_all(&*node.disk, Path::new("/more/t-0")).unwrap();
    set_rate(&mut client, NODE_ID, "0").await;
    assert_eq!(ask(&mut client, "t", 0, MORE).await, 0);
    node.pass(1500).await;
    node.disk.put(Path::new("/more/t-0/00000000000000000000.log"), vec![1]);
    set_rate(&mut client, NODE_ID, "1000000").await;
    node.pass(5000).await;
    let dirs = describe(&mut client).await;
    assert_eq!((lying(&dirs)[0].len(), dirs[1].error_code), (1, 0), "the directory is well");
    assert_eq!(read(&mut client, &topic, 0).await, ["a", "b"]);
    assert_eq!(put(&mut client, &topic, 0, "c").await, 0);
    // A restart sets aside what lies there, and then it can be moved.
    let node = node.restart().await;
    let mut client = node.client();
    assert_eq!(ask(&mut client, "t", 0, MORE).await, 0);
    assert_eq!(until_moved(&mut client).await[1], ["t-0"]);
    assert_eq!(read(&mut client, &topic, 0).await, ["a", "b", "c"]);
    node.assert_sound();
}

/// A node on which a slow pass of compaction is at work in the partition.
async fn compacting() -> (Node, Client) {
    let node =
        of_two(&[("log.cleaner.backoff.ms", "100"), ("log.cleaner.io.max.bytes.per.second", "1000")]).await;
    let mut client = node.client();
    let topic = client.create("t", 1, &COMPACTED).await;
    client.create("u", 1, &[]).await;
    let value = "x".repeat(100_000);
    for _ in 0..3 {
        assert_eq!(client.produce(&topic, keyed("k", &value, node.now_ms())).await.error_code, 0);
        node.pass(1500).await;
    }
    (node, client)
}

#[tokio::test(start_paused = true)]
async fn a_move_that_waits_for_a_compaction_is_called_off_at_once() {
    let (node, mut client) = compacting().await;
    assert_eq!(ask(&mut client, "t", 0, MORE).await, 0);
    node.pass(1000).await;
    assert_eq!(lying(&describe(&mut client).await)[1], ["+t-0", "u-0"]);
    let begun = node.now_ms();
    assert_eq!(ask(&mut client, "t", 0, LOG_DIR).await, 0);
    assert!(node.now_ms() - begun <= 100, "it took {} ms", node.now_ms() - begun);
    assert_eq!(lying(&describe(&mut client).await), [["t-0"], ["u-0"]]);
    node.pass(100).await;
    assert_eq!(dirs_of(&node.disk, "t-0").len(), 1);
    // Others need not wait either, and after the pass the log is moved.
    assert_eq!(ask(&mut client, "t", 0, MORE).await, 0);
    assert_eq!(ask(&mut client, "u", 0, LOG_DIR).await, 0);
    node.pass(1_000_000).await;
    assert_eq!(lying(&describe(&mut node.client()).await), [["u-0"], ["t-0"]]);
    node.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn a_queued_move_begins_when_the_one_before_has_ended_and_is_called_off_before() {
    let node = of_two(&[SLOW, ("num.replica.alter.log.dirs.threads", "1")]).await;
    let mut client = node.client();
    let topic = client.create("t", 1, &[]).await;
    put_slow(&mut client, &topic, 3).await;
    client.create("u", 3, &[]).await;
    let before = lying(&describe(&mut client).await);
    assert_eq!(before, [vec!["t-0", "u-1"], vec!["u-0", "u-2"]]);
    assert_eq!(ask(&mut client, "t", 0, MORE).await, 0);
    assert_eq!(ask(&mut client, "u", 0, LOG_DIR).await, 0);
    node.pass(1000).await;
    assert_eq!(lying(&describe(&mut client).await)[0], ["t-0", "u-1", "+u-0"], "it waits");
    assert_eq!(ask(&mut client, "u", 1, MORE).await, 0);
    assert_eq!(ask(&mut client, "u", 1, LOG_DIR).await, 0, "one that waits is called off");
    assert_eq!(lying(&describe(&mut client).await)[0], ["t-0", "u-1", "+u-0"], "it waits still");
    assert_eq!(until_moved(&mut client).await, [["u-0", "u-1"], ["t-0", "u-2"]]);
    node.assert_sound();
}

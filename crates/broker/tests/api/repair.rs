//! Replicas whose bytes are damaged while others hold them: whoever finds it, others lead, the replica is copied anew and is
//! in sync again; and the last copy is left as it is until somebody repairs it.

use crate::{
    clusters::ALL,
    harness::{Cluster, Topic, bytes_of, code, fetch, values},
    replication::{create, move_to, partitions, produce_somewhere, until, until_in_sync},
};
use std::path::{Path, PathBuf};
use wire::ErrorCode;

const SCRUBBED: [(&str, &str); 2] =
    [("odradek.scrub.interval.ms", "1000"), ("odradek.scrub.bytes.per.second", "1000000000")];
const NOT_SCRUBBED: [(&str, &str); 1] = [("odradek.scrub.bytes.per.second", "0")];
/// How many records a topic gets: two full segments of twenty, and a third.
const RECORDS: i64 = 50;

fn segment(base: i64) -> PathBuf {
    Path::new("/data/t-0").join(format!("{base:020}.log"))
}

fn bytes(cluster: &Cluster, node: i32, base: i64) -> Vec<u8> {
    cluster.disk(node).contents(&segment(base)).unwrap_or_default()
}

fn change(cluster: &Cluster, node: i32, base: i64, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = bytes(cluster, node, base);
    assert!(bytes.len() > 100_000);
    change(&mut bytes);
    cluster.disk(node).put(&segment(base), bytes);
}

/// Topic t with all its records on these replicas, of which the first leads.
async fn written(cluster: &Cluster, replicas: &[i32], isr_min: &str) -> Topic {
    let configs = [("min.insync.replicas", isr_min), ("segment.bytes", "1048576")];
    let topic = create(cluster, "t", &[replicas], &configs).await;
    let value = "x".repeat(52_000);
    for _ in 0..RECORDS {
        produce_somewhere(cluster, replicas[0], &topic, 0, &value).await;
    }
    until_in_sync(cluster, replicas[0], &topic, replicas).await;
    topic
}

/// How many records a node gives, as leader or follower.
async fn count(cluster: &Cluster, node: i32, topic: &Topic) -> i64 {
    let mut offset = 0;
    loop {
        let mut answer = cluster.client(node).call(18, &fetch(topic, 0, offset)).await;
        let data = answer.responses.remove(0).partitions.remove(0);
        assert_eq!(data.error_code, 0, "at offset {offset} on node {node}");
        match values(bytes_of(&data)).last() {
            Some((last, _)) => offset = last + 1,
            None => return offset,
        }
    }
}

fn set_aside(cluster: &Cluster, node: i32) -> usize {
    let paths = cluster.disk(node).paths();
    paths.iter().filter(|path| path.to_string_lossy().contains("-damaged-stray")).count()
}

/// The replica of `node` is copied anew, and is then what the others have.
async fn until_repaired(cluster: &Cluster, asked: i32, node: i32, topic: &Topic, replicas: &[i32]) {
    let is_same =
        || [0, 20, 40].iter().all(|base| bytes(cluster, node, *base) == bytes(cluster, asked, *base));
    for _ in 0..600 {
        if is_same() && set_aside(cluster, node) == 0 {
            break;
        }
        cluster.pass(50).await;
    }
    until_in_sync(cluster, asked, topic, replicas).await;
    assert!(is_same(), "it is not what node {asked} has");
    cluster.pass(1000).await;
    assert_eq!(set_aside(cluster, node), 0, "{:?}", cluster.disk(node).paths());
    assert_eq!(count(cluster, node, topic).await, RECORDS);
}

#[allow(clippy::ptr_arg, reason = "one of several changes")]
fn flip(bytes: &mut Vec<u8>) {
    bytes[250_000] ^= 8;
}

#[tokio::test(start_paused = true)]
async fn a_scrub_finds_damage_of_leaders_and_followers_and_it_is_repaired() {
    let changes: [fn(&mut Vec<u8>); 3] =
        [flip, |bytes| bytes.truncate(310_000), |bytes| bytes[300_000..].fill(0)];
    for victim in [1, 3] {
        let cluster = Cluster::of_three_with(&SCRUBBED).await;
        let topic = written(&cluster, &ALL, "2").await;
        for damage in changes {
            change(&cluster, victim, 20, damage);
            if victim == 1 {
                until(&cluster, 2, &topic, |one| one.leader_id == 2).await;
            }
            until_repaired(&cluster, 2, victim, &topic, &ALL).await;
        }
        // A missing file.
        env::Disk::remove_file(&*cluster.disk(victim), &segment(20)).unwrap();
        until_repaired(&cluster, 2, victim, &topic, &ALL).await;
        produce_somewhere(&cluster, 2, &topic, 0, "next").await;
        cluster.assert_sound();
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_damaged_at_a_start_never_leads_and_is_repaired() {
    let cluster = Cluster::of_three_with(&NOT_SCRUBBED).await;
    let topic = written(&cluster, &ALL, "2").await;
    // The checkpoint says that all of it was on stable storage.
    cluster.pass(61_000).await;
    cluster.kill(1);
    until(&cluster, 2, &topic, |one| one.leader_id == 2).await;
    change(&cluster, 1, 40, |bytes| bytes.truncate(210_000));
    cluster.start(1, &ALL).await.unwrap().unwrap();
    for _ in 0..20 {
        let seen = partitions(&cluster, 2, &topic).await.remove(0);
        assert_eq!(seen.leader_id, 2);
        cluster.pass(10).await;
    }
    until_repaired(&cluster, 2, 1, &topic, &ALL).await;
    cluster.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_reads_damage_for_a_replica_hands_over_and_what_it_copied_is_sound() {
    let cluster = Cluster::of_three_with(&NOT_SCRUBBED).await;
    let topic = written(&cluster, &[1, 2], "1").await;
    cluster.pass(61_000).await;
    // After a restart nothing of it is in memory.
    for node in [1, 2] {
        cluster.stop(node).await;
        cluster.start(node, &ALL).await.unwrap().unwrap();
        until_in_sync(&cluster, 3, &topic, &[1, 2]).await;
    }
    let leader = partitions(&cluster, 3, &topic).await[0].leader_id;
    change(&cluster, leader, 20, flip);
    let answer = cluster.client(3).call(1, &move_to(&topic, &[1, 2, 3])).await;
    assert_eq!(answer.error_code, 0);
    until_in_sync(&cluster, 3, &topic, &ALL).await;
    assert_eq!(count(&cluster, 3, &topic).await, RECORDS);
    until_repaired(&cluster, 3 - leader, leader, &topic, &ALL).await;
    cluster.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn the_only_replica_stays_offline_as_it_is_until_somebody_repairs_it() {
    let cluster = Cluster::of_three_with(&SCRUBBED).await;
    let topic = written(&cluster, &[1], "1").await;
    change(&cluster, 1, 20, flip);
    let damaged = bytes(&cluster, 1, 20);
    let storage = code(ErrorCode::KafkaStorageError);
    for _ in 0..3 {
        cluster.pass(5000).await;
        assert_eq!(cluster.client(1).fetch(&topic, 48).await.error_code, storage);
        assert_eq!(bytes(&cluster, 1, 20), damaged);
        assert_eq!(partitions(&cluster, 2, &topic).await[0].leader_id, 1);
        cluster.stop(1).await;
        cluster.start(1, &ALL).await.unwrap().unwrap();
    }
    cluster.kill(1);
    change(&cluster, 1, 20, flip);
    cluster.start(1, &ALL).await.unwrap().unwrap();
    until(&cluster, 2, &topic, |one| one.leader_id == 1).await;
    assert_eq!(count(&cluster, 1, &topic).await, RECORDS);
    cluster.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn the_last_in_sync_is_not_given_up_for_one_that_lacks_records() {
    let cluster = Cluster::of_three_with(&SCRUBBED).await;
    let topic = written(&cluster, &[1, 2], "1").await;
    cluster.kill(2);
    until_in_sync(&cluster, 3, &topic, &[1]).await;
    produce_somewhere(&cluster, 3, &topic, 0, "only on node 1").await;
    change(&cluster, 1, 20, flip);
    let damaged = bytes(&cluster, 1, 20);
    cluster.pass(5000).await;
    cluster.start(2, &ALL).await.unwrap().unwrap();
    cluster.pass(10_000).await;
    assert_eq!(partitions(&cluster, 3, &topic).await[0].leader_id, 1, "node 2 lacks a record");
    let storage = code(ErrorCode::KafkaStorageError);
    assert_eq!(cluster.client(1).fetch(&topic, 48).await.error_code, storage);
    assert_eq!((bytes(&cluster, 1, 20), set_aside(&cluster, 1)), (damaged, 0));
    cluster.kill(1);
    change(&cluster, 1, 20, flip);
    cluster.start(1, &ALL).await.unwrap().unwrap();
    until(&cluster, 3, &topic, |one| one.leader_id == 1).await;
    until_in_sync(&cluster, 3, &topic, &[1, 2]).await;
    assert_eq!(count(&cluster, 1, &topic).await, RECORDS + 1);
    cluster.assert_sound();
}

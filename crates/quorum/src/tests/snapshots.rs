//! Snapshots: written by the host, sent to who is far behind, and what a crash leaves of them.

use crate::{
    Committed, Quorum,
    tests::{
        cluster::{Cluster, batch_of, dir, replica, snapshot_batches},
        world::run,
    },
};
use log::testing::MemoryDisk;

/// Lets everybody but `without` write a snapshot of all that is committed.
async fn snapshot_all(cluster: &Cluster, without: Option<crate::Replica>) -> i64 {
    let end = cluster.propose().await.last_offset + 1;
    for quorum in cluster.all_running() {
        let mut watching = quorum.leadership();
        watching.wait_for(|now| now.high_watermark >= end).await.unwrap();
        if Some(quorum.replica()) != without {
            quorum.write_snapshot(end, snapshot_batches(end)).await.unwrap();
        }
    }
    cluster.clock.sleep_ms(500).await;
    end
}

fn checkpoints(disk: &MemoryDisk) -> Vec<String> {
    let names = disk.paths().into_iter().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned());
    names.filter(|name| name.contains("checkpoint") && !name.starts_with("leader")).collect()
}

#[test]
fn a_follower_that_is_far_behind_gets_the_snapshot() {
    run(async {
        let cluster = Cluster::started(11, 3).await;
        let leader = cluster.leader().await;
        let behind = cluster.replicas().into_iter().find(|other| *other != leader.replica()).unwrap();
        cluster.cut_power(behind).await;
        for _ in 0..30 {
            cluster.propose().await;
        }
        let end = snapshot_all(&cluster, None).await;
        for _ in 0..10 {
            cluster.propose().await;
        }
        let end = snapshot_all(&cluster, None).await.max(end);
        cluster.start(behind).await.unwrap();
        let placed = cluster.propose().await;
        cluster.settle(placed.last_offset + 1).await;
        let quorum = cluster.running(behind).unwrap();
        let snapshot = quorum.snapshot().unwrap();
        assert_eq!(snapshot.id().end_offset, end);
        let batches: Vec<_> = snapshot.batches().unwrap().iter().map(|batch| batch.body().to_vec()).collect();
        let written: Vec<_> = snapshot_batches(end).iter().map(|batch| batch[61..].to_vec()).collect();
        assert_eq!(batches, written);
        assert!(
            matches!(quorum.read(0, 1000).await.unwrap(), Committed::InSnapshot(id) if id == snapshot.id())
        );
        assert_eq!(checkpoints(&cluster.disk(behind)), [snapshot.id().file_name()], "older ones are gone");
        cluster.judge.finish();
    });
}

#[test]
fn what_a_deposed_leader_has_and_nobody_committed_is_not_read_while_a_snapshot_takes_its_place() {
    run(async {
        let cluster = Cluster::started(16, 3).await;
        cluster.propose().await;
        let old = cluster.leader().await;
        let epoch = old.leadership().borrow().epoch;
        cluster.cut_off(old.replica());
        for value in 900..903 {
            drop(old.propose(epoch, batch_of(value)).await.unwrap());
        }
        cluster.clock.sleep_ms(3000).await;
        for _ in 0..40 {
            cluster.propose().await;
        }
        let end = cluster.propose().await.last_offset + 1;
        for quorum in cluster.all_running().into_iter().filter(|quorum| quorum.replica() != old.replica()) {
            quorum.leadership().wait_for(|now| now.high_watermark >= end).await.unwrap();
            quorum.write_snapshot(end, snapshot_batches(end)).await.unwrap();
        }
        cluster.clock.sleep_ms(500).await;
        cluster.net.heal();
        cluster.settle(cluster.propose().await.last_offset + 1).await;
        assert_eq!(old.snapshot().unwrap().id().end_offset, end);
        cluster.judge.finish();
    });
}

#[test]
fn a_quorum_starts_from_its_snapshots_and_offsets_go_on() {
    run(async {
        let cluster = Cluster::started(12, 3).await;
        for _ in 0..20 {
            cluster.propose().await;
        }
        let end = snapshot_all(&cluster, None).await;
        for node in 1..=3 {
            cluster.cut_power(replica(node)).await;
        }
        for node in 1..=3 {
            cluster.start(replica(node)).await.unwrap();
        }
        let placed = cluster.propose().await;
        assert!(placed.base_offset > end);
        cluster.settle(placed.last_offset + 1).await;
        for quorum in cluster.all_running() {
            assert_eq!(quorum.describe().voters.len(), 3, "the voters stand in the snapshot");
        }
        cluster.judge.finish();
    });
}

#[test]
fn a_snapshot_is_refused_where_nothing_ends_or_is_committed() {
    run(async {
        let cluster = Cluster::started(13, 1).await;
        let end = cluster.propose().await.last_offset + 1;
        let leader = cluster.leader().await;
        for wrong in [-1, 0, 1, end + 1] {
            assert!(leader.write_snapshot(wrong, vec![]).await.is_err(), "{wrong}");
        }
        assert!(leader.write_snapshot(end, vec![b"nonsense".to_vec().into()]).await.is_err());
        leader.write_snapshot(end, vec![]).await.unwrap();
    });
}

#[test]
fn a_damaged_snapshot_keeps_a_replica_that_needs_it_from_voting() {
    run(async {
        let cluster = Cluster::started(14, 1).await;
        for _ in 0..20 {
            cluster.propose().await;
        }
        let end = snapshot_all(&cluster, None).await;
        cluster.kill(replica(1)).await;
        let disk = cluster.disk(replica(1));
        let path = dir().join(&checkpoints(&disk)[0]);
        let whole = disk.contents(&path).unwrap();
        for at in [0, 70, whole.len() / 2, whole.len() - 1] {
            let mut damaged = whole.clone();
            damaged[at] ^= 4;
            disk.put(&path, damaged);
            let error = cluster.start(replica(1)).await.unwrap_err().to_string();
            assert!(error.contains("checkpoint is damaged"), "byte {at}: {error}");
        }
        disk.put(&path, whole);
        cluster.start(replica(1)).await.unwrap();
        assert!(cluster.propose().await.base_offset > end);
    });
}

#[test]
fn a_damaged_log_or_that_of_another_keeps_a_replica_from_voting() {
    run(async {
        let cluster = Cluster::started(15, 1).await;
        for _ in 0..5 {
            cluster.propose().await;
        }
        // The vote of the next start says how far the log was on stable storage.
        cluster.stop(replica(1)).await;
        cluster.start(replica(1)).await.unwrap();
        cluster.leader().await;
        cluster.stop(replica(1)).await;
        let disk = cluster.disk(replica(1));
        let spoil = |name: &str, change: &dyn Fn(&mut Vec<u8>)| {
            let spoilt = disk.after_kill();
            let mut bytes = spoilt.contents(&dir().join(name)).unwrap();
            change(&mut bytes);
            spoilt.put(&dir().join(name), bytes);
            spoilt
        };
        let log = "00000000000000000000.log";
        cluster.set_disk(replica(1), spoil(log, &|bytes| bytes[100] ^= 1));
        let error = cluster.start(replica(1)).await.unwrap_err().to_string();
        assert!(error.contains("is damaged at byte 0, offset 0 or later"), "{error}");
        cluster.set_disk(replica(2), disk.after_kill());
        let error = cluster.start(replica(2)).await.unwrap_err().to_string();
        assert!(error.contains("belongs to replica 1/"), "{error}");
    });
}

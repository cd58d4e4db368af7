//! A replica that is the only voter: also one whose log was written before there were quorums (LeaderChangeMessages and
//! records, nobody who votes), and one that has lost its state.

use crate::{
    Config, Quorum, RaftQuorum,
    tests::{
        cluster::{Cluster, batch_of, dir, log_config, replica, snapshot_batches},
        net::{Net, Side},
        world::{Dice, TestClock, TestTasks, run, world},
    },
    writer::options,
};
use env::World;
use log::{Origin, testing::MemoryDisk};
use records::{Batch, BatchBuilder, Checked, ControlType};
use std::{io, sync::Arc};

/// Writes what a controller without a quorum has written in two starts: four batches, epochs 1 and 2.
fn write_plain_log(world: &World) {
    let config = log_config(4000);
    let mut opened = log::open(&*world.disk, &dir(), options(world, &config, 0, 0)).unwrap();
    let mut effects = Vec::new();
    for epoch in [1, 2] {
        let mut builder = BatchBuilder::new().control();
        builder.push(5, Some(&ControlType::LeaderChange.to_key()), Some(&[0, 0, 0, 0, 0, 1, 1, 1, 0]), &[]);
        let records = Batch::split_off(&mut batch_of(epoch)).unwrap();
        for batch in [builder.build().unwrap(), records] {
            let batch = Checked::trusted(batch);
            opened.log.append(5, epoch as i32, (Origin::Replication, None), batch, &mut effects).unwrap();
        }
    }
    opened.files.perform(&*world.disk, &effects, true).unwrap();
}

async fn open(world: World, net: &Arc<Net>, config: Config) -> io::Result<RaftQuorum> {
    let transport = Arc::new(Side { net: net.clone(), from: replica(1) });
    RaftQuorum::open(config, world, transport).await
}

struct Ground {
    clock: Arc<TestClock>,
    disk: Arc<MemoryDisk>,
    net: Arc<Net>,
    dice: Dice,
}

impl Ground {
    fn new() -> Self {
        let (clock, mut dice) = (TestClock::new(), Dice::new(7));
        let net = Net::new(clock.clone(), dice.fork());
        Self { clock, disk: Arc::new(MemoryDisk::new()), net, dice }
    }

    fn world(&mut self) -> (World, Arc<TestTasks>) {
        world(&self.clock, &self.disk, &mut self.dice)
    }
}

#[test]
fn a_plain_log_is_taken_over_with_its_offsets_and_led_at_once() {
    run(async {
        let mut ground = Ground::new();
        let (on, _) = ground.world();
        write_plain_log(&on);
        for (start, offset) in [7, 9].into_iter().enumerate() {
            let (world, tasks) = ground.world();
            let before = ground.clock.elapsed_ms();
            let quorum = open(world, &ground.net, Cluster::config(replica(1))).await.unwrap();
            assert!(!quorum.is_fresh());
            let active = quorum.leadership().wait_for(|known| known.is_active).await.unwrap();
            assert!(ground.clock.elapsed_ms() - before < 50, "nobody is waited for");
            let voters = quorum.describe().voters;
            assert_eq!((active.epoch, voters.len(), voters[0].replica), (3 + start as i32, 1, replica(1)));
            // Two starts before (0 to 3), who votes (4 and 5, with the version), the new leader.
            let placed = quorum.propose(active.epoch, batch_of(9)).await.unwrap().await.unwrap();
            assert_eq!(placed.base_offset, offset, "start {start}");
            quorum.stop().await;
            tasks.end().await;
        }
    });
}

#[test]
fn a_crash_between_the_state_and_the_voter_is_made_good() {
    run(async {
        let mut ground = Ground::new();
        let (on, _) = ground.world();
        write_plain_log(&on);
        let config = Cluster::config(replica(1));
        crate::store::state_of_lone_replica(&on, &config, &[]).unwrap();
        let (world, _tasks) = ground.world();
        let quorum = open(world, &ground.net, config).await.unwrap();
        quorum.leadership().wait_for(|known| known.is_active).await.unwrap();
    });
}

/// Damages or removes the state of a replica of a quorum of so many, and starts it.
async fn start_without_state(count: i32, with_snapshot: bool, damaged: bool) -> io::Result<Cluster> {
    let cluster = Cluster::started(7, count).await;
    for _ in 0..20 {
        cluster.propose().await;
    }
    let last = cluster.propose().await;
    cluster.settle(last.last_offset + 1).await;
    if with_snapshot {
        let end = last.last_offset + 1;
        cluster.running(replica(1)).unwrap().write_snapshot(end, snapshot_batches(end)).await.unwrap();
        cluster.propose().await;
    }
    cluster.cut_power(replica(1)).await;
    let (disk, state) = (cluster.disk(replica(1)), dir().join("raft-state"));
    match damaged {
        true => {
            let mut bytes = disk.contents(&state).unwrap();
            bytes[30] ^= 1;
            disk.put(&state, bytes);
        }
        false => env::Disk::remove_file(&*disk, &state).unwrap(),
    }
    cluster.start(replica(1)).await?;
    Ok(cluster)
}

#[test]
fn the_only_voter_goes_on_without_its_state() {
    run(async {
        for (with_snapshot, damaged) in [(false, false), (false, true), (true, false), (true, true)] {
            let cluster = start_without_state(1, with_snapshot, damaged).await.unwrap();
            assert!(cluster.propose().await.epoch > 1);
            cluster.judge.finish();
        }
    });
}

#[test]
fn one_of_several_voters_may_not_vote_without_its_state() {
    run(async {
        for damaged in [false, true] {
            let refused = start_without_state(3, false, damaged).await.err().unwrap().to_string();
            assert!(refused.contains("may not vote"), "{refused}");
        }
    });
}

//! What a broker does by itself: retention, periodic syncs, checkpoints, ending idle connections.
//!
//! It decides nothing about records; logs do when they are asked.

use crate::{
    Broker, cleaner, handlers,
    isr_changes::{AlterIsrs, IsrAnswers, Key},
    key_index,
    log_dir::LogDir,
    partition::Partition,
    repair, scrub,
};
use env::BoxFuture;
use log::checkpoint::Offsets;
use metadata::{AlterPartition, Error, IsrChange, Reply, Request};
use model::TopicPartition;
use std::{
    io,
    sync::{Arc, Weak},
};

/// How often idle connections are looked for, idle files, logs that `flush.ms` wants synced, and logs that could not be
/// written for want of room.
const SWEEP_MS: i64 = 1000;

/// Starts the periodic work; it ends with the broker.
pub(crate) fn start(broker: &Arc<Broker>) {
    every(broker, broker.config.retention_check_ms, |broker| {
        Box::pin(async move {
            let now = broker.now_ms();
            broker.partitions.all().iter().for_each(|partition| partition.tick(now));
        })
    });
    every(broker, broker.config.producer_expiry_ms, |broker| {
        Box::pin(async move {
            let now = broker.now_ms();
            broker.partitions.all().iter().for_each(|partition| partition.expire_producers(now));
        })
    });
    every(broker, broker.config.transaction_abort_ms, |broker| {
        Box::pin(async move { broker.transactions.abort_timed_out(&broker).await })
    });
    every(broker, broker.config.transaction_expiry_ms, |broker| {
        Box::pin(async move { broker.transactions.expire(&broker).await })
    });
    every(broker, broker.config.share_prune_ms, |broker| {
        Box::pin(async move {
            broker.share_coordinators.forget_deleted(&broker).await;
            broker.share_coordinators.snapshot_cold().await;
            broker.share_coordinators.prune().await;
        })
    });
    every(broker, broker.config.checkpoint_ms, |broker| {
        Box::pin(async move {
            checkpoint(&broker).await;
        })
    });
    every(broker, broker.config.watermarks_checkpoint_ms, |broker| {
        Box::pin(async move {
            write_high_watermarks(&broker).await;
        })
    });
    every(broker, broker.config.lag_ms_max / 2, |broker| {
        Box::pin(async move {
            broker.partitions.all().iter().for_each(|partition| partition.tick_isr());
        })
    });
    let (shared, world) = (broker.shared.clone(), broker.world.clone());
    let controller: Weak<dyn AlterIsrs> = Arc::<Broker>::downgrade(broker);
    broker.world.tasks.spawn(Box::pin(async move { shared.isr_changes.run(world, controller).await }));
    let (shared, weak) = (broker.shared.clone(), Arc::downgrade(broker));
    broker.world.tasks.spawn(Box::pin(async move { shared.dir_assignments.run(weak).await }));
    broker.world.tasks.spawn(Box::pin(take_failed_offline(Arc::downgrade(broker))));
    broker.world.tasks.spawn(Box::pin(repair::run(Arc::downgrade(broker))));
    broker.world.tasks.spawn(Box::pin(scrub::run(Arc::downgrade(broker))));
    broker.world.tasks.spawn(Box::pin(cleaner::run(Arc::downgrade(broker))));
    broker.world.tasks.spawn(Box::pin(key_index::run(Arc::downgrade(broker))));
    every(broker, SWEEP_MS, |broker| {
        Box::pin(async move {
            let idle_ns = (broker.config.connections_idle_max_ms.max(0) as u64).saturating_mul(1_000_000);
            if broker.config.connections_idle_max_ms >= 0 {
                broker.connections.end_idle(broker.world.clock.now().saturating_sub(idle_ns));
            }
            let now = broker.now_ms();
            broker.partitions.all().iter().for_each(|partition| partition.sweep(now));
        })
    });
}

/// What lies in a directory that has failed goes offline, so that it neither leads nor follows; what others there are goes
/// on. Where no other directory is left a partition is served until it fails itself: nobody else here could serve it.
async fn take_failed_offline(this: Weak<Broker>) {
    let Some(shared) = this.upgrade().map(|broker| broker.shared.clone()) else { return };
    loop {
        shared.dir_failed.notified().await;
        let Some(broker) = this.upgrade() else { return };
        if broker.dirs.are_offline() {
            continue;
        }
        for partition in broker.partitions.all() {
            if partition.dir().is_offline() {
                partition.on_dir_failed();
            }
        }
    }
}

/// Writes the checkpoints of all logs, as far as that can be done.
pub(crate) async fn checkpoint(broker: &Arc<Broker>) {
    for dir in broker.dirs.online() {
        if let Err(error) = write_checkpoints(broker, dir).await {
            let dir = dir.path.display();
            tracing::error!(%error, %dir, "the checkpoints could not be written; a crash now means more to verify");
        }
    }
}

/// Writes the checkpoints of the logs in a directory.
pub(crate) async fn write_checkpoints(broker: &Arc<Broker>, dir: &Arc<LogDir>) -> io::Result<()> {
    let (on, dir) = (broker.clone(), dir.clone());
    let write = move || dir.write_checkpoints(|| checkpoints(&on, &dir));
    broker.on_lane(write).await.unwrap_or_else(|| Err(io::Error::other("the broker stops")))
}

/// Writes the high watermarks, if any is more than the end of a log: what a follower knows of it stands nowhere else.
async fn write_high_watermarks(broker: &Arc<Broker>) {
    if !broker.partitions.all().iter().any(|partition| partition.is_replicated()) {
        return;
    }
    for dir in broker.dirs.online() {
        let (on, dir) = (broker.clone(), dir.clone());
        let write = move || {
            dir.write_high_watermarks(|| {
                let [_, _, watermarks, _] = checkpoints(&on, &dir);
                watermarks
            })
        };
        if let Some(Err(error)) = broker.on_lane(write).await {
            tracing::error!(%error, "the high watermarks could not be written; after a crash they are known later");
        }
    }
}

/// Recovery points, start offsets and high watermarks of all logs in a directory, and up to where they are compacted; to be
/// computed when they are written.
pub(crate) fn checkpoints(broker: &Broker, dir: &Arc<LogDir>) -> [Offsets; 4] {
    let mut all = [(); 4].map(|()| Offsets::new());
    for partition in broker.partitions.all().iter().filter(|partition| partition.is_kept_in(dir)) {
        note(partition, &mut all);
    }
    all
}

/// Up to where the logs in a directory are compacted.
pub(crate) fn cleaner_offsets(broker: &Broker, dir: &Arc<LogDir>) -> Offsets {
    let [.., cleaned] = checkpoints(broker, dir);
    cleaned
}

fn note(partition: &Partition, [points, starts, watermarks, cleaned]: &mut [Offsets; 4]) {
    // What was never written needs no mark: it has no files either.
    let Some(offsets) = partition.marks().filter(|offsets| offsets.end > 0) else { return };
    let name = TopicPartition::new(partition.topic().clone(), partition.index());
    points.insert(name.clone(), offsets.recovery_point);
    if offsets.start > offsets.first_segment {
        starts.insert(name.clone(), offsets.start);
    }
    if let Some(upto) = partition.clean_upto() {
        cleaned.insert(name.clone(), upto);
    }
    watermarks.insert(name, offsets.high_watermark);
}

fn every(broker: &Arc<Broker>, period_ms: i64, work: fn(Arc<Broker>) -> BoxFuture<'static, ()>) {
    let clock = broker.world.clock.clone();
    let weak: Weak<Broker> = Arc::downgrade(broker);
    broker.world.tasks.spawn(Box::pin(async move {
        loop {
            clock.sleep_until(clock.after_millis(period_ms.max(1))).await;
            let Some(broker) = weak.upgrade() else { return };
            work(broker).await;
        }
    }));
}

impl AlterIsrs for Broker {
    fn alter(&self, partitions: Vec<IsrChange>) -> BoxFuture<'_, Result<IsrAnswers, Error>> {
        let broker = self.config.node_id;
        let broker_epoch = self.image().broker(broker).map_or(-1, |known| known.epoch);
        Box::pin(async move {
            if !self.is_decided_here() {
                let request = handlers::alter_partition::to_request(broker, broker_epoch, partitions);
                let answer = self.ask_controller(&request).await;
                let answer = answer.map_err(|error| Error::NotController(error.to_string()))?;
                return handlers::alter_partition::from_response(answer);
            }
            let request = Request::AlterPartition(AlterPartition { broker, broker_epoch, partitions });
            match self.controller.ask_for_another(request).await {
                Ok(Reply::AlterPartition(answers)) => Ok(answers),
                other => Err(handlers::controller_error(other)),
            }
        })
    }

    fn partition(&self, (topic, index): Key) -> Option<Arc<Partition>> {
        self.partitions.topic_by_id(topic)?.partition(index)
    }
}

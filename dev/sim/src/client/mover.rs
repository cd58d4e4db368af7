//! Who moves replicas from one log directory of the only node to another, redirects moves and calls them off. It tells the
//! history nothing: what it changes must not be noticed.

use super::{Ground, Link, Lost, Seek};
use crate::{dice::Dice, history::Place, node::LOG_DIRS};
use std::sync::Arc;
use wire::{
    AlterReplicaLogDirsRequest, DescribeLogDirsRequest,
    alter_replica_log_dirs_request::{AlterReplicaLogDir, AlterReplicaLogDirTopic},
};

/// A mover.
pub struct Mover {
    ground: Ground,
    dice: Dice,
    replicas: Vec<(Arc<str>, i32)>,
}

/// Moved beside the topics of the run: coordinators must not notice it either.
const OFFSETS: &str = "__consumer_offsets";

impl Mover {
    /// The only one; it moves these and what coordinators have.
    pub fn new(ground: Ground, dice: Dice, places: &[Place]) -> Self {
        let own = places.iter().map(|place| (place.topic.clone(), place.partition));
        let replicas = own.chain((0..3).map(|index| (OFFSETS.into(), index))).collect();
        Self { ground, dice, replicas }
    }

    /// Works until the run ends.
    pub async fn run(mut self) {
        while !self.ground.rules.is_ended() {
            let mut link = self.ground.connect(Seek::Anyone, "mover", &mut self.dice).await;
            let _ = self.work(&mut link).await;
        }
    }

    async fn work(&mut self, link: &mut Link) -> Result<(), Lost> {
        while !self.ground.rules.is_ended() {
            self.ground.clock.sleep_ms(self.dice.range(50..=1500)).await;
            if self.dice.chance(20) {
                let request = DescribeLogDirsRequest { topics: None };
                link.ask(self.dice.range(1..=5) as i16, &request).await?;
                continue;
            }
            let index = self.dice.below(self.replicas.len() as u64) as usize;
            let Some((topic, partition)) = self.replicas.get(index).cloned() else { return Ok(()) };
            let topic = AlterReplicaLogDirTopic { name: topic.to_string(), partitions: vec![partition] };
            let path = self.dice.pick(&LOG_DIRS, LOG_DIRS[0]).to_owned();
            let dirs = vec![AlterReplicaLogDir { path, topics: vec![topic] }];
            link.ask(self.dice.range(1..=2) as i16, &AlterReplicaLogDirsRequest { dirs }).await?;
        }
        Ok(())
    }
}

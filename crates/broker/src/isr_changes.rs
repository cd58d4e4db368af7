//! What leaders of partitions want of the ISR, on its way to the controller: one request at a time for all of them
//! (KIP-497), repeated until it is answered.
//!
//! It decides neither what is wanted (`replica` does) nor whether it is granted (the controller does).

use crate::partition::Partition;
use env::{BoxFuture, World};
use metadata::{AlteredPartition, Error, IsrChange, Recovery};
use model::{PartitionIndex, TopicId};
use parking_lot::Mutex;
use replica::{AlterIsr, IsrRefused};
use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
};
use tokio::sync::Notify;

/// The pauses before a request is repeated: the first, and the longest.
const RETRY_MS: (i64, i64) = (20, 1000);
/// Partitions of one request; the next carries the rest.
const PARTITIONS_MAX: usize = 10_000;

/// A partition of the cluster.
pub(crate) type Key = (TopicId, PartitionIndex);

/// What the controller says to each partition.
pub(crate) type IsrAnswers = Vec<(TopicId, PartitionIndex, Result<AlteredPartition, Error>)>;

/// The way to the controller.
pub(crate) trait AlterIsrs: Send + Sync {
    /// Asks for these changes.
    fn alter(&self, changes: Vec<IsrChange>) -> BoxFuture<'_, Result<IsrAnswers, Error>>;
    /// The partition of a wish, if this broker still has it.
    fn partition(&self, key: Key) -> Option<Arc<Partition>>;
}

/// Wishes that wait; the newest of each partition.
#[derive(Default)]
pub(crate) struct IsrChanges {
    wishes: Mutex<BTreeMap<Key, AlterIsr>>,
    news: Notify,
}

impl IsrChanges {
    /// A leader wants its ISR changed.
    pub(crate) fn wish(&self, key: Key, wish: AlterIsr) {
        self.wishes.lock().insert(key, wish);
        self.news.notify_one();
    }

    /// Carries wishes to the controller until the broker has gone.
    pub(crate) async fn run(&self, world: World, controller: Weak<dyn AlterIsrs>) {
        let mut pause_ms = RETRY_MS.0;
        loop {
            let wishes = self.take();
            if wishes.is_empty() {
                self.news.notified().await;
                continue;
            }
            let Some(controller) = controller.upgrade() else { return };
            let changes = wishes.iter().map(|(key, wish)| to_change(*key, wish)).collect();
            let answers = controller.alter(changes).await;
            let are_answered = tell(&*controller, wishes, answers);
            drop(controller);
            if are_answered {
                pause_ms = RETRY_MS.0;
            } else {
                world.clock.sleep_until(world.clock.after_millis(pause_ms)).await;
                pause_ms = (pause_ms * 2).min(RETRY_MS.1);
            }
        }
    }

    fn take(&self) -> BTreeMap<Key, AlterIsr> {
        let mut wishes = self.wishes.lock();
        let rest = wishes.keys().nth(PARTITIONS_MAX).copied();
        let rest = rest.map_or_else(BTreeMap::new, |first| wishes.split_off(&first));
        std::mem::replace(&mut *wishes, rest)
    }
}

fn to_change((topic, index): Key, wish: &AlterIsr) -> IsrChange {
    IsrChange {
        topic,
        index,
        leader_epoch: wish.leader_epoch,
        partition_epoch: wish.partition_epoch,
        isr: wish.isr.clone(),
        recovery: Recovery::Recovered,
    }
}

/// Whether there is an answer for each of them.
fn tell(
    controller: &dyn AlterIsrs,
    wishes: BTreeMap<Key, AlterIsr>,
    answers: Result<IsrAnswers, Error>,
) -> bool {
    let mut are_answered = true;
    let mut by_key: BTreeMap<Key, Result<AlteredPartition, Error>> = match answers {
        Ok(answers) => answers.into_iter().map(|(topic, index, answer)| ((topic, index), answer)).collect(),
        Err(error) => {
            tracing::warn!(%error, "the controller did not take changes of in-sync replicas; they are asked for again");
            BTreeMap::new()
        }
    };
    for (key, wish) in wishes {
        let Some(partition) = controller.partition(key) else { continue };
        let answer = match by_key.remove(&key) {
            Some(Ok(altered)) => Ok((altered.partition_epoch, altered.isr.into_iter().collect())),
            Some(Err(error)) => {
                tracing::info!(partition = %partition, %error, "the controller refused a change of the in-sync replicas");
                Err(refusal(&error))
            }
            None => Err(IsrRefused::Unknown),
        };
        if let Ok((_, isr)) = &answer {
            tracing::info!(partition = %partition, ?isr, "the in-sync replicas have changed");
        }
        are_answered &= !matches!(answer, Err(IsrRefused::Unknown));
        partition.on_isr_answer(wish.partition_epoch, answer);
    }
    are_answered
}

/// What a refusal means for the wish (KIP-497).
fn refusal(error: &Error) -> IsrRefused {
    match error {
        Error::IneligibleReplica(_) => IsrRefused::NotMade,
        Error::FencedLeaderEpoch(_)
        | Error::InvalidUpdateVersion(_)
        | Error::InvalidRequest(_)
        | Error::NewLeaderElected(_)
        | Error::UnknownTopicId(_)
        | Error::UnknownTopicOrPartition(_) => IsrRefused::Stale,
        _ => IsrRefused::Unknown,
    }
}

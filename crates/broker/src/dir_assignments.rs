//! What the metadata say of the log directories of this broker's replicas, made true (KIP-858): a replica whose disk was
//! replaced lies in another directory than is written there, and one that could not be opened lies in none.
//!
//! It opens nothing and elects nobody: `replicas` notes, the controller decides who leads. Until it has heard, it lets no
//! replica into the in-sync replicas whose directory the broker does not have.

use crate::{
    Broker, failure_code,
    handlers::{assign_replicas_to_dirs, controller_error},
    isr_changes::Key,
};
use metadata::{
    DIRECTORY_LOST, DIRECTORY_MIGRATING, DirectoryAssignment, Error, Image, Partition, Reply, Request,
};
use model::NodeId;
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    sync::Weak,
};
use stdx::Uuid;
use tokio::sync::Notify;

/// The pauses before a request is repeated: the first, and the longest.
const RETRY_MS: (i64, i64) = (100, 10_000);
/// Replicas in one request; as many as Kafka's brokers name.
const REPLICAS_MAX: usize = 2250;
/// How long a start waits until the controller has heard.
const START_MS_MAX: i64 = 5000;

/// What has become of a replica's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Condition {
    /// It is open, and began with nothing in this process.
    New,
    /// It is open, with what it has had before.
    Whole,
    /// It could not be opened.
    Lost,
}

impl Condition {
    /// Of a log that is open.
    pub(crate) fn of_open(is_new: bool) -> Self {
        if is_new { Self::New } else { Self::Whole }
    }
}

/// Where a replica is, and what has become of it.
type Noted = (Uuid, Condition);

/// Replicas to look at, each once.
#[derive(Default)]
pub(crate) struct DirAssignments {
    noted: Mutex<BTreeMap<Key, Noted>>,
    news: Notify,
}

/// What the controller says to each.
pub(crate) type Results = Vec<(DirectoryAssignment, Result<(), Error>)>;

/// What came of one round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    /// There was nothing to tell.
    Nothing,
    All,
    /// Some are to be told again.
    NotAll,
}

impl DirAssignments {
    /// The log of a replica is in this directory and in this condition; whether that is to be told is looked at later.
    pub(crate) fn note(&self, key: Key, directory: Uuid, condition: Condition) {
        self.noted.lock().insert(key, (directory, condition));
        self.news.notify_one();
    }

    /// The metadata have a replica in a directory where it is not, though nothing was told that it was about to be there, or
    /// what was is over: a request that had timed out here was still on its way.
    pub(crate) fn correct(&self, key: Key, directory: Uuid) {
        if let Entry::Vacant(vacant) = self.noted.lock().entry(key) {
            vacant.insert((directory, Condition::Whole));
            self.news.notify_one();
        }
    }

    /// What was noted of a replica need not be told any more: something newer is being told.
    pub(crate) fn withdraw(&self, key: Key) {
        self.noted.lock().remove(&key);
    }

    /// The metadata have a replica as lost whose log is open. Unless that is being told already, the controller was told
    /// both, and heard the older one last: a request that had timed out here was still on its way.
    pub(crate) fn object(&self, key: Key, directory: Uuid, node: NodeId, partition: &Partition) {
        let mut noted = self.noted.lock();
        if let Entry::Vacant(vacant) = noted.entry(key) {
            // What it had before may not be what the metadata took for lost; but nobody else is left who could have more.
            let condition = if has_others(partition, node) { Condition::New } else { Condition::Whole };
            vacant.insert((directory, condition));
            self.news.notify_one();
        }
    }

    /// Tells the controller, before this broker asks to be unfenced; not for ever, for others may need what is well here.
    pub(crate) async fn tell_at_start(&self, broker: &Broker) {
        let clock = &broker.world.clock;
        let telling = async {
            loop {
                match self.tell(broker).await {
                    Told::Nothing => return,
                    Told::All => {}
                    Told::NotAll => clock.sleep_until(clock.after_millis(RETRY_MS.0)).await,
                }
            }
        };
        tokio::select! {
            biased;
            () = telling => {}
            () = clock.sleep_until(clock.after_millis(START_MS_MAX)) => {
                tracing::warn!("the controller does not know yet in which directories replicas are; it is told later");
            }
        }
    }

    /// Tells the controller whatever is noted until the broker has gone.
    pub(crate) async fn run(&self, broker: Weak<Broker>) {
        let mut pause_ms = RETRY_MS.0;
        loop {
            if self.noted.lock().is_empty() {
                self.news.notified().await;
                continue;
            }
            let Some(broker) = broker.upgrade() else { return };
            let told = self.tell(&broker).await;
            let clock = broker.world.clock.clone();
            drop(broker);
            if told == Told::NotAll {
                let is_news = tokio::select! {
                    biased;
                    () = clock.sleep_until(clock.after_millis(pause_ms)) => false,
                    () = self.news.notified() => true,
                };
                pause_ms = if is_news { RETRY_MS.0 } else { (pause_ms * 2).min(RETRY_MS.1) };
            } else {
                pause_ms = RETRY_MS.0;
            }
        }
    }

    /// Whatever is noted stays so until the controller has heard it, or need not: this may be broken off at any time.
    async fn tell(&self, broker: &Broker) -> Told {
        let noted = self.noted.lock().clone();
        let mut due = Vec::new();
        {
            let (image, node) = (broker.image(), broker.config.node_id);
            let online: BTreeSet<_> = broker.dirs.online().filter_map(|dir| dir.id()).collect();
            for (key, noted) in noted {
                // Of one that is offline the heartbeat tells.
                let due_now = online.contains(&noted.0).then(|| due_of(&image, node, key, noted)).flatten();
                match due_now {
                    Some(directory) if due.len() < REPLICAS_MAX => due.push((key, noted, directory)),
                    Some(_) => {}
                    None => self.forget(key, noted),
                }
            }
        }
        if due.is_empty() {
            return Told::Nothing;
        }
        let assignments = due.iter().map(|((topic, index), _, directory)| DirectoryAssignment {
            directory: *directory,
            topic: *topic,
            index: *index,
        });
        match broker.assign_directories(assignments.collect()).await {
            Ok(results) => self.on_told(due, &refusals(results)),
            Err(error) => {
                tracing::warn!(%error, "the controller was not told where replicas are; it is told again");
                Told::NotAll
            }
        }
    }

    /// The topic of one that was refused may be gone, which a newer image says; else it is told again. So is one that was
    /// not lost after all: that is told in two steps.
    fn on_told(&self, due: Vec<(Key, Noted, Uuid)>, refused: &[(DirectoryAssignment, Error)]) -> Told {
        let mut told = Told::All;
        for (key, noted, directory) in due {
            let condition = noted.1;
            tracing::debug!(topic = %key.0, partition = key.1, ?condition, %directory, "the controller was told of a replica");
            let refusal = refused.iter().find(|(one, _)| (one.topic, one.index) == key);
            if let Some((one, error)) = refusal {
                tracing::warn!(topic = %one.topic, partition = one.index, %error, "a replica's directory was refused");
            }
            if refusal.is_some() || directory == DIRECTORY_MIGRATING {
                told = Told::NotAll;
            } else {
                self.forget(key, noted);
            }
        }
        told
    }

    /// Unless something else was noted meanwhile.
    fn forget(&self, key: Key, was: Noted) {
        let mut noted = self.noted.lock();
        if noted.get(&key) == Some(&was) {
            noted.remove(&key);
        }
    }
}

fn refusals(results: Results) -> Vec<(DirectoryAssignment, Error)> {
    results.into_iter().filter_map(|(one, result)| Some((one, result.err()?))).collect()
}

/// The directory to tell of a replica, if the metadata do not say so already. `own` is the one in which it is.
fn due_of(
    image: &Image,
    node: NodeId,
    (topic, index): Key,
    (own, condition): (Uuid, Condition),
) -> Option<Uuid> {
    let topic = image.topic_by_id(topic)?;
    let partition = topic.partition(index)?;
    let recorded = partition.directory(node)?;
    // What it has not registered with counts as lost.
    image.broker(node).filter(|known| known.directories.contains(&own))?;
    match condition {
        Condition::Lost => {
            (recorded != DIRECTORY_LOST && has_others(partition, node)).then_some(DIRECTORY_LOST)
        }
        // It was not lost after all: taken back before it is said where it is, or it would count as begun anew.
        Condition::Whole if recorded == DIRECTORY_LOST => Some(DIRECTORY_MIGRATING),
        Condition::New | Condition::Whole => (recorded != own).then_some(own),
    }
}

/// Whether somebody else holds everything. Who is alone with it stays leader, so that its records are there again once it
/// can be opened.
fn has_others(partition: &Partition, node: NodeId) -> bool {
    partition.isr.iter().chain(&partition.elr).any(|id| *id != node)
}

impl Broker {
    /// Tells the active controller in which directories replicas are.
    pub(crate) async fn assign_directories(
        &self,
        assignments: Vec<DirectoryAssignment>,
    ) -> Result<Results, Error> {
        let broker = self.config.node_id;
        let broker_epoch = self.image().broker(broker).map_or(-1, |known| known.epoch);
        if self.is_decided_here() {
            let request = Request::AssignReplicasToDirs { broker, broker_epoch, assignments };
            return match self.controller.ask_for_another(request).await {
                Ok(Reply::AssignReplicasToDirs(results)) => Ok(results),
                other => Err(controller_error(other)),
            };
        }
        let request = assign_replicas_to_dirs::to_request(broker, broker_epoch, assignments);
        let answer = self.ask_controller(&request).await;
        let answer = answer.map_err(|error| Error::NotController(error.to_string()))?;
        match answer.error_code {
            failure_code::NONE => Ok(assign_replicas_to_dirs::results(answer)),
            code => Err(failure_code::to_controller(code)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use metadata::{PartitionRecord, Record, Recovery, Registration};
    use model::TopicId;

    const OWN: Uuid = Uuid([7; 16]);
    const OLD: Uuid = Uuid([8; 16]);
    const TOPIC: TopicId = Uuid([1; 16]);

    /// What broker 1 tells of its replica.
    fn due(recorded: Uuid, (isr, elr): (&[NodeId], &[NodeId]), condition: Condition) -> Option<Uuid> {
        let partition = PartitionRecord {
            index: 0,
            topic: TOPIC,
            replicas: vec![1, 2],
            isr: isr.to_vec(),
            removing: Vec::new(),
            adding: Vec::new(),
            leader: 1,
            recovery: Recovery::Recovered,
            leader_epoch: 0,
            partition_epoch: 0,
            directories: vec![recorded, Uuid([9; 16])],
            elr: elr.to_vec(),
            elr_last_known: Vec::new(),
        };
        let mut image = Image::new("cluster");
        let broker = Registration { id: 1, directories: vec![OWN], ..Registration::default() };
        image.apply(Record::RegisterBroker(broker));
        image.apply(Record::Topic { name: model::TopicName::new("t").unwrap(), id: TOPIC });
        image.apply(Record::Partition(partition));
        due_of(&image, 1, (TOPIC, 0), (OWN, condition))
    }

    #[test]
    fn a_replica_is_told_where_it_is_not_where_it_is_written() {
        let both = (&[1, 2][..], &[][..]);
        for condition in [Condition::New, Condition::Whole] {
            assert_eq!(due(OLD, both, condition), Some(OWN), "its disk was replaced");
            assert_eq!(due(DIRECTORY_MIGRATING, both, condition), Some(OWN));
            assert_eq!(due(OWN, both, condition), None);
        }
    }

    #[test]
    fn a_lost_replica_is_told_if_somebody_else_can_lead() {
        assert_eq!(due(OWN, (&[1, 2], &[]), Condition::Lost), Some(DIRECTORY_LOST));
        assert_eq!(due(OWN, (&[2], &[1]), Condition::Lost), Some(DIRECTORY_LOST));
        assert_eq!(due(OWN, (&[], &[1, 2]), Condition::Lost), Some(DIRECTORY_LOST));
        assert_eq!(due(OWN, (&[1], &[]), Condition::Lost), None, "it is alone with it");
        assert_eq!(due(DIRECTORY_LOST, (&[2], &[1]), Condition::Lost), None);
    }

    #[test]
    fn a_lost_replica_that_is_whole_is_not_told_as_one_that_begins_anew() {
        let other = (&[2][..], &[1][..]);
        assert_eq!(due(DIRECTORY_LOST, other, Condition::Whole), Some(DIRECTORY_MIGRATING));
        assert_eq!(due(DIRECTORY_LOST, other, Condition::New), Some(OWN));
    }
}

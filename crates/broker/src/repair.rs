//! Damaged replicas are given back what they held by those who hold it: the controller is told that the replica is lost, so
//! that others lead; when it knows that, what is damaged is set aside and the replica copies everything anew.
//!
//! What is damaged is found elsewhere (recovery, reads, `scrub`), and `fetchers` copy. [`next_step`] decides, by what the
//! metadata say; decision 0014 says why so. Nothing that may be the last copy is ever touched: what was set aside is removed
//! only when the replica is in sync again.

use crate::{
    Broker, dir_assignments,
    log_dir::LogDir,
    partition::{Condition, Partition},
    upkeep,
};
use log::names;
use metadata::DIRECTORY_LOST;
use model::{LeaderEpoch, NodeId, PartitionIndex, TopicId};
use std::{
    collections::BTreeSet,
    io,
    path::PathBuf,
    sync::{Arc, Weak},
};

/// How often it is looked whether the next step is due, while something is damaged.
const LOOK_MS: i64 = 200;
/// How often it is looked whether there is anything to do at all.
const LOOK_MS_IDLE: i64 = 5000;

type Key = (TopicId, PartitionIndex);

/// What is to be done about one replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Nothing,
    /// The controller must know that it is lost.
    TellLost,
    /// Others hold what it held: it begins with nothing.
    StartOver,
    /// Nobody who is there holds what it holds.
    Wait,
}

/// What one broker does about its damaged replicas.
#[derive(Default)]
struct Repairs {
    /// Directories that were set aside: where they are, and whose they were.
    aside: Option<BTreeSet<(PathBuf, Key)>>,
    /// Of whom it was said already that somebody must help.
    told: BTreeSet<Key>,
}

/// Decides on a replica of the broker `me`. Where nobody else holds everything nobody could lead instead: its leader stays,
/// says what is wrong to whoever asks, and leads again once somebody has repaired it.
///
/// The leader may still get requests that were sent when the log was whole, and must not take them for what the new log has:
/// after `fetched_epoch` it begins only in a later leader epoch, which coming back from being lost brings about.
fn next_step(
    me: NodeId,
    (condition, fetched_epoch): (Condition, Option<LeaderEpoch>),
    partition: &metadata::Partition,
) -> Step {
    let is_lost = partition.directory(me) == Some(DIRECTORY_LOST);
    let counts = partition.isr.contains(&me) || partition.elr.contains(&me) || partition.leader == me;
    let leads_elsewhere = partition.leader >= 0 && partition.leader != me;
    // One that is lost can lead nothing, even if it is still among the eligible: it leaves them when it comes back.
    let is_epoch_over = fetched_epoch.is_none_or(|epoch| partition.leader_epoch > epoch);
    let is_given_up = !partition.isr.contains(&me) && (is_lost || !counts && is_epoch_over);
    match condition {
        Condition::Damaged if leads_elsewhere && is_given_up => Step::StartOver,
        Condition::Damaged
            if (counts || !is_epoch_over) && !is_lost && others(me, partition).next().is_some() =>
        {
            Step::TellLost
        }
        Condition::Damaged => Step::Wait,
        Condition::Sound | Condition::Unusable => Step::Nothing,
    }
}

/// The others that hold everything.
fn others(me: NodeId, partition: &metadata::Partition) -> impl Iterator<Item = NodeId> {
    partition.isr.iter().chain(&partition.elr).copied().filter(move |id| *id != me)
}

/// Whether what was set aside may still be the last of something: until the replica is in sync again; or, where that waits
/// for room on the disk, until two others are, or all others there are.
fn is_needed(me: NodeId, waits_for_room: bool, partition: &metadata::Partition) -> bool {
    let in_sync = partition.isr.iter().filter(|id| **id != me).count();
    let are_enough = in_sync >= 2.min(partition.replicas.len().saturating_sub(1)) && in_sync > 0;
    !(partition.isr.contains(&me) || waits_for_room && are_enough)
}

/// What somebody must do about a damaged replica that nobody can replace.
fn remedy(me: NodeId, partition: &metadata::Partition) -> String {
    let others: Vec<_> = others(me, partition).map(|id| id.to_string()).collect();
    match (partition.replicas.len(), others.is_empty()) {
        (..2, _) => "it is the only replica, and its files are left as they are: put the damaged file back from a backup and \
                     restart this node, or delete the topic"
            .into(),
        (_, true) => "no other replica holds all that was acknowledged, and its files are left as they are: put the damaged \
                      file back from a backup and restart this node; or stop this node and give up what only it holds, \
                      with kafka-leader-election.sh --election-type UNCLEAN"
            .into(),
        (_, false) => format!(
            "it is copied anew once another replica leads; all that was acknowledged is held by broker {}: start it",
            others.join(", ")
        ),
    }
}

/// Sees to damaged replicas until the broker is gone.
pub(crate) async fn run(this: Weak<Broker>) {
    let mut repairs = Repairs::default();
    loop {
        let Some(broker) = this.upgrade() else { return };
        let is_busy = !broker.is_stopping() && repairs.round(&broker).await;
        let (clock, shared) = (broker.world.clock.clone(), broker.shared.clone());
        drop(broker);
        let look_at = clock.after_millis(if is_busy { LOOK_MS } else { LOOK_MS_IDLE });
        tokio::select! {
            biased;
            () = shared.damage_found.notified(), if !is_busy => {}
            () = clock.sleep_until(look_at) => {}
        }
    }
}

/// The replicas that this step is due for, and how the newest metadata have them.
fn of(broker: &Broker, step: Step) -> Vec<(Arc<Partition>, Arc<metadata::Partition>)> {
    steps(broker).into_iter().filter(|(_, _, due)| *due == step).map(|(own, known, _)| (own, known)).collect()
}

fn steps(broker: &Broker) -> Vec<(Arc<Partition>, Arc<metadata::Partition>, Step)> {
    let (image, me) = (broker.image(), broker.config.node_id);
    let all = broker.partitions.all().into_iter().filter_map(|own| {
        let known = image.topic_by_id(own.topic_id())?.partition(own.index())?;
        let step = next_step(me, (own.condition(), own.fetched_epoch()), known);
        (step != Step::Nothing).then(|| (own, Arc::new(known.clone()), step))
    });
    all.collect()
}

impl Repairs {
    /// Does what is due; says whether there is more to come.
    async fn round(&mut self, broker: &Arc<Broker>) -> bool {
        if !broker.config.is_clustered() {
            self.say_what_helps(broker, &steps(broker));
            return false;
        }
        if self.aside.is_none() {
            self.aside = find_aside(broker).await;
        }
        // What is not known of yet would be forgotten beside what is set aside now.
        if self.aside.is_none() {
            return true;
        }
        let due = steps(broker);
        self.say_what_helps(broker, &due);
        for (own, ..) in due.iter().filter(|(.., step)| *step == Step::TellLost) {
            own.note(dir_assignments::Condition::Lost);
        }
        for (own, ..) in due.iter().filter(|(.., step)| *step == Step::StartOver) {
            self.start_over(broker, own).await;
        }
        self.remove_aside(broker).await;
        !due.is_empty() || self.aside.as_ref().is_some_and(|aside| !aside.is_empty())
    }

    fn say_what_helps(&mut self, broker: &Broker, due: &[(Arc<Partition>, Arc<metadata::Partition>, Step)]) {
        let waiting: Vec<_> = due.iter().filter(|(.., step)| *step == Step::Wait).collect();
        let keys = waiting.iter().map(|(own, ..)| key(own));
        let before = std::mem::replace(&mut self.told, keys.collect());
        for (own, known, _) in waiting.into_iter().filter(|(own, ..)| !before.contains(&key(own))) {
            let (why, help) = (own.why_offline().unwrap_or_default(), remedy(broker.config.node_id, known));
            tracing::error!(partition = %own, %why, "the damaged partition stays offline: {help}");
        }
    }

    /// Sets what is damaged aside and begins with nothing.
    async fn start_over(&mut self, broker: &Arc<Broker>, own: &Arc<Partition>) {
        // Nobody deletes or moves it meanwhile, and it is still as the metadata have it.
        let in_line = broker.following.lock().await;
        if !in_line.as_ref().is_some_and(|seen| Arc::ptr_eq(seen, &broker.image())) {
            return;
        }
        let due = of(broker, Step::StartOver).into_iter().find(|(due, _)| Arc::ptr_eq(due, own));
        let Some((_, known)) = due.filter(|_| !broker.is_stopping()) else { return };
        own.at_rest().await;
        let name = own.name();
        let aside = names::damaged_dir_name(&name, broker.world.random.uuid());
        let (dir, to) = (own.dir(), aside.clone());
        let aside_at = dir.path.join(&aside);
        let Some((is_aside, result)) =
            broker.on_lane(move || set_aside(&dir, &names::dir_name(&name), &to)).await
        else {
            return;
        };
        if is_aside {
            tracing::warn!(partition = %own, dir = %aside, "the damaged log was set aside; it is copied anew from its leader");
            self.aside.get_or_insert_default().insert((aside_at, key(own)));
        }
        if let Err(error) = result {
            tracing::warn!(partition = %own, %error, "the damaged log could not be set aside for now");
            return;
        }
        // Forgotten in the checkpoints only now: a start between the two misses what they tell of and begins here again, where
        // one that found the files without them would take the damage for a torn write.
        if !own.forget_marks() {
            return;
        }
        if let Err(error) = upkeep::write_checkpoints(broker, &own.dir()).await {
            tracing::warn!(partition = %own, %error, "the damaged partition is not copied anew for now");
            return;
        }
        // Before it has anything: whoever comes back from being lost is eligible no more, and what it said before is void;
        // nobody could know that of one that has a part of it after a restart. It begins when the metadata have it so.
        own.note(dir_assignments::Condition::New);
        if known.directory(broker.config.node_id) != Some(DIRECTORY_LOST) {
            own.begin_anew();
        }
        drop(in_line);
    }

    /// Removes what was set aside of replicas that are in sync again.
    async fn remove_aside(&mut self, broker: &Arc<Broker>) {
        let Some(aside) = &mut self.aside else { return };
        let (image, me) = (broker.image(), broker.config.node_id);
        let mut removed = Vec::new();
        aside.retain(|(path, (topic, index))| {
            // Of a topic that is gone it is a stray like others, which nobody removes.
            let known = image.topic_by_id(*topic).and_then(|topic| topic.partition(*index));
            let Some(known) = known.filter(|known| known.replicas.contains(&me)) else { return false };
            let own = broker.partitions.topic_by_id(*topic).and_then(|topic| topic.partition(*index));
            let Some(own) = own.filter(|own| own.condition() == Condition::Sound) else { return true };
            let is_needed = is_needed(me, own.waits_for_room(), known);
            if !is_needed {
                removed.push(path.clone());
            }
            is_needed
        });
        if removed.is_empty() {
            return;
        }
        let disk = broker.world.disk.clone();
        let removing = move || {
            for path in removed {
                let dir = path.display();
                match disk.remove_dir_all(&path) {
                    Ok(()) => {
                        tracing::info!(%dir, "the replica is copied anew: what was damaged is removed")
                    }
                    Err(error) => {
                        tracing::warn!(%dir, %error, "what was damaged could not be removed")
                    }
                }
            }
        };
        broker.on_lane(removing).await;
    }
}

fn key(partition: &Partition) -> Key {
    (partition.topic_id(), partition.index())
}

/// Runs on a lane; whether something has its new name now, and whether nothing has the old one for good. To be repeated after
/// an error.
fn set_aside(dir: &LogDir, from: &str, to: &str) -> (bool, io::Result<()>) {
    let disk = &*dir.world.disk;
    let is_aside = match disk.rename(&dir.path.join(from), &dir.path.join(to)) {
        Ok(()) => true,
        // The whole directory is what was lost; or it was renamed before, and only that was not made durable.
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => return (false, Err(error)),
    };
    (is_aside, disk.sync_dir(&dir.path))
}

/// What was set aside before the last start; `None` if that cannot be read at this moment.
async fn find_aside(broker: &Broker) -> Option<BTreeSet<(PathBuf, Key)>> {
    let dirs = broker.dirs.clone();
    let find = move || {
        let mut all = BTreeSet::new();
        for dir in dirs.online() {
            match aside_in(dir) {
                Ok(found) => all.extend(found),
                Err(error) if log::is_scarcity(&error) => return None,
                // It may be about to go offline; what lies in it then is seen after the next start.
                Err(error) => {
                    tracing::warn!(dir = %dir.path.display(), %error, "what was set aside there cannot be read");
                }
            }
        }
        Some(all)
    };
    broker.on_lane(find).await.flatten()
}

/// Runs on a lane.
fn aside_in(dir: &LogDir) -> io::Result<Vec<(PathBuf, Key)>> {
    let mut all = Vec::new();
    for entry in dir.world.disk.list(&dir.path)?.into_iter().filter(|entry| entry.is_dir) {
        let Some(index) = names::parse_damaged_dir_index(&entry.name) else { continue };
        let path = dir.path.join(&entry.name);
        match log::read_topic_id(&*dir.world.disk, &path) {
            Ok(Some(topic)) => all.push((path, (topic, index))),
            Err(error) if log::is_scarcity(&error) => return Err(error),
            // Nobody knows whose it is: it is left to a human.
            Ok(None) | Err(_) => {}
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::partition::kit::Kit;
    use Condition::{Damaged, Sound, Unusable};
    use stdx::Uuid;

    const HERE: Uuid = Uuid([9; 16]);

    #[test]
    fn what_is_set_aside_is_known_also_where_descriptors_are_missing_for_a_while() {
        let (kit, topic) = (Kit::new(0), Uuid([7; 16]));
        let (log, aside) =
            (kit.dir.path.join("t-0"), names::damaged_dir_name(&kit.partition(0).name(), HERE));
        env::Disk::create_dir_all(&*kit.disk, &log).unwrap();
        log::write_topic_id(&*kit.disk, &log, topic).unwrap();
        let close = |is_closed: bool| {
            *kit.disk.switches().closed_below.lock().unwrap() = is_closed.then(|| kit.dir.path.clone());
        };
        close(true);
        let (is_aside, result) = set_aside(&kit.dir, "t-0", &aside);
        assert!(is_aside && result.is_err(), "it has its new name, though perhaps not for good");
        assert!(set_aside(&kit.dir, "t-0", "other").1.is_err(), "nothing is made durable yet");
        assert!(aside_in(&kit.dir).is_err(), "nothing is forgotten");
        close(false);
        let (is_aside, result) = set_aside(&kit.dir, "t-0", "other");
        assert!(!is_aside && result.is_ok());
        assert_eq!(aside_in(&kit.dir).unwrap(), [(kit.dir.path.join(&aside), (topic, 0))]);
    }

    fn partition(leader: NodeId, isr: &[NodeId], elr: &[NodeId], is_lost: bool) -> metadata::Partition {
        let directory = if is_lost { DIRECTORY_LOST } else { HERE };
        metadata::Partition {
            leader,
            leader_epoch: 4,
            partition_epoch: 5,
            replicas: vec![1, 2, 3],
            directories: vec![directory, HERE, HERE],
            isr: isr.to_vec(),
            elr: elr.to_vec(),
            elr_last_known: Vec::new(),
            removing: Vec::new(),
            adding: Vec::new(),
            recovery: metadata::Recovery::Recovered,
        }
    }

    #[test]
    fn a_damaged_replica_is_lost_first_and_begins_anew_only_when_others_lead() {
        let step = |condition, leader, isr: &[i32], elr: &[i32], is_lost| {
            next_step(1, (condition, None), &partition(leader, isr, elr, is_lost))
        };
        assert_eq!(step(Damaged, 1, &[1, 2, 3], &[], false), Step::TellLost);
        assert_eq!(step(Damaged, 2, &[1, 2, 3], &[], false), Step::TellLost);
        assert_eq!(step(Damaged, 2, &[2], &[1], false), Step::TellLost, "it could still be elected");
        assert_eq!(step(Damaged, 2, &[2, 3], &[], true), Step::StartOver);
        assert_eq!(step(Damaged, 2, &[2], &[1], true), Step::StartOver, "nobody elects it");
        assert_eq!(step(Damaged, 2, &[2, 3], &[], false), Step::StartOver, "it was behind already");
        assert_eq!(step(Damaged, -1, &[], &[1, 2], false), Step::TellLost);
        assert_eq!(step(Damaged, -1, &[], &[2], true), Step::Wait, "the one who holds all may not come back");
        assert_eq!(step(Damaged, -1, &[], &[1], true), Step::Wait, "it is the last copy");
        assert_eq!(step(Damaged, 1, &[1], &[], false), Step::Wait, "it is the last copy");
        assert_eq!(step(Damaged, -1, &[], &[1], false), Step::Wait);
        assert_eq!(step(Sound, 2, &[2, 3], &[], true), Step::Nothing, "`dir_assignments` tells");
        assert_eq!(step(Sound, 2, &[1, 2, 3], &[], false), Step::Nothing);
        assert_eq!(step(Unusable, 2, &[1, 2, 3], &[], false), Step::Nothing);
    }

    #[test]
    fn a_follower_begins_anew_only_in_an_epoch_in_which_nobody_has_heard_of_its_old_log() {
        let step = |fetched_epoch, is_lost| {
            next_step(1, (Damaged, Some(fetched_epoch)), &partition(2, &[2, 3], &[], is_lost))
        };
        // The leader epoch is 4.
        assert_eq!((step(3, false), step(3, true)), (Step::StartOver, Step::StartOver));
        assert_eq!(step(4, false), Step::TellLost, "though nobody counts on it");
        assert_eq!(step(4, true), Step::StartOver, "as far as to say that it is here");
    }

    #[test]
    fn what_was_set_aside_is_needed_until_others_surely_have_it() {
        let needed = |waits, isr: &[i32]| is_needed(1, waits, &partition(2, isr, &[], false));
        assert!(needed(false, &[2, 3]) && !needed(false, &[1, 2]));
        assert!(needed(true, &[2]) && !needed(true, &[2, 3]), "a full disk must not hold it up for ever");
        let pair = metadata::Partition { replicas: vec![1, 2], ..partition(2, &[2], &[], false) };
        assert!(!is_needed(1, true, &pair) && is_needed(1, false, &pair));
    }

    #[test]
    fn the_only_replica_is_left_as_it_is_and_its_remedy_named() {
        let alone = metadata::Partition {
            replicas: vec![1],
            directories: vec![HERE],
            ..partition(1, &[1], &[], false)
        };
        assert_eq!(next_step(1, (Damaged, None), &alone), Step::Wait);
        assert!(remedy(1, &alone).contains("delete the topic"));
        assert!(remedy(1, &partition(-1, &[], &[1], true)).contains("UNCLEAN"));
        assert!(remedy(1, &partition(-1, &[], &[2, 3], true)).ends_with("broker 2, 3: start it"));
    }
}

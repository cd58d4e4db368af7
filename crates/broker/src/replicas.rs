//! Follows the image: opens the logs of partitions that appear, removes those of topics that are gone, tells partitions
//! whether they lead and whom they follow, hands new configurations on.
//!
//! It decides nothing; the controller has. Opening and removing happens on disk lanes, many at once.

use crate::{
    Broker,
    dir_assignments::Condition,
    fetchers::Order,
    group_hosts, image_topics, log_config,
    log_dir::LogDir,
    log_dirs::{self, AllFound, LogDirs},
    moves,
    partition::{self, Assigned, Assignment, OpenedLog, Partition, Unopened, is_damage, on_lane},
    replica_place::{self, Known, Place},
    share_coordinators, transaction_hosts, upkeep,
};
use futures_util::future::join_all;
use log::{LogConfig, OpenError, OpenOptions, names};
use metadata::{
    DIRECTORY_LOST, DIRECTORY_UNASSIGNED, Image, Topic,
    config::{Configs, ResourceKind},
};
use model::{NodeId, Offset, PartitionIndex, Timestamp, TopicId, TopicName, TopicPartition};
use replica::Term;
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::{Arc, Weak},
    time::Duration,
};
use stdx::Uuid;

/// A replica that this broker shall have.
#[derive(Clone)]
struct Wanted {
    topic: Arc<Topic>,
    index: PartitionIndex,
}

impl Wanted {
    fn name(&self) -> TopicPartition {
        TopicPartition::new(self.topic.name.clone(), self.index)
    }
}

/// Opens everything that the newest image says this broker has, and looks at what else lies in the log directory.
/// From then on the partitions follow.
pub(crate) async fn open_all(broker: &Arc<Broker>, found: &AllFound) -> io::Result<()> {
    let mut following = broker.following.lock().await;
    let image = broker.image();
    broker.throttles.configure(&image);
    broker.catching_up.configure(&broker.config.configs(&image).broker());
    broker.client_quotas.configure(&image);
    broker.client_metrics.configure(None, broker.config.configs(&image));
    let (layout, futures) = survey(broker, &image).await?;
    broker.groups.topics_changed(&image_topics::view(image.clone()));
    let wanted = image.topics().flat_map(|topic| ours(broker, topic));
    open(broker, wanted.collect(), Some(found), &layout, &futures).await;
    set_aside_twins(broker, &layout).await;
    moves::resume(broker, futures).await;
    *following = Some(image);
    Ok(())
}

/// Brings the broker to each image that is published, until it is gone.
pub(crate) async fn follow_images(broker: Weak<Broker>) {
    let Some(mut replayed) = broker.upgrade().map(|broker| broker.images.replayed()) else { return };
    loop {
        let _ = *replayed.borrow_and_update();
        {
            let Some(broker) = broker.upgrade() else { return };
            follow_newest(&broker).await;
        }
        if replayed.changed().await.is_err() {
            return;
        }
    }
}

/// Brings the broker to the newest image, if its partitions are open.
pub(crate) async fn follow_newest(broker: &Arc<Broker>) {
    let mut following = broker.following.lock().await;
    let after = broker.image();
    // A controller without partitions has quotas, too.
    broker.client_quotas.configure(&after);
    if let Some(before) = following.as_mut().filter(|before| !Arc::ptr_eq(before, &after)) {
        follow(broker, before, &after).await;
        *before = after.clone();
    }
    broker.images.set_followed(after.position().offset);
}

/// Brings the broker from one image to the next.
async fn follow(broker: &Arc<Broker>, before: &Image, after: &Arc<Image>) {
    let mut changes = Changes::default();
    let mut has_other_topics = before.topics_count() != after.topics_count();
    for topic in after.topics() {
        match before.topic_by_id(topic.id) {
            Some(known) if Arc::ptr_eq(known, topic) => {}
            Some(known) => {
                has_other_topics |= known.partitions.len() != topic.partitions.len();
                changes.note(broker, known, topic);
            }
            None => {
                has_other_topics = true;
                changes.come.extend(ours(broker, topic));
            }
        }
    }
    if has_other_topics {
        broker.groups.topics_changed(&image_topics::view(after.clone()));
    }
    let gone: Vec<_> =
        before.topics().filter(|topic| after.topic_by_id(topic.id).is_none()).cloned().collect();
    if !gone.is_empty() {
        remove(broker, &gone).await;
    }
    if !changes.go.is_empty() {
        let partitions =
            changes.go.iter().filter_map(|(topic, index)| broker.partitions.take(*topic, *index));
        let partitions = partitions.collect();
        remove_logs(broker, partitions).await;
    }
    if !changes.come.is_empty() {
        let layout = layout_of(broker, &changes.come).await;
        open(broker, changes.come, None, &layout, &[]).await;
    }
    let ineligible = ineligible(before, after);
    if !ineligible.is_empty() {
        // Or leaders would wait for those who were about to join.
        broker.partitions.all().iter().for_each(|partition| partition.on_ineligible(&ineligible));
    }
    assign(broker, after, changes.stay).await;
    configure(broker, before, after).await;
}

/// The brokers of which nothing is known any more that they said of themselves: fenced, or registered anew.
fn ineligible(before: &Image, after: &Image) -> Vec<NodeId> {
    let has_changed = |id: NodeId, epoch: i64| match after.broker(id) {
        Some(after) => !after.is_active() || after.epoch != epoch,
        None => true,
    };
    let changed = before.brokers_active().filter(|known| has_changed(known.id, known.epoch));
    changed.map(|known| known.id).collect()
}

/// What becomes of this broker's replicas of topics that have changed.
#[derive(Default)]
struct Changes {
    come: Vec<Wanted>,
    stay: Vec<Wanted>,
    go: Vec<(TopicId, PartitionIndex)>,
}

impl Changes {
    fn note(&mut self, broker: &Broker, before: &Topic, after: &Arc<Topic>) {
        for (place, (index, partition)) in after.indexed().enumerate() {
            let known = before.partitions.get(place);
            let is_same = |new: &Arc<metadata::Partition>| known.is_some_and(|known| Arc::ptr_eq(known, new));
            if after.partitions.get(place).is_some_and(is_same) {
                continue;
            }
            let was_ours = known.is_some_and(|known| is_ours(broker, known));
            let wanted = Wanted { topic: after.clone(), index };
            match (was_ours, is_ours(broker, partition)) {
                (true, true) => self.stay.push(wanted),
                (false, true) => self.come.push(wanted),
                (true, false) => self.go.push((after.id, index)),
                (false, false) => {}
            }
        }
    }
}

fn is_ours(broker: &Broker, partition: &metadata::Partition) -> bool {
    partition.replicas.contains(&broker.config.node_id)
}

fn ours(broker: &Broker, topic: &Arc<Topic>) -> Vec<Wanted> {
    let partitions = topic.indexed().filter(|(_, partition)| is_ours(broker, partition));
    partitions.map(|(index, _)| Wanted { topic: topic.clone(), index }).collect()
}

/// Tells partitions what the image says of them: who leads, who is in sync.
async fn assign(broker: &Arc<Broker>, image: &Image, wanted: Vec<Wanted>) {
    let found = wanted.into_iter().filter_map(|wanted| {
        let partition = broker.partitions.topic_by_id(wanted.topic.id)?.partition(wanted.index)?;
        Some((wanted, partition))
    });
    assign_all(broker, image, found.collect()).await;
}

async fn assign_all(broker: &Arc<Broker>, image: &Image, partitions: Vec<(Wanted, Arc<Partition>)>) {
    let configs = broker.config.configs(image);
    let mut isr_min: Option<(TopicId, i64)> = None;
    let mut orders = Vec::with_capacity(partitions.len());
    let (mut of_groups, mut of_transactions, mut of_shares) = (Vec::new(), Vec::new(), Vec::new());
    let count = |topic| image.topic(topic).map_or(0, |topic| topic.partitions.len());
    broker.groups.hosts().set_partitions(count(group_hosts::TOPIC));
    broker.transactions.hosts().set_partitions(count(transaction_hosts::TOPIC));
    broker.share_coordinators.hosts().set_partitions(count(share_coordinators::TOPIC));
    for (Wanted { topic, index }, partition) in partitions {
        let Some(known) = topic.partition(index) else { continue };
        let configured = match isr_min.filter(|(id, _)| *id == topic.id) {
            Some((_, configured)) => configured,
            None => configs.topic(&topic.name).integer("min.insync.replicas"),
        };
        isr_min = Some((topic.id, configured));
        if known.leader != broker.config.node_id {
            // Before the partition tells those who wait for it: they are to look for the new coordinator.
            resign(broker, &topic.name, index);
            broker.shares.resign(topic.id, index);
        }
        let assigned = partition.assign(&assignment(&configs, known, configured)).await;
        let leader = match assigned {
            Assigned::Follows(node, epoch) if node >= 0 => Some((node, epoch)),
            _ => None,
        };
        if let Assigned::Leads(epoch, _) = assigned {
            match &*topic.name {
                group_hosts::TOPIC => of_groups.push((partition.clone(), epoch)),
                transaction_hosts::TOPIC => of_transactions.push((partition.clone(), epoch)),
                share_coordinators::TOPIC => of_shares.push((partition.clone(), epoch)),
                _ => {}
            }
        }
        check_place(broker, &partition, known);
        orders.push(Order { partition, leader });
    }
    broker.fetchers.assign(broker, orders);
    if !of_groups.is_empty() {
        broker.groups.lead(of_groups, &broker.groups_config());
    }
    if !of_transactions.is_empty() {
        broker.transactions.lead(broker, of_transactions, &broker.transactions_config());
    }
    if !of_shares.is_empty() {
        broker.share_coordinators.lead(broker, of_shares, broker.share_coordinators_config());
    }
}

/// Has the controller told where a replica lies, if the metadata say otherwise and nobody is at it.
fn check_place(broker: &Broker, partition: &Partition, known: &metadata::Partition) {
    let Some(recorded) = known.directory(broker.config.node_id) else { return };
    let directory = partition.dir().id().unwrap_or(DIRECTORY_UNASSIGNED);
    if recorded == directory || partition.condition() != partition::Condition::Sound {
        return;
    }
    let dir_assignments = &broker.shared.dir_assignments;
    match recorded {
        DIRECTORY_LOST => dir_assignments.object(partition.key(), directory, broker.config.node_id, known),
        // The controller hears of a move before the log is there.
        _ if broker.moves.get(partition.key()).is_some() => {}
        _ => dir_assignments.correct(partition.key(), directory),
    }
}

/// This broker leads a partition no more: if that has a coordinator, it ends.
fn resign(broker: &Broker, topic: &str, index: PartitionIndex) {
    match topic {
        group_hosts::TOPIC => broker.groups.hosts().resign(index),
        transaction_hosts::TOPIC => broker.transactions.hosts().resign(index),
        share_coordinators::TOPIC => broker.share_coordinators.hosts().resign(index),
        _ => {}
    }
}

fn assignment(configs: &Configs<'_>, partition: &metadata::Partition, isr_min: i64) -> Assignment {
    let lag_ms = configs.broker().integer("replica.lag.time.max.ms");
    Assignment {
        leader: partition.leader,
        term: Term {
            leader_epoch: partition.leader_epoch,
            partition_epoch: partition.partition_epoch,
            replicas: partition.replicas.clone(),
            isr: partition.isr.iter().copied().collect(),
        },
        isr_min: partition.min_isr(isr_min),
        lag_max: Duration::from_millis(lag_ms.max(0) as u64),
    }
}

/// What lies in the log directories: of each the names of the logs.
type Layout = Vec<BTreeSet<String>>;

/// In which log directories the logs lie that are there already.
async fn layout_of(broker: &Arc<Broker>, wanted: &[Wanted]) -> Layout {
    let names: BTreeSet<_> = wanted.iter().map(|wanted| names::dir_name(&wanted.name())).collect();
    let dirs = broker.dirs.clone();
    let look = move || {
        // One by one: a whole directory is much to list for one topic, and a list that fails would say that nothing is there.
        let in_dir = |dir: &Arc<LogDir>| {
            let is_there = |name: &&String| !dir.is_offline() && dir.world.disk.exists(&dir.path.join(name));
            names.iter().filter(is_there).cloned().collect()
        };
        dirs.all().iter().map(in_dir).collect()
    };
    on_lane(&broker.world, look).await.unwrap_or_default()
}

/// Replicas with the places that are found for them.
async fn open(
    broker: &Arc<Broker>,
    wanted: Vec<Wanted>,
    found: Option<&AllFound>,
    layout: &Layout,
    futures: &[Future],
) {
    let image = broker.image();
    let configs = broker.config.configs(&image);
    let mut shared: Option<(Arc<Topic>, Arc<LogConfig>)> = None;
    let opening = place_all(broker, wanted, layout, futures).into_iter().filter_map(|(wanted, place)| {
        let known = shared.take_if(|(topic, _)| Arc::ptr_eq(topic, &wanted.topic));
        let config = known.map_or_else(
            || Arc::new(log_config::of_topic(&configs.topic(&wanted.topic.name))),
            |(_, config)| config,
        );
        shared = Some((wanted.topic.clone(), config.clone()));
        let now = broker.world.clock.wall();
        let opening = Opening::new((&broker.dirs, futures), wanted, place, found, (config, now))?;
        Some(opening.run())
    });
    let opened: Vec<_> = join_all(opening).await.into_iter().flatten().collect();
    // They know what they are before anybody finds them.
    assign_all(
        broker,
        &image,
        opened.iter().map(|(wanted, partition)| (wanted.clone(), partition.clone())).collect(),
    )
    .await;
    let mut topic = Vec::new();
    for (_, partition) in opened {
        if topic.first().is_some_and(|first: &Arc<Partition>| first.topic_id() != partition.topic_id()) {
            broker.partitions.insert(std::mem::take(&mut topic));
        }
        topic.push(partition);
    }
    broker.partitions.insert(topic);
}

/// Finds places for replicas: first for those that lie somewhere, since new ones go where the fewest are.
fn place_all(
    broker: &Broker,
    wanted: Vec<Wanted>,
    layout: &Layout,
    futures: &[Future],
) -> Vec<(Wanted, Place)> {
    let partitions = broker.partitions.all();
    let image = broker.image();
    let cordoned = broker.config.configs(&image).broker().list("cordoned.log.dirs");
    let mut dirs = broker.dirs.as_places(
        |dir| log_dirs::is_cordoned(dir, &cordoned),
        |dir| partitions.iter().filter(|known| known.is_in(dir)).count() + broker.moves.count_into(dir),
    );
    for future in futures {
        dirs.get_mut(future.place).into_iter().for_each(|dir| dir.logs += 1);
    }
    let halves: BTreeMap<_, _> = futures.iter().map(|future| (&future.replica, future.place)).collect();
    let mut placed = Vec::with_capacity(wanted.len());
    let mut later = Vec::new();
    for wanted in wanted {
        let name = wanted.name();
        let dir_name = names::dir_name(&name);
        let places = layout.iter().enumerate().filter(|(_, names)| names.contains(&dir_name));
        let found: Vec<usize> = places.map(|(place, _)| place).collect();
        if found.is_empty() {
            later.push((wanted, name));
            continue;
        }
        let known = Known { found: &found, ..unfound(broker, &wanted) };
        if let Some(place) = replica_place::place(&dirs, known) {
            if let Place::Found(place) = place {
                dirs.get_mut(place).into_iter().for_each(|dir| dir.logs += 1);
            }
            placed.push((wanted, place));
        }
    }
    for (wanted, name) in later {
        let known = Known {
            wished: broker.dirs.take_wish(&name),
            future: halves.get(&name).copied(),
            ..unfound(broker, &wanted)
        };
        if let Some(place) = replica_place::place(&dirs, known) {
            if let Place::New(place) = place {
                dirs.get_mut(place).into_iter().for_each(|dir| dir.logs += 1);
            }
            placed.push((wanted, place));
        }
    }
    // Those of a topic are entered together.
    placed
        .sort_by(|(one, _), (other, _)| (&one.topic.name, one.index).cmp(&(&other.topic.name, other.index)));
    placed
}

fn unfound(broker: &Broker, wanted: &Wanted) -> Known<'static> {
    let partition = wanted.topic.partition(wanted.index);
    let assigned = partition.and_then(|known| known.directory(broker.config.node_id));
    let assigned = assigned.unwrap_or(DIRECTORY_UNASSIGNED);
    Known { found: &[], assigned, wished: None, future: None }
}

/// A replica that is about to be opened.
struct Opening {
    wanted: Wanted,
    name: TopicPartition,
    dir: Arc<LogDir>,
    options: OpenOptions,
    /// What the last run has left of it.
    high_watermark: Offset,
    clean_upto: Option<Offset>,
    /// Why it is not opened, and whether it counts as damaged.
    refused: Option<(String, bool)>,
}

impl Opening {
    fn new(
        (dirs, futures): (&LogDirs, &[Future]),
        wanted: Wanted,
        place: Place,
        found: Option<&AllFound>,
        (config, now): (Arc<LogConfig>, Timestamp),
    ) -> Option<Self> {
        let (Place::Found(at) | Place::New(at) | Place::Offline(at) | Place::HalfMoved { at, .. }) = place;
        let dir = dirs.get(at)?.clone();
        let (name, path) = (wanted.name(), dir.path.display().to_string());
        let is_new = !matches!(place, Place::Found(_));
        let found = found.and_then(|found| found.get(at)?.as_ref());
        let options = OpenOptions {
            topic_id: wanted.topic.id,
            is_new,
            // What lies there although nobody opened it at the start may have been left by a crash before it.
            clean: found.map_or(is_new, |found| found.clean),
            recovery_point: found.and_then(|found| found.recovery_points.get(&name).copied()).unwrap_or(0),
            start_offset: found.and_then(|found| found.start_offsets.get(&name).copied()).unwrap_or(0),
            now,
            config,
        };
        let refused = match place {
            Place::Found(_) | Place::New(_) => None,
            Place::Offline(_) => {
                Some((format!("it may lie in {path}, which is offline; repair that and restart"), false))
            }
            Place::HalfMoved { copy, .. } => Some((half_moved(dirs.get(copy)?, &name, futures), true)),
        };
        let high_watermark = found.and_then(|found| found.high_watermarks.get(&name).copied()).unwrap_or(0);
        let clean_upto = found.and_then(|found| found.cleaner_offsets.get(&name).copied());
        Some(Self { wanted, name, dir, options, high_watermark, clean_upto, refused })
    }

    async fn run(self) -> Option<(Wanted, Arc<Partition>)> {
        let Self { wanted, name, dir, options, high_watermark, clean_upto, refused } = self;
        let (config, is_new) = (options.config.clone(), options.is_new);
        let (topic, index, shown) = (wanted.topic.clone(), wanted.index, name.clone());
        let opened = match refused {
            Some((why, is_damaged)) => Err(Unopened { why, is_scarcity: false, is_damaged, options }),
            // Nothing is read and nothing is written before the first append: no lane is needed.
            None if is_new && options.start_offset == 0 => open_log(&dir, &name, options),
            None => {
                let on = dir.clone();
                on_lane(&dir.world, move || open_log(&on, &name, options)).await?
            }
        };
        let condition = match &opened {
            Ok(_) => Condition::of_open(is_new),
            Err(unopened) => {
                tracing::error!(partition = %shown, why = %unopened.why, "the partition is offline");
                Condition::Lost
            }
        };
        let partition = Partition::new(dir, (topic.name.clone(), topic.id, index), -1, config, opened);
        partition.note(condition);
        partition.await_role(high_watermark);
        partition.restore_clean_upto(clean_upto);
        Some((wanted, partition))
    }
}

/// Why a replica is not opened of which there is only a copy that may not be all of it.
fn half_moved(to: &LogDir, name: &TopicPartition, futures: &[Future]) -> String {
    let dir_name =
        futures.iter().find(|future| &future.replica == name).map_or("", |future| &future.dir_name);
    format!(
        "it was being moved to {}, and the log directory it was moved from has gone; what was copied is {}: rename that to \
         {} there and restart to go on with it",
        to.path.display(),
        to.path.join(dir_name).display(),
        names::dir_name(name)
    )
}

/// Runs on a lane if there is anything to read.
pub(crate) fn open_log(dir: &LogDir, name: &TopicPartition, options: OpenOptions) -> OpenedLog {
    let path = dir.path.join(names::dir_name(name));
    let opened = log::open(&*dir.world.disk, &path, options.clone()).map_err(|error| {
        let is_scarcity = matches!(&error, OpenError::Io(error) if log::is_scarcity(error));
        let is_damaged = match &error {
            OpenError::Damaged(_) => true,
            OpenError::Foreign { .. } => false,
            OpenError::Io(error) => is_damage(error),
        };
        Unopened { why: error.to_string(), is_scarcity, is_damaged, options }
    })?;
    let recovery = &opened.recovery;
    if recovery.bytes_truncated > 0 || recovery.indexes_rebuilt > 0 {
        tracing::warn!(
            partition = %name,
            bytes_truncated = recovery.bytes_truncated,
            segments_dropped = recovery.segments_dropped,
            indexes_rebuilt = recovery.indexes_rebuilt,
            "recovered after a crash; nothing that was acknowledged is gone, unless something else changed the file"
        );
    }
    Ok((opened.log, opened.files))
}

async fn remove(broker: &Arc<Broker>, topics: &[Arc<Topic>]) {
    let partitions = topics.iter().flat_map(|topic| broker.partitions.remove(topic.id)).collect();
    for topic in topics {
        match &*topic.name {
            group_hosts::TOPIC => broker.groups.hosts().resign_all(),
            transaction_hosts::TOPIC => broker.transactions.hosts().resign_all(),
            share_coordinators::TOPIC => broker.share_coordinators.hosts().resign_all(),
            _ => {}
        }
    }
    let deleted = topics.iter().map(|topic| groups::DeletedTopic { name: topic.name.clone(), id: topic.id });
    broker.groups.topics_deleted(&deleted.collect::<Vec<_>>());
    let ids: Vec<TopicId> = topics.iter().map(|topic| topic.id).collect();
    broker.shares.topics_deleted(&ids);
    broker.share_coordinators.topics_deleted(broker, &ids);
    remove_logs(broker, partitions).await;
}

/// Ends partitions and deletes their logs.
async fn remove_logs(broker: &Arc<Broker>, partitions: Vec<Arc<Partition>>) {
    let mut dirs = Vec::new();
    let mut jobs = Vec::new();
    let mut orders = Vec::new();
    for partition in partitions {
        let name = TopicPartition::new(partition.topic().clone(), partition.index());
        dirs.push((names::dir_name(&name), names::deleted_dir_name(&name, broker.world.random.uuid())));
        resign(broker, partition.topic(), partition.index());
        broker.shares.resign(partition.topic_id(), partition.index());
        jobs.extend(partition.remove());
        orders.push(Order { partition, leader: None });
    }
    broker.fetchers.assign(broker, orders);
    // Whoever creates a directory at this moment must not do so after it was looked for, and whoever rolls must not
    // create the segment in the directory of a new topic.
    join_all(jobs).await;
    let (log_dirs, on) = (broker.dirs.clone(), broker.clone());
    // Forgotten in the checkpoints first: a new topic of the same name must not be measured by the old one's marks.
    // Renamed before the answer leaves, so that a new topic of this name finds its place free; deleted afterwards. In all
    // directories: one that was moved while another failed may have left something there.
    let renamed = on_lane(&broker.world, move || {
        let mut all = Vec::new();
        for dir in log_dirs.online() {
            if let Err(error) = dir.write_checkpoints(|| upkeep::checkpoints(&on, dir)) {
                tracing::error!(%error, "the checkpoints could not be written");
            }
            let renamed: Vec<_> = dirs.iter().filter(|(from, to)| rename(dir, from, to)).collect();
            if !renamed.is_empty() {
                let _ = dir.world.disk.sync_dir(&dir.path);
            }
            all.extend(renamed.into_iter().map(|(_, to)| (dir.clone(), to.clone())));
        }
        all
    });
    let Some(renamed) = renamed.await else { return };
    let world = broker.world.clone();
    world.tasks.run_on_lane(Box::new(move || {
        for (dir, name) in renamed {
            delete_dir(&dir, &name);
        }
    }));
}

/// Whether the directory was there and has its new name.
fn rename(dir: &LogDir, from: &str, to: &str) -> bool {
    match dir.world.disk.rename(&dir.path.join(from), &dir.path.join(to)) {
        Ok(()) => true,
        // Nothing was ever written there.
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => {
            tracing::warn!(dir = %from, %error, "a deleted partition's directory could not be renamed");
            false
        }
    }
}

fn delete_dir(dir: &LogDir, name: &str) {
    if let Err(error) = dir.world.disk.remove_dir_all(&dir.path.join(name)) {
        tracing::warn!(dir = %name, %error, "a deleted partition's directory could not be removed");
    }
}

/// A log that was being copied from one log directory to another when the broker ended.
pub(crate) struct Future {
    pub(crate) replica: TopicPartition,
    pub(crate) topic: TopicId,
    /// Which directory it is being copied to.
    pub(crate) place: usize,
    /// What it is called there.
    pub(crate) dir_name: String,
}

/// Looks at what lies in the log directories. Those of topics that the metadata does not know are renamed, never deleted:
/// metadata may have been lost. So are those of a topic that was deleted and created again meanwhile.
async fn survey(broker: &Arc<Broker>, image: &Image) -> io::Result<(Layout, Vec<Future>)> {
    let known: BTreeMap<String, Uuid> = image
        .topics()
        .flat_map(|topic| {
            let name = |index| names::dir_name(&TopicPartition::new(TopicName::clone(&topic.name), index));
            topic.indexed().map(move |(index, _)| (name(index), topic.id)).collect::<Vec<_>>()
        })
        .collect();
    let dirs = broker.dirs.clone();
    let work = on_lane(&broker.world, move || {
        let (mut layout, mut futures) = (Layout::new(), Vec::new());
        for (place, dir) in dirs.all().iter().enumerate() {
            let looked = match dir.is_offline() {
                true => Ok(BTreeSet::new()),
                false => set_aside_strays(dir, &known),
            };
            let mut names = match looked {
                Ok(names) => names,
                // The others serve on.
                Err(error) if dirs.all().len() > 1 => {
                    tracing::error!(dir = %dir.path.display(), %error, "the log directory cannot be read");
                    dir.fail();
                    BTreeSet::new()
                }
                Err(error) => return Err(error),
            };
            futures.extend(names.iter().filter_map(|name| future(dir, place, name, &known)));
            names.retain(|name| known.contains_key(name));
            layout.push(names);
        }
        Ok((layout, futures))
    });
    work.await.unwrap_or_else(|| Ok(Default::default()))
}

/// Runs on a lane; gives the names of what is no stray.
fn set_aside_strays(dir: &LogDir, known: &BTreeMap<String, Uuid>) -> io::Result<BTreeSet<String>> {
    let dirs = dir.world.disk.list(&dir.path)?.into_iter().filter(|entry| entry.is_dir);
    let mut dirs: BTreeSet<_> = dirs.map(|entry| entry.name).collect();
    let strays: BTreeSet<_> = dirs.iter().filter(|name| is_stray(dir, name, known)).cloned().collect();
    for name in &strays {
        if names::is_deleted_dir(name) {
            delete_dir(dir, name);
        } else if names::parse_dir_name(name).is_some() {
            let stray = set_aside_stray(dir, name, &dirs)?;
            tracing::warn!(dir = %name, "no topic of today has this directory; it was renamed to {stray}");
        }
    }
    dirs.retain(|name| !strays.contains(name));
    Ok(dirs)
}

fn set_aside_stray(dir: &LogDir, name: &str, taken: &BTreeSet<String>) -> io::Result<String> {
    let mut stray = format!("{name}-stray");
    if taken.contains(&stray) {
        stray = format!("{name}.{}-stray", dir.world.random.uuid());
    }
    dir.world.disk.rename(&dir.path.join(name), &dir.path.join(&stray))?;
    Ok(stray)
}

/// The future log of that name, if it is one of this broker; others are removed, for they never were all there is.
fn future(dir: &LogDir, place: usize, name: &str, known: &BTreeMap<String, Uuid>) -> Option<Future> {
    let replica = names::parse_future_dir_name(name)?;
    let topic = known.get(&names::dir_name(&replica)).copied();
    // One that was broken off before it had said whose it is holds nothing yet. Where it cannot be read, for want of
    // descriptors for one, that is seen when it is opened.
    let whose = match log::read_topic_id(&*dir.world.disk, &dir.path.join(name)) {
        Err(error) if error.kind() != io::ErrorKind::InvalidData => topic,
        read => read.ok().flatten(),
    };
    match topic.filter(|topic| whose == Some(*topic)) {
        Some(topic) => Some(Future { replica, topic, place, dir_name: name.to_owned() }),
        None => {
            delete_dir(dir, name);
            None
        }
    }
}

/// Of a log that lies in two directories one counts; the other is what it was before it was moved. It is set aside, so that
/// it never comes back in its place.
async fn set_aside_twins(broker: &Arc<Broker>, layout: &Layout) {
    let mut twins = Vec::new();
    for partition in broker.partitions.all() {
        let name = names::dir_name(&partition.name());
        // What counts cannot be read: then this is all that can be.
        if partition.offsets().is_none() {
            continue;
        }
        for (place, _) in layout.iter().enumerate().filter(|(_, names)| names.contains(&name)) {
            let dir = broker.dirs.get(place).filter(|dir| !partition.is_in(dir));
            twins.extend(dir.map(|dir| (dir.clone(), name.clone())));
        }
    }
    if twins.is_empty() {
        return;
    }
    let set_aside = move || {
        for (dir, name) in twins {
            let path = dir.path.display();
            // By a name of its own.
            let taken = BTreeSet::from([format!("{name}-stray")]);
            match set_aside_stray(&dir, &name, &taken).and_then(|stray| {
                dir.world.disk.sync_dir(&dir.path)?;
                Ok(stray)
            }) {
                Ok(stray) => {
                    tracing::warn!(%path, dir = %name, "the log was moved to another log directory; what it was here is {stray} now, to be removed by hand")
                }
                Err(error) => {
                    tracing::error!(%path, dir = %name, %error, "what a log was before it was moved could not be set aside")
                }
            }
        }
    };
    on_lane(&broker.world, set_aside).await;
}

/// Runs on a lane: whether a directory is of no topic, or of another one than has its name. What cannot be read is looked
/// at when the log is opened.
fn is_stray(dir: &LogDir, name: &str, known: &BTreeMap<String, Uuid>) -> bool {
    match known.get(name) {
        None => name != crate::METADATA_DIR && names::parse_future_dir_name(name).is_none(),
        Some(id) => {
            let found = log::read_topic_id(&*dir.world.disk, &dir.path.join(name));
            found.is_ok_and(|found| found.is_some_and(|found| found != *id))
        }
    }
}

async fn configure(broker: &Arc<Broker>, before: &Image, after: &Image) {
    let changed = |kind| {
        let (old, new): (Vec<_>, Vec<_>) =
            (before.overridden(kind).collect(), after.overridden(kind).collect());
        old != new
    };
    broker.client_metrics.configure(Some(before), broker.config.configs(after));
    let broker_changed = changed(ResourceKind::Broker);
    if broker_changed {
        broker.groups.configure(&broker.groups_config());
        broker.transactions.configure(&broker.transactions_config());
        broker.share_coordinators.configure(broker.share_coordinators_config());
    }
    if !broker_changed && !changed(ResourceKind::Topic) {
        return;
    }
    broker.throttles.configure(after);
    let configs = broker.config.configs(after);
    broker.catching_up.configure(&configs.broker());
    let mut changed = Vec::new();
    for topic in after.topics() {
        let own = |image: &Image| image.overrides(ResourceKind::Topic, &topic.name).cloned();
        if !broker_changed && own(before) == own(after) {
            continue;
        }
        let config = Arc::new(log_config::of_topic(&configs.topic(&topic.name)));
        for (index, _) in topic.indexed() {
            if let Some(partition) = broker.partitions.get(&topic.name, index) {
                partition.configure(config.clone());
                changed.push((Wanted { topic: topic.clone(), index }, partition));
            }
        }
    }
    // How many must be in sync is a configuration too.
    assign_all(broker, after, changed).await;
}

//! Follows the image: opens the logs of partitions that appear, removes those of topics that are gone, tells partitions
//! whether they lead and whom they follow, hands new configurations on.
//!
//! It decides nothing; the controller has. Opening and removing happens on disk lanes, many at once.

use crate::{
    Broker,
    dir_assignments::Condition,
    fetchers::Order,
    group_hosts, image_topics, log_config,
    log_dir::{Found, LogDir},
    partition::{self, Assigned, Assignment, OpenedLog, Partition, Unopened, is_damage, on_lane},
    share_coordinators, transaction_hosts, upkeep,
};
use futures_util::future::join_all;
use log::{LogConfig, OpenError, OpenOptions, names};
use metadata::{
    DIRECTORY_LOST, Image, Topic,
    config::{Configs, ResourceKind},
};
use model::{NodeId, Offset, PartitionIndex, TopicId, TopicName, TopicPartition};
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
pub(crate) async fn open_all(broker: &Arc<Broker>, found: &Found) -> io::Result<()> {
    let mut following = broker.following.lock().await;
    let image = broker.image();
    broker.throttles.configure(&image);
    broker.client_quotas.configure(&image);
    broker.client_metrics.configure(None, broker.config.configs(&image));
    let dirs = set_aside_strays(broker, &image).await?;
    broker.groups.topics_changed(&image_topics::view(image.clone()));
    let wanted = image.topics().flat_map(|topic| ours(broker, topic));
    open(broker, wanted.collect(), Some(found), &dirs).await;
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
        let dirs = dirs_of(broker, &changes.come).await;
        open(broker, changes.come, None, &dirs).await;
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
        let is_lost = known.directory(broker.config.node_id) == Some(DIRECTORY_LOST);
        if is_lost && partition.condition() == partition::Condition::Sound {
            broker.dir.dir_assignments.object((topic.id, index), broker.config.node_id, known);
        }
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

/// The names of the directories that are there already.
async fn dirs_of(broker: &Arc<Broker>, wanted: &[Wanted]) -> BTreeSet<String> {
    let names: Vec<_> = wanted.iter().map(|wanted| names::dir_name(&wanted.name())).collect();
    let dir = broker.dir.clone();
    let exist =
        move || names.into_iter().filter(|name| dir.world.disk.exists(&dir.path.join(name))).collect();
    on_lane(&broker.world, exist).await.unwrap_or_default()
}

async fn open(broker: &Arc<Broker>, wanted: Vec<Wanted>, found: Option<&Found>, dirs: &BTreeSet<String>) {
    let image = broker.image();
    let configs = broker.config.configs(&image);
    let mut shared: Option<(Arc<Topic>, Arc<LogConfig>)> = None;
    let opening = wanted.into_iter().map(|wanted| {
        let known = shared.take_if(|(topic, _)| Arc::ptr_eq(topic, &wanted.topic));
        let config = known.map_or_else(
            || Arc::new(log_config::of_topic(&configs.topic(&wanted.topic.name))),
            |(_, config)| config,
        );
        shared = Some((wanted.topic.clone(), config.clone()));
        let name = wanted.name();
        let is_new = !dirs.contains(&names::dir_name(&name));
        let options = OpenOptions {
            topic_id: wanted.topic.id,
            is_new,
            // What lies there although nobody opened it at the start may have been left by a crash before it.
            clean: found.map_or(is_new, |found| found.clean),
            recovery_point: found.and_then(|found| found.recovery_points.get(&name).copied()).unwrap_or(0),
            start_offset: found.and_then(|found| found.start_offsets.get(&name).copied()).unwrap_or(0),
            now: broker.world.clock.wall(),
            config,
        };
        let high_watermark = found.and_then(|found| found.high_watermarks.get(&name).copied()).unwrap_or(0);
        let clean_upto = found.and_then(|found| found.cleaner_offsets.get(&name).copied());
        open_one(broker.dir.clone(), wanted, name, options, (high_watermark, clean_upto))
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

async fn open_one(
    dir: Arc<LogDir>,
    wanted: Wanted,
    name: TopicPartition,
    options: OpenOptions,
    (high_watermark, clean_upto): (Offset, Option<Offset>),
) -> Option<(Wanted, Arc<Partition>)> {
    let (config, is_new) = (options.config.clone(), options.is_new);
    let (topic, index, shown) = (wanted.topic.clone(), wanted.index, name.clone());
    let opened = if options.is_new && options.start_offset == 0 {
        // Nothing is read and nothing is written before the first append: no lane is needed.
        open_log(&dir, &name, options)
    } else {
        let on = dir.clone();
        on_lane(&dir.world, move || open_log(&on, &name, options)).await?
    };
    let condition = match &opened {
        Ok(_) => Condition::of_open(is_new),
        Err(unopened) => {
            tracing::error!(partition = %shown, why = %unopened.why, "the partition is offline");
            Condition::Lost
        }
    };
    dir.dir_assignments.note((topic.id, index), condition);
    let partition = Partition::new(dir, (topic.name.clone(), topic.id, index), -1, config, opened);
    partition.await_role(high_watermark);
    partition.restore_clean_upto(clean_upto);
    Some((wanted, partition))
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
        jobs.extend(partition.remove());
        orders.push(Order { partition, leader: None });
    }
    broker.fetchers.assign(broker, orders);
    // Whoever creates a directory at this moment must not do so after it was looked for, and whoever rolls must not
    // create the segment in the directory of a new topic.
    join_all(jobs).await;
    let (dir, on) = (broker.dir.clone(), broker.clone());
    // Forgotten in the checkpoints first: a new topic of the same name must not be measured by the old one's marks.
    // Renamed before the answer leaves, so that a new topic of this name finds its place free; deleted afterwards.
    let renamed = on_lane(&broker.world, move || {
        let disk = &*dir.world.disk;
        if let Err(error) = dir.write_checkpoints(|| upkeep::checkpoints(&on)) {
            tracing::error!(%error, "the checkpoints could not be written");
        }
        let renamed: Vec<_> = dirs.into_iter().filter(|(from, to)| rename(&dir, from, to)).collect();
        if !renamed.is_empty() {
            let _ = disk.sync_dir(&dir.path);
        }
        (dir, renamed)
    });
    let Some((dir, dirs)) = renamed.await else { return };
    let world = broker.world.clone();
    world.tasks.run_on_lane(Box::new(move || {
        for (_, name) in dirs {
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

/// Directories of topics that the metadata does not know are renamed, never deleted: metadata may have been lost. So are
/// those of a topic that was deleted and created again meanwhile. Gives the names of the others.
async fn set_aside_strays(broker: &Arc<Broker>, image: &Image) -> io::Result<BTreeSet<String>> {
    let known: BTreeMap<String, Uuid> = image
        .topics()
        .flat_map(|topic| {
            let name = |index| names::dir_name(&TopicPartition::new(TopicName::clone(&topic.name), index));
            topic.indexed().map(move |(index, _)| (name(index), topic.id)).collect::<Vec<_>>()
        })
        .collect();
    let dir = broker.dir.clone();
    let work = on_lane(&broker.world, move || {
        let dirs = dir.world.disk.list(&dir.path)?.into_iter().filter(|entry| entry.is_dir);
        let mut dirs: BTreeSet<_> = dirs.map(|entry| entry.name).collect();
        let strays: BTreeSet<_> = dirs.iter().filter(|name| is_stray(&dir, name, &known)).cloned().collect();
        for name in &strays {
            if names::is_deleted_dir(name) {
                delete_dir(&dir, name);
            } else if names::parse_dir_name(name).is_some() {
                let mut stray = format!("{name}-stray");
                if dirs.contains(&stray) {
                    stray = format!("{name}.{}-stray", dir.world.random.uuid());
                }
                tracing::warn!(dir = %name, "no topic of today has this directory; it was renamed to {stray}");
                dir.world.disk.rename(&dir.path.join(name), &dir.path.join(stray))?;
            }
        }
        dirs.retain(|name| known.contains_key(name) && !strays.contains(name));
        Ok(dirs)
    });
    work.await.unwrap_or_else(|| Ok(BTreeSet::new()))
}

/// Runs on a lane: whether a directory is of no topic, or of another one than has its name. What cannot be read is looked
/// at when the log is opened.
fn is_stray(dir: &LogDir, name: &str, known: &BTreeMap<String, Uuid>) -> bool {
    match known.get(name) {
        None => name != crate::METADATA_DIR,
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

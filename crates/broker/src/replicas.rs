//! Follows the image: opens the logs of partitions that appear, removes those of topics that are gone, hands new
//! configurations on.
//!
//! It decides nothing; the controller has. Opening and removing happens on disk lanes, many at once.

use crate::{
    Broker, group_hosts, log_config,
    log_dir::{Found, LogDir},
    partition::{OpenedLog, Partition, Unopened, on_lane},
    upkeep,
};
use futures_util::future::join_all;
use log::{LogConfig, OpenError, OpenOptions, names};
use metadata::{Image, Topic, config::ResourceKind};
use model::{PartitionIndex, TopicName, TopicPartition};
use std::{collections::BTreeSet, io, sync::Arc};

/// A partition that is to be opened.
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
    let dirs = set_aside_strays(broker, &image).await?;
    let wanted = image.topics().flat_map(|topic| ours(broker, topic, 0));
    open(broker, wanted.collect(), Some(found), &dirs).await;
    *following = Some(image);
    Ok(())
}

/// Brings the broker to the newest image, if its partitions are open.
pub(crate) async fn follow_newest(broker: &Arc<Broker>) {
    let mut following = broker.following.lock().await;
    let after = broker.image();
    if let Some(before) = following.as_mut().filter(|before| !Arc::ptr_eq(before, &after)) {
        follow(broker, before, &after).await;
        *before = after.clone();
    }
    broker.images.set_followed(after.position().offset);
}

/// Brings the broker from one image to the next.
async fn follow(broker: &Arc<Broker>, before: &Image, after: &Image) {
    let mut wanted = Vec::new();
    for topic in after.topics() {
        match before.topic_by_id(topic.id) {
            Some(known) if Arc::ptr_eq(known, topic) => {}
            Some(known) => {
                wanted.extend(ours(broker, topic, known.partitions.len()));
                wanted.extend(changed(broker, known, topic));
            }
            None => wanted.extend(ours(broker, topic, 0)),
        }
    }
    let gone: Vec<_> =
        before.topics().filter(|topic| after.topic_by_id(topic.id).is_none()).cloned().collect();
    if !gone.is_empty() {
        remove(broker, &gone).await;
    }
    if !wanted.is_empty() {
        let dirs = dirs_of(broker, &wanted).await;
        open(broker, wanted, None, &dirs).await;
    }
    configure(broker, before, after);
}

fn ours(broker: &Broker, topic: &Arc<Topic>, from: usize) -> Vec<Wanted> {
    let is_ours = |partition: &metadata::Partition| partition.replicas.contains(&broker.config.node_id);
    let partitions = topic.indexed().skip(from).filter(|(_, partition)| is_ours(partition));
    partitions.map(|(index, _)| Wanted { topic: topic.clone(), index }).collect()
}

/// Takes over who leads the partitions that are here; gives those that this broker has become a replica of.
fn changed(broker: &Broker, before: &Topic, after: &Arc<Topic>) -> Vec<Wanted> {
    let node = broker.config.node_id;
    let mut wanted = Vec::new();
    for ((index, partition), known) in after.indexed().zip(&before.partitions) {
        if std::ptr::eq(partition, &raw const **known) || !partition.replicas.contains(&node) {
            continue;
        }
        match broker.partitions.get(&after.name, index) {
            Some(here) => lead_or_not(broker, &here, partition),
            None => wanted.push(Wanted { topic: after.clone(), index }),
        }
    }
    wanted
}

fn lead_or_not(broker: &Broker, here: &Arc<Partition>, partition: &metadata::Partition) {
    let leads = partition.leader == broker.config.node_id;
    here.set_leadership(partition.leader_epoch, leads);
    match &**here.topic() == group_hosts::TOPIC {
        true if leads => broker.groups.lead(vec![here.clone()], &broker.groups_config()),
        true => broker.groups.resign_from(here.index()),
        false => {}
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
        let options = OpenOptions {
            topic_id: wanted.topic.id,
            is_new: !dirs.contains(&names::dir_name(&name)),
            clean: found.is_none_or(|found| found.clean),
            recovery_point: found.and_then(|found| found.recovery_points.get(&name).copied()).unwrap_or(0),
            start_offset: found.and_then(|found| found.start_offsets.get(&name).copied()).unwrap_or(0),
            now: broker.world.clock.wall(),
            config,
        };
        open_one(broker, wanted, name, options)
    });
    let opened: Vec<_> = join_all(opening).await.into_iter().flatten().collect();
    let is_of_groups =
        |partition: &&Arc<Partition>| &**partition.topic() == group_hosts::TOPIC && partition.is_led_here();
    let of_groups = opened.iter().filter(is_of_groups);
    broker.groups.lead(of_groups.cloned().collect(), &broker.groups_config());
    let mut topic = Vec::new();
    for partition in opened {
        if topic.first().is_some_and(|first: &Arc<Partition>| first.topic_id() != partition.topic_id()) {
            broker.partitions.insert(std::mem::take(&mut topic));
        }
        topic.push(partition);
    }
    broker.partitions.insert(topic);
}

async fn open_one(
    broker: &Broker,
    wanted: Wanted,
    name: TopicPartition,
    options: OpenOptions,
) -> Option<Arc<Partition>> {
    let dir = broker.dir.clone();
    let config = options.config.clone();
    let (topic, index, shown) = (wanted.topic, wanted.index, name.clone());
    let opened = if options.is_new && options.start_offset == 0 {
        // Nothing is read and nothing is written before the first append: no lane is needed.
        open_log(&dir, &name, options)
    } else {
        let on = dir.clone();
        on_lane(&dir.world, move || open_log(&on, &name, options)).await?
    };
    if let Err(unopened) = &opened {
        tracing::error!(partition = %shown, why = %unopened.why, "the partition is offline");
    }
    let (leader, epoch) =
        topic.partition(index).map_or((-1, 0), |partition| (partition.leader, partition.leader_epoch));
    let partition = Partition::new(dir, (topic.name.clone(), topic.id, index), epoch, config, opened);
    partition.set_leadership(epoch, leader == broker.config.node_id);
    Some(partition)
}

/// Runs on a lane if there is anything to read.
pub(crate) fn open_log(dir: &LogDir, name: &TopicPartition, options: OpenOptions) -> OpenedLog {
    let path = dir.path.join(names::dir_name(name));
    let opened = log::open(&*dir.world.disk, &path, options.clone()).map_err(|error| {
        let is_scarcity = matches!(&error, OpenError::Io(error) if log::is_scarcity(error));
        Unopened { why: error.to_string(), is_scarcity, options }
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
    let mut dirs = Vec::new();
    let mut jobs = Vec::new();
    for topic in topics {
        for partition in broker.partitions.remove(topic.id) {
            let name = TopicPartition::new(partition.topic().clone(), partition.index());
            dirs.push((names::dir_name(&name), names::deleted_dir_name(&name, broker.world.random.uuid())));
            jobs.extend(partition.remove());
        }
    }
    // Whoever creates a directory at this moment must not do so after it was looked for, and whoever rolls must not
    // create the segment in the directory of a new topic.
    join_all(jobs).await;
    if topics.iter().any(|topic| &*topic.name == group_hosts::TOPIC) {
        broker.groups.resign();
    }
    let deleted = topics.iter().map(|topic| groups::DeletedTopic { name: topic.name.clone(), id: topic.id });
    broker.groups.topics_deleted(&deleted.collect::<Vec<_>>());
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

/// Directories of topics that the metadata does not know are renamed, never deleted: metadata may have been lost. Gives
/// the names of the others.
async fn set_aside_strays(broker: &Arc<Broker>, image: &Image) -> io::Result<BTreeSet<String>> {
    let known: BTreeSet<String> = image
        .topics()
        .flat_map(|topic| {
            let name = |index| names::dir_name(&TopicPartition::new(TopicName::clone(&topic.name), index));
            topic.indexed().map(move |(index, _)| name(index)).collect::<Vec<_>>()
        })
        .collect();
    let dir = broker.dir.clone();
    let work = on_lane(&broker.world, move || {
        let dirs = dir.world.disk.list(&dir.path)?.into_iter().filter(|entry| entry.is_dir);
        let mut dirs: BTreeSet<_> = dirs.map(|entry| entry.name).collect();
        let strange = |name: &&String| !known.contains(*name) && *name != crate::METADATA_DIR;
        for name in dirs.iter().filter(strange) {
            if names::is_deleted_dir(name) {
                delete_dir(&dir, name);
            } else if names::parse_dir_name(name).is_some() {
                let mut stray = format!("{name}-stray");
                if dirs.contains(&stray) {
                    stray = format!("{name}.{}-stray", dir.world.random.uuid());
                }
                tracing::warn!(dir = %name, "no topic has this directory; it was renamed to {stray}");
                dir.world.disk.rename(&dir.path.join(name), &dir.path.join(stray))?;
            }
        }
        dirs.retain(|name| known.contains(name));
        Ok(dirs)
    });
    work.await.unwrap_or_else(|| Ok(BTreeSet::new()))
}

fn configure(broker: &Arc<Broker>, before: &Image, after: &Image) {
    let changed = |kind| {
        let (old, new): (Vec<_>, Vec<_>) =
            (before.overridden(kind).collect(), after.overridden(kind).collect());
        old != new
    };
    let broker_changed = changed(ResourceKind::Broker);
    if broker_changed {
        broker.groups.configure(&broker.groups_config());
    }
    if !broker_changed && !changed(ResourceKind::Topic) {
        return;
    }
    let configs = broker.config.configs(after);
    for topic in after.topics() {
        let own = |image: &Image| image.overrides(ResourceKind::Topic, &topic.name).cloned();
        if !broker_changed && own(before) == own(after) {
            continue;
        }
        let config = Arc::new(log_config::of_topic(&configs.topic(&topic.name)));
        for (index, _) in topic.indexed() {
            if let Some(partition) = broker.partitions.get(&topic.name, index) {
                partition.configure(config.clone());
            }
        }
    }
}

//! Follows the image: opens the logs of partitions that appear, removes those of topics that are gone, hands new
//! configurations on.
//!
//! It decides nothing; the controller has. Opening and removing happens on disk lanes, many at once.

use crate::{
    Broker, group_hosts, log_config,
    log_dir::{Found, LogDir},
    partition::{Partition, on_lane},
    upkeep,
};
use futures_util::future::join_all;
use log::{OpenOptions, names};
use metadata::{Image, Topic, config::ResourceKind};
use model::{PartitionIndex, TopicName, TopicPartition};
use std::{collections::BTreeSet, io, path::Path, sync::Arc};

/// A partition that is to be opened.
struct Wanted {
    topic: Arc<Topic>,
    index: PartitionIndex,
}

/// Opens everything that the image says this broker has, and looks at what else lies in the log directory.
pub(crate) async fn open_all(broker: &Arc<Broker>, image: &Image, found: &Found) -> io::Result<()> {
    set_aside_strays(broker, image).await?;
    let wanted = image.topics().flat_map(|topic| ours(broker, topic, 0));
    open(broker, wanted.collect(), Some(found)).await;
    Ok(())
}

/// Brings the broker from one image to the next.
pub(crate) async fn follow(broker: &Arc<Broker>, before: &Image, after: &Image) {
    let mut wanted = Vec::new();
    for topic in after.topics() {
        match before.topic_by_id(topic.id) {
            Some(known) if Arc::ptr_eq(known, topic) => {}
            Some(known) => wanted.extend(ours(broker, topic, known.partitions.len())),
            None => wanted.extend(ours(broker, topic, 0)),
        }
    }
    let gone: Vec<_> =
        before.topics().filter(|topic| after.topic_by_id(topic.id).is_none()).cloned().collect();
    if !gone.is_empty() {
        remove(broker, &gone).await;
    }
    if !wanted.is_empty() {
        open(broker, wanted, None).await;
    }
    configure(broker, before, after);
}

fn ours(broker: &Broker, topic: &Arc<Topic>, from: usize) -> Vec<Wanted> {
    let is_ours = |partition: &metadata::Partition| partition.replicas.contains(&broker.config.node_id);
    let partitions = topic.indexed().skip(from).filter(|(_, partition)| is_ours(partition));
    partitions.map(|(index, _)| Wanted { topic: topic.clone(), index }).collect()
}

async fn open(broker: &Arc<Broker>, wanted: Vec<Wanted>, found: Option<&Found>) {
    let image = broker.image();
    let configs = broker.config.configs(&image);
    let opening = wanted.into_iter().map(|wanted| {
        let config = log_config::of_topic(&configs.topic(&wanted.topic.name));
        let name = TopicPartition::new(wanted.topic.name.clone(), wanted.index);
        let options = OpenOptions {
            clean: found.is_none_or(|found| found.clean),
            recovery_point: found.and_then(|found| found.recovery_points.get(&name).copied()).unwrap_or(0),
            start_offset: found.and_then(|found| found.start_offsets.get(&name).copied()).unwrap_or(0),
            now: broker.world.clock.wall(),
            config,
        };
        open_one(broker.dir.clone(), wanted, name, options)
    });
    let opened: Vec<_> = join_all(opening).await.into_iter().flatten().collect();
    let leaders = broker.groups_config();
    let mut topic = Vec::new();
    for partition in opened {
        if &**partition.topic() == group_hosts::TOPIC {
            broker.groups.lead(partition.clone(), leaders.clone());
        }
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
) -> Option<Arc<Partition>> {
    let config = options.config.clone();
    let (topic, index) = (wanted.topic, wanted.index);
    let id = topic.id;
    let on = dir.clone();
    let opened = on_lane(&dir.world, move || open_log(&on, &name, id, options)).await?;
    let epoch = topic.partition(index).map_or(0, |partition| partition.leader_epoch);
    Some(Partition::new(dir, (topic.name.clone(), id, index), epoch, config, opened))
}

type OpenedLog = Result<(log::Log, log::Files), String>;

/// Runs on a lane.
pub(crate) fn open_log(
    dir: &LogDir,
    name: &TopicPartition,
    id: stdx::Uuid,
    options: OpenOptions,
) -> OpenedLog {
    let path = dir.path.join(names::dir_name(name));
    let offline = |why: String| {
        tracing::error!(partition = %name, %why, "the partition is offline");
        why
    };
    let opened = log::open(&*dir.world.disk, &path, options).map_err(|error| offline(error.to_string()))?;
    keep_topic_id(dir, &path, id).map_err(|error| offline(error.to_string()))?;
    let recovery = &opened.recovery;
    if recovery.bytes_truncated > 0 || recovery.indexes_rebuilt > 0 {
        tracing::warn!(
            partition = %name,
            bytes_truncated = recovery.bytes_truncated,
            segments_dropped = recovery.segments_dropped,
            indexes_rebuilt = recovery.indexes_rebuilt,
            "recovered after a crash; nothing that was acknowledged is concerned"
        );
    }
    Ok((opened.log, opened.files))
}

/// `partition.metadata` says whose records these are (KIP-516): written once, compared ever after.
fn keep_topic_id(dir: &LogDir, path: &Path, id: stdx::Uuid) -> io::Result<()> {
    match log::read_topic_id(&*dir.world.disk, path)? {
        None => log::write_topic_id(&*dir.world.disk, path, id),
        Some(found) if found == id => Ok(()),
        Some(found) => {
            let why = format!("{} holds records of topic {found}, the metadata says {id}", path.display());
            Err(io::Error::new(io::ErrorKind::InvalidData, why))
        }
    }
}

async fn remove(broker: &Arc<Broker>, topics: &[Arc<Topic>]) {
    let mut dirs = Vec::new();
    for topic in topics {
        for partition in broker.partitions.remove(topic.id) {
            let name = TopicPartition::new(partition.topic().clone(), partition.index());
            dirs.push((names::dir_name(&name), names::deleted_dir_name(&name, broker.world.random.uuid())));
            partition.remove();
        }
    }
    if topics.iter().any(|topic| &*topic.name == group_hosts::TOPIC) {
        broker.groups.resign();
    }
    let deleted = topics.iter().map(|topic| groups::DeletedTopic { name: topic.name.clone(), id: topic.id });
    broker.groups.topics_deleted(&deleted.collect::<Vec<_>>());
    let (dir, checkpoints) = (broker.dir.clone(), upkeep::checkpoints(broker));
    // Forgotten in the checkpoints first: a new topic of the same name must not be measured by the old one's marks.
    // Renamed before the answer leaves, so that a new topic of this name finds its place free; deleted afterwards.
    let renamed = on_lane(&broker.world, move || {
        let disk = &*dir.world.disk;
        if let Err(error) = dir.write_checkpoints(checkpoints) {
            tracing::error!(%error, "the checkpoints could not be written");
        }
        for (from, to) in &dirs {
            if let Err(error) = disk.rename(&dir.path.join(from), &dir.path.join(to)) {
                tracing::warn!(dir = %from, %error, "a deleted partition's directory could not be renamed");
            }
        }
        let _ = disk.sync_dir(&dir.path);
        (dir, dirs)
    });
    let Some((dir, dirs)) = renamed.await else { return };
    let world = broker.world.clone();
    world.tasks.run_on_lane(Box::new(move || {
        for (_, name) in dirs {
            delete_dir(&dir, &name);
        }
    }));
}

fn delete_dir(dir: &LogDir, name: &str) {
    if let Err(error) = dir.world.disk.remove_dir_all(&dir.path.join(name)) {
        tracing::warn!(dir = %name, %error, "a deleted partition's directory could not be removed");
    }
}

/// Directories of topics that the metadata does not know are renamed, never deleted: metadata may have been lost.
async fn set_aside_strays(broker: &Arc<Broker>, image: &Image) -> io::Result<()> {
    let known: BTreeSet<String> = image
        .topics()
        .flat_map(|topic| {
            let name = |index| names::dir_name(&TopicPartition::new(TopicName::clone(&topic.name), index));
            topic.indexed().map(move |(index, _)| name(index)).collect::<Vec<_>>()
        })
        .collect();
    let dir = broker.dir.clone();
    let work = on_lane(&broker.world, move || {
        for entry in dir.world.disk.list(&dir.path)?.into_iter().filter(|entry| entry.is_dir) {
            if names::is_deleted_dir(&entry.name) {
                delete_dir(&dir, &entry.name);
                continue;
            }
            let is_metadata = entry.name == crate::METADATA_DIR;
            if !is_metadata && !known.contains(&entry.name) && names::parse_dir_name(&entry.name).is_some() {
                let stray = format!("{}-stray", entry.name);
                tracing::warn!(dir = %entry.name, "no topic has this directory; it was renamed to {stray}");
                dir.world.disk.rename(&dir.path.join(&entry.name), &dir.path.join(stray))?;
            }
        }
        Ok(())
    });
    work.await.unwrap_or(Ok(()))
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
        let config = log_config::of_topic(&configs.topic(&topic.name));
        for (index, _) in topic.indexed() {
            if let Some(partition) = broker.partitions.get(&topic.name, index) {
                partition.configure(config.clone());
            }
        }
    }
}

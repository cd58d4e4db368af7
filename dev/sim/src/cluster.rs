//! All machines of a run, one or several, and what is known about them from the outside: who leads what according to the
//! newest metadata that any running broker has. It decides no faults and sends no requests; clients find their nodes
//! here, schedules switch them.

use crate::{
    history::{Event, History, Place, SeenImage},
    node::Node,
    world::{Damage, Host},
};
use metadata::Image;
use parking_lot::Mutex;
use records::{Batch, BatchHeader};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

/// The machines.
pub struct Cluster {
    nodes: Vec<Arc<Node>>,
    history: Arc<History>,
    known: Mutex<Known>,
    damages: Mutex<Damages>,
}

/// What media have damaged.
#[derive(Default)]
struct Damages {
    /// What is not repaired yet, as far as that is known.
    open: Vec<(Host, PathBuf, DamagedPlace, Damage)>,
    any: bool,
}

/// A partition whose replica was damaged: the name of its topic, and its index.
pub type DamagedPlace = (String, i32);

#[derive(Default)]
struct Known {
    /// The position of the newest image of each node that was told.
    told: BTreeMap<Host, i64>,
    newest: Option<Arc<Image>>,
}

/// The topic in which groups keep what they know.
pub const OFFSETS_TOPIC: &str = "__consumer_offsets";
/// The topic of the quorum.
pub const METADATA_TOPIC: &str = "__cluster_metadata";

impl Cluster {
    /// These machines.
    pub fn new(nodes: Vec<Arc<Node>>, history: Arc<History>) -> Arc<Self> {
        Arc::new(Self { nodes, history, known: Mutex::default(), damages: Mutex::default() })
    }

    /// All of them, in the order of their numbers.
    pub fn nodes(&self) -> &[Arc<Node>] {
        &self.nodes
    }

    /// One of them.
    pub fn node(&self, id: Host) -> Option<&Arc<Node>> {
        self.nodes.iter().find(|node| node.id == id)
    }

    /// Whether there are several.
    pub fn is_several(&self) -> bool {
        self.nodes.len() > 1
    }

    /// Tells the history of every image that is new.
    pub fn look(&self) {
        for node in &self.nodes {
            let Some(broker) = node.broker() else { continue };
            let image = broker.image();
            let offset = image.position().offset;
            {
                let mut known = self.known.lock();
                if known.told.insert(node.id, offset) == Some(offset) {
                    continue;
                }
                let newest = known.newest.as_ref().map_or(-1, |image| image.position().offset);
                if offset > newest {
                    known.newest = Some(image.clone());
                }
            }
            self.history.tell(Event::ImageSeen { node: node.id, image: SeenImage(image) });
        }
    }

    /// The newest metadata that any broker has had.
    pub fn newest(&self) -> Option<Arc<Image>> {
        self.look();
        self.known.lock().newest.clone()
    }

    /// The same as far as it was told already.
    pub fn newest_known(&self) -> Option<Arc<Image>> {
        self.known.lock().newest.clone()
    }

    /// Who leads a partition, and in which epoch.
    pub fn leader(&self, topic: &str, partition: i32) -> Option<(Host, i32)> {
        let image = self.newest()?;
        let partition = image.partition(topic, partition)?;
        Some((partition.leader, partition.leader_epoch))
    }

    /// Who coordinates a group.
    pub fn coordinator(&self, group: &str) -> Option<(Host, i32)> {
        let image = self.newest()?;
        let count = image.topic(OFFSETS_TOPIC)?.partitions.len() as i32;
        self.leader(OFFSETS_TOPIC, hash(group).checked_abs().unwrap_or(0).checked_rem(count)?)
    }

    /// On how many disks the records of an acknowledgement are, so that they survive the loss of all power; `None` if
    /// nobody replicates.
    pub fn copies(&self, place: &Place, base_offset: i64) -> Option<usize> {
        if !self.is_several() {
            return None;
        }
        let has = |node: &&Arc<Node>| {
            let dir = node.dir_of(&place.topic, place.partition);
            // What stands behind the damage cannot be found by walking there.
            if self.damages.lock().open.iter().any(|(id, damaged, ..)| *id == node.id && *damaged == dir) {
                return true;
            }
            node.disk.see_durable(&dir, base_offset, |bytes| holds(bytes, base_offset)).unwrap_or(false)
        };
        Some(self.nodes.iter().filter(has).count())
    }

    /// A medium has damaged a replica.
    pub fn on_damage(&self, node: &Node, place: DamagedPlace, damage: Damage) {
        let mut damages = self.damages.lock();
        damages.any = true;
        damages.open.push((node.id, node.dir_of(&place.0, place.1), place, damage));
    }

    /// Whether any replica was ever damaged in this run.
    pub fn was_damaged(&self) -> bool {
        self.damages.lock().any
    }

    /// The replicas that are damaged, or not in sync again since: their nodes and partitions.
    pub fn damaged(&self) -> Vec<(Host, DamagedPlace)> {
        let Some(image) = self.newest() else { return Vec::new() };
        let mut damages = self.damages.lock();
        damages.open.retain(|(id, _, (topic, index), damage)| {
            let Some(known) = image.partition(topic, *index) else { return false };
            let is_gone = self.node(*id).is_none_or(|node| node.disk.is_gone(damage));
            let is_replica = known.replicas.contains(id);
            is_replica && !(is_gone && known.isr.contains(id))
        });
        damages.open.iter().map(|(id, _, place, _)| (*id, place.clone())).collect()
    }

    /// The batches that a node has of a partition: their first offsets, the offsets after them, their checksums.
    pub fn batches(&self, node: &Node, dir: &Path) -> Vec<(i64, i64, u32)> {
        let mut batches = Vec::new();
        for segment in node.disk.segments(dir) {
            let mut bytes = segment.into();
            while let Some(batch) = Batch::split_off(&mut bytes) {
                let header = &batch.header;
                batches.push((header.base_offset, header.next_offset(), stdx::crc32c(&batch.bytes)));
            }
        }
        batches
    }
}

/// Whether a batch that holds `offset` is whole within these bytes of a segment.
fn holds(segment: &[u8], offset: i64) -> bool {
    let mut rest = segment;
    while let Some(header) = BatchHeader::parse(rest) {
        let Some(batch) = rest.get(..header.bytes()).filter(|batch| !batch.is_empty()) else { return false };
        if header.next_offset() > offset {
            let body = batch.get(records::HEADER_BYTES..).unwrap_or_default();
            return header.base_offset <= offset && header.checksum(body) == header.crc;
        }
        rest = rest.get(batch.len()..).unwrap_or_default();
    }
    false
}

/// Java's hash of a string, by which groups are spread over partitions.
fn hash(text: &str) -> i32 {
    text.encode_utf16().fold(0, |hash: i32, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

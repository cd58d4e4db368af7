//! Which sessions there are, whose they are, and what is kept of them: the compacted topic of sessions, as this node has read it.
//!
//! The log decides. A record that claims a session for a node counts if its number is the next one, and what a node writes of a
//! session counts while its claim is the newest. So two nodes that have one client's session at the same time agree on who has it,
//! and what the other one still writes changes nothing (docs/decisions/0023). It holds what is kept, not who is connected.

use crate::{
    log::{Failure, Log, partition_of},
    message::number,
};
use bytes::Bytes;
use gateway::NewRecord;
use model::{NodeId, Offset, PartitionIndex, TopicName, TopicPartition};
use parking_lot::Mutex;
use records::{Header, Record};
use std::{collections::BTreeMap, sync::Arc};
use tokio::sync::watch;

/// The topic of sessions.
pub(crate) const TOPIC: &str = "__mqtt_sessions";
/// Its partitions.
const PARTITIONS: PartitionIndex = 8;
/// Bytes that are read of it at once.
const READ_BYTES: usize = 1 << 20;
/// How often a claim is made when others make theirs at the same time.
const CLAIMS_MAX: u32 = 8;
/// How long a claim may take until it was read.
const READ_MS: i64 = 10_000;
/// How long it is waited until it is tried again.
const PAUSE_MS: i64 = 500;

const OWNER: &[u8] = b"owner";
const CLAIM: &[u8] = b"claim";
const SAVE: &[u8] = b"save";
const SUBJECT: &[u8] = b"subject";
const BOUNDS: &[u8] = b"bounds";
/// Only a claim: what is kept stays what it is.
const CLAIMS: &[u8] = b"claims";
/// The value of a claim where nothing is kept, for compaction must not take it for the end of the session.
const NOTHING: &[u8] = &[0];

/// What a session's owner is told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Up to which save everything is safe.
    pub(crate) save: u64,
    /// Another node has the session.
    pub(crate) is_lost: bool,
    /// How often a node that has lost it has written over what is kept, so that it is to be written again.
    pub(crate) overwritten: u64,
}

/// A session that is kept.
#[derive(Debug, Default)]
struct Entry {
    claim: u64,
    owner: String,
    subject: String,
    state: Option<Bytes>,
    bounds: Bytes,
    owner_is_told: Option<watch::Sender<Seen>>,
}

/// What is known of a session that was claimed.
#[derive(Debug)]
pub(crate) struct Claimed {
    pub(crate) claim: u64,
    pub(crate) state: Option<Bytes>,
    pub(crate) bounds: Bytes,
    pub(crate) seen: watch::Receiver<Seen>,
}

/// What is written of a session.
#[derive(Debug)]
pub(crate) struct Saving<'a> {
    pub(crate) client: &'a Bytes,
    pub(crate) claim: u64,
    pub(crate) save: u64,
    pub(crate) subject: &'a str,
    /// None: there is no session any more.
    pub(crate) state: Option<Bytes>,
    pub(crate) bounds: Bytes,
}

/// See the head of the file.
pub(crate) struct Directory {
    log: Arc<dyn Log>,
    world: env::World,
    topic: TopicName,
    node: NodeId,
    /// This node, since its start.
    me: String,
    known: Mutex<BTreeMap<Bytes, Entry>>,
    /// Up to where each partition was read.
    read: Vec<watch::Sender<Offset>>,
}

impl Directory {
    pub(crate) fn new(
        log: Arc<dyn Log>,
        world: env::World,
        node: NodeId,
    ) -> Result<Arc<Self>, model::InvalidName> {
        let me = format!("{node}-{:x}", world.random.next_u64());
        let read = (0..PARTITIONS).map(|_| watch::channel(-1).0).collect();
        let topic = TopicName::new(TOPIC)?;
        Ok(Arc::new(Self { log, world, topic, node, me, known: Mutex::default(), read }))
    }

    /// Reads it again and again; the future of each partition ends never. `Err`: it is not there yet.
    pub(crate) async fn open(&self) -> Result<(), Failure> {
        self.log.create_compacted(&self.topic, PARTITIONS).await
    }

    /// Follows a partition.
    pub(crate) async fn follow(self: Arc<Self>, index: PartitionIndex) {
        let Some(read) = usize::try_from(index).ok().and_then(|index| self.read.get(index)) else { return };
        let at = TopicPartition::new(self.topic.clone(), index);
        let mut from = 0;
        loop {
            match self.log.read(at.clone(), from, READ_BYTES).await {
                Ok(chunk) => {
                    let is_end = chunk.next == from;
                    chunk
                        .records
                        .into_iter()
                        .filter(|record| record.offset >= from)
                        .for_each(|record| self.on_record(record));
                    from = chunk.next;
                    read.send_replace(from);
                    if is_end {
                        self.log.changed(at.clone(), from).await;
                    }
                }
                Err(why) => {
                    tracing::debug!(%at, %why, "the sessions of MQTT cannot be read for now");
                    self.pause().await;
                }
            }
        }
    }

    /// Ends once everything was read that was there when it was asked.
    pub(crate) async fn until_read(&self) -> Result<(), Failure> {
        for (index, read) in (0..).zip(&self.read) {
            let end = self.log.end(TopicPartition::new(self.topic.clone(), index)).await?;
            wait_for(read.subscribe(), |read| *read >= end).await;
        }
        Ok(())
    }

    async fn pause(&self) {
        let clock = &self.world.clock;
        clock.sleep_until(clock.after_millis(PAUSE_MS)).await;
    }

    /// A record that was read.
    fn on_record(&self, record: Record) {
        let Record { key: Some(client), value, headers, .. } = record else { return };
        let header = |name: &[u8]| {
            headers.iter().find(|header| header.key == name).and_then(|header| header.value.clone())
        };
        let text = |name: &[u8]| header(name).map(|value| String::from_utf8_lossy(&value).into_owned());
        let numbered = |name: &[u8]| {
            header(name).and_then(|value| number(&value)).and_then(|number| u64::try_from(number).ok())
        };
        let (Some(owner), Some(claim)) = (text(OWNER), numbered(CLAIM)) else { return };
        let mut known = self.known.lock();
        let entry = known.entry(client.clone()).or_default();
        let is_newer = claim > entry.claim;
        let is_owners = claim == entry.claim && owner == entry.owner;
        if !is_newer && !is_owners {
            // What it overwrote in a compacted log, the owner writes again.
            if let Some(told) = &entry.owner_is_told {
                told.send_modify(|seen| seen.overwritten += 1);
            }
            return;
        }
        if is_newer
            && owner != self.me
            && let Some(told) = entry.owner_is_told.take()
        {
            told.send_modify(|seen| seen.is_lost = true);
        }
        (entry.claim, entry.owner) = (claim, owner);
        let is_first = entry.state.is_none() && entry.bounds.is_empty();
        let is_claim = header(CLAIMS).is_some();
        if !is_claim && value.is_none() {
            known.remove(&client);
            return;
        }
        if !is_claim || (is_first && entry.owner_is_told.is_none()) {
            entry.subject = text(SUBJECT).unwrap_or_default();
            entry.state = value.filter(|value| *value != NOTHING);
            entry.bounds = header(BOUNDS).unwrap_or_default();
        }
        if let (Some(save), Some(told)) = (numbered(SAVE), &entry.owner_is_told) {
            told.send_modify(|seen| seen.save = seen.save.max(save));
        }
    }

    /// Whether there is something of a client, and whose it is.
    pub(crate) fn subject_of(&self, client: &Bytes) -> Option<String> {
        let known = self.known.lock();
        known.get(client).filter(|entry| entry.state.is_some()).map(|entry| entry.subject.clone())
    }

    /// Makes this node the one that has a client's session, if it is not another's of a different subject.
    pub(crate) async fn claim(&self, client: &Bytes, subject: &str) -> Result<Claimed, Failure> {
        for _ in 0..CLAIMS_MAX {
            let (claim, state, bounds, kept) = {
                let known = self.known.lock();
                let entry = known.get(client);
                let claim = entry.map_or(0, |entry| entry.claim) + 1;
                let state = entry.and_then(|entry| entry.state.clone());
                let kept = entry.filter(|_| state.is_some()).map(|entry| entry.subject.clone());
                (claim, state, entry.map(|entry| entry.bounds.clone()).unwrap_or_default(), kept)
            };
            let subject = kept.as_deref().unwrap_or(subject);
            let saving = Saving { client, claim, save: 0, subject, state, bounds };
            let (index, offset) = self.append(saving, true).await?;
            if let Some(read) = usize::try_from(index).ok().and_then(|index| self.read.get(index)) {
                let clock = &self.world.clock;
                tokio::select! {
                    () = wait_for(read.subscribe(), |read| *read > offset) => {}
                    () = clock.sleep_until(clock.after_millis(READ_MS)) => {
                        return Err(Failure::Unavailable(format!("{}-{index} cannot be read", self.topic)));
                    }
                }
            }
            let mut known = self.known.lock();
            let entry = known.entry(client.clone()).or_default();
            if entry.claim == claim && entry.owner == self.me {
                let (told, seen) = watch::channel(Seen::default());
                entry.owner_is_told = Some(told);
                let (state, bounds) = (entry.state.clone(), entry.bounds.clone());
                return Ok(Claimed { claim, state, bounds, seen });
            }
        }
        Err(Failure::Unavailable("other nodes claim the session at the same time".into()))
    }

    /// Writes what is kept; that it counts is told by [`Seen`].
    pub(crate) async fn save(&self, saving: Saving<'_>) -> Result<(), Failure> {
        self.append(saving, false).await.map(drop)
    }

    async fn append(&self, saving: Saving<'_>, claims: bool) -> Result<(PartitionIndex, Offset), Failure> {
        let index = partition_of(saving.client, PARTITIONS as usize);
        let at = TopicPartition::new(self.topic.clone(), index);
        let mut headers = vec![
            header(OWNER, self.me.clone().into()),
            header(CLAIM, saving.claim.to_string().into()),
            header(SUBJECT, saving.subject.to_owned().into()),
            header(BOUNDS, saving.bounds),
        ];
        match claims {
            true => headers.push(header(CLAIMS, Bytes::from_static(b"1"))),
            false => headers.push(header(SAVE, saving.save.to_string().into())),
        }
        let value = saving.state.or(claims.then_some(Bytes::from_static(NOTHING)));
        let record = NewRecord { key: Some(saving.client.clone()), value, headers };
        let offset = self.log.append(&at, record).await?.await?;
        Ok((index, offset))
    }

    /// This node does not want to be told of the session any more. What is known of it only the log changes: all nodes must know the same.
    pub(crate) fn forget(&self, client: &Bytes, claim: u64) {
        if let Some(entry) = self.known.lock().get_mut(client).filter(|entry| entry.claim == claim) {
            entry.owner_is_told = None;
        }
    }

    /// Clients whose sessions this node must look after: its own of before its start, and, if it is the first of those that are up, those
    /// of nodes that are not.
    pub(crate) fn orphans(&self, nodes: &[NodeId]) -> Vec<Bytes> {
        let is_first = nodes.iter().min() == Some(&self.node);
        let known = self.known.lock();
        let orphaned = known.iter().filter(|(_, entry)| {
            let owner = entry.owner.split('-').next().and_then(|node| node.parse().ok());
            let is_gone = is_first && owner.is_none_or(|owner| !nodes.contains(&owner));
            let was_mine = owner == Some(self.node) && entry.owner != self.me;
            entry.state.is_some() && (was_mine || is_gone)
        });
        orphaned.map(|(client, _)| client.clone()).collect()
    }

    /// How many partitions are followed.
    pub(crate) fn partitions(&self) -> impl Iterator<Item = PartitionIndex> + use<> {
        0..PARTITIONS
    }
}

fn header(name: &'static [u8], value: Bytes) -> Header {
    Header { key: Bytes::from_static(name), value: Some(value) }
}

/// The sender lives as long as what it is a part of.
async fn wait_for(mut read: watch::Receiver<Offset>, is_there: impl FnMut(&Offset) -> bool) {
    let _ = read.wait_for(is_there).await;
}

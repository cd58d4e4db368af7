//! The simulator's own small clients: they speak the protocol through `wire` and `records` and tell the history what
//! they asked and heard. They are not `crates/client`: a client that hides what happened could not be judged.

mod admin;
mod committed_reader;
mod committer;
mod committing;
mod fetching;
mod heartbeating;
mod link;
mod member;
mod mover;
mod operator;
mod oracle;
mod producer;
mod reader;
mod reconciler;
mod routes;
mod sharer;
mod sharing;
mod transactor;

pub use admin::{ADMIN_CONFIG, Admin};
pub use committed_reader::CommittedReader;
pub use committer::Committer;
pub use heartbeating::{Kind, SUBTOPOLOGY};
pub use link::{Link, Lost};
pub use member::Member;
pub use mover::Mover;
pub use operator::Operator;
pub use oracle::Oracle;
pub use producer::Producer;
pub use reader::Reader;
pub use reconciler::{Reconciler, SESSION_MS};
pub use sharer::Sharer;
pub use transactor::Transactor;

use crate::{
    cluster::Cluster,
    dice::Dice,
    history::{Event, History, Place},
    node::Node,
    world::SimClock,
};
use parking_lot::Mutex;
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// What every client needs.
#[derive(Clone)]
pub struct Ground {
    /// Time.
    pub clock: Arc<SimClock>,
    /// Whom to connect to.
    pub cluster: Arc<Cluster>,
    /// Whom to tell.
    pub history: Arc<History>,
    /// What everybody may do.
    pub rules: Arc<Rules>,
    /// How long a client waits for an answer.
    pub patience_ms: u64,
    /// The newest leader epoch that this client has heard of: it does not go back to an older leader, as Kafka's clients
    /// do not.
    pub epochs: Arc<Mutex<BTreeMap<Place, i32>>>,
}

/// Whom a client wants to talk to.
#[derive(Debug, Clone, Copy)]
pub enum Seek<'a> {
    /// Any node.
    Anyone,
    /// Who leads the partition.
    Leader(&'a Place),
    /// Who coordinates the group.
    Coordinator(&'a str),
    /// Who coordinates the transactional id.
    TransactionCoordinator(&'a str),
}

/// Switches that the schedule holds over the clients.
#[derive(Debug, Default)]
pub struct Rules {
    /// Nobody begins anything new.
    ended: AtomicBool,
    /// Members of groups stay where they are.
    calm: AtomicBool,
}

impl Rules {
    /// Tells everybody to come to an end.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    /// Tells members of groups to stay.
    pub fn calm_down(&self) {
        self.calm.store(true, Ordering::Relaxed);
    }

    /// Whether members of groups stay.
    pub fn is_calm(&self) -> bool {
        self.calm.load(Ordering::Relaxed)
    }

    /// Whether the run comes to its end.
    pub fn is_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }
}

impl Ground {
    /// The same for another client, which has heard of nothing yet.
    pub fn for_another(&self) -> Self {
        Self { epochs: Arc::default(), ..self.clone() }
    }

    /// A link, however long it takes to get one.
    pub async fn connect(&self, to: Seek<'_>, name: &str, dice: &mut Dice) -> Link {
        loop {
            if let Ok(link) = self.try_connect(to, name, dice).await {
                return link;
            }
            self.clock.sleep_ms(dice.range(20..=300)).await;
        }
    }

    /// A link, if there is one to be had.
    pub async fn try_connect(&self, to: Seek<'_>, name: &str, dice: &mut Dice) -> Result<Link, Lost> {
        let nodes = self.cluster.nodes();
        if let [only] = nodes {
            let mut link = Link::open(self, only, name, dice).await?;
            if let Seek::TransactionCoordinator(id) = to {
                // Who looks for it first has its topic created.
                routes::transaction_coordinator(&mut link, id, dice).await?;
            }
            return Ok(link);
        }
        let any = dice.below(nodes.len() as u64) as usize;
        let mut link = Link::open(self, nodes.get(any).ok_or(Lost)?, name, dice).await?;
        let (id, epoch) = match to {
            Seek::Anyone => return Ok(link),
            Seek::Leader(place) => {
                let (id, epoch) = routes::leader(&mut link, place, dice).await?;
                let mut epochs = self.epochs.lock();
                let newest = epochs.entry(place.clone()).or_insert(epoch);
                if *newest > epoch {
                    return Err(Lost);
                }
                *newest = epoch;
                (id, epoch)
            }
            Seek::Coordinator(group) => (routes::coordinator(&mut link, group, dice).await?, -1),
            Seek::TransactionCoordinator(id) => {
                (routes::transaction_coordinator(&mut link, id, dice).await?, -1)
            }
        };
        if link.node != id {
            link = Link::open(self, self.node(id)?, name, dice).await?;
        }
        link.leader_epoch = epoch;
        Ok(link)
    }

    /// Records are acknowledged.
    fn tell_acked(&self, event: Event) {
        self.cluster.look();
        // What compaction has taken is on no disk.
        if let Event::ProduceAcked { place, base_offset, .. } = &event
            && !place.is_compacted
            && let Some(copies) = self.cluster.copies(place, *base_offset)
        {
            let (place, offset) = (place.clone(), *base_offset);
            self.history.tell(Event::CopiesCounted { place, offset, copies });
        }
        self.history.tell(event);
    }

    fn node(&self, id: i32) -> Result<&Arc<Node>, Lost> {
        self.cluster.node(id).ok_or(Lost)
    }

    /// Whether the node of this link leads a partition, in the epoch in which the client believes; the only node does.
    fn is_leader(&self, link: &Link, place: &Place) -> bool {
        let known = || self.cluster.leader(&place.topic, place.partition);
        !self.cluster.is_several()
            || known().is_some_and(|(node, epoch)| {
                node == link.node && (link.leader_epoch == -1 || link.leader_epoch == epoch)
            })
    }

    /// In which epoch the node of this link coordinates a group; `None` if it does not.
    fn coordinates(&self, link: &Link, group: &str) -> Option<i32> {
        if !self.cluster.is_several() {
            return Some(0);
        }
        self.cluster.coordinator(group).filter(|(node, _)| *node == link.node).map(|(_, epoch)| epoch)
    }
}

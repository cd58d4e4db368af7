//! The description of a topology, node by node, which members push for people to read (KIP-1331).
//!
//! It is kept in memory and nothing is decided by it. After a failover a member is asked to push it again, so it is lost only
//! together with the last member.

use super::StreamsGroup;
use crate::{Error, MemberId};
use ::coordinator::has_passed;
use model::{Timestamp, limits};
use std::sync::Arc;

/// How long after a member was asked for a description the next one is, first and at most; it doubles each time.
const ASK_AGAIN_MS: (i64, i64) = (30_000, 3_600_000);

/// What nodes a topology is made of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TopologyDescription {
    /// The nodes of each subtopology.
    pub subtopologies: Vec<(Arc<str>, Vec<TopologyNode>)>,
    /// The global stores: the node that reads a topic, and the one that keeps it.
    pub global_stores: Vec<(TopologyNode, TopologyNode)>,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopologyNode {
    /// Its name.
    pub name: Arc<str>,
    /// What it does.
    pub kind: NodeKind,
    /// The nodes that it hands records on to.
    pub successors: Vec<Arc<str>>,
}

/// What a node does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeKind {
    /// It reads these topics.
    Source(Vec<Arc<str>>),
    /// It works with these stores.
    Processor(Vec<Arc<str>>),
    /// It writes this topic; none where that is decided record by record.
    Sink(Option<Arc<str>>),
}

/// What came of the wish for the description of a topology.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DescriptionStatus {
    /// It was not asked for.
    NotRequested,
    /// No member has pushed it yet.
    NotStored,
    /// Here it is.
    Available(TopologyDescription),
}

/// What is known of the description, and when a member was asked for it.
#[derive(Debug, Default)]
pub(crate) struct Described {
    /// Of which epoch of the topology.
    stored: Option<(i32, TopologyDescription)>,
    /// The epoch whose description is too large.
    refused: Option<i32>,
    /// For which epoch a member was asked, how often, and when.
    asked: Option<(i32, u32, Timestamp)>,
}

impl Described {
    /// Whether a member is to push the description of this epoch; it is noted that it was asked.
    pub(crate) fn ask(&mut self, epoch: i32, now: Timestamp) -> bool {
        let is_known = self.stored.as_ref().is_some_and(|(stored, _)| *stored == epoch);
        if is_known || self.refused == Some(epoch) {
            return false;
        }
        let (first, most) = ASK_AGAIN_MS;
        let wait = |times: u32| first.saturating_mul(1 << times.min(16)).min(most);
        let times = match self.asked.filter(|(asked, ..)| *asked == epoch) {
            Some((_, times, at)) if !has_passed(at, wait(times), now) => return false,
            Some((_, times, _)) => times.saturating_add(1),
            None => 0,
        };
        self.asked = Some((epoch, times, now));
        true
    }

    /// The description of this epoch.
    pub(crate) fn of(&self, epoch: i32) -> DescriptionStatus {
        match &self.stored {
            Some((stored, description)) if *stored == epoch => {
                DescriptionStatus::Available(description.clone())
            }
            _ => DescriptionStatus::NotStored,
        }
    }
}

impl StreamsGroup {
    /// A member pushes the description of its topology.
    pub(crate) fn describe_topology(
        &mut self,
        id: &MemberId,
        epoch: i32,
        description: TopologyDescription,
    ) -> Result<(), Error> {
        self.members.get(id).ok_or(Error::UnknownMemberId)?;
        let current = self.topology.as_ref().map_or(-1, |topology| topology.epoch);
        if epoch != current {
            let why = format!("Topology epoch {epoch} is not the group's, which is {current}.");
            return Err(Error::InvalidRequest(why.into()));
        }
        let (bytes, max) = (description.bytes(), limits::STREAMS_DESCRIPTION_BYTES_MAX);
        if bytes > max {
            self.soft.described.refused = Some(epoch);
            let why = format!("The description has {bytes} bytes; {max} are kept.");
            return Err(Error::StreamsTopologyDescriptionUpdateFailed(why));
        }
        self.soft.described = Described { stored: Some((epoch, description)), ..Described::default() };
        Ok(())
    }
}

impl TopologyDescription {
    /// About how much memory it takes.
    fn bytes(&self) -> usize {
        let parts = self
            .subtopologies
            .iter()
            .map(|(id, nodes)| weight(id) + nodes.iter().map(TopologyNode::bytes).sum::<usize>());
        let stores = self.global_stores.iter().map(|(source, processor)| source.bytes() + processor.bytes());
        parts.chain(stores).sum()
    }
}

impl TopologyNode {
    fn bytes(&self) -> usize {
        let named: usize = match &self.kind {
            NodeKind::Source(names) | NodeKind::Processor(names) => {
                names.iter().map(|name| weight(name)).sum()
            }
            NodeKind::Sink(topic) => topic.as_ref().map_or(0, |topic| weight(topic)),
        };
        weight(&self.name) + named + self.successors.iter().map(|name| weight(name)).sum::<usize>() + 64
    }
}

/// A name with what holds it.
fn weight(name: &str) -> usize {
    name.len() + 32
}

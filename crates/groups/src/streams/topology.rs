//! What an application does, as its members describe it: subtopologies with the topics that they read and write.
//!
//! Here it is checked for what it contradicts in itself. Whether its topics are there, and how many tasks it has, is found in
//! `configured`.

use crate::Error;
use model::{PartitionIndex, limits};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// A topology.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Topology {
    /// Its epoch, chosen by the application.
    pub epoch: i32,
    /// Its parts; no id is there twice.
    pub subtopologies: Vec<Subtopology>,
}

/// A part of a topology that is connected to others by topics only. It has a task for each partition that it reads.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Subtopology {
    /// Its id.
    pub id: Arc<str>,
    /// The topics that it reads and that are not the application's own.
    pub source_topics: Vec<Arc<str>>,
    /// Patterns of such topics; not supported yet, by Kafka neither.
    pub source_topic_regex: Vec<Arc<str>>,
    /// The topics that keep its state. Their partitions are counted here.
    pub state_changelog_topics: Vec<InternalTopic>,
    /// The topics of the application that it writes.
    pub repartition_sink_topics: Vec<Arc<str>>,
    /// The topics of the application that it reads.
    pub repartition_source_topics: Vec<InternalTopic>,
    /// Which of its topics must have the same number of partitions.
    pub copartition_groups: Vec<CopartitionGroup>,
}

/// A topic that belongs to an application.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InternalTopic {
    /// Its name.
    pub name: Arc<str>,
    /// How many partitions it is to have; 0: to be found out.
    pub partitions: PartitionIndex,
    /// Its replication factor; 0: the cluster's default.
    pub replication_factor: i16,
    /// Its configurations.
    pub configs: Vec<(Arc<str>, Arc<str>)>,
}

/// Topics with the same number of partitions, by their places in the lists of a subtopology.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CopartitionGroup {
    /// Among [`Subtopology::source_topics`].
    pub source_topics: Vec<i16>,
    /// Among [`Subtopology::source_topic_regex`].
    pub source_topic_regex: Vec<i16>,
    /// Among [`Subtopology::repartition_source_topics`].
    pub repartition_source_topics: Vec<i16>,
}

impl Topology {
    /// What is wrong with it wherever it is used.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let topics = self.subtopologies.iter().map(Subtopology::topics_named);
        if self.subtopologies.len() > limits::STREAMS_SUBTOPOLOGIES_MAX
            || topics.sum::<usize>() > limits::STREAMS_TOPICS_MAX
        {
            return Err(Error::StreamsInvalidTopology(format!(
                "A topology may have {} subtopologies and name {} topics at most.",
                limits::STREAMS_SUBTOPOLOGIES_MAX,
                limits::STREAMS_TOPICS_MAX
            )));
        }
        let mut ids = BTreeSet::new();
        for subtopology in &self.subtopologies {
            if !ids.insert(&subtopology.id) {
                return Err(Error::StreamsInvalidTopology(format!(
                    "Subtopology {} is there twice.",
                    subtopology.id
                )));
            }
            subtopology.check()?;
        }
        match self.epoch {
            0.. => Ok(()),
            epoch => Err(Error::StreamsInvalidTopology(format!(
                "The topology epoch is {epoch}; it begins with 0."
            ))),
        }
    }

    /// All topics that must be there for it to run.
    pub(crate) fn required_topics(&self) -> BTreeSet<&Arc<str>> {
        let mut all = BTreeSet::new();
        for subtopology in &self.subtopologies {
            all.extend(subtopology.source_names());
            all.extend(subtopology.state_changelog_topics.iter().map(|topic| &topic.name));
        }
        all
    }

    /// The same, for people: in order, with what was found of the partitions of its own topics.
    pub(crate) fn to_described(&self, counts: Option<&BTreeMap<Arc<str>, PartitionIndex>>) -> Self {
        let mut described = self.clone();
        described.subtopologies.sort_by(|one, other| one.id.cmp(&other.id));
        for subtopology in &mut described.subtopologies {
            subtopology.source_topics.sort();
            subtopology.repartition_sink_topics.sort();
            for topics in
                [&mut subtopology.state_changelog_topics, &mut subtopology.repartition_source_topics]
            {
                topics.sort_by(|one, other| one.name.cmp(&other.name));
                for topic in topics {
                    let found = counts.and_then(|counts| counts.get(&topic.name));
                    topic.partitions = found.copied().unwrap_or(topic.partitions);
                }
            }
        }
        described
    }
}

impl Subtopology {
    /// The names of all topics that it reads.
    pub(crate) fn source_names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.source_topics.iter().chain(self.repartition_source_topics.iter().map(|topic| &topic.name))
    }

    /// Whether it keeps state.
    pub(crate) fn is_stateful(&self) -> bool {
        !self.state_changelog_topics.is_empty()
    }

    /// The topics of a copartition group.
    pub(crate) fn copartitioned<'a>(&'a self, group: &'a CopartitionGroup) -> BTreeSet<&'a Arc<str>> {
        let of = |place: &i16| usize::try_from(*place).ok();
        let sources = group.source_topics.iter().filter_map(move |place| self.source_topics.get(of(place)?));
        let repartitioned = group.repartition_source_topics.iter();
        let repartitioned = repartitioned
            .filter_map(move |place| Some(&self.repartition_source_topics.get(of(place)?)?.name));
        sources.chain(repartitioned).collect()
    }

    /// How many topics it names, each as often as it does.
    fn topics_named(&self) -> usize {
        self.source_topics.len()
            + self.repartition_source_topics.len()
            + self.repartition_sink_topics.len()
            + self.state_changelog_topics.len()
            + self.copartition_groups.len()
    }

    fn check(&self) -> Result<(), Error> {
        if !self.source_topic_regex.is_empty() {
            return Err(Error::InvalidRequest(
                "Regular expressions for source topics are not supported yet.".into(),
            ));
        }
        if let Some(topic) = self.state_changelog_topics.iter().find(|topic| topic.partitions != 0) {
            return Err(Error::StreamsInvalidTopology(format!(
                "Changelog topic {} must leave its number of partitions open, but asks for {}.",
                topic.name, topic.partitions
            )));
        }
        if let Some(topic) = self.repartition_source_topics.iter().find(|topic| topic.partitions < 0) {
            return Err(Error::StreamsInvalidTopology(format!(
                "Repartition topic {} cannot have {} partitions.",
                topic.name, topic.partitions
            )));
        }
        let is_outside = |places: &[i16], len: usize| {
            places.iter().any(|place| usize::try_from(*place).map_or(true, |place| place >= len))
        };
        for group in &self.copartition_groups {
            let (sources, repartitioned) = (self.source_topics.len(), self.repartition_source_topics.len());
            if group.source_topics.len() > sources
                || group.repartition_source_topics.len() > repartitioned
                || is_outside(&group.source_topics, sources)
                || is_outside(&group.repartition_source_topics, repartitioned)
                || !group.source_topic_regex.is_empty()
            {
                return Err(Error::StreamsInvalidTopology(format!(
                    "A copartition group of subtopology {} names topics that are not its sources.",
                    self.id
                )));
            }
        }
        Ok(())
    }
}

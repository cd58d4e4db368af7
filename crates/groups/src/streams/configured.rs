//! A topology beside the topics of the cluster: which are missing, how many partitions its own topics must have, and how many
//! tasks it has.
//!
//! It creates nothing; the reply to a heartbeat says what is to be created. Derived from the topology and the topics, it is
//! not in the log.

use super::{
    status::StreamsStatus,
    topology::{InternalTopic, Subtopology, Topology},
};
use crate::{Error, Topics};
use model::{PartitionIndex, limits};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// How many names a message lists.
const NAMES_TOLD_MAX: usize = 3;

/// Numbers of partitions by topic.
pub(crate) type Counts = BTreeMap<Arc<str>, PartitionIndex>;

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Configured {
    /// The number of tasks of each subtopology; none if topics are missing or do not fit.
    pub(crate) subtopologies: BTreeMap<Arc<str>, ConfiguredSubtopology>,
    /// The numbers of partitions of the application's own topics.
    pub(crate) counts: Counts,
    /// The application's own topics that are missing.
    pub(crate) missing: Vec<InternalTopic>,
    /// Why it cannot run.
    pub(crate) problem: Option<(StreamsStatus, String)>,
}

/// A subtopology that can run once its topics are there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConfiguredSubtopology {
    /// One task for each partition of the widest topic that it reads.
    pub(crate) tasks: PartitionIndex,
    pub(crate) is_stateful: bool,
    /// The topics that it reads.
    pub(crate) sources: BTreeSet<Arc<str>>,
}

/// Why a topology cannot run with the topics as they are: the group waits, or its members hear an error.
enum Unfit {
    Waits(StreamsStatus, String),
    Invalid(String),
}

impl Configured {
    /// Whether it can run.
    pub(crate) fn is_ready(&self) -> bool {
        self.problem.is_none()
    }

    /// Looks at the topics that a topology needs.
    pub(crate) fn find(topology: &Topology, topics: &dyn Topics) -> Result<Self, Error> {
        let found = Found { topics, counts: Counts::new() };
        match found.configure(topology) {
            Ok(configured) => Ok(configured),
            Err(Unfit::Waits(status, why)) => Ok(Self { problem: Some((status, why)), ..Self::default() }),
            Err(Unfit::Invalid(why)) => Err(Error::StreamsInvalidTopology(why)),
        }
    }

    /// Whether there is such a task.
    pub(crate) fn has_task(&self, subtopology: &str, index: PartitionIndex) -> bool {
        self.subtopologies.get(subtopology).is_some_and(|found| (0..found.tasks).contains(&index))
    }
}

/// The topics of the cluster, and what was found out about those that are to be.
struct Found<'a> {
    topics: &'a dyn Topics,
    counts: Counts,
}

impl Found<'_> {
    fn configure(mut self, topology: &Topology) -> Result<Configured, Unfit> {
        let sources = topology.subtopologies.iter().flat_map(|subtopology| &subtopology.source_topics);
        let absent: BTreeSet<&Arc<str>> =
            sources.filter(|name| self.topics.by_name(name).is_none()).collect();
        if !absent.is_empty() {
            let why = format!("Source topics {} are missing.", some_of(&absent));
            return Err(Unfit::Waits(StreamsStatus::MissingSourceTopics, why));
        }
        self.count_repartition_topics(topology)?;
        self.enforce_copartitioning(topology)?;
        let mut subtopologies = BTreeMap::new();
        for subtopology in &topology.subtopologies {
            let configured = self.subtopology(subtopology)?;
            for topic in &subtopology.state_changelog_topics {
                self.counts.insert(topic.name.clone(), configured.tasks);
            }
            subtopologies.insert(subtopology.id.clone(), configured);
        }
        let tasks = subtopologies.values().map(|found| found.tasks as usize).sum::<usize>();
        if tasks > limits::STREAMS_TASKS_MAX {
            let max = limits::STREAMS_TASKS_MAX;
            return Err(Unfit::Invalid(format!("The topology has {tasks} tasks; a group may have {max}.")));
        }
        let missing = self.missing(topology)?;
        let problem = (!missing.is_empty()).then(|| {
            let names = missing.iter().map(|topic| &topic.name).collect();
            let why = format!("Internal topics are missing: {}", some_of(&names));
            (StreamsStatus::MissingInternalTopics, why)
        });
        Ok(Configured { subtopologies, counts: self.counts, missing, problem })
    }

    /// The partitions of a topic that is there, or of one that is to be.
    fn count(&self, topic: &str) -> Option<PartitionIndex> {
        self.topics.by_name(topic).map(|(_, count)| count).or_else(|| self.counts.get(topic).copied())
    }

    /// A topic between two subtopologies has as many partitions as it asks for, or as the widest source of whoever writes
    /// it; that may be such a topic again.
    fn count_repartition_topics(&mut self, topology: &Topology) -> Result<(), Unfit> {
        let all = topology.subtopologies.iter().flat_map(|part| &part.repartition_source_topics);
        let fixed = all.clone().filter(|topic| topic.partitions != 0);
        self.counts = fixed.map(|topic| (topic.name.clone(), topic.partitions)).collect();
        // Where topics form a loop, what is known of the sources must do.
        while self.count_sinks(topology, true) || self.count_sinks(topology, false) {}
        let sinks = topology.subtopologies.iter().flat_map(|part| &part.repartition_sink_topics);
        if sinks.into_iter().any(|sink| !self.counts.contains_key(sink)) {
            let why =
                "The partitions of repartition topics cannot be counted: topics of the topology form a loop.";
            return Err(Unfit::Invalid(why.into()));
        }
        match all.into_iter().find(|topic| !self.counts.contains_key(&topic.name)) {
            None => Ok(()),
            Some(topic) => Err(Unfit::Invalid(format!(
                "Repartition topic {} is read, but nothing writes it.",
                topic.name
            ))),
        }
    }

    /// Counts what subtopologies write of which all sources are known, or any; whether there was something.
    fn count_sinks(&mut self, topology: &Topology, is_strict: bool) -> bool {
        let mut has_progressed = false;
        for part in &topology.subtopologies {
            let Some(count) = self.widest_source(part, is_strict) else { continue };
            for sink in &part.repartition_sink_topics {
                if !self.counts.contains_key(sink) {
                    self.counts.insert(sink.clone(), count);
                    has_progressed = true;
                }
            }
            if has_progressed && !is_strict {
                break;
            }
        }
        has_progressed
    }

    /// The largest number of partitions of what a subtopology reads, if that is known, or of what is known of it.
    fn widest_source(&self, part: &Subtopology, is_strict: bool) -> Option<PartitionIndex> {
        let repartitioned = part.repartition_source_topics.iter();
        let repartitioned = repartitioned.map(|topic| self.counts.get(&topic.name).copied());
        if is_strict && repartitioned.clone().any(|count| count.is_none()) {
            return None;
        }
        let others = part.source_topics.iter().map(|name| self.count(name));
        repartitioned.chain(others).flatten().max()
    }

    /// Topics of one copartition group have the same number of partitions: that of those which are there already, else that
    /// which one of them asks for, else the largest.
    fn enforce_copartitioning(&mut self, topology: &Topology) -> Result<(), Unfit> {
        let all = topology.subtopologies.iter().flat_map(|part| &part.repartition_source_topics);
        let fixed: BTreeMap<&Arc<str>, bool> =
            all.map(|topic| (&topic.name, topic.partitions != 0)).collect();
        for part in &topology.subtopologies {
            for group in &part.copartition_groups {
                self.enforce(&part.copartitioned(group), &fixed)?;
            }
        }
        Ok(())
    }

    fn enforce(
        &mut self,
        group: &BTreeSet<&Arc<str>>,
        fixed: &BTreeMap<&Arc<str>, bool>,
    ) -> Result<(), Unfit> {
        let counts: BTreeMap<&Arc<str>, PartitionIndex> =
            group.iter().filter_map(|name| Some((*name, self.count(name)?))).collect();
        let mut deciding: Vec<(&Arc<str>, PartitionIndex)> = counts
            .iter()
            .filter(|(name, _)| !fixed.contains_key(*name))
            .map(|(name, count)| (*name, *count))
            .collect();
        if deciding.is_empty() {
            let asked = counts.iter().filter(|(name, _)| fixed.get(*name) == Some(&true));
            deciding = asked.map(|(name, count)| (*name, *count)).collect();
        }
        let differ = || {
            let listed: Vec<String> = counts.iter().map(|(name, count)| format!("{name}={count}")).collect();
            let why = format!(
                "Following topics do not have the same number of partitions: [{}]",
                listed.join(", ")
            );
            Unfit::Waits(StreamsStatus::IncorrectlyPartitionedTopics, why)
        };
        let decided = match deciding.first() {
            Some((_, count)) => *count,
            None => match counts.values().max() {
                Some(count) => *count,
                None => return Ok(()),
            },
        };
        if deciding.iter().any(|(_, count)| *count != decided) {
            return Err(differ());
        }
        for (name, count) in &counts {
            match fixed.get(*name) {
                Some(true) if *count != decided => {
                    let why = format!(
                        "Number of partitions [{count}] of repartition topic [{name}] doesn't match number of \
                         partitions [{decided}] of the source topic."
                    );
                    return Err(Unfit::Waits(StreamsStatus::IncorrectlyPartitionedTopics, why));
                }
                Some(_) => drop(self.counts.insert((*name).clone(), decided)),
                None => {}
            }
        }
        Ok(())
    }

    fn subtopology(&self, part: &Subtopology) -> Result<ConfiguredSubtopology, Unfit> {
        let sources: BTreeSet<Arc<str>> = part.source_names().cloned().collect();
        let tasks = sources.iter().filter_map(|name| self.count(name)).max();
        let tasks = tasks.filter(|count| *count > 0);
        let tasks =
            tasks.ok_or_else(|| Unfit::Invalid(format!("Subtopology {} has no source topics.", part.id)))?;
        Ok(ConfiguredSubtopology { tasks, is_stateful: part.is_stateful(), sources })
    }

    /// The application's own topics that are not there; those that are must have the right number of partitions.
    fn missing(&self, topology: &Topology) -> Result<Vec<InternalTopic>, Unfit> {
        let mut missing = BTreeMap::new();
        let own = topology.subtopologies.iter();
        let own =
            own.flat_map(|part| part.repartition_source_topics.iter().chain(&part.state_changelog_topics));
        for topic in own {
            let wanted = match topic.partitions {
                0 => self.counts.get(&topic.name).copied().unwrap_or(0),
                fixed => fixed,
            };
            match self.topics.by_name(&topic.name) {
                Some((_, there)) if there != wanted => {
                    let why = format!(
                        "Existing topic {} has different number of partitions: expected {wanted}, found {there}",
                        topic.name
                    );
                    return Err(Unfit::Waits(StreamsStatus::IncorrectlyPartitionedTopics, why));
                }
                Some(_) => {}
                None => {
                    missing.insert(&topic.name, InternalTopic { partitions: wanted, ..topic.clone() });
                }
            }
        }
        Ok(missing.into_values().collect())
    }
}

/// A few names of many.
fn some_of(names: &BTreeSet<&Arc<str>>) -> String {
    let told: Vec<&str> = names.iter().take(NAMES_TOLD_MAX).map(|name| &***name).collect();
    match names.len().saturating_sub(NAMES_TOLD_MAX) {
        0 => told.join(", "),
        more => format!("{} and {more} additional topics", told.join(", ")),
    }
}

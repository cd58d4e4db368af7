//! Leaders are elected because somebody asks (KIP-183, KIP-460), or because it is time to: preferred leaders get their
//! partitions back, and partitions without a leader get one where their topics would rather lose records.
//!
//! It keeps no time: the host asks when the interval is over. The controller's dispatch calls it.

use coordinator::Outcome;
use model::PartitionIndex;

use super::{Controller, election::Election, election::Outlook};
use crate::{ElectionKind, Error, Partition, PartitionChange, Record, Reply, Topic};

/// How many leaders Kafka changes at once when it balances.
pub const ELECTIONS_MAX: usize = 1_000;

impl Controller {
    pub(super) fn elect_leaders(
        &self,
        kind: ElectionKind,
        partitions: Option<Vec<(String, PartitionIndex)>>,
    ) -> Outcome<Record, Reply> {
        let every = partitions.is_none();
        let wanted = partitions.unwrap_or_else(|| {
            let of = |topic: &Topic| {
                let name = topic.name.to_string();
                topic.indexed().map(move |(index, _)| (name.clone(), index)).collect::<Vec<_>>()
            };
            self.image.topics().flat_map(|topic| of(topic)).collect()
        });
        let mut records = Vec::new();
        let mut results = Vec::new();
        let mut seen = std::collections::BTreeSet::new();
        for (name, index) in wanted {
            if !seen.insert((name.clone(), index)) {
                continue;
            }
            let result = self.elect_leader(kind, &name, index);
            if every && matches!(result, Err(Error::ElectionNotNeeded(_))) {
                continue;
            }
            results.push((name, index, result.map(|change| records.push(Record::PartitionChange(change)))));
        }
        Outcome::new(records, Reply::ElectLeaders(results))
    }

    pub(super) fn balance_leaders(&self, changes_max: usize) -> Outcome<Record, Reply> {
        let led_elsewhere = |partition: &Partition| !is_led_by_preferred(partition);
        let (records, more) = self.elect_where(led_elsewhere, |_| true, Election::Preferred, changes_max);
        Outcome::new(records, Reply::BalanceLeaders(more))
    }

    pub(super) fn elect_unclean_leaders(&self, changes_max: usize) -> Outcome<Record, Reply> {
        let leaderless = |partition: &Partition| partition.leader < 0;
        let (records, more) =
            self.elect_where(leaderless, |outlook| outlook.allows_loss(), Election::Unclean, changes_max);
        Outcome::new(records, Reply::ElectUncleanLeaders(more))
    }

    /// Elects leaders of the partitions and topics for which both say so, and whether it had to stop at `changes_max`.
    fn elect_where(
        &self,
        partitions: impl Fn(&Partition) -> bool,
        topics: impl Fn(&Outlook<'_>) -> bool,
        election: Election,
        changes_max: usize,
    ) -> (Vec<Record>, bool) {
        let fits = |id, directory| self.fits(id, directory);
        let mut records = Vec::new();
        for topic in self.image.topics() {
            let mut concerned = topic.indexed().filter(|(_, partition)| partitions(partition)).peekable();
            if concerned.peek().is_none() {
                continue;
            }
            let outlook = Outlook::of(self, &topic.name, &fits);
            if !topics(&outlook) {
                continue;
            }
            for (index, partition) in concerned {
                if records.len() >= changes_max {
                    return (records, true);
                }
                let change = elected(&outlook, topic, index, partition, election);
                records.extend(change.map(Record::PartitionChange));
            }
        }
        (records, false)
    }

    fn elect_leader(
        &self,
        kind: ElectionKind,
        name: &str,
        index: PartitionIndex,
    ) -> Result<PartitionChange, Error> {
        let topic = self.image.topic(name);
        let Some((topic, partition)) = topic.and_then(|topic| Some((topic, topic.partition(index)?))) else {
            return Err(Error::UnknownTopicOrPartition(format!(
                "There is no partition {index} of '{name}'."
            )));
        };
        let (done, election) = match kind {
            ElectionKind::Preferred => (is_led_by_preferred(partition), Election::Preferred),
            ElectionKind::Unclean => (partition.leader >= 0, Election::Unclean),
        };
        if done {
            return Err(Error::ElectionNotNeeded(format!(
                "Partition {index} of '{name}' is led by broker {} already.",
                partition.leader
            )));
        }
        let fits = |id, directory| self.fits(id, directory);
        let outlook = Outlook::of(self, name, &fits);
        elected(&outlook, topic, index, partition, election).ok_or_else(|| match kind {
            ElectionKind::Preferred => Error::PreferredLeaderNotAvailable(format!(
                "The preferred replica of partition {index} of '{name}' is not in sync or its broker is not there."
            )),
            ElectionKind::Unclean => Error::EligibleLeadersNotAvailable(format!(
                "No broker with a replica of partition {index} of '{name}' is there."
            )),
        })
    }
}

fn elected(
    outlook: &Outlook<'_>,
    topic: &Topic,
    index: PartitionIndex,
    partition: &Partition,
    election: Election,
) -> Option<PartitionChange> {
    let mut draft = outlook.draft(partition);
    draft.election = election;
    outlook.finish(topic.id, index, draft)
}

fn is_led_by_preferred(partition: &Partition) -> bool {
    partition.replicas.first() == Some(&partition.leader)
}

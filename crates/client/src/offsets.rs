//! Asking for offsets by name or by time (ListOffsets).
//!
//! It knows no groups; what a group has committed is in `group_offsets`.

use crate::{Client, Error};
use model::{LeaderEpoch, NodeId, Offset, PartitionIndex, Timestamp, TopicPartition};
use std::collections::BTreeMap;
use wire::{
    ListOffsetsRequest, ListOffsetsResponse,
    list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
};

/// A place in a partition by what it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// The first record that is kept.
    Beginning,
    /// Behind the last record that consumers may see.
    End,
    /// The first record with this time or a later one.
    Time(Timestamp),
}

/// What one leader is asked about one partition, with the epoch in which it is believed to lead.
type Asked = (TopicPartition, LeaderEpoch, At);

/// The answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OffsetAt {
    /// The offset; `None` if no record is as late as the time.
    pub offset: Option<Offset>,
    /// The time of the record there, -1 if it is not told.
    pub timestamp: Timestamp,
    /// The epoch of the leader that wrote it, -1 if unknown.
    pub leader_epoch: LeaderEpoch,
}

impl At {
    fn to_timestamp(self) -> Timestamp {
        match self {
            Self::End => -1,
            Self::Beginning => -2,
            Self::Time(time) => time.max(0),
        }
    }
}

impl Client {
    /// Where these places are, at the leaders of the partitions. Leaders that have moved are asked again.
    pub async fn offsets_at(
        &self,
        wanted: &BTreeMap<TopicPartition, At>,
        read_committed: bool,
    ) -> Result<BTreeMap<TopicPartition, OffsetAt>, Error> {
        let mut found = BTreeMap::new();
        let mut attempts = self.attempts();
        loop {
            let mut failed = None;
            for (leader, asked) in self.by_leader(wanted.iter().filter(|(at, _)| !found.contains_key(*at)))? {
                let request = request(&asked, read_committed);
                match self.ask_node(leader, &request).await {
                    Ok(response) => failed = read(response, &mut found).err().or(failed),
                    Err(error) => failed = Some(error),
                }
            }
            match failed {
                None => return Ok(found),
                Some(error) if attempts.again_with_metadata(&error).await => {}
                Some(error) => return Err(error),
            }
        }
    }

    /// One place in all partitions of a topic, by index.
    pub async fn topic_offsets_at(
        &self,
        topic: &str,
        at: At,
    ) -> Result<BTreeMap<PartitionIndex, OffsetAt>, Error> {
        let topic = self.topic(topic, false).await?;
        let name = model::TopicName::new(&topic.name).map_err(|error| Error::Invalid(error.to_string()))?;
        let wanted = topic
            .partitions
            .iter()
            .map(|partition| (TopicPartition::new(name.clone(), partition.index), at))
            .collect();
        let found = self.offsets_at(&wanted, false).await?;
        Ok(found.into_iter().map(|(partition, at)| (partition.partition, at)).collect())
    }

    /// Sorts partitions under their leaders, with the leaders' epochs.
    fn by_leader<'a>(
        &self,
        wanted: impl Iterator<Item = (&'a TopicPartition, &'a At)>,
    ) -> Result<BTreeMap<NodeId, Vec<Asked>>, Error> {
        let cluster = self.cluster();
        let mut sorted: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (partition, at) in wanted {
            let (leader, epoch) = cluster.leader(&partition.topic, partition.partition)?;
            sorted.entry(leader).or_default().push((partition.clone(), epoch, *at));
        }
        Ok(sorted)
    }
}

fn request(asked: &[Asked], read_committed: bool) -> ListOffsetsRequest {
    let mut topics: Vec<ListOffsetsTopic> = Vec::new();
    for (partition, epoch, at) in asked {
        let row = ListOffsetsPartition {
            partition_index: partition.partition,
            current_leader_epoch: *epoch,
            timestamp: at.to_timestamp(),
        };
        match topics.last_mut().filter(|topic| *topic.name == *partition.topic) {
            Some(topic) => topic.partitions.push(row),
            None => {
                topics.push(ListOffsetsTopic { name: partition.topic.to_string(), partitions: vec![row] })
            }
        }
    }
    ListOffsetsRequest { replica_id: -1, isolation_level: i8::from(read_committed), topics, timeout_ms: 0 }
}

/// Takes what was found; the error is that of the last partition that has one.
fn read(response: ListOffsetsResponse, found: &mut BTreeMap<TopicPartition, OffsetAt>) -> Result<(), Error> {
    let mut outcome = Ok(());
    for topic in response.topics {
        let Ok(name) = model::TopicName::new(&topic.name) else { continue };
        for row in topic.partitions {
            let subject = || format!("offsets of {}-{}", topic.name, row.partition_index);
            if let Err(error) = Error::from_code(row.error_code, None, subject) {
                outcome = Err(error);
                continue;
            }
            let at = OffsetAt {
                offset: Some(row.offset).filter(|offset| *offset >= 0),
                timestamp: row.timestamp,
                leader_epoch: row.leader_epoch,
            };
            found.insert(TopicPartition::new(name.clone(), row.partition_index), at);
        }
    }
    outcome
}

//! What the client knows about the cluster: brokers, topics, and who leads which partition.
//!
//! It asks nobody; `client` fetches metadata and puts it in. A value of it does not change: whoever holds one keeps
//! what was known then.

use crate::Error;
use model::{LeaderEpoch, NodeId, PartitionIndex, TopicId};
use std::{collections::BTreeMap, sync::Arc};
use wire::{ErrorCode, MetadataResponse, metadata_response::MetadataResponseTopic};

/// A broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broker {
    /// Its id.
    pub id: NodeId,
    /// Where clients reach it, `host:port`.
    pub addr: String,
    /// Its rack, if it has one.
    pub rack: Option<String>,
}

/// A partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Its index.
    pub index: PartitionIndex,
    /// Its leader; `None` if there is none at the moment.
    pub leader: Option<NodeId>,
    /// The leader's epoch, -1 if unknown.
    pub leader_epoch: LeaderEpoch,
    /// The brokers that are to hold it.
    pub replicas: Vec<NodeId>,
    /// The replicas in sync.
    pub isr: Vec<NodeId>,
    /// The replicas on brokers or disks that are down.
    pub offline: Vec<NodeId>,
}

/// A topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// Its id; zero from brokers that have none.
    pub id: TopicId,
    /// Whether it is Kafka's own.
    pub is_internal: bool,
    /// Its partitions by index.
    pub partitions: Vec<Partition>,
}

/// A cluster as it was at one moment.
#[derive(Debug, Clone, Default)]
pub struct Cluster {
    id: Option<String>,
    controller: Option<NodeId>,
    brokers: BTreeMap<NodeId, Broker>,
    topics: BTreeMap<String, Result<Arc<Topic>, ErrorCode>>,
}

impl Cluster {
    /// The cluster's id.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The broker to ask for the controller.
    pub fn controller(&self) -> Option<NodeId> {
        self.controller
    }

    /// The brokers by id.
    pub fn brokers(&self) -> impl Iterator<Item = &Broker> {
        self.brokers.values()
    }

    /// A broker.
    pub fn broker(&self, id: NodeId) -> Result<&Broker, Error> {
        self.brokers.get(&id).ok_or_else(|| Error::Missing {
            what: format!("broker {id}"),
            hint: ". Start it, or wait until its partitions have other leaders".into(),
            passing: true,
        })
    }

    /// The known topics by name.
    pub fn topics(&self) -> impl Iterator<Item = &Arc<Topic>> {
        self.topics.values().filter_map(|topic| topic.as_ref().ok())
    }

    /// A topic that was asked for.
    pub fn topic(&self, name: &str) -> Result<&Arc<Topic>, Error> {
        match self.topics.get(name) {
            Some(Ok(topic)) => Ok(topic),
            Some(Err(code)) => {
                Err(Error::Broker { subject: format!("topic '{name}'"), code: *code, message: None })
            }
            None => Err(Error::Missing {
                what: format!("topic '{name}'"),
                hint: ". Create it with `odradek topic create`".into(),
                passing: true,
            }),
        }
    }

    /// The partition of a topic.
    pub fn partition(&self, topic: &str, index: PartitionIndex) -> Result<&Partition, Error> {
        let topic = self.topic(topic)?;
        topic.partitions.iter().find(|partition| partition.index == index).ok_or_else(|| Error::Missing {
            what: format!("{}-{index}", topic.name),
            hint: format!(": the topic has partitions 0 to {}", topic.partitions.len() as i64 - 1),
            passing: false,
        })
    }

    /// The leader of a partition, and its epoch.
    pub fn leader(&self, topic: &str, index: PartitionIndex) -> Result<(NodeId, LeaderEpoch), Error> {
        let partition = self.partition(topic, index)?;
        let leader = partition.leader.ok_or(Error::NoLeader { topic: topic.into(), partition: index })?;
        Ok((leader, partition.leader_epoch))
    }

    /// With what a broker says: its brokers, and its topics beside those that it was not asked for. `whole` says that
    /// it was asked for all topics.
    pub(crate) fn updated(&self, response: MetadataResponse, whole: bool) -> Self {
        let mut topics = if whole { BTreeMap::new() } else { self.topics.clone() };
        for topic in response.topics {
            let Some(name) = topic.name.clone() else { continue };
            let code = ErrorCode::from_i16(topic.error_code).unwrap_or(ErrorCode::UnknownServerError);
            let topic = match code {
                ErrorCode::None => Ok(Arc::new(to_topic(name.clone(), topic))),
                code => Err(code),
            };
            topics.insert(name, topic);
        }
        let brokers = response.brokers.into_iter().map(|broker| {
            let addr = address(&broker.host, broker.port);
            (broker.node_id, Broker { id: broker.node_id, addr, rack: broker.rack })
        });
        Self {
            id: response.cluster_id,
            controller: Some(response.controller_id).filter(|id| *id >= 0),
            brokers: brokers.collect(),
            topics,
        }
    }
}

/// `host:port`, with brackets around an IPv6 address.
pub(crate) fn address(host: &str, port: i32) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

fn to_topic(name: String, topic: MetadataResponseTopic) -> Topic {
    let mut partitions: Vec<_> = topic
        .partitions
        .into_iter()
        .map(|partition| Partition {
            index: partition.partition_index,
            leader: Some(partition.leader_id).filter(|id| *id >= 0),
            leader_epoch: partition.leader_epoch,
            replicas: partition.replica_nodes,
            isr: partition.isr_nodes,
            offline: partition.offline_replicas,
        })
        .collect();
    partitions.sort_by_key(|partition| partition.index);
    Topic { name, id: topic.topic_id, is_internal: topic.is_internal, partitions }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::metadata_response::{MetadataResponseBroker, MetadataResponsePartition};

    fn response(name: &str, error_code: i16, leaders: &[i32]) -> MetadataResponse {
        let partitions = leaders.iter().enumerate().map(|(index, leader)| MetadataResponsePartition {
            partition_index: index as i32,
            leader_id: *leader,
            ..Default::default()
        });
        MetadataResponse {
            brokers: vec![MetadataResponseBroker {
                node_id: 1,
                host: "::1".into(),
                port: 9,
                ..Default::default()
            }],
            topics: vec![MetadataResponseTopic {
                name: Some(name.into()),
                error_code,
                partitions: partitions.rev().collect(),
                ..Default::default()
            }],
            ..Default::default()
        }
    }

    #[test]
    fn topics_are_kept_until_all_were_asked_for() {
        let cluster = Cluster::default().updated(response("a", 0, &[1]), false);
        let cluster = cluster.updated(response("b", 0, &[1]), false);
        assert_eq!(cluster.topics().map(|topic| topic.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        let cluster = cluster.updated(response("c", 0, &[1]), true);
        assert_eq!(cluster.topics().map(|topic| topic.name.as_str()).collect::<Vec<_>>(), ["c"]);
        assert_eq!(cluster.broker(1).unwrap().addr, "[::1]:9");
    }

    #[test]
    fn what_is_missing_is_told_apart() {
        let cluster = Cluster::default().updated(response("a", 0, &[1, -1]), true);
        assert_eq!(cluster.leader("a", 0).unwrap().0, 1);
        assert!(matches!(cluster.leader("a", 1), Err(Error::NoLeader { partition: 1, .. })));
        let beyond = cluster.leader("a", 2).unwrap_err();
        assert!(beyond.to_string().contains("partitions 0 to 1") && !beyond.is_passing());
        assert!(cluster.leader("b", 0).unwrap_err().is_passing());
        let cluster = cluster.updated(response("a", 3, &[]), false);
        assert_eq!(cluster.topic("a").unwrap_err().code(), Some(ErrorCode::UnknownTopicOrPartition));
    }
}

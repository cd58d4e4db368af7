//! Listing, describing and deleting groups.
//!
//! It joins none and moves no offsets; `group_consumer` and `group_offsets` do.

use crate::{Client, Error, range_assignor, topics::silent};
use model::PartitionIndex;
use std::collections::BTreeMap;
use wire::{
    ConsumerGroupDescribeRequest, DeleteGroupsRequest, DescribeGroupsRequest, ErrorCode, ListGroupsRequest,
    consumer_group_describe_response as consumer, describe_groups_response as classic,
};

/// A group in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupListing {
    /// Its id.
    pub id: String,
    /// `classic`, `consumer`, `share` or `streams`; empty from brokers that do not tell.
    pub kind: String,
    /// What its members speak, `consumer` for consumers.
    pub protocol_type: String,
    /// `Stable`, `Empty` and so on; empty from brokers that do not tell.
    pub state: String,
}

/// A group with its members.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GroupDescription {
    /// Its id.
    pub id: String,
    /// `classic` or `consumer`.
    pub kind: &'static str,
    /// `Stable`, `Empty`, `PreparingRebalance` and so on.
    pub state: String,
    /// How partitions are assigned, as `range`.
    pub assignor: String,
    /// The broker that coordinates it, `id (host:port)`.
    pub coordinator: String,
    /// Its members.
    pub members: Vec<GroupMember>,
}

/// A member of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupMember {
    /// Its id.
    pub id: String,
    /// Its name over restarts, if it has one.
    pub instance_id: Option<String>,
    /// What it calls itself.
    pub client_id: String,
    /// Where it comes from.
    pub host: String,
    /// The partitions that it has, by topic.
    pub partitions: BTreeMap<String, Vec<PartitionIndex>>,
}

impl Client {
    /// The groups of all brokers, by id.
    pub async fn list_groups(&self) -> Result<Vec<GroupListing>, Error> {
        self.refresh(Some(&[]), false).await?;
        let mut all = BTreeMap::new();
        for broker in self.cluster().brokers() {
            let mut attempts = self.attempts();
            let groups = loop {
                let listed = match self.ask_node(broker.id, &ListGroupsRequest::default()).await {
                    Ok(listed) => {
                        let subject = || format!("the groups of broker {}", broker.id);
                        Error::from_code(listed.error_code, None, subject).map(|()| listed.groups)
                    }
                    Err(error) => Err(error),
                };
                match listed {
                    Err(error) if attempts.again(&error).await => {}
                    listed => break listed?,
                }
            };
            all.extend(groups.into_iter().map(|group| {
                let listing = GroupListing {
                    id: group.group_id.clone(),
                    kind: group.group_type.to_lowercase(),
                    protocol_type: group.protocol_type,
                    state: group.group_state,
                };
                (group.group_id, listing)
            }));
        }
        Ok(all.into_values().collect())
    }

    /// A group with its members, classic or of the newer protocol.
    pub async fn describe_group(&self, group: &str) -> Result<GroupDescription, Error> {
        let coordinator = self.coordinator(group).await?;
        let mut described = match self.describe_consumer_group(group).await {
            Ok(described) => described,
            // A classic group, one that does not exist, or a broker without the newer protocol.
            Err(Error::Unsupported { .. }) => self.describe_classic_group(group).await?,
            Err(error) if error.code() == Some(ErrorCode::GroupIdNotFound) => {
                self.describe_classic_group(group).await?
            }
            Err(error) => return Err(error),
        };
        described.coordinator = format!("{} ({})", coordinator.id, coordinator.addr);
        Ok(described)
    }

    async fn describe_consumer_group(&self, group: &str) -> Result<GroupDescription, Error> {
        let request = ConsumerGroupDescribeRequest {
            group_ids: vec![group.into()],
            include_authorized_operations: false,
        };
        let mut attempts = self.attempts();
        loop {
            let described = self.ask_coordinator(group, &request).await.and_then(|response| {
                let described =
                    response.groups.into_iter().next().ok_or_else(|| silent("ConsumerGroupDescribe"))?;
                let message = described.error_message.clone();
                Error::from_code(described.error_code, message, || format!("group '{group}'"))?;
                Ok(of_consumer(described))
            });
            match described {
                Err(error) if attempts.again(&error).await => {}
                other => return other,
            }
        }
    }

    async fn describe_classic_group(&self, group: &str) -> Result<GroupDescription, Error> {
        let request =
            DescribeGroupsRequest { groups: vec![group.into()], include_authorized_operations: false };
        let mut attempts = self.attempts();
        loop {
            let described = self.ask_coordinator(group, &request).await.and_then(|response| {
                let described = response.groups.into_iter().next().ok_or_else(|| silent("DescribeGroups"))?;
                let message = described.error_message.clone();
                Error::from_code(described.error_code, message, || format!("group '{group}'"))?;
                // Below version 6 a group that does not exist is a dead one.
                let code = if described.group_state == "Dead" {
                    ErrorCode::GroupIdNotFound
                } else {
                    ErrorCode::None
                };
                Error::from_code(code.to_i16(), None, || format!("group '{group}'"))?;
                Ok(of_classic(described))
            });
            match described {
                Err(error) if attempts.again(&error).await => {}
                other => return other,
            }
        }
    }

    /// Deletes a group without members, with all that it has committed.
    pub async fn delete_group(&self, group: &str) -> Result<(), Error> {
        let request = DeleteGroupsRequest { groups_names: vec![group.into()] };
        let mut attempts = self.attempts();
        loop {
            let deleted = self.ask_coordinator(group, &request).await.and_then(|response| {
                let result = response.results.into_iter().next().ok_or_else(|| silent("DeleteGroups"))?;
                Error::from_code(result.error_code, result.error_message, || format!("group '{group}'"))
            });
            match deleted {
                Err(error) if attempts.again(&error).await => {}
                other => return other,
            }
        }
    }
}

fn of_consumer(group: consumer::DescribedGroup) -> GroupDescription {
    let members = group.members.into_iter().map(|member| {
        let assigned = member.assignment.topic_partitions.into_iter();
        GroupMember {
            id: member.member_id,
            instance_id: member.instance_id,
            client_id: member.client_id,
            host: member.client_host,
            partitions: assigned.map(|topic| (topic.topic_name, topic.partitions)).collect(),
        }
    });
    GroupDescription {
        id: group.group_id,
        kind: "consumer",
        state: group.group_state,
        assignor: group.assignor_name,
        coordinator: String::new(),
        members: members.collect(),
    }
}

fn of_classic(group: classic::DescribedGroup) -> GroupDescription {
    let members = group.members.into_iter().map(|member| GroupMember {
        id: member.member_id,
        instance_id: member.group_instance_id,
        client_id: member.client_id,
        host: member.client_host,
        // Groups of other kinds, as those of Kafka Connect, have bytes of their own here.
        partitions: range_assignor::decode_assignment(&member.member_assignment).unwrap_or_default(),
    });
    GroupDescription {
        id: group.group_id,
        kind: "classic",
        state: group.group_state,
        assignor: group.protocol_data,
        coordinator: String::new(),
        members: members.collect(),
    }
}

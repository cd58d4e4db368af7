//! ListGroups and DescribeGroups.
//!
//! They show groups that the log holds or whose members have joined, and these as they are in memory.

use crate::{
    ConsumerDescribed, ConsumerState, Coordinator, Described, Error, GroupView, Listed, ListedState, Reply,
    State, consumer::ConsumerGroup, group::Group, member::Member, share::ShareGroup, streams::StreamsGroup,
};
use model::GroupId;
use std::sync::Arc;

/// Kafka's names of the types of groups (KIP-848).
const CLASSIC: &str = "classic";
const CONSUMER: &str = "consumer";
const SHARE: &str = "share";
const STREAMS: &str = "streams";

impl Coordinator {
    pub(crate) fn list_groups(&self, states: &[String], types: &[String]) -> Reply {
        let matches = |listed: &Listed| {
            // Kafka also writes `not_ready`.
            let is_state =
                |name: &String| name.trim().replace('_', "").eq_ignore_ascii_case(listed.state.name());
            let is_type = |name: &String| name.eq_ignore_ascii_case(listed.group_type);
            (states.is_empty() || states.iter().any(is_state))
                && (types.is_empty() || types.iter().any(is_type))
        };
        let classic = self.groups.values().filter(|group| group.is_shown()).map(Group::to_listed);
        let consumer = self.consumers.values().map(ConsumerGroup::to_listed);
        let share = self.shares.values().map(ShareGroup::to_listed);
        let streams = self.streams.values().map(StreamsGroup::to_listed);
        Reply::ListGroups(classic.chain(consumer).chain(share).chain(streams).filter(matches).collect())
    }

    pub(crate) fn describe_consumers(&self, ids: Vec<GroupId>) -> Reply {
        let describe = |id: GroupId| match self.consumers.get(&id) {
            Some(group) => group.to_described(&*self.topics.0),
            None => ConsumerDescribed {
                error: Some(absent(&id)),
                group: id,
                state: ConsumerState::Dead,
                epoch: 0,
                assignment_epoch: 0,
                assignor: Arc::default(),
                members: Vec::new(),
            },
        };
        Reply::ConsumerDescribe(ids.into_iter().map(describe).collect())
    }

    pub(crate) fn describe_groups(&self, ids: Vec<GroupId>, missing_is_error: bool) -> Reply {
        let describe = |id: GroupId| match self.groups.get(&id).filter(|group| group.is_shown()) {
            Some(group) => group.to_described(),
            None => missing(id, missing_is_error),
        };
        Reply::DescribeGroups(ids.into_iter().map(describe).collect())
    }
}

impl Group {
    /// Who has heard that he joined must find the group, also while its first record is being written.
    fn is_shown(&self) -> bool {
        self.is_committed || (self.generation > 0 && !self.members.is_empty())
    }

    fn to_listed(&self) -> Listed {
        Listed {
            group: self.id.clone(),
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            state: ListedState::Classic(self.state),
            group_type: CLASSIC,
        }
    }

    fn to_described(&self) -> Described {
        let protocol = self.protocol.as_ref().filter(|_| self.state == State::Stable);
        let describe = |member: &Member| member.to_described(protocol.map(|name| &**name));
        Described {
            group: self.id.clone(),
            error: None,
            state: self.state,
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            protocol: protocol.cloned().unwrap_or_default(),
            members: self.members.values().map(describe).collect(),
        }
    }

    /// What metrics see.
    pub(crate) fn view(&self) -> GroupView<'_> {
        GroupView {
            group: &self.id,
            protocol_type: self.protocol_type.as_deref().unwrap_or_default(),
            state: self.state,
            generation: self.generation,
            members: self.members.len(),
            rebalance_reason: &self.rebalance_reason,
        }
    }
}

impl ConsumerGroup {
    fn to_listed(&self) -> Listed {
        Listed {
            group: self.id.clone(),
            protocol_type: CONSUMER.into(),
            state: ListedState::Consumer(self.state()),
            group_type: CONSUMER,
        }
    }
}

impl ShareGroup {
    fn to_listed(&self) -> Listed {
        Listed {
            group: self.id.clone(),
            protocol_type: SHARE.into(),
            state: ListedState::Share(self.state()),
            group_type: SHARE,
        }
    }
}

impl StreamsGroup {
    fn to_listed(&self) -> Listed {
        Listed {
            group: self.id.clone(),
            protocol_type: STREAMS.into(),
            state: ListedState::Streams(self.state()),
            group_type: STREAMS,
        }
    }
}

/// Why a group that is not there is not described.
pub(crate) fn absent(id: &GroupId) -> Error {
    if id.is_empty() { Error::InvalidGroupId } else { Error::GroupIdNotFound }
}

fn missing(group: GroupId, is_error: bool) -> Described {
    Described {
        group,
        error: is_error.then_some(Error::GroupIdNotFound),
        state: State::Dead,
        protocol_type: Default::default(),
        protocol: Default::default(),
        members: Vec::new(),
    }
}

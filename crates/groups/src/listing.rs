//! ListGroups and DescribeGroups.
//!
//! They show groups that the log holds or whose members have joined, and these as they are in memory.

use crate::{Coordinator, Described, Error, GroupView, Listed, Reply, State, group::Group, member::Member};
use model::GroupId;

/// Kafka's name of the type of these groups (KIP-848).
const CLASSIC: &str = "classic";

impl Coordinator {
    pub(crate) fn list_groups(&self, states: &[String], types: &[String]) -> Reply {
        let matches_state = |state: State| {
            states.is_empty() || states.iter().any(|name| name.trim().eq_ignore_ascii_case(state.name()))
        };
        if !types.is_empty() && !types.iter().any(|name| name.eq_ignore_ascii_case(CLASSIC)) {
            return Reply::ListGroups(Vec::new());
        }
        let shown = self.groups.values().filter(|group| group.is_shown() && matches_state(group.state));
        Reply::ListGroups(shown.map(Group::to_listed).collect())
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
            state: self.state,
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

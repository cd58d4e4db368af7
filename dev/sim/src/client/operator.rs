//! Who runs a cluster: lets preferred leaders lead, moves partitions to other nodes, takes votes from controllers and gives
//! them back. It asks for one thing at a time and tells the history nothing: what it changes must not be noticed.

use super::{Ground, Link, Lost, Seek};
use crate::{dice::Dice, history::Place};
use std::collections::BTreeMap;
use wire::{
    AddRaftVoterRequest, AlterPartitionReassignmentsRequest, DescribeQuorumRequest, ElectLeadersRequest,
    ErrorCode, RemoveRaftVoterRequest, add_raft_voter_request,
    alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic},
    describe_quorum_request,
};

/// An operator.
pub struct Operator {
    ground: Ground,
    dice: Dice,
    places: Vec<Place>,
    /// Whose vote was taken, with the directory that it had.
    without_vote: BTreeMap<i32, stdx::Uuid>,
}

/// Replicas of a partition.
const REPLICAS: usize = 3;
/// Fewer voters than this are not left.
const VOTERS_MIN: usize = 2;
const TIMEOUT_MS: i32 = 2000;

impl Operator {
    /// The only one.
    pub fn new(ground: Ground, dice: Dice, places: Vec<Place>) -> Self {
        Self { ground, dice, places, without_vote: BTreeMap::new() }
    }

    /// Works until the run ends.
    pub async fn run(mut self) {
        while !self.ground.rules.is_ended() {
            let mut link = self.ground.connect(Seek::Anyone, "operator", &mut self.dice).await;
            let _ = self.work(&mut link).await;
        }
    }

    async fn work(&mut self, link: &mut Link) -> Result<(), Lost> {
        while !self.ground.rules.is_ended() {
            self.ground.clock.sleep_ms(self.dice.range(200..=3000)).await;
            match self.dice.below(4) {
                0 => self.elect(link).await?,
                1 | 2 => self.reassign(link).await?,
                _ => self.change_voters(link).await?,
            }
        }
        Ok(())
    }

    async fn elect(&mut self, link: &mut Link) -> Result<(), Lost> {
        let request =
            ElectLeadersRequest { election_type: 0, topic_partitions: None, timeout_ms: TIMEOUT_MS };
        link.ask(self.dice.range(0..=2) as i16, &request).await.map(drop)
    }

    /// Other replicas, or the same ones in another order; now and then what is under way is broken off.
    async fn reassign(&mut self, link: &mut Link) -> Result<(), Lost> {
        let index = self.dice.below(self.places.len() as u64) as usize;
        let Some(place) = self.places.get(index).cloned() else { return Ok(()) };
        let mut nodes: Vec<i32> = self.ground.cluster.nodes().iter().map(|node| node.id).collect();
        let mut replicas = Vec::new();
        while replicas.len() < REPLICAS && !nodes.is_empty() {
            replicas.push(nodes.remove(self.dice.below(nodes.len() as u64) as usize));
        }
        let replicas = (!self.dice.chance(15)).then_some(replicas);
        let partition = ReassignablePartition { partition_index: place.partition, replicas };
        let topic = ReassignableTopic { name: place.topic.to_string(), partitions: vec![partition] };
        let request = AlterPartitionReassignmentsRequest {
            timeout_ms: TIMEOUT_MS,
            topics: vec![topic],
            ..Default::default()
        };
        link.ask(self.dice.range(0..=1) as i16, &request).await.map(drop)
    }

    async fn change_voters(&mut self, link: &mut Link) -> Result<(), Lost> {
        if let Some((voter_id, voter_directory_id)) = self.without_vote.first_key_value() {
            let (voter_id, voter_directory_id) = (*voter_id, *voter_directory_id);
            let (host, port) = self.ground.cluster.node(voter_id).ok_or(Lost)?.controller();
            let listener =
                add_raft_voter_request::Listener { name: crate::node::CONTROLLER.into(), host, port };
            let request = AddRaftVoterRequest {
                timeout_ms: TIMEOUT_MS,
                cluster_id: None,
                voter_id,
                voter_directory_id,
                listeners: vec![listener],
                ..Default::default()
            };
            let answer = link.ask(self.dice.range(0..=1) as i16, &request).await?;
            // It may have come back by itself.
            if [ErrorCode::None, ErrorCode::DuplicateVoter]
                .iter()
                .any(|code| code.to_i16() == answer.error_code)
            {
                self.without_vote.remove(&voter_id);
            }
            return Ok(());
        }
        let partition = describe_quorum_request::PartitionData { partition_index: 0 };
        let topic = describe_quorum_request::TopicData {
            topic_name: crate::cluster::METADATA_TOPIC.into(),
            partitions: vec![partition],
        };
        let answer = link.ask(2, &DescribeQuorumRequest { topics: vec![topic] }).await?;
        let found = answer.topics.first().and_then(|topic| topic.partitions.first());
        let Some(voters) = found.map(|found| &found.current_voters) else { return Ok(()) };
        let index = self.dice.below(voters.len() as u64) as usize;
        let Some(voter) = voters.get(index).filter(|_| voters.len() > VOTERS_MIN) else { return Ok(()) };
        let request = RemoveRaftVoterRequest {
            cluster_id: None,
            voter_id: voter.replica_id,
            voter_directory_id: voter.replica_directory_id,
        };
        // Whether it was heard or not: giving a vote to who has it is refused.
        self.without_vote.insert(voter.replica_id, voter.replica_directory_id);
        link.ask(0, &request).await.map(drop)
    }
}

//! A member of a classic consumer group: joins, gets its partitions by the range assignor, reads them, commits what
//! the caller has seen, and joins again when the group changes.
//!
//! It keeps no partitions over a rebalance (KIP-429) and does not notice new partitions until the group rebalances.
//! A task sends heartbeats, so that a caller that takes its time stays a member.

use crate::{
    At, Client, Consumer, ConsumerConfig, Error, Fetched,
    client::Lane,
    group_offsets::Committer,
    range_assignor::{self, Assignment, Subscriber},
};
use bytes::Bytes;
use model::{Offset, PartitionIndex, TopicName, TopicPartition};
use std::collections::{BTreeMap, BTreeSet};
use tokio::sync::{mpsc, oneshot};
use wire::{
    ErrorCode, HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, SyncGroupRequest,
    join_group_request::JoinGroupRequestProtocol, leave_group_request::MemberIdentity,
    sync_group_request::SyncGroupRequestAssignment,
};

/// After so long without a heartbeat the group goes on without the member. Kafka's default.
const SESSION_TIMEOUT_MS: i32 = 45_000;
/// How long the group waits for members to join again. Kafka's `max.poll.interval.ms`.
const REBALANCE_TIMEOUT_MS: i32 = 300_000;
const HEARTBEAT_INTERVAL_MS: i64 = 3_000;
const COMMIT_INTERVAL_MS: i64 = 5_000;
const PROTOCOL_TYPE: &str = "consumer";
const PROTOCOL: &str = "range";

/// A member.
pub struct GroupConsumer {
    client: Client,
    group: String,
    topics: BTreeSet<String>,
    /// Where partitions begin for which nothing is committed.
    begin: At,
    consumer: Consumer,
    committer: Committer,
    heartbeats: Option<Heartbeats>,
    /// What was returned and is committed next; what the last poll returned is added when the caller comes again.
    seen: BTreeMap<TopicPartition, Offset>,
    returned: BTreeMap<TopicPartition, Offset>,
    commit_at: u64,
}

/// The task that sends heartbeats of one generation; dropping it ends the task.
struct Heartbeats {
    _stop: oneshot::Sender<()>,
    failed: mpsc::Receiver<Error>,
}

impl GroupConsumer {
    /// A member-to-be; it joins with the first poll.
    pub fn new(
        client: &Client,
        group: &str,
        topics: BTreeSet<String>,
        begin: At,
        config: ConsumerConfig,
    ) -> Self {
        Self {
            client: client.clone(),
            group: group.into(),
            topics,
            begin,
            consumer: Consumer::new(client, config),
            committer: Committer { generation_id: -1, ..Default::default() },
            heartbeats: None,
            seen: BTreeMap::new(),
            returned: BTreeMap::new(),
            commit_at: 0,
        }
    }

    /// The partitions that the member has, and where it reads on.
    pub fn positions(&self) -> impl Iterator<Item = (&TopicPartition, Offset)> {
        self.consumer.positions()
    }

    /// Waits for records; what the call before returned counts as seen and is committed from time to time.
    pub async fn poll(&mut self) -> Result<Vec<Fetched>, Error> {
        self.seen.append(&mut self.returned);
        loop {
            if self.heartbeats.is_none() {
                self.join().await?;
            }
            let clock = self.client.world().clock.clone();
            let Some(heartbeats) = &mut self.heartbeats else { continue };
            let fetched = tokio::select! {
                biased;
                failed = heartbeats.failed.recv() => {
                    self.on_failure(failed.unwrap_or(Error::Ended)).await?;
                    continue;
                }
                () = clock.sleep_until(self.commit_at) => {
                    self.commit_or_rejoin().await?;
                    continue;
                }
                fetched = self.consumer.poll() => fetched?,
            };
            for part in &fetched {
                if let Ok(topic) = TopicName::new(&part.topic) {
                    self.returned.insert(TopicPartition::new(topic, part.partition), part.next_offset);
                }
            }
            return Ok(fetched);
        }
    }

    /// Says up to where a partition of the last poll was seen, if that is not all of it.
    pub fn set_seen(&mut self, topic: &str, partition: PartitionIndex, next_offset: Offset) {
        let returned = self.returned.iter_mut();
        for (_, offset) in
            returned.filter(|(place, _)| *place.topic == *topic && place.partition == partition)
        {
            *offset = next_offset;
        }
    }

    /// Whether every partition that the member has was read to the end that the last fetch has told.
    pub fn is_at_end(&self) -> bool {
        self.heartbeats.is_some()
            && self
                .consumer
                .positions()
                .all(|(place, position)| self.consumer.end_offset(place).is_some_and(|end| position >= end))
    }

    /// Commits everything that was returned, and leaves the group, so that the others need not wait for the session
    /// to end.
    pub async fn close(mut self) -> Result<(), Error> {
        self.seen.append(&mut self.returned);
        let committed = self.commit().await;
        self.heartbeats = None;
        if !self.committer.member_id.is_empty() {
            self.leave().await?;
        }
        committed
    }

    async fn commit(&mut self) -> Result<(), Error> {
        let clock = &self.client.world().clock;
        self.commit_at = clock.after_millis(COMMIT_INTERVAL_MS);
        if self.seen.is_empty() {
            return Ok(());
        }
        let mut attempts = self.client.attempts();
        loop {
            match self.client.commit(&self.group, &self.committer, &self.seen).await {
                Err(error) if is_membership(&error).is_none() && attempts.again(&error).await => {}
                other => {
                    other?;
                    self.seen.clear();
                    return Ok(());
                }
            }
        }
    }

    async fn commit_or_rejoin(&mut self) -> Result<(), Error> {
        match self.commit().await {
            Ok(()) => Ok(()),
            // A member may commit in a rebalance, and must join afterwards.
            Err(error) => self.on_failure(error).await,
        }
    }

    /// What ended the membership, or the error itself if it ends everything.
    async fn on_failure(&mut self, error: Error) -> Result<(), Error> {
        let Some(keeps_id) = is_membership(&error) else { return Err(error) };
        self.heartbeats = None;
        if keeps_id {
            // The generation is still the last one; what fails here is read again by whoever gets the partition.
            self.client.commit(&self.group, &self.committer, &self.seen).await.ok();
        } else {
            self.committer.member_id.clear();
        }
        self.seen.clear();
        self.returned.clear();
        Ok(())
    }

    async fn join(&mut self) -> Result<(), Error> {
        let client = self.client.clone();
        let mut attempts = client.attempts();
        let assignment = loop {
            match self.join_once().await {
                Ok(assignment) => break assignment,
                Err(error) => match (is_membership(&error), error.code()) {
                    // The coordinator gives an id first and wants to see it again (KIP-394).
                    (_, Some(ErrorCode::MemberIdRequired)) => {}
                    (Some(true), _) => {}
                    (Some(false), _) => self.committer.member_id.clear(),
                    (None, _) if attempts.again(&error).await => {}
                    (None, _) => return Err(error),
                },
            }
        };
        let offsets = self.offsets(assignment).await?;
        self.consumer.assign(offsets);
        self.commit_at = self.client.world().clock.after_millis(COMMIT_INTERVAL_MS);
        self.start_heartbeats();
        Ok(())
    }

    async fn join_once(&mut self) -> Result<Assignment, Error> {
        let coordinator = self.client.coordinator(&self.group).await?;
        let link = self.client.link(&coordinator.addr, Lane::Join).await?;
        let metadata = range_assignor::encode_subscription(&self.topics).map_err(unsendable)?;
        let request = JoinGroupRequest {
            group_id: self.group.clone(),
            session_timeout_ms: SESSION_TIMEOUT_MS,
            rebalance_timeout_ms: REBALANCE_TIMEOUT_MS,
            member_id: self.committer.member_id.clone(),
            group_instance_id: None,
            protocol_type: PROTOCOL_TYPE.into(),
            protocols: vec![JoinGroupRequestProtocol { name: PROTOCOL.into(), metadata }],
            reason: None,
        };
        let joined = link.send(&request, i64::from(REBALANCE_TIMEOUT_MS)).await?.wait().await?;
        let is_new = ErrorCode::from_i16(joined.error_code) == Some(ErrorCode::MemberIdRequired);
        if is_new || joined.error_code == 0 {
            self.committer.member_id = joined.member_id.clone();
        }
        let subject = || format!("group '{}'", self.group);
        Error::from_code(joined.error_code, None, subject)?;
        self.committer.generation_id = joined.generation_id;
        let assignments = match joined.leader == joined.member_id && !joined.skip_assignment {
            true => self.assign(&joined).await?,
            false => Vec::new(),
        };
        let request = SyncGroupRequest {
            group_id: self.group.clone(),
            generation_id: joined.generation_id,
            member_id: joined.member_id,
            group_instance_id: None,
            protocol_type: Some(PROTOCOL_TYPE.into()),
            protocol_name: Some(PROTOCOL.into()),
            assignments,
        };
        let synced = link.send(&request, i64::from(REBALANCE_TIMEOUT_MS)).await?.wait().await?;
        Error::from_code(synced.error_code, None, subject)?;
        range_assignor::decode_assignment(&synced.assignment).ok_or_else(|| {
            Error::Invalid(format!("group '{}' has an assignment of another kind", self.group))
        })
    }

    /// As the group's leader: partitions for every member.
    async fn assign(&self, joined: &JoinGroupResponse) -> Result<Vec<SyncGroupRequestAssignment>, Error> {
        let mut subscribers = Vec::new();
        for member in &joined.members {
            let topics = range_assignor::decode_subscription(&member.metadata).ok_or_else(|| {
                Error::Invalid(format!("member '{}' has a subscription of another kind", member.member_id))
            })?;
            let instance_id = member.group_instance_id.clone();
            subscribers.push(Subscriber { member_id: member.member_id.clone(), instance_id, topics });
        }
        let wanted: BTreeSet<_> = subscribers.iter().flat_map(|member| &member.topics).collect();
        let names: Vec<_> = wanted.iter().map(|name| name.as_str()).collect();
        self.client.refresh(Some(&names), false).await?;
        let cluster = self.client.cluster();
        // A topic that does not exist yet has no partitions to give.
        let counts = names.iter().filter_map(|name| {
            let topic = cluster.topic(name).ok()?;
            Some((topic.name.clone(), topic.partitions.len()))
        });
        let assigned = range_assignor::assign(&subscribers, &counts.collect());
        let encode = |(member_id, assignment): (String, Assignment)| {
            let assignment: Bytes = range_assignor::encode_assignment(&assignment).map_err(unsendable)?;
            Ok(SyncGroupRequestAssignment { member_id, assignment })
        };
        assigned.into_iter().map(encode).collect()
    }

    /// Where to begin: what is committed, else where the configuration says.
    async fn offsets(&self, assignment: Assignment) -> Result<BTreeMap<TopicPartition, Offset>, Error> {
        let names: Vec<_> = assignment.keys().map(String::as_str).collect();
        self.client.refresh(Some(&names), false).await?;
        let committed = self.client.committed_offsets(&self.group).await?;
        let (mut offsets, mut unknown) = (BTreeMap::new(), BTreeMap::new());
        for (topic, partitions) in assignment {
            let topic = TopicName::new(&topic).map_err(|error| Error::Invalid(error.to_string()))?;
            for partition in partitions {
                let place = TopicPartition::new(topic.clone(), partition);
                match committed.get(&place) {
                    Some(committed) => offsets.insert(place, committed.offset).map(drop),
                    None => unknown.insert(place, self.begin).map(drop),
                };
            }
        }
        for (place, at) in self.client.offsets_at(&unknown, false).await? {
            offsets.insert(place, at.offset.unwrap_or(0));
        }
        Ok(offsets)
    }

    fn start_heartbeats(&mut self) {
        let (stop, mut stopped) = oneshot::channel();
        let (failed, failures) = mpsc::channel(1);
        let (client, group) = (self.client.clone(), self.group.clone());
        let request = HeartbeatRequest {
            group_id: self.group.clone(),
            generation_id: self.committer.generation_id,
            member_id: self.committer.member_id.clone(),
            group_instance_id: None,
        };
        self.client.world().tasks.spawn(Box::pin(async move {
            let mut attempts = client.attempts();
            loop {
                tokio::select! {
                    biased;
                    _ = &mut stopped => return,
                    () = client.sleep_ms(HEARTBEAT_INTERVAL_MS) => {}
                }
                let beat = client.ask_coordinator(&group, &request).await.and_then(|response| {
                    Error::from_code(response.error_code, None, || format!("group '{group}'"))
                });
                match beat {
                    Ok(()) => attempts = client.attempts(),
                    Err(error) if is_membership(&error).is_none() && attempts.again(&error).await => {}
                    Err(error) => {
                        // Nobody listens to a generation that is over.
                        let _ = failed.send(error).await;
                        return;
                    }
                }
            }
        }));
        self.heartbeats = Some(Heartbeats { _stop: stop, failed: failures });
    }

    async fn leave(&self) -> Result<(), Error> {
        let member_id = self.committer.member_id.clone();
        let new = LeaveGroupRequest {
            group_id: self.group.clone(),
            member_id: String::new(),
            members: vec![MemberIdentity {
                member_id: member_id.clone(),
                group_instance_id: None,
                reason: None,
            }],
        };
        let old = LeaveGroupRequest { group_id: self.group.clone(), member_id, members: Vec::new() };
        // Versions below 3 have one member only.
        let left = match self.client.ask_coordinator(&self.group, &new).await {
            Err(Error::Invalid(_)) => self.client.ask_coordinator(&self.group, &old).await?,
            other => other?,
        };
        Error::from_code(left.error_code, None, || format!("group '{}'", self.group))
    }
}

/// Whether an error means that the member must join again, and then whether it keeps its id.
fn is_membership(error: &Error) -> Option<bool> {
    match error.code()? {
        ErrorCode::RebalanceInProgress | ErrorCode::IllegalGeneration => Some(true),
        ErrorCode::UnknownMemberId => Some(false),
        _ => None,
    }
}

fn unsendable(error: wire::EncodeError) -> Error {
    Error::Invalid(format!("the group's protocol cannot carry these topics: {error}"))
}

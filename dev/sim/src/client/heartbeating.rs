//! Heartbeats of the two protocols in which a coordinator shares things out, as one: ConsumerGroupHeartbeat (KIP-848) and
//! StreamsGroupHeartbeat (KIP-1071).

use super::{Link, Lost};
use crate::history::{Place, Unit};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use stdx::Uuid;
use wire::{
    ConsumerGroupHeartbeatRequest, ErrorCode, StreamsGroupHeartbeatRequest,
    consumer_group_heartbeat_request as consumer, streams_group_heartbeat_request as streams,
};

/// Which protocol a group speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Partitions of topics are shared out.
    Consumer,
    /// Tasks are.
    Streams,
}

/// What a member says.
pub(super) struct Beat<'a> {
    pub(super) group: &'a str,
    pub(super) member: &'a str,
    pub(super) instance: Option<&'a str>,
    pub(super) epoch: i32,
    /// All that it has.
    pub(super) has: &'a BTreeSet<Unit>,
    /// What the group is about.
    pub(super) places: &'a [(Place, Uuid)],
}

/// What it hears.
pub(super) struct Heard {
    pub(super) error: ErrorCode,
    pub(super) epoch: i32,
    /// All that it is to have, if that was said.
    pub(super) given: Option<BTreeSet<Unit>>,
}

/// Longer than any run: who is asked to give something up does so with its next heartbeat.
const REBALANCE_TIMEOUT_MS: i32 = 600_000;
/// The only part of the topology.
pub const SUBTOPOLOGY: &str = "0";

impl Kind {
    /// One heartbeat.
    pub(super) async fn beat(self, link: &mut Link, beat: &Beat<'_>) -> Result<Heard, Lost> {
        match self {
            Self::Consumer => of_consumer(link, beat).await,
            Self::Streams => of_streams(link, beat).await,
        }
    }
}

fn error_of(code: i16) -> ErrorCode {
    ErrorCode::from_i16(code).unwrap_or(ErrorCode::UnknownServerError)
}

fn by_name(units: &BTreeSet<Unit>) -> BTreeMap<&Arc<str>, Vec<i32>> {
    let mut all = BTreeMap::<_, Vec<i32>>::new();
    units.iter().for_each(|(name, number)| all.entry(name).or_default().push(*number));
    all
}

fn topics(places: &[(Place, Uuid)]) -> Vec<String> {
    let all: BTreeSet<&Arc<str>> = places.iter().map(|(place, _)| &place.topic).collect();
    all.into_iter().map(ToString::to_string).collect()
}

async fn of_consumer(link: &mut Link, beat: &Beat<'_>) -> Result<Heard, Lost> {
    let id_of =
        |name: &Arc<str>| beat.places.iter().find(|(place, _)| place.topic == *name).map(|(_, id)| *id);
    let has = by_name(beat.has).into_iter().filter_map(|(name, partitions)| {
        Some(consumer::TopicPartitions { topic_id: id_of(name)?, partitions })
    });
    let request = ConsumerGroupHeartbeatRequest {
        group_id: beat.group.to_owned(),
        member_id: beat.member.to_owned(),
        member_epoch: beat.epoch,
        instance_id: beat.instance.map(str::to_owned),
        rebalance_timeout_ms: REBALANCE_TIMEOUT_MS,
        subscribed_topic_names: Some(topics(beat.places)),
        topic_partitions: Some(has.collect()),
        ..Default::default()
    };
    let answer = link.ask(1, &request).await?;
    let name_of =
        |id: Uuid| beat.places.iter().find(|(_, known)| *known == id).map(|(place, _)| place.topic.clone());
    let given = answer.assignment.map(|assignment| {
        let units = assignment.topic_partitions.into_iter().filter_map(|topic| {
            let name = name_of(topic.topic_id)?;
            Some(topic.partitions.into_iter().map(move |partition| (name.clone(), partition)))
        });
        units.flatten().collect()
    });
    Ok(Heard { error: error_of(answer.error_code), epoch: answer.member_epoch, given })
}

async fn of_streams(link: &mut Link, beat: &Beat<'_>) -> Result<Heard, Lost> {
    let subtopology = streams::Subtopology {
        subtopology_id: SUBTOPOLOGY.to_owned(),
        source_topics: topics(beat.places),
        ..Default::default()
    };
    let has = by_name(beat.has).into_iter();
    let has = has.map(|(name, partitions)| streams::TaskIds { subtopology_id: name.to_string(), partitions });
    let is_joining = beat.epoch == 0;
    let request = StreamsGroupHeartbeatRequest {
        group_id: beat.group.to_owned(),
        member_id: beat.member.to_owned(),
        member_epoch: beat.epoch,
        instance_id: beat.instance.map(str::to_owned),
        rebalance_timeout_ms: REBALANCE_TIMEOUT_MS,
        topology: is_joining.then(|| streams::Topology { epoch: 0, subtopologies: vec![subtopology] }),
        active_tasks: Some(has.collect()),
        standby_tasks: Some(Vec::new()),
        warmup_tasks: Some(Vec::new()),
        process_id: is_joining.then(|| beat.member.to_owned()),
        client_tags: is_joining.then(Vec::new),
        ..Default::default()
    };
    let answer = link.ask(0, &request).await?;
    let given = answer.active_tasks.map(|tasks| {
        let units = tasks.into_iter().flat_map(|of| {
            let name: Arc<str> = of.subtopology_id.as_str().into();
            of.partitions.into_iter().map(move |number| (name.clone(), number))
        });
        units.collect()
    });
    Ok(Heard { error: error_of(answer.error_code), epoch: answer.member_epoch, given })
}

//! StreamsGroupHeartbeat: a member joins, says what it is and has, and hears which tasks it is to work on.
//!
//! Leaving and falling silent are in `fence`, who may be in the group in `join`, what a member gets next in `reconcile`, what
//! it is to get in the end in `assignor`. The initial rebalance delay is the coordinator's timer; here it is only known
//! whether it is over.

use super::{
    StreamsGroup, StreamsMember,
    assignor::{self, Spec},
    configured::Configured,
    join::admit,
    reconcile::Reconcile,
    records::{StreamsChange, StreamsCurrent, StreamsMetadata, Tasks, each},
    status::StreamsStatus,
    task_offsets,
};
use crate::{
    Error, MemberId, StreamsHeartbeat, StreamsHeartbeatReply, TargetEpoch, Topics,
    consumer::{hash_of, heartbeat::Surroundings},
    decision::Decision,
};
use model::Timestamp;
use std::{collections::BTreeMap, sync::Arc};

pub(crate) use crate::consumer::heartbeat::{JOINING, LEAVING, LEAVING_FOR_A_WHILE};

/// Kafka's names of what an assignor is configured with.
const STANDBY_REPLICAS: &str = "num.standby.replicas";
const RACK_AWARE_TAGS: &str = "rack.aware.assignment.tags";

type Statuses = Vec<(StreamsStatus, String)>;

/// What is wrong with a request whatever the group is.
pub(crate) fn check(request: &StreamsHeartbeat) -> Result<(), Error> {
    let wrong = |why: &'static str| Err(Error::InvalidRequest(why.into()));
    if request.member_id.is_empty() {
        return wrong("MemberId can't be empty.");
    }
    if request.group.is_empty() {
        return wrong("GroupId can't be empty.");
    }
    if request.instance_id.as_ref().is_some_and(|id| id.is_empty()) {
        return wrong("InstanceId can't be empty.");
    }
    if request.rack_id.as_ref().is_some_and(|id| id.is_empty()) {
        return wrong("RackId can't be empty.");
    }
    match (request.epoch, &request.topology) {
        (JOINING, _) if request.rebalance_timeout_ms == -1 => {
            return wrong("RebalanceTimeoutMs must be provided in first request.");
        }
        (JOINING, _) if request.owned.as_ref().is_none_or(|owned| *owned != Tasks::default()) => {
            return wrong("Tasks must be empty when (re-)joining.");
        }
        (JOINING, None) => return wrong("Topology must be non-null when (re-)joining."),
        (JOINING, Some(topology)) => topology.check()?,
        (LEAVING_FOR_A_WHILE, _) if request.instance_id.is_none() => {
            return wrong("InstanceId can't be null.");
        }
        (..LEAVING_FOR_A_WHILE, _) => return wrong("MemberEpoch must be -2 or greater."),
        (_, Some(_)) => return wrong("Topology can only be provided when (re-)joining."),
        (_, None) => {}
    }
    task_offsets::check(request.offsets.as_deref())?;
    task_offsets::check(request.end_offsets.as_deref())
}

/// Decides on a heartbeat of a member that stays. `is_delayed`: the first assignment still waits for more members.
pub(crate) fn decide(
    decision: &mut Decision<StreamsGroup>,
    around: &Surroundings<'_>,
    request: &StreamsHeartbeat,
    is_delayed: bool,
) -> Result<StreamsHeartbeatReply, Error> {
    let id = &request.member_id;
    let mut statuses = Statuses::new();
    let is_replacing = admit(decision, around.config.streams_members_max, request)?;
    let before = decision.group.members.get(id).cloned();
    let mut is_due = describe_itself(decision, request, before.as_ref());
    take_topology(decision, request)?;
    is_due |= configure(decision, around, request)?;
    if let Some(stale) = stale_topology(&decision.group, id) {
        statuses.push(stale);
    }
    if is_due {
        let (hash, validated) = (hash(&decision.group, around.topics), validated(&decision.group));
        decision.bump_epoch(|next| {
            next.metadata_hash = hash;
            next.validated_topology_epoch = validated;
            next.assignment_configs = assignment_configs(request);
        });
    }
    statuses.extend(assign(decision, around.now.wall, request.config.assignment_interval_ms, is_delayed));
    reconcile(decision, request, is_delayed);
    let before = before.unwrap_or_default();
    let after = decision.group.members.get(id).cloned().unwrap_or_default();
    let is_moved = before.current.assigned != after.current.assigned;
    let mut reply =
        StreamsHeartbeatReply { statuses, ..StreamsHeartbeatReply::of(request, after.current.epoch) };
    // Who says what it has may not have heard what it was given.
    let has_other = request.owned.as_ref().is_some_and(|owned| *owned != after.current.assigned.to_tasks());
    if request.epoch == JOINING || is_moved || has_other {
        reply.assignment = Some(after.current.assigned.to_tasks());
    }
    let is_elsewhere = before.metadata.user_endpoint != after.metadata.user_endpoint
        || (is_moved || is_replacing) && after.metadata.user_endpoint.is_some();
    tell_endpoints(&mut decision.group, around.topics, request, &mut reply, is_elsewhere);
    tell_rest(&mut decision.group, around, request, &mut reply);
    Ok(reply)
}

/// Takes over what the member says of itself; whether that asks for a new assignment.
fn describe_itself(
    decision: &mut Decision<StreamsGroup>,
    request: &StreamsHeartbeat,
    before: Option<&StreamsMember>,
) -> bool {
    let former = before.map(|member| member.metadata.clone()).unwrap_or_default();
    let mut next = former.clone();
    next.client_id = request.client_id.clone();
    next.client_host = request.client_host.clone();
    request.instance_id.iter().for_each(|id| next.instance_id = Some(id.clone()));
    request.rack_id.iter().for_each(|rack| next.rack_id = Some(rack.clone()));
    request.process_id.iter().for_each(|id| next.process_id = id.clone());
    request.client_tags.iter().for_each(|tags| next.client_tags = tags.clone());
    request.topology.iter().for_each(|topology| next.topology_epoch = topology.epoch);
    if request.rebalance_timeout_ms != -1 {
        next.rebalance_timeout_ms = request.rebalance_timeout_ms;
    }
    if request.epoch == JOINING || request.user_endpoint.is_some() {
        next.user_endpoint = request.user_endpoint.clone();
    }
    if before.is_some() && former == next {
        return false;
    }
    // A static member may come back from another address without a rebalance.
    let is_due = request.instance_id.is_none() || !assigns_alike(&former, &next);
    decision.set(StreamsChange::Member(request.member_id.clone(), Some(next)));
    is_due
}

/// Whether an assignor has no reason to treat the two in another way.
fn assigns_alike(one: &StreamsMetadata, other: &StreamsMetadata) -> bool {
    one.topology_epoch == other.topology_epoch
        && one.rack_id == other.rack_id
        && one.client_tags == other.client_tags
        && one.process_id == other.process_id
}

/// Takes over the topology of the first member; those of others must be the same, or older.
fn take_topology(decision: &mut Decision<StreamsGroup>, request: &StreamsHeartbeat) -> Result<(), Error> {
    match (&request.topology, &decision.group.topology) {
        (None, Some(_)) => Ok(()),
        (None, None) => Err(Error::UnknownServerError),
        (Some(topology), None) => {
            decision.set(StreamsChange::Topology(Some(topology.clone())));
            Ok(())
        }
        (Some(topology), Some(known)) if topology.epoch < known.epoch || topology == known => Ok(()),
        (Some(_), Some(_)) => Err(Error::InvalidRequest("Topology updates are not supported yet.".into())),
    }
}

fn stale_topology(group: &StreamsGroup, id: &MemberId) -> Option<(StreamsStatus, String)> {
    let (of_member, of_group) =
        (group.members.get(id)?.metadata.topology_epoch, group.topology.as_ref()?.epoch);
    let why = || {
        format!("The member's topology epoch {of_member} is behind the group's topology epoch {of_group}.")
    };
    (of_member < of_group).then(|| (StreamsStatus::StaleTopology, why()))
}

/// Looks at the topics of the topology if they may have changed, and at the tasks of the request; whether any of it, or another
/// configuration, asks for a new assignment.
fn configure(
    decision: &mut Decision<StreamsGroup>,
    around: &Surroundings<'_>,
    request: &StreamsHeartbeat,
) -> Result<bool, Error> {
    let mut is_due = false;
    let group = &mut decision.group;
    if group.soft.configured.is_none() || group.soft.topics_seen != Some(around.topics_version) {
        let has_changed = hash(group, around.topics) != group.epoch.metadata_hash;
        if has_changed || group.soft.configured.is_none() {
            let topology = group.topology.as_ref().ok_or(Error::UnknownServerError)?;
            group.soft.configured = Some(Configured::find(topology, around.topics)?);
        }
        group.soft.topics_seen = Some(around.topics_version);
        group.soft.endpoints = None;
        is_due = has_changed;
    }
    if let Some(configured) = group.soft.configured.as_ref().filter(|configured| configured.is_ready()) {
        check_tasks(request, configured)?;
        if request.offsets.is_some() || request.end_offsets.is_some() {
            let known = group.soft.offsets.entry(request.member_id.clone()).or_default();
            known.update((request.offsets.as_deref(), request.end_offsets.as_deref()), configured);
        }
    }
    is_due |= validated(group) != group.epoch.validated_topology_epoch;
    Ok(is_due || assignment_configs(request) != group.epoch.assignment_configs)
}

fn hash(group: &StreamsGroup, topics: &dyn Topics) -> i64 {
    group.topology.as_ref().map_or(0, |topology| hash_of(topology.required_topics(), topics))
}

/// The epoch of the topology if it can run.
fn validated(group: &StreamsGroup) -> i32 {
    let is_ready = group.soft.configured.as_ref().is_some_and(Configured::is_ready);
    group.topology.as_ref().filter(|_| is_ready).map_or(-1, |topology| topology.epoch)
}

fn check_tasks(request: &StreamsHeartbeat, configured: &Configured) -> Result<(), Error> {
    let Some(owned) = &request.owned else { return Ok(()) };
    for (subtopology, index) in [&owned.active, &owned.standby, &owned.warmup].into_iter().flat_map(each) {
        if !configured.has_task(subtopology, index) {
            return Err(Error::InvalidRequest(format!("There is no task {subtopology}_{index}.").into()));
        }
    }
    Ok(())
}

fn assignment_configs(request: &StreamsHeartbeat) -> BTreeMap<Arc<str>, Arc<str>> {
    let config = &request.config;
    let mut configs = BTreeMap::from([(STANDBY_REPLICAS.into(), config.standby_replicas.to_string().into())]);
    if !config.rack_aware_tags.is_empty() {
        configs.insert(RACK_AWARE_TAGS.into(), config.rack_aware_tags.join(",").into());
    }
    configs
}

/// Computes the target assignment anew if that is due and may be.
fn assign(
    decision: &mut Decision<StreamsGroup>,
    now: Timestamp,
    interval_ms: i64,
    is_delayed: bool,
) -> Option<(StreamsStatus, String)> {
    let delayed =
        |by: &str| Some((StreamsStatus::AssignmentDelayed, format!("Assignment delayed due to the {by}.")));
    let (group, last) = (&decision.group, decision.group.target_epoch.timestamp);
    if is_delayed {
        return delayed("configured initial rebalance delay");
    }
    if group.target_epoch.epoch >= group.epoch.epoch {
        return None;
    }
    if last != 0 && interval_ms > 0 && !::coordinator::has_passed(last, interval_ms, now) {
        return delayed("configured assignment interval");
    }
    compute_target(decision, now);
    None
}

/// Computes what each member is to have.
pub(crate) fn compute_target(decision: &mut Decision<StreamsGroup>, now: Timestamp) {
    let group = &decision.group;
    let Some(configured) = &group.soft.configured else { return };
    let nothing = (Tasks::default(), task_offsets::MemberOffsets::default());
    let spec = |(id, member): (&MemberId, &StreamsMember)| {
        let former = group.targets.get(id).unwrap_or(&nothing.0).clone();
        let offsets = group.soft.offsets.get(id).unwrap_or(&nothing.1).offsets.clone();
        (id.clone(), Spec { process: member.metadata.process_id.clone(), former, offsets })
    };
    let specs: BTreeMap<MemberId, Spec> = group.members.iter().map(spec).collect();
    let targets = match configured.is_ready() {
        true => assignor::assign(&specs, &configured.subtopologies, standby_replicas(group)),
        false => specs.keys().map(|id| (id.clone(), Tasks::default())).collect(),
    };
    let (epoch, timestamp) = (group.epoch.epoch, now);
    for (id, target) in targets {
        if decision.group.targets.get(&id) != Some(&target) {
            decision.set(StreamsChange::Target(id, Some(target)));
        }
    }
    decision.set(StreamsChange::TargetEpoch(Some(TargetEpoch { epoch, timestamp })));
}

fn standby_replicas(group: &StreamsGroup) -> usize {
    group.epoch.assignment_configs.get(STANDBY_REPLICAS).and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// Lets the member go towards its target.
fn reconcile(decision: &mut Decision<StreamsGroup>, request: &StreamsHeartbeat, is_delayed: bool) {
    let (group, id) = (&decision.group, &request.member_id);
    let target_epoch = group.target_epoch.epoch;
    let nothing = StreamsCurrent::default();
    let current = group.members.get(id).map_or(&nothing, |member| &member.current);
    if current.is_reconciled_to(target_epoch) {
        return;
    }
    let no_tasks = Tasks::default();
    let next = Reconcile {
        target_epoch,
        target: group.targets.get(id).filter(|_| !is_delayed).unwrap_or(&no_tasks),
        is_run: &|subtopology, index| group.is_run_by_another(id, subtopology, index),
        is_here: &|subtopology, index| group.is_beside(id, subtopology, index),
        owned: request.owned.as_ref(),
    }
    .next(current);
    if next != *current {
        decision.set(StreamsChange::Current(id.clone(), Some(next)));
    }
}

/// Says where tasks can be asked for, if that changed since the member heard of it.
fn tell_endpoints(
    group: &mut StreamsGroup,
    topics: &dyn Topics,
    request: &StreamsHeartbeat,
    reply: &mut StreamsHeartbeatReply,
    has_changed: bool,
) {
    if has_changed {
        group.soft.endpoint_epoch = group.soft.endpoint_epoch.saturating_add(1);
    }
    reply.endpoint_epoch = group.soft.endpoint_epoch;
    if group.soft.endpoint_epoch != request.endpoint_epoch {
        reply.endpoints = Some(group.endpoints(topics));
    }
}

/// What is wrong with its topics, what the application is to do, what the member should bring.
fn tell_rest(
    group: &mut StreamsGroup,
    around: &Surroundings<'_>,
    request: &StreamsHeartbeat,
    reply: &mut StreamsHeartbeatReply,
) {
    if request.wants_shutdown {
        group.soft.shutdown_by.get_or_insert_with(|| request.member_id.clone());
    }
    if let Some(configured) = &group.soft.configured {
        reply.create.clone_from(&configured.missing);
        reply.statuses.extend(configured.problem.clone());
    }
    if let Some(by) = &group.soft.shutdown_by {
        let why = format!(
            "Streams group member {by} encountered a fatal error and requested a shutdown for the entire application."
        );
        reply.statuses.push((StreamsStatus::ShutdownApplication, why));
    }
    if !request.speaks_of_descriptions {
        return;
    }
    let tags = group.members.get(&request.member_id).map(|member| &member.metadata.client_tags);
    let has = |tag: &&Arc<str>| tags.is_some_and(|tags| tags.contains_key(*tag));
    let missing: Vec<&str> =
        request.config.rack_aware_tags.iter().filter(|tag| !has(tag)).map(|tag| &**tag).collect();
    if !missing.is_empty() {
        let why = format!(
            "Missing required client tags for rack-aware standby assignment: {missing:?}. Set them as 'client.tag.<tagKey>' \
             of the application."
        );
        reply.statuses.push((StreamsStatus::MissingClientTags, why));
    }
    let is_stale = reply.statuses.iter().any(|(status, _)| *status == StreamsStatus::StaleTopology);
    if let Some(topology) = group.topology.as_ref().filter(|_| !is_stale) {
        reply.wants_description = group.soft.described.ask(topology.epoch, around.now.wall);
    }
}

/// Whether the member has been told to give tasks up.
pub(crate) fn is_revoking(group: &StreamsGroup, id: &MemberId) -> bool {
    let state = group.members.get(id).map(|member| member.current.state);
    state == Some(crate::MemberState::UnrevokedPartitions)
}

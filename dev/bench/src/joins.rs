//! Members join a group all at once: how long until each holds its share of the partitions, and what that costs.
//!
//! Members of the classic protocol and of the consumer protocol (KIP-848), one connection each. They ask for news as often
//! as `PACE` says, so that what is measured is the coordinator and not their patience. Called by `workloads`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use conformance::compare::schema::Schemas;
use conformance::main_job::fresh;
use conformance::raw;
use serde_json::{Value, json};

use crate::contestant::Contestant;
use crate::peer::{Peer, number, text};
use crate::samples::Samples;

/// Members, and partitions of the topic.
const MEMBERS: usize = 50;
const PACE: Duration = Duration::from_millis(50);
/// No group may take longer.
const LIMIT: Duration = Duration::from_secs(120);
const UNKNOWN_MEMBER_ID: i64 = 25;
const REBALANCE_IN_PROGRESS: i64 = 27;
const MEMBER_ID_REQUIRED: i64 = 79;
const ILLEGAL_GENERATION: i64 = 22;

/// The two kinds of groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// JoinGroup and SyncGroup.
    Classic,
    /// Heartbeats alone.
    Consumer,
}

/// What is shared by the members of a group.
struct Group<'a> {
    name: String,
    topic: &'a str,
    topic_id: Value,
    /// Where each member stands: its generation or epoch, and how many partitions it holds.
    stands: Mutex<Vec<(i64, usize)>>,
    is_done: AtomicBool,
    started: Instant,
}

impl Group<'_> {
    /// A member is at this generation and holds so many partitions; whether all are where they belong.
    fn settle(&self, member: usize, generation: i64, partitions: usize) {
        let mut stands = self.stands.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(stand) = stands.get_mut(member) {
            *stand = (generation, partitions);
        }
        if stands.iter().all(|stand| *stand == (generation, 1)) {
            self.is_done.store(true, Ordering::SeqCst);
        }
    }

    fn is_over(&self) -> Result<bool> {
        ensure!(self.started.elapsed() < LIMIT, "not stable within {LIMIT:?}");
        Ok(self.is_done.load(Ordering::SeqCst))
    }
}

/// One round with one contestant.
pub fn run(
    contestant: &Contestant,
    schemas: &Schemas,
    protocol: Protocol,
    samples: Option<&mut Samples>,
) -> Result<()> {
    let topic = fresh("joins");
    raw::ready_topic_among(&contestant.addresses(), &topic, i32::try_from(MEMBERS)?, 1)?;
    let mut peer = Peer::of(schemas, contestant)?;
    let name = format!("{topic}.members");
    peer.find_coordinator(&name)?;
    let topic_id = peer.topic_id(&topic)?;
    let mut peers = (0..MEMBERS).map(|_| Peer::of(schemas, contestant)).collect::<Result<Vec<_>>>()?;
    let (cpu, started) = (contestant.cpu_seconds()?, Instant::now());
    let stands = Mutex::new(vec![(-1, 0); MEMBERS]);
    let group = Group { name, topic: &topic, topic_id, stands, is_done: AtomicBool::new(false), started };
    std::thread::scope(|scope| {
        let all: Vec<_> = peers
            .iter_mut()
            .enumerate()
            .map(|(number, peer)| {
                let group = &group;
                scope.spawn(move || match protocol {
                    Protocol::Classic => classic(peer, group, number),
                    Protocol::Consumer => consumer(peer, group, number),
                })
            })
            .collect();
        all.into_iter()
            .try_for_each(|one| one.join().map_err(|_| anyhow::anyhow!("a member has panicked"))?)
    })?;
    let (seconds, cpu) = (started.elapsed().as_secs_f64(), contestant.cpu_seconds()? - cpu);
    println!("    {}: {MEMBERS} members after {seconds:.2} s", contestant.name);
    if let Some(samples) = samples {
        let names = match protocol {
            Protocol::Classic => ("classic, stable after s", "classic, broker CPU ms"),
            Protocol::Consumer => ("consumer, stable after s", "consumer, broker CPU ms"),
        };
        samples.add(contestant.name, names.0, seconds);
        samples.add(contestant.name, names.1, cpu * 1e3);
    }
    crate::workloads::delete_topic(contestant, &topic)
}

/// What a table is called.
pub fn title() -> String {
    format!("{MEMBERS} members join a group at once")
}

fn classic(peer: &mut Peer<'_>, group: &Group<'_>, place: usize) -> Result<()> {
    let mut member = String::new();
    while !group.is_over()? {
        let join = json!({
            "GroupId": group.name, "SessionTimeoutMs": 45000, "RebalanceTimeoutMs": 300000, "MemberId": member,
            "ProtocolType": "consumer", "Protocols": [{"Name": "range", "Metadata": "00"}],
        });
        let joined = peer.call(("JoinGroup", 9), &join)?;
        match number(&joined, "ErrorCode")? {
            0 | MEMBER_ID_REQUIRED => member = text(&joined, "MemberId")?,
            UNKNOWN_MEMBER_ID => member.clear(),
            REBALANCE_IN_PROGRESS => {}
            code => bail!("JoinGroup: error code {code}"),
        }
        if number(&joined, "ErrorCode")? != 0 {
            continue;
        }
        let generation = number(&joined, "GenerationId")?;
        let members = joined.get("Members").and_then(Value::as_array).context("no members")?;
        let mine = members.iter().map(|one| json!({"MemberId": one.get("MemberId"), "Assignment": "01"}));
        let sync = json!({
            "GroupId": group.name, "GenerationId": generation, "MemberId": member, "ProtocolType": "consumer",
            "ProtocolName": "range", "Assignments": mine.collect::<Vec<_>>(),
        });
        let synced = peer.call(("SyncGroup", 5), &sync)?;
        match number(&synced, "ErrorCode")? {
            0 => group.settle(place, generation, 1),
            UNKNOWN_MEMBER_ID | REBALANCE_IN_PROGRESS | ILLEGAL_GENERATION => continue,
            code => bail!("SyncGroup: error code {code}"),
        }
        let heartbeat = json!({"GroupId": group.name, "GenerationId": generation, "MemberId": member});
        while !group.is_over()? {
            std::thread::sleep(PACE);
            match number(&peer.call(("Heartbeat", 4), &heartbeat)?, "ErrorCode")? {
                0 => {}
                UNKNOWN_MEMBER_ID | REBALANCE_IN_PROGRESS | ILLEGAL_GENERATION => break,
                code => bail!("Heartbeat: error code {code}"),
            }
        }
    }
    Ok(())
}

fn consumer(peer: &mut Peer<'_>, group: &Group<'_>, place: usize) -> Result<()> {
    let member =
        stdx::Uuid::from_random((place as u128 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    let (mut epoch, mut held) = (0, json!([]));
    while !group.is_over()? {
        let heartbeat = json!({
            "GroupId": group.name, "MemberId": member.to_string(), "MemberEpoch": epoch, "RebalanceTimeoutMs": 300000,
            "SubscribedTopicNames": [group.topic], "TopicPartitions": held,
        });
        let answer = peer.call(("ConsumerGroupHeartbeat", 1), &heartbeat)?;
        match number(&answer, "ErrorCode")? {
            0 => epoch = number(&answer, "MemberEpoch")?,
            code => bail!("ConsumerGroupHeartbeat: error code {code}: {answer}"),
        }
        let assigned = answer.get("Assignment").filter(|assignment| !assignment.is_null());
        // Who says all it has is told all it shall have, whether that is news or not.
        let mut is_news = false;
        if let Some(assigned) = assigned {
            let assigned = assigned.get("TopicPartitions").cloned().context("no partitions")?;
            is_news = assigned != held;
            held = assigned;
        }
        let of_topic = |one: &&Value| one.get("TopicId") == Some(&group.topic_id);
        let partitions = held.as_array().into_iter().flatten().filter(of_topic);
        let count = partitions.filter_map(|one| one.get("Partitions")?.as_array()).map(Vec::len).sum();
        group.settle(place, epoch, count);
        if !is_news {
            std::thread::sleep(PACE);
        }
    }
    Ok(())
}

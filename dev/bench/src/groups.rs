//! Ten thousand groups with a member each that does nothing but its heartbeats: memory and CPU of the broker. Called by
//! `workloads`.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use conformance::compare::schema::Schemas;
use conformance::main_job::fresh;
use serde_json::json;

use crate::contestant::Contestant;
use crate::peer::{Peer, number, text};
use crate::samples::Samples;

const GROUPS: usize = 10_000;
const CONNECTIONS: usize = 20;
/// `heartbeat.interval.ms` of the Java client.
const INTERVAL: Duration = Duration::from_secs(3);
/// How often everybody's heartbeat comes while nothing, and then while memory and CPU are looked at.
const TURNS: (u32, u32) = (1, 5);
const MEMBER_ID_REQUIRED: i64 = 79;

/// Measures each contestant once.
pub fn run(contestants: &[Contestant], schemas: &Schemas, command: &str) -> Result<Samples> {
    let title = format!("{GROUPS} groups of one member, a heartbeat of each every {} s", INTERVAL.as_secs());
    let mut samples = Samples::new(title, command);
    for contestant in contestants {
        let (memory, name, started) = (contestant.resident_mib()?, fresh("many-groups"), Instant::now());
        let mut peer = Peer::of(schemas, contestant)?;
        peer.find_coordinator(&name)?;
        let cpu = contestant.cpu_seconds()?;
        let mut peers = together(CONNECTIONS, |place| connect(contestant, schemas, &name, place))?;
        let joined = started.elapsed().as_secs_f64();
        samples.add(contestant.name, "joined after s", joined);
        samples.add(contestant.name, "CPU us/join", (contestant.cpu_seconds()? - cpu) / GROUPS as f64 * 1e6);
        println!("    {}: {GROUPS} groups after {joined:.1} s", contestant.name);
        beat_all(&mut peers, TURNS.0)?;
        let (cpu, started) = (contestant.cpu_seconds()?, Instant::now());
        beat_all(&mut peers, TURNS.1)?;
        let percent = (contestant.cpu_seconds()? - cpu) / started.elapsed().as_secs_f64() * 100.0;
        samples.add(contestant.name, "CPU % of a core", percent);
        samples.add(contestant.name, "MiB", contestant.resident_mib()?);
        samples.add(
            contestant.name,
            "KiB/group",
            (contestant.resident_mib()? - memory) * 1024.0 / GROUPS as f64,
        );
    }
    Ok(samples)
}

/// A connection, and the heartbeat of each member on it.
type Beating<'a> = (Peer<'a>, Vec<Vec<u8>>);

fn together<T: Send>(count: usize, work: impl Fn(usize) -> Result<T> + Sync) -> Result<Vec<T>> {
    let work = &work;
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..count).map(|place| scope.spawn(move || work(place))).collect();
        all.into_iter().map(|one| one.join().map_err(|_| anyhow::anyhow!("a thread has panicked"))?).collect()
    })
}

/// A share of the members join their groups.
fn connect<'a>(
    contestant: &Contestant,
    schemas: &'a Schemas,
    name: &str,
    place: usize,
) -> Result<Beating<'a>> {
    let mut peer = Peer::of(schemas, contestant)?;
    let mut beats = Vec::with_capacity(GROUPS / CONNECTIONS);
    for number_of in 0..GROUPS / CONNECTIONS {
        let (group, mut member) = (format!("{name}.{place}.{number_of}"), String::new());
        let generation = loop {
            let join = json!({
                "GroupId": group, "SessionTimeoutMs": 45000, "RebalanceTimeoutMs": 300000, "MemberId": member,
                "ProtocolType": "consumer", "Protocols": [{"Name": "range", "Metadata": "00"}],
            });
            let joined = peer.call(("JoinGroup", 9), &join)?;
            match number(&joined, "ErrorCode")? {
                0 => break number(&joined, "GenerationId")?,
                MEMBER_ID_REQUIRED => member = text(&joined, "MemberId")?,
                // The coordinator of another partition may not be there yet.
                14..=16 => std::thread::sleep(Duration::from_millis(20)),
                code => bail!("JoinGroup: error code {code}"),
            }
        };
        let sync = json!({
            "GroupId": group, "GenerationId": generation, "MemberId": member, "ProtocolType": "consumer",
            "ProtocolName": "range", "Assignments": [{"MemberId": member, "Assignment": "01"}],
        });
        peer.insist(("SyncGroup", 5), &sync)?;
        let heartbeat = json!({"GroupId": group, "GenerationId": generation, "MemberId": member});
        beats.push(peer.frame(("Heartbeat", 4), &heartbeat)?);
    }
    Ok((peer, beats))
}

/// Everybody's heartbeat, evenly over the interval, so many times.
fn beat_all(peers: &mut [Beating<'_>], turns: u32) -> Result<()> {
    std::thread::scope(|scope| {
        let all: Vec<_> = peers.iter_mut().map(|beating| scope.spawn(move || beat(beating, turns))).collect();
        all.into_iter()
            .try_for_each(|one| one.join().map_err(|_| anyhow::anyhow!("a thread has panicked"))?)
    })
}

fn beat((peer, beats): &mut Beating<'_>, turns: u32) -> Result<()> {
    let pause = INTERVAL / u32::try_from(beats.len())?;
    let (started, mut sent) = (Instant::now(), 0);
    for _ in 0..turns {
        for frame in beats.iter() {
            std::thread::sleep((pause * sent).saturating_sub(started.elapsed()));
            sent += 1;
            peer.send(frame)?;
            let answer = peer.receive()?;
            // Correlation id, tags, throttle time, error code.
            ensure!(answer.get(9..11).context("a short answer")? == [0, 0], "Heartbeat: {answer:?}");
        }
    }
    Ok(())
}

//! A fourth node joins a cluster of three, and partitions with 10 GiB move to it while producers are at work.
//!
//! What is shown is how fast that goes and what it does to the producers. Called by `workloads`.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use conformance::main_job::fresh;
use conformance::raw::{self, Bytes, Raw, frame};

use crate::contestant::Contestant;
use crate::load::{Figures, Load};
use crate::samples::Samples;
use crate::workloads::delete_topic;

const PARTITIONS: u8 = 6;
/// 10 GiB of records of 1 KiB.
const RECORDS: &str = "10485760";
const HEAVY_BYTES: u64 = 10 << 30;
const NEWCOMER: u64 = 4;
/// No move may take longer.
const MOVE_LIMIT: Duration = Duration::from_secs(900);
/// 20,000 records of 1 KiB a second for 8 s beside a reader.
const FLOW: [&str; 5] = ["160000", "1024", "20000", "acks=all", "linger.ms=1"];

const ALTER_PARTITION_REASSIGNMENTS: i16 = 45;
const LIST_PARTITION_REASSIGNMENTS: i16 = 46;
const TIMEOUT_MS: i32 = 30_000;

/// Measures each contestant once: the newcomer stays.
pub fn run(contestants: &mut [Contestant], load: &Load, dir: &Path, command: &str) -> Result<Samples> {
    let title = "A fourth node joins and takes 10 GiB, beside 20,000 records/s of 1 KiB, acks=all";
    let mut samples = Samples::new(title, command);
    for contestant in contestants {
        let (name, addresses) = (contestant.name, contestant.addresses().join(","));
        let (heavy, flowing) = (fresh("heavy"), fresh("flowing"));
        raw::ready_topic_among(&contestant.addresses(), &heavy, PARTITIONS.into(), 1)?;
        raw::ready_topic_among(&contestant.addresses(), &flowing, PARTITIONS.into(), 3)?;
        let partitions = PARTITIONS.to_string();
        load.run(&["produce", &addresses, &heavy, &partitions, RECORDS, "1024", "0", "acks=1"])?;
        // What follows is not to be disturbed by what is written down of these.
        rustix::fs::sync();
        let flow = || load.run(&[&["flow", &addresses, &flowing, &partitions], &FLOW[..]].concat());
        flow()?;
        let before = flow()?;
        let joined = Instant::now();
        contestant.nodes.join(NEWCOMER)?;
        samples.add(name, "joined after s", joined.elapsed().as_secs_f64());
        let (seconds, during) = take(contestant, &heavy, flow)?;
        let p99s: Vec<String> = during.iter().map(|figures| format!("{:.1}", figures.p99_ms)).collect();
        println!("    {name}: {seconds:.1} s, p99 {} ms, before {:.2} ms", p99s.join(", "), before.p99_ms);
        samples.add(name, "moved after s", seconds);
        samples.add(name, "MiB/s", 10_240.0 / seconds);
        samples.add(name, "p99 ms before", before.p99_ms);
        samples.add(name, "worst p99 ms of 8 s meanwhile", worst(&during));
        let full = free_bytes(dir)?;
        delete_topic(contestant, &heavy)?;
        delete_topic(contestant, &flowing)?;
        freed(dir, full)?;
    }
    Ok(samples)
}

/// Waits until the topics are off the disk: Kafka keeps files for a minute, and then whoever comes next would feel them go.
fn freed(dir: &Path, full: u64) -> Result<()> {
    let begun = Instant::now();
    while free_bytes(dir)? < full + HEAVY_BYTES / 10 * 9 {
        ensure!(
            begun.elapsed() < MOVE_LIMIT,
            "the deleted topics are still on the disk after {MOVE_LIMIT:?}"
        );
        std::thread::sleep(Duration::from_millis(500));
    }
    rustix::fs::sync();
    Ok(())
}

fn free_bytes(dir: &Path) -> Result<u64> {
    let found = rustix::fs::statvfs(dir)?;
    Ok(found.f_bavail * found.f_frsize)
}

fn worst(during: &[Figures]) -> f64 {
    during.iter().map(|figures| figures.p99_ms).fold(0.0, f64::max)
}

/// Moves all partitions of a topic to the newcomer: the seconds that took, and what producers saw meanwhile.
fn take(
    contestant: &Contestant,
    topic: &str,
    flow: impl Fn() -> Result<Figures> + Sync,
) -> Result<(f64, Vec<Figures>)> {
    let first = contestant.addresses().into_iter().next().context("there is no broker")?.to_owned();
    let answer = Raw::greeted(&first)?.call(&to_newcomer(topic))?;
    // Tags, throttle time, error code.
    ensure!(answer.get(5..7) == Some(&[0, 0]), "AlterPartitionReassignments: {answer:?}");
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let moving = scope.spawn(|| {
            while is_moving(&mut Raw::greeted(&first)?)? {
                ensure!(begun.elapsed() < MOVE_LIMIT, "the move takes longer than {MOVE_LIMIT:?}");
                std::thread::sleep(Duration::from_millis(100));
            }
            Ok(begun.elapsed().as_secs_f64())
        });
        let mut during = Vec::new();
        while during.is_empty() || !moving.is_finished() {
            during.push(flow()?);
        }
        let seconds = moving.join().map_err(|_| anyhow::anyhow!("the thread that looks has panicked"))??;
        Ok((seconds, during))
    })
}

fn to_newcomer(topic: &str) -> Vec<u8> {
    let compact = |count: usize| u8::try_from(count + 1).unwrap_or(u8::MAX);
    let mut body = Bytes::default().i32(TIMEOUT_MS).raw(&[compact(1), compact(topic.len())]);
    body = body.raw(topic.as_bytes()).raw(&[compact(PARTITIONS.into())]);
    for partition in 0..i32::from(PARTITIONS) {
        body = body.i32(partition).raw(&[compact(1)]).i32(NEWCOMER as i32).raw(&[0]);
    }
    frame(ALTER_PARTITION_REASSIGNMENTS, 0, true, &body.raw(&[0, 0]).0)
}

fn is_moving(broker: &mut Raw) -> Result<bool> {
    let body = Bytes::default().i32(TIMEOUT_MS).raw(&[0, 0]);
    let answer = broker.call(&frame(LIST_PARTITION_REASSIGNMENTS, 0, true, &body.0))?;
    // The same, then no message or an empty one, and the number of topics and one.
    ensure!(
        answer.get(5..7) == Some(&[0, 0]) && answer.get(7) <= Some(&1),
        "ListPartitionReassignments: {answer:?}"
    );
    Ok(answer.get(8) != Some(&1))
}

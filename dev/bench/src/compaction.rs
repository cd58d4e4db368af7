//! A topic with many records of few keys is compacted: how fast it shrinks, and what that costs. Called by `workloads`.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use conformance::compare::schema::Schemas;
use conformance::main_job::fresh;
use conformance::raw;

use crate::batches::{PRODUCE, batch, payload, produce_frame};
use crate::contestant::Contestant;
use crate::peer::{Peer, first_error};
use crate::samples::Samples;

/// Batches of so many records of 1 KiB: 256 MiB in all.
const BATCHES: i32 = 4096;
const RECORDS: i32 = 64;
/// The keys go round: of each record there are 32 others in the end.
const KEYS: i32 = 8192;
const VALUE: [u8; 1000] = [b'v'; 1000];
const SEGMENT_BYTES: &str = "33554432";
/// How often a cleaner looks for work.
const BACKOFF: &str = "100";
const LIMIT: Duration = Duration::from_secs(180);
const PACE: Duration = Duration::from_millis(20);

/// One round with one contestant.
pub fn run(contestant: &Contestant, schemas: &Schemas, samples: Option<&mut Samples>) -> Result<()> {
    let topic = fresh("compaction");
    raw::ready_topic_among(&contestant.addresses(), &topic, 1, 1)?;
    let mut peer = Peer::of(schemas, contestant)?;
    let waits = [
        ("segment.bytes", SEGMENT_BYTES),
        ("min.cleanable.dirty.ratio", "0.01"),
        ("file.delete.delay.ms", "0"),
    ];
    peer.configure(2, &topic, &waits)?;
    peer.configure(4, "1", &[("log.cleaner.backoff.ms", BACKOFF)])?;
    for number in 0..BATCHES {
        let key = |record: i32| Some(i64::from((number * RECORDS + record) % KEYS).to_be_bytes());
        let batch = batch(&payload(RECORDS, &VALUE, key), RECORDS, None)?;
        peer.send(&produce_frame(None, &topic, 0..1, &batch)?)?;
        let answer = peer.receive_of(PRODUCE)?;
        ensure!(first_error(&answer).is_none(), "Produce: {answer}");
    }
    let server = contestant.nodes.servers().first().context("there is no broker")?;
    let dir = server.data_dir().join(format!("{topic}-0"));
    let before = log_bytes(&dir)?;
    let (cpu, started) = (contestant.cpu_seconds()?, Instant::now());
    peer.configure(2, &topic, &[("cleanup.policy", "compact")])?;
    let (seconds, after) = until_compacted(&dir, before, started)?;
    let cpu = contestant.cpu_seconds()? - cpu;
    let mib = before as f64 / f64::from(1 << 20);
    println!(
        "    {}: {mib:.0} MiB to {:.0} in {seconds:.2} s",
        contestant.name,
        after as f64 / f64::from(1 << 20)
    );
    if let Some(samples) = samples {
        samples.add(contestant.name, "MiB/s", mib / seconds);
        samples.add(contestant.name, "broker CPU s/GiB", cpu / (mib / 1024.0));
        samples.add(contestant.name, "MiB left", after as f64 / f64::from(1 << 20));
    }
    crate::workloads::delete_topic(contestant, &topic)
}

/// What a table is called.
pub fn title() -> String {
    format!("Compaction of 256 MiB, 1 KiB records of {KEYS} keys, segments of 32 MiB")
}

/// Waits until the log has shrunk as far as it can: all but the last segment holds one record of each key at most. When it
/// last changed, and its bytes then.
fn until_compacted(dir: &Path, before: u64, started: Instant) -> Result<(f64, u64)> {
    let (mut last, mut changed) = (before, 0.0);
    loop {
        let now = log_bytes(dir)?;
        if now != last {
            (last, changed) = (now, started.elapsed().as_secs_f64());
        }
        // A cleaner that looks every 0.1 s and has done nothing for 2 s has nothing left to do.
        if last < before / 2 && started.elapsed().as_secs_f64() - changed > 2.0 {
            return Ok((changed, last));
        }
        ensure!(started.elapsed() < LIMIT, "{last} of {before} bytes are left after {LIMIT:?}");
        std::thread::sleep(PACE);
    }
}

/// The bytes of all segments.
fn log_bytes(dir: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(dir).with_context(|| format!("{}", dir.display()))? {
        let entry = entry?;
        if entry.path().extension().is_some_and(|extension| extension == "log") {
            // A segment may go away while it is looked at.
            bytes += entry.metadata().map_or(0, |about| about.len());
        }
    }
    Ok(bytes)
}

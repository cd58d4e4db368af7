//! What is measured: saturated producing and consuming, a fixed rate, one record at a time, connections, partitions,
//! transactions, groups that are joined and that are many, shares, compaction.
//! Each workload runs on every contestant in turn, round after round. Called by `main`.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use conformance::compare::schema::Schemas;
use conformance::main_job::fresh;
use conformance::raw::{self, Raw, api, frame};

use crate::contestant::Contestant;
use crate::growth;
use crate::joins::{self, Protocol};
use crate::load::{Figures, Load};
use crate::samples::Samples;
use crate::surroundings::{Ballast, BusyDisk};
use crate::{compaction, groups, shares, transactions};

const GIB: f64 = (1_u64 << 30) as f64;
const PARTITIONS: &str = "6";
const CONNECTIONS: usize = 2_000;
const MANY_PARTITIONS: i32 = 5_000;
const CLUSTER_PARTITIONS: i32 = 10_000;
/// They are of so many topics.
const CLUSTER_TOPICS: i32 = 10;
const IDLE: Duration = Duration::from_secs(10);

/// What is measured on one broker, by the names that `--only` takes.
pub const NAMES: [&str; 13] = [
    "start",
    "produce-1k",
    "produce-100",
    "small",
    "rate",
    "trip",
    "connections",
    "partitions",
    "transactions",
    "joins",
    "shares",
    "compaction",
    "groups-10k",
];

/// What is measured on three brokers with three replicas of everything.
pub const CLUSTER_NAMES: [&str; 5] =
    ["cluster-1k", "cluster-100", "cluster-rate", "cluster-partitions", "cluster-grow"];

/// The contestants, the load program, and how often everything is measured.
#[derive(Debug)]
pub struct Race {
    /// Who takes part.
    pub contestants: Vec<Contestant>,
    /// What they are loaded with.
    pub load: Load,
    /// How often each workload runs on each contestant, after `warm` rounds that do not count.
    pub rounds: usize,
    /// Rounds that only warm caches and, in the JVM, the compiler.
    pub warm: usize,
    /// Memory full of other files' pages.
    pub ballast: Ballast,
    /// A directory on the disk of the contestants.
    pub dir: PathBuf,
}

/// The reading client rests for a second by default when it has 100,000 records in hand; a broker that fills it sooner
/// than the program empties it would be charged for that.
const HASTE: &str = "fetch.queue.backoff.ms=1";

impl Race {
    /// Runs one workload by its name.
    pub fn run(&mut self, name: &str) -> Result<Vec<Samples>> {
        let command =
            format!("cargo xtask bench --only {name} --rounds {} --warm {}", self.rounds, self.warm);
        match name {
            "start" => self.start(&command).map(|table| vec![table]),
            "produce-1k" => self.produce_and_consume(&command, 1024, 400_000),
            "produce-100" => self.produce_and_consume(&command, 100, 2_000_000),
            "small" => self.small(&command).map(|table| vec![table]),
            "rate" => self.rate(&command).map(|table| vec![table]),
            "trip" => self.trip(&command).map(|table| vec![table]),
            "connections" => self.connections(&command).map(|table| vec![table]),
            "partitions" => self.partitions(&command).map(|table| vec![table]),
            "transactions" => self.transactions(&command),
            "joins" => self.each(joins::title(), &command, |contestant, schemas, mut samples| {
                joins::run(contestant, schemas, Protocol::Classic, samples.as_deref_mut())?;
                joins::run(contestant, schemas, Protocol::Consumer, samples)
            }),
            "shares" => self.each(shares::title(), &command, shares::run),
            "compaction" => self.each(compaction::title(), &command, compaction::run),
            "groups-10k" => {
                groups::run(&self.contestants, &Schemas::load()?, &command).map(|table| vec![table])
            }
            "cluster-1k" => self.produce_and_consume(&command, 1024, 200_000),
            "cluster-100" => self.produce_and_consume(&command, 100, 1_000_000),
            "cluster-rate" => self.rate(&command).map(|table| vec![table]),
            "cluster-partitions" => self.cluster_partitions(&command).map(|table| vec![table]),
            "cluster-grow" => {
                growth::run(&mut self.contestants, &self.load, &self.dir, &command).map(|table| vec![table])
            }
            other => anyhow::bail!(
                "there is no workload {other}, only {}",
                [&NAMES[..], &CLUSTER_NAMES].concat().join(", ")
            ),
        }
    }

    /// A table of what `run` adds to it, round after round.
    fn each(
        &mut self,
        title: String,
        command: &str,
        run: impl Fn(&Contestant, &Schemas, Option<&mut Samples>) -> Result<()>,
    ) -> Result<Vec<Samples>> {
        let (schemas, mut samples) = (Schemas::load()?, Samples::new(title, command));
        for round in 0..self.warm + self.rounds {
            for contestant in &self.contestants {
                self.ballast.fill()?;
                let counts = round >= self.warm;
                run(contestant, &schemas, counts.then_some(&mut samples)).context(contestant.name)?;
            }
        }
        Ok(vec![samples])
    }

    fn transactions(&mut self, command: &str) -> Result<Vec<Samples>> {
        let mut tables = Vec::new();
        for (name, partitions, records) in transactions::SIZES {
            tables.extend(self.each(
                transactions::title(name),
                command,
                |contestant, schemas, samples| {
                    transactions::run(contestant, schemas, (partitions, records), samples)
                },
            )?);
        }
        Ok(tables)
    }

    /// What the titles say of copies.
    fn copies(&self) -> &'static str {
        let is_cluster = self.contestants.iter().any(|contestant| replicas(contestant) > 1);
        if is_cluster { ", three nodes, three replicas" } else { "" }
    }

    fn start(&mut self, command: &str) -> Result<Samples> {
        let mut samples = Samples::new("Start and idle", command);
        std::thread::sleep(IDLE);
        for contestant in &self.contestants {
            samples.add(contestant.name, "start ms", contestant.started_in.as_secs_f64() * 1e3);
            samples.add(contestant.name, "idle MiB", contestant.resident_mib()?);
            samples.add(contestant.name, "idle CPU % of a core", contestant.idle_percent(IDLE)?);
        }
        Ok(samples)
    }

    fn produce_and_consume(&mut self, command: &str, size: u64, count: u64) -> Result<Vec<Samples>> {
        let mut produced = Samples::new(
            format!("Produce, {size} B, acks=all, {PARTITIONS} partitions{}", self.copies()),
            command,
        );
        let mut consumed = Samples::new(format!("Consume the same, {size} B{}", self.copies()), command);
        let (size, count) = (size.to_string(), count.to_string());
        for round in 0..self.warm + self.rounds {
            for contestant in &self.contestants {
                self.ballast.fill()?;
                let topic = new_topic(contestant, 6)?;
                let to = &contestant.addresses().join(",");
                let args = ["produce", to, &topic, PARTITIONS, &count, &size, "0", "acks=all"];
                let first = measure(contestant, || self.load.run(&args))?;
                let args = ["consume", to, &topic, PARTITIONS, &count, "group.id=bench", HASTE];
                let second = measure(contestant, || self.load.run(&args))?;
                progress(contestant, round, &first.figures);
                if round >= self.warm {
                    first.add_throughput(&mut produced, contestant.name);
                    first.add_latency(&mut produced, contestant.name);
                    produced.add(contestant.name, "MiB afterwards", contestant.resident_mib()?);
                    second.add_throughput(&mut consumed, contestant.name);
                }
                delete_topic(contestant, &topic)?;
            }
        }
        Ok(vec![produced, consumed])
    }

    fn small(&mut self, command: &str) -> Result<Samples> {
        let mut samples = Samples::new("One record of 100 B in each request, acks=all", command);
        for round in 0..self.warm + self.rounds {
            for contestant in &self.contestants {
                self.ballast.fill()?;
                let topic = new_topic(contestant, 6)?;
                let one = ["acks=all", "batch.num.messages=1", "linger.ms=0"];
                let to = &contestant.addresses().join(",");
                let args = [&["produce", to, &topic, PARTITIONS, "60000", "100", "0"], &one[..]].concat();
                let taken = measure(contestant, || self.load.run(&args))?;
                progress(contestant, round, &taken.figures);
                if round >= self.warm {
                    samples.add(contestant.name, "requests/s", taken.figures.records / taken.figures.seconds);
                    samples.add(
                        contestant.name,
                        "broker CPU us/request",
                        taken.cpu / taken.figures.records * 1e6,
                    );
                }
                delete_topic(contestant, &topic)?;
            }
        }
        Ok(samples)
    }

    fn rate(&mut self, command: &str) -> Result<Samples> {
        let title =
            "20,000 records/s of 1 KiB for 8 s beside a reader, acks=all, linger 1 ms, on a busy disk";
        let mut samples = Samples::new(format!("{title}{}", self.copies()), command);
        let _busy = BusyDisk::start(&self.dir);
        for round in 0..self.warm + self.rounds {
            for contestant in &self.contestants {
                self.ballast.fill()?;
                let topic = new_topic(contestant, 6)?;
                let to = &contestant.addresses().join(",");
                let fixed = ["160000", "1024", "20000", "acks=all", "linger.ms=1"];
                let args = [&["flow", to, &topic, PARTITIONS], &fixed[..]].concat();
                let taken = measure(contestant, || self.load.run(&args))?;
                progress(contestant, round, &taken.figures);
                if round >= self.warm {
                    taken.add_latency(&mut samples, contestant.name);
                    let (name, figures) = (contestant.name, &taken.figures);
                    samples.add(name, "read p50 ms", figures.read_p50_ms);
                    samples.add(name, "read p99 ms", figures.read_p99_ms);
                    samples.add(name, "read p99.9 ms", figures.read_p999_ms);
                    samples.add(name, "CPU % of a core", taken.cpu / figures.seconds * 100.0);
                }
                delete_topic(contestant, &topic)?;
            }
        }
        Ok(samples)
    }

    fn trip(&mut self, command: &str) -> Result<Samples> {
        let mut samples = Samples::new("One record at a time, sent to read, 100 B, acks=all", command);
        for round in 0..self.warm + self.rounds {
            for contestant in &self.contestants {
                self.ballast.fill()?;
                let topic = new_topic(contestant, 1)?;
                let to = &contestant.addresses().join(",");
                let taken = self.load.run(&["trip", to, &topic, "2000", "100", "acks=all", "linger.ms=0"])?;
                progress(contestant, round, &taken);
                if round >= self.warm {
                    add_latency(&mut samples, contestant.name, &taken);
                }
                delete_topic(contestant, &topic)?;
            }
        }
        Ok(samples)
    }

    fn connections(&mut self, command: &str) -> Result<Samples> {
        let mut samples = Samples::new(format!("{CONNECTIONS} idle connections"), command);
        for contestant in &self.contestants {
            let (memory, cpu, started) =
                (contestant.resident_mib()?, contestant.cpu_seconds()?, Instant::now());
            let mut held = Vec::with_capacity(CONNECTIONS);
            for _ in 0..CONNECTIONS {
                let mut connection = Raw::connect(&contestant.addresses().concat())?;
                connection.call(&frame(api::API_VERSIONS, 0, false, &[]))?;
                held.push(connection);
            }
            samples.add(contestant.name, "open s", started.elapsed().as_secs_f64());
            samples.add(contestant.name, "CPU s", contestant.cpu_seconds()? - cpu);
            let more = contestant.resident_mib()? - memory;
            samples.add(contestant.name, "KiB each", more * 1024.0 / CONNECTIONS as f64);
        }
        Ok(samples)
    }

    fn partitions(&mut self, command: &str) -> Result<Samples> {
        let mut samples = Samples::new(format!("{MANY_PARTITIONS} partitions"), command);
        for contestant in &mut self.contestants {
            let topic = fresh("many");
            let started = Instant::now();
            let code = raw::create_topic(
                &mut Raw::connect(&contestant.addresses().concat())?,
                &topic,
                MANY_PARTITIONS,
                1,
            )?;
            ensure!(code == 0, "CreateTopics: error code {code}");
            until_written(contestant, &topic)?;
            samples.add(contestant.name, "usable s", started.elapsed().as_secs_f64());
            samples.add(contestant.name, "MiB", contestant.resident_mib()?);
            contestant.nodes.kill(1)?;
            let started = Instant::now();
            contestant.nodes.start_again(1)?;
            until_written(contestant, &topic)?;
            samples.add(contestant.name, "usable after kill -9, s", started.elapsed().as_secs_f64());
            samples.add(contestant.name, "MiB after it", contestant.resident_mib()?);
            println!("    {} has had {MANY_PARTITIONS} partitions", contestant.name);
        }
        Ok(samples)
    }

    /// Memory and idle CPU of each node, and how long all partitions of a killed node have no leader.
    fn cluster_partitions(&mut self, command: &str) -> Result<Samples> {
        let title = format!("{CLUSTER_PARTITIONS} partitions with three replicas on three nodes");
        let mut samples = Samples::new(title, command);
        for contestant in &mut self.contestants {
            let (topic, started) = (fresh("many"), Instant::now());
            for part in 0..CLUSTER_TOPICS {
                let partitions = CLUSTER_PARTITIONS / CLUSTER_TOPICS;
                let addresses = contestant.addresses();
                raw::ready_topic_among(&addresses, &format!("{topic}-{part}"), partitions, 3)?;
            }
            samples.add(contestant.name, "usable s", started.elapsed().as_secs_f64());
            std::thread::sleep(IDLE);
            samples.add(contestant.name, "MiB of a node", contestant.resident_mib()?);
            samples.add(contestant.name, "idle CPU % of a core, a node", contestant.idle_percent(IDLE)?);
            contestant.nodes.kill(1)?;
            let started = Instant::now();
            let left: Vec<&str> = contestant.addresses().into_iter().skip(1).collect();
            for part in 0..CLUSTER_TOPICS {
                raw::until_led(&left, &format!("{topic}-{part}"), CLUSTER_PARTITIONS / CLUSTER_TOPICS)?;
            }
            let seconds = started.elapsed().as_secs_f64();
            samples.add(contestant.name, "all led after kill -9 of a node, s", seconds);
            contestant.nodes.start_again(1)?;
            println!("    {} has had {CLUSTER_PARTITIONS} partitions", contestant.name);
        }
        Ok(samples)
    }
}

/// Figures of one run and the CPU seconds that the broker used meanwhile.
struct Taken {
    figures: Figures,
    cpu: f64,
}

impl Taken {
    fn add_throughput(&self, samples: &mut Samples, name: &'static str) {
        samples.add(name, "k records/s", self.figures.records / self.figures.seconds / 1e3);
        samples.add(name, "broker CPU s/GiB", self.cpu / (self.figures.bytes / GIB));
    }

    fn add_latency(&self, samples: &mut Samples, name: &'static str) {
        add_latency(samples, name, &self.figures);
    }
}

fn add_latency(samples: &mut Samples, name: &'static str, figures: &Figures) {
    samples.add(name, "p50 ms", figures.p50_ms);
    samples.add(name, "p99 ms", figures.p99_ms);
    samples.add(name, "p99.9 ms", figures.p999_ms);
}

fn measure(contestant: &Contestant, run: impl FnOnce() -> Result<Figures>) -> Result<Taken> {
    let before = contestant.cpu_seconds()?;
    let figures = run().with_context(|| contestant.name)?;
    Ok(Taken { figures, cpu: contestant.cpu_seconds()? - before })
}

fn progress(contestant: &Contestant, round: usize, figures: &Figures) {
    let per_second = figures.records / figures.seconds;
    println!(
        "    round {round}, {}: {per_second:.0} records/s, p99 {:.2} ms",
        contestant.name, figures.p99_ms
    );
}

fn new_topic(contestant: &Contestant, partitions: i32) -> Result<String> {
    let topic = fresh("bench");
    raw::ready_topic_among(&contestant.addresses(), &topic, partitions, replicas(contestant))?;
    Ok(topic)
}

fn replicas(contestant: &Contestant) -> i16 {
    i16::try_from(contestant.addresses().len()).unwrap_or(i16::MAX)
}

/// Waits until the last of the many partitions takes a record.
fn until_written(contestant: &Contestant, topic: &str) -> Result<()> {
    let batch = raw::batch(b"here", true);
    let last = MANY_PARTITIONS - 1;
    until(|| {
        raw::produce(&mut Raw::greeted(&contestant.addresses().concat())?, topic, last, &batch)
            .map(|(code, _)| code)
    })
}

fn until(ask: impl Fn() -> Result<i16>) -> Result<()> {
    let started = Instant::now();
    loop {
        let asked = ask();
        match asked {
            Ok(0) => return Ok(()),
            other => ensure!(started.elapsed() < Duration::from_secs(120), "not within 120 s: {other:?}"),
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// So that no round pays for the files of the one before.
pub(crate) fn delete_topic(contestant: &Contestant, topic: &str) -> Result<()> {
    let body = raw::Bytes::default().i32(1).string(topic).i32(30_000);
    let first = contestant.addresses().into_iter().next().context("there is no broker")?;
    Raw::greeted(first)?.call(&frame(20, 1, false, &body.0)).map(drop)
}

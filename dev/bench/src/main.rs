//! `bench [--only NAME]... [--rounds N] [--warm N] [--contestants TEXT] [--out FILE]`: runs the race and prints the tables.
//! Called as `cargo xtask bench`; docs/benchmarks.md is what `--out` wrote on a named machine.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a harness lives outside the simulated world: it may use files, threads and the clock of the machine"
)]

use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use bench::contestant::{Contestant, Size};
use bench::load::Load;
use bench::streams::{self, Streams};
use bench::surroundings::{Ballast, write_cost};
use bench::workloads::{CLUSTER_NAMES, NAMES, Race};

struct Options {
    only: Vec<String>,
    rounds: usize,
    warm: usize,
    contestants: String,
    out: Option<String>,
}

fn main() -> ExitCode {
    match options(std::env::args().skip(1)).and_then(|options| run(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!(
                "{error:#}\n\nbench [--only {}] [--rounds N] [--warm N] [--contestants TEXT] [--out FILE]",
                [&NAMES[..], &CLUSTER_NAMES, &streams::NAMES].concat().join("|")
            );
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    let dir = tempfile::tempdir()?;
    println!("building the load programs");
    let (load, streams) = (Load::build()?, Streams::build(dir.path())?);
    println!("filling memory with cached pages");
    let mut ballast = Ballast::new(dir.path())?;
    ballast.fill()?;
    let mut tables = vec![machine(write_cost(dir.path())?)];
    let mut race = Race {
        contestants: Vec::new(),
        load,
        rounds: options.rounds,
        warm: options.warm,
        ballast,
        dir: dir.path().to_owned(),
    };
    let mut failed = Vec::new();
    for (size, names) in [(Size::One, &NAMES[..]), (Size::Three, &CLUSTER_NAMES)] {
        let wanted: Vec<&str> = names.iter().copied().filter(|name| options.wants(name, size)).collect();
        if wanted.is_empty() {
            continue;
        }
        println!("starting the contestants");
        race.contestants.clear();
        race.contestants = Contestant::start_all(dir.path(), &options.contestants, size)?;
        ensure!(!race.contestants.is_empty(), "no contestant is called like {:?}", options.contestants);
        for name in wanted {
            println!("{name}");
            // One workload that fails does not take the figures of the others with it.
            match race.run(name) {
                Ok(found) => tables.extend(found.iter().map(|samples| samples.table())),
                Err(error) => failed.push(format!("{name}: {error:#}")),
            }
        }
    }
    for name in streams::NAMES.iter().filter(|name| options.only.iter().any(|only| only == *name)) {
        println!("{name}");
        race.ballast.fill()?;
        match streams.run(name, options.rounds, options.warm) {
            Ok(found) => tables.push(found.table()),
            Err(error) => failed.push(format!("{name}: {error:#}")),
        }
    }
    let text = tables.join("\n");
    println!("\n{text}");
    if let Some(file) = &options.out {
        std::fs::write(file, &text).with_context(|| format!("writing {file}"))?;
    }
    ensure!(failed.is_empty(), "{}", failed.join("\n"));
    Ok(())
}

impl Options {
    /// Without `--only`, everything that one broker can show.
    fn wants(&self, name: &str, size: Size) -> bool {
        if self.only.is_empty() { size == Size::One } else { self.only.iter().any(|only| only == name) }
    }
}

fn is_known(name: &str) -> bool {
    [&NAMES[..], &CLUSTER_NAMES, &streams::NAMES].concat().contains(&name)
}

/// Head of the tables: what they were made on, and how to read them.
fn machine(write_cost: f64) -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(" unknown processor");
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    format!(
        "## Odradek beside Apache Kafka\n\n{} cores,{}; load and brokers share them. Cells: median (least..most) of the \
         rounds, after some that only warm. CPU: user and system time of the broker process, from /proc. GiB: payload. Memory \
         is full of cached file pages, as on a machine in service. For scale: a plain write of 1 GiB into the page \
         cache cost this machine {write_cost:.2} s of CPU.\n",
        cores,
        model
            .trim_start_matches([' ', '\t', ':'])
            .split('@')
            .next()
            .map(|m| format!(" {}", m.trim()))
            .unwrap_or_default()
    )
}

fn options(mut args: impl Iterator<Item = String>) -> Result<Options> {
    let mut options = Options { only: Vec::new(), rounds: 5, warm: 4, contestants: String::new(), out: None };
    while let Some(arg) = args.next() {
        let value = args.next().with_context(|| format!("{arg} wants a value"))?;
        match arg.as_str() {
            "--only" if is_known(&value) => options.only.push(value),
            "--rounds" => options.rounds = value.parse().context("--rounds wants a number")?,
            "--warm" => options.warm = value.parse().context("--warm wants a number")?,
            "--contestants" => options.contestants = value,
            "--out" => options.out = Some(value),
            _ => bail!("{arg} {value}?"),
        }
    }
    Ok(options)
}

//! `torture [--minutes N | --seconds N] [--nodes N] [--seed N] [--set KEY=VALUE] [--keep DIR]`: runs it once and prints the verdict.
//! Exits with 1 if anything was found. Called as `cargo xtask torture`.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a harness lives outside the simulated world: it may use files, threads and the clock of the machine"
)]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use conformance::{clients, server};
use torture::place;
use torture::run::{Options, Verdict, run};

const HELP: &str = "\
torture [--minutes N | --seconds N] [--nodes N] [--seed N] [--set KEY=VALUE] [--keep DIR]

  --minutes   how long faults happen (1); --seconds for less
  --nodes     of the cluster (3; at most 7)
  --seed      which faults come (drawn)
  --set       a line of the nodes' configurations, any number of times; with odradek.ack.durability=page-cache power cuts
              must show as lost records
  --keep      an empty directory for the nodes' disks and words and the clients' histories, which stays afterwards; without
              it they stay after an anomaly or a reader's silence only

It needs Linux, and root or user namespaces; everything happens in a network of its own.";

struct Arguments {
    lasts: Duration,
    nodes: usize,
    seed: u64,
    keep: Option<PathBuf>,
    settings: Vec<String>,
}

fn main() -> ExitCode {
    let arguments = match arguments(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("{error:#}\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    match judge(arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("FAIL  {error:#}\n0 passed, 1 failed");
            ExitCode::FAILURE
        }
    }
}

fn judge(arguments: Arguments) -> Result<bool> {
    // Before the network is left behind.
    let python = clients::install_python()?;
    let binary = server::odradek_binary()?;
    place::enter()?;
    let temporary = tempfile::tempdir()?;
    let dir = match &arguments.keep {
        Some(dir) => {
            std::fs::create_dir_all(dir)?;
            ensure!(dir.read_dir()?.next().is_none(), "{} is not empty", dir.display());
            dir.canonicalize()?
        }
        None => temporary.path().to_owned(),
    };
    println!("{} nodes, faults of seed {} for {:?}", arguments.nodes, arguments.seed, arguments.lasts);
    let Arguments { lasts, nodes, seed, settings, keep } = arguments;
    let verdict = run(&Options { lasts, nodes, seed, dir, binary, python, settings })?;
    let is_worth_keeping = !verdict.anomalies.is_empty() || verdict.extent.silent > 0;
    if is_worth_keeping && keep.is_none() {
        println!(
            "the disks of the nodes, their words and the histories are in {}",
            temporary.keep().display()
        );
    }
    Ok(tell(&verdict, seed))
}

fn tell(verdict: &Verdict, seed: u64) -> bool {
    let extent = verdict.extent;
    println!(
        "{} faults; {} records, {} acknowledged, {} of unknown fate, {} polled, {} commits; longest time without an \
         acknowledgement for a partition {:.2} s; healed in {:.2} s",
        verdict.faults,
        extent.records,
        extent.acks,
        extent.unknown,
        extent.polled,
        extent.commits,
        verdict.longest.as_secs_f64(),
        verdict.healed_in.as_secs_f64(),
    );
    if extent.again > 0 {
        println!(
            "{} of them their producer sent again in another epoch, which no broker can see",
            extent.again
        );
    }
    if extent.silent > 0 {
        println!("readers whose library fell silent and that began anew: {}", extent.silent);
    }
    for anomaly in &verdict.anomalies {
        println!("FAIL  {}: {}", anomaly.kind, anomaly.text);
    }
    if verdict.anomalies.is_empty() {
        println!("ok    no anomaly\n1 passed, 0 failed");
    } else {
        println!("faults again: --seed {seed}\n0 passed, 1 failed");
    }
    verdict.anomalies.is_empty()
}

fn arguments(mut args: impl Iterator<Item = String>) -> Result<Arguments> {
    let (lasts, seed, settings) = (Duration::from_secs(60), rand::random(), Vec::new());
    let mut found = Arguments { lasts, nodes: 3, seed, keep: None, settings };
    while let Some(arg) = args.next() {
        let value = args.next().with_context(|| format!("{arg} wants a value"))?;
        let number = || value.parse::<u64>().with_context(|| format!("{arg} wants a number"));
        match arg.as_str() {
            "--minutes" => found.lasts = Duration::from_secs(number()?.saturating_mul(60)),
            "--seconds" => found.lasts = Duration::from_secs(number()?),
            "--nodes" => found.nodes = usize::try_from(number()?)?,
            "--seed" => found.seed = number()?,
            "--set" => {
                ensure!(value.contains('='), "--set wants KEY=VALUE");
                found.settings.push(value);
            }
            "--keep" => found.keep = Some(value.into()),
            _ => bail!("{arg}?"),
        }
    }
    ensure!((1..=7).contains(&found.nodes), "--nodes wants 1 to 7");
    Ok(found)
}

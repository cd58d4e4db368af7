//! What a broker must survive: hostile bytes, hostile connections, damaged files, and a machine that runs out of things.
//! Not a fuzzer: each case is one that has brought brokers down, with the exact answer that Kafka gives.
//! Called as `conformance bad-input`.

mod connections;
mod damage;
mod frames;
mod scarcity;

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::report::Report;
use crate::server::{Kind, Server, Setup, answers};

/// Runs all cases, each kind of trouble on a broker of its own.
pub fn run(report: &mut Report, kind: &Kind) -> Result<()> {
    raise_descriptors()?;
    let dir = tempfile::tempdir()?;
    // A broker for each, so that the memory that one case takes does not hide that of the next.
    let setup =
        |name| Setup::new(kind.clone(), dir.path().join(name)).set("auto.create.topics.enable", false);
    frames::run(report, &mut Server::start(setup("frames"))?)?;
    connections::run(report, &mut Server::start(setup("connections"))?)?;
    if matches!(kind, Kind::External(_)) {
        report.skip("bad input: files, descriptors, disks", "the broker is not ours to kill");
        return Ok(());
    }
    damage::run(report, kind)?;
    scarcity::run(report, kind)
}

/// Two sides of 10,000 connections need more descriptors than most machines give at first.
fn raise_descriptors() -> Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })
        .context("raising the limit of open files")
}

/// The broker lives, and answers a new client within a second.
fn serves(server: &mut Server) -> Result<Duration> {
    server.ensure_alive()?;
    let asked = Instant::now();
    ensure!(answers(server.bootstrap()), "no answer to a new client");
    let took = asked.elapsed();
    ensure!(took < Duration::from_secs(1), "a new client waited {took:?}");
    Ok(took)
}

/// Resident memory of the broker in KiB: now, and the most there ever was.
fn memory_kib(server: &Server) -> Result<(u64, u64)> {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid()?))?;
    let field = |name: &str| {
        let line =
            status.lines().find_map(|line| line.strip_prefix(name)).context("no such line in /proc")?;
        line.trim_start_matches(':')
            .trim()
            .trim_end_matches(" kB")
            .parse::<u64>()
            .context("no number in /proc")
    };
    Ok((field("VmRSS")?, field("VmHWM")?))
}

/// Apache Kafka's memory is its heap, which is set: only ours has a limit to keep.
fn ensure_memory(server: &Server, before_kib: u64, more_mib_max: u64) -> Result<String> {
    if server.kind() != &Kind::Odradek {
        return Ok(String::new());
    }
    let (now, most) = memory_kib(server)?;
    let more = most.saturating_sub(before_kib) / 1024;
    ensure!(more <= more_mib_max, "resident memory rose by {more} MiB, more than {more_mib_max}");
    Ok(format!("resident memory {} MiB, at most {} MiB", now / 1024, most / 1024))
}

//! `odradek doctor`: what is wrong with this machine, its configuration or its broker, and what to do about it.
//!
//! It changes nothing. Each check gives one finding; the command fails if one of them is bad.

use crate::{
    connection::{ClusterArgs, block_on},
    output::{OutputArgs, table},
};
use anyhow::bail;
use clap::Args;
use env::{Open, World};
use metadata::config::Statics;
use node::Layers;
use serde_json::{Value, json};
use std::{
    io,
    path::{Path, PathBuf},
};

/// Open files below which a node with many partitions or connections fails.
const OPEN_FILES_WANTED: u64 = 65_536;
/// Free space below which a node may soon stop.
const FREE_BYTES_WANTED: u64 = 5 * 1024 * 1024 * 1024;
const FREE_BYTES_NEEDED: u64 = 512 * 1024 * 1024;
/// 2025-01-01 and 2100-01-01: a clock outside of them is wrong.
const CLOCK_MS: std::ops::Range<i64> = 1_735_689_600_000..4_102_444_800_000;
const META_PROPERTIES_BYTES_MAX: u64 = 64 * 1024;

/// Check this machine, its configuration and its broker.
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// The configuration to check: server.properties or TOML
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The data directory to check [default: log.dirs of the configuration, or ./odradek-data]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    cluster: ClusterArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Good,
    Doubtful,
    Bad,
}

/// What one check has found.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Finding {
    check: &'static str,
    verdict: Verdict,
    found: String,
    remedy: String,
}

impl Finding {
    fn good(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Good, found: found.into(), remedy: String::new() }
    }

    fn doubtful(check: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Doubtful, found: found.into(), remedy: remedy.into() }
    }

    fn bad(check: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Bad, found: found.into(), remedy: remedy.into() }
    }
}

impl Verdict {
    fn name(self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::Doubtful => "warning",
            Self::Bad => "wrong",
        }
    }
}

pub(crate) fn run(doctor: Doctor) -> anyhow::Result<()> {
    let world = node::system::world();
    let (layers, mut findings) = configuration(&world, doctor.config.as_deref());
    let dir = doctor.data_dir.clone().unwrap_or_else(|| data_dir(&layers));
    findings.extend(check_data_dir(&world, &dir));
    findings.push(check_space(world.disk.space(existing(&world, &dir)), &dir));
    findings.push(check_open_files(&read_limits(&world)));
    findings.push(check_clock(world.clock.wall()));
    findings.push(block_on(async { Ok(check_broker(&doctor.cluster).await) })?);
    let json = findings.iter().map(|finding| {
        json!({
            "check": finding.check,
            "verdict": finding.verdict.name(),
            "found": finding.found,
            "remedy": finding.remedy,
        })
    });
    doctor.output.show(&Value::Array(json.collect()), || {
        let rows = findings.iter().map(|finding| {
            vec![
                finding.verdict.name().into(),
                finding.check.into(),
                finding.found.clone(),
                finding.remedy.clone(),
            ]
        });
        table(&["VERDICT", "CHECK", "FOUND", "WHAT TO DO"], rows)
    })?;
    match findings.iter().filter(|finding| finding.verdict == Verdict::Bad).count() {
        0 => Ok(()),
        1 => bail!("one thing is wrong"),
        count => bail!("{count} things are wrong"),
    }
}

fn configuration(world: &World, file: Option<&Path>) -> (Layers, Vec<Finding>) {
    const CHECK: &str = "configuration";
    let mut layers = Layers::default();
    if let Some(file) = file
        && let Err(error) = layers.read_file(&*world.disk, file)
    {
        return (layers, vec![Finding::bad(CHECK, error.to_string(), "correct the file or its name")]);
    }
    layers.read_environment(std::env::vars());
    let problems = Statics::new(layers.clone().into_pairs()).problems();
    let findings = match (problems.is_empty(), file) {
        (true, Some(file)) => vec![Finding::good(CHECK, format!("{} has no mistakes", file.display()))],
        (true, None) => vec![Finding::good(CHECK, "none is given, and the environment has no mistakes")],
        (false, _) => {
            let bad = |problem| Finding::bad(CHECK, problem, "correct it in the file or the environment");
            problems.into_iter().map(bad).collect()
        }
    };
    (layers, findings)
}

fn data_dir(layers: &Layers) -> PathBuf {
    let dirs = ["log.dirs", "log.dir"].iter().find_map(|key| layers.get(key));
    let first = dirs.and_then(|dirs| dirs.split(',').map(str::trim).find(|dir| !dir.is_empty()));
    PathBuf::from(first.unwrap_or("./odradek-data"))
}

/// Whether the directory can be written, whose it is, and whether a node has it.
fn check_data_dir(world: &World, dir: &Path) -> Vec<Finding> {
    const CHECK: &str = "data directory";
    let shown = dir.display();
    if world.disk.list(dir).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
        let found = format!("{shown} does not exist; the first start makes it");
        return vec![Finding::good(CHECK, found)];
    }
    let probe = dir.join(".odradek-doctor");
    let written =
        env::write_whole(&*world.disk, &probe, b"probe").and_then(|()| world.disk.remove_file(&probe));
    let mut findings = vec![match written {
        Ok(()) => Finding::good(CHECK, format!("{shown} can be written")),
        Err(error) => Finding::bad(
            CHECK,
            format!("{shown} cannot be written: {error}"),
            "give the user that runs the node the right to write there, or choose another with --data-dir",
        ),
    }];
    findings
        .push(check_owner(world.disk.read_small(&dir.join("meta.properties"), META_PROPERTIES_BYTES_MAX)));
    let lock = dir.join(".lock");
    if world.disk.exists(&lock) {
        findings.push(match world.disk.lock(&lock) {
            Ok(_) => Finding::good("lock", "no node uses the data directory"),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                Finding::good("lock", "a node runs on the data directory; a second one would be refused")
            }
            Err(error) => Finding::bad(
                "lock",
                format!("{} cannot be locked: {error}", lock.display()),
                "correct the rights of the file; file systems without locks (some NFS) cannot be used",
            ),
        });
    }
    findings
}

/// Whether the directory is one that a node takes.
fn check_owner(meta: io::Result<Vec<u8>>) -> Finding {
    const CHECK: &str = "meta.properties";
    let meta = match meta {
        Ok(meta) => String::from_utf8_lossy(&meta).into_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Finding::good(CHECK, "there is none yet; the first start writes it");
        }
        Err(error) => {
            return Finding::bad(CHECK, format!("it cannot be read: {error}"), "correct its rights");
        }
    };
    let value = |key: &str| {
        let pairs = meta.lines().filter_map(|line| line.split_once('='));
        pairs
            .map(|(name, value)| (name.trim(), value.trim()))
            .find(|(name, _)| *name == key)
            .map(|pair| pair.1)
    };
    match (value("version"), value("cluster.id"), value("node.id")) {
        (Some("1"), Some(cluster), Some(node)) => {
            Finding::good(CHECK, format!("node {node} of cluster {cluster}"))
        }
        (Some("0"), ..) => Finding::bad(
            CHECK,
            "it is of a Kafka cluster with ZooKeeper",
            "migrate that cluster to KRaft first, or choose another directory",
        ),
        _ => Finding::bad(
            CHECK,
            "it lacks version=1, cluster.id or node.id",
            "restore it from a backup or from another directory of the same node",
        ),
    }
}

/// The nearest directory above that exists; a new one will be on the same file system.
fn existing<'a>(world: &World, dir: &'a Path) -> &'a Path {
    let is_there = |dir: &&Path| dir.as_os_str().is_empty() || world.disk.list(dir).is_ok();
    let found = dir.ancestors().find(is_there).filter(|dir| !dir.as_os_str().is_empty());
    found.unwrap_or(Path::new("."))
}

fn check_space(space: io::Result<(u64, u64)>, dir: &Path) -> Finding {
    const CHECK: &str = "disk space";
    let mib = |bytes: u64| bytes / (1024 * 1024);
    match space {
        Err(error) => Finding::doubtful(
            CHECK,
            format!("the file system of {} tells nothing: {error}", dir.display()),
            "look at it with df",
        ),
        Ok((total, free)) => {
            let found = format!("{} of {} MiB are free", mib(free), mib(total));
            let remedy =
                "free some, lower log.retention.bytes or log.retention.ms, or move the data directory";
            match free {
                ..FREE_BYTES_NEEDED => Finding::bad(CHECK, found, remedy),
                FREE_BYTES_NEEDED..FREE_BYTES_WANTED => Finding::doubtful(CHECK, found, remedy),
                _ => Finding::good(CHECK, found),
            }
        }
    }
}

fn read_limits(world: &World) -> String {
    let read = || {
        let file = world.disk.open(Path::new("/proc/self/limits"), Open::Read)?;
        let mut text = vec![0; 8192];
        let len = file.read_at(&mut text, 0)?;
        text.truncate(len);
        Ok::<_, io::Error>(text)
    };
    // Without /proc nothing is known, and that is what the check says.
    String::from_utf8_lossy(&read().unwrap_or_default()).into_owned()
}

/// The hard limit decides: a node raises its soft limit at its start.
fn check_open_files(limits: &str) -> Finding {
    const CHECK: &str = "open files";
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let hard = line.and_then(|line| line.split_whitespace().nth(1));
    let remedy =
        format!("raise it: LimitNOFILE={OPEN_FILES_WANTED} in the systemd unit, or ulimit -Hn as root");
    match hard.map(|hard| (hard, hard.parse::<u64>())) {
        Some((_, Ok(hard))) if hard < 1024 => {
            Finding::bad(CHECK, format!("the limit is {hard}, too low even for a few partitions"), remedy)
        }
        Some((_, Ok(hard))) if hard < OPEN_FILES_WANTED => Finding::doubtful(
            CHECK,
            format!("the limit is {hard}; a partition takes about 3, a connection 1"),
            remedy,
        ),
        Some((hard, _)) => Finding::good(CHECK, format!("the limit is {hard}")),
        None => Finding::doubtful(CHECK, "the limit is not known", "look at it with ulimit -Hn"),
    }
}

fn check_clock(wall_ms: i64) -> Finding {
    const CHECK: &str = "clock";
    match CLOCK_MS.contains(&wall_ms) {
        true => Finding::good(CHECK, format!("{wall_ms} ms since 1970")),
        false => Finding::bad(
            CHECK,
            format!("{wall_ms} ms since 1970 is not today; retention would delete too much or nothing"),
            "set the clock and keep it by NTP (timedatectl set-ntp true)",
        ),
    }
}

async fn check_broker(cluster: &ClusterArgs) -> Finding {
    const CHECK: &str = "broker";
    let addresses = cluster.addresses().join(",");
    let client = match cluster.connect().await {
        Ok(client) => client,
        Err(error) => {
            let remedy = "start it with `odradek dev` or `odradek serve`, or name another with --bootstrap";
            return Finding::bad(CHECK, error.to_string(), remedy);
        }
    };
    let leaderless = match client.topics_anew().await {
        Ok(topics) => topics
            .iter()
            .flat_map(|topic| &topic.partitions)
            .filter(|partition| partition.leader.is_none())
            .count(),
        Err(error) => return Finding::bad(CHECK, error.to_string(), "look into the broker's log"),
    };
    let known = client.cluster();
    let (id, brokers) = (known.id().unwrap_or("unknown"), known.brokers().count());
    // The brokers tell addresses that clients are to use, which are often those of another network.
    for broker in known.brokers() {
        if let Err(error) = client.reach(broker.id).await {
            return Finding::bad(
                CHECK,
                format!("{addresses} answers, but sends clients to {}: {error}", broker.addr),
                "set advertised.listeners to an address that clients reach",
            );
        }
    }
    match leaderless {
        0 => Finding::good(CHECK, format!("{addresses} answers: cluster {id}, brokers: {brokers}")),
        count => Finding::bad(
            CHECK,
            format!("{count} partitions have no leader"),
            "start the missing brokers, or look for failed disks in their logs",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hard_limit_of_open_files_is_judged() {
        let limits = |hard: &str| {
            format!(
                "Limit  Soft  Hard  Units\nMax open files            1024                 {hard}   files\n"
            )
        };
        let verdict = |limits: &str| check_open_files(limits).verdict;
        assert_eq!(verdict(&limits("256")), Verdict::Bad);
        assert_eq!(verdict(&limits("4096")), Verdict::Doubtful);
        assert_eq!(verdict(&limits("1048576")), Verdict::Good);
        assert_eq!(verdict(&limits("unlimited")), Verdict::Good);
        assert_eq!(verdict(""), Verdict::Doubtful);
    }

    #[test]
    fn a_directory_of_another_kind_is_noticed() {
        let verdict = |text: &str| check_owner(Ok(text.into())).verdict;
        assert_eq!(verdict("#\nversion=1\ncluster.id=abc\nnode.id=1\n"), Verdict::Good);
        assert_eq!(verdict("version=0\nbroker.id=1\n"), Verdict::Bad);
        assert_eq!(verdict("garbage"), Verdict::Bad);
        assert_eq!(check_owner(Err(io::ErrorKind::NotFound.into())).verdict, Verdict::Good);
        assert_eq!(check_owner(Err(io::ErrorKind::PermissionDenied.into())).verdict, Verdict::Bad);
    }

    #[test]
    fn little_space_and_wrong_clocks_are_noticed() {
        let verdict = |free| check_space(Ok((1 << 40, free)), Path::new("d")).verdict;
        assert_eq!(
            (verdict(1 << 20), verdict(1 << 30), verdict(1 << 38)),
            (Verdict::Bad, Verdict::Doubtful, Verdict::Good)
        );
        assert_eq!(
            (check_clock(0).verdict, check_clock(1_780_000_000_000).verdict),
            (Verdict::Bad, Verdict::Good)
        );
    }

    #[test]
    fn a_directory_is_probed_without_leaving_anything() {
        let dir = tempfile::tempdir().unwrap();
        let world = node::system::world();
        let findings = check_data_dir(&world, dir.path());
        assert!(findings.iter().all(|finding| finding.verdict == Verdict::Good), "{findings:?}");
        assert_eq!(world.disk.list(dir.path()).unwrap(), []);
        let findings = check_data_dir(&world, &dir.path().join("missing"));
        assert!(findings[0].found.contains("does not exist"), "{findings:?}");
        assert_eq!(existing(&world, &dir.path().join("missing/deep")), dir.path());
    }

    #[test]
    fn a_mistake_in_the_configuration_is_told_with_the_nearest_key() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("server.properties");
        let world = node::system::world();
        env::write_whole(&*world.disk, &file, b"log.retention.mss=1\nlog.dirs=/a,/b\n").unwrap();
        let (layers, findings) = configuration(&world, Some(&file));
        assert!(findings.iter().any(|finding| finding.found.contains("log.retention.ms'")), "{findings:?}");
        assert_eq!(data_dir(&layers), Path::new("/a"));
    }
}

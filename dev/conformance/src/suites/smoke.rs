//! The system test of Kafka Streams: two instances of its smoke test compute for 90 seconds, its driver produces what they read
//! and verifies what they say: sums, counts, windows, joins, suppression. Meanwhile an instance is killed, and the broker is
//! killed and started again on its data. Called by `suites`.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::Bed;
use super::java_suite::{JavaSuite, into, text};
use crate::program::{Program, run as run_program};

const CLASS: &str = "org.apache.kafka.streams.tests.StreamsSmokeTest";
/// Its topics, which it wants to have been created.
const TOPICS: [&str; 15] = [
    "echo",
    "data",
    "fk",
    "min",
    "min-suppressed",
    "min-raw",
    "max",
    "sum",
    "sws-raw",
    "sws-suppressed",
    "dif",
    "cnt",
    "avg",
    "wcnt",
    "tagg",
];
const PARTITIONS: &str = "5";
/// When an instance is killed, and when the broker is.
const KILL_INSTANCE: Duration = Duration::from_secs(30);
const KILL_BROKER: Duration = Duration::from_secs(50);
/// How long the broker is gone.
const GONE: Duration = Duration::from_secs(2);
const LIMIT: Duration = Duration::from_secs(400);

/// What an application is configured with.
struct Mode {
    guarantee: &'static str,
    protocol: &'static str,
}

/// Records may count twice.
pub(super) fn at_least_once(bed: &mut Bed) -> Result<String> {
    run(bed, &Mode { guarantee: "at_least_once", protocol: "classic" })
}

/// Each record counts once.
pub(super) fn exactly_once(bed: &mut Bed) -> Result<String> {
    run(bed, &Mode { guarantee: "exactly_once_v2", protocol: "classic" })
}

/// Each record counts once in a streams group of KIP-1071.
pub(super) fn streams_group(bed: &mut Bed) -> Result<String> {
    run(bed, &Mode { guarantee: "exactly_once_v2", protocol: "streams" })
}

fn run(bed: &mut Bed, mode: &Mode) -> Result<String> {
    let scene = Scene { suite: JavaSuite::install()?, dir: bed.dir.clone(), bootstrap: bed.bootstrap() };
    let create = [&["create", scene.bootstrap.as_str(), PARTITIONS], &TOPICS[..]].concat();
    run_program("creating topics", scene.suite.java("Results", &create), LIMIT)?;
    let mut first = scene.start("one", mode)?;
    let _second = scene.start("two", mode)?;
    let begun = Instant::now();
    let config = text(&scene.configure("one", mode)?);
    let log = scene.dir.join("driver.log");
    let driver = Program::start("the driver", into(scene.suite.java(CLASS, &[&config, "run"]), &log))?;
    thread::sleep(KILL_INSTANCE.saturating_sub(begun.elapsed()));
    println!("        an instance is killed");
    first.kill();
    let _third = scene.start("three", mode)?;
    let mut killed = "an instance";
    if bed.nodes.servers().iter().all(crate::server::Server::is_ours) {
        thread::sleep(KILL_BROKER.saturating_sub(begun.elapsed()));
        println!("        the broker is killed");
        bed.nodes.kill(1)?;
        thread::sleep(GONE);
        bed.nodes.start_again(1)?;
        killed = "an instance and the broker";
    }
    let ended = driver.finish(LIMIT);
    let said = fs::read_to_string(&log)?;
    let last: Vec<&str> = said.lines().rev().take(30).collect();
    let last = last.into_iter().rev().collect::<Vec<_>>().join("\n");
    let is_good = said.lines().any(|line| line == "SUCCESS") && said.contains("ALL-RECORDS-DELIVERED");
    ensure!(ended.is_ok() && is_good, "the driver says:\n{last}");
    Ok(format!("all records, verified by its driver; {killed} died"))
}

struct Scene {
    suite: JavaSuite,
    dir: PathBuf,
    bootstrap: String,
}

impl Scene {
    fn configure(&self, name: &str, mode: &Mode) -> Result<PathBuf> {
        let file = self.dir.join(format!("{name}.properties"));
        let state = text(&self.dir.join(format!("{name}.state")));
        let (bootstrap, guarantee, protocol) = (&self.bootstrap, mode.guarantee, mode.protocol);
        let session = if protocol == "classic" { "session.timeout.ms=10000\n" } else { "" };
        fs::write(
            &file,
            format!(
                "bootstrap.servers={bootstrap}\nprocessing.guarantee={guarantee}\nstate.dir={state}\n\
                 replication.factor=1\ngroup.protocol={protocol}\n{session}"
            ),
        )?;
        Ok(file)
    }

    fn start(&self, name: &str, mode: &Mode) -> Result<Program> {
        let config = text(&self.configure(name, mode)?);
        let log = self.dir.join(format!("{name}.log"));
        Program::start(name, into(self.suite.java(CLASS, &[&config, "process"]), &log))
    }
}

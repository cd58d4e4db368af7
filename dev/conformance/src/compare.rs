//! Apache Kafka and Odradek side by side: what clients and requests made by hand are answered by the one is asked of the
//! other, and compared field by field.
//!
//! Nothing recorded is kept: each run starts Apache Kafka, records, replays. What may differ stands with its reason in
//! `compare/differences.txt`. Called as `conformance compare`.

pub mod batches;
pub mod brought;
pub mod judge;
pub mod message;
pub mod proxy;
pub mod replay;
pub mod rules;
pub mod schema;
pub mod sessions;
pub mod settling;
pub mod sweep;

use std::path::Path;

use anyhow::{Result, bail, ensure};

use crate::report::Report;
use crate::server::{Kind, Server, Setup, free_ports};
use judge::Judge;
use proxy::{Event, Proxy};
use replay::Replay;
use rules::Rules;
use schema::Schemas;
use sweep::Sweep;

/// How much of what differs is printed.
const FINDINGS_SHOWN_MAX: usize = 400;

/// What both brokers are told, so that both can say the same.
const SETTINGS: [(&str, &str); 10] = [
    // Flights of 2013 are deleted when somebody looks.
    ("log.retention.ms", "-1"),
    ("share.coordinator.state.topic.replication.factor", "1"),
    ("share.coordinator.state.topic.min.isr", "1"),
    ("offsets.topic.num.partitions", "4"),
    ("transaction.state.log.num.partitions", "4"),
    ("share.coordinator.state.topic.num.partitions", "4"),
    ("group.consumer.migration.policy", "bidirectional"),
    // How soon a group is assigned anew would hang on the moment.
    ("group.consumer.assignment.interval.ms", "0"),
    ("group.share.assignment.interval.ms", "0"),
    ("group.streams.assignment.interval.ms", "0"),
];

/// Which sessions are recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Requests made by hand.
    Requests,
    /// Unmodified clients and Kafka's tools.
    Clients,
}

/// Runs one part; of the requests made by hand those scenarios whose names begin as `only` says, if it says something.
pub fn run(report: &mut Report, kind: &Kind, part: Part, only: &[String]) -> Result<()> {
    ensure!(only.is_empty() || part == Part::Requests, "clients are compared all together");
    if *kind != Kind::Odradek {
        bail!("compare starts both brokers itself");
    }
    let dir = tempfile::tempdir()?;
    let schemas = Schemas::load()?;
    let ports = free_ports(4)?;
    let [proxy, kafka, internal, controller] = ports.as_slice() else { bail!("four ports") };
    let ours = Server::start(
        settings(Kind::Odradek, &dir.path().join("odradek"))
            .set("advertised.listeners", format!("PLAINTEXT://127.0.0.1:{proxy}")),
    )?;
    let theirs = Server::start(
        settings(Kind::Kafka, &dir.path().join("kafka"))
            .set("controller.quorum.voters", format!("1@127.0.0.1:{controller}"))
            .set(
                "listeners",
                format!("PLAINTEXT://127.0.0.1:{kafka},INTERNAL://127.0.0.1:{internal},CONTROLLER://127.0.0.1:{controller}"),
            )
            .set(
                "advertised.listeners",
                format!("PLAINTEXT://127.0.0.1:{proxy},INTERNAL://127.0.0.1:{internal}"),
            )
            .set("listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT")
            .set("inter.broker.listener.name", "INTERNAL"),
    )?;
    let recorder = Proxy::start(*proxy, theirs.bootstrap())?;
    let bootstrap = format!("127.0.0.1:{proxy}");
    let mut sweep = Sweep::start(&schemas, &bootstrap, theirs.bootstrap())?;
    sweep.keep_common(&Sweep::start(&schemas, ours.bootstrap(), ours.bootstrap())?);
    let mut events = recorder.take();
    let recorded = match part {
        Part::Requests => by_hand(&mut sweep, &recorder, report, only),
        Part::Clients => sessions::all(&mut sweep, &recorder, report, &bootstrap),
    };
    events.extend(recorder.take());
    recorded?;
    judge(report, part, (&schemas, &ours), &events, only.is_empty())
}

fn settings(kind: Kind, dir: &Path) -> Setup {
    SETTINGS.iter().fold(Setup::new(kind, dir), |setup, (key, value)| setup.set(key, value))
}

fn by_hand(sweep: &mut Sweep<'_>, recorder: &Proxy, report: &mut Report, only: &[String]) -> Result<()> {
    let is_picked = |name: &str| only.is_empty() || only.iter().any(|one| name.starts_with(one.as_str()));
    let scenarios = sweep::scenarios()?;
    ensure!(scenarios.iter().any(|one| is_picked(&one.name)), "no scenario is called {}", only.join(" or "));
    if !only.is_empty() {
        report.check("compare: Apache Kafka answers: where the coordinators are", || {
            recorder.begin("where the coordinators are");
            sweep.await_coordinators().map(|()| String::new())
        });
    }
    for (number, scenario) in scenarios.iter().enumerate().filter(|(_, one)| is_picked(&one.name)) {
        report.check(format!("compare: Apache Kafka answers: {}", scenario.name), || {
            recorder.begin(&scenario.name);
            sweep.play(scenario)?;
            Ok(sweep.unanswered())
        });
        if number == 0 {
            report.check("compare: Apache Kafka answers: every API", || {
                recorder.begin("every API");
                sweep.every_api()?;
                Ok(sweep.unanswered())
            });
        }
    }
    Ok(())
}

/// Asks the same of ours.
fn judge(
    report: &mut Report,
    part: Part,
    (schemas, ours): (&Schemas, &Server),
    events: &[Event],
    is_whole: bool,
) -> Result<()> {
    let everywhere = include_str!("../compare/differences.txt");
    let of_clients = include_str!("../compare/differences-of-clients.txt");
    let mut judge = match part {
        Part::Requests => Judge::new(Rules::parse(everywhere)?),
        Part::Clients => Judge::of_clients(Rules::parse(&[everywhere, of_clients].concat())?),
    };
    let mut replay = Replay::new(schemas, ours.bootstrap());
    report.check("compare: Odradek answers the same, field by field", || {
        replay.run(events, &mut judge)?;
        let (batches, missing) = judge.judge_brought();
        let (requests, findings) = (replay.requests(), judge.findings());
        let shown: Vec<String> = findings.iter().take(FINDINGS_SHOWN_MAX).cloned().collect();
        let (fields, count, shown) = (judge.fields(), findings.len(), shown.join("\n      "));
        ensure!(count == 0, "{requests} requests, {fields} fields, {count} differ:\n      {shown}");
        ensure!(missing.is_none(), "{}", missing.unwrap_or_default());
        let of_clients =
            if part == Part::Clients { format!(", {batches} batches of readers") } else { String::new() };
        Ok(format!("{requests} requests, {fields} fields{of_clients}"))
    });
    if !is_whole {
        return Ok(());
    }
    report.check("compare: every difference that is listed is there", || {
        let listed = if part == Part::Requests { everywhere } else { of_clients };
        let unused: Vec<&str> =
            judge.unused().into_iter().filter(|line| listed.lines().any(|one| one == *line)).collect();
        ensure!(unused.is_empty(), "nothing differs at:\n      {}", unused.join("\n      "));
        Ok(String::new())
    });
    Ok(())
}

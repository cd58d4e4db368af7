//! The suites of other projects, as these ship them: what passes on Apache Kafka has to pass here. Each runs in one or more
//! set-ups; what it is known to skip, and why, stands beside its pinned versions, and that list may only grow shorter.
//!
//! It knows no suite from within: each has a file below. They take minutes and want a machine of their own, so `all` leaves
//! them out. Called as `conformance suites`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::nodes::{Nodes, READ_IN_OWN_RACK};
use crate::report::Report;
use crate::server::{Kind, Server, Setup};

mod connect;
mod expected;
mod franz_go;
mod java_suite;
mod kafka_python;
mod librdkafka;
mod rdkafka;
mod results;
mod smoke;
mod watch;

use expected::Expected;

/// What is to be run of all that there is.
#[derive(Clone, Debug, Default)]
pub struct Pick {
    /// Beginnings of names; empty is everything.
    pub only: Vec<String>,
    /// Some tests of a suite, in the suite's own way to name them; how many must pass is then not judged.
    pub tests: Option<String>,
}

/// A suite in one set-up.
struct Suite {
    name: &'static str,
    /// The list of what it gives, below `suites/`.
    expected: &'static str,
    nodes: usize,
    /// Of the first node; 0 takes a free one.
    port: u16,
    settings: &'static [(&'static str, &'static str)],
    run: fn(&mut Bed) -> Result<String>,
}

/// What a suite runs against.
struct Bed<'a> {
    name: &'static str,
    nodes: Nodes,
    /// How many replicas a topic may have.
    replicas: usize,
    expected: Expected,
    tests: Option<&'a str>,
    /// Where it may write; gone afterwards.
    dir: PathBuf,
}

impl Bed<'_> {
    fn bootstrap(&self) -> String {
        self.nodes.bootstrap()
    }
}

/// Some tests want no wait before a group's first generation, and more than one partition.
const FRANZ_GO: &[(&str, &str)] = &[("group.initial.rebalance.delay.ms", "0"), ("num.partitions", "4")];
/// Long enough that two consumers which begin together are in one generation. 0118_commit_rebalance passes only if they are, or if the
/// first of the two was alone in it: a commit that it expects to be refused is rightly taken where the second one was.
const TOGETHER: (&str, &str) = ("group.initial.rebalance.delay.ms", "100");
const LIBRDKAFKA: &[(&str, &str)] = &[TOGETHER, ("num.partitions", "4")];
/// One of its tests looks whether a consumer reads from the replica in its rack.
const LIBRDKAFKA_RACKS: &[(&str, &str)] = &[TOGETHER, ("num.partitions", "4"), READ_IN_OWN_RACK];
const NO_AUTO_CREATION: &[(&str, &str)] =
    &[TOGETHER, ("num.partitions", "4"), ("auto.create.topics.enable", "false")];
/// Its tests of administration expect a default of three partitions and a broker 0.
const RDKAFKA: &[(&str, &str)] =
    &[("group.initial.rebalance.delay.ms", "0"), ("num.partitions", "3"), ("node.id", "0")];
/// Its tests assign partitions to broker 0, want short sessions, and what it advertises to be configured.
const KAFKA_PYTHON: &[(&str, &str)] = &[
    ("group.initial.rebalance.delay.ms", "0"),
    ("num.partitions", "4"),
    ("node.id", "0"),
    ("group.min.session.timeout.ms", "1000"),
    ("advertised.listeners", "PLAINTEXT://127.0.0.1:9092"),
];
const STREAMS: &[(&str, &str)] = &[("group.initial.rebalance.delay.ms", "0"), ("num.partitions", "1")];

const fn suite(
    name: &'static str,
    expected: &'static str,
    (nodes, settings): (usize, &'static [(&'static str, &'static str)]),
    run: fn(&mut Bed) -> Result<String>,
) -> Suite {
    Suite { name, expected, nodes, port: 0, settings, run }
}

/// All of them, in the order in which they run.
const SUITES: [Suite; 13] = [
    suite("franz-go-one", "franz-go/expected.txt", (1, FRANZ_GO), franz_go::run),
    suite("franz-go-three", "franz-go/expected.txt", (3, FRANZ_GO), franz_go::run),
    suite("librdkafka-one", "librdkafka/one.txt", (1, LIBRDKAFKA), librdkafka::classic),
    suite("librdkafka-three", "librdkafka/three.txt", (3, LIBRDKAFKA_RACKS), librdkafka::classic),
    suite(
        "librdkafka-consumer",
        "librdkafka/consumer.txt",
        (3, LIBRDKAFKA_RACKS),
        librdkafka::consumer_protocol,
    ),
    suite(
        "librdkafka-no-auto-creation",
        "librdkafka/no-auto-creation.txt",
        (3, NO_AUTO_CREATION),
        librdkafka::no_auto_creation,
    ),
    // Some of its tests know no other port.
    Suite { port: 9092, ..suite("rdkafka", "rdkafka/expected.txt", (1, RDKAFKA), rdkafka::run) },
    Suite {
        port: 9092,
        ..suite("kafka-python", "kafka-python/expected.txt", (1, KAFKA_PYTHON), kafka_python::run)
    },
    suite("connect", "java/expected.txt", (1, STREAMS), connect::run),
    suite("smoke-at-least-once", "java/expected.txt", (1, STREAMS), smoke::at_least_once),
    suite("smoke-exactly-once", "java/expected.txt", (1, STREAMS), smoke::exactly_once),
    suite("smoke-streams-group", "java/expected.txt", (1, STREAMS), smoke::streams_group),
    suite("results", "java/expected.txt", (1, STREAMS), results::run),
];

/// Runs those that are picked.
pub fn run(report: &mut Report, kind: &Kind, pick: &Pick) -> Result<()> {
    let is_picked = |suite: &&Suite| {
        pick.only.is_empty() || pick.only.iter().any(|name| suite.name.starts_with(name.as_str()))
    };
    let picked: Vec<&Suite> = SUITES.iter().filter(is_picked).collect();
    let names = SUITES.map(|suite| suite.name).join(", ");
    ensure!(!picked.is_empty(), "no suite is called {}; there are {names}", pick.only.join(" or "));
    for suite in picked {
        report.check(suite.name, || suite.start(kind, pick.tests.as_deref()));
    }
    Ok(())
}

impl Suite {
    fn start(&self, kind: &Kind, tests: Option<&str>) -> Result<String> {
        let dir = tempfile::tempdir()?;
        let below = dir.path().join("brokers");
        let nodes = if self.nodes == 1 || matches!(kind, Kind::External(_)) {
            let setup = Setup { port: self.port, ..Setup::new(kind.clone(), below) };
            let setup = self.settings.iter().fold(setup, |setup, (key, value)| setup.set(key, value));
            Nodes::alone(Server::start(setup)?)
        } else {
            Nodes::start(kind, &below, self.settings)?
        };
        let replicas = self.nodes;
        let expected = Expected::read(&folder(self.expected))?;
        let mut bed = Bed { name: self.name, nodes, replicas, expected, tests, dir: dir.path().to_owned() };
        let judged = (self.run)(&mut bed);
        for server in bed.nodes.servers_mut() {
            server.ensure_alive().context("the suite has ended the broker")?;
        }
        judged
    }
}

/// What is pinned of a suite.
fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("suites").join(name)
}

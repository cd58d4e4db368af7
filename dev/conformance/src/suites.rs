//! The suites of other projects, as these ship them, against one node and against three: what passes on Apache Kafka has to
//! pass here. What a suite is known to skip, and why, stands beside its pinned versions; that list may only grow shorter.
//!
//! They take minutes and want a machine of their own, so `all` leaves them out. Called as `conformance suites`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::nodes::Nodes;
use crate::program::{Program, run as run_program};
use crate::report::Report;
use crate::server::{Kind, Server, Setup};

/// No suite takes longer.
const SUITE_LIMIT: Duration = Duration::from_secs(900);
const INSTALL_LIMIT: Duration = Duration::from_secs(900);
const KGO: &str = "github.com/twmb/franz-go/pkg/kgo";
/// Some tests want no wait before a group's first generation, and more than one partition.
const SETTINGS: [(&str, &str); 2] = [("group.initial.rebalance.delay.ms", "0"), ("num.partitions", "4")];
/// Words of a failed suite that are shown.
const SAID_MAX: usize = 40;

/// How the tests of a suite ended, by their names.
#[derive(Debug, Default, PartialEq, Eq)]
struct Ended {
    passed: BTreeSet<String>,
    failed: BTreeSet<String>,
    skipped: BTreeSet<String>,
}

/// What a suite is known to give.
#[derive(Debug, Default, PartialEq, Eq)]
struct Expected {
    passed_min: usize,
    /// Tests that are skipped, and why.
    skipped: BTreeMap<String, String>,
    /// Tests that may fail, and why.
    failed: BTreeMap<String, String>,
}

/// Runs them.
pub fn run(report: &mut Report, kind: &Kind) -> Result<()> {
    let (suite, expected) = (install()?, Expected::read(&folder().join("expected.txt"))?);
    let dir = tempfile::tempdir()?;
    if let Kind::External(bootstrap) = kind {
        report.check("franz-go", || franz_go(&suite, bootstrap, 1, &expected));
        return Ok(());
    }
    report.check("franz-go, one node", || {
        let setup = Setup::new(kind.clone(), dir.path().join("one"));
        let server = Server::start(SETTINGS.iter().fold(setup, |setup, (key, value)| setup.set(key, value)))?;
        franz_go(&suite, server.bootstrap(), 1, &expected)
    });
    report.check("franz-go, three nodes", || {
        let nodes = Nodes::start(kind, &dir.path().join("three"), &SETTINGS)?;
        franz_go(&suite, &nodes.bootstrap(), 3, &expected)
    });
    Ok(())
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("suites/franz-go")
}

/// The tests of franz-go's client as one program.
fn install() -> Result<PathBuf> {
    let pinned = ["go.mod", "go.sum"].map(|name| folder().join(name));
    crate::cache::installed("suite-franz-go", &pinned, |dir| {
        for (file, name) in pinned.iter().zip(["go.mod", "go.sum"]) {
            fs::copy(file, dir.join(name))?;
        }
        let mut go = Command::new("go");
        go.args(["test", "-c", "-mod=mod", "-buildvcs=false", "-o", "kgo.test", KGO]).current_dir(dir);
        run_program("go test -c", go, INSTALL_LIMIT).map(drop)
    })
}

/// Its tests read files that lie beside their sources.
fn sources(suite: &Path) -> Result<PathBuf> {
    let mut go = Command::new("go");
    go.args(["list", "-mod=mod", "-f", "{{.Dir}}", KGO]).current_dir(suite);
    let said = run_program("go list", go, INSTALL_LIMIT)?;
    said.lines().next().map(PathBuf::from).context("go list names no directory")
}

fn franz_go(suite: &Path, bootstrap: &str, replicas: usize, expected: &Expected) -> Result<String> {
    let limit = format!("{}s", SUITE_LIMIT.as_secs());
    let mut command = Command::new(suite.join("kgo.test"));
    command.args(["-test.v", "-test.timeout", &limit]).current_dir(sources(suite)?);
    command.env("KGO_SEEDS", bootstrap).env("KGO_TEST_RF", replicas.to_string());
    command
        .env("KGO_TEST_RECORDS", "50000")
        .env("KGO_TEST_MAX_TOPIC_PARTS", "8")
        .env("KGO_LOG_LEVEL", "none");
    let mut program = Program::start("franz-go's tests", command)?;
    let (mut ended, mut said) = (Ended::default(), BTreeSet::new());
    let (started, mut pulse) = (Instant::now(), Instant::now());
    loop {
        match program.next_line(Duration::from_secs(1)) {
            Ok(line) => {
                // A test that has failed may say the same again until its time is over.
                if !ended.note(&line) && line.contains("_test.go") && said.len() < SAID_MAX {
                    said.insert(line.trim().to_owned());
                }
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {}
        }
        if pulse.elapsed() > Duration::from_secs(15) {
            pulse = Instant::now();
            println!("        {} passed, {} s", ended.passed.len(), started.elapsed().as_secs());
        }
        if started.elapsed() > SUITE_LIMIT {
            program.kill();
            bail!("the suite did not end within {} s", SUITE_LIMIT.as_secs());
        }
    }
    let said: Vec<_> = said.into_iter().collect();
    ended.judge(expected).with_context(|| said.join("\n"))
}

impl Ended {
    /// Takes note of a line that tells how a test has ended; `false` if it does not.
    fn note(&mut self, line: &str) -> bool {
        let Some((word, rest)) = line.trim().strip_prefix("--- ").and_then(|rest| rest.split_once(": "))
        else {
            return false;
        };
        let name = rest.split(' ').next().unwrap_or_default().to_owned();
        match word {
            "PASS" => self.passed.insert(name),
            "FAIL" => self.failed.insert(name),
            "SKIP" => self.skipped.insert(name),
            _ => return false,
        };
        true
    }

    fn judge(&self, expected: &Expected) -> Result<String> {
        let unknown = |found: &BTreeSet<String>, known: &BTreeMap<String, String>| -> Vec<String> {
            let top = |name: &String| name.split('/').next().unwrap_or_default().to_owned();
            found.iter().filter(|name| !known.contains_key(&top(name))).cloned().collect()
        };
        let failed = unknown(&self.failed, &expected.failed);
        ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
        let skipped = unknown(&self.skipped, &expected.skipped);
        ensure!(skipped.is_empty(), "skipped, and nobody says why: {}", skipped.join(", "));
        let (passed, least) = (self.passed.len(), expected.passed_min);
        ensure!(
            passed >= least,
            "only {passed} tests passed, {least} did before: is an API not offered any more?"
        );
        Ok(format!("{passed} passed, {} failed as known, {} skipped", self.failed.len(), self.skipped.len()))
    }
}

impl Expected {
    fn read(path: &Path) -> Result<Expected> {
        let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        Expected::parse(&text)
    }

    fn parse(text: &str) -> Result<Expected> {
        let mut expected = Expected::default();
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            if let Some(least) = line.strip_prefix("at least ") {
                expected.passed_min = least.parse().with_context(|| format!("{line:?}"))?;
                continue;
            }
            let (known, rest) = match (line.strip_prefix("skip "), line.strip_prefix("may fail ")) {
                (Some(rest), _) => (&mut expected.skipped, rest),
                (None, Some(rest)) => (&mut expected.failed, rest),
                (None, None) => bail!("{line:?} says nothing that is understood"),
            };
            let (name, why) = rest.split_once(": ").with_context(|| format!("{line:?} has no reason"))?;
            known.insert(name.to_owned(), why.to_owned());
        }
        Ok(expected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(lines: &[&str]) -> Ended {
        let mut ended = Ended::default();
        for line in lines {
            assert!(ended.note(line), "{line}");
        }
        ended
    }

    #[test]
    fn what_is_not_known_is_no_success() {
        let expected =
            Expected::parse("# why\nat least 2\nskip TestA: later\nmay fail TestB: a race\n").unwrap();
        let good = ["--- PASS: TestC (0.1s)", "    --- PASS: TestC/one (0.0s)", "--- SKIP: TestA (0.0s)"];
        assert!(ended(&good).judge(&expected).is_ok());
        let judged = |more: &str| ended(&[&good[..], &[more]].concat()).judge(&expected).is_ok();
        assert!(judged("--- FAIL: TestB/two (1.0s)"));
        assert!(!judged("--- FAIL: TestD (1.0s)"));
        assert!(!judged("--- SKIP: TestD (1.0s)"));
        assert!(ended(&good[..1]).judge(&expected).is_err(), "too few");
        assert!(!Ended::default().note("=== RUN TestA"));
        assert!(Expected::parse("skip TestA").is_err());
    }
}

//! The TypeScript client against the real binary: its own tests on Node, and pages of Debian's Chromium that follow, append, reload, go
//! offline and share what they keep. The tests are JavaScript's; this installs them, runs them and reports each.
//! It knows nothing of streams. Called as `conformance browsers`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::clients::{INSTALL_LIMIT, sources};
use crate::program::{Program, run as run_program};
use crate::report::Report;
use crate::server::{Kind, odradek_binary};
use crate::{cache, clients};

/// Each takes less than a minute; the machine may be slow and busy.
const TESTS_LIMIT: Duration = Duration::from_secs(900);
/// One test, in the terms of Node's runner.
const TEST_LIMIT: &str = "--test-timeout=300000";

/// So many tests each has at least: one that finds none has not passed.
const NODE_TESTS_MIN: usize = 30;
const BROWSER_TESTS_MIN: usize = 11;

/// What becomes part of the installation of the client, below `clients/typescript`.
const CLIENT_PARTS: [&str; 5] = ["package.json", "package-lock.json", "tsconfig.json", "src", "test"];

/// Runs all of it.
pub fn run(report: &mut Report, kind: &Kind) -> Result<()> {
    if kind != &Kind::Odradek {
        report.skip("browsers", "Apache Kafka serves none");
        return Ok(());
    }
    ensure_chromium()?;
    let installed = clients::step("typescript client and browsers", install)?;
    let client = installed.join("client");
    let files = ["streams", "queue"].map(|name| client.join(format!("build/test/{name}.test.js")));
    tests(report, "node", &client, &files, NODE_TESTS_MIN)?;
    tests(report, "browser", &client, &[installed.join("browsers.test.js")], BROWSER_TESTS_MIN)
}

fn ensure_chromium() -> Result<()> {
    let mut chromium = Command::new("chromium");
    chromium.arg("--version");
    run_program("chromium", chromium, TESTS_LIMIT).map(drop).context("apt-get install chromium")
}

fn install() -> Result<PathBuf> {
    let client = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../clients/typescript");
    let browsers = sources().join("browsers");
    let mut files = Vec::new();
    for part in CLIENT_PARTS {
        list(&client.join(part), &mut files)?;
    }
    let own = ["package.json", "package-lock.json", "browsers.test.js"].map(|name| browsers.join(name));
    cache::installed("browsers", &[files.as_slice(), &own].concat(), |dir| {
        for file in &files {
            copy(file, &dir.join("client").join(file.strip_prefix(&client)?))?;
        }
        for file in &own {
            copy(file, &dir.join(file.strip_prefix(&browsers)?))?;
        }
        let built = dir.join("client");
        for folder in [dir, &built] {
            node("npm", &["ci", "--no-audit", "--no-fund", "--loglevel=error"], folder)?;
        }
        node("npx", &["--no-install", "tsc", "-p", "tsconfig.json"], &built)?;
        node("npx", &["--no-install", "tsc", "-p", "test/tsconfig.json"], &built)
    })
}

/// A file, or all files below a folder, in the order of their names.
fn list(path: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    if !path.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    let entries = fs::read_dir(path).with_context(|| format!("reading {}", path.display()))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
    paths.sort();
    paths.iter().try_for_each(|path| list(path, files))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to.parent().context("a file without a folder")?)?;
    fs::copy(from, to).with_context(|| format!("copying {}", from.display()))?;
    Ok(())
}

fn node(program: &str, args: &[&str], folder: &Path) -> Result<()> {
    let mut command = Command::new(program);
    command.args(args).current_dir(folder);
    run_program(program, command, INSTALL_LIMIT).map(drop)
}

/// Runs files of tests and reports each of their tests.
fn tests(report: &mut Report, what: &str, client: &Path, files: &[PathBuf], at_least: usize) -> Result<()> {
    let results = tempfile::tempdir()?;
    let told = results.path().join("tests.tap");
    let mut command = Command::new("node");
    command.args(["--test", "--test-concurrency=1", TEST_LIMIT, "--test-reporter=tap"]);
    command.arg(format!("--test-reporter-destination={}", told.display())).args(files);
    command.env("CLIENT", client).env("ODRADEK_BIN", odradek_binary()?);
    let ended = Program::start(&format!("tests of {what}"), command)?.finish(TESTS_LIMIT);
    let told = fs::read_to_string(&told).with_context(|| format!("{ended:?}"))?;
    let outcomes = outcomes(&told);
    let (count, failed) = (outcomes.len(), outcomes.iter().filter(|one| one.failure.is_some()).count());
    for Outcome { name, took, failure } in outcomes {
        report.check(format!("browsers: {what}: {name}"), || match failure {
            Some(failure) => bail!("{failure}"),
            None => Ok(format!("{} ms", took.unwrap_or_default())),
        });
    }
    ensure!(count >= at_least, "only {count} tests were run");
    // What failed beside the tests.
    if failed == 0 { ended.map(drop) } else { Ok(()) }
}

/// What a line of the Test Anything Protocol says of one test.
#[derive(Debug, PartialEq)]
struct Outcome {
    name: String,
    /// In milliseconds.
    took: Option<String>,
    failure: Option<String>,
}

/// The tests of the outermost level; what is told of a failure stands indented below it.
fn outcomes(told: &str) -> Vec<Outcome> {
    let mut outcomes: Vec<Outcome> = Vec::new();
    for line in told.lines() {
        let failed = line.strip_prefix("not ok ");
        if let Some(rest) = failed.or_else(|| line.strip_prefix("ok ")) {
            let name = rest.split_once(" - ").map_or(rest, |(_, name)| name).to_owned();
            outcomes.push(Outcome { name, took: None, failure: failed.map(|_| String::new()) });
        } else if let (Some(said), Some(last)) = (line.strip_prefix("  "), outcomes.last_mut()) {
            if let Some(took) = said.strip_prefix("duration_ms: ") {
                last.took = took.split('.').next().map(str::to_owned);
            }
            if let Some(failure) = last.failure.as_mut().filter(|told| told.len() < FAILURE_SHOWN_MAX) {
                failure.push_str(said);
                failure.push('\n');
            }
        }
    }
    outcomes
}

/// How much of what is told of a failed test is shown.
const FAILURE_SHOWN_MAX: usize = 2_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_test_is_an_outcome_and_what_is_told_of_a_failure_belongs_to_it() {
        let told = "TAP version 13\n# Subtest: a\nok 1 - a\n  ---\n  duration_ms: 1.5\n  ...\n# Subtest: b - c\n\
                    not ok 2 - b - c\n  ---\n  error: 'why'\n  ...\n1..2\n# tests 2\n";
        let failure = Some("---\nerror: 'why'\n...\n".to_owned());
        let expected = [
            Outcome { name: "a".to_owned(), took: Some("1".to_owned()), failure: None },
            Outcome { name: "b - c".to_owned(), took: None, failure },
        ];
        assert_eq!(outcomes(told), expected);
    }
}

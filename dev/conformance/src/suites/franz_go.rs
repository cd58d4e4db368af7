//! The tests of franz-go's client (kgo), as one program that Go builds from the module's own sources. They find out by
//! ApiVersions what the broker can do: an API that is missing makes a suite smaller, not red, so their number counts.
//! Called by `suites`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::expected::How;
use super::watch::{Line, watch};
use super::{Bed, folder};
use crate::program::run as run_program;

const LIMIT: Duration = Duration::from_secs(900);
const INSTALL_LIMIT: Duration = Duration::from_secs(900);
const KGO: &str = "github.com/twmb/franz-go/pkg/kgo";

/// Runs it; some of its tests are picked with a regular expression.
pub(super) fn run(bed: &mut Bed) -> Result<String> {
    let suite = install()?;
    let limit = format!("{}s", LIMIT.as_secs());
    let mut command = Command::new(suite.join("kgo.test"));
    command.args(["-test.v", "-test.timeout", &limit]).current_dir(sources(&suite)?);
    command.args(bed.tests.map(|tests| format!("-test.run={tests}")));
    command.env("KGO_SEEDS", bed.bootstrap()).env("KGO_TEST_RF", bed.replicas.to_string());
    command
        .env("KGO_TEST_RECORDS", "50000")
        .env("KGO_TEST_MAX_TOPIC_PARTS", "8")
        .env("KGO_LOG_LEVEL", "none");
    watch(bed, vec![command], LIMIT, read)
}

/// The tests of franz-go's client as one program.
fn install() -> Result<PathBuf> {
    let pinned = ["go.mod", "go.sum"].map(|name| folder("franz-go").join(name));
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

fn read(line: &str) -> Line {
    let other = || if line.contains("_test.go") { Line::Telling } else { Line::Other };
    let Some((word, rest)) = line.trim().strip_prefix("--- ").and_then(|rest| rest.split_once(": ")) else {
        return other();
    };
    let how = match word {
        "PASS" => How::Passed,
        "FAIL" => How::Failed,
        "SKIP" => How::Skipped,
        _ => return other(),
    };
    Line::Ended(how, rest.split(' ').next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_test_is_seen() {
        let ended = |how, name: &str| Line::Ended(how, name.to_owned());
        assert_eq!(read("--- PASS: TestC (0.1s)"), ended(How::Passed, "TestC"));
        assert_eq!(read("    --- FAIL: TestB/two (1.0s)"), ended(How::Failed, "TestB/two"));
        assert_eq!(read("--- SKIP: TestA (0.0s)"), ended(How::Skipped, "TestA"));
        assert_eq!(read("=== RUN TestA"), Line::Other);
        assert_eq!(read("    a_test.go:12: no"), Line::Telling);
    }
}

//! The integration tests of kafka-python, from its source distribution, through its own `KAFKA_URI`. The distribution leaves
//! out the module that starts brokers; one that only knows where a broker is stands in for it. Called by `suites`.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::expected::How;
use super::watch::{Line, watch};
use super::{Bed, folder};
use crate::program::run as run_program;

const LIMIT: Duration = Duration::from_secs(900);
const INSTALL_LIMIT: Duration = Duration::from_secs(900);
/// What it infers from the APIs of Kafka 4.4; it knows no newer one.
const VERSION: &str = "4.3.0";

/// Runs it; some of its tests are picked with an expression of pytest.
pub(super) fn run(bed: &mut Bed) -> Result<String> {
    let suite = install()?;
    let mut command = Command::new(suite.join("venv/bin/python"));
    command.args(["-m", "pytest", "test/integration", "-p", "no:cacheprovider", "-v", "-rfE", "--color=no"]);
    command.arg("--timeout=120").args(bed.tests.map(|tests| format!("-k={tests}")));
    command.current_dir(suite.join("source"));
    command.env("KAFKA_URI", format!("kafka://{}", bed.bootstrap()));
    command.env("KAFKA_VERSION", VERSION).env("KAFKA_ROOT", &bed.dir).env("PYTHONUNBUFFERED", "1");
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    watch(bed, vec![command], LIMIT, read)
}

fn install() -> Result<PathBuf> {
    let pinned =
        ["requirements.txt", "source.txt", "service.py"].map(|name| folder("kafka-python").join(name));
    let [requirements, source, service] = &pinned;
    crate::cache::installed("suite-kafka-python", &pinned, |dir| {
        let mut venv = Command::new("python3");
        venv.args(["-m", "venv", "venv"]).current_dir(dir);
        run_program("python3 -m venv", venv, INSTALL_LIMIT)?;
        let pip = |args: &[&str], file: &PathBuf| {
            let mut pip = Command::new(dir.join("venv/bin/pip"));
            pip.args(args).args(["-q", "--disable-pip-version-check", "-r"]).arg(file).current_dir(dir);
            run_program("pip", pip, INSTALL_LIMIT)
        };
        pip(&["install"], requirements)?;
        pip(&["download", "--no-deps", "--no-binary", ":all:", "--require-hashes"], source)?;
        let archive = fs::read_dir(dir)?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .find(|file| file.to_string_lossy().ends_with(".tar.gz"))
            .context("pip has fetched no archive")?;
        fs::create_dir(dir.join("source"))?;
        let mut tar = Command::new("tar");
        tar.arg("xf").arg(archive).args(["-C", "source", "--strip-components=1"]).current_dir(dir);
        run_program("tar", tar, INSTALL_LIMIT)?;
        let tests = dir.join("source/test");
        fs::copy(service, tests.join("service.py"))?;
        fs::write(tests.join("__init__.py"), "")?;
        Ok(())
    })
}

/// `test/integration/FILE::TEST WORD [ 12%]`.
fn read(line: &str) -> Line {
    let telling =
        || if line.starts_with("E  ") || line.contains(" - ") { Line::Telling } else { Line::Other };
    let Some((name, rest)) = line.trim().strip_prefix("test/integration/").and_then(|rest| {
        let end = rest.rfind(" [").unwrap_or(rest.len());
        rest.get(..end)?.trim_end().rsplit_once(' ')
    }) else {
        return telling();
    };
    let how = match rest {
        "PASSED" | "XFAIL" => How::Passed,
        "FAILED" | "ERROR" | "XPASS" => How::Failed,
        "SKIPPED" => How::Skipped,
        _ => return telling(),
    };
    // A skipped test says why in brackets behind the word; the name ends before that.
    Line::Ended(how, name.replace("::", "."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_test_is_seen() {
        let line = "test/integration/test_a.py::test_b[lz4-1] PASSED                    [  3%]";
        assert_eq!(read(line), Line::Ended(How::Passed, "test_a.py.test_b[lz4-1]".to_owned()));
        let line = "test/integration/test_a.py::TestA::test_b ERROR [ 30%]";
        assert_eq!(read(line), Line::Ended(How::Failed, "test_a.py.TestA.test_b".to_owned()));
        assert_eq!(read("FAILED test/integration/test_a.py::test_b - no"), Line::Telling);
    }
}

//! The integration tests of the rdkafka crate, built by Cargo from the crate as it is published, with the dependencies of
//! its own lock file. Its unit tests, which speak to no broker, are left out. Called by `suites`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::expected::How;
use super::watch::{Line, watch};
use super::{Bed, folder};
use crate::program::run as run_program;

/// For one of its programs.
const LIMIT: Duration = Duration::from_secs(600);
const INSTALL_LIMIT: Duration = Duration::from_secs(1800);
const VERSION: &str = "4.3.1";
/// Which of the installed files names its programs.
const PROGRAMS: &str = "programs";

/// Runs it; some of its tests are picked by a part of their names.
pub(super) fn run(bed: &mut Bed) -> Result<String> {
    let suite = install()?;
    let programs = fs::read_to_string(suite.join(PROGRAMS))?;
    let command = |program: &str| {
        let mut command = Command::new(program);
        command.args(["--test-threads=4", "--color=never"]).args(bed.tests);
        command.current_dir(suite.join("source"));
        command.env("KAFKA_HOST", bed.bootstrap()).env("KAFKA_VERSION", VERSION);
        command
    };
    let commands: Vec<Command> = programs.lines().map(command).collect();
    watch(bed, commands, LIMIT, read)
}

fn install() -> Result<PathBuf> {
    let pinned = ["fetch.toml", "Cargo.lock"].map(|name| folder("rdkafka").join(name));
    crate::cache::installed("suite-rdkafka", &pinned, |dir| {
        println!("        building the rdkafka crate and its tests");
        let get = dir.join("get");
        fs::create_dir_all(get.join("src"))?;
        fs::write(get.join("src/lib.rs"), "")?;
        for (file, name) in pinned.iter().zip(["Cargo.toml", "Cargo.lock"]) {
            fs::copy(file, get.join(name))?;
        }
        let mut metadata = cargo(&get);
        metadata.args(["metadata", "--locked", "--format-version", "1"]);
        let told: Value = serde_json::from_str(&run_program("cargo metadata", metadata, INSTALL_LIMIT)?)?;
        let published = manifest_of(&told, "rdkafka").context("Cargo does not know where rdkafka is")?;
        let mut copy = Command::new("cp");
        copy.arg("-r").arg(published).arg(dir.join("source"));
        run_program("cp", copy, INSTALL_LIMIT)?;
        let manifest = dir.join("source/Cargo.toml");
        let text = fs::read_to_string(&manifest)?;
        // It must not look for a workspace around it.
        fs::write(&manifest, format!("{text}\n[workspace]\n"))?;
        let mut build = cargo(&dir.join("source"));
        build.args(["test", "--no-run", "--locked", "--test", "*", "--message-format=json"]);
        build.env("CARGO_TARGET_DIR", dir.join("target")).env("CARGO_PROFILE_TEST_DEBUG", "0");
        let said = run_program("cargo test --no-run", build, INSTALL_LIMIT)?;
        let programs: Vec<String> = said.lines().filter_map(program_of).collect();
        ensure!(!programs.is_empty(), "Cargo has built no tests");
        fs::write(dir.join(PROGRAMS), programs.join("\n"))?;
        Ok(())
    })
}

/// Cargo, untouched by the settings of the workspace that this program is built in.
fn cargo(dir: &Path) -> Command {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(dir).env_remove("CARGO_TARGET_DIR").env_remove("RUSTFLAGS");
    cargo
}

/// Where the sources of a package lie.
fn manifest_of(metadata: &Value, name: &str) -> Option<PathBuf> {
    let packages = metadata.get("packages")?.as_array()?;
    let of = packages.iter().find(|package| package.get("name").and_then(Value::as_str) == Some(name))?;
    Some(Path::new(of.get("manifest_path")?.as_str()?).parent()?.to_owned())
}

/// The program that Cargo says it has built.
fn program_of(line: &str) -> Option<String> {
    let said: Value = serde_json::from_str(line).ok()?;
    Some(said.get("executable")?.as_str()?.to_owned())
}

fn read(line: &str) -> Line {
    let Some((name, word)) = line.strip_prefix("test ").and_then(|rest| rest.rsplit_once(" ... ")) else {
        let is_telling = line.contains("panicked at") || line.contains("left:") || line.contains("right:");
        return if is_telling { Line::Telling } else { Line::Other };
    };
    let how = match word.split([',', ' ']).next() {
        Some("ok") => How::Passed,
        Some("FAILED") => How::Failed,
        Some("ignored") => How::Skipped,
        _ => return Line::Other,
    };
    Line::Ended(how, name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_test_is_seen() {
        let ended = |how| Line::Ended(how, "test_a".to_owned());
        assert_eq!(read("test test_a ... ok"), ended(How::Passed));
        assert_eq!(read("test test_a ... FAILED"), ended(How::Failed));
        assert_eq!(read("test test_a ... ignored, no"), ended(How::Skipped));
        assert_eq!(read("test result: ok. 1 passed"), Line::Other);
    }
}

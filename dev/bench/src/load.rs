//! The load program: compiled once against the librdkafka of the Python client, then run for each measurement.
//! It is C, because a client in a heavier language would measure itself. Called by `workloads`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use conformance::cache;
use conformance::program::{Program, run};
use serde_json::Value;

/// Time for one measurement.
const LOAD_LIMIT: Duration = Duration::from_secs(300);

/// The version of the Python package whose library is used.
const CLIENT: &str = "confluent-kafka==2.16.1";

/// The compiled load program.
#[derive(Debug)]
pub struct Load {
    program: PathBuf,
}

/// What one run of it measured.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    /// Records acknowledged or read.
    pub records: f64,
    /// Payload bytes.
    pub bytes: f64,
    /// Wall-clock time.
    pub seconds: f64,
    /// Latencies in milliseconds.
    pub p50_ms: f64,
    /// See `p50_ms`.
    pub p99_ms: f64,
    /// See `p50_ms`.
    pub p999_ms: f64,
    /// From the call that sends to the record in the reader's hands; 0 where nobody read beside.
    pub read_p50_ms: f64,
    /// See `read_p50_ms`.
    pub read_p99_ms: f64,
    /// See `read_p50_ms`.
    pub read_p999_ms: f64,
}

impl Load {
    /// Compiles it, unless that was done.
    pub fn build() -> Result<Load> {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("load.c");
        let dir = cache::installed("load", std::slice::from_ref(&source), |dir| {
            let mut venv = Command::new("python3");
            venv.args(["-m", "venv", "venv"]).current_dir(dir);
            run("python3 -m venv", venv, LOAD_LIMIT)?;
            let mut pip = Command::new(dir.join("venv/bin/pip"));
            pip.args(["install", "-q", "--disable-pip-version-check", "--no-deps", CLIENT]);
            run("pip install", pip, LOAD_LIMIT)?;
            let library = library_below(&dir.join("venv")).context("the package brings no librdkafka")?;
            let mut cc = Command::new("cc");
            cc.args(["-O2", "-std=gnu11", "-Wall", "-pthread", "-o"])
                .arg(dir.join("load"))
                .arg(&source)
                .arg(&library);
            cc.arg(format!("-Wl,-rpath,{}", library.parent().context("no directory")?.display()));
            run("cc", cc, LOAD_LIMIT).map(drop)
        })?;
        Ok(Load { program: dir.join("load") })
    }

    /// Runs it once.
    pub fn run(&self, args: &[&str]) -> Result<Figures> {
        let mut command = Command::new(&self.program);
        command.args(args);
        let figures = Program::start("load", command)?.json(LOAD_LIMIT)?;
        let number =
            |field: &str| figures.get(field).and_then(Value::as_f64).with_context(|| format!("no {field}"));
        Ok(Figures {
            records: number("records")?,
            bytes: number("bytes")?,
            seconds: number("seconds")?,
            p50_ms: number("p50_ms")?,
            p99_ms: number("p99_ms")?,
            p999_ms: number("p999_ms")?,
            read_p50_ms: number("read_p50_ms")?,
            read_p99_ms: number("read_p99_ms")?,
            read_p999_ms: number("read_p999_ms")?,
        })
    }
}

fn library_below(dir: &Path) -> Option<PathBuf> {
    for entry in fs::read_dir(dir).ok()?.flatten() {
        let path = entry.path();
        let is_library = path.file_name().is_some_and(|n| n.to_string_lossy().starts_with("librdkafka"));
        if is_library && path.is_file() {
            return Some(path);
        }
        // A virtual environment links lib64 to lib: one of them is enough.
        if path.is_dir() && !path.is_symlink() {
            let found = library_below(&path);
            if found.is_some() {
                return found;
            }
        }
    }
    None
}

//! A suite while it runs: a line for each test that ends, all its words in a file of the cache, its time limit, and the
//! judgement at the end. What a line means is the suite's own business. Called by the suites that have many tests.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::process::Command;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::Bed;
use super::expected::{Ended, How};
use crate::program::Program;

/// Different lines of a failed suite that are shown.
const SAID_MAX: usize = 40;
const PULSE: Duration = Duration::from_secs(30);

/// What a line of a suite means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A test has ended.
    Ended(How, String),
    /// Why a test has failed.
    Telling,
    Other,
}

/// Runs the programs of a suite, one after the other, within `limit` each.
pub(super) fn watch(
    bed: &Bed,
    programs: Vec<Command>,
    limit: Duration,
    read: fn(&str) -> Line,
) -> Result<String> {
    let logs = crate::cache::root()?.join("suite-logs");
    fs::create_dir_all(&logs)?;
    let file = logs.join(format!("{}.log", bed.name));
    let mut watch = Watch {
        log: File::create(&file)?,
        ended: Ended::default(),
        said: BTreeSet::new(),
        started: Instant::now(),
        read,
    };
    let mut all_ended = true;
    for command in programs {
        all_ended &= watch.follow(bed.name, &command, limit)?;
    }
    let said: Vec<String> = watch.said.into_iter().collect();
    let told = || format!("{}\n(all of it is in {})", said.join("\n"), file.display());
    let judged = watch.ended.judge(&bed.expected, bed.tests.is_some()).with_context(told)?;
    ensure!(all_ended, "it did not end within {} s; {judged}; {}", limit.as_secs(), told());
    Ok(judged)
}

struct Watch {
    log: File,
    ended: Ended,
    said: BTreeSet<String>,
    started: Instant,
    read: fn(&str) -> Line,
}

impl Watch {
    /// One program to its end; `false` if it was ended because its time was over.
    fn follow(&mut self, name: &str, command: &Command, limit: Duration) -> Result<bool> {
        let mut program = Program::start(name, both_outputs(command))?;
        let (begun, mut pulse) = (Instant::now(), Instant::now());
        loop {
            match program.next_line(Duration::from_secs(1)) {
                Ok(line) => {
                    writeln!(self.log, "{line}")?;
                    pulse = if self.take(&line) { Instant::now() } else { pulse };
                }
                Err(RecvTimeoutError::Disconnected) => return Ok(true),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if pulse.elapsed() > PULSE {
                pulse = Instant::now();
                println!("        {} s, {} passed", self.started.elapsed().as_secs(), self.ended.passed());
            }
            if begun.elapsed() > limit {
                program.kill();
                return Ok(false);
            }
        }
    }

    /// Whether a line was printed of it.
    fn take(&mut self, line: &str) -> bool {
        match (self.read)(line) {
            Line::Ended(how, name) => {
                let word = match how {
                    How::Passed => "passed ",
                    How::Failed => "FAILED ",
                    How::Skipped => "skipped",
                };
                let is_new = self.ended.note(how, name.clone());
                if is_new {
                    println!("        {:4} s {word} {name}", self.started.elapsed().as_secs());
                }
                return is_new;
            }
            // A test that has failed may say the same again until its time is over.
            Line::Telling if self.said.len() < SAID_MAX => {
                self.said.insert(line.trim().to_owned());
            }
            Line::Telling | Line::Other => {}
        }
        false
    }
}

/// The same command with its error output among its output, in the order in which it is written.
fn both_outputs(command: &Command) -> Command {
    let mut both = Command::new("bash");
    both.args(["-c", "exec \"$@\" 2>&1", "bash"]).arg(command.get_program()).args(command.get_args());
    for (key, value) in command.get_envs() {
        match value {
            Some(value) => both.env(key, value),
            None => both.env_remove(key),
        };
    }
    if let Some(dir) = command.get_current_dir() {
        both.current_dir(dir);
    }
    both
}

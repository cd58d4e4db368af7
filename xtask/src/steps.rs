//! A list of steps, run one after the other: each heading with its time, its output as it comes, one sum at the end.
//! It does not know what the steps are. Called by `verify`; a failed step does not keep the next from running.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// What has run so far.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    done: Vec<Done>,
}

#[derive(Debug)]
struct Done {
    name: String,
    took: Duration,
    counts: Counts,
}

/// How many checks passed and failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
}

impl Steps {
    /// Runs a program. Its tests are counted from its output; a program without tests counts as one check.
    pub(crate) fn command(&mut self, name: &str, command: Command) {
        self.step(name, || run(command));
    }

    /// Runs a check of our own: how many of its checks passed and failed.
    pub(crate) fn step(&mut self, name: &str, step: impl FnOnce() -> Result<Counts>) {
        println!("==> {name}");
        let started = Instant::now();
        let counts = step().unwrap_or_else(|error| {
            println!("{error:#}");
            Counts { passed: 0, failed: 1 }
        });
        let took = started.elapsed();
        let word = if counts.failed == 0 { "ok" } else { "FAILED" };
        println!("<== {name}: {word}, {counts}, {:.1} s", took.as_secs_f64());
        self.done.push(Done { name: name.to_owned(), took, counts });
    }

    /// The sum of all steps.
    pub(crate) fn counts(&self) -> Counts {
        self.done.iter().fold(Counts::default(), |sum, done| sum + done.counts)
    }

    /// A line for each step and, last, the sum.
    pub(crate) fn summary(&self) -> String {
        let mut lines = vec![String::new()];
        for done in &self.done {
            lines.push(format!("{:>8.1} s  {:<22} {}", done.took.as_secs_f64(), done.name, done.counts));
        }
        lines.push(self.counts().to_string());
        lines.join("\n")
    }
}

impl std::ops::Add for Counts {
    type Output = Counts;

    fn add(self, other: Counts) -> Counts {
        Counts { passed: self.passed + other.passed, failed: self.failed + other.failed }
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

fn run(mut command: Command) -> Result<Counts> {
    let shown = format!("{:?}", command.get_program());
    let mut child = command.stdout(Stdio::piped()).spawn().with_context(|| format!("starting {shown}"))?;
    let mut counts = Counts::default();
    for line in BufReader::new(child.stdout.take().context("no output")?).lines() {
        let line = line?;
        println!("{line}");
        counts = counts + counts_in(&line).unwrap_or_default();
    }
    let status = child.wait()?;
    Ok(judge(counts, status.success()))
}

/// A failure always counts, also where no test had the time to say so.
fn judge(counts: Counts, success: bool) -> Counts {
    match (counts, success) {
        (Counts { passed: 0, failed: 0 }, true) => Counts { passed: 1, failed: 0 },
        (Counts { failed: 0, passed }, false) => Counts { passed, failed: 1 },
        (counts, _) => counts,
    }
}

/// `test result: ok. 3 passed; 0 failed; ...` of cargo's tests, or a last line `3 passed, 0 failed` of our programs.
fn counts_in(line: &str) -> Option<Counts> {
    let line =
        line.strip_prefix("test result: ").and_then(|rest| rest.split_once(". ")).map_or(line, |(_, c)| c);
    let (passed, rest) = line.split_once(" passed")?;
    let failed = rest.trim_start_matches([',', ';', ' ']).split_once(" failed")?.0;
    Some(Counts { passed: passed.parse().ok()?, failed: failed.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_from_both_kinds_of_last_lines() {
        let cargo =
            "test result: ok. 12 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s";
        assert_eq!(counts_in(cargo), Some(Counts { passed: 12, failed: 1 }));
        assert_eq!(counts_in("31 passed, 0 failed"), Some(Counts { passed: 31, failed: 0 }));
        assert_eq!(counts_in("the 3 passed"), None);
    }

    #[test]
    fn a_program_that_fails_without_a_failed_test_counts_as_a_failure() {
        assert_eq!(judge(Counts { passed: 5, failed: 0 }, false), Counts { passed: 5, failed: 1 });
        assert_eq!(judge(Counts::default(), true), Counts { passed: 1, failed: 0 });
        assert_eq!(judge(Counts { passed: 5, failed: 2 }, false), Counts { passed: 5, failed: 2 });
    }

    #[test]
    fn a_failed_step_does_not_stop_the_next() {
        let mut steps = Steps::default();
        steps.step("one", || anyhow::bail!("broken"));
        steps.step("two", || Ok(Counts { passed: 2, failed: 0 }));
        assert_eq!(steps.counts(), Counts { passed: 2, failed: 1 });
        assert!(steps.summary().ends_with("2 passed, 1 failed"));
    }
}

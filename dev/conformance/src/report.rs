//! The list of checks and how each ended: a line while it runs, a table and the sum at the end.
//! It decides nothing and stops nothing: a failed check is noted and the next one runs.
//! Called by every subject; `main` prints the end and turns it into the exit code.

use std::time::{Duration, Instant};

use anyhow::Result;

/// All checks of one run.
#[derive(Debug, Default)]
pub struct Report {
    checks: Vec<Check>,
}

#[derive(Debug)]
struct Check {
    name: String,
    took: Duration,
    outcome: Outcome,
}

#[derive(Debug)]
enum Outcome {
    Passed(String),
    Failed(String),
    Skipped(String),
}

impl Report {
    /// Runs one check and says at once how it went. What it returns is shown beside its name.
    pub fn check(&mut self, name: impl Into<String>, check: impl FnOnce() -> Result<String>) -> bool {
        let name = name.into();
        println!("  ...   {name}");
        let started = Instant::now();
        let outcome = match check() {
            Ok(detail) => Outcome::Passed(detail),
            Err(error) => Outcome::Failed(format!("{error:#}")),
        };
        let took = started.elapsed();
        let passed = matches!(outcome, Outcome::Passed(_));
        let (word, detail) = outcome.words();
        println!("  {word} {name} ({:.1} s) {detail}", took.as_secs_f64());
        self.checks.push(Check { name, took, outcome });
        passed
    }

    /// Notes a check that cannot be made here, and why. It counts neither as passed nor as failed.
    pub fn skip(&mut self, name: impl Into<String>, why: impl Into<String>) {
        let (name, why) = (name.into(), why.into());
        println!("  skip  {name}: {why}");
        self.checks.push(Check { name, took: Duration::ZERO, outcome: Outcome::Skipped(why) });
    }

    /// How many passed and how many failed.
    pub fn counts(&self) -> (usize, usize) {
        let passed = self.checks.iter().filter(|c| matches!(c.outcome, Outcome::Passed(_))).count();
        let failed = self.checks.iter().filter(|c| matches!(c.outcome, Outcome::Failed(_))).count();
        (passed, failed)
    }

    /// The table of all checks, and the last line that `cargo xtask verify` reads.
    pub fn summary(&self) -> String {
        let mut lines = vec![String::new()];
        for check in &self.checks {
            let (word, detail) = check.outcome.words();
            let first = detail.lines().next().unwrap_or_default();
            lines.push(format!("{word} {:>6.1} s  {}  {first}", check.took.as_secs_f64(), check.name));
        }
        let (passed, failed) = self.counts();
        lines.push(format!("{passed} passed, {failed} failed"));
        lines.join("\n")
    }
}

impl Outcome {
    fn words(&self) -> (&'static str, &str) {
        match self {
            Outcome::Passed(detail) => ("ok   ", detail),
            Outcome::Failed(detail) => ("FAIL ", detail),
            Outcome::Skipped(detail) => ("skip ", detail),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_counts_what_ran_and_the_run_goes_on_after_a_failure() {
        let mut report = Report::default();
        assert!(report.check("one", || Ok(String::new())));
        assert!(!report.check("two", || anyhow::bail!("broken")));
        assert!(report.check("three", || Ok(String::new())));
        report.skip("four", "needs root");
        assert_eq!(report.counts(), (2, 1));
        assert!(report.summary().ends_with("2 passed, 1 failed"));
        assert!(report.summary().contains("broken"));
    }
}

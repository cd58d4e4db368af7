//! What a suite is known to give, and how its tests ended: the comparison of the two. It reads no output of a suite.
//! Called by `suites` and by what watches a suite.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

/// How a test ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    Passed,
    Failed,
    Skipped,
}

/// How the tests of a suite ended, by their names.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Ended {
    passed: BTreeSet<String>,
    failed: BTreeSet<String>,
    skipped: BTreeSet<String>,
}

/// What a suite is known to give.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Expected {
    passed_min: usize,
    /// Tests that are skipped, and why.
    skipped: BTreeMap<String, String>,
    /// Tests that may fail, and why.
    failed: BTreeMap<String, String>,
}

impl Ended {
    /// Takes note of a test; `false` if it was known already. One that has failed in any part has failed.
    pub(super) fn note(&mut self, how: How, name: String) -> bool {
        if how != How::Failed && self.failed.contains(&name) {
            return false;
        }
        match how {
            How::Passed => self.passed.insert(name),
            How::Skipped => self.skipped.insert(name),
            How::Failed => {
                self.passed.remove(&name);
                self.failed.insert(name)
            }
        }
    }

    pub(super) fn passed(&self) -> usize {
        self.passed.len()
    }

    /// What there is to say of them; an error if that is less than what is expected. A part of a suite is not counted.
    pub(super) fn judge(&self, expected: &Expected, is_part: bool) -> Result<String> {
        let unknown = |found: &BTreeSet<String>, known: &BTreeMap<String, String>| -> Vec<String> {
            let top = |name: &String| name.split('/').next().unwrap_or_default().to_owned();
            found
                .iter()
                .filter(|name| !known.contains_key(*name) && !known.contains_key(&top(name)))
                .cloned()
                .collect()
        };
        let ended = self.passed.len() + self.failed.len() + self.skipped.len();
        ensure!(ended > 0, "no test has ended: does the suite run, and is there a test of that name?");
        let failed = unknown(&self.failed, &expected.failed);
        ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
        let skipped = unknown(&self.skipped, &expected.skipped);
        ensure!(skipped.is_empty(), "skipped, and nobody says why: {}", skipped.join(", "));
        let (passed, least) = (self.passed.len(), expected.passed_min);
        ensure!(
            is_part || passed >= least,
            "only {passed} tests passed, {least} did before: is an API not offered any more?"
        );
        let known = self.failed.iter().cloned().collect::<Vec<_>>().join(", ");
        let known = if known.is_empty() { known } else { format!(" ({known})") };
        Ok(format!(
            "{passed} passed, {} failed as known{known}, {} skipped",
            self.failed.len(),
            self.skipped.len()
        ))
    }
}

impl Expected {
    pub(super) fn read(path: &Path) -> Result<Expected> {
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

    fn ended(all: &[(How, &str)]) -> Ended {
        let mut ended = Ended::default();
        for (how, name) in all {
            ended.note(*how, (*name).to_owned());
        }
        ended
    }

    #[test]
    fn what_is_not_known_is_no_success() {
        let expected =
            Expected::parse("# why\nat least 2\nskip TestA: later\nmay fail TestB: a race\n").unwrap();
        let good = [(How::Passed, "TestC"), (How::Passed, "TestC/one"), (How::Skipped, "TestA")];
        assert!(ended(&good).judge(&expected, false).is_ok());
        let judged = |more| ended(&[&good[..], &[more]].concat()).judge(&expected, false).is_ok();
        assert!(judged((How::Failed, "TestB/two")));
        assert!(!judged((How::Failed, "TestD")));
        assert!(!judged((How::Skipped, "TestD")));
        assert!(ended(&good[..1]).judge(&expected, false).is_err(), "too few");
        assert!(ended(&good[..1]).judge(&expected, true).is_ok(), "a part of it");
        assert!(Expected::parse("skip TestA").is_err());
    }

    #[test]
    fn a_test_that_failed_in_a_part_has_failed() {
        let expected = Expected::default();
        assert!(ended(&[]).judge(&expected, true).is_err(), "nothing at all");
        for order in [[How::Passed, How::Failed], [How::Failed, How::Passed]] {
            let all = order.map(|how| (how, "TestA"));
            assert!(ended(&all).judge(&expected, false).is_err(), "{order:?}");
        }
    }

    #[test]
    fn the_lists_of_all_suites_can_be_read() {
        for suite in crate::suites::SUITES {
            Expected::read(&crate::suites::folder(suite.expected)).unwrap();
        }
    }
}

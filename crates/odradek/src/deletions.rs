//! What became of several things that were to be deleted: the others are still tried when one fails.
//!
//! It deletes nothing; `topic delete` and `group delete` tell it each result and let it report.

use crate::output::OutputArgs;
use anyhow::bail;
use serde_json::{Value, json};

/// The results so far.
pub(crate) struct Deletions {
    /// What they are, as "topic".
    kind: &'static str,
    deleted: Vec<String>,
    failed: Vec<(String, client::Error)>,
    /// Not tried, because the cluster could not be asked any more.
    untried: Vec<String>,
}

impl Deletions {
    pub(crate) fn new(kind: &'static str) -> Self {
        Self { kind, deleted: Vec::new(), failed: Vec::new(), untried: Vec::new() }
    }

    /// Whether another one may be tried: a broker's refusal is about one of them, everything else about all.
    pub(crate) fn go_on(&self) -> bool {
        self.failed.last().is_none_or(|(_, error)| error.code().is_some())
    }

    /// Takes note of a result.
    pub(crate) fn note(&mut self, name: &str, result: Result<(), client::Error>) {
        match result {
            Ok(()) => self.deleted.push(name.to_owned()),
            Err(error) => self.failed.push((name.to_owned(), error)),
        }
    }

    /// Takes note of one that was not tried.
    pub(crate) fn skip(&mut self, name: &str) {
        self.untried.push(name.to_owned());
    }

    /// Shows what was deleted; an error if anything was not.
    pub(crate) fn report(self, output: OutputArgs) -> anyhow::Result<()> {
        let is_shown = output.is_json() || !self.deleted.is_empty() || self.failed.is_empty();
        if is_shown {
            let line = |name: &String| format!("{} '{name}' deleted\n", self.kind);
            output.show(&self.json(), || self.deleted.iter().map(line).collect())?;
        }
        self.into_result()
    }

    fn json(&self) -> Value {
        let failed = self.failed.iter().map(|(name, error)| {
            let code = error.code().map(|code| code.name());
            json!({ self.kind: name, "error": code, "message": error.to_string() })
        });
        let failed: Vec<_> = failed.collect();
        json!({ "deleted": self.deleted, "failed": failed, "untried": self.untried })
    }

    fn into_result(self) -> anyhow::Result<()> {
        let kind = self.kind;
        let all = self.deleted.len() + self.failed.len() + self.untried.len();
        let remaining = self.failed.len() + self.untried.len();
        let untried: Vec<_> = self.untried.iter().map(|name| format!("{kind} '{name}': not tried")).collect();
        match <[_; 1]>::try_from(self.failed) {
            Ok([(_, error)]) if all == 1 => Err(error.into()),
            Ok(one) => bail!("{}", lines(kind, remaining, all, &one, &untried)),
            Err(failed) if failed.is_empty() => Ok(()),
            Err(failed) => bail!("{}", lines(kind, remaining, all, &failed, &untried)),
        }
    }
}

fn lines(
    kind: &str,
    remaining: usize,
    all: usize,
    failed: &[(String, client::Error)],
    untried: &[String],
) -> String {
    let mut text = format!("{remaining} of {all} {kind}s were not deleted");
    for line in failed.iter().map(|(_, error)| error.to_string()).chain(untried.iter().cloned()) {
        text.push_str("\n  ");
        text.push_str(&line);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use client::{Error, ErrorCode};

    fn refused(name: &str) -> Result<(), Error> {
        let subject = format!("topic '{name}'");
        Err(Error::Broker { subject, code: ErrorCode::UnknownTopicOrPartition, message: None })
    }

    fn unreachable() -> Result<(), Error> {
        Err(Error::Connect { addr: "here:1".into(), why: "refused".into() })
    }

    #[test]
    fn one_that_fails_among_others_is_named_and_does_not_hide_them() {
        let mut deletions = Deletions::new("topic");
        for (name, result) in [("a", Ok(())), ("b", refused("b")), ("c", Ok(()))] {
            assert!(deletions.go_on());
            deletions.note(name, result);
        }
        let json = deletions.json();
        assert_eq!(json["deleted"], json!(["a", "c"]));
        assert_eq!(json["failed"][0]["topic"], "b");
        assert_eq!(json["failed"][0]["error"], "UNKNOWN_TOPIC_OR_PARTITION");
        let told = deletions.into_result().unwrap_err().to_string();
        assert!(told.starts_with("1 of 3 topics were not deleted\n  topic 'b': "), "{told}");
    }

    #[test]
    fn a_cluster_that_cannot_be_asked_ends_the_attempt_and_what_was_not_tried_is_told() {
        let mut deletions = Deletions::new("group");
        deletions.note("a", unreachable());
        assert!(!deletions.go_on());
        deletions.skip("b");
        assert_eq!(deletions.json()["untried"], json!(["b"]));
        let told = deletions.into_result().unwrap_err().to_string();
        assert!(told.starts_with("2 of 2 groups were not deleted\n"), "{told}");
        assert!(told.ends_with("\n  group 'b': not tried"), "{told}");
    }

    #[test]
    fn a_single_one_is_told_as_it_is_and_none_that_failed_is_no_error() {
        let mut deletions = Deletions::new("topic");
        deletions.note("a", refused("a"));
        let told = deletions.into_result().unwrap_err().to_string();
        assert_eq!(told, refused("a").unwrap_err().to_string());
        let mut deletions = Deletions::new("topic");
        deletions.note("a", Ok(()));
        assert!(deletions.into_result().is_ok());
    }
}

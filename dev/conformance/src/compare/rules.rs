//! What may differ between two brokers' answers, read from `compare/differences.txt`: a reason for each line.
//!
//! It compares nothing. A line that excuses nothing in a whole run is an error, so the list can only shrink. Called by
//! `judge`.

use std::cell::Cell;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// The lines of the file.
#[derive(Debug)]
pub struct Rules {
    rules: Vec<Rule>,
}

/// One line.
#[derive(Debug)]
struct Rule {
    allows: Allows,
    path: Vec<String>,
    text: String,
    uses: Cell<u64>,
    /// Whether it hangs on the moment if it is needed.
    is_chance: bool,
}

/// What a line allows at its path.
#[derive(Clone, Debug, PartialEq)]
pub enum Allows {
    /// Any two values.
    Any,
    /// An id: each of Kafka's is always the same one of ours.
    Id,
    /// Two texts, or a text of ours where Kafka says nothing.
    Words,
    /// A list whose order means nothing.
    Set,
    /// A list in which Kafka repeats an element that is asked for twice.
    Once,
    /// Exactly this of Kafka and that of ours.
    Pair(Value, Value),
}

impl Rules {
    /// Reads `[may] KIND PATH [KAFKA ODRADEK] # REASON` from each line; lines that begin with `#` are comments.
    pub fn parse(text: &str) -> Result<Rules> {
        let lines = text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
        Ok(Rules {
            rules: lines.map(|line| rule(line).with_context(|| line.to_owned())).collect::<Result<_>>()?,
        })
    }

    /// What is allowed at a path; the caller says with `use_of` if it was needed.
    pub fn at(&self, path: &[String]) -> impl Iterator<Item = (usize, &Allows)> {
        let matching = self.rules.iter().enumerate().filter(|(_, rule)| is_at(&rule.path, path));
        matching.map(|(number, rule)| (number, &rule.allows))
    }

    /// Notes that a difference was excused by this rule.
    pub fn note_use(&self, number: usize) {
        if let Some(rule) = self.rules.get(number) {
            rule.uses.set(rule.uses.get() + 1);
        }
    }

    /// The lines that have excused nothing, and do not say that this may be.
    pub fn unused(&self) -> Vec<&str> {
        let is_unused = |rule: &&Rule| rule.uses.get() == 0 && !rule.is_chance;
        self.rules.iter().filter(is_unused).map(|rule| rule.text.as_str()).collect()
    }
}

fn rule(line: &str) -> Result<Rule> {
    let (rule, reason) = line.split_once(" # ").context("it gives no reason")?;
    if reason.trim().is_empty() {
        bail!("it gives no reason");
    }
    let words: Vec<&str> = rule.split_whitespace().collect();
    let (is_chance, words) = match words.as_slice() {
        ["may", words @ ..] => (true, words),
        words => (false, words),
    };
    let (allows, path) = match words {
        ["any", path] => (Allows::Any, *path),
        ["id", path] => (Allows::Id, *path),
        ["words", path] => (Allows::Words, *path),
        ["set", path] => (Allows::Set, *path),
        ["once", path] => (Allows::Once, *path),
        ["pair", path, kafka, ours] => {
            (Allows::Pair(serde_json::from_str(kafka)?, serde_json::from_str(ours)?), *path)
        }
        _ => bail!("it begins with none of any, id, words, set, once, pair"),
    };
    let path = path.split('/').map(str::to_owned).collect();
    Ok(Rule { allows, path, text: line.to_owned(), uses: Cell::new(0), is_chance })
}

/// `*` stands for any way to the last steps; a step without a key for that step with any key, one
/// that ends in `*]` for keys that begin so.
fn is_at(wanted: &[String], path: &[String]) -> bool {
    let same = |wanted: &String, step: &String| {
        let start = wanted.strip_suffix("*]");
        let is_name = || step.split_once('[').is_some_and(|(name, _)| name == wanted.as_str());
        wanted == step || start.is_some_and(|start| step.starts_with(start)) || is_name()
    };
    let pairs = |wanted: &[String], path: &[String]| {
        wanted.len() == path.len() && wanted.iter().zip(path).all(|(wanted, step)| same(wanted, step))
    };
    match wanted.split_first() {
        Some((first, rest)) if first == "*" => path
            .len()
            .checked_sub(rest.len())
            .and_then(|from| path.get(from..))
            .is_some_and(|end| pairs(rest, end)),
        _ => pairs(wanted, path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(rules: &Rules, path: &str) -> usize {
        rules.at(&path.split('/').map(str::to_owned).collect::<Vec<_>>()).count()
    }

    #[test]
    fn a_line_says_where_and_why() {
        let rules = Rules::parse("# Ids.\nid */TopicId # random\npair A/B[x]/C 1 \"2\" # known\n").unwrap();
        assert_eq!(allowed(&rules, "Metadata/Topics[t]/TopicId"), 1);
        assert_eq!(allowed(&rules, "Metadata/TopicId/Name"), 0);
        assert_eq!((allowed(&rules, "A/B[x]/C"), allowed(&rules, "A/B[y]/C")), (1, 0));
        assert!(Rules::parse("any A/B").is_err() && Rules::parse("some A/B # why").is_err());
    }

    #[test]
    fn a_line_that_excuses_nothing_is_named() {
        let rules = Rules::parse("any A/B # why\nset A # why\nmay any C # why\n").unwrap();
        rules.note_use(1);
        assert_eq!(rules.unused(), ["any A/B # why"]);
    }
}

//! The caretaker: rules of STYLE.md and architecture.toml that a machine can check, over the files that git knows.
//! It repairs nothing and does not compile. Called by `cargo xtask tidy` and by `verify`; each rule has a test that
//! plants a violation.

mod architecture;
mod documents;
mod licences;
mod names;
mod sizes;
mod source;
mod tree;

use std::fmt;
use std::process::ExitCode;

use anyhow::Result;

use crate::chores;
use tree::Tree;

/// One violation of one rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    file: String,
    line: usize,
    what: String,
}

impl Finding {
    fn new(file: &str, line: usize, what: impl Into<String>) -> Finding {
        Finding { file: file.to_owned(), line, what: what.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.what)
    }
}

type Check = fn(&Tree) -> Result<Vec<Finding>>;

const CHECKS: [(&str, Check); 12] = [
    ("crate list", architecture::crates_are_listed),
    ("levels", architecture::edges_go_down),
    ("line ceilings", architecture::crates_stay_small),
    ("restricted crates", architecture::restricted_crates),
    ("file size", sizes::files),
    ("function size", sizes::all_functions),
    ("file names", names::files),
    ("bounded queues", names::bounded_queues),
    ("refused words", names::refused_words),
    ("head comments", documents::head_comments),
    ("documents", documents::names_exist),
    ("licences", licences::dependencies),
];

/// Prints what it finds; fails if there is anything.
pub(crate) fn run() -> Result<ExitCode> {
    let mut total = 0;
    for (check, findings) in check_all()? {
        for finding in &findings {
            println!("{check}: {finding}");
        }
        total += findings.len();
    }
    println!("{} rules, {total} findings", CHECKS.len());
    Ok(if total == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Every rule with its findings.
pub(crate) fn check_all() -> Result<Vec<(&'static str, Vec<Finding>)>> {
    let tree = Tree::of_workspace(&chores::root()?)?;
    CHECKS.iter().map(|(name, check)| Ok((*name, check(&tree)?))).collect()
}

//! What comes from outside: licences from a short list, sources from crates.io alone, no crate twice without a reason.
//! It reads deny.toml, so that cargo-deny, where somebody has it, judges by the same lists. Called by `tidy`.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use toml::{Table, Value};

use super::Finding;
use super::tree::Tree;

const LISTS: &str = "deny.toml";
const LOCK: &str = "Cargo.lock";
const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Every package of the lock file is allowed in.
pub(crate) fn dependencies(tree: &Tree) -> Result<Vec<Finding>> {
    let lists: Table = tree.text(LISTS).with_context(|| format!("there is no {LISTS}"))?.parse()?;
    let allowed = strings(&lists, "licenses", "allow");
    let banned = strings(&lists, "bans", "deny");
    let twice = strings(&lists, "bans", "skip");
    let mut findings = Vec::new();
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in tree.packages() {
        let mut find = |what: String| findings.push(Finding::new(LOCK, 1, what));
        let (name, version) = (&package.name, &package.version);
        if !permits(&package.licence, &allowed) {
            find(format!("{name} {version} is under {:?}", package.licence));
        }
        if package.source != CRATES_IO {
            find(format!("{name} {version} comes from {}", package.source));
        }
        if banned.contains(name) {
            find(format!("{name} is banned in {LISTS}"));
        }
        versions.entry(name).or_default().push(version);
    }
    for (name, versions) in versions.iter().filter(|(name, v)| v.len() > 1 && !twice.contains(**name)) {
        findings.push(Finding::new(
            LOCK,
            1,
            format!("{name} is there {} times: {versions:?}", versions.len()),
        ));
    }
    Ok(findings)
}

/// `[table] list = ["a", { crate = "b@1", reason = ".." }]`: the names, without versions.
fn strings(lists: &Table, table: &str, list: &str) -> BTreeSet<String> {
    let entries = lists.get(table).and_then(|table| table.get(list)).and_then(Value::as_array);
    let name = |entry: &Value| {
        let name = entry.as_str().or_else(|| entry.get("crate")?.as_str())?;
        Some(name.split('@').next().unwrap_or(name).to_owned())
    };
    entries.into_iter().flatten().filter_map(name).collect()
}

/// Whether an SPDX expression can be met by allowed licences alone. `OR` binds weaker than `AND`; the old `/` is `OR`.
fn permits(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let tokens: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = tokens.as_slice();
    let met = either(&mut rest, allowed);
    met && rest.is_empty()
}

fn either(rest: &mut &[&str], allowed: &BTreeSet<String>) -> bool {
    let mut met = both(rest, allowed);
    while let Some((&"OR", after)) = rest.split_first() {
        *rest = after;
        met |= both(rest, allowed);
    }
    met
}

fn both(rest: &mut &[&str], allowed: &BTreeSet<String>) -> bool {
    let mut met = one(rest, allowed);
    while let Some((&"AND", after)) = rest.split_first() {
        *rest = after;
        met &= one(rest, allowed);
    }
    met
}

fn one(rest: &mut &[&str], allowed: &BTreeSet<String>) -> bool {
    let Some((first, after)) = rest.split_first() else { return false };
    *rest = after;
    if *first == "(" {
        let met = either(rest, allowed);
        *rest = rest.strip_prefix(&[")"]).unwrap_or(rest);
        return met;
    }
    match rest {
        ["WITH", exception, after @ ..] => {
            let name = format!("{first} WITH {exception}");
            *rest = after;
            allowed.contains(&name)
        }
        _ => allowed.contains(*first),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DENY: &str = "[licenses]\nallow = [\"MIT\", \"Apache-2.0\", \"Unicode-3.0\"]\n\
                        [bans]\ndeny = [{ crate = \"openssl\" }]\nskip = [\"syn\"]\n";

    fn found(name: &str, licence: &str, source: &str) -> usize {
        let tree = Tree::planted(&[(LISTS, DENY)]).with_package(name, "1.0.0", licence, source);
        dependencies(&tree).unwrap().len()
    }

    #[test]
    fn licences_outside_the_list_are_found() {
        assert_eq!(found("a", "MIT/GPL-3.0", CRATES_IO), 0);
        assert_eq!(found("a", "(MIT OR GPL-3.0) AND Unicode-3.0", CRATES_IO), 0);
        assert_eq!(found("a", "GPL-3.0", CRATES_IO), 1);
        assert_eq!(found("a", "MIT AND GPL-3.0", CRATES_IO), 1);
        assert_eq!(found("a", "Apache-2.0 WITH LLVM-exception", CRATES_IO), 1);
        assert_eq!(found("a", "", CRATES_IO), 1);
    }

    #[test]
    fn foreign_sources_and_banned_crates_are_found() {
        assert_eq!(found("a", "MIT", "git+https://example.org/a"), 1);
        assert_eq!(found("openssl", "MIT", CRATES_IO), 1);
    }

    #[test]
    fn a_crate_in_two_versions_is_found_unless_it_is_named() {
        let twice = |name: &str| {
            let tree = Tree::planted(&[(LISTS, DENY)]);
            let tree = tree
                .with_package(name, "1.0.0", "MIT", CRATES_IO)
                .with_package(name, "2.0.0", "MIT", CRATES_IO);
            dependencies(&tree).unwrap().len()
        };
        assert_eq!((twice("rand"), twice("syn")), (1, 0));
    }
}

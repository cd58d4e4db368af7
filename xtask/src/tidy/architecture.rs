//! architecture.toml against the manifests: every crate listed, arrows strictly downwards, sizes below the ceilings.
//! It reads manifests as TOML and does not ask cargo. Called by `tidy`.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use toml::{Table, Value};

use super::Finding;
use super::tree::Tree;

const LIST: &str = "architecture.toml";

/// tokio may be used from this level on.
const TOKIO_LEVEL_MIN: i64 = 4;

/// Who may speak the protocol's versions.
const WIRE_USERS: [&str; 4] = ["broker", "client", "sim", "conformance"];

/// The tables of a manifest that name other crates.
const DEPENDENCY_TABLES: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];

#[derive(Debug)]
struct Room {
    level: i64,
    lines: i64,
}

/// Every crate of the workspace stands in the list, and the list names no other.
pub(crate) fn crates_are_listed(tree: &Tree) -> Result<Vec<Finding>> {
    let (rooms, manifests) = (rooms(tree)?, manifests(tree)?);
    let unlisted = manifests
        .iter()
        .filter(|(name, _)| !rooms.contains_key(*name))
        .map(|(name, (path, _))| Finding::new(path, 1, format!("{name} is missing in {LIST}")));
    let gone = rooms
        .keys()
        .filter(|name| !manifests.contains_key(*name))
        .map(|name| Finding::new(LIST, 1, format!("{name} is listed, but there is no such crate")));
    Ok(unlisted.chain(gone).collect())
}

/// A crate depends on crates of strictly lower levels only, in its tests too.
pub(crate) fn edges_go_down(tree: &Tree) -> Result<Vec<Finding>> {
    let rooms = rooms(tree)?;
    let mut findings = Vec::new();
    for (name, (path, manifest)) in manifests(tree)? {
        let Some(room) = rooms.get(&name) else { continue };
        for dependency in our_dependencies(&manifest) {
            if let Some(other) = rooms.get(&dependency)
                && other.level >= room.level
            {
                let levels = format!("level {} to level {}", room.level, other.level);
                findings.push(Finding::new(&path, 1, format!("{name} -> {dependency} goes from {levels}")));
            }
        }
    }
    Ok(findings)
}

/// Written lines of Rust stay below the ceiling of each crate.
pub(crate) fn crates_stay_small(tree: &Tree) -> Result<Vec<Finding>> {
    let rooms = rooms(tree)?;
    let mut findings = Vec::new();
    for (name, (path, _)) in manifests(tree)? {
        let Some(room) = rooms.get(&name) else { continue };
        let dir = path.trim_end_matches("Cargo.toml");
        let lines: usize = tree
            .written_rust()
            .filter(|(file, _)| file.starts_with(dir))
            .map(|(_, text)| text.lines().count())
            .sum();
        if i64::try_from(lines)? > room.lines {
            findings.push(Finding::new(
                &path,
                1,
                format!("{name} has {lines} lines, its ceiling is {}", room.lines),
            ));
        }
    }
    Ok(findings)
}

/// tokio stays above the cores, and the protocol's versions end at the handlers.
pub(crate) fn restricted_crates(tree: &Tree) -> Result<Vec<Finding>> {
    let rooms = rooms(tree)?;
    let mut findings = Vec::new();
    for (name, (path, manifest)) in manifests(tree)? {
        let names = dependencies(&manifest);
        let level = rooms.get(&name).map_or(i64::MAX, |room| room.level);
        if names.iter().any(|name| name == "tokio") && level < TOKIO_LEVEL_MIN {
            findings.push(Finding::new(
                &path,
                1,
                format!("{name} is on level {level}, tokio begins at {TOKIO_LEVEL_MIN}"),
            ));
        }
        if names.iter().any(|name| name == "wire") && !WIRE_USERS.contains(&name.as_str()) {
            findings.push(Finding::new(
                &path,
                1,
                format!("{name} uses wire, only {} may", WIRE_USERS.join(", ")),
            ));
        }
    }
    Ok(findings)
}

fn rooms(tree: &Tree) -> Result<BTreeMap<String, Room>> {
    let list: Table = tree.text(LIST).with_context(|| format!("there is no {LIST}"))?.parse()?;
    let crates =
        list.get("crates").and_then(Value::as_table).with_context(|| format!("{LIST} has no [crates]"))?;
    let number = |room: &Value, field: &str| room.get(field).and_then(Value::as_integer);
    crates
        .iter()
        .map(|(name, room)| {
            let level = number(room, "level").with_context(|| format!("{name} has no level"))?;
            let lines = number(room, "lines").with_context(|| format!("{name} has no ceiling"))?;
            Ok((name.clone(), Room { level, lines }))
        })
        .collect()
}

/// Name to path and content of each manifest of a package.
fn manifests(tree: &Tree) -> Result<BTreeMap<String, (String, Table)>> {
    let mut found = BTreeMap::new();
    for (path, text) in tree.files().filter(|(path, _)| path.ends_with("/Cargo.toml")) {
        let manifest: Table = text.parse().with_context(|| path.to_owned())?;
        let name = manifest.get("package").and_then(|package| package.get("name")).and_then(Value::as_str);
        if let Some(name) = name {
            found.insert(name.to_owned(), (path.to_owned(), manifest.clone()));
        }
    }
    Ok(found)
}

fn dependency_tables(manifest: &Table) -> impl Iterator<Item = &Table> {
    let targets = manifest.get("target").and_then(Value::as_table);
    let targets = targets.into_iter().flat_map(|table| table.values()).filter_map(Value::as_table);
    std::iter::once(manifest).chain(targets).flat_map(|table| {
        DEPENDENCY_TABLES.iter().filter_map(|name| table.get(*name).and_then(Value::as_table))
    })
}

fn dependencies(manifest: &Table) -> Vec<String> {
    dependency_tables(manifest).flat_map(|table| table.keys().cloned()).collect()
}

/// Those that come from this workspace: a crate of ours may bear the name of one in the registry.
fn our_dependencies(manifest: &Table) -> Vec<String> {
    let ours = |value: &Value| value.get("workspace").is_some() || value.get("path").is_some();
    let names = |table: &Table| {
        table.iter().filter(|(_, value)| ours(value)).map(|(name, _)| name.clone()).collect::<Vec<_>>()
    };
    dependency_tables(manifest).flat_map(names).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOMS: &str = "[crates]\nlow = { level = 1, lines = 2 }\nhigh = { level = 5, lines = 100 }\n";

    fn manifest(name: &str, more: &str) -> String {
        format!("[package]\nname = \"{name}\"\n[dependencies]\n{more}")
    }

    fn tree(low: &str, high: &str) -> Tree {
        let (low, high) = (manifest("low", low), manifest("high", high));
        Tree::planted(&[(LIST, ROOMS), ("crates/low/Cargo.toml", &low), ("crates/high/Cargo.toml", &high)])
    }

    #[test]
    fn an_upward_and_a_sideways_edge_are_found_and_a_downward_one_is_not() {
        assert!(edges_go_down(&tree("", "low.workspace = true")).unwrap().is_empty());
        assert_eq!(edges_go_down(&tree("high.workspace = true", "")).unwrap().len(), 1);
        assert_eq!(edges_go_down(&tree("low = { path = \".\" }", "")).unwrap().len(), 1);
        let in_tests = "[dev-dependencies]\nhigh.workspace = true";
        assert_eq!(edges_go_down(&tree(in_tests, "")).unwrap().len(), 1);
    }

    #[test]
    fn an_unlisted_crate_and_an_empty_room_are_found() {
        let new = manifest("new", "");
        let tree = Tree::planted(&[(LIST, ROOMS), ("crates/new/Cargo.toml", &new)]);
        assert_eq!(crates_are_listed(&tree).unwrap().len(), 3);
    }

    #[test]
    fn a_crate_above_its_ceiling_is_found_and_generated_lines_do_not_count() {
        let low = manifest("low", "");
        let files = [(LIST, ROOMS), ("crates/low/Cargo.toml", low.as_str())];
        let grown = [&files[..], &[("crates/low/src/lib.rs", "a\nb\nc\n")]].concat();
        assert_eq!(crates_stay_small(&Tree::planted(&grown)).unwrap().len(), 1);
        let generated = [&files[..], &[("crates/low/src/lib.rs", "//! Generated by x\nb\nc\n")]].concat();
        assert!(crates_stay_small(&Tree::planted(&generated)).unwrap().is_empty());
    }

    #[test]
    fn tokio_in_a_core_and_wire_outside_its_users_are_found() {
        assert_eq!(restricted_crates(&tree("tokio.workspace = true", "")).unwrap().len(), 1);
        assert!(restricted_crates(&tree("", "tokio.workspace = true")).unwrap().is_empty());
        assert_eq!(restricted_crates(&tree("", "wire.workspace = true")).unwrap().len(), 1);
    }
}

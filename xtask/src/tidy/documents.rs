//! Documents that stay true: head comments exist, and what ARCHITECTURE.md and docs/invariants.md name exists.
//! It does not judge prose. Called by `tidy`.

use anyhow::Result;

use super::Finding;
use super::tree::Tree;

/// Documents whose code names must exist.
const CHECKED: [&str; 2] = ["ARCHITECTURE.md", "docs/invariants.md"];

/// Shipped files whose first line must say what they are.
const SHIPPED: &str = "crates/";

/// Every shipped file begins with a head comment; files of tests belong to the file beside them.
pub(crate) fn head_comments(tree: &Tree) -> Result<Vec<Finding>> {
    let is_test = |path: &str| path.ends_with("/tests.rs") || path.contains("/tests/");
    let bare = tree
        .written_rust()
        .filter(|(path, text)| path.starts_with(SHIPPED) && !is_test(path) && !text.starts_with("//!"));
    Ok(bare
        .map(|(path, _)| Finding::new(path, 1, "no head comment: what it is, is not, who calls it"))
        .collect())
}

/// Every `code name` of a checked document is a file, a folder or a word of the sources.
pub(crate) fn names_exist(tree: &Tree) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for document in CHECKED {
        for (number, line) in tree.text(document).unwrap_or_default().lines().enumerate() {
            for name in line.split('`').skip(1).step_by(2) {
                if !exists(tree, name) {
                    findings.push(Finding::new(document, number + 1, format!("there is no `{name}`")));
                }
            }
        }
    }
    Ok(findings)
}

fn exists(tree: &Tree, name: &str) -> bool {
    let (path, inside) = match name.split_once(".rs::") {
        Some((path, word)) => (format!("{path}.rs"), word),
        None => (name.to_owned(), ""),
    };
    let end = path.rsplit_once('.').map_or("", |(_, end)| end);
    if (path.contains('/') || ["rs", "md", "toml"].contains(&end)) && !path.contains(char::is_whitespace) {
        let path = path.trim_end_matches('/');
        return tree.files().any(|(file, text)| is_below(file, path) && text.contains(inside));
    }
    let is_identifier = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let word = name.trim_end_matches("()").rsplit("::").next().unwrap_or(name);
    if !name.trim_end_matches("()").chars().all(is_identifier) || word.is_empty() {
        return true; // a command, a setting or a signature: not a name
    }
    tree.files().any(|(file, text)| {
        (file.ends_with(".rs") || file.ends_with(".toml")) && (text.contains(word) || file.contains(word))
    })
}

/// `fetch.rs`, `handlers/fetch.rs` and `crates/broker` all name `crates/broker/src/handlers/fetch.rs`.
fn is_below(file: &str, path: &str) -> bool {
    file == path || format!("/{file}").contains(&format!("/{path}/")) || file.ends_with(&format!("/{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shipped_file_without_a_head_comment_is_found() {
        let tree = Tree::planted(&[
            ("crates/a/src/bare.rs", "fn a() {}"),
            ("crates/a/src/good.rs", "//! Good."),
            ("crates/a/src/good/tests.rs", "use super::*;"),
        ]);
        assert_eq!(head_comments(&tree).unwrap().len(), 1);
    }

    #[test]
    fn a_name_that_no_longer_exists_is_found() {
        let text = "See `Partition`, `log/src/segment.rs`, `a.rs::step` and `crates/log`; run `cargo xtask verify`.\n\
                    But `Vanished`, `gone.rs` and `a.rs::walk`.\n";
        let tree = Tree::planted(&[
            ("ARCHITECTURE.md", text),
            ("crates/log/src/segment.rs", "struct Partition;"),
            ("crates/log/src/a.rs", "fn step() {}"),
        ]);
        let found = names_exist(&tree).unwrap();
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found.iter().all(|finding| finding.line == 2));
    }
}

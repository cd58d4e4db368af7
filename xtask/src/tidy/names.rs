//! Names that say nothing: forbidden file names, words that the glossary refuses, and queues without a bound.
//! It looks at declared names only, not at prose. Called by `tidy`.

use anyhow::Result;

use super::Finding;
use super::source::blanked;
use super::tree::Tree;

/// A file or module is called after the one thing in it.
const FORBIDDEN_FILES: [&str; 10] =
    ["mod", "utils", "util", "helpers", "helper", "common", "manager", "types", "impls", "misc"];

/// What stands before a name that is being declared.
const DECLARATIONS: [&str; 8] = ["fn ", "struct ", "enum ", "trait ", "mod ", "type ", "const ", "static "];

const GLOSSARY: &str = "docs/glossary.md";

/// The glossary's refused words stand below this heading, one `- word: what we say` a line.
const REFUSED_HEADING: &str = "## Refused";

/// No file or folder of Rust bears a name that says nothing.
pub(crate) fn files(tree: &Tree) -> Result<Vec<Finding>> {
    let bad = |part: &str| FORBIDDEN_FILES.contains(&part.trim_end_matches(".rs"));
    let found = tree
        .files()
        .filter(|(path, _)| path.ends_with(".rs"))
        .filter_map(|(path, _)| path.split('/').find(|part| bad(part)).map(|part| (path, part)));
    Ok(found
        .map(|(path, part)| Finding::new(path, 1, format!("{part} does not say what is in it")))
        .collect())
}

/// Every queue has a bound; see model::limits.
pub(crate) fn bounded_queues(tree: &Tree) -> Result<Vec<Finding>> {
    let name = concat!("unbounded_", "channel");
    let mut findings = Vec::new();
    for (path, text) in tree.written_rust() {
        for (number, line) in blanked(text).lines().enumerate() {
            if line.contains(name) {
                findings.push(Finding::new(path, number + 1, "a queue without a bound"));
            }
        }
    }
    Ok(findings)
}

/// No declared name contains a word that the glossary refuses.
pub(crate) fn refused_words(tree: &Tree) -> Result<Vec<Finding>> {
    let refused = refused(tree.text(GLOSSARY).unwrap_or_default());
    let mut findings = Vec::new();
    for (path, text) in tree.written_rust() {
        for (number, line) in blanked(text).lines().enumerate() {
            for name in declared(line) {
                let words = words(name);
                for (word, instead) in refused.iter().filter(|(word, _)| words.contains(word)) {
                    findings.push(Finding::new(path, number + 1, format!("{name}: not {word}, {instead}")));
                }
            }
        }
    }
    Ok(findings)
}

fn refused(glossary: &str) -> Vec<(String, String)> {
    let below = glossary.split_once(REFUSED_HEADING).map_or("", |(_, below)| below);
    let lines = below.lines().skip(1).take_while(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.strip_prefix("- ")?.split_once(": "))
        .map(|(word, instead)| (word.trim_matches('`').to_lowercase(), instead.to_owned()))
        .collect()
}

fn declared(line: &str) -> Vec<&str> {
    let names =
        DECLARATIONS.iter().flat_map(|word| line.match_indices(word).map(move |(at, _)| (at, word.len())));
    names
        .filter(|(at, _)| {
            !line.get(..*at).unwrap_or_default().ends_with(|c: char| c.is_alphanumeric() || c == '_')
        })
        .filter_map(|(at, length)| {
            let rest = line.get(at + length..)?;
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            rest.get(..end).filter(|name| !name.is_empty())
        })
        .collect()
}

/// `fetch_bytesMax` is fetch, bytes, max.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before = '_';
    for c in name.chars() {
        if c == '_' || (c.is_uppercase() && before.is_lowercase()) {
            words.push(String::new());
        }
        if c != '_'
            && let Some(word) = words.last_mut()
        {
            word.extend(c.to_lowercase());
        }
        before = c;
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_names_of_files_and_folders_are_found() {
        let tree = Tree::planted(&[
            ("crates/a/src/utils.rs", ""),
            ("crates/a/src/common/b.rs", ""),
            ("x/log.rs", ""),
        ]);
        assert_eq!(files(&tree).unwrap().len(), 2);
    }

    #[test]
    fn a_queue_without_a_bound_is_found_but_not_in_a_comment() {
        let code = concat!("let a = unbounded_", "channel();\n");
        let comment = format!("// {code}");
        assert_eq!(bounded_queues(&Tree::planted(&[("a.rs", code)])).unwrap().len(), 1);
        assert!(bounded_queues(&Tree::planted(&[("a.rs", &comment)])).unwrap().is_empty());
    }

    #[test]
    fn a_refused_word_in_a_declared_name_is_found() {
        let glossary = "# Glossary\n- offset: a place\n## Refused\n- message: say record\n## More\n- fn: x\n";
        let code =
            "struct MessageQueue;\nfn on_message(record: u8) {}\n// the message\nlet message_text = 1;\n";
        let found = refused_words(&Tree::planted(&[(GLOSSARY, glossary), ("a.rs", code)])).unwrap();
        assert_eq!(found.iter().map(|f| f.line).collect::<Vec<_>>(), [1, 2]);
    }
}

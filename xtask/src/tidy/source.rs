//! Rust source seen from far enough to count: comments and literals blanked out, functions found with their lines.
//! It is not a parser and accepts any text. Called by the rules about sizes and names.

/// The same text with the insides of comments, strings and characters replaced by spaces; lines stay where they are.
pub(crate) fn blanked(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut before = ' ';
    while let Some(first) = rest.chars().next() {
        let length = literal_length(rest, before).unwrap_or(0);
        if length == 0 {
            out.push(first);
            rest = rest.get(first.len_utf8()..).unwrap_or_default();
        } else {
            let (literal, after) = rest.split_at(length);
            out.extend(literal.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
            rest = after;
        }
        before = first;
    }
    out
}

/// The length of the comment or literal at the start of `rest`, if there is one.
fn literal_length(rest: &str, before: char) -> Option<usize> {
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return Some(block_comment_length(rest));
    }
    let in_word = before.is_alphanumeric() || before == '_';
    let unprefixed = if in_word { rest } else { rest.strip_prefix('b').unwrap_or(rest) };
    let prefix = rest.len() - unprefixed.len();
    if let Some(raw) = unprefixed.strip_prefix('r').filter(|_| !in_word) {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if raw.get(hashes..).is_some_and(|after| after.starts_with('"')) {
            let end = format!("\"{}", "#".repeat(hashes));
            let body = raw.get(hashes + 1..).unwrap_or_default();
            let closed = body.find(&end).map_or(body.len(), |at| at + end.len());
            return Some(prefix + 1 + hashes + 1 + closed);
        }
    }
    if unprefixed.starts_with('"') {
        return Some(prefix + quoted_length(unprefixed, '"'));
    }
    if unprefixed.starts_with('\'') {
        // 'a' is a character, 'a a lifetime.
        let mut chars = unprefixed.chars().skip(1);
        let (one, two) = (chars.next()?, chars.next()?);
        return (one == '\\' || two == '\'').then(|| prefix + quoted_length(unprefixed, '\''));
    }
    None
}

fn quoted_length(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if c == quote {
            return at + 1;
        }
    }
    text.len()
}

fn block_comment_length(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while let Some(rest) = text.get(at..) {
        let Some(first) = rest.chars().next() else { break };
        if rest.starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest.starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += first.len_utf8();
        }
    }
    text.len()
}

/// A function with a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Function {
    pub(crate) name: String,
    /// The line of `fn`, from 1.
    pub(crate) line: usize,
    /// From `fn` to the closing brace.
    pub(crate) lines: usize,
    /// Hardly anything but arms of a match, one a line: a table, however long.
    pub(crate) is_table: bool,
}

/// All functions of a blanked text, the inner ones too.
pub(crate) fn functions(blanked: &str) -> Vec<Function> {
    let mut found = Vec::new();
    for (at, _) in blanked.match_indices("fn ") {
        let starts_word =
            !blanked.get(..at).unwrap_or_default().ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let after = blanked.get(at + 3..).unwrap_or_default();
        let name: String = after.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        if !starts_word || name.is_empty() {
            continue;
        }
        if let Some(length) = body_end(after) {
            let line = 1 + blanked.get(..at).unwrap_or_default().matches('\n').count();
            let body = after.get(..length).unwrap_or_default();
            let lines = 1 + body.matches('\n').count();
            let arms =
                body.lines().filter(|line| line.contains("=>") && line.trim_end().ends_with(',')).count();
            found.push(Function { name, line, lines, is_table: arms * 10 >= lines * 9 });
        }
    }
    found
}

/// Where the body that follows a signature ends; `None` for a declaration without one.
fn body_end(signature: &str) -> Option<usize> {
    let (mut braces, mut round) = (0_usize, 0_usize);
    for (at, c) in signature.char_indices() {
        match c {
            '(' | '[' => round += 1,
            ')' | ']' => round = round.saturating_sub(1),
            ';' if braces == 0 && round == 0 => return None,
            '{' => braces += 1,
            '}' if braces == 1 => return Some(at),
            '}' => braces = braces.checked_sub(1)?,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_in_literals_and_comments_do_not_count() {
        let text = "fn a() { let b = '{'; let c = \"}\"; // }\n /* { */ let d = r#\"}\"#; let e: &'static str; }\nfn f() {}";
        let names: Vec<String> = functions(&blanked(text)).into_iter().map(|f| f.name).collect();
        assert_eq!(names, ["a", "f"]);
        assert_eq!(functions(&blanked(text)).first().unwrap().lines, 2);
    }

    #[test]
    fn a_match_of_one_line_arms_is_a_table() {
        let table =
            format!("fn name(code: u8) -> u8 {{\n  match code {{\n{}  }}\n}}\n", "    1 => 2,\n".repeat(80));
        assert!(functions(&table).first().unwrap().is_table);
        assert!(!functions(&table.replace("1 => 2,", "step();")).first().unwrap().is_table);
    }

    #[test]
    fn lines_are_counted_from_the_word_fn_to_the_closing_brace() {
        let text = "trait T { fn declared(a: [u8; 3]) -> u8; }\n\npub fn long(\n  a: u8,\n) {\n  x();\n}\n";
        let found = functions(&blanked(text));
        assert_eq!(found, [Function { name: "long".to_owned(), line: 3, lines: 5, is_table: false }]);
    }
}

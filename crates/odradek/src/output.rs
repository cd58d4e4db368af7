//! What a command shows: a table for people, or JSON for programs.
//!
//! It knows no command; each says what its columns are.

use clap::{Args, ValueEnum};
use comfy_table::{Table, presets::NOTHING};
use serde_json::Value;
use std::io::{self, Write};

/// How results are shown.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct OutputArgs {
    /// How results are shown
    #[arg(long, value_enum, default_value_t = Output::Table, global = true)]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Table,
    Json,
}

impl OutputArgs {
    /// Whether JSON is wanted.
    pub(crate) fn is_json(self) -> bool {
        self.output == Output::Json
    }

    /// Shows one result: JSON as `json` says, else what `text` makes.
    pub(crate) fn show(self, json: &Value, text: impl FnOnce() -> String) -> anyhow::Result<()> {
        let shown = if self.is_json() { format!("{json:#}") } else { text() };
        let mut out = io::stdout().lock();
        writeln!(out, "{}", shown.trim_end())?;
        out.flush()?;
        Ok(())
    }
}

/// A table without lines, so that columns can be cut by other programs.
pub(crate) fn table(columns: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(columns.iter().copied());
    for row in rows {
        table.add_row(row.into_iter().map(|cell| if cell.is_empty() { "-".to_owned() } else { cell }));
    }
    let lines = table.to_string();
    lines.lines().map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end()).collect::<Vec<_>>().join("\n")
}

/// Numbers with commas between them.
pub(crate) fn list(numbers: &[i32]) -> String {
    numbers.iter().map(i32::to_string).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_a_dash_where_there_is_nothing_and_no_blanks_at_the_end() {
        let shown = table(&["A", "B"], [vec!["x".into(), String::new()]]);
        assert!(shown.lines().all(|line| !line.ends_with(' ')), "{shown}");
        assert_eq!(shown.lines().last().unwrap().split_whitespace().collect::<Vec<_>>(), ["x", "-"]);
    }
}

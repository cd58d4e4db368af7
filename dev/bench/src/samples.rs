//! What was measured, by contestant, and the table that comes of it: the median of the rounds and their spread.
//! It knows no units: a measure's name carries its unit. Called by `workloads` and `main`.

use std::collections::BTreeMap;

/// All measurements of one workload.
#[derive(Debug)]
pub struct Samples {
    title: String,
    command: String,
    measures: Vec<&'static str>,
    contestants: Vec<&'static str>,
    values: BTreeMap<(&'static str, &'static str), Vec<f64>>,
}

impl Samples {
    /// An empty table; `command` tells how to make it again.
    pub fn new(title: impl Into<String>, command: impl Into<String>) -> Samples {
        Samples {
            title: title.into(),
            command: command.into(),
            measures: Vec::new(),
            contestants: Vec::new(),
            values: BTreeMap::new(),
        }
    }

    /// One more value.
    pub fn add(&mut self, contestant: &'static str, measure: &'static str, value: f64) {
        if !self.measures.contains(&measure) {
            self.measures.push(measure);
        }
        if !self.contestants.contains(&contestant) {
            self.contestants.push(contestant);
        }
        self.values.entry((contestant, measure)).or_default().push(value);
    }

    /// Markdown: a row for each contestant, `median (least..most)` for each measure.
    pub fn table(&self) -> String {
        let mut lines = vec![format!("### {}\n", self.title)];
        lines.push(format!("| | {} |", self.measures.join(" | ")));
        lines.push(format!("|---|{}", "---|".repeat(self.measures.len())));
        for contestant in &self.contestants {
            let cells = self.measures.iter().map(|measure| self.cell(contestant, measure));
            lines.push(format!("| {contestant} | {} |", cells.collect::<Vec<_>>().join(" | ")));
        }
        lines.push(format!("\n`{}`\n", self.command));
        lines.join("\n")
    }

    fn cell(&self, contestant: &'static str, measure: &'static str) -> String {
        let mut values = self.values.get(&(contestant, measure)).cloned().unwrap_or_default();
        values.sort_by(f64::total_cmp);
        match (values.first(), values.get(values.len() / 2), values.last()) {
            (Some(least), Some(median), Some(most)) if values.len() > 1 => {
                format!("{} ({}..{})", short(*median), short(*least), short(*most))
            }
            (Some(only), ..) => short(*only),
            _ => "-".to_owned(),
        }
    }
}

/// Three digits that matter.
fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_the_median_and_the_spread() {
        let mut samples = Samples::new("produce", "xtask bench");
        for value in [3.0, 1.0, 200.0] {
            samples.add("one", "ms", value);
        }
        samples.add("two", "ms", 12.34);
        let table = samples.table();
        assert!(table.contains("| one | 3.00 (1.00..200) |"), "{table}");
        assert!(table.contains("| two | 12.3 |"), "{table}");
    }
}

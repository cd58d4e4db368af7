//! The run as a picture in text: a line for each second, a column for each node, what was acknowledged as a bar, and what
//! went wrong beside it. It judges nothing.

use crate::node::{Look, Node};

/// Width of the bar.
const BAR: usize = 30;

/// What was seen of one second.
#[derive(Clone, Debug, Default)]
pub struct Second {
    looks: Vec<Option<Look>>,
    acks: u64,
    words: Vec<String>,
}

/// A picture that grows at its lower end.
#[derive(Debug, Default)]
pub struct Drawing {
    seconds: Vec<Second>,
    most: u64,
    acks_before: u64,
}

impl Drawing {
    /// The line above the first.
    pub fn head(nodes: usize) -> String {
        let names: Vec<String> = (1..=nodes).map(|node| format!("n{node:<3}")).collect();
        format!("    s  {} {:<BAR$}  acks/s", names.concat(), "acknowledged")
    }

    /// What the nodes are doing now; a node that was down or paused at any time of the second is drawn so.
    pub fn look(&mut self, nodes: &[Node]) {
        self.see(&nodes.iter().map(Node::look).collect::<Vec<_>>());
    }

    fn see(&mut self, looks: &[Look]) {
        if self.seconds.is_empty() {
            self.seconds.push(Second::default());
        }
        let Some(second) = self.seconds.last_mut() else { return };
        second.looks.resize(looks.len(), None);
        for (seen, look) in second.looks.iter_mut().zip(looks) {
            if *seen != Some(Look::Down) && (*look != Look::Up || seen.is_none()) {
                *seen = Some(*look);
            }
        }
    }

    /// What happens now.
    pub fn note(&mut self, words: String) {
        if self.seconds.is_empty() {
            self.seconds.push(Second::default());
        }
        if let Some(second) = self.seconds.last_mut() {
            second.words.push(words);
        }
    }

    /// A second is over, and so much was acknowledged since the beginning: its line.
    pub fn end_second(&mut self, acks: u64) -> String {
        let number = self.seconds.len().max(1);
        let Some(second) = self.seconds.last_mut() else { return String::new() };
        second.acks = acks.saturating_sub(self.acks_before);
        self.acks_before = acks;
        self.most = self.most.max(second.acks).max(1);
        let line = line(number, second, self.most);
        self.seconds.push(Second::default());
        line
    }
}

fn line(number: usize, second: &Second, most: u64) -> String {
    let mark = |look: &Option<Look>| match look {
        Some(Look::Up) => "|   ",
        Some(Look::Paused) => "z   ",
        Some(Look::Down) => "x   ",
        None => "    ",
    };
    let looks: Vec<&str> = second.looks.iter().map(mark).collect();
    let filled = usize::try_from(second.acks.saturating_mul(BAR as u64) / most).unwrap_or(BAR);
    let bar = "=".repeat(filled);
    let line = format!(
        "{number:>5}  {} {bar:<BAR$} {:>6}  {}",
        looks.concat(),
        second.acks,
        second.words.join("; ")
    );
    line.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_is_drawn_with_the_worst_of_each_node_and_what_was_acknowledged() {
        let mut drawing = Drawing::default();
        drawing.see(&[Look::Up, Look::Up]);
        assert_eq!(drawing.end_second(100), format!("    1  |   |    {}    100", "=".repeat(30)));
        drawing.note("kill -9 n2".to_owned());
        drawing.see(&[Look::Paused, Look::Down]);
        drawing.see(&[Look::Up, Look::Up]);
        assert_eq!(
            drawing.end_second(150),
            format!("    2  z   x    {:<30}     50  kill -9 n2", "=".repeat(15))
        );
    }
}

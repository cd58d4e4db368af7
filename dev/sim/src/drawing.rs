//! A run as a picture: time runs down, each node is a column that shows whether it is there, whether it is the active
//! controller, and which partitions it leads; beside it stand the acknowledgements and the faults. It judges nothing;
//! the storms draw here.

use crate::{cluster::Cluster, history::History, node::Node, world::Host};
use metadata::Image;
use parking_lot::Mutex;
use std::{fmt::Write, sync::Arc};

/// The lines so far.
pub struct Drawing {
    is_on: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    lines: Vec<String>,
    cells: Vec<String>,
    acked: u64,
    drawn_at: u64,
}

/// A line is drawn at least so often.
const PAUSE_MS: u64 = 1000;
/// How wide the column of a node is.
const WIDTH: usize = 14;
/// The letters of partitions.
const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyz";

impl Drawing {
    /// Nothing is drawn yet, or ever.
    pub fn new(is_on: bool) -> Arc<Self> {
        Arc::new(Self { is_on, state: Mutex::default() })
    }

    /// The lines, from the beginning.
    pub fn lines(&self) -> Vec<String> {
        self.state.lock().lines.clone()
    }

    /// Draws a line if anything has changed.
    pub fn sample(&self, now_ms: u64, cluster: &Cluster, history: &History) {
        if !self.is_on {
            return;
        }
        let mut state = self.state.lock();
        if cells(cluster) != state.cells || now_ms >= state.drawn_at + PAUSE_MS {
            state.line(now_ms, cluster, history, "");
        }
    }

    /// Draws a line about what has happened.
    pub fn tell(&self, now_ms: u64, cluster: &Cluster, history: &History, what: &str) {
        if self.is_on {
            self.state.lock().line(now_ms, cluster, history, what);
        }
    }
}

impl State {
    fn line(&mut self, now_ms: u64, cluster: &Cluster, history: &History, what: &str) {
        if self.lines.is_empty() {
            self.lines.extend(legend(cluster));
        }
        self.cells = cells(cluster);
        let acked = history.counts().get("batches acknowledged").copied().unwrap_or(0);
        let mut line = format!("{:>8.3}s", now_ms as f64 / 1000.0);
        for cell in &self.cells {
            let _ = write!(line, " |{cell:<WIDTH$}");
        }
        let _ = write!(line, " | {:>4}  {what}", format!("+{}", acked - self.acked));
        self.lines.push(line.trim_end().to_owned());
        (self.acked, self.drawn_at) = (acked, now_ms);
    }
}

fn legend(cluster: &Cluster) -> Vec<String> {
    let mut head = format!("{:>9}", "time");
    for node in cluster.nodes() {
        let _ = write!(head, " |{:<WIDTH$}", format!(" node {}", node.id));
    }
    head.push_str(" | acks since the line before, and what happens");
    let meaning = "C active controller, letters partitions that are led (a is t0-0, then in order; o offsets), \
                   . runs, ~ starts, blank off; ! knows less than the newest metadata";
    vec![meaning.to_owned(), head]
}

fn cells(cluster: &Cluster) -> Vec<String> {
    let newest = cluster.newest_known();
    cluster.nodes().iter().map(|node| cell(node, newest.as_deref())).collect()
}

/// What a node believes that it is.
fn cell(node: &Node, newest: Option<&Image>) -> String {
    let Some(broker) = node.broker() else {
        return if node.is_on() { " ~".into() } else { String::new() };
    };
    let image = broker.image();
    let behind = newest.is_some_and(|newest| newest.position().offset > image.position().offset + 2);
    let controller = if broker.is_active_controller() { 'C' } else { '.' };
    format!(" {controller} {}{}", led(&image, node.id), if behind { " !" } else { "" })
}

fn led(image: &Image, node: Host) -> String {
    let mut letters = LETTERS.iter().map(|letter| char::from(*letter));
    let mut led = String::new();
    for topic in image.topics().filter(|topic| !topic.name.starts_with("admin")) {
        for (_, partition) in topic.indexed() {
            let letter = if topic.name.starts_with("__") { 'o' } else { letters.next().unwrap_or('?') };
            if partition.leader == node {
                led.push(letter);
            }
        }
    }
    led
}

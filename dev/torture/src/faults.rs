//! What can go wrong, and which of it goes wrong next: drawn from a seed, as data.
//! It does nothing to anybody; `nemesis` does.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Something that goes wrong for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// SIGKILL, and started again at the end.
    Kill(usize),
    /// SIGKILL of all at once, and all started again.
    KillAll,
    /// SIGTERM, and started again at the end: what an operator does.
    Restart(usize),
    /// SIGSTOP.
    Pause(usize),
    /// No packet between a node and the others, and the clients if so said.
    Isolate {
        /// The node.
        node: usize,
        /// Whether clients cannot reach it either.
        from_clients: bool,
    },
    /// Packets are dropped one way between two nodes.
    OneWay {
        /// From here.
        from: usize,
        /// To there.
        to: usize,
    },
    /// As `Isolate`, on and off again several times in a second.
    Flap(usize),
    /// Of what a node sends so many packets in a hundred are lost.
    Loss {
        /// The node.
        node: usize,
        /// So many in a hundred.
        percent: u32,
    },
    /// What a node sends arrives late.
    Delay {
        /// The node.
        node: usize,
        /// So much later, and up to half as much again.
        ms: u32,
    },
    /// A node's disk is full.
    FillDisk(usize),
    /// A node and its disk lose their power: what was not synced is gone. Started again at the end.
    PowerCut(usize),
    /// The same of all at once.
    PowerCutAll,
}

/// A fault and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spell {
    /// What goes wrong.
    pub faults: Vec<Fault>,
    /// For so long.
    pub lasts: Duration,
    /// So long nothing goes wrong afterwards.
    pub calm: Duration,
}

/// The faults of a seed, without end.
#[derive(Debug)]
pub struct Draws {
    dice: StdRng,
    nodes: usize,
}

impl Draws {
    /// For so many nodes.
    pub fn new(seed: u64, nodes: usize) -> Draws {
        Draws { dice: StdRng::seed_from_u64(seed), nodes }
    }

    fn one(&mut self, node: usize) -> Fault {
        let other = node % self.nodes + 1;
        match self.dice.random_range(0..100) {
            0..16 => Fault::Kill(node),
            16..19 => Fault::KillAll,
            19..27 => Fault::PowerCut(node),
            27..31 => Fault::PowerCutAll,
            31..37 => Fault::Restart(node),
            37..49 => Fault::Pause(node),
            49..61 => Fault::Isolate { node, from_clients: self.dice.random_range(0..2) == 0 },
            61..70 if other != node => Fault::OneWay { from: node, to: other },
            61..78 => Fault::Flap(node),
            78..86 => Fault::Loss { node, percent: self.dice.random_range(5..40) },
            86..94 => Fault::Delay { node, ms: self.dice.random_range(5..500) },
            _ => Fault::FillDisk(node),
        }
    }
}

impl Iterator for Draws {
    type Item = Spell;

    fn next(&mut self) -> Option<Spell> {
        let first = self.dice.random_range(1..=self.nodes);
        let mut faults = vec![self.one(first)];
        // Two at once leave no majority of three, and must lose nothing all the same.
        if self.nodes > 1 && self.dice.random_range(0..100) < 30 {
            let step = self.dice.random_range(1..self.nodes);
            faults.push(self.one((first - 1 + step) % self.nodes + 1));
        }
        let millis = |range| Duration::from_millis(range);
        Some(Spell {
            faults,
            lasts: millis(self.dice.random_range(500..8_000)),
            calm: millis(self.dice.random_range(1_000..6_000)),
        })
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Fault::Kill(node) => write!(f, "kill -9 n{node}"),
            Fault::KillAll => write!(f, "kill -9 of all"),
            Fault::Restart(node) => write!(f, "restart n{node}"),
            Fault::Pause(node) => write!(f, "pause n{node}"),
            Fault::Isolate { node, from_clients: false } => write!(f, "cut n{node} off from its peers"),
            Fault::Isolate { node, from_clients: true } => write!(f, "cut n{node} off from everybody"),
            Fault::OneWay { from, to } => write!(f, "drop n{from} -> n{to}"),
            Fault::Flap(node) => write!(f, "flapping link of n{node}"),
            Fault::Loss { node, percent } => write!(f, "lose {percent} % of what n{node} sends"),
            Fault::Delay { node, ms } => write!(f, "delay what n{node} sends by {ms} ms"),
            Fault::FillDisk(node) => write!(f, "fill the disk of n{node}"),
            Fault::PowerCut(node) => write!(f, "power cut of n{node}"),
            Fault::PowerCutAll => write!(f, "power cut of all"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_draws_the_same_faults_and_in_time_all_of_them() {
        let kinds = |seed| Draws::new(seed, 3).take(300).collect::<Vec<_>>();
        assert_eq!(kinds(4), kinds(4));
        assert_ne!(kinds(4), kinds(5));
        let drawn: Vec<Fault> = kinds(1).into_iter().flat_map(|spell| spell.faults).collect();
        let mut names: Vec<_> = drawn.iter().map(std::mem::discriminant).collect();
        let count = names.len();
        assert!(count > 300, "some spells have two faults");
        let mut distinct = Vec::new();
        for name in names.drain(..) {
            if !distinct.contains(&name) {
                distinct.push(name);
            }
        }
        assert_eq!(distinct.len(), 12);
    }

    #[test]
    fn two_faults_of_a_spell_concern_two_nodes() {
        for spell in Draws::new(3, 5).take(500).filter(|spell| spell.faults.len() == 2) {
            let node = |fault: &Fault| match fault {
                Fault::Kill(n)
                | Fault::Restart(n)
                | Fault::Pause(n)
                | Fault::Flap(n)
                | Fault::FillDisk(n)
                | Fault::PowerCut(n) => *n,
                Fault::Isolate { node, .. }
                | Fault::Loss { node, .. }
                | Fault::Delay { node, .. }
                | Fault::OneWay { from: node, .. } => *node,
                Fault::KillAll | Fault::PowerCutAll => 0,
            };
            let nodes: Vec<_> = spell.faults.iter().map(node).collect();
            assert!(nodes[0] != nodes[1] || nodes[0] == 0, "{spell:?}");
        }
    }
}

//! Does to the nodes what was drawn, and undoes it. It draws nothing and judges nothing; that a node ends although
//! nobody killed it is an error here.

use std::fs::File;
use std::io::{ErrorKind, Seek, SeekFrom, Write};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::faults::{Fault, Spell};
use crate::node::Node;
use crate::place::{CLIENTS, Cuts, Place};
use crate::run::Options;

/// How often a flapping link changes.
const FLAP: Duration = Duration::from_millis(300);
/// How often it is looked whether all is as it should be.
const TICK: Duration = Duration::from_millis(50);

/// The cluster in its place, and who torments it.
#[derive(Debug)]
pub struct Nemesis {
    place: Place,
    nodes: Vec<Node>,
    binary: PathBuf,
    cuts: Cuts,
    fillers: Vec<PathBuf>,
}

impl Nemesis {
    /// Starts all nodes at once, as an operator with so many terminals does.
    pub fn start(place: Place, options: &Options) -> Result<Nemesis> {
        let Options { nodes, dir, binary, settings, .. } = options;
        let made = (1..=*nodes).map(|id| Node::new(id, *nodes, &place, dir, settings));
        let nodes = made.collect::<Result<Vec<Node>>>()?;
        let (cuts, fillers) = (Cuts::default(), Vec::new());
        let mut nemesis = Nemesis { place, nodes, binary: binary.clone(), cuts, fillers };
        nemesis.start_all()?;
        Ok(nemesis)
    }

    /// The nodes as they are.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// An error if a node has ended by itself.
    pub fn ensure_alive(&mut self) -> Result<()> {
        self.nodes.iter_mut().try_for_each(Node::ensure_alive)
    }

    /// Lets a spell happen, and its calm; `look` sees the nodes at every tick.
    pub fn suffer(&mut self, spell: &Spell, mut look: impl FnMut(&[Node])) -> Result<()> {
        for fault in &spell.faults {
            self.begin(fault)?;
        }
        let flaps = spell.faults.iter().any(|fault| matches!(fault, Fault::Flap(_)));
        let began = Instant::now();
        while began.elapsed() < spell.lasts {
            if flaps {
                self.flap(spell, began.elapsed())?;
            }
            self.ensure_alive()?;
            look(&self.nodes);
            std::thread::sleep(TICK);
        }
        self.heal()?;
        self.rest(spell.calm, look)
    }

    /// Nothing happens for a while.
    pub fn rest(&mut self, calm: Duration, mut look: impl FnMut(&[Node])) -> Result<()> {
        let began = Instant::now();
        while began.elapsed() < calm {
            self.ensure_alive()?;
            look(&self.nodes);
            std::thread::sleep(TICK);
        }
        Ok(())
    }

    /// Nothing is wrong any more: all run, all can be reached, all have room.
    pub fn heal(&mut self) -> Result<()> {
        self.cut(Cuts::default())?;
        for filler in self.fillers.drain(..) {
            match std::fs::remove_file(&filler) {
                // A power cut took it.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                removed => removed.with_context(|| format!("removing {}", filler.display()))?,
            }
        }
        for node in &mut self.nodes {
            node.pause(false)?;
        }
        self.start_all()
    }

    /// SIGTERM to one after the other.
    pub fn stop_all(&mut self) -> Result<()> {
        self.nodes.iter_mut().try_for_each(Node::stop)
    }

    fn start_all(&mut self) -> Result<()> {
        let (place, binary) = (&self.place, &self.binary);
        self.nodes.iter_mut().try_for_each(|node| node.start(place, binary))
    }

    fn begin(&mut self, fault: &Fault) -> Result<()> {
        match fault {
            Fault::Kill(node) => self.node(*node)?.kill(),
            Fault::KillAll => self.nodes.iter_mut().try_for_each(Node::kill),
            Fault::Restart(node) => self.node(*node)?.stop(),
            Fault::Pause(node) => self.node(*node)?.pause(true),
            Fault::FillDisk(node) => self.fill(*node),
            Fault::PowerCut(node) => self.cut_power(*node..=*node),
            Fault::PowerCutAll => self.cut_power(1..=self.nodes.len()),
            Fault::Isolate { .. }
            | Fault::OneWay { .. }
            | Fault::Flap(_)
            | Fault::Loss { .. }
            | Fault::Delay { .. } => {
                let mut cuts = self.cuts.clone();
                self.add(&mut cuts, fault);
                self.cut(cuts)
            }
        }
    }

    /// All of them stop at once, before the first disk comes back.
    fn cut_power(&mut self, nodes: RangeInclusive<usize>) -> Result<()> {
        for id in nodes.clone() {
            self.node(id)?.kill()?;
        }
        // What fills a disk was synced, or it goes, too.
        nodes.into_iter().try_for_each(|id| self.place.cut_power(id))
    }

    fn node(&mut self, id: usize) -> Result<&mut Node> {
        self.nodes.iter_mut().find(|node| node.id == id).with_context(|| format!("there is no node {id}"))
    }

    fn add(&self, cuts: &mut Cuts, fault: &Fault) {
        match fault {
            Fault::Isolate { node, from_clients } => {
                let peers = (1..=self.nodes.len()).chain(from_clients.then_some(CLIENTS));
                for other in peers.filter(|other| other != node) {
                    cuts.dropped.extend([(*node, other), (other, *node)]);
                }
            }
            Fault::Flap(node) => self.add(cuts, &Fault::Isolate { node: *node, from_clients: false }),
            Fault::OneWay { from, to } => cuts.dropped.extend([(*from, *to)]),
            Fault::Loss { node, percent } => cuts.lost_percent.extend([(*node, *percent)]),
            Fault::Delay { node, ms } => cuts.delay_ms.extend([(*node, *ms)]),
            _ => {}
        }
    }

    fn cut(&mut self, cuts: Cuts) -> Result<()> {
        self.place.cut(cuts.clone())?;
        self.cuts = cuts;
        Ok(())
    }

    /// The link of a flapping node is there in every second stretch.
    fn flap(&mut self, spell: &Spell, since: Duration) -> Result<()> {
        let is_down = (since.as_millis() / FLAP.as_millis()).is_multiple_of(2);
        let mut cuts = Cuts::default();
        for fault in spell.faults.iter().filter(|fault| is_down || !matches!(fault, Fault::Flap(_))) {
            self.add(&mut cuts, fault);
        }
        self.cut(cuts)
    }

    /// Takes all the room there is on a node's disk.
    fn fill(&mut self, node: usize) -> Result<()> {
        let path = self.place.disk(node).join("filler");
        let free = rustix::fs::statvfs(self.place.disk(node))?;
        let mut file = File::create(&path)?;
        // What is refused here is what was wanted: there is no more room.
        let _ = rustix::fs::fallocate(
            &file,
            rustix::fs::FallocateFlags::empty(),
            0,
            free.f_bavail.saturating_mul(free.f_frsize).max(1),
        );
        file.seek(SeekFrom::End(0))?;
        let crumbs = vec![0u8; 4096];
        while file.write_all(&crumbs).and_then(|()| file.sync_data()).is_ok() {}
        self.fillers.push(path);
        Ok(())
    }
}

//! The nodes of one cluster as processes: started with one command each on empty directories, killed, stopped and started
//! again by their node ids. It judges nothing; every process is ended by its own id.
//! Called by `cluster`.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::server::{Kind, Server, Setup, free_ports};

/// Nodes 1 to 3.
#[derive(Debug)]
pub struct Nodes(Vec<Server>);

impl Nodes {
    /// Starts all of them at the same time, below `dir`; returns once each serves.
    pub fn start(dir: &Path, settings: &[(&str, &str)]) -> Result<Nodes> {
        let ports = free_ports(6)?;
        let (kafka, controllers) = ports.split_at(3);
        let listed: Vec<String> = controllers.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        let setups = kafka.iter().zip(controllers).enumerate().map(|(place, (kafka, controller))| {
            let node = place + 1;
            let listeners = format!("PLAINTEXT://127.0.0.1:{kafka},CONTROLLER://127.0.0.1:{controller}");
            let setup = Setup::new(Kind::Odradek, dir.join(format!("node{node}")))
                .set("node.id", node)
                .set("listeners", listeners)
                .set("controller.listener.names", "CONTROLLER")
                .set("controller.quorum.bootstrap.servers", listed.join(","))
                .set("offsets.topic.replication.factor", 3)
                .set("default.replication.factor", 3)
                .set("min.insync.replicas", 2);
            settings.iter().fold(setup, |setup, (key, value)| setup.set(key, value))
        });
        let starting: Vec<_> = setups.map(|setup| thread::spawn(|| Server::start(setup))).collect();
        let started = starting.into_iter().map(|one| {
            one.join().map_err(|_| anyhow::anyhow!("the thread that starts a node has panicked"))?
        });
        Ok(Nodes(started.collect::<Result<_>>()?))
    }

    /// Where clients begin: all nodes.
    pub fn bootstrap(&self) -> String {
        self.0.iter().map(Server::bootstrap).collect::<Vec<_>>().join(",")
    }

    /// The node of this id.
    pub fn node(&mut self, id: u64) -> Result<&mut Server> {
        let place = usize::try_from(id)?.checked_sub(1).context("there is no node 0")?;
        self.0.get_mut(place).with_context(|| format!("there is no node {id}"))
    }

    /// SIGKILL.
    pub fn kill(&mut self, id: u64) -> Result<()> {
        self.node(id)?.kill()
    }

    /// SIGTERM, and waits for the end; how long that took.
    pub fn stop(&mut self, id: u64) -> Result<Duration> {
        let asked = Instant::now();
        let node = self.node(id)?;
        let status = node.stop()?;
        ensure!(status.success(), "node {id} ended with {status}: {}", node.last_words());
        Ok(asked.elapsed())
    }

    /// Starts it where it was; returns when it serves.
    pub fn start_again(&mut self, id: u64) -> Result<Duration> {
        self.node(id)?.start_again()
    }
}

//! The nodes of one cluster as processes: started with one command each on empty directories, killed, stopped and started
//! again by their node ids. It judges nothing; every process is ended by its own id.
//! Called by `cluster` and by `bench`.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::server::{Kind, Server, Setup, free_port, free_ports};

/// Each node is in a rack of its own, which is called so and by its id.
pub const RACK: &str = "RACK";

/// What lets clients read in their own rack.
pub const READ_IN_OWN_RACK: (&str, &str) =
    ("replica.selector.class", "org.apache.kafka.common.replica.RackAwareReplicaSelector");

/// Nodes 1 to 3 and those that joined them, or one alone.
#[derive(Debug)]
pub struct Nodes {
    servers: Vec<Server>,
    /// What the next one is started with, but for its id and its listeners.
    next: Option<Setup>,
}

impl Nodes {
    /// Starts all of them at the same time, below `dir`; returns once each serves.
    pub fn start(kind: &Kind, dir: &Path, settings: &[(&str, &str)]) -> Result<Nodes> {
        let ports = free_ports(6)?;
        let (kafka, controllers) = ports.split_at(3);
        let listed: Vec<String> = controllers.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        let voters: Vec<String> =
            (1..).zip(&listed).map(|(node, address)| format!("{node}@{address}")).collect();
        let common = Setup::new(kind.clone(), dir.to_owned())
            .set("controller.listener.names", "CONTROLLER")
            .set("offsets.topic.replication.factor", 3)
            .set("transaction.state.log.replication.factor", 3)
            .set("transaction.state.log.min.isr", 2)
            .set("default.replication.factor", 3)
            .set("min.insync.replicas", 2);
        // A directory of Apache Kafka is formatted with its voters.
        let common = match kind {
            Kind::Kafka => common.set("controller.quorum.voters", voters.join(",")),
            _ => common.set("controller.quorum.bootstrap.servers", listed.join(",")),
        };
        let common = settings.iter().fold(common, |setup, (key, value)| setup.set(key, value));
        let setups = (1..).zip(kafka.iter().zip(controllers)).map(|(node, (kafka, controller))| {
            let listener = format!("PLAINTEXT://127.0.0.1:{kafka}");
            member(&common, node)
                .set("listeners", format!("{listener},CONTROLLER://127.0.0.1:{controller}"))
                .set("advertised.listeners", listener)
        });
        let starting: Vec<_> = setups.map(|setup| thread::spawn(|| Server::start(setup))).collect();
        let started = starting.into_iter().map(|one| {
            one.join().map_err(|_| anyhow::anyhow!("the thread that starts a node has panicked"))?
        });
        Ok(Nodes { servers: started.collect::<Result<_>>()?, next: Some(common) })
    }

    /// One more, with the next id, that only keeps partitions; returns once it serves.
    pub fn join(&mut self, id: u64) -> Result<()> {
        let listener = format!("PLAINTEXT://127.0.0.1:{}", free_port()?);
        let setup = self.setup_of_next(id)?.set("process.roles", "broker").set("listeners", &listener);
        self.servers.push(Server::start(setup.set("advertised.listeners", listener))?);
        Ok(())
    }

    /// One more, with the next id, that keeps partitions and is a controller without a vote; returns once it serves.
    pub fn join_as_controller(&mut self, id: u64) -> Result<()> {
        let [kafka, controller] = free_ports(2)?.try_into().map_err(|_| anyhow::anyhow!("two ports"))?;
        let listener = format!("PLAINTEXT://127.0.0.1:{kafka}");
        let setup = self
            .setup_of_next(id)?
            .set("listeners", format!("{listener},CONTROLLER://127.0.0.1:{controller}"))
            .set("advertised.listeners", listener);
        self.servers.push(Server::start(setup)?);
        Ok(())
    }

    fn setup_of_next(&self, id: u64) -> Result<Setup> {
        let common = self.next.as_ref().context("one that is alone is joined by nobody")?;
        ensure!(usize::try_from(id)? == self.servers.len() + 1, "node {id} is not the next");
        Ok(member(common, id))
    }

    /// One that is alone.
    pub fn alone(server: Server) -> Nodes {
        Nodes { servers: vec![server], next: None }
    }

    /// All of them in the order of their ids.
    pub fn servers(&self) -> &[Server] {
        &self.servers
    }

    /// The same, to do something with them.
    pub fn servers_mut(&mut self) -> &mut [Server] {
        &mut self.servers
    }

    /// Where clients begin: all nodes.
    pub fn bootstrap(&self) -> String {
        self.servers.iter().map(Server::bootstrap).collect::<Vec<_>>().join(",")
    }

    /// The node of this id.
    pub fn node(&mut self, id: u64) -> Result<&mut Server> {
        let place = usize::try_from(id)?.checked_sub(1).context("there is no node 0")?;
        self.servers.get_mut(place).with_context(|| format!("there is no node {id}"))
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

fn member(common: &Setup, node: u64) -> Setup {
    let own = Setup { dir: common.dir.join(format!("node{node}")), ..common.clone() };
    own.set("node.id", node).set("broker.rack", format!("{RACK}{node}"))
}

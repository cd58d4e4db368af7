//! `odradek dev`: everything on this machine, without configuration.

use super::serve;
use anyhow::Context;
use clap::Args;
use node::{Greeting, Layers, Settings};
use std::path::{Path, PathBuf};

/// Run everything on this machine, without configuration.
#[derive(Debug, Args)]
pub(crate) struct Dev {
    /// Where the data lives
    #[arg(long, value_name = "DIR", default_value = "./odradek-data")]
    data_dir: PathBuf,
    /// Keep the data in memory only; it is gone when the node stops
    #[arg(long, conflicts_with = "data_dir")]
    memory: bool,
    /// Where Kafka clients connect
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9092")]
    listen: String,
    /// Where keys of topics are served as streams over HTTP; empty for nowhere
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8080")]
    gateway: String,
    /// Where keys of topics are served over MQTT; empty for nowhere
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:1883")]
    mqtt: String,
    /// Where the private HTTP port listens
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9644")]
    http: String,
    /// Set a configuration key; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
}

pub(crate) fn run(dev: Dev) -> anyhow::Result<()> {
    let memory = dev.memory.then(MemoryDir::new).transpose()?;
    let data_dir = memory.as_ref().map_or(dev.data_dir.as_path(), |memory| &memory.path);
    let mut layers = Layers::default();
    layers.read_environment(std::env::vars());
    layers.set("log.dirs", &data_dir.to_string_lossy());
    layers.set("listeners", &format!("PLAINTEXT://{}", dev.listen));
    layers.set("odradek.http.listener", &dev.http);
    let gateway = Some(&dev.gateway).filter(|address| !address.is_empty());
    layers.set(
        "odradek.gateway.listeners",
        &gateway.map_or(String::new(), |address| format!("HTTP://{address}")),
    );
    let mqtt = Some(&dev.mqtt).filter(|address| !address.is_empty());
    layers.set(
        "odradek.gateway.mqtt.listeners",
        &mqtt.map_or(String::new(), |address| format!("MQTT://{address}")),
    );
    // A developer's own pages, whatever serves them.
    layers.default_to("odradek.gateway.cors.origins", "loopback");
    if dev.memory {
        layers.default_to("odradek.ack.durability", "page-cache");
    }
    // One developer's groups are complete at once.
    layers.default_to("group.initial.rebalance.delay.ms", "0");
    layers.default_to("offsets.topic.replication.factor", "1");
    serve::set(&mut layers, &dev.set)?;
    let shown = data_dir.to_owned();
    node::run(Settings::new(layers)?, move |greeting| welcome(greeting, &shown))?;
    Ok(())
}

fn welcome(greeting: &Greeting, data_dir: &Path) {
    serve::announce(greeting);
    let Some((_, kafka)) = greeting.listeners.first() else { return };
    println!(
        "
data in {}; stop with Ctrl-C

try it:
  echo alice:hello | odradek produce greetings -K : --bootstrap {kafka}
  odradek consume greetings -o beginning -e --bootstrap {kafka}
  kcat -b {kafka} -t greetings -C -e
  kafka-topics.sh --bootstrap-server {kafka} --list",
        data_dir.display()
    );
    if let Some((_, gateway)) = greeting.gateway.first() {
        println!("  curl http://{gateway}/s/greetings/alice");
    }
    if let Some((_, mqtt)) = greeting.mqtt.first() {
        println!("  mosquitto_sub -h {} -p {} -t 'greetings/#' -v", mqtt.ip(), mqtt.port());
    }
    if let Some(http) = greeting.http {
        println!("  curl http://{http}/healthz");
    }
}

/// A directory in memory that goes with the process.
struct MemoryDir {
    path: PathBuf,
}

impl MemoryDir {
    fn new() -> anyhow::Result<Self> {
        let shared = Path::new("/dev/shm");
        let parent = if shared.is_dir() { shared.to_owned() } else { std::env::temp_dir() };
        let path = parent.join(format!("odradek-{}", std::process::id()));
        let disk = node::system::world().disk;
        disk.create_dir_all(&path).with_context(|| format!("{} cannot be created", path.display()))?;
        Ok(Self { path })
    }
}

impl Drop for MemoryDir {
    fn drop(&mut self) {
        let _ = node::system::world().disk.remove_dir_all(&self.path);
    }
}

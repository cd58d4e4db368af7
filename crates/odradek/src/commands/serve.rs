//! `odradek serve`: a node as the configuration says.

use anyhow::Context;
use clap::Args;
use node::{Greeting, Layers, Settings};
use std::path::PathBuf;

/// Run a node as its configuration says.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// A file of configuration: Kafka's server.properties form, or TOML if its name ends in .toml
    #[arg(long, short)]
    config: Option<PathBuf>,
    /// Set a key over the file and the environment; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
}

pub(crate) fn run(serve: Serve) -> anyhow::Result<()> {
    let mut layers = Layers::default();
    if let Some(file) = &serve.config {
        layers.read_file(&*node::system::world().disk, file)?;
    }
    layers.read_environment(std::env::vars());
    set(&mut layers, &serve.set)?;
    node::run(Settings::new(layers)?, announce)?;
    Ok(())
}

/// The layer of the command line.
pub(crate) fn set(layers: &mut Layers, pairs: &[String]) -> anyhow::Result<()> {
    for pair in pairs {
        let (key, value) = pair.split_once('=').with_context(|| format!("--set {pair} must be KEY=VALUE"))?;
        layers.set(key.trim(), value.trim());
    }
    Ok(())
}

/// One line for each address, for people and for programs that wait for the node.
pub(crate) fn announce(greeting: &Greeting) {
    for (name, address) in &greeting.listeners {
        println!("listening {name} {address}");
    }
    for (name, address) in &greeting.gateway {
        println!("listening gateway {name} {address}");
    }
    for (name, address) in &greeting.mqtt {
        println!("listening gateway {name} {address}");
    }
    if let Some(address) = greeting.http {
        println!("listening HTTP {address}");
    }
}

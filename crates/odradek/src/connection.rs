//! How the commands reach a cluster: where it is, a runtime to wait on, and sockets for the client.
//!
//! It is nothing for `dev` and `serve`, which are the cluster themselves.

use clap::Args;
use client::{Client, Config, Connect};
use env::{BoxFuture, Connection};
use std::{io, sync::Arc};

/// Where a broker is looked for when nobody says otherwise.
const BOOTSTRAP: &str = "127.0.0.1:9092";
const BOOTSTRAP_VARIABLE: &str = "ODRADEK_BOOTSTRAP";

/// Which cluster a command speaks with.
#[derive(Debug, Clone, Args)]
pub(crate) struct ClusterArgs {
    /// Brokers to begin with [default: $ODRADEK_BOOTSTRAP or 127.0.0.1:9092]
    #[arg(short = 'b', long, value_name = "HOST:PORT,...", global = true)]
    bootstrap: Option<String>,
}

impl ClusterArgs {
    /// The addresses, in order.
    pub(crate) fn addresses(&self) -> Vec<String> {
        let given = self.bootstrap.clone().or_else(|| std::env::var(BOOTSTRAP_VARIABLE).ok());
        let given = given.unwrap_or_else(|| BOOTSTRAP.into());
        let port = |addr: &str| if addr.contains(':') { addr.to_owned() } else { format!("{addr}:9092") };
        given.split(',').map(str::trim).filter(|addr| !addr.is_empty()).map(port).collect()
    }

    /// A client of the cluster.
    pub(crate) async fn connect(&self) -> Result<Client, client::Error> {
        Client::connect(node::system::world(), Arc::new(Tcp), Config::new(self.addresses())).await
    }
}

/// Runs a command that waits. Two threads: one may be blocked on a slow terminal while the client works.
pub(crate) fn block_on<T>(command: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let outcome = runtime.block_on(command);
    // What is still under way has nobody who waits for it.
    runtime.shutdown_background();
    outcome
}

struct Tcp;

impl Connect for Tcp {
    fn connect<'a>(&'a self, addr: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Connection>>> {
        Box::pin(async move { Ok(Box::new(node::system::connect(addr).await?) as Box<dyn Connection>) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_separated_by_commas_and_get_kafkas_port() {
        let args = ClusterArgs { bootstrap: Some("a:1, b ,,[::1]:3".into()) };
        assert_eq!(args.addresses(), ["a:1", "b:9092", "[::1]:3"]);
    }
}

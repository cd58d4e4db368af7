//! Listeners for MQTT: they accept sockets and hand them to `mqtt_host`, which serves them (docs/mqtt.md).

use crate::{
    Error,
    listeners::{Listener, pause},
    public_http::Tokens,
    settings::{Gateway, MQTT_LISTENERS},
    system,
};
use env::{BoxFuture, Connection, World};
use gateway::{Caller, Mailboxes};
use model::NodeId;
use mqtt::session::Config as SessionConfig;
use mqtt_host::{Access, ClusterLog, Config, Host};
use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

/// Sessions that a node looks after, with connections or without.
const SESSIONS_MAX: usize = 100_000;

/// Opens the listeners.
pub(crate) fn bind(settings: &Gateway) -> Result<Vec<Listener>, Error> {
    settings.mqtt_listeners.iter().map(|listener| listener.bind_for(MQTT_LISTENERS)).collect()
}

/// Serves until the node stops. `kafka` is where this node's own clients reach it, `files_max` how many connections there may be.
pub(crate) fn serve(
    listeners: Vec<Listener>,
    (node, kafka, files_max): (NodeId, Option<SocketAddr>, usize),
    settings: &Gateway,
    (world, mailboxes, tokens): (&World, Arc<dyn Mailboxes>, Arc<Tokens>),
) -> Result<Option<Arc<Host>>, Error> {
    let Some(kafka) = kafka.filter(|_| !listeners.is_empty()) else { return Ok(None) };
    let log = ClusterLog::new(world.clone(), mailboxes, Arc::new(Tcp), reached(kafka).to_string());
    let config = Config {
        node,
        session: SessionConfig { has_shared: false, ..SessionConfig::STANDARD },
        connections_max: files_max.min(settings.mqtt_connections_max as usize).max(1),
        address_connections_max: settings.trust.limits.connections_max as usize,
        sessions_max: SESSIONS_MAX,
    };
    let host = Host::new(config, world.clone(), Arc::new(log), Arc::new(Known(tokens)))
        .map_err(|error| Error::Configuration(vec![error.to_string()]))?;
    host.start();
    for listener in listeners {
        world.tasks.spawn(Box::pin(accept(listener, host.clone(), world.clone())));
    }
    Ok(Some(host))
}

/// A listener on all addresses is reached on the loopback.
fn reached(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

async fn accept(listener: Listener, host: Arc<Host>, world: World) {
    loop {
        match listener.listener.accept().await {
            Ok((stream, from)) => {
                let _ = stream.set_nodelay(true);
                world.tasks.spawn(Box::pin(host.clone().serve(Box::new(stream), from.ip())));
            }
            Err(error) => {
                tracing::warn!(listener = %listener.name, %error, "a connection could not be accepted; see ulimit -n");
                pause().await;
            }
        }
    }
}

/// The keys and rules of tokens that HTTP has, too.
struct Known(Arc<Tokens>);

impl Access for Known {
    fn caller(&self, token: Option<&str>, now_ms: i64) -> Result<Option<Arc<Caller>>, String> {
        self.0.caller(token, now_ms).map_err(|problem| problem.detail)
    }
}

struct Tcp;

impl client::Connect for Tcp {
    fn connect<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Connection>>> {
        Box::pin(async move { Ok(Box::new(system::connect(address).await?) as Box<dyn Connection>) })
    }
}

//! A node from its start to its end.

use crate::{
    Error, Settings, http, limits, listeners, logging, mqtt, public_http, settings::Gateway, system,
};
use broker::{Broker, Config, Door};
use env::World;
use gateway::Mailboxes;
use model::NodeId;
use public_http::PublicHttp;
use std::{io, net::SocketAddr, sync::Arc};
use tokio::signal::unix::{SignalKind, signal};

/// What a node tells when it is ready.
pub struct Greeting {
    /// Kafka listeners: name and address.
    pub listeners: Vec<(String, SocketAddr)>,
    /// Where streams of keys are served over HTTP.
    pub gateway: Vec<(String, SocketAddr)>,
    /// Where MQTT is served.
    pub mqtt: Vec<(String, SocketAddr)>,
    /// The private HTTP port.
    pub http: Option<SocketAddr>,
}

/// Open files that connections leave over, whatever the system allows.
const FILES_FOR_SEGMENTS_MIN: usize = 128;
/// ... and what is enough for any number of partitions, since idle ones close theirs.
const FILES_FOR_SEGMENTS_MAX: usize = 8192;

/// Runs a node until SIGTERM or SIGINT. `greet` is called once it serves.
pub fn run(settings: Settings, greet: impl FnOnce(&Greeting)) -> Result<(), Error> {
    let log_levels = logging::start();
    limits::keep_pages_small();
    let open_files_max = limits::raise_open_files();
    let system = |what| move |error| Error::System { what, error };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(system("the threads of the reactor could not be started"))?;
    runtime.block_on(serve(settings, (log_levels, open_files_max), greet))
}

async fn serve(
    settings: Settings,
    (log_levels, open_files_max): (Arc<logging::Levels>, usize),
    greet: impl FnOnce(&Greeting),
) -> Result<(), Error> {
    let world = system::world();
    let signals =
        |kind| signal(kind).map_err(|error| Error::System { what: "signals cannot be received", error });
    let (mut terminate, mut interrupt) =
        (signals(SignalKind::terminate())?, signals(SignalKind::interrupt())?);
    let listeners =
        settings.listeners.iter().map(|listener| listener.bind()).collect::<Result<Vec<_>, _>>()?;
    let own = settings.controllers.listeners.iter().map(|listener| listener.bind());
    let own = own.collect::<Result<Vec<_>, _>>()?;
    let http = settings.http.map(bind_http).transpose()?;
    let files = public_http::open(&settings.gateway, world.disk.as_ref())?;
    let public = public_http::bind(&settings.gateway)?;
    let for_mqtt = mqtt::bind(&settings.gateway)?;
    let kafka = listeners.first().map(|listener| listener.address);
    let endpoints = endpoints(&listeners, &public, &settings.advertised);
    let reached = own.iter().map(|listener| listener.controller_endpoint(&settings.advertised)).collect();
    let mut config = Config::new(settings.node_id, settings.dirs.metadata, endpoints, settings.statics);
    config.log_dirs = settings.dirs.logs;
    config.is_broker = settings.is_broker;
    config.is_controller = settings.controllers.is_one;
    config.controllers = settings.controllers.listed;
    config.controller_listeners = settings.controllers.names;
    config.controller_endpoints = reached;
    doubt_names(&world, &config);
    config.log_levels = log_levels;
    let gateways = usize::from(!public.is_empty()) + usize::from(!for_mqtt.is_empty());
    let (for_kafka, for_public) = shares(open_files_max, config.connections_max, gateways);
    config.connections_max = for_kafka;
    let door = Door::new();
    // The others must reach this node's controller before it can start.
    for listener in own {
        world.tasks.spawn(Box::pin(listener.accept(door.clone(), world.tasks.clone())));
    }
    let starting = Broker::start(config, world.clone(), Arc::new(system::RealNetwork), &door);
    let broker = tokio::select! {
        biased;
        started = starting => started?,
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    let greeting = Greeting {
        listeners: told(&listeners),
        gateway: told(&public),
        mqtt: told(&for_mqtt),
        http: http.as_ref().and_then(|listener| listener.local_addr().ok()),
    };
    for listener in listeners {
        world.tasks.spawn(Box::pin(listener.accept(door.clone(), world.tasks.clone())));
    }
    if let Some(listener) = http {
        world.tasks.spawn(Box::pin(http::serve(listener, broker.clone(), world.tasks.clone())));
    }
    let served = (settings.node_id, kafka, for_public);
    let on = (&world, broker.mailboxes());
    let (streams, phones) = serve_gateway(on, (&settings.gateway, files), (public, for_mqtt), served)?;
    greet(&greeting);
    let ended = tokio::select! {
        biased;
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
        why = broker.until_unsupported() => Err(broker::StartError::Unsupported(why).into()),
    };
    stop((&broker, &streams, phones.as_ref()), &mut interrupt).await;
    ended
}

/// Serves streams over HTTP and MQTT, where somebody listens for them. `served`: who this node is, where its own clients reach it, and
/// how many connections each may have.
fn serve_gateway(
    (world, mailboxes): (&World, Arc<dyn Mailboxes>),
    (settings, files): (&Gateway, public_http::Trusted),
    (public, for_mqtt): (Vec<listeners::Listener>, Vec<listeners::Listener>),
    served: (NodeId, Option<SocketAddr>, usize),
) -> Result<(Arc<PublicHttp>, Option<Arc<mqtt_host::Host>>), Error> {
    let keys = files.0.clone();
    let streams = PublicHttp::new(mailboxes.clone(), world, settings, files, served.2).map_err(|error| {
        Error::System { what: "connections that follow streams cannot be waited for", error }
    })?;
    if public.is_empty() && !for_mqtt.is_empty() {
        streams.follow_only_keys();
    }
    streams.listen(public);
    let phones = mqtt::serve(for_mqtt, served, settings, (world, mailboxes, keys))?;
    Ok((streams, phones))
}

/// How many connections of Kafka's clients may be open, and how many to each of so many gateways (the public HTTP port, MQTT): half, or
/// what Kafka's clients leave that are allowed fewer. Some files stay for segments: a crowd of clients must not keep logs from being written.
fn shares(open_files_max: usize, kafka_max: usize, gateways: usize) -> (usize, usize) {
    let for_segments = (open_files_max / 2).clamp(FILES_FOR_SEGMENTS_MIN, FILES_FOR_SEGMENTS_MAX);
    let for_connections = open_files_max.saturating_sub(for_segments);
    let for_kafka = kafka_max.min(if gateways > 0 { for_connections / 2 } else { for_connections });
    let for_each = (for_connections - for_kafka).checked_div(gateways).unwrap_or(0);
    (for_kafka, for_each)
}

/// What clients and other nodes are told to connect to.
fn endpoints(
    kafka: &[listeners::Listener],
    public: &[listeners::Listener],
    advertised: &[listeners::ListenerAddress],
) -> Vec<metadata::Endpoint> {
    let kafka = kafka.iter().map(|listener| listener.endpoint(advertised));
    // Last: where a listener of a name is not there, the first one is taken.
    kafka.chain(public_http::endpoint(public)).collect()
}

fn told(all: &[listeners::Listener]) -> Vec<(String, SocketAddr)> {
    all.iter().map(|listener| (listener.name.clone(), listener.address)).collect()
}

/// Says which of the names that others are told have no address here; a resolver may take its time.
fn doubt_names(world: &World, config: &Config) {
    let own =
        config.controller_endpoints.iter().map(|told| (told.name.clone(), told.host.clone(), told.port));
    let told = config.endpoints.iter().map(|told| (told.name.clone(), told.host.clone(), told.port));
    for (name, host, port) in own.chain(told) {
        world.tasks.spawn(Box::pin(async move {
            if let Some(why) = listeners::unresolved(&name, &host, port).await {
                tracing::warn!("{why}");
            }
        }));
    }
}

async fn stop(
    (broker, streams, phones): (&Arc<Broker>, &PublicHttp, Option<&Arc<mqtt_host::Host>>),
    interrupt: &mut tokio::signal::unix::Signal,
) {
    let stopping = async {
        // What is being answered there needs the broker.
        if let Some(phones) = phones {
            phones.stop().await;
        }
        streams.drain().await;
        broker.stop().await;
    };
    tokio::select! {
        biased;
        () = stopping => {}
        _ = interrupt.recv() => tracing::warn!("interrupted while stopping; the next start will check the logs"),
    }
}

fn bind_http(address: SocketAddr) -> Result<tokio::net::TcpListener, Error> {
    system::bind(address).map_err(|error: io::Error| Error::Listen {
        name: "the private HTTP port".into(),
        address,
        error,
        key: "odradek.http.listener",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_get_what_kafkas_clients_leave_of_the_files() {
        assert_eq!(shares(20_000, usize::MAX, 0), (11_808, 0));
        assert_eq!(shares(20_000, usize::MAX, 1), (5_904, 5_904));
        assert_eq!(shares(20_000, 100, 1), (100, 11_708));
        assert_eq!(shares(20_000, usize::MAX, 2), (5_904, 2_952));
        assert_eq!(shares(1024, 1000, 0), (512, 0));
        assert_eq!(shares(100, usize::MAX, 1), (0, 0), "segments come first");
    }
}

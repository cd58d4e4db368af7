//! The metrics that clients push (KIP-714): what the newest image wants of them, and what they have told.
//!
//! It decides nothing, `telemetry` does. Whoever shows the node's metrics asks [`Broker::client_metrics`].

use crate::{Broker, context::Context};
use metadata::{
    Image,
    config::{ClientMatch, Configs, ResourceKind},
};
use model::limits;
use parking_lot::Mutex;
use stdx::Uuid;
use telemetry::{Bounds, Clients, Person, Subscription};

/// See the head of the file.
pub(crate) struct ClientMetrics {
    /// `telemetry.max.bytes`
    pub(crate) bytes_max: i32,
    pub(crate) clients: Mutex<Clients>,
}

/// A value that a client has pushed.
#[derive(Debug, Clone, PartialEq)]
pub struct ClientMetric {
    /// The client instance.
    pub instance: Uuid,
    /// What the client calls itself.
    pub client_id: String,
    /// The metric.
    pub name: String,
    /// Its labels.
    pub labels: Vec<(String, String)>,
    /// The newest value.
    pub value: f64,
}

impl ClientMetrics {
    /// Nothing is wanted yet.
    pub(crate) fn new(bytes_max: i64) -> Self {
        let bytes_max = i32::try_from(bytes_max).unwrap_or(i32::MAX).max(1);
        let bounds = Bounds {
            push_bytes_max: bytes_max as usize,
            instances_max: limits::TELEMETRY_INSTANCES_MAX,
            series_max: limits::TELEMETRY_SERIES_MAX,
            series_bytes_max: limits::TELEMETRY_BYTES_MAX,
        };
        Self { bytes_max, clients: Mutex::new(Clients::new(bounds)) }
    }

    /// Takes over what the image wants, if `before` has not wanted the same.
    pub(crate) fn configure(&self, before: Option<&Image>, configs: Configs<'_>) {
        let wanted = |image: &Image| {
            let all = image.overridden(ResourceKind::ClientMetrics);
            all.map(|(name, overrides)| (name.to_owned(), overrides.clone())).collect::<Vec<_>>()
        };
        let after = wanted(configs.image);
        if before.map_or(after.is_empty(), |before| wanted(before) == after) {
            return;
        }
        let subscriptions = after.iter().filter_map(|(name, _)| subscription(configs, name)).collect();
        self.clients.lock().subscribe(subscriptions);
    }
}

fn subscription(configs: Configs<'_>, name: &str) -> Option<Subscription> {
    let resource = configs.client_metrics(name);
    let patterns = resource.list("match");
    match ClientMatch::parse(patterns.iter().map(String::as_str)) {
        Ok(clients) => {
            let interval_ms = i32::try_from(resource.integer("interval.ms")).unwrap_or(i32::MAX);
            Some(Subscription { metrics: resource.list("metrics"), interval_ms, clients })
        }
        Err(why) => {
            tracing::warn!(name, %why, "a client metrics subscription cannot be understood and means nobody");
            None
        }
    }
}

/// Who asks.
pub(crate) fn person(context: &Context) -> Person {
    Person {
        // One that says nothing says "", as in Kafka.
        client_id: Some(context.client_id.clone().unwrap_or_default()),
        software: context.client.software().cloned(),
        address: context.address.ip().to_canonical().to_string(),
        port: context.address.port().to_string(),
    }
}

impl Broker {
    /// The newest values that clients have pushed.
    pub fn client_metrics(&self) -> Vec<ClientMetric> {
        let mut clients = self.client_metrics.clients.lock();
        clients.expire(self.world.clock.now() / 1_000_000);
        let shown = clients.values().map(|(instance, person, seen)| ClientMetric {
            instance,
            client_id: person.client_id.clone().unwrap_or_default(),
            name: seen.name.to_owned(),
            labels: seen.labels.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect(),
            value: seen.value,
        });
        shown.collect()
    }

    /// How many client instances are known.
    pub fn client_instance_count(&self) -> usize {
        self.client_metrics.clients.lock().count()
    }
}

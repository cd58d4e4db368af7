//! The quotas of clients, put into force: what the newest image says of them, what each client has done, and for how long
//! it is held back (KIP-13, KIP-124, KIP-219, KIP-599, KIP-612).
//!
//! It decides nothing: rates and whose quota counts are in `quotas`. While no quota of a kind is set, asking costs one load.
//!
//! What counts as a request's time is what the reactor's threads, and workers in their place, spend on it, decoding and
//! encoding included, as Kafka counts its network and I/O threads; 100 percent is one thread.

use crate::{Broker, context::Context};
use metadata::{
    Error, Image, Permits, Reply, Request,
    client_quota::{
        CONNECTION_CREATION_RATE, CONSUMER_BYTE_RATE, CONTROLLER_MUTATION_RATE, ENTITY_CLIENT_ID, ENTITY_IP,
        ENTITY_USER, PRODUCER_BYTE_RATE, QuotaEntity, REQUEST_PERCENTAGE,
    },
    config::Resolved,
};
use model::limits;
use parking_lot::Mutex;
use quotas::{Addresses, Capacity, Client, Entity, Limits, Mutations, Throughput, Windows};
use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

/// The kinds of quotas, as bits.
const PRODUCE: u8 = 1;
const FETCH: u8 = 1 << 1;
const REQUEST: u8 = 1 << 2;
const MUTATION: u8 = 1 << 3;
const CONNECTION: u8 = 1 << 4;

/// What a thread does in a second, in percent for each nanosecond.
const PERCENT_PER_NS: f64 = 100.0 / 1e9;

const CAPACITY: Capacity =
    Capacity { sensors_max: limits::QUOTA_SENSORS_MAX, name_bytes_max: limits::QUOTA_NAME_BYTES_MAX };

/// See the head of the file.
pub(crate) struct ClientQuotas {
    /// Which kinds anybody has.
    set: AtomicU8,
    kept: Mutex<Kept>,
    /// Held while the controller is asked for what a strict quota may allow: it counts exactly.
    mutating: tokio::sync::Mutex<()>,
}

struct Kept {
    /// The image whose quotas these are.
    image: Option<Arc<Image>>,
    produce: Throughput,
    fetch: Throughput,
    request: Throughput,
    mutations: Mutations,
    addresses: Addresses,
}

impl ClientQuotas {
    /// Nobody has a quota yet.
    pub(crate) fn new(broker: &Resolved<'_>) -> Self {
        let number = |key: &str| broker.integer(key).max(1) as u64;
        let windows = Windows::new(number("quota.window.num"), number("quota.window.size.seconds"));
        let (count, seconds) = ("controller.quota.window.num", "controller.quota.window.size.seconds");
        let controller = Windows::new(number(count), number(seconds));
        let kept = Kept {
            image: None,
            produce: Throughput::new(windows, CAPACITY, None),
            fetch: Throughput::new(windows, CAPACITY, None),
            // A request that took long is over: nobody is held back for it for longer than a window.
            request: Throughput::new(windows, CAPACITY, Some(windows.length_ms())),
            mutations: Mutations::new(controller, CAPACITY),
            addresses: Addresses::new(windows, CAPACITY),
        };
        Self { set: AtomicU8::new(0), kept: Mutex::new(kept), mutating: tokio::sync::Mutex::default() }
    }

    /// Takes over what the image says.
    pub(crate) fn configure(&self, image: &Arc<Image>) {
        let mut kept = self.kept.lock();
        let known = kept.image.replace(image.clone());
        let is_same = match known {
            Some(known) => known.has_same_quotas(image),
            None => image.all_quotas().next().is_none(),
        };
        if is_same {
            return;
        }
        kept.produce.set_limits(limits_of(image, PRODUCER_BYTE_RATE));
        kept.fetch.set_limits(limits_of(image, CONSUMER_BYTE_RATE));
        kept.request.set_limits(limits_of(image, REQUEST_PERCENTAGE));
        kept.mutations.set_limits(limits_of(image, CONTROLLER_MUTATION_RATE));
        let (named, default) = limits_of_addresses(image);
        kept.addresses.set_limits(named, default);
        let bit = |is_set: bool, bit: u8| if is_set { bit } else { 0 };
        let set = bit(kept.produce.is_limited(), PRODUCE)
            | bit(kept.fetch.is_limited(), FETCH)
            | bit(kept.request.is_limited(), REQUEST)
            | bit(kept.mutations.is_limited(), MUTATION)
            | bit(kept.addresses.is_limited(), CONNECTION);
        self.set.store(set, Ordering::Release);
    }

    fn is_set(&self, kinds: u8) -> bool {
        self.set.load(Ordering::Relaxed) & kinds != 0
    }

    /// Whether the time of requests counts.
    pub(crate) fn counts_time(&self) -> bool {
        self.is_set(REQUEST)
    }

    /// A connection comes from there: for how many milliseconds it is to wait for its end, or 0 if it is welcome.
    pub(crate) fn try_connect(&self, address: IpAddr, now_ms: u64) -> u64 {
        if !self.is_set(CONNECTION) {
            return 0;
        }
        self.kept.lock().addresses.try_connect(address, now_ms)
    }
}

/// The quotas of one key for users and client ids.
fn limits_of(image: &Image, key: &str) -> Limits {
    let mut limits = Limits::default();
    for (entity, quotas) in image.all_quotas() {
        let Some(value) = quotas.get(key).filter(|_| !entity.contains_key(ENTITY_IP)) else { continue };
        let part = |kind: &str| entity.get(kind).map(|name| name.as_deref());
        limits.set(&Entity { user: part(ENTITY_USER), client_id: part(ENTITY_CLIENT_ID) }, value.get());
    }
    limits
}

/// The quotas of addresses, and that of all others.
fn limits_of_addresses(image: &Image) -> (Vec<(IpAddr, f64)>, Option<f64>) {
    let (mut named, mut default) = (Vec::new(), None);
    let of = |entity: &QuotaEntity| entity.get(ENTITY_IP).cloned();
    for (entity, quotas) in image.all_quotas() {
        let Some((ip, value)) = of(entity).zip(quotas.get(CONNECTION_CREATION_RATE)) else { continue };
        match ip.map(|ip| ip.parse()) {
            None => default = Some(value.get()),
            Some(Ok(address)) => named.push((address, value.get())),
            // A host name, which only Kafka's controllers write.
            Some(Err(_)) => tracing::warn!(?entity, "a quota is for no ip address and holds nobody back"),
        }
    }
    (named, default)
}

fn client(context: &Context) -> Client<'_> {
    Client { user: &context.principal, id: context.client_id.as_deref().unwrap_or_default() }
}

fn now_ms(broker: &Broker) -> u64 {
    broker.world.clock.now() / 1_000_000
}

/// Milliseconds as answers tell them.
pub(crate) fn told(ms: u64) -> i32 {
    i32::try_from(ms).unwrap_or(i32::MAX)
}

/// Counts the time that the request has taken: for how long its client is held back.
fn request_throttle(broker: &Broker, context: &Context) -> u64 {
    if !broker.client_quotas.counts_time() {
        return 0;
    }
    let percent = context.pace.take_spent(broker.world.clock.now()) as f64 * PERCENT_PER_NS;
    broker.client_quotas.kept.lock().request.record(client(context), now_ms(broker), percent)
}

/// Holds the client back for the time that its request has taken, beside what else holds it back; gives what the answer
/// tells.
pub(crate) fn settle(broker: &Broker, context: &Context) -> i32 {
    let own = request_throttle(broker, context);
    if own > 0 {
        hold(broker, context, own);
    }
    told(context.pace.take_told())
}

/// Nothing more is begun on the connection for so long, and the answer tells so.
pub(crate) fn hold(broker: &Broker, context: &Context, ms: u64) {
    context.pace.mute(&*broker.world.clock, ms);
    context.pace.tell(ms);
    broker.metrics.requests_throttled.inc();
}

/// Records were produced in a frame of that size; holds the client back. Gives for how long, counted from now.
pub(crate) fn on_produced(broker: &Broker, context: &Context, frame_bytes: usize, is_answered: bool) -> u64 {
    let quotas = &broker.client_quotas;
    if !quotas.is_set(PRODUCE | REQUEST) {
        return 0;
    }
    let bytes = quotas.kept.lock().produce.record(client(context), now_ms(broker), frame_bytes as f64);
    let time = if is_answered { request_throttle(broker, context) } else { 0 };
    let ms = bytes.max(time);
    if ms > 0 {
        context.pace.mute(&*broker.world.clock, ms);
        broker.metrics.requests_throttled.inc();
    }
    ms
}

/// The most that a consumer may be sent at once: more would hold it back in any case.
pub(crate) fn fetch_bytes_max(broker: &Broker, context: &Context) -> usize {
    if !broker.client_quotas.is_set(FETCH) {
        return usize::MAX;
    }
    let most = broker.client_quotas.kept.lock().fetch.at_once_max(client(context));
    // Casts of too large numbers end at the largest one.
    most.map_or(usize::MAX, |bytes| bytes as usize)
}

/// So much is to be sent to a consumer. If it is held back, nothing is sent instead, and nothing counts as sent; the
/// answer tells for how long.
pub(crate) fn is_fetch_held_back(broker: &Broker, context: &Context, bytes: impl FnOnce() -> usize) -> bool {
    let quotas = &broker.client_quotas;
    if !quotas.is_set(FETCH | REQUEST) {
        return false;
    }
    let time = request_throttle(broker, context);
    let bytes = bytes() as f64;
    let fetched = quotas.kept.lock().fetch.try_record(client(context), now_ms(broker), bytes, time > 0);
    let ms = fetched.max(time);
    if ms > 0 {
        hold(broker, context, ms);
    }
    ms > 0
}

/// What a decision of the controller has changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Mutated {
    /// Partitions that were created or deleted.
    pub(crate) partitions: usize,
    /// Whether some were refused because of the quota.
    pub(crate) is_refused: bool,
}

impl Mutated {
    /// ... given how many partitions each topic has got or lost.
    pub(crate) fn of<'a>(topics: impl Iterator<Item = Result<usize, &'a Error>>) -> Self {
        topics.fold(Self::default(), |sum, topic| match topic {
            Ok(count) => Self { partitions: sum.partitions.saturating_add(count), ..sum },
            Err(Error::ThrottlingQuotaExceeded(_)) => Self { is_refused: true, ..sum },
            Err(_) => sum,
        })
    }
}

/// Has the controller decide what creates or deletes partitions, within the quota of whoever asks. A strict quota refuses
/// what is too much; the other one, for clients that do not know THROTTLING_QUOTA_EXCEEDED, holds them back afterwards.
pub(crate) async fn decide(
    (broker, context): (&Arc<Broker>, &Context),
    is_strict: bool,
    order: impl FnOnce(Permits) -> Request,
    mutated: impl FnOnce(&Reply) -> Mutated,
) -> Result<Reply, Error> {
    let quotas = &broker.client_quotas;
    if !quotas.is_set(MUTATION) {
        return crate::handlers::decide((broker, context), order(Permits::Unbounded)).await;
    }
    let _turn = quotas.mutating.lock().await;
    let left = quotas.kept.lock().mutations.left(client(context), now_ms(broker));
    let permits = match left.filter(|_| is_strict) {
        Some(left) => Permits::Strict { thousandths: (left * 1000.0).floor() as i64 },
        None => Permits::Unbounded,
    };
    let reply = crate::handlers::decide((broker, context), order(permits)).await?;
    let mutated = mutated(&reply);
    let ms = {
        let mut kept = quotas.kept.lock();
        kept.mutations.record(client(context), now_ms(broker), mutated.partitions as f64);
        match is_strict {
            true if !mutated.is_refused => 0,
            _ => kept.mutations.throttle_ms(client(context), now_ms(broker)),
        }
    };
    if ms > 0 {
        hold(broker, context, ms);
    }
    Ok(reply)
}

#[cfg(test)]
mod tests {
    use super::*;
    use metadata::{
        Record,
        client_quota::QuotaValue,
        config::{Configs, Statics},
    };

    #[test]
    fn only_what_is_set_costs_anything() {
        let (mut image, statics) = (Image::new("c"), Statics::default());
        let quotas =
            ClientQuotas::new(&Configs { image: &Image::new(""), statics: &statics, node: 1 }.broker());
        let mut set = |kind: &str, name: Option<&str>, key: &str, value: Option<f64>| {
            let entity = [(kind.to_owned(), name.map(str::to_owned))].into();
            image.apply(Record::ClientQuota { entity, key: key.into(), value: value.map(QuotaValue::new) });
            quotas.configure(&Arc::new(image.clone()));
            quotas.set.load(Ordering::Relaxed)
        };
        assert_eq!(set("user", None, PRODUCER_BYTE_RATE, Some(5.0)), PRODUCE);
        assert_eq!(set("client-id", Some("c"), REQUEST_PERCENTAGE, Some(5.0)), PRODUCE | REQUEST);
        assert_eq!(set("ip", None, CONNECTION_CREATION_RATE, Some(5.0)), PRODUCE | REQUEST | CONNECTION);
        assert_eq!(set("user", None, PRODUCER_BYTE_RATE, None), REQUEST | CONNECTION);
        assert_eq!(set("client-id", Some("c"), REQUEST_PERCENTAGE, None), CONNECTION);
        assert_eq!(set("ip", None, CONNECTION_CREATION_RATE, None), 0);
    }
}

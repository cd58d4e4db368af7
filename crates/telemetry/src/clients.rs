//! The client instances that the broker knows: what is asked of each, when it may come again, and what it has pushed.
//!
//! It answers as Kafka's brokers do. An instance is forgotten when it has been silent for three of its intervals (a minute at
//! least), or when there are too many. One whose connection has ended begins anew if it comes again; what it has pushed is
//! kept as long, or nobody would see the last values of those that live shortly.

use crate::{
    otlp,
    series::{Seen, Series},
    subscription::{Person, Subscription, Wanted},
};
use records::{Codec, Decompressor};
use std::collections::BTreeSet;
use stdx::{Map, Uuid};

/// The compressions that clients may push with, in the order in which they shall choose.
const CODECS: &[Codec] = &[Codec::Zstd, Codec::Lz4, Codec::Gzip, Codec::Snappy];
/// So many points a push may have for each series that is kept: reading them takes time.
const POINTS_PER_SERIES_MAX: usize = 4;
/// How long a silent instance is remembered at least.
const REMEMBERED_MS_MIN: u64 = 60_000;

/// How much is kept of clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// `telemetry.max.bytes`: of one push, compressed and plain.
    pub push_bytes_max: usize,
    /// Instances.
    pub instances_max: usize,
    /// Values of one instance.
    pub series_max: usize,
    /// Bytes of the names and labels of all values.
    pub series_bytes_max: usize,
}

/// Why a request is refused; the names are those of Kafka's error codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// INVALID_REQUEST: the instance has no id, or has said goodbye.
    InvalidRequest,
    /// THROTTLING_QUOTA_EXCEEDED: it comes too soon.
    ThrottlingQuotaExceeded,
    /// UNKNOWN_SUBSCRIPTION_ID: something else is asked of it by now.
    UnknownSubscriptionId,
    /// UNSUPPORTED_COMPRESSION_TYPE
    UnsupportedCompressionType,
    /// TELEMETRY_TOO_LARGE
    TelemetryTooLarge,
    /// INVALID_RECORD: the metrics cannot be read.
    InvalidRecord,
}

/// What a client instance is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    /// The instance.
    pub instance: Uuid,
    /// What its pushes are to name.
    pub subscription_id: i32,
    /// The prefixes of metrics.
    pub metrics: Vec<String>,
    /// How often it pushes.
    pub interval_ms: i32,
    /// The compressions, by Kafka's numbers.
    pub compressions: Vec<i8>,
}

/// Metrics of a client instance.
#[derive(Debug, Clone, Copy)]
pub struct Push<'a> {
    /// The instance.
    pub instance: Uuid,
    /// What it was asked for.
    pub subscription_id: i32,
    /// Whether it is its last one.
    pub is_terminating: bool,
    /// Kafka's number of the compression.
    pub compression: i8,
    /// OTLP `MetricsData`, compressed.
    pub metrics: &'a [u8],
}

/// See the head of the file.
#[derive(Debug)]
pub struct Clients {
    bounds: Bounds,
    subscriptions: Vec<Subscription>,
    /// Counts changes of the subscriptions.
    version: u64,
    instances: Map<Uuid, Instance>,
    /// When each instance is forgotten.
    ends: BTreeSet<(u64, Uuid)>,
    series_bytes: usize,
}

#[derive(Debug)]
struct Instance {
    person: Person,
    wanted: Wanted,
    /// The version of the subscriptions that this follows from.
    version: u64,
    asked_ms: Option<u64>,
    pushed_ms: Option<u64>,
    is_terminating: bool,
    /// Its connection has ended.
    is_gone: bool,
    refused: Option<Refused>,
    ends_ms: u64,
    series: Series,
}

impl Clients {
    /// Nobody is known, and nothing is asked for.
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            subscriptions: Vec::new(),
            version: 0,
            instances: Map::default(),
            ends: BTreeSet::new(),
            series_bytes: 0,
        }
    }

    /// From now on this is asked for; each instance learns of it with its next request.
    pub fn subscribe(&mut self, subscriptions: Vec<Subscription>) {
        self.subscriptions = subscriptions;
        self.version += 1;
    }

    /// A client asks what it is to push; one without an id is given `drawn`.
    pub fn ask(
        &mut self,
        now_ms: u64,
        instance: Uuid,
        drawn: Uuid,
        person: Person,
    ) -> Result<Granted, Refused> {
        let id = if instance.is_zero() { drawn } else { instance };
        let instance = self.instance(now_ms, id, person);
        let last_ms = instance.asked_ms.max(instance.pushed_ms);
        let must_know = matches!(
            instance.refused,
            Some(Refused::UnknownSubscriptionId | Refused::UnsupportedCompressionType)
        );
        let interval_ms = instance.interval_ms();
        if last_ms.is_none_or(|last_ms| now_ms.saturating_sub(last_ms) >= interval_ms) {
            instance.asked_ms = Some(now_ms);
        } else if !must_know {
            return Err(Refused::ThrottlingQuotaExceeded);
        }
        instance.refused = None;
        Ok(Granted {
            instance: id,
            subscription_id: instance.wanted.subscription_id,
            metrics: instance.wanted.metrics.clone(),
            interval_ms: instance.wanted.interval_ms,
            compressions: CODECS.iter().map(|codec| codec.id() as i8).collect(),
        })
    }

    /// A client pushes its metrics.
    pub fn push(&mut self, now_ms: u64, push: &Push<'_>, person: Person) -> Result<(), Refused> {
        // Kafka keeps 0 and 1 for itself.
        if u128::from_be_bytes(push.instance.0) <= 1 {
            return Err(Refused::InvalidRequest);
        }
        let bytes_max = self.bounds.push_bytes_max;
        let instance = self.instance(now_ms, push.instance, person);
        let checked = instance.check(now_ms, push, bytes_max);
        instance.is_terminating = push.is_terminating;
        let result = checked.and_then(|codec| self.keep(push, codec));
        if let Some(instance) = self.instances.get_mut(&push.instance) {
            instance.refused = result.err();
        }
        result
    }

    /// The connection of an instance has ended.
    pub fn on_disconnected(&mut self, instance: Uuid) {
        if let Some(known) = self.instances.get_mut(&instance) {
            known.is_gone = true;
        }
    }

    fn forget(&mut self, instance: Uuid) {
        if let Some(known) = self.instances.remove(&instance) {
            self.ends.remove(&(known.ends_ms, instance));
            self.series_bytes = self.series_bytes.saturating_sub(known.series.bytes());
        }
    }

    /// Forgets those that are silent.
    pub fn expire(&mut self, now_ms: u64) {
        while let Some((ends_ms, instance)) = self.ends.first().copied()
            && ends_ms <= now_ms
        {
            self.forget(instance);
        }
    }

    /// How many instances are known.
    pub fn count(&self) -> usize {
        self.instances.len()
    }

    /// Every value of every instance, in the order of their names for each.
    pub fn values(&self) -> impl Iterator<Item = (Uuid, &Person, Seen<'_>)> {
        let mut ids: Vec<_> = self.instances.keys().copied().collect();
        ids.sort();
        ids.into_iter().flat_map(|id| {
            let instance = self.instances.get(&id).into_iter();
            instance.flat_map(move |one| one.series.iter().map(move |seen| (id, &one.person, seen)))
        })
    }

    /// The instance, made anew if it is not known or if something else is asked of it by now.
    fn instance(&mut self, now_ms: u64, id: Uuid, person: Person) -> &mut Instance {
        self.expire(now_ms);
        let known = self.instances.remove(&id);
        if let Some(known) = &known {
            self.ends.remove(&(known.ends_ms, id));
        } else if self.instances.len() >= self.bounds.instances_max
            && let Some((_, first)) = self.ends.first().copied()
        {
            self.forget(first);
        }
        let mut instance = match known {
            Some(known) if known.version == self.version && !known.is_gone => known,
            known => {
                let (person, series) = match known {
                    Some(known) if !known.is_gone => (known.person, known.series),
                    known => (person.cut(), known.map(|known| known.series).unwrap_or_default()),
                };
                Instance {
                    wanted: Wanted::of(&self.subscriptions, id, &person),
                    person,
                    version: self.version,
                    asked_ms: None,
                    pushed_ms: None,
                    is_terminating: false,
                    is_gone: false,
                    refused: None,
                    ends_ms: 0,
                    series,
                }
            }
        };
        instance.ends_ms =
            now_ms.saturating_add(instance.interval_ms().saturating_mul(3).max(REMEMBERED_MS_MIN));
        self.ends.insert((instance.ends_ms, id));
        self.instances.entry(id).or_insert(instance)
    }

    /// Takes the metrics over, as far as there is room.
    fn keep(&mut self, push: &Push<'_>, codec: Codec) -> Result<(), Refused> {
        let Some(instance) = self.instances.get_mut(&push.instance) else { return Ok(()) };
        // What nobody has asked for is not even read.
        if push.metrics.is_empty() || instance.wanted.metrics.is_empty() {
            return Ok(());
        }
        let plain = Decompressor::new()
            .decompress(codec, push.metrics, self.bounds.push_bytes_max)
            .map_err(|_| Refused::InvalidRecord)?;
        // All of it must be readable before any of it counts.
        let mut points = 0;
        otlp::read(&plain, |_| points += 1).map_err(|_| Refused::InvalidRecord)?;
        if points > self.bounds.series_max.saturating_mul(POINTS_PER_SERIES_MAX) {
            return Err(Refused::InvalidRecord);
        }
        let (bounds, mut bytes) = (self.bounds, self.series_bytes);
        let read = otlp::read(&plain, |point| {
            let room = bounds.series_bytes_max.saturating_sub(bytes);
            bytes += instance.series.put(&point, bounds.series_max, room).unwrap_or(0);
        });
        self.series_bytes = bytes;
        read.map_err(|_| Refused::InvalidRecord)
    }
}

impl Instance {
    fn interval_ms(&self) -> u64 {
        u64::try_from(self.wanted.interval_ms).unwrap_or(0)
    }

    /// In Kafka's order. A push that comes in time counts even if it is refused for something else.
    fn check(&mut self, now_ms: u64, push: &Push<'_>, bytes_max: usize) -> Result<Codec, Refused> {
        if self.is_terminating {
            return Err(Refused::InvalidRequest);
        }
        // The first push after a question may come early: clients spread them.
        let is_in_time = self.asked_ms > self.pushed_ms
            || self.pushed_ms.is_none_or(|last_ms| now_ms.saturating_sub(last_ms) >= self.interval_ms());
        if is_in_time {
            self.pushed_ms = Some(now_ms);
        } else if !push.is_terminating {
            return Err(Refused::ThrottlingQuotaExceeded);
        }
        if push.subscription_id != self.wanted.subscription_id {
            return Err(Refused::UnknownSubscriptionId);
        }
        let codec = u8::try_from(push.compression).ok().and_then(Codec::from_id);
        let codec = codec.ok_or(Refused::UnsupportedCompressionType)?;
        if push.metrics.len() > bytes_max {
            return Err(Refused::TelemetryTooLarge);
        }
        Ok(codec)
    }
}

#[cfg(test)]
mod tests;

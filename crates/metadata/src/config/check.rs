//! Which values and which changes of a configuration are allowed.
//!
//! It changes nothing and does not ask whether the resource exists. The controller checks every alteration here, the
//! start-up every key of the files.

use super::{
    ClientMatch, Configs, Resource, ResourceKind, catalogue,
    key::{Key, Kind, Update, Valid},
    offset_reset,
    value::Value,
};
use crate::{Error, image::Overrides};

/// The longest value that is kept, in bytes, as in Kafka.
const VALUE_BYTES_MAX: usize = i16::MAX as usize;

/// Keys whose count of threads may at most be halved or doubled in one step.
const THREAD_KEYS: &[&str] = &[
    "background.threads",
    "log.cleaner.threads",
    "num.io.threads",
    "num.network.threads",
    "num.recovery.threads.per.data.dir",
    "num.replica.fetchers",
];

/// Whether a key of that kind of resource is a list, so that something can be appended to it.
pub(crate) fn is_list(kind: ResourceKind, name: &str) -> bool {
    catalogue::find(kind, name).is_some_and(|key| key.kind == Kind::List)
}

/// Reads and checks the value of a key; `shown` is the key's name in messages. `Err` is a sentence for people.
pub(super) fn check_value(key: &Key, shown: &str, text: &str) -> Result<Value, String> {
    let secret = key.is_sensitive();
    let refuse = |why: String| {
        if secret {
            format!("The value of '{shown}' is not allowed: {why}.")
        } else {
            format!("'{shown}' cannot be '{text}': {why}.")
        }
    };
    let value = Value::parse(key.kind, text).map_err(|why| refuse(why.to_owned()))?;
    check_limits(key.valid, &value).map_err(refuse)?;
    Ok(value)
}

/// Checks what the configuration of `resource` would be after an alteration: `after`, of which `changed` is new.
pub(crate) fn check_alteration(
    configs: Configs<'_>,
    resource: &Resource,
    after: &Overrides,
    changed: &[String],
) -> Result<(), Error> {
    if let Some((name, value)) = after.iter().find(|(_, value)| value.len() > VALUE_BYTES_MAX) {
        let length = value.len();
        return Err(Error::InvalidConfig(format!(
            "The value of '{name}' has {length} bytes; at most {VALUE_BYTES_MAX} can be kept."
        )));
    }
    match resource.kind {
        ResourceKind::Topic => check_topic(configs, after),
        ResourceKind::Broker => check_broker(configs, &resource.name, after, changed),
        ResourceKind::Group => check_group(configs, after),
        ResourceKind::ClientMetrics => check_client_metrics(after),
        ResourceKind::BrokerLogger => Err(Error::InvalidRequest(
            "Log levels are not kept in the metadata; ask the broker itself.".to_owned(),
        )),
    }
}

fn check_limits(valid: Valid, value: &Value) -> Result<(), String> {
    let list = |texts: &[&str]| texts.join(", ");
    match (valid, value) {
        (Valid::AtLeast(min), Value::Integer(number)) if *number < min => {
            Err(format!("it must be {min} or more"))
        }
        (Valid::Between(min, max), Value::Integer(number)) if !(min..=max).contains(number) => {
            Err(format!("it must be between {min} and {max}"))
        }
        (Valid::Ratio(min, max), Value::Double(number)) if !(min..=max).contains(number) => {
            Err(format!("it must be between {min} and {max}"))
        }
        (Valid::GzipLevel, Value::Integer(number)) if *number != -1 && !(1..=9).contains(number) => {
            Err("it must be -1 or between 1 and 9".to_owned())
        }
        (Valid::OneOf(texts), Value::Text(text)) if !texts.contains(&text.as_str()) => {
            Err(format!("it must be one of {}", list(texts)))
        }
        (Valid::OneOfAnyCase(texts), Value::Text(text))
            if !texts.iter().any(|allowed| allowed.eq_ignore_ascii_case(text)) =>
        {
            Err(format!("it must be one of {}", list(texts)))
        }
        (Valid::NonEmpty, Value::Text(text)) if text.is_empty() => Err("it must not be empty".to_owned()),
        (Valid::OffsetReset, Value::Text(text)) if offset_reset::parse(text).is_none() => {
            Err("it must be earliest, latest, or by_duration: with a duration such as PT1H30M".to_owned())
        }
        (Valid::ThrottledReplicas, Value::List(parts)) if !is_throttled_replicas(parts) => {
            Err("it must be * or a list of partition:broker pairs such as 0:1,1:2".to_owned())
        }
        (Valid::Servers, Value::List(parts)) if !parts.iter().all(|part| is_server(part)) => {
            Err("it must be a list of host:port".to_owned())
        }
        (Valid::Voters, Value::List(parts)) if !parts.iter().all(|part| is_voter(part)) => {
            Err("it must be a list of id@host:port".to_owned())
        }
        (Valid::Distinct | Valid::ListOf(_), Value::List(parts)) => check_parts(valid, parts),
        (Valid::DistinctNonEmpty | Valid::ListOfNonEmpty(_), Value::List(parts)) if parts.is_empty() => {
            Err("it must have at least one element".to_owned())
        }
        (Valid::DistinctNonEmpty | Valid::ListOfNonEmpty(_), Value::List(parts)) => check_parts(valid, parts),
        _ => Ok(()),
    }
}

fn check_parts(valid: Valid, parts: &[String]) -> Result<(), String> {
    let mut sorted: Vec<_> = parts.iter().collect();
    sorted.sort();
    if let Some(twice) = sorted.iter().zip(sorted.iter().skip(1)).find(|(left, right)| left == right) {
        return Err(format!("'{}' is in the list twice", twice.0));
    }
    if parts.iter().any(String::is_empty) {
        return Err("the list has an empty element".to_owned());
    }
    if let Valid::ListOf(texts) | Valid::ListOfNonEmpty(texts) = valid
        && let Some(other) = parts.iter().find(|part| !texts.contains(&part.as_str()))
    {
        return Err(format!("'{other}' is none of {}", texts.join(", ")));
    }
    Ok(())
}

fn is_throttled_replicas(parts: &[String]) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let is_pair = |part: &String| {
        part.is_empty()
            || part.split_once(':').is_some_and(|(left, right)| is_number(left) && is_number(right))
    };
    parts.iter().all(is_pair) || parts.concat() == "*"
}

fn is_server(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

fn is_voter(text: &str) -> bool {
    text.split_once('@').is_some_and(|(id, server)| id.parse::<u32>().is_ok() && is_server(server))
}

/// Checks single values; an unknown key is an error of the kind that `unknown` makes of the message.
fn check_values(kind: ResourceKind, after: &Overrides, unknown: fn(String) -> Error) -> Result<(), Error> {
    for (name, text) in after {
        let Some(key) = catalogue::find(kind, name) else {
            let hint = match catalogue::nearest(kind, name) {
                Some(nearest) => format!("did you mean '{nearest}'?"),
                None => "see DescribeConfigs for those that exist.".to_owned(),
            };
            return Err(unknown(format!("There is no {kind} configuration '{name}'; {hint}")));
        };
        check_value(key, name, text).map_err(Error::InvalidConfig)?;
    }
    Ok(())
}

fn check_topic(configs: Configs<'_>, after: &Overrides) -> Result<(), Error> {
    check_values(ResourceKind::Topic, after, Error::InvalidConfig)?;
    let topic = configs.with(ResourceKind::Topic, Some(after));
    let (min, max) = (topic.integer("min.compaction.lag.ms"), topic.integer("max.compaction.lag.ms"));
    if min > max {
        return Err(Error::InvalidConfig(format!(
            "min.compaction.lag.ms ({min}) must not be greater than max.compaction.lag.ms ({max})."
        )));
    }
    if topic.flag("remote.storage.enable") && !configs.broker().flag("remote.log.storage.system.enable") {
        return Err(Error::InvalidConfig(
            "remote.storage.enable cannot be true: tiered storage is off in this cluster.".to_owned(),
        ));
    }
    Ok(())
}

fn check_broker(
    configs: Configs<'_>,
    name: &str,
    after: &Overrides,
    changed: &[String],
) -> Result<(), Error> {
    check_broker_name(name)?;
    for key_name in changed {
        check_broker_key(configs, name, after, key_name)?;
    }
    Ok(())
}

fn check_broker_name(name: &str) -> Result<(), Error> {
    match name.parse::<i32>() {
        _ if name.is_empty() => Ok(()),
        Ok(id) if id >= 0 => Ok(()),
        Ok(id) => Err(Error::InvalidRequest(format!("A broker's id cannot be negative, but it is {id}."))),
        Err(_) => {
            Err(Error::InvalidRequest(format!("'{name}' is no broker: a number or nothing is needed.")))
        }
    }
}

fn check_broker_key(configs: Configs<'_>, broker: &str, after: &Overrides, name: &str) -> Result<(), Error> {
    let value = after.get(name);
    if name == "min.insync.replicas" && configs.image.feature(crate::features::ELR) > 0 {
        if !broker.is_empty() {
            return Err(Error::InvalidConfig(
                "min.insync.replicas cannot differ between brokers; set it for all brokers or for a topic."
                    .to_owned(),
            ));
        }
        if value.is_none() {
            return Err(Error::InvalidConfig(
                "min.insync.replicas for all brokers cannot be removed; set the value that you want."
                    .to_owned(),
            ));
        }
    }
    let base = catalogue::without_listener(name);
    // Kafka keeps keys that it does not know, for its plugins' sake.
    let Some(key) = catalogue::find(ResourceKind::Broker, base) else { return Ok(()) };
    if value.is_none() {
        return Ok(());
    }
    if key.update == Update::ReadOnly {
        return Err(Error::InvalidRequest(format!(
            "'{name}' cannot be changed while brokers run; change it in the broker's configuration and restart it."
        )));
    }
    if base == name && is_listener_secret(name) {
        return Err(Error::InvalidRequest(format!(
            "'{name}' can be changed for one listener only, as 'listener.name.<listener>.{name}'."
        )));
    }
    if broker.is_empty() && key.update == Update::PerBroker {
        return Err(Error::InvalidRequest(format!("'{name}' can only be set for one broker; name its id.")));
    }
    let Some(text) = value else { return Ok(()) };
    let value = check_value(key, name, text).map_err(Error::InvalidRequest)?;
    if THREAD_KEYS.contains(&name) {
        let (old, new) = (configs.broker().integer(name), value.to_integer());
        if new < 1 || new < old / 2 || new > old.saturating_mul(2) {
            return Err(Error::InvalidRequest(format!(
                "'{name}' is {old} and cannot become {new} at once: go at most to the half or the double."
            )));
        }
    }
    Ok(())
}

/// The key stores, which Kafka lets change per listener only.
fn is_listener_secret(name: &str) -> bool {
    name.starts_with("ssl.keystore.") || name.starts_with("ssl.truststore.") || name == "ssl.key.password"
}

fn check_group(configs: Configs<'_>, after: &Overrides) -> Result<(), Error> {
    check_values(ResourceKind::Group, after, Error::InvalidConfig)?;
    let group = configs.with(ResourceKind::Group, Some(after));
    let broker = configs.broker();
    // What the group may choose lies between two broker keys.
    const BOUNDS: &[(&str, &str)] = &[
        ("consumer.heartbeat.interval.ms", "group.consumer.{}.heartbeat.interval.ms"),
        ("consumer.session.timeout.ms", "group.consumer.{}.session.timeout.ms"),
        ("consumer.assignment.interval.ms", "group.consumer.{}.assignment.interval.ms"),
        ("share.heartbeat.interval.ms", "group.share.{}.heartbeat.interval.ms"),
        ("share.session.timeout.ms", "group.share.{}.session.timeout.ms"),
        ("share.record.lock.duration.ms", "group.share.{}.record.lock.duration.ms"),
        ("share.delivery.count.limit", "group.share.{}.delivery.count.limit"),
        ("share.partition.max.record.locks", "group.share.{}.partition.max.record.locks"),
        ("share.assignment.interval.ms", "group.share.{}.assignment.interval.ms"),
        ("streams.heartbeat.interval.ms", "group.streams.{}.heartbeat.interval.ms"),
        ("streams.session.timeout.ms", "group.streams.{}.session.timeout.ms"),
        ("streams.assignment.interval.ms", "group.streams.{}.assignment.interval.ms"),
        ("streams.num.standby.replicas", "group.streams.{}.standby.replicas"),
        ("streams.num.warmup.replicas", "group.streams.{}.warmup.replicas"),
    ];
    for (name, bound) in BOUNDS.iter().filter(|(name, _)| after.contains_key(*name)) {
        let value = group.integer(name);
        let (low, high) = (bound.replace("{}", "min"), bound.replace("{}", "max"));
        let (min, max) = (broker.integer(&low), broker.integer(&high));
        if value < min {
            return Err(Error::InvalidConfig(format!("'{name}' cannot be {value}: {low} is {min}.")));
        }
        if value > max {
            return Err(Error::InvalidConfig(format!("'{name}' cannot be {value}: {high} is {max}.")));
        }
    }
    let (interval, least) = ("streams.task.offset.interval.ms", "group.streams.min.task.offset.interval.ms");
    if after.contains_key(interval) && group.integer(interval) < broker.integer(least) {
        let (value, min) = (group.integer(interval), broker.integer(least));
        return Err(Error::InvalidConfig(format!("'{interval}' cannot be {value}: {least} is {min}.")));
    }
    if let Some(name) = after.get("streams.assignor.name") {
        let known = broker.list("group.streams.assignors");
        if !known.iter().any(|assignor| assignor == name.trim()) {
            return Err(Error::InvalidConfig(format!(
                "'streams.assignor.name' cannot be '{name}': group.streams.assignors has {}.",
                known.join(", ")
            )));
        }
    }
    for kind in ["consumer", "share", "streams"] {
        let session = group.integer(&format!("{kind}.session.timeout.ms"));
        let heartbeat = group.integer(&format!("{kind}.heartbeat.interval.ms"));
        if session <= heartbeat {
            return Err(Error::InvalidConfig(format!(
                "{kind}.session.timeout.ms ({session}) must be greater than {kind}.heartbeat.interval.ms ({heartbeat})."
            )));
        }
    }
    Ok(())
}

fn check_client_metrics(after: &Overrides) -> Result<(), Error> {
    check_values(ResourceKind::ClientMetrics, after, Error::InvalidRequest)?;
    if let Some(interval) = after.get("interval.ms").and_then(|text| Value::parse(Kind::Int, text).ok())
        && !(100..=3_600_000).contains(&interval.to_integer())
    {
        return Err(Error::InvalidRequest(format!(
            "'interval.ms' cannot be {interval}: it must be between 100 and 3600000."
        )));
    }
    let Some(Ok(Value::List(patterns))) = after.get("match").map(|text| Value::parse(Kind::List, text))
    else {
        return Ok(());
    };
    ClientMatch::parse(patterns.iter().map(String::as_str)).map_err(Error::InvalidConfig)?;
    Ok(())
}

#[cfg(test)]
mod tests;

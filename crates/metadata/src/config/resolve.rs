//! Which value of a key counts: the resource's own, the broker's dynamic one, the cluster's dynamic one, the one from
//! the broker's files, or the default, in this order.
//!
//! It describes nothing and changes nothing. The broker reads every effective value here, the controller its defaults.

use std::borrow::Cow;

use model::NodeId;

use super::{AckDurability, Kind, ResourceKind, Statics, Value, catalogue, key::Key, odradek};
use crate::{Image, image::Overrides};

/// The three places that values come from, seen by one broker.
#[derive(Debug, Clone, Copy)]
pub struct Configs<'a> {
    /// What was set dynamically.
    pub image: &'a Image,
    /// What the broker was started with.
    pub statics: &'a Statics,
    /// The broker.
    pub node: NodeId,
}

/// The effective configuration of one resource.
#[derive(Debug, Clone, Copy)]
pub struct Resolved<'a> {
    configs: Configs<'a>,
    kind: ResourceKind,
    own: Option<&'a Overrides>,
}

impl<'a> Configs<'a> {
    /// The broker's own configuration.
    pub fn broker(self) -> Resolved<'a> {
        Resolved { configs: self, kind: ResourceKind::Broker, own: None }
    }

    /// A topic's configuration, whether the topic exists or not.
    pub fn topic(self, name: &str) -> Resolved<'a> {
        self.with(ResourceKind::Topic, self.overrides(ResourceKind::Topic, name))
    }

    /// A group's configuration, whether the group exists or not.
    pub fn group(self, id: &str) -> Resolved<'a> {
        self.with(ResourceKind::Group, self.overrides(ResourceKind::Group, id))
    }

    /// A client metrics subscription's configuration.
    pub fn client_metrics(self, name: &str) -> Resolved<'a> {
        self.with(ResourceKind::ClientMetrics, self.overrides(ResourceKind::ClientMetrics, name))
    }

    /// The configuration of a resource of that kind for which `own` is set.
    pub(crate) fn with<'b>(self, kind: ResourceKind, own: Option<&'b Overrides>) -> Resolved<'b>
    where
        'a: 'b,
    {
        Resolved { configs: self, kind, own }
    }

    pub(super) fn overrides(self, kind: ResourceKind, name: &str) -> Option<&'a Overrides> {
        self.image.overrides(kind, name).map(|overrides| &**overrides)
    }

    /// What was set dynamically for this broker.
    pub(super) fn dynamic(self) -> Option<&'a Overrides> {
        self.overrides(ResourceKind::Broker, &self.node.to_string())
    }

    /// What was set dynamically for all brokers.
    pub(super) fn dynamic_default(self) -> Option<&'a Overrides> {
        self.overrides(ResourceKind::Broker, "")
    }

    fn broker_text(self, name: &str) -> Option<&'a str> {
        let set = |overrides: Option<&'a Overrides>| overrides?.get(name).map(String::as_str);
        set(self.dynamic())
            .or_else(|| set(self.dynamic_default()))
            .or_else(|| self.statics.get(name))
            .or_else(|| {
                catalogue::find(ResourceKind::Broker, catalogue::without_listener(name))?.default_text()
            })
    }
}

impl<'a> Resolved<'a> {
    /// The configuration of the broker that sees this one.
    pub fn broker(&self) -> Resolved<'a> {
        self.configs.broker()
    }

    /// The text of a key's value; `None` if it has no value, or the key is unknown and was not set.
    pub fn text(&self, name: &str) -> Option<Cow<'a, str>> {
        if self.kind == ResourceKind::Broker {
            return self.configs.broker_text(name).map(Cow::Borrowed);
        }
        if let Some(own) = self.own.and_then(|own| own.get(name)) {
            return Some(Cow::Borrowed(own));
        }
        let key = catalogue::find(self.kind, name)?;
        let inherited = key.broker_keys.iter().find_map(|broker_key| self.inherited(key, broker_key));
        inherited.or(key.default_text().map(Cow::Borrowed))
    }

    /// The value of a key; `None` if it has none or its text does not fit its type.
    pub fn value(&self, name: &str) -> Option<Value> {
        let base = if self.kind == ResourceKind::Broker { catalogue::without_listener(name) } else { name };
        let kind = catalogue::find(self.kind, base).map_or(Kind::String, |key| key.kind);
        Value::parse(kind, &self.text(name)?).ok()
    }

    /// The value of a short, int or long key; -1 if it has none.
    pub fn integer(&self, name: &str) -> i64 {
        match self.value(name) {
            Some(Value::Integer(value)) => value,
            _ => -1,
        }
    }

    /// The value of a double key; 0 if it has none.
    pub fn double(&self, name: &str) -> f64 {
        match self.value(name) {
            Some(Value::Double(value)) => value,
            _ => 0.0,
        }
    }

    /// The value of a boolean key; `false` if it has none.
    pub fn flag(&self, name: &str) -> bool {
        matches!(self.value(name), Some(Value::Boolean(true)))
    }

    /// The value of a list key; empty if it has none.
    pub fn list(&self, name: &str) -> Vec<String> {
        match self.value(name) {
            Some(Value::List(parts)) => parts,
            _ => Vec::new(),
        }
    }

    /// What an acknowledgement promises here.
    pub fn ack_durability(&self) -> AckDurability {
        match self.text(odradek::ACK_DURABILITY).as_deref() {
            Some("page-cache") => AckDurability::PageCache,
            _ => AckDurability::Fsync,
        }
    }

    /// The value that a broker key gives to `key`, in the unit of `key`.
    fn inherited(&self, key: &Key, broker_key: &str) -> Option<Cow<'a, str>> {
        let text = self.configs.broker_text(broker_key)?;
        let factor = match broker_key.rsplit('.').next() {
            Some("hours") => 3_600_000,
            Some("minutes") => 60_000,
            _ if key.kind != Kind::List
                && catalogue::find(ResourceKind::Broker, broker_key)?.kind == Kind::List =>
            {
                return text.split(',').next().map(|first| Cow::Borrowed(first.trim()));
            }
            _ if key.name == "retention.ms" => 1,
            _ => return Some(Cow::Borrowed(text)),
        };
        let number: i64 = super::value::trim(text).parse().ok()?;
        let number = if number < 0 { -1 } else { number.saturating_mul(factor) };
        Some(Cow::Owned(number.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Record, config::Resource};

    /// Values set in files, for all brokers, for broker 1 and for topic t, as `place:key=value`; then the expected
    /// value of a topic key.
    fn check(set: &[&str], key: &str, expected: Option<&str>) {
        let mut image = Image::new("c");
        let mut statics = Vec::new();
        for text in set {
            let (place, pair) = text.split_once(':').unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            let resource = match place {
                "all" => Resource::all_brokers(),
                "one" => Resource::broker(1),
                "other" => Resource::broker(2),
                "topic" => Resource::topic("t"),
                _ => {
                    statics.push((name.to_owned(), value.to_owned()));
                    continue;
                }
            };
            image.apply(Record::Config { resource, name: name.to_owned(), value: Some(value.to_owned()) });
        }
        let statics = Statics::new(statics);
        let configs = Configs { image: &image, statics: &statics, node: 1 };
        assert_eq!(configs.topic("t").text(key).as_deref(), expected, "{set:?} {key}");
    }

    #[test]
    fn the_nearest_setting_counts() {
        check(&[], "segment.bytes", Some("1073741824"));
        check(&["file:log.segment.bytes=1"], "segment.bytes", Some("1"));
        check(&["file:log.segment.bytes=1", "all:log.segment.bytes=2"], "segment.bytes", Some("2"));
        check(&["all:log.segment.bytes=2", "one:log.segment.bytes=3"], "segment.bytes", Some("3"));
        check(&["one:log.segment.bytes=3", "topic:segment.bytes=4"], "segment.bytes", Some("4"));
        check(&["other:log.segment.bytes=3"], "segment.bytes", Some("1073741824"));
        check(&["file:segment.bytes=5"], "segment.bytes", Some("1073741824"));
    }

    #[test]
    fn coarse_units_count_where_fine_ones_are_unset() {
        check(&[], "retention.ms", Some("604800000"));
        check(&["file:log.retention.hours=1"], "retention.ms", Some("3600000"));
        check(
            &["file:log.retention.hours=1", "file:log.retention.minutes=2"],
            "retention.ms",
            Some("120000"),
        );
        check(&["file:log.retention.minutes=2", "all:log.retention.ms=7"], "retention.ms", Some("7"));
        check(&["file:log.retention.hours=-1"], "retention.ms", Some("-1"));
        check(&["file:log.retention.ms=-7"], "retention.ms", Some("-1"));
        check(&["file:log.roll.hours=2"], "segment.ms", Some("7200000"));
        check(&["file:log.flush.scheduler.interval.ms=9"], "flush.ms", Some("9"));
        check(
            &["file:log.flush.scheduler.interval.ms=9", "one:log.flush.interval.ms=8"],
            "flush.ms",
            Some("8"),
        );
    }

    #[test]
    fn a_topic_can_ask_for_less_durability_than_the_broker_and_the_reverse() {
        for (set, expected) in [
            (vec![], AckDurability::Fsync),
            (vec![("", "page-cache")], AckDurability::PageCache),
            (vec![("", "page-cache"), ("t", "fsync")], AckDurability::Fsync),
        ] {
            let mut image = Image::new("c");
            for (topic, value) in set {
                let resource =
                    if topic.is_empty() { Resource::all_brokers() } else { Resource::topic(topic) };
                let name = odradek::ACK_DURABILITY.to_owned();
                image.apply(Record::Config { resource, name, value: Some(value.to_owned()) });
            }
            let statics = Statics::default();
            let configs = Configs { image: &image, statics: &statics, node: 1 };
            assert_eq!(configs.topic("t").ack_durability(), expected);
        }
    }

    #[test]
    fn typed_values_are_read() {
        let (image, statics) = (Image::new("c"), Statics::default());
        let configs = Configs { image: &image, statics: &statics, node: 1 };
        let topic = configs.topic("t");
        assert_eq!(topic.integer("max.message.bytes"), 1_048_588);
        assert_eq!(topic.double("min.cleanable.dirty.ratio"), 0.5);
        assert_eq!(topic.list("cleanup.policy"), ["delete"]);
        assert!(configs.broker().flag("auto.create.topics.enable"));
        assert_eq!(configs.broker().integer("log.retention.ms"), -1);
        assert_eq!(configs.group("g").text("streams.assignor.name").as_deref(), Some("sticky"));
        assert_eq!(configs.group("g").integer("consumer.session.timeout.ms"), 45_000);
        assert_eq!(topic.text("no.such.key"), None);
    }
}

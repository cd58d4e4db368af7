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

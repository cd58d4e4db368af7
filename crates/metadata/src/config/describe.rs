//! The answer to DescribeConfigs: every key of a resource with its value and where that comes from.
//!
//! It resolves nothing by itself and hides what is secret. The broker's handler asks it.

use std::collections::BTreeSet;

use model::TopicName;

use super::{Configs, Key, Kind, Resolved, Resource, ResourceKind, Update, Value, catalogue};
use crate::{Error, image::Overrides};

/// A key of a resource, described.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub name: String,
    /// Its effective value; `None` if it has none or is secret.
    pub value: Option<String>,
    /// Where the value comes from.
    pub source: Source,
    /// Whether it can only be changed with a restart.
    pub read_only: bool,
    /// Whether its value is secret.
    pub sensitive: bool,
    /// Every place that has a value for it, the one that counts first.
    pub synonyms: Vec<Synonym>,
    /// Its type; `None` if the catalogue does not know the key.
    pub kind: Option<Kind>,
    /// What it is for.
    pub doc: Option<&'static str>,
}

/// One place that has a value for a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Synonym {
    /// The key there.
    pub name: String,
    /// The value there; `None` if it is secret.
    pub value: Option<String>,
    /// The place.
    pub source: Source,
}

/// The places that values come from, with Kafka's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(i8)]
pub enum Source {
    /// Set for the topic.
    DynamicTopic = 1,
    /// Set for the broker.
    DynamicBroker = 2,
    /// Set for all brokers.
    DynamicDefaultBroker = 3,
    /// From the broker's files.
    StaticBroker = 4,
    /// Nobody has set it.
    Default = 5,
    /// Set for the client metrics subscription.
    ClientMetrics = 7,
    /// Set for the group.
    Group = 8,
}

impl Configs<'_> {
    /// Describes a resource: the keys in `names`, or all of them if there are none.
    pub fn describe(&self, resource: &Resource, names: Option<&[String]>) -> Result<Vec<Entry>, Error> {
        let name = resource.name.as_str();
        let mut entries = match resource.kind {
            ResourceKind::Topic => {
                TopicName::new(name).map_err(|error| Error::InvalidTopicException(error.to_string()))?;
                if self.image.topic(name).is_none() {
                    return Err(Error::UnknownTopicOrPartition(format!("There is no topic '{name}'.")));
                }
                self.describe_own(resource.kind, self.overrides(resource.kind, name))
            }
            ResourceKind::Group | ResourceKind::ClientMetrics if name.is_empty() => {
                return Err(Error::InvalidRequest(format!(
                    "The name of a {} resource is needed.",
                    resource.kind
                )));
            }
            ResourceKind::Group | ResourceKind::ClientMetrics => {
                self.describe_own(resource.kind, self.overrides(resource.kind, name))
            }
            ResourceKind::Broker if name.is_empty() => self.describe_all_brokers(),
            ResourceKind::Broker if name.parse() == Ok(self.node) => self.describe_broker(),
            ResourceKind::Broker => {
                return Err(Error::InvalidRequest(format!(
                    "This is broker {}: ask broker '{name}' itself, or name no broker for what holds for all.",
                    self.node
                )));
            }
            ResourceKind::BrokerLogger => {
                return Err(Error::InvalidRequest("Log levels are not kept in the metadata.".to_owned()));
            }
        };
        if let Some(names) = names.filter(|names| !names.is_empty()) {
            entries.retain(|entry| names.contains(&entry.name));
        }
        Ok(entries)
    }

    /// Describes a resource other than a broker for which `own` is set.
    pub(crate) fn describe_own(self, kind: ResourceKind, own: Option<&Overrides>) -> Vec<Entry> {
        let resolved = self.with(kind, own);
        let is_set = |key: &Key| own.is_some_and(|own| own.contains_key(key.name));
        let mut keys: Vec<_> = catalogue::keys(kind).filter(|key| !key.internal || is_set(key)).collect();
        keys.sort_by_key(|key| key.name);
        keys.into_iter().map(|key| self.entry(key, kind, is_set(key), &resolved)).collect()
    }

    fn entry(self, key: &Key, kind: ResourceKind, is_set: bool, resolved: &Resolved<'_>) -> Entry {
        let sensitive = key.is_sensitive();
        let value = resolved.value(key.name).map(|value| value.to_string()).filter(|_| !sensitive);
        let mut synonyms = Vec::new();
        let mut add =
            |source| synonyms.push(Synonym { name: key.name.to_owned(), value: value.clone(), source });
        match kind {
            ResourceKind::Topic if is_set => add(Source::DynamicTopic),
            ResourceKind::Group if is_set => add(Source::Group),
            ResourceKind::ClientMetrics if is_set => add(Source::ClientMetrics),
            _ => {}
        }
        match (key.broker_keys, kind, key.default_text()) {
            ([first, ..], _, _) => synonyms.extend(self.broker_synonyms(first, sensitive)),
            ([], ResourceKind::Group, Some(text)) => synonyms.push(Synonym {
                name: key.name.to_owned(),
                value: Some(text.to_owned()).filter(|_| !sensitive),
                source: Source::Default,
            }),
            _ => {}
        }
        Entry {
            name: key.name.to_owned(),
            value,
            source: synonyms.first().map_or(Source::Default, |first| first.source),
            read_only: false,
            sensitive,
            synonyms,
            kind: Some(key.kind),
            doc: Some(key.doc),
        }
    }

    fn describe_broker(self) -> Vec<Entry> {
        let known = catalogue::keys(ResourceKind::Broker).filter(|key| !key.internal).map(|key| key.name);
        let dynamic = [self.dynamic(), self.dynamic_default()].into_iter().flatten().flatten();
        let names: BTreeSet<&str> = known
            .chain(dynamic.map(|(name, _)| name.as_str()))
            .chain(self.statics.iter().map(|(name, _)| name))
            .collect();
        names.into_iter().map(|name| self.broker_entry(name, |_| true)).collect()
    }

    fn describe_all_brokers(self) -> Vec<Entry> {
        let set = self.dynamic_default().into_iter().flatten();
        let mut entries: Vec<_> = set
            .map(|(name, value)| {
                let entry = self.broker_entry(name, |source| source == Source::DynamicDefaultBroker);
                Entry { value: Some(value.clone()).filter(|_| !entry.sensitive), ..entry }
            })
            .collect();
        entries.sort_by(|left, right| left.name.cmp(&right.name));
        entries
    }

    fn broker_entry(self, name: &str, counts: impl Fn(Source) -> bool) -> Entry {
        let key = catalogue::find(ResourceKind::Broker, catalogue::without_listener(name));
        let sensitive = key.is_none_or(Key::is_sensitive);
        let value = self.broker().value(name).map(|value: Value| value.to_string()).filter(|_| !sensitive);
        let mut synonyms = self.broker_synonyms(name, sensitive);
        synonyms.retain(|synonym| counts(synonym.source));
        Entry {
            name: name.to_owned(),
            value,
            source: synonyms.first().map_or(Source::Default, |first| first.source),
            read_only: key.is_none_or(|key| key.update == Update::ReadOnly || key.name != name),
            sensitive,
            synonyms,
            kind: key.map(|key| key.kind),
            doc: key.map(|key| key.doc),
        }
    }

    /// Every place that has a value for a broker key or for one that stands in for it. As in Kafka, the places before
    /// the first that has the key itself are left out, even if one of them counts.
    fn broker_synonyms(self, name: &str, sensitive: bool) -> Vec<Synonym> {
        let names = stand_ins(name);
        let mut synonyms = Vec::new();
        let sources =
            [Source::DynamicBroker, Source::DynamicDefaultBroker, Source::StaticBroker, Source::Default];
        for source in sources {
            for name in &names {
                let value = match source {
                    Source::DynamicBroker => {
                        self.dynamic().and_then(|set| set.get(*name)).map(String::as_str)
                    }
                    Source::DynamicDefaultBroker => {
                        self.dynamic_default().and_then(|set| set.get(*name)).map(String::as_str)
                    }
                    Source::StaticBroker => self.statics.get(name),
                    _ => catalogue::find(ResourceKind::Broker, name).and_then(|key| key.default_text()),
                };
                if let Some(value) = value {
                    let value = Some(value.to_owned()).filter(|_| !sensitive);
                    synonyms.push(Synonym { name: (*name).to_owned(), value, source });
                }
            }
        }
        synonyms.into_iter().skip_while(|synonym| synonym.name != name).collect()
    }
}

/// The broker keys that say the same in other units, the finest first; or the key and its form without a listener.
fn stand_ins(name: &str) -> Vec<&str> {
    const GROUPS: &[&[&str]] = &[
        &["log.roll.ms", "log.roll.hours"],
        &["log.roll.jitter.ms", "log.roll.jitter.hours"],
        &["log.retention.ms", "log.retention.minutes", "log.retention.hours"],
    ];
    if let Some(group) = GROUPS.iter().find(|group| group.contains(&name)) {
        return group.to_vec();
    }
    if name == "log.flush.interval.ms" {
        return vec![name, "log.flush.scheduler.interval.ms"];
    }
    match catalogue::without_listener(name) {
        base if base == name => vec![name],
        base => vec![name, base],
    }
}

#[cfg(test)]
mod tests;

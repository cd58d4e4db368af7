//! Configurations are changed, key by key or as a whole (KIP-226, KIP-339).
//!
//! It does not put them into force: whoever reads the next image does. The controller's dispatch calls it.

use std::collections::BTreeSet;

use coordinator::Outcome;
use model::{PartitionIndex, TopicId, TopicName};

use super::Controller;
use crate::{
    AlterConfigsResults, ConfigChange, ConfigOperation, ConfigValues, Error, PartitionChange, Record, Reply,
    Topic,
    config::{Resource, ResourceKind, check_alteration, is_list},
    features,
    image::Overrides,
};

impl Controller {
    pub(super) fn incremental_alter_configs(
        &self,
        resources: Vec<(Resource, Vec<ConfigChange>)>,
        validate_only: bool,
    ) -> Outcome<Record, Reply> {
        let (records, results) = self.each_once(resources, |resource, changes| self.alter(resource, changes));
        let records = if validate_only { Vec::new() } else { records };
        Outcome::new(records, Reply::IncrementalAlterConfigs(results))
    }

    pub(super) fn alter_configs(
        &self,
        resources: Vec<(Resource, ConfigValues)>,
        validate_only: bool,
    ) -> Outcome<Record, Reply> {
        let (records, results) = self.each_once(resources, |resource, values| self.replace(resource, values));
        let records = if validate_only { Vec::new() } else { records };
        Outcome::new(records, Reply::AlterConfigs(results))
    }

    /// Asks `alter` for the records of each resource, unless it is there twice.
    fn each_once<T>(
        &self,
        resources: Vec<(Resource, T)>,
        alter: impl Fn(&Resource, T) -> Result<Vec<Record>, Error>,
    ) -> (Vec<Record>, AlterConfigsResults) {
        let mut seen = BTreeSet::new();
        let twice: BTreeSet<_> = resources
            .iter()
            .filter(|(resource, _)| !seen.insert(resource))
            .map(|(resource, _)| resource.clone())
            .collect();
        let mut records = Vec::new();
        let mut results = Vec::new();
        for (resource, changes) in resources {
            let result = if twice.contains(&resource) {
                Err(Error::InvalidRequest("Each resource can be in a request only once.".to_owned()))
            } else {
                alter(&resource, changes).map(|new| records.extend(new))
            };
            results.push((resource, result));
        }
        let cleared = self.elr_cleared(&records);
        records.extend(cleared);
        (records, results)
    }

    fn alter(&self, resource: &Resource, changes: Vec<ConfigChange>) -> Result<Vec<Record>, Error> {
        let names: Vec<_> = changes.iter().map(|change| change.name.clone()).collect();
        let nulls = changes
            .iter()
            .filter(|change| change.operation != ConfigOperation::Delete && change.value.is_none());
        check_names(&names, nulls.map(|change| change.name.as_str()))?;
        let before = self.image.overrides(resource.kind, &resource.name);
        let mut after = before.map(|before| Overrides::clone(before)).unwrap_or_default();
        for change in changes {
            let value = change.value.unwrap_or_default();
            match change.operation {
                ConfigOperation::Set => {
                    after.insert(change.name, value);
                }
                ConfigOperation::Delete => {
                    after.remove(&change.name);
                }
                ConfigOperation::Append | ConfigOperation::Subtract => {
                    let joined = self.edit_list(resource, &after, &change.name, change.operation, &value)?;
                    after.insert(change.name, joined);
                }
            }
        }
        self.alteration(resource, &after, &names)
    }

    fn replace(&self, resource: &Resource, values: ConfigValues) -> Result<Vec<Record>, Error> {
        let mut names: Vec<_> = values.iter().map(|(name, _)| name.clone()).collect();
        let nulls = values.iter().filter(|(_, value)| value.is_none()).map(|(name, _)| name.as_str());
        check_names(&names, nulls)?;
        let before = self.image.overrides(resource.kind, &resource.name);
        let gone = before.into_iter().flat_map(|before| before.keys()).filter(|name| !names.contains(name));
        let gone: Vec<_> = gone.cloned().collect();
        names.extend(gone);
        let after = values.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        self.alteration(resource, &after, &names)
    }

    /// The records that make `after` out of what is set, if that is allowed. `names` are the keys that were named.
    fn alteration(
        &self,
        resource: &Resource,
        after: &Overrides,
        names: &[String],
    ) -> Result<Vec<Record>, Error> {
        if resource.kind == ResourceKind::Topic {
            if resource.name.is_empty() {
                return Err(Error::InvalidRequest(
                    "There are no defaults for all topics; name a topic.".to_owned(),
                ));
            }
            TopicName::new(&resource.name)
                .map_err(|error| Error::InvalidTopicException(error.to_string()))?;
        }
        if matches!(resource.kind, ResourceKind::Group | ResourceKind::ClientMetrics)
            && resource.name.is_empty()
        {
            return Err(Error::InvalidRequest(format!(
                "The name of a {} resource is needed.",
                resource.kind
            )));
        }
        check_alteration(self.configs(), resource, after, names)?;
        self.check_exists(resource)?;
        let before = self.image.overrides(resource.kind, &resource.name);
        let old = |name: &String| before.and_then(|before| before.get(name));
        // Brokers are told of unchanged keys too: they may have to load a file again.
        let differs = |name: &&String| resource.kind == ResourceKind::Broker || old(name) != after.get(*name);
        let record = |name: &String| Record::Config {
            resource: resource.clone(),
            name: name.clone(),
            value: after.get(name).cloned(),
        };
        Ok(names.iter().filter(differs).map(record).collect())
    }

    fn check_exists(&self, resource: &Resource) -> Result<(), Error> {
        let name = resource.name.as_str();
        match resource.kind {
            ResourceKind::Topic if self.image.topic(name).is_none() => {
                Err(Error::UnknownTopicOrPartition(format!("There is no topic '{name}'.")))
            }
            ResourceKind::Broker if !name.is_empty() => {
                match name.parse().ok().and_then(|id| self.image.broker(id)) {
                    Some(_) => Ok(()),
                    None => Err(Error::BrokerIdNotRegistered(format!(
                        "Broker {name} is not registered in this cluster."
                    ))),
                }
            }
            _ => Ok(()),
        }
    }

    fn edit_list(
        &self,
        resource: &Resource,
        set: &Overrides,
        name: &str,
        operation: ConfigOperation,
        operand: &str,
    ) -> Result<String, Error> {
        if !is_list(resource.kind, name) {
            return Err(Error::InvalidConfig(format!(
                "'{name}' is no list of the {} configuration: it can be set or deleted only.",
                resource.kind
            )));
        }
        let default =
            || crate::config::find(resource.kind, name).and_then(|key| key.default_text()).unwrap_or("");
        let now = set.get(name).map_or_else(default, String::as_str);
        let mut parts: Vec<_> = now.split(',').filter(|part| !part.is_empty()).collect();
        for value in operand.split(',') {
            match operation {
                ConfigOperation::Append if !parts.contains(&value) => parts.push(value),
                ConfigOperation::Subtract => {
                    if let Some(place) = parts.iter().position(|part| *part == value) {
                        parts.remove(place);
                    }
                }
                _ => {}
            }
        }
        Ok(parts.join(","))
    }

    /// A new least number of in-sync replicas makes what is known of eligible replicas void (KIP-966): the high
    /// watermark may have moved without them. It has not where the ISR is empty: forgetting them there, as Kafka does,
    /// would lose the partition.
    fn elr_cleared(&self, records: &[Record]) -> Vec<Record> {
        if self.image.feature(features::ELR) == 0 {
            return Vec::new();
        }
        let mut cleared = Vec::new();
        for record in records {
            let Record::Config { resource, name, .. } = record else { continue };
            if name != "min.insync.replicas" {
                continue;
            }
            let name = (resource.kind == ResourceKind::Topic).then_some(resource.name.as_str());
            let topics = || self.image.topics().filter(|topic| name.is_none_or(|name| *topic.name == *name));
            let needed = topics().any(|topic| {
                topic.partitions.iter().any(|partition| partition.isr.is_empty() && partition.has_elr())
            });
            if needed {
                let of = |topic: &Topic| {
                    let held = topic.indexed().filter(|(_, one)| one.has_elr() && !one.isr.is_empty());
                    held.map(|(index, _)| Record::PartitionChange(elr_forgotten(topic.id, index)))
                        .collect::<Vec<_>>()
                };
                cleared.extend(topics().flat_map(|topic| of(topic)));
            } else {
                let topic = name.and_then(|name| TopicName::new(name).ok());
                cleared.push(Record::ClearElr { topic });
            }
        }
        cleared
    }
}

/// The change after which a partition has no eligible replicas beside its ISR.
pub(super) fn elr_forgotten(topic: TopicId, index: PartitionIndex) -> PartitionChange {
    let (elr, elr_last_known) = (Some(Vec::new()), Some(Vec::new()));
    PartitionChange { topic, index, elr, elr_last_known, ..PartitionChange::default() }
}

fn check_names<'a>(names: &[String], nulls: impl Iterator<Item = &'a str>) -> Result<(), Error> {
    let mut seen = BTreeSet::new();
    if let Some(twice) = names.iter().find(|name| !seen.insert(*name)) {
        return Err(Error::InvalidRequest(format!(
            "'{twice}' is in the request twice for the same resource."
        )));
    }
    let nulls: Vec<_> = nulls.collect();
    if !nulls.is_empty() {
        return Err(Error::InvalidRequest(format!(
            "These keys need a value: {}; delete them for the default.",
            nulls.join(", ")
        )));
    }
    Ok(())
}

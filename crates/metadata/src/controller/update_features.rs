//! Feature levels are changed (KIP-584).
//!
//! It upgrades no program and rewrites no data. The controller's dispatch calls it.

use coordinator::Outcome;
use model::TopicId;

use super::{Controller, Decision, alter_configs::elr_forgotten};
use crate::{
    Error, FeatureUpdate, FeatureUpgrade, Partition, PartitionChange, Record, Reply, Topic,
    config::{Resource, ResourceKind},
    features::{self, METADATA_VERSION},
    image::Overrides,
};

impl Controller {
    pub(super) fn update_features(&self, updates: Vec<FeatureUpdate>, validate_only: bool) -> Decision {
        let mut records = Vec::new();
        for (place, update) in updates.iter().enumerate() {
            if updates.iter().take(place).any(|other| other.name == update.name) {
                return Err(Error::InvalidRequest(format!("{} is in this request twice.", update.name)));
            }
            self.check_update(update)?;
            let now = self.image.feature(&update.name);
            if update.name == features::ELR && (now > 0) != (update.level > 0) {
                records.extend(if now > 0 { self.elr_ended() } else { self.elr_begun() });
            }
            if now != update.level {
                records.push(Record::FeatureLevel { name: update.name.clone(), level: update.level });
            }
        }
        if validate_only {
            records.clear();
        }
        Ok(Outcome::new(records, Reply::UpdateFeatures))
    }

    /// Eligible replicas need one least ISR for all brokers (KIP-966), as in [`Controller::bootstrap`].
    fn elr_begun(&self) -> Vec<Record> {
        let name = "min.insync.replicas";
        let set = |resource, value| Record::Config { resource, name: name.to_owned(), value };
        let brokers = self.image.overridden(ResourceKind::Broker);
        let has = |overrides: &Overrides| overrides.contains_key(name);
        let own = brokers.filter(|(broker, overrides)| !broker.is_empty() && has(overrides));
        let mut records: Vec<_> =
            own.map(|(broker, _)| set(Resource::new(ResourceKind::Broker, broker), None)).collect();
        if !self.image.overrides(ResourceKind::Broker, "").is_some_and(|overrides| has(overrides)) {
            records.push(set(Resource::all_brokers(), self.configs().broker().text(name).map(Into::into)));
        }
        records
    }

    /// Without eligible replicas the ISR is all that tells who holds everything: where it is empty, they become it.
    fn elr_ended(&self) -> Vec<Record> {
        let ended = |topic: TopicId, index, partition: &Partition| {
            let isr = (partition.isr.is_empty() && !partition.elr.is_empty()).then(|| partition.elr.clone());
            Record::PartitionChange(PartitionChange { isr, ..elr_forgotten(topic, index) })
        };
        let of = |topic: &Topic| {
            let held = topic.indexed().filter(|(_, partition)| partition.has_elr());
            held.map(|(index, partition)| ended(topic.id, index, partition)).collect::<Vec<_>>()
        };
        self.image.topics().flat_map(|topic| of(topic)).collect()
    }

    fn check_update(&self, update: &FeatureUpdate) -> Result<(), Error> {
        let FeatureUpdate { name, level, upgrade } = update;
        let now = self.image.feature(name);
        let Some((min, max)) = features::range(name) else {
            return Err(Error::FeatureUpdateFailed(format!("There is no feature '{name}'.")));
        };
        if !(min..=max).contains(level) {
            return Err(Error::FeatureUpdateFailed(format!(
                "{name} cannot become {level}: this controller can work with {min} to {max}."
            )));
        }
        let brokers = self.image.brokers().map(|broker| ("broker", broker.id, &broker.features));
        let controllers = self.image.controllers().map(|one| ("controller", one.id, &one.features));
        for (role, id, features) in brokers.chain(controllers) {
            let range = features.iter().find(|range| range.name == *name);
            if *level > 0 && !range.is_some_and(|range| (range.min..=range.max).contains(level)) {
                return Err(Error::FeatureUpdateFailed(format!(
                    "{name} cannot become {level}: {role} {id} cannot work with that; upgrade it first."
                )));
            }
        }
        if *level < now && *upgrade == FeatureUpgrade::Upgrade {
            return Err(Error::FeatureUpdateFailed(format!(
                "{name} is {now} already: going back to {level} must be asked for as a downgrade."
            )));
        }
        if *level < now && name == METADATA_VERSION {
            return Err(Error::FeatureUpdateFailed(format!(
                "{name} cannot go back from {now} to {level}: the metadata log may hold what {level} cannot say."
            )));
        }
        Ok(())
    }
}

//! Feature levels are changed (KIP-584, KIP-1022).
//!
//! It upgrades no program and rewrites no data. The controller's dispatch calls it.

use coordinator::Outcome;
use model::TopicId;

use super::{Controller, Decision, alter_configs::elr_forgotten};
use crate::{
    Error, FeatureUpdate, FeatureUpgrade, Partition, PartitionChange, Record, Reply, Topic,
    config::{Resource, ResourceKind},
    features::{self, KRAFT_VERSION, METADATA_VERSION},
    image::Overrides,
};

impl Controller {
    pub(super) fn update_features(&self, updates: Vec<FeatureUpdate>, validate_only: bool) -> Decision {
        let mut records = Vec::new();
        for (place, update) in updates.iter().enumerate() {
            if updates.iter().take(place).any(|other| other.name == update.name) {
                return Err(Error::InvalidRequest(format!("{} is in this request twice.", update.name)));
            }
            self.check_update(&updates, update)?;
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

    /// Every refusal is an INVALID_UPDATE_VERSION, as in Kafka, and the checks come in Kafka's order.
    fn check_update(&self, updates: &[FeatureUpdate], update: &FeatureUpdate) -> Result<(), Error> {
        let FeatureUpdate { name, level, upgrade } = update;
        let now = self.image.feature(name);
        let refuse =
            |why: &str| Err(Error::InvalidUpdateVersion(format!("{name} cannot become {level}: {why}.")));
        if *level < 0 {
            return refuse("no level is below 0");
        }
        if let Some(why) = self.why_unsupported(name, *level) {
            return refuse(&why);
        }
        if features::range(name).is_none() {
            return refuse("there is no such feature");
        }
        let is_upgrade = *upgrade == FeatureUpgrade::Upgrade;
        if *level < now && is_upgrade {
            return refuse(&format!("it is {now} already, and going back must be asked for as a downgrade"));
        }
        if *level > now && !is_upgrade {
            return refuse(&format!("it is {now}, and a downgrade does not go up"));
        }
        if *level < now && name == METADATA_VERSION && features::has_metadata_changed(*level, now) {
            return refuse(&format!("it is {now}, and the metadata may hold what {level} cannot say"));
        }
        if *level < now && name == KRAFT_VERSION {
            return refuse(&format!("it is {now}, and the quorum does not go back"));
        }
        let wanted = updates.iter().find(|other| other.name == METADATA_VERSION).map(|other| other.level);
        let metadata = wanted.unwrap_or_else(|| self.image.feature(METADATA_VERSION));
        if name == features::ELR && *level > 0 && metadata < features::ELR_NEEDS {
            let least = features::ELR_NEEDS;
            return refuse(&format!("it needs a {METADATA_VERSION} of {least}, which is {metadata}"));
        }
        Ok(())
    }

    /// Why this controller, a broker or another controller cannot work with that level of a feature.
    fn why_unsupported(&self, name: &str, level: i16) -> Option<String> {
        let check = |who: &str, range: Option<(i16, i16)>| match range.unwrap_or((0, 0)) {
            (min, max) if (min..=max).contains(&level) => None,
            (_, 0) => Some(format!("{who} does not know this feature")),
            (min, max) => Some(format!("{who} can work with {min} to {max} only; upgrade it first")),
        };
        let node = self.settings.node;
        let brokers = self.image.brokers().map(|broker| ("broker", broker.id, &broker.features));
        let controllers = self.image.controllers().map(|one| ("controller", one.id, &one.features));
        let others = brokers.chain(controllers.filter(|(_, id, _)| *id != node));
        let own = check(&format!("this controller, {node},"), features::range(name));
        own.or_else(|| {
            others.into_iter().find_map(|(role, id, features)| {
                let range = features.iter().find(|range| range.name == name);
                check(&format!("{role} {id}"), range.map(|range| (range.min, range.max)))
            })
        })
    }
}

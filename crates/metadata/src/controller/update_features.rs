//! Feature levels are changed (KIP-584).
//!
//! It upgrades no program and rewrites no data. The controller's dispatch calls it.

use coordinator::Outcome;

use super::{Controller, Decision};
use crate::{
    Error, FeatureUpdate, FeatureUpgrade, Record, Reply,
    features::{self, METADATA_VERSION},
};

impl Controller {
    pub(super) fn update_features(&self, updates: Vec<FeatureUpdate>, validate_only: bool) -> Decision {
        let mut records = Vec::new();
        for (place, update) in updates.iter().enumerate() {
            if updates.iter().take(place).any(|other| other.name == update.name) {
                return Err(Error::InvalidRequest(format!("{} is in this request twice.", update.name)));
            }
            self.check_update(update)?;
            if self.image.feature(&update.name) != update.level {
                records.push(Record::FeatureLevel { name: update.name.clone(), level: update.level });
            }
        }
        if validate_only {
            records.clear();
        }
        Ok(Outcome::new(records, Reply::UpdateFeatures))
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
        for broker in self.image.brokers() {
            let range = broker.features.iter().find(|range| range.name == *name);
            if *level > 0 && !range.is_some_and(|range| (range.min..=range.max).contains(level)) {
                return Err(Error::FeatureUpdateFailed(format!(
                    "{name} cannot become {level}: broker {} cannot work with that; upgrade it first.",
                    broker.id
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

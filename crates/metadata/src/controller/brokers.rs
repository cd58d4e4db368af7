//! Brokers come, are fenced and unfenced, and go.
//!
//! It does not notice that a broker is silent: the host does and asks for its fencing. The controller's dispatch calls
//! it.

use coordinator::Outcome;
use model::NodeId;

use super::{Controller, Decision, election::Outlook};
use crate::{
    DIRECTORY_LOST, Error, Record, RegisterBroker, Registration, Reply,
    features::{KRAFT_VERSION, METADATA_VERSION},
};

impl Controller {
    pub(super) fn register_broker(&self, request: RegisterBroker) -> Decision {
        self.check_registration(&request)?;
        let known = self.image.broker(request.broker);
        let same = known.filter(|known| known.incarnation == request.incarnation);
        // Larger than every epoch that was given before, because every registration is a record of its own.
        let epoch = same.map_or(self.image.position().offset + 1, |same| same.epoch);
        let broker = Registration {
            id: request.broker,
            epoch,
            incarnation: request.incarnation,
            endpoints: request.endpoints,
            features: request.features,
            rack: request.rack,
            fenced: same.map_or(request.fenced, |same| same.fenced && request.fenced),
            shutting_down: same.is_some_and(|same| same.shutting_down),
            directories: request.directories,
            cordoned: Vec::new(),
        };
        let id = broker.id;
        let led = known.is_some() && same.is_none();
        let mut records = Vec::new();
        if led && broker.fenced {
            self.elect_without(id, &mut records);
        }
        let unfenced = !broker.fenced;
        records.push(Record::RegisterBroker(broker));
        if unfenced {
            // A new incarnation that leads at once begins new leader epochs, so that nobody takes what the old one
            // may have lost for what this one has.
            self.elect_with(id, led, &mut records);
        }
        Ok(Outcome::new(records, Reply::RegisterBroker(epoch)))
    }

    pub(super) fn unfence_broker(&self, broker: NodeId, broker_epoch: i64) -> Decision {
        let registration = self.check_broker_epoch(broker, broker_epoch)?;
        if !registration.fenced {
            return Ok(Outcome::reply(Reply::FencingChanged));
        }
        let mut records = vec![change(broker, broker_epoch, false)];
        self.elect_with(broker, false, &mut records);
        Ok(Outcome::new(records, Reply::FencingChanged))
    }

    pub(super) fn fence_broker(&self, broker: NodeId, broker_epoch: i64) -> Decision {
        let registration = self.check_broker_epoch(broker, broker_epoch)?;
        if registration.fenced {
            return Ok(Outcome::reply(Reply::FencingChanged));
        }
        let mut records = Vec::new();
        self.elect_without(broker, &mut records);
        records.push(change(broker, broker_epoch, true));
        Ok(Outcome::new(records, Reply::FencingChanged))
    }

    pub(super) fn unregister_broker(&self, broker: NodeId) -> Decision {
        let Some(registration) = self.image.broker(broker) else {
            return Err(unregistered(broker));
        };
        let mut records = Vec::new();
        self.elect_without(broker, &mut records);
        records.push(Record::UnregisterBroker { broker, broker_epoch: registration.epoch });
        Ok(Outcome::new(records, Reply::UnregisterBroker))
    }

    /// The registration of a broker, if its epoch is the current one.
    pub(super) fn check_broker_epoch(&self, broker: NodeId, epoch: i64) -> Result<&Registration, Error> {
        let Some(registration) = self.image.broker(broker) else {
            return Err(unregistered(broker));
        };
        if registration.epoch != epoch {
            return Err(Error::StaleBrokerEpoch(format!(
                "Broker {broker} has epoch {}, not {epoch}: it must register again.",
                registration.epoch
            )));
        }
        Ok(registration)
    }

    /// Partition changes for when a broker can no longer lead.
    fn elect_without(&self, broker: NodeId, records: &mut Vec<Record>) {
        let active = |id| id != broker && self.image.is_active(id);
        for topic in self.image.topics() {
            let outlook = Outlook::of(self, &topic.name, &active);
            for (index, partition) in topic.indexed().filter(|(_, partition)| partition.isr.contains(&broker))
            {
                let isr = partition.isr.iter().copied().filter(|id| *id != broker).collect();
                records.extend(outlook.change(topic.id, index, partition, isr).map(Record::PartitionChange));
            }
        }
    }

    /// Partition changes for when a broker can lead again: those without a leader elect one; those that it `led` in
    /// its former life begin a new leader epoch.
    fn elect_with(&self, broker: NodeId, led: bool, records: &mut Vec<Record>) {
        let active = |id| id == broker || self.image.is_active(id);
        for topic in self.image.topics() {
            let outlook = Outlook::of(self, &topic.name, &active);
            for (index, partition) in
                topic.indexed().filter(|(_, partition)| partition.replicas.contains(&broker))
            {
                let change = if led && partition.leader == broker {
                    Some(outlook.again(topic.id, index, partition))
                } else if partition.leader < 0 {
                    outlook.change(topic.id, index, partition, partition.isr.clone())
                } else {
                    None
                };
                records.extend(change.map(Record::PartitionChange));
            }
        }
    }

    fn check_registration(&self, request: &RegisterBroker) -> Result<(), Error> {
        let id = request.broker;
        if request.cluster_id != self.image.cluster_id() {
            return Err(Error::InconsistentClusterId(format!(
                "This is cluster {}, but broker {id} wants to join cluster {}: point it to its own cluster, or empty \
                 its data directory.",
                self.image.cluster_id(),
                request.cluster_id
            )));
        }
        let refuse = |why: String| Err(Error::InvalidRegistration(why));
        if id < 0 {
            return refuse(format!("A broker's id cannot be negative, but it is {id}."));
        }
        if request.directories.is_empty() {
            return refuse(format!("Broker {id} has named no log directory."));
        }
        for (place, directory) in request.directories.iter().enumerate() {
            // Kafka keeps the first hundred ids for itself.
            if u128::from_be_bytes(directory.0) < 100 || *directory == DIRECTORY_LOST {
                return refuse(format!("The id {directory} is reserved and cannot name a log directory."));
            }
            if request.directories.iter().skip(place + 1).any(|other| other == directory) {
                return refuse(format!("Broker {id} has named the log directory {directory} twice."));
            }
            let elsewhere = |other: &Registration| other.id != id && other.directories.contains(directory);
            if let Some(other) = self.image.brokers().find(|other| elsewhere(other)) {
                return refuse(format!(
                    "The log directory {directory} belongs to broker {}; is this a copy of its disk?",
                    other.id
                ));
            }
        }
        self.check_broker_features(request)
    }

    fn check_broker_features(&self, request: &RegisterBroker) -> Result<(), Error> {
        let id = request.broker;
        if !request.features.iter().any(|feature| feature.name == METADATA_VERSION) {
            return Err(Error::InvalidRegistration(format!(
                "Broker {id} has not named its {METADATA_VERSION}."
            )));
        }
        for (name, level) in self.image.features().filter(|(name, _)| *name != KRAFT_VERSION) {
            let range = request.features.iter().find(|feature| feature.name == name);
            let (min, max) = range.map_or((0, 0), |range| (range.min, range.max));
            if !(min..=max).contains(&level) {
                return Err(Error::UnsupportedVersion(format!(
                    "The cluster's {name} is {level}, but broker {id} can work with {min} to {max} only: install a \
                     version of it that can."
                )));
            }
        }
        Ok(())
    }
}

fn change(broker: NodeId, broker_epoch: i64, fenced: bool) -> Record {
    Record::BrokerChange {
        broker,
        broker_epoch,
        fenced: Some(fenced),
        shutting_down: None,
        directories: None,
        cordoned: None,
    }
}

fn unregistered(broker: NodeId) -> Error {
    Error::BrokerIdNotRegistered(format!("Broker {broker} is not registered in this cluster."))
}

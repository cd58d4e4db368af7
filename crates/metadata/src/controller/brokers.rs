//! Brokers come, are fenced and unfenced, and go.
//!
//! It does not notice that a broker is silent: the host does and asks for its fencing. The controller's dispatch calls
//! it.

use coordinator::Outcome;
use model::NodeId;
use stdx::Uuid;

use super::{Controller, Decision, election::Outlook};
use crate::{
    DIRECTORY_LOST, DIRECTORY_MIGRATING, DIRECTORY_UNASSIGNED, Error, Record, RegisterBroker, Registration,
    Reply, Topic,
    config::AckDurability,
    features::{KRAFT_VERSION, METADATA_VERSION},
};

/// What a broker names as its previous epoch that was not stopped cleanly.
const NO_EPOCH: i64 = -1;

impl Controller {
    pub(super) fn register_broker(&self, request: RegisterBroker) -> Decision {
        self.check_registration(&request)?;
        let known = self.image.broker(request.broker).map(|known| &**known);
        let same = known.filter(|known| known.incarnation == request.incarnation);
        // Larger than every epoch that was given before, because every registration is a record of its own.
        let epoch = same.map_or(self.image.position().offset + 1, |same| same.epoch);
        let broker = Registration {
            id: request.broker,
            epoch,
            incarnation: request.incarnation,
            endpoints: request.endpoints.clone(),
            features: request.features.clone(),
            rack: request.rack.clone(),
            fenced: same.map_or(request.fenced, |same| same.fenced && request.fenced),
            shutting_down: same.is_some_and(|same| same.shutting_down),
            directories: request.directories.clone(),
            cordoned: same.map_or_else(Vec::new, |same| same.cordoned.clone()),
        };
        let led = known.is_some() && same.is_none();
        let mut records = Vec::new();
        if same.is_none() && broker.fenced {
            let doubted = |topic: &Topic, directory| !self.vouches(&request, known, topic, directory);
            self.elect_without(broker.id, &doubted, &mut records);
        }
        if let Some(same) = same {
            let gone = same.directories.iter().copied().filter(|dir| !broker.directories.contains(dir));
            self.elect_without_directories(broker.id, &gone.collect::<Vec<_>>(), &mut records);
        }
        records.push(Record::RegisterBroker(broker.clone()));
        if !broker.fenced {
            // A new incarnation that leads at once begins new leader epochs, so that nobody takes what the old one
            // may have lost for what this one has.
            self.elect_with(&broker, led, &mut records);
        }
        Ok(Outcome::new(records, Reply::RegisterBroker(epoch)))
    }

    pub(super) fn unfence_broker(&self, broker: NodeId, broker_epoch: i64) -> Decision {
        let registration = self.check_broker_epoch(broker, broker_epoch)?;
        if !registration.fenced {
            return Ok(Outcome::reply(Reply::BrokerChanged));
        }
        let mut records = vec![change(broker, broker_epoch, Some(false), None)];
        self.elect_with(&Registration { fenced: false, ..registration.clone() }, false, &mut records);
        Ok(Outcome::new(records, Reply::BrokerChanged))
    }

    pub(super) fn fence_broker(&self, broker: NodeId, broker_epoch: i64) -> Decision {
        let registration = self.check_broker_epoch(broker, broker_epoch)?;
        if registration.fenced {
            return Ok(Outcome::reply(Reply::BrokerChanged));
        }
        let mut records = Vec::new();
        self.elect_without(broker, &|_, _| false, &mut records);
        records.push(change(broker, broker_epoch, Some(true), None));
        Ok(Outcome::new(records, Reply::BrokerChanged))
    }

    /// A broker begins its controlled shutdown (KIP-143): others lead what it led. Its own record comes last, so that
    /// who has reached it knows the new leaders.
    pub(super) fn shut_down_broker(&self, broker: NodeId, broker_epoch: i64) -> Decision {
        let registration = self.check_broker_epoch(broker, broker_epoch)?;
        if registration.shutting_down {
            return Ok(Outcome::reply(Reply::BrokerChanged));
        }
        let mut records = Vec::new();
        self.elect_without(broker, &|_, _| false, &mut records);
        records.push(change(broker, broker_epoch, None, Some(true)));
        Ok(Outcome::new(records, Reply::BrokerChanged))
    }

    /// What a forgotten broker held counts no more: when it comes back, it comes as a new one.
    pub(super) fn unregister_broker(&self, broker: NodeId) -> Decision {
        let Some(registration) = self.image.broker(broker) else {
            return Err(unregistered(broker));
        };
        let mut records = Vec::new();
        self.elect_without(broker, &|_, _| false, &mut records);
        records.push(Record::UnregisterBroker { broker, broker_epoch: registration.epoch });
        Ok(Outcome::new(records, Reply::UnregisterBroker))
    }

    /// The registration of a broker, if its epoch is the current one.
    pub(super) fn check_broker_epoch(&self, broker: NodeId, epoch: i64) -> Result<&Registration, Error> {
        let Some(registration) = self.image.broker(broker) else {
            return Err(Error::StaleBrokerEpoch(format!(
                "Broker {broker} is not registered: it must register again."
            )));
        };
        if registration.epoch != epoch {
            return Err(Error::StaleBrokerEpoch(format!(
                "Broker {broker} has epoch {}, not {epoch}: it must register again.",
                registration.epoch
            )));
        }
        Ok(registration)
    }

    /// Partition changes for when a broker can no longer lead. Where `doubted` says so of a replica in that directory,
    /// it may not even hold what it held (KIP-966).
    pub(super) fn elect_without(
        &self,
        broker: NodeId,
        doubted: &dyn Fn(&Topic, Uuid) -> bool,
        records: &mut Vec<Record>,
    ) {
        let fits = |id, directory| id != broker && self.fits(id, directory);
        for topic in self.image.topics() {
            let concerned = topic.indexed().filter_map(|(index, partition)| {
                let directory = partition.directory(broker).unwrap_or(DIRECTORY_UNASSIGNED);
                let in_isr = partition.isr.contains(&broker);
                let held = in_isr || partition.elr.contains(&broker);
                let doubtful = held && doubted(topic, directory);
                (in_isr || doubtful).then_some((index, partition, doubtful))
            });
            let mut concerned = concerned.peekable();
            if concerned.peek().is_none() {
                continue;
            }
            let outlook = Outlook::of(self, &topic.name, &fits);
            for (index, partition, doubtful) in concerned {
                let mut draft = outlook.draft(partition);
                draft.after.isr.retain(|id| *id != broker);
                draft.doubtful = doubtful.then_some(broker);
                records.extend(outlook.finish(topic.id, index, draft).map(Record::PartitionChange));
            }
        }
    }

    /// Partition changes for when a broker can lead again, as `broker` describes it: those without a leader elect
    /// one; those that it `led` in its former life begin a new leader epoch.
    fn elect_with(&self, broker: &Registration, led: bool, records: &mut Vec<Record>) {
        let fits = |id, directory| {
            if id == broker.id {
                broker.is_active() && broker.has_online(directory)
            } else {
                self.fits(id, directory)
            }
        };
        for topic in self.image.topics() {
            let concerned = topic.indexed().filter(|(_, partition)| {
                partition.replicas.contains(&broker.id)
                    && (partition.leader < 0 || led && partition.leader == broker.id)
            });
            let mut concerned = concerned.peekable();
            if concerned.peek().is_none() {
                continue;
            }
            let outlook = Outlook::of(self, &topic.name, &fits);
            for (index, partition) in concerned {
                let mut draft = outlook.draft(partition);
                draft.anew = partition.leader >= 0;
                records.extend(outlook.finish(topic.id, index, draft).map(Record::PartitionChange));
            }
        }
    }

    /// Whether a new incarnation still holds what the old one held in a topic and in that directory.
    ///
    /// As in Kafka, one that was stopped cleanly does: it names the epoch under which that was. One that crashed does
    /// too where every acknowledgement waited for stable storage, as long as the directory is the same. One that names
    /// the epoch of an earlier stop does not: its directory is a copy of what it was then.
    fn vouches(
        &self,
        request: &RegisterBroker,
        known: Option<&Registration>,
        topic: &Topic,
        directory: Uuid,
    ) -> bool {
        let clean = known.is_some_and(|known| known.epoch == request.previous_epoch);
        let durable = || self.configs().topic(&topic.name).ack_durability() == AckDurability::Fsync;
        let here = match directory {
            // Of a replica that could not be opened it is still to be said whether it is whole; until then it leads nothing.
            DIRECTORY_UNASSIGNED | DIRECTORY_MIGRATING | DIRECTORY_LOST => known.is_some(),
            _ => request.directories.contains(&directory),
        };
        let crashed = request.previous_epoch == NO_EPOCH;
        here && (clean || crashed && request.synced && durable())
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
            if u128::from_be_bytes(directory.0) < 100 {
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

fn change(broker: NodeId, broker_epoch: i64, fenced: Option<bool>, shutting_down: Option<bool>) -> Record {
    Record::BrokerChange { broker, broker_epoch, fenced, shutting_down, directories: None, cordoned: None }
}

fn unregistered(broker: NodeId) -> Error {
    Error::BrokerIdNotRegistered(format!("Broker {broker} is not registered in this cluster."))
}

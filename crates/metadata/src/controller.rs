//! The controller as a shard: it answers requests about the cluster's metadata with the records that change it.
//!
//! It keeps no log, measures no heartbeats and does not authorize: the broker's host does the first, asks for the
//! fencing of silent brokers, and checks rights before it asks. The state is the [`Image`] alone.

mod alter_configs;
mod alter_partition;
mod brokers;
mod client_quotas;
mod create_partitions;
mod create_topics;
mod delete_topics;
mod directories;
mod elect_leaders;
mod election;
mod producer_ids;
mod reassignments;
mod replicas;
mod update_features;

use std::sync::Arc;

use coordinator::{Now, Outcome, Shard};
use model::NodeId;

pub use elect_leaders::ELECTIONS_MAX;

use crate::{
    ControllerRegistration, Error, Image, Record, Reply, Request,
    config::{Configs, Resource, Statics},
    features,
};

/// A decision of the controller.
pub(crate) type Decision = Result<Outcome<Record, Reply>, Error>;

/// What a controller is started with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The cluster's id.
    pub cluster_id: String,
    /// The `node.id` of the controller.
    pub node: NodeId,
    /// The keys that the node was started with; they give the defaults of new topics.
    pub statics: Arc<Statics>,
}

/// The state machine of the cluster's metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Controller {
    settings: Settings,
    image: Image,
}

impl Controller {
    /// The controller of a cluster in which nothing has happened; replay its log to go on.
    pub fn new(settings: Settings) -> Self {
        let image = Image::new(&settings.cluster_id);
        Self { settings, image }
    }

    /// The controller of a cluster whose committed metadata are these.
    pub fn at(settings: Settings, image: Image) -> Self {
        Self { settings, image }
    }

    /// The metadata now; clone it to publish it.
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// The metadata, to say where it stands in the log; see [`Image::place`].
    pub fn image_mut(&mut self) -> &mut Image {
        &mut self.image
    }

    /// The configurations as the controller's node sees them.
    pub fn configs(&self) -> Configs<'_> {
        Configs { image: &self.image, statics: &self.settings.statics, node: self.settings.node }
    }

    /// A controller that says what is known already changes nothing.
    fn register_controller(&self, controller: ControllerRegistration) -> Outcome<Record, Reply> {
        let known = self.image.controller(controller.id) == Some(&controller);
        let records = if known { Vec::new() } else { vec![Record::RegisterController(controller)] };
        Outcome::new(records, Reply::RegisterController)
    }

    /// A controller that lives introduces itself again.
    fn unregister_controller(&self, controller: NodeId) -> Decision {
        let level = self.image.feature(features::METADATA_VERSION);
        if level < features::UNREGISTERS_CONTROLLERS_FROM {
            return Err(Error::UnsupportedVersion(format!(
                "Controllers can be unregistered from metadata.version {} on, and it is at {level}.",
                features::UNREGISTERS_CONTROLLERS_FROM
            )));
        }
        if self.image.controller(controller).is_none() {
            let text = format!("Controller {controller} is not registered in this cluster.");
            return Err(Error::ControllerIdNotRegistered(text));
        }
        Ok(Outcome::new(vec![Record::UnregisterController { controller }], Reply::UnregisterController))
    }

    /// What a new cluster starts with. As in Kafka, the least number of in-sync replicas becomes a setting of the
    /// cluster, because eligible leader replicas need it to be the same for all brokers (KIP-966).
    fn bootstrap(&self) -> Outcome<Record, Reply> {
        if self.image.feature(features::METADATA_VERSION) > 0 {
            return Outcome::reply(Reply::Bootstrap(false));
        }
        let min_isr = Record::Config {
            resource: Resource::all_brokers(),
            name: "min.insync.replicas".to_owned(),
            value: self.configs().broker().text("min.insync.replicas").map(|text| text.into_owned()),
        };
        Outcome::new(features::initial().chain([min_isr]).collect(), Reply::Bootstrap(true))
    }
}

impl Shard for Controller {
    type Request = Request;
    type Reply = Reply;
    type Record = Record;
    type Failure = Error;

    fn handle(&self, _now: Now, request: Request) -> Decision {
        Ok(match request {
            Request::Bootstrap => self.bootstrap(),
            Request::RegisterBroker(request) => self.register_broker(request)?,
            Request::UnfenceBroker { broker, broker_epoch } => self.unfence_broker(broker, broker_epoch)?,
            Request::FenceBroker { broker, broker_epoch } => self.fence_broker(broker, broker_epoch)?,
            Request::ShutDownBroker { broker, broker_epoch } => {
                self.shut_down_broker(broker, broker_epoch)?
            }
            Request::ChangeDirectories(request) => self.change_directories(request)?,
            Request::AssignReplicasToDirs { broker, broker_epoch, assignments } => {
                self.assign_directories(broker, broker_epoch, assignments)?
            }
            Request::RegisterController(controller) => self.register_controller(controller),
            Request::UnregisterController { controller } => self.unregister_controller(controller)?,
            Request::UnregisterBroker { broker } => self.unregister_broker(broker)?,
            Request::CreateTopics { topics, validate_only, seed, permits } => {
                self.create_topics(topics, validate_only, seed, permits)?
            }
            Request::DeleteTopics { topics, permits } => self.delete_topics(topics, permits)?,
            Request::CreatePartitions { topics, validate_only, seed, permits } => {
                self.create_partitions(topics, validate_only, seed, permits)
            }
            Request::IncrementalAlterConfigs { resources, validate_only } => {
                self.incremental_alter_configs(resources, validate_only)
            }
            Request::AlterConfigs { resources, validate_only } => {
                self.alter_configs(resources, validate_only)
            }
            Request::AlterClientQuotas { alterations, validate_only } => {
                self.alter_client_quotas(alterations, validate_only)?
            }
            Request::AllocateProducerIds { broker, broker_epoch } => {
                self.allocate_producer_ids(broker, broker_epoch)?
            }
            Request::UpdateFeatures { updates, validate_only } => {
                self.update_features(updates, validate_only)?
            }
            Request::AlterPartition(request) => self.alter_partition(request)?,
            Request::AlterPartitionReassignments { reassignments, allow_replication_factor_change } => {
                self.alter_reassignments(reassignments, allow_replication_factor_change)
            }
            Request::ListPartitionReassignments { partitions } => {
                Outcome::reply(Reply::ListPartitionReassignments(self.list_reassignments(partitions)))
            }
            Request::ElectLeaders { kind, partitions } => self.elect_leaders(kind, partitions),
            Request::BalanceLeaders { changes_max } => self.balance_leaders(changes_max),
            Request::ElectUncleanLeaders { changes_max } => self.elect_unclean_leaders(changes_max),
        })
    }

    fn replay(&mut self, record: Record) {
        self.image.apply(record);
    }
}

#[cfg(test)]
mod tests;

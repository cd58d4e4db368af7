//! What the cluster is, and who decides how it changes: the image of brokers, topics and configurations, the
//! controller that turns requests into metadata records, and the catalogue of every configuration key.
//!
//! It does no I/O, keeps no time and knows no API versions and no bytes: the broker translates [`Record`] to and from
//! Kafka's metadata records, appends what [`Controller`] decides, and publishes the [`Image`] that replaying yields.

mod chunked;
pub mod client_quota;
pub mod config;
mod controller;
mod error;
pub mod features;
mod heartbeats;
mod image;
mod placement;
mod record;
mod registration;
mod reply;
mod request;
mod topic;

pub use controller::{Controller, ELECTIONS_MAX, Settings};
pub use error::Error;
pub use heartbeats::{Heartbeat, Heartbeats, Pulse};
pub use image::{Image, Overrides, Position};
pub use record::{Partition as PartitionRecord, PartitionChange, Record};
pub use registration::{ControllerRegistration, Endpoint, FeatureRange, Registration};
pub use reply::{
    AlterConfigsResults, AlterQuotasResults, AlteredPartition, CreatedTopic, DeletedTopic,
    OngoingReassignment, PartitionResults, ProducerIds, Reply,
};
pub use request::{
    AlterPartition, ChangeDirectories, ConfigChange, ConfigOperation, ConfigValues, DeleteTopic,
    DirectoryAssignment, ElectionKind, FeatureUpdate, FeatureUpgrade, IsrChange, NewPartitions, NewTopic,
    Permits, QuotaAlteration, Reassignment, RegisterBroker, Request,
};
pub use topic::{DIRECTORY_LOST, DIRECTORY_MIGRATING, DIRECTORY_UNASSIGNED, Partition, Recovery, Topic};

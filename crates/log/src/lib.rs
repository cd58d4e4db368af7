//! One partition's log: Kafka's segment files, byte for byte, with their indexes, the state of producers and the
//! leader epochs.
//!
//! It has two halves. [`Log`] decides, without I/O: where a batch goes, what a reader gets, what is forgotten.
//! [`Files`], [`FilePlan`], [`OffsetPlan`] and [`open`] do what was decided, on disk lanes, through `env::Disk`. It
//! knows no replication, no high watermark and no requests; `broker` joins it to those.
//!
//! docs/formats/segment.md and docs/formats/checkpoints.md list the bytes and the rules of recovery.

mod aborted_txn;
pub mod checkpoint;
mod clean;
mod clean_shutdown;
mod config;
mod damage_mark;
mod directory;
mod effect;
mod epochs;
mod file_plan;
mod files;
#[cfg(test)]
mod fixture;
mod follow;
mod handles;
mod index;
mod keys;
mod loaded;
mod log;
mod meta_properties;
pub mod names;
mod offset_plan;
mod offset_query;
mod open;
mod partition_metadata;
mod pending;
mod producer_snapshot;
mod producers;
mod read;
mod recover;
mod retention;
mod scan;
mod scrub;
mod segment;
mod succession;
mod tail;
mod tear;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod verifications;

pub use aborted_txn::AbortedTxn;
pub use clean::{CleanError, Cleanable, Cleaned, Cleaning, CleaningLimits, CleaningReport, CleaningStep};
pub use clean_shutdown::{CLEAN_SHUTDOWN, take_clean_shutdown, write_clean_shutdown};
pub use config::{Durability, LogConfig};
pub use damage_mark::write as write_damage_mark;
pub use effect::{Effect, removals_first};
pub use epochs::{EpochEntry, Epochs};
pub use file_plan::FilePlan;
pub use files::{Files, Performed, Sealed, is_scarcity};
pub use follow::FollowError;
pub use handles::is_moved;
pub use keys::{KEY_POSTING_BYTES, KeyPlan, KeyPostings, KeyTask, KeyTurn, Term, worthless_keys};
pub use log::{AppendError, Appended, Log};
pub use meta_properties::{META_PROPERTIES, MetaProperties};
pub use offset_plan::OffsetPlan;
pub use offset_query::{FoundOffset, OffsetAnswer, OffsetQuery};
pub use open::{Damage, OpenError, OpenOptions, Opened, Recovery, open};
pub use partition_metadata::{read_topic_id, write_topic_id};
pub use producers::{Origin, Producer, ProducerBatch, ProducerError, Producers};
pub use read::{ReadPlan, Slice};
pub use retention::BeyondHighWatermark;
pub use scrub::{Scrub, Scrubbed};
pub use succession::Kinship;
pub use verifications::Guard;

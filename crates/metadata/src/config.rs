//! The catalogue of configurations and the rules of resolving them: which keys exist, which values they take, and
//! which value counts where.
//!
//! It stores nothing: what was set dynamically is in the [`crate::Image`], what was set in files is in [`Statics`].
//! The controller checks changes with it, the broker reads effective values and answers DescribeConfigs with it.

mod broker;
mod catalogue;
mod check;
mod client_match;
mod client_metrics;
mod describe;
mod group;
mod key;
mod odradek;
pub mod offset_reset;
mod resolve;
mod resource;
mod statics;
mod topic;
mod value;

pub use catalogue::{find, keys, nearest};
pub use client_match::{ClientMatch, ClientProperty};
pub use describe::{Entry, Source, Synonym};
pub use key::{Default, Importance, Key, Kind, Update, Valid};
pub use odradek::AckDurability;
pub use resolve::{Configs, Resolved};
pub use resource::{Resource, ResourceKind};
pub use statics::Statics;
pub use value::Value;

pub(crate) use check::{check_alteration, is_list};

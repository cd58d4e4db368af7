//! What clients tell of themselves (KIP-714): who is asked for which metrics, who may push when, and the newest values of
//! what was pushed.
//!
//! It keeps no time and sends nothing: the broker tells the milliseconds of a monotonic clock, hands requests on, and shows
//! the values beside its own metrics. Everything that comes from clients is bounded by [`Bounds`].

mod clients;
mod otlp;
mod protobuf;
mod series;
mod subscription;

pub use clients::{Bounds, Clients, Granted, Push, Refused};
pub use series::{Labels, Seen};
pub use subscription::{Person, Subscription};

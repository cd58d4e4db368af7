//! Topic names and topic filters (4.7, 4.8): their syntax, which matches which, who is subscribed to a name, and which
//! Kafka topic and key a name stands for.
//!
//! Nothing is normalized: names are compared byte for byte (\[MQTT-4.7.3-4\]).

mod filter;
mod index;
mod place;

pub use filter::{Filter, InvalidTopic, check_name};
pub use index::{Index, TooDeep};
pub use place::{Place, Reach, Unplaceable, Unservable, name_of};

/// The most levels of a name or a filter that is served. Deeper ones are well-formed (the standard has no limit) and not
/// accepted: the depth bounds how far a walk of the [`Index`] can go.
pub const LEVELS_MAX: usize = 128;

#[cfg(test)]
mod tests;

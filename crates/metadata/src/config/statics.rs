//! What a broker was started with: the keys of its files, environment and command line.
//!
//! It reads no file: `node` does, and merges the layers. The controller and the resolver take the values from here.

use std::collections::BTreeMap;

use super::ResourceKind;
use super::{catalogue, check, key::Key};

/// The keys of `server.properties` and the layers above it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Statics(BTreeMap<String, String>);

impl Statics {
    /// Takes values as they are; see [`Statics::problems`]. `node.id` and `broker.id` stand in for each other.
    pub fn new(values: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut values: BTreeMap<_, _> = values.into_iter().collect();
        for (given, missing) in [("node.id", "broker.id"), ("broker.id", "node.id")] {
            if let Some(value) = values.get(given).cloned() {
                values.entry(missing.to_owned()).or_insert(value);
            }
        }
        Self(values)
    }

    /// The value of a key, if it was set.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// All keys with their values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// What is wrong with them, one text per key: an unknown name (with the nearest known one), or a bad value.
    pub fn problems(&self) -> Vec<String> {
        self.iter().filter_map(|(name, value)| problem(name, value)).collect()
    }
}

fn problem(name: &str, value: &str) -> Option<String> {
    let base = catalogue::without_listener(name);
    let key: Option<&Key> = catalogue::find(ResourceKind::Broker, base);
    match key {
        Some(key) => check::check_value(key, name, value).err(),
        None if catalogue::is_pass_through(base) => None,
        None => Some(match catalogue::nearest(ResourceKind::Broker, name) {
            Some(nearest) => format!("'{name}' is no configuration key; did you mean '{nearest}'?"),
            None => format!("'{name}' is no configuration key; remove it or correct its name"),
        }),
    }
}

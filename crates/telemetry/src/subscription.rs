//! Which metrics are wanted of whom: what an operator has configured as client metrics (KIP-714).
//!
//! It knows no instances; it says what all subscriptions together ask of one client.

use metadata::config::{ClientMatch, ClientProperty};
use std::collections::BTreeSet;
use stdx::{Uuid, crc32c};

/// How often clients push if nobody says else.
pub(crate) const INTERVAL_MS_DEFAULT: i32 = 300_000;
/// What stands for all metrics.
const ALL: &str = "*";

/// One resource of the kind client metrics.
#[derive(Debug, Clone)]
pub struct Subscription {
    /// The prefixes of metrics, or `*`.
    pub metrics: Vec<String>,
    /// How often they are pushed.
    pub interval_ms: i32,
    /// By whom.
    pub clients: ClientMatch,
}

/// What a client is known by.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Person {
    /// What it calls itself.
    pub client_id: Option<String>,
    /// The name and version of its software, if it has told.
    pub software: Option<(String, String)>,
    /// The address that it comes from.
    pub address: String,
    /// The port that it comes from.
    pub port: String,
}

/// Bytes of each text that is kept of a client, who chooses them.
const TEXT_BYTES_MAX: usize = 256;

impl Person {
    /// The same, with what is too long cut off.
    pub(crate) fn cut(self) -> Self {
        let cut = |mut text: String| {
            text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
            text.shrink_to_fit();
            text
        };
        Self {
            client_id: self.client_id.map(cut),
            software: self.software.map(|(name, version)| (cut(name), cut(version))),
            address: cut(self.address),
            port: cut(self.port),
        }
    }
}

/// What is asked of one client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Told by the client with each push.
    pub(crate) subscription_id: i32,
    pub(crate) metrics: Vec<String>,
    pub(crate) interval_ms: i32,
}

impl Wanted {
    pub(crate) fn of(subscriptions: &[Subscription], instance: Uuid, person: &Person) -> Self {
        let id = instance.to_string();
        let property = |property| match property {
            ClientProperty::InstanceId => Some(id.as_str()),
            ClientProperty::ClientId => person.client_id.as_deref(),
            ClientProperty::SoftwareName => person.software.as_ref().map(|(name, _)| name.as_str()),
            ClientProperty::SoftwareVersion => person.software.as_ref().map(|(_, version)| version.as_str()),
            ClientProperty::SourceAddress => Some(person.address.as_str()),
            ClientProperty::SourcePort => Some(person.port.as_str()),
        };
        let (mut metrics, mut interval_ms) = (BTreeSet::new(), INTERVAL_MS_DEFAULT);
        for subscription in subscriptions.iter().filter(|one| one.clients.is_match(property)) {
            metrics.extend(subscription.metrics.iter().cloned());
            interval_ms = interval_ms.min(subscription.interval_ms);
        }
        if metrics.contains(ALL) {
            metrics = [ALL.to_owned()].into();
        }
        let metrics: Vec<_> = metrics.into_iter().collect();
        let subscription_id = subscription_id(&metrics, interval_ms, instance);
        Self { subscription_id, metrics, interval_ms }
    }
}

/// As Kafka computes it, of `[metric, metric]` and the interval; Kafka takes several metrics in the order of a Java hash set,
/// we in that of their names. Clients only give it back.
fn subscription_id(metrics: &[String], interval_ms: i32, instance: Uuid) -> i32 {
    let text = format!("[{}]{interval_ms}", metrics.join(", "));
    let id = u128::from_be_bytes(instance.0);
    let halves = (id >> 64) as u64 ^ id as u64;
    let hash = (halves >> 32) as i32 ^ halves as i32;
    crc32c(text.as_bytes()) as i32 ^ hash
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subscription(metrics: &[&str], interval_ms: i32, clients: &[&str]) -> Subscription {
        Subscription {
            metrics: metrics.iter().map(|metric| (*metric).to_owned()).collect(),
            interval_ms,
            clients: ClientMatch::parse(clients.iter().copied()).unwrap(),
        }
    }

    #[test]
    fn a_client_is_asked_for_what_all_its_subscriptions_want() {
        let subscriptions = [
            subscription(&["b.", "a."], 5000, &[]),
            subscription(&["c."], 1000, &["client_id=app-.*", "client_software_name=java"]),
            subscription(&["*", "d."], 400_000, &["client_source_port=9"]),
        ];
        let person = |id: &str, software: &str, port: &str| Person {
            client_id: Some(id.into()),
            software: (!software.is_empty()).then(|| (software.into(), "1".into())),
            address: "10.0.0.1".into(),
            port: port.into(),
        };
        for (person, metrics, interval_ms) in [
            (person("x", "java", "1"), &["a.", "b."][..], 5000),
            (person("app-1", "java", "1"), &["a.", "b.", "c."], 1000),
            (person("app-1", "", "1"), &["a.", "b."], 5000),
            (person("app-1", "java", "9"), &["*"], 1000),
        ] {
            let wanted = Wanted::of(&subscriptions, Uuid([7; 16]), &person);
            assert_eq!(
                (&wanted.metrics[..], wanted.interval_ms),
                (&metrics.iter().map(|m| m.to_string()).collect::<Vec<_>>()[..], interval_ms),
                "{person:?}"
            );
        }
        let nobody = Wanted::of(&[], Uuid([7; 16]), &Person::default());
        assert_eq!((nobody.metrics.len(), nobody.interval_ms), (0, INTERVAL_MS_DEFAULT));
    }

    #[test]
    fn the_id_changes_with_what_is_asked_and_of_whom() {
        let id = |metrics: &[&str], interval_ms, instance: u8| {
            let metrics: Vec<_> = metrics.iter().map(|metric| (*metric).to_owned()).collect();
            subscription_id(&metrics, interval_ms, Uuid([instance; 16]))
        };
        // Equal halves have the hash 0: what is left is the checksum.
        assert_eq!(id(&["*"], 300_000, 1), crc32c(b"[*]300000") as i32);
        let mut halves = [0; 16];
        halves[3] = 1;
        assert_eq!(subscription_id(&[], 5, Uuid(halves)), crc32c(b"[]5") as i32 ^ 1);
        assert_ne!(id(&["a"], 5, 1), id(&["a"], 6, 1));
        assert_ne!(id(&["a"], 5, 1), id(&["a", "b"], 5, 1));
    }
}

//! Every configuration key by the kind of resource, and the nearest one to a misspelt name.
//!
//! It knows facts, not values. Everything in `config` asks it.

use super::{ResourceKind, broker, client_metrics, group, key::Key, odradek, topic};

/// Prefixes of keys that plugins of Kafka read and we pass by.
const PASS_THROUGH: &[&str] = &["rlmm.config.", "rsm.config.", "config.providers."];

/// All keys of a kind; within each table in the order of their names.
pub fn keys(kind: ResourceKind) -> impl Iterator<Item = &'static Key> {
    tables(kind).iter().flat_map(|table| table.iter())
}

/// A key by its name.
pub fn find(kind: ResourceKind, name: &str) -> Option<&'static Key> {
    tables(kind).iter().find_map(|table| {
        let place = table.binary_search_by(|key| key.name.cmp(name)).ok()?;
        table.get(place)
    })
}

/// The key whose name needs the fewest edits to become `name`, if a third of the letters is enough.
pub fn nearest(kind: ResourceKind, name: &str) -> Option<&'static str> {
    let limit = name.len() / 3;
    let distances = keys(kind).filter(|key| key.name.len().abs_diff(name.len()) <= limit);
    let (distance, nearest) = distances.map(|key| (edits(key.name, name), key.name)).min()?;
    (distance <= limit).then_some(nearest)
}

/// The name after `listener.name.<listener>.` and, for SASL keys, `<mechanism>.`; else the name itself.
pub(super) fn without_listener(name: &str) -> &str {
    let Some((_, base)) = name.strip_prefix("listener.name.").and_then(|rest| rest.split_once('.')) else {
        return name;
    };
    let per_mechanism = [
        "sasl.jaas.config",
        "sasl.login.callback.handler.class",
        "sasl.login.class",
        "sasl.server.callback.handler.class",
        "connections.max.reauth.ms",
    ];
    per_mechanism.into_iter().find(|key| base.ends_with(key)).unwrap_or(base)
}

/// Whether a name is somebody else's business although no table has it.
pub(super) fn is_pass_through(name: &str) -> bool {
    PASS_THROUGH.iter().any(|prefix| name.starts_with(prefix))
}

fn tables(kind: ResourceKind) -> &'static [&'static [Key]] {
    match kind {
        ResourceKind::Topic => &[topic::KEYS, odradek::TOPIC_KEYS],
        ResourceKind::Broker => broker::TABLES,
        ResourceKind::Group => &[group::KEYS],
        ResourceKind::ClientMetrics => &[client_metrics::KEYS],
        ResourceKind::BrokerLogger => &[],
    }
}

/// The Levenshtein distance of two short texts, by bytes.
fn edits(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (above, a) in left.bytes().enumerate() {
        let mut diagonal = above;
        let mut before = above + 1;
        let mut cells = row.iter_mut();
        if let Some(first) = cells.next() {
            *first = before;
        }
        for (cell, b) in cells.zip(right.bytes()) {
            let here = (diagonal + usize::from(a != b)).min(before + 1).min(*cell + 1);
            diagonal = std::mem::replace(cell, here);
            before = here;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_is_sorted_without_repetitions_and_every_key_has_a_text() {
        for kind in
            [ResourceKind::Topic, ResourceKind::Broker, ResourceKind::Group, ResourceKind::ClientMetrics]
        {
            for table in tables(kind) {
                assert!(table.is_sorted_by(|a, b| a.name < b.name), "{kind}");
            }
            for key in keys(kind) {
                assert!(key.doc.len() > 20 && key.doc.ends_with('.'), "{kind} {}: {:?}", key.name, key.doc);
                assert_eq!(find(kind, key.name), Some(key));
            }
        }
    }

    #[test]
    fn edits_are_counted() {
        for (left, right, count) in
            [("", "", 0), ("a", "", 1), ("", "ab", 2), ("kitten", "sitting", 3), ("ab", "ba", 2)]
        {
            assert_eq!(edits(left, right), count, "{left} {right}");
        }
    }

    #[test]
    fn a_misspelt_name_finds_the_meant_one() {
        let near = |name| nearest(ResourceKind::Broker, name);
        assert_eq!(near("log.retention.m"), Some("log.retention.ms"));
        assert_eq!(near("lisseners"), Some("listeners"));
        assert_eq!(near("num.partitons"), Some("num.partitions"));
        assert_eq!(near("zookeeper.connect"), None);
        assert_eq!(nearest(ResourceKind::Topic, "retention.sm"), Some("retention.ms"));
    }

    #[test]
    fn a_listener_prefix_is_taken_off() {
        assert_eq!(without_listener("listener.name.internal.ssl.keystore.type"), "ssl.keystore.type");
        assert_eq!(without_listener("listener.name.x.scram-sha-256.sasl.jaas.config"), "sasl.jaas.config");
        assert_eq!(without_listener("listeners"), "listeners");
    }
}

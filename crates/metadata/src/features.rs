//! The features of the cluster with the levels that this program can work with, as Apache Kafka 4.4.0 has them.
//!
//! It does not say which levels are in force: those are in the image. The controller starts new clusters with them.

use crate::{FeatureRange, Record};

/// The feature that stands for the format of the metadata records.
pub const METADATA_VERSION: &str = "metadata.version";
/// The feature of eligible leader replicas (KIP-966).
pub const ELR: &str = "eligible.leader.replicas.version";
/// The feature of the quorum's own protocol, whose level the quorum keeps, not the image.
pub const KRAFT_VERSION: &str = "kraft.version";

/// By this a broker says, when it registers, that it acknowledges only what is on stable storage where a topic asks for that
/// (`RegisterBroker::synced`). It is no feature of the cluster and no record has it; Apache Kafka's controllers ignore it.
pub const SYNCED: &str = "odradek.synced";

/// Name, lowest level, highest level, level of a new cluster.
const LEVELS: &[(&str, i16, i16, i16)] = &[
    (ELR, 0, 1, 1),
    ("group.version", 0, 1, 1),
    (KRAFT_VERSION, 0, 1, 0),
    // 3.3-IV3 is 7, 4.4-IV2 is 33.
    (METADATA_VERSION, 7, 33, 33),
    ("share.version", 0, 2, 2),
    ("streams.version", 0, 1, 1),
    ("transaction.version", 0, 2, 2),
];

/// The least metadata version that eligible leader replicas need: 4.0-IV1.
pub(crate) const ELR_NEEDS: i16 = 23;
/// The metadata versions that brought records or fields: Apache Kafka 4.4.0's `MetadataVersion` names them.
const METADATA_CHANGES: &[i16] = &[7, 8, 11, 13, 14, 15, 17, 23, 30, 32, 33];

/// Whether metadata of the version `high` may say what those of `low` cannot.
pub(crate) fn has_metadata_changed(low: i16, high: i16) -> bool {
    METADATA_CHANGES.iter().any(|version| (low + 1..=high).contains(version))
}

/// Every feature with the levels that this program can work with, by name.
pub fn supported() -> Vec<FeatureRange> {
    let range = |(name, min, max, _): &(&str, i16, i16, i16)| FeatureRange {
        name: (*name).to_owned(),
        min: *min,
        max: *max,
    };
    LEVELS.iter().map(range).collect()
}

/// The lowest and highest level of a feature that this program can work with.
pub fn range(name: &str) -> Option<(i16, i16)> {
    LEVELS.iter().find(|(known, ..)| *known == name).map(|(_, min, max, _)| (*min, *max))
}

/// The levels of a new cluster, the metadata version first.
pub(crate) fn initial() -> impl Iterator<Item = Record> {
    let record = |(name, _, _, level): &(&str, i16, i16, i16)| Record::FeatureLevel {
        name: (*name).to_owned(),
        level: *level,
    };
    let is_first = |(name, ..): &&(&str, i16, i16, i16)| *name == METADATA_VERSION;
    let rest = LEVELS.iter().filter(move |row| !is_first(row));
    LEVELS.iter().filter(is_first).chain(rest).filter(|(.., level)| *level > 0).map(record)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_levels_are_those_of_kafka_4_4() {
        let mut shown: Vec<_> =
            LEVELS.iter().map(|(name, min, max, new)| format!("{name} {min}-{max} {new}")).collect();
        shown.sort();
        let expected = [
            "eligible.leader.replicas.version 0-1 1",
            "group.version 0-1 1",
            "kraft.version 0-1 0",
            "metadata.version 7-33 33",
            "share.version 0-2 2",
            "streams.version 0-1 1",
            "transaction.version 0-2 2",
        ];
        assert_eq!(shown, expected);
    }
}

//! The features of the cluster with the levels that this program can work with, as Apache Kafka 4.4.0 has them.
//!
//! It does not say which levels are in force: those are in the image. The controller starts new clusters with them.

use crate::{FeatureRange, Image, Record};
use std::fmt;

/// The feature that stands for the format of the metadata records.
pub const METADATA_VERSION: &str = "metadata.version";
/// The level of it (4.4-IV2) that brought [`crate::Record::UnregisterController`].
pub const UNREGISTERS_CONTROLLERS_FROM: i16 = 33;
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

/// A level in force that this program cannot work with. As text: what the level is, which ones would do, and the remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsupported {
    /// The feature.
    pub name: String,
    /// The level in force.
    pub level: i16,
    /// The lowest and highest that this program can work with, if it knows the feature.
    pub range: Option<(i16, i16)>,
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, level, range } = self;
        write!(f, "the cluster's {name} is at level {level}, and this program ")?;
        match range {
            None => write!(
                f,
                "does not know that feature; start the newer program that raised it, or have that one switch it off first \
                 (kafka-features.sh disable --feature {name})"
            ),
            Some((min, max)) if level > max => write!(
                f,
                "supports {min} to {max}; start the newer program that raised it, or have that one lower it first \
                 (kafka-features.sh downgrade --feature {name}={max})"
            ),
            Some((min, max)) => write!(
                f,
                "supports {min} to {max}; have the older program that serves this cluster raise it first \
                 (kafka-features.sh upgrade --feature {name}={min})"
            ),
        }
    }
}

impl std::error::Error for Unsupported {}

/// The first level in force that this program cannot work with, if there is one. The level of the quorum's own protocol is
/// the quorum's to judge.
pub fn unsupported(image: &Image) -> Option<Unsupported> {
    let levels = image.features().filter(|(name, _)| *name != KRAFT_VERSION);
    let mut beyond = levels.map(|(name, level)| (name, level, range(name)));
    let (name, level, range) =
        beyond.find(|(_, level, range)| range.is_none_or(|(min, max)| !(min..=max).contains(level)))?;
    Some(Unsupported { name: name.to_owned(), level, range })
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

    fn told(name: &str, level: i16) -> Option<String> {
        let mut image = Image::new("c");
        initial().for_each(|record| image.apply(record));
        image.apply(Record::FeatureLevel { name: name.to_owned(), level });
        unsupported(&image).map(|one| one.to_string())
    }

    #[test]
    fn a_level_that_this_program_cannot_work_with_is_named_with_what_would_do_and_the_remedy() {
        assert_eq!(unsupported(&Image::new("c")), None);
        assert_eq!((told(METADATA_VERSION, 33), told(METADATA_VERSION, 7), told(ELR, 0)), (None, None, None));
        assert_eq!(told(KRAFT_VERSION, 9), None, "the quorum judges that");
        for (name, level, expected) in [
            (METADATA_VERSION, 34, ["level 34", "7 to 33", "downgrade --feature metadata.version=33"]),
            (METADATA_VERSION, 6, ["level 6", "7 to 33", "upgrade --feature metadata.version=7"]),
            ("share.version", 3, ["level 3", "0 to 2", "downgrade --feature share.version=2"]),
            ("new.version", 1, ["level 1", "does not know", "disable --feature new.version"]),
        ] {
            let told = told(name, level).unwrap();
            assert!(told.contains(name) && expected.iter().all(|part| told.contains(part)), "{told}");
        }
    }

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

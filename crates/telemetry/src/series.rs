//! The newest values of one client's metrics.
//!
//! It decides nothing about clients. What comes beyond the bounds is dropped: nothing that is known makes room for it.

use crate::otlp::Point;
use std::collections::BTreeMap;

/// What tells values of one metric from each other, in the order of the names.
pub type Labels = Vec<(Box<str>, Box<str>)>;

/// Bytes of the name of a metric or label, or of a label's value.
const TEXT_BYTES_MAX: usize = 256;
/// What a value takes beside its texts, more or less.
const SERIES_BYTES: usize = 128;

/// A value of a client's metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Seen<'a> {
    /// The name, as the client gave it.
    pub name: &'a str,
    /// The labels.
    pub labels: &'a Labels,
    /// How much: a sum counts all that was pushed.
    pub value: f64,
}

/// See the head of the file.
#[derive(Debug, Default)]
pub(crate) struct Series {
    all: BTreeMap<(Box<str>, Labels), f64>,
    bytes: usize,
}

impl Series {
    /// Takes a value over, if it is known or there is room for it: `room` bytes for new ones. Gives the bytes that it took;
    /// `None` if it was dropped.
    pub(crate) fn put(&mut self, point: &Point<'_>, series_max: usize, room: usize) -> Option<usize> {
        let texts = || {
            let labels = point.attributes.iter().flat_map(|(key, value)| [*key, *value]);
            std::iter::once(point.name).chain(labels)
        };
        if texts().any(|text| text.len() > TEXT_BYTES_MAX) {
            return None;
        }
        let mut labels: Labels =
            point.attributes.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
        labels.sort();
        labels.dedup_by(|one, other| one.0 == other.0);
        let key = (point.name.into(), labels);
        if let Some(value) = self.all.get_mut(&key) {
            *value = if point.is_delta { *value + point.value } else { point.value };
            return Some(0);
        }
        let bytes = texts().map(str::len).sum::<usize>() + SERIES_BYTES;
        if self.all.len() >= series_max || bytes > room {
            return None;
        }
        self.all.insert(key, point.value);
        self.bytes += bytes;
        Some(bytes)
    }

    /// What all of it takes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Seen<'_>> {
        self.all.iter().map(|((name, labels), value)| Seen { name, labels, value: *value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point<'a>(name: &'a str, label: &'a str, value: f64, is_delta: bool) -> Point<'a> {
        let attributes = if label.is_empty() { vec![] } else { vec![("z", "1"), ("k", label)] };
        Point { name, attributes, value, is_delta }
    }

    #[test]
    fn the_newest_value_counts_and_deltas_add_up() {
        let mut series = Series::default();
        for (name, label, value, is_delta) in [
            ("g", "", 1.0, false),
            ("g", "", 2.0, false),
            ("s", "a", 3.0, true),
            ("s", "b", 9.0, true),
            ("s", "a", 4.0, true),
        ] {
            series.put(&point(name, label, value, is_delta), 10, 1000).unwrap();
        }
        let shown: Vec<_> = series.iter().map(|one| (one.name, one.labels.len(), one.value)).collect();
        assert_eq!(shown, [("g", 0, 2.0), ("s", 2, 7.0), ("s", 2, 9.0)]);
        let first = series.iter().nth(1).unwrap();
        assert_eq!(&*first.labels[0].0, "k", "labels are sorted");
    }

    #[test]
    fn what_is_beyond_the_bounds_is_dropped_and_what_is_known_stays() {
        let mut series = Series::default();
        let taken = series.put(&point("a", "", 1.0, false), 2, 200).unwrap();
        assert_eq!((taken, series.bytes()), (129, 129));
        assert_eq!(series.put(&point("b", "", 1.0, false), 2, 128), None, "no room");
        assert!(series.put(&point("b", "", 1.0, false), 2, 129).is_some());
        assert_eq!(series.put(&point("c", "", 1.0, false), 2, 1000), None, "too many");
        assert_eq!(series.put(&point(&"x".repeat(257), "", 1.0, false), 9, 1000), None, "too long");
        assert_eq!(series.put(&point("a", "", 5.0, false), 0, 0), Some(0), "known");
        assert_eq!(series.iter().map(|one| one.value).collect::<Vec<_>>(), [5.0, 1.0]);
    }
}

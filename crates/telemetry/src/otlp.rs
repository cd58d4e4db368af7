//! Metrics in the protocol of OpenTelemetry (OTLP 1.x, `MetricsData`), as clients push them: gauges and sums.
//!
//! It keeps nothing: each value is handed on as it is found. Histograms and summaries, which Kafka's clients do not push, are
//! passed by.

use crate::protobuf::{Fields, Malformed, Value, messages};

/// One value of a metric.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Point<'a> {
    /// The metric's name.
    pub(crate) name: &'a str,
    /// The `KeyValue` messages that tell it from others of the same name.
    pub(crate) attributes: Vec<(&'a str, &'a str)>,
    /// How much.
    pub(crate) value: f64,
    /// Whether it is what has come since the last push, and not all there is.
    pub(crate) is_delta: bool,
}

/// Labels that a point has at most; more are passed by.
pub(crate) const ATTRIBUTES_MAX: usize = 8;

/// `AGGREGATION_TEMPORALITY_DELTA`
const DELTA: u64 = 1;

/// Hands on every value in the bytes; gives up at the first that cannot be read.
pub(crate) fn read<'a>(data: &'a [u8], mut each: impl FnMut(Point<'a>)) -> Result<(), Malformed> {
    for resource in messages(data, 1) {
        for scope in messages(resource?, 2) {
            for metric in messages(scope?, 2) {
                read_metric(metric?, &mut each)?;
            }
        }
    }
    Ok(())
}

fn read_metric<'a>(metric: &'a [u8], each: &mut impl FnMut(Point<'a>)) -> Result<(), Malformed> {
    let (mut name, mut points, mut is_delta) = ("", None, false);
    for field in Fields::of(metric) {
        match field? {
            (1, Value::Bytes(bytes)) => name = text(bytes)?,
            // A gauge.
            (5, Value::Bytes(gauge)) => points = Some(gauge),
            // A sum.
            (7, Value::Bytes(sum)) => {
                points = Some(sum);
                is_delta = false;
                for field in Fields::of(sum) {
                    if let (2, Value::Number(temporality)) = field? {
                        is_delta = temporality == DELTA;
                    }
                }
            }
            _ => {}
        }
    }
    for point in points.into_iter().flat_map(|points| messages(points, 1)) {
        if let Some(point) = read_point(point?, name, is_delta)? {
            each(point);
        }
    }
    Ok(())
}

/// `None` if the point says that nothing was recorded.
fn read_point<'a>(point: &'a [u8], name: &'a str, is_delta: bool) -> Result<Option<Point<'a>>, Malformed> {
    let (mut value, mut attributes) = (None, Vec::new());
    for field in Fields::of(point) {
        match field? {
            (4, Value::Fixed(bits)) => value = Some(f64::from_bits(bits)),
            (6, Value::Fixed(bits)) => value = Some(bits as i64 as f64),
            (7, Value::Bytes(pair)) if attributes.len() < ATTRIBUTES_MAX => {
                attributes.extend(attribute(pair)?)
            }
            _ => {}
        }
    }
    Ok(value.map(|value| Point { name, attributes, value, is_delta }))
}

/// An attribute whose value is a text; Kafka's clients have no others.
fn attribute(pair: &[u8]) -> Result<Option<(&str, &str)>, Malformed> {
    let (mut key, mut value) = ("", None);
    for field in Fields::of(pair) {
        match field? {
            (1, Value::Bytes(bytes)) => key = text(bytes)?,
            (2, Value::Bytes(any)) => {
                for field in Fields::of(any) {
                    if let (1, Value::Bytes(bytes)) = field? {
                        value = Some(text(bytes)?);
                    }
                }
            }
            _ => {}
        }
    }
    Ok(value.map(|value| (key, value)))
}

fn text(bytes: &[u8]) -> Result<&str, Malformed> {
    std::str::from_utf8(bytes).map_err(|_| Malformed)
}

/// Messages for tests, as a client writes them.
#[cfg(test)]
pub(crate) mod kit {
    /// A field with a message or a text.
    pub(crate) fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        let mut out = vec![number << 3 | 2];
        stdx::varint::write_unsigned(&mut out, bytes.len() as u64);
        out.extend_from_slice(bytes);
        out
    }

    /// `MetricsData` with one value; `temporality` makes it a sum.
    pub(crate) fn data(name: &str, labels: &[(&str, &str)], value: f64, temporality: Option<u8>) -> Vec<u8> {
        let mut point = vec![0x21];
        point.extend_from_slice(&value.to_le_bytes());
        for (key, value) in labels {
            let pair = [field(1, key.as_bytes()), field(2, &field(1, value.as_bytes()))].concat();
            point.extend(field(7, &pair));
        }
        let mut points = field(1, &point);
        if let Some(temporality) = temporality {
            points.extend([0x10, temporality, 0x18, 1]);
        }
        let kind = if temporality.is_some() { 7 } else { 5 };
        let metric = [field(1, name.as_bytes()), field(3, b"1"), field(kind, &points)].concat();
        let scope = [field(1, &field(1, b"scope")), field(2, &metric)].concat();
        field(1, &[field(1, &[]), field(2, &scope)].concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(data: &[u8]) -> Result<Vec<String>, Malformed> {
        let mut all = Vec::new();
        read(data, |point| {
            all.push(format!("{} {:?} {} {}", point.name, point.attributes, point.value, point.is_delta))
        })?;
        Ok(all)
    }

    #[test]
    fn gauges_and_sums_are_read_with_their_labels() {
        let gauge = kit::data("a.b", &[("k", "v")], 1.5, None);
        assert_eq!(all(&gauge).unwrap(), [r#"a.b [("k", "v")] 1.5 false"#]);
        let both = [kit::data("d", &[], 2.0, Some(1)), kit::data("c", &[], 3.0, Some(2))].concat();
        assert_eq!(all(&both).unwrap(), ["d [] 2 true", "c [] 3 false"]);
        assert_eq!(all(&[]).unwrap(), [""; 0]);
    }

    #[test]
    fn more_labels_than_are_kept_are_passed_by() {
        let labels: Vec<_> = (0..20).map(|_| ("k", "v")).collect();
        let mut count = 0;
        read(&kit::data("a", &labels, 1.0, None), |point| count = point.attributes.len()).unwrap();
        assert_eq!(count, ATTRIBUTES_MAX);
    }

    #[test]
    fn what_breaks_off_is_refused() {
        let data = kit::data("a.b", &[("k", "v")], 1.5, Some(1));
        for length in 1..data.len() {
            assert!(all(&data[..length]).is_err(), "{length}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_or_read(bytes: Vec<u8>, at in 0usize..100, byte: u8) {
            let _ = all(&bytes);
            let mut data = kit::data("a.b", &[("k", "v")], 1.5, Some(1));
            let at = at % data.len();
            data[at] = byte;
            let _ = all(&data);
        }
    }
}

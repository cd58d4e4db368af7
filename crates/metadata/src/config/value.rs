//! A configuration's value, read from its text by the rules of Kafka's types, and written back as Kafka shows it.
//!
//! It checks the type only; limits of single keys are checked beside it. Everything that reads a value comes here.

use std::fmt;

use super::key::Kind;

/// A value of one of the types.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `true` or `false`, written in any case.
    Boolean(bool),
    /// A whole number of 16, 32 or 64 bits.
    Integer(i64),
    /// A floating point number.
    Double(f64),
    /// Texts; the empty text is a list without elements.
    List(Vec<String>),
    /// Text, a class name, or a secret.
    Text(String),
}

impl Value {
    /// Reads a value; `Err` says what was expected.
    pub fn parse(kind: Kind, text: &str) -> Result<Self, &'static str> {
        let text = trim(text);
        Ok(match kind {
            Kind::Boolean if text.eq_ignore_ascii_case("true") => Self::Boolean(true),
            Kind::Boolean if text.eq_ignore_ascii_case("false") => Self::Boolean(false),
            Kind::Boolean => return Err("either true or false is needed"),
            Kind::Short => {
                Self::Integer(text.parse::<i16>().map_err(|_| "a whole number of 16 bits is needed")?.into())
            }
            Kind::Int => {
                Self::Integer(text.parse::<i32>().map_err(|_| "a whole number of 32 bits is needed")?.into())
            }
            Kind::Long => Self::Integer(text.parse().map_err(|_| "a whole number of 64 bits is needed")?),
            Kind::Double => Self::Double(to_double(text).ok_or("a number such as 0.5 is needed")?),
            Kind::List if text.is_empty() => Self::List(Vec::new()),
            Kind::List => Self::List(text.split(',').map(|part| part.trim().to_owned()).collect()),
            Kind::String | Kind::Class | Kind::Password => Self::Text(text.to_owned()),
        })
    }

    /// The number of an integer; 0 for other types.
    pub fn to_integer(&self) -> i64 {
        if let Self::Integer(number) = self { *number } else { 0 }
    }
}

/// The text in which Kafka shows the value; for most values, but not all, the one it was read from.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean(value) => value.fmt(f),
            Self::Integer(value) => value.fmt(f),
            Self::Double(value) => f.write_str(&from_double(*value)),
            Self::List(parts) => f.write_str(&parts.join(",")),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// Takes off what Java's `trim` takes off: everything up to the space.
pub(super) fn trim(text: &str) -> &str {
    text.trim_matches(|c| c <= ' ')
}

fn to_double(text: &str) -> Option<f64> {
    let digits = text.strip_suffix(['d', 'D', 'f', 'F']).unwrap_or(text);
    match digits.trim_start_matches(['+', '-']) {
        "NaN" | "Infinity" => digits.parse().ok(),
        word if word.starts_with(|c: char| c.is_ascii_alphabetic()) => None,
        _ => digits.parse().ok(),
    }
}

/// Writes a number as Java does: with a fraction always, in scientific form outside 0.001 to 10 million.
fn from_double(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Infinity".to_owned() } else { "-Infinity".to_owned() };
    }
    let size = value.abs();
    if size == 0.0 || (1e-3..1e7).contains(&size) {
        return format!("{value:?}");
    }
    let text = format!("{value:E}");
    match text.split_once('E') {
        Some((digits, exponent)) if !digits.contains('.') => format!("{digits}.0E{exponent}"),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: Kind, text: &str, shown: Option<&str>) {
        let value = Value::parse(kind, text).ok().map(|value| value.to_string());
        assert_eq!(value.as_deref(), shown, "{kind:?} {text:?}");
    }

    #[test]
    fn values_are_read_as_kafka_reads_them() {
        check(Kind::Boolean, " TRUE\n", Some("true"));
        check(Kind::Boolean, "False", Some("false"));
        check(Kind::Boolean, "yes", None);
        check(Kind::Int, " +5 ", Some("5"));
        check(Kind::Int, "2147483648", None);
        check(Kind::Int, "5.0", None);
        check(Kind::Int, "", None);
        check(Kind::Short, "-32768", Some("-32768"));
        check(Kind::Short, "32768", None);
        check(Kind::Long, "9223372036854775807", Some("9223372036854775807"));
        check(Kind::Long, "9223372036854775808", None);
        check(Kind::String, "  a b ", Some("a b"));
        check(Kind::Password, " s ", Some("s"));
    }

    #[test]
    fn doubles_are_read_and_shown_as_java_does() {
        check(Kind::Double, "0.5", Some("0.5"));
        check(Kind::Double, "1", Some("1.0"));
        check(Kind::Double, "1e7", Some("1.0E7"));
        check(Kind::Double, "0.0001", Some("1.0E-4"));
        check(Kind::Double, "1.7976931348623157E308", Some("1.7976931348623157E308"));
        check(Kind::Double, "2f", Some("2.0"));
        check(Kind::Double, "-Infinity", Some("-Infinity"));
        check(Kind::Double, "inf", None);
        check(Kind::Double, "nan", None);
        check(Kind::Double, "half", None);
    }

    #[test]
    fn lists_lose_the_spaces_around_their_commas_only() {
        check(Kind::List, " a , b c,d ", Some("a,b c,d"));
        check(Kind::List, "  ", Some(""));
        check(Kind::List, "a,,b,", Some("a,,b,"));
        assert_eq!(Value::parse(Kind::List, ""), Ok(Value::List(Vec::new())));
    }
}

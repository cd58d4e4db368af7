//! A message as the generated code sees it: Rust names, resolved types, versions cut to those that exist.
//!
//! It writes no code; `message`, `read`, `write` and `random` do, from this.

use super::{
    schema::{self, Kind, Schema},
    versions::Versions,
};
use anyhow::{Context, Result, bail};

/// A message; its own struct is the first of `structs`.
#[derive(Debug)]
pub(super) struct Message {
    /// The name as the schema writes it.
    pub(super) schema_name: String,
    pub(super) name: String,
    pub(super) module: String,
    pub(super) kind: Kind,
    pub(super) key: Option<i16>,
    pub(super) versions: Versions,
    pub(super) flexible: Versions,
    pub(super) latest_version_unstable: bool,
    pub(super) listeners: Vec<String>,
    pub(super) structs: Vec<Struct>,
}

/// A struct of a message and the versions at which it occurs.
#[derive(Debug)]
pub(super) struct Struct {
    pub(super) name: String,
    pub(super) versions: Versions,
    pub(super) fields: Vec<Field>,
}

/// A field. All ranges of versions are cut to those of the struct.
#[derive(Debug)]
pub(super) struct Field {
    /// `Struct.Field` as the schema writes it, for errors.
    pub(super) path: String,
    pub(super) name: String,
    pub(super) kind: Type,
    pub(super) versions: Versions,
    pub(super) nullable: Versions,
    pub(super) flexible: Versions,
    pub(super) tag: Option<u32>,
    pub(super) ignorable: bool,
    pub(super) default: Default,
}

/// What a field holds when nobody set it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Default {
    Null,
    /// Empty, zero or false.
    Empty,
    /// A Rust literal.
    Literal(String),
}

/// A type of the protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Type {
    /// `bool` or a number: its name in Rust, which is also the name of its reader and writer, and its bytes.
    Plain(&'static str, usize),
    Uuid,
    String,
    Bytes,
    Records,
    Struct(String),
    Array(Box<Type>),
}

impl Message {
    pub(super) fn new(schema: &Schema) -> Result<Self> {
        let versions = Versions::parse(&schema.valid_versions)?;
        let flexible = Versions::parse_option(schema.flexible_versions.as_deref())?;
        let mut message = Self {
            schema_name: schema.name.clone(),
            name: rust_type(&schema.name),
            module: snake_case(&schema.name),
            kind: schema.kind,
            key: schema.api_key,
            versions,
            flexible,
            latest_version_unstable: schema.latest_version_unstable,
            listeners: schema.listeners.clone(),
            structs: Vec::new(),
        };
        if message.has_versions() {
            message.add(&schema.name, versions, &schema.fields)?;
            for common in &schema.common_structs {
                message.add(
                    &common.name,
                    Versions::parse(&common.versions)?.and(versions),
                    &common.fields,
                )?;
            }
        }
        Ok(message)
    }

    /// Whether it is not a message that Kafka took away, of which only the number is left.
    pub(super) fn has_versions(&self) -> bool {
        !self.versions.is_empty()
    }

    /// Whether it is the contents of a record, not of a frame.
    pub(super) fn is_record(&self) -> bool {
        !matches!(self.kind, Kind::Request | Kind::Response | Kind::Header)
    }

    /// The struct of this name.
    pub(super) fn find(&self, name: &str) -> Result<&Struct> {
        let found = self.structs.iter().find(|candidate| candidate.name == name);
        found.with_context(|| format!("{name} is not a struct of {}", self.name))
    }

    /// The fewest bytes that a value of a type takes at a version.
    pub(super) fn size_min(&self, kind: &Type, version: i16) -> Result<usize> {
        let flexible = self.flexible.contains(version);
        Ok(match kind {
            Type::Plain(_, size) => *size,
            Type::Uuid => 16,
            Type::String => {
                if flexible {
                    1
                } else {
                    2
                }
            }
            Type::Bytes | Type::Records | Type::Array(_) => {
                if flexible {
                    1
                } else {
                    4
                }
            }
            Type::Struct(name) => {
                let mut size = usize::from(flexible);
                for field in &self.find(name)?.fields {
                    if field.tag.is_some() || !field.versions.contains(version) {
                        continue;
                    }
                    let can_be_null =
                        field.nullable.contains(version) && matches!(field.kind, Type::Struct(_));
                    size += if can_be_null { 1 } else { self.size_min(&field.kind, version)? };
                }
                size
            }
        })
    }

    fn add(&mut self, name: &str, versions: Versions, fields: &[schema::Field]) -> Result<()> {
        let name = rust_type(name);
        if self.structs.iter().any(|known| known.name == name) {
            bail!("two structs have the name {name}");
        }
        let at = self.structs.len();
        self.structs.push(Struct { name: name.clone(), versions, fields: Vec::new() });
        let mut own = Vec::new();
        for field in fields {
            let resolved = self.field(&name, versions, field).with_context(|| field.name.clone())?;
            if resolved.versions.is_empty() {
                continue;
            }
            if !field.fields.is_empty() {
                self.add(field.kind.trim_start_matches("[]"), resolved.versions, &field.fields)?;
            }
            own.push(resolved);
        }
        if let Some(known) = self.structs.get_mut(at) {
            known.fields = own;
        }
        Ok(())
    }

    fn field(&self, owner: &str, within: Versions, field: &schema::Field) -> Result<Field> {
        let tagged = Versions::parse_option(field.tagged_versions.as_deref())?.and(within);
        let versions = match &field.versions {
            Some(versions) => Versions::parse(versions)?.and(within),
            None if field.tag.is_some() => tagged,
            None => bail!("it has no versions"),
        };
        if field.tag.is_some() && tagged != versions {
            bail!("it is tagged at some versions only, which the generator does not know");
        }
        let nullable = Versions::parse_option(field.nullable_versions.as_deref())?.and(versions);
        let kind = Type::parse(&field.kind)?;
        let flexible = match &field.flexible_versions {
            Some(own) => Versions::parse(own)?,
            None => self.flexible,
        };
        Ok(Field {
            path: format!("{owner}.{}", field.name),
            name: rust_name(&field.name),
            default: Default::new(&kind, field.default.as_ref(), !nullable.is_empty())?,
            kind,
            versions,
            nullable,
            flexible,
            tag: field.tag,
            ignorable: field.ignorable,
        })
    }
}

impl Field {
    /// Whether the Rust type is an `Option`.
    pub(super) fn is_option(&self) -> bool {
        !self.nullable.is_empty()
    }

    /// The reader and writer of the mark before a struct that may be null.
    pub(super) fn presence(&self) -> &'static str {
        if self.tag.is_some() { "present_tagged" } else { "present" }
    }
}

impl Default {
    /// A JSON null is no default at all; the text "null" is.
    fn new(kind: &Type, value: Option<&serde_json::Value>, nullable: bool) -> Result<Self> {
        let text = match value {
            None | Some(serde_json::Value::Null) => String::new(),
            Some(serde_json::Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        };
        if nullable && (text == "null" || *kind == Type::Records) {
            return Ok(Self::Null);
        }
        Ok(match (kind, text.as_str()) {
            (_, "") | (Type::Plain("bool", _), "false") | (Type::Records, _) => Self::Empty,
            (Type::Plain("bool", _), "true") => Self::Literal(text),
            (Type::Plain(..), _) => match integer(&text)? {
                0 => Self::Empty,
                number => Self::Literal(number.to_string()),
            },
            _ => bail!("a default that the generator does not know: {text}"),
        })
    }
}

impl Type {
    fn parse(text: &str) -> Result<Self> {
        if let Some(element) = text.strip_prefix("[]") {
            return Ok(Self::Array(Box::new(Self::parse(element)?)));
        }
        Ok(match text {
            "bool" => Self::Plain("bool", 1),
            "int8" => Self::Plain("i8", 1),
            "int16" => Self::Plain("i16", 2),
            "uint16" => Self::Plain("u16", 2),
            "int32" => Self::Plain("i32", 4),
            "uint32" => Self::Plain("u32", 4),
            "int64" => Self::Plain("i64", 8),
            "float64" => Self::Plain("f64", 8),
            "uuid" => Self::Uuid,
            "string" => Self::String,
            "bytes" => Self::Bytes,
            "records" => Self::Records,
            name if name.starts_with(char::is_uppercase) => Self::Struct(rust_type(name)),
            other => bail!("unknown type {other}"),
        })
    }

    /// The type in Rust.
    pub(super) fn rust(&self) -> String {
        match self {
            Self::Plain(name, _) => (*name).to_owned(),
            Self::Uuid => "Uuid".to_owned(),
            Self::String => "String".to_owned(),
            Self::Bytes => "Bytes".to_owned(),
            Self::Records => "Parts".to_owned(),
            Self::Struct(name) => name.clone(),
            Self::Array(element) => format!("Vec<{}>", element.rust()),
        }
    }
}

fn integer(text: &str) -> Result<i64> {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => i64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.with_context(|| format!("a number: {text}"))
}

/// `KRaft` is one word.
fn rust_type(name: &str) -> String {
    let name = name.replace("KRaft", "Kraft");
    let mut letters = name.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

fn rust_name(name: &str) -> String {
    const KEYWORDS: [&str; 14] = [
        "abstract", "box", "const", "enum", "final", "fn", "impl", "match", "mod", "ref", "self", "trait",
        "type", "use",
    ];
    let name = snake_case(name);
    if KEYWORDS.contains(&name.as_str()) { format!("{name}_") } else { name }
}

/// The name of an `enum` variant or a type in Rust's spelling of modules and fields.
pub(super) fn snake_case(name: &str) -> String {
    let letters: Vec<char> = name.replace("KRaft", "Kraft").chars().collect();
    let mut snake = String::new();
    for (index, letter) in letters.iter().enumerate() {
        let before = index.checked_sub(1).and_then(|index| letters.get(index));
        let after = letters.get(index + 1);
        let starts_word = before.is_some_and(|before| !before.is_uppercase())
            || before.is_some() && after.is_some_and(|after| after.is_lowercase());
        if letter.is_uppercase() && starts_word {
            snake.push('_');
        }
        snake.extend(letter.to_lowercase());
    }
    snake
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_rust_names() {
        for (schema, rust) in [
            ("ProduceRequest", "produce_request"),
            ("KRaftVersionRecord", "kraft_version_record"),
            ("V3AndBelowTopics", "v3_and_below_topics"),
            ("TransactionV2Enabled", "transaction_v2_enabled"),
            ("preferredReadReplica", "preferred_read_replica"),
            ("type", "type_"),
        ] {
            assert_eq!(rust_name(schema), rust);
        }
    }

    #[test]
    fn a_json_null_is_no_default_but_the_word_null_is() {
        let null = serde_json::Value::Null;
        assert_eq!(Default::new(&Type::String, Some(&null), true).unwrap(), Default::Empty);
        assert_eq!(Default::new(&Type::String, Some(&"null".into()), true).unwrap(), Default::Null);
        let hexadecimal = Default::new(&Type::Plain("i32", 4), Some(&"0x7fffffff".into()), false).unwrap();
        assert_eq!(hexadecimal, Default::Literal("2147483647".into()));
    }
}

//! A schema file as it is written, field by field.
//!
//! It gives no meaning to anything; `layout` does.

use anyhow::Result;
use serde::Deserialize;

/// A message.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Schema {
    pub(super) api_key: Option<i16>,
    #[serde(rename = "type")]
    pub(super) kind: Kind,
    pub(super) name: String,
    pub(super) valid_versions: String,
    pub(super) flexible_versions: Option<String>,
    #[serde(default)]
    pub(super) latest_version_unstable: bool,
    #[serde(default)]
    pub(super) listeners: Vec<String>,
    #[serde(default)]
    pub(super) fields: Vec<Field>,
    #[serde(default)]
    pub(super) common_structs: Vec<Common>,
}

/// What a message is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Kind {
    Request,
    Response,
    Header,
    Data,
    Metadata,
    CoordinatorKey,
    CoordinatorValue,
}

/// A struct that several fields share.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Common {
    pub(super) name: String,
    pub(super) versions: String,
    pub(super) fields: Vec<Field>,
}

/// A field. `versions` may be missing where `tagged_versions` is there.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Field {
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) versions: Option<String>,
    pub(super) nullable_versions: Option<String>,
    pub(super) tagged_versions: Option<String>,
    pub(super) flexible_versions: Option<String>,
    pub(super) tag: Option<u32>,
    #[serde(default)]
    pub(super) ignorable: bool,
    pub(super) default: Option<serde_json::Value>,
    #[serde(default)]
    pub(super) fields: Vec<Field>,
    #[serde(rename = "about")]
    _about: Option<serde::de::IgnoredAny>,
    #[serde(rename = "entityType")]
    _entity_type: Option<serde::de::IgnoredAny>,
    #[serde(rename = "mapKey")]
    _map_key: Option<serde::de::IgnoredAny>,
    #[serde(rename = "zeroCopy")]
    _zero_copy: Option<serde::de::IgnoredAny>,
}

/// Reads a schema without comments.
pub(super) fn parse(text: &str) -> Result<Schema> {
    Ok(serde_json::from_str(text)?)
}

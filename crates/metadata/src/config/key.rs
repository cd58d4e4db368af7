//! One key of the catalogue: its name, type, default, limits and how it may be changed.
//!
//! It holds no value that someone has set. The tables beside it are lists of these.

/// A configuration key.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Key {
    /// Its name, unique among the keys of its resource kind.
    pub name: &'static str,
    /// The type of its values.
    pub kind: Kind,
    /// Its value where nothing was set.
    pub default: Default,
    /// Which values of the type are allowed.
    pub valid: Valid,
    /// How likely an operator needs it.
    pub importance: Importance,
    /// Whether it is hidden until someone sets it.
    pub internal: bool,
    /// How a broker's key may be changed while the broker runs. Keys of other kinds are all [`Update::ClusterWide`].
    pub update: Update,
    /// The broker keys that give the value of a topic's or group's key where it has none of its own; the first counts.
    pub broker_keys: &'static [&'static str],
    /// What it is for, in a sentence or two.
    pub doc: &'static str,
}

/// The types, with Kafka's numbers in DescribeConfigs responses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i8)]
pub enum Kind {
    /// `true` or `false`.
    Boolean = 1,
    /// Text.
    String = 2,
    /// 32 bits.
    Int = 3,
    /// 16 bits.
    Short = 4,
    /// 64 bits.
    Long = 5,
    /// Floating point.
    Double = 6,
    /// Texts separated by commas.
    List = 7,
    /// A Java class name, kept for compatibility.
    Class = 8,
    /// Text that is never shown.
    Password = 9,
}

/// The value of a key where nothing was set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Default {
    /// There is none: the key must be set.
    Required,
    /// No value.
    Null,
    /// This value.
    Text(&'static str),
}

/// Which values of the type are allowed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Valid {
    /// All.
    Any,
    /// A number not below.
    AtLeast(i64),
    /// A number between, both ends included.
    Between(i64, i64),
    /// A floating point number between, both ends included.
    Ratio(f64, f64),
    /// -1, or between 1 and 9.
    GzipLevel,
    /// One of these texts.
    OneOf(&'static [&'static str]),
    /// One of these texts, in any case.
    OneOfAnyCase(&'static [&'static str]),
    /// Not empty.
    NonEmpty,
    /// A list without duplicates and empty elements.
    Distinct,
    /// A list without duplicates and empty elements that has at least one element.
    DistinctNonEmpty,
    /// A list without duplicates of these texts.
    ListOf(&'static [&'static str]),
    /// A list without duplicates of these texts that has at least one element.
    ListOfNonEmpty(&'static [&'static str]),
    /// `*`, or a list of `partition:broker`.
    ThrottledReplicas,
    /// `earliest`, `latest` or `by_duration:` with an ISO 8601 duration.
    OffsetReset,
    /// A list of `id@host:port`.
    Voters,
    /// A list of `host:port`.
    Servers,
}

/// How likely an operator needs a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Importance {
    /// Sooner or later.
    High,
    /// Sometimes.
    Medium,
    /// Hardly ever.
    Low,
}

/// How a broker's key may be changed while the broker runs (KIP-226).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Update {
    /// Only in the broker's files, with a restart.
    ReadOnly,
    /// For one broker at a time.
    PerBroker,
    /// For one broker or for all.
    ClusterWide,
}

impl Key {
    /// The default as text, if there is one.
    pub fn default_text(&self) -> Option<&'static str> {
        match self.default {
            Default::Text(text) => Some(text),
            Default::Required | Default::Null => None,
        }
    }

    /// Whether its values are secret.
    pub fn is_sensitive(&self) -> bool {
        self.kind == Kind::Password
    }
}

/// A row of a table: a read-only key that is shown.
pub(super) const fn key(
    name: &'static str,
    kind: Kind,
    default: Default,
    valid: Valid,
    importance: Importance,
    doc: &'static str,
) -> Key {
    let update = Update::ReadOnly;
    Key { name, kind, default, valid, importance, internal: false, update, broker_keys: &[], doc }
}

impl Key {
    pub(super) const fn internal(self) -> Self {
        Self { internal: true, ..self }
    }

    pub(super) const fn dynamic(self) -> Self {
        Self { update: Update::ClusterWide, ..self }
    }

    pub(super) const fn per_broker(self) -> Self {
        Self { update: Update::PerBroker, ..self }
    }

    pub(super) const fn from(self, broker_keys: &'static [&'static str]) -> Self {
        Self { broker_keys, ..self }
    }
}

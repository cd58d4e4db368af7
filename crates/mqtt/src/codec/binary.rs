//! Fields of bytes and of text: slices of the packet in which they came, at most 65,535 bytes long (1.5.4, 1.5.6).
//!
//! They keep the buffer alive that they were read from; what outlives its packet is made independent by `detached`.

use bytes::Bytes;
use std::{borrow::Cow, fmt};

/// Binary Data (1.5.6): at most 65,535 bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Binary(Bytes);

/// A UTF-8 Encoded String (1.5.4): well-formed, without U+0000, at most 65,535 bytes. Nothing is stripped from it, a byte
/// order mark neither (\[MQTT-1.5.4-3\]).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Text(Bytes);

impl Binary {
    /// The bytes, unless they are too many for a field.
    pub fn new(bytes: impl Into<Bytes>) -> Option<Self> {
        let bytes = bytes.into();
        (bytes.len() <= usize::from(u16::MAX)).then_some(Self(bytes))
    }

    /// The bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.0
    }

    /// The same in memory of its own.
    pub fn detached(&self) -> Self {
        Self(Bytes::copy_from_slice(&self.0))
    }
}

impl Text {
    /// The text, if it is one that MQTT can carry.
    pub fn new(text: &str) -> Option<Self> {
        Self::of(Bytes::copy_from_slice(text.as_bytes()))
    }

    /// The bytes as a text, if they are one that MQTT can carry.
    pub fn of(bytes: Bytes) -> Option<Self> {
        let carried = bytes.len() <= usize::from(u16::MAX)
            && !bytes.contains(&0)
            && std::str::from_utf8(&bytes).is_ok();
        carried.then_some(Self(bytes))
    }

    /// The bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.0
    }

    /// The characters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default() // checked when it was made
    }

    /// Whether it has no characters.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The same in memory of its own.
    pub fn detached(&self) -> Self {
        Self(Bytes::copy_from_slice(&self.0))
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Binary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: Cow<'_, str> = String::from_utf8_lossy(self.0.get(..32).unwrap_or(&self.0));
        write!(f, "{} bytes {shown:?}", self.0.len())
    }
}

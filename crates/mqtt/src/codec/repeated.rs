//! The two properties that may stand in a packet more than once: User Property and Subscription Identifier.
//!
//! They stay encoded, as they came, and are decoded as they are walked: a packet full of the smallest ones takes no
//! more memory than its bytes.

use bytes::{Bytes, BytesMut};
use std::num::NonZeroU32;

use super::reader::Reader;
use super::sink::Sink;
use super::{Text, Violation};

const USER_PROPERTY: u8 = 0x26;
const SUBSCRIPTION_IDENTIFIER: u8 = 0x0B;

/// User Properties, in their order (\[MQTT-3.3.2-18\]): names with values; a name may occur again.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UserProperties(Bytes);

/// A Subscription Identifier (3.8.2.1.2): 1 to 268,435,455.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriptionId(NonZeroU32);

/// The Subscription Identifiers of a PUBLISH (3.3.2.3.8).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SubscriptionIds(Bytes);

impl UserProperties {
    /// Adds one at the end.
    pub fn push(&mut self, name: &Text, value: &Text) {
        let mut encoded = BytesMut::from(&*self.0);
        encoded.u8(USER_PROPERTY);
        encoded.text(name);
        encoded.text(value);
        self.0 = encoded.freeze();
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (Text, Text)> + '_ {
        let mut reader = Reader::new(&self.0);
        std::iter::from_fn(move || {
            reader.u8("").ok()?;
            Some((reader.text("").ok()?, reader.text("").ok()?))
        })
    }

    pub(super) fn encoded(&self) -> &Bytes {
        &self.0
    }

    pub(super) fn check(reader: &mut Reader<'_>) -> Result<(), Violation> {
        reader.text("user property name")?;
        reader.text("user property value").map(drop)
    }

    pub(super) fn gather(run: &Run, block: &Bytes) -> Self {
        Self(run.gather(USER_PROPERTY, block))
    }
}

impl SubscriptionId {
    /// The identifier, unless it is 0 or too large.
    pub fn new(id: u32) -> Option<Self> {
        NonZeroU32::new(id).filter(|id| id.get() <= 268_435_455).map(Self)
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Violation> {
        let value = reader.varint("subscription identifier")?;
        Self::new(value).ok_or(Violation::PropertyValue { id: u32::from(SUBSCRIPTION_IDENTIFIER), value })
    }

    /// Its number.
    pub fn get(self) -> u32 {
        self.0.get()
    }
}

impl SubscriptionIds {
    /// Adds one at the end.
    pub fn push(&mut self, id: SubscriptionId) {
        let mut encoded = BytesMut::from(&*self.0);
        encoded.u8(SUBSCRIPTION_IDENTIFIER);
        encoded.varint(id.get());
        self.0 = encoded.freeze();
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The identifiers.
    pub fn iter(&self) -> impl Iterator<Item = SubscriptionId> + '_ {
        let mut reader = Reader::new(&self.0);
        std::iter::from_fn(move || {
            reader.u8("").ok()?;
            SubscriptionId::new(reader.varint("").ok()?)
        })
    }

    pub(super) fn encoded(&self) -> &Bytes {
        &self.0
    }

    pub(super) fn gather(run: &Run, block: &Bytes) -> Self {
        Self(run.gather(SUBSCRIPTION_IDENTIFIER, block))
    }
}

/// Where the properties of one kind stand in a block of properties.
#[derive(Default)]
pub(super) struct Run {
    bytes: usize,
    from: usize,
    to: usize,
}

impl Run {
    pub(super) fn note(&mut self, from: usize, to: usize) {
        if self.bytes == 0 {
            self.from = from;
        }
        self.bytes += to - from;
        self.to = to;
    }

    /// All of them in their order: a slice, or, where others stand between them, a copy of just their bytes.
    fn gather(&self, kind: u8, block: &Bytes) -> Bytes {
        if self.bytes == self.to - self.from {
            return block.slice(self.from..self.to);
        }
        let span = block.slice(self.from..self.to);
        let mut gathered = BytesMut::with_capacity(self.bytes);
        let mut reader = Reader::new(&span);
        while let Some((id, property)) = next(&mut reader, &span) {
            if id == kind {
                gathered.extend_from_slice(&property);
            }
        }
        gathered.freeze()
    }
}

/// The next property of a block that was found valid, as it stands there.
fn next(reader: &mut Reader<'_>, block: &Bytes) -> Option<(u8, Bytes)> {
    let from = block.len() - reader.remaining();
    let id = reader.u8("").ok()?;
    match id {
        0x01 | 0x17 | 0x19 | 0x24 | 0x25 | 0x28..=0x2A => reader.take(1, "").map(drop),
        0x13 | 0x21..=0x23 => reader.take(2, "").map(drop),
        0x02 | 0x11 | 0x18 | 0x27 => reader.take(4, "").map(drop),
        SUBSCRIPTION_IDENTIFIER => reader.varint("").map(drop),
        USER_PROPERTY => reader.binary("").and_then(|_| reader.binary("")).map(drop),
        _ => reader.binary("").map(drop),
    }
    .ok()?;
    Some((id, block.slice(from..block.len() - reader.remaining())))
}

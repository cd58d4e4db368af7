//! SUBSCRIBE and UNSUBSCRIBE (3.8, 3.10).
//!
//! Their filters are checked when they are read and stay in the packet's bytes until they are walked, so that a packet
//! of very many small filters takes no more memory than its bytes.

use bytes::{Bytes, BytesMut};

use super::reader::Reader;
use super::sink::Sink;
use super::{PacketId, PacketType, QoS, SubscribeProperties, UnsubscribeProperties, Version, Violation};
use crate::topics::Filter;

/// What a client wants to receive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscribe {
    /// By which it is acknowledged.
    pub packet_id: PacketId,
    /// Properties; of MQTT 3.1.1 none.
    pub properties: SubscribeProperties,
    /// The filters, at least one, with their options.
    pub filters: Filters,
}

/// What a client wants to receive no longer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsubscribe {
    /// By which it is acknowledged.
    pub packet_id: PacketId,
    /// Properties; of MQTT 3.1.1 none.
    pub properties: UnsubscribeProperties,
    /// The filters, at least one; their options mean nothing.
    pub filters: Filters,
}

/// Subscription Options (3.8.3.1); of MQTT 3.1.1 only the QoS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Options {
    /// The highest QoS with which messages are sent.
    pub qos: QoS,
    /// Whether the client's own messages are not sent to it.
    pub no_local: bool,
    /// Whether messages keep the RETAIN flag with which they were published.
    pub retain_as_published: bool,
    /// Whether retained messages are sent.
    pub retain_handling: RetainHandling,
}

/// When retained messages are sent because of a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(u8)]
pub enum RetainHandling {
    /// With each SUBSCRIBE (\[MQTT-3.3.1-9\]).
    #[default]
    Always = 0,
    /// If there was no such subscription before (\[MQTT-3.3.1-10\]).
    IfNew = 1,
    /// Never (\[MQTT-3.3.1-11\]).
    Never = 2,
}

/// Topic filters as they stand in a packet, each followed by its options where they are those of a SUBSCRIBE.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filters {
    encoded: Bytes,
    with_options: bool,
}

impl Options {
    /// Of a byte, if it is one of MQTT 5.0.
    pub fn of(byte: u8) -> Result<Self, Violation> {
        let retain_handling = match byte >> 4 & 3 {
            0 => Some(RetainHandling::Always),
            1 => Some(RetainHandling::IfNew),
            2 => Some(RetainHandling::Never),
            _ => None,
        };
        match (byte & 0xC0, QoS::of(byte & 3), retain_handling) {
            (0, Some(qos), Some(retain_handling)) => {
                Ok(Self { qos, no_local: byte & 4 != 0, retain_as_published: byte & 8 != 0, retain_handling })
            }
            (0, ..) => Err(Violation::OptionsValue(byte)),
            _ => Err(Violation::OptionsReserved(byte)),
        }
    }

    /// The byte on the wire.
    pub fn byte(self) -> u8 {
        self.qos as u8
            | u8::from(self.no_local) << 2
            | u8::from(self.retain_as_published) << 3
            | (self.retain_handling as u8) << 4
    }
}

impl Filters {
    /// Of a SUBSCRIBE.
    pub fn with_options(filters: &[(Filter, Options)]) -> Self {
        let mut encoded = BytesMut::new();
        for (filter, options) in filters {
            encoded.text(filter.text());
            encoded.u8(options.byte());
        }
        Self { encoded: encoded.freeze(), with_options: true }
    }

    /// Of an UNSUBSCRIBE.
    pub fn without_options(filters: &[Filter]) -> Self {
        let mut encoded = BytesMut::new();
        filters.iter().for_each(|filter| encoded.text(filter.text()));
        Self { encoded: encoded.freeze(), with_options: false }
    }

    /// The filters in their order; of an UNSUBSCRIBE with options that mean nothing.
    pub fn iter(&self) -> impl Iterator<Item = (Filter, Options)> + '_ {
        let mut reader = Reader::new(&self.encoded);
        std::iter::from_fn(move || {
            let filter = Filter::new(reader.text("").ok()?).ok()?;
            let options =
                if self.with_options { Options::of(reader.u8("").ok()?).ok()? } else { Options::default() };
            Some((filter, options))
        })
    }

    fn read(reader: &mut Reader<'_>, packet: PacketType, version: Version) -> Result<Self, Violation> {
        let with_options = packet == PacketType::Subscribe;
        let encoded = reader.rest();
        let mut reader = Reader::new(&encoded);
        if reader.is_empty() {
            return Err(Violation::NoFilters(packet));
        }
        while !reader.is_empty() {
            let filter = Filter::new(reader.text("topic filter")?).map_err(Violation::Topic)?;
            if with_options {
                check_options(&filter, reader.u8("subscription options")?, version)?;
            }
        }
        Ok(Self { encoded, with_options })
    }

    fn write(&self, sink: &mut impl Sink, version: Version) {
        match version {
            Version::V311 if self.with_options => self.iter().for_each(|(filter, options)| {
                sink.text(filter.text());
                sink.u8(options.qos as u8);
            }),
            _ => sink.put(&self.encoded),
        }
    }
}

/// In MQTT 3.1.1 all bits but those of the QoS are reserved (\[MQTT-3-8.3-4\] of that).
fn check_options(filter: &Filter, byte: u8, version: Version) -> Result<(), Violation> {
    match version {
        Version::V311 if byte & 0xFC != 0 => Err(Violation::OptionsReserved(byte)),
        _ => match Options::of(byte)? {
            options if options.no_local && filter.group().is_some() => Err(Violation::NoLocalShared),
            _ => Ok(()),
        },
    }
}

impl Subscribe {
    /// A request without properties.
    pub fn new(packet_id: PacketId, filters: &[(Filter, Options)]) -> Self {
        Self {
            packet_id,
            properties: SubscribeProperties::default(),
            filters: Filters::with_options(filters),
        }
    }

    pub(super) fn read(reader: &mut Reader<'_>, version: Version) -> Result<Self, Violation> {
        let packet_id = reader.packet_id()?;
        let properties = match version {
            Version::V5 => SubscribeProperties::read(reader)?,
            Version::V311 => SubscribeProperties::default(),
        };
        Ok(Self { packet_id, properties, filters: Filters::read(reader, PacketType::Subscribe, version)? })
    }

    pub(super) fn write(&self, sink: &mut impl Sink, version: Version) {
        sink.u16(self.packet_id.get());
        if version == Version::V5 {
            self.properties.write(sink);
        }
        self.filters.write(sink, version);
    }
}

impl Unsubscribe {
    /// A request without properties.
    pub fn new(packet_id: PacketId, filters: &[Filter]) -> Self {
        Self {
            packet_id,
            properties: UnsubscribeProperties::default(),
            filters: Filters::without_options(filters),
        }
    }

    pub(super) fn read(reader: &mut Reader<'_>, version: Version) -> Result<Self, Violation> {
        let packet_id = reader.packet_id()?;
        let properties = match version {
            Version::V5 => UnsubscribeProperties::read(reader)?,
            Version::V311 => UnsubscribeProperties::default(),
        };
        Ok(Self { packet_id, properties, filters: Filters::read(reader, PacketType::Unsubscribe, version)? })
    }

    pub(super) fn write(&self, sink: &mut impl Sink, version: Version) {
        sink.u16(self.packet_id.get());
        if version == Version::V5 {
            self.properties.write(sink);
        }
        self.filters.write(sink, version);
    }
}

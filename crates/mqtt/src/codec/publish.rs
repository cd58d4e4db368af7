//! PUBLISH (3.3): an application message on its way, in either direction.
//!
//! The topic name may be empty where a topic alias stands for it; only the session knows the aliases.

use bytes::Bytes;

use super::connect::check_response_topic;
use super::reader::Reader;
use super::sink::Sink;
use super::{PacketId, PublishProperties, QoS, Text, Version, Violation};
use crate::topics;

/// An application message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// Whether it may have been sent before.
    pub dup: bool,
    /// With which QoS it is sent.
    pub qos: QoS,
    /// Whether it is, or is to become, the topic's retained message.
    pub retain: bool,
    /// Its topic name, empty where the topic alias stands for it.
    pub topic: Text,
    /// By which it is acknowledged; there is one exactly if the QoS is not 0 (\[MQTT-2.2.1-2\]).
    pub packet_id: Option<PacketId>,
    /// Properties; of MQTT 3.1.1 none.
    pub properties: PublishProperties,
    /// What it says: a slice of what was received.
    pub payload: Bytes,
}

impl Publish {
    pub(super) fn read(reader: &mut Reader<'_>, flags: u8, version: Version) -> Result<Self, Violation> {
        let qos = QoS::of(flags >> 1 & 3).ok_or(Violation::PublishQos)?;
        let topic = reader.text("topic name")?;
        let packet_id = (qos != QoS::AtMostOnce).then(|| reader.packet_id()).transpose()?;
        let properties = match version {
            Version::V5 => PublishProperties::read(reader)?,
            Version::V311 => PublishProperties::default(),
        };
        if !(topic.is_empty() && properties.topic_alias.is_some()) {
            topics::check_name(topic.bytes()).map_err(Violation::Topic)?;
        }
        check_response_topic(&properties.response_topic)?;
        Ok(Self {
            dup: flags & 0b1000 != 0,
            qos,
            retain: flags & 1 != 0,
            topic,
            packet_id,
            properties,
            payload: reader.rest(),
        })
    }

    pub(super) fn flags(&self) -> u8 {
        u8::from(self.dup) << 3 | (self.qos as u8) << 1 | u8::from(self.retain)
    }

    /// All but the payload.
    pub(super) fn write_head(&self, sink: &mut impl Sink, version: Version) {
        sink.text(&self.topic);
        if let Some(packet_id) = self.packet_id {
            sink.u16(packet_id.get());
        }
        if version == Version::V5 {
            self.properties.write(sink);
        }
    }
}

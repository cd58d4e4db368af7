//! The properties of each packet of MQTT 5.0 (2.2.2.2, table 2-4): which may stand where, how often, with which values.
//!
//! The tables are the code: a property that is not in a packet's table is refused there, a field that is not repeated is
//! refused when it comes twice, and a type that cannot hold 0 refuses 0.

use std::num::{NonZeroU16, NonZeroU32};

use bytes::Bytes;

use super::reader::Reader;
use super::repeated::Run;
use super::sink::{Count, Sink};
use super::{Binary, QoS, SubscriptionId, SubscriptionIds, Text, UserProperties, Violation};

/// A property's value.
trait Value: Sized {
    fn read(id: u32, reader: &mut Reader<'_>) -> Result<Self, Violation>;
    fn write(&self, sink: &mut impl Sink);
}

/// A field of a table of properties.
trait Slot {
    fn read(&mut self, id: u32, reader: &mut Reader<'_>) -> Result<(), Violation>;
    /// After the whole block was read.
    fn gather(&mut self, _user_properties: &Run, _subscription_ids: &Run, _block: &Bytes) {}
    fn write(&self, id: u8, sink: &mut impl Sink);
}

macro_rules! properties {
    ($($(#[$doc:meta])* $name:ident of $packet:literal {
        $($(#[$field_doc:meta])* $field:ident: $type:ty = $id:literal,)*
    })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Default)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $type,)*
        }

        impl $name {
            pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, Violation> {
                let length = reader.varint("property length")?;
                let block = reader.take(length as usize, "properties")?;
                let mut properties = Self::default();
                let (mut users, mut ids) = (Run::default(), Run::default());
                let mut block_reader = Reader::new(&block);
                while !block_reader.is_empty() {
                    let from = block.len() - block_reader.remaining();
                    let id = block_reader.varint("property identifier")?;
                    match id {
                        $($id => Slot::read(&mut properties.$field, id, &mut block_reader)?,)*
                        _ => return Err(Violation::PropertyNotAllowed { packet: $packet, id }),
                    }
                    let to = block.len() - block_reader.remaining();
                    match id {
                        0x26 => users.note(from, to),
                        0x0B => ids.note(from, to),
                        _ => {}
                    }
                }
                $(properties.$field.gather(&users, &ids, &block);)*
                Ok(properties)
            }

            fn write_block(&self, sink: &mut impl Sink) {
                $(Slot::write(&self.$field, $id, sink);)*
            }

            pub(crate) fn write(&self, sink: &mut impl Sink) {
                let mut count = Count::default();
                self.write_block(&mut count);
                sink.varint(count.0 as u32); // what is larger than a packet may be is refused when the packet is counted
                self.write_block(sink);
            }
        }
    )*};
}

properties! {
    /// Of CONNECT (3.1.2.11).
    ConnectProperties of "CONNECT" {
        /// Seconds for which the session outlives the connection; none: 0. `u32::MAX`: for ever.
        session_expiry_interval: Option<u32> = 0x11,
        /// How many PUBLISH of QoS 1 and 2 the client takes at once; none: 65,535.
        receive_maximum: Option<NonZeroU16> = 0x21,
        /// The largest packet that the client takes, in bytes; none: no limit.
        maximum_packet_size: Option<NonZeroU32> = 0x27,
        /// The highest topic alias that the client takes; none: 0.
        topic_alias_maximum: Option<u16> = 0x22,
        /// Whether the client asks for Response Information; none: no.
        request_response_information: Option<bool> = 0x19,
        /// Whether Reason Strings and User Properties may come with every answer; none: yes.
        request_problem_information: Option<bool> = 0x17,
        /// The method of the enhanced authentication (4.12).
        authentication_method: Option<Text> = 0x15,
        /// Its data.
        authentication_data: Option<Binary> = 0x16,
        /// Anything else.
        user_properties: UserProperties = 0x26,
    }

    /// Of the will in a CONNECT (3.1.3.2).
    WillProperties of "the will" {
        /// Seconds between the end of the connection and the publication of the will; none: 0.
        will_delay_interval: Option<u32> = 0x18,
        /// Whether the payload is UTF-8.
        payload_format_indicator: Option<bool> = 0x01,
        /// Seconds for which the message is of use, from its publication on.
        message_expiry_interval: Option<u32> = 0x02,
        /// What the payload is.
        content_type: Option<Text> = 0x03,
        /// Where an answer is expected.
        response_topic: Option<Text> = 0x08,
        /// By which the answer is known.
        correlation_data: Option<Binary> = 0x09,
        /// Anything else.
        user_properties: UserProperties = 0x26,
    }

    /// Of CONNACK (3.2.2.3).
    ConnackProperties of "CONNACK" {
        /// Seconds for which the session outlives the connection, if not those that the client asked for.
        session_expiry_interval: Option<u32> = 0x11,
        /// How many PUBLISH of QoS 1 and 2 the server takes at once; none: 65,535.
        receive_maximum: Option<NonZeroU16> = 0x21,
        /// The highest QoS that the server takes, 0 or 1; none: 2.
        maximum_qos: Option<QoS> = 0x24,
        /// Whether there are retained messages; none: yes.
        retain_available: Option<bool> = 0x25,
        /// The largest packet that the server takes, in bytes; none: no limit.
        maximum_packet_size: Option<NonZeroU32> = 0x27,
        /// The client identifier that the server chose for a client without one.
        assigned_client_identifier: Option<Text> = 0x12,
        /// The highest topic alias that the server takes; none: 0.
        topic_alias_maximum: Option<u16> = 0x22,
        /// For people.
        reason_string: Option<Text> = 0x1F,
        /// Whether filters may have wildcards; none: yes.
        wildcard_subscription_available: Option<bool> = 0x28,
        /// Whether there are subscription identifiers; none: yes.
        subscription_identifiers_available: Option<bool> = 0x29,
        /// Whether there are shared subscriptions; none: yes.
        shared_subscription_available: Option<bool> = 0x2A,
        /// Seconds of keep alive that count instead of those that the client asked for.
        server_keep_alive: Option<u16> = 0x13,
        /// From which the client makes response topics.
        response_information: Option<Text> = 0x1A,
        /// Which server to use instead.
        server_reference: Option<Text> = 0x1C,
        /// The method of the enhanced authentication (4.12).
        authentication_method: Option<Text> = 0x15,
        /// Its data.
        authentication_data: Option<Binary> = 0x16,
        /// Anything else.
        user_properties: UserProperties = 0x26,
    }

    /// Of PUBLISH (3.3.2.3).
    PublishProperties of "PUBLISH" {
        /// Whether the payload is UTF-8.
        payload_format_indicator: Option<bool> = 0x01,
        /// Seconds for which the message is of use.
        message_expiry_interval: Option<u32> = 0x02,
        /// A number for the topic name.
        topic_alias: Option<NonZeroU16> = 0x23,
        /// Where an answer is expected.
        response_topic: Option<Text> = 0x08,
        /// By which the answer is known.
        correlation_data: Option<Binary> = 0x09,
        /// Of the subscriptions because of which the message is sent.
        subscription_ids: SubscriptionIds = 0x0B,
        /// What the payload is.
        content_type: Option<Text> = 0x03,
        /// Anything else.
        user_properties: UserProperties = 0x26,
    }

    /// Of PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK and UNSUBACK (3.4.2.2 and the like).
    AckProperties of "an acknowledgement" {
        /// For people.
        reason_string: Option<Text> = 0x1F,
        /// Anything else.
        user_properties: UserProperties = 0x26,
    }

    /// Of SUBSCRIBE (3.8.2.1).
    SubscribeProperties of "SUBSCRIBE" {
        /// Comes back with each message that these subscriptions send.
        subscription_id: Option<SubscriptionId> = 0x0B,
        /// Anything else.
        user_properties: UserProperties = 0x26,
    }

    /// Of UNSUBSCRIBE (3.10.2.1).
    UnsubscribeProperties of "UNSUBSCRIBE" {
        /// Anything else.
        user_properties: UserProperties = 0x26,
    }

    /// Of DISCONNECT (3.14.2.2).
    DisconnectProperties of "DISCONNECT" {
        /// Seconds for which the session outlives the connection, instead of those agreed; only a client sends it.
        session_expiry_interval: Option<u32> = 0x11,
        /// For people.
        reason_string: Option<Text> = 0x1F,
        /// Which server to use instead.
        server_reference: Option<Text> = 0x1C,
        /// Anything else.
        user_properties: UserProperties = 0x26,
    }

    /// Of AUTH (3.15.2.2).
    AuthProperties of "AUTH" {
        /// The method of the enhanced authentication; it must be there unless the packet is empty.
        authentication_method: Option<Text> = 0x15,
        /// Its data.
        authentication_data: Option<Binary> = 0x16,
        /// For people.
        reason_string: Option<Text> = 0x1F,
        /// Anything else.
        user_properties: UserProperties = 0x26,
    }
}

impl<T: Value> Slot for Option<T> {
    fn read(&mut self, id: u32, reader: &mut Reader<'_>) -> Result<(), Violation> {
        let value = T::read(id, reader)?;
        match self.replace(value) {
            None => Ok(()),
            Some(_) => Err(Violation::PropertyTwice(id)),
        }
    }

    fn write(&self, id: u8, sink: &mut impl Sink) {
        if let Some(value) = self {
            sink.u8(id);
            value.write(sink);
        }
    }
}

impl Slot for UserProperties {
    fn read(&mut self, _id: u32, reader: &mut Reader<'_>) -> Result<(), Violation> {
        Self::check(reader)
    }

    fn gather(&mut self, user_properties: &Run, _: &Run, block: &Bytes) {
        *self = Self::gather(user_properties, block);
    }

    fn write(&self, _id: u8, sink: &mut impl Sink) {
        sink.put(self.encoded());
    }
}

impl Slot for SubscriptionIds {
    fn read(&mut self, _id: u32, reader: &mut Reader<'_>) -> Result<(), Violation> {
        SubscriptionId::read(reader).map(drop)
    }

    fn gather(&mut self, _: &Run, subscription_ids: &Run, block: &Bytes) {
        *self = Self::gather(subscription_ids, block);
    }

    fn write(&self, _id: u8, sink: &mut impl Sink) {
        sink.put(self.encoded());
    }
}

const VALUE: &str = "property value";

impl Value for bool {
    fn read(id: u32, reader: &mut Reader<'_>) -> Result<Self, Violation> {
        match reader.u8(VALUE)? {
            byte @ (0 | 1) => Ok(byte == 1),
            byte => Err(Violation::PropertyValue { id, value: u32::from(byte) }),
        }
    }

    fn write(&self, sink: &mut impl Sink) {
        sink.u8(u8::from(*self));
    }
}

/// Maximum QoS, which is 0 or 1 (3.2.2.3.4).
impl Value for QoS {
    fn read(id: u32, reader: &mut Reader<'_>) -> Result<Self, Violation> {
        match reader.u8(VALUE)? {
            0 => Ok(QoS::AtMostOnce),
            1 => Ok(QoS::AtLeastOnce),
            byte => Err(Violation::PropertyValue { id, value: u32::from(byte) }),
        }
    }

    fn write(&self, sink: &mut impl Sink) {
        sink.u8(*self as u8);
    }
}

impl Value for u16 {
    fn read(_id: u32, reader: &mut Reader<'_>) -> Result<Self, Violation> {
        reader.u16(VALUE)
    }

    fn write(&self, sink: &mut impl Sink) {
        sink.u16(*self);
    }
}

impl Value for NonZeroU16 {
    fn read(id: u32, reader: &mut Reader<'_>) -> Result<Self, Violation> {
        Self::new(reader.u16(VALUE)?).ok_or(Violation::PropertyValue { id, value: 0 })
    }

    fn write(&self, sink: &mut impl Sink) {
        sink.u16(self.get());
    }
}

impl Value for u32 {
    fn read(_id: u32, reader: &mut Reader<'_>) -> Result<Self, Violation> {
        reader.u32(VALUE)
    }

    fn write(&self, sink: &mut impl Sink) {
        sink.u32(*self);
    }
}

impl Value for NonZeroU32 {
    fn read(id: u32, reader: &mut Reader<'_>) -> Result<Self, Violation> {
        Self::new(reader.u32(VALUE)?).ok_or(Violation::PropertyValue { id, value: 0 })
    }

    fn write(&self, sink: &mut impl Sink) {
        sink.u32(self.get());
    }
}

impl Value for SubscriptionId {
    fn read(_id: u32, reader: &mut Reader<'_>) -> Result<Self, Violation> {
        SubscriptionId::read(reader)
    }

    fn write(&self, sink: &mut impl Sink) {
        sink.varint(self.get());
    }
}

impl Value for Text {
    fn read(_id: u32, reader: &mut Reader<'_>) -> Result<Self, Violation> {
        reader.text(VALUE)
    }

    fn write(&self, sink: &mut impl Sink) {
        sink.text(self);
    }
}

impl Value for Binary {
    fn read(_id: u32, reader: &mut Reader<'_>) -> Result<Self, Violation> {
        reader.binary(VALUE)
    }

    fn write(&self, sink: &mut impl Sink) {
        sink.binary(self);
    }
}
